package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

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

// rawTicket is what of a stored form can be checked.
type rawTicket struct {
	V        int             `json:"v"`
	Number   tickets.Number  `json:"number"`
	ID       string          `json:"id"`
	Created  string          `json:"created"`
	State    string          `json:"state"`
	Rev      int             `json:"rev"`
	Request  json.RawMessage `json:"request"`
	Decision json.RawMessage `json:"decision"`
	Sending  tickets.Sending `json:"sending"`
	Outcome  json.RawMessage `json:"outcome"`
	Refusal  *struct {
		Decision json.RawMessage `json:"decision"`
		Reason   string          `json:"reason"`
		At       time.Time       `json:"at"`
	} `json:"refusal"`
	Messages   []tickets.Message  `json:"messages"`
	Deliveries []tickets.Delivery `json:"deliveries"`
	Events     []json.RawMessage  `json:"events"`
	Broken     bool               `json:"broken"`
	Seal       string             `json:"seal"`

	tickets.Standing
}

// rawLink is what of an event, or of a change, the chain is checked with.
type rawLink struct {
	N    int    `json:"n"`
	Hash string `json:"hash"`

	Kind     tickets.EventKind `json:"kind"`
	At       time.Time         `json:"at"`
	Rev      int               `json:"rev"`
	Attempts int               `json:"attempts"`
	Standing *tickets.Standing `json:"standing"`
	Text     string            `json:"text"`
	State    string            `json:"state"`
	Decision json.RawMessage   `json:"decision"`
	Outcome  json.RawMessage   `json:"outcome"`
	Request  string            `json:"request"`
	Place    tickets.Place     `json:"place"`
	Message  string            `json:"message"`
	Source   tickets.Source    `json:"source"`
}

// checked is what is known of a history once it was checked.
type checked struct {
	links    []rawLink
	lastHash string
	findings []Finding
}

func (c *checked) fault(f Fault, event int, format string, args ...any) {
	c.findings = append(c.findings, Finding{Fault: f, Event: event, Text: fmt.Sprintf(format, args...)})
}

// checkChain checks that each of items follows the one before it.
func checkChain(root, what string, items []json.RawMessage) *checked {
	c := &checked{links: make([]rawLink, len(items)), lastHash: root}
	there := make(map[int]bool, len(items))
	for i, raw := range items {
		if err := json.Unmarshal(raw, &c.links[i]); err != nil {
			// Its hash may be readable all the same.
			c.fault(FaultUnreadable, i+1, "this %s cannot be read", what)
		}
		there[c.links[i].N] = true
	}
	before := 0 // what the one before says of its place
	for i, raw := range items {
		l := &c.links[i]
		hash := linkChange(c.lastHash, raw)
		switch {
		case l.Hash == "":
			c.fault(FaultAdded, i+1, "this %s has no hash: it was not written by Countersign, or its hash was removed", what)
		case hash == l.Hash:
			if l.N != i+1 && l.N == before+1 {
				break // the break before it was told
			}
			if l.N != i+1 {
				c.fault(FaultReordered, i+1, "this %s says that it is number %d", what, l.N)
			}
		case l.N > before+1 && !there[before+1]:
			c.fault(FaultMissing, before+1, "%s missing before the %s that says it is number %d", gone(what, before+1, l.N-1), what, l.N)
		case l.N != before+1 && (l.N != i+1 || before == i):
			c.fault(FaultReordered, i+1, "this %s says that it is number %d and follows number %d", what, l.N, before)
		case l.N != before+1:
			// What stands before it is not what it followed, which was told.
		default:
			c.fault(FaultChanged, i+1, "this %s is not as it was written", what)
		}
		c.lastHash, before = cmp.Or(l.Hash, hash), cmp.Or(l.N, before+1)
	}
	return c
}

func gone(what string, from, to int) string {
	if from == to {
		return fmt.Sprintf("%s %d is", what, from)
	}
	return fmt.Sprintf("%ss %d to %d are", what, from, to)
}

// checkTicket checks the stored form of the ticket with the counter seq.
func checkTicket(seq int64, doc []byte) (rawTicket, *checked) {
	var t rawTicket
	if err := json.Unmarshal(doc, &t); err != nil {
		c := &checked{}
		c.fault(FaultUnreadable, 0, "the record cannot be read")
		return t, c
	}
	if t.V > FormVersion {
		c := &checked{}
		c.fault(FaultUnreadable, 0, "the record was written by a newer version of countersign: verify with that version")
		return t, c
	}
	c := checkChain(tickets.Root(tickets.RequestID(t.ID), t.Created), "event", t.Events)
	if n, ok := t.Number.Seq(); !ok || n != seq {
		c.fault(FaultMismatch, 0, "the record of number %d says that it is %s", seq, t.Number)
	}
	if len(t.Events) == 0 {
		c.fault(FaultMissing, 0, "the ticket has no history")
	}
	switch {
	case t.Seal == "":
		c.fault(FaultSeal, 0, "the record has no seal")
	case !sealed(doc):
		c.fault(FaultSeal, 0, "the record is not as it was sealed: some byte of it was changed")
	}
	if t.Broken {
		c.fault(FaultSeal, 0, "the record had been changed by something else than Countersign before it was last written")
	}
	for i, l := range c.links {
		if l.Kind == tickets.EventDamaged {
			c.fault(FaultSeal, i+1, "the record had been changed by something else than Countersign before this event")
		}
	}
	c.compare(t)
	c.compareRest(t)
	return t, c
}

