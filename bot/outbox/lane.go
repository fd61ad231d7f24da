package outbox

import (
	"math"
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
	// more than LastRetry.
	maxWait = 90 * time.Second
	// logEvery is how often the log is told that the store is away.
	logEvery = time.Minute
)

// Lane is where steps of one kind wait for their workers.
type Lane struct {
	LaneConfig
	wake chan struct{}
	line turnstile

	mu         sync.Mutex
	paused     time.Time     // by the bot's clock
	storeLost  bool          // the store's last answer was an error
	lastLogged time.Time     // when the log was last told so
	fails      int           // that let the lane rest, in a row
	why        tickets.Class // of the last of them

	kept  map[tickets.Number]time.Time // leases, with when to end them
	waits map[wait]time.Time           // steps of these that failed, with when to try again
}

type wait struct {
	number tickets.Number
	place  tickets.Place
}

func newLane(c LaneConfig) *Lane {
	return &Lane{LaneConfig: c, wake: make(chan struct{}, 1), kept: map[tickets.Number]time.Time{}, waits: map[wait]time.Time{}}
}

func (l *Lane) signal() { signal(l.wake) }

func (l *Lane) pauseUntil(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.After(l.paused) {
		l.paused = t
	}
}

// resume ends a pause.
func (l *Lane) resume() {
	l.mu.Lock()
	l.paused = time.Time{}
	l.mu.Unlock()
	l.signal()
}

// MayClaim reports whether the lane takes up anything at now.
func (l *Lane) MayClaim(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.paused.After(now) && len(l.kept) < maxKept
}

// storeReachable notes whether the store answers, and reports whether that is news.
func (l *Lane) storeReachable(ok bool) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news = l.storeLost == ok
	l.storeLost = !ok
	return news
}

// shouldLog reports whether the log must be told now that the store is away.
func (l *Lane) shouldLog(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.lastLogged) < logEvery {
		return false
	}
	l.lastLogged = now
	return true
}

// WaitFor lets n try again in place at until, in its turn.
func (l *Lane) WaitFor(n tickets.Number, place tickets.Place, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits[wait{n, place}] = until
}

func (l *Lane) waitsUntil(n tickets.Number, place tickets.Place) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waits[wait{n, place}]
}

// keep keeps n's lease until then.
func (l *Lane) keep(n tickets.Number, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[n] = until
}

// over takes out the leases whose wait is over at now, and forgets the waits
// that are.
func (l *Lane) over(now time.Time) []tickets.Number {
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
func (l *Lane) untilOver(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := time.Duration(math.MaxInt64)
	for _, until := range l.kept {
		first = min(first, until.Sub(now))
	}
	return first
}

// isOver reports whether a lease is kept whose wait is over.
func (l *Lane) isOver(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, until := range l.kept {
		if !until.After(now) {
			return true
		}
	}
	return false
}

// Rest lets the whole lane rest after f, and returns until when: what waits in it
// would meet the same.
func (l *Lane) Rest(f *tickets.Failure, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.paused.After(now) { // else it was under way when another one failed
		l.paused = now.Add(max(Backoff(FirstRetry, LastRetry, l.fails), f.RetryAfter))
		l.fails++
	}
	l.why = f.Class
	return l.paused
}

// Worked notes that what the lane leads to is there.
func (l *Lane) Worked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = 0
}

// Resting is until when the lane rests, and why; long ago if it does not. It is
// failing until [Lane.Worked].
func (l *Lane) Resting() (until time.Time, why tickets.Class, failing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused, l.why, l.fails > 0
}
