package epm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

const hush = "hush-Secret-4711"

// bench is a client with the fake that it calls.
type bench struct {
	*Client
	fake      *epmtest.Server
	transport *http.Transport
	log       bytes.Buffer
	mu        sync.Mutex
	now       time.Time
	secrets   map[string]bool // tokens that were sent
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) add(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// RoundTrip notes the tokens, to look for them in errors.
func (b *bench) RoundTrip(q *http.Request) (*http.Response, error) {
	if token, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer "); ok {
		b.mu.Lock()
		b.secrets[token] = true
		b.mu.Unlock()
	}
	return b.transport.RoundTrip(q)
}

func newBench(t testing.TB, fake func(*epmtest.Config), change func(*Config)) *bench {
	t.Helper()
	b := &bench{now: noon, secrets: map[string]bool{hush: true}, transport: Transport().(*http.Transport)}
	fc := epmtest.Config{ClientID: "countersign", ClientSecret: hush, Now: b.clock}
	if fake != nil {
		fake(&fc)
	}
	var err error
	if b.fake, err = epmtest.New(fc); err != nil {
		t.Fatal(err)
	}
	c := Config{Host: b.fake.URL(), ClientID: "countersign", ClientSecret: hush, PublicURL: "https://countersign.example.com/", Transport: b,
		Now: b.clock, Log: slog.New(slog.NewJSONHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Rate: 1000}
	if change != nil {
		change(&c)
	}
	if b.Client, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.transport.CloseIdleConnections()
		b.fake.Close()
		if v := b.fake.Violations(); len(v) > 0 {
			t.Errorf("violations: %q", v)
		}
		b.quiet(t, b.log.String())
	})
	return b
}

// quiet fails if s holds a secret.
func (b *bench) quiet(t testing.TB, s string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for secret := range b.secrets {
		if strings.Contains(s, secret) {
			t.Errorf("a secret shows in %q", s)
		}
	}
}

// ticket is a decided ticket for a request that the fake has.
func (b *bench) ticket(kind tickets.Kind, v tickets.Verdict, d tickets.Duration) *tickets.Ticket {
	var r *epmtest.Request
	if kind == tickets.Admin {
		r = b.fake.RequestAdminQuietly(epmtest.Admin{Reason: "patch day"})
	} else {
		r = b.fake.RequestAppQuietly(epmtest.App{Reason: "patch day", Path: `C:\x.exe`})
	}
	return &tickets.Ticket{Number: "JIT-1042", ID: tickets.RequestID(r.ID),
		Request:  &tickets.Request{ID: tickets.RequestID(r.ID), Kind: kind, EPMNumber: r.Number},
		Decision: &tickets.Decision{Verdict: v, Reason: "ok for the patch window", Duration: d, By: tickets.Actor{Platform: "slack", ID: "U1", Name: "Ann Example"}, At: noon.In(time.FixedZone("", 3600))}}
}

// class checks a failure: its class, a sentence, no secret.
func (b *bench) class(t *testing.T, err error, want tickets.Class) *tickets.Failure {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Fatalf("error %v, want none", err)
		}
		return nil
	}
	var f *tickets.Failure
	if !errors.As(err, &f) {
		t.Fatalf("error %v, want a failure of class %s", err, want)
	}
	if f.Class != want || f.UserMessage == "" {
		t.Errorf("class %s (%q, %v), want %s", f.Class, f.UserMessage, f.Err, want)
	}
	b.quiet(t, fmt.Sprintf("%v %+v %#v %s", err, f, f.Err, f.UserMessage))
	return f
}

var both = []tickets.Kind{tickets.Application, tickets.Admin}

func TestDecideBodies(t *testing.T) {
	b := newBench(t, nil, nil)
	for _, c := range []struct {
		v    tickets.Verdict
		d    tickets.Duration
		want string
	}{
		{tickets.Approve, tickets.Once(), "Once"}, {tickets.Approve, tickets.Lasting(5 * time.Minute), "300"},
		{tickets.Approve, tickets.Lasting(24 * time.Hour), "86400"}, {tickets.Deny, tickets.Once(), "Once"},
	} {
		for _, kind := range both {
			tk := b.ticket(kind, c.v, c.d)
			b.class(t, b.Decide(t.Context(), tk), "")
			d, ok := b.fake.Effective(string(tk.ID))
			want := c.want
			if kind == tickets.Admin && c.v == tickets.Deny {
				want = ""
			}
			verdict := map[tickets.Verdict]epmtest.Status{tickets.Approve: epmtest.Approved, tickets.Deny: epmtest.Denied}[c.v]
			if !ok || d.Status != verdict || d.Duration != want || d.By != "slack:U1 Ann Example" || d.Message != "ok for the patch window" ||
				d.DecisionTime != "2026-01-31 12:00:00" || d.SystemID != string(tk.ID) || d.TicketID != "JIT-1042" || d.TicketURL != "https://countersign.example.com/tickets/JIT-1042" {
				t.Errorf("%s %s %s: %+v", kind, c.v, c.d, d)
			}
		}
	}
}

