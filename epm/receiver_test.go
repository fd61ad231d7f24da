package epm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

var placeholders = regexp.MustCompile(`%%[A-Za-z0-9]+%%`)

type keeperFunc func(context.Context, tickets.Incoming) (tickets.Receipt, error)

func (f keeperFunc) Keep(ctx context.Context, in tickets.Incoming) (tickets.Receipt, error) {
	return f(ctx, in)
}

// receiving is a receiver with everything that it did.
type receiving struct {
	*Receiver
	mu      sync.Mutex
	kept    []tickets.Incoming
	results []string
	log     bytes.Buffer
	keep    func(ctx context.Context, in tickets.Incoming) (tickets.Receipt, error)
}

func newReceiving(t *testing.T, change func(*ReceiverConfig)) *receiving {
	t.Helper()
	r := &receiving{}
	c := ReceiverConfig{
		User: "epm", Password: "correct horse", PasswordPrevious: "old horse", Now: func() time.Time { return noon },
		Keeper: keeperFunc(func(ctx context.Context, in tickets.Incoming) (tickets.Receipt, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.kept = append(r.kept, in)
			if r.keep != nil {
				return r.keep(ctx, in)
			}
			status := tickets.StatusCreated
			if in.Error != "" {
				return tickets.Receipt{Incoming: in.ID, Status: tickets.StatusFailed}, nil
			}
			if in.Update.Outcome != nil {
				status = tickets.StatusUpdated
			}
			return tickets.Receipt{Incoming: in.ID, Ticket: "JIT-1042", Status: status}, nil
		}),
		Observe: func(result string) { r.mu.Lock(); defer r.mu.Unlock(); r.results = append(r.results, result) },
		Log:     slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	var err error
	if r.Receiver, err = NewReceiver(c); err != nil {
		t.Fatal(err)
	}
	return r
}

// post sends a body as EPM does; change may spoil the request.
func (r *receiving) post(body []byte, change func(*http.Request)) *httptest.ResponseRecorder {
	q := httptest.NewRequest(http.MethodPost, "/webhooks/epm", bytes.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	q.SetBasicAuth("epm", "correct horse")
	if change != nil {
		change(q)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	return w
}

// answer checks status and result and returns the JSON.
func (r *receiving) answer(t *testing.T, w *httptest.ResponseRecorder, status int, result string) map[string]string {
	t.Helper()
	var a map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	if w.Code != status || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("status %d (%s), want %d: %v", w.Code, w.Header().Get("Content-Type"), status, a)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.results) != 1 || r.results[0] != result {
		t.Errorf("observed %q, want %q once", r.results, result)
	}
	if status != http.StatusOK && (a["status"] != "failed" || a["error"] == "") {
		t.Errorf("answer %v, want failed with a sentence", a)
	}
	return a
}

func TestReceiverAnswers(t *testing.T) {
	world := newWorld(t)
	clean := world.body(epmtest.AppCreated, epmtest.BodyOptions{Values: map[string]string{"Reason": "a secret reason"}})
	t.Run("Created", func(t *testing.T) {
		r := newReceiving(t, nil)
		w := r.post(clean, nil)
		a := r.answer(t, w, http.StatusOK, "created")
		in := r.kept[0]
		want := fmt.Sprintf(`{"incoming":"%s","ticket":"JIT-1042","status":"created"}`, in.ID)
		if got := strings.TrimSpace(w.Body.String()); got != want {
			t.Errorf("answer %s, want %s", got, want)
		}
		if len(a) != 3 || !bytes.Equal(in.Raw, clean) || in.Update == nil || in.Update.Request == nil || in.Error != "" || !in.At.Equal(noon) || in.Remote != "192.0.2.1" || in.ID[14] != '7' {
			t.Errorf("kept %+v", in)
		}
		if s := r.log.String(); strings.Contains(s, "secret reason") || strings.Contains(s, "horse") {
			t.Errorf("the log tells too much: %s", s)
		}
	})
	t.Run("Updated", func(t *testing.T) {
		r := newReceiving(t, nil)
		r.answer(t, r.post(world.body(epmtest.AdminUpdated, epmtest.BodyOptions{}), nil), http.StatusOK, "updated")
	})
	t.Run("TenTimesAtOnce", func(t *testing.T) {
		r := newReceiving(t, nil)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if w := r.post(clean, nil); w.Code != http.StatusOK {
					t.Errorf("status %d", w.Code)
				}
			})
		}
		all.Wait()
		ids := map[string]bool{}
		for _, in := range r.kept {
			ids[in.ID] = true
			if in.Update.ID != requestID {
				t.Errorf("news of %q", in.Update.ID)
			}
		}
		if len(ids) != 10 {
			t.Errorf("%d webhooks kept under their own names, want 10", len(ids))
		}
	})
	t.Run("UnreadableIsKept", func(t *testing.T) {
		r := newReceiving(t, nil)
		a := r.answer(t, r.post([]byte("nonsense"), nil), http.StatusBadRequest, "failed")
		if in := r.kept[0]; a["incoming"] != in.ID || string(in.Raw) != "nonsense" || in.Error == "" || in.Update != nil {
			t.Errorf("answer %v, kept %+v", a, in)
		}
	})
	t.Run("UnknownEventIsKept", func(t *testing.T) {
		r := newReceiving(t, nil)
		a := r.answer(t, r.post([]byte(`{"EventType": "POLICY_CHANGED_XYZ"}`), nil), http.StatusOK, "failed")
		if in := r.kept[0]; !in.Ignored || a["incoming"] != in.ID || a["status"] != "failed" || a["error"] == "" {
			t.Errorf("answer %v, kept %+v", a, in)
		}
		if strings.Contains(r.log.String(), "XYZ") {
			t.Errorf("the log tells what the body says: %s", &r.log)
		}
	})
	t.Run("NotStored", func(t *testing.T) {
		r := newReceiving(t, nil)
		r.keep = func(context.Context, tickets.Incoming) (tickets.Receipt, error) {
			return tickets.Receipt{}, errors.New("disk full")
		}
		w := r.post(clean, nil)
		a := r.answer(t, w, http.StatusServiceUnavailable, "unavailable")
		if w.Header().Get("Retry-After") != "5" || strings.Contains(a["error"], "disk") {
			t.Errorf("Retry-After %q, answer %v", w.Header().Get("Retry-After"), a)
		}
	})
	t.Run("Panic", func(t *testing.T) {
		r := newReceiving(t, nil)
		r.keep = func(context.Context, tickets.Incoming) (tickets.Receipt, error) { panic("with a secret reason") }
		w := r.post(clean, nil)
		r.answer(t, w, http.StatusServiceUnavailable, "unavailable")
		if strings.Contains(r.log.String(), "secret reason") || w.Header().Get("Retry-After") != "5" {
			t.Errorf("log: %s", &r.log)
		}
	})
	t.Run("SenderGone", func(t *testing.T) {
		r := newReceiving(t, nil)
		r.keep = func(ctx context.Context, in tickets.Incoming) (tickets.Receipt, error) {
			if _, bounded := ctx.Deadline(); ctx.Err() != nil || !bounded {
				t.Errorf("the keeper's context: %v, bounded %t", ctx.Err(), bounded)
			}
			return tickets.Receipt{Incoming: in.ID, Status: tickets.StatusDuplicate}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := httptest.NewRecorder()
		q := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(clean))
		q.Header.Set("Content-Type", "application/json")
		q.SetBasicAuth("epm", "old horse")
		r.ServeHTTP(w, q)
		r.answer(t, w, http.StatusOK, "duplicate")
	})
}

