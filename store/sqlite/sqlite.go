// Package sqlite keeps tickets in one SQLite file, the embedded default.
//
// All writes go through one goroutine, which commits together what has been
// waiting: a commit is one fsync (WAL, synchronous=FULL), however many
// webhooks share it. Reads use connections of their own and never wait for
// writes.
//
// One process serves a file at a time, which a lock file beside it enforces.
// Leases can therefore live in memory: they end with the process that took
// them, and a restart goes on at once. Programs that only look may open the
// file meanwhile with [Config.ReadOnly].
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

var (
	_ store.Store   = (*Store)(nil)
	_ store.Archive = (*Store)(nil)
)

// ErrNoTables means that a file holds no tickets and never did. Opened all the
// same it would be an empty store, and nobody would know.
var ErrNoTables = errors.New("not a countersign store, or a part of one: a copy of the .db alone, without the -wal that was beside it, can be like this. " +
	"Restore another copy with countersign store restore. If nothing was kept here yet, delete the file and start again")

// ErrLocked means that another process serves the same file.
var ErrLocked = errors.New("another countersign process uses this file: stop it first, or choose another file")

const (
	maxBatch    = 256             // writes committed together at most
	readers     = 4               // connections for reading
	pageSize    = 4096            // bytes
	busyTimeout = 5 * time.Second // a reading process may hold the file for a moment

	// The write-ahead log is folded into the file after so many writes, at this
	// size, and at the latest so long after a write.
	checkpoint   = 8000
	checkpointAt = 32 << 20 // bytes
	foldAfter    = 5 * time.Second
)

const schema = `
CREATE TABLE IF NOT EXISTS meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tickets (
	seq      INTEGER PRIMARY KEY AUTOINCREMENT,
	request  TEXT NOT NULL,
	progress TEXT NOT NULL,
	version  INTEGER NOT NULL,
	doc      BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS tickets_request ON tickets (request);
CREATE INDEX IF NOT EXISTS tickets_progress ON tickets (progress);
CREATE TABLE IF NOT EXISTS due (
	lane TEXT NOT NULL,
	at   INTEGER NOT NULL,
	seq  INTEGER NOT NULL,
	PRIMARY KEY (lane, at, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incoming (
	id       TEXT PRIMARY KEY,
	at       INTEGER NOT NULL,
	remote   TEXT NOT NULL,
	ticket   TEXT NOT NULL,
	status   TEXT NOT NULL,
	error    TEXT NOT NULL,
	repaired INTEGER NOT NULL,
	raw      BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS incoming_failed ON incoming (id) WHERE status = 'failed';
CREATE INDEX IF NOT EXISTS incoming_at ON incoming (at, status, ticket);
`

// schemaVersion is written to the meta table; a file of a newer one is
// refused.
const schemaVersion = "1"

// Config says which file to open and how.
type Config struct {
	Path     string      // the file; its folder must exist. Required
	ReadOnly bool        // only look: no lock, no writes, the file must exist. Default false
	Hooks    store.Hooks // default none
}

// Store is an open file. Make one with [Open].
type Store struct {
	path  string
	lock  *flock.Flock
	read  *sql.DB
	w     *writer
	pack  *packer
	hooks store.Hooks

	mu     sync.Mutex
	leases map[lease]time.Time
}

type lease struct {
	lane tickets.Lane
	seq  int64
}

// Open opens the file, making it if need be. It returns ErrLocked if another
// process serves it.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Path == "" {
		return nil, errors.New("sqlite: the path is missing")
	}
	s := &Store{path: c.Path, hooks: c.Hooks, leases: map[lease]time.Time{}}
	if !c.ReadOnly {
		if err := s.prepare(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	} else if _, err := os.Stat(c.Path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.open(ctx, c.ReadOnly); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", c.Path, err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, readOnly bool) error {
	var err error
	if s.pack, err = newPacker(); err != nil {
		return err
	}
	m := markOf(s.path)
	if err := m.check(s.path); err != nil {
		return err
	}
	if !readOnly {
		if err := m.unknown(); err != nil {
			return err
		}
	}
	if s.read, err = sql.Open("sqlite", dsn(s.path, true)); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if err := ours(ctx, s.read); err != nil || readOnly {
		return err
	}
	if s.w, err = openWriter(ctx, s.path, s.pack); err != nil {
		return err
	}
	return m.folded(s.path)
}

// ours is an error if db is not a store that this version can open.
func ours(ctx context.Context, db *sql.DB) error {
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'tickets', 'due', 'incoming')`).Scan(&tables); err != nil {
		return err
	}
	if tables < 4 {
		return ErrNoTables
	}
	var v string
	switch err := db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'schema'`).Scan(&v); {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNoTables
	case err != nil:
		return err
	case v != schemaVersion:
		return fmt.Errorf("schema %s: %w", v, store.ErrNewerForm)
	}
	return nil
}

