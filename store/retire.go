package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/tickets"
)

// Retired is one entry of the ledger of tickets that a store has retired:
// it accounts for their numbers, and keeps what their histories came to. The
// entries are chained like the events of a ticket.
type Retired struct {
	N       int                  `json:"n"` // its place in the ledger, from 1
	At      time.Time            `json:"at"`
	Tickets []tickets.Checkpoint `json:"tickets"`
	Hash    string               `json:"hash,omitempty"`
}

// LedgerCheckpoint is what checkpoints of the ledger are called.
const LedgerCheckpoint = "retired"

// ledgerRoot is the hash before the first entry of a ledger.
func ledgerRoot() string { return tickets.Digest([]byte("countersign retired\n")) }

// Retires reports whether t may be retired: it is final, owes nothing, and
// nothing has happened to it since before.
func Retires(t *tickets.Ticket, before time.Time) bool {
	return t.Progress() == tickets.Final && len(t.NextDue()) == 0 && t.Created.Before(before) &&
		!slices.ContainsFunc(t.Events, func(e tickets.Event) bool { return !e.At.Before(before) })
}

// Retirable finds up to limit tickets that may be retired, the oldest
// first. after gives the final tickets with a counter above seq, oldest first,
// a page at a time; those that cannot be read stay, and so do those that are
// not as they were written: they are evidence.
func Retirable(before time.Time, limit int, after func(seq int64) ([]Form, error)) ([]*tickets.Ticket, error) {
	var list []*tickets.Ticket
	for seq := int64(0); ; {
		page, err := after(seq)
		if err != nil || len(page) == 0 {
			return list, err
		}
		for _, f := range page {
			seq = f.Seq
			r := f.Record()
			switch {
			case r.Err != nil:
			case !r.Ticket.Created.Before(before):
				return list, nil // and so are all after it
			case Retires(r.Ticket, before) && len(VerifyForm(f.Seq, f.Doc)) == 0:
				if list = append(list, r.Ticket); len(list) == limit {
					return list, nil
				}
			}
		}
	}
}

// NewLedgerEntry is the ledger's entry for tickets that are retired at now, and its
// stored form. last is the stored form of the entry before it, empty if it is
// the first.
func NewLedgerEntry(last []byte, list []*tickets.Ticket, now time.Time) (Retired, []byte, error) {
	e := Retired{N: 1, At: now}
	hash := ledgerRoot()
	if len(last) > 0 {
		before, err := DecodeRetired(last)
		if err != nil {
			return Retired{}, nil, err
		}
		e.N, hash = before.N+1, before.Hash
	}
	for _, t := range list {
		e.Tickets = append(e.Tickets, t.Checkpoint())
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return Retired{}, nil, err
	}
	if e.Hash, err = tickets.Link(hash, doc); err != nil {
		return Retired{}, nil, err
	}
	doc, err = json.Marshal(e)
	return e, doc, err
}

// DecodeRetired reads the stored form of an entry.
func DecodeRetired(b []byte) (Retired, error) {
	var e Retired
	if err := json.Unmarshal(b, &e); err != nil {
		return Retired{}, fmt.Errorf("stored ledger: %w", err)
	}
	return e, nil
}

// accounted are the checkpoints of the tickets that a ledger accounts for. Entries
// that cannot be read account for none.
func accounted(docs [][]byte) map[tickets.Number]tickets.Checkpoint {
	all := map[tickets.Number]tickets.Checkpoint{}
	for _, doc := range docs {
		e, err := DecodeRetired(doc)
		if err != nil {
			continue // verify tells of it
		}
		for _, h := range e.Tickets {
			all[h.Ticket] = h
		}
	}
	return all
}

// CompareLedger is what becomes of a ledger that is to be restored where another
// stands, both oldest first: what it has more is added, or nothing if they
// contradict each other.
func CompareLedger(docs, have [][]byte) (more [][]byte, did Restored) {
	n := min(len(docs), len(have))
	for i := range n {
		if string(docs[i]) != string(have[i]) {
			return nil, Refused
		}
	}
	switch {
	case len(docs) > n:
		return docs[n:], Copied
	case len(have) > n:
		return nil, Further
	}
	return nil, Same
}
