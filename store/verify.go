package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign/tickets"
)

// Fault is what is wrong with a history.
type Fault string

// The faults.
const (
	FaultChanged    Fault = "changed"         // something is not as it was written
	FaultMissing    Fault = "missing"         // something that was there is gone
	FaultReordered  Fault = "reordered"       // something is in another place
	FaultAdded      Fault = "added"           // something was put there that Countersign did not write
	FaultSeal       Fault = "seal"            // the record is not as it was sealed
	FaultMismatch   Fault = "record_mismatch" // the record says something else than its history
	FaultIndex      Fault = "index"           // an index does not hold the ticket as the ticket says
	FaultCheckpoint Fault = "checkpoint"      // the history is not the one that a checkpoint was written of, or no checkpoint proves it
	FaultUnreadable Fault = "unreadable"      // nothing more can be said of it
)

// Finding is one thing that is wrong, and where.
type Finding struct {
	Fault  Fault          `json:"fault"`
	Ticket tickets.Number `json:"ticket,omitempty"` // empty: see Of
	Of     string         `json:"of,omitempty"`     // what it is about if it is no ticket: settings, the ledger of retired tickets, or a webhook
	Event  int            `json:"event,omitempty"`  // its place in the history, from 1; 0: the record as a whole
	Text   string         `json:"text"`             // for people
}

func (f Finding) String() string {
	where := cmp.Or(string(f.Ticket), f.Of)
	if f.Event > 0 {
		where += fmt.Sprintf(", event %d", f.Event)
	}
	return fmt.Sprintf("%s: %s: %s", where, f.Fault, f.Text)
}

// Verified is what was looked through.
type Verified struct {
	Tickets     int `json:"tickets"`
	Events      int `json:"events"`
	Changes     int `json:"changes"` // of the settings
	Retired     int `json:"retired"` // tickets that the ledger accounts for
	Incomings   int `json:"incomings"`
	Checkpoints int `json:"checkpoints"` // that were compared
	Findings    int `json:"findings"`
}

// SettingsCheckpoint is what checkpoints of the settings' history are called.
const SettingsCheckpoint = "settings"

// Verify looks through everything that from holds, beside whoever writes to
// it, and calls find with each thing that is wrong. checkpoints are checkpoints that were
// written down elsewhere, read before Verify is called; nil if there are none.
// With checkpoints, a retirement that none of them covers is found too.
// It needs little memory, however much there is. An error means that not
// everything was looked through.
func Verify(ctx context.Context, from Archive, checkpoints []tickets.Checkpoint, find func(Finding)) (Verified, error) {
	v := &verifying{from: from, checkpoints: map[tickets.Number][]tickets.Checkpoint{}}
	v.find = func(f Finding) {
		v.Findings++
		find(f)
	}
	for _, h := range checkpoints {
		v.checkpoints[h.Ticket] = append(v.checkpoints[h.Ticket], h)
	}
	docs, err := v.ledger(ctx)
	if err != nil {
		return v.Verified, err
	}
	v.began = len(docs)
	for _, step := range []func(context.Context) error{v.tickets, v.settings, v.incomings} {
		if err := step(ctx); err != nil {
			return v.Verified, err
		}
	}
	// Again: a bot may have retired tickets meanwhile, and they are no loss.
	if docs, err = v.ledger(ctx); err != nil {
		return v.Verified, err
	}
	v.entries(docs, len(checkpoints) > 0)
	for _, g := range v.gaps {
		v.lost(g)
	}
	for _, n := range slices.Sorted(maps.Keys(v.checkpoints)) {
		v.leftover(n, v.checkpoints[n])
	}
	return v.Verified, nil
}

type verifying struct {
	Verified
	from        Archive
	find        func(Finding)
	checkpoints map[tickets.Number][]tickets.Checkpoint // of what was not met yet
	last        int64                                   // the counter of the last ticket
	counter     int64                                   // of the store
	retired     map[tickets.Number]tickets.Checkpoint   // what the ledger accounts for
	numbers     []int64                                 // of these, in order
	began       int                                     // entries that the ledger had at first
	gaps        []gap                                   // between the tickets that are there
}

