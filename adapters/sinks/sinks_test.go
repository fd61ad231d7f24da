package sinks_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/sinks"
	"github.com/countersign/countersign/adapters/sinks/sinkstest"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/internal/certtest"
	"github.com/countersign/countersign/tickets"
)

var (
	_ events.Sink = (*sinks.Syslog)(nil)
	_ events.Sink = (*sinks.Webhook)(nil)
	_ events.Sink = (*sinks.File)(nil)

	update = flag.Bool("update", false, "rewrite the golden files")
)

const (
	secret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLasw"
	previous = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	to       = sinks.SyslogName
)

var at = time.Date(2026, 1, 31, 13, 5, 0, 123456789, time.UTC)

// story is what happens to a ticket, and a change of the settings.
func story() []tickets.EventEnvelope {
	typ := tickets.Types()[0]
	rules := tickets.Rules{Type: typ, Active: typ.Active}
	t := tickets.Start("JIT-1042", "7b0c6a1e-0d3c-4f0e-9a8b-000000000001", rules, at)
	t.Ask(tickets.Request{
		ID: t.ID, Kind: tickets.Application, User: `ACME\jörg`, Host: "PC-0815", Product: "7-Zip", Reason: "please",
		Path: `C:\Program Files\7z.exe`, SHA256: strings.Repeat("ab", 32), Fields: []tickets.Field{{Name: "RequestId", Value: "x"}},
	}, rules, at)
	t.TrackSink([]tickets.EventSink{to}, 0)
	d := tickets.Decision{
		Verdict: tickets.Approve, Reason: "ok for the patch window", Duration: tickets.Lasting(2 * time.Hour),
		By: tickets.Actor{Platform: "slack", ID: "U01ANN", Name: "Ann"}, At: at.Add(time.Minute), Place: tickets.Place{Platform: "slack", Channel: "C01EPM"},
	}
	if err := t.Decide(d, rules); err != nil {
		panic(err)
	}
	t.BeginSend(at)
	t.RecordRejection(d, "EPM says no", at.Add(2*time.Minute))
	t.Conclude(tickets.Outcome{Verdict: tickets.Deny, By: "console", At: at.Add(3 * time.Minute)}, rules, at.Add(3*time.Minute))
	list, _ := t.Envelopes(to, 100)
	approvers := "slack:U01ANN"
	return append(list, tickets.ChangeEnvelopes([]tickets.Change{{Version: 3, At: at, By: d.By, Key: tickets.KeyApprovers, New: &approvers}})...)
}

// Every text that somebody may write, and what may never become of it.
var hostile = []string{
	"a\nb\r\nc\x00d\x1b[31m", "\u202eexe.fdp\u2066", `"]\ [x y="z"] \"`, "\xff\xfe\xed\xa0\x80", "\ufeff<13>1 - - - - - - fake", "😀\u2028\u2029\x7f",
	"12 <13>1 - - - - - -", strings.Repeat("\u202e\n\"]\\", 20_000), "{{.}} %s <!channel> @everyone",
}

// hostileNotices have each of the texts in every field that has one.
func hostileNotices() []tickets.EventEnvelope {
	var list []tickets.EventEnvelope
	for i, s := range hostile {
		r := tickets.Request{ID: tickets.RequestID(s), User: s, Host: s, Reason: s, Product: s, Path: s, Command: s, Group: s, Publisher: s, SHA256: s}
		d := tickets.Decision{Reason: s, By: tickets.Actor{Platform: "slack", ID: s, Name: s}, At: at}
		e := tickets.Event{Kind: tickets.EventKind(s), At: at, Actor: d.By, Decision: &d, Text: s}
		list = append(list, tickets.EventEnvelope{
			ID: fmt.Sprintf("evt_%032d", i), Type: "ticket." + string(e.Kind), At: at,
			Data: tickets.EnvelopeData{Ticket: tickets.Number(s), Position: 1, Request: &r, Event: &e},
		}, tickets.EventEnvelope{ID: fmt.Sprintf("evt_c%031d", i), Type: "settings.changed", At: at, Data: tickets.EnvelopeData{Change: &tickets.Change{Key: s, Old: &s, By: d.By, At: at}}})
	}
	return list
}

func class(err error) tickets.Class {
	if err == nil {
		return ""
	}
	return tickets.FailureOf(err).Class
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// recorder keeps the requests that go through it.
type recorder struct{ bytes.Buffer }

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	if err := q.Write(&r.Buffer); err != nil {
		return nil, err
	}
	r.WriteString("\n\n")
	return &http.Response{StatusCode: 204, Body: http.NoBody}, nil
}

