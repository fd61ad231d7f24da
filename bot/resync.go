package bot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// How the store is compared with EPM's lists, for webhooks that were lost.
//
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

	// firstResync is how long the first comparison waits for the chats.
	firstResync = 30 * time.Second
	// seldomResync is how often a list is tried that the account may not
	// read, or that the tenant does not have.
	seldomResync = time.Hour
	// resyncTimeout is for one comparison; EPM is asked slowly.
	resyncTimeout = 3 * time.Minute

	// maxMissed bounds the tickets that one comparison makes of a kind: the
	// next makes more.
	maxMissed = 50
	// maxAsked bounds the tickets that EPM is asked for one by one, because
	// its list is too long to be read whole.
	maxAsked = 5
	// maxOpen bounds the open tickets of one progress that are compared.
	maxOpen = 2000
)

const resyncLease = "resync"

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

// reconciler is the memory of the comparisons. It is of this process.
type reconciler struct {
	holder string
	kinds  []*kindResync

	mu        sync.Mutex
	elsewhere bool // another replica compares
}

type kindResync struct {
	Comparison                                 // guarded by resync.mu
	next       time.Time                       // not before
	first      map[tickets.RequestID]time.Time // when pending requests that nobody knows were first seen
	proven     bool                            // the first identifier of a record was seen to be the request's
	asked      tickets.Number                  // the last ticket that EPM was asked for by itself
	compared   bool                            // a whole list was looked through before
	unsure     bool                            // it was logged that identifiers are not certain
}

func newReconciler() *reconciler {
	r := &reconciler{holder: rand.Text()}
	for _, k := range []tickets.Kind{tickets.Application, tickets.Admin} {
		r.kinds = append(r.kinds, &kindResync{Comparison: Comparison{Kind: k}, first: map[tickets.RequestID]time.Time{}})
	}
	return r
}

// Comparisons tells how the store compares with EPM's lists, and whether
// another replica compares them instead of this one.
func (b *Bot) Comparisons() (list []Comparison, elsewhere bool) {
	r := b.resync
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kinds {
		list = append(list, k.Comparison)
	}
	return list, r.elsewhere
}

