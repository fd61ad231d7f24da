package slacktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

// app is a bot in a few lines, over HTTP or Socket Mode.
type app struct {
	t   *testing.T
	mu  sync.Mutex
	got []slack.InteractionCallback
	raw []string
	// on answers an interaction; the answer is the body of the acknowledgement.
	on func(slack.InteractionCallback) string
}

func (a *app) interaction(payload []byte) string {
	var cb slack.InteractionCallback
	if err := json.Unmarshal(payload, &cb); err != nil {
		a.t.Errorf("interaction: %v", err)
	}
	a.mu.Lock()
	a.got = append(a.got, cb)
	a.raw = append(a.raw, string(payload))
	a.mu.Unlock()
	if a.on == nil {
		return ""
	}
	return a.on(cb)
}

func (a *app) count() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.got) }

func (a *app) last() slack.InteractionCallback {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got[len(a.got)-1]
}

// serve runs the app over signed HTTP.
func (a *app) serve(s *slacktest.Server) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		v, err := slack.NewSecretsVerifier(r.Header, slacktest.SigningSecret)
		if err == nil {
			v.Write(body)
			err = v.Ensure()
		}
		if err != nil {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		form, _ := url.ParseQuery(string(body))
		switch r.URL.Path {
		case "/interactions":
			io.WriteString(w, a.interaction([]byte(form.Get("payload"))))
		case "/commands":
			fmt.Fprintf(w, `{"response_type":"ephemeral","text":"you said %s"}`, form.Get("text"))
		case "/events":
			var e struct{ Challenge string }
			json.Unmarshal(body, &e)
			io.WriteString(w, e.Challenge)
		}
	}))
	a.t.Cleanup(srv.Close)
	s.SetURLs(slacktest.URLs{Interactions: srv.URL + "/interactions", Commands: srv.URL + "/commands", Events: srv.URL + "/events"})
	return srv
}

// connect runs the app over Socket Mode with slack-go's client.
func (a *app) connect(ctx context.Context, s *slacktest.Server) {
	client := socketmode.New(client(s))
	before := s.Sockets()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	a.t.Cleanup(func() { cancel(); <-done })
	go func() { defer close(done); client.RunContext(ctx) }()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case ev := <-client.Events:
				if ev.Request == nil {
					continue
				}
				switch ev.Type {
				case socketmode.EventTypeInteractive:
					answer := a.interaction(ev.Request.Payload)
					if answer == "" {
						client.Ack(*ev.Request)
					} else {
						client.Ack(*ev.Request, json.RawMessage(answer))
					}
				case socketmode.EventTypeSlashCommand:
					client.Ack(*ev.Request, map[string]any{"text": "you said " + ev.Data.(slack.SlashCommand).Text})
				case socketmode.EventTypeEventsAPI:
					a.mu.Lock()
					a.raw = append(a.raw, fmt.Sprintf("event retry=%d", ev.Request.RetryAttempt))
					skip := ev.Request.RetryAttempt == 0
					a.mu.Unlock()
					if !skip {
						client.Ack(*ev.Request)
					}
				}
			}
		}
	}()
	eventually(a.t, "socket", func() bool { return s.Sockets() > before })
}

