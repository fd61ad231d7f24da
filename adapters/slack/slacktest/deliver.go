package slacktest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a delivery can fail with. They are wrapped in what a person sees.
var (
	// ErrUnreachable: there is no URL for the request and no socket is connected.
	ErrUnreachable = errors.New("the app has no request URL and no socket")
	// ErrNoAck: the app did not acknowledge in time.
	ErrNoAck = errors.New("no acknowledgement in time")
	// ErrBadAck: the app acknowledged with something that Slack does not accept.
	ErrBadAck = errors.New("acknowledgement not accepted")
)

// The kinds of requests to the app; they are also Socket Mode's envelope types.
const (
	Interactive   = "interactive"
	SlashCommands = "slash_commands"
	EventsAPI     = "events_api"
)

// Delivery is one request that the fake sent to the app.
type Delivery struct {
	Kind   string // [Interactive], [SlashCommands] or [EventsAPI]
	Via    string // "http" or "socket"
	URL    string
	Header http.Header
	Body   string // of the request, or the envelope
	Retry  int
	At     time.Time
	Status int    // HTTP status; 0 when none came, 200 for an acknowledged envelope
	Answer string // body of the answer, or the payload of the ack
	Err    string
}

// Deliveries lists the last requests to the app, oldest first. See Config.CallLog.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deliveries)
}

// ack is the app's answer to a request.
type ack struct {
	via     string
	status  int
	body    []byte
	noRetry bool
}

// empty reports an acknowledgement without content. In Socket Mode the
// official client sends {"payload":{}} for it.
func (a ack) empty() bool {
	if a.via == "socket" {
		return len(a.body) == 0 || string(a.body) == "null" || string(a.body) == "{}"
	}
	return len(a.body) == 0
}

// deliver sends one request to the app and waits for its acknowledgement.
// reason is why it is sent again, when attempt is not 0.
func (s *Server) deliver(ctx context.Context, kind string, payload json.RawMessage, attempt int, reason string) (ack, error) {
	if !s.begin() {
		return ack{}, ErrUnreachable
	}
	defer s.wg.Done()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AckWait)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()

	s.mu.Lock()
	to := map[string]string{Interactive: s.urls.Interactions, SlashCommands: s.urls.Commands, EventsAPI: s.urls.Events}[kind]
	s.mu.Unlock()
	d := Delivery{Kind: kind, Via: "http", URL: to, Retry: attempt, At: s.cfg.Now()}
	var a ack
	var err error
	if to == "" {
		d.Via = "socket"
		a, err = s.deliverSocket(ctx, &d, payload, attempt, reason)
	} else {
		a, err = s.deliverHTTP(ctx, &d, payload, attempt, reason)
	}
	a.via = d.Via
	d.Status, d.Answer = a.status, string(a.body)
	if err != nil {
		d.Err = err.Error()
	}
	s.mu.Lock()
	s.deliveries = append(s.deliveries, d)
	if len(s.deliveries) > s.cfg.CallLog {
		s.deliveries = slices.Delete(s.deliveries, 0, len(s.deliveries)-s.cfg.CallLog)
	}
	s.mu.Unlock()
	if err != nil && attempt == 0 && (kind == EventsAPI || s.cfg.RetryAll) && !a.noRetry {
		s.redeliver(kind, payload, retryReason(err))
	}
	return a, err
}

func retryReason(err error) string {
	switch {
	case errors.Is(err, ErrNoAck):
		return "http_timeout"
	case errors.Is(err, ErrUnreachable):
		return "connection_failed"
	}
	return "http_error"
}

// redeliver sends a request again until it is acknowledged: at once, after a
// minute, after five (docs.slack.dev/apis/events-api, "retries").
func (s *Server) redeliver(kind string, payload json.RawMessage, reason string) {
	if !s.begin() {
		return
	}
	go func() {
		defer s.wg.Done()
		for i, pause := range s.cfg.RetryDelays {
			if !s.wait(s.ctx, pause) {
				return
			}
			a, err := s.deliver(s.ctx, kind, payload, i+1, reason)
			if err == nil || a.noRetry {
				return
			}
			reason = retryReason(err)
		}
	}()
}

// Signature is Slack's signature of a request
// (docs.slack.dev/authentication/verifying-requests-from-slack).
func Signature(secret, timestamp, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(h, "v0:%s:%s", timestamp, body)
	return "v0=" + hex.EncodeToString(h.Sum(nil))
}

// Signing says how a request is signed, rightly or not.
type Signing struct {
	Secret    string        // default: the app's signing secret
	Age       time.Duration // how old the timestamp is; negative for the future
	Signature string        // sent instead of the computed one
	None      bool          // no signature headers at all
}

func (s *Server) sign(body string, how Signing) http.Header {
	h := http.Header{"User-Agent": {"Slackbot 1.0 (+https://api.slack.com/robots)"}}
	if how.None {
		return h
	}
	if how.Secret == "" {
		s.mu.Lock()
		how.Secret = s.cfg.SigningSecret
		s.mu.Unlock()
	}
	at := strconv.FormatInt(s.cfg.SignNow().Add(-how.Age).Unix(), 10)
	if how.Signature == "" {
		how.Signature = Signature(how.Secret, at, body)
	}
	h.Set("X-Slack-Request-Timestamp", at)
	h.Set("X-Slack-Signature", how.Signature)
	return h
}

