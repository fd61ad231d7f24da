package redis_test

import (
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
)

// records are the tickets of tenant a.
type records struct {
	*testing.T
	c *goredis.Client
}

func (r records) Doc(seq int64) []byte {
	r.Helper()
	b, err := r.c.HGet(r.Context(), fmt.Sprintf("{countersign:a}:ticket:%d", seq), "doc").Bytes()
	if err != nil {
		r.Fatal(err)
	}
	return b
}

func (r records) SetDoc(seq int64, doc []byte) {
	r.Helper()
	if err := r.c.HSet(r.Context(), fmt.Sprintf("{countersign:a}:ticket:%d", seq), "doc", doc).Err(); err != nil {
		r.Fatal(err)
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	c := srv.Client()
	defer c.Close()
	s := open(t, srv.URL("a"))
	storetest.Newer(t, s, records{t, c})
	// It is not leased: a newer replica takes it at once.
	if leases, err := c.ZRange(t.Context(), "{countersign:a}:leases:slack/post", 0, -1).Result(); err != nil || len(leases) != 2 {
		t.Errorf("leases = %q, %v; want those of the two that can be read", leases, err)
	}
}

// However many tickets a newer version left, older ones are claimed.
func TestManyNewerTicketsHoldUpNoOther(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{Args: []string{"--appendfsync", "everysec"}})
	c := srv.Client()
	defer c.Close()
	s := open(t, srv.URL("a"))
	for i := range 400 {
		ask(t, s, fmt.Sprint(i))
	}
	for seq := range int64(399) {
		records{t, c}.SetDoc(1001+seq, fmt.Appendf(nil, `{"v":%d}`, store.FormVersion+1))
	}
	now := storetest.Now.Add(time.Minute)
	got, err := s.Claim(t.Context(), lane, now, now.Add(time.Minute), 1)
	if len(got) != 1 || got[0].Number != "JIT-1400" || err == nil {
		t.Errorf("Claim = %v, %v; want JIT-1400, and an error", got, err)
	}
}
