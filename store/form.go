package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign/countersign/tickets"
)

// formVersion is the version of the stored form that this program writes.
// Every later version can read it.
const formVersion = 1

type form struct {
	V int `json:"v"`
	*tickets.Ticket
}

// ErrNewerForm means that a record was written by a newer version of the
// program than this one.
var ErrNewerForm = errors.New("written by a newer version of countersign: run that version or a later one")

// Encode is the stored form of t: one JSON object with the form's version in
// "v". It does not hold Version, which is the store's own.
func Encode(t *tickets.Ticket) ([]byte, error) {
	return json.Marshal(form{V: formVersion, Ticket: t})
}

// Decode reads what any version up to this one encoded.
func Decode(b []byte) (*tickets.Ticket, error) {
	f := form{Ticket: new(tickets.Ticket)}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("stored ticket: %w", err)
	}
	switch {
	case f.V > formVersion:
		return nil, fmt.Errorf("stored ticket: %w", ErrNewerForm)
	case f.V < 1:
		return nil, errors.New("stored ticket: no form version")
	}
	if _, ok := f.Number.Seq(); !ok {
		return nil, errors.New("stored ticket: no number")
	}
	return f.Ticket, nil
}
