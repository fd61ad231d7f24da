package bot

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// EventSink is told of events outside of the chats, as a SIEM is.
type EventSink interface {
	// Deliver tells of what happened, in the order of the list, and returns how
	// many of it, from the first on, have certainly been taken; the others may
	// have been. If that is not all of them it returns a [tickets.Failure] too:
	// class Refused means that the first that was not taken is refused for what
	// it says, every other class that the receiver takes nothing at present.
	// The same may be told again, and has the same ID then.
	Deliver(ctx context.Context, list []tickets.EventEnvelope) (taken int, err error)
}

const (
	// maxNotices is how much a receiver is told at once.
	maxNotices = 100
	// changesLease is how long one replica tells a receiver of the changes of
	// the settings, unless it renews that.
	changesLease = time.Minute
)

// deliver tells a receiver of what t owes it.
func (b *Bot) deliver(ctx context.Context, t *tickets.Ticket, s tickets.Step) (func(*tickets.Ticket), error) {
	list, from := t.Envelopes(s.Sink, maxNotices)
	taken, err := b.EventSinks[s.Sink].Deliver(ctx, list)
	l := b.lanes[s.Lane]
	if err == nil {
		l.worked(list)
		return func(t *tickets.Ticket) { t.RecordDelivery(s.Sink, from+len(list)) }, nil
	}
	f := tickets.FailureOf(err)
	alone := f.Class != tickets.Rejected && b.ofOne(ctx, s.Sink, f)
	now := b.Now()
	next := now // others go first when the lane has rested: it may be of this ticket alone
	switch {
	case f.Class == tickets.Rejected:
		l.worked(list[:taken])
		next = now.Add(slowRetry)
	case alone:
		tries := t.Delivery(s.Sink).Attempts
		if taken > 0 {
			tries = 0
		}
		next = now.Add(backoff(firstRetry, slowRetry, tries))
	case f.Class == tickets.Unavailable:
		next = time.Time{} // it cannot be: the ticket keeps its turn
		fallthrough
	default:
		l.waitFor(t.Number, s.Place, l.failed(f, now))
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
func (b *Bot) ofOne(ctx context.Context, to tickets.EventSink, f *tickets.Failure) bool {
	switch f.Class {
	case tickets.Unavailable, tickets.RateLimited:
		return false // the text was not looked at, or it wants to be left alone
	}
	l := b.lanes[tickets.DeliverLane(to)]
	took := l.tookLast(b.Now())
	if len(took) == 0 {
		return false
	}
	_, err := b.EventSinks[to].Deliver(ctx, took)
	if err != nil && tickets.FailureOf(err).Class != tickets.Rejected {
		return false
	}
	l.worked(nil)
	return true
}

// failed lets the whole lane rest after f, and returns until when: what waits
// in it would meet the same.
func (l *lane) failed(f *tickets.Failure, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.paused.After(now) { // else it was under way when another one failed
		l.paused = now.Add(max(backoff(firstRetry, lastRetry, l.fails), f.RetryAfter))
		l.fails++
	}
	l.why = f.Class
	return l.paused
}

// worked notes that the receiver of the lane is there, and what it took.
func (l *lane) worked(took []tickets.EventEnvelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = 0
	if len(took) > 0 {
		l.took = slices.Clone(took[len(took)-1:])
	}
}

// tookLast is the notice that the receiver of the lane took last; nothing
// while the lane rests, or before it took one.
func (l *lane) tookLast(now time.Time) []tickets.EventEnvelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paused.After(now) {
		return nil
	}
	return l.took
}

// rests is until when the lane rests, and why; long ago if it does not. It is
// failing until its receiver takes something again.
func (l *lane) rests() (until time.Time, why tickets.Class, failing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused, l.why, l.fails > 0
}

// TrackingSinks is s, whose tickets owe receivers what happens to them: from the
// first event on that comes through it.
func TrackingSinks(s store.Store, to ...tickets.EventSink) store.Store {
	if len(to) == 0 {
		return s
	}
	return following{s, to}
}

type following struct {
	store.Store
	to []tickets.EventSink
}

// apply lets the ticket of inner owe its events.
func (s following) apply(inner store.Apply) store.Apply {
	if inner == nil {
		return nil
	}
	return func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		heard := t.ObservedEvents()
		t, status := inner(t, seq)
		if t != nil {
			t.TrackSink(s.to, heard)
		}
		return t, status
	}
}

// Accept implements [store.Store].
func (s following) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	return s.Store.Accept(ctx, in, s.apply(apply))
}

