package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/tickets"
)

func (h *Handler) state(ctx context.Context, c adapters.Command, args []string) string {
	if len(args) < 2 {
		return "Say which and where to: /epm state JIT-1042 On Hold"
	}
	t, err := h.Store.Get(ctx, number(args[0]))
	if err != nil {
		return h.ReadFailed(number(args[0]), err).Text
	}
	t, no := h.Move(ctx, c.Actor, t, strings.Join(args[1:], " "))
	switch {
	case no != nil:
		return no.Text
	case t.Active:
		return fmt.Sprintf("%s is now %s.", t.Number, t.State)
	}
	return fmt.Sprintf("%s is now %s, in which nobody can decide it.", t.Number, t.State)
}

// Move puts t into the state of that name, for an admin. It returns the
// ticket, or what to say if it was not moved.
func (h *Handler) Move(ctx context.Context, by tickets.Actor, t *tickets.Ticket, name string) (*tickets.Ticket, *adapters.Note) {
	n, id := t.Number, t.ID
	to, ok := h.Settings.RulesOf(t).Type.FindState(name)
	if !ok {
		return nil, &adapters.Note{Text: fmt.Sprintf("There is no such state. Choose one of: %s.", join(h.Settings.RulesOf(t).Type.States))}
	}
	ctx, end := tracing.Begin(ctx, h.Tracer, tracing.Span{Name: "move", ID: t.ID, Platform: by.Platform})
	t, err := h.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		if t.ID != id {
			return tickets.ErrOtherRequest
		}
		t.Move(to, by, h.Settings.RulesOf(t), h.Now())
		return nil
	})
	if err != nil {
		end(n, "error")
		if errors.Is(err, tickets.ErrOtherRequest) {
			return nil, &adapters.Note{Text: wording.MsgOtherRequest}
		}
		return nil, h.WriteUnknown(n, err)
	}
	end(n, "done")
	h.Outbox.Wake(t)
	return t, nil
}