// compare holds the record against what its history says, as far as that
// says it. A record that was changed and sealed anew is found so.
func (c *checked) compare(t rawTicket) {
	var decision, outcome json.RawMessage
	var decided, concluded int // the events that say it
	var request, state string
	shown := map[tickets.Place]string{}
	for i, l := range c.links {
		switch l.Kind {
		case tickets.EventDecided:
			decision, decided = l.Decision, i+1
		case tickets.EventRefused:
			decision, decided = nil, i+1
		case tickets.EventOutcome, tickets.EventOutcomeAmended:
			outcome, concluded = l.Outcome, i+1
		case tickets.EventState:
			state = l.Text
		case tickets.EventCardPosted:
			shown[l.Place] = l.Message
		case tickets.EventCardGone:
			shown[l.Place] = ""
		}
		state, request = cmp.Or(l.State, state), cmp.Or(l.Request, request)
	}
	if !sameJSON(t.Decision, decision) {
		c.fault(FaultMismatch, decided, "the record's decision is not the one of its history%s", isNow(t.Decision))
	}
	if !sameJSON(t.Outcome, outcome) {
		c.fault(FaultMismatch, concluded, "the record's outcome is not the one of its history%s", isNow(t.Outcome))
	}
	if digestOf(t.Request) != request {
		c.fault(FaultMismatch, 0, "the record's request is not the one that was received%s", isNow(t.Request))
	}
	if state != "" && t.State != state {
		c.fault(FaultMismatch, 0, "the record's state is %q, its history's %q", t.State, state)
	}
	for _, m := range t.Messages {
		id, told := shown[m.Place]
		if told && m.ID != id || !told && m.ID != "" {
			c.fault(FaultMismatch, 0, "the record's message in %s is not the one of its history", m.Place)
		}
		delete(shown, m.Place)
	}
	for place := range shown {
		c.fault(FaultMismatch, 0, "the record has no message in %s, its history has", place)
	}
}

// compareRest holds what the bot acts on besides against the history.
func (c *checked) compareRest(t rawTicket) {
	var standing *tickets.Standing
	var refused *rawLink
	var done time.Time
	rev, looked, sent, given, reposted := 0, false, 0, map[tickets.Place]bool{}, map[tickets.Place]bool{}
	for i := range c.links {
		l := &c.links[i]
		standing, rev = cmp.Or(l.Standing, standing), cmp.Or(l.Rev, rev)
		switch l.Kind {
		case tickets.EventDecided:
			done, looked, sent, refused = time.Time{}, false, 0, nil
		case tickets.EventRefused:
			done, looked, sent, refused = time.Time{}, false, 0, l
		case tickets.EventSubmitted:
			done, sent = l.At, l.Attempts
		case tickets.EventOverdue:
			looked = true
		case tickets.EventOutcome:
			refused = nil
		case tickets.EventDeliveryAbandoned:
			given[l.Place] = true
		case tickets.EventCardGone:
			reposted[l.Place] = true
		}
	}
	if standing == nil {
		if len(c.links) > 0 {
			c.fault(FaultMissing, 0, "no event tells the type and the title of the ticket")
		}
		return
	}
	for _, f := range []struct {
		name      string
		has, told any
	}{
		{"type", t.Type, standing.Type}, {"title", t.Title, standing.Title}, {"category", t.Category, standing.Category},
		{"active", t.Active, standing.Active}, {"undecidable", t.Undecidable, standing.Undecidable},
	} {
		if f.has != f.told {
			c.fault(FaultMismatch, 0, "the record's %s is %#v, its history's %#v", f.name, f.has, f.told)
		}
	}
	// While a decision waits for EPM the card says why, without an event each
	// time; every such change is of an attempt.
	extra := 0
	if len(t.Decision) > 0 && done.IsZero() {
		extra = t.Sending.Attempts
	}
	if t.Rev < rev || t.Rev > rev+extra {
		c.fault(FaultMismatch, 0, "the record's rev is %d, its history's %d", t.Rev, rev)
	}
	c.compareSending(t, done, sent, looked)
	switch r := t.Refusal; {
	case (r == nil) != (refused == nil), r != nil && (r.Reason != refused.Text || !r.At.Equal(refused.At) || !sameJSON(r.Decision, refused.Decision)):
		c.fault(FaultMismatch, 0, "the record's refusal by EPM is not the one of its history")
	}
	for _, m := range t.Messages {
		if m.Shown > t.Rev || m.Told > len(t.Events) || m.Dead != given[m.Place] || m.Reposted != reposted[m.Place] {
			c.fault(FaultMismatch, 0, "the record says of the message in %s what its history does not", m.Place)
		}
	}
	for _, d := range t.Deliveries {
		if d.Done > len(t.Events) {
			c.fault(FaultMismatch, 0, "the record says that %s was told of more events than there are", d.To)
		}
	}
}

