// Package store is the contract for how tickets are kept. Child packages
// keep it; the suite in storetest says what keeping it means.
//
// A store holds seven things: tickets, webhooks as they arrived, an index of
// when each ticket next owes something in which lane, the counter of ticket
// numbers, the settings with their changes and how far those have come who
// follow these, the ledger of tickets that it has retired, and for some minutes
// what was claimed, so that it counts once. What is owed is
// computed from the ticket; the index only
// says when to look, and is written in the same commit as the ticket, so the
// two cannot disagree.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/tickets"
)

// FirstSeq is the counter of the first ticket of a store: JIT-1001. The others
// follow without gaps.
const FirstSeq = 1001

// ErrNotFound means that there is no such ticket or webhook.
var ErrNotFound = errors.New("not found")

// ErrChanged means that somebody else has changed the settings since they
// were read.
var ErrChanged = errors.New("the settings were changed by somebody else meanwhile")

// ErrCorrupt means that the settings in the store can be read by no version;
// see [Store.ResetSettings].
var ErrCorrupt = errors.New("the settings in the store are damaged")

// Apply says what a webhook does to a ticket. t is the ticket of its
// request, or nil if there is none; then seq is the counter for a new one.
// It returns the ticket to write, or nil to write none. Of a new ticket only
// its number may depend on seq, which a store may settle afterwards. It may
// be called more than once and must have no other effect.
type Apply func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status)

// Store keeps tickets. Its methods are safe for concurrent use. A ticket that a
// newer version wrote and this one cannot read is ErrNewerForm: it is left as
// it is, and a webhook about it is not kept, so that its sender repeats it,
// to a replica that can. Errors other than the named ones mean that the store
// could not do it, or not be reached; after such an error of a writing method
// the write may have happened.
type Store interface {
	Tickets
	Queue
	Webhooks
	Settings
	Inspection

	// ClaimOnce reports whether nobody has asked for key in the last keep, by the
	// store's clock. That it was asked for is durable: neither a restart nor
	// another process makes key new.
	ClaimOnce(ctx context.Context, key string, keep time.Duration) (bool, error)

	// Close waits for writes in progress and closes the store.
	Close() error
}

// Tickets keeps tickets and the webhooks that made them what they are. Every method that writes
// one does it in one durable commit.
type Tickets interface {
	// Accept keeps a webhook, and what apply makes of the ticket of
	// in.Update.ID, in one durable commit. apply is nil for a webhook that
	// belongs to no ticket. It returns the receipt and the ticket as written,
	// nil if none was.
	Accept(ctx context.Context, in tickets.Incoming, apply Apply) (tickets.Receipt, *tickets.Ticket, error)

	// Update changes a ticket by compare-and-swap and returns it as written.
	// change may be called more than once and must have no other effect. If
	// it returns an error nothing is written, and Update returns the ticket
	// as it stands with that same error. ErrNotFound if there is no such
	// ticket.
	Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error)

	// Get returns a ticket, or ErrNotFound.
	Get(ctx context.Context, n tickets.Number) (*tickets.Ticket, error)

	// Find returns the ticket of a request, or ErrNotFound.
	Find(ctx context.Context, id tickets.RequestID) (*tickets.Ticket, error)

	// List returns tickets, newest first unless q says otherwise. Beside an error
	// it may return tickets: one that cannot be read hides no other.
	List(ctx context.Context, q Query) ([]*tickets.Ticket, error)
}

// Queue gives out tickets that owe something, to one process at a time.
type Queue interface {
	// Claim leases up to limit tickets that owe something in lane at now,
	// those due longest first. A leased ticket is not given out again in the
	// same lane before until, or before Release. Beside an error it may return
	// tickets, which are leased: one that cannot be read holds up no other.
	Claim(ctx context.Context, lane tickets.Lane, now, until time.Time, limit int) ([]*tickets.Ticket, error)

	// Release ends a lease of Claim.
	Release(ctx context.Context, lane tickets.Lane, n tickets.Number) error
}

// Webhooks keeps webhooks as they arrived.
type Webhooks interface {
	// Incoming returns a webhook as it was kept, with its receipt.
	// ErrNotFound if there is none.
	Incoming(ctx context.Context, id string) (StoredIncoming, error)

	// Incomings lists webhooks, newest first, without bodies.
	Incomings(ctx context.Context, q IncomingQuery) ([]StoredIncoming, error)

	// Replay applies in, a kept webhook that failed and was read anew, as
	// Accept does, and puts the result into its record: status, ticket, error
	// and whether it was repaired. Its body, time and sender stay. This is
	// one durable commit. A webhook that has not failed, or no longer, is left
	// as it is, so that none is applied twice: its receipt is returned without
	// a ticket. ErrNotFound if it is not kept.
	Replay(ctx context.Context, in tickets.Incoming, apply Apply) (tickets.Receipt, *tickets.Ticket, error)

	// Purge forgets webhooks, a few at a time, and returns how many; fewer
	// than r.Limit means that nothing more is to be forgotten now. It holds
	// up no other call, and several processes may purge at once.
	Purge(ctx context.Context, r Retention) (int, error)
}