func TestReceiverRefuses(t *testing.T) {
	clean := newWorld(t).body(epmtest.AdminCreated, epmtest.BodyOptions{})
	for name, c := range map[string]struct {
		body   []byte
		change func(*http.Request)
		status int
		result string
		header string
	}{
		"Get":             {clean, func(q *http.Request) { q.Method = http.MethodGet }, 405, "unsupported", "Allow: POST"},
		"NoCredentials":   {clean, func(q *http.Request) { q.Header.Del("Authorization") }, 401, "unauthorized", `WWW-Authenticate: Basic realm="countersign", charset="UTF-8"`},
		"WrongPassword":   {clean, func(q *http.Request) { q.SetBasicAuth("epm", "correct hors") }, 401, "unauthorized", ""},
		"WrongUser":       {clean, func(q *http.Request) { q.SetBasicAuth("EPM", "correct horse") }, 401, "unauthorized", ""},
		"EmptyPassword":   {clean, func(q *http.Request) { q.SetBasicAuth("epm", "") }, 401, "unauthorized", ""},
		"Bearer":          {clean, func(q *http.Request) { q.Header.Set("Authorization", "Bearer x") }, 401, "unauthorized", ""},
		"NoContentType":   {clean, func(q *http.Request) { q.Header.Del("Content-Type") }, 415, "unsupported", ""},
		"Form":            {clean, func(q *http.Request) { q.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 415, "unsupported", ""},
		"Compressed":      {gzipped(clean), func(q *http.Request) { q.Header.Set("Content-Encoding", "gzip") }, 415, "unsupported", ""},
		"TooLarge":        {bytes.Repeat([]byte(" "), maxBody+1), nil, 413, "too_large", ""},
		"TooLargeChunked": {bytes.Repeat([]byte(" "), maxBody+1), func(q *http.Request) { q.ContentLength = -1 }, 413, "too_large", ""},
		"CutOff":          {clean, func(q *http.Request) { q.ContentLength++ }, 400, "failed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiving(t, nil)
			w := r.post(c.body, c.change)
			r.answer(t, w, c.status, c.result)
			if h, v, ok := strings.Cut(c.header, ": "); ok && w.Header().Get(h) != v {
				t.Errorf("%s = %q, want %q", h, w.Header().Get(h), v)
			}
			if len(r.kept) != 0 {
				t.Errorf("kept %d", len(r.kept))
			}
		})
	}
	for name, change := range map[string]func(*http.Request){
		"PreviousPassword": func(q *http.Request) { q.SetBasicAuth("epm", "old horse") },
		"TextJSON":         func(q *http.Request) { q.Header.Set("Content-Type", "text/json") },
		"Doubled":          func(q *http.Request) { q.Header.Set("Content-Type", "application/json, application/json") },
		"DoubledCharset": func(q *http.Request) {
			q.Header.Set("Content-Type", "application/json; charset=utf-8, application/json")
		},
		"TwoHeaders":    func(q *http.Request) { q.Header.Add("Content-Type", "application/json") },
		"CharsetUTF8":   func(q *http.Request) { q.Header.Set("Content-Type", "application/json;charset=UTF8") },
		"CharsetQuoted": func(q *http.Request) { q.Header.Set("Content-Type", `application/json; charset="utf-8"`) },
		"CharsetSingle": func(q *http.Request) { q.Header.Set("Content-Type", "application/json; charset='utf-8'") },
		"CharsetOpen":   func(q *http.Request) { q.Header.Set("Content-Type", "application/json; charset=") },
		"CharsetTwice":  func(q *http.Request) { q.Header.Set("Content-Type", "application/json; charset=utf-8; charset=utf-8;") },
		"Charset":       func(q *http.Request) { q.Header.Set("Content-Type", "Application/JSON; charset=utf-8") },
		"PlusJSON":      func(q *http.Request) { q.Header.Set("Content-Type", "application/vnd.acme+json") },
		"Chunked":       func(q *http.Request) { q.ContentLength = -1 },
		"Identity":      func(q *http.Request) { q.Header.Set("Content-Encoding", "identity") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiving(t, nil)
			r.answer(t, r.post(clean, change), http.StatusOK, "created")
		})
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// TestReceiverReadsNoBodyUnasked: without credentials not a byte is read.
func TestReceiverReadsNoBodyUnasked(t *testing.T) {
	r := newReceiving(t, nil)
	read := &watched{}
	q := httptest.NewRequest(http.MethodPost, "/", read)
	q.Header.Set("Content-Type", "application/json")
	q.SetBasicAuth("epm", "guess")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	if w.Code != http.StatusUnauthorized || read.n != 0 {
		t.Errorf("status %d after %d reads", w.Code, read.n)
	}
}

type watched struct{ n int }

func (w *watched) Read([]byte) (int, error) { w.n++; return 0, io.EOF }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestReceiverAddresses(t *testing.T) {
	clean := newWorld(t).body(epmtest.AdminCreated, epmtest.BodyOptions{})
	allow, proxies := prefixes("203.0.113.0/24", "2001:db8::/32"), prefixes("10.0.0.0/8", "fd00::/8")
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		remote    string
		ok        bool
	}{
		"Direct":              {"203.0.113.9:1", nil, "203.0.113.9", true},
		"DirectOther":         {"198.51.100.1:1", nil, "198.51.100.1", false},
		"Mapped":              {"[::ffff:203.0.113.9]:1", nil, "203.0.113.9", true},
		"V6":                  {"[2001:db8::1]:1", nil, "2001:db8::1", true},
		"HeaderFromStranger":  {"198.51.100.1:1", []string{"203.0.113.9"}, "198.51.100.1", false},
		"HeaderFromAllowed":   {"203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9", true},
		"Proxy":               {"10.1.1.1:1", []string{"203.0.113.9"}, "203.0.113.9", true},
		"ProxyMapped":         {"[::ffff:10.1.1.1]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9", true},
		"TwoProxies":          {"10.1.1.1:1", []string{"203.0.113.9, 10.2.2.2"}, "203.0.113.9", true},
		"TwoHeaders":          {"10.1.1.1:1", []string{"203.0.113.9", "10.2.2.2"}, "203.0.113.9", true},
		"Forged":              {"10.1.1.1:1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1", false},
		"ForgedThroughProxy":  {"10.1.1.1:1", []string{"203.0.113.9, 198.51.100.1, 10.2.2.2"}, "198.51.100.1", false},
		"WithPort":            {"10.1.1.1:1", []string{"203.0.113.9:4711"}, "203.0.113.9", true},
		"WithPortV6":          {"10.1.1.1:1", []string{"[2001:db8::1]:4711"}, "2001:db8::1", true},
		"BracketsV6":          {"10.1.1.1:1", []string{"[2001:db8::1]"}, "2001:db8::1", true},
		"Garbage":             {"10.1.1.1:1", []string{"unknown"}, "10.1.1.1", false},
		"GarbageInTheMiddle":  {"10.1.1.1:1", []string{"203.0.113.9, , 10.2.2.2"}, "10.2.2.2", false},
		"GarbageBehindClient": {"10.1.1.1:1", []string{"unknown, 203.0.113.9"}, "203.0.113.9", true},
		"ProxyItself":         {"10.1.1.1:1", nil, "10.1.1.1", false},
		"OnlyProxies":         {"10.1.1.1:1", []string{"10.3.3.3"}, "10.3.3.3", false},
		"NoAddress":           {"@", nil, "@", false},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(q *http.Request) {
				q.RemoteAddr = c.peer
				for _, f := range c.forwarded {
					q.Header.Add("X-Forwarded-For", f)
				}
			}
			r := newReceiving(t, func(config *ReceiverConfig) { config.Allow, config.TrustedProxies = allow, proxies })
			status, result := http.StatusForbidden, "forbidden"
			if c.ok {
				status, result = http.StatusOK, "created"
			}
			w := r.post(clean, change)
			r.answer(t, w, status, result)
			if c.ok && r.kept[0].Remote != c.remote {
				t.Errorf("remote %q, want %q", r.kept[0].Remote, c.remote)
			}
			// Without a list everybody may send, and the address is noted.
			r = newReceiving(t, func(config *ReceiverConfig) { config.TrustedProxies = proxies })
			r.answer(t, r.post(clean, change), http.StatusOK, "created")
			if r.kept[0].Remote != c.remote {
				t.Errorf("remote %q, want %q", r.kept[0].Remote, c.remote)
			}
		})
	}
	t.Run("MappedNetworks", func(t *testing.T) {
		r := newReceiving(t, func(c *ReceiverConfig) { c.Allow = prefixes("::ffff:203.0.113.0/120") })
		r.answer(t, r.post(clean, func(q *http.Request) { q.RemoteAddr = "203.0.113.9:1" }), http.StatusOK, "created")
	})
}