func dsn(path string, readOnly bool) string {
	q := url.Values{}
	for _, p := range []string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		fmt.Sprintf("page_size(%d)", pageSize),
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"wal_autocheckpoint(0)", // the writer does it, off its own path
		fmt.Sprintf("journal_size_limit(%d)", checkpointAt),
	} {
		q.Add("_pragma", p)
	}
	if readOnly {
		q = url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "query_only(1)"}}
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// Close commits what is waiting and closes the file.
func (s *Store) Close() error {
	var errs []error
	if s.w != nil {
		// The last connection that is closed folds the log.
		errs = append(errs, markOf(s.path).unknown(), s.w.close())
	}
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.lock != nil {
		if s.w != nil {
			markOf(s.path).forget(s.path)
		}
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Ping writes, because a full disk can still be read.
func (s *Store) Ping(ctx context.Context) error {
	return s.write(ctx, func(b *batch) error {
		_, err := b.conn.ExecContext(background, `INSERT OR REPLACE INTO meta (key, value) VALUES ('ping', ?)`, time.Now().UTC().Format(time.RFC3339Nano))
		return err
	})
}

func (s *Store) write(ctx context.Context, run func(*batch) error) error {
	if s.w == nil {
		return errors.New("the store was opened to look only")
	}
	return s.w.do(ctx, run)
}

// Accept implements [store.Store].
func (s *Store) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	// What can be done here, where there are many of us, is not done in the
	// writer.
	raw := s.pack.pack(in.Raw)
	w := s.hooks.WriteTicket()
	apply = w.Apply(apply)
	d, err := draftOf(in, apply)
	if err != nil {
		return tickets.Receipt{}, nil, fmt.Errorf("keep webhook: %w", err)
	}
	var r tickets.Receipt
	var t *tickets.Ticket
	err = s.write(ctx, func(b *batch) error {
		r, t = tickets.Receipt{Incoming: in.ID, Status: tickets.StatusFailed}, nil
		if apply != nil {
			var err error
			if t, err = b.apply(in.Update, apply, d, &r); err != nil {
				return err
			}
		}
		return b.keep(in, raw, r)
	})
	if err != nil {
		return tickets.Receipt{}, nil, fmt.Errorf("keep webhook: %w", err)
	}
	w.Committed(t)
	return r, t, nil
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	var t *tickets.Ticket
	var refused error
	w := s.hooks.WriteTicket()
	change = w.Change(change)
	err := s.write(ctx, func(b *batch) error {
		refused = nil
		var err error
		if t, err = b.byNumber(n); errors.Is(err, store.ErrNotFound) {
			refused = err // no reason to fail the writes beside this one
			return nil
		} else if err != nil {
			return err
		}
		was := entriesOf(t)
		if refused = change(t); refused != nil {
			t, err = b.byNumber(n) // as it stands: change may have touched it
			return err
		}
		return b.put(t, was)
	})
	if err == nil && t == nil {
		err = refused
	}
	if err != nil {
		return nil, fmt.Errorf("update %s: %w", n, err)
	}
	if refused == nil {
		w.Committed(t)
	}
	return t, refused
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, n tickets.Number) (*tickets.Ticket, error) {
	seq, ok := n.Seq()
	if !ok {
		return nil, fmt.Errorf("ticket %q: %w", n, store.ErrNotFound)
	}
	t, err := s.pack.scan(s.read.QueryRowContext(ctx, `SELECT version, doc FROM tickets WHERE seq = ?`, seq))
	if err == nil && t.Number != n {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("ticket %s: %w", n, err)
	}
	return t, nil
}

// Find implements [store.Store].
func (s *Store) Find(ctx context.Context, id tickets.RequestID) (*tickets.Ticket, error) {
	t, err := s.pack.scan(s.read.QueryRowContext(ctx, `SELECT version, doc FROM tickets WHERE request = ?`, string(id)))
	if err != nil {
		return nil, fmt.Errorf("ticket of request %s: %w", id, err)
	}
	return t, nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error) {
	after, before, err := q.Between()
	if err != nil {
		return nil, err
	}
	where, args := `seq > ? AND seq < ?`, []any{after, before}
	if q.Progress != "" {
		where, args = `progress = ? AND `+where, append([]any{string(q.Progress)}, args...)
	}
	order := "DESC"
	if q.OldestFirst {
		order = "ASC"
	}
	query := `SELECT version, doc FROM tickets WHERE ` + where + ` ORDER BY seq ` + order + ` LIMIT ?`
	args = append(args, limit(q.Limit))
	return s.tickets(ctx, query, args...)
}

func limit(n int) int {
	if n <= 0 {
		return 50
	}
	return n
}

func (s *Store) tickets(ctx context.Context, query string, args ...any) (list []*tickets.Ticket, err error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list tickets: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var errs []error
	for rows.Next() {
		t, err := s.pack.scan(rows)
		if err != nil {
			errs = append(errs, fmt.Errorf("list tickets: %w", err))
			continue
		}
		list = append(list, t)
	}
	return list, errors.Join(append(errs, rows.Err())...)
}

// Stats implements [store.Store].
func (s *Store) Stats(ctx context.Context, now time.Time) (store.Stats, error) {
	stats := store.Stats{Due: map[tickets.Lane]store.Backlog{}, Owed: map[tickets.Lane]int{}}
	var err error
	if s.w != nil {
		stats.Progress = s.w.b.counted()
	} else if stats.Progress, err = count(ctx, s.read); err != nil {
		return store.Stats{}, fmt.Errorf("count tickets: %w", err)
	}
	err = each(ctx, s.read, func(row scanner) error {
		var lane string
		var owed, due int
		var oldest int64
		if err := row.Scan(&lane, &owed, &due, &oldest); err != nil {
			return err
		}
		stats.Owed[tickets.Lane(lane)] = owed
		if due > 0 {
			stats.Due[tickets.Lane(lane)] = store.Backlog{Count: due, Oldest: time.UnixMicro(oldest).UTC()}
		}
		return nil
	}, `SELECT lane, count(*), count(*) FILTER (WHERE at <= ?), min(at) FROM due GROUP BY lane`, now.UnixMicro())
	if err != nil {
		return store.Stats{}, fmt.Errorf("count what is due: %w", err)
	}
	return stats, nil
}

// count counts the tickets by progress, reading the whole index.
func count(ctx context.Context, db querier) (map[tickets.Progress]int, error) {
	counts := map[tickets.Progress]int{}
	err := each(ctx, db, func(row scanner) error {
		var p string
		var n int
		if err := row.Scan(&p, &n); err != nil {
			return err
		}
		counts[tickets.Progress(p)] = n
		return nil
	}, `SELECT progress, count(*) FROM tickets GROUP BY progress`)
	return counts, err
}

type querier interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}

func each(ctx context.Context, db querier, row func(scanner) error, query string, args ...any) (err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

type scanner interface{ Scan(...any) error }

// scan reads version and doc. No row is store.ErrNotFound.
func (p *packer) scan(row scanner) (*tickets.Ticket, error) {
	var version int64
	var packed []byte
	switch err := row.Scan(&version, &packed); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, err
	}
	return p.ticket(version, packed)
}

// ticket reads a packed stored form.
func (p *packer) ticket(version int64, packed []byte) (*tickets.Ticket, error) {
	doc, err := p.unpack(packed)
	if err != nil {
		return nil, err
	}
	t, err := store.Decode(doc)
	if err != nil {
		return nil, err
	}
	t.Version = version
	return t, nil
}
