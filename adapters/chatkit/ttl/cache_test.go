package ttl

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const keep = time.Minute

func newSets(now func() time.Time) *Cache[[]string] { return NewCache[[]string](keep, now) }

// has reports whether member is in the set of that name.
func has(s *Cache[[]string], ctx context.Context, name, member string, load func(context.Context) ([]string, error)) (bool, error) {
	members, err := s.Get(ctx, name, load)
	return slices.Contains(members, member), err
}

func TestCacheAsksOnceForAll(t *testing.T) {
	now := time.Now()
	s := newSets(func() time.Time { return now })
	var asked atomic.Int32
	load := func(context.Context) ([]string, error) { asked.Add(1); return []string{"ann"}, nil }
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if ok, err := has(s, t.Context(), "g", "ann", load); !ok || err != nil {
				t.Errorf("Has = %v, %v", ok, err)
			}
		})
	}
	wg.Wait()
	if ok, _ := has(s, t.Context(), "g", "bob", load); ok || asked.Load() != 1 {
		t.Errorf("bob is in it: %v; asked %d times, want 1", ok, asked.Load())
	}
	now = now.Add(keep)
	if ok, _ := has(s, t.Context(), "g", "ann", load); !ok || asked.Load() != 2 {
		t.Errorf("a minute later: %v, asked %d times; want it asked again", ok, asked.Load())
	}
}

func TestCacheKeepsNoError(t *testing.T) {
	s := newSets(time.Now)
	broken := errors.New("away")
	if ok, err := has(s, t.Context(), "g", "ann", func(context.Context) ([]string, error) { return nil, broken }); ok || !errors.Is(err, broken) {
		t.Errorf("Has = %v, %v; want the error", ok, err)
	}
	if ok, err := has(s, t.Context(), "g", "ann", func(context.Context) ([]string, error) { return []string{"ann"}, nil }); !ok || err != nil {
		t.Errorf("Has = %v, %v after the error", ok, err)
	}
}

func TestValuesAreAsLoaded(t *testing.T) {
	s := newSets(time.Now)
	want := []string{"zoe@example.com", "zoe", "ann"}
	for range 2 {
		got, err := s.Get(t.Context(), "g", func(context.Context) ([]string, error) { return want, nil })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Get = %q, %v; want %q", got, err, want)
		}
	}
	broken := errors.New("away")
	if got, err := s.Get(t.Context(), "h", func(context.Context) ([]string, error) { return want, broken }); !errors.Is(err, broken) {
		t.Errorf("Get = %q, %v; want the error", got, err)
	}
}

func TestPutReplaces(t *testing.T) {
	s := newSets(time.Now)
	never := func(context.Context) ([]string, error) { t.Error("asked although it was put"); return nil, nil }
	s.Put("u", []string{"admin"})
	if ok, _ := has(s, t.Context(), "u", "admin", never); !ok {
		t.Error("what was put is not there")
	}
	s.Put("u", nil)
	if ok, _ := has(s, t.Context(), "u", "admin", never); ok {
		t.Error("what was taken away is still there")
	}
	s.Clear()
	if len(s.current().values.entries) != 0 {
		t.Errorf("%d sets after Clear", len(s.current().values.entries))
	}
}

func TestCacheSurvivesAPanic(t *testing.T) {
	s := newSets(time.Now)
	func() {
		defer func() { _ = recover() }()
		_, _ = has(s, t.Context(), "g", "ann", func(context.Context) ([]string, error) { panic("broken") })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if ok, err := has(s, ctx, "g", "ann", func(context.Context) ([]string, error) { return []string{"ann"}, nil }); !ok || err != nil {
		t.Errorf("after a panic Has = %v, %v", ok, err)
	}
}

// What was put or cleared while a value was being loaded is newer than it.
func TestCacheKeepsWhatIsNewer(t *testing.T) {
	s := newSets(time.Now)
	get := func(load ...string) []string {
		got, err := s.Get(t.Context(), "g", func(context.Context) ([]string, error) { return load, nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	_, _ = s.Get(t.Context(), "g", func(context.Context) ([]string, error) {
		s.Put("g", []string{"put"})
		return []string{"loaded"}, nil
	})
	if got := get("asked again"); !slices.Equal(got, []string{"put"}) {
		t.Errorf("after Put within a load: %q", got)
	}
	s.Clear()
	_, _ = s.Get(t.Context(), "g", func(context.Context) ([]string, error) {
		s.Clear()
		return []string{"loaded"}, nil
	})
	if got := get("asked again"); !slices.Equal(got, []string{"asked again"}) {
		t.Errorf("after Clear within a load: %q", got)
	}
}

// Whoever loads may give up before others who wait for the same.
func TestCacheOutlivesWhoLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSets(time.Now)
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked := 0
		load := func(ctx context.Context) ([]string, error) {
			if asked++; asked == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []string{"ann"}, nil
		}
		go func() { _, _ = s.Get(hasty, "g", load) }()
		synctest.Wait()
		if ok, err := has(s, t.Context(), "g", "ann", load); !ok || err != nil || asked != 2 {
			t.Errorf("has = %v, %v after %d loads; want it loaded again", ok, err, asked)
		}
		synctest.Wait()
	})
}