func TestNewReceiverChecks(t *testing.T) {
	good := ReceiverConfig{User: "u", Password: "hunter2", PasswordPrevious: "hunter1", Keeper: keeperFunc(nil), Log: slog.New(slog.DiscardHandler)}
	if _, err := NewReceiver(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*ReceiverConfig){
		"User": func(c *ReceiverConfig) { c.User = "" }, "Password": func(c *ReceiverConfig) { c.Password = "" },
		"Keeper": func(c *ReceiverConfig) { c.Keeper = nil }, "Log": func(c *ReceiverConfig) { c.Log = nil },
	} {
		c := good
		spoil(&c)
		if _, err := NewReceiver(c); err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, good); strings.Contains(s, "hunter") {
			t.Errorf("%s prints the password: %s", verb, s)
		}
	}
}

func TestPasswordsChangeWhileItRuns(t *testing.T) {
	body := newWorld(t).body(epmtest.AdminCreated, epmtest.BodyOptions{})
	var current, previous string
	r := newReceiving(t, func(c *ReceiverConfig) { c.Current = func() (string, string) { return current, previous } })
	for _, c := range []struct{ current, previous, sent, result string }{
		{"hunter1", "", "hunter1", "created"},
		{"hunter2", "hunter1", "hunter1", "created"},
		{"hunter2", "hunter1", "hunter2", "created"},
		{"hunter2", "", "hunter2", "created"},
		{"hunter2", "", "hunter1", "unauthorized"},
		{"hunter2", "", "", "unauthorized"},
	} {
		current, previous, r.results = c.current, c.previous, nil
		status := http.StatusOK
		if c.result == "unauthorized" {
			status = http.StatusUnauthorized
		}
		w := r.post(body, func(q *http.Request) { q.SetBasicAuth("epm", c.sent) })
		r.answer(t, w, status, c.result)
	}
}

