// Package integrity holds what the bot acts on against what the tickets themselves
// say: their seals and histories, and the indexes that lead to them.
//
// What can still be decided or is on its way to EPM is looked at when the bot
// starts, before any decision is sent; everything is, by one process and slowly,
// once a day; and a ticket is whenever somebody decides it or it is sent. Nobody
// decides a ticket that is damaged before an admin has accepted that.
package integrity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/bot/lease"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	inspectEvery = 24 * time.Hour
	inspectPage  = 64
	// inspectPause is between two pages: a million tickets take half an hour.
	inspectPause = 100 * time.Millisecond
	// inspectHeld is for how long a process that inspects keeps the others
	// from it, and inspectRetry how often they ask.
	inspectHeld  = 5 * time.Minute
	inspectRetry = time.Minute
)

// Damage is a kind of thing that is found to be not as Countersign wrote it.
type Damage string

// The kinds of damage.
const (
	DamagedRecord    Damage = "record"     // a ticket, which can be read
	DamagedIndex     Damage = "index"      // what leads to a ticket; it is mended
	UnreadableRecord Damage = "unreadable" // a ticket, which cannot be read
)

// Damages lists every kind of damage.
func Damages() []Damage { return []Damage{DamagedRecord, DamagedIndex, UnreadableRecord} }

// Store is what an inspector needs of the store; see the store package.
type Store interface {
	Get(ctx context.Context, n tickets.Number) (*tickets.Ticket, error)
	List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error)
	Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error)
	FormsAfter(ctx context.Context, seq int64, limit int) ([]store.Form, error)
	Misfiled(ctx context.Context, list []store.Entries) ([]store.Misfiled, error)
	Refile(ctx context.Context, n tickets.Number) error
}

// Config is what an inspector is made of. All of it is required.
type Config struct {
	Store Store
	Lease *lease.Lease               // of the process that looks at everything
	Ready func(context.Context) bool // waits until there is time for that; false if ctx ends
	Wake  func(*tickets.Ticket)      // is called with each ticket that was changed
	Found func(Damage)               // is called for each thing that is found damaged
	Log   *slog.Logger
	Now   func() time.Time
}

// Inspector looks for damage. Make one with [New].
type Inspector struct {
	Config
	inspected chan struct{}
}

// New makes an inspector.
func New(c Config) *Inspector { return &Inspector{Config: c, inspected: make(chan struct{})} }

// Inspected is closed once the decisions on their way were compared with their
// histories: what is decided from then on is looked at when it is.
func (i *Inspector) Inspected() <-chan struct{} { return i.inspected }

// Run inspects until ctx ends.
func (i *Inspector) Run(ctx context.Context) {
	for n, p := range []tickets.Progress{tickets.Submitting, tickets.Submitted, tickets.Pending} {
		for !i.inspectOpen(ctx, p) {
			if !outbox.Sleep(ctx, outbox.FirstRetry) {
				return
			}
		}
		if n == 0 {
			close(i.inspected)
		}
	}
	if !i.Ready(ctx) {
		return
	}
	defer i.Lease.Release(ctx)
	for next := i.Now(); ; {
		if i.Lease.Held(ctx, inspectHeld) && !i.Now().Before(next) && i.inspectAll(ctx) {
			next = i.Now().Add(inspectEvery)
		}
		if !outbox.Sleep(ctx, inspectRetry) {
			return
		}
	}
}

// inspectOpen inspects the tickets that have come as far as p, as far as the
// index leads to them. It reports false if the store could not say which there
// are.
func (i *Inspector) inspectOpen(ctx context.Context, p tickets.Progress) bool {
	all := true
	whole, problem := store.Each(ctx, i.Store, p, func(t *tickets.Ticket) {
		seq, _ := t.Number.Seq()
		read, cancel := context.WithTimeout(ctx, outbox.RecordTimeout)
		defer cancel()
		page, err := i.Store.FormsAfter(read, seq-1, 1)
		if err != nil {
			i.Log.Warn("cannot compare a ticket with its history", "ticket", t.Number, "err", err)
		}
		all = i.inspect(ctx, page) && err == nil && all
	})
	if problem != nil && ctx.Err() == nil {
		i.Log.Warn("cannot compare all open tickets with their histories", "progress", p, "err", problem)
	}
	return whole && all
}

// inspectAll inspects every ticket, and reports whether it came to the end.
func (i *Inspector) inspectAll(ctx context.Context) bool {
	all := true
	for seq := int64(0); ; {
		read, cancel := context.WithTimeout(ctx, outbox.RecordTimeout)
		page, err := i.Store.FormsAfter(read, seq, inspectPage)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				i.Log.Warn("cannot compare all tickets with their histories", "err", err)
			}
			return false
		}
		if len(page) == 0 {
			return all
		}
		all = i.inspect(ctx, page) && all
		seq = page[len(page)-1].Seq
		if !outbox.Sleep(ctx, inspectPause) || !i.Lease.Held(ctx, inspectHeld) {
			return false
		}
	}
}

