package slack_test

import (
	"context"
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
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
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
