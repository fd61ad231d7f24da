package slack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// TestSignatureKnownAnswer is Slack's own example
// (docs.slack.dev/authentication/verifying-requests-from-slack), at its time.
func TestSignatureKnownAnswer(t *testing.T) {
	const body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	const signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
	const secret = "8f742231b10e8888abcd99yyyzzz85a5"
	signed := time.Unix(1531420618, 0)
	for _, tt := range []struct {
		name, body, signature, secret string
		after                         time.Duration
		want                          int
	}{
		{"Right", body, signature, secret, 0, http.StatusOK},
		{"OtherBody", body + "&x=1", signature, secret, 0, http.StatusUnauthorized},
		{"OtherSecret", body, signature, "x" + secret, 0, http.StatusUnauthorized},
		{"NoVersion", body, strings.TrimPrefix(signature, "v0="), secret, 0, http.StatusUnauthorized},
		{"Late", body, signature, secret, 301 * time.Second, http.StatusUnauthorized},
		{"Early", body, signature, secret, -302 * time.Second, http.StatusUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(signed.Add(tt.after)))
				c, err := slack.New(slack.Config{BotToken: "xoxb-x", SigningSecrets: []string{tt.secret}, Log: logger(&adaptertest.Journal{})})
				if err != nil {
					t.Fatal(err)
				}
				r := httptest.NewRequest(http.MethodPost, "/slack/commands", strings.NewReader(tt.body))
				r.Header.Set("X-Slack-Signature", tt.signature)
				r.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(signed.Unix()))
				w := httptest.NewRecorder()
				c.Endpoints(adaptertest.NewBook())["/slack/commands"].ServeHTTP(w, r)
				if w.Code != tt.want {
					t.Errorf("status %d, want %d: %s", w.Code, tt.want, w.Body)
				}
				if tt.want == http.StatusOK && !strings.Contains(w.Body.String(), wording.MsgStarting) {
					t.Errorf("nobody may act before the workspace is known: %s", w.Body)
				}
			})
		})
	}
}

func TestOnlySlackGetsIn(t *testing.T) {
	var calls atomic.Int64
	h := handler{command: func(context.Context, adapters.Command) adapters.Answer {
		calls.Add(1)
		return adapters.Note{Text: "hello"}
	}}
	w := begin(t, "http", h, func(_ *slacktest.Config, c *slack.Config) {
		c.SigningSecrets = []string{"new-secret", slacktest.SigningSecret}
	})
	body := url.Values{"team_id": {slacktest.TeamID}, "user_id": {userOf(0)}, "api_app_id": {slacktest.AppID}, "text": {"x"}}.Encode()
	post := func(body string, how slacktest.Signing) int {
		t.Helper()
		status, _, err := w.fake.Post(t.Context(), w.bot+"/slack/commands", "application/x-www-form-urlencoded", body, how)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	for name, how := range map[string]slacktest.Signing{
		"none": {None: true}, "wrong": {Secret: "x"}, "empty secret": {Signature: "v0="}, "old": {Age: 6 * time.Minute}, "future": {Age: -6 * time.Minute},
		"no version": {Signature: strings.Repeat("a", 64)},
	} {
		if status := post(body, how); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401", name, status)
		}
	}
	if status := post(strings.Repeat("a", 2<<20), slacktest.Signing{}); status != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MiB: status %d, want 413", status)
	}
	if n := calls.Load(); n != 0 {
		t.Fatalf("%d commands got through", n)
	}
	for i, how := range []slacktest.Signing{{}, {Secret: "new-secret"}} {
		another := body + "&trigger_id=" + strconv.Itoa(i) // the same one again would count once
		if status := post(another, how); status != http.StatusOK || calls.Load() != int64(i+1) {
			t.Errorf("rightly signed: status %d, %d calls", status, calls.Load())
		}
	}
	// The same bytes again are a replay, even as a click.
	if _, err := w.fake.Person(userOf(0)).Command(t.Context(), "/epm", "status"); err != nil {
		t.Fatal(err)
	}
	all := w.fake.Deliveries()
	status, _, err := w.fake.Replay(t.Context(), all[len(all)-1])
	if err != nil || status != http.StatusUnauthorized || calls.Load() != 3 {
		t.Errorf("replay: status %d, %v, %d calls", status, err, calls.Load())
	}
	resp, err := http.Get(w.bot + "/slack/commands")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", resp.StatusCode)
	}
}

