package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/store"
)

// peers is what the chats need of the other replicas.
type peers struct{ store.Coordinator }

var _ discord.Peers = peers{}

// Reserve implements ratelimit.Limiter.
func (p peers) Reserve(ctx context.Context, lanes []string, limits []ratelimit.Limit, patience time.Duration) (time.Duration, bool, error) {
	out := make([]store.Limit, len(limits))
	for i, l := range limits {
		out[i] = store.Limit(l)
	}
	return p.Coordinator.Reserve(ctx, lanes, out, patience)
}

// clock is this machine's clock, set right by the store's where several
// replicas share one: what one of them writes down as due at some time, all
// must find due at that time.
type clock struct {
	own    func() time.Time
	offset atomic.Int64 // ns that the store's clock is ahead
}

// steady is the clock that starts at now and then goes on by itself, whatever
// that of the machine does: what is written down while a clock is an hour
// ahead would be due an hour late once it is right again.
func steady(now func() time.Time) func() time.Time {
	at, began := now().Round(0), time.Now()
	return func() time.Time { return at.Add(time.Since(began)) }
}

// Now is the time by which the program works.
func (c *clock) Now() time.Time { return c.own().Add(c.Offset()) }

// Offset is how far the store's clock is ahead of this machine's.
func (c *clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }

const (
	// clockEvery is how often the clocks are compared: a clock that jumps is
	// wrong for so long.
	clockEvery = 5 * time.Second
	// clockSlack is how far apart they may be before the operator is told.
	clockSlack = 2 * time.Second
	// clockAnswer is how long the store may take to tell the time.
	clockAnswer = time.Second
	// clockStays is how long the machine's clock must show another time before
	// a process that is alone believes it.
	clockStays = 30 * time.Second
)

// followMachine keeps the clock of a process that is alone right until ctx
// ends. It goes along with small corrections, and after a while with the
// others: a machine that slept, or whose clock was set.
func (c *clock) followMachine(ctx context.Context, machine func() time.Time, log *slog.Logger) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	var jump jump
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if is := machine().Sub(c.own()); jump.believe(is, c.Offset(), time.Now()) {
			if d := is - c.Offset(); d.Abs() > clockSlack {
				log.Warn("this machine's clock has jumped, and stays there; it is followed", "by", d.Round(time.Millisecond))
			}
			c.offset.Store(int64(is))
		}
	}
}

// jump is what a machine's clock has been off by, and since when.
type jump struct {
	by    time.Duration
	since time.Time
}

// believe reports whether a clock that is off by is, and not by was, is right:
// the difference is small, or has been the same for clockStays.
func (j *jump) believe(is, was time.Duration, now time.Time) bool {
	if (is - was).Abs() <= clockSlack {
		*j = jump{}
		return true
	}
	if j.since.IsZero() || (is-j.by).Abs() > clockSlack {
		*j = jump{is, now}
	}
	return now.Sub(j.since) >= clockStays
}

// follow keeps c right until ctx ends.
func (c *clock) follow(ctx context.Context, s store.Coordinator, log *slog.Logger) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		c.compare(ctx, s, log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// compare sets c right. Without an answer it stays as it was.
func (c *clock) compare(ctx context.Context, s store.Coordinator, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, clockAnswer)
	defer cancel()
	begun, asked := time.Now(), c.own()
	at, err := s.Time(ctx)
	took := time.Since(begun)
	if err != nil || took > clockAnswer {
		return
	}
	was := c.Offset()
	is := at.Sub(asked.Add(took / 2))
	if d := (is - was).Abs(); d < took+time.Millisecond {
		return // no more than the way there and back
	}
	c.offset.Store(int64(is))
	if is.Abs() > clockSlack && (is-was).Abs() > clockSlack {
		log.Warn("this machine's clock and Redis' differ; Redis' is used: set both by NTP", "redis_ahead", is.Round(time.Millisecond))
	}
}
