package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

func z(score float64, member string) goredis.Z { return goredis.Z{Score: score, Member: member} }

// Redis is killed right after it acknowledged a webhook, again and again:
// everything is there, whole.
func TestKilledAfterEachWebhook(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	const kills = 15
	for i := range kills {
		id := fmt.Sprint("r", i)
		made := ask(t, s, id)
		srv.Kill()
		if err := srv.Restart(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), made.Number)
		if err != nil || got.ID != tickets.RequestID(id) {
			t.Fatalf("after kill %d: %v, %v; want %s", i, got, err, made.Number)
		}
		if _, err := s.Incoming(t.Context(), "in-"+id); err != nil {
			t.Fatal(err)
		}
	}
	st, err := s.Stats(t.Context(), storetest.Now)
	if err != nil || st.Progress[tickets.Pending] != kills || st.Due[lane].Count != kills {
		t.Errorf("Stats = %+v, %v; want %d pending and due", st, err, kills)
	}
}

// Redis is killed while webhooks come in: what was acknowledged is there, and
// nothing is there by half.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	acknowledged := make(chan tickets.RequestID, 1<<16)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	const senders = 8
	for w := range senders {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := 0; ctx.Err() == nil; i++ {
				in := storetest.Asked(fmt.Sprintf("r%d-%d", w, i))
				if _, _, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now)); err == nil {
					acknowledged <- in.Update.ID
				}
			}
		}()
	}
	for range 3 {
		time.Sleep(150 * time.Millisecond) // of load
		srv.Kill()
		if err := srv.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for range senders {
		<-done
	}
	close(acknowledged)
	eventually(t, "it works again", func() bool { return s.Ping(t.Context()) == nil })
	list, err := s.List(t.Context(), store.Query{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	have := map[tickets.RequestID]bool{}
	for _, tk := range list {
		if have[tk.ID] {
			t.Errorf("%s has two tickets", tk.ID)
		}
		have[tk.ID] = true
		if k, err := s.Incoming(t.Context(), "in-"+string(tk.ID)); err != nil || k.Receipt.Ticket != tk.Number {
			t.Errorf("%s has the webhook %+v, %v", tk.Number, k, err)
		}
	}
	n := 0
	for id := range acknowledged {
		if n++; !have[id] {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	st, err := s.Stats(t.Context(), storetest.Now)
	kept, err2 := s.Incomings(t.Context(), store.IncomingQuery{Limit: 1 << 20})
	if err != nil || err2 != nil || st.Due[lane].Count != len(list) || len(kept) != len(list) {
		t.Errorf("%d tickets, %d due, %d webhooks, %v, %v; want as many of each", len(list), st.Due[lane].Count, len(kept), err, err2)
	}
	t.Logf("%d acknowledged, %d kept", n, len(list))
}

// While Redis is away each call fails by its deadline; when it is back the
// store works by itself.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	const deadline = 300 * time.Millisecond
	calls := func(s *redis.Store) map[string]func(context.Context) error {
		in := storetest.Asked("away")
		return map[string]func(context.Context) error{
			"Ping": s.Ping,
			"Accept": func(ctx context.Context) error {
				_, _, err := s.Accept(ctx, in, storetest.Asks(in, storetest.Now))
				return err
			},
			"Update": func(ctx context.Context) error {
				_, err := s.Update(ctx, "JIT-1001", func(*tickets.Ticket) error { return nil })
				return err
			},
			"Get":     func(ctx context.Context) error { _, err := s.Get(ctx, "JIT-1001"); return err },
			"Find":    func(ctx context.Context) error { _, err := s.Find(ctx, "away"); return err },
			"List":    func(ctx context.Context) error { _, err := s.List(ctx, store.Query{}); return err },
			"Claim":   func(ctx context.Context) error { _, err := s.Claim(ctx, lane, time.Now(), time.Now(), 1); return err },
			"Release": func(ctx context.Context) error { return s.Release(ctx, lane, "JIT-1001") },
			"Stats":   func(ctx context.Context) error { _, err := s.Stats(ctx, time.Now()); return err },
			"Incomings": func(ctx context.Context) error {
				_, err := s.Incomings(ctx, store.IncomingQuery{})
				return err
			},
			"Incoming": func(ctx context.Context) error { _, err := s.Incoming(ctx, "in-a"); return err },
		}
	}
	try := func(t *testing.T, s *redis.Store, want bool) {
		t.Helper()
		for name, call := range calls(s) {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			start := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(start); took > deadline+2*time.Second {
				t.Errorf("%s took %v with a deadline of %v", name, took, deadline)
			}
			if errors.Is(err, store.ErrNotFound) || (err == nil) == want {
				t.Errorf("%s = %v", name, err)
			}
			if err != nil && strings.Contains(err.Error(), redistest.Password) {
				t.Errorf("%s tells the password: %v", name, err)
			}
		}
	}
	away := func(t *testing.T, s *redis.Store, servers ...*redistest.Server) {
		ask(t, s, "a")
		for _, srv := range servers {
			if err := srv.Pause(); err != nil {
				t.Fatal(err)
			}
		}
		try(t, s, true)
		for _, srv := range servers {
			srv.Kill()
		}
		try(t, s, true)
		for _, srv := range servers {
			if err := srv.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "it works again", func() bool { return s.Ping(t.Context()) == nil })
		if _, err := s.Get(t.Context(), "JIT-1001"); err != nil {
			t.Error(err)
		}
	}
	t.Run("Alone", func(t *testing.T) {
		t.Parallel()
		srv := alone(t, redistest.Config{Password: true})
		away(t, open(t, srv.URL("a")), srv)
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		srv := alone(t, redistest.Config{TLS: true, Password: true})
		away(t, open(t, srv.URL("a")), srv)
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		c := cluster(t)
		away(t, open(t, c.URL("a")), c.Nodes...)
	})
	t.Run("Sentinel", func(t *testing.T) {
		t.Parallel()
		c := sentinels(t)
		s := open(t, c.URL("a"))
		away(t, s, append(c.Watchers, c.Servers...)...)
	})
}

// A lease whose release failed, because Redis was away, does not hold up its
// ticket.
func TestReleaseWhileAway(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	n := ask(t, s, "a").Number
	claims := func() int {
		list, _ := s.Claim(t.Context(), lane, time.Now(), time.Now().Add(time.Hour), 5)
		return len(list)
	}
	if claims() != 1 || claims() != 0 {
		t.Fatal("it is not leased once")
	}
	srv.Kill()
	if err := s.Release(t.Context(), lane, n); err == nil {
		t.Error("Release without Redis = nil")
	}
	if claims() != 0 {
		t.Error("Claim without Redis gives a ticket")
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is given out again", func() bool { return claims() == 1 })
	if claims() != 0 {
		t.Error("the new lease does not hold")
	}
}

// A command whose answer does not come is not sent again, in a cluster too.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	s := open(t, c.URL("a"))
	n := ask(t, s, "a").Number
	for _, srv := range c.Nodes {
		if err := srv.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := s.Release(t.Context(), lane, n); err == nil {
		t.Error("Release of a Redis that is held up = nil")
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("it took %v: it was sent again", took)
	}
	for _, srv := range c.Nodes {
		if err := srv.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	sent := 0
	for _, srv := range c.Nodes {
		sent += commands(t, srv)["zrem"]
	}
	if sent > 1 {
		t.Errorf("it was sent %d times", sent)
	}
}

var commandStat = regexp.MustCompile(`(?m)^cmdstat_([a-z|]+):calls=(\d+)`)

// commands is how often a server has run each command, from scripts too.
func commands(t *testing.T, srv *redistest.Server) map[string]int {
	t.Helper()
	c := srv.Client()
	defer c.Close()
	info, err := c.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, m := range commandStat.FindAllStringSubmatch(info, -1) {
		counts[m[1]], _ = strconv.Atoi(m[2])
	}
	return counts
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	first := ask(t, s, "warm") // a script's first use takes one more
	_, _, _ = s.Accept(t.Context(), tickets.Incoming{ID: "in-f", At: storetest.Now}, nil)
	again := storetest.Asked("warm")
	again.ID = "in-warm-2"
	if _, _, err := s.Accept(t.Context(), again, storetest.Asks(again, storetest.Now)); err != nil {
		t.Fatal(err)
	}
	later := storetest.Now.Add(time.Hour)
	if _, err := s.Claim(t.Context(), lane, later, later, 1); err != nil {
		t.Fatal(err)
	}
	// Clients outside of scripts send only these.
	trips := func() int {
		c := commands(t, srv)
		return c["evalsha"] + c["eval"]
	}
	fresh := storetest.Asked("new")
	duplicate := fresh
	duplicate.ID = "in-new-2"
	for _, c := range []struct {
		name string
		want int
		call func() error
	}{
		{"a new request", 1, func() error {
			_, _, err := s.Accept(t.Context(), fresh, storetest.Asks(fresh, storetest.Now))
			return err
		}},
		{"a webhook that failed", 1, func() error {
			_, _, err := s.Accept(t.Context(), tickets.Incoming{ID: "in-g", At: storetest.Now}, nil)
			return err
		}},
		{"a duplicate", 2, func() error {
			_, _, err := s.Accept(t.Context(), duplicate, storetest.Asks(duplicate, storetest.Now))
			return err
		}},
		{"an update's write", 1, func() error {
			_, err := s.Update(t.Context(), first.Number, func(*tickets.Ticket) error { return nil })
			return err
		}},
		{"a claim of ten", 1, func() error { _, err := s.Claim(t.Context(), lane, later, later, 10); return err }},
	} {
		before := trips()
		if err := c.call(); err != nil {
			t.Fatal(err)
		}
		if got := trips() - before; got != c.want {
			t.Errorf("%s took %d scripts, want %d", c.name, got, c.want)
		}
	}
}

func TestOneSlot(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	s := open(t, c.URL("acme"))
	ask(t, s, "a{b}c")
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), lane, storetest.Now, storetest.Now.Add(time.Minute), 1); err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for _, n := range c.Nodes {
		client := n.Client()
		defer client.Close()
		keys, err := client.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) > 0 {
			nodes++
		}
		for _, k := range keys {
			if !strings.HasPrefix(k, "{countersign:acme}:") {
				t.Errorf("the key %q is not in the tenant's slot", k)
			}
		}
	}
	if nodes != 1 {
		t.Errorf("%d nodes hold keys, want 1", nodes)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{TLS: true, Password: true})
	s := open(t, srv.URL("a"))
	n := ask(t, s, "a").Number
	if got, err := s.Get(t.Context(), n); err != nil || got.ID != "a" {
		t.Errorf("Get = %v, %v", got, err)
	}
	stranger, _, _ := strings.Cut(srv.URL("a"), "?")
	if _, err := redis.Open(t.Context(), redis.Config{URL: stranger}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Open without the authority = %v, want a word about the certificate", err)
	}
	other := strings.Replace(srv.URL("a"), url.QueryEscape(srv.CA()), url.QueryEscape(alone(t, redistest.Config{TLS: true}).CA()), 1)
	if _, err := redis.Open(t.Context(), redis.Config{URL: other}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Open with another authority = %v, want a word about the certificate", err)
	}
}

// The master is killed; its replica takes over, and the store follows by
// itself.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	c := sentinels(t)
	s := open(t, c.URL("a"))
	n := ask(t, s, "a").Number
	replica := c.Servers[1].Client()
	defer replica.Close()
	eventually(t, "the replica has it", func() bool { return replica.Exists(t.Context(), "{countersign:a}:ticket:1001").Val() == 1 })
	c.Servers[0].Kill()
	start := time.Now()
	eventually(t, "the replica takes over", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return s.Ping(ctx) == nil
	})
	t.Logf("took over after %v", time.Since(start).Round(time.Millisecond))
	if got, err := s.Get(t.Context(), n); err != nil || got.ID != "a" {
		t.Errorf("Get after the failover = %v, %v", got, err)
	}
	if next := ask(t, s, "b"); next.Number != "JIT-1002" {
		t.Errorf("the next ticket is %s, want JIT-1002", next.Number)
	}
	// The old master comes back as a replica.
	if err := c.Servers[0].Restart(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("Ping once the old master is back = %v", err)
		}
	}
}

