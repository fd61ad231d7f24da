package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

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
