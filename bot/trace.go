package bot

import (
	"context"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// Tracer hears what is done for each ticket, as one trace from its webhook to
// the confirmed decision, whichever process does it.
type Tracer interface {
	// Begin hears that something begins. It returns a context that carries
	// that on, and what is called at the end: with the ticket's number, empty
	// if there is none, and what came of it, a word of ours.
	Begin(ctx context.Context, s Span) (context.Context, func(n tickets.Number, result string))
	// Ended hears that t became final at a time, which it does once.
	Ended(t *tickets.Ticket, at time.Time)
}

// Span is something that is done for a ticket.
type Span struct {
	Name     string            // a step's kind, or "webhook", "listed", "replay", "click", "submit", "decide", "move"
	ID       tickets.RequestID // of the ticket's request
	Platform tickets.Platform  // empty if it is done in no chat
	Start    time.Time         // default: now
	Makes    *tickets.Decision // that is recorded by it; nil for none
	For      *tickets.Decision // that it sends or asks about, and which made it necessary; nil for none
}

func unheard(tickets.Number, string) {}

func (b *Bot) span(ctx context.Context, s Span) (context.Context, func(tickets.Number, string)) {
	if b.Tracer == nil {
		return ctx, unheard
	}
	return b.Tracer.Begin(ctx, s)
}

// stepSpan is the span of a step, which is counted when it ends.
func (b *Bot) stepSpan(ctx context.Context, t *tickets.Ticket, s tickets.Step) (context.Context, func(tickets.Number, string, time.Duration)) {
	span := Span{Name: string(s.Kind), ID: t.ID, Platform: s.Place.Platform}
	if s.Kind == tickets.StepSend || s.Kind == tickets.StepPoll {
		span.For = t.Decision
	}
	ctx, end := b.span(ctx, span)
	return ctx, func(n tickets.Number, result string, took time.Duration) {
		end(n, result)
		if b.Meter != nil {
			b.Meter.Step(s.Kind, result, took)
		}
	}
}

// news is the span of what EPM tells, which may be of no request.
func (b *Bot) news(ctx context.Context, name string, n *tickets.Update, start time.Time) (context.Context, func(*tickets.Ticket, tickets.Receipt, error)) {
	if b.Tracer == nil || n == nil {
		return ctx, func(*tickets.Ticket, tickets.Receipt, error) {}
	}
	ctx, end := b.Tracer.Begin(ctx, Span{Name: name, ID: n.ID, Start: start})
	return ctx, func(t *tickets.Ticket, r tickets.Receipt, err error) {
		if err != nil {
			end("", "error")
			return
		}
		end(r.Ticket, string(r.Status))
		if t != nil && concluded(t, start) {
			b.Tracer.Ended(t, b.Now())
		}
	}
}

// concluded reports whether t became final at or after since.
func concluded(t *tickets.Ticket, since time.Time) bool {
	for _, e := range t.Events {
		if e.Kind == tickets.EventOutcome {
			return t.Progress() == tickets.Final && !e.At.Before(since)
		}
	}
	return false
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
