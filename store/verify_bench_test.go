package store_test

import (
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// BenchmarkVerifyForm checks a ticket of which everything happened.
func BenchmarkVerifyForm(b *testing.B) {
	r := *usual().Request
	t := tickets.Start("JIT-1001", r.ID, storetest.Rules(), storetest.Now)
	t.Ask(r, storetest.Rules(), storetest.Now)
	t.RecordPost(storetest.Place, "1.2", t, storetest.Now)
	t.RecordFormOpened(storetest.Ann, tickets.Approve, storetest.Place, storetest.Now)
	if err := t.Decide(storetest.Approval(storetest.Now), storetest.Rules()); err != nil {
		b.Fatal(err)
	}
	t.RecordAccepted(*t.Decision, storetest.Now)
	t.Conclude(tickets.Outcome{Verdict: tickets.Approve, At: storetest.Now}, storetest.Rules(), storetest.Now)
	doc, err := store.Encode(t)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if found := store.VerifyForm(1001, doc); len(found) > 0 {
			b.Fatal(found)
		}
	}
	b.ReportMetric(float64(len(t.Events)), "events/op")
}
