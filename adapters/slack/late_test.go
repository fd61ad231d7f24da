package slack_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
)

// slowly is a Handler whose commands end with release or their context.
type slowly struct {
	handler
	began   atomic.Int32
	release chan struct{}
}

func newSlowly() *slowly {
	s := &slowly{release: make(chan struct{})}
	s.command = func(ctx context.Context, c adapters.Command) adapters.Answer {
		s.began.Add(1)
		select {
		case <-s.release:
		case <-ctx.Done():
		}
		return adapters.Note{Text: "You said: " + c.Text}
	}
	return s
}

// typedTwice is a slash command that Slack may deliver more than once.
func typedTwice(responseURL string) json.RawMessage {
	raw, _ := json.Marshal(map[string]string{
		"command": "/epm", "text": "status", "api_app_id": slacktest.AppID, "team_id": slacktest.TeamID,
		"user_id": userOf(0), "user_name": "person0", "channel_id": channel, "trigger_id": "1.2.abc", "response_url": responseURL,
	})
	return raw
}

// TestLateAnswerGoesToSlackAlone: a response_url is what somebody sent. The
// command that comes again is done once, and does not wait for the first one's
// answer on the same connection.
func TestLateAnswerGoesToSlackAlone(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a foreign response_url was used") }))
	defer stranger.Close()
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			h := newSlowly()
			w := begin(t, mode, h, slacksDeadlines)
			for range 2 {
				body, err := w.fake.Send(t.Context(), slacktest.SlashCommands, typedTwice(stranger.URL))
				var got struct {
					Type string `json:"response_type"`
					Text string `json:"text"`
				}
				if json.Unmarshal([]byte(body), &got) != nil || err != nil || got.Text != wording.MsgMoment || got.Type != "ephemeral" {
					t.Errorf("answer %s, %v; want a word that it takes a moment", body, err)
				}
			}
			close(h.release)
			p := w.fake.Person(userOf(0))
			poll(t, "the answer", func() bool { return len(p.Ephemerals()) == 1 })
			if e := p.Ephemerals()[0]; e.Via != "chat.postEphemeral" || e.Text != "You said: status" {
				t.Errorf("told %+v", e)
			}
			w.stop()
			<-w.over
			if n := h.began.Load(); n != 1 || len(p.Ephemerals()) != 1 {
				t.Errorf("done %d times, told %d times; want once", n, len(p.Ephemerals()))
			}
		})
	}
}

// TestPagesArePrivate: a click on a message that others see too, such as a card
// to which somebody gave a button of ours, shows them nothing of the answer.
func TestPagesArePrivate(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "socket", b, nil)
	id, err := w.chat.Post(t.Context(), w.Place(), b.Add(1042, adaptertest.Request(), w.Place()), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	before := w.Cards()[0].Text
	p := w.fake.Person(userOf(0))
	for i, text := range []string{"tickets", "something else"} {
		if err := p.ClickRaw(t.Context(), slacktest.RawClick{Channel: channel, TS: id, ActionID: "older", Value: text}); err != nil {
			t.Fatal(err)
		}
		poll(t, "an answer", func() bool { return len(w.Notes(0)) == i+1 })
		if got := w.Notes(0)[i]; !strings.Contains(got, "You said: "+text) {
			t.Errorf("told %q", got)
		}
	}
	if after := w.Cards()[0].Text; after != before {
		t.Errorf("the card shows\n%s", after)
	}
}

// TestStopHurriesCommands: one that does not end holds up nobody for long, and
// the person is told.
func TestStopHurriesCommands(t *testing.T) {
	h := newSlowly()
	w := begin(t, "socket", h, func(_ *slacktest.Config, c *slack.Config) {
		c.Drain, c.AnswerTime = 100*time.Millisecond, chatkit.AnswerTime
	})
	if _, err := w.Command(t.Context(), 0, "status"); err != nil {
		t.Fatal(err)
	}
	w.stop()
	<-w.over
	if all := w.Notes(0); len(all) != 2 || all[1] != wording.MsgStopping {
		t.Errorf("told %q, want that the program stops", all)
	}
}

// TestLateFormIsNotOpened: Slack opens none after 3 s.
func TestLateFormIsNotOpened(t *testing.T) {
	hold := make(chan struct{})
	h := handler{command: func(context.Context, adapters.Command) adapters.Answer { <-hold; return adapters.Details{} }}
	w := begin(t, "http", h, slacksDeadlines)
	if _, err := w.Command(t.Context(), 0, "status"); err != nil {
		t.Fatal(err)
	}
	close(hold)
	poll(t, "a word", func() bool { all := w.Notes(0); return all[len(all)-1] == wording.MsgAgain })
	if n := w.fake.Count("views.open"); n != 0 {
		t.Errorf("views.open was called %d times", n)
	}
}

// TestSlowCommandsHoldNoPlace: however many commands wait for an answer that
// comes late, a click is worked on.
func TestSlowCommandsHoldNoPlace(t *testing.T) {
	t.Parallel()
	h := newSlowly()
	h.click = func(context.Context, adapters.Click) adapters.Answer { return adapters.Note{Text: "worked on"} }
	var ended atomic.Int32
	command := h.command
	h.command = func(ctx context.Context, c adapters.Command) adapters.Answer {
		defer ended.Add(1)
		return command(ctx, c)
	}
	w := begin(t, "socket", h, func(_ *slacktest.Config, c *slack.Config) { c.AnswerTime, c.Workers = chatkit.AnswerTime, 2 })
	defer close(h.release)
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // whatever the workers can do at once
		if _, err := w.Command(t.Context(), i, "status"); err != nil {
			t.Fatal(err)
		}
		if !w.Waits(i) {
			t.Fatalf("person %d was not told to wait", i)
		}
	}
	poll(t, "a click that is worked on", func() bool { // a worker may still be at the end of a command
		if err := w.Click(t.Context(), 5, id, adapters.ActionApprove); err != nil {
			t.Fatal(err)
		}
		return slices.Contains(w.Notes(5), "worked on")
	})
	if ended.Load() > 0 {
		t.Error("the click was worked on when the commands were over")
	}
}