// verifyPage is how many tickets are read together.
const verifyPage = 512

// tickets checks every ticket, on all processors, while the next are read.
func (v *verifying) tickets(ctx context.Context) error {
	// First: tickets that are made meanwhile are no loss.
	counts, err := v.from.Count(ctx)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	v.last = FirstSeq - 1
	err = Forms(ctx, v.from, func(page []Form) error {
		type result struct {
			t     rawTicket
			c     *checked
			filed *Entries
		}
		results := make([]result, len(page))
		each(len(page), func(i int) {
			if f := page[i]; f.Err == nil {
				t, c := checkTicket(f.Seq, f.Doc)
				results[i] = result{t, c, f.entries(t)}
			}
		})
		var filed []Entries
		for i, f := range page {
			v.gap(f.Seq)
			v.Tickets++
			if f.Err != nil {
				v.find(Finding{Fault: FaultUnreadable, Ticket: tickets.Number(fmt.Sprint("number ", f.Seq)), Text: f.Err.Error()})
				continue
			}
			v.ticket(f, results[i].t, results[i].c)
			if results[i].filed != nil && len(results[i].c.findings) == 0 {
				filed = append(filed, *results[i].filed)
			}
			if _, ok := slices.BinarySearch(v.numbers, f.Seq); ok {
				v.find(Finding{Fault: FaultAdded, Ticket: results[i].t.Number, Text: "the ledger says that it was retired, and it is there: it was put back"})
			}
		}
		return v.filed(ctx, filed)
	})
	if err != nil {
		return err
	}
	v.counter = counts.Counter
	v.gap(counts.Counter + 1)
	return nil
}

// filed compares the indexes with what they should hold.
func (v *verifying) filed(ctx context.Context, list []Entries) error {
	found, err := v.from.Misfiled(ctx, list)
	if err != nil {
		return err
	}
	for _, m := range found {
		v.find(Finding{Fault: FaultIndex, Ticket: tickets.Number(fmt.Sprint("number ", m.Seq)), Text: m.What})
	}
	return nil
}

// entries are what the indexes should hold of a ticket; nil if it cannot be
// read. What is settled, as most tickets are, needs no full reading.
func (f Form) entries(t rawTicket) *Entries {
	settled := len(t.Outcome) > 0 && len(t.Request) > 0
	for _, m := range t.Messages {
		settled = settled && (m.Dead || m.ID != "" && m.Shown >= t.Rev && m.Told >= len(t.Events))
	}
	for _, d := range t.Deliveries {
		settled = settled && d.Done >= len(t.Events)
	}
	if settled {
		return &Entries{Seq: f.Seq, Version: f.Version, Request: tickets.RequestID(t.ID), Progress: tickets.Final}
	}
	r := f.Record()
	if r.Err != nil {
		return nil
	}
	e := EntriesOf(r.Ticket)
	return &e
}

// ledger reads what accounts for retired tickets.
func (v *verifying) ledger(ctx context.Context) ([][]byte, error) {
	docs, err := v.from.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	v.retired = accounted(docs)
	v.numbers = v.numbers[:0]
	for n := range v.retired {
		if seq, ok := n.Seq(); ok {
			v.numbers = append(v.numbers, seq)
		}
	}
	slices.Sort(v.numbers)
	v.numbers = slices.Compact(v.numbers)
	v.Retired = len(v.numbers)
	return docs, nil
}

// entries checks the ledger itself. With checkpoints each entry that it had at first
// must be one that a checkpoint covers: whoever can write to the store can add one.
func (v *verifying) entries(docs [][]byte, checkpoints bool) {
	items := make([]json.RawMessage, len(docs))
	for i, doc := range docs {
		items[i] = doc
	}
	c := checkChain(ledgerRoot(), "entry", items)
	covered := 0
	for _, h := range v.checkpoints[LedgerCheckpoint] {
		covered = max(covered, h.Events)
	}
	if checkpoints && covered < v.began {
		c.fault(FaultCheckpoint, covered+1, "no checkpoint tells of this entry, nor of one after it: that the bot retired these tickets is not proven. If it has only just done so, verify again with the checkpoints of now")
	}
	for _, f := range c.findings {
		f.Of = LedgerCheckpoint
		v.find(f)
	}
	v.compareCheckpoints(LedgerCheckpoint, "entry", c)
}

