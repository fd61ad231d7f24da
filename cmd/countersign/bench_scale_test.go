package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

const (
	stormWebhooks = 100_000
	stormConns    = 256
)

// BenchmarkStorm sends webhooks as fast as they are answered, over many
// connections. All must be accepted and none lost; it prints how much memory
// the program has held.
func BenchmarkStorm(b *testing.B) {
	binary := buildForBench(b)
	for _, kind := range []string{"sqlite", "redis"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				keep := newKeep(b, kind, "everysec")
				s := startServer(b, "serve", binary, newBenchFakes(b), keep)
				begin := time.Now()
				m := load(b, sending{to: []string{s.addr}, conns: stormConns, count: stormWebhooks})
				took := time.Since(begin)
				b.ReportMetric(s.memory("VmHWM"), "peak-MiB")
				b.ReportMetric(s.memory("VmRSS"), "MiB")
				s.stop()
				b.ReportMetric(float64(len(m.answers))/took.Seconds(), "webhooks/s")
				b.ReportMetric(ms(m.p(99)), "p99-ms")
				b.ReportMetric(ms(m.latencies[len(m.latencies)-1]), "slowest-ms")
				b.ReportMetric(0, "ns/op")
				noneLost(b, keep, m.answers)
			}
		})
	}
}

// noneLost fails the benchmark unless each answer names another ticket, which
// the store has, and the store has no more.
func noneLost(b *testing.B, keep string, answers []string) {
	b.Helper()
	s := openKeep(b, keep)
	defer s.Close()
	accepted := map[tickets.Number]bool{}
	for _, a := range answers {
		_, n, _ := strings.Cut(a, `"ticket":"`)
		n, _, _ = strings.Cut(n, `"`)
		accepted[tickets.Number(n)] = true
	}
	if len(accepted) != stormWebhooks {
		b.Errorf("%d tickets were promised, want %d", len(accepted), stormWebhooks)
	}
	held := 0
	for q := (store.Query{Limit: 1000}); ; {
		list, err := s.List(b.Context(), q)
		if err != nil {
			b.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, t := range list {
			if !accepted[t.Number] || t.Request == nil {
				b.Errorf("the store holds %s, which nobody was promised", t.Number)
			}
		}
		held += len(list)
		q.Before = list[len(list)-1].Number
	}
	if held != stormWebhooks {
		b.Errorf("the store holds %d tickets, want %d", held, stormWebhooks)
	}
}

// newKeep is a new store: the path of a file, or the URL of a Redis of its own.
func newKeep(b *testing.B, kind, fsync string) string {
	b.Helper()
	if kind == "sqlite" {
		return filepath.Join(b.TempDir(), "bench.db")
	}
	return startRedis(b, "--appendfsync", fsync).URL("bench")
}

// openKeep opens a store to look at, beside the program.
func openKeep(b *testing.B, keep string) store.Store {
	b.Helper()
	var s store.Store
	var err error
	if strings.Contains(keep, "://") {
		s, err = redis.Open(b.Context(), redis.Config{URL: keep})
	} else {
		s, err = sqlite.Open(b.Context(), sqlite.Config{Path: keep, ReadOnly: true})
	}
	if err != nil {
		b.Fatal(err)
	}
	return s
}

const (
	scaleRounds   = 7
	scaleRate     = 300 // webhooks per second
	scaleWebhooks = 300 // in each round
	scaleSamples  = 200 // of everything else
)

// BenchmarkScale compares stores that differ in nothing but how many tickets
// they hold: BENCH_TICKETS, separated by commas. Webhooks and clicks go
// through the whole program, and so does a look at its metrics, which count;
// lists are asked of the store.
func BenchmarkScale(b *testing.B) {
	sizes := os.Getenv("BENCH_TICKETS")
	if sizes == "" {
		sizes = "1000,100000,1000000"
	}
	binary := buildForBench(b)
	for _, kind := range []string{"sqlite", "redis"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				var all []*filled
				for size := range strings.SplitSeq(sizes, ",") {
					n, err := strconv.Atoi(size)
					if err != nil {
						b.Fatal(err)
					}
					all = append(all, newFilled(b, kind, n))
				}
				compareSizes(b, binary, all)
			}
		})
	}
}

