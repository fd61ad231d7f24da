package discord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

// The routes that faults are about.
const (
	routeMessages = "/channels/{channel}/messages"
	routeMessage  = "/channels/{channel}/messages/{message}"
	routeThreads  = "/channels/{channel}/messages/{message}/threads"
	routeMember   = "/guilds/{guild}/members/{user}"
	routeCommands = "/applications/{application}/guilds/{guild}/commands"
	routeCallback = "/interactions/{interaction}/{token}/callback"
	routeFollowUp = "/webhooks/{application}/{token}"
)

// other is a second channel.
const other = "500000000000000002"

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

// clock runs ahead of the machine's, for the fake and the chat together.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }
func (c *clock) set(f *discordtest.Config, d *discord.Config) {
	f.Now, f.SignNow, d.Now = c.now, c.now, c.now
}

// restarted is the same chat after a restart: it remembers nothing.
func (w *world) restarted() *discord.Chat {
	w.t.Helper()
	c, err := discord.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// request is a ticket that nobody has posted yet.
func request(w *world, seq int64) *tickets.Ticket {
	return adaptertest.NewBook().Add(seq, adaptertest.Request(), w.Place())
}

// failed is the failure in err, with its class checked.
func failed(t testing.TB, what string, err error, want tickets.Class) *tickets.Failure {
	t.Helper()
	var f *tickets.Failure
	if !errors.As(err, &f) {
		t.Fatalf("%s = %v, want a failure of class %s", what, err, want)
	}
	if f.Class != want {
		t.Fatalf("%s = %v, want class %s", what, err, want)
	}
	return f
}

func logger(j *adaptertest.Journal) *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func named(code, status int) discordtest.Fault {
	return discordtest.Fault{Kind: discordtest.DiscordError, Code: code, Status: status}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	const secret, key = "planted.secret.token", "planted0planted0planted0planted0planted0planted0planted0planted0"
	good := discord.Config{BotToken: secret, ApplicationID: "100000000000000001", Guild: "200000000000000001"}
	for name, change := range map[string]func(*discord.Config){
		"Nothing":       func(c *discord.Config) { *c = discord.Config{} },
		"NoToken":       func(c *discord.Config) { c.BotToken = "" },
		"TokenWithBot":  func(c *discord.Config) { c.BotToken = "Bot " + secret },
		"NoApplication": func(c *discord.Config) { c.ApplicationID = "" },
		"Application":   func(c *discord.Config) { c.ApplicationID = "planted" },
		"NoGuild":       func(c *discord.Config) { c.Guild = "" },
		"Guild":         func(c *discord.Config) { c.Guild = "200000000000000001/planted" },
		"NoKey":         func(c *discord.Config) { c.HTTP = true },
		"ShortKey":      func(c *discord.Config) { c.PublicKey = "abcd" },
		"NoHexKey":      func(c *discord.Config) { c.PublicKey = key },
		"PlainHTTP":     func(c *discord.Config) { c.APIURL = "http://planted.example.com" },
		"URLOfSecrets":  func(c *discord.Config) { c.APIURL = "https://user:" + secret + "@discord.example.com" },
		"URLWithQuery":  func(c *discord.Config) { c.APIURL = "https://discord.example.com/?key=" + secret },
		"URLThatIsNone": func(c *discord.Config) { c.APIURL = "https://%zz" + secret },
	} {
		cfg := good
		change(&cfg)
		if _, err := discord.New(cfg); err == nil {
			t.Errorf("%s: New works", name)
		} else if strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: the error holds a value: %v", name, err)
		}
	}
	c, err := discord.New(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(good, c), fmt.Sprintf("%+v %#v %+v %#v", good, good, c, c)} {
		if strings.Contains(s, "planted") {
			t.Errorf("a Config prints its secrets: %s", s)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c, err := discord.New(discord.Config{BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, APIURL: dead.URL})
	if err != nil {
		t.Fatal(err)
	}
	place := tickets.Place{Platform: discord.Platform, Channel: channel}
	_, err = c.Post(t.Context(), place, adaptertest.NewBook().Add(1, adaptertest.Request(), place), time.Time{})
	failed(t, "Post()", err, tickets.Unavailable) // it never got there
}

func TestDeniedShowsInReady(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.RevokeToken()
	_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if f := failed(t, "Post()", err, tickets.Unauthorized); f.ChannelFault {
		t.Error("the place is blamed")
	}
	if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("Ready() = %v", err)
	}
	w.fake.RestoreToken()
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
		t.Error(err)
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("Ready() = %v after it went well", err)
	}
	if n := w.fake.InvalidRequests(); n != 1 {
		t.Errorf("%d invalid requests, want 1", n)
	}
}