// TestDecideNothing: a ticket without a decision is not sent.
func TestDecideNothing(t *testing.T) {
	b := newBench(t, nil, nil)
	tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
	for _, spoil := range []func(*tickets.Ticket){
		func(t *tickets.Ticket) { t.Decision = nil }, func(t *tickets.Ticket) { t.Request = nil },
		func(t *tickets.Ticket) { t.Decision.Verdict = tickets.Other }, func(t *tickets.Ticket) { t.Decision.Duration = tickets.Duration{} },
	} {
		bad, d := *tk, *tk.Decision
		bad.Decision = &d
		spoil(&bad)
		b.class(t, b.Decide(t.Context(), &bad), tickets.Rejected)
	}
	if n := b.fake.Count(); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// TestAnswers is the table of what EPM may answer to a decision.
func TestAnswers(t *testing.T) {
	answer := func(status int) epmtest.Fault { return epmtest.Fault{Kind: epmtest.Answer, Status: status} }
	did := func(f epmtest.Fault) epmtest.Fault { f.Did = true; return f }
	once := func(f epmtest.Fault) epmtest.Fault { f.Times = 1; return f }
	page := func(status int) epmtest.Fault { return epmtest.Fault{Kind: epmtest.HTMLPage, Status: status} }
	unnamed := func(f epmtest.Fault) epmtest.Fault { f.ContentType = "application/json"; return f }
	for name, c := range map[string]struct {
		fault epmtest.Fault
		want  tickets.Class
		after time.Duration
		calls int // decisions that EPM received
	}{
		"400":                 {answer(400), tickets.Rejected, 0, 1},
		"401Once":             {once(answer(401)), "", 0, 2},
		"401Always":           {answer(401), tickets.Unauthorized, 0, 2},
		"403":                 {answer(403), tickets.Unauthorized, 0, 1},
		"404":                 {answer(404), tickets.Rejected, 0, 1},
		"405":                 {answer(405), tickets.Rejected, 0, 1},
		"408":                 {answer(408), tickets.Ambiguous, 0, 1},
		"409":                 {answer(409), tickets.Ambiguous, 0, 1},
		"409ButDid":           {did(answer(409)), tickets.Ambiguous, 0, 1},
		"422":                 {answer(422), tickets.Rejected, 0, 1},
		"418":                 {answer(418), tickets.Rejected, 0, 1},
		"429":                 {answer(429), tickets.RateLimited, 0, 1},
		"429RetryAfter":       {epmtest.Fault{Kind: epmtest.Answer, Status: 429, RetryAfter: 7 * time.Second}, tickets.RateLimited, 7 * time.Second, 1},
		"429RetryAfterDays":   {epmtest.Fault{Kind: epmtest.Answer, Status: 429, RetryAfter: 72 * time.Hour}, tickets.RateLimited, time.Hour, 1},
		"503":                 {answer(503), tickets.Ambiguous, 0, 1},
		"503RetryAfterDid":    {epmtest.Fault{Kind: epmtest.Answer, Status: 503, RetryAfter: 9 * time.Second, Did: true}, tickets.Ambiguous, 9 * time.Second, 1},
		"500":                 {answer(500), tickets.Ambiguous, 0, 1},
		"500ButDid":           {did(answer(500)), tickets.Ambiguous, 0, 1},
		"502Page":             {epmtest.Fault{Kind: epmtest.HTMLPage}, tickets.Ambiguous, 0, 1},
		"502PageButDid":       {epmtest.Fault{Kind: epmtest.HTMLPage, Did: true}, tickets.Ambiguous, 0, 1},
		"200Page":             {page(200), tickets.Ambiguous, 0, 1},
		"200PageButDid":       {did(page(200)), tickets.Ambiguous, 0, 1},
		"301Page":             {page(301), tickets.Unavailable, 0, 1},
		"302":                 {answer(302), tickets.Unavailable, 0, 1},
		"400Page":             {page(400), tickets.Unavailable, 0, 1},
		"401Page":             {page(401), tickets.Unavailable, 0, 1},
		"403Page":             {page(403), tickets.Unavailable, 0, 1},
		"404Page":             {page(404), tickets.Unavailable, 0, 1},
		"405Page":             {page(405), tickets.Unavailable, 0, 1},
		"407":                 {answer(407), tickets.Unavailable, 0, 1},
		"409Page":             {page(409), tickets.Unavailable, 0, 1},
		"422Page":             {page(422), tickets.Unavailable, 0, 1},
		"429Page":             {page(429), tickets.RateLimited, 0, 1},
		"503Page":             {page(503), tickets.Ambiguous, 0, 1},
		"UnnamedPage200":      {unnamed(page(200)), tickets.Ambiguous, 0, 1},
		"UnnamedPage403":      {unnamed(page(403)), tickets.Unavailable, 0, 1},
		"504":                 {answer(504), tickets.Ambiguous, 0, 1},
		"504ButDid":           {did(answer(504)), tickets.Ambiguous, 0, 1},
		"501":                 {answer(501), tickets.Ambiguous, 0, 1},
		"Cut":                 {epmtest.Fault{Kind: epmtest.Drop}, tickets.Ambiguous, 0, 1},
		"CutButDid":           {epmtest.Fault{Kind: epmtest.Drop, Did: true}, tickets.Ambiguous, 0, 1},
		"Hangs":               {epmtest.Fault{Kind: epmtest.Hang}, tickets.Ambiguous, 0, 1},
		"HangsButDid":         {epmtest.Fault{Kind: epmtest.Hang, Did: true}, tickets.Ambiguous, 0, 1},
		"LateButInTime":       {epmtest.Fault{Kind: epmtest.Late, Delay: 20 * time.Millisecond}, "", 0, 1},
		"TooLateButDid":       {epmtest.Fault{Kind: epmtest.Late, Delay: time.Hour, Did: true}, tickets.Ambiguous, 0, 1},
		"AcceptedWithGarbage": {epmtest.Fault{Kind: epmtest.Garbage, Did: true}, "", 0, 1},
	} {
		for _, kind := range both {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				b := newBench(t, nil, nil)
				tk := b.ticket(kind, tickets.Approve, tickets.Once())
				c.fault.On = epmtest.Decide
				b.fake.Fail(c.fault)
				ctx := t.Context()
				if c.fault.Kind == epmtest.Hang || c.fault.Delay > time.Minute {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
					defer cancel()
				}
				f := b.class(t, b.Decide(ctx, tk), c.want)
				if f != nil && f.RetryAfter != c.after {
					t.Errorf("After = %v, want %v", f.RetryAfter, c.after)
				}
				if n := b.fake.Count(epmtest.Decide); n != c.calls {
					t.Errorf("%d decisions sent, want %d", n, c.calls)
				}
				if _, done := b.fake.Effective(string(tk.ID)); done != (c.want == "" || c.fault.Did) {
					t.Errorf("in effect: %t", done)
				}
				if ready := b.Ready(); (ready != nil) != (c.want == tickets.Unauthorized) {
					t.Errorf("Ready = %v", ready)
				}
			})
		}
	}
}

func TestSayTellsWhatToDo(t *testing.T) {
	for _, c := range []struct {
		kind   tickets.Kind
		status int
		want   string
	}{
		{tickets.Admin, 404, "decision path"}, {tickets.Admin, 405, "decision path"}, {tickets.Application, 405, "decision path"},
		{tickets.Application, 404, "does not know this request"}, {tickets.Application, 403, "JIT: Full Access"},
		{tickets.Application, 409, "already has a decision"}, {tickets.Application, 400, "400 Bad Request"},
	} {
		b := newBench(t, nil, nil)
		b.fake.Fail(epmtest.Fault{On: epmtest.Decide, Kind: epmtest.Answer, Status: c.status})
		f := tickets.FailureOf(b.Decide(t.Context(), b.ticket(c.kind, tickets.Deny, tickets.Once())))
		if !strings.Contains(f.UserMessage, c.want) {
			t.Errorf("%s %d: %q, want %q in it", c.kind, c.status, f.UserMessage, c.want)
		}
	}
}

// TestSecondDecision holds what a repeated and a contradicting decision come
// out as.
func TestSecondDecision(t *testing.T) {
	b := newBench(t, nil, nil)
	tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
	b.class(t, b.Decide(t.Context(), tk), "")
	b.class(t, b.Decide(t.Context(), tk), "")
	tk.Decision.Verdict = tickets.Deny
	b.class(t, b.Decide(t.Context(), tk), tickets.Ambiguous)
	if n := b.fake.TimesInEffect(string(tk.ID)); n != 1 {
		t.Errorf("%d decisions in effect, want 1", n)
	}
}

