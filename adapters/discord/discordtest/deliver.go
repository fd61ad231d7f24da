package discordtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a delivery can fail with.
var (
	// ErrNoAnswer is what the person sees when the bot's answer is missing,
	// late or wrong: "This interaction failed".
	ErrNoAnswer = errors.New("this interaction failed")
	// ErrUnreachable: there is no interactions URL and no connection to the gateway.
	ErrUnreachable = errors.New("the bot has no interactions URL and no connection to the gateway")
	// ErrBadAnswer: the bot answered over HTTP with something that Discord does not accept.
	ErrBadAnswer = errors.New("answer not accepted")
)

// Delivery is one interaction that the fake sent to the bot.
type Delivery struct {
	ID     string // of the interaction
	Type   int    // of the interaction; 1 is a PING
	User   string
	Via    string // "http" or "gateway"
	URL    string
	Header http.Header
	Body   string
	At     time.Time
	Copies int    // how many connections of the gateway got it
	Status int    // HTTP status; 0 when none came
	Answer string // body of the answer over HTTP
	Err    string
}

// Deliveries lists the last interactions sent to the bot, oldest first. See Config.CallLog.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Delivery
	for _, d := range s.deliveries {
		out = append(out, *d)
	}
	return out
}

func (s *Server) delivering(d *Delivery) {
	s.deliveries = append(s.deliveries, d)
	if len(s.deliveries) > s.cfg.CallLog {
		s.deliveries = slices.Delete(s.deliveries, 0, len(s.deliveries)-s.cfg.CallLog)
	}
}

// deliver sends an interaction to the bot and waits until it is answered.
func (s *Server) deliver(ctx context.Context, it *interaction, payload json.RawMessage) error {
	if !s.begin() {
		return fmt.Errorf("%w: %w", ErrNoAnswer, ErrUnreachable)
	}
	defer s.wg.Done()
	broken := make(chan error, 1)
	s.mu.Lock()
	it.began = time.Now()
	to := s.url
	d := &Delivery{ID: it.id, Type: it.kind, User: it.user, Via: "http", URL: to, Body: string(payload), At: s.cfg.Now()}
	s.delivering(d)
	if to == "" {
		d.Via = "gateway"
		var waiting int
		d.Copies, waiting = s.dispatch("INTERACTION_CREATE", 0, payload)
		if d.Copies+waiting == 0 {
			d.Err = ErrUnreachable.Error()
			broken <- ErrUnreachable
		}
	} else {
		d.Header = s.sign(d.Body, RawDelivery{})
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			if err := s.deliverHTTP(it, d); err != nil {
				broken <- err
			}
		}()
	}
	s.mu.Unlock()

	timeout := time.NewTimer(s.cfg.AckWait)
	defer timeout.Stop()
	var err error
	select {
	case <-it.done:
		return nil
	case err = <-broken:
		err = fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case <-timeout.C:
		err = ErrNoAnswer
	case <-s.ctx.Done():
		err = fmt.Errorf("%w: the server is closed", ErrNoAnswer)
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if it.answer != 0 { // at the last moment
		return nil
	}
	it.late = true
	return err
}

// deliverHTTP posts an interaction and does what an inline answer says.
func (s *Server) deliverHTTP(it *interaction, d *Delivery) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.AckWait)
	defer cancel()
	status, header, answer, err := s.post(ctx, d.URL, d.Header, d.Body)
	if ctx.Err() != nil {
		err = errors.New("no answer in time")
	}
	if err == nil && status == http.StatusOK && json.Valid(answer) { // before the person learns of the answer
		s.check(Exchange{Method: http.MethodPost, Path: "/api/v10/interactions/" + it.id + "/" + it.token + "/callback",
			Header: http.Header{"Content-Type": {"application/json"}}, Body: answer, Status: http.StatusNoContent, AnswerHeader: http.Header{}})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Status, d.Answer = status, string(answer)
	if err == nil {
		err = s.inline(it, status, header, answer)
	}
	if err != nil {
		d.Err = err.Error()
	}
	return err
}

// inline takes the answer to a POST: 200 with JSON answers the interaction,
// 202 says that a callback will.
func (s *Server) inline(it *interaction, status int, header http.Header, answer []byte) error {
	const where = "answer to an interaction"
	if status == http.StatusAccepted || status == http.StatusNoContent {
		if len(answer) > 0 {
			s.violate("%s: status %d with a body", where, status)
		}
		return nil
	}
	if status != http.StatusOK {
		return fmt.Errorf("%w: status %d", ErrBadAnswer, status)
	}
	if kind, _, _ := mime.ParseMediaType(header.Get("Content-Type")); kind != "application/json" {
		s.violate("%s: Content-Type %q", where, header.Get("Content-Type"))
	}
	var body map[string]any
	if decode(answer, &body) != nil || body == nil {
		s.violate("%s: not a JSON object", where)
		return fmt.Errorf("%w: not a JSON object", ErrBadAnswer)
	}
	if e := s.tooLate(it); e != nil {
		if it.answer != 0 {
			s.violate("%s: answered twice, by callback and inline", where)
		}
		return fmt.Errorf("%w: %w", ErrBadAnswer, e)
	}
	if e := s.respond(where, it, body); e != nil {
		s.violate("%s: %s %s", where, e.text(), marshal(e.errors))
		return fmt.Errorf("%w: %w", ErrBadAnswer, e)
	}
	return nil
}