func TestRunStopsWithoutAToken(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := prepare(t, mode, b, nil)
			w.fake.RevokeToken()
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			if err := w.chat.Run(ctx, b); err == nil || !strings.Contains(err.Error(), "401") {
				t.Fatalf("Run() = %v", err)
			}
			if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("Ready() = %v", err)
			}
			if n := len(w.fake.Calls()); n != 1 {
				t.Errorf("%d calls with a token that is not accepted, want 1", n)
			}
		})
	}
}

func TestRunUntilDiscordTells(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := prepare(t, "http", b, nil)
	w.fake.Fail(discordtest.Fault{Route: "/users/@me", Kind: discordtest.ServerError})
	if w.chat.Ready() == nil {
		t.Error("ready before Run")
	}
	w.run(b)
	w.poll("ready", func() bool { return w.chat.Ready() == nil })
	if n := w.fake.Count("/users/@me"); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// TestDeniedIsCheckedAgain: nothing else has to be called for the chat to
// find out that its token works again, and it asks once a minute only.
func TestDeniedIsCheckedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var revoked, portal atomic.Bool
		var asked atomic.Int32
		answer := func(status int, body string) *http.Response {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
		}
		c, err := discord.New(discord.Config{
			BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, HTTP: true, PublicKey: strings.Repeat("ab", 32),
			Log: logger(&adaptertest.Journal{}),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				switch {
				case revoked.Load():
					if strings.HasSuffix(r.URL.Path, "/users/@me") {
						asked.Add(1)
					}
					return answer(http.StatusUnauthorized, `{"message":"401: Unauthorized","code":0}`), nil
				case portal.Load():
					return answer(http.StatusOK, `<html>sign in</html>`), nil
				case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/commands"):
					return answer(http.StatusOK, `[]`), nil
				}
				return answer(http.StatusOK, `{"id":"`+discordtest.BotUserID+`"}`), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, handler{}) }()
		synctest.Wait()
		if err := c.Ready(); err != nil {
			t.Fatalf("Ready() = %v", err)
		}
		revoked.Store(true)
		place := tickets.Place{Platform: discord.Platform, Channel: channel}
		_, err = c.Post(ctx, place, adaptertest.NewBook().Add(1, adaptertest.Request(), place), time.Time{})
		failed(t, "Post()", err, tickets.Unauthorized)
		time.Sleep(10*time.Minute + time.Second)
		if n := asked.Load(); n != 10 || c.Ready() == nil {
			t.Errorf("in ten minutes it asked %d times, want 10; Ready() = %v", n, c.Ready())
		}
		revoked.Store(false)
		portal.Store(true)
		time.Sleep(2 * time.Minute)
		if c.Ready() == nil {
			t.Error("a portal on the way has made it ready")
		}
		portal.Store(false)
		time.Sleep(time.Minute)
		if err := c.Ready(); err != nil {
			t.Errorf("Ready() = %v, want it to have recovered", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

// TestNoSecretInErrors makes every call fail in every way, against a Discord
// that answers with the secrets themselves.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	const token, hidden = "TOPSECRET.bot.token", "TOPSECRET"
	answers := map[string]http.HandlerFunc{
		"message": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"message":%q,"code":990099,"errors":{"TOPSECRET":{"_errors":[{"message":%q}]}}}`, token, token)
		},
		"fields": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"message":"x","code":50035,"errors":{"content":{"%s":{"_errors":[{"message":%q}]}}}}`, token, token)
		},
		"html":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "<html>%s</html>", token) },
		"status": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, token, http.StatusBadGateway) },
		"denied": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, token, http.StatusUnauthorized) },
		"limit": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", token)
			w.Header().Set("X-RateLimit-Scope", token)
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/?token="+token, http.StatusFound)
		},
		"types": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"id":{"x":%q},"roles":%q}`, token, token)
		},
		"drop":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"nothing": nil,
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(answer)
			defer api.Close()
			if answer == nil {
				api.Close()
			}
			log := &adaptertest.Journal{}
			place := tickets.Place{Platform: discord.Platform, Channel: channel}
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), place)
			m := tickets.Message{Place: place, ID: "600000000000000001"}
			var errs []error
			// A fresh chat each time: none waits for what another was told.
			call := func(do func(context.Context, *discord.Chat) error) {
				t.Helper()
				c, err := discord.New(discord.Config{BotToken: token, ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, APIURL: api.URL,
					Gateway: discord.Gateway{Open: 100 * time.Millisecond}, Log: logger(log)})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				defer cancel()
				errs = append(errs, do(ctx, c))
			}
			for _, since := range []time.Time{{}, time.Now().Add(-time.Hour)} {
				call(func(ctx context.Context, c *discord.Chat) error { _, err := c.Post(ctx, place, tk, since); return err })
				call(func(ctx context.Context, c *discord.Chat) error { return c.Reply(ctx, m, tk, 0, since) })
			}
			call(func(ctx context.Context, c *discord.Chat) error { return c.Edit(ctx, m, tk) })
			call(func(ctx context.Context, c *discord.Chat) error {
				return c.DirectMessage(ctx, principal(tickets.User, userOf(0)), "x")
			})
			call(func(ctx context.Context, c *discord.Chat) error {
				_, err := c.HasRole(ctx, principal(tickets.Role, "400000000000000001"), tickets.Actor{Platform: discord.Platform, ID: userOf(0)})
				if name == "types" {
					return errors.New("no roles are roles") // nobody is let in
				}
				return err
			})
			call(func(ctx context.Context, c *discord.Chat) error {
				short, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
				defer cancel()
				_ = c.Run(short, handler{})
				return c.Ready()
			})
			call(func(ctx context.Context, c *discord.Chat) error {
				bad := false
				for _, f := range c.Diagnose(ctx, []tickets.Place{place}, []tickets.Principal{principal(tickets.User, userOf(0))}) {
					if strings.Contains(f.What+f.Problem+f.Fix, hidden) {
						t.Errorf("a finding: %+v", f)
					}
					bad = bad || f.Problem != ""
				}
				if !bad {
					return nil
				}
				return errors.New("found something")
			})
			for i, err := range errs {
				if err == nil {
					t.Errorf("call %d works", i)
				} else if s := fmt.Sprintf("%v %+v", err, tickets.FailureOf(err).UserMessage); strings.Contains(s, hidden) {
					t.Errorf("call %d: %s", i, s)
				}
			}
			if strings.Contains(log.String(), hidden) {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestCallNames(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/api/v9/channels/500000000000000001/messages":                              "GET /channels/{id}/messages",
		"/api/v9/channels/500000000000000001/messages/600000000000000001/threads":   "GET /channels/{id}/messages/{id}/threads",
		"/api/v10/interactions/700000000000000001/aW50ZXJhY3Rpb24abc/callback":      "GET /interactions/{id}/{token}/callback",
		"/api/v9/webhooks/100000000000000001/123456789012345678":                    "GET /webhooks/{id}/{token}",
		"/api/v9/webhooks/100000000000000001/aW50ZXJhY3Rpb24abc/messages/@original": "GET /webhooks/{id}/{token}/messages/@original",
		"/api/v9/guilds/200000000000000001/members/300000000000000001":              "GET /guilds/{id}/members/{id}",
		"/api/v9/users/@me": "GET /users/@me",
		"/":                 "GET /",
	} {
		r := httptest.NewRequest(http.MethodGet, "https://discord.com"+path+"?after=1", nil)
		if got := discord.CallName(r); got != want {
			t.Errorf("CallName(%s) = %q, want %q", path, got, want)
		}
	}
}

// TestTransportSeesEveryCall: metrics name each call, without identifiers.
func TestTransportSeesEveryCall(t *testing.T) {
	t.Parallel()
	var names sync.Map
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, func(_ *discordtest.Config, c *discord.Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			names.Store(discord.CallName(r), true)
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	tk, id := posted(t, b, w)
	m := tickets.Message{Place: w.Place(), ID: id}
	if err := w.chat.Edit(t.Context(), m, tk); err != nil {
		t.Fatal(err)
	}
	if err := w.chat.Reply(t.Context(), m, tk, 0, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := w.chat.DirectMessage(t.Context(), principal(tickets.User, userOf(0)), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.chat.HasRole(t.Context(), principal(tickets.Role, userOf(9)), w.Actor(0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	var got []string
	names.Range(func(k, _ any) bool { got = append(got, k.(string)); return true })
	slices.Sort(got)
	want := []string{
		"GET /applications/{id}/guilds/{id}/commands", "GET /channels/{id}/messages", "GET /gateway/bot", "GET /guilds/{id}/members/{id}", "GET /users/@me",
		"PATCH /channels/{id}/messages/{id}", "POST /channels/{id}/messages", "POST /channels/{id}/messages/{id}/threads",
		"POST /interactions/{id}/{token}/callback", "POST /users/@me/channels", "PUT /applications/{id}/guilds/{id}/commands",
	}
	if !slices.Equal(got, want) {
		t.Errorf("calls are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// components are those of a message, for tests that read them.
func components(t testing.TB, raw string) json.RawMessage {
	t.Helper()
	var m struct {
		Data struct {
			Components json.RawMessage `json:"components"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return m.Data.Components
}
