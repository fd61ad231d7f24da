package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/pace"
	"github.com/countersign/countersign/store"
)

// peers is what the chats need of the other replicas.
type peers struct{ store.Shared }

var _ discord.Peers = peers{}

// Book implements pace.Ledger.
func (p peers) Book(ctx context.Context, lanes []string, limits []pace.Limit, patience time.Duration) (time.Duration, bool, error) {
	out := make([]store.Limit, len(limits))
	for i, l := range limits {
		out[i] = store.Limit(l)
	}
	return p.Shared.Book(ctx, lanes, out, patience)
}

// clock is this machine's clock, set right by the store's where several
// replicas share one: what one of them writes down as due at some time, all
// must find due at that time.
type clock struct {
	own    func() time.Time
	offset atomic.Int64 // ns that the store's clock is ahead
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
)

// follow keeps c right until ctx ends.
func (c *clock) follow(ctx context.Context, s store.Shared, log *slog.Logger) {
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
func (c *clock) compare(ctx context.Context, s store.Shared, log *slog.Logger) {
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
