package events

import (
	"context"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Tracking is s, whose tickets owe receivers what happens to them: from the
// first event on that comes through it.
func Tracking(s store.Store, to ...tickets.EventSink) store.Store {
	if len(to) == 0 {
		return s
	}
	return tracking{s, to}
}

type tracking struct {
	store.Store
	to []tickets.EventSink
}

// apply lets the ticket of inner owe its events.
func (s tracking) apply(inner store.Apply) store.Apply {
	if inner == nil {
		return nil
	}
	return func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		heard := t.ObservedEvents()
		t, status := inner(t, seq)
		if t != nil {
			t.TrackSink(s.to, heard)
		}
		return t, status
	}
}

// Accept implements [store.Store].
func (s tracking) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	return s.Store.Accept(ctx, in, s.apply(apply))
}

// Replay implements [store.Store].
func (s tracking) Replay(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	return s.Store.Replay(ctx, in, s.apply(apply))
}

// Update implements [store.Store].
func (s tracking) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	return s.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		heard := t.ObservedEvents()
		if err := change(t); err != nil {
			return err
		}
		t.TrackSink(s.to, heard)
		return nil
	})
}
