package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// writer owns the one connection that writes.
type writer struct {
	db   *sql.DB // one connection, which writes
	fold *sql.DB // one connection, which folds the log into the file
	ops  chan *op
	quit chan struct{}

	path    string
	written int           // writes since the log was last folded
	late    *time.Timer   // fires when the log has waited long enough
	folding bool          // the folder is at work
	folds   chan struct{} // asks the folder
	folded  chan struct{} // the folder is done

	b    *batch // the loop's
	done chan struct{}
	once sync.Once
	err  error // of closing the connection; set before done is closed
}

type op struct {
	ctx context.Context // of the caller: a write that nobody waits for is not begun
	run func(*batch) error
	err chan error

	given  error // up: nobody waited for it when its turn came
	failed error // by itself, when it was run apart from the others
}

// safely runs o and turns a panic into an error: one write must not take the
// others, or the program, with it.
func (o *op) safely(b *batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
		}
	}()
	return o.run(b)
}

var (
	errClosed = errors.New("the store is closed")
	// errTransaction is the fault of no single write: running each alone
	// would fail the same way.
	errTransaction = errors.New("the store cannot be written")
)

func openWriter(ctx context.Context, path string, pack *packer) (*writer, error) {
	db, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	b, err := newBatch(ctx, db, pack)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	fold, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		return nil, errors.Join(err, b.close(), db.Close())
	}
	fold.SetMaxOpenConns(1)
	w := &writer{
		path: path, late: time.NewTimer(foldAfter), db: db, fold: fold, b: b, ops: make(chan *op, maxBatch), quit: make(chan struct{}), done: make(chan struct{}),
		folds: make(chan struct{}, 1), folded: make(chan struct{}, 1),
	}
	go w.loop(b)
	return w, nil
}

// do runs one write and returns once it is durable, or when ctx ends: a disk
// that does not answer must not keep the caller from answering. A write that
// was begun by then is carried out all the same, so that run must not change
// what the caller reads after an error.
func (w *writer) do(ctx context.Context, run func(*batch) error) error {
	away := func() error { return fmt.Errorf("the store does not answer: %w", ctx.Err()) }
	o := &op{ctx: ctx, run: run, err: make(chan error, 1)}
	select {
	case w.ops <- o:
	case <-ctx.Done():
		return away()
	case <-w.quit:
		return errClosed
	}
	select {
	case err := <-o.err:
		return err
	case <-ctx.Done():
		return away()
	case <-w.done:
		// The loop has ended; it may have run the write before.
		select {
		case err := <-o.err:
			return err
		default:
			return errClosed
		}
	}
}

func (w *writer) close() error {
	w.once.Do(func() { close(w.quit) })
	<-w.done
	return errors.Join(w.err, w.fold.Close(), w.db.Close())
}

func (w *writer) loop(b *batch) {
	defer close(w.done)
	defer func() { w.err = b.close() }()
	var folder sync.WaitGroup
	folder.Go(w.folder)
	defer folder.Wait()
	defer close(w.folds)
	for {
		select {
		case o := <-w.ops:
			ops := w.gather(o)
			w.commit(b, ops)
			w.askFolder(len(ops))
		case <-w.late.C:
			w.startFolder()
		case <-w.folded:
			w.folding = false
			// What came in meanwhile is little: with it folded too, the log
			// begins anew and does not grow.
			if w.foldOn(b.conn) == nil {
				_ = markOf(w.path).folded(w.path)
			}
		case <-w.quit:
			for {
				select {
				case o := <-w.ops:
					w.commit(b, w.gather(o))
				default:
					return
				}
			}
		}
	}
}

// askFolder asks for the log to be folded into the file after n more writes, if
// these are enough, or the log is large. SQLite would do it inside the commit
// that passes the limit, and everybody would wait for it.
func (w *writer) askFolder(n int) {
	if w.written == 0 {
		w.late.Reset(foldAfter)
	}
	w.written += n
	if w.written >= checkpoint || w.written >= maxBatch && w.large() {
		w.startFolder()
	}
}

// large reports whether the log is. A log that begins anew is cut to the limit,
// so that more is really there.
func (w *writer) large() bool {
	info, err := os.Stat(w.path + "-wal")
	return err == nil && info.Size() > checkpointAt
}

