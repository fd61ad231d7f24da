package store

import (
	"context"

	"github.com/countersign/countersign/tickets"
)

// Archive is a store whose content can be copied as it is. Both keepers are
// one. Its methods are as safe as those of [Store], and repeating any of them
// does no harm.
type Archive interface {
	// FormsAfter and Misfiled are those of [Store].
	FormsAfter(ctx context.Context, seq int64, limit int) ([]Form, error)
	Misfiled(ctx context.Context, list []Entries) ([]Misfiled, error)

	// ChangeForms returns the stored forms of up to limit changes of the
	// settings, newest first.
	ChangeForms(ctx context.Context, limit int) ([][]byte, error)

	// Ledger returns the stored forms of the entries for retired tickets,
	// oldest first.
	Ledger(ctx context.Context) ([][]byte, error)

	// RestoreLedger adds what the ledger of another store has more, if all
	// that is here is in it, and returns what it did.
	RestoreLedger(ctx context.Context, docs [][]byte) (Restored, error)

	// RemoveRetired removes tickets that the ledger accounts for, but for
	// those that were changed since they were read. The list should be no
	// longer than a few pages.
	RemoveRetired(ctx context.Context, list []*tickets.Ticket) error

	// TicketsAfter returns tickets with a counter above seq, oldest first, up
	// to limit; fewer if they are large, and none only if there are none.
	TicketsAfter(ctx context.Context, seq int64, limit int) ([]TicketRecord, error)

	// IncomingsAfter returns webhooks with their bodies that follow the one
	// called id, oldest first, up to limit; fewer if they are large, and none
	// only if there are none. An empty id begins with the first.
	IncomingsAfter(ctx context.Context, id string, limit int) ([]IncomingRecord, error)

	// RestoreTickets asks choose for each ticket of the list what to write,
	// and writes that with its indexes in one commit, together with others or
	// alone. The list should be no longer than a page.
	RestoreTickets(ctx context.Context, list []*tickets.Ticket, choose Choose) error

	// RestoreIncomings keeps webhooks as another store has kept them, and
	// returns for each what it did. It changes none that is there.
	RestoreIncomings(ctx context.Context, list []StoredIncoming) ([]Restored, error)

	// Settings and Changes are those of [Store].
	Settings(ctx context.Context) (tickets.Settings, error)
	Changes(ctx context.Context, limit int) ([]tickets.Change, error)

	// RestoreSettings keeps settings and their changes, newest first, if there
	// are none, and returns what it did; see [CompareSettings].
	RestoreSettings(ctx context.Context, s tickets.Settings, changes []tickets.Change) (Restored, error)

	// SetCursor is that of [Store]; Marks are all that are kept, by name.
	SetCursor(ctx context.Context, name string, at int64) error
	Marks(ctx context.Context) (map[string]int64, error)

	// RaiseCounter makes the counter of the last ticket number at least seq.
	RaiseCounter(ctx context.Context, seq int64) error

	// Count counts what there is.
	Count(ctx context.Context) (Counts, error)
}

// Form is the stored form of a ticket, or why there is none.
type Form struct {
	Seq     int64
	Version int64
	Doc     []byte
	Err     error
}

// Record reads f.
func (f Form) Record() TicketRecord {
	r := TicketRecord{Seq: f.Seq, Err: f.Err}
	if r.Err == nil {
		r.Ticket, r.Err = Decode(f.Doc)
	}
	if r.Err == nil {
		r.Ticket.Version = f.Version
	}
	return r
}

// TicketRecord is a ticket in an archive, or why it cannot be read.
type TicketRecord struct {
	Seq    int64
	Ticket *tickets.Ticket
	Err    error
}

// IncomingRecord is a webhook in an archive. If Err is set nothing but its id
// can be read.
type IncomingRecord struct {
	StoredIncoming
	Err error
}

// Choose says what to write in place of what stands: a ticket with the number
// and the request of the i-th one of the list, and a Version that is higher
// than that of what stands; or nil to write nothing. It may be called more
// than once for a ticket and must have no effect but on what is kept of i.
type Choose func(i int, have Existing) *tickets.Ticket

// Existing is what an archive has of a ticket that is to be restored: the
// ticket of its number and the ticket of its request, nil where there is
// none. If Err is set one of them cannot be read.
type Existing struct {
	ByNumber, ByRequest *tickets.Ticket
	Err                 error
}

// Restored is what became of one restored record.
type Restored int

// What can become of a record.
const (
	Refused Restored = iota // it contradicts what is there, which was left
	Copied                  // it is new here
	Updated                 // it has gone further than what was here
	Same                    // it was here already
	Further                 // what is here has gone further, and was left
)
