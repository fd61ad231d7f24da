package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// The benchmarks compare countersign with what cannot be done without: a
// bare HTTP server that authenticates and decodes, and the same with one
// durable, grouped SQLite commit for each webhook. Each server is a process
// of its own, so that memory is its own; the load comes from this process,
// over as many connections. Quote ratios within one run: machines differ.
//
//	make bench

// benchServer, set in the environment, makes the test binary one of the
// servers to compare with.
const benchServer = "BENCH_SERVER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(benchServer); kind != "" {
		if err := compare(kind, os.Getenv("BENCH_LISTEN"), os.Getenv("BENCH_DB")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	benchConns = 64
	benchTime  = 4 * time.Second // of saturation, and of the steady rate
	benchRate  = 1000            // webhooks per second, steady
)

// BenchmarkWebhooks prints, for each server, webhooks accepted per second
// and their latency at saturation, and the latency at a steady rate.
func BenchmarkWebhooks(b *testing.B) {
	binary := buildForBench(b)
	for _, kind := range []string{"bare", "commit", "serve"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				s := startServer(b, kind, binary)
				saturated := load(b, s.addr, 0)
				steady := load(b, s.addr, benchRate)
				memory := s.memory()
				b.ReportMetric(float64(saturated.count)/benchTime.Seconds(), "webhooks/s")
				b.ReportMetric(ms(saturated.p(50)), "p50-ms")
				b.ReportMetric(ms(saturated.p(99)), "p99-ms")
				b.ReportMetric(ms(steady.p(50)), "steady-p50-ms")
				b.ReportMetric(ms(steady.p(99)), "steady-p99-ms")
				b.ReportMetric(memory, "peak-MiB")
				b.ReportMetric(0, "ns/op")
				s.stop()
			}
		})
	}
}

// BenchmarkStart is from the start of the process until /readyz says yes,
// and what it holds then.
func BenchmarkStart(b *testing.B) {
	binary := buildForBench(b)
	for b.Loop() {
		s := startServer(b, "serve", binary)
		b.ReportMetric(ms(s.ready), "ready-ms")
		b.ReportMetric(s.memory(), "idle-MiB")
		s.stop()
	}
}

