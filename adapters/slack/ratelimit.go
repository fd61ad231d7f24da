package slack

import (
	"context"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
)

// Pace is how fast Slack is called. The limits are Slack's
// (docs.slack.dev/apis/web-api/rate-limits): about one message per second and
// channel, and 50 chat.update per minute in all.
type Pace struct {
	PostsPerSecond float64 // messages per second and channel; default 1
	PostBurst      int     // messages at once per channel; default 3
	EditsPerMinute float64 // edits per minute in all channels together; default 40
	EditBurst      int     // edits at once; default 10: with the rate, 50 in any minute
}

func (p Pace) withDefaults() Pace {
	if p.PostsPerSecond <= 0 {
		p.PostsPerSecond = 1
	}
	if p.PostBurst <= 0 {
		p.PostBurst = 3
	}
	if p.EditsPerMinute <= 0 {
		p.EditsPerMinute = 40
	}
	if p.EditBurst <= 0 {
		p.EditBurst = 10
	}
	return p
}

// pacer makes every caller of a method wait for Slack's limits: one for all,
// since Slack counts all of an app's calls together.
type pacer struct {
	*ratelimit.Pacer
	edits, posts ratelimit.Limit // posts by channel
}

func newPacer(p Pace, shared ratelimit.Limiter) *pacer {
	p = p.withDefaults()
	return &pacer{
		Pacer: ratelimit.New(string(Platform), shared),
		edits: ratelimit.Limit{Key: methodUpdate, Every: ratelimit.PerSecond(p.EditsPerMinute / 60), Burst: p.EditBurst},
		posts: ratelimit.Limit{Key: methodPost, Every: ratelimit.PerSecond(p.PostsPerSecond), Burst: p.PostBurst},
	}
}

const (
	methodPost   = "chat.postMessage"
	methodUpdate = "chat.update"
)

// lane is what Slack counts together: messages by channel, other methods by
// themselves.
func lane(method, channel string) string {
	if method == methodPost {
		return method + " " + channel
	}
	return method
}

// wait returns when the method may be called, or at once with class RateLimited
// if that is after ctx's deadline.
func (p *pacer) wait(ctx context.Context, method, channel string) error {
	var limits []ratelimit.Limit
	switch method {
	case methodUpdate:
		limits = append(limits, p.edits)
	case methodPost:
		limit := p.posts
		limit.Key += " " + channel
		limits = append(limits, limit)
	}
	return p.Wait(ctx, method, []string{lane(method, channel)}, limits...)
}

// close notes that Slack asked to wait for d.
func (p *pacer) close(ctx context.Context, method, channel string, d time.Duration) {
	p.Block(ctx, lane(method, channel), d)
}
