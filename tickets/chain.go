package tickets

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// The history of a ticket is a chain: each event has a hash over the hash
// before it and over itself, so that no event can be changed, removed or
// moved without changing every hash after it.
//
//	hash of an event = SHA-256(hash before it + "\n" + canonical JSON of the event without its hash)
//	hash before the first = SHA-256("countersign ticket\n" + id of the request + "\n" + created)
//
// All hashes are in lower-case hex. A ticket's number is not part of it: a
// store may settle that when the first event is written already.

// Root is the hash before the first event of the ticket of a request. created
// is its time as the stored form writes it.
func Root(id RequestID, created string) string {
	return digest("countersign ticket\n" + string(id) + "\n" + created)
}

// ChangesRoot is the hash before the first change of the settings.
func ChangesRoot() string { return digest("countersign settings\n") }

// Link is the hash of an event, or of anything else that is chained, from the
// hash before it and its JSON. A member "hash" is left out.
func Link(before string, event []byte) (string, error) {
	if err := valid(event); err != nil {
		return "", err
	}
	return hashed(before+"\n", event, "hash"), nil
}

// Digest is the SHA-256 of b in hex.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func digest(s string) string { return Digest([]byte(s)) }

// Checkpoint is the end of a chain: it stands for everything before it.
type Checkpoint struct {
	Ticket Number `json:"ticket"`
	Events int    `json:"events"` // how many there are
	Hash   string `json:"hash"`   // of the last one
}

// Checkpoint returns the checkpoint of t's history.
func (t *Ticket) Checkpoint() Checkpoint {
	return Checkpoint{t.Number, len(t.Events), t.lastHash()}
}

func (t *Ticket) lastHash() string {
	if last := len(t.Events) - 1; last >= 0 {
		return t.Events[last].Hash
	}
	return Root(t.ID, t.Created.Format(time.RFC3339Nano))
}

// link is the hash of e after the one before it.
func (e Event) link(before string) string {
	e.Hash = ""
	form := e.form()
	if form == nil {
		return "" // of a time that no JSON can hold: the store refuses the ticket too
	}
	return hashed(before+"\n", form)
}

// form is e as it is stored, with what a newer version has added; nil if it
// cannot be.
func (e Event) form() []byte {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil
	}
	var inner [2]UnknownFields
	if e.Decision != nil {
		inner[0] = e.Decision.UnknownFields
	}
	if e.Outcome != nil {
		inner[1] = e.Outcome.UnknownFields
	}
	if e.UnknownFields == "" && inner == [2]UnknownFields{} {
		return raw
	}
	more := map[string]json.RawMessage{}
	for i, name := range []string{"decision", "outcome"} {
		if inner[i] != "" {
			more[name] = json.RawMessage(inner[i])
		}
	}
	added, err := json.Marshal(more)
	if err != nil {
		return nil
	}
	return withMembers(withMembers(raw, added), []byte(e.UnknownFields))
}

// withMembers is the object o and the members of more that it has not, at any
// depth.
func withMembers(o, more []byte) []byte {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(o, &a) != nil || json.Unmarshal(more, &b) != nil {
		return o
	}
	for name, v := range b {
		if has, ok := a[name]; ok {
			v = withMembers(has, v)
		}
		a[name] = v
	}
	both, err := json.Marshal(a)
	if err != nil {
		return o
	}
	return both
}