// TestConversation is the whole way, over both transports: click, form, field
// error, live change of the form, second submission, command, response_url.
func TestConversation(t *testing.T) {
	for _, transport := range []string{"http", "socket"} {
		t.Run(transport, func(t *testing.T) {
			s, api := newFake(t, slacktest.Config{})
			a := &app{t: t}
			a.on = func(cb slack.InteractionCallback) string {
				switch cb.Type {
				case slack.InteractionTypeBlockActions:
					if cb.Container.Type == "view" {
						v := modal(t, strings.Replace(form, "How many", "How many minutes", 1))
						if _, err := api.UpdateViewContext(t.Context(), v, "", cb.View.Hash, cb.View.ID); err != nil {
							t.Errorf("UpdateView: %v", err)
						}
						return ""
					}
					if _, err := api.OpenViewContext(t.Context(), cb.TriggerID, modal(t, form)); err != nil {
						t.Errorf("OpenView: %v", err)
					}
				case slack.InteractionTypeViewSubmission:
					if cb.View.State != nil && cb.View.State.Values["amount"]["amount"].Value == "3" {
						return `{"response_action":"errors","errors":{"amount":"Enter a number between 5 and 1440"}}`
					}
				}
				return ""
			}
			if transport == "http" {
				a.serve(s)
			} else {
				a.connect(t.Context(), s)
			}
			_, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("x", false), slack.MsgOptionBlocks(card(buttons)...))
			if err != nil {
				t.Fatal(err)
			}
			p := s.Person(ann)
			if err := p.Click(t.Context(), channel, ts, "nothing"); !errors.Is(err, slacktest.ErrNoSuchButton) {
				t.Errorf("missing button: %v", err)
			}
			if err := p.Click(t.Context(), channel, ts, "approve"); err != nil {
				t.Fatal(err)
			}
			click := a.last()
			if act := click.ActionCallback.BlockActions[0]; act.Value != "JIT-1042" || act.BlockID != "act:7" || act.ActionTs == "" ||
				click.User.ID != ann || click.User.TeamID != slacktest.TeamID || click.APIAppID != slacktest.AppID ||
				click.Container.MessageTs != ts || len(click.Message.Blocks.BlockSet) != 1 || click.Channel.ID != channel {
				t.Errorf("click = %+v", click)
			}
			v, open := p.View()
			if !open || v.Title != "Approve JIT-1042" || v.PrivateMetadata != "JIT-1042" || v.Typed["unit"] != "once" {
				t.Fatalf("view = %+v, %v", v, open)
			}
			var blocked *slacktest.BlockedError
			if _, err := p.Submit(t.Context(), nil); !errors.As(err, &blocked) || blocked.Fields["reason"] == "" {
				t.Errorf("no reason: %v", err)
			}
			for _, bad := range []map[string]string{{"amount": "0"}, {"amount": "1441"}, {"amount": "1.5"}, {"amount": "x"}, {"reason": strings.Repeat("x", 1001)}} {
				bad["reason"] += " "
				if _, err := p.Submit(t.Context(), bad); !errors.As(err, &blocked) {
					t.Errorf("%v: %v", bad, err)
				}
			}
			if _, err := p.Submit(t.Context(), map[string]string{"unit": "days"}); !errors.Is(err, slacktest.ErrNoSuchOption) {
				t.Errorf("no such option: %v", err)
			}
			if err := errors.Join(p.Type("reason", "ok"), p.Type("amount", "")); err != nil {
				t.Fatal(err)
			}
			if err := p.Act(t.Context(), "unit", "minutes"); err != nil {
				t.Fatal(err)
			}
			if st := a.last().View.State.Values; st["reason"]["reason"].Value != "ok" || st["unit"]["unit"].SelectedOption.Value != "minutes" {
				t.Errorf("state in block_actions: %+v", st)
			}
			after, _ := p.View()
			if after.Hash == v.Hash || !strings.Contains(string(after.Blocks), "How many minutes") || after.Typed["reason"] != "ok" || after.Typed["unit"] != "minutes" {
				t.Errorf("after update: %+v", after)
			}
			fields, err := p.Submit(t.Context(), map[string]string{"amount": "3"})
			if err != nil || fields["amount"] != "Enter a number between 5 and 1440" {
				t.Fatalf("Submit = %v, %v", fields, err)
			}
			if fields, err = p.Submit(t.Context(), map[string]string{"amount": ""}); err != nil || fields != nil {
				t.Fatalf("Submit = %v, %v", fields, err)
			}
			if !strings.Contains(a.raw[len(a.raw)-1], `"amount":{"amount":{"type":"number_input","value":null}}`) {
				t.Errorf("empty number: %s", a.raw[len(a.raw)-1])
			}
			if _, open := p.View(); open {
				t.Error("form still open")
			}
			answer, err := p.Command(t.Context(), "/epm", "status")
			if err != nil || answer.Text != "you said status" || answer.ResponseType != "ephemeral" {
				t.Errorf("command = %+v, %v", answer, err)
			}
			hook := func() error {
				return slack.PostWebhookCustomHTTPContext(t.Context(), click.ResponseURL, http.DefaultClient,
					&slack.WebhookMessage{Text: "not you", ResponseType: "ephemeral"})
			}
			for i := range 5 {
				if err := hook(); err != nil {
					t.Errorf("response_url %d: %v", i, err)
				}
			}
			if err := hook(); err == nil {
				t.Error("sixth use of a response_url")
			}
			if e := p.Ephemerals(); len(e) != 6 {
				t.Errorf("%d ephemerals: %+v", len(e), e)
			}
			noViolations(t, s)
		})
	}
}

