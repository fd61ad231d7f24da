package tickets_test

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

const (
	siem  tickets.EventSink = "siem"
	other tickets.EventSink = "other"
)

// deliveries are what t owes receivers at a time.
func deliveries(t *tickets.Ticket, at time.Time) (to []tickets.EventSink) {
	for _, s := range t.PendingSteps(at) {
		if s.Kind == tickets.StepDeliver {
			if s.Lane != tickets.DeliverLane(s.Sink) {
				panic(s.Lane)
			}
			to = append(to, s.Sink)
		}
	}
	return to
}

func TestEventsAreOwedToReceivers(t *testing.T) {
	tk := asked()
	tk.TrackSink([]tickets.EventSink{siem}, 0)
	if got := deliveries(tk, now); !slices.Equal(got, []tickets.EventSink{siem}) {
		t.Fatalf("a new ticket owes %v", got)
	}
	tk.TrackSink([]tickets.EventSink{siem, other}, tk.ObservedEvents()) // nothing has happened
	if tk.Delivery(other) != nil {
		t.Error("without an event somebody is owed something")
	}
	tk.RecordDelivery(siem, 1)
	if got := deliveries(tk, now); len(got) != 0 || !tk.NextDue()[tickets.DeliverLane(siem)].IsZero() {
		t.Errorf("a ticket whose events are told owes %v, %v", got, tk.NextDue())
	}
	heard := tk.ObservedEvents()
	if err := tk.Decide(decision(tickets.Approve, ann), rules()); err != nil {
		t.Fatal(err)
	}
	tk.TrackSink([]tickets.EventSink{siem, other}, heard)
	list, from := tk.Envelopes(other, 10)
	if len(list) != 1 || from != 1 || list[0].Type != "ticket.decided" || list[0].Data.Position != 2 || list[0].Data.Request.ID != "r" {
		t.Errorf("a new receiver is told %+v from %d", list, from)
	}
	tk.DeliveryFailed(siem, "down", now.Add(time.Minute))
	if got := deliveries(tk, now); !slices.Equal(got, []tickets.EventSink{other}) {
		t.Errorf("while one has to wait %v are owed something", got)
	}
	if got := deliveries(tk, now.Add(time.Minute)); len(got) != 2 {
		t.Errorf("later %v are owed something", got)
	}
	tk.RecordDelivery(siem, 1) // of somebody who was slower
	if d := tk.Delivery(siem); d.Done != 1 || d.Attempts != 0 || d.Problem != "" {
		t.Errorf("delivery = %+v", d)
	}
	tk.RecordDelivery(siem, 99)
	if d := tk.Delivery(siem); d.Done != 2 {
		t.Errorf("more was taken than there is: %+v", d)
	}
	for _, want := range []struct {
		owed  int
		known bool
	}{{1, true}, {0, false}} {
		if owed, known := tk.UntrackSink(other); owed != want.owed || known != want.known {
			t.Errorf("Forget = %d, %t; want %+v", owed, known, want)
		}
	}
	if tk.Delivery(siem) == nil || len(tk.Deliveries) != 1 || !tk.NextDue()[tickets.DeliverLane(other)].IsZero() {
		t.Errorf("with one forgotten the ticket has %+v", tk.Deliveries)
	}
}

// What stands in a store may be anything.
func TestNoticesOfAnyDelivery(t *testing.T) {
	for done, want := range map[int]int{-5: 1, 0: 1, 1: 0, 7: 0} {
		tk := asked()
		tk.Deliveries = []tickets.Delivery{{To: siem, Done: done}}
		list, from := tk.Envelopes(siem, 10)
		if len(list) != want || from < 0 || from > 1 || len(deliveries(tk, now)) != want {
			t.Errorf("with %d done %d notices from %d, %v owed; want %d", done, len(list), from, deliveries(tk, now), want)
		}
	}
	empty := tickets.Start("JIT-1", "r", rules(), now)
	empty.Deliveries = []tickets.Delivery{{To: siem}}
	if list, _ := empty.Envelopes(siem, 10); len(list) != 0 || len(deliveries(empty, now)) != 0 || empty.ObservedEvents() != 0 {
		t.Errorf("a ticket without a request tells %+v", list)
	}
}

// An id is the same for the same event, and never that of another one.
func TestNoticesAreNamed(t *testing.T) {
	seen := map[string]string{}
	note := func(what string, list []tickets.EventEnvelope, same bool) {
		t.Helper()
		for _, n := range list {
			if was, ok := seen[n.ID]; ok != same {
				t.Errorf("%s has the id %s, which is of %q", what, n.ID, was)
			}
			seen[n.ID] = what
		}
	}
	ticket := func(number tickets.Number, id tickets.RequestID, at time.Time) []tickets.EventEnvelope {
		tk := tickets.Start(number, id, rules(), at)
		tk.Ask(tickets.Request{ID: id}, rules(), at)
		tk.Move("On Hold", ann, rules(), at)
		tk.Move("New", ann, rules(), at)
		tk.TrackSink([]tickets.EventSink{siem}, 0)
		list, _ := tk.Envelopes(siem, 10)
		return list
	}
	note("a ticket", ticket("JIT-1", "r", now), false)
	note("the same", ticket("JIT-1", "r", now.In(time.FixedZone("x", 3600))), true)
	note("another number", ticket("JIT-2", "r", now), false)
	note("another request", ticket("JIT-1", "s", now), false)
	note("another time, as in a store that was restored", ticket("JIT-1", "r", now.Add(1)), false)
	one := "x"
	changes := []tickets.Change{{Version: 1, At: now, Key: "category", New: &one}, {Version: 1, At: now, Key: "fields"}, {Version: 2, At: now, Key: "category"}}
	note("changes", tickets.ChangeEnvelopes(changes), false)
	note("the same changes", tickets.ChangeEnvelopes(changes), true)
}