// decidedBy reports whether the name that EPM was told is that of who made the
// decision.
func decidedBy(decision json.RawMessage, as string) bool {
	var d tickets.Decision
	return json.Unmarshal(orNull(decision), &d) == nil && strings.HasPrefix(as+" ", d.By.String()+" ")
}

// farOff is later than anything is put off to.
const farOff = 48 * time.Hour

// compareSending holds what the record says of a decision's way to EPM against
// the history: done is when EPM took it, after sent attempts, and looked
// whether it was asked in vain what became of it.
func (c *checked) compareSending(t rawTicket, done time.Time, sent int, looked bool) {
	s := t.Sending
	last := done
	for _, l := range c.links {
		if l.At.After(last) {
			last = l.At
		}
	}
	wrong := ""
	switch {
	case !s.Done.Equal(done):
		wrong = "when EPM took the decision"
	case !done.IsZero() && sent > 0 && s.Attempts != sent:
		wrong = "how often the decision was sent"
	case !done.IsZero() && (s.Begun || s.Problem != "" || s.NotPermitted):
		wrong = "that the decision is on its way, and EPM has taken it"
	case s.As != "" && (s.Attempts == 0 || !decidedBy(t.Decision, s.As)):
		wrong = "that EPM was told of another person's decision"
	case (s.Polls > 0) != looked:
		wrong = "whether EPM was asked in vain"
	case len(t.Decision) == 0 && (s.Attempts > 0 || s.Begun || !s.NotBefore.IsZero()):
		wrong = "that a decision was sent, and there is none"
	case s.NotBefore.After(last.Add(farOff)) && s.NotBefore.After(time.Now().Add(farOff)):
		wrong = "that nothing is to be sent before " + s.NotBefore.UTC().Format(time.RFC3339)
	default:
		return
	}
	c.fault(FaultMismatch, 0, "the record says %s; its history does not", wrong)
}

// sameJSON reports whether a and b say the same; nothing is null.
func sameJSON(a, b json.RawMessage) bool {
	x, err := tickets.Canonical(orNull(a))
	if err != nil {
		return false
	}
	y, err := tickets.Canonical(orNull(b))
	return err == nil && bytes.Equal(x, y)
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

// isNow names what is there in place of something else, so that another change
// of the same is not taken for this one.
func isNow(raw json.RawMessage) string {
	if digest := digestOf(raw); digest != "" {
		return " (its SHA-256 begins with " + digest[:12] + ")"
	}
	return " (there is none)"
}

// digestOf is the hash of a request, empty if there is none.
func digestOf(raw json.RawMessage) string {
	c, err := tickets.Canonical(orNull(raw))
	if err != nil || string(c) == "null" {
		return ""
	}
	return tickets.Digest(c)
}

// VerifyForm checks the stored form of the ticket with the counter seq, and
// returns what is wrong with it.
func VerifyForm(seq int64, doc []byte) []Finding {
	t, c := checkTicket(seq, doc)
	return c.named(t, seq)
}

// named are the findings about t.
func (c *checked) named(t rawTicket, seq int64) []Finding {
	n := t.Number
	if s, ok := n.Seq(); !ok || s != seq {
		n = tickets.Number(fmt.Sprint("number ", seq))
	}
	for i := range c.findings {
		c.findings[i].Ticket = n
	}
	return c.findings
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

// Forms calls each with the stored forms of all tickets, oldest first, a page
// at a time. The next page is read meanwhile.
func Forms(ctx context.Context, from Archive, each func([]Form) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type page struct {
		forms []Form
		err   error
	}
	pages := make(chan page)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		defer close(pages)
		for seq := int64(0); ; {
			forms, err := from.FormsAfter(ctx, seq, verifyPage)
			if len(forms) == 0 && err == nil {
				return
			}
			select {
			case pages <- page{forms, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
			seq = forms[len(forms)-1].Seq
		}
	})
	for p := range pages {
		if p.err != nil {
			return fmt.Errorf("read tickets: %w", p.err)
		}
		if err := each(p.forms); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// each calls do for 0 to n-1, on all processors.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
}

// ParseCheckpoints reads checkpoints that were written one on a line. Lines that hold none, as
// other lines of a log, are passed over, and counted.
func ParseCheckpoints(text []byte) (checkpoints []tickets.Checkpoint, other int) {
	for line := range bytes.Lines(text) {
		var h tickets.Checkpoint
		if err := json.Unmarshal(line, &h); err != nil || h.Ticket == "" || h.Hash == "" {
			if strings.TrimSpace(string(line)) != "" {
				other++
			}
			continue
		}
		checkpoints = append(checkpoints, h)
	}
	return checkpoints, other
}
