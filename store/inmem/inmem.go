// Package inmem keeps a store in memory, for tests: the same contract as the others,
// without a disk, goroutines or waits, so that it works in a testing/synctest
// bubble.
package inmem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// DB is what a store keeps. It outlives the stores that are opened on it.
type DB struct {
	mu        sync.Mutex
	seq       int64
	rows      map[int64]row
	requests  map[tickets.RequestID]int64
	due       map[tickets.Lane]map[int64]time.Time
	incomings map[string]store.StoredIncoming
	settings  []byte
	changes   [][]byte // oldest first
	cursors   map[string]int64
	ledger    [][]byte // oldest first
	claims    map[string]time.Time
}

// row is a ticket as it is kept: nothing in it is shared with whoever wrote it.
type row struct {
	version  int64
	progress tickets.Progress // as the index has it
	doc      []byte
}

// NewDB makes an empty store's memory.
func NewDB() *DB {
	return &DB{
		seq: store.FirstSeq - 1, rows: map[int64]row{}, requests: map[tickets.RequestID]int64{}, due: map[tickets.Lane]map[int64]time.Time{},
		incomings: map[string]store.StoredIncoming{}, cursors: map[string]int64{}, claims: map[string]time.Time{},
	}
}

// Store is one process's view of a DB. Leases are its own. Open one with [DB.Open].
type Store struct {
	db     *DB
	hooks  store.Hooks
	closed bool
	leases map[lease]time.Time
}

type lease struct {
	lane tickets.Lane
	seq  int64
}

var _ store.Store = (*Store)(nil)

// Open opens a store on what db keeps.
func (db *DB) Open(h store.Hooks) *Store {
	return &Store{db: db, hooks: h, leases: map[lease]time.Time{}}
}

// Open opens a new, empty store.
func Open(h store.Hooks) *Store { return NewDB().Open(h) }

var errClosed = errors.New("the store is closed")

// locked does run with the memory to itself. What run does to it must come last: an
// error or a panic takes nothing back.
func (s *Store) locked(ctx context.Context, what string, run func(*DB) error) (err error) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
	}()
	switch {
	case s.closed:
		return errClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return run(s.db)
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	s.closed = true
	return nil
}

// Ping implements [store.Store].
func (s *Store) Ping(ctx context.Context) error {
	return s.locked(ctx, "ping", func(*DB) error { return nil })
}

// ticket reads a ticket.
func (db *DB) ticket(seq int64) (*tickets.Ticket, error) {
	r, ok := db.rows[seq]
	if !ok {
		return nil, store.ErrNotFound
	}
	t, err := store.Decode(r.doc)
	if err != nil {
		return nil, err
	}
	t.Version = r.version
	return t, nil
}