// TestFakeDelivers sends every breakage over the network from the fake.
func TestFakeDelivers(t *testing.T) {
	r := newReceiving(t, nil)
	server := httptest.NewServer(r)
	defer server.Close()
	w := newWorld(t)
	w.SetWebhook(server.URL, "epm", "correct horse")
	for _, b := range epmtest.Breakages() {
		for _, e := range b.Events {
			d, err := w.Deliver(t.Context(), w.body(e, b.Options))
			if err != nil {
				t.Fatal(err)
			}
			if failed := b.Name == "cutOff" || b.Name == "leftover RequestId"; d.OK() == failed {
				t.Errorf("%s/%s: %d %s", b.Name, e, d.Status, d.Answer)
			}
		}
	}
	for _, in := range r.kept {
		if (in.Update == nil) == (in.Error == "") {
			t.Errorf("kept %+v", in)
		}
	}
}

// A store that hangs: every sender is answered in time, and no more than
// maxAtOnce webhooks are held in memory.
func TestManyWhileTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		r := newReceiving(t, func(c *ReceiverConfig) {
			c.Keeper = keeperFunc(func(ctx context.Context, _ tickets.Incoming) (tickets.Receipt, error) {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				now--
				return tickets.Receipt{}, ctx.Err()
			})
		})
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 * maxAtOnce {
			wg.Go(func() {
				a := r.post([]byte(`{}`), nil)
				if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" {
					t.Errorf("answer %d %v, want 503 with Retry-After", a.Code, a.Header())
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 2*keepTimeout {
			t.Errorf("the last answer came after %v, want at most %v", took, 2*keepTimeout)
		}
		if most != maxAtOnce {
			t.Errorf("%d at once, want %d", most, maxAtOnce)
		}
	})
}

