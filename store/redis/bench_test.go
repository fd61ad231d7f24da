package redis_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// BenchmarkAccept is one webhook of 3 KB, from 64 senders at once, beside a
// bare SET of as many bytes as the webhook and its ticket have.
func BenchmarkAccept(b *testing.B) {
	for _, fsync := range []string{"always", "everysec"} {
		s := alone(b, redistest.Config{Args: []string{"--appendfsync", fsync}})
		b.Run(fsync+"/bare", func(b *testing.B) { benchBare(b, s) })
		b.Run(fsync+"/accept", func(b *testing.B) { benchAccept(b, open(b, s.URL("bench"))) })
	}
}

func benchAccept(b *testing.B, s *redis.Store) {
	raw := []byte(strings.Repeat("x", 3000))
	var n atomic.Int64
	run := fmt.Sprintf("%04x", b.N&0xffff)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			in := storetest.Asked(fmt.Sprintf("7b0c6a1e-0d3c-4f0e-%s-%012d", run, n.Add(1)))
			in.Raw = raw
			for i := range 40 {
				in.Update.Request.Fields = append(in.Update.Request.Fields, tickets.Field{Name: fmt.Sprint("productDescription", i), Value: "some value of usual length"})
			}
			if _, _, err := s.Accept(context.Background(), in, storetest.Asks(in, storetest.Now)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchBare(b *testing.B, s *redistest.Server) {
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr(), PoolSize: 64, MaxRetries: -1})
	defer c.Close()
	value := []byte(strings.Repeat("x", 3000+3300))
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := c.Set(context.Background(), fmt.Sprintf("bare-%d-%d", b.N, n.Add(1)), value, 0).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkUpdate is one change of one ticket, alone: two round trips.
func BenchmarkUpdate(b *testing.B) {
	s := open(b, alone(b, redistest.Config{}).URL("bench"))
	in := storetest.Asked("a")
	_, t, err := s.Accept(b.Context(), in, storetest.Asks(in, storetest.Now))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Update(b.Context(), t.Number, func(*tickets.Ticket) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
