// Package redis keeps tickets in Redis, so that several replicas of the bot
// can share them. It needs Redis 6.2 or newer, or Valkey: alone, with TLS,
// behind Sentinel or as a Cluster.
//
// # Address
//
//	redis://[USER[:PASSWORD]@]HOST[:6379][/DB]
//	redis+sentinel://[USER[:PASSWORD]@]HOST[:26379],HOST2[:26379][/DB]?master=NAME
//	redis+cluster://[USER[:PASSWORD]@]HOST[:6379],HOST2[:6379]
//
// With TLS: rediss://, rediss+sentinel://, rediss+cluster://. User and
// password are those of the Redis servers. Parameters: tenant=NAME (default
// "default") keeps several bots apart in one Redis; sentinel_user and
// sentinel_password for Sentinels that want their own; ca=FILE, cert=FILE and
// key=FILE for TLS with a private authority or client certificates.
//
// # Keys
//
// Every key begins with {countersign:TENANT}: and is named in keys.go. The
// braces keep a tenant in one slot of a Cluster, so that one script can
// commit a webhook, its ticket and their indexes together.
//
//	key                type    what it holds
//	schema             string  the version of this table, 1
//	seq                string  the counter of the last ticket number
//	ticket:SEQ         hash    version (of writes), doc (the stored form, JSON
//	                           with its own version), progress, lanes (those
//	                           in whose index it is)
//	request:ID         string  the SEQ of a request's ticket
//	tickets            zset    SEQ by SEQ
//	tickets:PROGRESS   zset    SEQ by SEQ
//	lanes              set     every lane that there was
//	due:LANE           zset    SEQ by when it owes something there, µs
//	leases:LANE        zset    "SEQ OWNER" by the lease's end, µs of Redis' clock
//	incoming:ID        hash    at (µs), remote, ticket, status, error,
//	                           repaired, raw
//	incomings          zset    ID by arrival, µs
//	incomings:STATUS   zset    ID by arrival, µs
//	settings           string  what admins have set, JSON with its own version
//	changes            list    the changes of that, JSON, newest first
//	retired            list    the ledger of retired tickets, JSON, oldest first
//	marks              hash    how far each has come who follows the changes
//	ping               string  what Ping and Same write
//	hold:NAME          string  who has a lease, until it expires
//	once:KEY           string  what was claimed, until that expires
//	count:NAME         hash    how many each holder has, and until when that counts
//	pace:KEY           string  of a limit, when its last call is due without
//	                           bursts, µs of Redis' clock, until then
//	shut:LANE          string  until when a platform wants no calls, µs of
//	                           Redis' clock, until then
//
// Only the last five expire. Scripts name keys of tickets and webhooks that they
// have just found themselves; those are in the slot of the keys they are
// given.
//
// # What it promises
//
// A new request costs one round trip, and so does a webhook about none;
// another webhook costs two. Updates compare and swap: two round trips, and
// one more each time that another was faster. Reads, claims and releases cost
// one. Nothing is sent twice by itself: after a call that got no answer the
// write may have happened, which the contract says. Accept may be repeated
// with the same webhook: it is known by its id.
//
// A write is as durable as Redis is told to be; see [Store.Warnings].
package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

var (
	_ store.Store   = (*Store)(nil)
	_ store.Archive = (*Store)(nil)
)

const schemaVersion = 1 // of the table of keys; a newer one is refused

// Config says which Redis to use.
type Config struct {
	URL string // the address, see the package comment. Required
	// Current is the address at present, asked for each connection, for a user
	// and a password that change while the store is open; nothing else of it
	// may. Default URL.
	Current func() string
	Now     func() time.Time // the clock of Claim's callers. Default time.Now
	// Name is who leases tickets. A process that is started again under the
	// name of one that died gets back at once, with Begin, what that one had
	// leased; so no two that live may have the same name. Default one that
	// nobody else has.
	Name  string
	Hooks store.Hooks // default none
}

// Store is an open store. Make one with [Open].
type Store struct {
	c     goredis.UniversalClient
	k     keys
	now   func() time.Time
	hooks store.Hooks
	owner string // of this store's leases

	at      address
	address string                    // without secrets
	began   atomic.Pointer[beginning] // nil before Begin

	mu     sync.RWMutex // held for reading by each call, for writing by Close
	closed bool

	lanes   map[tickets.Lane]*leases
	lanesMu sync.Mutex // of lanes and reported

	// Until when the tickets that Claim found, and that only a newer version
	// can read, are not reported again: by lane and number.
	reported map[string]time.Time
}

