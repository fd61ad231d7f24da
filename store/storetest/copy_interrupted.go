package storetest

import (
	"context"
	"errors"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

var errBroken = errors.New("broken")

// breaking is an archive whose n-th writing call, from 0, fails: before it did
// anything, in the middle, or after it was done.
type breaking struct {
	store.Archive
	n, at int // at of 0 is before, 1 in the middle, 2 after
	calls int
}

func (b *breaking) broken() bool {
	b.calls++
	return b.calls == b.n+1
}

func (b *breaking) RestoreTickets(ctx context.Context, list []*tickets.Ticket, choose store.Choose) error {
	if !b.broken() {
		return b.Archive.RestoreTickets(ctx, list, choose)
	}
	if part := list[:len(list)*b.at/2]; len(part) > 0 {
		if err := b.Archive.RestoreTickets(ctx, part, choose); err != nil {
			return err
		}
	}
	return errBroken
}

func (b *breaking) RestoreIncomings(ctx context.Context, list []store.StoredIncoming) ([]store.Restored, error) {
	if !b.broken() {
		return b.Archive.RestoreIncomings(ctx, list)
	}
	if part := list[:len(list)*b.at/2]; len(part) > 0 {
		if _, err := b.Archive.RestoreIncomings(ctx, part); err != nil {
			return nil, err
		}
	}
	return nil, errBroken
}

func (b *breaking) RaiseCounter(ctx context.Context, seq int64) error {
	if !b.broken() {
		return b.Archive.RaiseCounter(ctx, seq)
	}
	if b.at == 2 {
		if err := b.Archive.RaiseCounter(ctx, seq); err != nil {
			return err
		}
	}
	return errBroken
}

// interrupted breaks off at each write in turn, on the same store; each run
// goes on where the last broke off, and the last one ends.
func (s *copySuite) interrupted() {
	s.fill(140)
	want, err := s.from.Count(s.Context())
	s.must(err)
	done := 0
	for i := 0; ; i++ {
		b := &breaking{Archive: s.to, n: i / 3, at: i % 3}
		_, err := store.Copy(s.Context(), s.from, b, func(store.Progress) {})
		if err == nil {
			break
		}
		if !errors.Is(err, errBroken) {
			s.Fatalf("broken at call %d = %v", b.n, err)
		}
		done++
		// A bot that is started on it now gives out no number twice.
		if counts, err := s.to.Count(s.Context()); err != nil || counts.Tickets > 0 && counts.Counter != want.Counter {
			s.Fatalf("counts after call %d broke = %+v, %v", b.n, counts, err)
		}
	}
	if done < 15 {
		s.Errorf("broke off %d times, want at every write", done)
	}
	s.same()
	if p, err := s.copy(); err != nil || p.Tickets[store.Same] != 140 || len(p.Tickets) != 1 {
		s.Errorf("Copy again = %s, %v; want everything the same", tally(p), err)
	}
}
