package sinkstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Fault is how a webhook's receiver fails once.
type Fault struct {
	Status     int  // what it answers; 0: nothing, it breaks the connection
	Hangs      bool // it answers only when the sender has given up
	Keep       bool // it has taken the event all the same
	RetryAfter int  // seconds that it asks to wait; 0: it does not ask
	Location   string
}

// Post is an event that was taken.
type Post struct {
	ID   string
	Body []byte
}

// Webhook is the receiver of a webhook that is signed as Standard Webhooks
// says. Make one with [NewWebhook].
type Webhook struct {
	secret string
	server *http.Server
	addr   string

	mu         sync.Mutex
	faults     []Fault
	always     *Fault
	posts      []Post
	bodies     map[string][]byte
	requests   int
	violations []string
}

// NewWebhook starts a receiver that verifies with secret.
func NewWebhook(secret string) (*Webhook, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &Webhook{secret: secret, addr: l.Addr().String(), bodies: map[string][]byte{}}
	h.server = &http.Server{Handler: http.HandlerFunc(h.serve), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = h.server.Serve(l) }()
	return h, nil
}

// URL is where the receiver listens. Its path is a secret.
func (h *Webhook) URL() string { return "http://" + h.addr + "/hooks/secret-path" }

// Close ends the receiver.
func (h *Webhook) Close() { _ = h.server.Close() }

// Fail lets the next requests fail, one after the other.
func (h *Webhook) Fail(list ...Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, list...)
}

// FailAlways lets every request fail; nil ends that.
func (h *Webhook) FailAlways(f *Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.always = f
}

// Posts are the events that were taken, in their order, repeats included.
func (h *Webhook) Posts() []Post {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.posts)
}

// Requests counts what arrived, taken or not.
func (h *Webhook) Requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests
}

// Violations are what was sent against the standard.
func (h *Webhook) Violations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.violations)
}

func (h *Webhook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		return
	}
	h.mu.Lock()
	h.requests++
	var fault *Fault
	if len(h.faults) > 0 {
		fault, h.faults = &h.faults[0], h.faults[1:]
	} else if h.always != nil {
		fault = h.always
	}
	h.mu.Unlock()
	if problem := h.verify(r, body); problem != "" {
		h.mu.Lock()
		h.violations = append(h.violations, problem)
		h.mu.Unlock()
		http.Error(w, "the signature does not fit", http.StatusUnauthorized)
		return
	}
	if fault == nil || fault.Keep {
		h.take(r.Header.Get("webhook-id"), body)
	}
	switch {
	case fault == nil:
		w.WriteHeader(http.StatusNoContent)
	case fault.Hangs:
		<-r.Context().Done()
	case fault.Status == 0:
		panic(http.ErrAbortHandler)
	default:
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
		}
		if fault.Location != "" {
			w.Header().Set("Location", fault.Location)
		}
		w.WriteHeader(fault.Status)
	}
}

func (h *Webhook) take(id string, body []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.posts = append(h.posts, Post{id, body})
	if old, ok := h.bodies[id]; ok && !bytes.Equal(old, body) {
		h.violations = append(h.violations, fmt.Sprintf("%s is there with two bodies:\n%s\n%s", id, old, body))
	}
	h.bodies[id] = body
}

// verify says what is wrong with a request, by the official library and by
// the text of the standard, or "".
func (h *Webhook) verify(r *http.Request, body []byte) string {
	official, err := standardwebhooks.NewWebhook(h.secret)
	if err != nil {
		return err.Error()
	}
	if err := official.Verify(body, r.Header); err != nil {
		return err.Error()
	}
	id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(h.secret, "whsec_"))
	if err != nil {
		return err.Error()
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	var n struct{ ID, Type, Timestamp string }
	switch {
	case r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json":
		return r.Method + " of " + r.Header.Get("Content-Type")
	case !slices.Contains(strings.Fields(r.Header.Get("webhook-signature")), want):
		return "none of the signatures is " + want
	case strings.Contains(id, "."):
		return "the id has a full stop"
	case json.Unmarshal(body, &n) != nil || n.ID != id || n.Type == "" || n.Timestamp == "":
		return fmt.Sprintf("the body is %.200s", body)
	}
	return ""
}
