package slack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

func TestNewRefuses(t *testing.T) {
	const bot, app, secret = "xoxb-0123-secret", "xapp-1-secret", "signing-secret"
	for name, cfg := range map[string]slack.Config{
		"Nothing":       {},
		"NoBotToken":    {AppToken: app},
		"NoEars":        {BotToken: bot},
		"EmptySecrets":  {BotToken: bot, SigningSecrets: []string{"", ""}},
		"Swapped":       {BotToken: app, AppToken: bot},
		"PlainHTTP":     {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "http://slack.example.com/api/"},
		"URLOfSecrets":  {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "https://user:" + secret + "@slack.example.com/api/"},
		"URLWithQuery":  {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "https://slack.example.com/api/?key=" + secret},
		"URLThatIsNone": {BotToken: bot, SigningSecrets: []string{secret}, APIURL: "https://%zz" + secret},
	} {
		_, err := slack.New(cfg)
		if err == nil {
			t.Errorf("%s: New works", name)
		} else if strings.Contains(err.Error(), "secret") && !strings.Contains(err.Error(), "signing secret (HTTP)") {
			t.Errorf("%s: the error holds a secret: %v", name, err)
		}
	}
	cfg := slack.Config{BotToken: bot, SigningSecrets: []string{secret}}
	c, err := slack.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(cfg, c), fmt.Sprintf("%+v %#v %+v %#v", cfg, cfg, c, c)} {
		if strings.Contains(s, "secret") {
			t.Errorf("a Config prints its secrets: %s", s)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c, err := slack.New(slack.Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, APIURL: dead.URL + "/api/"})
	if err != nil {
		t.Fatal(err)
	}
	tk := adaptertest.NewBook().Add(1, adaptertest.Request(), tickets.Place{})
	_, err = c.Post(t.Context(), tickets.Place{Platform: slack.Platform, Channel: channel}, tk, time.Time{})
	if f := tickets.FailureOf(err); f.Class != tickets.Unavailable {
		t.Errorf("Post() = %v, want class down: it never got there", err)
	}
}

func TestRunUntilSlackTells(t *testing.T) {
	b := adaptertest.NewBook()
	w := prepare(t, "http", b, nil)
	w.fake.Fail(slacktest.Fault{Method: "auth.test", Kind: slacktest.Unavailable})
	if w.chat.Ready() == nil {
		t.Error("ready before Run")
	}
	w.run(b)
	poll(t, "ready", func() bool { return w.chat.Ready() == nil })
	if n := w.fake.Count("auth.test"); n != 2 {
		t.Errorf("%d calls of auth.test, want 2", n)
	}
}

func TestRunStopsForGood(t *testing.T) {
	for _, tt := range []struct{ name, mode, token string }{
		{"invalid_auth", "http", slacktest.BotToken},
		{"token_revoked", "socket", slacktest.BotToken},
		{"token_expired", "socket", slacktest.AppToken},
		{"account_inactive", "socket", slacktest.AppToken},
		{"not_allowed_token_type", "socket", slacktest.AppToken},
		{"missing_scope", "socket", slacktest.AppToken},
	} {
		t.Run(tt.mode+" "+tt.name, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := prepare(t, tt.mode, b, nil)
			w.fake.FailToken(tt.token, tt.name)
			ended := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			go func() { ended <- w.chat.Run(ctx, b) }()
			err := <-ended
			if err == nil || !strings.Contains(err.Error(), tt.name) {
				t.Fatalf("Run() = %v, want %s", err, tt.name)
			}
			if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("Ready() = %v, want %s", err, tt.name)
			}
		})
	}
}

func TestRunStopsWhenUninstalled(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			w := begin(t, mode, b, nil)
			if err := w.fake.SendEvent(t.Context(), map[string]any{"type": "tokens_revoked", "tokens": map[string]any{"oauth": []string{"U1"}}}); err != nil {
				t.Fatal(err)
			}
			w.fake.FailToken(slacktest.BotToken, "account_inactive")
			_ = w.fake.SendEvent(t.Context(), map[string]any{"type": "app_uninstalled"}) // its connection may end with it
			err := <-w.ended
			w.ended <- nil
			if err == nil || !strings.Contains(err.Error(), "app_uninstalled") {
				t.Errorf("Run() = %v", err)
			}
			if w.chat.Ready() == nil {
				t.Error("still ready")
			}
		})
	}
}

// TestComesBackWithAnotherToken: what was given up goes on when the token is
// another one.
func TestComesBackWithAnotherToken(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			var now atomic.Value
			now.Store(slacktest.BotToken)
			w := begin(t, mode, b, func(_ *slacktest.Config, c *slack.Config) {
				first := *c
				c.Current = func() slack.Secrets {
					return slack.Secrets{BotToken: now.Load().(string), AppToken: first.AppToken, SigningSecrets: append(first.SigningSecrets, "")}
				}
			})
			w.fake.FailToken(slacktest.BotToken, "token_revoked")
			_ = w.fake.SendEvent(t.Context(), map[string]any{"type": "app_uninstalled"}) // its connection may end with it
			poll(t, "given up", func() bool {
				err := w.chat.Ready()
				return err != nil && strings.Contains(err.Error(), "app_uninstalled")
			})
			w.fake.AddToken("xoxb-2", slacktest.DefaultScopes()...)
			if err := w.chat.Try(t.Context(), slack.Secrets{BotToken: "xoxb-2"}); err != nil {
				t.Errorf("Try() = %v", err)
			}
			if err := w.chat.Try(t.Context(), slack.Secrets{BotToken: slacktest.BotToken}); tickets.FailureOf(err).Class != tickets.Unauthorized {
				t.Errorf("Try() of the revoked one = %v", err)
			}
			now.Store("xoxb-2")
			poll(t, "ready", func() bool { return w.chat.Ready() == nil })
			tk := b.Add(1042, adaptertest.Request(), w.Place())
			if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeniedShowsInReady(t *testing.T) {
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.FailToken(slacktest.BotToken, "token_revoked")
	_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if f := tickets.FailureOf(err); f.Class != tickets.Unauthorized {
		t.Errorf("Post() = %v, want class denied", err)
	}
	if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), "token_revoked") {
		t.Errorf("Ready() = %v", err)
	}
	w.fake.FailToken(slacktest.BotToken, "")
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
		t.Error(err)
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("Ready() = %v after it went well", err)
	}
}

