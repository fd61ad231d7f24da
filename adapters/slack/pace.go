package slack

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/adapters/pace"
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
	pace.Pacer
	edits *rate.Limiter
	posts *pace.Limiters // by channel
}

func newPacer(p Pace) *pacer {
	p = p.withDefaults()
	return &pacer{
		edits: rate.NewLimiter(rate.Limit(p.EditsPerMinute/60), p.EditBurst),
		posts: pace.NewLimiters(p.PostsPerSecond, p.PostBurst),
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

// wait returns when the method may be called, or at once with class Limited
// if that is after ctx's deadline.
func (p *pacer) wait(ctx context.Context, method, channel string) error {
	var limit *rate.Limiter
	switch method {
	case methodUpdate:
		limit = p.edits
	case methodPost:
		limit = p.posts.Of(channel)
	}
	return p.Wait(ctx, "slack "+method, []string{lane(method, channel)}, limit)
}

// close notes that Slack asked to wait for d.
func (p *pacer) close(method, channel string, d time.Duration) {
	p.Close(lane(method, channel), d)
}