// TestNotSent are the failures in which the decision certainly stayed here.
func TestNotSent(t *testing.T) {
	t.Run("ConnectionRefused", func(t *testing.T) {
		b := newBench(t, nil, nil)
		first, second := b.ticket(tickets.Application, tickets.Approve, tickets.Once()), b.ticket(tickets.Application, tickets.Approve, tickets.Once())
		b.class(t, b.Decide(t.Context(), first), "") // a token is at hand
		b.transport.CloseIdleConnections()
		b.fake.Close()
		b.class(t, b.Decide(t.Context(), second), tickets.Unavailable)
	})
	t.Run("StaleConnection", func(t *testing.T) {
		// EPM closed the idle connection and the new one is refused.
		b := newBench(t, nil, nil)
		b.class(t, b.Decide(t.Context(), b.ticket(tickets.Application, tickets.Approve, tickets.Once())), "")
		tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
		b.fake.Close()
		f := tickets.FailureOf(b.Decide(t.Context(), tk))
		if f.Class != tickets.Unavailable && f.Class != tickets.Ambiguous { // by who is faster
			t.Errorf("class %s: %v", f.Class, f.Err)
		}
	})
	t.Run("NoSuchHost", func(t *testing.T) {
		b := newBench(t, nil, func(c *Config) { c.Host = "https://epm.invalid" })
		b.class(t, b.Decide(t.Context(), b.ticket(tickets.Admin, tickets.Approve, tickets.Once())), tickets.Unavailable)
	})
	t.Run("UntrustedCertificate", func(t *testing.T) {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.StartTLS()
		defer s.Close()
		b := newBench(t, nil, func(c *Config) { c.Host = s.URL })
		f := b.class(t, b.Decide(t.Context(), b.ticket(tickets.Admin, tickets.Approve, tickets.Once())), tickets.Unavailable)
		if f.UserMessage != sayTLS {
			t.Errorf("Say = %q", f.UserMessage)
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		b := newBench(t, nil, nil)
		tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
		b.class(t, b.Decide(t.Context(), tk), "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.class(t, b.Decide(ctx, tk), tickets.Unavailable)
	})
	for name, fault := range map[string]epmtest.Fault{
		"TokenCut": {Kind: epmtest.Drop}, "TokenHangs": {Kind: epmtest.Hang}, "Token500": {Kind: epmtest.Answer, Status: 500},
		"TokenGarbage": {Kind: epmtest.Garbage}, "TokenPage": {Kind: epmtest.HTMLPage},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil, nil)
			fault.On = epmtest.Token
			b.fake.Fail(fault)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			b.class(t, b.Decide(ctx, b.ticket(tickets.Application, tickets.Approve, tickets.Once())), tickets.Unavailable)
			if n := b.fake.Count(epmtest.Decide); n != 0 {
				t.Errorf("%d decisions sent", n)
			}
		})
	}
	t.Run("TokenLimited", func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.fake.Fail(epmtest.Fault{On: epmtest.Token, Kind: epmtest.Answer, Status: 429, RetryAfter: 3 * time.Second})
		f := b.class(t, b.Decide(t.Context(), b.ticket(tickets.Application, tickets.Approve, tickets.Once())), tickets.RateLimited)
		if f.RetryAfter != 3*time.Second {
			t.Errorf("After = %v", f.RetryAfter)
		}
	})
}

// TestSilentTransport: a transport that does not say what it wrote may have
// written all of it.
func TestSilentTransport(t *testing.T) {
	var inner *bench
	inner = newBench(t, nil, func(c *Config) {
		c.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			if strings.HasSuffix(q.URL.Path, tokenPath) {
				return inner.transport.RoundTrip(q)
			}
			return nil, errors.New("something broke")
		})
	})
	inner.class(t, inner.Decide(t.Context(), inner.ticket(tickets.Application, tickets.Approve, tickets.Once())), tickets.Ambiguous)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func TestToken(t *testing.T) {
	decide := func(t *testing.T, b *bench, want tickets.Class) *tickets.Failure {
		t.Helper()
		return b.class(t, b.Decide(t.Context(), b.ticket(tickets.Application, tickets.Approve, tickets.Once())), want)
	}
	tokens := func(t *testing.T, b *bench, want int) {
		t.Helper()
		if n := b.fake.Count(epmtest.Token); n != want {
			t.Errorf("%d tokens asked for, want %d", n, want)
		}
	}
	t.Run("ReusedAndRenewedEarly", func(t *testing.T) {
		b := newBench(t, nil, nil)
		decide(t, b, "")
		b.add(time.Hour - tokenEarly - time.Second)
		decide(t, b, "")
		tokens(t, b, 1)
		b.add(time.Second)
		decide(t, b, "")
		tokens(t, b, 2)
	})
	t.Run("ShortLife", func(t *testing.T) {
		b := newBench(t, func(c *epmtest.Config) { c.TokenLife = 40 * time.Second }, nil)
		decide(t, b, "")
		b.add(19 * time.Second)
		decide(t, b, "")
		tokens(t, b, 1)
		b.add(2 * time.Second)
		decide(t, b, "")
		tokens(t, b, 2)
	})
	t.Run("RevokedIsRenewedOnce", func(t *testing.T) {
		b := newBench(t, nil, nil)
		decide(t, b, "")
		b.fake.RevokeTokens()
		decide(t, b, "")
		tokens(t, b, 2)
		if n := b.fake.Count(epmtest.Decide); n != 3 {
			t.Errorf("%d decisions sent, want 3", n)
		}
	})
	t.Run("WrongSecret", func(t *testing.T) {
		b := newBench(t, nil, func(c *Config) { c.ClientSecret = "wrong-" + hush })
		if err := b.Ready(); err != nil {
			t.Errorf("Ready before any call = %v", err)
		}
		f := decide(t, b, tickets.Unauthorized)
		tokens(t, b, 1)
		if err := b.Ready(); err == nil || err.Error() != f.UserMessage || !strings.Contains(f.UserMessage, "COUNTERSIGN_EPM_CLIENT_SECRET") || !strings.Contains(f.Error(), "invalid_client") {
			t.Errorf("Ready = %v, Say = %q, error %v", err, f.UserMessage, f)
		}
	})
	t.Run("RotatedSecret", func(t *testing.T) {
		b := newBench(t, nil, nil)
		decide(t, b, "")
		b.fake.RotateSecret()
		decide(t, b, tickets.Unauthorized)
		tokens(t, b, 2)
		if b.Ready() == nil {
			t.Error("Ready = nil")
		}
	})
	t.Run("ChangesWhileItRuns", func(t *testing.T) {
		var now atomic.Value
		now.Store(hush)
		b := newBench(t, nil, func(c *Config) { c.Current = func() string { return now.Load().(string) } })
		decide(t, b, "")
		secret := b.fake.RotateSecret()
		b.secrets[secret] = true
		if f := decide(t, b, tickets.Unavailable); f.UserMessage != sayChanging || b.Ready() != nil {
			t.Errorf("while the secret is on its way: Say = %q, Ready = %v", f.UserMessage, b.Ready())
		}
		if err := b.Try(t.Context(), "wrong-"+hush); tickets.FailureOf(err).Class != tickets.Unauthorized {
			t.Errorf("Try a wrong secret = %v", err)
		}
		if err := b.Try(t.Context(), secret); err != nil {
			t.Errorf("Try the new secret = %v", err)
		}
		b.add(changing)
		if f := decide(t, b, tickets.Unauthorized); f.UserMessage != sayCredentials || b.Ready() == nil {
			t.Errorf("when it never came: Say = %q, Ready = %v", f.UserMessage, b.Ready())
		}
		now.Store(secret)
		decide(t, b, "")
		if err := b.Ready(); err != nil {
			t.Errorf("Ready with the new secret = %v", err)
		}
	})
	t.Run("NeverAccepted", func(t *testing.T) {
		b := newBench(t, nil, func(c *Config) { c.Current = func() string { return "wrong-" + hush } })
		decide(t, b, tickets.Unauthorized)
	})
	t.Run("ReadyAgain", func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.fake.Fail(epmtest.Fault{On: epmtest.Token, Kind: epmtest.Answer, Status: 401, Times: 1})
		decide(t, b, tickets.Unauthorized)
		decide(t, b, "")
		if err := b.Ready(); err != nil {
			t.Errorf("Ready = %v", err)
		}
	})
	t.Run("OneFlight", func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.fake.Fail(epmtest.Fault{On: epmtest.Token, Delay: 50 * time.Millisecond, Times: 1})
		var all sync.WaitGroup
		for range 20 {
			tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
			all.Go(func() {
				if err := b.Decide(t.Context(), tk); err != nil {
					t.Errorf("Decide = %v", err)
				}
			})
		}
		all.Wait()
		tokens(t, b, 1)
	})
	t.Run("OneFlightAfterRevocation", func(t *testing.T) {
		b := newBench(t, nil, nil)
		decide(t, b, "")
		b.fake.RevokeTokens()
		var all sync.WaitGroup
		for range 20 {
			tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
			all.Go(func() {
				if err := b.Decide(t.Context(), tk); err != nil {
					t.Errorf("Decide = %v", err)
				}
			})
		}
		all.Wait()
		tokens(t, b, 2)
	})
	t.Run("WhoAsksGivesUp", func(t *testing.T) {
		// The caller whose request is on its way gives up; the one that waits
		// for it asks again by itself and is not failed for it.
		b := newBench(t, nil, nil)
		b.fake.Fail(epmtest.Fault{On: epmtest.Token, Kind: epmtest.Hang, Times: 1})
		one, two := b.ticket(tickets.Application, tickets.Approve, tickets.Once()), b.ticket(tickets.Application, tickets.Approve, tickets.Once())
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		go func() { errs <- b.Decide(ctx, one) }()
		if err := b.fake.Wait(t.Context(), func() bool { return b.fake.Count(epmtest.Token) == 1 && b.fake.FaultsLeft() == 0 }); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- b.Decide(t.Context(), two) }()
		cancel()
		b.class(t, <-errs, tickets.Unavailable)
		b.class(t, <-done, "")
		tokens(t, b, 2)
	})
}