// body writes a payload as Slack puts it on the wire of HTTP.
func httpBody(kind string, payload json.RawMessage) (contentType, body string) {
	const form = "application/x-www-form-urlencoded"
	switch kind {
	case Interactive:
		return form, "payload=" + url.QueryEscape(string(payload))
	case SlashCommands:
		var fields map[string]string
		_ = json.Unmarshal(payload, &fields) // built by Person.Command, or a test's own mistake
		v := url.Values{}
		for name, x := range fields {
			v.Set(name, x)
		}
		return form, v.Encode()
	}
	return "application/json", string(payload)
}

func (s *Server) deliverHTTP(ctx context.Context, d *Delivery, payload json.RawMessage, attempt int, reason string) (ack, error) {
	kind, body := httpBody(d.Kind, payload)
	h := s.sign(body, Signing{})
	h.Set("Content-Type", kind)
	if attempt > 0 {
		h.Set("X-Slack-Retry-Num", strconv.Itoa(attempt))
		h.Set("X-Slack-Retry-Reason", reason)
	}
	d.Header, d.Body = h, body
	status, header, answer, err := s.post(ctx, d.URL, h, body)
	a := ack{status: status, body: answer, noRetry: header.Get("X-Slack-No-Retry") == "1"}
	switch {
	case err != nil && ctx.Err() != nil:
		return a, ErrNoAck
	case err != nil:
		return a, fmt.Errorf("%w: %w", ErrUnreachable, err)
	case status < 200 || status > 299:
		return a, fmt.Errorf("%w: status %d", ErrBadAck, status)
	}
	return a, nil
}

func (s *Server) post(ctx context.Context, to string, h http.Header, body string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	maps.Copy(req.Header, h)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return resp.StatusCode, resp.Header, answer, err
}

// Post sends any body to any address of the app, signed as told: for tests of
// wrong, old and missing signatures. It returns the status and the body.
func (s *Server) Post(ctx context.Context, to, contentType, body string, how Signing) (int, string, error) {
	h := s.sign(body, how)
	h.Set("Content-Type", contentType)
	status, _, answer, err := s.post(ctx, to, h, body)
	return status, string(answer), err
}

// Replay sends the request of a delivery over HTTP again, byte for byte with
// its old signature, as an attacker would.
func (s *Server) Replay(ctx context.Context, d Delivery) (int, string, error) {
	if d.Via != "http" {
		return 0, "", fmt.Errorf("replay: delivered over %s", d.Via)
	}
	status, _, answer, err := s.post(ctx, d.URL, d.Header, d.Body)
	return status, string(answer), err
}

// Send delivers any payload of one kind over the transport in use, rightly
// signed, and returns the acknowledgement's body. It is the lever for payloads
// that no person would cause.
func (s *Server) Send(ctx context.Context, kind string, payload json.RawMessage) (string, error) {
	a, err := s.deliver(ctx, kind, payload, 0, "")
	return string(a.body), err
}

// SendEvent delivers an event such as {"type":"member_joined_channel",…} to
// the app. It returns after the first attempt; retries go on in the background.
func (s *Server) SendEvent(ctx context.Context, event any) error {
	s.mu.Lock()
	var enterprise any
	if s.cfg.EnterpriseID != "" {
		enterprise = s.cfg.EnterpriseID
	}
	p := marshal(map[string]any{
		"token": "slacktest", "team_id": s.cfg.TeamID, "enterprise_id": enterprise, "api_app_id": s.cfg.AppID, "type": "event_callback",
		"event": event, "event_id": s.id("Ev"), "event_time": s.cfg.Now().Unix(), "event_context": nonce(),
		"is_ext_shared_channel": false,
		"authorizations": []any{map[string]any{"team_id": s.cfg.TeamID, "user_id": s.cfg.BotUserID, "is_bot": true,
			"enterprise_id": enterprise, "is_enterprise_install": false}},
	})
	s.mu.Unlock()
	_, err := s.deliver(ctx, EventsAPI, p, 0, "")
	return err
}

// VerifyURL does what Slack does when an events URL is saved: it sends a
// challenge and expects it back.
func (s *Server) VerifyURL(ctx context.Context) error {
	s.mu.Lock()
	to := s.urls.Events
	s.mu.Unlock()
	challenge := nonce()
	body := string(marshal(map[string]any{"token": "slacktest", "type": "url_verification", "challenge": challenge}))
	status, answer, err := s.Post(ctx, to, "application/json", body, Signing{})
	if err != nil {
		return fmt.Errorf("url_verification: %w", err)
	}
	var asJSON struct{ Challenge string }
	_ = json.Unmarshal([]byte(answer), &asJSON) // plain text is fine too
	if status != http.StatusOK || strings.TrimSpace(answer) != challenge && asJSON.Challenge != challenge {
		return fmt.Errorf("url_verification: status %d, challenge not returned", status)
	}
	return nil
}
