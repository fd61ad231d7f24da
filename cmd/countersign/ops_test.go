package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// TestReadyIsSeldomLookedAt: however often somebody asks, there is one look in
// 2 s; who asks meanwhile gets its answer, without the reasons, which the log
// has once.
func TestReadyIsSeldomLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		var problem atomic.Pointer[error]
		var log syncBuffer
		r := &readiness{log: slog.New(slog.NewTextHandler(&log, nil)), look: func(ctx context.Context) map[string]error {
			looks.Add(1)
			if err := problem.Load(); err != nil {
				return map[string]error{"store": *err}
			}
			return nil
		}}
		ask := func(reasons bool) (int, string) {
			w := httptest.NewRecorder()
			r.answers(reasons)(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			return w.Code, w.Body.String()
		}
		away := errors.New("redis at 10.1.2.3:6379 cannot be reached")
		for round, err := range []error{nil, away, away, nil} {
			if err != nil {
				problem.Store(&err)
			} else {
				problem.Store(nil)
			}
			done := make(chan bool)
			for range 50 {
				go func() {
					for range 100 {
						code, public := ask(false)
						_, private := ask(true)
						want := map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable}[err == nil]
						if code != want || strings.Contains(public, "10.1.2.3") || strings.Contains(private, "10.1.2.3") != (err != nil) {
							t.Errorf("round %d: %d, to all %s, to operators %s", round, code, public, private)
						}
					}
					done <- true
				}()
			}
			for range 50 {
				<-done
			}
			if n := looks.Load(); n != int32(round+1) {
				t.Errorf("%d looks after round %d", n, round)
			}
			time.Sleep(2 * time.Second)
		}
		if text := log.String(); strings.Count(text, "not ready") != 1 || strings.Count(text, "msg=ready") != 1 || !strings.Contains(text, "10.1.2.3") {
			t.Errorf("the log says\n%s", text)
		}
	})
}

// TestReadyThoughWhoAskedHasGone: a look that was begun is finished, because
// its answer is kept for others.
func TestReadyThoughWhoAskedHasGone(t *testing.T) {
	r := &readiness{log: slog.New(slog.DiscardHandler), look: func(ctx context.Context) map[string]error {
		if err := ctx.Err(); err != nil {
			return map[string]error{"store": err}
		}
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if problems := r.get(ctx); len(problems) > 0 {
		t.Errorf("not ready: %v", problems)
	}
}

// TestStoryOpsListen: with an address for operators metrics and reasons are
// there alone, and the commands on this machine ask there.
func TestStoryOpsListen(t *testing.T) {
	t.Parallel()
	s := tell(t, func(s *story) { s.env.OpsListen = "127.0.0.1:0" })
	is := regexp.MustCompile(`listening for operators" address=(\S+)`).FindStringSubmatch(s.logs.String())
	if is == nil {
		t.Fatalf("the log does not say where:\n%s", s.logs)
	}
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + is[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	if code, _ := s.get("/metrics"); code != http.StatusNotFound {
		t.Errorf("/metrics = %d for all, want 404", code)
	}
	if code, text := get("/metrics"); code != http.StatusOK || !strings.Contains(text, "countersign_store_up 1") {
		t.Errorf("/metrics = %d for operators\n%s", code, text)
	}
	if code, text := get("/healthz"); code != http.StatusOK || !strings.Contains(text, "alive") {
		t.Errorf("/healthz = %d %s for operators", code, text)
	}
	for _, path := range []string{"/webhooks/epm", "/slack/interactions", "/tickets/JIT-1001"} {
		if code, _ := get(path); code != http.StatusNotFound {
			t.Errorf("%s = %d for operators, want 404", path, code)
		}
	}
	s.slack.FailToken(slacktest.BotToken, "token_revoked")
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("not ready, with the reason for operators alone", func() bool {
		code, text := get("/readyz")
		public, shown := s.get("/readyz")
		if strings.Contains(shown, "token_revoked") {
			t.Errorf("/readyz shows %s to all", shown)
		}
		return code == http.StatusServiceUnavailable && strings.Contains(text, "token_revoked") && public == http.StatusServiceUnavailable
	})
	env := environment{Listen: s.addr, OpsListen: is[1], TLSCert: "tls.crt"}
	if _, h, err := askHealth(t.Context(), env, "/readyz"); err != nil || !strings.Contains(h.Problems["slack"], "token_revoked") {
		t.Errorf("healthcheck --ready hears %v, %v", h, err)
	}
	var c checkup
	checkReady(t.Context(), &c, env)
	if len(c.findings) != 1 || !strings.Contains(c.findings[0].Problem, "token_revoked") {
		t.Errorf("doctor finds %v, skips %v", c.findings, c.skipped)
	}
}

// TestMetricsWithoutStore: a process that lost its store tells so, and
// everything else that it knows.
func TestMetricsWithoutStore(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s := tell(t, withRedis(srv))
	if _, text := s.get("/metrics"); !strings.Contains(text, "countersign_store_up 1") || !strings.Contains(text, "countersign_tickets{") {
		t.Errorf("with its store:\n%s", text)
	}
	srv.Kill()
	s.eventually("the store is told to be away", func() bool {
		code, text := s.get("/metrics")
		return code == http.StatusOK && strings.Contains(text, "countersign_store_up 0") && !strings.Contains(text, "countersign_tickets{") &&
			strings.Contains(text, "countersign_build_info{") && strings.Contains(text, "countersign_webhooks_total{") && strings.Contains(text, "countersign_channel_unavailable{")
	})
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the store is back", func() bool { _, text := s.get("/metrics"); return strings.Contains(text, "countersign_store_up 1") })
}
