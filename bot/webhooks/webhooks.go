// Package webhooks applies to tickets what webhooks say: those that arrive, and those
// that were kept and are replayed. Every webhook is kept as it arrived. What could
// not be read is read anew when an admin asks for it, with the parser of this
// version, and applied in one commit with its record, which says whether it was
// applied: nothing is applied twice.
package webhooks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Apply does to a ticket, or to none, what a webhook says.
func Apply(in tickets.Incoming, rules tickets.Rules, t *tickets.Ticket, seq int64, now time.Time) (*tickets.Ticket, tickets.Status) {
	if in.Update.Waiting {
		return nil, tickets.StatusDuplicate // says nothing that is not known
	}
	if t == nil {
		t = tickets.Start(tickets.NewNumber(rules.Type.Prefix, seq), in.Update.ID, rules, now)
	}
	status := t.ApplyUpdate(in, rules, now)
	if status == tickets.StatusDuplicate {
		return nil, status
	}
	return t, status
}

// Advice is an error that is a sentence for whoever asked.
type Advice string

func (a Advice) Error() string { return string(a) }

// What is wrong with the ID of a webhook.
const (
	sayIDShape    = Advice("The ID of a webhook has letters, digits and hyphens. Write at least its first 8 characters.")
	sayIDUnknown  = Advice("No webhook has this ID, or it is kept no longer.")
	sayIDSeveral  = Advice("Several webhooks have an ID that begins like this. Write more of it.")
	sayCannotRead = Advice("Webhooks cannot be replayed from here.")
)

// shortID is how much of an ID must be written at least.
const shortID = 8

// Find returns the kept webhook whose ID is id or, if that is of 8
// characters or more, alone begins with it. If there is none the error is an
// Advice.
func Find(ctx context.Context, s store.Store, id string) (store.StoredIncoming, error) {
	id = strings.ToLower(strings.TrimSpace(id))
	if id == "" || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" {
		return store.StoredIncoming{}, sayIDShape
	}
	k, err := s.Incoming(ctx, id)
	switch {
	case !errors.Is(err, store.ErrNotFound):
		return k, err
	case len(id) < shortID:
		return store.StoredIncoming{}, sayIDShape
	}
	list, err := s.Incomings(ctx, store.IncomingQuery{Prefix: id, Limit: 2})
	switch {
	case err != nil:
		return store.StoredIncoming{}, err
	case len(list) > 1:
		return store.StoredIncoming{}, sayIDSeveral
	case len(list) == 1:
		if k, err = s.Incoming(ctx, list[0].ID); !errors.Is(err, store.ErrNotFound) {
			return k, err
		}
	}
	return store.StoredIncoming{}, sayIDUnknown
}

// Replayer applies kept webhooks once more.
type Replayer struct {
	Store store.Store
	Read  func(tickets.Incoming) tickets.Incoming // fills in what a raw body says
	Rules func(*tickets.Ticket) tickets.Rules     // for a ticket, or for a new one; see settings.Live.RulesOf
	Now   func() time.Time
}

// Replayed is what came of it.
type Replayed struct {
	Receipt tickets.Receipt
	Error   string          // why the webhook fails still; empty if it does not
	Ticket  *tickets.Ticket // as it was written, nil if it was not
	Before  bool            // it had been applied before, and nothing was changed
}

// Replay reads the kept webhook that id finds (see [Find]) as if it
// arrived now, and puts the result into its record. One that did not fail is
// left as it is.
func (r Replayer) Replay(ctx context.Context, id string) (Replayed, error) {
	if r.Read == nil {
		return Replayed{}, sayCannotRead
	}
	k, err := Find(ctx, r.Store, id)
	if err != nil {
		return Replayed{}, err
	}
	if k.Receipt.Status != tickets.StatusFailed {
		return Replayed{Receipt: k.Receipt, Before: true}, nil
	}
	in := r.Read(k.Incoming)
	var apply store.Apply
	if in.Update != nil && in.Error == "" {
		now := r.Now()
		apply = func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
			if outdated(in, t) {
				return nil, tickets.StatusDuplicate
			}
			return Apply(in, r.Rules(t), t, seq, now)
		}
	}
	receipt, t, err := r.Store.Replay(ctx, in, apply)
	if errors.Is(err, store.ErrNotFound) {
		err = sayIDUnknown // it was forgotten meanwhile
	}
	if err != nil {
		return Replayed{}, err
	}
	out := Replayed{Receipt: receipt, Ticket: t}
	if receipt.Status == tickets.StatusFailed {
		out.Error = in.Error
	}
	return out, nil
}

// outdated reports whether t had its outcome after in arrived, and the times
// that EPM gives do not tell which of the two is the later one: then in, which
// waited to be replayed, is not.
func outdated(in tickets.Incoming, t *tickets.Ticket) bool {
	o := in.Update.Outcome
	if o == nil || t == nil || t.Outcome == nil || !o.At.IsZero() && !t.Outcome.At.IsZero() {
		return false
	}
	for _, e := range t.Events {
		if e.Kind == tickets.EventOutcome && e.At.After(in.At) {
			return true
		}
	}
	return false
}

// String is r as a sentence.
func (r Replayed) String() string {
	n := r.Receipt.Ticket
	about := ""
	if n != "" {
		about = " (" + string(n) + ")"
	}
	switch {
	case r.Before:
		return fmt.Sprintf("This webhook did not fail: it was applied before as %s%s. Nothing was changed.", r.Receipt.Status, about)
	case r.Receipt.Status == tickets.StatusCreated:
		return fmt.Sprintf("Replayed: the ticket %s was created.", n)
	case r.Receipt.Status == tickets.StatusUpdated:
		return fmt.Sprintf("Replayed: the ticket %s was updated.", n)
	case r.Receipt.Status == tickets.StatusFailed:
		return fmt.Sprintf("It fails still: %s. It stays kept.", strings.TrimRight(wording.Line(r.Error), "."))
	}
	return fmt.Sprintf("Replayed: it says nothing new%s, and changed no ticket.", about)
}
