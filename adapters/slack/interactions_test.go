package slack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	"github.com/countersign/countersign/tickets"
)

func TestStrangersAreRefused(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			h := handler{
				click:   func(context.Context, adapters.Click) adapters.Answer { t.Error("a stranger clicked"); return nil },
				submit:  func(context.Context, adapters.Submission) adapters.Answer { t.Error("a stranger decided"); return nil },
				command: func(context.Context, adapters.Command) adapters.Answer { t.Error("a stranger commanded"); return nil },
			}
			w := begin(t, mode, h, nil)
			w.fake.AddUser(slacktest.User{ID: "U99ELSE", Name: "eve", TeamID: "T99ELSE"})
			w.fake.Invite(channel, "U99ELSE")
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), w.Place())
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			eve := w.fake.Person("U99ELSE")
			if err := eve.Click(t.Context(), channel, id, "approve"); err != nil {
				t.Fatal(err)
			}
			poll(t, "a refusal", func() bool { return len(eve.Ephemerals()) == 1 })
			if got := eve.Ephemerals()[0].Text; got != wording.MsgStranger {
				t.Errorf("she was told %q", got)
			}
			if a, err := eve.Command(t.Context(), "/epm", "status"); err != nil || a.Text != wording.MsgStranger {
				t.Errorf("Command() = %+v, %v", a, err)
			}
			form := `{"type":"view_submission","api_app_id":"A01APP","team":{"id":"T01TEAM"},"user":{"id":"U99ELSE","team_id":"T99ELSE"},
				"view":{"id":"V1","callback_id":"approve","private_metadata":"JIT-1042","state":{"values":{"reason":{"reason":{"value":"x"}},"unit":{"unit":{"selected_option":{"value":"once"}}}}}}}`
			answer, err := w.fake.Send(t.Context(), slacktest.Interactive, json.RawMessage(form))
			if err != nil || !strings.Contains(answer, wording.MsgStranger) {
				t.Errorf("the form was answered with %q, %v", answer, err)
			}
			// Another team, another app, no user: the same.
			for _, change := range [][2]string{{`"team_id":"T01TEAM"`, `"no_team_id":""`}, {`"api_app_id":"A01APP",`, ``}, {`{"id":"T01TEAM"}`, `{"id":"T99ELSE"}`}, {`"A01APP"`, `"A99ELSE"`}, {`U99ELSE`, ``}} {
				bad := strings.Replace(strings.Replace(form, `"team_id":"T99ELSE"`, `"team_id":"T01TEAM"`, 1), change[0], change[1], 1)
				answer, err := w.fake.Send(t.Context(), slacktest.Interactive, json.RawMessage(bad))
				if err != nil || !strings.Contains(answer, wording.MsgStranger) {
					t.Errorf("%v: the form was answered with %q, %v", change, answer, err)
				}
			}
		})
	}
}

// opened posts a card and opens the approve form on it.
func opened(t *testing.T, mode string, b *adaptertest.Book, change func(*slacktest.Config, *slack.Config)) (*world, *tickets.Ticket, *slacktest.Person) {
	t.Helper()
	w := begin(t, mode, b, change)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	p := w.fake.Person(userOf(0))
	if err := p.Click(t.Context(), channel, id, "approve"); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.View(); !ok {
		t.Fatal("no form")
	}
	return w, tk, p
}

func TestUnitChangesTheForm(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			_, _, p := opened(t, mode, b, nil)
			if err := p.Type("reason", "typed before"); err != nil {
				t.Fatal(err)
			}
			has := func(field string) bool {
				v, _ := p.View()
				_, ok := v.Typed[field]
				return ok
			}
			for _, step := range []struct {
				unit string
				want bool
			}{{"once", false}, {"minutes", true}, {"hours", true}, {"once", false}} {
				if err := p.Act(t.Context(), "unit", step.unit); err != nil {
					t.Fatal(err)
				}
				if has("amount") != step.want {
					t.Errorf("unit %s: the amount field is there: %v", step.unit, !step.want)
				}
			}
			v, _ := p.View()
			if v.Typed["reason"] != "typed before" || v.Typed["unit"] != "once" {
				t.Errorf("typed is %v", v.Typed)
			}
			if !strings.HasPrefix(v.PrivateMetadata, "JIT-1042 ") || v.CallbackID != "approve" {
				t.Errorf("the view carries %q, %q", v.PrivateMetadata, v.CallbackID)
			}
		})
	}
}

