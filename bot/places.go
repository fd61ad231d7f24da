package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// tellTimeout is for telling all admins one thing once.
	tellTimeout = 30 * time.Second
	// keepTold is how long replicas leave it to the one that has told that a
	// place is lost.
	keepTold = time.Hour
	// tellTries and firstTell: a chat that is down is tried for five minutes.
	tellTries = 6
	firstTell = 10 * time.Second
)

// ChannelOutage is a place that cannot be used at present.
type ChannelOutage struct {
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

// outage is a use that is out.
type outage struct {
	since   time.Time
	why     string
	next    time.Time // when one step may see whether it works again
	waiting map[tickets.Number]struct{}
}

// places knows which uses are out. It is memory only: after a restart the
// first step that fails tells again. The zero value knows of none.
type places struct {
	mu      sync.Mutex
	out     map[op]*outage
	pauses  map[op]*cooldown
	recalls []wakeup
	notes   []*adminNotice // at most one for each place
}

// wakeup is a ticket that waited for a place that works again.
type wakeup struct {
	number tickets.Number
	place  tickets.Place
}

// adminNotice is what admins have to be told about a place.
type adminNotice struct {
	place tickets.Place
	lost  bool // else it works again
	text  string
	cards []tickets.Number    // whose cards are given up there; text is said of them
	left  []tickets.Principal // who has to be told still
	told  int
	tries int
	at    time.Time // not before
}

// permit is what a step gets that wants to call the platform.
type permit struct {
	probe *outage   // the step sees whether this is over; nil: its use is not out
	wait  bool      // it must not call
	out   bool      // because its use is out
	until time.Time // if it must wait
	why   string
}

func useOf(s tickets.Step) op { return op{s.Place, s.Kind} }

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

// cooldown is a use that failed for no reason of its own place or ticket: the
// platform is down, or wants to be left alone.
type cooldown struct {
	until time.Time
	fails int // in a row
	class tickets.Class
}

// failed leaves a use alone for a while after f: for another ticket the same
// would happen, and each try might cost the ticket its turn. A limit of edits
// may be that of old messages alone, and is left to the chat.
func (p *places) failed(u op, f *tickets.Failure, now time.Time) {
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
	o := p.pauses[u]
	if o == nil {
		o = &cooldown{}
		if p.pauses == nil {
			p.pauses = map[op]*cooldown{}
		}
		p.pauses[u] = o
	}
	if o.until.After(now) {
		return // it was under way when another one failed
	}
	o.class, o.until = f.Class, now.Add(max(backoff(firstPause, lastPause, o.fails), f.RetryAfter))
	o.fails++
}

// worked ends a use's pause.
func (p *places) worked(u op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pauses, u)
}

// pausedUntil is when a use is next tried; long ago if it is not paused.
func (p *places) pausedUntil(u op) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.pauses[u]; o != nil {
		return o.until
	}
	return time.Time{}
}

// pausedOn is the longest pause of a place on platform, and why; no class if
// there is none. One after a failure comes before one that was asked for, and
// lasts for the call that follows it, which takes call at most: until that ends
// nobody knows whether the place works again.
func (p *places) pausedOn(platform tickets.Platform, now time.Time, call time.Duration) (until time.Time, class tickets.Class) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for u, o := range p.pauses {
		limited := o.class == tickets.RateLimited
		end := o.until
		if !limited {
			end = end.Add(call)
		}
		if u.place.Platform != platform || !end.After(now) {
			continue
		}
		if class == "" || class == tickets.RateLimited && !limited || limited == (class == tickets.RateLimited) && o.until.After(until) {
			until, class = o.until, o.class
		}
	}
	return until, class
}

// acquire asks whether s may call its platform now. If its use is out, one step
// may every slowRetry.
func (p *places) acquire(s tickets.Step, now time.Time) permit {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.out[useOf(s)]
	switch pause := p.pauses[useOf(s)]; {
	case o == nil && pause != nil && pause.until.After(now):
		return permit{wait: true, until: pause.until, why: "the platform wants to be left alone"}
	case o == nil:
		return permit{}
	case now.Before(o.next):
		// Spread, so that the store is not asked for all of them at once.
		return permit{wait: true, out: true, until: o.next.Add(rand.N(lastRetry)), why: "the place is out of use: " + o.why}
	}
	o.next = now.Add(slowRetry)
	return permit{probe: o}
}

// markDown notes that s failed with f for its place, and returns when to try
// again.
func (b *Bot) markDown(s tickets.Step, f *tickets.Failure) time.Time {
	why := f.UserMessage
	if why == "" {
		why = f.Error()
	}
	now := b.Now()
	p := &b.places
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.out[useOf(s)]
	if o != nil {
		o.why = why
		return o.next
	}
	if !p.isOut(s.Place) {
		b.Log.Error("place out of use", "platform", s.Place.Platform, "channel", s.Place.Channel, "step", s.Kind, "err", why)
		b.note(adminNotice{place: s.Place, lost: true, text: adapters.SayPlaceLost(s.Place, why), at: now})
	}
	o = &outage{since: now, why: why, next: now.Add(slowRetry), waiting: map[tickets.Number]struct{}{}}
	if p.out == nil {
		p.out = map[op]*outage{}
	}
	p.out[useOf(s)] = o
	return o.next
}

