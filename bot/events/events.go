// Package events delivers what happens to tickets, and each change of the
// settings, to event sinks: receivers outside of the chats, as a SIEM is.
//
// Each event is delivered at least once, those of one ticket in their order, with
// an ID that stays the same. The ticket says how many of its events each sink has
// taken; of the changes of the settings the store keeps that. A sink begins with
// what happens after it is configured. It is never skipped over: while it takes
// nothing its lane rests, and one event that it refuses, or does not take while it
// takes others, holds up its own ticket's. One that is not configured any more
// stays owed, and is told when it is configured again.
package events

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Sink is told of events outside of the chats, as a SIEM is.
type Sink interface {
	// Deliver tells of what happened, in the order of the list, and returns how
	// many of it, from the first on, have certainly been taken; the others may
	// have been. If that is not all of them it returns a [tickets.Failure] too:
	// class Rejected means that the first that was not taken is refused for what
	// it says, every other class that the receiver takes nothing at present.
	// The same may be told again, and has the same ID then.
	Deliver(ctx context.Context, list []tickets.EventEnvelope) (taken int, err error)
}

// Config is what a delivery is made of. All of it is required but Shared.
type Config struct {
	Store   store.Store
	Sinks   map[tickets.EventSink]Sink
	Shared  store.Coordinator // what the processes on one store agree on; nil if this one is alone
	Version func() int64      // of the settings by which the bot works
	Log     *slog.Logger
	Now     func() time.Time
	Timeout time.Duration // of one delivery
	Poll    time.Duration // how often it is looked whether the settings have changed
}

// Delivery delivers events. Make one with [New].
type Delivery struct {
	Config
	lane func(tickets.Lane) *outbox.Lane

	mu   sync.Mutex
	took map[tickets.EventSink][]tickets.EventEnvelope // the last that each took
}

// New makes a delivery, which lets lanes rest while their sinks take nothing.
func New(c Config, lane func(tickets.Lane) *outbox.Lane) *Delivery {
	return &Delivery{Config: c, lane: lane, took: map[tickets.EventSink][]tickets.EventEnvelope{}}
}

// Run delivers the changes of the settings until ctx ends. What happens to
// tickets is delivered by [Delivery.Deliver].
func (d *Delivery) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for to := range d.Sinks {
		wg.Go(func() { d.runChanges(ctx, to) })
	}
	wg.Wait()
}

const (
	// maxEvents is how much a receiver is told at once.
	maxEvents = 100
	// changesLease is how long one replica tells a receiver of the changes of
	// the settings, unless it renews that.
	changesLease = time.Minute
)

// Deliver tells a sink of what t owes it. record is what to record of that in the
// ticket, whether it failed or not.
func (d *Delivery) Deliver(ctx context.Context, t *tickets.Ticket, s tickets.Step) (record func(*tickets.Ticket), err error) {
	list, from := t.Envelopes(s.Sink, maxEvents)
	taken, err := d.Sinks[s.Sink].Deliver(ctx, list)
	l := d.lane(s.Lane)
	if err == nil {
		d.worked(s.Sink, list)
		return func(t *tickets.Ticket) { t.RecordDelivery(s.Sink, from+len(list)) }, nil
	}
	f := tickets.FailureOf(err)
	alone := f.Class != tickets.Rejected && d.ofOne(ctx, s.Sink, f)
	now := d.Now()
	next := now // others go first when the lane has rested: it may be of this ticket alone
	switch {
	case f.Class == tickets.Rejected:
		d.worked(s.Sink, list[:taken])
		next = now.Add(outbox.SlowRetry)
	case alone:
		tries := t.Delivery(s.Sink).Attempts
		if taken > 0 {
			tries = 0
		}
		next = now.Add(outbox.Backoff(outbox.FirstRetry, outbox.SlowRetry, tries))
	case f.Class == tickets.Unavailable:
		next = time.Time{} // it cannot be: the ticket keeps its turn
		fallthrough
	default:
		l.WaitFor(t.Number, s.Place, l.Rest(f, now))
	}
	return func(t *tickets.Ticket) {
		if taken > 0 {
			t.RecordDelivery(s.Sink, from+taken)
		}
		t.DeliveryFailed(s.Sink, f.Error(), next)
	}, err
}

// ofOne reports whether f is of what the receiver was told alone, as when
// something before a SIEM forbids what somebody wrote: whoever asks for access
// must not be able to let the events of others wait. What the receiver took
// last is told again, and taken again if it is there.
func (d *Delivery) ofOne(ctx context.Context, to tickets.EventSink, f *tickets.Failure) bool {
	switch f.Class {
	case tickets.Unavailable, tickets.RateLimited:
		return false // the text was not looked at, or it wants to be left alone
	}
	took := d.tookLast(to)
	if len(took) == 0 {
		return false
	}
	_, err := d.Sinks[to].Deliver(ctx, took)
	if err != nil && tickets.FailureOf(err).Class != tickets.Rejected {
		return false
	}
	d.worked(to, nil)
	return true
}

// worked notes that a sink is there, and what it took.
func (d *Delivery) worked(to tickets.EventSink, took []tickets.EventEnvelope) {
	d.lane(tickets.DeliverLane(to)).Worked()
	if len(took) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.took[to] = slices.Clone(took[len(took)-1:])
}

// tookLast is the event that a sink took last; nothing while its lane rests, or
// before it took one.
func (d *Delivery) tookLast(to tickets.EventSink) []tickets.EventEnvelope {
	if until, _, _ := d.lane(tickets.DeliverLane(to)).Resting(); until.After(d.Now()) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.took[to]
}
