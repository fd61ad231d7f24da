// Package pace makes calls wait for a platform's rate limits: those that are
// known beforehand, and what the platform says when it is called too often.
//
// It runs on the machine's own clock, as the platforms do, and counts for one
// process.
package pace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/tickets"
)

// Pacer makes the callers of one platform wait. The zero value is ready.
type Pacer struct {
	booking sync.Mutex // held while a place in the limits is taken

	mu     sync.Mutex
	closed map[string]time.Time // by lane: not before, as the platform said
}

// errPaced is why a call was not made.
var errPaced = errors.New("waiting for the rate limit")

// Wait returns when a call may be made that is counted in lanes and limits;
// nil limits are skipped. If that is after ctx's deadline it returns at once
// with class Limited. what names the call in the error.
func (p *Pacer) Wait(ctx context.Context, what string, lanes []string, limits ...*rate.Limiter) error {
	for {
		d, cancel, late := p.book(ctx, lanes, limits)
		giveUp := func() error {
			cancel()
			return &tickets.Failure{Class: tickets.Limited, After: d, Err: fmt.Errorf("%s: %w", what, errPaced)}
		}
		switch {
		case d <= 0:
			return nil
		case late:
			return giveUp()
		case !Sleep(ctx, d):
			return giveUp()
		}
		// Somebody may have been told to wait meanwhile; the booking stands.
		limits = nil
		if p.left(time.Now(), lanes) <= 0 {
			return nil
		}
	}
}

// book takes a place in limits and tells how long it is until then. One that
// is too late for ctx is given back at once, before anybody else books behind
// it.
func (p *Pacer) book(ctx context.Context, lanes []string, limits []*rate.Limiter) (d time.Duration, cancel func(), late bool) {
	p.booking.Lock()
	defer p.booking.Unlock()
	now := time.Now()
	d = p.left(now, lanes)
	var booked []*rate.Reservation
	for _, l := range limits {
		if l != nil {
			r := l.ReserveN(now, 1)
			booked = append(booked, r)
			d = max(d, r.DelayFrom(now))
		}
	}
	cancel = func() {
		for _, r := range booked {
			r.CancelAt(now)
		}
	}
	if end, ok := ctx.Deadline(); ok && d > 0 && now.Add(d).After(end) {
		cancel()
		return d, func() {}, true
	}
	return d, cancel, false
}

// left is how long the lanes stay closed.
func (p *Pacer) left(now time.Time, lanes []string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var d time.Duration
	for _, lane := range lanes {
		d = max(d, p.closed[lane].Sub(now))
	}
	return d
}

// Close notes that the platform wants no call in lane for d.
func (p *Pacer) Close(lane string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for k, until := range p.closed {
		if until.Before(now) {
			delete(p.closed, k)
		}
	}
	if p.closed == nil {
		p.closed = map[string]time.Time{}
	}
	if until := now.Add(d); until.After(p.closed[lane]) {
		p.closed[lane] = until
	}
}

// Limiters are limits of the same size, one for each key, for example for
// each channel. Those that nobody waits for are forgotten.
type Limiters struct {
	limit rate.Limit
	burst int

	mu  sync.Mutex
	all map[string]*rate.Limiter
}

// keepLimiters is how many keys are kept before the idle ones are dropped.
const keepLimiters = 1000

// NewLimiters returns limits of perSecond calls with at most burst at once.
func NewLimiters(perSecond float64, burst int) *Limiters {
	return &Limiters{limit: rate.Limit(perSecond), burst: burst, all: map[string]*rate.Limiter{}}
}

// Of returns the limit for key.
func (l *Limiters) Of(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.all[key]; one != nil {
		return one
	}
	if len(l.all) >= keepLimiters {
		now := time.Now()
		for k, one := range l.all {
			if one.TokensAt(now) >= float64(l.burst) { // as good as new
				delete(l.all, k)
			}
		}
	}
	one := rate.NewLimiter(l.limit, l.burst)
	l.all[key] = one
	return one
}

// Sleep waits for d, and reports false if ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Until asks until the answer is no error, or ctx ends: then it returns nil.
// An answer of class Denied is returned at once, since asking on would only
// be refused again. failed is told of every other failure.
func Until(ctx context.Context, ask func(context.Context) error, failed func(error)) error {
	const first, last = time.Second, 30 * time.Second
	for wait := first; ; wait = min(2*wait, last) {
		err := ask(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		f := tickets.FailureOf(err)
		if f.Class == tickets.Denied {
			return f.Err
		}
		failed(err)
		if !Sleep(ctx, max(wait, f.After)) {
			return nil
		}
	}
}