// inspect holds tickets against their histories, and the indexes against the
// tickets. A damaged ticket is marked so that nobody decides it; an index is
// mended. It reports whether it could look at all, and write what it found.
func (i *Inspector) inspect(ctx context.Context, page []store.Form) (all bool) {
	defer func() {
		if p := recover(); p != nil {
			all = false
			i.Log.Error("the comparison of tickets with their histories panicked", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	all = true
	var filed []store.Entries
	numbers := map[int64]tickets.Number{}
	for _, f := range page {
		r := f.Record()
		if r.Err == nil {
			if seq, ok := r.Ticket.Number.Seq(); !ok || seq != f.Seq {
				r.Err = fmt.Errorf("%w: it says that it is %s", store.ErrUnreadable, r.Ticket.Number)
			}
		}
		switch {
		case errors.Is(r.Err, store.ErrNewerForm):
			continue
		case r.Err != nil:
			i.Found(UnreadableRecord)
			i.Log.Error("a ticket cannot be read; audit verify tells more, and a backup has what was there", "seq", f.Seq, "err", r.Err)
			continue
		}
		if why := damageOf(f); len(why) > 0 || r.Ticket.Broken {
			t, err := i.damage(ctx, r.Ticket.Number, why)
			if err != nil {
				all = false
				continue
			}
			r.Ticket = t
		}
		numbers[f.Seq] = r.Ticket.Number
		filed = append(filed, store.EntriesOf(r.Ticket))
	}
	ctx, cancel := context.WithTimeout(ctx, outbox.RecordTimeout)
	defer cancel()
	wrong, err := i.Store.Misfiled(ctx, filed)
	if err != nil {
		all = false
		i.Log.Warn("cannot compare the indexes with the tickets", "err", err)
	}
	for _, m := range wrong {
		i.Found(DamagedIndex)
		n := numbers[m.Seq]
		i.Log.Error("an index of the store was changed by something else than countersign, or is damaged; it is mended", "ticket", n, "what", m.What)
		if err := i.Store.Refile(ctx, n); err != nil {
			i.Log.Error("cannot mend an index of the store", "ticket", n, "err", err)
			continue
		}
		if t, err := i.Store.Get(ctx, n); err == nil {
			i.Wake(t)
		}
	}
	return all
}

// damageOf is how the record of f differs from its seal and its history, but
// for what the history itself tells.
func damageOf(f store.Form) []string {
	var why []string
	for _, found := range store.VerifyForm(f.Seq, f.Doc) {
		switch {
		case found.Fault == store.FaultSeal && found.Event > 0:
		case found.Event > 0:
			why = append(why, fmt.Sprintf("event %d: %s", found.Event, found.Text))
		default:
			why = append(why, found.Text)
		}
	}
	return why
}

// damage marks the record of n as damaged, in the ways that why tells, for
// people. It returns the ticket as it is then.
func (i *Inspector) damage(ctx context.Context, n tickets.Number, why []string) (*tickets.Ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, outbox.RecordTimeout)
	defer cancel()
	t, changed, err := store.Change(ctx, i.Store, n, func(t *tickets.Ticket) bool { return t.MarkDamaged(why, i.Now()) })
	switch {
	case err != nil:
		i.Log.Error("cannot write down that a record is damaged", "ticket", n, "err", err)
		return nil, err
	case !changed:
		return t, nil // it is known already
	}
	i.Found(DamagedRecord)
	i.Log.Error("a record was changed by something else than countersign; nobody decides it until an admin has accepted that", "ticket", n, "what", why)
	i.Wake(t)
	return t, nil
}

// Check is t, once it was held against its history: nobody decides, and nothing
// is sent to EPM, by a record that says something else. It is an error if that
// cannot be found out, or not be written down.
func (i *Inspector) Check(ctx context.Context, t *tickets.Ticket) (*tickets.Ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, outbox.RecordTimeout)
	defer cancel()
	seq, _ := t.Number.Seq()
	page, err := i.Store.FormsAfter(ctx, seq-1, 1)
	switch {
	case err != nil:
		return nil, err
	case len(page) == 0 || page[0].Seq != seq:
		return nil, store.ErrNotFound
	case page[0].Err != nil:
		return nil, page[0].Err
	}
	if why := damageOf(page[0]); len(why) > 0 || t.Broken {
		return i.damage(ctx, t.Number, why)
	}
	return t, nil
}
