package redis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/tickets"
)

// named opens the store at url for the process called name, which dies with
// the test and not before.
func named(t *testing.T, url, name string) *redis.Store {
	t.Helper()
	s, err := redis.Open(t.Context(), redis.Config{URL: url, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// claimed is how many tickets s leases in lane for an hour.
func claimed(t *testing.T, s *redis.Store, lane tickets.Lane) int {
	t.Helper()
	list, err := s.Claim(t.Context(), lane, time.Now(), time.Now().Add(time.Hour), 10)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A process that is started again after it was killed has back what its former
// life had leased, in every lane; what others have leased stays theirs.
func TestFormerLifeIsGivenBack(t *testing.T) {
	t.Parallel()
	url := alone(t, redistest.Config{}).URL("a")
	before, other := named(t, url, "host:8080 0"), named(t, url, "host:8080 1")
	ask(t, before, "a")
	ask(t, before, "b")
	if claimed(t, before, lane) != 2 {
		t.Fatal("it does not lease both")
	}
	ask(t, other, "c")
	if claimed(t, other, lane) != 1 {
		t.Fatal("the other does not lease the third")
	}
	after := named(t, url, "host:8080 0")
	if n := claimed(t, after, lane); n != 2 {
		t.Errorf("started again it leases %d tickets, want its own 2", n)
	}
	if n := claimed(t, named(t, url, "host:8080 2"), lane); n != 0 {
		t.Errorf("a third process leases %d tickets, want none", n)
	}
}

// What was leased by a Claim whose answer was lost does not wait for the lease
// to be over, and what is held besides stays held.
func TestLostClaimIsMadeAgain(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s, other := open(t, srv.URL("a")), open(t, srv.URL("a"))
	held := ask(t, s, "a").Number
	if claimed(t, s, lane) != 1 {
		t.Fatal("it does not lease the first")
	}
	ask(t, s, "b")
	// Redis stands still: the script is on its way, and is done when Redis goes
	// on, long after nobody waits for it.
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Claim(ctx, lane, time.Now(), time.Now().Add(time.Hour), 10); !errors.Is(err, redis.ErrAway) && ctx.Err() == nil {
		t.Errorf("Claim of a Redis that stands still = %v", err)
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	raw := srv.Client()
	defer raw.Close()
	eventually(t, "the lost claim is done", func() bool {
		return raw.ZCard(t.Context(), "{countersign:a}:leases:"+string(lane)).Val() == 2
	})
	if n := claimed(t, s, lane); n != 1 {
		t.Errorf("%d tickets are leased after the lost claim, want the second", n)
	}
	if err := s.Release(t.Context(), lane, held); err != nil {
		t.Fatal(err)
	}
	if n := claimed(t, other, lane); n != 1 {
		t.Errorf("the other leases %d tickets, want the first, which was released", n)
	}
}