// filled is a store that holds tickets, and the program on it.
type filled struct {
	size    int
	keep    string
	pending []tickets.Number // whose buttons can be clicked
	digests map[tickets.Number]tickets.RequestDigest
	clicks  int   // so far
	order   []int // of pending, by chance: so it is clicked
	store   store.Store
	server  *benchProcess
	discord *discordtest.Server
	took    map[string]measured // in the last round
}

// newFilled makes a store with size tickets. Nine of ten have come to their
// end, the others wait for a decision; all are shown, so that nothing is owed.
func newFilled(b *testing.B, kind string, size int) *filled {
	b.Helper()
	f := &filled{size: size, digests: map[tickets.Number]tickets.RequestDigest{}, took: map[string]measured{}}
	var s store.Store
	var ready func()
	if kind == "sqlite" {
		f.keep = newKeep(b, kind, "")
		w, err := sqlite.Open(b.Context(), sqlite.Config{Path: f.keep})
		if err != nil {
			b.Fatal(err)
		}
		s, ready = w, func() {}
	} else {
		// Redis would write its file anew at moments that differ with the size.
		srv := startRedis(b, "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0")
		f.keep = srv.URL("bench")
		s = openKeep(b, f.keep)
		ready = func() {
			c := srv.Client()
			defer c.Close()
			if err := c.ConfigSet(b.Context(), "appendfsync", "everysec").Err(); err != nil {
				b.Fatal(err)
			}
		}
	}
	begin := time.Now()
	f.fill(b, s)
	ready()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	_ = exec.Command("sync").Run() // what was filled must not be written while we measure
	b.Logf("%s: %d tickets in %v", kind, size, time.Since(begin).Round(time.Second))
	return f
}

