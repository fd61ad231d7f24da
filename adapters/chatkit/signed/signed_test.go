package signed_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/signed"
)

// newRequests takes requests whose header T is their time, and whose body is
// "right" if the header S says so.
func newRequests(log io.Writer, refused func(signed.Reason)) *signed.Requests {
	return signed.New(signed.Config{
		Stamp: func(h http.Header) (int64, bool) {
			n, err := strconv.ParseInt(h.Get("T"), 10, 64)
			return n, err == nil && h.Get("S") != ""
		},
		Verify: func(h http.Header, body []byte) signed.Reason {
			if h.Get("S") != "right" || !bytes.HasPrefix(body, []byte("right")) {
				return signed.Signature
			}
			return ""
		},
		Advice: "compare the secret", Refused: refused, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
}

// unread fails the test when it is read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, errors.New("never")
}

func TestReadsOnlyWhatMayBeSigned(t *testing.T) {
	now := time.Now().Unix()
	for name, tt := range map[string]struct {
		method, stamp, signature string
		body                     string // "" for one that must not be read
		length                   int64
		status                   int
		why                      signed.Reason
	}{
		"Get":            {"GET", strconv.FormatInt(now, 10), "right", "", -1, http.StatusMethodNotAllowed, ""},
		"NoHeaders":      {"POST", "", "", "", -1, http.StatusUnauthorized, signed.Unsigned},
		"NoSignature":    {"POST", strconv.FormatInt(now, 10), "", "", -1, http.StatusUnauthorized, signed.Unsigned},
		"Old":            {"POST", strconv.FormatInt(now-301, 10), "right", "", -1, http.StatusUnauthorized, signed.Clock},
		"Early":          {"POST", strconv.FormatInt(now+310, 10), "right", "", -1, http.StatusUnauthorized, signed.Clock},
		"Largest":        {"POST", "9223372036854775807", "right", "", -1, http.StatusUnauthorized, signed.Clock},
		"Smallest":       {"POST", "-9223372036854775808", "right", "", -1, http.StatusUnauthorized, signed.Clock},
		"SaysTooLarge":   {"POST", strconv.FormatInt(now, 10), "right", "", signed.MaxBody + 1, http.StatusRequestEntityTooLarge, signed.TooLarge},
		"TooLarge":       {"POST", strconv.FormatInt(now, 10), "right", "right" + strings.Repeat("x", signed.MaxBody), -1, http.StatusRequestEntityTooLarge, signed.TooLarge},
		"WrongSignature": {"POST", strconv.FormatInt(now, 10), "wrong", "right", -1, http.StatusUnauthorized, signed.Signature},
		"OtherBody":      {"POST", strconv.FormatInt(now, 10), "right", "wrong", -1, http.StatusUnauthorized, signed.Signature},
		"Right":          {"POST", strconv.FormatInt(now, 10), "right", "right", -1, http.StatusOK, ""},
		"Largest body":   {"POST", strconv.FormatInt(now, 10), "right", "right" + strings.Repeat("x", signed.MaxBody-5), -1, http.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var why signed.Reason
			q := newRequests(io.Discard, func(r signed.Reason) { why = r })
			var body io.Reader = strings.NewReader(tt.body)
			if tt.body == "" {
				body = unread{t}
			}
			r := httptest.NewRequest(tt.method, "/", body)
			r.ContentLength = tt.length
			r.Header.Set("T", tt.stamp)
			r.Header.Set("S", tt.signature)
			w := httptest.NewRecorder()
			got, ok := q.Read(w, r)
			if w.Code != tt.status || why != tt.why || ok != (tt.status == http.StatusOK) || string(got) != tt.body && ok {
				t.Errorf("Read = %d bytes, %v, status %d, reason %q; want status %d, reason %q", len(got), ok, w.Code, why, tt.status, tt.why)
			}
			if closed := w.Header().Get("Connection") == "close"; closed == ok {
				t.Errorf("the connection is closed: %v", closed)
			}
		})
	}
}

// Bodies that never end must not keep those of the platform out, however many
// there are.
func TestNeverEndingBodiesKeepNobodyOut(t *testing.T) {
	var incomplete atomic.Int64
	q := newRequests(io.Discard, func(why signed.Reason) {
		if why == signed.Incomplete {
			incomplete.Add(1)
		}
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, ok := q.Read(w, r); ok {
			_, _ = w.Write(body)
		}
	}))
	defer server.Close()
	head := "POST / HTTP/1.1\r\nHost: bot\r\nT: " + strconv.FormatInt(time.Now().Unix(), 10) + "\r\nS: right\r\nContent-Length: "
	const strangers = 100
	for range strangers {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, head+"1000\r\n\r\nright"); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, head+"5\r\nConnection: close\r\n\r\nright"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute)) // bounds a hang
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("the platform's own = %q, %v, want 200", answer, err)
	}
	deadline := time.Now().Add(time.Minute)
	for incomplete.Load() < strangers && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if n := incomplete.Load(); n != strangers {
		t.Errorf("%d bodies that never end were given up, want %d", n, strangers)
	}
}

// buffer is a log that several goroutines write.
type buffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

// take returns what was written since it was last taken.
func (b *buffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.text = nil }()
	return string(b.text)
}

func TestRefusalsAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		q := newRequests(&log, nil)
		send := func(age time.Duration, signature string) {
			r := httptest.NewRequest("POST", "/", strings.NewReader("right"))
			if signature != "" {
				r.Header.Set("T", strconv.FormatInt(time.Now().Add(-age).Unix(), 10))
				r.Header.Set("S", signature)
			}
			q.Read(httptest.NewRecorder(), r)
		}
		said := func(when string, lines int, words ...string) {
			t.Helper()
			synctest.Wait()
			text := log.take()
			if n := strings.Count(text, "\n"); n != lines {
				t.Errorf("%s: %d lines, want %d: %s", when, n, lines, text)
			}
			for _, w := range words {
				if !strings.Contains(text, w) {
					t.Errorf("%s: %s, want %q", when, text, w)
				}
			}
		}
		send(0, "right")
		said("a right one", 0)
		send(0, "wrong")
		said("the first", 1, "count=1", "signature=1", "compare the secret")
		for range 500 {
			send(7*time.Minute, "right")
			send(0, "wrong")
		}
		said("at once", 0)
		time.Sleep(time.Minute)
		said("after a minute", 1, "count=1000", "clock=500", "signature=500", "7m0s behind this machine's clock: set the clock by NTP", "compare the secret")
		time.Sleep(time.Minute)
		said("after a quiet minute", 0)
		send(-8*time.Minute, "right")
		said("clock alone", 1, "count=1", "8m0s ahead of this machine's clock")
		time.Sleep(2 * time.Minute)
		send(0, "")
		said("a scanner", 1, "unsigned=1", "not signed at all")
		time.Sleep(time.Minute) // nothing is left to be told
		said("at the end", 0)
	})
}
