package discord

import (
	"context"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
)

// Pace is how fast Discord is called. Its limits per route are announced in
// each answer and kept from there; these are the ones that are not announced.
type Pace struct {
	// CallsPerSecond is the limit of all calls together, 50 by
	// discord.com/developers/docs/topics/rate-limits#global-rate-limit;
	// default 45.
	CallsPerSecond float64
	// OldEdits is how many messages older than an hour may be edited in each
	// channel within OldEditsIn. Discord does not document it; 3 in 6 s is
	// common experience (github.com/discord/discord-api-docs/issues/4413).
	OldEdits   int           // default 3
	OldEditsIn time.Duration // default 7 s: calls are not all equally long on their way
}

type pacer struct {
	*ratelimit.Pacer
	all, old ratelimit.Limit // old by channel
}

func newPacer(p Pace, shared ratelimit.Limiter) *pacer {
	if p.CallsPerSecond <= 0 {
		p.CallsPerSecond = 45
	}
	if p.OldEdits <= 0 {
		p.OldEdits = 3
	}
	if p.OldEditsIn <= 0 {
		p.OldEditsIn = 7 * time.Second
	}
	return &pacer{
		Pacer: ratelimit.New(string(Platform), shared),
		all:   ratelimit.Limit{Key: laneAll, Every: ratelimit.PerSecond(p.CallsPerSecond), Burst: int(max(p.CallsPerSecond, 1))},
		// One after the other: several at once, and those that may follow
		// while Discord still counts them, would be too many.
		old: ratelimit.Limit{Key: "old", Every: p.OldEditsIn / time.Duration(p.OldEdits), Burst: 1},
	}
}

// laneAll is closed when Discord wants no call at all.
const laneAll = "all"

// lane is what Discord counts together: calls of one method and route in one
// channel.
func (r *request) lane() string { return r.method + " " + r.route + " " + r.channel }

// oldLane is what it counts further for edits of old messages.
func (r *request) oldLane() string { return "old " + r.channel }

// oldPatience is how long an edit of an old message waits for its turn before
// it makes room for others.
const oldPatience = time.Second

// wait returns when r may be made, or at once with class RateLimited if that is
// after ctx's deadline.
func (p *pacer) wait(ctx context.Context, r *request) error {
	lanes, limits := []string{laneAll, r.lane()}, []ratelimit.Limit{p.all}
	if r.old {
		// Many old cards must not hold the workers that newer ones wait for.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, oldPatience)
		defer cancel()
		limit := p.old
		limit.Key += " " + r.channel
		lanes, limits = append(lanes, r.oldLane()), append(limits, limit)
	}
	return p.Wait(ctx, r.route, lanes, limits...)
}

// heed keeps what Discord said about its limits in the answer to r.
func (p *pacer) heed(ctx context.Context, r *request, l limits) {
	switch {
	case l.wait <= 0:
		return
	case l.global:
		p.Block(ctx, laneAll, l.wait)
	case l.code == codeOldEdits:
		p.Block(ctx, r.oldLane(), l.wait)
	default:
		p.Block(ctx, r.lane(), l.wait)
	}
}
