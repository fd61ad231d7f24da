package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// BenchmarkAccept is one webhook of 3 KB, from 64 senders at once.
func BenchmarkAccept(b *testing.B) {
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: filepath.Join(b.TempDir(), "a.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	raw := []byte(strings.Repeat("x", 3000))
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			in := storetest.Asked(fmt.Sprintf("7b0c6a1e-0d3c-4f0e-9a54-%012d", n.Add(1)))
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
