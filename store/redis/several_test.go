package redis_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

var lane = tickets.PostLane("slack")

func ask(t testing.TB, s store.Store, id string) *tickets.Ticket {
	t.Helper()
	in := storetest.Asked(id)
	_, made, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// 1,000 changes of one ticket from two stores at once: none is lost, and each
// is made on what the one before left.
func TestTwoStoresChangeOneTicket(t *testing.T) {
	t.Parallel()
	url := alone(t, redistest.Config{Args: []string{"--appendfsync", "everysec"}}).URL("a")
	stores := []*redis.Store{open(t, url), open(t, url)}
	n := ask(t, stores[0], "a").Number
	const workers, each = 10, 50
	var wg sync.WaitGroup
	for _, s := range stores {
		for range workers {
			wg.Go(func() {
				for range each {
					if _, err := s.Update(t.Context(), n, func(t *tickets.Ticket) error { t.Sending.Polls++; return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	got, err := stores[1].Get(t.Context(), n)
	if err != nil || got.Sending.Polls != 2*workers*each || got.Version != 1+2*workers*each {
		t.Errorf("after %d changes: %d of them, version %d, %v", 2*workers*each, got.Sending.Polls, got.Version, err)
	}
}

// Requests that come twice, once to each store, make one ticket each, and
// numbers without a gap.
func TestTwoStoresAccept(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{Args: []string{"--appendfsync", "everysec"}})
	stores := []*redis.Store{open(t, srv.URL("a")), open(t, srv.URL("a"))}
	const requests = 300
	var wg sync.WaitGroup
	var mu sync.Mutex
	numbers := map[tickets.Number]tickets.RequestID{}
	for i := range requests {
		for j, s := range stores {
			wg.Go(func() {
				in := storetest.Asked(fmt.Sprint("r", i))
				in.ID = fmt.Sprintf("in-%d-%d", i, j)
				r, _, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
				mu.Lock()
				defer mu.Unlock()
				if was, twice := numbers[r.Ticket]; err != nil || twice && was != in.Update.ID {
					t.Errorf("%s: %s, which is %s's, %v", in.Update.ID, r.Ticket, was, err)
				}
				numbers[r.Ticket] = in.Update.ID
			})
		}
	}
	wg.Wait()
	if len(numbers) != requests {
		t.Errorf("%d requests have %d tickets", requests, len(numbers))
	}
	for i := range requests {
		n := tickets.NewNumber("JIT", int64(1001+i))
		if tk, err := stores[0].Get(t.Context(), n); err != nil || tk.ID != numbers[n] {
			t.Errorf("%s = %v, %v; want the ticket of %s", n, tk, err, numbers[n])
		}
	}
}

func TestTwoStoresClaimDisjoint(t *testing.T) {
	t.Parallel()
	url := alone(t, redistest.Config{Args: []string{"--appendfsync", "everysec"}}).URL("a")
	stores := []*redis.Store{open(t, url), open(t, url)}
	const all = 200
	for i := range all {
		ask(t, stores[0], fmt.Sprint(i))
	}
	now := storetest.Now.Add(time.Minute)
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[tickets.Number]int{}
	for _, s := range stores {
		for range 5 {
			wg.Go(func() {
				for {
					list, err := s.Claim(t.Context(), lane, now, now.Add(time.Hour), 1+rand.IntN(7))
					if err != nil {
						t.Error(err)
					}
					if len(list) == 0 {
						return
					}
					mu.Lock()
					for _, tk := range list {
						seen[tk.Number]++
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for n, times := range seen {
		if times != 1 {
			t.Errorf("%s was claimed %d times", n, times)
		}
	}
	if len(seen) != all {
		t.Errorf("%d tickets were claimed, want %d", len(seen), all)
	}
}

// A lease ends when it is over or released, and only its holder releases it.
func TestLeases(t *testing.T) {
	t.Parallel()
	url := alone(t, redistest.Config{}).URL("a")
	clock := time.Now()
	at := func() time.Time { return clock }
	stores := make([]*redis.Store, 2)
	for i := range stores {
		s, err := redis.Open(t.Context(), redis.Config{URL: url, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		stores[i] = s
	}
	a, b := stores[0], stores[1]
	n := ask(t, a, "a").Number
	claims := func(s *redis.Store, length time.Duration) bool {
		t.Helper()
		list, err := s.Claim(t.Context(), lane, at(), at().Add(length), 5)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 1
	}
	if !claims(a, time.Minute) || claims(b, time.Minute) {
		t.Fatal("the first must have the lease, and the second not")
	}
	if err := b.Release(t.Context(), lane, n); err != nil || claims(b, time.Minute) {
		t.Errorf("a lease was released by another than its holder, or %v", err)
	}
	if err := a.Release(t.Context(), lane, n); err != nil || !claims(b, time.Minute) {
		t.Errorf("a released lease was not free, or %v", err)
	}
	// b dies; a takes over when its lease is over.
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if claims(a, time.Minute) {
		t.Error("the lease of one who died ended early")
	}
	clock = clock.Add(61 * time.Second)
	if !claims(a, time.Minute) {
		t.Error("the lease of one who died never ends")
	}
}

// A replica whose clock is ten minutes ahead does not take what others hold,
// and one whose clock is behind does not hold it longer.
func TestWrongClockKeepsLeases(t *testing.T) {
	t.Parallel()
	url := alone(t, redistest.Config{}).URL("a")
	for _, wrong := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		right, err := redis.Open(t.Context(), redis.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer right.Close()
		now := func() time.Time { return time.Now().Add(wrong) }
		off, err := redis.Open(t.Context(), redis.Config{URL: url, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		defer off.Close()
		n := ask(t, right, wrong.String()).Number
		claims := func(s *redis.Store, now time.Time, lease time.Duration) bool {
			t.Helper()
			list, err := s.Claim(t.Context(), lane, now, now.Add(lease), 1)
			if err != nil {
				t.Fatal(err)
			}
			return len(list) == 1 && list[0].Number == n
		}
		if !claims(right, time.Now(), time.Minute) || claims(off, now(), time.Minute) {
			t.Errorf("%v wrong: it took what another holds", wrong)
		}
		if err := right.Release(t.Context(), lane, n); err != nil {
			t.Fatal(err)
		}
		if !claims(off, now(), 200*time.Millisecond) || claims(right, time.Now(), time.Minute) {
			t.Errorf("%v wrong: another took what it holds", wrong)
		}
		eventually(t, "its lease ends", func() bool { return claims(right, time.Now(), 5*time.Minute) })
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

func TestDamagedTicketHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	for _, id := range []string{"a", "b", "c", "d"} {
		ask(t, s, id)
	}
	c := srv.Client()
	defer c.Close()
	if err := c.HSet(t.Context(), "{countersign:a}:ticket:1001", "doc", "{").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Del(t.Context(), "{countersign:a}:ticket:1002").Err(); err != nil {
		t.Fatal(err)
	}
	later := storetest.Now.Add(time.Minute)
	got, err := s.Claim(t.Context(), lane, later, later.Add(time.Minute), 2)
	if err == nil || len(got) != 2 || !strings.Contains(err.Error(), "1001") || !strings.Contains(err.Error(), "1002") {
		t.Errorf("Claim = %d tickets, %v; want the two that can be read, and both others named", len(got), err)
	}
	if _, err := s.Claim(t.Context(), lane, later, later.Add(time.Minute), 10); err != nil {
		t.Errorf("second Claim = %v; want nothing new to report", err)
	}
}

// A ticket that an older version put in a lane leaves it, although this one
// would not look there.
func TestIndexMovesFromWhatIsRecorded(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	n := ask(t, s, "a").Number
	c := srv.Client()
	defer c.Close()
	c.HSet(t.Context(), "{countersign:a}:ticket:1001", "lanes", "old/lane slack/post")
	c.ZAdd(t.Context(), "{countersign:a}:due:old/lane", z(1, "1001"))
	c.SAdd(t.Context(), "{countersign:a}:lanes", "old/lane")
	if _, err := s.Update(t.Context(), n, func(*tickets.Ticket) error { return nil }); err != nil {
		t.Fatal(err)
	}
	st, err := s.Stats(t.Context(), storetest.Now)
	if err != nil || st.Due["old/lane"].Count != 0 || st.Due[lane].Count != 1 {
		t.Errorf("Stats = %+v, %v; want it in %s only", st.Due, err, lane)
	}
}

// What comes again, because its answer was lost, does nothing again.
func TestAcceptAgain(t *testing.T) {
	t.Parallel()
	s := open(t, alone(t, redistest.Config{}).URL("a"))
	in := storetest.Asked("a")
	first, made, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
	if err != nil {
		t.Fatal(err)
	}
	again, tk, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
	if err != nil || again != first || tk == nil || tk.Number != made.Number || tk.Version != 1 {
		t.Errorf("again = %+v, %+v, %v; want %+v", again, tk, err, first)
	}
	if next := ask(t, s, "b"); next.Number != "JIT-1002" {
		t.Errorf("the next is %s, want JIT-1002", next.Number)
	}
	other := in
	other.Raw = []byte("another body")
	if _, _, err := s.Accept(t.Context(), other, storetest.Asks(other, storetest.Now)); err == nil {
		t.Error("another webhook with the same id was accepted")
	}
	outcome := tickets.Incoming{ID: "in-o", At: storetest.Now, Raw: []byte("o"), Update: &tickets.Update{ID: "a", Outcome: &tickets.Outcome{Verdict: tickets.Deny, By: "c"}}}
	apply := func(t *tickets.Ticket, _ int64) (*tickets.Ticket, tickets.Status) {
		if !t.Conclude(*outcome.Update.Outcome, storetest.Rules(), storetest.Now) {
			return nil, tickets.StatusDuplicate
		}
		return t, tickets.StatusUpdated
	}
	for range 2 {
		r, tk, err := s.Accept(t.Context(), outcome, apply)
		if err != nil || r.Status != tickets.StatusUpdated || r.Ticket != made.Number || tk == nil || tk.Version != 2 {
			t.Errorf("outcome = %+v, %+v, %v; want it updated once", r, tk, err)
		}
	}
	// A webhook that is not to be applied, although it can be read.
	aside := in
	aside.ID, aside.Error = "in-x", "it is not for us"
	if r, tk, err := s.Accept(t.Context(), aside, nil); err != nil || tk != nil || r.Status != tickets.StatusFailed || r.Ticket != "" {
		t.Errorf("aside = %+v, %+v, %v; want it kept as failed", r, tk, err)
	}
	list, err := s.Incomings(t.Context(), store.IncomingQuery{})
	if err != nil || len(list) != 4 {
		t.Errorf("%d webhooks are kept, %v; want 4", len(list), err)
	}
}

// A request whose text imitates the place of the number does not move it.
func TestNumberInHostileText(t *testing.T) {
	t.Parallel()
	s := open(t, alone(t, redistest.Config{}).URL("a"))
	in := storetest.Asked("a")
	text := `"number":"JIT-4611686018427387904" 4611686018427387904`
	in.Update.Request.User, in.Update.Request.Reason = text, text
	id := tickets.RequestID(text)
	in.Update.ID, in.Update.Request.ID = id, id
	r, made, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
	if err != nil || made.Number != "JIT-1001" || r.Ticket != "JIT-1001" {
		t.Fatalf("Accept = %+v, %v; want JIT-1001", r, err)
	}
	got, err := s.Get(t.Context(), "JIT-1001")
	if err != nil || got.Number != "JIT-1001" || got.Request.User != text || got.ID != id {
		t.Errorf("Get = %+v, %v; want the text unchanged", got, err)
	}
}

func TestUpdateEndsWithItsContext(t *testing.T) {
	t.Parallel()
	url := alone(t, redistest.Config{Args: []string{"--appendfsync", "everysec"}}).URL("a")
	s, rival := open(t, url), open(t, url)
	n := ask(t, s, "a").Number
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := s.Update(ctx, n, func(*tickets.Ticket) error {
		_, err := rival.Update(t.Context(), n, func(*tickets.Ticket) error { return nil }) // always faster
		return err
	})
	// The end may come between two calls, or in one as the time-out of its
	// connection.
	if err == nil || ctx.Err() == nil && time.Until(deadline(ctx)) > 50*time.Millisecond {
		t.Errorf("Update = %v, want an error at its deadline", err)
	}
}

func deadline(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}

// Entries that another version of the program has written, for which tickets
// were due at other times, are put right and give nobody work.
func TestIndexOfAnotherVersion(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s := open(t, srv.URL("a"))
	ask(t, s, "a")
	ask(t, s, "b")
	c := srv.Client()
	defer c.Close()
	look := tickets.LanePoll
	c.ZAdd(t.Context(), "{countersign:a}:due:"+string(look), z(1, "1001"))
	dues := func(l tickets.Lane) string {
		return fmt.Sprint(c.ZRangeWithScores(t.Context(), "{countersign:a}:due:"+string(l), 0, -1).Val())
	}
	later := storetest.Now.Add(time.Hour)
	if _, err := s.Update(t.Context(), "JIT-1002", func(t *tickets.Ticket) error {
		t.ShowFailed(storetest.Place, "away", later, false, later)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	right := dues(lane)
	c.ZAdd(t.Context(), "{countersign:a}:due:"+string(lane), z(1, "1002"))
	for range 2 {
		if got, err := s.Claim(t.Context(), look, storetest.Now, later, 10); err != nil || len(got) != 0 {
			t.Errorf("Claim of a ticket that owes nothing = %v, %v", got, err)
		}
	}
	if got, err := s.Claim(t.Context(), lane, storetest.Now, later, 10); err != nil || len(got) != 1 || got[0].Number != "JIT-1001" {
		t.Errorf("Claim = %v, %v; want JIT-1001 alone", got, err)
	}
	if d := dues(look); d != "[]" {
		t.Errorf("due in %s = %s, want nothing", look, d)
	}
	if d := dues(lane); d != right {
		t.Errorf("due in %s = %s, want %s", lane, d, right)
	}
	if got, err := s.Claim(t.Context(), lane, later.Add(time.Second), later.Add(time.Minute), 10); err != nil || !slices.ContainsFunc(got, func(t *tickets.Ticket) bool { return t.Number == "JIT-1002" }) {
		t.Errorf("Claim when it is due = %v, %v; want JIT-1002", got, err)
	}
}
