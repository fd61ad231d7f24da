package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// maxSteps bounds what is done for one ticket under one lease.
const maxSteps = 8

// runLane claims tickets that owe something in l and does it, Workers at
// once, until ctx ends; then it waits for what is under way.
func (o *Outbox) runLane(ctx context.Context, l *Lane) {
	select {
	case <-l.After:
	case <-ctx.Done():
		return
	}
	// Steps outlive ctx by Grace, so that what was begun is finished.
	steps, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(o.Grace, stop) })()

	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, o.Workers)
	for ctx.Err() == nil {
		free, pause := o.Workers-len(slots), o.Poll
		if l.InOrder && len(slots) > 0 {
			free = 0
		} else {
			o.release(steps, l, l.over(o.Now())...)
			pause = min(pause, l.untilOver(o.Now()))
		}
		claimed, until := o.claim(ctx, steps, l, free)
		if ctx.Err() != nil {
			for _, t := range claimed {
				o.release(steps, l, t.Number)
			}
			break
		}
		for _, t := range claimed {
			l.enqueue(t, o.Now())
		}
		for _, t := range claimed {
			slots <- struct{}{}
			wg.Go(func() {
				defer l.signal() // a slot is free
				defer func() { <-slots }()
				o.work(ctx, steps, l, t, until)
			})
		}
		if len(claimed) > 0 {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	wg.Wait()
	o.release(steps, l, l.over(o.Now().Add(o.Lease))...) // for other replicas
}

// claim leases up to free tickets, until the time that it returns. It is not
// given up when end is done: nobody would know what it leased.
func (o *Outbox) claim(end, ctx context.Context, l *Lane, free int) ([]*tickets.Ticket, time.Time) {
	now := o.Now()
	until := now.Add(o.Lease)
	if free == 0 || !l.MayClaim(now) {
		return nil, until
	}
	ctx, cancel := context.WithTimeout(ctx, RecordTimeout)
	defer cancel()
	claimed, err := o.Store.Claim(ctx, l.Name, now, until, free)
	switch {
	case end.Err() != nil:
	case l.storeReachable(err == nil) && err == nil:
		o.Log.Info("tickets can be claimed again", "lane", l.Name)
	case err != nil && (len(claimed) > 0 || l.shouldLog(now)):
		o.Log.Error("cannot claim tickets", "lane", l.Name, "err", err)
	}
	return claimed, until
}

// work does what t owes in l, step by step, and gives the ticket back, whose
// lease ends at leased. It begins nothing more once end is done, or when
// another step might outlast the lease.
func (o *Outbox) work(end, ctx context.Context, l *Lane, t *tickets.Ticket, leased time.Time) {
	number, last := t.Number, leased.Add(-o.Timeout-2*RecordTimeout)
	defer func() {
		l.line.exit(tickets.Place{}, number)
		if t == nil {
			o.release(ctx, l, number)
			return
		}
		o.giveBack(ctx, l, t, leased)
	}()
	if t.Broken || l.Checked {
		after, err := o.Steps.Check(ctx, t)
		if err != nil {
			o.Log.Error("cannot compare a ticket with its history", "ticket", number, "err", err)
			l.pauseUntil(o.Now().Add(FirstRetry))
			return
		}
		t = after
	}
	for i := range maxSteps {
		step, ok := o.next(end, l, t, last)
		if !ok || ctx.Err() != nil || i > 0 && (end.Err() != nil || o.Now().After(last)) {
			return
		}
		var err error
		t, err = o.do(ctx, l, t, step)
		l.line.exit(step.Place, number)
		if err != nil {
			// The store did not record it: what was begun is found again.
			o.Log.Error("cannot record step", "ticket", number, "step", step.Kind, "err", err)
			l.pauseUntil(o.Now().Add(FirstRetry))
			return
		}
	}
}

// errNotTried is the result of a step that was not tried: it says nothing about its
// place.
var errNotTried = errors.New("not tried")

// do does one step of t and returns the ticket as recorded afterwards. The
// error is the store's; the step's own failure is recorded in the ticket.
func (o *Outbox) do(ctx context.Context, l *Lane, t *tickets.Ticket, s tickets.Step) (*tickets.Ticket, error) {
	now := o.Now()
	pass := o.outages.acquire(s, now)
	switch {
	case pass.wait && !pass.out && pass.until.Sub(now) <= maxWait:
		return t, nil // it keeps its turn
	case pass.wait:
		l.line.exit(s.Place, t.Number) // nobody waits for what is not tried
		return o.putOff(ctx, t, s, pass)
	}
	call, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	number := t.Number
	t, begun, err := o.begin(call, t, s)
	if err != nil || !begun || isOver(call) {
		o.recordResult(s, number, pass, errNotTried)
		return t, err
	}
	record, failure := o.perform(call, t, s)
	o.recordResult(s, number, pass, failure)
	var final bool
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), RecordTimeout)
	defer cancel()
	after, err := o.Store.Update(write, t.Number, func(t *tickets.Ticket) error {
		before := t.Progress()
		record(t)
		final = before != tickets.Final && t.Progress() == tickets.Final
		return nil
	})
	if err != nil {
		return nil, err
	}
	o.Wake(after) // other lanes: an acknowledged decision owes edits
	if o.Hooks.Recorded != nil {
		o.Hooks.Recorded(Result{Step: s, Before: t, After: after, Final: final})
	}
	if failure != nil && blamesPlace(tickets.FailureOf(failure), s.Kind) {
		o.enqueueWaiting(s, number)
	}
	return after, nil
}

