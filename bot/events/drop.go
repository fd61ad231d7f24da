package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Dropped is what Drop did.
type Dropped struct {
	Tickets int // that knew the receiver
	Owing   int // of those, that owed it something
}

// Archive is a store whose tickets can all be read, one after the other.
type Archive interface {
	store.Store
	store.Archive
}

// Drop lets nothing in s be owed to a receiver that is no longer configured:
// if it is configured again it begins anew. No history tells of receivers, so
// none is changed. It may be interrupted and repeated. An error may be of
// tickets that are left as they are; the others are done all the same.
func Drop(ctx context.Context, s Archive, to tickets.EventSink) (Dropped, error) {
	var done Dropped
	var first error
	unread := 0
	for seq := int64(0); ; {
		page, err := s.TicketsAfter(ctx, seq, dropPage)
		if err != nil {
			return done, fmt.Errorf("read tickets: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			seq = r.Seq
			err := r.Err
			if err == nil {
				if err = done.ticket(ctx, s, r.Ticket, to); err != nil && !errors.Is(err, store.ErrNewerForm) {
					return done, err
				}
			}
			if err != nil {
				unread++
				first = cmp.Or(first, err)
			}
		}
	}
	if unread > 0 {
		first = fmt.Errorf("tickets that could not be read and are left as they are: %d, the first: %w", unread, first)
	}
	return done, errors.Join(first, dropChanges(ctx, s, to))
}

// dropPage is how many tickets are read together.
const dropPage = 128

func (d *Dropped) ticket(ctx context.Context, s store.Store, t *tickets.Ticket, to tickets.EventSink) error {
	if t.Delivery(to) == nil {
		return nil
	}
	var owed int
	_, known, err := store.Change(ctx, s, t.Number, func(t *tickets.Ticket) (known bool) {
		owed, known = t.UntrackSink(to)
		return known
	})
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !known: // it was retired, or somebody was faster
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", t.Number, err)
	}
	d.Tickets++
	if owed > 0 {
		d.Owing++
	}
	return nil
}

// dropChanges lets a receiver begin anew with the changes of the settings.
func dropChanges(ctx context.Context, s store.Store, to tickets.EventSink) error {
	name := string(tickets.DeliverLane(to))
	switch _, err := s.Cursor(ctx, name); {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return s.SetCursor(ctx, name, toldNothing)
}
