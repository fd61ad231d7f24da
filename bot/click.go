package bot

import (
	"context"
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/tickets"
)

// Click implements [adapters.Handler]: it opens forms and details, and moves a
// ticket to a state.
func (b *Bot) Click(ctx context.Context, c adapters.Click) (answer adapters.Answer) {
	start := b.now()
	verdict, ok := c.Verdict, true
	switch c.Action {
	case adapters.ActionApprove:
		verdict = tickets.Approve
	case adapters.ActionDeny:
		verdict = tickets.Deny
	case adapters.ActionForm:
		ok = verdict == tickets.Approve || verdict == tickets.Deny
	case adapters.ActionDetails, adapters.ActionState:
	default:
		ok = false
	}
	if !ok {
		return adapters.Note{Text: wording.MsgOldButton}
	}
	if err := b.settings.Ensure(ctx); err != nil {
		return *b.commands.ReadFailed(c.Number, err)
	}
	if c.Action == adapters.ActionState {
		return b.moveByMenu(ctx, c)
	}
	t, err := b.store.Get(ctx, c.Number)
	if err != nil || t.Request == nil {
		return *b.commands.ReadFailed(c.Number, err)
	}
	ctx, end := tracing.Begin(ctx, b.tracer, tracing.Span{Name: "click", ID: t.ID, Platform: c.Actor.Platform, Start: start})
	defer func() { end(c.Number, resultOf(answer)) }()
	if no := misplaced(c, t); no != "" {
		if c.Action == adapters.ActionDetails {
			b.audit.LogDenied(c.Actor, t.Number, no)
		} else {
			b.audit.Denied(c.Actor, verdict, c.Place, t.Number, no)
		}
		return adapters.Note{Text: no}
	}
	if c.Action == adapters.ActionDetails {
		return adapters.Details{Ticket: t}
	}
	if no := b.access.Decide(ctx, c.Actor, t.Request); no != nil {
		b.audit.Denied(c.Actor, verdict, c.Place, t.Number, no.Reason)
		return adapters.Note{Text: no.Text, Retryable: no.Retryable}
	}
	if t, err = b.inspector.Check(ctx, t); err != nil {
		return *b.commands.ReadFailed(c.Number, err)
	}
	if err := t.Decidable(b.settings.RulesOf(t)); err != nil {
		b.audit.Denied(c.Actor, verdict, c.Place, t.Number, err.Error())
		b.audit.Append(t.Number, c.Actor, b.refreshActive)
		return adapters.Note{Text: wording.MsgUndecidable(t, err)}
	}
	if no := b.access.DecideDamaged(ctx, c.Actor, t); no != nil {
		b.audit.Denied(c.Actor, verdict, c.Place, t.Number, no.Reason)
		return adapters.Note{Text: no.Text, Retryable: no.Retryable}
	}
	values := c.Form
	if c.Action != adapters.ActionForm && verdict == tickets.Approve {
		values.Unit, values.Amount = t.Request.FormDuration()
	}
	b.audit.Append(t.Number, c.Actor, func(t *tickets.Ticket) bool { return t.RecordFormOpened(c.Actor, verdict, c.Place, start) })
	if c.Digest.Check(t.Request) != nil {
		return anew(t, verdict, values, nil)
	}
	return adapters.Form{Ticket: t, Verdict: verdict, Values: values}
}

// moveByMenu moves a ticket to the state that was chosen from the menu on its card.
// Everybody sees the menu; it is for admins.
func (b *Bot) moveByMenu(ctx context.Context, c adapters.Click) adapters.Answer {
	if no := b.deliveries.First(ctx, c.Actor, c.Delivery); no != nil {
		return *no
	}
	if no := b.access.Administer(ctx, c.Actor); no != nil {
		b.audit.Denied(c.Actor, "", c.Place, c.Number, no.Reason)
		return adapters.Note{Text: no.Text}
	}
	t, err := b.store.Get(ctx, c.Number)
	if err != nil {
		return *b.commands.ReadFailed(c.Number, err)
	}
	if no := misplaced(c, t); no != "" {
		b.audit.Denied(c.Actor, "", c.Place, c.Number, no)
		return adapters.Note{Text: no}
	}
	if _, no := b.commands.Move(ctx, c.Actor, t, string(c.State)); no != nil {
		return *no
	}
	return adapters.Done{}
}

// resultOf is what came of something that somebody did.
func resultOf(a adapters.Answer) string {
	switch a.(type) {
	case adapters.Form:
		return "form"
	case adapters.Details:
		return "details"
	case adapters.Done:
		return "done"
	}
	return "told" // why not, or something else
}

// misplaced returns "" if what was clicked shows the request of t, in a place
// where t was shown, else the sentence that says why nothing is done. A number
// alone says little: after a restore it is given out again, and another
// installation of the same app has tickets of the same numbers, whose clicks
// may be delivered here. That more is known of the request since is no reason:
// see [tickets.ErrMoreKnown].
func misplaced(c adapters.Click, t *tickets.Ticket) string {
	switch {
	case c.Digest == "":
		return wording.MsgOldButton
	case errors.Is(c.Digest.Check(t.Request), tickets.ErrOtherRequest):
		return wording.MsgOtherRequest
	case !c.Private && !t.ShownIn(c.Place):
		return wording.MsgNotShownHere
	}
	return ""
}

// anew is the form with values, for a request of which more is known than the
// person has seen.
func anew(t *tickets.Ticket, v tickets.Verdict, values tickets.Form, problems tickets.Problems) adapters.Form {
	all := tickets.Problems{}
	for field, say := range problems {
		all[field] = say
	}
	all[tickets.FieldReason] = wording.MsgMoreKnown
	return adapters.Form{Ticket: t, Verdict: v, Values: values, Problems: all}
}
