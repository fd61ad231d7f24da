package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
)

// RunShared runs what every keeper of [store.Coordinator] must pass. open opens
// the same store each time, as another process would.
func RunShared(t *testing.T, open func(t *testing.T) store.Coordinator) {
	one, other := open(t), open(t)
	for name, test := range map[string]func(t *testing.T, one, other store.Coordinator){
		"LeaseHasOneHolder": leaseHasOneHolder, "LeaseEnds": leaseEnds, "FirstOfMany": firstOfMany,
		"PaceOverAll": paceOverAll, "PaceGivesUp": paceGivesUp, "LanesShut": lanesShut, "Time": sharedTime, "CountsWhatAllHold": countsHeld,
	} {
		t.Run(name, func(t *testing.T) { test(t, one, other) })
	}
}

// short is a time that passes within a test, and long one that does not.
const short, long = 150 * time.Millisecond, time.Hour

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func holds(t *testing.T, s store.Coordinator, name, holder string, d time.Duration) bool {
	t.Helper()
	has, err := s.AcquireLease(t.Context(), name, holder, d)
	if err != nil {
		t.Fatal(err)
	}
	return has
}

func leaseHasOneHolder(t *testing.T, one, other store.Coordinator) {
	var wg sync.WaitGroup
	var have atomic.Int32
	for i := range 20 {
		s, holder := one, string(rune('a'+i))
		if i%2 == 1 {
			s = other
		}
		wg.Go(func() {
			if holds(t, s, "race", holder, long) {
				have.Add(1)
			}
		})
	}
	wg.Wait()
	if have.Load() != 1 {
		t.Errorf("%d hold the lease, want 1", have.Load())
	}
}

func leaseEnds(t *testing.T, one, other store.Coordinator) {
	for range 2 {
		if !holds(t, one, "x", "a", long) {
			t.Fatal("a free lease is not given, or not renewed")
		}
	}
	if !holds(t, other, "y", "b", long) {
		t.Error("another lease is held too")
	}
	if err := other.ReleaseLease(t.Context(), "x", "b"); err != nil {
		t.Fatal(err)
	}
	if holds(t, other, "x", "b", long) {
		t.Error("somebody who does not have the lease ended it")
	}
	if err := one.ReleaseLease(t.Context(), "x", "a"); err != nil {
		t.Fatal(err)
	}
	if !holds(t, other, "x", "b", short) {
		t.Error("a lease that was ended is still held")
	}
	eventually(t, "the lease is over", func() bool { return holds(t, one, "x", "a", short) })
}

