package events

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// toldNothing is the mark of a receiver that begins with what comes next, as
// one without a mark does.
const toldNothing = -1

// follower tells one receiver of the changes of the settings. What it has told
// is kept in the store.
type follower struct {
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
func (d *Delivery) runChanges(ctx context.Context, to tickets.EventSink) {
	f := &follower{to: to, name: string(tickets.DeliverLane(to)), holder: rand.Text(), begins: d.Version(), told: toldNothing}
	defer d.leaveChanges(ctx, f)
	poll := time.NewTicker(d.Poll)
	defer poll.Stop()
	for {
		if err := d.deliverChanges(ctx, f); err != nil && ctx.Err() == nil {
			d.Log.Warn("cannot deliver the changes of the settings", "sink", to, "class", tickets.FailureOf(err).Class, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

func (d *Delivery) leaveChanges(ctx context.Context, f *follower) {
	if d.Shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outbox.RecordTimeout)
	defer cancel()
	if err := d.Shared.ReleaseLease(ctx, f.name, f.holder); err != nil {
		d.Log.Warn("cannot leave the changes of the settings to another replica", "sink", f.to, "err", err)
	}
}

// deliverChanges tells f of what it was not told yet. A failure lets the lane
// rest, unless it is of what is told.
func (d *Delivery) deliverChanges(ctx context.Context, f *follower) error {
	l, version := d.lane(tickets.DeliverLane(f.to)), d.Version()
	if now := d.Now(); f.told == version || now.Before(f.next) || !l.MayClaim(now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	err := d.tellChanges(ctx, f, version)
	switch failure := tickets.FailureOf(err); {
	case err == nil:
	case failure.Class == tickets.Rejected:
		f.next = d.Now().Add(outbox.SlowRetry) // the tickets' events may be taken all the same
	default:
		l.Rest(failure, d.Now())
	}
	return err
}

func (d *Delivery) tellChanges(ctx context.Context, f *follower, version int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("panic: %T\n%s", p, debug.Stack())}
		}
	}()
	told, err := d.Store.Cursor(ctx, f.name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		told = toldNothing
	case err != nil:
		return err
	case told == version:
		f.told = told
		return nil
	}
	if d.Shared != nil {
		if mine, err := d.Shared.AcquireLease(ctx, f.name, f.holder, changesLease); err != nil || !mine {
			return err
		}
	}
	if told == toldNothing { // a new receiver
		if err := d.Store.SetCursor(ctx, f.name, f.begins); err != nil {
			return err
		}
		f.told = f.begins
		return nil
	}
	if told > version {
		set, err := d.Store.Settings(ctx)
		if err != nil || set.Version >= told { // another replica has told of it; this one has not read it yet
			return err
		}
		d.Log.Warn("the store has lost changes of the settings that were delivered", "sink", f.to, "settings", set.Version)
		return d.Store.SetCursor(ctx, f.name, set.Version)
	}
	list, err := d.changesAfter(ctx, told)
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
			taken, err := d.Sinks[f.to].Deliver(ctx, left)
			f.taken += taken
			if err != nil {
				return err
			}
			d.worked(f.to, left)
		}
		told = list[0].Version
		if err := d.Store.SetCursor(ctx, f.name, told); err != nil {
			return err
		}
		list = list[n:]
	}
	f.told = told
	return nil
}

// changesAfter are the changes of the settings after a version, oldest first.
func (d *Delivery) changesAfter(ctx context.Context, version int64) ([]tickets.Change, error) {
	for n := maxEvents; ; n *= 10 {
		newest, err := d.Store.Changes(ctx, n)
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
