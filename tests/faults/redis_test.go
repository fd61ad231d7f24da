package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store/redis/redistest"
)

// needRedis skips the test where there is no Redis, which TEST_ALL=1 does not allow.
func needRedis(t testing.TB) {
	t.Helper()
	if _, err := redistest.Find(); errors.Is(err, redistest.ErrMissing) && os.Getenv("COUNTERSIGN_TEST_ALL") != "1" {
		t.Skip(err)
	}
}

func startRedis(t testing.TB, c redistest.Config) *redistest.Server {
	t.Helper()
	needRedis(t)
	c.Dir, c.Password = t.TempDir(), true
	srv, err := redistest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// withRedis keeps the tickets in a new Redis.
func withRedis(t testing.TB, w *world) { w.store = startRedis(t, redistest.Config{}).URL("faults") }

// times is how often something is done in the short and in the long form.
func times(short, inLong int) int {
	if long {
		return inLong
	}
	return short
}

// loaded lets the load go on for d.
func (w *world) loaded(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// TestRedisKilled kills Redis (append-only, appendfsync always) under load
// and starts it again with its data, and kills the program as well half of
// the times.
//
// The guard is Redis' append-only file, which doctor wants. With appendonly no
// accepted webhooks were not found in the store, and two requests had been
// given one number.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	srv := startRedis(t, redistest.Config{})
	w := newWorld(t, func(w *world) { w.store = srv.URL("faults") })
	w.during(func(ctx context.Context) {
		for range times(5, 40) {
			w.loaded(ctx, rand.N(800*time.Millisecond))
			srv.Kill()
			if rand.N(2) == 0 {
				w.kill()
			}
			w.loaded(ctx, rand.N(300*time.Millisecond))
			if err := srv.Restart(); err != nil {
				t.Error(err)
				return
			}
		}
		w.loaded(ctx, time.Second)
	})
	w.check()
}

// TestSentinelFailover has Sentinel make the replica the master: when the
// master is killed under load, and when it is killed after the replica was
// away for a while, so that all that it would have accepted meanwhile is lost.
//
// The guard is min-replicas-to-write 1, which doctor wants: a master without
// its replica refuses, and webhooks are answered with 503. With 0 the
// accepted requests of that time were gone, and their numbers were given to
// others.
//
// Redis copies after it has acknowledged. So what is acknowledged while the
// replica is cut off, but not yet for min-replicas-max-lag seconds, is lost
// with the master: only a replica that ends, as here, is noticed at once.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	needRedis(t)
	s, err := redistest.StartSentinels(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, srv := range s.Watchers {
		c := goredis.NewSentinelClient(&goredis.Options{Addr: srv.Addr()})
		defer c.Close()
		// No failover because this machine is busy, and soon another try.
		for option, ms := range map[string]string{"down-after-milliseconds": "2000", "failover-timeout": "2000"} {
			if err := c.Set(t.Context(), redistest.Master, option, ms).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, srv := range s.Servers {
		guard(t, srv)
	}
	w := newWorld(t, func(w *world) { w.store = s.URL("faults") })
	for range times(1, 5) {
		w.during(func(ctx context.Context) {
			w.loaded(ctx, time.Second)
			master, replica := w.roles(s)
			master.Kill()
			w.failover(s, replica, master)
			w.loaded(ctx, time.Second)
		})
		w.check()
		for _, b := range w.bots {
			b.start()
		}
		w.serving()

		master, replica := w.roles(s)
		replica.Kill()
		w.during(func(ctx context.Context) {
			w.loaded(ctx, 2*time.Second)
			master.Kill()
			if err := replica.Restart(); err != nil {
				t.Error(err)
			}
			w.failover(s, replica, master)
			w.loaded(ctx, time.Second)
		})
		w.check()
		for _, b := range w.bots {
			b.start()
		}
	}
}

// guard has srv take writes only while a replica follows it.
func guard(t testing.TB, srv *redistest.Server) {
	t.Helper()
	c := srv.Client()
	defer c.Close()
	for name, value := range map[string]string{"min-replicas-to-write": "1", "min-replicas-max-lag": "2"} {
		if err := c.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// replication is what srv says of its part, "" if it does not answer.
func replication(t testing.TB, srv *redistest.Server) string {
	t.Helper()
	c := srv.Client()
	defer c.Close()
	text, _ := c.Info(t.Context(), "replication").Result()
	return text
}

// roles waits until one server follows the other, and tells which.
func (w *world) roles(s *redistest.Sentinels) (master, replica *redistest.Server) {
	w.Helper()
	w.eventually("one follows the other", func() bool {
		for i, srv := range s.Servers {
			if strings.Contains(replication(w, srv), "master_link_status:up") {
				master, replica = s.Servers[1-i], srv
				return true
			}
		}
		return false
	})
	return master, replica
}

// failover waits until Sentinel has made srv the master, and has old, which
// was killed, follow it.
func (w *world) failover(s *redistest.Sentinels, srv, old *redistest.Server) {
	w.Helper()
	w.eventually("Sentinel makes the replica the master", func() bool {
		for _, watcher := range s.Watchers {
			c := goredis.NewSentinelClient(&goredis.Options{Addr: watcher.Addr()})
			at, err := c.GetMasterAddrByName(w.Context(), redistest.Master).Result()
			_ = c.Close()
			if err != nil || len(at) != 2 || at[1] != strconv.Itoa(srv.Port) {
				return false
			}
		}
		return strings.Contains(replication(w, srv), "role:master")
	})
	guard(w, srv)
	if err := old.Restart(); err != nil {
		w.Error(err)
		return
	}
	guard(w, old)
	c := old.Client()
	defer c.Close()
	// Sentinel does this by itself, ten seconds later.
	if err := c.Do(w.Context(), "REPLICAOF", "127.0.0.1", srv.Port).Err(); err != nil {
		w.Error(err)
	}
	w.eventually("the old master follows", func() bool { return strings.Contains(replication(w, old), "master_link_status:up") })
}

// TestClusterSlotMove moves the tenant's slot from node to node under load,
// key by key, as redis-cli --cluster reshard does.
//
// The guard is that a webhook is answered with a 2xx only once it is stored:
// while keys are on two nodes the store refuses what needs both. With 200 as
// the answer to a failed write, four accepted requests were in no store.
func TestClusterSlotMove(t *testing.T) {
	t.Parallel()
	needRedis(t)
	c, err := redistest.StartCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := newWorld(t, func(w *world) { w.store = c.URL("faults") })
	w.during(func(ctx context.Context) {
		for range times(3, 20) {
			w.loaded(ctx, time.Second)
			w.moveSlot(ctx, c)
		}
		w.loaded(ctx, time.Second)
	})
	w.check()
}

// moveSlot moves the tenant's slot to another node.
func (w *world) moveSlot(ctx context.Context, cluster *redistest.Cluster) {
	w.Helper()
	must := func(err error) bool {
		if err != nil {
			w.Errorf("move the slot: %v", err)
		}
		return err == nil
	}
	var clients []*goredis.Client
	var ids []string
	from, slot := -1, int64(0)
	for i, n := range cluster.Nodes {
		client := n.Client()
		defer client.Close()
		clients = append(clients, client)
		id, err := client.Do(ctx, "CLUSTER", "MYID").Text()
		if !must(err) {
			return
		}
		ids = append(ids, id)
		if slot, err = client.ClusterKeySlot(ctx, "{countersign:faults}:schema").Result(); !must(err) {
			return
		}
		if keys, err := client.ClusterCountKeysInSlot(ctx, int(slot)).Result(); must(err) && keys > 0 {
			from = i
		}
	}
	if from < 0 {
		w.Error("no node has the tenant's keys")
		return
	}
	to := (from + 1 + rand.N(2)) % 3
	if !must(clients[to].Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from]).Err()) ||
		!must(clients[from].Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to]).Err()) {
		return
	}
	moved := 0
	for {
		keys, err := clients[from].ClusterGetKeysInSlot(ctx, int(slot), 10).Result()
		if !must(err) {
			return
		}
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			if !must(clients[from].Do(ctx, "MIGRATE", "127.0.0.1", cluster.Nodes[to].Port, key, 0, 5000).Err()) {
				return
			}
			moved++
		}
	}
	for _, i := range []int{to, from, 3 - to - from} {
		if !must(clients[i].Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", ids[to]).Err()) {
			return
		}
	}
	w.Logf("%d keys moved from node %d to node %d", moved, from, to)
}

