package main

import (
	"bufio"
	"bytes"
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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/tickets"
)

// The benchmarks compare countersign with what cannot be done without: a
// bare HTTP server that authenticates and decodes ("bare"), the same with one
// durable, grouped SQLite commit for each webhook ("commit"), the same with one
// round trip to Redis ("trip"), and with one in which Redis also counts and
// keeps the indexes ("script"). Each server is a process of its own,
// so that memory is its own; the load comes from this process, over as many
// connections. Quote ratios within one run: machines differ.
//
//	make bench

// benchServer, set in the environment, makes the test binary one of the
// servers to compare with.
const benchServer = "BENCH_SERVER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(benchServer); kind != "" {
		if err := compare(kind, os.Getenv("BENCH_LISTEN"), os.Getenv("BENCH_STORE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runIn(m))
}

// runIn runs the tests with a folder of their own for temporary files, in which
// processes leave the files by which they know themselves.
func runIn(m *testing.M) int {
	dir, err := os.MkdirTemp("", "countersign-tests-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

const (
	benchConns  = 64
	benchTime   = 2 * time.Second // of saturation, and of the steady rate, in each round
	benchRounds = 5
	benchRate   = 1000 // webhooks per second, steady
)

// BenchmarkWebhooks prints, for each server, webhooks accepted per second
// and their latency at saturation, and the latency at a steady rate. The
// servers take turns; what is printed are medians of the rounds, also of the
// ratio to the server that does least with the same store.
func BenchmarkWebhooks(b *testing.B) {
	binary := buildForBench(b)
	b.Run("sqlite", func(b *testing.B) {
		for b.Loop() {
			takeTurns(b, []string{"bare", "commit", "serve"}, func(kind string) *benchProcess {
				return startServer(b, kind, binary, newBenchFakes(b), filepath.Join(b.TempDir(), "bench.db"))
			})
		}
	})
	for _, fsync := range []string{"everysec", "always"} {
		b.Run("redis-"+fsync, func(b *testing.B) {
			for b.Loop() {
				takeTurns(b, []string{"trip", "script", "serve"}, func(kind string) *benchProcess {
					srv := startRedis(b, "--appendfsync", fsync)
					s := startServer(b, kind, binary, newBenchFakes(b), srv.URL("bench"))
					s.redis = srv
					return s
				})
			}
		})
	}
}

// takeTurns measures servers of these kinds; the last one is compared with
// each of the others. The processor's time for a webhook, of Redis too, says
// more than the rate does when other programs want the processor.
func takeTurns(b *testing.B, kinds []string, start func(kind string) *benchProcess) {
	b.Helper()
	servers := map[string]*benchProcess{}
	for _, kind := range kinds {
		servers[kind] = start(kind)
	}
	values := rounds{}
	for round := range benchRounds {
		perSecond := map[string]float64{}
		for i := range kinds {
			kind := kinds[(i+round)%len(kinds)]
			s := servers[kind]
			used := s.processor(b)
			saturated := load(b, sending{to: []string{s.addr}, lasts: benchTime})
			used = s.processor(b) - used
			values.add(kind+"-cpu-µs", float64(used.Microseconds())/float64(len(saturated.latencies)))
			steady := load(b, sending{to: []string{s.addr}, lasts: benchTime, rate: benchRate})
			perSecond[kind] = float64(len(saturated.latencies)) / benchTime.Seconds()
			values.add(kind+"/s", perSecond[kind])
			values.add(kind+"-p50-ms", ms(saturated.p(50)))
			values.add(kind+"-p99-ms", ms(saturated.p(99)))
			values.add(kind+"-steady-p50-ms", ms(steady.p(50)))
			values.add(kind+"-steady-p99-ms", ms(steady.p(99)))
		}
		ours := kinds[len(kinds)-1]
		for _, theirs := range kinds[:len(kinds)-1] {
			values.add(ours+"/"+theirs, perSecond[ours]/perSecond[theirs])
		}
	}
	for _, kind := range kinds {
		values.add(kind+"-peak-MiB", servers[kind].memory("VmHWM"))
		servers[kind].stop()
	}
	values.report(b)
}

// rounds are the values of each round of several measurements.
type rounds map[string][]float64

func (r rounds) add(name string, v float64) { r[name] = append(r[name], v) }

func (r rounds) median(name string) float64 {
	v := slices.Sorted(slices.Values(r[name]))
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

// report prints the medians.
func (r rounds) report(b *testing.B) {
	b.Helper()
	for name := range r {
		b.ReportMetric(r.median(name), name)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStart is from the start of the process until /readyz says yes,
// and what it holds then.
func BenchmarkStart(b *testing.B) {
	binary := buildForBench(b)
	for b.Loop() {
		s := startServer(b, "serve", binary, newBenchFakes(b), filepath.Join(b.TempDir(), "bench.db"))
		b.ReportMetric(ms(s.ready), "ready-ms")
		b.ReportMetric(s.memory("VmHWM"), "idle-MiB")
		b.ReportMetric(0, "ns/op")
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

// benchFakes are the neighbours of one or more servers.
type benchFakes struct {
	slack *slacktest.Server
	epm   *epmtest.Server
}

// newBenchFakes starts a Slack that keeps its limits, so that posting costs
// what it costs, and an EPM.
func newBenchFakes(b testing.TB) *benchFakes {
	b.Helper()
	sl, err := slacktest.New(slacktest.Config{Limits: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(sl.Close)
	sl.AddChannel(slacktest.Channel{ID: channel, Name: "epm", Members: []string{slacktest.BotUserID}})
	ep, err := epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(ep.Close)
	return &benchFakes{sl, ep}
}

type benchProcess struct {
	addr  string
	redis *redistest.Server // below it, if that is to be measured with it
	cmd   *exec.Cmd
	ready time.Duration
	once  sync.Once
}

func freeAddr(b testing.TB) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startServer starts "serve", the program itself, or a server to compare with.
// keep is its store: a URL of Redis or a path. more is added to the program's
// environment.
func startServer(b *testing.B, kind, binary string, fakes *benchFakes, keep string, more ...string) *benchProcess {
	b.Helper()
	s := &benchProcess{addr: freeAddr(b)}
	if kind == "serve" {
		if !strings.Contains(keep, ":") {
			keep = "sqlite:" + keep
		}
		s.cmd = exec.Command(binary, "serve")
		s.cmd.Env = append([]string{
			"COUNTERSIGN_LISTEN=" + s.addr, "COUNTERSIGN_STORE=" + keep, "COUNTERSIGN_LOG_LEVEL=error",
			"COUNTERSIGN_WEBHOOK_USER=" + webhookUser, "COUNTERSIGN_WEBHOOK_PASSWORD=" + webhookPass,
			"COUNTERSIGN_EPM_HOST=" + fakes.epm.URL(), "COUNTERSIGN_EPM_CLIENT_ID=client", "COUNTERSIGN_EPM_CLIENT_SECRET=epm-secret-1",
			"COUNTERSIGN_SLACK_BOT_TOKEN=" + slacktest.BotToken, "COUNTERSIGN_SLACK_SIGNING_SECRET=" + slacktest.SigningSecret,
			"COUNTERSIGN_SLACK_CHANNEL=" + channel, "COUNTERSIGN_SLACK_API_URL=" + fakes.slack.URL(), "COUNTERSIGN_APPROVERS=slack:U01ANN",
		}, more...)
	} else {
		s.cmd = exec.Command(os.Args[0])
		s.cmd.Env = []string{benchServer + "=" + kind, "BENCH_LISTEN=" + s.addr, "BENCH_STORE=" + keep, "BENCH_BYTES=" + strconv.Itoa(bytesInRedis(b))}
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
		if time.Since(start) > 30*time.Second {
			b.Fatalf("%s does not become ready", kind)
		}
		time.Sleep(time.Millisecond)
	}
	s.ready = time.Since(start)
	return s
}

func (s *benchProcess) stop() { s.end(syscall.SIGTERM) }

func (s *benchProcess) end(sig os.Signal) {
	s.once.Do(func() {
		_ = s.cmd.Process.Signal(sig)
		_ = s.cmd.Wait()
	})
}

// memory is a value of the process's status, in MiB: VmHWM is the most that it
// has held, VmRSS what it holds.
func (s *benchProcess) memory(name string) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0 // not Linux
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// processor is how much of the processor's time the process, and the Redis
// below it, have used.
func (s *benchProcess) processor(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0 // not Linux
	}
	const tick = 10 * time.Millisecond // USER_HZ
	after := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, errUser := strconv.Atoi(after[11])
	system, errSystem := strconv.Atoi(after[12])
	if errUser != nil || errSystem != nil {
		b.Fatalf("stat: %s", stat)
	}
	used := time.Duration(user+system) * tick
	if s.redis == nil {
		return used
	}
	c := s.redis.Client()
	defer c.Close()
	info, err := c.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			seconds, err := strconv.ParseFloat(v, 64)
			if err != nil {
				b.Fatal(err)
			}
			used += time.Duration(seconds * float64(time.Second))
		}
	}
	return used
}

type measured struct {
	latencies []time.Duration // sorted
	answers   []string        // if they were to be kept
}

func (m measured) p(percent int) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	return m.latencies[min(len(m.latencies)*percent/100, len(m.latencies)-1)]
}

// sending is how webhooks are sent: as fast as they are answered if rate is 0,
// else rate a second by a clock of its own (open loop: a slow answer does not
// slow the senders, and waiting counts).
type sending struct {
	to    []string // addresses, which the connections take in turn
	conns int      // default benchConns
	lasts time.Duration
	count int // how many instead of how long; their answers are kept
	rate  int // per second
}

// load sends webhooks and fails the benchmark if one is not accepted.
func load(b *testing.B, how sending) measured {
	b.Helper()
	template := webhookTemplate(b)
	if how.conns == 0 {
		how.conns = benchConns
	}
	var mu sync.Mutex
	var all measured
	var sent atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range how.conns {
		wg.Go(func() {
			conn, err := net.Dial("tcp", how.to[c%len(how.to)])
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			var took []time.Duration
			var answers []string
			for i := 0; ; i++ {
				start := time.Now()
				if how.rate > 0 {
					start = begin.Add(time.Duration(i*how.conns+c) * time.Second / time.Duration(how.rate))
					time.Sleep(time.Until(start))
				}
				if how.count > 0 && sent.Add(1) > int64(how.count) || how.count == 0 && start.Sub(begin) >= how.lasts {
					break
				}
				answer, err := roundTrip(conn, in, template())
				if err != nil {
					b.Error(err)
					break
				}
				took = append(took, time.Since(start))
				if how.count > 0 {
					answers = append(answers, answer)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.latencies = append(all.latencies, took...)
			all.answers = append(all.answers, answers...)
		})
	}
	wg.Wait()
	slices.Sort(all.latencies)
	return all
}

// benchBody is a webhook in two halves, between which the request's id goes,
// and that id.
func benchBody(b *testing.B) (before, after, id string) {
	b.Helper()
	ep, err := epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1"})
	if err != nil {
		b.Fatal(err)
	}
	defer ep.Close()
	r := ep.RequestAppQuietly(epmtest.App{})
	before, after, ok := strings.Cut(string(ep.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})), r.ID)
	if !ok {
		b.Fatal("the body does not hold the request's id")
	}
	return before, after, r.ID
}

// bytesInRedis is how long the values of a webhook and its ticket are.
func bytesInRedis(b *testing.B) int {
	b.Helper()
	before, after, id := benchBody(b)
	in := epm.Read(tickets.Incoming{Raw: []byte(before + id + after)})
	t := tickets.Start("JIT-1001", in.Update.ID, benchRules(), time.Now())
	t.Ask(*in.Update.Request, benchRules(), time.Now())
	doc, err := store.Encode(t)
	if err != nil {
		b.Fatal(err)
	}
	return len(in.Raw) + len(doc)
}

func benchRules() tickets.Rules {
	typ := tickets.Types()[0]
	return tickets.Rules{Type: typ, Active: typ.Active, Title: "EPM JIT Access Request", Places: []tickets.Place{{Platform: slack.Platform, Channel: channel}}}
}

// webhookTemplate returns a maker of whole HTTP requests, each with another
// request in it.
func webhookTemplate(b *testing.B) func() []byte {
	b.Helper()
	before, after, id := benchBody(b)
	head := fmt.Sprintf("POST /webhooks/epm HTTP/1.1\r\nHost: bench\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		basic(webhookUser, webhookPass), len(before)+len(id)+len(after))
	return func() []byte { return []byte(head + before + uuid.NewString() + after) }
}

func basic(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// roundTrip returns the body of the answer, which must be 200.
func roundTrip(conn net.Conn, in *bufio.Reader, request []byte) (string, error) {
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	status, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200") {
		return "", errors.New(status)
	}
	length := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\r\n" {
			break
		}
		if name, v, _ := strings.Cut(line, ":"); strings.EqualFold(name, "content-length") {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
	}
	body := make([]byte, length)
	_, err = io.ReadFull(in, body)
	return string(body), err
}

// compare is a server to compare with: "bare" authenticates and decodes,
// "commit" also keeps the body in one grouped, durable SQLite commit, "trip"
// writes to Redis, in one round trip, as many bytes as the webhook and its
// ticket have there, and "script" has Redis also give the ticket a number and
// enter both in the indexes.
func compare(kind, listen, where string) error {
	keep := func([]byte) error { return nil }
	var err error
	switch kind {
	case "commit":
		keep, err = groupedCommits(where)
	case "trip":
		keep, err = roundTrips(where, (*comparedRedis).set)
	case "script":
		keep, err = roundTrips(where, (*comparedRedis).script)
	}
	if err != nil {
		return err
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
		_ = json.NewEncoder(w).Encode(map[string]string{"incoming": uuid.NewString(), "ticket": "JIT-1001", "status": "created"})
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

// comparedRedis keeps webhooks of which each has BENCH_BYTES with its ticket.
type comparedRedis struct {
	*goredis.Client
	size int
}

func roundTrips(where string, keep func(*comparedRedis, []byte) error) (func([]byte) error, error) {
	size, err := strconv.Atoi(os.Getenv("BENCH_BYTES"))
	if err != nil {
		return nil, err
	}
	o, err := goredis.ParseURL(strings.TrimSuffix(where, "?tenant=bench"))
	if err != nil {
		return nil, err
	}
	o.PoolSize, o.MaxRetries, o.DisableIdentity = benchConns, -1, true
	c := &comparedRedis{goredis.NewClient(o), size}
	return func(body []byte) error { return keep(c, body) }, nil
}

func (c *comparedRedis) set(body []byte) error {
	value := make([]byte, c.size)
	copy(value, body)
	return c.Set(context.Background(), "bench:"+uuid.NewString(), value, 0).Err()
}

// numbered writes what a new ticket needs in Redis, and checks nothing.
var numbered = goredis.NewScript(`
local seq = redis.call('INCR', KEYS[1])
redis.call('HSET', KEYS[2], 'at', ARGV[2], 'ticket', 'JIT-' .. seq, 'status', 'created', 'raw', ARGV[3])
redis.call('HSET', KEYS[3] .. seq, 'version', 1, 'doc', ARGV[4])
redis.call('SET', KEYS[4], seq)
redis.call('ZADD', KEYS[5], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[6], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[7], seq, seq)
redis.call('ZADD', KEYS[8], seq, seq)
redis.call('ZADD', KEYS[9], ARGV[2], seq)
return seq`)

func (c *comparedRedis) script(body []byte) error {
	id, request := uuid.NewString(), uuid.NewString()
	keys := []string{"seq", "incoming:" + id, "ticket:", "request:" + request, "incomings", "incomings:created", "tickets", "tickets:pending", "due:slack"}
	return numbered.Run(context.Background(), c, keys, id, time.Now().UnixMicro(), body, make([]byte, c.size-len(body))).Err()
}