func TestVerifyURL(t *testing.T) {
	w := begin(t, "http", adaptertest.NewBook(), nil)
	if err := w.fake.VerifyURL(t.Context()); err != nil {
		t.Error(err)
	}
}

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

// TestSubmitBeforeTheAmountWasShown: the form went out with unit hours but
// before its amount field had come. Slack shows errors only for inputs that
// are in the view.
func TestSubmitBeforeTheAmountWasShown(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			_, _, p := opened(t, mode, b, nil)
			if err := p.Act(t.Context(), "unit", "once"); err != nil {
				t.Fatal(err)
			}
			state := `{"values":{"reason":{"reason":{"type":"plain_text_input","value":"ok"}},"unit":{"unit":{"type":"radio_buttons","selected_option":{"value":"hours"}}}}}`
			errs, err := p.SubmitRaw(t.Context(), json.RawMessage(state))
			if err != nil || len(errs) > 0 {
				t.Fatalf("SubmitRaw() = %v, %v", errs, err)
			}
			v, ok := p.View()
			if !ok || !strings.Contains(string(v.Blocks), tickets.MsgHours) || !strings.Contains(string(v.Blocks), `"amount"`) {
				t.Fatalf("the form is %v %+v", ok, v)
			}
			errs, err = p.Submit(t.Context(), map[string]string{"reason": "ok", "unit": "hours", "amount": "2"})
			if _, open := p.View(); err != nil || len(errs) > 0 || open {
				t.Errorf("Submit() = %v, %v", errs, err)
			}
		})
	}
}

func TestOddSubmissions(t *testing.T) {
	for _, state := range []string{``, `null`, `{}`, `{"values":null}`, `{"values":{"reason":{"reason":{"value":null}}}}`, `{"values":{"reason":{"reason":{"value":7}},"unit":{"unit":{"selected_option":null}}}}`} {
		t.Run(state, func(t *testing.T) {
			b := adaptertest.NewBook()
			_, tk, p := opened(t, "http", b, nil)
			var raw json.RawMessage
			if state != "" {
				raw = json.RawMessage(state)
			}
			errs, err := p.SubmitRaw(t.Context(), raw)
			v, open := p.View()
			if err != nil || !open || tk.Decision != nil {
				t.Fatalf("SubmitRaw() = %v, %v; open %v, decision %v", errs, err, open, tk.Decision)
			}
			if len(errs) == 0 && !strings.Contains(string(v.Blocks), "⚠") {
				t.Errorf("nothing says what is wrong: %s", v.Blocks)
			}
		})
	}
}

func TestDecidedMeanwhileIsSaidInTheForm(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			w, tk, p := opened(t, mode, b, nil)
			by := w.Actor(5)
			if a := b.Submit(t.Context(), adapters.Submission{Actor: by, Number: tk.Number, Verdict: tickets.Deny, Form: tickets.Form{Reason: "no"}}); a != (adapters.Done{}) {
				t.Fatalf("Submit() = %v", a)
			}
			errs, err := p.Submit(t.Context(), map[string]string{"reason": "ok"})
			v, open := p.View()
			if err != nil || len(errs) > 0 || !open || !strings.Contains(string(v.Blocks), "person5 has already denied this request") {
				t.Errorf("Submit() = %v, %v; the form is %+v", errs, err, v)
			}
			if _, err := p.Submit(t.Context(), nil); err == nil {
				t.Error("a note has a submit button")
			}
		})
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