// The formats that receivers read, as they are on the wire.
func TestGolden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	file, err := sinks.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := file.Deliver(t.Context(), story()); err != nil || n != len(story()) {
		t.Fatalf("Deliver = %d, %v", n, err)
	}
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "events.jsonl", lines)

	var sent recorder
	hook, err := sinks.NewWebhook(sinks.WebhookConfig{
		URL: "https://siem.example.com/events?source=epm", Secrets: []string{secret, previous}, Transport: &sent, Now: func() time.Time { return at },
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := hook.Deliver(t.Context(), story()); err != nil || n != len(story()) {
		t.Fatalf("Deliver = %d, %v", n, err)
	}
	golden(t, "webhook.http", sent.Bytes())

	log, wire := newTap(t)
	syslog := newSyslog(t, sinks.SyslogConfig{Address: log, Hostname: "bot.example.com"})
	if n, err := syslog.Deliver(t.Context(), story()); err != nil || n != len(story()) {
		t.Fatalf("Deliver = %d, %v", n, err)
	}
	golden(t, "syslog.txt", wire())
}

// newTap takes one connection as it is.
func newTap(t *testing.T) (addr string, wire func() []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(c)
		_ = c.Close()
		got <- b
	}()
	return l.Addr().String(), func() []byte { return <-got }
}