func (db *DB) byNumber(n tickets.Number) (*tickets.Ticket, error) {
	seq, ok := n.Seq()
	if !ok {
		return nil, store.ErrNotFound
	}
	t, err := db.ticket(seq)
	if err == nil && t.Number != n {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// put writes t, whose version is that of the row it replaces, or 0.
func (db *DB) put(t *tickets.Ticket) error {
	seq, ok := t.Number.Seq()
	if !ok {
		return fmt.Errorf("%q is not a ticket number", t.Number)
	}
	if t.Version != db.rows[seq].version {
		return fmt.Errorf("%s: version %d is not the stored one", t.Number, t.Version)
	}
	if at, taken := db.requests[t.ID]; taken && at != seq {
		return fmt.Errorf("request %s has a ticket already", t.ID)
	}
	doc, err := store.Encode(t)
	if err != nil {
		return err
	}
	t.Version++
	db.rows[seq] = row{t.Version, t.Progress(), doc}
	db.requests[t.ID] = seq
	db.seq = max(db.seq, seq)
	db.index(seq, t.NextDue())
	return nil
}

// index has a ticket due at the given times and at no other.
func (db *DB) index(seq int64, due map[tickets.Lane]time.Time) {
	for lane, list := range db.due {
		if _, ok := due[lane]; !ok {
			delete(list, seq)
		}
	}
	for lane, at := range due {
		if db.due[lane] == nil {
			db.due[lane] = map[int64]time.Time{}
		}
		db.due[lane][seq] = micros(at)
	}
}

// micros is at in the index, rounded up: what the index calls due, the ticket owes.
func micros(at time.Time) time.Time {
	return time.UnixMicro(at.Add(time.Microsecond - 1).UnixMicro()).UTC()
}

// apply does what a webhook does to the ticket of its request, and fills in the
// receipt.
func (db *DB) apply(u *tickets.Update, apply store.Apply, r *tickets.Receipt) (*tickets.Ticket, error) {
	var old *tickets.Ticket
	if seq, ok := db.requests[u.ID]; ok {
		var err error
		if old, err = db.ticket(seq); err != nil {
			return nil, err
		}
		r.Ticket = old.Number
	}
	t, status := apply(old, db.seq+1)
	r.Status = status
	if t == nil {
		return nil, nil
	}
	r.Ticket = t.Number
	return t, db.put(t)
}

// Accept implements [store.Store].
func (s *Store) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	w := s.hooks.WriteTicket()
	apply = w.Apply(apply)
	r := tickets.Receipt{Incoming: in.ID, Status: tickets.StatusFailed}
	var t *tickets.Ticket
	err := s.locked(ctx, "keep webhook", func(db *DB) (err error) {
		if apply != nil {
			if t, err = db.apply(in.Update, apply, &r); err != nil {
				return err
			}
		}
		db.incomings[in.ID] = store.StoredIncoming{Incoming: kept(in), Receipt: r}
		return nil
	})
	if err != nil {
		return tickets.Receipt{}, nil, err
	}
	w.Committed(t)
	return r, t, nil
}

// kept is what is kept of a webhook.
func kept(in tickets.Incoming) tickets.Incoming {
	return tickets.Incoming{
		ID: in.ID, At: time.UnixMicro(in.At.UnixMicro()).UTC(), Remote: in.Remote, Raw: slices.Clone(in.Raw), Error: in.Error, Repaired: in.Repaired,
	}
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	w := s.hooks.WriteTicket()
	change = w.Change(change)
	var t *tickets.Ticket
	var refused error
	err := s.locked(ctx, "update "+string(n), func(db *DB) (err error) {
		if t, err = db.byNumber(n); err != nil {
			return err
		}
		if refused = change(t); refused != nil {
			t, err = db.byNumber(n) // as it stands: change may have touched it
			return err
		}
		return db.put(t)
	})
	if err != nil {
		return nil, err
	}
	if refused == nil {
		w.Committed(t)
	}
	return t, refused
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, n tickets.Number) (t *tickets.Ticket, err error) {
	err = s.locked(ctx, "ticket "+string(n), func(db *DB) (err error) { t, err = db.byNumber(n); return err })
	return t, err
}

// Find implements [store.Store].
func (s *Store) Find(ctx context.Context, id tickets.RequestID) (t *tickets.Ticket, err error) {
	err = s.locked(ctx, "ticket of request "+string(id), func(db *DB) (err error) {
		seq, ok := db.requests[id]
		if !ok {
			return store.ErrNotFound
		}
		t, err = db.ticket(seq)
		return err
	})
	return t, err
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.Query) (list []*tickets.Ticket, err error) {
	after, before, err := q.Between()
	if err != nil {
		return nil, err
	}
	var unread []error
	err = s.locked(ctx, "list tickets", func(db *DB) error {
		seqs := slices.Sorted(maps.Keys(db.rows))
		if !q.OldestFirst {
			slices.Reverse(seqs)
		}
		rows := 0
		for _, seq := range seqs {
			if seq <= after || seq >= before || q.Progress != "" && db.rows[seq].progress != q.Progress {
				continue
			}
			if rows++; rows > limit(q.Limit) {
				return nil
			}
			t, err := db.ticket(seq)
			if err != nil {
				unread = append(unread, fmt.Errorf("list tickets: %w", err))
				continue
			}
			list = append(list, t)
		}
		return nil
	})
	return list, errors.Join(append(unread, err)...)
}

func limit(n int) int {
	if n <= 0 {
		return 50
	}
	return n
}

// Claim implements [store.Store].
func (s *Store) Claim(ctx context.Context, lane tickets.Lane, now, until time.Time, n int) (list []*tickets.Ticket, err error) {
	var unread []error
	err = s.locked(ctx, "claim "+string(lane), func(db *DB) error {
		for l, end := range s.leases {
			if !end.After(now) {
				delete(s.leases, l)
			}
		}
		due := db.due[lane]
		seqs := slices.SortedFunc(maps.Keys(due), func(a, b int64) int { return cmp.Or(due[a].Compare(due[b]), cmp.Compare(a, b)) })
		for _, seq := range seqs {
			l := lease{lane, seq}
			if _, leased := s.leases[l]; leased || due[seq].After(now) {
				continue
			}
			if len(list) == n {
				return nil
			}
			t, err := db.ticket(seq)
			if err != nil {
				// It stays leased too, and is reported again when that ends.
				s.leases[l] = until
				unread = append(unread, fmt.Errorf("claim ticket %d in %s: %w", seq, lane, err))
				continue
			}
			if at, owes := t.NextDue()[lane]; !owes || at.After(now) {
				db.index(seq, t.NextDue()) // another version has written it
				continue
			}
			s.leases[l] = until
			list = append(list, t)
		}
		return nil
	})
	return list, errors.Join(append(unread, err)...)
}

// Release implements [store.Store].
func (s *Store) Release(_ context.Context, lane tickets.Lane, n tickets.Number) error {
	seq, ok := n.Seq()
	if !ok {
		return fmt.Errorf("release %q: %w", n, store.ErrNotFound)
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	delete(s.leases, lease{lane, seq})
	return nil
}

// Stats implements [store.Store].
func (s *Store) Stats(ctx context.Context, now time.Time) (store.Stats, error) {
	stats := store.Stats{Progress: map[tickets.Progress]int{}, Due: map[tickets.Lane]store.Backlog{}, Owed: map[tickets.Lane]int{}}
	err := s.locked(ctx, "stats", func(db *DB) error {
		for _, r := range db.rows {
			stats.Progress[r.progress]++
		}
		for lane, list := range db.due {
			for _, at := range list {
				stats.Owed[lane]++
				if at.After(now) {
					continue
				}
				b := stats.Due[lane]
				if b.Count == 0 || at.Before(b.Oldest) {
					b.Oldest = at
				}
				b.Count++
				stats.Due[lane] = b
			}
		}
		return nil
	})
	return stats, err
}

// FormsAfter implements [store.Store].
func (s *Store) FormsAfter(ctx context.Context, seq int64, n int) (list []store.Form, err error) {
	err = s.locked(ctx, "read stored forms", func(db *DB) error {
		list = db.forms(seq, limit(n), "")
		return nil
	})
	return list, err
}

// forms are the stored forms of n tickets with a counter above seq, oldest first.
func (db *DB) forms(seq int64, n int, p tickets.Progress) (list []store.Form) {
	for _, at := range slices.Sorted(maps.Keys(db.rows)) {
		r := db.rows[at]
		if at > seq && len(list) < n && (p == "" || r.progress == p) {
			list = append(list, store.Form{Seq: at, Version: r.version, Doc: slices.Clone(r.doc)})
		}
	}
	return list
}

// Misfiled implements [store.Store].
func (s *Store) Misfiled(ctx context.Context, list []store.Entries) (found []store.Misfiled, err error) {
	err = s.locked(ctx, "compare the indexes", func(db *DB) error {
		for _, e := range list {
			r, ok := db.rows[e.Seq]
			if !ok || r.version != e.Version {
				continue
			}
			if r.progress != e.Progress {
				found = append(found, e.FiledAs(string(r.progress)))
			}
			if db.requests[e.Request] != e.Seq {
				found = append(found, e.FiledNowhere())
			}
			for _, lane := range e.Lanes() {
				if at, there := db.due[lane][e.Seq]; !there || at.After(micros(e.Due[lane])) {
					found = append(found, e.NotDue(lane))
				}
			}
		}
		return nil
	})
	return found, err
}

// Refile implements [store.Store].
func (s *Store) Refile(ctx context.Context, n tickets.Number) error {
	return s.locked(ctx, "file "+string(n)+" anew", func(db *DB) error {
		t, err := db.byNumber(n)
		if err != nil {
			return err
		}
		e := store.EntriesOf(t)
		r := db.rows[e.Seq]
		r.progress = e.Progress
		db.rows[e.Seq] = r
		if _, taken := db.requests[e.Request]; !taken {
			db.requests[e.Request] = e.Seq
		}
		db.index(e.Seq, e.Due)
		return nil
	})
}