// isOver reports whether ctx's time has passed, though ctx may not have ended
// yet: so it is in a process that was stopped and goes on. The lease may be over
// then too, and another replica at work; what was begun is found again.
func isOver(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && !time.Now().Before(end)
}

// whereOf is what the log is told of a step.
func whereOf(t *tickets.Ticket, s tickets.Step) []any {
	of := []any{"ticket", t.Number, "step", s.Kind}
	if s.Kind == tickets.StepDeliver {
		return append(of, "sink", s.Sink)
	}
	return append(of, "platform", s.Place.Platform, "channel", s.Place.Channel)
}

// begin notes in the ticket that s is about to be done, for the steps that
// must not happen twice. It reports false if s is no longer owed.
func (o *Outbox) begin(ctx context.Context, t *tickets.Ticket, s tickets.Step) (*tickets.Ticket, bool, error) {
	var begin func(*tickets.Ticket) bool
	switch s.Kind {
	case tickets.StepPost:
		begin = func(t *tickets.Ticket) bool { return t.BeginPost(s.Place, o.Now()) }
	case tickets.StepReply:
		begin = func(t *tickets.Ticket) bool { return t.BeginReply(s.Place, s.Event, o.Now()) }
	case tickets.StepSend:
		begin = func(t *tickets.Ticket) bool { return t.BeginSend(o.Now()) }
	default:
		return t, true, nil
	}
	return store.Change(ctx, o.Store, t.Number, begin)
}

// perform does s for t, which is as begin left it, and tells of it. It returns
// what to record in the ticket as it then stands, and the step's failure.
func (o *Outbox) perform(ctx context.Context, t *tickets.Ticket, s tickets.Step) (record func(*tickets.Ticket), failure error) {
	start, end := time.Now(), func(tickets.Number, string, time.Duration) {}
	if o.Hooks.Begin != nil {
		ctx, end = o.Hooks.Begin(ctx, t, s)
	}
	record, failure = o.call(ctx, t, s)
	result := "ok"
	if failure != nil {
		result = string(tickets.FailureOf(failure).Class)
		o.Log.Warn("step failed", append(whereOf(t, s), "class", result, "err", failure)...)
	} else {
		o.Log.Info("step done", whereOf(t, s)...)
	}
	end(t.Number, result, time.Since(start))
	return record, failure
}

// call has s done. A panic, as of a library that meets a text it cannot bear, is
// a failure of this step alone: it is tried again later, and the others go on.
func (o *Outbox) call(ctx context.Context, t *tickets.Ticket, s tickets.Step) (record func(*tickets.Ticket), failure error) {
	shows := s.Kind == tickets.StepPost || s.Kind == tickets.StepEdit || s.Kind == tickets.StepReply
	defer func() {
		if p := recover(); p != nil {
			failure = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
			now := o.Now()
			next := now.Add(SlowRetry)
			if shows {
				record = func(t *tickets.Ticket) { t.ShowFailed(s.Place, "panic", next, false, now) }
			} else {
				record = o.Steps.Panicked(t, s, next)
			}
		}
	}()
	if shows {
		return o.show(ctx, t, s)
	}
	return o.Steps.Call(ctx, t, s)
}

// show posts, edits or replies.
func (o *Outbox) show(ctx context.Context, t *tickets.Ticket, s tickets.Step) (func(*tickets.Ticket), error) {
	m := *t.Message(s.Place)
	done, err := o.Steps.Show(ctx, t, s)
	if err == nil {
		o.outages.worked(opOf(s))
		return done, nil
	}
	f := tickets.FailureOf(err)
	failed := func(next time.Time, dead bool) func(*tickets.Ticket) {
		return func(now *tickets.Ticket) {
			now.ShowFailed(s.Place, f.Error(), next, dead, o.Now())
			// A platform that says "limited" has been seen to have done it.
			if f.Class != tickets.Ambiguous && f.Class != tickets.RateLimited && s.Kind != tickets.StepEdit {
				now.UndoAttempt(s.Place)
			}
		}
	}
	if blamesPlace(f, s.Kind) {
		return failed(o.markDown(s, f), false), err
	}
	if f.Class == tickets.Rejected && s.Kind == tickets.StepReply {
		return done, err // a locked thread: the card tells all the same
	}
	now := o.Now()
	o.outages.failed(opOf(s), f, now)
	// A message that cannot be edited or replied to any more stays so. One that
	// was deleted before its post was recorded is not posted again.
	if f.Class == tickets.NotFound {
		if s.Kind == tickets.StepPost || f.Stays {
			return failed(now.Add(SlowRetry), true), err
		}
		return func(now *tickets.Ticket) { now.CardGone(s.Place, m.ID, f.Error(), o.Now()) }, err
	}
	d := RetryAfter(f, firstPause, m.Attempts)
	if d <= maxWait {
		o.lanes[s.Lane].WaitFor(t.Number, s.Place, now.Add(d))
		return failed(time.Time{}, false), err
	}
	return failed(now.Add(d), false), err
}
