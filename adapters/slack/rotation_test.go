package slack_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

// TestTokenRotation: a token of an app that rotates them is named as such when
// the chat is made and when it is renewed, without a call, and so is one that
// has expired; nothing of it is told.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	const planted = "1-My0xLXBsYW50ZWQ"
	says := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), slack.MsgRotation) || strings.Contains(err.Error(), planted) {
			t.Errorf("%s: %v; want that token rotation is on, and nothing of the token", what, err)
		}
	}
	w := begin(t, "http", adaptertest.NewBook(), nil)
	before := w.fake.Count("auth.test")
	for _, token := range []string{"xoxe.xoxb-" + planted, "xoxe.xoxp-" + planted, "xoxe-" + planted} {
		_, err := slack.New(slack.Config{BotToken: token, SigningSecrets: []string{"0123456789abcdef"}})
		says("New of "+token[:9], err)
		says("Try of "+token[:9], w.chat.Try(t.Context(), slack.Secrets{BotToken: token}))
	}
	if n := w.fake.Count("auth.test") - before; n != 0 {
		t.Errorf("Slack was sent such a token %d times", n)
	}
	for _, token := range []string{"xoxb-1", "", "xapp-1"} {
		if say := slack.MsgRotating(token); say != "" {
			t.Errorf("%q: %s", token, say)
		}
	}
	w.fake.FailToken(slacktest.BotToken, "token_expired")
	says("Try of an expired one", w.chat.Try(t.Context(), slack.Secrets{BotToken: slacktest.BotToken}))
	_, err := w.chat.HasRole(t.Context(), principal(tickets.Group, "S1"), w.Actor(0))
	says("a call", err)
	if got := problems(t, w.chat.Diagnose(t.Context(), nil, nil)); len(got) != 1 || !strings.Contains(got[0], slack.MsgRotation) {
		t.Errorf("Check = %q, want the same", got)
	}
}