// A sender who has gone while its webhook waits for its turn takes none.
func TestSenderHasGoneBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := 0
		r := newReceiving(t, func(c *ReceiverConfig) {
			c.Keeper = keeperFunc(func(ctx context.Context, _ tickets.Incoming) (tickets.Receipt, error) {
				kept++
				return tickets.Receipt{}, nil
			})
		})
		for range maxAtOnce {
			r.slots <- struct{}{} // those before it
		}
		ctx, leave := context.WithCancel(t.Context())
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { r.post([]byte(`{}`), func(q *http.Request) { *q = *q.WithContext(ctx) }) })
		synctest.Wait()
		leave()
		wg.Wait()
		if took := time.Since(start); took > 0 || kept > 0 {
			t.Errorf("it waited %v more and was kept %d times, want neither", took, kept)
		}
	})
}

// TestPasswordEncodings: names and passwords that are not ASCII, in both
// encodings that senders use. To see it fail, read UTF-8 alone.
func TestPasswordEncodings(t *testing.T) {
	clean := newWorld(t).body(epmtest.AdminCreated, epmtest.BodyOptions{})
	latin1 := func(s string) string {
		var b []byte
		for _, r := range s {
			b = append(b, byte(r))
		}
		return string(b)
	}
	for _, name := range []string{"pmc_webhook_user", "pmc_wébhook"} {
		for _, password := range []string{"Grün§abc", "Ã¼", "plain"} {
			r := newReceiving(t, func(c *ReceiverConfig) { c.User, c.Password = name, password })
			for way, encode := range map[string]func(string) string{"UTF-8": asItIs, "ISO-8859-1": latin1} {
				w := r.post(clean, func(q *http.Request) { q.SetBasicAuth(encode(name), encode(password)) })
				if w.Code != http.StatusOK {
					t.Errorf("%s %s in %s: %d", name, password, way, w.Code)
				}
				for _, wrong := range []string{encode(password) + "x", encode("ö"), ""} {
					w := r.post(clean, func(q *http.Request) { q.SetBasicAuth(encode(name), wrong) })
					if w.Code == http.StatusOK {
						t.Errorf("%s with %q instead of %s is taken", name, wrong, password)
					}
				}
			}
		}
	}
}

