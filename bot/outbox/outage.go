package outbox

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Outage is a place that cannot be used at present.
type Outage struct {
	Place   tickets.Place
	Since   time.Time
	Why     string             // for admins
	Steps   []tickets.StepKind // what cannot be done there: post, edit, reply
	Waiting int                // tickets that wait for it, as far as this process knows
}

// op is one thing to do in a place. Each is in or out of use for itself: a
// channel in which nothing may be written any more can still have its old
// messages edited, and a success with one says nothing about the other.
type op struct {
	place tickets.Place
	kind  tickets.StepKind
}

// outage is an op that is out.
type outage struct {
	since   time.Time
	why     string
	next    time.Time // when one step may see whether it works again
	waiting map[tickets.Number]struct{}
}

// outages knows which ops are out. It is memory only: after a restart the first
// step that fails tells again.
type outages struct {
	woken chan struct{} // something is in wakeups

	mu        sync.Mutex
	out       map[op]*outage
	cooldowns map[op]*cooldown
	wakeups   []wakeup
}

// wakeup is a ticket that waited for a place that works again.
type wakeup struct {
	number tickets.Number
	place  tickets.Place
}

// permit is what a step gets that wants to call the platform.
type permit struct {
	probe *outage   // the step sees whether this is over; nil: its op is not out
	wait  bool      // it must not call
	out   bool      // because its op is out
	until time.Time // if it must wait
	why   string
}

func opOf(s tickets.Step) op { return op{s.Place, s.Kind} }

// blamesPlace reports whether f, of a step of kind, says that the place cannot
// be used, whatever the ticket. A refusal alone may be of the ticket's own
// text: whoever wrote that must not be able to close the place to others.
func blamesPlace(f *tickets.Failure, kind tickets.StepKind) bool {
	switch kind {
	case tickets.StepPost, tickets.StepEdit, tickets.StepReply:
		return f.ChannelFault || f.Class == tickets.Unauthorized
	}
	return false // EPM is no place
}

// cooldown is of an op that failed for no reason of its own place or ticket: the
// platform is down, or wants to be left alone.
type cooldown struct {
	until time.Time
	fails int // in a row
	class tickets.Class
}

// failed leaves an op alone for a while after f: for another ticket the same
// would happen, and each try might cost the ticket its turn. A limit of edits
// may be that of old messages alone, and is left to the chat.
func (p *outages) failed(u op, f *tickets.Failure, now time.Time) {
	switch f.Class {
	case tickets.Unavailable, tickets.Ambiguous:
	case tickets.RateLimited:
		if u.kind != tickets.StepPost {
			return
		}
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.cooldowns[u]
	if o == nil {
		o = &cooldown{}
		if p.cooldowns == nil {
			p.cooldowns = map[op]*cooldown{}
		}
		p.cooldowns[u] = o
	}
	if o.until.After(now) {
		return // it was under way when another one failed
	}
	o.class, o.until = f.Class, now.Add(max(Backoff(firstPause, lastPause, o.fails), f.RetryAfter))
	o.fails++
}

// worked ends an op's pause.
func (p *outages) worked(u op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.cooldowns, u)
}

// pausedUntil is when an op is next tried; long ago if it is not paused.
func (p *outages) pausedUntil(u op) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.cooldowns[u]; o != nil {
		return o.until
	}
	return time.Time{}
}

// Cooldown is until when a place on platform is left alone, the longest one, and
// why; no class if there is none. One after a failure comes before one that was
// asked for, and lasts for the call that follows it: until that ends nobody knows
// whether the place works again.
func (o *Outbox) Cooldown(platform tickets.Platform, now time.Time) (until time.Time, class tickets.Class) {
	p := &o.outages
	p.mu.Lock()
	defer p.mu.Unlock()
	for u, c := range p.cooldowns {
		limited := c.class == tickets.RateLimited
		end := c.until
		if !limited {
			end = end.Add(o.Timeout)
		}
		if u.place.Platform != platform || !end.After(now) {
			continue
		}
		if class == "" || class == tickets.RateLimited && !limited || limited == (class == tickets.RateLimited) && c.until.After(until) {
			until, class = c.until, c.class
		}
	}
	return until, class
}

// acquire asks whether s may call its platform now. If its op is out, one step
// may every SlowRetry.
func (p *outages) acquire(s tickets.Step, now time.Time) permit {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.out[opOf(s)]
	switch pause := p.cooldowns[opOf(s)]; {
	case o == nil && pause != nil && pause.until.After(now):
		return permit{wait: true, until: pause.until, why: "the platform wants to be left alone"}
	case o == nil:
		return permit{}
	case now.Before(o.next):
		// Spread, so that the store is not asked for all of them at once.
		return permit{wait: true, out: true, until: o.next.Add(rand.N(LastRetry)), why: "the place is out of use: " + o.why}
	}
	o.next = now.Add(SlowRetry)
	return permit{probe: o}
}

