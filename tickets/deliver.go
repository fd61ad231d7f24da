package tickets

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Receiver names who is told of events outside of the chats: "syslog",
// "webhook" or "file".
type Receiver string

// Delivery is how far a receiver has been told of a ticket's events.
type Delivery struct {
	To        Receiver  `json:"to"`
	Done      int       `json:"done"`               // how many of the events it has taken, or was never owed
	Attempts  int       `json:"attempts,omitempty"` // failed in a row
	NotBefore time.Time `json:"not_before,omitzero"`
	Problem   string    `json:"problem,omitempty"` // for the operator

	Newer Newer `json:"-"`
}

// DeliverLane is the lane of events on their way to a receiver.
func DeliverLane(to Receiver) Lane { return "events/" + Lane(to) }

// Heard is how many of t's events are over for a receiver that begins now. A
// ticket whose request has not arrived tells nobody anything yet.
func (t *Ticket) Heard() int {
	if t == nil || t.Request == nil {
		return 0
	}
	return len(t.Events)
}

// Follow lets t owe its events after the first heard to each of to that it
// does not know yet. If there are none it changes nothing.
func (t *Ticket) Follow(to []Receiver, heard int) {
	if len(t.Events) <= heard {
		return
	}
	for _, r := range to {
		if t.Delivery(r) == nil {
			t.Deliveries = append(t.Deliveries, Delivery{To: r, Done: heard})
		}
	}
}

// Forget lets t owe a receiver nothing, as if t had never known it. It reports
// whether t did, and how many events it had not taken.
func (t *Ticket) Forget(to Receiver) (owed int, known bool) {
	d := t.Delivery(to)
	if d == nil {
		return 0, false
	}
	owed = max(len(t.Events)-max(d.Done, 0), 0)
	t.Deliveries = slices.DeleteFunc(t.Deliveries, func(d Delivery) bool { return d.To == to })
	return owed, true
}

// Delivered notes that a receiver has taken the first done events.
func (t *Ticket) Delivered(to Receiver, done int) {
	if d := t.Delivery(to); d != nil {
		*d = Delivery{To: to, Done: min(max(d.Done, done), len(t.Events)), Newer: d.Newer}
	}
}

// DeliveryFailed notes that a receiver has not taken the next event, which is
// told again at next. problem is for the operator.
func (t *Ticket) DeliveryFailed(to Receiver, problem string, next time.Time) {
	if d := t.Delivery(to); d != nil {
		d.Attempts++
		d.Problem, d.NotBefore = problem, next
	}
}

// Delivery returns how far a receiver has been told, or nil if it is owed
// nothing.
func (t *Ticket) Delivery(to Receiver) *Delivery {
	i := slices.IndexFunc(t.Deliveries, func(d Delivery) bool { return d.To == to })
	if i < 0 {
		return nil
	}
	return &t.Deliveries[i]
}

// Notice is one thing that happened, as a receiver is told of it. Its text is
// as untrusted as that of a request.
type Notice struct {
	ID   string     `json:"id"`        // the same each time it is told, and that of no other
	Type string     `json:"type"`      // "ticket." and the event's kind, or "settings.changed"
	At   time.Time  `json:"timestamp"` // when it happened
	Data NoticeData `json:"data"`
}

// NoticeData is what a notice is about: a ticket and an event of it, or a
// change of a setting.
type NoticeData struct {
	Ticket   Number   `json:"ticket,omitempty"`
	Position int      `json:"position,omitempty"` // of the event in the ticket's history, from 1
	Request  *Request `json:"request,omitempty"`  // without what EPM sent besides
	Event    *Event   `json:"event,omitempty"`
	Change   *Change  `json:"change,omitempty"`
}

// Notices are up to limit events that t owes a receiver, in their order, and
// how many come before them.
func (t *Ticket) Notices(to Receiver, limit int) (list []Notice, from int) {
	d := t.Delivery(to)
	if d == nil || t.Request == nil {
		return nil, 0
	}
	request := *t.Request
	request.Fields = nil
	from = min(max(d.Done, 0), len(t.Events))
	for i := from; i < min(len(t.Events), from+limit); i++ {
		e := &t.Events[i]
		list = append(list, Notice{
			ID: noticeID("ticket", t.ID, t.Number, i, e.Kind, e.At.UnixNano()), Type: "ticket." + string(e.Kind), At: e.At,
			Data: NoticeData{Ticket: t.Number, Position: i + 1, Request: &request, Event: e},
		})
	}
	return list, from
}

// ChangeNotices are changes of the settings, in their order, as receivers are
// told of them.
func ChangeNotices(changes []Change) []Notice {
	list := make([]Notice, len(changes))
	for i := range changes {
		c := &changes[i]
		list[i] = Notice{
			ID: noticeID("settings", c.Version, c.Key, c.At.UnixNano()), Type: "settings.changed", At: c.At,
			Data: NoticeData{Change: c},
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