// TestFullMemory fills Redis' memory (maxmemory, noeviction) under load.
// Webhooks are answered with 503 and Retry-After, somebody who decides is
// told, and when there is memory again all goes on: nothing is half written.
//
// The guard is the 503. With 200 as the answer to a failed write no webhook
// came again, and with maxmemory-policy allkeys-random nobody was told: Redis
// threw tickets away instead of refusing.
func TestFullMemory(t *testing.T) {
	t.Parallel()
	srv := startRedis(t, redistest.Config{Args: []string{"--maxmemory-policy", "noeviction"}})
	w := newWorld(t, func(w *world) { w.store = srv.URL("faults") })
	redis := srv.Client()
	defer redis.Close()
	memory := func(limit string) {
		t.Helper()
		if err := redis.ConfigSet(t.Context(), "maxmemory", limit).Err(); err != nil {
			t.Error(err)
		}
	}
	spare := w.workers // nobody else's people
	w.during(func(ctx context.Context) {
		for range times(2, 10) {
			a := w.asks(ctx)
			for a.console {
				a.done = true
				a = w.asks(ctx)
			}
			w.eventually("a card to decide on", func() bool {
				shown := w.board()
				return len(shown.slack[a.number]) == 1 && len(shown.discord[a.number]) == 1
			})
			memory("1mb") // less than it uses
			w.checkRefused(ctx, a)
			w.checkTold(ctx, a, spare)
			w.loaded(ctx, rand.N(time.Second))
			memory("0")
			w.decides(ctx, a, spare)
			a.done = ctx.Err() == nil
		}
	})
	w.check()
}