func (w *writer) startFolder() {
	if w.written == 0 || w.folding {
		return
	}
	w.written, w.folding = 0, true
	w.folds <- struct{}{}
}

// folder folds when it is asked to, beside the writes.
func (w *writer) folder() {
	for range w.folds {
		// If it fails the log stays longer, and is tried again later; the
		// writes themselves report what is wrong with the disk.
		if markOf(w.path).unknown() == nil {
			_ = w.foldOn(w.fold)
		}
		w.folded <- struct{}{}
	}
}

func (w *writer) foldOn(db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}) error {
	_, err := db.ExecContext(background, `PRAGMA wal_checkpoint(PASSIVE)`)
	return err
}

// gather takes what is waiting behind first: while one batch is being made
// durable, the next one collects. It waits for nothing but for others who could
// run at once, until they bring no more: each commit has its price.
func (w *writer) gather(first *op) []*op {
	ops := append(make([]*op, 0, maxBatch), first)
	for had := 0; had < len(ops) && len(ops) < maxBatch; {
		had = len(ops)
		runtime.Gosched()
		ops = w.waiting(ops)
	}
	return ops
}

// waiting adds what is waiting to ops.
func (w *writer) waiting(ops []*op) []*op {
	for len(ops) < maxBatch {
		select {
		case o := <-w.ops:
			ops = append(ops, o)
		default:
			return ops
		}
	}
	return ops
}

// commit runs ops in one transaction. If one of them fails, nothing of that is
// kept, and all are run once more in one transaction, each apart: one bad
// write harms no other, and does not make the others wait for a commit each.
func (w *writer) commit(b *batch, ops []*op) {
	ops = slices.DeleteFunc(ops, func(o *op) bool { return o.ctx.Err() != nil })
	if len(ops) == 0 {
		return
	}
	err := b.transact(ops, false)
	if err != nil && len(ops) > 1 && !errors.Is(err, errTransaction) {
		err = b.transact(ops, true)
	}
	for _, o := range ops {
		o.err <- cmp.Or(err, o.given, o.failed)
	}
}

// batch is the writing connection with its statements. Only the writer's
// goroutine uses it.
type batch struct {
	conn  *sql.Conn
	pack  *packer
	seq   int64 // the last counter given out
	stmts []*sql.Stmt

	moved   map[tickets.Progress]int // what the open transaction adds to counts
	recount bool                     // it mends the index: count anew
	mu      sync.Mutex
	// How many tickets there are, kept because counting reads the whole index.
	counts map[tickets.Progress]int

	selRequest, selSeq, insTicket, updTicket, insDue, delDue, insIncoming *sql.Stmt
}

// Writes are not bound to a caller's context: a batch belongs to many.
var background = context.Background()

