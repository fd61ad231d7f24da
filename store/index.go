package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/tickets"
)

// Entries are what the indexes of a store should hold of a ticket: everything
// that leads to it without reading it.
type Entries struct {
	Seq, Version int64
	Request      tickets.RequestID
	Progress     tickets.Progress
	Due          map[tickets.Lane]time.Time
}

// EntriesOf are the entries of t, as the store gave it out.
func EntriesOf(t *tickets.Ticket) Entries {
	seq, _ := t.Number.Seq()
	return Entries{Seq: seq, Version: t.Version, Request: t.ID, Progress: t.Progress(), Due: t.NextDue()}
}

// Lanes are those in which the ticket owes something, in order.
func (e Entries) Lanes() []tickets.Lane {
	lanes := make([]tickets.Lane, 0, len(e.Due))
	for l := range e.Due {
		lanes = append(lanes, l)
	}
	slices.Sort(lanes)
	return lanes
}

// Misfiled is a ticket that an index does not hold as it should, so that it is
// not found where it is looked for. What tells which, for people.
type Misfiled struct {
	Seq  int64
	What string
}

// FiledAs says that the index of progress has a ticket as it is not.
func (e Entries) FiledAs(progress string) Misfiled {
	return Misfiled{e.Seq, fmt.Sprintf("the index has it as %q, and it is %q", progress, e.Progress)}
}

// FiledNowhere says that nothing leads from its request to a ticket.
func (e Entries) FiledNowhere() Misfiled {
	return Misfiled{e.Seq, "the index of requests does not lead to it: another webhook about it would make a second ticket"}
}

// NotDue says that the index of a lane has a ticket too late, or not at all.
func (e Entries) NotDue(lane tickets.Lane) Misfiled {
	return Misfiled{e.Seq, fmt.Sprintf("the index of what is due in the lane %s does not have it, or too late: it would not be done", lane)}
}
