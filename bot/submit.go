package bot

import (
	"context"
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/tickets"
)

// Submit implements [adapters.Handler]: it checks a form against every rule
// once more and records the decision. The first one wins.
func (b *Bot) Submit(ctx context.Context, s adapters.Submission) (answer adapters.Answer) {
	start := b.now()
	if err := b.settings.Ensure(ctx); err != nil {
		return *b.commands.ReadFailed(s.Number, err)
	}
	if no := b.deliveries.First(ctx, s.Actor, s.Delivery); no != nil {
		return *no
	}
	t, err := b.store.Get(ctx, s.Number)
	if err != nil || t.Request == nil {
		return *b.commands.ReadFailed(s.Number, err)
	}
	ctx, end := tracing.Begin(ctx, b.tracer, tracing.Span{Name: "submit", ID: t.ID, Platform: s.Actor.Platform, Start: start})
	defer func() { end(s.Number, resultOf(answer)) }()
	if no := misplaced(adapters.Click{Digest: s.Digest, Private: true}, t); no != "" {
		b.audit.Denied(s.Actor, s.Verdict, s.Place, t.Number, no)
		return adapters.Note{Text: no}
	}
	if no := b.access.Decide(ctx, s.Actor, t.Request); no != nil {
		b.audit.Denied(s.Actor, s.Verdict, s.Place, t.Number, no.Reason)
		return adapters.Note{Text: no.Text, Retryable: no.Retryable}
	}
	reason, duration, problems := s.Form.Check(s.Verdict)
	if problems == nil && s.Verdict == tickets.Approve {
		problems = s.Form.UnusedAmount(t.Request)
	}
	if t, err = b.inspector.Check(ctx, t); err != nil {
		return *b.commands.ReadFailed(s.Number, err)
	}
	accepted := t.AcceptedBy()
	if no := b.access.DecideDamaged(ctx, s.Actor, t); no != nil {
		b.audit.Denied(s.Actor, s.Verdict, s.Place, t.Number, no.Reason)
		return adapters.Note{Text: no.Text, Retryable: no.Retryable}
	}
	if t.Decidable(b.settings.RulesOf(t)) == nil {
		switch {
		case s.Digest.Check(t.Request) != nil:
			return anew(t, s.Verdict, s.Form, problems)
		case problems != nil:
			return adapters.Form{Ticket: t, Verdict: s.Verdict, Values: s.Form, Problems: problems}
		}
	}
	d := tickets.Decision{Verdict: s.Verdict, Reason: reason, Duration: duration, By: s.Actor, At: b.now(), Place: s.Place}
	write, recorded := tracing.Begin(ctx, b.tracer, tracing.Span{Name: "decide", ID: t.ID, Platform: s.Actor.Platform, Makes: &d})
	t, err = b.store.Update(write, s.Number, func(t *tickets.Ticket) error {
		err := s.Digest.Check(t.Request)
		if errors.Is(err, tickets.ErrOtherRequest) || err != nil && t.Decidable(b.settings.RulesOf(t)) == nil {
			return err
		}
		if t.AcceptedBy() != accepted {
			return tickets.ErrAccepted // meanwhile, perhaps by the same person
		}
		return t.Decide(d, b.settings.RulesOf(t))
	})
	if err == nil {
		recorded(s.Number, string(d.Verdict))
	}
	switch {
	case errors.Is(err, tickets.ErrMoreKnown):
		return anew(t, s.Verdict, s.Form, nil)
	case err == nil:
		b.log.Info("decision recorded", "ticket", t.Number, "actor", s.Actor.String(), "verdict", d.Verdict)
		b.outbox.Wake(t)
		return adapters.Done{}
	case t == nil:
		return *b.commands.WriteUnknown(s.Number, err)
	case repeats(t.Decision, d):
		return adapters.Done{} // the platform delivered the form twice
	}
	b.audit.Denied(s.Actor, s.Verdict, s.Place, t.Number, err.Error())
	b.audit.Append(t.Number, s.Actor, b.refreshActive)
	return adapters.Note{Text: wording.MsgUndecidable(t, err)}
}

// repeats reports whether d says again what made says.
func repeats(made *tickets.Decision, d tickets.Decision) bool {
	return made != nil && made.By.Platform == d.By.Platform && made.By.ID == d.By.ID &&
		made.Verdict == d.Verdict && made.Reason == d.Reason && made.Duration == d.Duration
}

// refreshActive makes a card offer its buttons, or not, as the settings now say of
// the ticket's state. It reports false if it does already.
func (b *Bot) refreshActive(t *tickets.Ticket) bool {
	return t.Progress() == tickets.Pending && t.Move(t.State, tickets.Actor{}, b.settings.RulesOf(t), b.now())
}
