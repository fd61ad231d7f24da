package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

// Counts is how much an archive holds.
type Counts struct {
	Tickets, Incomings int
	Counter            int64 // of the last ticket number given out
}

// Progress is how far Copy has come: how many tickets and webhooks it has
// brought to which end.
type Progress struct {
	Compared           int // tickets, before anything is written
	Tickets, Incomings map[Restored]int
	Settings           Restored
	Unread             int // tickets and webhooks that could not be read
	From, To           Counts
}

const (
	copyPage  = 128 // records read and written together
	maxNamed  = 10  // problems that an error names, of as many as there are
	sayTarget = "Choose an empty store to copy to: a file that does not exist yet, or another tenant=NAME."
)

// ErrOtherTickets means that the store copied to has tickets of its own under
// the numbers or the requests of those to be copied.
var ErrOtherTickets = errors.New("the store to copy to has other tickets under the same numbers, or other numbers for the same requests")

// Copy copies everything from one store to another: tickets under their
// numbers, webhooks, and the counter of ticket numbers, which it never
// lowers. tell is called after each page, with how far it is.
//
// It may be repeated, and interrupted anywhere and run again. What changes in
// from meanwhile is copied the next time.
//
// If to has tickets, all are compared before anything is written; a number
// that has another request there, or a request that has another number, ends
// it with ErrOtherTickets. A ticket that both have is written only if from
// has every decision on it that to has, and has gone further. If each has a
// decision that the other lacks, it is left as it is in both, and named in
// the error, as are records that cannot be read; everything else is copied.
//
// A ticket that to has retired is not written again. One that from has retired
// and to still has, with the very same history, is removed from to; with any
// other history it is left and named, and the ledger is not copied.
func Copy(ctx context.Context, from, to Archive, tell func(Progress)) (Progress, error) {
	c := &copying{from: from, to: to, tell: tell, Progress: Progress{Tickets: map[Restored]int{}, Incomings: map[Restored]int{}}}
	err := c.run(ctx)
	return c.Progress, err
}

type copying struct {
	Progress
	from, to Archive
	tell     func(Progress)
	named    []error
	problems int
	retired  map[tickets.Number]tickets.Checkpoint // by to
	past     int                                   // tickets of from that are among them
}

func (c *copying) run(ctx context.Context) error {
	if err := c.count(ctx); err != nil {
		return err
	}
	there, err := c.to.Ledger(ctx)
	if err != nil {
		return err
	}
	c.retired = accounted(there)
	if c.To.Tickets > 0 {
		if err := c.compare(ctx); err != nil {
			return err
		}
	}
	// First, so that a bot on the other store takes no number of ours; and
	// last, for numbers given out meanwhile.
	if err := c.to.RaiseCounter(ctx, c.From.Counter); err != nil {
		return fmt.Errorf("set the counter of ticket numbers: %w", err)
	}
	if err := c.tickets(ctx); err != nil {
		return err
	}
	if err := c.incomings(ctx); err != nil {
		return err
	}
	if err := c.settings(ctx); err != nil {
		return err
	}
	if err := c.ledger(ctx); err != nil {
		return err
	}
	if err := c.count(ctx); err != nil {
		return err
	}
	if err := c.to.RaiseCounter(ctx, c.From.Counter); err != nil {
		return fmt.Errorf("set the counter of ticket numbers: %w", err)
	}
	c.To.Counter = max(c.To.Counter, c.From.Counter)
	return c.verify()
}

func (c *copying) count(ctx context.Context) error {
	var err error
	if c.From, err = c.from.Count(ctx); err != nil {
		return fmt.Errorf("count what is to be copied: %w", err)
	}
	if c.To, err = c.to.Count(ctx); err != nil {
		return fmt.Errorf("count what is there: %w", err)
	}
	return nil
}

