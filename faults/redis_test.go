package faults

import (
	"errors"
	"os"
	"testing"

	"github.com/countersign/countersign/store/redis/redistest"
)

// needRedis skips the test where there is no Redis, which TEST_ALL=1 does not allow.
func needRedis(t testing.TB) {
	t.Helper()
	if _, err := redistest.Find(); errors.Is(err, redistest.ErrMissing) && os.Getenv("COUNTERSIGN_TEST_ALL") != "1" {
		t.Skip(err)
	}
}

func startRedis(t testing.TB, args ...string) *redistest.Server {
	t.Helper()
	needRedis(t)
	srv, err := redistest.Start(redistest.Config{Dir: t.TempDir(), Password: true, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// withRedis keeps the tickets in a new Redis.
func withRedis(t testing.TB, w *world) { w.store = startRedis(t).URL("faults") }
