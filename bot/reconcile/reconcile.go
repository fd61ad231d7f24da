// Package reconcile compares the store with EPM's lists, for webhooks that were lost:
// a request that waits there and is not known here becomes a ticket, one that
// waits here and was decided there gets EPM's outcome. This decides nothing and
// opens nothing again. Of several replicas one does it.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/bot/lease"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/bot/webhooks"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// EPM may list for a while what has just changed, and a webhook may be on its
// way, so nothing younger than settle is believed: a request becomes a ticket
// if EPM lists it as pending that long after it was made, or that long after
// it was first seen if its age cannot be read; a ticket that waits here gets
// EPM's outcome if that is as old. What is decided here, or final, is never
// touched, and a record that is not understood says nothing. One that was
// raised before maxAge is left alone: a new installation shows no history.
const (
	settle = 2 * time.Minute
	maxAge = 7 * 24 * time.Hour

	// seldom is how often a list is tried that the account may not
	// read, or that the tenant does not have.
	seldom = time.Hour
	// compareTimeout is for one comparison; EPM is asked slowly.
	compareTimeout = 3 * time.Minute

	// maxMissed bounds the tickets that one comparison makes of a kind: the
	// next makes more.
	maxMissed = 50
	// maxAsked bounds the tickets that EPM is asked for one by one, because
	// its list is too long to be read whole.
	maxAsked = 5
	// maxOpen bounds the open tickets of one progress that are compared.
	maxOpen = 2000
)

// Comparison is what is known of EPM's list of one kind of request.
type Comparison struct {
	Kind    tickets.Kind
	At      time.Time // when it was last compared; zero if never
	Why     string    // why the last try failed, for people; empty if it did not
	Tried   time.Time // when that was
	Missed  int       // requests that it brought since the process began
	Closed  int       // tickets that it closed since the process began
	Unknown int       // records of the last comparison that were not understood
	Whole   bool      // the last comparison saw the whole list
}

// EPM lists requests; see the api of package epm.
type EPM interface {
	Outcome(ctx context.Context, t *tickets.Ticket) (*tickets.Outcome, error)
	List(ctx context.Context, kind tickets.Kind, take func([]tickets.ListedRequest)) (tickets.ListResult, error)
}

// Store is what a reconciler needs of the store; see the store package.
type Store interface {
	Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error)
	Find(ctx context.Context, id tickets.RequestID) (*tickets.Ticket, error)
	List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error)
}

// Config is what a reconciler is made of. All of it is required but Tracer.
type Config struct {
	Store  Store
	EPM    EPM
	Lease  *lease.Lease // of the process that compares
	Rules  func(*tickets.Ticket) tickets.Rules
	Ready  func(context.Context) bool // waits until there is time for it; false if ctx ends
	Wake   func(*tickets.Ticket)      // is called with each ticket that was changed
	Tracer tracing.Tracer
	Log    *slog.Logger
	Now    func() time.Time
	Every  time.Duration // never if negative
}

// Reconciler compares. Its memory is of this process. Make one with [New].
type Reconciler struct {
	Config
	kinds []*kindState

	mu        sync.Mutex
	elsewhere bool // another replica compares
}

type kindState struct {
	Comparison                                 // guarded by Reconciler.mu
	next       time.Time                       // not before
	first      map[tickets.RequestID]time.Time // when pending requests that nobody knows were first seen
	proven     bool                            // the first identifier of a record was seen to be the request's
	asked      tickets.Number                  // the last ticket that EPM was asked for by itself
	compared   bool                            // a whole list was looked through before
	unsure     bool                            // it was logged that identifiers are not certain
}

// New makes a reconciler. It does nothing before [Reconciler.Run].
func New(c Config) *Reconciler {
	r := &Reconciler{Config: c}
	for _, k := range []tickets.Kind{tickets.Application, tickets.Admin} {
		r.kinds = append(r.kinds, &kindState{Comparison: Comparison{Kind: k}, first: map[tickets.RequestID]time.Time{}})
	}
	return r
}

// Comparisons tells how the store compares with EPM's lists, and whether
// another replica compares them instead of this one.
func (r *Reconciler) Comparisons() (list []Comparison, elsewhere bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kinds {
		list = append(list, k.Comparison)
	}
	return list, r.elsewhere
}

