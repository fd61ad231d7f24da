package redis_test

import (
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
)

func TestDamagedSettings(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	c := srv.Client()
	defer c.Close()
	open := func(h store.Hooks) (store.Store, error) {
		return redis.Open(t.Context(), redis.Config{URL: srv.URL("a"), Hooks: h})
	}
	storetest.Damaged(t, open, func(doc []byte) {
		if err := c.Set(t.Context(), "{countersign:a}:settings", doc, 0).Err(); err != nil {
			t.Fatal(err)
		}
	})
}