// TestTokenErrorsTellNothing: an answer of the token endpoint may hold the
// secret that was sent to it.
func TestTokenErrorsTellNothing(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
		want   tickets.Class
	}{
		"JSON400":   {400, `{"error":"` + hush + `","error_description":"secret ` + hush + `"}`, tickets.Unauthorized},
		"Text401":   {401, "who is " + hush, tickets.Unauthorized},
		"Page403":   {403, "<html>" + hush, tickets.Unavailable},
		"BOMPage":   {401, "\xef\xbb\xbf\r\n<!DOCTYPE html>" + hush, tickets.Unavailable},
		"407":       {407, hush, tickets.Unavailable},
		"404":       {404, hush, tickets.Unauthorized},
		"405":       {405, hush, tickets.Unauthorized},
		"500":       {500, hush, tickets.Unavailable},
		"503":       {503, hush, tickets.RateLimited},
		"200Text":   {200, hush, tickets.Unavailable},
		"200Error":  {200, `{"error":"` + hush + `"}`, tickets.Unavailable},
		"200Empty":  {200, `{}`, tickets.Unavailable},
		"200Secret": {200, `{"error":"invalid_client","error_description":"` + hush + `"}`, tickets.Unauthorized},
		"200BOM":    {200, "\xef\xbb\xbf{\"error\":\" Invalid_Client\"}", tickets.Unauthorized},
		"200Grant":  {200, `{"access_token":null,"error":"unauthorized_client"}`, tickets.Unauthorized},
		"200Later":  {200, `{"error":"temporarily_unavailable"}`, tickets.Unavailable},
		"200Page":   {200, "  <html>" + hush, tickets.Unavailable},
		"200Header": {200, `{"access_token":"a\r\nb"}`, tickets.Unavailable},
		"302":       {302, hush, tickets.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				calls.Add(1)
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Location", "/elsewhere?"+hush)
				w.WriteHeader(answer.status)
				_, _ = io.WriteString(w, answer.body)
			}))
			defer s.Close()
			b := newBench(t, nil, func(c *Config) { c.Host = s.URL })
			b.class(t, b.Decide(t.Context(), b.ticket(tickets.Application, tickets.Approve, tickets.Once())), answer.want)
			if r := b.Test(t.Context()); r.OK {
				t.Errorf("Test = %s", r)
			} else {
				b.quiet(t, r.String())
			}
			if calls.Load() != 2 {
				t.Errorf("%d calls, want 2: one for each try", calls.Load())
			}
		})
	}
}

