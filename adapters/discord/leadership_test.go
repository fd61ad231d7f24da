package discord_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
)

// table is what replicas agree on, in this process.
type table struct {
	mu     sync.Mutex
	leases map[string]lease
	claims map[string]bool
}

type lease struct {
	holder string
	end    time.Time
}

func newTable() *table { return &table{leases: map[string]lease{}, claims: map[string]bool{}} }

// seat is one replica's way to the table, which can be cut.
type seat struct {
	*table
	cut atomic.Bool
}

var errCut = errors.New("cut off")

func (s *seat) AcquireLease(_ context.Context, name, holder string, d time.Duration) (bool, error) {
	if s.cut.Load() {
		return false, errCut
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[name]; l.holder != holder && time.Now().Before(l.end) {
		return false, nil
	}
	s.leases[name] = lease{holder, time.Now().Add(d)}
	return true, nil
}

func (s *seat) ReleaseLease(_ context.Context, name, holder string) error {
	if s.cut.Load() {
		return errCut
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[name].holder == holder {
		delete(s.leases, name)
	}
	return nil
}

func (s *seat) ClaimOnce(_ context.Context, key string, _ time.Duration) (bool, error) {
	if s.cut.Load() {
		return false, errCut
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[key] {
		return false, nil
	}
	s.claims[key] = true
	return true, nil
}

func (s *seat) Reserve(context.Context, []string, []ratelimit.Limit, time.Duration) (time.Duration, bool, error) {
	return 0, true, nil
}

func (s *seat) Block(context.Context, string, time.Duration) error { return nil }

// replica is one of several processes with the same application.
type replica struct {
	*counting
	seat  *seat
	chat  *discord.Chat
	stop  context.CancelFunc
	ended chan error
}

// replicas starts n of them beside a world whose own chat is not run. change
// may make each different.
func replicas(t *testing.T, n int, change func(i int, c *discord.Config)) (*world, *adaptertest.Book, []*replica) {
	t.Helper()
	book, table := adaptertest.NewBook(), newTable()
	w := prepare(t, "gateway", book, func(_ *discordtest.Config, c *discord.Config) {
		c.Gateway.Lease = 4 * time.Second // a busy machine may be late
	})
	all := make([]*replica, n)
	for i := range all {
		cfg := w.cfg
		r := &replica{counting: &counting{Book: book}, seat: &seat{table: table}, ended: make(chan error, 1)}
		cfg.Peers = r.seat
		cfg.Log = cfg.Log.With("replica", i)
		if change != nil {
			change(i, &cfg)
		}
		var err error
		if r.chat, err = discord.New(cfg); err != nil {
			t.Fatal(err)
		}
		all[i] = r
		var ctx context.Context
		ctx, r.stop = context.WithCancel(context.Background())
		go func() { r.ended <- r.chat.Run(ctx, r.counting) }()
		t.Cleanup(func() {
			r.stop()
			if err := <-r.ended; err != nil {
				t.Errorf("replica %d ended with %v", i, err)
			}
			r.ended <- nil
		})
		if i == 0 {
			w.poll("the first replica has the gateway", func() bool { return w.fake.Connections() == 1 })
		}
	}
	w.poll("all are ready", func() bool {
		for _, r := range all {
			if r.chat.Ready() != nil {
				return false
			}
		}
		return true
	})
	return w, book, all
}

// TestOneReplicaHoldsTheGateway: Discord sends everything to every
// connection, so there is one, and it stays where it is.
func TestOneReplicaHoldsTheGateway(t *testing.T) {
	t.Parallel()
	w, book, all := replicas(t, 3, nil)
	_, id := posted(t, book, w)
	for i := range 10 {
		w.opens(i, id)
	}
	if n := all[0].clicks.Load(); n != 10 {
		t.Errorf("the first replica saw %d clicks, want 10", n)
	}
	time.Sleep(6 * time.Second) // more than a lease
	if n := w.fake.Identifies(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

// TestGatewayTakeover: a replica that is silent, as one that hangs, is
// replaced. Both are connected for a while then, and each click is worked on
// once and answered once; the silent one comes back and leaves.
func TestGatewayTakeover(t *testing.T) {
	t.Parallel()
	w, book, all := replicas(t, 2, nil)
	_, id := posted(t, book, w)
	all[0].seat.cut.Store(true)
	w.poll("the other has the gateway too", func() bool { return w.fake.Connections() == 2 })
	for i := range 10 {
		w.opens(i, id)
	}
	if n := w.fake.Count("POST /interactions/{interaction}/{token}/callback"); n < 10 {
		t.Errorf("%d answers, want 10", n)
	}
	all[0].seat.cut.Store(false)
	w.poll("the first has left", func() bool { return w.fake.Connections() == 1 })
	w.opens(11, id)
	if _, asked := all[0].people.Load(userOf(11)); asked {
		t.Errorf("the one that has left was asked")
	}
}

// TestBothConnected: while two are connected, as in a takeover, what people
// do is worked on by one.
func TestBothConnected(t *testing.T) {
	t.Parallel()
	w, book, all := replicas(t, 2, nil)
	// The second is let in by a table that has lost the lease.
	w.poll("both are connected", func() bool {
		all[0].seat.mu.Lock()
		clear(all[0].seat.leases)
		all[0].seat.mu.Unlock()
		return w.fake.Connections() == 2
	})
	_, id := posted(t, book, w)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if err := w.Click(t.Context(), i, id, adapters.ActionApprove); err != nil {
				t.Errorf("click %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := all[0].clicks.Load() + all[1].clicks.Load(); n != 10 {
		t.Errorf("both together worked on %d clicks, want 10", n)
	}
}

// TestHandOver: a replica that is told to end leaves the gateway when another
// has it. Whoever clicks meanwhile is answered.
func TestHandOver(t *testing.T) {
	t.Parallel()
	w, book, all := replicas(t, 2, nil)
	_, id := posted(t, book, w)
	all[0].stop()
	for i := 0; ; i++ {
		if err := w.Click(t.Context(), i%adaptertest.People, id, adapters.ActionApprove); err != nil {
			t.Fatalf("click %d was not answered: %v", i, err)
		}
		if all[1].clicks.Load() > 0 && w.fake.Connections() == 1 {
			break
		}
		if i > 2000 {
			t.Fatal("the gateway was not handed over")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if all[0].clicks.Load() == 0 {
		t.Error("the one that left answered nothing: the test was too slow to see anything")
	}
}

// TestTakenAway: a replica whose lease another has taken stays until that one
// is connected. Whoever clicks meanwhile is answered.
func TestTakenAway(t *testing.T) {
	t.Parallel()
	w, book, all := replicas(t, 2, nil)
	_, id := posted(t, book, w)
	w.fake.Fail(discordtest.Fault{Route: "/gateway/bot", Kind: discordtest.Slow, Did: true, Delay: 1500 * time.Millisecond})
	connected := w.fake.Count("GET /gateway/bot")
	all[0].seat.cut.Store(true)
	w.poll("the other connects", func() bool { return w.fake.Count("GET /gateway/bot") > connected })
	all[0].seat.cut.Store(false)
	w.poll("the gateway has changed hands", func() bool {
		if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
			t.Error(err)
		}
		return all[1].clicks.Load() > 0 && w.fake.Connections() == 1
	})
}

// TestLastOneLeavesAtOnce: nobody stands by, so there is nothing to wait for.
func TestLastOneLeavesAtOnce(t *testing.T) {
	t.Parallel()
	_, _, all := replicas(t, 1, func(_ int, c *discord.Config) { c.Gateway.Lease = time.Hour })
	all[0].stop()
	select {
	case err := <-all[0].ended:
		all[0].ended <- err
	case <-time.After(hang):
		t.Error("it waits for somebody to take the gateway")
		all[0].seat.cut.Store(true)
	}
}

// TestNobodyCanBeAsked: without the table, as when the store is away, people
// are still answered, by the one that has the gateway.
func TestNobodyCanBeAsked(t *testing.T) {
	t.Parallel()
	w, book, all := replicas(t, 2, nil)
	_, id := posted(t, book, w)
	for _, r := range all {
		r.seat.cut.Store(true)
	}
	w.poll("the other takes the gateway too: it cannot know who has it", func() bool { return w.fake.Connections() == 2 })
	for i := range 3 {
		w.opens(i, id)
	}
	for _, r := range all {
		r.seat.cut.Store(false)
	}
	w.poll("one of them leaves", func() bool { return w.fake.Connections() == 1 })
	w.opens(4, id)
}

// TestNobodyCanBeAskedAtFirst: replicas that start while the table is away
// answer all the same.
func TestNobodyCanBeAskedAtFirst(t *testing.T) {
	t.Parallel()
	book, cut := adaptertest.NewBook(), &seat{table: newTable()}
	cut.cut.Store(true)
	w := begin(t, "gateway", book, func(_ *discordtest.Config, c *discord.Config) {
		c.Gateway.Lease, c.Peers = 500*time.Millisecond, cut
	})
	_, id := posted(t, book, w)
	w.opens(1, id)
}

// TestUnluckyReplica: one that cannot reach the gateway leaves it to another.
func TestUnluckyReplica(t *testing.T) {
	t.Parallel()
	var unlucky atomic.Bool
	w, book, all := replicas(t, 2, func(i int, c *discord.Config) {
		if i == 0 {
			c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if unlucky.Load() && strings.Contains(r.URL.Path, "/gateway") {
					return nil, fmt.Errorf("no way to %s", r.URL.Host)
				}
				return http.DefaultTransport.RoundTrip(r)
			})
		}
	})
	_, id := posted(t, book, w)
	unlucky.Store(true)
	w.fake.RefuseResumes(true) // else there is nothing to ask
	w.fake.Drop()
	w.poll("the other has the gateway", func() bool { return w.fake.Connections() == 1 })
	w.opens(1, id)
	if all[1].clicks.Load() == 0 {
		t.Error("the click was not the other's")
	}
}