// runReconcile compares the store with EPM once the bot is ready, and then every
// Config.Resync, until ctx ends.
func (b *Bot) runReconcile(ctx context.Context) {
	if b.Resync < 0 || !b.awaitReady(ctx) {
		return
	}
	defer b.drop(ctx, resyncLease, b.resync.holder)
	tick := time.NewTicker(b.Resync)
	defer tick.Stop()
	for {
		b.compare(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// awaitReady waits for the store, and for the chats a while. It reports false
// if ctx ends.
func (b *Bot) awaitReady(ctx context.Context) bool {
	tick := time.NewTicker(b.Poll)
	defer tick.Stop()
	for end := time.Now().Add(firstResync); ; {
		problems := b.Ready(ctx)
		if len(problems) == 0 || problems["store"] == nil && time.Now().After(end) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// compare compares each kind that is due, if no other replica does.
func (b *Bot) compare(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			b.Log.Error("the comparison with EPM panicked", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, resyncTimeout)
	defer cancel()
	if b.Shared != nil {
		// Held until the next comparison, so that all replicas together make
		// no more than one alone would.
		mine, err := b.Shared.AcquireLease(ctx, resyncLease, b.resync.holder, b.Resync+resyncTimeout)
		if err != nil {
			b.Log.Warn("cannot agree on who compares with EPM", "err", err)
			return
		}
		b.resync.mu.Lock()
		b.resync.elsewhere = !mine
		b.resync.mu.Unlock()
		if !mine {
			return
		}
	}
	for _, k := range b.resync.kinds {
		if b.Now().Before(k.next) || ctx.Err() != nil {
			continue
		}
		c, err := b.compareKind(ctx, k)
		if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
			return // stopping
		}
		b.compared(k, c, err)
	}
}

// compared keeps what came of a comparison, for status and metrics.
func (b *Bot) compared(k *kindResync, c Comparison, err error) {
	now := b.Now()
	why := ""
	k.next = time.Time{}
	if err != nil {
		f := tickets.FailureOf(err)
		if why = f.UserMessage; why == "" {
			why = "Countersign has a problem of its own, which its log tells"
		}
		if f.Class == tickets.Unauthorized || f.Class == tickets.Rejected {
			k.next = now.Add(seldomResync)
		} else if f.RetryAfter > 0 {
			k.next = now.Add(f.RetryAfter)
		}
		if why != k.Why {
			b.Log.Warn("cannot compare with EPM's list", "kind", k.Kind, "err", err)
		}
	}
	if c.Missed+c.Closed > 0 {
		b.Log.Info("compared with EPM's list", "kind", k.Kind, "missed", c.Missed, "closed", c.Closed)
	}
	b.resync.mu.Lock()
	defer b.resync.mu.Unlock()
	k.Why, k.Tried, k.Missed, k.Closed = why, now, k.Missed+c.Missed, k.Closed+c.Closed
	if err == nil {
		k.At, k.Unknown, k.Whole = now, c.Unknown, c.Whole
	}
}

// open is what this installation has that EPM may know better.
type open struct {
	waiting map[tickets.RequestID]*tickets.Ticket // nobody has decided
	numbers map[string]tickets.Number             // EPM's own, of all that are not final
}

func (b *Bot) openTickets(ctx context.Context, kind tickets.Kind) (open, error) {
	o := open{waiting: map[tickets.RequestID]*tickets.Ticket{}, numbers: map[string]tickets.Number{}}
	for _, p := range []tickets.Progress{tickets.Pending, tickets.Submitting, tickets.Submitted} {
		q := store.Query{Progress: p, Limit: 200}
		for n := 0; n < maxOpen; {
			list, err := b.Store.List(ctx, q)
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
func (b *Bot) compareKind(ctx context.Context, k *kindResync) (c Comparison, err error) {
	ours, err := b.openTickets(ctx, k.Kind)
	if err != nil {
		return c, err
	}
	seen := map[tickets.RequestID]bool{}
	var stored error
	listing, err := b.EPM.List(ctx, k.Kind, func(page []tickets.ListedRequest) {
		for _, l := range page {
			if stored == nil {
				stored = b.reconcileRecord(ctx, k, ours, l, seen, &c)
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
		b.pollIndividually(ctx, k, ours, seen, &c)
	}
	return c, nil
}

// reconcileRecord looks at one record of EPM's list.
func (b *Bot) reconcileRecord(ctx context.Context, k *kindResync, ours open, l tickets.ListedRequest, seen map[tickets.RequestID]bool, c *Comparison) error {
	for _, id := range l.IDs {
		again := seen[id]
		seen[id] = true
		if t := ours.waiting[id]; t != nil && !again && l.Outcome != nil {
			return b.resolve(ctx, t, l, c)
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
		switch _, err := b.Store.Find(ctx, id); {
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
			b.Log.Warn("EPM lists requests whose RequestId is not certain; they are left out", "kind", k.Kind)
		}
		return nil
	}
	return b.createMissing(ctx, k, l, c)
}

// createMissing makes a ticket of a request that was listed and is not known, once
// it is old enough for its webhook to have come.
func (b *Bot) createMissing(ctx context.Context, k *kindResync, l tickets.ListedRequest, c *Comparison) error {
	now, id := b.Now(), l.Request.ID
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
	made, err := b.acceptListed(ctx, l, &tickets.Update{ID: id, Request: &l.Request})
	if made {
		c.Missed++
	}
	return err
}

// resolve gives t, which waits here, what EPM lists as its outcome.
func (b *Bot) resolve(ctx context.Context, t *tickets.Ticket, l tickets.ListedRequest, c *Comparison) error {
	if age := b.Now().Sub(l.Outcome.At); age.Abs() < settle {
		return nil // its webhook is on its way
	}
	closed, err := b.acceptListed(ctx, l, &tickets.Update{ID: t.ID, Outcome: l.Outcome})
	if closed {
		c.Closed++
	}
	return err
}

// acceptListed keeps the record l like a webhook, with what news makes of its
// ticket, and reports whether that changed anything. The ticket is looked at
// once more in the commit: a webhook or a person may have been faster.
func (b *Bot) acceptListed(ctx context.Context, l tickets.ListedRequest, news *tickets.Update) (bool, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return false, err
	}
	now := b.Now()
	in := tickets.Incoming{ID: id.String(), At: now, Remote: tickets.RemoteList, Raw: l.Raw, Update: news}
	ctx, end := b.news(ctx, "listed", news, now)
	r, t, err := b.Store.Accept(ctx, in, func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		if news.Outcome != nil && (t == nil || t.Progress() != tickets.Pending) {
			return nil, tickets.StatusDuplicate
		}
		return take(in, b.rulesOf(t), t, seq, now)
	})
	end(t, r, err)
	if err != nil {
		return false, err
	}
	if t != nil {
		b.outbox.Wake(t)
	}
	return r.Status == tickets.StatusCreated || r.Status == tickets.StatusUpdated, nil
}

// pollIndividually asks EPM about a few of the tickets that wait here and were not on
// the pages that were read, each time about the next ones.
func (b *Bot) pollIndividually(ctx context.Context, k *kindResync, ours open, seen map[tickets.RequestID]bool, c *Comparison) {
	var left []*tickets.Ticket
	for id, t := range ours.waiting {
		if !seen[id] && b.Now().Sub(t.Created) >= settle {
			left = append(left, t)
		}
	}
	slices.SortFunc(left, func(a, b *tickets.Ticket) int { return strings.Compare(string(a.Number), string(b.Number)) })
	if i := slices.IndexFunc(left, func(t *tickets.Ticket) bool { return t.Number > k.asked }); i > 0 {
		left = slices.Concat(left[i:], left[:i])
	}
	for _, t := range left[:min(len(left), maxAsked)] {
		k.asked = t.Number
		out, err := b.EPM.Outcome(ctx, t)
		if err != nil || out == nil {
			continue // nothing is concluded from that
		}
		if err := b.resolve(ctx, t, tickets.ListedRequest{Outcome: out}, c); err != nil {
			b.Log.Warn("cannot record what EPM lists", "ticket", t.Number, "err", err)
		}
	}
}

// sayComparisons says how the store compares with EPM, and reports false if the
// last try failed.
func (b *Bot) sayComparisons() (say string, fine bool) {
	list, elsewhere := b.Comparisons()
	if elsewhere {
		return "Compared with EPM by another replica, which tells of it in its log and metrics.", true
	}
	if b.Resync < 0 {
		return "Not compared with EPM.", true
	}
	fine = true
	lines := make([]string, 0, len(list))
	for _, c := range list {
		name := c.Kind.Plural()
		s := "Compared with EPM's list of " + name + ": not yet."
		if !c.At.IsZero() {
			s = fmt.Sprintf("Compared with EPM's list of %s %s: %s missed, %s closed by it since the start.", name, adapters.FormatTime(c.At), count(c.Missed), count(c.Closed))
		}
		if c.Unknown > 0 {
			s += fmt.Sprintf(" Not understood and left out: %d.", c.Unknown)
		}
		if !c.At.IsZero() && !c.Whole {
			s += " The list is long: only its ends were read."
		}
		if c.Why != "" {
			fine = false
			s += fmt.Sprintf(" The last try, %s, failed: %s.", adapters.FormatTime(c.Tried), c.Why)
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "\n"), fine
}

func count(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