// TestUnauthorizedSaysWhy: each way of not sending a user and password has its
// own sentence, and none repeats what was sent.
func TestUnauthorizedSaysWhy(t *testing.T) {
	clean := newWorld(t).body(epmtest.AdminCreated, epmtest.BodyOptions{})
	for header, want := range map[string]string{
		"":                           "a proxy between EPM and Countersign takes the header Authorization away",
		"Bearer planted":             "came with a token (Bearer)",
		"bearer":                     "came with a token (Bearer)",
		"Digest username=planted":    "does not begin with Basic",
		"Negotiate planted":          "does not begin with Basic",
		"cGxhbnRlZDpwbGFudGVk":       "does not begin with Basic",
		"Basic planted:planted":      "is not USER:PASSWORD in base64",
		"Basic":                      "is not USER:PASSWORD in base64",
		"Basic cGxhbnRlZA==":         "is not USER:PASSWORD in base64",
		"Basic cGxhbnRlZDpwbGFudGVk": "the user or password is wrong",
	} {
		r := newReceiving(t, nil)
		w := r.post(clean, func(q *http.Request) {
			q.Header.Del("Authorization")
			if header != "" {
				q.Header.Set("Authorization", header)
			}
		})
		a := r.answer(t, w, http.StatusUnauthorized, "unauthorized")
		if !strings.Contains(a["error"], want) || strings.Contains(a["error"], "planted") {
			t.Errorf("%q: %q, want %q in it", header, a["error"], want)
		}
	}
}
