package bot

import (
	"context"
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Click implements [adapters.Handler]: it opens forms and details, and moves a
// ticket to a state.
func (b *Bot) Click(ctx context.Context, c adapters.Click) (answer adapters.Answer) {
	start := b.Now()
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
		return adapters.Note{Text: sayOldButton}
	}
	if err := b.ensure(ctx); err != nil {
		return *b.readFailed(c.Number, err)
	}
	if c.Action == adapters.ActionState {
		return b.moveByMenu(ctx, c)
	}
	t, err := b.Store.Get(ctx, c.Number)
	if err != nil || t.Request == nil {
		return *b.readFailed(c.Number, err)
	}
	ctx, end := b.span(ctx, Span{Name: "click", ID: t.ID, Platform: c.Actor.Platform, Start: start})
	defer func() { end(c.Number, resultOf(answer)) }()
	if no := misplaced(c, t); no != "" {
		if c.Action == adapters.ActionDetails {
			b.refused(c.Actor, t.Number, no)
		} else {
			b.deny(c.Actor, verdict, c.Place, t.Number, no)
		}
		return adapters.Note{Text: no}
	}
	if c.Action == adapters.ActionDetails {
		return adapters.Details{Ticket: t}
	}
	if no := b.authorize(ctx, c.Actor, t.Request); no.say != "" {
		b.deny(c.Actor, verdict, c.Place, t.Number, no.why)
		return adapters.Note{Text: no.say, Again: no.again}
	}
	if t, err = b.whole(ctx, t); err != nil {
		return *b.readFailed(c.Number, err)
	}
	if err := t.Decidable(b.rulesOf(t)); err != nil {
		b.deny(c.Actor, verdict, c.Place, t.Number, err.Error())
		b.writeLater(t.Number, c.Actor, b.refreshActive)
		return adapters.Note{Text: adapters.SayUndecidable(t, err)}
	}
	if no := b.mayBoth(ctx, c.Actor, t); no != "" {
		b.deny(c.Actor, verdict, c.Place, t.Number, tickets.ErrAccepted.Error())
		return adapters.Note{Text: no, Again: inDoubt(no)}
	}
	values := c.Form
	if c.Action != adapters.ActionForm && verdict == tickets.Approve {
		values.Unit, values.Amount = t.Request.FormDuration()
	}
	b.writeLater(t.Number, c.Actor, func(t *tickets.Ticket) bool { return t.RecordFormOpened(c.Actor, verdict, c.Place, start) })
	if c.Digest.Check(t.Request) != nil {
		return anew(t, verdict, values, nil)
	}
	return adapters.Form{Ticket: t, Verdict: verdict, Values: values}
}

// moveByMenu moves a ticket to the state that was chosen from the menu on its card.
// Everybody sees the menu; it is for admins.
func (b *Bot) moveByMenu(ctx context.Context, c adapters.Click) adapters.Answer {
	if no := b.once(ctx, c.Actor, c.Delivery); no != nil {
		return *no
	}
	if no := b.mayAdmin(ctx, c.Actor); no != "" {
		b.deny(c.Actor, "", c.Place, c.Number, no)
		return adapters.Note{Text: no}
	}
	t, err := b.Store.Get(ctx, c.Number)
	if err != nil {
		return *b.readFailed(c.Number, err)
	}
	if no := misplaced(c, t); no != "" {
		b.deny(c.Actor, "", c.Place, c.Number, no)
		return adapters.Note{Text: no}
	}
	if _, no := b.move(ctx, c.Actor, t, string(c.State)); no != nil {
		return *no
	}
	return adapters.Done{}
}

