package tickets

import (
	"slices"
	"time"
)

// StepKind is a kind of thing the bot can owe a ticket.
type StepKind string

// The steps.
const (
	StepPost    StepKind = "post"    // show the ticket in a place for the first time
	StepEdit    StepKind = "edit"    // make a message show the current Rev
	StepReply   StepKind = "reply"   // tell an event in the message's thread
	StepSend    StepKind = "send"    // send the decision to EPM
	StepPoll    StepKind = "poll"    // ask EPM what became of an acknowledged decision
	StepDeliver StepKind = "deliver" // tell a receiver of events
)

// Lane is a queue of steps that one limit paces: steps of different lanes do
// not wait for each other, so that a chat that is down never delays a
// decision on its way to EPM, and a storm of new posts never delays edits.
type Lane string

// LaneEPM is the lane of decisions on their way to EPM.
const LaneEPM Lane = "epm"

// LanePoll is the lane of questions to EPM. They wait for nothing and nothing
// waits for them.
const LanePoll Lane = "epm/poll"

// PostLane is the lane of first posts on a platform.
func PostLane(p Platform) Lane { return Lane(p) + "/post" }

// EditLane is the lane of edits and replies on a platform.
func EditLane(p Platform) Lane { return Lane(p) + "/edit" }

// Step is one thing the bot still owes a ticket.
type Step struct {
	Kind  StepKind
	Lane  Lane
	Place Place     // post, edit, reply
	Event int       // reply: index in Events
	Sink  EventSink // deliver
	At    time.Time // not before
}

// PendingSteps lists what is due at now, what is due longest first. It is a pure
// function of the ticket.
func (t *Ticket) PendingSteps(now time.Time) []Step {
	steps := slices.DeleteFunc(t.owed(), func(s Step) bool { return s.At.After(now) })
	slices.SortStableFunc(steps, func(a, b Step) int { return a.At.Compare(b.At) })
	return steps
}

// NextDue says when each lane next has something to do for t. A store keeps it
// as its index; a lane that is not in the map owes nothing.
func (t *Ticket) NextDue() map[Lane]time.Time {
	steps := t.owed()
	if len(steps) == 0 {
		return nil
	}
	due := make(map[Lane]time.Time, len(steps))
	for _, s := range steps {
		if at, ok := due[s.Lane]; !ok || s.At.Before(at) {
			due[s.Lane] = s.At
		}
	}
	return due
}

// owed lists every step that t owes, now or later.
func (t *Ticket) owed() []Step {
	if t.Request == nil {
		return nil // nothing to draw a card with, and nothing to decide
	}
	var steps []Step
	switch t.Progress() {
	case Submitting:
		if t.Damaged() && !t.Broken {
			break // perhaps nobody made this decision
		}
		steps = append(steps, Step{Kind: StepSend, Lane: LaneEPM, At: later(t.Decision.At, t.Sending.NotBefore)})
	case Submitted:
		if t.Sending.Polls < maxPolls {
			steps = append(steps, Step{Kind: StepPoll, Lane: LanePoll, At: later(t.Sending.Done, t.Sending.NotBefore)})
		}
	}
	for i := range t.Messages {
		m := &t.Messages[i]
		e := t.nextReply(m)
		switch {
		case m.Dead:
		case m.ID == "":
			steps = append(steps, Step{Kind: StepPost, Lane: PostLane(m.Place.Platform), Place: m.Place, At: later(t.Created, m.NotBefore)})
		case m.Shown < t.Rev:
			steps = append(steps, Step{Kind: StepEdit, Lane: EditLane(m.Place.Platform), Place: m.Place, At: later(t.changed(e), m.NotBefore)})
		case e >= 0:
			steps = append(steps, Step{Kind: StepReply, Lane: EditLane(m.Place.Platform), Place: m.Place, Event: e, At: later(t.changed(e), m.NotBefore)})
		}
	}
	for i := range t.Deliveries {
		if d := &t.Deliveries[i]; d.Done < len(t.Events) {
			since := later(t.Created, t.Events[max(d.Done, 0)].At)
			steps = append(steps, Step{Kind: StepDeliver, Lane: DeliverLane(d.To), Sink: d.To, At: later(since, d.NotBefore)})
		}
	}
	return steps
}

// changed is since when an edit is owed: since event e, the first that the
// thread was not told of, or if there is none since the last of all that the
// card shows.
func (t *Ticket) changed(e int) time.Time {
	if e < 0 {
		for e = len(t.Events) - 1; e >= 0 && !t.Events[e].Kind.onCard(); e-- {
		}
	}
	if e >= 0 {
		return later(t.Created, t.Events[e].At)
	}
	return t.Created
}

// nextReply is the index of the first event that m's thread was not told of,
// or -1.
func (t *Ticket) nextReply(m *Message) int {
	for i := max(m.Told, 0); i < len(t.Events); i++ {
		if t.Events[i].Kind.InThread() {
			return i
		}
	}
	return -1
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