func (f *filled) fill(b *testing.B, s store.Store) {
	b.Helper()
	before, after, id := benchBody(b)
	request := *epm.Read(tickets.Incoming{Raw: []byte(before + id + after)}).Update.Request
	rules := benchRules()
	place := tickets.Place{Platform: discord.Platform, Channel: discordChannel}
	rules.Places = []tickets.Place{place}
	shown := func(t *tickets.Ticket, seq int64) {
		t.RecordPost(place, "13"+fmt.Sprintf("%017d", rand.N(int64(1e17))), t, t.Created)
		t.RecordEdit(place, t.Rev, t.Created)
		t.RecordReply(place, len(t.Events)-1, t.Created)
	}
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx := b.Context()
	for range 256 {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(f.size) || b.Failed() {
					return
				}
				now := time.Now().Add(-time.Duration(int64(f.size)-i) * time.Second)
				r := request
				r.ID = tickets.RequestID(uuid.NewString())
				in := tickets.Incoming{ID: uuid.Must(uuid.NewV7()).String(), At: now, Remote: "192.0.2.1", Raw: []byte(before + string(r.ID) + after), Update: &tickets.Update{ID: r.ID, Request: &r}}
				_, t, err := s.Accept(ctx, in, func(_ *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
					t := tickets.Start(tickets.NewNumber(rules.Type.Prefix, seq), r.ID, rules, now)
					t.Ask(r, rules, now)
					shown(t, i)
					if i%10 != 0 {
						d := tickets.Decision{Verdict: tickets.Approve, Reason: "as agreed", Duration: tickets.Once(), By: tickets.Actor{Platform: discord.Platform, ID: discordAnn, Name: "ann"}, At: now, Place: place}
						_ = t.Decide(d, rules)
						t.BeginSend(now)
						t.RecordAccepted(d, now)
						t.Conclude(tickets.Outcome{Verdict: tickets.Approve, Duration: "Once", At: now}, rules, now)
						shown(t, i)
					}
					return t, tickets.StatusCreated
				})
				if err != nil {
					b.Error(err)
					return
				}
				if due := t.NextDue(); len(due) > 0 {
					b.Errorf("%s owes something: %v", t.Number, due)
					return
				}
				if t.Open() {
					mu.Lock()
					f.pending = append(f.pending, t.Number)
					f.digests[t.Number] = t.Request.Digest()
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// clickers is how many people click: enough for the smallest store.
const clickers = 20

func clicker(i int) string { return fmt.Sprintf("14000000000000000%02d", i%clickers) }

// serve starts the program, with a Discord that calls it.
func (f *filled) serve(b *testing.B, binary string) {
	b.Helper()
	fake, err := discordtest.New(discordtest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(fake.Close)
	var approvers []string
	for i := range clickers {
		fake.AddUser(discordtest.User{ID: clicker(i), Username: fmt.Sprintf("ann%d", i)})
		approvers = append(approvers, "discord:"+clicker(i))
	}
	fake.AddChannel(discordtest.Channel{ID: discordChannel, Name: "epm"})
	f.discord, f.order = fake, rand.Perm(len(f.pending))
	fakes := newBenchFakes(b)
	f.server = startServer(b, "serve", binary, fakes, f.keep,
		"COUNTERSIGN_SLACK_BOT_TOKEN=", "COUNTERSIGN_SLACK_SIGNING_SECRET=", "COUNTERSIGN_SLACK_CHANNEL=",
		"COUNTERSIGN_DISCORD_BOT_TOKEN="+discordtest.BotToken, "COUNTERSIGN_DISCORD_APPLICATION_ID="+discordtest.ApplicationID,
		"COUNTERSIGN_DISCORD_GUILD="+discordtest.GuildID, "COUNTERSIGN_DISCORD_CHANNEL="+discordChannel,
		"COUNTERSIGN_DISCORD_MODE=http", "COUNTERSIGN_DISCORD_PUBLIC_KEY="+fake.PublicKey(), "COUNTERSIGN_DISCORD_API_URL="+fake.URL(),
		"COUNTERSIGN_APPROVERS="+strings.Join(approvers, ","))
	if err := fake.SetInteractionsURL(b.Context(), "http://"+f.server.addr+"/discord/interactions"); err != nil {
		b.Fatal(err)
	}
	f.store = openKeep(b, f.keep)
	b.Cleanup(func() { _ = f.store.Close() })
}

func compareSizes(b *testing.B, binary string, all []*filled) {
	b.Helper()
	for _, f := range all {
		f.serve(b, binary)
	}
	values := rounds{}
	for round := range scaleRounds + 1 {
		for i := range all {
			all[(i+round)%len(all)].measure(b)
		}
		if round == 0 {
			continue // it warms
		}
		for name := range all[0].took {
			for _, f := range all {
				values.add(fmt.Sprintf("%s-%d-p50-ms", name, f.size), ms(f.took[name].p(50)))
				values.add(fmt.Sprintf("%s-%d-p99-ms", name, f.size), ms(f.took[name].p(99)))
			}
			values.add(name+"-p99-most/least", float64(all[len(all)-1].took[name].p(99))/float64(all[0].took[name].p(99)))
		}
	}
	values.report(b)
	for _, f := range all {
		b.ReportMetric(f.server.memory("VmHWM"), fmt.Sprintf("%d-peak-MiB", f.size))
		f.server.stop()
	}
}

// measure is one round.
func (f *filled) measure(b *testing.B) {
	b.Helper()
	clear(f.took)
	f.took["accept"] = load(b, sending{to: []string{f.server.addr}, count: scaleWebhooks, rate: scaleRate})
	for range scaleSamples {
		// Nobody clicks the same twice: that would not be noted again, and cost
		// less where there are few.
		who := f.discord.Person(clicker(f.clicks / len(f.order)))
		n := f.pending[f.order[f.clicks%len(f.order)]]
		f.clicks++
		click := string(who.ClickBody(discordChannel, "1300000000000000001", "approve:"+string(f.digests[n])+":"+string(n)))
		f.time("click", func() {
			status, body, err := f.discord.Deliver(b.Context(), discordtest.RawDelivery{Body: click})
			if err != nil || status != http.StatusOK || !strings.Contains(body, `"type":9`) {
				b.Fatalf("a click = %d %.200s, %v; want the form", status, body, err)
			}
		})
	}
	middle := f.pending[len(f.pending)/2]
	for range scaleSamples {
		for name, q := range map[string]store.Query{"list": {}, "list-progress": {Progress: tickets.Pending}, "list-before": {Before: middle}} {
			f.time(name, func() {
				if list, err := f.store.List(b.Context(), q); err != nil || len(list) != 50 {
					b.Fatalf("%s: %d tickets, %v", name, len(list), err)
				}
			})
		}
		f.time("metrics", func() {
			res, err := http.Get("http://" + f.server.addr + "/metrics")
			if err != nil {
				b.Fatal(err)
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), `countersign_tickets{progress="pending"}`) {
				b.Fatalf("metrics: %d bytes, %v", len(text), err)
			}
		})
	}
}

// time adds to what name took.
func (f *filled) time(name string, do func()) {
	start := time.Now()
	do()
	took := time.Since(start)
	m := f.took[name]
	at, _ := slices.BinarySearch(m.latencies, took)
	m.latencies = slices.Insert(m.latencies, at, took)
	f.took[name] = m
}

// BenchmarkReplicas is what one, two and four replicas on one Redis accept,
// from senders that take them in turn.
func BenchmarkReplicas(b *testing.B) {
	binary := buildForBench(b)
	for b.Loop() {
		groups := map[int][]string{}
		sizes := []int{1, 2, 4}
		for _, n := range sizes {
			keep, fakes := newKeep(b, "redis", "everysec"), newBenchFakes(b)
			for range n {
				groups[n] = append(groups[n], startServer(b, "serve", binary, fakes, keep).addr)
			}
		}
		values := rounds{}
		for round := range benchRounds {
			for i := range sizes {
				n := sizes[(i+round)%len(sizes)]
				m := load(b, sending{to: groups[n], lasts: benchTime})
				values.add(fmt.Sprintf("%d/s", n), float64(len(m.latencies))/benchTime.Seconds())
				values.add(fmt.Sprintf("%d-p99-ms", n), ms(m.p(99)))
			}
		}
		values.report(b)
	}
}

// BenchmarkTakeover is from the end (kill -9) of the replica that holds a
// ticket's lease, in the midst of its post, until another one has posted it.
func BenchmarkTakeover(b *testing.B) {
	binary := buildForBench(b)
	for _, n := range []int{2, 4} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(takeover(b, binary, n).Seconds(), "s")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

func takeover(b *testing.B, binary string, n int) time.Duration {
	b.Helper()
	keep, fakes := newKeep(b, "redis", "everysec"), newBenchFakes(b)
	behind, err := url.Parse(fakes.slack.URL())
	if err != nil {
		b.Fatal(err)
	}
	// The first post is held up until its replica has ended.
	posting := make(chan int, 1)
	var replicas []*benchProcess
	for i := range n {
		slackOf := &http.Server{Addr: freeAddr(b), ReadHeaderTimeout: readHeaderTimeout}
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = behind.Scheme, behind.Host
		}}
		slackOf.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/chat.postMessage") {
				select {
				case posting <- i:
					<-r.Context().Done()
					return
				default:
				}
			}
			proxy.ServeHTTP(w, r)
		})
		go func() { _ = slackOf.ListenAndServe() }()
		b.Cleanup(func() { _ = slackOf.Close() })
		replicas = append(replicas, startServer(b, "serve", binary, fakes, keep, "COUNTERSIGN_SLACK_API_URL=http://"+slackOf.Addr+behind.Path))
	}
	load(b, sending{to: []string{replicas[0].addr}, conns: 1, count: 1})
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	select {
	case i := <-posting:
		posting <- -1 // no other post is held up
		replicas[i].end(os.Kill)
	case <-ctx.Done():
		b.Fatal("nobody posts")
	}
	ended := time.Now()
	for changes := fakes.slack.Changes(ctx); len(fakes.slack.Messages(channel)) == 0; {
		select {
		case <-changes:
		case <-ctx.Done():
			b.Fatal("nobody takes over")
		}
	}
	return time.Since(ended)
}
