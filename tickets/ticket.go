package tickets

import (
	"strconv"
	"strings"
	"time"
)

// RequestID is EPM's identifier of a request, a UUID in practice. It is the
// key that joins webhooks, decisions and tickets.
type RequestID string

// Number is what people call a ticket: a type's prefix, a dash and a counter
// that is unique in the store, for example JIT-1042.
type Number string

// NewNumber makes the number for a counter.
func NewNumber(prefix string, seq int64) Number {
	return Number(prefix + "-" + strconv.FormatInt(seq, 10))
}

// Seq returns the counter in n, and false if n is not a ticket number.
func (n Number) Seq() (int64, bool) {
	i := strings.LastIndexByte(string(n), '-')
	if i < 1 {
		return 0, false
	}
	digits := string(n[i+1:])
	seq, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || seq < 1 || digits[0] == '0' || digits[0] == '+' {
		return 0, false
	}
	return seq, true
}

// Platform names a chat, for example "slack".
type Platform string

// Place is a channel on a platform. Channel is the platform's stable
// identifier, never a display name.
type Place struct {
	Platform Platform `json:"platform"`
	Channel  string   `json:"channel"`
}

func (p Place) String() string { return string(p.Platform) + ":" + p.Channel }

// Kind says what a request asks for.
type Kind string

// The two kinds of just-in-time request.
const (
	Application Kind = "application" // run one program with rights it would not have
	Admin       Kind = "admin"       // be an administrator for a while
)

// UnknownFields is what a newer version of the program wrote into a stored value
// and this one does not know: a JSON object of those members, or nothing. It
// travels with the value, so that it stays with what it was said of, and
// nothing but the stored form looks into it.
type UnknownFields string

// Plural names the requests of a kind for people.
func (k Kind) Plural() string {
	if k == Admin {
		return "admin access requests"
	}
	return "application requests"
}

// Request is what EPM asks. Every string in it was written by whoever asked
// for access, or by their machine: it is untrusted, may be empty and may hold
// anything. Renderers escape it.
type Request struct {
	ID        RequestID `json:"id"`
	Kind      Kind      `json:"kind"`
	EPMNumber string    `json:"epm_number,omitempty"` // EPM's own ticket number, for example EPM000238
	Tenant    string    `json:"tenant,omitempty"`
	Time      time.Time `json:"time,omitzero"`      // when EPM says it was made; zero if it could not be read
	TimeRaw   string    `json:"time_raw,omitempty"` // EPM's text of it, if it could not be read

	User      string `json:"user,omitempty"`
	UserID    string `json:"user_id,omitempty"`
	Host      string `json:"host,omitempty"` // empty for admin requests: EPM sends only the computer's id
	Computer  string `json:"computer,omitempty"`
	Group     string `json:"group,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Requested string `json:"requested,omitempty"` // duration asked for, as EPM wrote it: seconds in practice

	Product   string `json:"product,omitempty"`
	Version   string `json:"version,omitempty"`
	Publisher string `json:"publisher,omitempty"`
	Path      string `json:"path,omitempty"`
	Command   string `json:"command,omitempty"`
	Parent    string `json:"parent,omitempty"`
	Source    string `json:"source,omitempty"` // download address
	SHA256    string `json:"sha256,omitempty"`
	SHA1      string `json:"sha1,omitempty"`

	Reputation string `json:"reputation,omitempty"` // what a service thinks of the program: a score, whose and when

	// SuspectedForgery is set when the webhook held fields twice or in places where
	// EPM puts none: its text may have been written to look like EPM's own.
	SuspectedForgery bool `json:"imitates,omitempty"`

	// Listed is set when the request was found in EPM's list because its
	// webhook had not arrived. The list tells less; see [Ticket.Complete].
	Listed bool `json:"listed,omitempty"`

	// Fields is everything EPM sent, in its order.
	Fields []Field `json:"fields,omitempty"`

	UnknownFields UnknownFields `json:"-"`
}

// Field is one value of a webhook under the name EPM gave it.
type Field struct {
	Name  string `json:"n"`
	Value string `json:"v"`

	UnknownFields UnknownFields `json:"-"`
}

// FieldsLeftOut is the name of a field that stands for others: a request had
// too many of them to be kept.
const FieldsLeftOut = "…"

// What names what is asked for, in one phrase: the program, or administrator
// rights.
func (r *Request) What() string {
	if r.Kind == Admin {
		return "administrator rights"
	}
	switch {
	case r.Product != "" && r.Version != "":
		return r.Product + " " + r.Version
	case r.Product != "":
		return r.Product
	case r.Path != "":
		return r.Path
	}
	return "an application"
}

// Where names the computer, as well as EPM told it.
func (r *Request) Where() string {
	if r.Host != "" {
		return r.Host
	}
	return r.Computer
}

// Actor is a person as a chat knows them. Only ID and Platform identify;
// Name is for reading.
type Actor struct {
	Platform Platform `json:"platform"`
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"`
}

