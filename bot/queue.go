package bot

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/tickets"
)

// A lane's queue is in the store: what is due longest comes first. So that a
// ticket that has to wait a moment does not go to the end of it, its wait is
// not written down: its lease is kept until the wait is over, and then it is
// claimed again in its old turn. A restart forgets such waits.

const (
	// maxKept is how many leases a lane keeps for waits. With that many it
	// claims no more, until one is over.
	maxKept = 256
	// maxWait is the longest wait in which a ticket keeps its turn: a little
	// more than lastRetry.
	maxWait = 90 * time.Second
	// firstPause and lastPause bound how long a place is left alone that
	// fails. The first is short: most failures come alone, and all that waits
	// for the place waits for it.
	firstPause = 200 * time.Millisecond
	lastPause  = 15 * time.Second
)

type lane struct {
	name tickets.Lane
	wake chan struct{}
	// A lane in order claims nothing before all that it had is given back:
	// what it then claims is the oldest.
	inOrder bool
	line    turnstile

	mu         sync.Mutex
	paused     time.Time               // by the bot's clock
	storeLost  bool                    // the store's last answer was an error
	lastLogged time.Time               // when the log was last told so
	fails      int                     // that let the lane rest, in a row
	why        tickets.Class           // of the last of them
	took       []tickets.EventEnvelope // the last that its receiver took; empty if none yet

	kept  map[tickets.Number]time.Time // leases, with when to end them
	waits map[wait]time.Time           // steps of these that failed, with when to try again
}

type wait struct {
	number tickets.Number
	place  tickets.Place
}

func newLane(name tickets.Lane, inOrder bool) *lane {
	return &lane{name: name, inOrder: inOrder, wake: make(chan struct{}, 1), kept: map[tickets.Number]time.Time{}, waits: map[wait]time.Time{}}
}

func (l *lane) signal() { signal(l.wake) }

func (l *lane) pauseUntil(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.After(l.paused) {
		l.paused = t
	}
}

// resume ends a pause.
func (l *lane) resume() {
	l.mu.Lock()
	l.paused = time.Time{}
	l.mu.Unlock()
	l.signal()
}

// mayClaim reports whether the lane takes up anything at now.
func (l *lane) mayClaim(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.paused.After(now) && len(l.kept) < maxKept
}

// storeReachable notes whether the store answers, and reports whether that is news.
func (l *lane) storeReachable(ok bool) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news = l.storeLost == ok
	l.storeLost = !ok
	return news
}

// sayAgain is how often the log is told that the store is away.
const sayAgain = time.Minute

// shouldLog reports whether the log must be told now that the store is away.
func (l *lane) shouldLog(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.lastLogged) < sayAgain {
		return false
	}
	l.lastLogged = now
	return true
}

// waitFor lets n try again in place at until, in its turn.
func (l *lane) waitFor(n tickets.Number, place tickets.Place, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits[wait{n, place}] = until
}

func (l *lane) waitsUntil(n tickets.Number, place tickets.Place) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waits[wait{n, place}]
}

// keep keeps n's lease until then.
func (l *lane) keep(n tickets.Number, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[n] = until
}

// over takes out the leases whose wait is over at now, and forgets the waits
// that are.
func (l *lane) over(now time.Time) []tickets.Number {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []tickets.Number
	for n, until := range l.kept {
		if !until.After(now) {
			list = append(list, n)
			delete(l.kept, n)
		}
	}
	for w, until := range l.waits {
		if !until.After(now) {
			delete(l.waits, w)
		}
	}
	return list
}

// untilOver is how long it takes from now until a kept lease's wait is over.
func (l *lane) untilOver(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := time.Duration(math.MaxInt64)
	for _, until := range l.kept {
		first = min(first, until.Sub(now))
	}
	return first
}

// isOver reports whether a lease is kept whose wait is over.
func (l *lane) isOver(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, until := range l.kept {
		if !until.After(now) {
			return true
		}
	}
	return false
}

// readyAt is when step s of n may be done: zero, unless it or its place has to
// wait. A longer wait than maxWait is no matter of the queue.
func (b *Bot) readyAt(l *lane, n tickets.Number, s tickets.Step, now time.Time) time.Time {
	at := l.waitsUntil(n, s.Place)
	if p := b.places.pausedUntil(useOf(s)); p.After(at) && p.Sub(now) <= maxWait {
		at = p
	}
	return at
}

// giveBack ends the lease of t, or keeps it while nothing can be done for t
// that the store calls due. leased is when the lease ends.
func (b *Bot) giveBack(ctx context.Context, l *lane, t *tickets.Ticket, leased time.Time) {
	if until := b.waiting(l, t); !until.IsZero() {
		if last := leased.Add(-2 * recordTimeout); until.After(last) {
			until = last // another may claim it then
		}
		l.keep(t.Number, until)
		return
	}
	b.release(ctx, l, t.Number)
}

// waiting is when the first step can be done that t owes in l now; zero if one
// can be done at once, or none is owed.
func (b *Bot) waiting(l *lane, t *tickets.Ticket) time.Time {
	var first time.Time
	now := b.Now()
	for _, s := range t.PendingSteps(now) {
		if s.Lane != l.name {
			continue
		}
		at := b.readyAt(l, t.Number, s, now)
		if !at.After(now) {
			return time.Time{}
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

func (b *Bot) release(ctx context.Context, l *lane, numbers ...tickets.Number) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	for _, n := range numbers {
		if err := b.Store.Release(ctx, l.name, n); err != nil {
			b.Log.Error("cannot release ticket", "ticket", n, "lane", l.name, "err", err)
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
func (l *lane) enqueue(t *tickets.Ticket, now time.Time) {
	for _, s := range t.PendingSteps(now) {
		if s.Lane == l.name && s.Kind == tickets.StepPost {
			l.line.enter(s.Place, t.Number)
		}
	}
}

// next is the step of t to do now in l. If it is another ticket's turn in its
// places, next waits for that until ctx ends or the bot's clock passes until.
func (b *Bot) next(ctx context.Context, l *lane, t *tickets.Ticket, until time.Time) (tickets.Step, bool) {
	for {
		now := b.Now()
		var moved <-chan struct{}
		for _, s := range t.PendingSteps(now) {
			if s.Lane != l.name || b.readyAt(l, t.Number, s, now).After(now) {
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