// gap is numbers without a ticket.
type gap struct{ from, to int64 }

// gap keeps the numbers that are missing before seq.
func (v *verifying) gap(seq int64) {
	if v.last+1 < seq {
		v.gaps = append(v.gaps, gap{v.last + 1, seq - 1})
	}
	v.last = max(v.last, seq)
}

// lost tells of the numbers of g that the ledger does not account for.
func (v *verifying) lost(g gap) {
	i, _ := slices.BinarySearch(v.numbers, g.from)
	for _, n := range v.numbers[i:] {
		if n > g.to {
			break
		}
		v.missing(gap{g.from, n - 1})
		g.from = n + 1
	}
	v.missing(g)
}

func (v *verifying) missing(g gap) {
	switch {
	case g.from == g.to:
		v.find(Finding{Fault: FaultMissing, Of: fmt.Sprint("number ", g.from), Text: "the ticket of this number is gone"})
	case g.from < g.to:
		v.find(Finding{Fault: FaultMissing, Of: fmt.Sprintf("numbers %d to %d", g.from, g.to), Text: "the tickets of these numbers are gone"})
	}
}

// leftover holds the checkpoints of a ticket that is not there against the ledger.
// It knows the last checkpoint alone, so only this one can be compared.
func (v *verifying) leftover(n tickets.Number, checkpoints []tickets.Checkpoint) {
	newest := slices.MaxFunc(checkpoints, func(a, b tickets.Checkpoint) int { return cmp.Compare(a.Events, b.Events) })
	last, ok := v.retired[n]
	if !ok {
		v.find(Finding{Fault: FaultMissing, Ticket: n, Text: fmt.Sprintf("a checkpoint tells of it with %d events, and it is not there", newest.Events)})
		return
	}
	if newest.Events < last.Events {
		v.find(Finding{Fault: FaultCheckpoint, Ticket: n, Event: newest.Events, Text: fmt.Sprintf("it was retired with %d events, and no checkpoint tells of the last of them: that this was its history cannot be proven", last.Events)})
		return
	}
	v.Checkpoints++
	if slices.ContainsFunc(checkpoints, func(h tickets.Checkpoint) bool {
		return h.Events > last.Events || h.Events == last.Events && h.Hash != last.Hash
	}) {
		v.find(Finding{Fault: FaultCheckpoint, Ticket: n, Event: newest.Events, Text: "it was retired with another history than the one that the checkpoint was written of"})
	}
}

func (v *verifying) ticket(f Form, t rawTicket, c *checked) {
	v.Events += len(c.links)
	for _, f := range c.named(t, f.Seq) {
		v.find(f)
	}
	v.compareCheckpoints(t.Number, "event", c)
}

// compareCheckpoints looks for the checkpoints of what is called name in its history.
func (v *verifying) compareCheckpoints(name tickets.Number, what string, c *checked) {
	for _, h := range v.checkpoints[name] {
		v.Checkpoints++
		f := Finding{Fault: FaultCheckpoint, Ticket: name, Event: h.Events}
		if name == SettingsCheckpoint || name == LedgerCheckpoint {
			f.Ticket, f.Of = "", string(name)
		}
		switch {
		case h.Events < 1:
			f.Text = "a checkpoint tells of no " + what
		case h.Events > len(c.links):
			f.Fault, f.Text = FaultMissing, fmt.Sprintf("a checkpoint tells of %d %ss, and there are %d", h.Events, what, len(c.links))
		case c.links[h.Events-1].Hash != h.Hash:
			f.Text = fmt.Sprintf("this %s, or one before it, is not the one that the checkpoint was written of", what)
		default:
			continue
		}
		v.find(f)
	}
	delete(v.checkpoints, name)
}