func TestWrongAnswersToForms(t *testing.T) {
	for name, body := range map[string]string{
		"Text": "ok", "OKTrue": `{"ok":true}`, "UnknownKey": `{"response_action":"errors","errors":{"nope":"x"}}`,
		"NotAnInput": `{"response_action":"errors","errors":{"info":"x"}}`, "BadView": `{"response_action":"update","view":{"type":"modal"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, api := newFake(t, slacktest.Config{})
			a := &app{t: t}
			a.serve(s)
			a.on = func(cb slack.InteractionCallback) string {
				if cb.Type == slack.InteractionTypeViewSubmission {
					return body
				}
				api.OpenViewContext(t.Context(), cb.TriggerID, modal(t, form))
				return ""
			}
			p := s.Person(ann)
			if err := p.ClickRaw(t.Context(), slacktest.RawClick{Channel: channel, TS: "1.000001", ActionID: "approve"}); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Submit(t.Context(), map[string]string{"reason": " "}); !errors.Is(err, slacktest.ErrTrouble) || len(s.Violations()) == 0 {
				t.Errorf("Submit = %v", err)
			}
			if _, err := p.SubmitRaw(t.Context(), nil); !errors.Is(err, slacktest.ErrTrouble) || a.last().View.State != nil {
				t.Errorf("SubmitRaw = %v", err)
			}
		})
	}
}

func TestTriggersAndHashes(t *testing.T) {
	c := &clock{t: time.Unix(1769864700, 0)}
	s, api := newFake(t, slacktest.Config{Now: c.Now})
	a := &app{t: t}
	a.serve(s)
	p := s.Person(ann)
	trigger := func() string {
		if err := p.ClickRaw(t.Context(), slacktest.RawClick{Channel: channel, TS: "1.000001", ActionID: "approve"}); err != nil {
			t.Fatal(err)
		}
		return a.last().TriggerID
	}
	open := func(id string) (*slack.ViewResponse, string) {
		v, err := api.OpenViewContext(t.Context(), id, modal(t, form))
		if err != nil {
			return nil, slackError(err)
		}
		return v, ""
	}
	id := trigger()
	v, err := open(id)
	if err != "" {
		t.Fatal(err)
	}
	if _, err := open(id); err != "exchanged_trigger_id" {
		t.Errorf("second use: %s", err)
	}
	if _, err := open("1.2.abc"); err != "invalid_trigger_id" {
		t.Errorf("made up: %s", err)
	}
	id = trigger()
	c.Advance(3*time.Second + time.Millisecond)
	if _, err := open(id); err != "expired_trigger_id" {
		t.Errorf("late: %s", err)
	}
	if _, err := api.UpdateViewContext(t.Context(), modal(t, form), "", "1.x", v.View.ID); slackError(err) != "hash_conflict" {
		t.Errorf("old hash: %v", err)
	}
	if _, err := api.UpdateViewContext(t.Context(), modal(t, form), "", "", "V999"); slackError(err) != "not_found" {
		t.Errorf("no such view: %v", err)
	}
	for i := range 3 { // the third push is one too many
		if err := p.Act(t.Context(), "unit", "minutes"); err != nil {
			t.Fatal(err)
		}
		_, err := api.PushViewContext(t.Context(), a.last().TriggerID, modal(t, form))
		if i < 2 && err != nil || i == 2 && slackError(err) != "push_limit_reached" {
			t.Errorf("push %d: %v", i, err)
		}
	}
	noViolations(t, s)
}

func TestSignature(t *testing.T) {
	// The known answer of docs.slack.dev/authentication/verifying-requests-from-slack.
	const body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
		"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
		"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	got := slacktest.Signature("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", body)
	if want := "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"; got != want {
		t.Errorf("Signature = %s, want %s", got, want)
	}
	s, _ := newFake(t, slacktest.Config{})
	a := &app{t: t}
	srv := a.serve(s)
	if err := s.VerifyURL(t.Context()); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		how  slacktest.Signing
		want int
	}{
		"Right": {slacktest.Signing{}, 200}, "WrongSecret": {slacktest.Signing{Secret: "x"}, 401}, "Old": {slacktest.Signing{Age: 6 * time.Minute}, 401},
		"Future": {slacktest.Signing{Age: -6 * time.Minute}, 401}, "None": {slacktest.Signing{None: true}, 401}, "Odd": {slacktest.Signing{Signature: "v0=ab"}, 401},
	} {
		if got, _, err := s.Post(t.Context(), srv.URL+"/events", "application/json", `{}`, c.how); err != nil || got != c.want {
			t.Errorf("%s: status %d, %v; want %d", name, got, err, c.want)
		}
	}
	if _, err := s.Person(ann).Command(t.Context(), "/epm", "help"); err != nil {
		t.Fatal(err)
	}
	d := s.Deliveries()
	if got, body, err := s.Replay(t.Context(), d[len(d)-1]); err != nil || got != 200 || !strings.Contains(body, "help") {
		t.Errorf("replay = %d %s %v", got, body, err)
	}
}

func TestSocketMode(t *testing.T) {
	s, _ := newFake(t, slacktest.Config{AckWait: 200 * time.Millisecond, RetryDelays: []time.Duration{0, time.Millisecond}})
	p := s.Person(ann)
	if err := p.ClickRaw(t.Context(), slacktest.RawClick{}); !errors.Is(err, slacktest.ErrUnreachable) {
		t.Errorf("without a socket: %v", err)
	}
	a := &app{t: t}
	a.connect(t.Context(), s)
	if err := s.SendEvent(t.Context(), map[string]any{"type": "app_home_opened", "user": ann, "tab": "home"}); !errors.Is(err, slacktest.ErrNoAck) {
		t.Errorf("unacknowledged event: %v", err)
	}
	eventually(t, "retry", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return reflect.DeepEqual(a.raw, []string{"event retry=0", "event retry=1"})
	})
	if _, err := s.SendEnvelope(t.Context(), "tomorrow", json.RawMessage(`{}`)); !errors.Is(err, slacktest.ErrNoAck) {
		t.Errorf("unknown envelope: %v", err)
	}
	s.Refresh("refresh_requested")
	eventually(t, "reconnect", func() bool { return s.Sockets() == 1 })
	click := func() bool { return p.ClickRaw(t.Context(), slacktest.RawClick{Channel: channel}) == nil }
	eventually(t, "click after refresh", click)
	s.CutSockets()
	eventually(t, "click after a cut", click)
	if s.Count("apps.connections.open") < 3 {
		t.Errorf("%d connections opened", s.Count("apps.connections.open"))
	}
	noViolations(t, s)
}