// compare looks for tickets that cannot be copied because their numbers or
// requests are taken. Two stores of different bots must not be mixed.
func (c *copying) compare(ctx context.Context) error {
	var others []error
	return c.pages(ctx, func(list []*tickets.Ticket) error {
		found := make([]error, len(list))
		err := c.to.RestoreTickets(ctx, list, func(i int, have Existing) *tickets.Ticket {
			found[i] = taken(list[i], have)
			return nil
		})
		if err != nil {
			return fmt.Errorf("compare tickets: %w", err)
		}
		c.Compared += len(list)
		c.tell(c.Progress)
		for _, err := range found {
			if err != nil && len(others) < maxNamed {
				others = append(others, err)
			}
		}
		if len(others) == maxNamed || len(list) == 0 && len(others) > 0 {
			return fmt.Errorf("%w. Nothing was written. %s For example:\n%w", ErrOtherTickets, sayTarget, errors.Join(others...))
		}
		return nil
	}, func(TicketRecord) {})
}

// taken is why t cannot be copied to where have stands, nil if it can.
func taken(t *tickets.Ticket, have Existing) error {
	switch n, r := have.ByNumber, have.ByRequest; {
	case n != nil && n.Number != t.Number:
		return fmt.Errorf("%s (request %s) is to be copied, and its number is that of %s (request %s)", t.Number, t.ID, n.Number, n.ID)
	case n != nil && n.ID != t.ID:
		return fmt.Errorf("%s is of request %s here, and of request %s there", t.Number, t.ID, n.ID)
	case r != nil && r.Number != t.Number:
		return fmt.Errorf("request %s has the ticket %s here, and %s there", t.ID, t.Number, r.Number)
	}
	return nil
}

// pages calls each with the tickets of each page, and with none at the end;
// unread is called for those that cannot be read.
func (c *copying) pages(ctx context.Context, each func([]*tickets.Ticket) error, unread func(TicketRecord)) error {
	for seq := int64(0); ; {
		page, err := c.from.TicketsAfter(ctx, seq, copyPage)
		if err != nil {
			return fmt.Errorf("read tickets: %w", err)
		}
		list := make([]*tickets.Ticket, 0, len(page))
		for _, r := range page {
			seq = r.Seq
			if r.Err != nil {
				unread(r)
				continue
			}
			list = append(list, r.Ticket)
		}
		if len(list) > 0 || len(page) == 0 {
			if err := each(list); err != nil {
				return err
			}
		}
		if len(page) == 0 {
			return nil
		}
	}
}

func (c *copying) tickets(ctx context.Context) error {
	return c.pages(ctx, func(list []*tickets.Ticket) error {
		did := make([]Restored, len(list))
		why := make([]error, len(list))
		err := c.to.RestoreTickets(ctx, list, func(i int, have Existing) *tickets.Ticket {
			var write *tickets.Ticket
			last, retired := c.retired[list[i].Number]
			if retired && have.Err == nil && taken(list[i], have) == nil {
				did[i], why[i] = weighRetired(list[i], last)
				return nil
			}
			write, did[i], why[i] = weigh(list[i], have)
			return write
		})
		if err != nil {
			return fmt.Errorf("write tickets: %w", err)
		}
		for i := range list {
			c.Tickets[did[i]]++
			if _, ok := c.retired[list[i].Number]; ok {
				c.past++
			}
			c.problem(why[i])
			if errors.Is(why[i], ErrOtherTickets) {
				return errors.Join(fmt.Errorf("%w. %s", why[i], sayTarget), c.summary())
			}
		}
		c.tell(c.Progress)
		return nil
	}, func(r TicketRecord) {
		c.Unread++
		c.problem(fmt.Errorf("ticket %d is not copied: %w", r.Seq, r.Err))
	})
}

