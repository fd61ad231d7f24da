package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/epm/epmtest"
)

// join runs another replica, whose clock is ahead by skew.
func (s *story) join(skew time.Duration) (addr string, stop func()) {
	s.Helper()
	var ahead atomic.Int64
	ahead.Store(int64(skew))
	addr, stop = s.launch(&ahead)
	s.ready(addr)
	return addr, stop
}

// Two replicas behind a load balancer, the second with a clock that is ten
// minutes ahead: EPM reaches the one, Slack the other, Discord whoever holds
// its gateway; then the first one ends.
func TestStoryReplicas(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord, withRedis(startRedis(t)), func(s *story) { s.gateway.Lease = 2 * time.Second })
	addr, stop := s.join(10 * time.Minute)
	defer stop()
	if text := s.logs.String(); !strings.Contains(text, "clock and Redis' differ") || strings.Count(text, "the gateway is connected") != 1 {
		t.Errorf("the log does not tell of the wrong clock, or of one gateway:\n%s", text)
	}
	s.slackCalls(addr)
	r, _ := s.requested()
	s.discordShows("waiting for a decision")
	before := time.Now()
	if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
		t.Fatalf("problems = %v", problems)
	}
	s.inEffect(r.ID, "Approved", "7200")
	s.discordShows("submitted to EPM")
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM: approved for 2 hours, until")
	s.discordShows("Confirmed by EPM")
	if n, m := len(s.cards()), len(s.discordCards()); n != 1 || m != 1 {
		t.Errorf("%d cards in Slack, %d in Discord; want 1 each", n, m)
	}
	if took := time.Since(before); took > 5*time.Minute {
		t.Errorf("it took %s: as long as the clocks are apart", took)
	}

	s.stop()
	s.epm.SetWebhook("http://"+addr+"/webhooks/epm", webhookUser, webhookPass)
	// Nobody ran without a gateway meanwhile.
	text := s.logs.String()
	if strings.Count(text, "the gateway is connected") != 2 {
		t.Errorf("the other replica did not take the gateway:\n%s", text)
	}
	again, err := s.epm.RequestApp(epmtest.App{})
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("the second card", func() bool { return len(s.discordCards()) == 2 })
	s.discordOpens(discordAnn, "deny")
	s.discordSubmits(discordAnn, map[string]string{"reason": "not needed any more"})
	s.inEffect(again.ID, "Denied", "Once")
}

// The limits of a platform are for all replicas together.
func TestStoryPaceOverReplicas(t *testing.T) {
	t.Parallel()
	const gap = 400 * time.Millisecond
	s := tell(t, withRedis(startRedis(t)), func(s *story) {
		s.pace = slack.Pace{PostsPerSecond: float64(time.Second) / float64(gap), PostBurst: 1}
	})
	addr, stop := s.join(0)
	defer stop()
	const requests = 16
	for i := range requests {
		to := s.addr
		if i%2 == 1 {
			to = addr
		}
		s.epm.SetWebhook("http://"+to+"/webhooks/epm", webhookUser, webhookPass)
		if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually("all cards", func() bool { return len(s.cards()) == requests })
	calls := s.slack.CallsTo("chat.postMessage")
	// A machine that is busy makes some gaps longer and others shorter.
	if took := calls[len(calls)-1].At.Sub(calls[0].At); took < (requests-2)*gap {
		t.Errorf("%d messages of two replicas in %s: more than one in %s", len(calls), took.Round(time.Millisecond), gap)
	}
}
