package tickets

import "time"

// Incoming is a webhook as it arrived: kept raw, whatever became of it.
type Incoming struct {
	ID     string // unique and ordered by time
	At     time.Time
	Remote string  // address of the sender
	Raw    []byte  // the body, unchanged
	Update *Update // what it says; nil if it could not be read
	Error  string  // why it could not be read, for people; empty if it could
	// Repaired is set when the body was not valid JSON and was understood
	// all the same.
	Repaired bool
	// Ignored is set for a body that was understood and is none of ours.
	Ignored bool
}

// Update is what one webhook says. It either asks or concludes, never both.
type Update struct {
	ID      RequestID
	Request *Request // a new request
	Outcome *Outcome // or what became of one; nil with Waiting
	Waiting bool     // an update that says nothing is decided yet
}

// Status is what became of an Incoming.
type Status string

// The statuses, as they are answered to the sender.
const (
	StatusCreated   Status = "created"
	StatusUpdated   Status = "updated"
	StatusDuplicate Status = "duplicate"
	StatusFailed    Status = "failed"
)

// Receipt is the answer to an Incoming once it is durable.
type Receipt struct {
	Incoming string
	Ticket   Number // empty if it belongs to none
	Status   Status
}
