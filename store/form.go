package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/tickets"
)

// FormVersion is the version of the stored form that this program writes.
// Every later version can read it. What only adds fields does not raise it.
const FormVersion = 1

type form struct {
	V int `json:"v"`
	*tickets.Ticket
	Seal string `json:"seal,omitempty"`
}

// ErrNewerForm means that a record was written by a newer version of the
// program than this one, and means something that this one does not know.
var ErrNewerForm = errors.New("written by a newer version of countersign: run that version or a later one")

// ErrUnreadable means that a record in the store is so damaged that no version
// can read it.
var ErrUnreadable = errors.New("the record is damaged and cannot be read")

// Encode is the stored form of t: one JSON object with the form's version in
// "v", sealed. It does not hold Version, which is the store's own. What a newer
// version has added is in it again.
func Encode(t *tickets.Ticket) ([]byte, error) {
	b, err := json.Marshal(form{V: FormVersion, Ticket: t})
	if err == nil && hasNewer(t) {
		b, err = restore(b, t)
	}
	if err != nil {
		return nil, err
	}
	b = slices.Grow(b[:len(b)-len("}")], sealLen)
	seal := sealOf(b)
	return append(append(append(b, sealBegin...), seal...), sealEnd...), nil
}

// The seal is the last member of a stored form: the SHA-256, in hex, of the
// bytes before it, in which the counter of the ticket's number is left out: a
// store may put that in later.
const (
	sealBegin = `,"seal":"`
	sealEnd   = `"}`
	sealLen   = len(sealBegin) + 2*sha256.Size + len(sealEnd)
)

// sealOf is the seal of a stored form, of which b is what comes before it.
func sealOf(b []byte) string {
	const name = `"number":"`
	begin, end := len(b), len(b)
	if i := bytes.Index(b, []byte(name)); i >= 0 {
		if n := bytes.IndexByte(b[i+len(name):], '"'); n >= 0 {
			end = i + len(name) + n
			for begin = end; b[begin-1] >= '0' && b[begin-1] <= '9'; begin-- {
			}
		}
	}
	h := sha256.New()
	h.Write(b[:begin])
	h.Write(b[end:])
	return hex.EncodeToString(h.Sum(nil))
}

// sealed reports whether a stored form is as it was sealed.
func sealed(b []byte) bool {
	b = bytes.TrimRight(b, "\n")
	body := len(b) - sealLen
	return body > 0 && bytes.HasPrefix(b[body:], []byte(sealBegin)) && bytes.HasSuffix(b, []byte(sealEnd)) &&
		string(b[body+len(sealBegin):len(b)-len(sealEnd)]) == sealOf(b[:body])
}

// Decode reads what any version up to this one encoded. What a newer version
// has added to a form of this version is kept in the tickets.UnknownFields of what it
// was added to. A form whose seal is broken is read all the same, and the
// ticket is Broken from then on: the next write, which seals it anew, must not
// hide that.
func Decode(b []byte) (*tickets.Ticket, error) {
	f := form{Ticket: new(tickets.Ticket)}
	// Most forms hold nothing unknown: being strict first saves looking.
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&f); err != nil || strict.InputOffset() != int64(len(b)) {
		f = form{Ticket: new(tickets.Ticket)}
		if err := json.Unmarshal(b, &f); err != nil {
			if newerForm(b, FormVersion) {
				return nil, fmt.Errorf("stored ticket: %w", ErrNewerForm)
			}
			return nil, fmt.Errorf("stored ticket: %w: %w", ErrUnreadable, err)
		}
		if err := keepNewer(b, f.Ticket); err != nil {
			return nil, fmt.Errorf("stored ticket: %w: %w", ErrUnreadable, err)
		}
	}
	switch {
	case f.V > FormVersion:
		return nil, fmt.Errorf("stored ticket: %w", ErrNewerForm)
	case f.V < 1:
		return nil, fmt.Errorf("stored ticket: %w: it has no form version", ErrUnreadable)
	}
	if _, ok := f.Number.Seq(); !ok {
		return nil, fmt.Errorf("stored ticket: %w: it has no number", ErrUnreadable)
	}
	if !sealed(b) || !f.FollowsHistory() {
		f.Broken = true
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