// Open is New and Begin.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := New(c)
	if err != nil {
		return nil, err
	}
	if err := s.Begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// New checks the address, and calls nobody. Until Begin has succeeded every
// method but Close answers with an error. No error shows a password.
func New(c Config) (*Store, error) {
	logging.Disable() // the library's lines on standard error; we return errors
	a, err := parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	login := func() (string, string) { return a.user, a.password }
	if c.Current != nil {
		login = func() (string, string) {
			now, err := parse(c.Current())
			if err != nil {
				return a.user, a.password
			}
			return now.user, now.password
		}
	}
	client, err := a.client(login)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", a, err)
	}
	s := &Store{at: a, c: client, k: keysOf(a.tenant), address: a.String(), now: c.Now, hooks: c.Hooks, owner: rand.Text(), lanes: map[tickets.Lane]*leases{}, reported: map[string]time.Time{}}
	if c.Name != "" {
		s.owner = fmt.Sprintf("%x", sha256.Sum256([]byte(c.Name)))[:32] // without blanks
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// Try connects with the user and the password of rawURL, which are not in use
// yet. The rest of it must be as it was. ErrAway says that it cannot be tried
// at present.
func (s *Store) Try(ctx context.Context, rawURL string) (err error) {
	a, err := parse(rawURL)
	if err != nil {
		return err
	}
	same := s.at
	same.user, same.password = a.user, a.password
	if !reflect.DeepEqual(a, same) {
		return errors.New("only the user and the password in it can change while the program runs: restart it for the rest")
	}
	client, err := a.client(func() (string, string) { return a.user, a.password })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return said(client.Ping(ctx).Err())
}

// Begin connects, and makes the store if there is none. It may be repeated
// after an error; one that is ErrAway may pass by itself.
func (s *Store) Begin(ctx context.Context) error {
	err := s.open(ctx)
	if err != nil {
		err = fmt.Errorf("open store %s: %w", s.address, err)
	}
	s.began.Store(&beginning{err})
	return err
}

// beginning is what came of Begin.
type beginning struct{ err error }

var errNotBegun = errors.New("the store was not opened yet")

func (s *Store) open(ctx context.Context) error {
	leave, err := s.lock()
	if err != nil {
		return err
	}
	defer leave()
	r, err := s.script(ctx, openScript, []string{s.k.schema(), s.k.seq()}, schemaVersion, store.FirstSeq-1)
	if err != nil {
		return err
	}
	switch v, err := strconv.Atoi(r.text(1)); {
	case err != nil || v < 1:
		return fmt.Errorf("the key %s is not a countersign store's", s.k.schema())
	case v > schemaVersion:
		return fmt.Errorf("schema %d: %w", v, store.ErrNewerForm)
	}
	return s.endFormer(ctx)
}

// Close waits for calls in progress, and closes the connections.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.c.Close()
}

// enter begins a call. Unless it returns an error, leave must be called.
func (s *Store) enter() (leave func(), err error) {
	switch b := s.began.Load(); {
	case b == nil:
		return nil, errNotBegun
	case b.err != nil:
		return nil, b.err
	}
	return s.lock()
}

func (s *Store) lock() (leave func(), err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, errClosed
	}
	return s.mu.RUnlock, nil
}

// run runs a script.
func (s *Store) run(ctx context.Context, script *goredis.Script, keys []string, args ...any) (reply, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.script(ctx, script, keys, args...)
}

func (s *Store) script(ctx context.Context, script *goredis.Script, keys []string, args ...any) (reply, error) {
	r, err := script.Run(ctx, s.c, keys, args...).Slice()
	return r, s.failed(ctx, err)
}

// failed is said, and has a cluster's map read anew if a node does not answer.
func (s *Store) failed(ctx context.Context, err error) error {
	var answer goredis.Error
	if cluster, ok := s.c.(*goredis.ClusterClient); ok && err != nil && !errors.As(err, &answer) {
		cluster.ReloadState(ctx)
	}
	return said(err)
}

// Ping writes, because a Redis that only answers is not enough.
func (s *Store) Ping(ctx context.Context) error {
	return s.mark(ctx, s.now().UTC().Format(time.RFC3339Nano))
}

// Accept implements [store.Store].
func (s *Store) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	r, t, err := s.accept(ctx, webhook{Incoming: in}, apply)
	if err != nil {
		return tickets.Receipt{}, nil, fmt.Errorf("keep webhook: %w", err)
	}
	return r, t, nil
}

