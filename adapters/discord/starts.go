package discord

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/tickets"
)

// startLimit is how many sessions of the gateway Discord allows
// (discord.com/developers/docs/events/gateway#session-start-limit-object). With
// the last one it resets the bot's token.
type startLimit struct {
	Total      int   `json:"total"`
	Remaining  int   `json:"remaining"`
	ResetAfter int64 `json:"reset_after"` // ms
}

// usualStarts is the limit of a bot of which Discord does not tell it.
var usualStarts = startLimit{1000, 1000, (24 * time.Hour).Milliseconds()}

// starts spreads the sessions that may be started over the time until there
// are more. A few are free, for restarts and upgrades; of what is left then
// two thirds stay for others and for later.
type starts struct {
	every time.Duration // at least between two

	mu        sync.Mutex
	total     int
	remaining int
	reset     time.Time
	last      time.Time // when one was started here; zero before
}

// heed notes what Discord says.
func (s *starts) heed(l startLimit, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Total <= 0 || l.Remaining < 0 || l.ResetAfter < 0 {
		if s.total > 0 && now.Before(s.reset) {
			return // we have counted
		}
		l = usualStarts
	}
	s.total, s.remaining, s.reset = l.Total, l.Remaining, now.Add(time.Duration(l.ResetAfter)*time.Millisecond)
}

// begin notes that one is started.
func (s *starts) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = now
	s.remaining--
}

// gap is how long after the last one the next may be started. s.mu is held.
func (s *starts) gap(now time.Time) time.Duration {
	switch used := s.total - s.remaining; {
	case s.total == 0 || now.After(s.reset) || used*50 < s.total:
		return s.every
	case s.remaining <= 0:
		return max(s.reset.Sub(now), s.every)
	}
	portion := max(s.remaining-s.total*3/5, s.remaining/20, 1)
	return max(s.reset.Sub(now)/time.Duration(portion), s.every)
}

// wait is how long it is until the next may be started, and how long after it
// another.
func (s *starts) wait(now time.Time) (wait, gap time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gap = s.gap(now)
	switch {
	case s.total > 0 && s.remaining <= 0 && now.Before(s.reset):
		return gap, gap
	case s.last.IsZero():
		return 0, gap
	}
	return max(s.last.Add(gap).Sub(now), 0), gap
}

// slow says why new sessions are waited for, or "" while they are not.
func (s *starts) slow(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	gap := s.gap(now)
	if gap <= s.every {
		return ""
	}
	return saySlowGateway(s.remaining, s.total, s.reset, gap)
}

func saySlowGateway(remaining, total int, reset time.Time, gap time.Duration) string {
	return fmt.Sprintf("Discord's gateway is cut often and does not take its sessions up again. It allows %d of %d new ones until %s, "+
		"so one is started every %s at most, and what people do in between is lost: find what cuts the connection (a proxy, a firewall, another copy of Countersign)",
		max(remaining, 0), total, reset.UTC().Format("15:04 UTC"), gap.Round(time.Second))
}

// mayStart returns an error, which says when to try again, while no session
// may be started. What is asked of peers counts for all of them.
func (s *supervisor) mayStart(ctx context.Context) error {
	wait, gap := s.starts.wait(time.Now())
	if wait <= 0 && gap > s.cfg.Gateway.Start && s.cfg.Peers != nil {
		first, err := s.cfg.Peers.ClaimOnce(ctx, "discord start", gap)
		if err == nil && !first { // else it is better to connect
			wait = gap / 4
		}
	}
	if wait <= 0 {
		return nil
	}
	why := "Discord allows a new session every few seconds"
	if slow := s.starts.slow(time.Now()); slow != "" {
		why = slow
	}
	return &tickets.Failure{Class: tickets.RateLimited, RetryAfter: wait, Err: errors.New(why)}
}

// Warnings says why people are heard late at present, if they are. Ready says
// so itself while the gateway is away.
func (c *Chat) Warnings() []string {
	if slow := c.starts.slow(time.Now()); slow != "" && c.Ready() == nil {
		return []string{slow}
	}
	return nil
}
