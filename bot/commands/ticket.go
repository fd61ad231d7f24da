package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

func (h *Handler) ticket(ctx context.Context, c adapters.Command, args []string) string {
	if len(args) > 1 && strings.EqualFold(args[1], "accept-damaged") {
		return h.acceptDamage(ctx, c, number(args[0]), args[2:])
	}
	if len(args) != 1 {
		return "Say which: /epm ticket JIT-1042"
	}
	t, err := h.Store.Get(ctx, number(args[0]))
	if err != nil {
		return h.ReadFailed(number(args[0]), err).Text
	}
	lines := []string{wording.PlainText(t, c.Actor.Platform), "State: " + string(t.State)}
	for i, e := range t.Events {
		if e.Kind != tickets.EventReceived && !e.Kind.InThread() {
			continue // for auditors
		}
		lines = append(lines, e.At.UTC().Format("2006-01-02 15:04:05 UTC")+" "+wording.ThreadLine(t, i).On(c.Actor.Platform))
	}
	return strings.Join(lines, "\n")
}

// acceptDamage lets others than the admin who says so decide a ticket whose
// record is damaged, or lets the decision that it has be sent.
func (h *Handler) acceptDamage(ctx context.Context, c adapters.Command, n tickets.Number, args []string) string {
	if no := h.Access.Administer(ctx, c.Actor); no != nil {
		h.Audit.Denied(c.Actor, "", c.Place, n, no.Reason)
		return no.Text
	}
	t, err := h.Store.Get(ctx, n)
	if err != nil {
		return h.ReadFailed(n, err).Text
	}
	switch {
	case !t.Damaged():
		return fmt.Sprintf(wording.MsgNotDamaged, n)
	case len(args) != 1 || !strings.EqualFold(args[0], yes):
		return fmt.Sprintf(wording.MsgAcceptDamage, n, n)
	}
	decided := t.Decision
	if decided != nil {
		switch alike, err := h.Access.MaySame(ctx, c.Actor, decided.By); {
		case err != nil:
			return wording.MsgCannotTell
		case alike:
			h.Audit.Denied(c.Actor, "", c.Place, n, "the decision in the damaged record is perhaps their own")
			return wording.MsgDecidedByYou
		}
	}
	t, err = h.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		switch {
		case !sameDecision(t.Decision, decided):
			return errChanged
		case !t.AcceptDamage(c.Actor, h.Settings.RulesOf(t), h.Now()):
			return errNothing
		}
		return nil
	})
	switch {
	case errors.Is(err, errChanged):
		return fmt.Sprintf(wording.MsgChangedMeanwhile, n)
	case errors.Is(err, errNothing):
		return fmt.Sprintf(wording.MsgNotDamaged, n)
	case err != nil:
		return h.WriteUnknown(n, err).Text
	}
	h.Log.Warn("a damaged record may be decided", "ticket", n, "actor", c.Actor.String())
	h.Outbox.Wake(t)
	return fmt.Sprintf(wording.MsgDamageAccepted, n)
}

var (
	// errChanged means that a ticket has another decision than the one that was
	// looked at.
	errChanged = errors.New("the decision changed meanwhile")
	// errNothing ends a change of a ticket that needs none.
	errNothing = errors.New("nothing to do")
)

func sameDecision(a, b *tickets.Decision) bool {
	return a == nil && b == nil || a != nil && b != nil && a.By == b.By && a.At.Equal(b.At) && a.Verdict == b.Verdict
}
