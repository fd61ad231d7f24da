package redis_test

import (
	"testing"

	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
)

func TestDamagedSettings(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	c := srv.Client()
	defer c.Close()
	storetest.Damaged(t, open(t, srv.URL("a")), func(doc []byte) {
		if err := c.Set(t.Context(), "{countersign:a}:settings", doc, 0).Err(); err != nil {
			t.Fatal(err)
		}
	})
}
