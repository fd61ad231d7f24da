package slack_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

// TestFindsOnlyItsOwn: another app imitates our metadata, and the card is
// pages away.
func TestFindsOnlyItsOwn(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(c *slacktest.Config, _ *slack.Config) { c.HistoryPage = 15 })
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	since := time.Now()
	imitation := json.RawMessage(`{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","place":"slack:C01EPM","rev":1}}`)
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.EmptyObject, Did: true})
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err == nil {
		t.Fatal("the first post went well")
	}
	own := w.fake.Messages(channel)[0].TS
	for i := range 40 {
		w.fake.Say(channel, userOf(i%20), "chatter", nil)
	}
	w.fake.Say(channel, userOf(1), "an imitation", imitation)
	id, err := w.chat.Post(t.Context(), w.Place(), tk, since)
	if err != nil || id != own {
		t.Errorf("Post() = %q, %v; want %q", id, err, own)
	}
	if n := w.fake.Count("conversations.history"); n != 3 {
		t.Errorf("%d pages were read, want 3", n)
	}
}

// TestHistoryWithoutMessages: an answer that holds no list says nothing about
// the lost card, and is no reason to post another.
func TestHistoryWithoutMessages(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	since := time.Now()
	w.fake.Fail(slacktest.Fault{Method: "chat.postMessage", Kind: slacktest.EmptyObject, Did: true})
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err == nil {
		t.Fatal("the first post went well")
	}
	w.fake.Fail(slacktest.Fault{Method: "conversations.history", Kind: slacktest.NoTS})
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, since); tickets.FailureOf(err).Class != tickets.Unavailable {
		t.Errorf("Post() = %v, want class down", err)
	}
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, since); err != nil || len(w.Cards()) != 1 {
		t.Errorf("Post() = %v and %d cards, want 1", err, len(w.Cards()))
	}
}

func TestPostsAgainWhereLookingIsNotAllowed(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(c *slacktest.Config, _ *slack.Config) {
		c.Scopes = []string{"chat:write", "commands", "users:read", "usergroups:read"}
	})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("a missing optional scope makes the chat unready: %v", err)
	}
}

// postAgain posts JIT-1042 once more, in a Slack that answers with answer to
// everything but who we are.
func postAgain(t *testing.T, answer string) (string, error) {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "auth.test") {
			_, _ = io.WriteString(w, `{"ok":true,"team_id":"T01TEAM","user_id":"U0BOT","bot_id":"B0BOT"}`)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer api.Close()
	c, err := slack.New(slack.Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, APIURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
	return c.Post(t.Context(), tickets.Place{Platform: slack.Platform, Channel: channel}, tk, time.Now())
}

// TestHistoryOfOtherApps: what other apps post must not keep us from finding
// our own card.
func TestHistoryOfOtherApps(t *testing.T) {
	history := `{"ok":true,"messages":[
	 {"type":"message","ts":"1769864703.000000","bot_id":"BX","blocks":[{"type":"actions","elements":[{"type":"element_of_tomorrow"}]}],"metadata":{"event_type":7,"event_payload":[]}},
	 {"type":"message","ts":"1769864702.000000","bot_id":{"odd":1},"metadata":"none"},
	 {"type":"message","ts":"1769864701.500000","user":"U0BOT","thread_ts":"1769864701.000000","metadata":{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","rev":1}}},
	 {"type":"message","ts":"1769864701.000000","user":"U0BOT","metadata":{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","rev":1}}}]}`
	id, err := postAgain(t, history)
	if err != nil || id != "1769864701.000000" {
		t.Errorf("Post() = %q, %v; want 1769864701.000000", id, err)
	}
}

// TestHistoryWithoutTimestamp: a card that was found and cannot be named is
// looked for again, not posted again.
func TestHistoryWithoutTimestamp(t *testing.T) {
	id, err := postAgain(t, `{"ok":true,"channel":"`+channel+`","ts":"1769864700.000100","messages":[
	 {"type":"message","ts":"xoxb-x","user":"U0BOT","metadata":{"event_type":"countersign_ticket","event_payload":{"ticket":"JIT-1042","rev":1}}}]}`)
	if id != "" || err == nil || tickets.FailureOf(err).Class != tickets.Unavailable || strings.Contains(err.Error(), "xoxb-x") {
		t.Errorf("Post() = %q, %v; want class down", id, err)
	}
}