// markDown notes that s failed with f for its place, and returns when to try
// again.
func (o *Outbox) markDown(s tickets.Step, f *tickets.Failure) time.Time {
	why := f.UserMessage
	if why == "" {
		why = f.Error()
	}
	now := o.Now()
	p := &o.outages
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.out[opOf(s)]
	if out != nil {
		out.why = why
		return out.next
	}
	if !p.isOut(s.Place) {
		o.Log.Error("channel unavailable", "platform", s.Place.Platform, "channel", s.Place.Channel, "step", s.Kind, "err", why)
		if o.Hooks.Lost != nil {
			o.Hooks.Lost(s.Place, why)
		}
	}
	out = &outage{since: now, why: why, next: now.Add(SlowRetry), waiting: map[tickets.Number]struct{}{}}
	if p.out == nil {
		p.out = map[op]*outage{}
	}
	p.out[opOf(s)] = out
	return out.next
}

// recordResult notes how a step of n ended that pass let in. Only a step that was
// let in to see tells that an op works again: others may have been under way when
// it broke.
func (o *Outbox) recordResult(s tickets.Step, n tickets.Number, pass permit, failure error) {
	now := o.Now()
	p := &o.outages
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.out[opOf(s)]
	if out == nil || out != pass.probe {
		return
	}
	if failure != nil {
		switch f := tickets.FailureOf(failure); {
		case blamesPlace(f, s.Kind):
			return
		case f.Class != tickets.NotFound:
			out.next = now.Add(FirstRetry / 2) // it says nothing about the place; n itself may try next
			return
		}
		// Only a place that works says that one message is gone.
	}
	delete(p.out, opOf(s))
	delete(out.waiting, n)
	p.wake(s.Place, out)
	for u, other := range p.out {
		if u.place == s.Place {
			other.next = now // most likely it works as well
			p.wake(s.Place, other)
		}
	}
	signal(p.woken)
	if !p.isOut(s.Place) {
		o.Log.Info("channel available again", "platform", s.Place.Platform, "channel", s.Place.Channel)
		if o.Hooks.Recovered != nil {
			o.Hooks.Recovered(s.Place)
		}
	}
}

// retry has all that waits go on, at now.
func (p *outages) retry(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for u, out := range p.out {
		out.next = now
		p.wake(u.place, out)
	}
	signal(p.woken)
}

func (p *outages) isOut(place tickets.Place) bool {
	for u := range p.out {
		if u.place == place {
			return true
		}
	}
	return false
}

func (p *outages) wake(place tickets.Place, o *outage) {
	for n := range o.waiting {
		p.wakeups = append(p.wakeups, wakeup{n, place})
	}
	clear(o.waiting)
}

// putOff records in t that s waits for its place, without a call.
func (o *Outbox) putOff(ctx context.Context, t *tickets.Ticket, s tickets.Step, pass permit) (*tickets.Ticket, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), RecordTimeout)
	defer cancel()
	after, err := o.Store.Update(ctx, t.Number, func(t *tickets.Ticket) error {
		t.ShowFailed(s.Place, pass.why, pass.until, false, o.Now())
		return nil
	})
	if err != nil {
		return nil, err
	}
	if pass.out {
		o.enqueueWaiting(s, t.Number)
	}
	return after, nil
}

// enqueueWaiting notes that n waits for its place, which the store knows already: if
// the place has come back in between, n does not wait.
func (o *Outbox) enqueueWaiting(s tickets.Step, n tickets.Number) {
	p := &o.outages
	p.mu.Lock()
	defer p.mu.Unlock()
	if out := p.out[opOf(s)]; out != nil {
		out.waiting[n] = struct{}{}
		return
	}
	p.wakeups = append(p.wakeups, wakeup{n, s.Place})
	signal(p.woken)
}

// runWakeups lets tickets go on that waited for a place. One that it cannot
// reach comes by itself when its wait is over.
func (o *Outbox) runWakeups(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.outages.woken:
		}
		o.outages.mu.Lock()
		list := o.outages.wakeups
		o.outages.wakeups = nil
		o.outages.mu.Unlock()
		for _, r := range list {
			if ctx.Err() != nil {
				return
			}
			o.resume(ctx, r)
		}
	}
}

func (o *Outbox) resume(ctx context.Context, r wakeup) {
	ctx, cancel := context.WithTimeout(ctx, RecordTimeout)
	defer cancel()
	t, changed, err := store.Change(ctx, o.Store, r.number, func(t *tickets.Ticket) bool {
		m := t.Message(r.place)
		if m == nil || !m.NotBefore.After(o.Now()) {
			return false
		}
		m.Attempts, m.NotBefore = 0, time.Time{}
		return true
	})
	switch {
	case changed:
		o.Wake(t)
	case err == nil, errors.Is(err, store.ErrNotFound), ctx.Err() != nil:
	default:
		o.Log.Warn("cannot resume ticket", "ticket", r.number, "platform", r.place.Platform, "channel", r.place.Channel, "err", err)
	}
}

// Outages lists the places that cannot be used.
func (o *Outbox) Outages() []Outage {
	p := &o.outages
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[tickets.Place]*Outage{}
	for u, out := range p.out {
		f := found[u.place]
		if f == nil {
			f = &Outage{Place: u.place, Since: out.since, Why: out.why}
			found[u.place] = f
		}
		if out.since.Before(f.Since) {
			f.Since, f.Why = out.since, out.why
		}
		f.Steps = append(f.Steps, u.kind)
		f.Waiting += len(out.waiting)
	}
	list := make([]Outage, 0, len(found))
	for _, f := range found {
		slices.Sort(f.Steps)
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Outage) int { return cmp.Compare(a.Place.String(), b.Place.String()) })
	return list
}
