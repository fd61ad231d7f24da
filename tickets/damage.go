package tickets

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// A record that was changed by something else than Countersign is damaged:
// what it says may be false, so that nobody decides by it, and no decision in
// it is sent to EPM, until an admin has looked and says that it may be decided
// all the same. Whoever says so does not decide it: two people look at such a
// request.

// maxDamages bounds what one event tells of a damaged record.
const maxDamages = 10

var (
	// ErrDamaged means that the record is damaged, and no admin has accepted that.
	ErrDamaged = errors.New("the record was changed by something else than Countersign")
	// ErrAccepted means that whoever accepted the damage wants to decide.
	ErrAccepted = errors.New("who accepts that a record is damaged does not decide the request")
)

// Damaged reports whether t's record is damaged, and nobody has accepted that.
func (t *Ticket) Damaged() bool {
	i := t.lastDamage()
	return t.Broken || i >= 0 && t.Events[i].Kind == EventDamaged
}

// FollowsHistory reports whether the record says of itself what its history says
// last: what does not must not be written into the history as if it had always
// been so. Decisions and the request are compared by whoever acts on them.
func (t *Ticket) FollowsHistory() bool {
	for _, e := range slices.Backward(t.Events) {
		if e.Rev > 0 {
			if t.Rev < e.Rev {
				return false
			}
			break
		}
	}
	told := t.told()
	return told == nil || *told == t.standing()
}

// AcceptedBy is the admin who lets others decide t although its record is
// damaged; the zero Actor if it is not, or nobody has.
func (t *Ticket) AcceptedBy() Actor {
	if i := t.lastDamage(); i >= 0 && !t.Broken {
		return t.Events[i].Actor // damaged has none
	}
	return Actor{}
}

// lastDamage is the last event that tells of damage or of its acceptance, -1 if
// none does.
func (t *Ticket) lastDamage() int {
	for i, e := range slices.Backward(t.Events) {
		if e.Kind == EventDamaged || e.Kind == EventAccepted {
			return i
		}
	}
	return -1
}

// MarkDamaged notes that the record is damaged, in the ways that why tells, for
// people. It reports false, and changes nothing, if the history tells of all
// this already: what was accepted stays in the record, and is found again and
// again.
func (t *Ticket) MarkDamaged(why []string, now time.Time) bool {
	why = slices.DeleteFunc(slices.Clone(why), func(w string) bool {
		return slices.ContainsFunc(t.Events, func(e Event) bool { return e.Kind == EventDamaged && strings.Contains(e.Text, w) })
	})
	if !t.Broken && len(why) == 0 {
		return false
	}
	why = why[:min(len(why), maxDamages)]
	t.Broken = false
	if t.Progress() == Pending {
		t.Undecidable = IsDamaged
	}
	t.happened(Event{Kind: EventDamaged, At: now, Text: strings.Join(why, "; ")})
	return true
}

// AcceptDamage notes that by has looked, and lets others decide t, or lets the
// decision be sent that it has. It reports false, and changes nothing, if t is
// not Damaged.
func (t *Ticket) AcceptDamage(by Actor, rules Rules, now time.Time) bool {
	if !t.Damaged() {
		return false
	}
	t.MarkDamaged(nil, now) // if the history does not tell of it
	t.Undecidable = t.nobodyUnder(rules)
	t.happened(Event{Kind: EventAccepted, At: now, Actor: by})
	return true
}