// Replay implements [store.Store].
func (s following) Replay(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	return s.Store.Replay(ctx, in, s.apply(apply))
}

// Update implements [store.Store].
func (s following) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	return s.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		heard := t.ObservedEvents()
		if err := change(t); err != nil {
			return err
		}
		t.TrackSink(s.to, heard)
		return nil
	})
}

// DroppedEvents is what Forget did.
type DroppedEvents struct {
	Tickets int // that knew the receiver
	Owing   int // of those, that owed it something
}

// Archive is a store whose tickets can all be read, one after the other.
type Archive interface {
	store.Store
	store.Archive
}

// DropSink lets nothing in s be owed to a receiver that is no longer configured:
// if it is configured again it begins anew. No history tells of receivers, so
// none is changed. It may be interrupted and repeated. An error may be of
// tickets that are left as they are; the others are done all the same.
func DropSink(ctx context.Context, s Archive, to tickets.EventSink) (DroppedEvents, error) {
	var done DroppedEvents
	var first error
	unread := 0
	for seq := int64(0); ; {
		page, err := s.TicketsAfter(ctx, seq, forgetPage)
		if err != nil {
			return done, fmt.Errorf("read tickets: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			seq = r.Seq
			err := r.Err
			if err == nil {
				if err = done.forget(ctx, s, r.Ticket, to); err != nil && !errors.Is(err, store.ErrNewerForm) {
					return done, err
				}
			}
			if err != nil {
				unread++
				first = cmp.Or(first, err)
			}
		}
	}
	if unread > 0 {
		first = fmt.Errorf("tickets that could not be read and are left as they are: %d, the first: %w", unread, first)
	}
	return done, errors.Join(first, forgetChanges(ctx, s, to))
}

// forgetPage is how many tickets are read together.
const forgetPage = 128

func (f *DroppedEvents) forget(ctx context.Context, s store.Store, t *tickets.Ticket, to tickets.EventSink) error {
	if t.Delivery(to) == nil {
		return nil
	}
	var owed int
	_, err := s.Update(ctx, t.Number, func(t *tickets.Ticket) error {
		var known bool
		if owed, known = t.UntrackSink(to); !known {
			return errNothing
		}
		return nil
	})
	switch {
	case errors.Is(err, errNothing), errors.Is(err, store.ErrNotFound): // somebody was faster, or it was retired
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", t.Number, err)
	}
	f.Tickets++
	if owed > 0 {
		f.Owing++
	}
	return nil
}

// forgetChanges lets a receiver begin anew with the changes of the settings.
func forgetChanges(ctx context.Context, s store.Store, to tickets.EventSink) error {
	name := string(tickets.DeliverLane(to))
	switch _, err := s.Cursor(ctx, name); {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return s.SetCursor(ctx, name, toldNothing)
}

// toldNothing is the mark of a receiver that begins with what comes next, as
// one without a mark does.
const toldNothing = -1

// changeFollower tells one receiver of the changes of the settings. What it has told
// is kept in the store.
type changeFollower struct {
	to     tickets.EventSink
	name   string // of its mark, and of its lease
	holder string
	begins int64     // the version after which it is told, if it is new
	told   int64     // the version up to which it was told; toldNothing: not known yet
	partly string    // the first change of the version that comes next
	taken  int       // how many of that version's it has taken
	next   time.Time // not before
}

// runChanges tells a receiver of the changes of the settings until ctx ends.
func (b *Bot) runChanges(ctx context.Context, to tickets.EventSink) {
	select {
	case <-b.loaded:
	case <-ctx.Done():
		return
	}
	f := &changeFollower{to: to, name: string(tickets.DeliverLane(to)), holder: rand.Text(), begins: b.set.Load().stored.Version, told: toldNothing}
	defer b.leaveChanges(ctx, f)
	poll := time.NewTicker(min(settingsEvery, 4*b.Poll))
	defer poll.Stop()
	for {
		if err := b.deliverChanges(ctx, f); err != nil && ctx.Err() == nil {
			b.Log.Warn("cannot deliver the changes of the settings", "receiver", to, "class", tickets.FailureOf(err).Class, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

func (b *Bot) leaveChanges(ctx context.Context, f *changeFollower) {
	if b.Shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := b.Shared.ReleaseLease(ctx, f.name, f.holder); err != nil {
		b.Log.Warn("cannot leave the changes of the settings to another replica", "receiver", f.to, "err", err)
	}
}

// deliverChanges tells f of what it was not told yet. A failure lets the lane
// rest, unless it is of what is told.
func (b *Bot) deliverChanges(ctx context.Context, f *changeFollower) error {
	l, version := b.lanes[tickets.DeliverLane(f.to)], b.set.Load().stored.Version
	if now := b.Now(); f.told == version || now.Before(f.next) || !l.mayClaim(now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	err := b.tellChanges(ctx, f, version)
	switch failure := tickets.FailureOf(err); {
	case err == nil:
	case failure.Class == tickets.Rejected:
		f.next = b.Now().Add(slowRetry) // the tickets' events may be taken all the same
	default:
		l.failed(failure, b.Now())
	}
	return err
}

func (b *Bot) tellChanges(ctx context.Context, f *changeFollower, version int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("panic: %T\n%s", p, debug.Stack())}
		}
	}()
	told, err := b.Store.Cursor(ctx, f.name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		told = toldNothing
	case err != nil:
		return err
	case told == version:
		f.told = told
		return nil
	}
	if b.Shared != nil {
		if mine, err := b.Shared.AcquireLease(ctx, f.name, f.holder, changesLease); err != nil || !mine {
			return err
		}
	}
	if told == toldNothing { // a new receiver
		if err := b.Store.SetCursor(ctx, f.name, f.begins); err != nil {
			return err
		}
		f.told = f.begins
		return nil
	}
	if told > version {
		set, err := b.Store.Settings(ctx)
		if err != nil || set.Version >= told { // another replica has told of it; this one has not read it yet
			return err
		}
		b.Log.Warn("the store has lost changes of the settings that were delivered", "receiver", f.to, "settings", set.Version)
		return b.Store.SetCursor(ctx, f.name, set.Version)
	}
	list, err := b.changesAfter(ctx, told)
	if err != nil {
		return err
	}
	for len(list) > 0 {
		// Those of one version are told together.
		n := 1
		for n < len(list) && list[n].Version == list[0].Version {
			n++
		}
		notices := tickets.ChangeEnvelopes(list[:n])
		if f.partly != notices[0].ID {
			f.partly, f.taken = notices[0].ID, 0
		}
		if left := notices[f.taken:]; len(left) > 0 {
			taken, err := b.EventSinks[f.to].Deliver(ctx, left)
			f.taken += taken
			if err != nil {
				return err
			}
			b.lanes[tickets.DeliverLane(f.to)].worked(left)
		}
		told = list[0].Version
		if err := b.Store.SetCursor(ctx, f.name, told); err != nil {
			return err
		}
		list = list[n:]
	}
	f.told = told
	return nil
}

// changesAfter are the changes of the settings after a version, oldest first.
func (b *Bot) changesAfter(ctx context.Context, version int64) ([]tickets.Change, error) {
	for n := maxNotices; ; n *= 10 {
		newest, err := b.Store.Changes(ctx, n)
		if err != nil {
			return nil, err
		}
		var list []tickets.Change
		for i := len(newest) - 1; i >= 0; i-- {
			if newest[i].Version > version {
				list = append(list, newest[i])
			}
		}
		if len(list) < len(newest) || len(newest) < n || n > math.MaxInt32/10 {
			return list, nil
		}
	}
}

// sayReceivers says what receivers are owed, now or later, and why if that is
// known. It reports false if one did not take something.
func (b *Bot) sayReceivers(stats store.Stats, now time.Time) (lines []string, take bool) {
	take = true
	for _, name := range slices.Sorted(maps.Keys(stats.Owed)) {
		to, ok := strings.CutPrefix(string(name), string(tickets.DeliverLane("")))
		owed := store.Backlog{Count: stats.Owed[name], Oldest: now}
		if due, is := stats.Due[name]; is {
			owed.Oldest = due.Oldest
		}
		waiting := sayWaiting(owed, "ticket has events to deliver", "tickets have events to deliver", now)
		if !ok || waiting == "" {
			continue
		}
		line := "Events for " + to + ": " + waiting + "."
		if l := b.lanes[name]; l == nil {
			line += fmt.Sprintf(" No such receiver is configured: configure it again, or run countersign events drop-sink %s.", to)
		} else if until, class, failing := l.rests(); until.After(now) {
			take = false
			line += fmt.Sprintf(" It did not take the last one (%s), and Countersign tries again in %s.", class, until.Sub(now).Round(time.Second))
		} else if failing {
			take = false
			line += fmt.Sprintf(" It did not take the last one (%s), and Countersign is trying again.", class)
		} else if later := owed.Count - stats.Due[name].Count; later > 0 {
			take = false
			line += fmt.Sprintf(" Not taken, and tried again within minutes: %d. The log says why.", later)
		}
		lines = append(lines, line)
	}
	return lines, take
}
