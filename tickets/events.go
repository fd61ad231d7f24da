package tickets

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// EventSink names who is told of events outside of the chats: "syslog",
// "webhook" or "file".
type EventSink string

// Delivery is how far a receiver has been told of a ticket's events.
type Delivery struct {
	To        EventSink `json:"to"`
	Done      int       `json:"done"`               // how many of the events it has taken, or was never owed
	Attempts  int       `json:"attempts,omitempty"` // failed in a row
	NotBefore time.Time `json:"not_before,omitzero"`
	Problem   string    `json:"problem,omitempty"` // for the operator

	UnknownFields UnknownFields `json:"-"`
}

// DeliverLane is the lane of events on their way to a receiver.
func DeliverLane(to EventSink) Lane { return "events/" + Lane(to) }

// ObservedEvents is how many of t's events are over for a receiver that begins now. A
// ticket whose request has not arrived tells nobody anything yet.
func (t *Ticket) ObservedEvents() int {
	if t == nil || t.Request == nil {
		return 0
	}
	return len(t.Events)
}

// TrackSink lets t owe its events after the first heard to each of to that it
// does not know yet. If there are none it changes nothing.
func (t *Ticket) TrackSink(to []EventSink, heard int) {
	if len(t.Events) <= heard {
		return
	}
	for _, r := range to {
		if t.Delivery(r) == nil {
			t.Deliveries = append(t.Deliveries, Delivery{To: r, Done: heard})
		}
	}
}

// UntrackSink lets t owe a receiver nothing, as if t had never known it. It reports
// whether t did, and how many events it had not taken.
func (t *Ticket) UntrackSink(to EventSink) (owed int, known bool) {
	d := t.Delivery(to)
	if d == nil {
		return 0, false
	}
	owed = max(len(t.Events)-max(d.Done, 0), 0)
	t.Deliveries = slices.DeleteFunc(t.Deliveries, func(d Delivery) bool { return d.To == to })
	return owed, true
}

// RecordDelivery notes that a receiver has taken the first done events.
func (t *Ticket) RecordDelivery(to EventSink, done int) {
	if d := t.Delivery(to); d != nil {
		*d = Delivery{To: to, Done: min(max(d.Done, done), len(t.Events)), UnknownFields: d.UnknownFields}
	}
}

// DeliveryFailed notes that a receiver has not taken the next event, which is
// told again at next. problem is for the operator.
func (t *Ticket) DeliveryFailed(to EventSink, problem string, next time.Time) {
	if d := t.Delivery(to); d != nil {
		d.Attempts++
		d.Problem, d.NotBefore = problem, next
	}
}

// Delivery returns how far a receiver has been told, or nil if it is owed
// nothing.
func (t *Ticket) Delivery(to EventSink) *Delivery {
	i := slices.IndexFunc(t.Deliveries, func(d Delivery) bool { return d.To == to })
	if i < 0 {
		return nil
	}
	return &t.Deliveries[i]
}

// EventEnvelope is one thing that happened, as a receiver is told of it. Its text is
// as untrusted as that of a request.
type EventEnvelope struct {
	ID   string       `json:"id"`        // the same each time it is told, and that of no other
	Type string       `json:"type"`      // "ticket." and the event's kind, or "settings.changed"
	At   time.Time    `json:"timestamp"` // when it happened
	Data EnvelopeData `json:"data"`
}

// EnvelopeData is what a notice is about: a ticket and an event of it, or a
// change of a setting.
type EnvelopeData struct {
	Ticket   Number   `json:"ticket,omitempty"`
	Position int      `json:"position,omitempty"` // of the event in the ticket's history, from 1
	Request  *Request `json:"request,omitempty"`  // without what EPM sent besides
	Event    *Event   `json:"event,omitempty"`
	Change   *Change  `json:"change,omitempty"`
}

// Envelopes are up to limit events that t owes a receiver, in their order, and
// how many come before them.
func (t *Ticket) Envelopes(to EventSink, limit int) (list []EventEnvelope, from int) {
	d := t.Delivery(to)
	if d == nil || t.Request == nil {
		return nil, 0
	}
	request := *t.Request
	request.Fields = nil
	from = min(max(d.Done, 0), len(t.Events))
	for i := from; i < min(len(t.Events), from+limit); i++ {
		e := &t.Events[i]
		list = append(list, EventEnvelope{
			ID: noticeID("ticket", t.ID, t.Number, i, e.Kind, e.At.UnixNano()), Type: "ticket." + string(e.Kind), At: e.At,
			Data: EnvelopeData{Ticket: t.Number, Position: i + 1, Request: &request, Event: e},
		})
	}
	return list, from
}

// ChangeEnvelopes are changes of the settings, in their order, as receivers are
// told of them.
func ChangeEnvelopes(changes []Change) []EventEnvelope {
	list := make([]EventEnvelope, len(changes))
	for i := range changes {
		c := &changes[i]
		list[i] = EventEnvelope{
			ID: noticeID("settings", c.Version, c.Key, c.At.UnixNano()), Type: "settings.changed", At: c.At,
			Data: EnvelopeData{Change: c},
		}
	}
	return list
}

// noticeID names what parts identify. The time is one of them: a store that
// was restored gives the same numbers to other events.
func noticeID(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(fmt.Appendf(nil, "%q ", fmt.Sprint(p)))
	}
	return "evt_" + hex.EncodeToString(h.Sum(nil)[:16])
}
