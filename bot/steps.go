package bot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/tickets"
)

const (
	// deniedRetry is for a decision that EPM does not let us send.
	deniedRetry = 10 * time.Minute
	// firstPoll and lastPoll bound how often EPM is asked for an outcome
	// whose webhook does not come.
	firstPoll = 5 * time.Minute
	lastPoll  = time.Hour
	// recordTimeout is for one write to the store.
	recordTimeout = outbox.RecordTimeout
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
		done = func(now *tickets.Ticket) { now.RecordPost(s.Place, id, t, b.Now()) }
	case tickets.StepEdit:
		err = chat.Edit(ctx, m, t)
		done = func(now *tickets.Ticket) { now.RecordEdit(s.Place, t.Rev, b.Now()) }
	case tickets.StepReply:
		err = chat.Reply(ctx, m, t, s.Event, m.Since())
		done = func(now *tickets.Ticket) { now.RecordReply(s.Place, s.Event, b.Now()) }
	}
	return done, err
}

// Call implements [outbox.Steps].
func (b steps) Call(ctx context.Context, t *tickets.Ticket, s tickets.Step) (record func(*tickets.Ticket), err error) {
	switch s.Kind {
	case tickets.StepSend:
		return b.send(ctx, t)
	case tickets.StepPoll:
		return b.lookUp(ctx, t)
	}
	return b.events.Deliver(ctx, t, s)
}

// Panicked implements [outbox.Steps].
func (b steps) Panicked(t *tickets.Ticket, s tickets.Step, next time.Time) func(*tickets.Ticket) {
	now := b.Now()
	switch s.Kind {
	case tickets.StepSend:
		d := *t.Decision
		return func(t *tickets.Ticket) {
			t.SendFailed(d, true, "Countersign has an error of its own, which its log tells", next, now)
		}
	case tickets.StepPoll:
		return func(t *tickets.Ticket) { t.RecordPoll(next, now) }
	}
	return func(t *tickets.Ticket) { t.DeliveryFailed(s.Sink, "panic", next) }
}

// Check implements [outbox.Steps].
func (b steps) Check(ctx context.Context, t *tickets.Ticket) (*tickets.Ticket, error) {
	return b.whole(ctx, t)
}

// recorded is told of each step once it is recorded.
func (b *Bot) recorded(r outbox.Result) {
	if r.Final && b.Tracer != nil {
		b.Tracer.Ended(r.After, b.Now())
	}
	if r.Step.Kind == tickets.StepSend {
		b.sendEnded(r.After, r.Err)
	}
	b.cardGivenUp(r.Before, r.After, r.Step.Place)
}

// send sends the decision, after asking EPM whether it has it already if
// that is not clear.
func (b steps) send(ctx context.Context, t *tickets.Ticket) (func(*tickets.Ticket), error) {
	d, unclear := *t.Decision, t.Sending.Unclear
	if unclear {
		switch out, err := b.EPM.Outcome(ctx, t); {
		case err == nil && out != nil:
			return func(t *tickets.Ticket) { t.Conclude(*out, b.rulesOf(t), b.Now()) }, nil
		case err == nil:
			now := b.Now()
			clear := *t
			clear.ConfirmAbsent(d, now)
			unclear = clear.Sending.Unclear
		default:
			b.Log.Warn("cannot ask EPM for the outcome", "ticket", t.Number, "err", err)
		}
	}
	err := b.EPM.Decide(ctx, t)
	now := b.Now()
	if err == nil {
		return func(t *tickets.Ticket) { t.RecordAccepted(d, now) }, nil
	}
	f := tickets.FailureOf(err)
	say := f.UserMessage
	next := now.Add(outbox.RetryAfter(f, outbox.FirstRetry, t.Sending.Attempts-1))
	switch f.Class {
	case tickets.Unauthorized:
		return func(t *tickets.Ticket) {
			if !unclear {
				t.ConfirmAbsent(d, now)
			}
			t.SendNotPermitted(d, say, now.Add(max(deniedRetry, f.RetryAfter)), now)
		}, err
	case tickets.Rejected:
		if !unclear {
			return func(t *tickets.Ticket) {
				t.RecordRejection(d, say, now)
				t.Move(t.State, tickets.Actor{}, b.rulesOf(t), now) // the settings may have changed meanwhile
			}, err
		}
		say = "An earlier attempt may have reached EPM, which now answers: " + say
	}
	return func(t *tickets.Ticket) {
		if !unclear {
			t.ConfirmAbsent(d, now)
		}
		t.SendFailed(d, f.Class == tickets.Ambiguous, say, next, now)
	}, err
}

// lookUp asks EPM what became of an acknowledged decision.
func (b steps) lookUp(ctx context.Context, t *tickets.Ticket) (func(*tickets.Ticket), error) {
	out, err := b.EPM.Outcome(ctx, t)
	now := b.Now()
	if err == nil && out != nil {
		return func(t *tickets.Ticket) { t.Conclude(*out, b.rulesOf(t), now) }, nil
	}
	next := now.Add(outbox.Backoff(firstPoll, lastPoll, t.Sending.Polls))
	return func(t *tickets.Ticket) { t.RecordPoll(next, now) }, err
}

// errNothing ends a change of a ticket that needs none.
var errNothing = errors.New("nothing to do")