// Run compares the store with EPM once there is time for it, and then again and
// again, until ctx ends.
func (r *Reconciler) Run(ctx context.Context) {
	if r.Every < 0 || !r.Ready(ctx) {
		return
	}
	defer r.Lease.Release(ctx)
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		r.compare(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// compare compares each kind that is due, if no other replica does.
func (r *Reconciler) compare(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.Error("the comparison with EPM panicked", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	// Held until the next comparison, so that all replicas together make no more
	// than one alone would.
	mine, err := r.Lease.Hold(ctx, r.Every+compareTimeout)
	if err != nil {
		r.Log.Warn("acquire reconcile lease", "err", err)
		return
	}
	r.mu.Lock()
	r.elsewhere = !mine
	r.mu.Unlock()
	if !mine {
		return
	}
	for _, k := range r.kinds {
		if r.Now().Before(k.next) || ctx.Err() != nil {
			continue
		}
		c, err := r.compareKind(ctx, k)
		if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
			return // stopping
		}
		r.compared(k, c, err)
	}
}

// compared keeps what came of a comparison, for status and metrics.
func (r *Reconciler) compared(k *kindState, c Comparison, err error) {
	now := r.Now()
	why := ""
	k.next = time.Time{}
	if err != nil {
		f := tickets.FailureOf(err)
		if why = f.UserMessage; why == "" {
			why = "Countersign has a problem of its own, which its log tells"
		}
		if f.Class == tickets.Unauthorized || f.Class == tickets.Rejected {
			k.next = now.Add(seldom)
		} else if f.RetryAfter > 0 {
			k.next = now.Add(f.RetryAfter)
		}
		if why != k.Why {
			r.Log.Warn("cannot compare with EPM's list", "kind", k.Kind, "err", err)
		}
	}
	if c.Missed+c.Closed > 0 {
		r.Log.Info("compared with EPM's list", "kind", k.Kind, "missed", c.Missed, "closed", c.Closed)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k.Why, k.Tried, k.Missed, k.Closed = why, now, k.Missed+c.Missed, k.Closed+c.Closed
	if err == nil {
		k.At, k.Unknown, k.Whole = now, c.Unknown, c.Whole
	}
}

// openTickets is what this installation has that EPM may know better.
type openTickets struct {
	waiting map[tickets.RequestID]*tickets.Ticket // nobody has decided
	numbers map[string]tickets.Number             // EPM's own, of all that are not final
}

func (r *Reconciler) open(ctx context.Context, kind tickets.Kind) (openTickets, error) {
	o := openTickets{waiting: map[tickets.RequestID]*tickets.Ticket{}, numbers: map[string]tickets.Number{}}
	for _, p := range []tickets.Progress{tickets.Pending, tickets.Submitting, tickets.Submitted} {
		q := store.Query{Progress: p, Limit: 200}
		for n := 0; n < maxOpen; {
			list, err := r.Store.List(ctx, q)
			if len(list) == 0 && err != nil {
				return o, err
			}
			for _, t := range list { // what cannot be read holds up nothing else
				if t.Request.Kind != kind {
					continue
				}
				if p == tickets.Pending {
					o.waiting[t.ID] = t
				}
				if t.Request.EPMNumber != "" {
					o.numbers[t.Request.EPMNumber] = t.Number
				}
			}
			n += len(list)
			if len(list) == 0 || len(list) < q.Limit && err == nil {
				break
			}
			q.Before = list[len(list)-1].Number
		}
	}
	return o, nil
}

// compareKind reads EPM's list of a kind, makes tickets of the requests that
// were missed, and closes those that were decided elsewhere.
func (r *Reconciler) compareKind(ctx context.Context, k *kindState) (c Comparison, err error) {
	ours, err := r.open(ctx, k.Kind)
	if err != nil {
		return c, err
	}
	seen := map[tickets.RequestID]bool{}
	var stored error
	listing, err := r.EPM.List(ctx, k.Kind, func(page []tickets.ListedRequest) {
		for _, l := range page {
			if stored == nil {
				stored = r.reconcileRecord(ctx, k, ours, l, seen, &c)
			}
		}
	})
	c.Unknown, c.Whole = c.Unknown+listing.Skipped, listing.Complete
	if stored != nil {
		return c, stored
	}
	if err != nil {
		return c, err
	}
	for id := range k.first {
		if !seen[id] {
			delete(k.first, id)
		}
	}
	k.compared = true
	if !listing.Complete {
		r.pollIndividually(ctx, k, ours, seen, &c)
	}
	return c, nil
}

// reconcileRecord looks at one record of EPM's list.
func (r *Reconciler) reconcileRecord(ctx context.Context, k *kindState, ours openTickets, l tickets.ListedRequest, seen map[tickets.RequestID]bool, c *Comparison) error {
	for _, id := range l.IDs {
		again := seen[id]
		seen[id] = true
		if t := ours.waiting[id]; t != nil && !again && l.Outcome != nil {
			return r.resolve(ctx, t, l, c)
		}
	}
	if l.Outcome != nil {
		return nil
	}
	for i, id := range l.IDs {
		if ours.waiting[id] != nil {
			k.proven = k.proven || i == 0
			return nil
		}
		switch _, err := r.Store.Find(ctx, id); {
		case err == nil:
			k.proven = k.proven || i == 0
			return nil
		case errors.Is(err, store.ErrNewerForm):
			c.Unknown++ // a newer replica's business
			return nil
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	if !l.IDCertain && !k.proven || ours.numbers[l.Request.EPMNumber] != "" {
		// Under another name it may be here already, or come by its webhook.
		c.Unknown++
		if !k.unsure {
			k.unsure = true
			r.Log.Warn("EPM lists requests whose RequestId is not certain; they are left out", "kind", k.Kind)
		}
		return nil
	}
	return r.createMissing(ctx, k, l, c)
}

// createMissing makes a ticket of a request that was listed and is not known, once
// it is old enough for its webhook to have come.
func (r *Reconciler) createMissing(ctx context.Context, k *kindState, l tickets.ListedRequest, c *Comparison) error {
	now, id := r.Now(), l.Request.ID
	at := l.Request.Time
	if at.IsZero() || at.After(now) { // or it is not of the zone we think
		if k.first[id].IsZero() {
			k.first[id] = now
			if at.IsZero() && !k.compared {
				// Nobody can tell it from what was forgotten long ago; what
				// comes later is new.
				k.first[id] = now.Add(-maxAge - time.Hour)
			}
		}
		at = k.first[id]
	}
	if age := now.Sub(at); age < settle || age > maxAge || c.Missed >= maxMissed {
		return nil
	}
	made, err := r.acceptListed(ctx, l, &tickets.Update{ID: id, Request: &l.Request})
	if made {
		c.Missed++
	}
	return err
}

// resolve gives t, which waits here, what EPM lists as its outcome.
func (r *Reconciler) resolve(ctx context.Context, t *tickets.Ticket, l tickets.ListedRequest, c *Comparison) error {
	if age := r.Now().Sub(l.Outcome.At); age.Abs() < settle {
		return nil // its webhook is on its way
	}
	closed, err := r.acceptListed(ctx, l, &tickets.Update{ID: t.ID, Outcome: l.Outcome})
	if closed {
		c.Closed++
	}
	return err
}

// acceptListed keeps the record l like a webhook, with what news makes of its
// ticket, and reports whether that changed anything. The ticket is looked at
// once more in the commit: a webhook or a person may have been faster.
func (r *Reconciler) acceptListed(ctx context.Context, l tickets.ListedRequest, news *tickets.Update) (bool, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return false, err
	}
	now := r.Now()
	in := tickets.Incoming{ID: id.String(), At: now, Remote: tickets.RemoteList, Raw: l.Raw, Update: news}
	ctx, end := tracing.BeginUpdate(ctx, r.Tracer, "listed", news, now)
	receipt, t, err := r.Store.Accept(ctx, in, func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		if news.Outcome != nil && (t == nil || t.Progress() != tickets.Pending) {
			return nil, tickets.StatusDuplicate
		}
		return webhooks.Apply(in, r.Rules(t), t, seq, now)
	})
	end(t, receipt, err, r.Now())
	if err != nil {
		return false, err
	}
	if t != nil {
		r.Wake(t)
	}
	return receipt.Status == tickets.StatusCreated || receipt.Status == tickets.StatusUpdated, nil
}

// pollIndividually asks EPM about a few of the tickets that wait here and were not on
// the pages that were read, each time about the next ones.
func (r *Reconciler) pollIndividually(ctx context.Context, k *kindState, ours openTickets, seen map[tickets.RequestID]bool, c *Comparison) {
	var left []*tickets.Ticket
	for id, t := range ours.waiting {
		if !seen[id] && r.Now().Sub(t.Created) >= settle {
			left = append(left, t)
		}
	}
	slices.SortFunc(left, func(a, b *tickets.Ticket) int { return strings.Compare(string(a.Number), string(b.Number)) })
	if i := slices.IndexFunc(left, func(t *tickets.Ticket) bool { return t.Number > k.asked }); i > 0 {
		left = slices.Concat(left[i:], left[:i])
	}
	for _, t := range left[:min(len(left), maxAsked)] {
		k.asked = t.Number
		out, err := r.EPM.Outcome(ctx, t)
		if err != nil || out == nil {
			continue // nothing is concluded from that
		}
		if err := r.resolve(ctx, t, tickets.ListedRequest{Outcome: out}, c); err != nil {
			r.Log.Warn("cannot record what EPM lists", "ticket", t.Number, "err", err)
		}
	}
}
