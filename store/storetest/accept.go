package storetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

func (s *suite) accept() {
	in := Asked("a")
	r, t, err := s.s.Accept(s.Context(), in, Asks(in, Now))
	s.must(err)
	if t == nil || r.Ticket != t.Number || r.Status != tickets.StatusCreated || r.Incoming != in.ID {
		s.Fatalf("first Accept = %+v, %+v; want it created", r, t)
	}
	again := in
	again.ID = "in-again"
	r2, t2, err := s.s.Accept(s.Context(), again, Asks(again, Now))
	s.must(err)
	if t2 != nil || r2.Ticket != t.Number || r2.Status != tickets.StatusDuplicate {
		s.Errorf("second Accept = %+v, %+v; want a duplicate of %s", r2, t2, t.Number)
	}
	got, err := s.s.Get(s.Context(), t.Number)
	s.must(err)
	if got.Request == nil || got.Request.User != `ACME\ann` || got.Rev != 1 || got.Version != 1 {
		s.Errorf("Get = %+v; want the request at rev 1, version 1", got)
	}
	s.reopenStore()
	if next := s.ask("b"); next.Number != "JIT-1002" {
		s.Errorf("after %s, a duplicate and a restart comes %s: want no gap", t.Number, next.Number)
	}
	k, err := s.s.Incoming(s.Context(), "in-again")
	s.must(err)
	if string(k.Raw) != string(in.Raw) || k.Receipt != r2 || !k.At.Equal(in.At) || k.Remote != in.Remote {
		s.Errorf("Incoming = %+v; want the raw body and its receipt", k)
	}
}

// listed is a request that is found in EPM's list at the moment in which its
// webhook arrives: one ticket, with what the webhook tells.
func (s *suite) listed() {
	const requests = 20
	apply := func(in tickets.Incoming) store.Apply {
		asks := Asks(in, Now)
		return func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
			if t == nil {
				return asks(t, seq)
			}
			return taken(t, in, Now)
		}
	}
	var all sync.WaitGroup
	for i := range 3 * requests {
		in := Asked(fmt.Sprint("r", i%requests))
		in.ID = fmt.Sprint("in-", i)
		if i >= requests {
			in.Remote, in.Update.Request.Listed, in.Update.Request.User = tickets.RemoteList, true, "listed"
		}
		all.Go(func() {
			if _, _, err := s.s.Accept(context.Background(), in, apply(in)); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	list, err := s.s.List(s.Context(), store.Query{Limit: 1000})
	s.must(err)
	if len(list) != requests {
		s.Errorf("%d tickets of %d requests", len(list), requests)
	}
	for i := range requests {
		id := tickets.RequestID(fmt.Sprint("r", i))
		t, err := s.s.Find(s.Context(), id)
		s.must(err)
		if t.ID != id || t.Request.Listed || t.Request.User != `ACME\ann` || len(t.Events) != t.Rev || t.Rev > 2 {
			s.Errorf("Find(%s) = %+v; want what the webhook tells", id, t)
		}
	}
	kept, err := s.s.Incomings(s.Context(), store.IncomingQuery{Limit: 1000})
	s.must(err)
	if len(kept) != 3*requests {
		s.Errorf("%d kept, want all", len(kept))
	}
}

func (s *suite) failed() {
	in := tickets.Incoming{ID: "in-x", At: Now, Raw: []byte("{\x00\xff"), Error: "the body is not JSON", Repaired: true}
	r, t, err := s.s.Accept(s.Context(), in, nil)
	s.must(err)
	if t != nil || r != (tickets.Receipt{Incoming: "in-x", Status: tickets.StatusFailed}) {
		s.Errorf("Accept = %+v, %+v; want failed without a ticket", r, t)
	}
	s.ask("a")
	list, err := s.s.Incomings(s.Context(), store.IncomingQuery{Status: tickets.StatusFailed})
	s.must(err)
	if len(list) != 1 || list[0].ID != "in-x" || list[0].Error != in.Error || !list[0].Repaired || list[0].Raw != nil {
		s.Errorf("Incomings(failed) = %+v; want the failed one without its body", list)
	}
	if all, err := s.s.Incomings(s.Context(), store.IncomingQuery{}); err != nil || len(all) != 2 || all[0].ID != "in-x" {
		s.Errorf("Incomings = %+v, %v; want both, newest id first", all, err)
	}
	if k, err := s.s.Incoming(s.Context(), "in-x"); err != nil || string(k.Raw) != string(in.Raw) {
		s.Errorf("Incoming = %q, %v; want the raw bytes unchanged", k.Raw, err)
	}
}

func (s *suite) updateFirst() {
	out := tickets.Outcome{Verdict: tickets.Deny, By: "console"}
	up := tickets.Incoming{ID: "in-up", At: Now, Update: &tickets.Update{ID: "a", Outcome: &out}}
	_, first, err := s.s.Accept(s.Context(), up, func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		if t == nil {
			t = tickets.Start(tickets.NewNumber("JIT", seq), "a", Rules(), Now)
		}
		t.Conclude(out, Rules(), Now)
		return t, tickets.StatusUpdated
	})
	s.must(err)
	if first.Progress() != tickets.Unknown || len(first.NextDue()) != 0 {
		s.Errorf("after the update alone: %s, owes %v; want unknown, owes nothing", first.Progress(), first.NextDue())
	}
	joined := s.ask("a")
	if joined.Number != first.Number || joined.Progress() != tickets.Final {
		s.Errorf("joined = %s %s; want %s final", joined.Number, joined.Progress(), first.Number)
	}
}
