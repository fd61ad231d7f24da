package bot

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/tickets"
)

// steps does what tickets owe, for the outbox.
type steps struct{ *Bot }

var _ outbox.Steps = steps{}

// Show implements [outbox.Steps].
func (b steps) Show(ctx context.Context, t *tickets.Ticket, s tickets.Step) (done func(*tickets.Ticket), err error) {
	chat := b.chats[s.Place.Platform]
	if chat == nil {
		// The lane exists only for configured chats.
		return func(*tickets.Ticket) {}, fmt.Errorf("no chat on %s", s.Place.Platform)
	}
	m := *t.Message(s.Place)
	switch s.Kind {
	case tickets.StepPost:
		var id string
		id, err = chat.Post(ctx, s.Place, t, m.Since())
		done = func(now *tickets.Ticket) { now.RecordPost(s.Place, id, t, b.now()) }
	case tickets.StepEdit:
		err = chat.Edit(ctx, m, t)
		done = func(now *tickets.Ticket) { now.RecordEdit(s.Place, t.Rev, b.now()) }
	case tickets.StepReply:
		err = chat.Reply(ctx, m, t, s.Event, m.Since())
		done = func(now *tickets.Ticket) { now.RecordReply(s.Place, s.Event, b.now()) }
	}
	return done, err
}

// Call implements [outbox.Steps].
func (b steps) Call(ctx context.Context, t *tickets.Ticket, s tickets.Step) (record func(*tickets.Ticket), err error) {
	switch s.Kind {
	case tickets.StepSend:
		return b.decisions.Send(ctx, t)
	case tickets.StepPoll:
		return b.decisions.LookUp(ctx, t)
	}
	return b.events.Deliver(ctx, t, s)
}

// Panicked implements [outbox.Steps].
func (b steps) Panicked(t *tickets.Ticket, s tickets.Step, next time.Time) func(*tickets.Ticket) {
	if s.Kind != tickets.StepDeliver {
		return b.decisions.Panicked(t, s.Kind, next)
	}
	return func(t *tickets.Ticket) { t.DeliveryFailed(s.Sink, "panic", next) }
}

// Check implements [outbox.Steps].
func (b steps) Check(ctx context.Context, t *tickets.Ticket) (*tickets.Ticket, error) {
	return b.inspector.Check(ctx, t)
}

// recorded is told of each step once it is recorded.
func (b *Bot) recorded(r outbox.Result) {
	if r.Final && b.tracer != nil {
		b.tracer.Ended(r.After, b.now())
	}
	b.cards.GivenUp(r.Before, r.After, r.Step.Place)
}

// stepSpan is the span of a step, which is counted when it ends.
func (b *Bot) stepSpan(ctx context.Context, t *tickets.Ticket, s tickets.Step) (context.Context, func(tickets.Number, string, time.Duration)) {
	span := tracing.Span{Name: string(s.Kind), ID: t.ID, Platform: s.Place.Platform}
	if s.Kind == tickets.StepSend || s.Kind == tickets.StepPoll {
		span.For = t.Decision
	}
	ctx, end := tracing.Begin(ctx, b.tracer, span)
	return ctx, func(n tickets.Number, result string, took time.Duration) {
		end(n, result)
		if b.meter != nil {
			b.meter.Step(s.Kind, result, took)
		}
	}
}
