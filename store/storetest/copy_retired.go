package storetest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// conclude makes the ticket of the request id final. It owes edits still.
func (s *copySuite) conclude(to store.Store, id string) {
	s.Helper()
	up := Concluded(id)
	_, _, err := to.Accept(s.Context(), up, Concludes(up))
	s.must(err)
}

func (s *copySuite) post(to store.Store, n tickets.Number) {
	s.Helper()
	s.update(to, n, func(t *tickets.Ticket) error {
		t.BeginPost(Place, Now)
		t.RecordPost(Place, "1.2", t, Now)
		return nil
	})
}

// retire retires every final ticket of to, once it owes nothing.
func (s *copySuite) retire(to store.Store, want ...tickets.Number) {
	s.Helper()
	for _, n := range want {
		s.update(to, n, func(t *tickets.Ticket) error {
			t.RecordEdit(Place, t.Rev, Now)
			t.RecordReply(Place, len(t.Events)-1, Now)
			return nil
		})
	}
	later := Now.Add(time.Hour)
	e, err := to.Retire(s.Context(), later, later, 100)
	s.must(err)
	var got []tickets.Number
	for _, h := range e.Tickets {
		got = append(got, h.Ticket)
	}
	if !slices.Equal(got, want) {
		s.Fatalf("retired %v, want %v", got, want)
	}
}

// whole verifies to.
func (s *copySuite) whole(to Side) {
	s.Helper()
	_, err := store.Verify(s.Context(), to, nil, func(f store.Finding) { s.Errorf("found %s", f) })
	s.must(err)
}

// retired: what one store has retired is removed from the other, if it is the
// very same there, and does not come back.
func (s *copySuite) retired() {
	ctx := s.Context()
	for _, id := range []string{"a", "b"} {
		s.post(s.from, s.ask(s.from, Asked(id)).Number)
	}
	s.conclude(s.from, "a")
	s.did() // the copy owes the edit of JIT-1001
	s.retire(s.from, "JIT-1001")
	for range 2 {
		s.did()
		s.whole(s.to)
		s.same()
	}
	if _, err := s.to.Get(ctx, "JIT-1001"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Get = %v; want what was retired to be gone", err)
	}
	if _, err := s.to.Find(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Find = %v; want what was retired to be gone", err)
	}
	// It goes on there, and an older store does not bring back what is retired.
	s.conclude(s.to, "b")
	s.retire(s.to, "JIT-1002")
	if p, err := s.copy(); err != nil || p.Tickets[store.Further] != 1 || len(p.Tickets) != 1 {
		s.Errorf("Copy = %s, %v; want the retired ticket counted as further", tally(p), err)
	}
	s.whole(s.to)
	if n, err := s.to.Count(ctx); err != nil || n.Tickets != 0 {
		s.Errorf("Count = %+v, %v; want no ticket", n, err)
	}
}

// retiredOtherwise: what one store has retired, and the other has with another
// history, is left and named.
func (s *copySuite) retiredOtherwise() {
	old, new := s.from, s.to
	t := s.ask(old, Asked("a"))
	s.did()
	s.post(new, t.Number)
	s.conclude(new, "a")
	s.retire(new, t.Number)
	s.from, s.to = new, old
	_, err := s.copy()
	if err == nil || !strings.Contains(err.Error(), "JIT-1001 was retired here") || !strings.Contains(err.Error(), "Choose an empty store") {
		s.Errorf("Copy = %v; want the ticket named", err)
	}
	if got, err := old.Get(s.Context(), t.Number); err != nil || got.Progress() != tickets.Pending {
		s.Errorf("Get = %v, %v; want it left", got, err)
	}
	if docs, err := old.Ledger(s.Context()); err != nil || len(docs) > 0 {
		s.Errorf("Ledger = %s, %v; want nothing that accounts for a ticket that is there", docs, err)
	}
	// Back: what new retired stays retired.
	s.from, s.to = old, new
	if p, err := s.copy(); err != nil || p.Tickets[store.Further] != 1 {
		s.Errorf("Copy = %s, %v; want it counted as further", tally(p), err)
	}
	s.whole(new)
	// More happened to it in old than new ever knew.
	for i := range 9 {
		s.update(old, t.Number, func(t *tickets.Ticket) error {
			t.RecordFormOpened(Ann, tickets.Deny, Place, Now.Add(time.Duration(i)*time.Hour))
			return nil
		})
	}
	if p, err := s.copy(); err == nil || p.Tickets[store.Refused] != 1 || !strings.Contains(err.Error(), "has retired it with another history") {
		s.Errorf("Copy = %s, %v; want it named", tally(p), err)
	}
	s.whole(new)
}
