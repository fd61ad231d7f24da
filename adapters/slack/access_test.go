package slack_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

// TestSees: members of a channel see what is shown in it, wherever they type,
// for a minute longer than they are members. What Slack does not tell is a no.
func TestSees(t *testing.T) {
	now := time.Now()
	var ahead atomic.Int64
	w := begin(t, "http", adaptertest.NewBook(), func(_ *slacktest.Config, c *slack.Config) {
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	other := tickets.Place{Platform: slack.Platform, Channel: "C0OTHER"}
	w.fake.AddChannel(slacktest.Channel{ID: other.Channel, Name: "other", Members: []string{slacktest.BotUserID, userOf(0)}})
	check := func(i int, in, place tickets.Place, want bool) {
		t.Helper()
		if got, err := w.chat.Sees(t.Context(), w.Actor(i), in, place); err != nil || got != want {
			t.Errorf("Sees(%d, %s, %s) = %v, %v; want %v", i, in, place, got, err, want)
		}
	}
	for _, in := range []tickets.Place{{}, w.Place(), other} {
		check(0, in, other, true)
		check(1, in, other, false)
		check(1, in, w.Place(), true)
		check(1, in, tickets.Place{Platform: "discord", Channel: channel}, false)
	}
	if n := w.fake.Count("conversations.members"); n != 2 {
		t.Errorf("the members of two channels were asked for %d times", n)
	}
	w.fake.AddChannel(slacktest.Channel{ID: other.Channel, Name: "other", Members: []string{slacktest.BotUserID, userOf(1)}})
	ahead.Add(int64(61 * time.Second))
	check(0, other, other, false)
	check(1, other, other, true)

	ahead.Add(int64(61 * time.Second))
	w.fake.Fail(slacktest.Fault{Method: "conversations.members", Kind: slacktest.Unavailable, Times: -1})
	if got, err := w.chat.Sees(t.Context(), w.Actor(1), other, other); got || err == nil {
		t.Errorf("Sees = %v, %v although Slack does not tell; want an error", got, err)
	}
	w.fake.ClearFaults()
	check(1, other, other, true)
}
