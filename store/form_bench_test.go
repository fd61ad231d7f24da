package store_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
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

// What the chain and the seal cost beside writing the JSON: an event that is
// hashed, and a form that is sealed.
func BenchmarkProof(b *testing.B) {
	t := usual()
	b.Run("PlainJSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(t); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("SealedForm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := store.Encode(t); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Received", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fresh := tickets.Start("JIT-1", t.ID, storetest.Rules(), storetest.Now)
			if !fresh.Ask(*t.Request, storetest.Rules(), storetest.Now) {
				b.Fatal("not asked")
			}
		}
	})
	b.Run("Opened", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			opened := *t
			opened.RecordFormOpened(storetest.Ann, tickets.Approve, storetest.Place, storetest.Now)
		}
	})
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