func (c *copying) incomings(ctx context.Context) error {
	for id := ""; ; {
		page, err := c.from.IncomingsAfter(ctx, id, copyPage)
		if err != nil {
			return fmt.Errorf("read webhooks: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		list := make([]StoredIncoming, 0, len(page))
		for _, r := range page {
			id = r.ID
			if r.Err != nil {
				c.Unread++
				c.problem(fmt.Errorf("webhook %s is not copied: %w", r.ID, r.Err))
				continue
			}
			list = append(list, r.StoredIncoming)
		}
		did, err := c.to.RestoreIncomings(ctx, list)
		if err != nil {
			return fmt.Errorf("write webhooks: %w", err)
		}
		for i, d := range did {
			c.Incomings[d]++
			if d == Refused {
				c.problem(fmt.Errorf("webhook %s is not copied: there is another one of this name", list[i].ID))
			}
		}
		c.tell(c.Progress)
	}
}

// settings copies what admins have set. Two histories are not mixed.
func (c *copying) settings(ctx context.Context) error {
	s, err := c.from.Settings(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if s.Version == 0 {
		return nil
	}
	changes, err := c.from.Changes(ctx, math.MaxInt32)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	did, err := c.to.RestoreSettings(ctx, s, changes)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	if c.Settings = did; did == Further {
		c.problem(errors.New("the settings are not copied: the store to copy to has settings of its own. Compare both with /epm config, or take those there back with /epm config reset yes"))
		return nil
	}
	return c.marks(ctx)
}

// marks copies how far those have come who follow the settings that both have.
func (c *copying) marks(ctx context.Context) error {
	marks, err := c.from.Marks(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	there, err := c.to.Marks(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	for name, at := range marks {
		if have, ok := there[name]; ok && have >= at {
			continue
		}
		if err := c.to.SetCursor(ctx, name, at); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// ledger copies what accounts for retired tickets, and removes these.
func (c *copying) ledger(ctx context.Context) error {
	docs, err := c.from.Ledger(ctx)
	if err != nil || len(docs) == 0 {
		return err
	}
	retired, whole := accounted(docs), true
	err = c.outdated(ctx, retired, func([]*tickets.Ticket) error { return nil }, func(t *tickets.Ticket) {
		whole = false
		c.problem(fmt.Errorf("%s was retired here, and is there with another history, %s: so the ledger of retired tickets is not copied. %s", t.Number, decided(t), sayTarget))
	})
	if err != nil || !whole {
		return err
	}
	did, err := c.to.RestoreLedger(ctx, docs)
	if err != nil {
		return fmt.Errorf("write the ledger of retired tickets: %w", err)
	}
	if did == Refused {
		c.problem(errors.New("the ledger of retired tickets is not copied: the store to copy to has retired others"))
		return nil
	}
	return c.outdated(ctx, retired, func(page []*tickets.Ticket) error {
		if err := c.to.RemoveRetired(ctx, page); err != nil {
			return fmt.Errorf("remove tickets that were retired: %w", err)
		}
		return nil
	}, func(*tickets.Ticket) {})
}

// outdated finds the tickets that to still has of those that from has retired,
// and calls gone with those of each page that are what was retired, and other
// with each that may hold what from never knew.
func (c *copying) outdated(ctx context.Context, retired map[tickets.Number]tickets.Checkpoint, gone func([]*tickets.Ticket) error, other func(*tickets.Ticket)) error {
	return Forms(ctx, c.to, func(page []Form) error {
		var list []*tickets.Ticket
		for _, f := range page {
			r := f.Record()
			if r.Err != nil {
				continue // nothing says that it is one of them
			}
			switch last, ok := retired[r.Ticket.Number]; {
			case !ok:
			case r.Ticket.Checkpoint() == last && len(VerifyForm(f.Seq, f.Doc)) == 0:
				list = append(list, r.Ticket)
			default:
				other(r.Ticket)
			}
		}
		if len(list) == 0 {
			return nil
		}
		return gone(list)
	})
}

// weighRetired is what becomes of t, which the store to copy to has retired.
func weighRetired(t *tickets.Ticket, last tickets.Checkpoint) (Restored, error) {
	if len(t.Events) < last.Events || t.Checkpoint() == last {
		return Further, nil
	}
	return Refused, fmt.Errorf("%s is not copied: the store to copy to has retired it with another history. %s", t.Number, sayTarget)
}

// weigh decides between t and what stands in its place.
func weigh(t *tickets.Ticket, have Existing) (write *tickets.Ticket, did Restored, problem error) {
	old := have.ByNumber
	if err := taken(t, have); err != nil {
		return nil, Refused, fmt.Errorf("%w: %w", ErrOtherTickets, err)
	}
	switch {
	case have.Err != nil:
		return nil, Refused, fmt.Errorf("%s is not copied: what stands there cannot be read: %w", t.Number, have.Err)
	case old == nil:
		return t, Copied, nil
	}
	same, err := sameForm(t, old)
	if err != nil {
		return nil, Refused, fmt.Errorf("%s is not copied: %w", t.Number, err)
	}
	ours, theirs := covers(t, old), covers(old, t)
	switch {
	case same:
		return nil, Same, nil
	case !ours && !theirs:
		return nil, Refused, fmt.Errorf("%s is not copied: it was decided in both stores, %s here and %s there. Look in EPM which of them holds, and decide it there if need be", t.Number, decided(t), decided(old))
	case ours && (!theirs || further(t, old)):
		c := *t
		c.Version = max(t.Version, old.Version+1)
		return &c, Updated, nil
	}
	return nil, Further, nil
}

func sameForm(a, b *tickets.Ticket) (bool, error) {
	x, err := Encode(a)
	if err != nil {
		return false, err
	}
	y, err := Encode(b)
	return bytes.Equal(x, y), err
}

// covers reports whether everything that was decided of b, here or by EPM, is
// in the history of a.
func covers(a, b *tickets.Ticket) bool {
	type fact struct {
		kind    tickets.EventKind
		at      int64
		actor   tickets.Actor
		verdict tickets.Verdict
	}
	facts := func(t *tickets.Ticket, each func(fact)) {
		for _, e := range t.Events {
			f := fact{kind: e.Kind, at: e.At.UnixNano(), actor: e.Actor}
			switch {
			case e.Decision != nil:
				f.verdict = e.Decision.Verdict
			case e.Outcome != nil:
				f.verdict = e.Outcome.Verdict
			}
			switch e.Kind {
			case tickets.EventDecided, tickets.EventSubmitted, tickets.EventRefused, tickets.EventOutcome:
				each(f)
			}
		}
	}
	has := map[fact]int{}
	facts(a, func(f fact) { has[f]++ })
	all := true
	facts(b, func(f fact) {
		has[f]--
		all = all && has[f] >= 0
	})
	return all
}

// further reports whether a, of which as much was decided as of b, has gone
// further than b.
func further(a, b *tickets.Ticket) bool {
	switch {
	case len(a.Events) != len(b.Events):
		return len(a.Events) > len(b.Events)
	case a.Rev != b.Rev:
		return a.Rev > b.Rev
	}
	return a.Version > b.Version
}

// decided says what was decided last, for the operator.
func decided(t *tickets.Ticket) string {
	switch {
	case t.Outcome != nil:
		return t.Outcome.Verdict.Past() + " in EPM"
	case t.Decision != nil:
		return fmt.Sprintf("%s by %s at %s", t.Decision.Verdict.Past(), t.Decision.By, t.Decision.At.UTC().Format(time.RFC3339))
	}
	return "open again"
}

func (c *copying) problem(err error) {
	if err == nil {
		return
	}
	if c.problems++; len(c.named) < maxNamed {
		c.named = append(c.named, err)
	}
}

// summary is every problem there was as one error, nil if there was none.
func (c *copying) summary() error {
	if c.problems > len(c.named) {
		return errors.Join(append(c.named, fmt.Errorf("and %d more", c.problems-len(c.named)))...)
	}
	return errors.Join(c.named...)
}

// verify compares the counts of both stores.
func (c *copying) verify() error {
	if err := c.summary(); err != nil {
		return fmt.Errorf("%d records were not copied, all others were:\n%w", c.problems, err)
	}
	var short []string
	if c.To.Tickets+c.past < c.From.Tickets {
		short = append(short, fmt.Sprintf("%d of %d tickets", c.To.Tickets, c.From.Tickets-c.past))
	}
	if c.To.Incomings < c.From.Incomings {
		short = append(short, fmt.Sprintf("%d of %d webhooks", c.To.Incomings, c.From.Incomings))
	}
	if len(short) > 0 {
		return fmt.Errorf("only %s are there: something was added meanwhile. Run it again", strings.Join(short, " and "))
	}
	return nil
}