// TestTokenAnswers: a token is read from whatever is plainly one, and used as
// long as EPM says. To see it fail, read integers alone, or look at the content
// type.
func TestTokenAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		kind, body string
		life       time.Duration
	}{
		"JSON":         {"application/json", `{"access_token":"TOK","token_type":"Bearer","expires_in":3600}`, time.Hour},
		"Text":         {"text/plain; charset=utf-8", `{"access_token":"TOK","token_type":"Bearer","expires_in":3600}`, time.Hour},
		"NoType":       {"", ` {"access_token":"TOK","expires_in":3600}`, time.Hour},
		"OctetStream":  {"application/octet-stream", `{"access_token":"TOK","expires_in":3600}`, time.Hour},
		"Twice":        {"application/json, application/json", `{"access_token":"TOK","expires_in":3600}`, time.Hour},
		"BOM":          {"application/json", "\xef\xbb\xbf{\"access_token\":\"TOK\",\"expires_in\":3600}", time.Hour},
		"Fraction":     {"application/json", `{"access_token":"TOK","expires_in":3599.5}`, 3599500 * time.Millisecond},
		"Exponent":     {"application/json", `{"access_token":"TOK","expires_in":3.6e3}`, time.Hour},
		"String":       {"application/json", `{"access_token":"TOK","expires_in":"3600"}`, time.Hour},
		"FractionText": {"application/json", `{"access_token":"TOK","expires_in":" 3599.5 "}`, 3599500 * time.Millisecond},
		"OtherCase":    {"application/json", `{"Access_Token":"TOK","Expires_In":3600}`, time.Hour},
		"MoreMembers":  {"application/json", `{"access_token":"TOK","expires_in":3600,"scope":["a"],"error":null}`, time.Hour},
		"NoLife":       {"application/json", `{"access_token":"TOK"}`, 2 * tokenEarly},
		"NullLife":     {"application/json", `{"access_token":"TOK","expires_in":null}`, 2 * tokenEarly},
		"Negative":     {"application/json", `{"access_token":"TOK","expires_in":-1}`, 2 * tokenEarly},
		"Forever":      {"application/json", `{"access_token":"TOK","expires_in":1e300}`, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path != tokenPath {
					if q.Header.Get("Authorization") != "Bearer TOK" {
						t.Errorf("Authorization = %q", q.Header.Get("Authorization"))
					}
					return
				}
				asked.Add(1)
				if q.Method != http.MethodPost || q.FormValue("grant_type") != "client_credentials" || q.PostFormValue("client_secret") != hush || q.Header.Get("Authorization") != "" {
					t.Errorf("%s %v", q.Method, q.Form)
				}
				w.Header()["Content-Type"] = nil
				if c.kind != "" {
					w.Header().Set("Content-Type", c.kind)
				}
				_, _ = io.WriteString(w, c.body)
			}))
			defer s.Close()
			b := newBench(t, nil, func(c *Config) { c.Host = s.URL })
			decide := func(tokens int32) {
				t.Helper()
				b.class(t, b.Decide(t.Context(), b.ticket(tickets.Application, tickets.Approve, tickets.Once())), "")
				if asked.Load() != tokens {
					t.Errorf("%d tokens asked for, want %d", asked.Load(), tokens)
				}
			}
			decide(1)
			b.add(c.life - tokenEarly - time.Second)
			decide(1)
			b.add(time.Second)
			decide(2)
			if err := b.Ready(); err != nil {
				t.Errorf("Ready = %v", err)
			}
		})
	}
	t.Run("WrongSecretIsNotReady", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"x"}`)
		}))
		defer s.Close()
		b := newBench(t, nil, func(c *Config) { c.Host = s.URL })
		f := b.class(t, b.Decide(t.Context(), b.ticket(tickets.Application, tickets.Approve, tickets.Once())), tickets.Unauthorized)
		if f.UserMessage != sayCredentials || b.Ready() == nil {
			t.Errorf("Say = %q, Ready = %v", f.UserMessage, b.Ready())
		}
	})
}

// TestRedirectsAreNotFollowed: neither the token nor the decision goes where
// an answer points.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere atomic.Int32
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == tokenPath {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"access_token":"tok-4711-abcdef","token_type":"Bearer","expires_in":3600}`)
				return
			}
			http.Redirect(w, q, other.URL, status)
		}))
		b := newBench(t, nil, func(c *Config) { c.Host = s.URL })
		b.class(t, b.Decide(t.Context(), b.ticket(tickets.Application, tickets.Approve, tickets.Once())), tickets.Unavailable)
		if elsewhere.Load() != 0 {
			t.Errorf("%d was followed", status)
		}
		s.Close()
		other.Close()
	}
}

// TestPace: tokens and decisions together keep the pace, and who would wait
// too long is told so at once.
func TestPace(t *testing.T) {
	b := newBench(t, nil, func(c *Config) { c.Rate = 0 })
	begin := time.Now()
	var all sync.WaitGroup
	for range 12 {
		tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
		all.Go(func() {
			if err := b.Decide(t.Context(), tk); err != nil {
				t.Errorf("Decide = %v", err)
			}
		})
	}
	all.Wait()
	// Five at once, and one more each fifth of a second.
	if took := time.Since(begin); took < 7*time.Second/5 {
		t.Errorf("12 calls took %v, want 1.4 s at least", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	slow := newBench(t, nil, func(c *Config) { c.Rate = rate.Every(time.Hour) })
	f := slow.class(t, slow.Decide(ctx, slow.ticket(tickets.Application, tickets.Approve, tickets.Once())), tickets.RateLimited)
	if f.RetryAfter <= 0 || ctx.Err() != nil {
		t.Errorf("After = %v, and the wait ended with %v; want to be told at once", f.RetryAfter, ctx.Err())
	}
	if n := slow.fake.Count(epmtest.Decide); n != 0 {
		t.Errorf("%d decisions sent", n)
	}
}

func TestHosts(t *testing.T) {
	c := Config{ClientID: "a", ClientSecret: "b", Log: slog.New(slog.DiscardHandler)}
	for host, want := range map[string]string{
		"acme-services.beyondtrustcloud.com":            "https://acme-services.beyondtrustcloud.com",
		" https://ACME-services.beyondtrustcloud.com/ ": "https://acme-services.beyondtrustcloud.com",
		"HTTPS://acme-services.beyondtrustcloud.com//":  "https://acme-services.beyondtrustcloud.com",
		"acme-services.pm.beyondtrustcloud.com":         "https://acme-services.pm.beyondtrustcloud.com",
		"app.beyondtrust.io":                            "https://app.beyondtrust.io",
		"http://127.0.0.1:8080":                         "http://127.0.0.1:8080",
		"http://[::1]:8080/":                            "http://[::1]:8080",
		"http://localhost:1":                            "http://localhost:1",
	} {
		c.Host = host
		got, err := New(c)
		if err != nil || got.base.String() != want {
			t.Errorf("%q: %v, %v, want %s", host, got, err, want)
		}
	}
	for host, want := range map[string]string{
		"acme.beyondtrustcloud.com":                         "acme-services.beyondtrustcloud.com",
		"https://acme.beyondtrustcloud.com/":                "acme-services.beyondtrustcloud.com",
		"acme.pm.beyondtrustcloud.com":                      "acme-services.pm.beyondtrustcloud.com",
		"http://acme-services.beyondtrustcloud.com":         "https only",
		"http://127.0.0.1.evil.example":                     "https only",
		"":                                                  "for example",
		"ftp://acme-services.beyondtrustcloud.com":          "for example",
		"https://u:" + hush + "@acme-services.example.com":  "for example",
		"acme-services.beyondtrustcloud.com/management-api": "for example",
		"acme-services.beyondtrustcloud.com?x=" + hush:      "for example",
		"acme services.beyondtrustcloud.com":                "for example",
		"-services.beyondtrustcloud.com":                    "for example",
		"beyondtrustcloud.com":                              "for example",
		"pm.beyondtrustcloud.com":                           "for example",
	} {
		c.Host = host
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), hush) {
			t.Errorf("%q: %v, want %q in it", host, err, want)
		}
	}
}

