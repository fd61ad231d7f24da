package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// retired forgets old tickets, and what is left is whole. A loss beside it is
// told; one that somebody made an entry for takes checkpoints (see forgedRetirement).
func (s *verifySuite) retired(to Side) {
	ctx := s.Context()
	retire := func(before time.Time, limit int) store.Retired {
		s.Helper()
		e, err := s.side.Retire(ctx, before, Now.Add(time.Hour), limit)
		s.must(err)
		return e
	}
	if e := retire(Now.Add(time.Hour), 10); e.N != 0 {
		s.Errorf("an empty store retires %+v", e)
	}
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		t := s.life(id)
		if id == "c" {
			continue // owes an edit
		}
		_, err := s.side.Update(ctx, t.Number, func(t *tickets.Ticket) error {
			t.RecordEdit(Place, t.Rev, Now)
			t.RecordReply(Place, len(t.Events)-1, Now)
			return nil
		})
		s.must(err)
	}
	open := Asked("open")
	_, _, err := s.side.Accept(ctx, open, Asks(open, Now))
	s.must(err)
	doc := s.form(1004)
	s.side.SetDoc(1004, bytes.Replace(doc, []byte("reason of d"), []byte("reason of D"), 1))
	checkpoints := s.checkpoints()
	if e := retire(Now.Add(time.Minute), 10); e.N != 0 {
		s.Errorf("retired %+v, whose last event is not older", e)
	}
	later := Now.Add(time.Minute + time.Second)
	first, second, none := retire(later, 2), retire(later, 10), retire(later, 10)
	names := func(e store.Retired) (list []tickets.Number) {
		for _, h := range e.Tickets {
			list = append(list, h.Ticket)
		}
		return list
	}
	if got := fmt.Sprint(first.N, names(first), second.N, names(second), none.N); got != "1 [JIT-1001 JIT-1002] 2 [JIT-1005 JIT-1006] 0" {
		s.Errorf("retired %s; want those that are final, owe nothing, and are as they were written", got)
	}
	s.side.SetDoc(1004, doc)
	for _, n := range []tickets.Number{"JIT-1001", "JIT-1006"} {
		if _, err := s.side.Get(ctx, n); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("Get(%s) = %v; want it gone", n, err)
		}
	}
	if _, err := s.side.Find(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Find = %v; want it gone", err)
	}
	stats, err := s.side.Stats(ctx, Now)
	s.must(err)
	if n := stats.Progress; n[tickets.Final] != 2 || n[tickets.Pending] != 1 || len(n) != 2 {
		s.Errorf("counts %v", n)
	}
	found, _ := s.verify(checkpoints...)
	s.told("with checkpoints from before", found, []string{"retired, event 1: checkpoint: no checkpoint tells of this entry"})
	checkpoints = append(checkpoints, tickets.Checkpoint{Ticket: store.LedgerCheckpoint, Events: first.N, Hash: first.Hash})
	found, _ = s.verify(checkpoints...)
	s.told("with the checkpoint of the first entry", found, []string{"retired, event 2: checkpoint: no checkpoint tells of this entry"})
	checkpoints = append(checkpoints, tickets.Checkpoint{Ticket: store.LedgerCheckpoint, Events: second.N, Hash: second.Hash})
	found, v := s.verify(checkpoints...)
	s.told("after that", found, nil)
	if v.Tickets != 3 || v.Retired != 4 || v.Checkpoints != 9 {
		s.Errorf("looked through %+v", v)
	}
	if next := s.life("g"); next.Number != "JIT-1008" {
		s.Errorf("the next number is %s", next.Number)
	}

	// The copy has the ledger too, also if it is made again after more was
	// retired.
	for range 2 {
		if _, err := store.Copy(ctx, s.side, to, func(store.Progress) {}); err != nil {
			s.Fatal(err)
		}
		_, err = s.side.Update(ctx, "JIT-1003", func(t *tickets.Ticket) error {
			t.RecordEdit(Place, t.Rev, Now)
			t.RecordReply(Place, len(t.Events)-1, Now)
			return nil
		})
		s.must(err)
	}
	from := s.side
	s.side = to
	found, v = s.verify(checkpoints...)
	s.told("in a copy", found, nil)
	if v.Retired != 4 {
		s.Errorf("looked through %+v", v)
	}
	s.side = from
	third := retire(later, 10)
	if len(third.Tickets) != 2 {
		s.Errorf("retired %+v", third)
	}
	if _, err := store.Copy(ctx, from, to, func(store.Progress) {}); err != nil {
		s.Fatal(err)
	}
	if docs, err := to.Ledger(ctx); err != nil || len(docs) != 3 {
		s.Errorf("the copy's ledger has %d entries, %v", len(docs), err)
	}
	s.side = to
	if _, err := to.Retire(ctx, Now.Add(time.Hour), Now, 10); err != nil {
		s.Fatal(err)
	}
	if _, err := store.Copy(ctx, from, to, func(store.Progress) {}); err != nil {
		s.Errorf("to a ledger that has more = %v", err)
	}
	s.side = from
	late := checkpoints[1]
	late.Hash = checkpoints[0].Hash
	covered := tickets.Checkpoint{Ticket: store.LedgerCheckpoint, Events: third.N, Hash: third.Hash}
	found, _ = s.verify(late, covered)
	s.told("another history was retired", found, []string{"JIT-1002, event 6: checkpoint: it was retired"})
	// The newest checkpoint counts, in whatever order they were written.
	early := tickets.Checkpoint{Ticket: "JIT-1002", Events: 1, Hash: checkpoints[1].Hash}
	found, _ = s.verify(checkpoints[1], early, covered)
	s.told("an early checkpoint written late", found, nil)
	found, v = s.verify(early, covered)
	s.told("an early checkpoint alone", found, []string{"JIT-1002, event 1: checkpoint: it was retired with 6 events"})
	if v.Checkpoints != 1 {
		s.Errorf("%d checkpoints compared; want that of the ledger alone", v.Checkpoints)
	}
	s.side.Remove(1007)
	found, _ = s.verify()
	s.told("a loss beside it", found, []string{"number 1007: missing"})
}