// recordResult notes how a step of n ended that pass let in. Only a step that was let in
// to see tells that a use works again: others may have been under way when it
// broke.
func (b *Bot) recordResult(s tickets.Step, n tickets.Number, pass permit, failure error) {
	now := b.Now()
	p := &b.places
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.out[useOf(s)]
	if o == nil || o != pass.probe {
		return
	}
	if failure != nil {
		switch f := tickets.FailureOf(failure); {
		case blamesPlace(f, s.Kind):
			return
		case f.Class != tickets.NotFound:
			o.next = now.Add(firstRetry / 2) // it says nothing about the place; n itself may try next
			return
		}
		// Only a place that works says that one message is gone.
	}
	delete(p.out, useOf(s))
	delete(o.waiting, n)
	p.recall(s.Place, o)
	for u, other := range p.out {
		if u.place == s.Place {
			other.next = now // most likely it works as well
			p.recall(s.Place, other)
		}
	}
	signal(b.recalled)
	if !p.isOut(s.Place) {
		b.Log.Info("place in use again", "platform", s.Place.Platform, "channel", s.Place.Channel)
		b.note(adminNotice{place: s.Place, text: adapters.SayPlaceBack(s.Place), at: now})
	}
}

// RetryNow has what waits because a neighbour refused our credentials go on at
// once: they are others now.
func (b *Bot) RetryNow() {
	p := &b.places
	now := b.Now()
	p.mu.Lock()
	for u, o := range p.out {
		o.next = now
		p.recall(u.place, o)
	}
	p.mu.Unlock()
	signal(b.recalled)
	b.sendDenied()
	for _, l := range b.lanes {
		l.resume()
	}
}

func (p *places) isOut(place tickets.Place) bool {
	for u := range p.out {
		if u.place == place {
			return true
		}
	}
	return false
}

func (p *places) recall(place tickets.Place, o *outage) {
	for n := range o.waiting {
		p.recalls = append(p.recalls, wakeup{n, place})
	}
	clear(o.waiting)
}

// putOff records in t that s waits for its place, without a call.
func (b *Bot) putOff(ctx context.Context, t *tickets.Ticket, s tickets.Step, pass permit) (*tickets.Ticket, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	after, err := b.Store.Update(ctx, t.Number, func(t *tickets.Ticket) error {
		t.ShowFailed(s.Place, pass.why, pass.until, false, b.Now())
		return nil
	})
	if err != nil {
		return nil, err
	}
	if pass.out {
		b.enqueueWaiting(s, t.Number)
	}
	return after, nil
}

// enqueueWaiting notes that n waits for its place, which the store knows already: if
// the place has come back in between, n does not wait.
func (b *Bot) enqueueWaiting(s tickets.Step, n tickets.Number) {
	p := &b.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.out[useOf(s)]; o != nil {
		o.waiting[n] = struct{}{}
		return
	}
	p.recalls = append(p.recalls, wakeup{n, s.Place})
	signal(b.recalled)
}

// runRecalls lets tickets go on that waited for a place. One that it cannot
// reach comes by itself when its wait is over.
func (b *Bot) runRecalls(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.recalled:
		}
		b.places.mu.Lock()
		list := b.places.recalls
		b.places.recalls = nil
		b.places.mu.Unlock()
		for _, r := range list {
			if ctx.Err() != nil {
				return
			}
			b.resume(ctx, r)
		}
	}
}

func (b *Bot) resume(ctx context.Context, r wakeup) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	t, err := b.Store.Update(ctx, r.number, func(t *tickets.Ticket) error {
		if r.place.Platform == onEPM {
			if !t.SendNow(b.Now()) {
				return errNothing
			}
			return nil
		}
		m := t.Message(r.place)
		if m == nil || !m.NotBefore.After(b.Now()) {
			return errNothing
		}
		m.Attempts, m.NotBefore = 0, time.Time{}
		return nil
	})
	switch {
	case err == nil:
		b.wake(t)
	case errors.Is(err, errNothing), errors.Is(err, store.ErrNotFound), ctx.Err() != nil:
	default:
		b.Log.Warn("cannot recall ticket", "ticket", r.number, "platform", r.place.Platform, "channel", r.place.Channel, "err", err)
	}
}