// createPaths are spellings of the address that creates a request.
var createPaths = []string{
	"/management-api/v2/AdminAccessRequest", "/management-api/v3/adminaccessrequest", "/management-api/v2/AdminAccessRequest/",
	"/management-api/v2/AdminAccessRequest//", "/management-api/v2/AdminAccessRequest/.", "/management-api/v2/AdminAccessRequest/x/..",
	"/management-api/v2/x/../AdminAccessRequest", "/management-api/v2//AdminAccessRequest", "/management-api/v2/AdminAccessRequest?x=/approval",
	"/management-api/v2/AdminAccessRequest#/approval", "/management-api/v2/AdminAccessReques%74", "/management-api/v2/%41dminAccessRequest",
	"/management-api/v2/AdminAccessRequest%2f", "/management-api/v2/AdminAccessRequest%2Fapproval%2f..", "/management-api/v2/AdminAccessRequest;x",
	"/management-api/v2/AdminAccessRequest;/approval/..", "/management-api/v2/AdminAccessRequest.", "/management-api/v2/AdminAccessRequest%20",
	"/management-api/v2/AdminAccessRequest ", "/management-api/v2/AdminAccessRequest\\", "/management-api/v2/AdminAccessRequest\\approval\\..",
	"/management-api/v2/AdminAccessReque\u017ft", "/management-api/v2/AdminAccessRequest/%2e", "/management-api/v2/AdminAccessRequest/approval/%2e%2e",
	"/management-api/v2/AdminAccessRequest/%252e", "/AdminAccessRequest", "/management-api/v2/AdminAccessRequest%3fx", "/management-api/v2/AdminAccessRequest\t",
	"/management-api/v2/AdminAccessRequest%00", "/management-api/v2/AdminAccessRequest\x00",
}

func TestPathsThatCreate(t *testing.T) {
	b := newBench(t, nil, nil)
	for _, p := range append(createPaths, "", "x", "management-api/v2/AdminAccessRequest/approval", "//evil.example/x", "https://evil.example/x", "/a b", "/a\nb", "/a/./b", "/", "/a?b", "/a/") {
		for _, set := range []func(*Config){func(c *Config) { c.AppDecisionPath = p }, func(c *Config) { c.AdminDecisionPath = p }} {
			c := b.config
			set(&c)
			if _, err := New(c); (err == nil) != (p == "") {
				t.Errorf("New with the path %q = %v", p, err)
			}
		}
	}
	for _, p := range []string{DefaultAppDecisionPath, DefaultAdminDecisionPath, "/management-api/v3/AdminAccessRequest/decision", "/management-api/v2/AdminAccessRequest/notification"} {
		if err := checkDecisionPath(p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	c := b.config
	c.AppDecisionPath = strings.ToUpper(c.AdminDecisionPath)
	if _, err := New(c); err == nil {
		t.Error("both kinds share a path")
	}
}

// TestDoor: even a client that was spoiled after New posts to none of them.
func TestDoor(t *testing.T) {
	b := newBench(t, nil, nil)
	tk := b.ticket(tickets.Admin, tickets.Approve, tickets.Once())
	if _, err := b.tokens.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.fake.Count()
	for _, p := range createPaths {
		b.config.AdminDecisionPath = p
		if err := b.Decide(t.Context(), tk); err == nil || tickets.FailureOf(err).Class != tickets.Rejected {
			t.Errorf("Decide to %q = %v", p, err)
		}
		if u, err := url.Parse(b.fake.URL() + p); err == nil {
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch} {
				q, err := http.NewRequestWithContext(t.Context(), method, u.String(), strings.NewReader("{}"))
				if err != nil {
					continue
				}
				if res, err := b.http.Do(q); err == nil {
					res.Body.Close()
					t.Errorf("%s %s was sent", method, u)
				}
			}
		}
	}
	if n := b.fake.Count() - before; n != 0 {
		t.Errorf("%d calls", n)
	}
}

// FuzzDecisionPath: whatever path is accepted, no decision creates a request.
func FuzzDecisionPath(f *testing.F) {
	for _, p := range append(createPaths, DefaultAdminDecisionPath, "/a/AdminAccessRequest/..;/x") {
		f.Add(p)
	}
	fake, err := epmtest.New(epmtest.Config{ClientID: "a", ClientSecret: "b", RateLimit: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(fake.Close)
	direct := roundTripper(func(q *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		fake.ServeHTTP(w, q)
		return w.Result(), nil
	})
	r := fake.RequestAdminQuietly(epmtest.Admin{})
	tk := &tickets.Ticket{Number: "JIT-1", ID: tickets.RequestID(r.ID), Request: &tickets.Request{Kind: tickets.Admin},
		Decision: &tickets.Decision{Verdict: tickets.Approve, Reason: "x", Duration: tickets.Once(), By: tickets.Actor{Platform: "slack", ID: "U"}, At: noon}}
	f.Fuzz(func(t *testing.T, p string) {
		c, err := New(Config{Host: fake.URL(), ClientID: "a", ClientSecret: "b", AdminDecisionPath: p, Transport: direct, Log: slog.New(slog.DiscardHandler), Rate: rate.Inf})
		if err != nil {
			return
		}
		_ = c.Decide(t.Context(), tk)
		if v := fake.Violations(); len(v) > 0 {
			t.Fatalf("%q: %q", p, v)
		}
	})
}

func TestTicketURL(t *testing.T) {
	b := newBench(t, nil, nil)
	for _, c := range []struct{ public, host, number, want string }{
		{"https://c.example/", "acme-services.beyondtrustcloud.com", "EPM000238", "https://c.example/tickets/JIT-1"},
		{"", "acme-services.beyondtrustcloud.com", "EPM000238", "https://acme.beyondtrustcloud.com/jit-access-management/details/238"},
		{"", "acme-services.pm.beyondtrustcloud.com", "EPM010", "https://acme.pm.beyondtrustcloud.com/jit-access-management/details/10"},
		{"", "acme-services.beyondtrustcloud.com", "", "https://acme.beyondtrustcloud.com/jit-access-management"},
		{"", "acme-services.beyondtrustcloud.com", "EPM1/../x", "https://acme.beyondtrustcloud.com/jit-access-management"},
		{"", "app.beyondtrust.io", "EPM7", "https://app.beyondtrust.io/jit-access-management/details/7"},
	} {
		config := b.config
		config.PublicURL, config.Host = c.public, c.host
		client, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if got := client.ticketURL(&tickets.Ticket{Number: "JIT-1", Request: &tickets.Request{EPMNumber: c.number}}); got != c.want {
			t.Errorf("%+v: %s, want %s", c, got, c.want)
		}
	}
	for _, public := range []string{"c.example", "ftp://c.example", "https://u:p@c.example", "https://c.example?x", "/x"} {
		config := b.config
		config.PublicURL = public
		if _, err := New(config); err == nil {
			t.Errorf("PublicURL %q is accepted", public)
		}
	}
}

// EPM's record and its webhook bring back the very name that was sent, whatever
// people call themselves and however EPM writes it: a decision whose answer
// was lost is known again by nothing else.
func TestDeciderComesBack(t *testing.T) {
	for _, name := range []string{
		"Ann Example", "", "Bob (discord:7)", `x", "Decision": "Denied`, `ACME\\bob`, "\u202eelpmaxE nnA", "Ann\u200b\u2028Example\r\n", "null", "%%Reason%%",
		"Zoë 山田 Яна 😀", "“Ann” ‘O’Neil’", "<b>&amp;</b> 'x'", "Ann, // Example /* x */", "1\u00a0000", "\xff\xed\xa0\x80", strings.Repeat("é ", 300),
	} {
		for _, kind := range both {
			b := newBench(t, nil, nil)
			tk := b.ticket(kind, tickets.Approve, tickets.Lasting(time.Hour))
			tk.Decision.By = tickets.Actor{Platform: "discord", ID: "42", Name: name}
			tk.BeginSend(noon)
			as := tk.Sending.As
			b.class(t, b.Decide(t.Context(), tk), "")
			if o, err := b.Outcome(t.Context(), tk); err != nil || o.By != as || !strings.HasPrefix(as+" ", "discord:42 ") || !tk.Confirms(o, tk.Decision) {
				t.Errorf("%s by %+q: EPM has %+v, %v; want it by %+q", kind, name, o, err, as)
			}
			r, _ := b.fake.Request(string(tk.ID))
			for _, as := range []epmtest.BodyOptions{{}, {Escape: epmtest.Raw}, {Escape: epmtest.Raw, BOM: true, CRLF: true}, {Numbers: true, UpperKeys: true}} {
				p, err := Parse(b.fake.Body(r.Kind.UpdatedEvent(), r, as))
				if err != nil || p.News.Outcome == nil || !tk.Confirms(p.News.Outcome, tk.Decision) {
					t.Errorf("%s by %+q, %+v: the webhook tells %+v, %v; want it confirmed", kind, name, as, p.News, err)
				}
			}
		}
	}
}

// What was sent first is sent again, also by a version that would write the
// name in another way.
func TestDeciderStaysWhenSentAgain(t *testing.T) {
	b := newBench(t, nil, nil)
	tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
	tk.Sending = tickets.Sending{Attempts: 1, Begun: true, As: "slack:U1 (Ann, as it was written)"}
	tk.BeginSend(noon)
	b.class(t, b.Decide(t.Context(), tk), "")
	if d, _ := b.fake.Effective(string(tk.ID)); d.By != "slack:U1 (Ann, as it was written)" {
		t.Errorf("decided by %q, want what was sent first", d.By)
	}
}

func TestOutcome(t *testing.T) {
	for _, kind := range both {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/own ids %t", kind, own), func(t *testing.T) {
				b := newBench(t, func(c *epmtest.Config) { c.OwnRecordIDs = own }, nil)
				tk := b.ticket(kind, tickets.Approve, tickets.Lasting(time.Hour))
				o, err := b.Outcome(t.Context(), tk)
				if o != nil || err != nil {
					t.Fatalf("while undecided: %+v, %v", o, err)
				}
				b.class(t, b.Decide(t.Context(), tk), "")
				o, err = b.Outcome(t.Context(), tk)
				if err != nil || o == nil || o.Verdict != tickets.Approve || o.Duration != "3600" || !o.At.Equal(noon) || o.By != "slack:U1 Ann Example" {
					t.Fatalf("approved: %+v, %v", o, err)
				}
				if err := b.fake.DecideInConsole(string(tk.ID), epmtest.Denied, "", "boss"); err != nil {
					t.Fatal(err)
				}
				o, err = b.Outcome(t.Context(), tk)
				if err != nil || o == nil || o.Verdict != tickets.Deny || o.By != "boss" {
					t.Fatalf("denied: %+v, %v", o, err)
				}
			})
		}
	}
}

func TestOutcomeFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fault epmtest.Fault
		want  tickets.Class
	}{
		"403":     {epmtest.Fault{Kind: epmtest.Answer, Status: 403}, tickets.Unauthorized},
		"401":     {epmtest.Fault{Kind: epmtest.Answer, Status: 401}, tickets.Unauthorized},
		"429":     {epmtest.Fault{Kind: epmtest.Answer, Status: 429}, tickets.RateLimited},
		"500":     {epmtest.Fault{Kind: epmtest.Answer, Status: 500}, tickets.Unavailable},
		"Page":    {epmtest.Fault{Kind: epmtest.HTMLPage}, tickets.Unavailable},
		"200Page": {epmtest.Fault{Kind: epmtest.HTMLPage, Status: 200}, tickets.Unavailable},
		"403Page": {epmtest.Fault{Kind: epmtest.HTMLPage, Status: 403}, tickets.Unavailable},
		"404Page": {epmtest.Fault{Kind: epmtest.HTMLPage, Status: 404}, tickets.Unavailable},
		"Cut":     {epmtest.Fault{Kind: epmtest.Drop}, tickets.Unavailable},
		"Garbage": {epmtest.Fault{Kind: epmtest.Garbage}, tickets.Rejected},
		"404":     {epmtest.Fault{Kind: epmtest.Answer, Status: 404}, tickets.Rejected},
		"400":     {epmtest.Fault{Kind: epmtest.Answer, Status: 400}, tickets.Rejected},
	} {
		for _, kind := range both {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				b := newBench(t, nil, nil)
				tk := b.ticket(kind, tickets.Approve, tickets.Once())
				c.fault.On = epmtest.Read
				b.fake.Fail(c.fault)
				o, err := b.Outcome(t.Context(), tk)
				b.class(t, err, c.want)
				if o != nil {
					t.Errorf("outcome %+v", o)
				}
				if name == "403" && b.Ready() != nil {
					t.Errorf("reading is a help, but Ready = %v", b.Ready())
				}
			})
		}
	}
	t.Run("UnknownRequest", func(t *testing.T) {
		b := newBench(t, nil, nil)
		for _, id := range []tickets.RequestID{epmtest.OtherRequestID, "../x", "a/b?c"} {
			_, err := b.Outcome(t.Context(), &tickets.Ticket{ID: id, Request: &tickets.Request{Kind: tickets.Admin}})
			b.class(t, err, tickets.Rejected)
		}
	})
}