// final is a ticket that may be retired.
func (s *verifySuite) final(id string) *tickets.Ticket {
	s.Helper()
	t, err := s.side.Update(s.Context(), s.life(id).Number, func(t *tickets.Ticket) error {
		t.RecordEdit(Place, t.Rev, Now)
		t.RecordReply(Place, len(t.Events)-1, Now)
		return nil
	})
	s.must(err)
	return t
}

// looking is a keeper that does something before it is looked through.
type looking struct {
	Keeper
	once func()
}

func (k looking) FormsAfter(ctx context.Context, seq int64, limit int) ([]store.Form, error) {
	k.once()
	return k.Keeper.FormsAfter(ctx, seq, limit)
}

// retiredMeanwhile retires tickets beside verify: they are no loss, and what
// is lost beside them is.
func (s *verifySuite) retiredMeanwhile() {
	for _, id := range []string{"a", "b", "c"} {
		s.final(id)
	}
	s.life("d") // owes an edit, and stays
	checkpoints := s.checkpoints()
	real := s.side.Keeper
	beside := func(do func()) []string {
		s.Helper()
		s.side.Keeper = looking{real, sync.OnceFunc(do)}
		defer func() { s.side.Keeper = real }()
		found, _ := s.verify(checkpoints...)
		return found
	}
	later := Now.Add(time.Hour)
	retire := func() {
		if e, err := real.Retire(s.Context(), later, later, 2); err != nil || len(e.Tickets) == 0 {
			s.Errorf("Retire = %+v, %v", e, err)
		}
	}
	s.told("retired meanwhile", beside(retire), nil)
	docs, err := real.Ledger(s.Context())
	s.must(err)
	e, err := store.DecodeRetired(docs[0])
	s.must(err)
	checkpoints = append(checkpoints, tickets.Checkpoint{Ticket: store.LedgerCheckpoint, Events: e.N, Hash: e.Hash})
	found := beside(func() {
		retire()
		s.side.Remove(1004)
	})
	s.told("lost meanwhile", found, []string{"number 1004: missing", "JIT-1004: missing"})
}

// forgedRetirement removes a ticket and puts an entry that looks right into
// the ledger: without checkpoints nothing tells, with them it is found.
func (s *verifySuite) forgedRetirement() {
	t := s.final("a")
	s.life("b")
	checkpoints := s.checkpoints()
	forged := *t
	forged.Events = append(slices.Clone(t.Events), tickets.Event{N: 7, Hash: strings.Repeat("0", 64)})
	_, doc, err := store.NewLedgerEntry(nil, []*tickets.Ticket{&forged}, Now)
	s.must(err)
	_, err = s.side.RestoreLedger(s.Context(), [][]byte{doc})
	s.must(err)
	found, _ := s.verify(checkpoints...)
	s.told("an entry for a ticket that is there", found, []string{
		"JIT-1001: added: the ledger says that it was retired",
		"retired, event 1: checkpoint: no checkpoint tells",
	})
	s.side.Remove(1001)
	found, _ = s.verify()
	s.told("without checkpoints", found, nil)
	found, v := s.verify(checkpoints...)
	s.told("with checkpoints", found, []string{
		"retired, event 1: checkpoint: no checkpoint tells of this entry",
		"JIT-1001, event 6: checkpoint: it was retired with 7 events, and no checkpoint tells of the last of them",
	})
	if v.Checkpoints != 1 {
		s.Errorf("%d checkpoints compared; want that of the other ticket alone", v.Checkpoints)
	}
}