func TestCommands(t *testing.T) {
	var got adapters.Command
	h := handler{command: func(_ context.Context, c adapters.Command) adapters.Answer {
		got = c
		switch c.Text {
		case "nothing":
			return adapters.Done{}
		case "nil":
			return nil
		}
		return adapters.Note{Text: "done <!channel> *x*"}
	}}
	w := begin(t, "http", h, nil)
	p := w.fake.Person(userOf(2))
	for in, want := range map[string]string{
		"config set approvers <@U01ANN|ann>,<!subteam^S01HELP|@helpdesk>": "config set approvers slack:U01ANN,slack:group:S01HELP",
		"config set channels <#C01EPM|epm> <#C02|>":                       "config set channels slack:channel:C01EPM slack:channel:C02",
		"tickets a &lt;b&gt; &amp; c":                                     "tickets a <b> & c",
		"tickets <https://x.example/a?b=c|x.example>":                     "tickets https://x.example/a?b=c",
		"tickets <mailto:a@b.example|a@b.example>":                        "tickets a@b.example",
		"nothing": "nothing",
		"nil":     "nil",
	} {
		a, err := p.CommandIn(t.Context(), channel, "/epm", in)
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != want || got.Actor != w.Actor(2) || got.Place != w.Place() {
			t.Errorf("%q: the command is %+v, want text %q", in, got, want)
		}
		if answered := a.Text != ""; answered != strings.Contains(in, " ") || (answered && a.Text != "done &lt;!channel&gt; *x*") {
			t.Errorf("%q: answered with %+v", in, a)
		}
	}
}

func TestSignedNonsense(t *testing.T) {
	w := begin(t, "http", adaptertest.NewBook(), nil)
	for path, body := range map[string]string{"/slack/interactions": "payload=", "/slack/events": "{", "/slack/commands": "%zz"} {
		status, _, err := w.fake.Post(t.Context(), w.bot+path, "text/plain", body, slacktest.Signing{})
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: status %d, %v; want 400", path, status, err)
		}
	}
	for _, payload := range []string{"{", "[]", `"x"`, "null", "{}", `{"type":"block_actions"}`, `{"type":"shortcut","team":7,"user":[]}`} {
		status, body, err := w.fake.Post(t.Context(), w.bot+"/slack/interactions", "application/x-www-form-urlencoded", url.Values{"payload": {payload}}.Encode(), slacktest.Signing{})
		if err != nil || status != http.StatusOK || body != "" {
			t.Errorf("%s: status %d, %q, %v; want an empty 200", payload, status, body, err)
		}
	}
}

// TestTypedIsKeptWhenNothingWasDone: an answer that says so leaves the form
// open with what was typed.
func TestTypedIsKeptWhenNothingWasDone(t *testing.T) {
	b := &away{Book: adaptertest.NewBook()}
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	b.away.Store(true)
	typed := map[tickets.FormField]string{tickets.FieldReason: "patch window", tickets.FieldUnit: "once"}
	if said, err := w.Submit(t.Context(), 0, typed); err != nil || len(said) != 1 || said[0] != sayAway {
		t.Fatalf("Submit() = %q, %v; want the reason", said, err)
	}
	b.away.Store(false)
	if said, err := w.Submit(t.Context(), 0, nil); err != nil || len(said) > 0 {
		t.Errorf("Submit() again = %q, %v; want it decided with what was typed", said, err)
	}
}

const sayAway = "the store is away"

// away is a bot whose store comes and goes.
type away struct {
	*adaptertest.Book
	away atomic.Bool
}

func (a *away) Submit(ctx context.Context, s adapters.Submission) adapters.Answer {
	if a.away.Load() {
		return adapters.Note{Text: sayAway, Again: true}
	}
	return a.Book.Submit(ctx, s)
}

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
				return adapters.Home{Say: "for " + a.ID}
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
		return adapters.Home{Say: fmt.Sprint("made ", n)}
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
			h := handler{home: func(context.Context, tickets.Actor) adapters.Answer { return adapters.Home{Say: "it works"} }}
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