// TestOutcomeShapes: EPM's answer for one record is an array in the vendor's
// OpenAPI; an object, wrapped or not, is read as well. To see it fail, let
// findRecord read objects alone.
func TestOutcomeShapes(t *testing.T) {
	const id, other = "7b0c6a1e-0d3c-4f0e-9a54-0f1d2c3b4a59", "11111111-0d3c-4f0e-9a54-0f1d2c3b4a59"
	record := func(id string) string {
		return `{"requestId":"` + strings.ToUpper(id) + `","decision":"Approved","duration":"3600"}`
	}
	for name, c := range map[string]struct {
		paths []string // that this tenant has
		body  string
		found bool
	}{
		"ArrayV2":      {[]string{adminListPathV2}, `[` + record(id) + `]`, true},
		"ArrayV3":      {[]string{adminListPath, adminListPathV2}, " \n[" + record(id) + `]`, true},
		"Object":       {[]string{adminListPath}, record(id), true},
		"Wrapped":      {[]string{adminListPath}, `{"data":` + record(id) + `}`, true},
		"AmongOthers":  {[]string{adminListPath}, `[` + record(other) + `,null,` + record(id) + `]`, true},
		"OfAnother":    {[]string{adminListPath}, `[` + record(other) + `]`, false},
		"Empty":        {[]string{adminListPath}, `[]`, false},
		"NotARecord":   {[]string{adminListPath}, `["` + id + `"]`, false},
		"Unterminated": {[]string{adminListPath}, `[` + record(id), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil, nil)
			mux := http.NewServeMux()
			mux.HandleFunc("POST "+tokenPath, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"access_token":"T","token_type":"Bearer","expires_in":3600}`)
			})
			for _, p := range c.paths {
				mux.HandleFunc("GET "+p+"/"+id, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/json")
					fmt.Fprint(w, c.body)
				})
				mux.HandleFunc("GET "+p, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[],"pageCount":1}`) })
			}
			s := httptest.NewServer(mux)
			defer s.Close()
			client, err := New(Config{Host: s.URL, ClientID: "x", ClientSecret: "y", Transport: b.transport, Log: b.config.Log, Rate: 1000})
			if err != nil {
				t.Fatal(err)
			}
			o, err := client.Outcome(t.Context(), &tickets.Ticket{ID: id, Request: &tickets.Request{ID: id, Kind: tickets.Admin}})
			if !c.found {
				b.class(t, err, tickets.Rejected)
				return
			}
			if err != nil || o == nil || o.Verdict != tickets.Approve || o.Duration != "3600" {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
}

// TestOutcomeInLongList finds the newest request whichever way the list runs.
func TestOutcomeInLongList(t *testing.T) {
	for _, oldest := range []bool{false, true} {
		b := newBench(t, func(c *epmtest.Config) { c.OwnRecordIDs, c.OldestFirst = true, oldest }, nil)
		for range 450 {
			b.fake.RequestAppQuietly(epmtest.App{})
		}
		tk := b.ticket(tickets.Application, tickets.Deny, tickets.Once())
		b.class(t, b.Decide(t.Context(), tk), "")
		if o, err := b.Outcome(t.Context(), tk); err != nil || o == nil || o.Verdict != tickets.Deny {
			t.Errorf("oldest first %t: %+v, %v", oldest, o, err)
		}
		if n := b.fake.Count(epmtest.Read); n > 3 {
			t.Errorf("oldest first %t: %d reads", oldest, n)
		}
	}
}

// TestRecords: nothing is concluded from a record that is not understood.
func TestRecords(t *testing.T) {
	for raw, want := range map[string]string{
		`{"decision": null}`:                                               "waits",
		`{"decision": "Pending"}`:                                          "waits",
		`{"Decision": "APPROVED"}`:                                         "approve",
		`{"accessDecision": {"status": "Denied"}}`:                         "deny",
		`{"accessDecision": {"status": 2000}}`:                             "approve",
		`{"accessDecision": {"decision": null, "status": "Denied"}}`:       "deny",
		`{"accessDecision": {"decision": "Approved", "status": "Closed"}}`: "approve",
		`{"data": {"decision": "Denied"}}`:                                 "deny",
		`{"decision": "Escalated"}`:                                        "unknown",
		`{"decision": null, "accessDecision": {"status": "Running"}}`:      "unknown",
		`{"id": "x"}`:            "unknown",
		`{"status": "Approved"}`: "unknown",
	} {
		rec, ok := readRecord([]byte(raw))
		if !ok {
			t.Fatalf("%s is no record", raw)
		}
		o, ok := rec.outcome()
		got := "waits"
		switch {
		case !ok:
			got = "unknown"
		case o != nil:
			got = string(o.Verdict)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

func TestConnectionTest(t *testing.T) {
	for name, c := range map[string]struct {
		fake   func(*epmtest.Server)
		change func(*Config)
		ok     bool
		want   string
	}{
		"Works":       {nil, nil, true, "Connection OK"},
		"WrongSecret": {nil, func(c *Config) { c.ClientSecret = "x" }, false, "COUNTERSIGN_EPM_CLIENT_SECRET"},
		"NoRights":    {func(s *epmtest.Server) { s.Forbid(epmtest.Read) }, nil, false, "JIT: Full Access"},
		"NoAdmin":     {func(s *epmtest.Server) { s.Forbid(epmtest.ReadAdmin) }, nil, true, "Reading admin access requests does not work"},
		"NoV3": {func(s *epmtest.Server) {
			s.Fail(epmtest.Fault{On: epmtest.ReadApp, Kind: epmtest.Answer, Status: 404, Times: 1})
		}, nil, true, "Connection OK"},
		"Down":       {func(s *epmtest.Server) { s.Close() }, nil, false, "COUNTERSIGN_EPM_HOST"},
		"NoSuchHost": {nil, func(c *Config) { c.Host = "acme-services.invalid" }, false, "acme-services.invalid"},
		"Busy":       {func(s *epmtest.Server) { s.SetMode(epmtest.Failing) }, nil, false, "minute"},
		"Clock":      {nil, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(-time.Hour) } }, true, "clock"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *epmtest.Config) { c.Now = time.Now }, func(c *Config) { c.Now = time.Now })
			if c.change != nil {
				config := b.config
				c.change(&config)
				var err error
				if b.Client, err = New(config); err != nil {
					t.Fatal(err)
				}
			}
			if c.fake != nil {
				c.fake(b.fake)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := b.Test(ctx)
			if r.OK != c.ok || !strings.Contains(r.String(), c.want) || strings.HasPrefix(r.String(), "Connection OK") != c.ok {
				t.Errorf("Test = %s, want ok %t and %q in it", r, c.ok, c.want)
			}
			if name != "Clock" && strings.Contains(r.String(), "clock differs") {
				t.Errorf("Test = %s", r)
			}
			b.quiet(t, r.String())
		})
	}
}

func TestNothingPrintsTheSecret(t *testing.T) {
	b := newBench(t, nil, nil)
	for _, v := range []any{b.config, &b.config, b.Client, struct{ C Config }{b.config}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			b.quiet(t, fmt.Sprintf(verb, v))
		}
		out, err := json.Marshal(v)
		b.quiet(t, fmt.Sprintf("%s %v", out, err))
		b.config.Log.Info("x", "v", v)
	}
}

func TestNewChecks(t *testing.T) {
	good := newBench(t, nil, nil).config
	for name, spoil := range map[string]func(*Config){
		"Host": func(c *Config) { c.Host = "" }, "ClientID": func(c *Config) { c.ClientID = "" },
		"ClientSecret": func(c *Config) { c.ClientSecret = "" }, "Log": func(c *Config) { c.Log = nil },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil || strings.Contains(err.Error(), hush) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestCallNames(t *testing.T) {
	for _, c := range []struct{ method, path, want string }{
		{"POST", tokenPath, "token"}, {"POST", DefaultAppDecisionPath, "decide"}, {"GET", adminListPath, "read"},
	} {
		if got := CallName(httptest.NewRequest(c.method, c.path, nil)); got != c.want {
			t.Errorf("CallName(%s %s) = %s, want %s", c.method, c.path, got, c.want)
		}
	}
}
