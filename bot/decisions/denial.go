package decisions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// onEPM stands where a place does in what admins are told when EPM is the
// neighbour that lets us do nothing. Of several replicas one tells of why.
func onEPM(why string) tickets.Place { return tickets.Place{Platform: "epm", Channel: why} }

// denial is that EPM lets us decide nothing: our account lacks a right, or
// its credentials are not taken. It is memory only, as places are: the
// tickets say what waits, and after a restart the first that is sent tells
// again. The zero value knows of none.
type denial struct {
	mu    sync.Mutex
	why   string // for people; empty if EPM lets us
	since time.Time
	swept time.Time // when what waits was last sent
	away  bool      // the last decision that was sent was not answered
}

// sweepEvery is how often a bot that EPM lets decide sends what waits all the
// same: another replica, with other credentials, may have been denied it.
const sweepEvery = 20 * time.Second

// answered notes how EPM answered a decision that was sent, before that is recorded:
// what is known is what EPM said last. Each ticket is sent again by itself, because
// what EPM says of one may hold for its kind alone; but once it takes one, all are.
func (s *Sender) answered(f *tickets.Failure) {
	switch {
	case f == nil:
		s.allowed()
	case f.Class == tickets.Unauthorized:
		s.denied(cmp.Or(f.UserMessage, f.Error()))
	default:
		s.setAway(f.Class == tickets.Unavailable || f.Class == tickets.Ambiguous || f.Class == tickets.RateLimited)
	}
}

// setAway notes whether the last decision that was sent was not answered.
func (s *Sender) setAway(away bool) {
	s.denial.mu.Lock()
	defer s.denial.mu.Unlock()
	s.denial.away = away
}

// allowed notes that EPM took a decision.
func (s *Sender) allowed() {
	d, now := &s.denial, s.Now()
	d.mu.Lock()
	why, due := d.why, now.Sub(d.swept) >= sweepEvery
	d.why, d.away = "", false
	d.mu.Unlock()
	if why != "" {
		s.Log.Info("EPM takes decisions again")
		s.Notifier.Recovered(onEPM(why), wording.MsgEPMAllows())
	}
	if due || why != "" {
		s.Retry()
	}
}

// denied notes that EPM lets us decide nothing, for a reason that people may read.
func (s *Sender) denied(why string) {
	d := &s.denial
	d.mu.Lock()
	before := d.why
	if before == "" {
		d.since = s.Now()
	}
	d.why, d.away = why, false
	d.mu.Unlock()
	if before != why {
		s.Log.Error("EPM takes no decisions", "err", why)
		s.Notifier.Lost(onEPM(why), wording.MsgEPMDenies(why))
	}
}

// Retry has the decisions that EPM denied sent now, to whichever replica
// it said so.
func (s *Sender) Retry() {
	s.denial.mu.Lock()
	s.denial.swept = s.Now()
	s.denial.mu.Unlock()
	select {
	case s.permitted <- struct{}{}:
	default:
	}
}

// Run sends what EPM denied: at the start, because the account or its
// secret may be another since, and when Retry says so.
func (s *Sender) Run(ctx context.Context) {
	for {
		_, err := store.Each(ctx, s.Store, tickets.Submitting, func(t *tickets.Ticket) {
			if t.Sending.NotPermitted {
				s.sendAgain(ctx, t.Number)
			}
		})
		if err != nil && ctx.Err() == nil {
			s.Log.Warn("cannot look through all decisions that EPM did not take", "err", err)
		}
		select {
		case <-s.permitted:
		case <-ctx.Done():
			return
		}
	}
}

// sendAgain has n's decision sent now.
func (s *Sender) sendAgain(ctx context.Context, n tickets.Number) {
	ctx, cancel := context.WithTimeout(ctx, outbox.RecordTimeout)
	defer cancel()
	t, changed, err := store.Change(ctx, s.Store, n, func(t *tickets.Ticket) bool { return t.SendNow(s.Now()) })
	switch {
	case changed:
		s.Wake(t)
	case err == nil, errors.Is(err, store.ErrNotFound), ctx.Err() != nil:
	default:
		s.Log.Warn("cannot send a decision again", "ticket", n, "err", err)
	}
}

// Away reports whether EPM did not answer the last decision that was sent.
func (s *Sender) Away() bool {
	s.denial.mu.Lock()
	defer s.denial.mu.Unlock()
	return s.denial.away
}

// Denial says since when and why EPM takes no decisions, or "".
func (s *Sender) Denial() string {
	d := &s.denial
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == "" {
		return ""
	}
	return fmt.Sprintf("EPM takes no decisions since %s: %s. They are kept and sent again every 10 minutes.",
		wording.FormatTime(d.since), d.why)
}
