package bot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
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

// sendEnded notes how the sending of t's decision ended, of which t tells.
// Each ticket is sent again by itself: what EPM says of one may hold for its
// kind alone. But once it takes one, all are sent.
func (b *Bot) sendEnded(t *tickets.Ticket, failure error) {
	d := &b.denial
	d.mu.Lock()
	d.away = false
	if failure != nil {
		switch tickets.FailureOf(failure).Class {
		case tickets.Unavailable, tickets.Ambiguous, tickets.RateLimited:
			d.away = true
		}
	}
	d.mu.Unlock()
	if failure == nil {
		if t.Sending.Done.IsZero() {
			return // EPM had an outcome already: that says nothing of our rights
		}
		now := b.Now()
		d.mu.Lock()
		why, due := d.why, now.Sub(d.swept) >= sweepEvery
		d.why = ""
		d.mu.Unlock()
		if due {
			b.sendDenied()
		}
		if why != "" {
			b.Log.Info("EPM takes decisions again")
			b.notices.add(adminNotice{place: onEPM(why), text: adapters.SayEPMAllows()})
			b.sendDenied()
		}
		return
	}
	f := tickets.FailureOf(failure)
	if f.Class != tickets.Unauthorized {
		return
	}
	why := f.UserMessage
	if why == "" {
		why = f.Error()
	}
	d.mu.Lock()
	before := d.why
	if before == "" {
		d.since = b.Now()
	}
	d.why = why
	d.mu.Unlock()
	if before != why {
		b.Log.Error("EPM takes no decisions", "err", why)
		b.notices.add(adminNotice{place: onEPM(why), lost: true, text: adapters.SayEPMDenies(why)})
	}
}

// sendDenied has the decisions that EPM denied sent now, to whichever replica
// it said so.
func (b *Bot) sendDenied() {
	b.denial.mu.Lock()
	b.denial.swept = b.Now()
	b.denial.mu.Unlock()
	signal(b.permitted)
}

// runDenied sends what EPM denied: at the start, because the account or its
// secret may be another since, and when sendDenied says so.
func (b *Bot) runDenied(ctx context.Context) {
	select {
	case <-b.loaded:
	case <-ctx.Done():
		return
	}
	for {
		_, err := b.eachOf(ctx, tickets.Submitting, func(t *tickets.Ticket) {
			if t.Sending.NotPermitted {
				b.sendAgain(ctx, t.Number)
			}
		})
		if err != nil && ctx.Err() == nil {
			b.Log.Warn("cannot look through all decisions that EPM did not take", "err", err)
		}
		select {
		case <-b.permitted:
		case <-ctx.Done():
			return
		}
	}
}

// sendAgain has n's decision sent now.
func (b *Bot) sendAgain(ctx context.Context, n tickets.Number) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	t, err := b.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		if !t.SendNow(b.Now()) {
			return errNothing
		}
		return nil
	})
	switch {
	case err == nil:
		b.outbox.Wake(t)
	case errors.Is(err, errNothing), errors.Is(err, store.ErrNotFound), ctx.Err() != nil:
	default:
		b.Log.Warn("cannot send a decision again", "ticket", n, "err", err)
	}
}

// epmAway reports whether EPM did not answer the last decision that was sent.
func (b *Bot) epmAway() bool {
	b.denial.mu.Lock()
	defer b.denial.mu.Unlock()
	return b.denial.away
}

// sayDenial says since when and why EPM takes no decisions, or "".
func (b *Bot) sayDenial() string {
	d := &b.denial
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == "" {
		return ""
	}
	return fmt.Sprintf("EPM takes no decisions since %s: %s. They are kept and sent again every 10 minutes.",
		adapters.FormatTime(d.since), d.why)
}