// ChannelOutages lists the places that are out of use.
func (b *Bot) ChannelOutages() []ChannelOutage {
	b.places.mu.Lock()
	defer b.places.mu.Unlock()
	found := map[tickets.Place]*ChannelOutage{}
	for u, o := range b.places.out {
		out := found[u.place]
		if out == nil {
			out = &ChannelOutage{Place: u.place, Since: o.since, Why: o.why}
			found[u.place] = out
		}
		if o.since.Before(out.Since) {
			out.Since, out.Why = o.since, o.why
		}
		out.Steps = append(out.Steps, u.kind)
		out.Waiting += len(o.waiting)
	}
	list := make([]ChannelOutage, 0, len(found))
	for _, out := range found {
		slices.Sort(out.Steps)
		list = append(list, *out)
	}
	slices.SortFunc(list, func(a, b ChannelOutage) int { return cmp.Compare(a.Place.String(), b.Place.String()) })
	return list
}

// note wants text told to the admins. A newer note takes the place of an
// older one that some have not got, and if nobody has, neither is told: they
// say the opposite of each other. The caller holds places.mu.
func (b *Bot) note(n adminNotice) {
	p := &b.places
	if i := p.noted(n.place); i >= 0 {
		fresh := p.notes[i].tries == 0
		p.notes = slices.Delete(p.notes, i, i+1)
		if fresh {
			return
		}
	}
	n.left = b.Current().Admins
	p.notes = append(p.notes, &n)
	signal(b.noted)
}

func (p *places) noted(place tickets.Place) int {
	return slices.IndexFunc(p.notes, func(n *adminNotice) bool { return n.place == place && n.cards == nil })
}

// takeNote takes a note that is due out of the list, or returns nil.
func (p *places) takeNote(now time.Time) *adminNotice {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.notes, func(n *adminNotice) bool { return !n.at.After(now) })
	if i < 0 {
		return nil
	}
	n := p.notes[i]
	p.notes = slices.Delete(p.notes, i, i+1)
	return n
}

// putBack puts n back into the list, unless there is news of its place.
func (p *places) putBack(n *adminNotice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.cards != nil || p.noted(n.place) < 0 {
		p.notes = append(p.notes, n)
	}
}

// runNotes tells admins what they have to be told, apart from the lanes,
// which it must not hold up.
func (b *Bot) runNotes(ctx context.Context) {
	poll := time.NewTicker(b.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		if n := b.places.takeNote(b.Now()); n != nil {
			b.tell(ctx, n)
			continue
		}
		select {
		case <-ctx.Done():
		case <-b.noted:
		case <-poll.C:
		}
	}
}

// tell tells n to everybody who is left, all at once: a chat that hangs must
// not keep the news from the others.
func (b *Bot) tell(ctx context.Context, n *adminNotice) {
	call, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	switch {
	case n.tries > 0:
	case n.cards != nil:
		n.text = adapters.SayCardsGone(n.place, n.cards)
	case !b.tells(call, n):
		return
	}
	errs := make([]error, len(n.left))
	var wg sync.WaitGroup
	for i, who := range n.left {
		wg.Go(func() { errs[i] = b.tellOne(call, who, n.text) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	var left []tickets.Principal
	wait := backoff(firstTell, slowRetry, n.tries)
	for i, err := range errs {
		if err == nil {
			n.told++
			continue
		}
		b.Log.Warn("cannot tell an admin", "actor", n.left[i].String(), "platform", n.place.Platform, "channel", n.place.Channel, "err", err)
		switch f := tickets.FailureOf(err); f.Class {
		case tickets.Unavailable, tickets.RateLimited, tickets.Ambiguous: // better twice than never
			left = append(left, n.left[i])
			wait = max(wait, f.RetryAfter)
		}
	}
	n.tries++
	if len(left) > 0 && n.tries < tellTries {
		n.left, n.at = left, b.Now().Add(wait)
		b.places.putBack(n)
		return
	}
	if n.told == 0 {
		b.Log.Error("no admin could be told about a place", "platform", n.place.Platform, "channel", n.place.Channel, "admins", len(b.Current().Admins))
	}
}

// tells reports whether this process is to tell n: of several that see the
// same, one does. If they cannot be asked, twice is better than never.
func (b *Bot) tells(ctx context.Context, n *adminNotice) bool {
	if b.Shared == nil {
		return true
	}
	key := fmt.Sprintf("lost %s %s", n.place.Platform, n.place.Channel)
	ask := b.Shared.Unclaim
	if n.lost {
		ask = func(ctx context.Context, key string) (bool, error) { return b.Shared.ClaimOnce(ctx, key, keepTold) }
	}
	first, err := ask(ctx, key)
	return first || err != nil
}

func (b *Bot) tellOne(ctx context.Context, who tickets.Principal, text string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("panic: %T\n%s", p, debug.Stack())}
		}
	}()
	chat := b.chats[who.Platform]
	if chat == nil {
		return &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("no chat on %s", who.Platform)}
	}
	return chat.DirectMessage(ctx, who, text)
}

// signal wakes the one that waits for c, which holds one value.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
