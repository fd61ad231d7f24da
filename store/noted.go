package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/tickets"
)

// Noted is s, of which note is told the new checkpoint after each write that added
// to the history of a ticket, of the settings or of the ledger (see [SettingsCheckpoint] and
// [LedgerCheckpoint]). Two
// writes at once may be told in either order. After an error nothing is told:
// the next checkpoint covers it. note must not wait.
func Noted(s Store, note func(tickets.Checkpoint)) Store { return &noted{s, note} }

type noted struct {
	Store
	note func(tickets.Checkpoint)
}

// Accept implements [Store].
func (s *noted) Accept(ctx context.Context, in tickets.Incoming, apply Apply) (tickets.Receipt, *tickets.Ticket, error) {
	return s.applied(apply, func(apply Apply) (tickets.Receipt, *tickets.Ticket, error) { return s.Store.Accept(ctx, in, apply) })
}

// Replay implements [Store].
func (s *noted) Replay(ctx context.Context, in tickets.Incoming, apply Apply) (tickets.Receipt, *tickets.Ticket, error) {
	return s.applied(apply, func(apply Apply) (tickets.Receipt, *tickets.Ticket, error) { return s.Store.Replay(ctx, in, apply) })
}

func (s *noted) applied(apply Apply, write func(Apply) (tickets.Receipt, *tickets.Ticket, error)) (tickets.Receipt, *tickets.Ticket, error) {
	// After an error apply may be called still.
	var before atomic.Int64
	counting := apply
	if apply != nil {
		counting = func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
			before.Store(events(t))
			return apply(t, seq)
		}
	}
	r, t, err := write(counting)
	if err == nil && t != nil && events(t) != before.Load() {
		s.note(t.Checkpoint())
	}
	return r, t, err
}

func events(t *tickets.Ticket) int64 {
	if t == nil {
		return 0
	}
	return int64(len(t.Events))
}

// Update implements [Store].
func (s *noted) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	var before atomic.Int64
	t, err := s.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		before.Store(events(t))
		return change(t)
	})
	if err == nil && events(t) != before.Load() {
		s.note(t.Checkpoint())
	}
	return t, err
}

// Configure implements [Store].
func (s *noted) Configure(ctx context.Context, from int64, changes []tickets.Change) (tickets.Settings, error) {
	set, err := s.Store.Configure(ctx, from, changes)
	if err == nil {
		s.settings(ctx)
	}
	return set, err
}

// ResetSettings implements [Store].
func (s *noted) ResetSettings(ctx context.Context, c tickets.Change) (tickets.Settings, error) {
	set, err := s.Store.ResetSettings(ctx, c)
	if err == nil {
		s.settings(ctx)
	}
	return set, err
}

// Retire implements [Store].
func (s *noted) Retire(ctx context.Context, before, now time.Time, limit int) (Retired, error) {
	e, err := s.Store.Retire(ctx, before, now, limit)
	if err == nil && e.N > 0 {
		s.note(tickets.Checkpoint{Ticket: LedgerCheckpoint, Events: e.N, Hash: e.Hash})
	}
	return e, err
}

// settings tells the checkpoint of the settings' history; if it cannot be read, the
// next one covers it.
func (s *noted) settings(ctx context.Context) {
	if h, err := CheckpointOfSettings(ctx, s.Store); err == nil && h.Events > 0 {
		s.note(h)
	}
}

// CheckpointOfSettings is the checkpoint of the settings' history; it tells of no events
// if there are none, or none since there is a chain.
func CheckpointOfSettings(ctx context.Context, s Store) (tickets.Checkpoint, error) {
	changes, err := s.Changes(ctx, 1)
	if err != nil || len(changes) == 0 {
		return tickets.Checkpoint{}, err
	}
	return tickets.Checkpoint{Ticket: SettingsCheckpoint, Events: changes[0].N, Hash: changes[0].Hash}, nil
}

// CheckpointOfLedger is the checkpoint of the ledger of retired tickets; it tells of no
// events if there are none.
func CheckpointOfLedger(ctx context.Context, s Archive) (tickets.Checkpoint, error) {
	docs, err := s.Ledger(ctx)
	if err != nil || len(docs) == 0 {
		return tickets.Checkpoint{}, err
	}
	e, err := DecodeRetired(docs[len(docs)-1])
	if err != nil {
		return tickets.Checkpoint{}, err
	}
	return tickets.Checkpoint{Ticket: LedgerCheckpoint, Events: e.N, Hash: e.Hash}, nil
}
