package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign/countersign/tickets"
)

// FormVersion is the newest version of the stored form that this program
// reads and writes. Every later version can read it. What only adds fields
// does not raise it.
//
//	1  what there was at first
//	2  what a ticket owes receivers of events: a version that does not know
//	   the lane would drop it from the index
const FormVersion = 2

// formVersion is the version of t's form: the oldest that can work on it.
func formVersion(t *tickets.Ticket) int {
	if len(t.Deliveries) > 0 {
		return 2
	}
	return 1
}

type form struct {
	V int `json:"v"`
	*tickets.Ticket
}

// ErrNewerForm means that a record was written by a newer version of the
// program than this one, and means something that this one does not know.
var ErrNewerForm = errors.New("written by a newer version of countersign: run that version or a later one")

// Encode is the stored form of t: one JSON object with the form's version in
// "v". It does not hold Version, which is the store's own. What a newer
// version has added is in it again.
func Encode(t *tickets.Ticket) ([]byte, error) {
	b, err := json.Marshal(form{V: formVersion(t), Ticket: t})
	if err != nil || !hasNewer(t) {
		return b, err
	}
	return restore(b, t)
}

// Decode reads what any version up to this one encoded. What a newer version
// has added to a form of this version is kept in the tickets.Newer of what it
// was added to.
func Decode(b []byte) (*tickets.Ticket, error) {
	f := form{Ticket: new(tickets.Ticket)}
	// Most forms hold nothing unknown: being strict first saves looking.
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&f); err != nil || strict.InputOffset() != int64(len(b)) {
		f = form{Ticket: new(tickets.Ticket)}
		if err := json.Unmarshal(b, &f); err != nil {
			if newerForm(b, FormVersion) {
				err = ErrNewerForm
			}
			return nil, fmt.Errorf("stored ticket: %w", err)
		}
		if err := keepNewer(b, f.Ticket); err != nil {
			return nil, fmt.Errorf("stored ticket: %w", err)
		}
	}
	switch {
	case f.V > FormVersion:
		return nil, fmt.Errorf("stored ticket: %w", ErrNewerForm)
	case f.V < 1:
		return nil, errors.New("stored ticket: no form version")
	}
	if _, ok := f.Number.Seq(); !ok {
		return nil, errors.New("stored ticket: no number")
	}
	return f.Ticket, nil
}

// newerForm reports whether b is of a later version than v.
func newerForm(b []byte, v int) bool {
	var f struct {
		V int `json:"v"`
	}
	return json.Unmarshal(b, &f) == nil && f.V > v
}