func firstOfMany(t *testing.T, one, other store.Coordinator) {
	first := func(s store.Coordinator, key string, keep time.Duration) bool {
		t.Helper()
		is, err := s.ClaimOnce(t.Context(), key, keep)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	forget := func(s store.Coordinator, key string) bool {
		t.Helper()
		was, err := s.Unclaim(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return was
	}
	var wg sync.WaitGroup
	var n atomic.Int32
	for range 10 {
		for _, s := range []store.Coordinator{one, other} {
			wg.Go(func() {
				if is, err := s.ClaimOnce(t.Context(), "click", long); err == nil && is {
					n.Add(1)
				}
			})
		}
	}
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("%d were first, want 1", n.Load())
	}
	if !first(other, "another", long) {
		t.Error("another key is not new")
	}
	if !forget(other, "click") || forget(one, "click") || !first(one, "click", short) {
		t.Error("what was forgotten is still known, or is forgotten twice")
	}
	eventually(t, "the key is new again", func() bool { return first(other, "click", short) })
}

// countsHeld: each holder counts with what it said last, for as long as it said.
func countsHeld(t *testing.T, one, other store.Coordinator) {
	count := func(s store.Coordinator, name, holder string, n int, d time.Duration) int {
		t.Helper()
		all, err := s.CountHeld(t.Context(), name, holder, n, d)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, step := range []struct {
		s         store.Coordinator
		holder    string
		n, wanted int
	}{{one, "a", 2, 2}, {other, "b", 1, 3}, {one, "a", 1, 2}, {other, "b", 0, 1}, {one, "a b 7", 1, 2}, {one, "a b 7", 0, 1}} {
		if got := count(step.s, "sockets", step.holder, step.n, long); got != step.wanted {
			t.Errorf("%s has %d: all have %d, want %d", step.holder, step.n, got, step.wanted)
		}
	}
	if got := count(other, "others", "b", 4, long); got != 4 {
		t.Errorf("another name counts %d, want 4", got)
	}
	if got := count(one, "sockets", "c", 5, short); got != 6 {
		t.Errorf("all have %d, want 6", got)
	}
	eventually(t, "what c said is over", func() bool { return count(other, "sockets", "b", 0, long) == 1 })
}

func book(t *testing.T, s store.Coordinator, patience time.Duration, lanes []string, limits ...store.Limit) (time.Duration, bool) {
	t.Helper()
	wait, booked, err := s.Reserve(t.Context(), lanes, limits, patience)
	if err != nil {
		t.Fatal(err)
	}
	return wait, booked
}

// near reports whether a wait is what it should be, but for the time that the
// test has taken.
func near(got, want time.Duration) bool { return got <= want && got > want-30*time.Second }

func paceOverAll(t *testing.T, one, other store.Coordinator) {
	limit := store.Limit{Key: "post C1", Every: time.Minute, Burst: 2}
	wider := store.Limit{Key: "all", Every: time.Minute, Burst: 100}
	for i, want := range []time.Duration{0, 0, time.Minute, 2 * time.Minute, 3 * time.Minute} {
		s := one
		if i%2 == 1 {
			s = other
		}
		if wait, booked := book(t, s, -1, nil, wider, limit); !booked || !near(wait, want) {
			t.Errorf("call %d waits for %s, %t; want %s", i+1, wait, booked, want)
		}
	}
	if wait, _ := book(t, other, -1, nil, store.Limit{Key: "post C2", Every: time.Minute, Burst: 1}); wait != 0 {
		t.Errorf("another limit waits for %s", wait)
	}
}

func paceGivesUp(t *testing.T, one, other store.Coordinator) {
	limit := store.Limit{Key: "edit", Every: time.Minute, Burst: 1}
	free := store.Limit{Key: "free", Every: time.Minute, Burst: 1}
	book(t, one, -1, nil, limit)
	for range 3 {
		if wait, booked := book(t, other, time.Second, nil, free, limit); booked || !near(wait, time.Minute) {
			t.Errorf("a wait of %s was booked %t by somebody with a second's patience", wait, booked)
		}
	}
	if wait, booked := book(t, one, 0, nil, free); !booked || wait != 0 {
		t.Errorf("who gave up has taken a call all the same: %s, %t", wait, booked)
	}
	if wait, booked := book(t, one, 2*time.Minute, nil, limit); !booked || !near(wait, time.Minute) {
		t.Errorf("who gave up has taken a call all the same: %s, %t", wait, booked)
	}
}

func lanesShut(t *testing.T, one, other store.Coordinator) {
	shut := func(lane string, d time.Duration) {
		t.Helper()
		if err := one.Block(t.Context(), lane, d); err != nil {
			t.Fatal(err)
		}
	}
	shut("a", time.Minute)
	shut("a", time.Second) // the later end counts
	if wait, booked := book(t, other, -1, []string{"b", "a"}); !booked || !near(wait, time.Minute) {
		t.Errorf("a shut lane waits for %s, %t; want a minute", wait, booked)
	}
	if wait, booked := book(t, other, time.Second, []string{"a"}, store.Limit{Key: "untouched", Every: time.Hour, Burst: 1}); booked || !near(wait, time.Minute) {
		t.Errorf("a shut lane was booked: %s, %t", wait, booked)
	}
	if wait, _ := book(t, other, -1, []string{"b"}, store.Limit{Key: "untouched", Every: time.Hour, Burst: 1}); wait != 0 {
		t.Errorf("another lane waits for %s", wait)
	}
	afterwards := store.Limit{Key: "afterwards", Every: time.Minute, Burst: 1}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute} {
		if wait, _ := book(t, other, -1, []string{"a"}, afterwards); !near(wait, want) {
			t.Errorf("a call in a shut lane waits for %s, want %s", wait, want)
		}
	}
	shut("c", short)
	eventually(t, "the lane is open", func() bool { wait, _ := book(t, other, -1, []string{"c"}); return wait == 0 })
}

func sharedTime(t *testing.T, one, _ store.Coordinator) {
	before := time.Now()
	at, err := one.Time(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// The server of the tests runs on this machine.
	if at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("the store's clock shows %s at %s", at, before)
	}
}
