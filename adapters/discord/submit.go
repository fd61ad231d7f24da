package discord

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

func (c *Chat) submit(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	action, digest, number, ok := parseCustomID(in.customID())
	s := adapters.Submission{Delivery: in.delivery(), Actor: in.actor(), Place: in.place(), Number: number, Digest: digest, Verdict: tickets.Verdict(action), Form: in.form()}
	switch {
	case !ok || (s.Verdict != tickets.Approve && s.Verdict != tickets.Deny):
		c.log.Warn("a form that we do not offer was submitted")
		return telling(in, sayUnknownButton)
	case s.Verdict == tickets.Deny:
		s.Form.Unit, s.Form.Amount = tickets.UnitOnce, ""
	}
	switch a := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Submit(ctx, s) }).(type) {
	case adapters.Form:
		// A form must not be answered with a form.
		return answering(in, retryMessage(a, customID(adapters.Action(a.Verdict), a.Ticket.Request.Digest(), a.Ticket.Number)))
	case adapters.Note:
		if a.Retryable {
			return in.again(a.Text)
		}
		return c.say(in, a)
	case adapters.Done:
		if in.private() {
			return telling(in, fmt.Sprintf(saySent, number))
		}
		return c.say(in, a)
	default:
		return c.say(in, a)
	}
}