// TestHashConflict: the form was changed since the click was made.
func TestHashConflict(t *testing.T) {
	b := adaptertest.NewBook()
	w, _, p := opened(t, "http", b, nil)
	if err := p.Act(t.Context(), "unit", "minutes"); err != nil {
		t.Fatal(err)
	}
	all := w.fake.Deliveries()
	older := payloadOf(t, all[len(all)-1])
	if err := p.Act(t.Context(), "unit", "once"); err != nil {
		t.Fatal(err)
	}
	shows := func() string {
		v, _ := p.View()
		if strings.Contains(string(v.Blocks), `"amount"`) {
			return "amount"
		}
		return "no amount"
	}
	// An older change that comes late must not bring the field back.
	late := strings.Replace(string(older), `"action_id":"unit","action_ts":"1`, `"action_id":"unit","action_ts":"0`, 1)
	if late == string(older) {
		t.Fatal("nothing was changed")
	}
	if _, err := w.fake.Send(t.Context(), slacktest.Interactive, json.RawMessage(late)); err != nil {
		t.Fatal(err)
	}
	if shows() != "no amount" {
		t.Error("an older change won")
	}
	// A newer one with an old hash must.
	newer := strings.Replace(string(older), `"action_id":"unit","action_ts":"1`, `"action_id":"unit","action_ts":"9`, 1)
	if _, err := w.fake.Send(t.Context(), slacktest.Interactive, json.RawMessage(newer)); err != nil {
		t.Fatal(err)
	}
	if shows() != "amount" {
		t.Error("the newest change was lost")
	}
}

func TestLateTriggerIsSaid(t *testing.T) {
	for _, name := range []string{"expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id"} {
		t.Run(name, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := begin(t, "http", b, nil)
			tk := b.Add(1042, adaptertest.Request(), w.Place())
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			w.fake.Fail(slacktest.Fault{Method: "views.open", Kind: slacktest.SlackError, ErrorName: name})
			if err := w.Click(t.Context(), 0, id, "approve"); err != nil {
				t.Fatal(err)
			}
			poll(t, "a word", func() bool { return len(w.Notes(0)) == 1 })
			if got := w.Notes(0)[0]; got != wording.MsgAgain {
				t.Errorf("told %q", got)
			}
		})
	}
}

// slacksDeadlines has the chat answer within Slack's 3 s, which the fake does
// not measure: it only bounds a hang.
func slacksDeadlines(_ *slacktest.Config, c *slack.Config) { c.AnswerTime = chatkit.AnswerTime }

// TestSlowHandlerIsAnsweredInTime: Slack gives up after three seconds, and so
// must we before.
func TestSlowHandlerIsAnsweredInTime(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
			h := handler{click: func(ctx context.Context, _ adapters.Click) adapters.Answer {
				<-ctx.Done() // as a store that does not answer
				return adapters.Form{Ticket: tk, Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}}
			}}
			w := begin(t, mode, h, slacksDeadlines)
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			if err := w.Click(t.Context(), 0, id, "approve"); err != nil {
				t.Fatalf("after %s: %v", time.Since(begun), err)
			}
			if w.Screen(0) == "" {
				t.Error("no time was left to open the form")
			}
		})
	}
}

// TestSlackDoesNotOpenTheForm: views.open hangs; the click is answered all the
// same, and the person is told.
func TestSlackDoesNotOpenTheForm(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, slacksDeadlines)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	w.fake.Fail(slacktest.Fault{Method: "views.open", Kind: slacktest.Slow, Delay: 8 * time.Second})
	if err := w.Click(t.Context(), 0, id, "approve"); err != nil {
		t.Fatal(err)
	}
	poll(t, "a word", func() bool { return len(w.Notes(0)) == 1 })
	if got := w.Notes(0)[0]; !strings.Contains(got, "please click again") {
		t.Errorf("told %q", got)
	}
}