// Settings keeps what admins have set, with its changes, and how far those have come who
// follow them.
type Settings interface {
	// Settings returns what admins have set, the zero Settings if they have
	// set nothing. ErrDamaged if what stands there cannot be read.
	Settings(ctx context.Context) (tickets.Settings, error)

	// Configure makes changes to the settings of version from, and keeps both
	// in one durable commit. The changes get the new version. ErrChanged if
	// the settings are of another version; nothing is written then.
	Configure(ctx context.Context, from int64, changes []tickets.Change) (tickets.Settings, error)

	// ResetSettings begins the settings anew, without any, where Settings answers
	// ErrDamaged, and keeps what stood there as the Old of c, all in one
	// durable commit. c gets [tickets.KeyDamaged] and the new version.
	// ErrChanged if the settings can be read, or a newer version can; nothing
	// is written then.
	ResetSettings(ctx context.Context, c tickets.Change) (tickets.Settings, error)

	// Changes returns up to limit changes of the settings, newest first.
	Changes(ctx context.Context, limit int) ([]tickets.Change, error)

	// Cursor returns how far somebody who follows the changes of the settings
	// has come, as SetMark kept it. ErrNotFound if nothing is kept under name.
	Cursor(ctx context.Context, name string) (int64, error)

	// SetCursor keeps how far name has come.
	SetCursor(ctx context.Context, name string, at int64) error
}

// Inspection is for what looks after the store itself.
type Inspection interface {
	// FormsAfter returns the stored forms of tickets with a counter above seq,
	// as they are, oldest first, up to limit; fewer if they are large, and
	// none only if there are none.
	FormsAfter(ctx context.Context, seq int64, limit int) ([]Form, error)

	// Misfiled compares the indexes with what they should hold of tickets that
	// have just been read, and returns what differs. A ticket that was changed
	// since is passed over, and so is an entry that is due too early: Claim puts
	// that right. The list should be no longer than a few pages.
	Misfiled(ctx context.Context, list []Entries) ([]Misfiled, error)

	// Refile writes the entries of a ticket in all indexes anew, as the ticket
	// itself says. ErrNotFound if there is no such ticket.
	Refile(ctx context.Context, n tickets.Number) error

	// Retire forgets tickets that are final, owe nothing, and that nothing has
	// happened to since before: the oldest first, up to limit, together with an
	// entry of the ledger that accounts for them, in one durable commit. It
	// returns the entry, or the zero entry if there was none. Their
	// numbers are not given out again.
	Retire(ctx context.Context, before, now time.Time, limit int) (Retired, error)

	// Stats counts what the store holds as of now.
	Stats(ctx context.Context, now time.Time) (Stats, error)

	// Ping is nil if the store can be read and written.
	Ping(ctx context.Context) error
}

// Query selects tickets.
type Query struct {
	Progress tickets.Progress // empty: any
	Before   tickets.Number   // only tickets older than this one; empty: from the newest
	Limit    int              // at most; 0: 50

	OldestFirst bool           // in place of newest first
	After       tickets.Number // only tickets newer than this one; empty: from the oldest
}

// Between is what the counters of q's tickets are between. The error is
// ErrNotFound.
func (q Query) Between() (after, before int64, err error) {
	before = 1 << 53 // the numbers that a store can tell apart end there
	for n, to := range map[tickets.Number]*int64{q.After: &after, q.Before: &before} {
		seq, ok := n.Seq()
		switch {
		case ok:
			*to = seq
		case n != "":
			return 0, 0, fmt.Errorf("ticket %q: %w", n, ErrNotFound)
		}
	}
	return after, before, nil
}

// IncomingQuery selects webhooks.
type IncomingQuery struct {
	Status tickets.Status // empty: any
	Prefix string         // what the id begins with: letters, digits and hyphens; empty: anything
	Limit  int            // at most; 0: 50
}

// StoredIncoming is a webhook in the store. Its Update is nil: the raw body tells.
type StoredIncoming struct {
	tickets.Incoming
	Receipt tickets.Receipt
}

// Stats is what a store holds.
type Stats struct {
	Progress map[tickets.Progress]int
	Due      map[tickets.Lane]Backlog
	Owed     map[tickets.Lane]int // how many tickets owe something in a lane, now or later
}

// Backlog is what is due in one lane.
type Backlog struct {
	Count  int
	Oldest time.Time // when the one that waits longest became due
}