func (s *Store) accept(ctx context.Context, in webhook, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	w := s.hooks.WriteTicket()
	receipt, t, err := s.applied(ctx, in, w.Apply(apply))
	if err == nil {
		w.Committed(t)
	}
	return receipt, t, err
}

func (s *Store) applied(ctx context.Context, in webhook, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	receipt := tickets.Receipt{Incoming: in.ID, Status: tickets.StatusFailed}
	if apply == nil {
		r, err := s.begin(ctx, in, false, store.Draft{Status: receipt.Status})
		if err != nil {
			return receipt, nil, err
		}
		return s.after(ctx, in, receipt, nil, r)
	}
	// Most requests are new: trying that first saves looking. Other webhooks
	// are about tickets that there are.
	look := in.Update.Request == nil
	for try := 0; ; try++ {
		var old *record
		if look {
			r, err := s.run(ctx, lookScript, []string{s.k.request(in.Update.ID)}, s.k.everyTicket())
			if err != nil {
				return receipt, nil, err
			}
			if r.text(0) == "known" {
				old = known(r)
			}
		}
		if old == nil {
			d, err := store.NewDraft(apply)
			if err != nil {
				return receipt, nil, err
			}
			r, err := s.begin(ctx, in, true, d)
			if err != nil {
				return receipt, nil, err
			}
			if r.text(0) == "made" {
				seq, err := strconv.ParseInt(r.text(1), 10, 64)
				if err != nil {
					return receipt, nil, fmt.Errorf("counter: %w", err)
				}
				t := d.AssignNumber(seq)
				receipt.Ticket, receipt.Status = t.Number, d.Status
				return receipt, t, nil
			}
			if r.text(0) != "known" {
				receipt.Status = d.Status
				return s.after(ctx, in, receipt, nil, r)
			}
			old = known(r)
		}
		for {
			t, err := old.ticket()
			if err != nil {
				return receipt, nil, err
			}
			receipt.Ticket = t.Number
			t, status, err := safely(apply, t)
			if err != nil {
				return receipt, nil, err
			}
			r, err := s.put(ctx, old, t, &in, receipt.Ticket, status)
			if err != nil {
				return receipt, nil, err
			}
			if r.text(0) != "other" {
				receipt.Status = status
				return s.after(ctx, in, receipt, t, r)
			}
			if old = old.now(r); old == nil {
				break // it was removed: begin again
			}
			if err := pause(ctx, try); err != nil {
				return receipt, nil, err
			}
			try++
		}
		look = true
		if err := pause(ctx, try); err != nil {
			return receipt, nil, err
		}
	}
}

// begin keeps a webhook and the ticket that it begins, if it is drafted. With
// about it does so only if the webhook's request has no ticket.
func (s *Store) begin(ctx context.Context, in webhook, about bool, d store.Draft) (reply, error) {
	keys := append(make([]string, 0, 12), in.keys(s.k, d.Status)...)
	args := append(make([]any, 0, 24), in.args(d.Status)...)
	if about {
		keys = append(keys, s.k.request(in.Update.ID))
		args = append(args, s.k.everyTicket())
	}
	if t := d.Ticket; t != nil {
		due, lanes := dueOf(t)
		keys = append(keys, s.k.seq(), s.k.tickets(), s.k.progress(t.Progress()), s.k.lanes())
		args = append(args, d.Before, d.After, d.Prefix, string(t.Progress()), laneText(lanes))
		for _, l := range lanes {
			keys = append(keys, s.k.due(l))
			args = append(args, string(l), micros(due[l]))
		}
	}
	if in.again {
		return s.run(ctx, acceptAgainScript, keys, args...)
	}
	return s.run(ctx, acceptScript, keys, args...)
}

// put writes t, which was made of old, and the webhook in, if these are not
// nil.
func (s *Store) put(ctx context.Context, old *record, t *tickets.Ticket, in *webhook, n tickets.Number, status tickets.Status) (reply, error) {
	keys := append(make([]string, 0, 12), s.k.ticket(old.seq), s.k.progress(old.progress), s.k.progress(old.progress), s.k.lanes())
	args := append(make([]any, 0, 24), old.seq, old.version, "", string(old.progress), "", 0, 0)
	if t != nil {
		if seq, ok := t.Number.Seq(); !ok || seq != old.seq || t.Version != old.version {
			return nil, fmt.Errorf("request %s has the ticket %d already", t.ID, old.seq)
		}
		doc, err := store.Encode(t)
		if err != nil {
			return nil, err
		}
		due, lanes := dueOf(t)
		left := slices.DeleteFunc(lanesOf(old.lanes), func(l tickets.Lane) bool { return slices.Contains(lanes, l) })
		keys[2] = s.k.progress(t.Progress())
		for _, l := range left {
			keys = append(keys, s.k.due(l))
		}
		args = append(args[:2], doc, string(t.Progress()), laneText(lanes), len(left), len(lanes))
		for _, l := range lanes {
			keys = append(keys, s.k.due(l))
			args = append(args, string(l), micros(due[l]))
		}
	}
	if in != nil {
		keys = append(keys, in.keys(s.k, status)...)
		args = append(append(args, in.args(status)...), string(n))
		if in.again {
			return s.run(ctx, putAgainScript, keys, args...)
		}
	}
	return s.run(ctx, putScript, keys, args...)
}