// TestNoSecretInErrors makes every call fail in every way, against a Slack
// that answers with the secrets themselves.
func TestNoSecretInErrors(t *testing.T) {
	const token, app, secret = "xoxb-TOPSECRET-bot", "xapp-TOPSECRET-app", "TOPSECRET-signing"
	answers := map[string]func(w http.ResponseWriter, r *http.Request){
		"error name": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"ok":false,"error":%q}`, token) },
		"needed": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"ok":false,"error":"missing_scope","needed":%q}`, "chat:write "+token)
		},
		"errors": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"ok":false,"error":"invalid_blocks","errors":{"odd":%q}}`, token)
		},
		"pointers": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["%s [json-pointer:/blocks/0]"]}}`, token)
		},
		"html":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "<html>%s</html>", token) },
		"status": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, token, http.StatusBadGateway) },
		"retry after": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", token)
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/?token="+token, http.StatusFound)
		},
		"types": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"ok":%q,"ts":1}`, token) },
		"drop":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			api := httptest.NewServer(http.HandlerFunc(answer))
			defer api.Close()
			log := &adaptertest.Journal{}
			c, err := slack.New(slack.Config{BotToken: token, AppToken: app, SigningSecrets: []string{secret}, APIURL: api.URL + "/api/", Log: logger(log)})
			if err != nil {
				t.Fatal(err)
			}
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
			place := tickets.Place{Platform: slack.Platform, Channel: channel}
			m := tickets.Message{Place: place, ID: "1.0"}
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			var errs []error
			note := func(err error) { errs = append(errs, err) }
			_, err = c.Post(ctx, place, tk, time.Time{})
			note(err)
			_, err = c.Post(ctx, place, tk, time.Now())
			note(err)
			note(c.Edit(ctx, m, tk))
			note(c.Reply(ctx, m, tk, 0, time.Time{}))
			_, err = c.HasRole(ctx, tickets.Principal{Platform: slack.Platform, Kind: tickets.Group, ID: "S1"}, tickets.Actor{Platform: slack.Platform, ID: "U1"})
			note(err)
			_, err = c.HasRole(ctx, tickets.Principal{Platform: slack.Platform, Kind: tickets.Channel, ID: "C1"}, tickets.Actor{Platform: slack.Platform, ID: "U1"})
			note(err)
			short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer stop()
			_ = c.Run(short, adaptertest.NewBook())
			note(c.Ready())
			for i, err := range errs {
				if err == nil {
					t.Errorf("call %d works", i)
				} else if s := fmt.Sprintf("%v %+v", err, tickets.FailureOf(err).UserMessage); strings.Contains(s, "TOPSECRET") {
					t.Errorf("call %d: %s", i, s)
				}
			}
			if strings.Contains(log.String(), "TOPSECRET") {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestTransportSeesEveryCall(t *testing.T) {
	var methods sync.Map
	b := adaptertest.NewBook()
	w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			methods.Store(r.URL.Path, true)
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/api/auth.test", "/api/chat.postMessage", "/api/conversations.history"} {
		if _, ok := methods.Load(want); !ok {
			t.Errorf("%s was not seen", want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// handler is a Handler made of functions.
type handler struct {
	click   func(context.Context, adapters.Click) adapters.Answer
	submit  func(context.Context, adapters.Submission) adapters.Answer
	command func(context.Context, adapters.Command) adapters.Answer

	configure func(context.Context, adapters.Configuration) adapters.Answer
	complete  func(context.Context, adapters.Completion) adapters.Suggestions
	home      func(context.Context, tickets.Actor) adapters.Answer
}

func (h handler) Click(ctx context.Context, c adapters.Click) adapters.Answer { return h.click(ctx, c) }
func (h handler) Submit(ctx context.Context, s adapters.Submission) adapters.Answer {
	return h.submit(ctx, s)
}
func (h handler) SubmitSettings(ctx context.Context, c adapters.Configuration) adapters.Answer {
	return h.configure(ctx, c)
}
func (h handler) Autocomplete(ctx context.Context, c adapters.Completion) adapters.Suggestions {
	return h.complete(ctx, c)
}
func (h handler) Home(ctx context.Context, a tickets.Actor) adapters.Answer { return h.home(ctx, a) }
func (h handler) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	return h.command(ctx, c)
}

// payloadOf is the interaction in a delivery of either kind.
func payloadOf(t *testing.T, d slacktest.Delivery) json.RawMessage {
	t.Helper()
	if d.Via == "http" {
		v, err := url.ParseQuery(d.Body)
		if err != nil {
			t.Fatal(err)
		}
		return json.RawMessage(v.Get("payload"))
	}
	var env struct{ Payload json.RawMessage }
	if err := json.Unmarshal([]byte(d.Body), &env); err != nil {
		t.Fatal(err)
	}
	return env.Payload
}
