package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/countersign/countersign/tickets"
)

// unsettled is the counter that [Apply] sees of a ticket that is drafted.
const unsettled = int64(1) << 62

// Draft is a new ticket that has all but its number: that is settled when it
// is written, in the order of arrival and without gaps. So the work on a new
// ticket can be done before its turn.
type Draft struct {
	Ticket *tickets.Ticket
	Status tickets.Status // what became of the webhook, if it begins the ticket
	Prefix string         // the number without its counter, for example JIT-

	// The stored form before the number's counter, and after it.
	Before, After []byte
}

// NewDraft drafts the ticket that apply makes of a webhook whose request has
// none. Ticket is nil if it makes none. A panic in apply is an error.
func NewDraft(apply Apply) (d Draft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
		}
	}()
	d.Ticket, d.Status = apply(nil, unsettled)
	if d.Ticket == nil {
		return d, nil
	}
	counter := strconv.FormatInt(unsettled, 10)
	prefix, ok := strings.CutSuffix(string(d.Ticket.Number), counter)
	if !ok || d.Ticket.Version != 0 {
		return d, fmt.Errorf("%s is not a new ticket with the number it was given", d.Ticket.Number)
	}
	d.Prefix = prefix
	form, err := Encode(d.Ticket)
	if err != nil {
		return d, err
	}
	number, err := json.Marshal(d.Ticket.Number)
	if err != nil {
		return d, err
	}
	// The number comes before everything that anybody else has written.
	at := bytes.Index(form, number)
	if at < 0 {
		return d, errors.New("the stored form has no number")
	}
	at += len(number) - len(counter) - len(`"`)
	d.Before, d.After = form[:at], form[at+len(counter):]
	return d, nil
}

// Form is the stored form of the ticket with a counter.
func (d Draft) Form(seq int64) []byte {
	form := make([]byte, 0, len(d.Before)+20+len(d.After))
	return append(strconv.AppendInt(append(form, d.Before...), seq, 10), d.After...)
}

// AssignNumber gives the ticket its number, once it is written.
func (d Draft) AssignNumber(seq int64) *tickets.Ticket {
	d.Ticket.Number, d.Ticket.Version = tickets.Number(d.Prefix+strconv.FormatInt(seq, 10)), 1
	return d.Ticket
}