func (a Actor) String() string { return string(a.Platform) + ":" + a.ID }

// Verdict is approve or deny.
type Verdict string

// The verdicts. Other is an outcome whose word was neither of the two; see
// [Outcome.Raw].
const (
	Approve Verdict = "approve"
	Deny    Verdict = "deny"
	Other   Verdict = "other"
)

// Past is the verdict as something that happened: "approved" or "denied".
func (v Verdict) Past() string {
	switch v {
	case Approve:
		return "approved"
	case Deny:
		return "denied"
	}
	return "decided"
}

// Decision is an actor's verdict with reason, duration and time. A decision
// never changes; a refused one is taken off the ticket whole.
type Decision struct {
	Verdict  Verdict   `json:"verdict"`
	Reason   string    `json:"reason"`
	Duration Duration  `json:"duration,omitzero"` // Once for a denial
	By       Actor     `json:"by"`
	At       time.Time `json:"at"`
	Place    Place     `json:"place"` // where it was made

	UnknownFields UnknownFields `json:"-"`
}

// Sending is how far a decision has come on its way to EPM.
type Sending struct {
	Attempts     int       `json:"attempts,omitempty"`      // begun, not necessarily answered
	Begun        bool      `json:"begun,omitempty"`         // an attempt was begun and its end is not recorded
	Unclear      bool      `json:"unclear,omitempty"`       // EPM may have the decision, without having said so
	UnclearAt    time.Time `json:"unclear_at,omitzero"`     // when an attempt last ended so
	NotBefore    time.Time `json:"not_before,omitzero"`     // earliest next attempt or look
	Problem      string    `json:"problem,omitempty"`       // why the last attempt failed, for people
	NotPermitted bool      `json:"not_permitted,omitempty"` // it failed because EPM does not let the bot decide: an admin has to act
	As           string    `json:"as,omitempty"`            // who EPM was told has decided, once that was attempted; see Actor.Performer
	Done         time.Time `json:"done,omitzero"`           // when EPM acknowledged
	Polls        int       `json:"polls,omitempty"`         // times EPM was asked what became of it

	UnknownFields UnknownFields `json:"-"`
}

// Outcome is what EPM finally recorded. It may differ from the ticket's own
// decision: EPM's console has the last word.
type Outcome struct {
	Verdict  Verdict   `json:"verdict"`
	Raw      string    `json:"raw,omitempty"`      // EPM's word, untrusted, when Verdict is Other
	Duration string    `json:"duration,omitempty"` // as EPM wrote it: "Once", seconds, or anything
	By       string    `json:"by,omitempty"`       // free text from EPM, untrusted
	At       time.Time `json:"at,omitzero"`        // decision time; zero if it could not be read
	AtRaw    string    `json:"at_raw,omitempty"`
	Start    time.Time `json:"start,omitzero"`
	End      time.Time `json:"end,omitzero"`
	StartRaw string    `json:"start_raw,omitempty"` // EPM's text of the two, if they could not be read
	EndRaw   string    `json:"end_raw,omitempty"`
	Imitates bool      `json:"imitates,omitempty"` // as for Request

	UnknownFields UnknownFields `json:"-"`
}

// Until is when the access ends, and false if the outcome does not tell.
func (o *Outcome) Until() (time.Time, bool) {
	if o.Verdict != Approve {
		return time.Time{}, false
	}
	if !o.End.IsZero() || o.EndRaw != "" {
		return o.End, !o.End.IsZero() // what EPM says, and nobody can read, is not computed
	}
	d, err := ParseDuration(o.Duration)
	if err != nil || d.Once() {
		return time.Time{}, false
	}
	switch {
	case !o.Start.IsZero():
		return o.Start.Add(d.Length()), true
	case !o.At.IsZero():
		return o.At.Add(d.Length()), true
	}
	return time.Time{}, false
}

// Refusal is EPM's no to a decision, with that decision: the ticket is open
// again.
type Refusal struct {
	Decision Decision  `json:"decision"`
	Reason   string    `json:"reason"` // for people
	At       time.Time `json:"at"`

	UnknownFields UnknownFields `json:"-"`
}

