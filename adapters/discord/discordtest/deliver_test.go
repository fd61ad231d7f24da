package discordtest_test

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

// endpoint is a bot's interactions URL as it should be. on writes the answer.
func endpoint(t *testing.T, s *discordtest.Server, on func(w http.ResponseWriter, in interaction)) string {
	t.Helper()
	key, err := hex.DecodeString(s.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the test's own body
		sig, err := hex.DecodeString(r.Header.Get("X-Signature-Ed25519"))
		at := r.Header.Get("X-Signature-Timestamp")
		sec, timeErr := strconv.ParseInt(at, 10, 64)
		if err != nil || timeErr != nil || len(sig) != ed25519.SignatureSize || !ed25519.Verify(key, []byte(at+string(body)), sig) ||
			time.Since(time.Unix(sec, 0)).Abs() > 5*time.Minute {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		in := interaction{s: s, raw: body}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Errorf("interaction: %v", err)
		}
		w.Header().Set("Content-Type", "application/json")
		if in.Type == 1 {
			_, _ = io.WriteString(w, `{"type":1}`)
			return
		}
		on(w, in)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func write(w http.ResponseWriter, body string) { _, _ = io.WriteString(w, body) }

func TestSetInteractionsURL(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	good := endpoint(t, s, nil)
	if err := s.SetInteractionsURL(t.Context(), good); err != nil {
		t.Errorf("good endpoint: %v", err)
	}
	if a := rest(s, "GET", "/applications/@me", ""); a.str("interactions_endpoint_url") != good {
		t.Errorf("application = %s", a.raw)
	}
	for name, h := range map[string]http.HandlerFunc{
		"believes everything": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			write(w, `{"type":1}`)
		},
		"believes nothing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"no content type":  func(w http.ResponseWriter, _ *http.Request) { write(w, `{"type":1}`) },
		"redirects":        func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, good, http.StatusTemporaryRedirect) },
	} {
		srv := httptest.NewServer(h)
		if err := s.SetInteractionsURL(t.Context(), srv.URL); err == nil {
			t.Errorf("%s: accepted", name)
		}
		srv.Close()
	}
	if err := s.CheckInteractionsURL(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
	if err := s.SetInteractionsURL(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if a := rest(s, "GET", "/applications/@me", ""); a.body["interactions_endpoint_url"] != nil {
		t.Errorf("application = %s", a.raw)
	}
	noViolations(t, s)
}

func TestHTTPAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		on        func(t *testing.T) func(w http.ResponseWriter, in interaction)
		err       error
		violation string
		ephemeral string
	}{
		"inline": {func(*testing.T) func(http.ResponseWriter, interaction) {
			return func(w http.ResponseWriter, _ interaction) { write(w, message(4, 64, "inline")) }
		}, nil, "", "inline"},
		"callback, then 202": {func(t *testing.T) func(http.ResponseWriter, interaction) {
			return func(w http.ResponseWriter, in interaction) {
				want(t, "callback", in.callback(message(4, 64, "called back")), 204, 0)
				w.WriteHeader(http.StatusAccepted)
			}
		}, nil, "", "called back"},
		"202 and nothing": {func(*testing.T) func(http.ResponseWriter, interaction) {
			return func(w http.ResponseWriter, _ interaction) { w.WriteHeader(http.StatusAccepted) }
		}, discordtest.ErrNoAnswer, "", ""},
		"500": {func(*testing.T) func(http.ResponseWriter, interaction) {
			return func(w http.ResponseWriter, _ interaction) { w.WriteHeader(http.StatusInternalServerError) }
		}, discordtest.ErrBadAnswer, "", ""},
		"not JSON": {func(*testing.T) func(http.ResponseWriter, interaction) {
			return func(w http.ResponseWriter, _ interaction) { write(w, "ok") }
		}, discordtest.ErrBadAnswer, "not a JSON object", ""},
		"wrong type": {func(*testing.T) func(http.ResponseWriter, interaction) {
			return func(w http.ResponseWriter, _ interaction) { write(w, `{"type":8,"data":{"choices":[]}}`) }
		}, discordtest.ErrBadAnswer, "Invalid Form Body", ""},
		"both": {func(t *testing.T) func(http.ResponseWriter, interaction) {
			return func(w http.ResponseWriter, in interaction) {
				want(t, "callback", in.callback(message(4, 64, "called back")), 204, 0)
				write(w, message(4, 64, "inline"))
			}
		}, nil, "answered twice", "called back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one of them waits until it is too late
			s := newFake(t, discordtest.Config{AckWait: 1500 * time.Millisecond})
			if err := s.SetInteractionsURL(t.Context(), endpoint(t, s, c.on(t))); err != nil {
				t.Fatal(err)
			}
			p := s.Person(ann)
			err := p.Click(t.Context(), epm, post(t, s, card), "approve:JIT-1042")
			if !errors.Is(err, c.err) || c.err != nil && !errors.Is(err, discordtest.ErrNoAnswer) {
				t.Errorf("Click: %v, want %v", err, c.err)
			}
			eventually(t, "the delivery is recorded", func() bool { return len(s.Deliveries()) == 1 })
			if e := p.Ephemerals(); c.ephemeral == "" && len(e) > 0 || c.ephemeral != "" && (len(e) != 1 || e[0].Content != c.ephemeral) {
				t.Errorf("ephemerals = %+v", e)
			}
			if c.violation == "" {
				noViolations(t, s)
			} else {
				eventually(t, "the violation is noted", func() bool { return len(s.Violations()) > 0 })
				oneViolation(t, s, c.violation)
			}
			if d := s.Deliveries()[0]; d.Via != "http" || d.Header.Get("X-Signature-Ed25519") == "" {
				t.Errorf("delivery = %+v", d)
			}
		})
	}
}