func newBatch(ctx context.Context, db *sql.DB, pack *packer) (*batch, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	b := &batch{conn: conn, pack: pack, seq: store.FirstSeq - 1, moved: map[tickets.Progress]int{}}
	if err := b.init(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// insTicket writes a ticket unless its request has one. Refused by ON CONFLICT
// it would use its number up all the same.
const insTicket = `INSERT INTO tickets (seq, request, progress, version, doc)
	SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM tickets WHERE request = ?2)`

func (b *batch) init(ctx context.Context) error {
	if _, err := b.conn.ExecContext(ctx, schema+changesSchema+ledgerSchema+claimsSchema); err != nil {
		return err
	}
	var last sql.NullInt64
	if err := b.conn.QueryRowContext(ctx, `SELECT max(seq) FROM sqlite_sequence WHERE name = 'tickets'`).Scan(&last); err != nil {
		return err
	}
	b.seq = max(b.seq, last.Int64)
	var err error
	if b.counts, err = count(ctx, b.conn); err != nil {
		return err
	}
	for _, s := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&b.selRequest, `SELECT version, doc FROM tickets WHERE request = ?`},
		{&b.selSeq, `SELECT version, doc FROM tickets WHERE seq = ?`},
		{&b.insTicket, insTicket},
		{&b.updTicket, `UPDATE tickets SET progress = ?, version = version + 1, doc = ? WHERE seq = ? AND version = ?`},
		{&b.insDue, `INSERT INTO due (lane, at, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`},
		{&b.delDue, `DELETE FROM due WHERE lane = ? AND at = ? AND seq = ?`},
		{&b.insIncoming, `INSERT INTO incoming (id, at, remote, ticket, status, error, repaired, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
	} {
		stmt, err := b.conn.PrepareContext(ctx, s.text)
		if err != nil {
			return err
		}
		*s.stmt = stmt
		b.stmts = append(b.stmts, stmt)
	}
	return nil
}

func (b *batch) close() error {
	var errs []error
	for _, s := range b.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, b.conn.Close())...)
}

// transact runs ops in one transaction. Apart, one that fails is taken back
// alone; else all are.
func (b *batch) transact(ops []*op, apart bool) error {
	seq := b.seq
	clear(b.moved)
	b.recount = false
	err := func() error {
		if _, err := b.conn.ExecContext(background, `BEGIN IMMEDIATE`); err != nil {
			return fmt.Errorf("%w: %w", errTransaction, err)
		}
		run := b.run
		if apart {
			run = b.runApart
		}
		for _, o := range ops {
			// To begin may have taken long.
			if o.given = o.ctx.Err(); o.given != nil {
				continue
			}
			if err := run(o); err != nil {
				return err
			}
		}
		if _, err := b.conn.ExecContext(background, `COMMIT`); err != nil {
			return fmt.Errorf("%w: %w", errTransaction, err)
		}
		return nil
	}()
	if err != nil {
		b.seq = seq
		// Fails harmlessly if no transaction is open.
		_, _ = b.conn.ExecContext(background, `ROLLBACK`)
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, n := range b.moved {
		b.counts[p] += n
	}
	if b.recount {
		if counts, err := count(background, b.conn); err == nil {
			b.counts = counts
		}
	}
	return nil
}

func (b *batch) run(o *op) error { return o.safely(b) }

func (b *batch) runApart(o *op) error {
	seq, moved := b.seq, maps.Clone(b.moved)
	if _, err := b.conn.ExecContext(background, `SAVEPOINT apart`); err != nil {
		return fmt.Errorf("%w: %w", errTransaction, err)
	}
	if o.failed = o.safely(b); o.failed != nil {
		b.seq, b.moved = seq, moved
		// Some errors have ended the transaction; then this fails too.
		if _, err := b.conn.ExecContext(background, `ROLLBACK TO apart`); err != nil {
			return fmt.Errorf("%w: %w", errTransaction, errors.Join(o.failed, err))
		}
	}
	if _, err := b.conn.ExecContext(background, `RELEASE apart`); err != nil {
		return fmt.Errorf("%w: %w", errTransaction, err)
	}
	return nil
}

// counted is how many tickets are written, by progress.
func (b *batch) counted() map[tickets.Progress]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[tickets.Progress]int{}
	for p, n := range b.counts {
		if n > 0 {
			counts[p] = n
		}
	}
	return counts
}

// entries are what the indexes hold of a ticket.
type entries struct {
	progress tickets.Progress
	due      map[tickets.Lane]time.Time
}

func entriesOf(t *tickets.Ticket) entries {
	if t == nil {
		return entries{}
	}
	return entries{t.Progress(), t.NextDue()}
}

func (b *batch) nextSeq() int64 { return b.seq + 1 }

func (b *batch) byRequest(id tickets.RequestID) (*tickets.Ticket, error) {
	t, err := b.pack.scan(b.selRequest.QueryRowContext(background, string(id)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return t, err
}

func (b *batch) byNumber(n tickets.Number) (*tickets.Ticket, error) {
	seq, ok := n.Seq()
	if !ok {
		return nil, store.ErrNotFound
	}
	t, err := b.pack.scan(b.selSeq.QueryRowContext(background, seq))
	if err == nil && t.Number != n {
		err = store.ErrNotFound
	}
	return t, err
}

// draft is a new ticket that is ready but for its number.
type draft struct {
	store.Draft
	entries
}

// draftOf drafts the ticket of a webhook, in the caller's goroutine: there are
// many of those, and one writer. Most requests are new; of other webhooks it
// makes none.
func draftOf(in tickets.Incoming, apply store.Apply) (draft, error) {
	if apply == nil || in.Update.Request == nil {
		return draft{}, nil
	}
	d, err := store.NewDraft(apply)
	return draft{d, entriesOf(d.Ticket)}, err
}

// apply does what a webhook does to the ticket of its request, and fills in
// the receipt.
func (b *batch) apply(news *tickets.Update, apply store.Apply, d draft, r *tickets.Receipt) (*tickets.Ticket, error) {
	if d.Ticket != nil {
		// Trying to write it saves looking.
		seq := b.nextSeq()
		fresh, err := b.insert(seq, d.Ticket.ID, d.entries, b.pack.pack(d.Form(seq)))
		if err != nil {
			return nil, err
		}
		if fresh {
			t := d.AssignNumber(seq)
			r.Ticket, r.Status = t.Number, d.Status
			return t, nil
		}
	}
	old, err := b.byRequest(news.ID)
	if err != nil {
		return nil, err
	}
	was := entriesOf(old)
	if old != nil {
		r.Ticket = old.Number
	}
	t, status := apply(old, b.nextSeq())
	r.Status = status
	if t == nil {
		return nil, nil
	}
	r.Ticket = t.Number
	if t.Version > 0 {
		return t, b.put(t, was)
	}
	seq, doc, err := b.form(t)
	if err != nil {
		return nil, err
	}
	fresh, err := b.insert(seq, t.ID, entriesOf(t), doc)
	if err == nil && !fresh {
		err = fmt.Errorf("request %s has a ticket already", t.ID)
	}
	t.Version = 1
	return t, err
}

// insert writes a new ticket, and reports false if its request has one.
func (b *batch) insert(seq int64, id tickets.RequestID, e entries, doc []byte) (bool, error) {
	res, err := b.insTicket.ExecContext(background, seq, string(id), string(e.progress), 1, doc)
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	b.seq = max(b.seq, seq)
	b.moved[e.progress]++
	return true, b.index(seq, nil, e.due)
}

// form is t's counter and its packed stored form.
func (b *batch) form(t *tickets.Ticket) (seq int64, doc []byte, err error) {
	seq, ok := t.Number.Seq()
	if !ok {
		return 0, nil, fmt.Errorf("%q is not a ticket number", t.Number)
	}
	plain, err := store.Encode(t)
	if err != nil {
		return 0, nil, err
	}
	return seq, b.pack.pack(plain), nil
}

// put writes a changed ticket, and moves its entries in the index from what
// they were.
func (b *batch) put(t *tickets.Ticket, was entries) error {
	seq, doc, err := b.form(t)
	if err != nil {
		return err
	}
	res, err := b.updTicket.ExecContext(background, string(t.Progress()), doc, seq, t.Version)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("%s: version %d is not the stored one", t.Number, t.Version))
	}
	b.moved[was.progress]--
	b.moved[t.Progress()]++
	t.Version++
	return b.index(seq, was.due, t.NextDue())
}

func (b *batch) index(seq int64, from, to map[tickets.Lane]time.Time) error {
	for lane, at := range from {
		if next, ok := to[lane]; ok && micros(next) == micros(at) {
			continue
		}
		if _, err := b.delDue.ExecContext(background, string(lane), micros(at), seq); err != nil {
			return err
		}
	}
	for lane, at := range to {
		if old, ok := from[lane]; ok && micros(old) == micros(at) {
			continue
		}
		if _, err := b.insDue.ExecContext(background, string(lane), micros(at), seq); err != nil {
			return err
		}
	}
	return nil
}

// micros is at in the index, rounded up: what the index calls due, the ticket
// owes.
func micros(at time.Time) int64 { return at.Add(time.Microsecond - 1).UnixMicro() }

func (b *batch) keep(in tickets.Incoming, raw []byte, r tickets.Receipt) error {
	_, err := b.insIncoming.ExecContext(background, in.ID, in.At.UnixMicro(), in.Remote, string(r.Ticket), string(r.Status), in.Error, in.Repaired, raw)
	return err
}
