package store_test

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// usual is a ticket as most are: with all that EPM sends.
func usual() *tickets.Ticket {
	t := full()
	for i := range 40 {
		t.Request.Fields = append(t.Request.Fields, tickets.Field{Name: fmt.Sprint("productDescription", i), Value: "some value of usual length"})
	}
	return t
}

func BenchmarkEncode(b *testing.B) {
	t := usual()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := store.Encode(t); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	doc, err := store.Encode(usual())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := store.Decode(doc); err != nil {
			b.Fatal(err)
		}
	}
}