// Message is a ticket as shown, or still to be shown, in one place.
type Message struct {
	Place     Place     `json:"place"`
	ID        string    `json:"id,omitempty"`       // the platform's identifier; empty until posted
	Shown     int       `json:"shown"`              // the Rev that the message shows
	Told      int       `json:"told"`               // how many of the ticket's events its thread has been told of
	FirstTry  time.Time `json:"first_try,omitzero"` // first attempt at the post or reply now owed
	Tries     int       `json:"tries,omitempty"`    // attempts begun at it
	Attempts  int       `json:"attempts,omitempty"` // failed in a row
	NotBefore time.Time `json:"not_before,omitzero"`
	Problem   string    `json:"problem,omitempty"`  // for admins
	Dead      bool      `json:"dead,omitempty"`     // given up: deleted or never editable again
	Reposted  bool      `json:"reposted,omitempty"` // it is, or is to be, the second one there: the first is gone

	UnknownFields UnknownFields `json:"-"`
}

// EventKind says what happened to a ticket.
type EventKind string

// Events that people see: in the thread under the card, those that tell of the
// decision's steps.
const (
	EventReceived     EventKind = "received"      // the request arrived
	EventDecided      EventKind = "decided"       // somebody here decided
	EventDelayed      EventKind = "delayed"       // EPM does not answer; still trying
	EventNotPermitted EventKind = "not_permitted" // EPM does not let the bot decide; the decision waits for an admin
	EventSubmitted    EventKind = "submitted"     // EPM acknowledged the decision
	EventRefused      EventKind = "refused"       // EPM refused; open again
	EventOutcome      EventKind = "outcome"       // EPM's final word
	EventState        EventKind = "state"         // the state was moved
	EventOverdue      EventKind = "overdue"       // EPM acknowledged long ago and has not confirmed
	EventDamaged      EventKind = "damaged"       // the record was found changed by something else than Countersign
	EventAccepted     EventKind = "accepted"      // an admin lets others decide all the same
)

// Events for those who read the history. They are told in no thread, and for
// all but the first three the card does not change.
const (
	EventReconsidered      EventKind = "reconsidered"       // the settings changed whether it can be decided
	EventRequestEnriched   EventKind = "request_enriched"   // the webhook of a listed request arrived, and tells more of it
	EventOutcomeAmended    EventKind = "outcome_amended"    // EPM told more of the outcome that it recorded
	EventCardPosted        EventKind = "card_posted"        // posted in a place
	EventCardGone          EventKind = "card_gone"          // the message in a place was deleted, or is no more ours to edit; it is posted again
	EventFormOpened        EventKind = "form_opened"        // somebody opened the form
	EventAccessDenied      EventKind = "access_denied"      // somebody was refused the form, the decision or another state
	EventDeliveryFailing   EventKind = "delivery_failing"   // a place cannot be told; still trying
	EventDeliveryRecovered EventKind = "delivery_recovered" // and again can
	EventDeliveryAbandoned EventKind = "delivery_abandoned" // a place is never told again
	EventsSuppressed       EventKind = "events_suppressed"  // there were too many events of the kind in Text: no more of them are recorded
)

// InThread reports whether the event is told as a reply under the card.
func (k EventKind) InThread() bool {
	switch k {
	case EventDecided, EventDelayed, EventNotPermitted, EventSubmitted, EventRefused, EventOutcome, EventState, EventOverdue, EventDamaged, EventAccepted:
		return true
	}
	return false
}

// onCard reports whether the card changes for the event.
func (k EventKind) onCard() bool {
	return k.InThread() || k == EventReceived || k == EventReconsidered || k == EventRequestEnriched || k == EventOutcomeAmended
}

// Source is the webhook that an event came by, or the record of EPM's list.
type Source struct {
	Incoming string `json:"incoming,omitempty"` // its id
	Body     string `json:"body,omitempty"`     // SHA-256 of its raw body
}

// Event is one line of a ticket's history. Events are only appended, and each
// is chained to the ones before it: see [Link].
type Event struct {
	N        int       `json:"n,omitempty"` // its place in the history, from 1
	Kind     EventKind `json:"kind"`
	At       time.Time `json:"at"`
	Actor    Actor     `json:"actor,omitzero"`
	Verdict  Verdict   `json:"verdict,omitempty"`  // form_opened, access_denied: of the form
	Decision *Decision `json:"decision,omitempty"` // decided, refused
	Outcome  *Outcome  `json:"outcome,omitempty"`  // outcome, outcome_amended
	Text     string    `json:"text,omitempty"`     // for people: why EPM refused or what delays or denies, why somebody was turned away or a place fails, the new state; not empty if the request was found in EPM's list
	State    State     `json:"state,omitempty"`    // received, outcome: that the ticket is in since
	Place    Place     `json:"place,omitzero"`     // where: card_posted, form_opened, access_denied, delivery_failing, delivery_recovered, delivery_abandoned
	Message  string    `json:"message,omitempty"`  // shown: the platform's identifier
	Source   Source    `json:"source,omitzero"`    // received, request_enriched, outcome, outcome_amended
	Request  string    `json:"request,omitempty"`  // received, request_enriched: SHA-256 of the request's canonical JSON
	Rev      int       `json:"rev,omitempty"`      // the ticket's since then, if the card changed
	Attempts int       `json:"attempts,omitempty"` // submitted: how often the decision was sent
	Standing *Standing `json:"standing,omitempty"` // since then, if it is another than before
	Hash     string    `json:"hash,omitempty"`

	UnknownFields UnknownFields `json:"-"`
}

