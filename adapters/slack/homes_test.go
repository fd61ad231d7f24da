package slack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// homeOf is what a person reads on their home tab.
func (w *world) homeOf(i int) string { return w.Home(i).Text }

// TestHomeIsForOurPeople: nobody else is shown anything, and nothing is made
// for a tab that is not ours.
func TestHomeIsForOurPeople(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			var asked atomic.Int64
			h := handler{home: func(_ context.Context, a tickets.Actor) adapters.Answer {
				asked.Add(1)
				return adapters.Home{Intro: "for " + a.ID}
			}}
			w := begin(t, mode, h, nil)
			const ours = `{"api_app_id":"A01APP","team_id":"T01TEAM","type":"event_callback","event_id":"Ev1",
				"event":{"type":"app_home_opened","user":"U00PERSON","channel":"D1","tab":"home"}}`
			for name, change := range map[string][2]string{
				"another team": {"T01TEAM", "T99ELSE"}, "another app": {"A01APP", "A99ELSE"}, "another tab": {`"home"}`, `"messages"}`},
				"nobody": {"U00PERSON", ""}, "not a user": {"U00PERSON", "B00PERSON"},
			} {
				if mode == "http" && name == "another app" {
					continue // the signature says which app it is
				}
				other := strings.Replace(ours, change[0], change[1], 1)
				if answer, err := w.fake.Send(t.Context(), slacktest.EventsAPI, json.RawMessage(other)); err != nil || answer != "" {
					t.Errorf("%s: %q, %v; want it acknowledged", name, answer, err)
				}
			}
			if _, err := w.fake.Send(t.Context(), slacktest.EventsAPI, json.RawMessage(ours)); err != nil {
				t.Fatal(err)
			}
			poll(t, "their own page", func() bool { return strings.Contains(w.homeOf(0), "for U00PERSON") })
			if n := asked.Load(); n != 1 || w.fake.Count("views.publish") != 1 {
				t.Errorf("asked %d times, published %d times; want once", n, w.fake.Count("views.publish"))
			}
		})
	}
}

// TestHomeKnowsRaces: what another replica has published meanwhile was made
// later, and is not replaced by what was known before.
func TestHomeKnowsRaces(t *testing.T) {
	var made atomic.Int64
	var w *world
	publish := func(say string) {
		v := fmt.Sprintf(`{"type":"home","blocks":[{"type":"section","text":{"type":"plain_text","text":%q}}]}`, say)
		resp, err := http.PostForm(w.fake.URL()+"views.publish", url.Values{"token": {slacktest.BotToken}, "user_id": {userOf(0)}, "view": {v}})
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}
	h := handler{home: func(context.Context, tickets.Actor) adapters.Answer {
		n := made.Add(1)
		if n == 2 {
			publish("by another replica")
		}
		return adapters.Home{Intro: fmt.Sprint("made ", n)}
	}}
	w = begin(t, "http", h, nil)
	for _, want := range []string{"made 1", "made 3"} {
		if err := w.OpenHome(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		poll(t, want, func() bool { return strings.Contains(w.homeOf(0), want) })
	}
	var conflicts int
	for _, c := range w.fake.CallsTo("views.publish") {
		if c.Error == "hash_conflict" {
			conflicts++
		}
	}
	if conflicts != 1 || made.Load() != 3 {
		t.Errorf("%d conflicts, made %d times; want one conflict, and it made anew", conflicts, made.Load())
	}
}

// TestHomeIsPlainIfSlackRefusesIt: the person reads where else to look.
func TestHomeIsPlainIfSlackRefusesIt(t *testing.T) {
	for name, want := range map[string]struct {
		say   string
		calls int
	}{
		"invalid_arguments": {"/epm tickets pending lists what waits", 2},
		"view_too_large":    {"/epm tickets pending lists what waits", 2},
		"internal_error":    {"it works", 2},
		"ratelimited":       {"", 1}, // which lasts longer than one waits for it
		"not_enabled":       {"", 1},
		"invalid_auth":      {"", 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := handler{home: func(context.Context, tickets.Actor) adapters.Answer { return adapters.Home{Intro: "it works"} }}
			w := begin(t, "http", h, nil)
			w.fake.Fail(slacktest.Fault{Method: "views.publish", Kind: slacktest.SlackError, ErrorName: name})
			if err := w.OpenHome(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			poll(t, "the end of it", func() bool {
				return want.say != "" && strings.Contains(w.homeOf(0), want.say) || want.say == "" && strings.Contains(w.log.String(), "a home tab was not published")
			})
			if n := w.fake.Count("views.publish"); n != want.calls {
				t.Errorf("published %d times, want %d", n, want.calls)
			}
		})
	}
}

// TestHomeSaysWhatIsTooLateForAForm: by direct message.
func TestHomeSaysWhatIsTooLateForAForm(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	if err := w.OpenHome(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	poll(t, "the page", func() bool { return strings.Contains(w.homeOf(0), "JIT-1042") })
	for range 2 {
		w.fake.Fail(slacktest.Fault{Method: "views.open", Kind: slacktest.SlackError, ErrorName: "expired_trigger_id"})
	}
	if err := w.ClickHome(t.Context(), 0, tk.Number, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	poll(t, "a word", func() bool {
		m := w.fake.Messages(w.fake.DM(userOf(0)))
		return len(m) == 1 && m[0].Text == wording.MsgAgain
	})
}
