package bot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// How long to wait before a step is repeated.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	// slowRetry is for what an admin has to mend first: a bot that is not in
	// its channel, a token that was revoked.
	slowRetry = 5 * time.Minute
	// deniedRetry is for a decision that EPM does not let us send.
	deniedRetry = 10 * time.Minute
	// firstPoll and lastPoll bound how often EPM is asked for an outcome
	// whose webhook does not come.
	firstPoll = 5 * time.Minute
	lastPoll  = time.Hour
)

// maxSteps bounds what is done for one ticket under one lease.
const maxSteps = 8

// recordTimeout is for writing down what came of a step, also while stopping.
const recordTimeout = 5 * time.Second

// wake starts the lanes in which t owes something now.
func (b *Bot) wake(t *tickets.Ticket) {
	now := b.Now()
	for name, at := range t.NextDue() {
		if l := b.lanes[name]; l != nil && !at.After(now) {
			l.signal()
		}
	}
}

// runLane claims tickets that owe something in l and does it, Workers at
// once, until ctx ends; then it waits for what is under way.
func (b *Bot) runLane(ctx context.Context, l *lane) {
	begins := b.loaded
	if l.name == tickets.LaneEPM {
		begins = b.inspected
	}
	select {
	case <-begins:
	case <-ctx.Done():
		return
	}
	// Steps outlive ctx by Grace, so that what was begun is finished.
	steps, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(b.Grace, stop) })()

	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, b.Workers)
	for ctx.Err() == nil {
		free, pause := b.Workers-len(slots), b.Poll
		if l.inOrder && len(slots) > 0 {
			free = 0
		} else {
			b.release(steps, l, l.over(b.Now())...)
			pause = min(pause, l.untilOver(b.Now()))
		}
		claimed, until := b.claim(ctx, steps, l, free)
		if ctx.Err() != nil {
			for _, t := range claimed {
				b.release(steps, l, t.Number)
			}
			break
		}
		for _, t := range claimed {
			l.enqueue(t, b.Now())
		}
		for _, t := range claimed {
			slots <- struct{}{}
			wg.Go(func() {
				defer l.signal() // a slot is free
				defer func() { <-slots }()
				b.work(ctx, steps, l, t, until)
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
	b.release(steps, l, l.over(b.Now().Add(b.Lease))...) // for other replicas
}

// claim leases up to free tickets, until the time that it returns. It is not
// given up when end is done: nobody would know what it leased.
func (b *Bot) claim(end, ctx context.Context, l *lane, free int) ([]*tickets.Ticket, time.Time) {
	now := b.Now()
	until := now.Add(b.Lease)
	if free == 0 || !l.mayClaim(now) {
		return nil, until
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	claimed, err := b.Store.Claim(ctx, l.name, now, until, free)
	switch {
	case end.Err() != nil:
	case l.storeReachable(err == nil) && err == nil:
		b.Log.Info("tickets can be claimed again", "lane", l.name)
	case err != nil && (len(claimed) > 0 || l.shouldLog(now)):
		b.Log.Error("cannot claim tickets", "lane", l.name, "err", err)
	}
	return claimed, until
}

// work does what t owes in l, step by step, and gives the ticket back, whose
// lease ends at leased. It begins nothing more once end is done, or when
// another step might outlast the lease.
func (b *Bot) work(end, ctx context.Context, l *lane, t *tickets.Ticket, leased time.Time) {
	number, last := t.Number, leased.Add(-b.Timeout-2*recordTimeout)
	defer func() {
		l.line.exit(tickets.Place{}, number)
		if t == nil {
			b.release(ctx, l, number)
			return
		}
		b.giveBack(ctx, l, t, leased)
	}()
	if t.Broken || l.name == tickets.LaneEPM {
		after, err := b.whole(ctx, t)
		if err != nil {
			b.Log.Error("cannot compare a ticket with its history", "ticket", number, "err", err)
			l.pauseUntil(b.Now().Add(firstRetry))
			return
		}
		t = after
	}
	for i := range maxSteps {
		step, ok := b.next(end, l, t, last)
		if !ok || ctx.Err() != nil || i > 0 && (end.Err() != nil || b.Now().After(last)) {
			return
		}
		var err error
		t, err = b.do(ctx, l, t, step)
		l.line.exit(step.Place, number)
		if err != nil {
			// The store did not record it: what was begun is found again.
			b.Log.Error("cannot record step", "ticket", number, "step", step.Kind, "err", err)
			l.pauseUntil(b.Now().Add(firstRetry))
			return
		}
	}
}

// errNothing ends a step whose ticket no longer owes it.
var errNothing = errors.New("nothing to do")

// do does one step of t and returns the ticket as recorded afterwards. The
// error is the store's; the step's own failure is recorded in the ticket.
func (b *Bot) do(ctx context.Context, l *lane, t *tickets.Ticket, s tickets.Step) (*tickets.Ticket, error) {
	now := b.Now()
	pass := b.places.acquire(s, now)
	switch {
	case pass.wait && !pass.out && pass.until.Sub(now) <= maxWait:
		return t, nil // it keeps its turn
	case pass.wait:
		l.line.exit(s.Place, t.Number) // nobody waits for what is not tried
		return b.putOff(ctx, t, s, pass)
	}
	call, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	number := t.Number
	t, begun, err := b.begin(call, t, s)
	if err != nil || !begun || isOver(call) {
		b.recordResult(s, number, pass, errNothing)
		return t, err
	}
	start := time.Now()
	call, end := b.stepSpan(call, t, s)
	change, failure := b.perform(call, t, s)
	b.recordResult(s, number, pass, failure)
	result := "ok"
	if failure != nil {
		f := tickets.FailureOf(failure)
		result = string(f.Class)
		b.Log.Warn("step failed", append(whereOf(t, s), "class", result, "err", failure)...)
	} else {
		b.Log.Info("step done", whereOf(t, s)...)
	}
	end(number, result)
	if b.Meter != nil {
		b.Meter.Step(s.Kind, result, time.Since(start))
	}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	var ended bool
	after, err := b.Store.Update(record, t.Number, func(t *tickets.Ticket) error {
		before := t.Progress()
		change(t)
		ended = before != tickets.Final && t.Progress() == tickets.Final
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ended && b.Tracer != nil {
		b.Tracer.Ended(after, b.Now())
	}
	b.wake(after) // other lanes: an acknowledged decision owes edits
	if s.Kind == tickets.StepSend {
		b.sendEnded(after, failure)
	}
	b.cardGivenUp(t, after, s.Place)
	if failure != nil && blamesPlace(tickets.FailureOf(failure), s.Kind) {
		b.enqueueWaiting(s, number)
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
		return append(of, "receiver", s.Sink)
	}
	return append(of, "platform", s.Place.Platform, "channel", s.Place.Channel)
}

// begin notes in the ticket that s is about to be done, for the steps that
// must not happen twice. It reports false if s is no longer owed.
func (b *Bot) begin(ctx context.Context, t *tickets.Ticket, s tickets.Step) (*tickets.Ticket, bool, error) {
	var begin func(*tickets.Ticket) bool
	switch s.Kind {
	case tickets.StepPost:
		begin = func(t *tickets.Ticket) bool { return t.BeginPost(s.Place, b.Now()) }
	case tickets.StepReply:
		begin = func(t *tickets.Ticket) bool { return t.BeginReply(s.Place, s.Event, b.Now()) }
	case tickets.StepSend:
		begin = func(t *tickets.Ticket) bool { return t.BeginSend(b.Now()) }
	default:
		return t, true, nil
	}
	after, err := b.Store.Update(ctx, t.Number, func(t *tickets.Ticket) error {
		if !begin(t) {
			return errNothing
		}
		return nil
	})
	if errors.Is(err, errNothing) {
		return after, false, nil
	}
	return after, err == nil, err
}

// perform does s for t, which is as begin left it. It returns what to record
// in the ticket as it then stands, and the step's failure.
//
// A panic, as of a library that meets a text it cannot bear, is a failure of
// this step alone: it is tried again later, and the others go on.
func (b *Bot) perform(ctx context.Context, t *tickets.Ticket, s tickets.Step) (record func(*tickets.Ticket), failure error) {
	defer func() {
		if p := recover(); p != nil {
			failure = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
			record = b.panicked(t, s)
		}
	}()
	switch s.Kind {
	case tickets.StepSend:
		return b.send(ctx, t)
	case tickets.StepPoll:
		return b.look(ctx, t)
	case tickets.StepDeliver:
		return b.deliver(ctx, t, s)
	}
	chat := b.chats[s.Place.Platform]
	if chat == nil {
		// The lane exists only for configured chats.
		return func(*tickets.Ticket) {}, fmt.Errorf("no chat on %s", s.Place.Platform)
	}
	return b.show(ctx, chat, t, s)
}

// panicked is what to record of a step that panicked: nobody knows what it
// has done.
func (b *Bot) panicked(t *tickets.Ticket, s tickets.Step) func(*tickets.Ticket) {
	now := b.Now()
	next := now.Add(slowRetry)
	switch s.Kind {
	case tickets.StepSend:
		d := *t.Decision
		return func(t *tickets.Ticket) {
			t.SendFailed(d, true, "Countersign has an error of its own, which its log tells", next, now)
		}
	case tickets.StepPoll:
		return func(t *tickets.Ticket) { t.RecordPoll(next, now) }
	case tickets.StepDeliver:
		return func(t *tickets.Ticket) { t.DeliveryFailed(s.Sink, "panic", next) }
	}
	return func(t *tickets.Ticket) { t.ShowFailed(s.Place, "panic", next, false, now) }
}

// show posts, edits or replies.
func (b *Bot) show(ctx context.Context, chat adapters.Chat, t *tickets.Ticket, s tickets.Step) (func(*tickets.Ticket), error) {
	m := *t.Message(s.Place)
	var err error
	var done func(*tickets.Ticket)
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
	if err == nil {
		b.places.worked(useOf(s))
		return done, nil
	}
	f := tickets.FailureOf(err)
	failed := func(next time.Time, dead bool) func(*tickets.Ticket) {
		return func(now *tickets.Ticket) {
			now.ShowFailed(s.Place, f.Error(), next, dead, b.Now())
			// A platform that says "limited" has been seen to have done it.
			if f.Class != tickets.Ambiguous && f.Class != tickets.RateLimited && s.Kind != tickets.StepEdit {
				now.UndoAttempt(s.Place)
			}
		}
	}
	if blamesPlace(f, s.Kind) {
		return failed(b.markDown(s, f), false), err
	}
	if f.Class == tickets.Rejected && s.Kind == tickets.StepReply {
		return done, err // a locked thread: the card tells all the same
	}
	now := b.Now()
	b.places.failed(useOf(s), f, now)
	// A message that cannot be edited or replied to any more stays so. One that
	// was deleted before its post was recorded is not posted again.
	if f.Class == tickets.NotFound {
		if s.Kind == tickets.StepPost || f.Stays {
			return failed(now.Add(slowRetry), true), err
		}
		return func(now *tickets.Ticket) { now.CardGone(s.Place, m.ID, f.Error(), b.Now()) }, err
	}
	d := retryAfter(f, firstPause, m.Attempts)
	if d <= maxWait {
		b.lanes[s.Lane].waitFor(t.Number, s.Place, now.Add(d))
		return failed(time.Time{}, false), err
	}
	return failed(now.Add(d), false), err
}

// send sends the decision, after asking EPM whether it has it already if
// that is not clear.
func (b *Bot) send(ctx context.Context, t *tickets.Ticket) (func(*tickets.Ticket), error) {
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
	next := now.Add(retryAfter(f, firstRetry, t.Sending.Attempts-1))
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

// look asks EPM what became of an acknowledged decision.
func (b *Bot) look(ctx context.Context, t *tickets.Ticket) (func(*tickets.Ticket), error) {
	out, err := b.EPM.Outcome(ctx, t)
	now := b.Now()
	if err == nil && out != nil {
		return func(t *tickets.Ticket) { t.Conclude(*out, b.rulesOf(t), now) }, nil
	}
	next := now.Add(backoff(firstPoll, lastPoll, t.Sending.Polls))
	return func(t *tickets.Ticket) { t.RecordPoll(next, now) }, err
}

// retryAfter is how long to wait after failure f, the one after n failures in
// a row, of which the first lets wait for first.
func retryAfter(f *tickets.Failure, first time.Duration, n int) time.Duration {
	d := backoff(first, lastRetry, n)
	switch f.Class {
	case tickets.NotFound, tickets.Rejected, tickets.Unauthorized:
		d = slowRetry
	}
	return max(d, f.RetryAfter)
}

// backoff doubles from first to last, and moves each by up to a fifth, so
// that what failed together does not come back together.
func backoff(first, last time.Duration, n int) time.Duration {
	d := last
	if n < 16 && first<<n < last {
		d = first << n
	}
	return d + time.Duration((rand.Float64()-0.5)*0.4*float64(d))
}