// Standing is what a ticket's record says of itself beside what its events tell:
// kept in the events too, so that a record which something else has changed is
// found by its history.
type Standing struct {
	Type        string      `json:"type"`
	Title       string      `json:"title,omitempty"`
	Category    string      `json:"category,omitempty"`
	Active      bool        `json:"active,omitempty"`
	Undecidable Undecidable `json:"undecidable,omitempty"`
}

// Ticket is a request and all that happened to it. It is changed by its
// methods only, inside a store's Update.
type Ticket struct {
	Number  Number    `json:"number"`
	Type    string    `json:"type"`  // name of the ticket type
	State   State     `json:"state"` // one of the type's states
	Active  bool      `json:"active"`
	Title   string    `json:"title,omitempty"` // short description
	Created time.Time `json:"created"`

	Category string `json:"category,omitempty"`

	// Request is nil while only an update has arrived (progress Unknown);
	// ID is known from the first webhook on.
	ID      RequestID `json:"id"`
	Request *Request  `json:"request,omitempty"`

	Rev      int       `json:"rev"` // counts the changes people can see, from 1
	Decision *Decision `json:"decision,omitempty"`
	Sending  Sending   `json:"sending,omitzero"`
	Outcome  *Outcome  `json:"outcome,omitempty"`
	Refusal  *Refusal  `json:"refusal,omitempty"` // the last one, while the ticket is open again
	Messages []Message `json:"messages,omitempty"`
	Events   []Event   `json:"events,omitempty"`

	Deliveries []Delivery `json:"deliveries,omitempty"` // of the events, to receivers outside of the chats

	// Undecidable is why nobody here can decide the request while it waits.
	Undecidable Undecidable `json:"undecidable,omitempty"`

	// Broken is set when the record was found changed by something else than
	// Countersign, until its history tells of that; see [Ticket.MarkDamaged].
	Broken bool `json:"broken,omitempty"`

	UnknownFields UnknownFields `json:"-"`

	// Version counts the writes of the record. It belongs to the store.
	Version int64 `json:"-"`
}

// Progress is how far a ticket has come. It is computed, never set.
type Progress string

// The progress of a ticket.
const (
	Unknown    Progress = "unknown"    // an update came first; the request has not arrived
	Pending    Progress = "pending"    // nobody has decided
	Submitting Progress = "submitting" // decided here, EPM has not acknowledged
	Submitted  Progress = "submitted"  // EPM acknowledged, its outcome has not arrived
	Final      Progress = "final"      // EPM recorded an outcome
)

// Progresses lists every progress, in the order of a ticket's life.
func Progresses() []Progress {
	return []Progress{Unknown, Pending, Submitting, Submitted, Final}
}

// Progress computes how far t has come.
func (t *Ticket) Progress() Progress {
	switch {
	case t.Request == nil:
		return Unknown
	case t.Outcome != nil:
		return Final
	case t.Decision == nil:
		return Pending
	case t.Sending.Done.IsZero():
		return Submitting
	}
	return Submitted
}

// Open reports whether t can be decided as far as its own record tells:
// pending, in an active state, by somebody here, and not damaged.
// [Ticket.Decide] checks again.
func (t *Ticket) Open() bool {
	return t.Progress() == Pending && t.Active && t.Undecidable == "" && !t.Damaged()
}

// ShownIn reports whether t has a message in place. One whose post has begun
// may be there: people are faster than the platform's answer.
func (t *Ticket) ShownIn(place Place) bool {
	m := t.Message(place)
	return m != nil && (m.ID != "" || m.Tries > 0 || m.Reposted)
}

// Message returns the message in place, or nil.
func (t *Ticket) Message(place Place) *Message {
	for i := range t.Messages {
		if t.Messages[i].Place == place {
			return &t.Messages[i]
		}
	}
	return nil
}