// Submit implements [adapters.Handler]: it checks a form against every rule
// once more and records the decision. The first one wins.
func (b *Bot) Submit(ctx context.Context, s adapters.Submission) (answer adapters.Answer) {
	start := b.Now()
	if err := b.ensure(ctx); err != nil {
		return *b.readFailed(s.Number, err)
	}
	if no := b.once(ctx, s.Actor, s.Delivery); no != nil {
		return *no
	}
	t, err := b.Store.Get(ctx, s.Number)
	if err != nil || t.Request == nil {
		return *b.readFailed(s.Number, err)
	}
	ctx, end := b.span(ctx, Span{Name: "submit", ID: t.ID, Platform: s.Actor.Platform, Start: start})
	defer func() { end(s.Number, resultOf(answer)) }()
	if no := misplaced(adapters.Click{Digest: s.Digest, Private: true}, t); no != "" {
		b.deny(s.Actor, s.Verdict, s.Place, t.Number, no)
		return adapters.Note{Text: no}
	}
	if no := b.authorize(ctx, s.Actor, t.Request); no.say != "" {
		b.deny(s.Actor, s.Verdict, s.Place, t.Number, no.why)
		return adapters.Note{Text: no.say, Again: no.again}
	}
	reason, duration, problems := s.Form.Check(s.Verdict)
	if problems == nil && s.Verdict == tickets.Approve {
		problems = s.Form.UnusedAmount(t.Request)
	}
	if t, err = b.whole(ctx, t); err != nil {
		return *b.readFailed(s.Number, err)
	}
	accepted := t.AcceptedBy()
	if no := b.mayBoth(ctx, s.Actor, t); no != "" {
		b.deny(s.Actor, s.Verdict, s.Place, t.Number, tickets.ErrAccepted.Error())
		return adapters.Note{Text: no, Again: inDoubt(no)}
	}
	if t.Decidable(b.rulesOf(t)) == nil {
		switch {
		case s.Digest.Check(t.Request) != nil:
			return anew(t, s.Verdict, s.Form, problems)
		case problems != nil:
			return adapters.Form{Ticket: t, Verdict: s.Verdict, Values: s.Form, Problems: problems}
		}
	}
	d := tickets.Decision{Verdict: s.Verdict, Reason: reason, Duration: duration, By: s.Actor, At: b.Now(), Place: s.Place}
	write, recorded := b.span(ctx, Span{Name: "decide", ID: t.ID, Platform: s.Actor.Platform, Makes: &d})
	t, err = b.Store.Update(write, s.Number, func(t *tickets.Ticket) error {
		err := s.Digest.Check(t.Request)
		if errors.Is(err, tickets.ErrOtherRequest) || err != nil && t.Decidable(b.rulesOf(t)) == nil {
			return err
		}
		if t.AcceptedBy() != accepted {
			return tickets.ErrAccepted // meanwhile, perhaps by the same person
		}
		return t.Decide(d, b.rulesOf(t))
	})
	if err == nil {
		recorded(s.Number, string(d.Verdict))
	}
	switch {
	case errors.Is(err, tickets.ErrMoreKnown):
		return anew(t, s.Verdict, s.Form, nil)
	case err == nil:
		b.Log.Info("decided", "ticket", t.Number, "actor", s.Actor.String(), "verdict", d.Verdict)
		b.outbox.Wake(t)
		return adapters.Done{}
	case t == nil:
		return *b.writeUnknown(s.Number, err)
	case repeats(t.Decision, d):
		return adapters.Done{} // the platform delivered the form twice
	}
	b.deny(s.Actor, s.Verdict, s.Place, t.Number, err.Error())
	b.writeLater(t.Number, s.Actor, b.refreshActive)
	return adapters.Note{Text: adapters.SayUndecidable(t, err)}
}

// repeats reports whether d says again what made says.
func repeats(made *tickets.Decision, d tickets.Decision) bool {
	return made != nil && made.By.Platform == d.By.Platform && made.By.ID == d.By.ID &&
		made.Verdict == d.Verdict && made.Reason == d.Reason && made.Duration == d.Duration
}

// readFailed answers an act on a ticket that cannot be read.
func (b *Bot) readFailed(n tickets.Number, err error) *adapters.Note {
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return &adapters.Note{Text: adapters.SayNoTicket(n)}
	}
	b.Log.Error("cannot read ticket", "ticket", n, "err", err)
	return &adapters.Note{Text: sayUnread(err), Again: !errors.Is(err, store.ErrUnreadable)}
}

// writeUnknown answers an act whose write failed: it may have been made all the
// same.
func (b *Bot) writeUnknown(n tickets.Number, err error) *adapters.Note {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnreadable) {
		return b.readFailed(n, err)
	}
	b.Log.Error("cannot record what somebody did", "ticket", n, "err", err)
	return &adapters.Note{Text: sayUnrecorded, Again: true}
}

func (b *Bot) refused(a tickets.Actor, n tickets.Number, why string) {
	b.Log.Warn("refused", "ticket", n, "actor", a.String(), "why", why)
}

// deny tells the log and the ticket's history, if there is such a ticket,
// that a may not do what they wanted.
func (b *Bot) deny(a tickets.Actor, v tickets.Verdict, in tickets.Place, n tickets.Number, why string) {
	now := b.Now()
	b.refused(a, n, why)
	b.writeLater(n, a, func(t *tickets.Ticket) bool { return t.RecordAccessDenied(a, v, in, why, now) })
}

// refreshActive makes a card offer its buttons, or not, as the settings now say of
// the ticket's state. It reports false if it does already.
func (b *Bot) refreshActive(t *tickets.Ticket) bool {
	return t.Progress() == tickets.Pending && t.Move(t.State, tickets.Actor{}, b.rulesOf(t), b.Now())
}
