// Package tracing tells a tracer what is done for each ticket, as one trace from its
// webhook to the confirmed decision, whichever process does it.
package tracing

import (
	"context"
	"time"

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

// Begin tells t, which may be nil, that s begins; see [Tracer].
func Begin(ctx context.Context, t Tracer, s Span) (context.Context, func(n tickets.Number, result string)) {
	if t == nil {
		return ctx, func(tickets.Number, string) {}
	}
	return t.Begin(ctx, s)
}

// BeginUpdate tells t, which may be nil, that what EPM tells is taken, which may be
// of no request. end is called with what was made of it, as of now.
func BeginUpdate(ctx context.Context, t Tracer, name string, u *tickets.Update, start time.Time) (_ context.Context, end func(*tickets.Ticket, tickets.Receipt, error, time.Time)) {
	if t == nil || u == nil {
		return ctx, func(*tickets.Ticket, tickets.Receipt, error, time.Time) {}
	}
	ctx, ended := t.Begin(ctx, Span{Name: name, ID: u.ID, Start: start})
	return ctx, func(tk *tickets.Ticket, r tickets.Receipt, err error, now time.Time) {
		if err != nil {
			ended("", "error")
			return
		}
		ended(r.Ticket, string(r.Status))
		if tk != nil && concluded(tk, start) {
			t.Ended(tk, now)
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