// RawDelivery is a request to the interactions URL that may be wrong in many ways.
type RawDelivery struct {
	URL       string        // default: the interactions URL
	Body      string        // default: a PING
	Replay    *Delivery     // sent again byte for byte with its old signature; only what came by HTTP
	Age       time.Duration // how old the timestamp is; negative for the future
	Timestamp string        // sent and signed instead of the computed one
	Signature string        // sent instead of the computed one
	OtherKey  bool          // signed, but with a key that is not the application's
	Unsigned  bool          // no signature headers at all
}

// Deliver posts to the interactions URL as told: for tests of wrong, old,
// replayed and missing signatures. It returns the status and the body; what
// the answer says is not done. See [Person.ClickBody] for a body.
func (s *Server) Deliver(ctx context.Context, r RawDelivery) (status int, body string, err error) {
	s.mu.Lock()
	if r.URL == "" {
		r.URL = s.url
	}
	if r.Body == "" {
		r.Body = s.pingBody()
	}
	s.mu.Unlock()
	h := s.sign(r.Body, r)
	if r.Replay != nil {
		if r.Replay.Via != "http" {
			return 0, "", fmt.Errorf("replay: delivered over %s", r.Replay.Via)
		}
		r.Body, h = r.Replay.Body, r.Replay.Header
	}
	status, _, answer, err := s.post(ctx, r.URL, h, r.Body)
	return status, string(answer), err
}

func (s *Server) pingBody() string {
	return string(marshal(map[string]any{"id": s.id(), "application_id": s.cfg.ApplicationID, "type": ping, "token": secret(24), "version": 1,
		"entitlements": []any{}, "authorizing_integration_owners": map[string]any{}}))
}

func (s *Server) sign(body string, how RawDelivery) http.Header {
	h := http.Header{"User-Agent": {"Discord-Interactions/1.0 (+https://discord.com)"}, "Content-Type": {"application/json"}}
	if how.Unsigned {
		return h
	}
	if how.Timestamp == "" {
		how.Timestamp = strconv.FormatInt(s.cfg.SignNow().Add(-how.Age).Unix(), 10)
	}
	key := s.private
	if how.OtherKey {
		_, key, _ = ed25519.GenerateKey(rand.Reader) // rand.Reader never fails
	}
	if how.Signature == "" {
		how.Signature = hex.EncodeToString(ed25519.Sign(key, []byte(how.Timestamp+body)))
	}
	h.Set("X-Signature-Timestamp", how.Timestamp)
	h.Set("X-Signature-Ed25519", how.Signature)
	return h
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

// SetInteractionsURL says where signed interactions go from now on; "" means
// the gateway. Before that it does what Discord does when the URL is saved: it
// sends a PING, which must be answered with a PONG, and one with a wrong
// signature, which must be answered with 401. If not, nothing changes.
func (s *Server) SetInteractionsURL(ctx context.Context, url string) error {
	if url != "" {
		if err := s.verify(ctx, url); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = url
	return nil
}

// CheckInteractionsURL tests the URL again, as Discord does from time to time,
// and removes it when it fails.
func (s *Server) CheckInteractionsURL(ctx context.Context) error {
	s.mu.Lock()
	url := s.url
	s.mu.Unlock()
	if err := s.verify(ctx, url); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.url = ""
		return err
	}
	return nil
}

func (s *Server) verify(ctx context.Context, url string) error {
	s.mu.Lock()
	body := s.pingBody()
	s.mu.Unlock()
	status, header, answer, err := s.post(ctx, url, s.sign(body, RawDelivery{}), body)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	var pong struct {
		Type int `json:"type"`
	}
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if status != http.StatusOK || decode(answer, &pong) != nil || pong.Type != answerPong || kind != "application/json" {
		return fmt.Errorf("ping: status %d, Content-Type %q, not a PONG", status, header.Get("Content-Type"))
	}
	status, _, _, err = s.post(ctx, url, s.sign(body, RawDelivery{OtherKey: true}), body)
	if err != nil {
		return fmt.Errorf("ping with a wrong signature: %w", err)
	}
	if status != http.StatusUnauthorized {
		return fmt.Errorf("ping with a wrong signature: status %d, want 401", status)
	}
	return nil
}