func TestCallbackAfterBadAnswer(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	var seen interaction
	url := endpoint(t, s, func(w http.ResponseWriter, in interaction) {
		seen = in
		w.WriteHeader(http.StatusInternalServerError)
	})
	if err := s.SetInteractionsURL(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	if err := s.Person(ann).Click(t.Context(), epm, post(t, s, card), "approve:JIT-1042"); !errors.Is(err, discordtest.ErrBadAnswer) {
		t.Errorf("Click: %v", err)
	}
	want(t, "the person was told that it failed", seen.callback(message(4, 64, "x")), 404, 10062)
	noViolations(t, s)
}

func TestFormOverHTTP(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	url := endpoint(t, s, func(w http.ResponseWriter, in interaction) {
		if in.Type == 3 {
			write(w, form)
			return
		}
		write(w, `{"type":7,"data":{"components":[{"type":10,"content":"done"}],`+none+`}}`)
	})
	if err := s.SetInteractionsURL(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	p := s.Person(ann)
	if err := p.Click(t.Context(), epm, post(t, s, card), "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	if err := p.Submit(t.Context(), map[string]string{"reason": "patch"}); err != nil {
		t.Fatal(err)
	}
	if m := s.Messages(epm)[0]; !strings.Contains(string(m.Components), "done") {
		t.Errorf("message = %s", m.Components)
	}
	noViolations(t, s)
}

func TestDeliver(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	n := 0
	url := endpoint(t, s, func(w http.ResponseWriter, _ interaction) { n++; write(w, `{"type":6}`) })
	if err := s.SetInteractionsURL(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	p := s.Person(ann)
	id := post(t, s, card)
	body := string(p.ClickBody(epm, id, "approve:JIT-1042"))
	for name, c := range map[string]struct {
		raw  discordtest.RawDelivery
		want int
	}{
		"ping":          {discordtest.RawDelivery{}, 200},
		"click":         {discordtest.RawDelivery{Body: body}, 200},
		"other key":     {discordtest.RawDelivery{Body: body, OtherKey: true}, 401},
		"unsigned":      {discordtest.RawDelivery{Body: body, Unsigned: true}, 401},
		"not hex":       {discordtest.RawDelivery{Body: body, Signature: "zz"}, 401},
		"short":         {discordtest.RawDelivery{Body: body, Signature: "00"}, 401},
		"old":           {discordtest.RawDelivery{Body: body, Age: 10 * time.Minute}, 401},
		"future":        {discordtest.RawDelivery{Body: body, Age: -10 * time.Minute}, 401},
		"odd timestamp": {discordtest.RawDelivery{Body: body, Timestamp: "yesterday"}, 401},
	} {
		status, _, err := s.Deliver(t.Context(), c.raw)
		if err != nil || status != c.want {
			t.Errorf("%s: status %d, %v, want %d", name, status, err, c.want)
		}
	}
	if err := p.Click(t.Context(), epm, id, "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	d := s.Deliveries()[0]
	before := n
	status, answer, err := s.Deliver(t.Context(), discordtest.RawDelivery{Replay: &d})
	if err != nil || status != 200 || answer != `{"type":6}` || n != before+1 {
		t.Errorf("replay: %d, %q, %v", status, answer, err)
	}
	if _, _, err := s.Deliver(t.Context(), discordtest.RawDelivery{Replay: &discordtest.Delivery{Via: "gateway"}}); err == nil {
		t.Error("replayed what came by gateway")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Deliver(ended, discordtest.RawDelivery{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Deliver: %v", err)
	}
	noViolations(t, s)
}
