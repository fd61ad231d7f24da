package store

import (
	"context"

	"github.com/countersign/countersign/tickets"
)

// Hooks are called by a store. Every method of [Store] that writes a ticket or adds to
// a history calls them; those of [Archive], which bring what another store has written,
// do not. Each may be nil.
type Hooks struct {
	// BeforeWrite may change what a ticket owes before it is written. observed is what
	// [tickets.Ticket.ObservedEvents] was before the change. It may be called more
	// than once for a write and must have no other effect.
	BeforeWrite func(t *tickets.Ticket, observed int)

	// AfterCommit is told the new checkpoint of each history that was added to: a
	// ticket's, the settings' or the ledger's (see [SettingsCheckpoint] and
	// [LedgerCheckpoint]). Two writes at once may be told in either order. After an
	// error nothing is told: the next checkpoint covers it. It must not wait.
	AfterCommit func(tickets.Checkpoint)
}

// TicketWrite is one call of a method that writes a ticket, for stores.
type TicketWrite struct {
	hooks  Hooks
	events map[*tickets.Ticket]int // how many there were before the change
}

// WriteTicket begins a call of a method that writes a ticket.
func (h Hooks) WriteTicket() *TicketWrite {
	return &TicketWrite{h, map[*tickets.Ticket]int{}}
}

// Apply is apply, followed by BeforeWrite.
func (w *TicketWrite) Apply(apply Apply) Apply {
	if apply == nil {
		return nil
	}
	return func(old *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		events, observed := eventsOf(old), old.ObservedEvents()
		t, status := apply(old, seq)
		if t != nil {
			w.changed(t, events, observed)
		}
		return t, status
	}
}

// Change is change, followed by BeforeWrite.
func (w *TicketWrite) Change(change func(*tickets.Ticket) error) func(*tickets.Ticket) error {
	return func(t *tickets.Ticket) error {
		events, observed := eventsOf(t), t.ObservedEvents()
		if err := change(t); err != nil {
			return err
		}
		w.changed(t, events, observed)
		return nil
	}
}

func (w *TicketWrite) changed(t *tickets.Ticket, events, observed int) {
	w.events[t] = events
	if w.hooks.BeforeWrite != nil {
		w.hooks.BeforeWrite(t, observed)
	}
}

func eventsOf(t *tickets.Ticket) int {
	if t == nil {
		return 0
	}
	return len(t.Events)
}

// Committed is called once t, which may be nil, is written.
func (w *TicketWrite) Committed(t *tickets.Ticket) {
	if t != nil && len(t.Events) != w.events[t] {
		w.hooks.committed(t.Checkpoint())
	}
}

// CommittedSettings is called once changes of the settings are written, with their stored
// forms, oldest first.
func (h Hooks) CommittedSettings(docs [][]byte) {
	if len(docs) == 0 {
		return
	}
	// One that cannot be read is covered by the next checkpoint.
	if c, err := DecodeChange(docs[len(docs)-1]); err == nil {
		h.committed(tickets.Checkpoint{Ticket: SettingsCheckpoint, Events: c.N, Hash: c.Hash})
	}
}

// CommittedLedger is called once an entry of the ledger is written; the zero entry is none.
func (h Hooks) CommittedLedger(e Retired) {
	if e.N > 0 {
		h.committed(tickets.Checkpoint{Ticket: LedgerCheckpoint, Events: e.N, Hash: e.Hash})
	}
}

func (h Hooks) committed(c tickets.Checkpoint) {
	if h.AfterCommit != nil {
		h.AfterCommit(c)
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
