package outbox

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/tickets"
)

// readyAt is when step s of n may be done: zero, unless it or its place has to
// wait. A longer wait than maxWait is no matter of the queue.
func (o *Outbox) readyAt(l *Lane, n tickets.Number, s tickets.Step, now time.Time) time.Time {
	at := l.waitsUntil(n, s.Place)
	if p := o.outages.pausedUntil(opOf(s)); p.After(at) && p.Sub(now) <= maxWait {
		at = p
	}
	return at
}

// giveBack ends the lease of t, or keeps it while nothing can be done for t
// that the store calls due. leased is when the lease ends.
func (o *Outbox) giveBack(ctx context.Context, l *Lane, t *tickets.Ticket, leased time.Time) {
	if until := o.waiting(l, t); !until.IsZero() {
		if last := leased.Add(-2 * RecordTimeout); until.After(last) {
			until = last // another may claim it then
		}
		l.keep(t.Number, until)
		return
	}
	o.release(ctx, l, t.Number)
}

// waiting is when the first step can be done that t owes in l now; zero if one
// can be done at once, or none is owed.
func (o *Outbox) waiting(l *Lane, t *tickets.Ticket) time.Time {
	var first time.Time
	now := o.Now()
	for _, s := range t.PendingSteps(now) {
		if s.Lane != l.Name {
			continue
		}
		at := o.readyAt(l, t.Number, s, now)
		if !at.After(now) {
			return time.Time{}
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

func (o *Outbox) release(ctx context.Context, l *Lane, numbers ...tickets.Number) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), RecordTimeout)
	defer cancel()
	for _, n := range numbers {
		if err := o.Store.Release(ctx, l.Name, n); err != nil {
			o.Log.Error("cannot release ticket", "ticket", n, "lane", l.Name, "err", err)
		}
	}
}

// turnstile keeps posts in order: in each place one is made at a time, those first
// that were claimed first. The zero value is ready.
type turnstile struct {
	mu      sync.Mutex
	by      map[tickets.Place][]tickets.Number
	changed chan struct{} // closed when somebody leaves
}

// enter puts n into the line of place, unless it is in it, and reports whether
// it is n's turn; if not, moved is closed when the line moves.
func (q *turnstile) enter(place tickets.Place, n tickets.Number) (turn bool, moved <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.by == nil {
		q.by, q.changed = map[tickets.Place][]tickets.Number{}, make(chan struct{})
	}
	if !slices.Contains(q.by[place], n) {
		q.by[place] = append(q.by[place], n)
	}
	return q.by[place][0] == n, q.changed
}

// exit takes n out of the line of place, or of every one if place is empty.
func (q *turnstile) exit(place tickets.Place, n tickets.Number) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.by == nil {
		return
	}
	for p, list := range q.by {
		if p != place && place != (tickets.Place{}) {
			continue
		}
		if list = slices.DeleteFunc(list, func(m tickets.Number) bool { return m == n }); len(list) == 0 {
			delete(q.by, p)
		} else {
			q.by[p] = list
		}
	}
	close(q.changed)
	q.changed = make(chan struct{})
}

// enqueue puts t into the lines of the places in which it is to be posted.
func (l *Lane) enqueue(t *tickets.Ticket, now time.Time) {
	for _, s := range t.PendingSteps(now) {
		if s.Lane == l.Name && s.Kind == tickets.StepPost {
			l.line.enter(s.Place, t.Number)
		}
	}
}

// next is the step of t to do now in l. If it is another ticket's turn in its
// places, next waits for that until ctx ends or the bot's clock passes until.
func (o *Outbox) next(ctx context.Context, l *Lane, t *tickets.Ticket, until time.Time) (tickets.Step, bool) {
	for {
		now := o.Now()
		var moved <-chan struct{}
		for _, s := range t.PendingSteps(now) {
			if s.Lane != l.Name || o.readyAt(l, t.Number, s, now).After(now) {
				continue
			}
			if s.Kind != tickets.StepPost {
				return s, true
			}
			if l.isOver(now) {
				return tickets.Step{}, false // older ones come first
			}
			turn, m := l.line.enter(s.Place, t.Number)
			if turn {
				return s, true
			}
			if moved == nil {
				moved = m
			}
		}
		if moved == nil || now.After(until) {
			return tickets.Step{}, false
		}
		timer := time.NewTimer(max(until.Sub(now), time.Millisecond))
		select {
		case <-moved:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return tickets.Step{}, false
		}
	}
}