func newSyslog(t *testing.T, c sinks.SyslogConfig) *sinks.Syslog {
	t.Helper()
	s, err := sinks.NewSyslog(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func server(t *testing.T, config *tls.Config) *sinkstest.Syslog {
	t.Helper()
	s, err := sinkstest.NewSyslog(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Down()
		for _, v := range s.Violations() {
			t.Errorf("syslog's rules: %s", v)
		}
	})
	return s
}

func webhook(t *testing.T, secret string) *sinkstest.Webhook {
	t.Helper()
	h, err := sinkstest.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// To see it fail, write the message of a notice as it is instead of in ASCII,
// or leave adapters.Line out of the parameters.
func TestHostileTextBreaksNothing(t *testing.T) {
	list := hostileNotices()
	s, h := server(t, nil), webhook(t, secret)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	file, err := sinks.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hook, err := sinks.NewWebhook(sinks.WebhookConfig{URL: h.URL(), Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]events.Sink{"syslog": newSyslog(t, sinks.SyslogConfig{Address: s.Addr(), Hostname: hostile[0]}), "webhook": hook, "file": file} {
		if n, err := r.Deliver(t.Context(), list); err != nil || n != len(list) {
			t.Fatalf("%s took %d, %v; want %d", name, n, err, len(list))
		}
	}
	messages, posts := s.Messages(), h.Posts()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
	if len(messages) != len(list) || len(posts) != len(list) || len(lines) != len(list) {
		t.Fatalf("%d messages, %d posts, %d lines; want %d of each", len(messages), len(posts), len(lines), len(list))
	}
	for i, n := range list {
		whole, err := json.Marshal(n) // what is not UTF-8 cannot be written as it is
		if err != nil {
			t.Fatal(err)
		}
		var want, post, line, short map[string]any
		for v, from := range map[*map[string]any][]byte{&want: whole, &post: posts[i].Body, &line: lines[i], &short: []byte(messages[i].Text)} {
			if err := json.Unmarshal(from, v); err != nil {
				t.Fatalf("notice %d: %v in %.200q", i, err, from)
			}
		}
		if !same(post, want) || !same(line, want) {
			t.Errorf("notice %d is\n%.300q\n%.300q\nwant\n%.300q", i, posts[i].Body, lines[i], whole)
		}
		if short["id"] != n.ID || short["cut"] == nil && !same(short, want) {
			t.Errorf("message %d says %.300q", i, messages[i].Text)
		}
		if id, _ := messages[i].Param("countersign@32473", "id"); id != n.ID {
			t.Errorf("message %d has the id %q", i, id)
		}
		for _, raw := range [][]byte{posts[i].Body, lines[i], []byte(messages[i].Text)} {
			if j := bytes.IndexFunc(raw, func(r rune) bool { return r < ' ' || r > '~' }); j >= 0 {
				t.Errorf("notice %d has %q", i, raw[j])
			}
		}
	}
}

func same(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

func TestSyslogMessage(t *testing.T) {
	s := server(t, nil)
	r := newSyslog(t, sinks.SyslogConfig{Address: s.Addr(), Hostname: "bot.example.com"})
	if _, err := r.Deliver(t.Context(), story()); err != nil {
		t.Fatal(err)
	}
	list := s.Messages()
	for i, want := range []struct {
		kind     string
		severity int
		params   map[string]string
	}{
		{"ticket.received", 6, map[string]string{"ticket": "JIT-1042", "user": `ACME\jörg`, "host": "PC-0815"}},
		{"ticket.decided", 5, map[string]string{"actor": "slack:U01ANN"}},
		{"ticket.refused", 4, nil},
		{"ticket.outcome", 5, nil},
		{"settings.changed", 5, map[string]string{"setting": "approvers", "actor": "slack:U01ANN"}},
	} {
		m := list[i]
		if m.Kind != want.kind || m.Facility != 13 || m.Severity != want.severity || m.App != "countersign" || m.Host != "bot.example.com" ||
			m.Time.Sub(story()[i].At).Abs() > time.Microsecond {
			t.Errorf("message %d = %+v", i, m)
		}
		for name, value := range want.params {
			if got, _ := m.Param("countersign@32473", name); got != value {
				t.Errorf("%s of message %d is %q, want %q", name, i, got, value)
			}
		}
	}
}

// A message that nobody has certainly read is not taken. To see it fail, let
// send return without reading.
func TestSyslogIsTakenWhenItWasRead(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for mode, want := range map[sinkstest.Mode]tickets.Class{
			sinkstest.Takes: "", sinkstest.Hangs: tickets.Ambiguous, sinkstest.Stays: tickets.Ambiguous,
			sinkstest.Resets: tickets.Ambiguous, sinkstest.Talks: tickets.Ambiguous,
		} {
			t.Run(fmt.Sprintf("tls=%t_%d", secure, mode), func(t *testing.T) {
				t.Parallel()
				var config *tls.Config
				c := sinks.SyslogConfig{Timeout: 2 * time.Second}
				if secure {
					certs, err := certtest.New(certtest.Config{Dir: t.TempDir()})
					if err != nil {
						t.Fatal(err)
					}
					config, c.TLS = &tls.Config{Certificates: []tls.Certificate{certs.Pair}}, &tls.Config{RootCAs: certs.Pool}
					if mode == sinkstest.Hangs {
						want = tickets.Unavailable // it never came to a message
					}
				}
				s := server(t, config)
				s.SetMode(mode)
				c.Address = s.Addr()
				// Enough that it does not fit into what the machine keeps for a
				// connection.
				var list []tickets.EventEnvelope
				for range 200 {
					list = append(list, story()...)
				}
				if mode != sinkstest.Hangs && mode != sinkstest.Resets {
					list = list[:5]
				}
				n, err := newSyslog(t, c).Deliver(t.Context(), list)
				if class(err) != want || (n == len(list)) != (want == "") {
					t.Errorf("Deliver = %d, %v; want class %q", n, err, want)
				}
				if got := len(s.Messages()); want == "" && got != len(list) {
					t.Errorf("%d messages, want %d", got, len(list))
				}
			})
		}
	}
}

func TestSyslogTLS(t *testing.T) {
	certs, err := certtest.New(certtest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := server(t, &tls.Config{Certificates: []tls.Certificate{certs.Pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: certs.Pool})
	for name, c := range map[string]struct {
		config *tls.Config
		want   tickets.Class
		says   string
	}{
		"UnknownAuthority":    {&tls.Config{}, tickets.Unavailable, "certificate is not accepted"},
		"NoClientCertificate": {&tls.Config{RootCAs: certs.Pool}, tickets.Ambiguous, ""}, // says so, unless the connection was reset too fast
		"Both":                {&tls.Config{RootCAs: certs.Pool, Certificates: []tls.Certificate{certs.Pair}}, "", ""},
		"NoTLS":               {nil, tickets.Ambiguous, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.Messages())
			n, err := newSyslog(t, sinks.SyslogConfig{Address: s.Addr(), TLS: c.config, Timeout: 5 * time.Second}).Deliver(t.Context(), story())
			if class(err) != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("Deliver = %d, %v; want %s and %q", n, err, c.want, c.says)
			}
			if got := len(s.Messages()) - before; got != n {
				t.Errorf("%d messages, want %d", got, n)
			}
		})
	}
}

func TestSyslogIsAway(t *testing.T) {
	s := server(t, nil)
	r := newSyslog(t, sinks.SyslogConfig{Address: s.Addr()})
	s.Down()
	if n, err := r.Deliver(t.Context(), story()); n != 0 || class(err) != tickets.Unavailable {
		t.Errorf("Deliver = %d, %v; want Down", n, err)
	}
	if f := r.Check(t.Context()); f.Problem == "" || !strings.Contains(f.Fix, "COUNTERSIGN_EVENTS_SYSLOG") {
		t.Errorf("Check = %+v", f)
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if f := r.Check(t.Context()); f.Problem != "" {
		t.Errorf("Check = %+v", f)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.SetMode(sinkstest.Stays)
	time.AfterFunc(50*time.Millisecond, cancel)
	if n, err := r.Deliver(ctx, story()); n != 0 || class(err) != tickets.Ambiguous {
		t.Errorf("Deliver that is given up = %d, %v", n, err)
	}
}

// What a receiver answers says whether this event, or none, is taken.
func TestWebhookAnswers(t *testing.T) {
	for _, c := range []struct {
		fault sinkstest.Fault
		want  tickets.Class
		after time.Duration
	}{
		{sinkstest.Fault{Status: 200}, "", 0},
		{sinkstest.Fault{Status: 202}, "", 0},
		{sinkstest.Fault{Status: 307, Location: "/elsewhere"}, tickets.NotFound, 0},
		{sinkstest.Fault{Status: 400}, tickets.Rejected, 0},
		{sinkstest.Fault{Status: 401}, tickets.Unauthorized, 0},
		{sinkstest.Fault{Status: 404}, tickets.NotFound, 0},
		{sinkstest.Fault{Status: 408}, tickets.Ambiguous, 0},
		{sinkstest.Fault{Status: 409}, "", 0},
		{sinkstest.Fault{Status: 413}, tickets.Rejected, 0},
		{sinkstest.Fault{Status: 429, RetryAfter: 7}, tickets.RateLimited, 7 * time.Second},
		{sinkstest.Fault{Status: 429, RetryAfter: 1 << 40}, tickets.RateLimited, time.Hour},
		{sinkstest.Fault{Status: 500}, tickets.Ambiguous, 0},
		{sinkstest.Fault{Status: 503}, tickets.Ambiguous, 0},
		{sinkstest.Fault{Status: 503, RetryAfter: 7}, tickets.RateLimited, 7 * time.Second},
		{sinkstest.Fault{}, tickets.Ambiguous, 0},
		{sinkstest.Fault{Hangs: true}, tickets.Ambiguous, 0},
	} {
		t.Run(fmt.Sprintf("%+v", c.fault), func(t *testing.T) {
			t.Parallel()
			h := webhook(t, secret)
			hook, err := sinks.NewWebhook(sinks.WebhookConfig{URL: h.URL(), Secrets: []string{previous, secret}, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			c.fault.Keep = true
			h.Fail(sinkstest.Fault{Status: 200, Keep: true}, c.fault)
			list := story()
			n, err := hook.Deliver(t.Context(), list)
			taken, got := 1, 2
			if c.want == "" {
				taken, got = len(list), len(list)
			}
			if n != taken || class(err) != c.want || err != nil && tickets.FailureOf(err).RetryAfter != c.after {
				t.Errorf("Deliver = %d, %v; want %d, class %q", n, err, taken, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "secret-path") || strings.Contains(err.Error(), secret)) {
				t.Errorf("the error holds a secret: %v", err)
			}
			if posts := h.Posts(); len(posts) != got {
				t.Errorf("%d were received, want %d: nothing overtakes what was not taken", len(posts), got)
			}
			// The same again has the same ids, and the same bodies.
			if n, err := hook.Deliver(t.Context(), list[n:]); err != nil || taken+n != max(len(list), taken) {
				t.Errorf("Deliver again = %d, %v", n, err)
			}
			if v := h.Violations(); len(v) > 0 {
				t.Errorf("the rules of the webhook: %q", v)
			}
		})
	}
}

func TestWebhookIsSigned(t *testing.T) {
	for name, secrets := range map[string][]string{"Alone": {secret}, "WhileRotating": {previous, secret}, "Before": {secret, previous}} {
		h := webhook(t, secret)
		hook, err := sinks.NewWebhook(sinks.WebhookConfig{URL: h.URL(), Secrets: secrets})
		if err != nil {
			t.Fatal(err)
		}
		if f := hook.Check(t.Context()); f.Problem != "" || len(h.Posts()) != 1 {
			t.Errorf("%s: Check = %+v, %q", name, f, h.Violations())
		}
	}
	h := webhook(t, previous)
	hook, err := sinks.NewWebhook(sinks.WebhookConfig{URL: h.URL(), Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	if f := hook.Check(t.Context()); f.Problem == "" || len(h.Posts()) != 0 {
		t.Errorf("with another secret Check = %+v", f)
	}
	// What says of a new test that it has it already takes nothing.
	h.FailAlways(&sinkstest.Fault{Status: http.StatusConflict})
	if hook, err = sinks.NewWebhook(sinks.WebhookConfig{URL: h.URL(), Secrets: []string{previous}}); err != nil {
		t.Fatal(err)
	}
	if f := hook.Check(t.Context()); f.Problem == "" {
		t.Errorf("when every answer is 409 Check = %+v", f)
	}
	h.Close()
	if n, err := hook.Deliver(t.Context(), story()); n != 0 || class(err) != tickets.Unavailable && class(err) != tickets.Ambiguous {
		t.Errorf("Deliver to nobody = %v", err)
	}
}

func TestConfigIsRefused(t *testing.T) {
	for _, s := range []string{"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaswMfKQ9r8GKYqr", "whsec_MfKQ9r8G", "whsec_" + strings.Repeat("A", 100), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLas!"} {
		if err := sinks.CheckSecret(s); err == nil || s != "" && strings.Contains(err.Error(), strings.TrimPrefix(s, "whsec_")) && len(s) > 6 {
			t.Errorf("CheckSecret(%q) = %v", s, err)
		}
	}
	for _, s := range []string{"", "siem.example.com", "http://siem.example.com/x", "https://u:p@siem.example.com", "ftp://127.0.0.1/", "https://siem.example.com/#x"} {
		if err := sinks.CheckURL(s); err == nil {
			t.Errorf("CheckURL(%q) = nil", s)
		}
	}
	if err := errors.Join(sinks.CheckSecret(secret), sinks.CheckURL("https://siem.example.com/a?b"), sinks.CheckURL("http://127.0.0.1:1/")); err != nil {
		t.Error(err)
	}
	for _, address := range []string{"", "host", ":514"} {
		if _, err := sinks.NewSyslog(sinks.SyslogConfig{Address: address}); err == nil {
			t.Errorf("NewSyslog(%q) = nil", address)
		}
	}
}

// The file may be moved away at any time, cut off, and written by several.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	file, err := sinks.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if f := file.Check(t.Context()); f.Problem != "" {
		t.Errorf("Check = %+v", f)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("Check left %v, %v", left, err)
	}
	deliver := func() {
		t.Helper()
		n, err := file.Deliver(t.Context(), story())
		if err != nil || n != len(story()) {
			t.Fatalf("Deliver = %d, %v", n, err)
		}
	}
	deliver()
	must(os.Rename(path, path+".1"))
	deliver()
	must(os.Truncate(path, 1000)) // in the middle of a line
	deliver()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(deliver)
	}
	wg.Wait()
	b, err := os.ReadFile(path)
	must(err)
	whole, broken := 0, 0
	for line := range bytes.Lines(b) {
		if json.Valid(line) && bytes.HasSuffix(line, []byte("}\n")) {
			whole++
		} else {
			broken++
		}
	}
	rest := bytes.Count(b[:1000], []byte("\n"))
	if whole != rest+9*len(story()) || broken != 1 {
		t.Errorf("%d whole lines and %d broken, want %d and the one that was cut off", whole, broken, rest+9*len(story()))
	}
	if old, err := os.ReadFile(path + ".1"); err != nil || bytes.Count(old, []byte("\n")) != len(story()) {
		t.Errorf("the file that was moved away: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("everybody can read it: %v, %v", info.Mode(), err)
	}
	pipe := filepath.Join(dir, "pipe")
	must(syscall.Mkfifo(pipe, 0o600))
	for _, path := range []string{filepath.Join(dir, "none", "x"), dir, pipe} {
		file, err := sinks.NewFile(path)
		must(err)
		if n, err := file.Deliver(t.Context(), story()); n != 0 || class(err) != tickets.Ambiguous {
			t.Errorf("Deliver to %s = %d, %v", path, n, err)
		}
		if f := file.Check(t.Context()); f.Problem == "" || f.Fix == "" {
			t.Errorf("Check of %s = %+v", path, f)
		}
	}
}
