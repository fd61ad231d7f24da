// Package ratelimit makes calls wait for a platform's rate limits: those that are
// known beforehand, and what the platform says when it is called too often.
package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/tickets"
)

// Limit is how often a platform may be called: once in each Every, and at
// most Burst times at once after a pause. Calls with the same Key are counted
// together.
type Limit struct {
	Key   string
	Every time.Duration // more than 0
	Burst int           // at least 1
}

// PerSecond is n calls a second as the time between two.
func PerSecond(n float64) time.Duration { return time.Duration(float64(time.Second) / n) }

// Limiter is where calls are counted, by one process or by several together.
type Limiter interface {
	// Reserve takes one call out of each of limits, and returns how long to wait
	// before it may be made, which is not before the lanes are open. If that
	// is longer than patience, nothing is taken and booked is false. A
	// negative patience has no end.
	Reserve(ctx context.Context, lanes []string, limits []Limit, patience time.Duration) (wait time.Duration, booked bool, err error)
	// Block closes a lane for d, or leaves it closed for longer.
	Block(ctx context.Context, lane string, d time.Duration) error
}

// Pacer makes the callers of one platform wait.
type Pacer struct {
	name   string  // of the platform
	shared Limiter // nil if this process is alone
	own    local   // counts while the shared one cannot be asked
}

// New returns a pacer for the platform called name. It counts in shared, as
// all processes do that call the platform for the same app, and for itself if
// shared is nil or cannot be asked.
func New(name string, shared Limiter) *Pacer {
	return &Pacer{name: name, shared: shared, own: local{blocked: map[string]time.Time{}, limits: map[string]*rate.Limiter{}}}
}

// errPaced is why a call was not made.
var errPaced = errors.New("waiting for the rate limit")

// Wait returns when a call may be made that is counted in lanes and limits.
// If that is after ctx's deadline it returns at once with class RateLimited. what
// names the call in the error.
func (p *Pacer) Wait(ctx context.Context, what string, lanes []string, limits ...Limit) error {
	for {
		patience := time.Duration(-1)
		if end, ok := ctx.Deadline(); ok {
			patience = max(time.Until(end), 0)
		}
		d, booked := p.reserve(ctx, lanes, limits, patience)
		if booked && d <= 0 {
			return nil
		}
		if !booked || !chatkit.Sleep(ctx, d) {
			return &tickets.Failure{Class: tickets.RateLimited, RetryAfter: d, Err: fmt.Errorf("%s %s: %w", p.name, what, errPaced)}
		}
		// Somebody may have been told to wait meanwhile; the booking stands.
		if len(lanes) == 0 {
			return nil
		}
		limits = nil
	}
}

// askTime is how long the shared limiter may take to answer. Without it each
// process counts for itself, and the platform says when that is too much.
const askTime = 2 * time.Second

func (p *Pacer) reserve(ctx context.Context, lanes []string, limits []Limit, patience time.Duration) (time.Duration, bool) {
	if p.shared != nil {
		ask, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		d, booked, err := p.shared.Reserve(ask, p.named(lanes), p.namedLimits(limits), patience)
		if err == nil {
			return d, booked
		}
	}
	return p.own.reserve(lanes, limits, patience)
}

// Block notes that the platform wants no call in lane for d.
func (p *Pacer) Block(ctx context.Context, lane string, d time.Duration) {
	p.own.block(lane, d)
	if p.shared != nil {
		ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
		defer cancel()
		// Those who do not hear it are told by the platform itself.
		_ = p.shared.Block(ask, p.name+" "+lane, d)
	}
}

func (p *Pacer) named(lanes []string) []string {
	out := make([]string, len(lanes))
	for i, l := range lanes {
		out[i] = p.name + " " + l
	}
	return out
}

func (p *Pacer) namedLimits(limits []Limit) []Limit {
	out := make([]Limit, len(limits))
	for i, l := range limits {
		l.Key = p.name + " " + l.Key
		out[i] = l
	}
	return out
}

// local counts for one process, on the machine's own clock.
type local struct {
	mu      sync.Mutex
	blocked map[string]time.Time // lanes, until when
	limits  map[string]*rate.Limiter
}

// reserve is [Limiter]'s Book. A place that is too late is given back at once,
// before anybody else books behind it.
func (l *local) reserve(lanes []string, limits []Limit, patience time.Duration) (d time.Duration, booked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, lane := range lanes {
		d = max(d, l.blocked[lane].Sub(now))
	}
	taken := make([]*rate.Reservation, len(limits))
	open := now.Add(d)
	for i, limit := range limits {
		taken[i] = l.limiter(limit, now).ReserveN(open, 1)
		d = max(d, taken[i].DelayFrom(open)+open.Sub(now))
	}
	if d > 0 && patience >= 0 && d > patience {
		for _, r := range taken {
			r.CancelAt(open)
		}
		return d, false
	}
	return d, true
}

// keepLimiters is how many limits are kept before the idle ones are dropped.
const keepLimiters = 1000

func (l *local) limiter(limit Limit, now time.Time) *rate.Limiter {
	if one := l.limits[limit.Key]; one != nil {
		return one
	}
	if len(l.limits) >= keepLimiters {
		for k, one := range l.limits {
			if one.TokensAt(now) >= float64(one.Burst()) { // as good as new
				delete(l.limits, k)
			}
		}
	}
	one := rate.NewLimiter(rate.Every(limit.Every), limit.Burst)
	l.limits[limit.Key] = one
	return one
}

func (l *local) block(lane string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for k, until := range l.blocked {
		if until.Before(now) {
			delete(l.blocked, k)
		}
	}
	if until := now.Add(d); until.After(l.blocked[lane]) {
		l.blocked[lane] = until
	}
}
