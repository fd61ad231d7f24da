package redis_test

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("Alone", func(t *testing.T) {
		conform(t, alone(t, redistest.Config{}).URL)
	})
	t.Run("Cluster", func(t *testing.T) {
		conform(t, cluster(t).URL)
	})
}

// conform runs the suites, the first with a tenant for each test.
func conform(t *testing.T, url func(tenant string) string) {
	t.Run("Shared", func(t *testing.T) {
		storetest.RunShared(t, func(t *testing.T) store.Coordinator {
			s, err := redis.Open(t.Context(), redis.Config{URL: url("shared")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s
		})
	})
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) storetest.Open {
		u := url(fmt.Sprintf("t%d", n.Add(1)))
		return func(h store.Hooks) (store.Store, error) {
			return redis.Open(t.Context(), redis.Config{URL: u, Hooks: h})
		}
	})
}

// needServer skips the test if there is no redis-server.
func needServer(t testing.TB) {
	t.Helper()
	_, err := redistest.Find()
	switch {
	case errors.Is(err, redistest.ErrMissing) && os.Getenv("COUNTERSIGN_TEST_ALL") == "1":
		t.Fatal(err)
	case errors.Is(err, redistest.ErrMissing):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// alone starts one server.
func alone(t testing.TB, c redistest.Config) *redistest.Server {
	t.Helper()
	needServer(t)
	c.Dir = t.TempDir()
	s, err := redistest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func cluster(t testing.TB) *redistest.Cluster {
	t.Helper()
	needServer(t)
	c, err := redistest.StartCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func sentinels(t testing.TB) *redistest.Sentinels {
	t.Helper()
	needServer(t)
	s, err := redistest.StartSentinels(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func open(t testing.TB, url string) *redis.Store {
	t.Helper()
	s, err := redis.Open(t.Context(), redis.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