// checkRefused sends a's webhook again until the store takes no more, and
// looks at the answer.
func (w *world) checkRefused(ctx context.Context, a *asked) {
	w.Helper()
	body := w.epm.Body(a.request.Kind.CreatedEvent(), a.request, epmtest.BodyOptions{})
	w.eventually("a webhook is refused", func() bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.door.URL+"/webhooks/epm", bytes.NewReader(body))
		if err != nil {
			w.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth(webhookUser, webhookPass)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		after := res.Header.Get("Retry-After")
		if n, err := strconv.Atoi(after); res.StatusCode == http.StatusServiceUnavailable && (err != nil || n < 1) {
			w.Errorf("a webhook without memory was answered with %s, Retry-After %q; want seconds", res.Status, after)
		}
		return res.StatusCode == http.StatusServiceUnavailable
	})
}

// checkTold has person i decide a in both chats while the store takes
// nothing, and sees that they are told.
func (w *world) checkTold(ctx context.Context, a *asked, i int) {
	w.Helper()
	told := func(text string) bool {
		return strings.Contains(text, "I cannot reach my store at the moment, and nothing was changed") ||
			strings.Contains(text, "My store did not answer in time, and I do not know whether this was recorded")
	}
	p, q := w.slack.Person(slackPerson(i)), w.discord.Person(discordPerson(i))
	inSlack := func() bool {
		if p.Click(ctx, slackChannel, w.board().slack[a.number][0].id, "approve") != nil {
			return false
		}
		problems, _ := p.Submit(ctx, map[string]string{"reason": reason()})
		closeView(ctx, p)
		return told(fmt.Sprint(problems))
	}
	inDiscord := func() bool {
		if q.Click(ctx, discordChannel, w.board().discord[a.number][0].id, w.board().discord[a.number][0].custom["deny"]) != nil {
			return false
		}
		_ = q.Submit(ctx, map[string]string{"reason": reason()})
		is := false
		for _, e := range q.Ephemerals() {
			is = is || told(string(e.Components))
			q.Dismiss(e.ID)
		}
		q.CloseModal()
		return is
	}
	w.eventually("somebody in Slack is told", inSlack)
	w.eventually("somebody in Discord is told", inDiscord)
	if w.decided(a) {
		w.Errorf("%s was decided although nothing could be recorded", a.number)
	}
}

// TestSlowDisk has each write to Redis' disk take long, and some longer than
// anybody waits: what the program takes for failed has happened all the same.
//
// The guard is the note that a post or a reply is about to be made
// (bot.begin). Without it nobody looked for what a step had done whose record
// was taken for failed: 9 cards and replies in Slack were there twice.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	library := slowDisk(t)
	srv := startRedis(t, redistest.Config{Env: []string{
		"LD_PRELOAD=" + library, "SLOWDISK_MS=15", "SLOWDISK_STALL_MS=7000", "SLOWDISK_STALL_EVERY=200",
	}})
	w := newWorld(t, func(w *world) { w.store, w.lease = srv.URL("faults"), 15*time.Second })
	w.during(func(ctx context.Context) { w.loaded(ctx, time.Duration(times(6, 120))*time.Second) })
	w.check()
	if !strings.Contains(srv.Log(), "slowdisk: stalls") {
		t.Error("the disk was never slow")
	}
}

// slowDisk compiles the library that makes fsync slow.
func slowDisk(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil && os.Getenv("COUNTERSIGN_TEST_ALL") != "1" {
		t.Skip("no gcc, which makes the disk slow")
	}
	library := filepath.Join(t.TempDir(), "slowdisk.so")
	out, err := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-O1", "-o", library, filepath.Join("testdata", "slowdisk.c"), "-ldl").CombinedOutput()
	if err != nil {
		t.Fatal(fmt.Errorf("compile: %w\n%s", err, out))
	}
	return library
}
