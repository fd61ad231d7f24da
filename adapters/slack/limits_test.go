package slack_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

func TestEditsArePaced(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
		c.Pace = slack.Pace{EditBurst: 2, EditsPerMinute: 1, PostBurst: 1, PostsPerSecond: 0.01}
	})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	m := tickets.Message{Place: w.Place(), ID: id}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 2 {
		if err := w.chat.Edit(ctx, m, tk); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // a refused wait takes nothing from the limit
		if f := tickets.FailureOf(w.chat.Edit(ctx, m, tk)); f.Class != tickets.RateLimited || f.RetryAfter > time.Minute || f.RetryAfter < 50*time.Second {
			t.Errorf("the third edit: %v after %s, want limited for a minute", f, f.RetryAfter)
		}
	}
	if f := tickets.FailureOf(w.chat.Reply(ctx, m, tk, 0, time.Time{})); f.Class != tickets.RateLimited {
		t.Errorf("the second message in the channel: %v, want limited", f)
	}
	if n := w.fake.Count("chat.update"); n != 2 {
		t.Errorf("%d edits, want 2", n)
	}
}

// TestRetryAfterHoldsForOthers: what Slack said to one caller counts for the
// next, of that channel only.
func TestRetryAfterHoldsForOthers(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	w.fake.AddChannel(slacktest.Channel{ID: "C02OTHER", Members: []string{slacktest.BotUserID}})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.Limited, RetryAfter: 20 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 2 {
		_, err := w.chat.Post(ctx, w.Place(), tk, time.Time{})
		if f := tickets.FailureOf(err); f.Class != tickets.RateLimited || f.RetryAfter > 20*time.Second || f.RetryAfter < 15*time.Second {
			t.Errorf("Post() = %v after %s", err, f.RetryAfter)
		}
	}
	if n := w.fake.Count("chat.postMessage"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	if _, err := w.chat.Post(ctx, tickets.Place{Platform: slack.Platform, Channel: "C02OTHER"}, tk, time.Time{}); err != nil {
		t.Errorf("the other channel: %v", err)
	}
}