// settings checks the changes of the settings, and the settings against them.
func (v *verifying) settings(ctx context.Context) error {
	fault := func(f Fault, format string, args ...any) {
		v.find(Finding{Fault: f, Of: SettingsCheckpoint, Text: fmt.Sprintf(format, args...)})
	}
	set, err := v.from.Settings(ctx)
	unread := errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNewerForm)
	if err != nil && !unread {
		return fmt.Errorf("read the settings: %w", err)
	}
	if unread {
		fault(FaultUnreadable, "the settings cannot be read: %v", err)
	}
	docs, err := v.from.ChangeForms(ctx, allChanges)
	if err != nil {
		return fmt.Errorf("read the changes of the settings: %w", err)
	}
	slices.Reverse(docs)
	items := make([]json.RawMessage, len(docs))
	var told tickets.Settings
	for i, doc := range docs {
		items[i] = doc
		if c, err := DecodeChange(doc); err == nil {
			told = told.With([]tickets.Change{c})
			if c.Key == tickets.KeyDamaged {
				clear(told.Values)
			}
			told.Version = c.Version
		}
	}
	c := checkChain(tickets.ChangesRoot(), "change", items)
	v.Changes = len(items)
	for _, f := range c.findings {
		f.Of = SettingsCheckpoint
		v.find(f)
	}
	v.compareCheckpoints(SettingsCheckpoint, "change", c)
	if unread {
		return nil
	}
	// They may have been changed since they were read.
	if again, err := v.from.Settings(ctx); err == nil && again.Version != set.Version {
		return nil
	}
	if told.Version != set.Version || !maps.Equal(told.Values, set.Values) {
		fault(FaultMismatch, "the settings are not what their history made of them")
	}
	return nil
}

// incomings checks the bodies that are kept against the events that they made.
func (v *verifying) incomings(ctx context.Context) error {
	var seq, lost int64
	var t rawTicket
	var c *checked
	for id := ""; ; {
		page, err := v.from.IncomingsAfter(ctx, id, copyPage)
		if errors.Is(err, ErrNotFound) {
			// The last one was forgotten meanwhile, as the oldest are: those
			// after it come next time.
			return nil
		}
		if err != nil {
			return fmt.Errorf("read webhooks: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, k := range page {
			id = k.ID
			v.Incomings++
			if k.Err != nil {
				v.find(Finding{Fault: FaultUnreadable, Of: "webhook " + k.ID, Text: k.Err.Error()})
				continue
			}
			of, ok := k.Receipt.Ticket.Seq()
			if !ok || k.Receipt.Status != tickets.StatusCreated && k.Receipt.Status != tickets.StatusUpdated {
				continue
			}
			if of != seq || c == nil {
				forms, err := v.from.FormsAfter(ctx, of-1, 1)
				if err != nil {
					return fmt.Errorf("read tickets: %w", err)
				}
				if len(forms) == 0 || forms[0].Seq != of || forms[0].Err != nil {
					c = nil
					if _, retired := slices.BinarySearch(v.numbers, of); of > v.counter && !retired && of > lost {
						lost = of
						v.find(Finding{Fault: FaultMissing, Of: fmt.Sprint("number ", of), Text: "the ticket of this number is gone, and the store's counter of numbers was set back: webhook " + k.ID + " had made it or changed it"})
					}
					continue // of others it is told that they are missing
				}
				seq = of
				t, c = checkTicket(of, forms[0].Doc)
			}
			v.body(k, t, c)
		}
	}
}

func (v *verifying) body(k IncomingRecord, t rawTicket, c *checked) {
	i := slices.IndexFunc(c.links, func(l rawLink) bool { return l.Source.Incoming == k.ID })
	switch {
	case i >= 0 && c.links[i].Source.Body != tickets.Digest(k.Raw):
		v.find(Finding{Fault: FaultChanged, Ticket: t.Number, Of: "webhook " + k.ID, Event: i + 1, Text: "the body that is kept of webhook " + k.ID + " is not the one that arrived"})
	case i < 0 && len(c.links) > 0:
		v.find(Finding{Fault: FaultMissing, Ticket: t.Number, Of: "webhook " + k.ID, Text: "webhook " + k.ID + " is kept as " + string(k.Receipt.Status) + ", and no event tells of it"})
	}
}