func TestReplicaIsNotWritable(t *testing.T) {
	t.Parallel()
	master := alone(t, redistest.Config{})
	replica := alone(t, redistest.Config{})
	s := open(t, replica.URL("a"))
	c := replica.Client()
	defer c.Close()
	if err := c.ReplicaOf(t.Context(), "127.0.0.1", strconv.Itoa(master.Port)).Err(); err != nil {
		t.Fatal(err)
	}
	err := s.Ping(t.Context())
	if err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("Ping = %v; want a word about the replica", err)
	}
	if _, err := redis.Open(t.Context(), redis.Config{URL: replica.URL("b")}); err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("Open = %v; want a word about the replica", err)
	}
}

// With its memory full Redis refuses, and nothing is written by half.
func TestFullMemory(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{Args: []string{"--maxmemory", "3mb"}})
	s := open(t, srv.URL("a"))
	made := 0
	for ; ; made++ {
		in := storetest.Asked(fmt.Sprint("r", made))
		in.Raw = []byte(strings.Repeat("x", 30000))
		_, _, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
		if err != nil {
			if !strings.Contains(err.Error(), "memory") {
				t.Errorf("Accept = %v; want a word about memory", err)
			}
			break
		}
	}
	st, err := s.Stats(t.Context(), storetest.Now)
	kept, err2 := s.Incomings(t.Context(), store.IncomingQuery{Limit: 1 << 20})
	if err != nil || err2 != nil || made == 0 || st.Progress[tickets.Pending] != made || st.Due[lane].Count != made || len(kept) != made {
		t.Errorf("after %d: %+v, %d webhooks, %v, %v", made, st, len(kept), err, err2)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping with full memory = nil")
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	c := srv.Client()
	defer c.Close()
	set := func(kv ...string) {
		t.Helper()
		for i := 0; i < len(kv); i += 2 {
			if err := c.ConfigSet(t.Context(), kv[i], kv[i+1]).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(want ...string) {
		t.Helper()
		got := s.Warnings(t.Context())
		if len(got) != len(want) {
			t.Errorf("Warnings = %q, want %q", got, want)
			return
		}
		for i, w := range want {
			if !strings.Contains(got[i], w) {
				t.Errorf("Warnings = %q, want %q", got, want)
			}
		}
	}
	check()
	set("appendfsync", "everysec")
	check("last second")
	set("appendfsync", "no", "maxmemory-policy", "allkeys-lru")
	check("operating system", "allkeys-lru")
	set("appendonly", "no", "maxmemory-policy", "volatile-lru")
	check("snapshot")
	set("appendonly", "yes", "appendfsync", "always")
	replica := alone(t, redistest.Config{Args: []string{"--replicaof", "127.0.0.1 " + strconv.Itoa(srv.Port), "--repl-diskless-sync-delay", "0"}})
	eventually(t, "the replica is there", func() bool { return len(s.Warnings(t.Context())) == 1 })
	check("failover")
	set("min-replicas-to-write", "1")
	check()
	replica.Kill()
	set("min-replicas-to-write", "0")
	if err := c.Do(t.Context(), "ACL", "SETUSER", "bot", "on", "nopass", "~*", "+@all", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	s = open(t, strings.Replace(srv.URL("a"), "redis://", "redis://bot:x@", 1))
	check("CONFIG GET")
	if found, unchecked := s.Durability(t.Context()); len(found) > 0 || len(unchecked) != 1 {
		t.Errorf("Durability = %q, %q; want that it could not be looked at", found, unchecked)
	}
}

// The rights that docs/maintenance.md asks for are enough.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	const rights = "+@read +@write +@scripting +@connection +time +info +config|get"
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "maintenance.md"))
	if err != nil || !strings.Contains(string(docs), "`"+rights+"`") || !strings.Contains(string(docs), "`"+clusterRights+"`") {
		t.Errorf("maintenance.md does not ask for %s, and %s (%v)", rights, clusterRights, err)
	}
	allow := func(t *testing.T, rights string, servers ...*redistest.Server) {
		t.Helper()
		for _, srv := range servers {
			c := srv.Client()
			defer c.Close()
			args := []any{"ACL", "SETUSER", "bot", "on", ">x", "~{countersign:*"}
			for r := range strings.FieldsSeq(rights) {
				args = append(args, r)
			}
			if err := c.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	use := func(t *testing.T, url string) {
		t.Helper()
		s := open(t, strings.Replace(url, "://", "://bot:x@", 1))
		n := ask(t, s, "a").Number
		_, err1 := s.Update(t.Context(), n, func(*tickets.Ticket) error { return nil })
		claimed, err2 := s.Claim(t.Context(), lane, time.Now(), time.Now().Add(time.Minute), 1)
		err3 := s.Release(t.Context(), lane, n)
		_, err4 := s.List(t.Context(), store.Query{})
		_, err5 := s.Incomings(t.Context(), store.IncomingQuery{})
		_, err6 := s.Incoming(t.Context(), "in-a")
		_, err7 := s.Stats(t.Context(), time.Now())
		_, err8 := s.Find(t.Context(), "a")
		if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, s.Ping(t.Context())); err != nil || len(claimed) != 1 {
			t.Error(err)
		}
		if w := s.Warnings(t.Context()); len(w) > 0 {
			t.Errorf("Warnings = %q", w)
		}
	}
	t.Run("Alone", func(t *testing.T) {
		srv := alone(t, redistest.Config{})
		allow(t, rights, srv)
		use(t, srv.URL("a"))
	})
	t.Run("Cluster", func(t *testing.T) {
		c := cluster(t)
		allow(t, rights+" "+clusterRights, c.Nodes...)
		use(t, c.URL("a"))
	})
}

const clusterRights = "+cluster|slots"

// What passes by itself is ErrAway, and a store that was away at first can be
// begun later. What somebody has to mend is not.
func TestAway(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{Password: true})
	begin := func(s *redis.Store) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return s.Begin(ctx)
	}
	made := func(url string) *redis.Store {
		s, err := redis.New(redis.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := made(srv.URL("a"))
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping before Begin = nil")
	}
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := begin(s); !errors.Is(err, redis.ErrAway) {
		t.Errorf("Begin while Redis hangs = %v, want ErrAway", err)
	}
	srv.Kill()
	if err := begin(s); !errors.Is(err, redis.ErrAway) || strings.Contains(err.Error(), redistest.Password) {
		t.Errorf("Begin without Redis = %v, want ErrAway", err)
	}
	if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("Ping before Begin has succeeded = %v, want why", err)
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it begins", func() bool { return begin(s) == nil })
	ask(t, s, "a")

	wrong, _, _ := strings.Cut(srv.URL("a"), "@")
	for name, url := range map[string]string{
		"wrong password": wrong + "x@" + srv.Addr(),
		"no password":    "redis://" + srv.Addr(),
	} {
		if err := begin(made(url)); err == nil || errors.Is(err, redis.ErrAway) {
			t.Errorf("%s: Begin = %v, want an error that stays", name, err)
		}
	}
	other := alone(t, redistest.Config{TLS: true})
	stranger, _, _ := strings.Cut(other.URL("a"), "?")
	if err := begin(made(stranger)); err == nil || errors.Is(err, redis.ErrAway) {
		t.Errorf("unknown authority: Begin = %v, want an error that stays", err)
	}
	c := srv.Client()
	defer c.Close()
	if err := c.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := begin(made(srv.URL("b"))); !errors.Is(err, redis.ErrAway) {
		t.Errorf("a replica: Begin = %v, want ErrAway: a failover may be under way", err)
	}
}
