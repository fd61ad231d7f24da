package slack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/tickets"
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
// since Slack counts all of an app's calls together. It runs on the machine's
// own clock, as Slack does.
type pacer struct {
	pace  Pace
	edits *rate.Limiter

	mu     sync.Mutex
	posts  map[string]*rate.Limiter // by channel
	closed map[string]time.Time     // by method and channel: not before, as Slack said
}

func newPacer(p Pace) *pacer {
	p = p.withDefaults()
	return &pacer{
		pace:   p,
		edits:  rate.NewLimiter(rate.Limit(p.EditsPerMinute/60), p.EditBurst),
		posts:  map[string]*rate.Limiter{},
		closed: map[string]time.Time{},
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

func (p *pacer) limiter(method, channel string) *rate.Limiter {
	switch method {
	case methodUpdate:
		return p.edits
	case methodPost:
		p.mu.Lock()
		defer p.mu.Unlock()
		l := p.posts[channel]
		if l == nil {
			l = rate.NewLimiter(rate.Limit(p.pace.PostsPerSecond), p.pace.PostBurst)
			p.posts[channel] = l
		}
		return l
	}
	return nil
}

// wait returns when the method may be called, or at once with class Limited
// if that is after ctx's deadline.
func (p *pacer) wait(ctx context.Context, method, channel string) error {
	for {
		now := time.Now()
		p.mu.Lock()
		d := p.closed[lane(method, channel)].Sub(now)
		p.mu.Unlock()
		var booked *rate.Reservation
		if l := p.limiter(method, channel); l != nil {
			booked = l.ReserveN(now, 1)
			d = max(d, booked.DelayFrom(now))
		}
		if d <= 0 {
			return nil
		}
		if end, ok := ctx.Deadline(); ok && now.Add(d).After(end) {
			if booked != nil {
				booked.CancelAt(now)
			}
			return &tickets.Failure{Class: tickets.Limited, After: d, Err: fmt.Errorf("slack %s: %w", method, errPaced)}
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if booked != nil {
				booked.CancelAt(now)
			}
			return &tickets.Failure{Class: tickets.Limited, After: d, Err: fmt.Errorf("slack %s: %w", method, errPaced)}
		}
		// Somebody may have been told to wait meanwhile; the booking stands.
		p.mu.Lock()
		again := p.closed[lane(method, channel)].After(time.Now())
		p.mu.Unlock()
		if !again {
			return nil
		}
	}
}

var errPaced = errors.New("waiting for the rate limit")

// close notes that Slack asked to wait for d.
func (p *pacer) close(method, channel string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for k, until := range p.closed {
		if until.Before(now) {
			delete(p.closed, k)
		}
	}
	p.closed[lane(method, channel)] = now.Add(d)
}
