// Package decisions sends decisions to EPM and asks what became of them. Nothing is
// decided here: a ticket says what was, and the outbox when it is to be sent.
//
// A call that failed without a clear answer may have happened. Then EPM is asked
// whether it has the decision; if it has not, or cannot say, the same decision is
// sent again. The ticket is not opened for another decision before EPM has said
// that it has none, ten minutes after the last ambiguous attempt.
//
// If the API account lacks a right, or its credentials are not taken, no decision is
// thrown away: it stays, the card says which right is missing, admins are told at
// once, and it is tried again every ten minutes, and with all others as soon as EPM
// takes one (denial.go).
package decisions

import (
	"context"
	"log/slog"
	"time"

	"github.com/countersign/countersign/bot/notify"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// deniedRetry is for a decision that EPM does not let us send.
	deniedRetry = 10 * time.Minute
	// firstPoll and lastPoll bound how often EPM is asked for an outcome
	// whose webhook does not come.
	firstPoll = 5 * time.Minute
	lastPoll  = time.Hour
)

// EPM takes decisions; see the api of package epm.
type EPM interface {
	Decide(ctx context.Context, t *tickets.Ticket) error
	Outcome(ctx context.Context, t *tickets.Ticket) (*tickets.Outcome, error)
}

// Store is what a sender needs of the store; see the store package.
type Store interface {
	List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error)
	Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error)
}

// Config is what a sender is made of. All of it is required.
type Config struct {
	Store    Store
	EPM      EPM
	Rules    func(*tickets.Ticket) tickets.Rules
	Notifier *notify.Notifier
	Wake     func(*tickets.Ticket) // is called with each ticket that has to be sent again
	Log      *slog.Logger
	Now      func() time.Time
}

// Sender sends decisions. Make one with [New].
type Sender struct {
	Config
	denial    denial
	permitted chan struct{} // what EPM denied is to be sent
}

// New makes a sender.
func New(c Config) *Sender { return &Sender{Config: c, permitted: make(chan struct{}, 1)} }

// Send sends the decision, after asking EPM whether it has it already if
// that is not clear.
func (s *Sender) Send(ctx context.Context, t *tickets.Ticket) (func(*tickets.Ticket), error) {
	d, unclear := *t.Decision, t.Sending.Unclear
	if unclear {
		switch out, err := s.EPM.Outcome(ctx, t); {
		case err == nil && out != nil:
			s.setAway(false)
			return func(t *tickets.Ticket) { t.Conclude(*out, s.Rules(t), s.Now()) }, nil
		case err == nil:
			now := s.Now()
			clear := *t
			clear.ConfirmAbsent(d, now)
			unclear = clear.Sending.Unclear
		default:
			s.Log.Warn("cannot ask EPM for the outcome", "ticket", t.Number, "err", err)
		}
	}
	err := s.EPM.Decide(ctx, t)
	now := s.Now()
	if err == nil {
		s.answered(nil)
		return func(t *tickets.Ticket) { t.RecordAccepted(d, now) }, nil
	}
	f := tickets.FailureOf(err)
	s.answered(f)
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
				t.Move(t.State, tickets.Actor{}, s.Rules(t), now) // the settings may have changed meanwhile
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

// LookUp asks EPM what became of an acknowledged decision.
func (s *Sender) LookUp(ctx context.Context, t *tickets.Ticket) (func(*tickets.Ticket), error) {
	out, err := s.EPM.Outcome(ctx, t)
	now := s.Now()
	if err == nil && out != nil {
		return func(t *tickets.Ticket) { t.Conclude(*out, s.Rules(t), now) }, nil
	}
	next := now.Add(outbox.Backoff(firstPoll, lastPoll, t.Sending.Polls))
	return func(t *tickets.Ticket) { t.RecordPoll(next, now) }, err
}

// Panicked is what to record of a step that panicked: nobody knows what it has done.
func (s *Sender) Panicked(t *tickets.Ticket, kind tickets.StepKind, next time.Time) func(*tickets.Ticket) {
	now := s.Now()
	if kind == tickets.StepPoll {
		return func(t *tickets.Ticket) { t.RecordPoll(next, now) }
	}
	s.setAway(true)
	d := *t.Decision
	return func(t *tickets.Ticket) {
		t.SendFailed(d, true, "Countersign has an error of its own, which its log tells", next, now)
	}
}