// BenchmarkLatency is our own time on the way of one decision, with fakes
// that answer at once, on this machine: from a webhook's sending to the call
// that posts it, from a click to the call that opens the form, and from the
// submitted form to the decision's arrival at EPM.
func BenchmarkLatency(b *testing.B) {
	s := tell(b, func(s *story) {
		s.pace = slack.Pace{PostsPerSecond: 1e6, PostBurst: 1e6, EditsPerMinute: 1e6, EditBurst: 1e6}
		s.env.LogLevel = "error"
	})
	ann := s.slack.Person("U01ANN")
	var post, form, send measured
	for range 100 {
		r := s.epm.RequestAppQuietly(epmtest.App{})
		start := time.Now()
		if a := s.delivers(s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})); a.Status != "created" {
			b.Fatalf("webhook = %+v", a)
		}
		post.latencies = append(post.latencies, s.called("chat.postMessage", start))
		cards := s.cards()
		ts := cards[len(cards)-1].TS
		start = time.Now()
		if err := ann.Click(b.Context(), channel, ts, "approve"); err != nil {
			b.Fatal(err)
		}
		form.latencies = append(form.latencies, s.called("views.open", start))
		start = time.Now()
		if problems, err := ann.Submit(b.Context(), map[string]string{"reason": "ok"}); err != nil || len(problems) > 0 {
			b.Fatal(problems, err)
		}
		s.eventually("the decision at EPM", func() bool { _, ok := s.epm.Effective(r.ID); return ok })
		calls := s.epm.Calls(epmtest.AppDecision)
		send.latencies = append(send.latencies, calls[len(calls)-1].Wall.Sub(start))
		// Our own pace towards EPM is 5 calls a second.
		s.eventually("the next call is allowed", func() bool { return time.Since(start) > 220*time.Millisecond })
	}
	for _, m := range []struct {
		name string
		measured
	}{{"webhook-to-post", post}, {"click-to-form", form}, {"submit-to-EPM", send}} {
		slices.Sort(m.latencies)
		b.ReportMetric(ms(m.p(50)), m.name+"-p50-ms")
		b.ReportMetric(ms(m.p(99)), m.name+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// called waits for a call of method made after start and returns how long
// after.
func (s *story) called(method string, start time.Time) time.Duration {
	s.Helper()
	var at time.Time
	s.eventually(method, func() bool {
		calls := s.slack.CallsTo(method)
		if len(calls) == 0 {
			return false
		}
		at = calls[len(calls)-1].At
		return at.After(start)
	})
	return at.Sub(start)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func buildForBench(b *testing.B) string {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "countersign")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

type benchProcess struct {
	addr  string
	cmd   *exec.Cmd
	ready time.Duration
	close func()
	once  sync.Once
}

func startServer(b *testing.B, kind, binary string) *benchProcess {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &benchProcess{addr: l.Addr().String(), close: func() {}}
	_ = l.Close()
	db := filepath.Join(b.TempDir(), "bench.db")
	if kind == "serve" {
		// A Slack that keeps its limits, so that posting costs what it costs.
		sl, err := slacktest.New(slacktest.Config{Limits: true})
		if err != nil {
			b.Fatal(err)
		}
		sl.AddChannel(slacktest.Channel{ID: channel, Name: "epm", Members: []string{slacktest.BotUserID}})
		ep, err := epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1"})
		if err != nil {
			b.Fatal(err)
		}
		s.close = func() { sl.Close(); ep.Close() }
		s.cmd = exec.Command(binary, "serve")
		s.cmd.Env = []string{
			"COUNTERSIGN_LISTEN=" + s.addr, "COUNTERSIGN_STORE=sqlite:" + db, "COUNTERSIGN_LOG_LEVEL=warn",
			"COUNTERSIGN_WEBHOOK_USER=" + webhookUser, "COUNTERSIGN_WEBHOOK_PASSWORD=" + webhookPass,
			"COUNTERSIGN_EPM_HOST=" + ep.URL(), "COUNTERSIGN_EPM_CLIENT_ID=client", "COUNTERSIGN_EPM_CLIENT_SECRET=epm-secret-1",
			"COUNTERSIGN_SLACK_BOT_TOKEN=" + slacktest.BotToken, "COUNTERSIGN_SLACK_SIGNING_SECRET=" + slacktest.SigningSecret,
			"COUNTERSIGN_SLACK_CHANNEL=" + channel, "COUNTERSIGN_SLACK_API_URL=" + sl.URL(), "COUNTERSIGN_APPROVERS=slack:U01ANN",
		}
	} else {
		s.cmd = exec.Command(os.Args[0])
		s.cmd.Env = []string{benchServer + "=" + kind, "BENCH_LISTEN=" + s.addr, "BENCH_DB=" + db}
	}
	s.cmd.Stderr = os.Stderr
	start := time.Now()
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.stop) // also when the benchmark fails
	for {
		res, err := http.Get("http://" + s.addr + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(start) > 10*time.Second {
			b.Fatalf("%s does not become ready", kind)
		}
		time.Sleep(time.Millisecond)
	}
	s.ready = time.Since(start)
	return s
}

func (s *benchProcess) stop() {
	s.once.Do(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait()
		s.close()
	})
}

// memory is the most that the process has held, in MiB.
func (s *benchProcess) memory() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0 // not Linux
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

type measured struct {
	count     int
	latencies []time.Duration
}

func (m measured) p(percent int) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	return m.latencies[min(len(m.latencies)*percent/100, len(m.latencies)-1)]
}

// load sends webhooks for benchTime: as fast as they are answered if rate is
// 0, else rate a second by a clock of its own (open loop: a slow answer does
// not slow the senders, and waiting counts).
func load(b *testing.B, addr string, rate int) measured {
	b.Helper()
	template := webhookTemplate(b)
	var mu sync.Mutex
	var all measured
	var wg sync.WaitGroup
	begin := time.Now()
	end := begin.Add(benchTime)
	for c := range benchConns {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			var took []time.Duration
			for i := 0; ; i++ {
				start := time.Now()
				if rate > 0 {
					start = begin.Add(time.Duration(i*benchConns+c) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(start))
				}
				if !start.Before(end) {
					break
				}
				if err := roundTrip(conn, in, template()); err != nil {
					b.Error(err)
					break
				}
				took = append(took, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all.latencies = append(all.latencies, took...)
		})
	}
	wg.Wait()
	slices.Sort(all.latencies)
	all.count = len(all.latencies)
	return all
}

// webhookTemplate returns a maker of whole HTTP requests, each with another
// request in it.
func webhookTemplate(b *testing.B) func() []byte {
	b.Helper()
	ep, err := epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1"})
	if err != nil {
		b.Fatal(err)
	}
	defer ep.Close()
	r := ep.RequestAppQuietly(epmtest.App{})
	body := string(ep.Body(epmtest.AppCreated, r, epmtest.BodyOptions{}))
	before, after, ok := strings.Cut(body, r.ID)
	if !ok {
		b.Fatal("the body does not hold the request's id")
	}
	head := fmt.Sprintf("POST /webhooks/epm HTTP/1.1\r\nHost: bench\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		basic(webhookUser, webhookPass), len(body))
	return func() []byte { return []byte(head + before + uuid.NewString() + after) }
}

func basic(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

func roundTrip(conn net.Conn, in *bufio.Reader, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	status, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200") {
		return errors.New(status)
	}
	length := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			break
		}
		if name, v, _ := strings.Cut(line, ":"); strings.EqualFold(name, "content-length") {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
	}
	_, err = in.Discard(length)
	return err
}

// compare is a server to compare with: "bare" authenticates and decodes,
// "commit" also keeps the body in one grouped, durable SQLite commit.
func compare(kind, listen, path string) error {
	keep := func([]byte) error { return nil }
	if kind == "commit" {
		var err error
		if keep, err = groupedCommits(path); err != nil {
			return err
		}
	}
	user, password := sha256.Sum256([]byte(webhookUser)), sha256.Sum256([]byte(webhookPass))
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/webhooks/epm", func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		hu, hp := sha256.Sum256([]byte(u)), sha256.Sum256([]byte(p))
		if subtle.ConstantTimeCompare(hu[:], user[:])&subtle.ConstantTimeCompare(hp[:], password[:]) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var v struct {
			EventType, RequestID, TenantID, Timestamp, TicketNumber string
			RequestInfo                                             map[string]string
		}
		if json.Unmarshal(body, &v) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if keep(body) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"created"}`)
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: readHeaderTimeout}
	return server.ListenAndServe()
}

func groupedCommits(path string) (func([]byte) error, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, `CREATE TABLE incoming (id INTEGER PRIMARY KEY, raw BLOB NOT NULL)`); err != nil {
		return nil, err
	}
	insert, err := conn.PrepareContext(ctx, `INSERT INTO incoming (raw) VALUES (?)`)
	if err != nil {
		return nil, err
	}
	type op struct {
		body []byte
		err  chan error
	}
	ops := make(chan op, 256)
	go func() {
		for first := range ops {
			group := []op{first}
			for more := true; more && len(group) < 256; {
				select {
				case o := <-ops:
					group = append(group, o)
				default:
					more = false
				}
			}
			_, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`)
			for _, o := range group {
				if err == nil {
					_, err = insert.ExecContext(ctx, o.body)
				}
			}
			if err == nil {
				_, err = conn.ExecContext(ctx, `COMMIT`)
			}
			for _, o := range group {
				o.err <- err
			}
		}
	}()
	return func(body []byte) error {
		o := op{body, make(chan error, 1)}
		ops <- o
		return <-o.err
	}, nil
}