// after is what Accept returns once its script has answered. t is the changed
// ticket that the script was to write.
func (s *Store) after(ctx context.Context, in webhook, receipt tickets.Receipt, t *tickets.Ticket, r reply) (tickets.Receipt, *tickets.Ticket, error) {
	switch r.text(0) {
	case "done":
		if t != nil {
			t.Version++
			receipt.Ticket = t.Number
		}
		return receipt, t, nil
	case "kept":
		// It was sent before, and its answer lost; or it is replayed, and
		// was before.
		receipt.Ticket, receipt.Status = tickets.Number(r.text(1)), tickets.Status(r.text(2))
		if in.again {
			return receipt, nil, nil
		}
		if receipt.Status != tickets.StatusCreated && receipt.Status != tickets.StatusUpdated {
			return receipt, nil, nil
		}
		t, err := s.Get(ctx, receipt.Ticket)
		return receipt, t, err
	case "gone":
		return receipt, nil, store.ErrNotFound
	case "taken":
		return receipt, nil, fmt.Errorf("%s is the id of another webhook", in.ID)
	case "used":
		return receipt, nil, fmt.Errorf("number %s is in use: %w", r.text(1), errNumberUsed)
	}
	return receipt, nil, r.unknown()
}

// safely applies a webhook to a ticket that there is; a panic in apply is an
// error of this call alone.
func safely(apply store.Apply, t *tickets.Ticket) (_ *tickets.Ticket, _ tickets.Status, err error) {
	defer recovered(&err)
	t, status := apply(t, 0)
	return t, status, nil
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
	}
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	w := s.hooks.WriteTicket()
	t, refused, err := s.update(ctx, n, w.Change(change))
	if err != nil {
		return nil, fmt.Errorf("update %s: %w", n, err)
	}
	if refused == nil {
		w.Committed(t)
	}
	return t, refused
}

func (s *Store) update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (t *tickets.Ticket, refused, err error) {
	old, err := s.record(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	for try := 0; ; try++ {
		if t, err = old.ticket(); err != nil {
			return nil, nil, err
		}
		if t.Number != n {
			return nil, nil, store.ErrNotFound
		}
		if refused, err = changed(change, t); err != nil {
			return nil, nil, err
		}
		if refused != nil {
			t, err = old.ticket() // as it stands: change may have touched it
			return t, refused, err
		}
		r, err := s.put(ctx, old, t, nil, "", "")
		if err != nil {
			return nil, nil, err
		}
		switch r.text(0) {
		case "done":
			t.Version++
			return t, nil, nil
		case "other":
			if old = old.now(r); old == nil {
				return nil, nil, store.ErrNotFound
			}
		default:
			return nil, nil, r.unknown()
		}
		if err := pause(ctx, try); err != nil {
			return nil, nil, err
		}
	}
}

// changed calls change; a panic in it is an error of this call alone.
func changed(change func(*tickets.Ticket) error, t *tickets.Ticket) (refused, err error) {
	defer recovered(&err)
	return change(t), nil
}

// pause waits before a write that lost against another is tried again: a
// random time, which grows with the tries, so that all who compete come in.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(mrand.N(min(time.Millisecond<<min(try, 6), 50*time.Millisecond)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dueOf is t's entries in the index.
func dueOf(t *tickets.Ticket) (map[tickets.Lane]time.Time, []tickets.Lane) {
	due := t.NextDue()
	lanes := make([]tickets.Lane, 0, len(due))
	for l := range due {
		lanes = append(lanes, l)
	}
	slices.Sort(lanes)
	return due, lanes
}

// micros is at in the index, rounded up: what the index calls due, the ticket
// owes.
func micros(at time.Time) int64 { return at.Add(time.Microsecond - 1).UnixMicro() }