func TestNotesFindTheirWay(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	tk.Move("Closed", w.Actor(0), tickets.Rules{Active: []tickets.State{"New"}}, time.Now())
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
		t.Fatal(err)
	}
	ts := w.fake.Messages(channel)[0].TS
	click := slacktest.RawClick{Channel: channel, TS: ts, ActionID: "approve", BlockID: "act:0", Value: "JIT-1042"}
	p := w.fake.Person(userOf(0))

	// A stale button is never silent.
	if err := p.ClickRaw(t.Context(), click); err != nil {
		t.Fatal(err)
	}
	poll(t, "the first note", func() bool { return len(p.Ephemerals()) == 1 })
	if e := p.Ephemerals()[0]; e.Via != "response_url" || e.Text != tickets.MsgInactive {
		t.Errorf("the note is %+v", e)
	}
	// The response_url fails: chat.postEphemeral says it.
	w.fake.Fail(slacktest.Fault{Method: "response_url", Kind: slacktest.Unavailable, Times: 3})
	if err := p.ClickRaw(t.Context(), click); err != nil {
		t.Fatal(err)
	}
	poll(t, "the second note", func() bool { return len(p.Ephemerals()) == 2 })
	if e := p.Ephemerals()[1]; e.Via != "chat.postEphemeral" || e.Text != tickets.MsgInactive {
		t.Errorf("the note is %+v", e)
	}
	// A response_url of somebody else is not used.
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a foreign response_url was used") }))
	defer stranger.Close()
	all := w.fake.Deliveries()
	var payload map[string]any
	if err := json.Unmarshal(payloadOf(t, all[len(all)-1]), &payload); err != nil {
		t.Fatal(err)
	}
	for i, u := range []string{stranger.URL, "https://hooks.slack.com.evil.example/x", "https://hooks.slack.com@evil.example/", "http://hooks.slack.com/x", "%zz", ""} {
		payload["response_url"] = u
		payload["actions"].([]any)[0].(map[string]any)["action_ts"] = fmt.Sprint(i)
		raw, _ := json.Marshal(payload)
		if _, err := w.fake.Send(t.Context(), slacktest.Interactive, raw); err != nil {
			t.Fatal(err)
		}
		poll(t, "a note in spite of "+u, func() bool { return len(p.Ephemerals()) == 3+i })
	}
	// An unknown button and a number that is none.
	for i, c := range []slacktest.RawClick{
		{Channel: channel, TS: ts, ActionID: "explode", Value: "JIT-1042"},
		{Channel: channel, TS: ts, ActionID: "approve", Value: "<!channel> \u202e"},
		{Channel: channel, TS: ts, ActionID: "approve", Value: "JIT-99"},
	} {
		if err := p.ClickRaw(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		poll(t, "a note about "+c.ActionID+c.Value, func() bool { return len(p.Ephemerals()) == 9+i })
	}
	w.Notes(0) // nobody is notified
}

func TestRedeliveriesActOnce(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			var clicks, submits atomic.Int64
			h := handler{
				click: func(ctx context.Context, c adapters.Click) adapters.Answer { clicks.Add(1); return b.Click(ctx, c) },
				submit: func(ctx context.Context, s adapters.Submission) adapters.Answer {
					submits.Add(1)
					return b.Submit(ctx, s)
				},
			}
			w := begin(t, mode, h, nil)
			tk := b.Add(1042, adaptertest.Request(), w.Place())
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			p := w.fake.Person(userOf(0))
			again := func() string {
				t.Helper()
				all := w.fake.Deliveries()
				// In the same second the signature would be the same too.
				second := time.Now().Unix()
				poll(t, "another second", func() bool { return mode != "http" || time.Now().Unix() > second })
				answer, err := w.fake.Send(t.Context(), slacktest.Interactive, payloadOf(t, all[len(all)-1]))
				if err != nil {
					t.Fatal(err)
				}
				return answer
			}
			if err := p.Click(t.Context(), channel, id, "approve"); err != nil {
				t.Fatal(err)
			}
			again()
			if n := clicks.Load(); n != 1 {
				t.Errorf("%d clicks, want 1", n)
			}
			for i := range 2 { // the same mistake twice is two submissions
				if errs, err := p.Submit(t.Context(), map[string]string{"reason": " "}); err != nil || errs["reason"] != tickets.MsgReason {
					t.Fatalf("Submit() = %v, %v", errs, err)
				}
				if answer := again(); !strings.Contains(answer, tickets.MsgReason) {
					t.Errorf("a redelivery was answered with %q", answer)
				}
				if n := submits.Load(); n != int64(i+1) {
					t.Errorf("%d submissions, want %d", n, i+1)
				}
			}
		})
	}
}
