package tickets

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Rules are the settings that a ticket's life depends on, as they stand when
// something happens to it.
type Rules struct {
	Type      Type
	Active    []State // states in which a decision may be made
	Title     string  // short description of new tickets
	Category  string  // of new tickets; may be empty
	AutoClose bool    // move to Type.Closed when EPM has recorded an outcome
	Places    []Place // where new tickets are shown

	NoApprovers bool // nobody is named who may decide
	OwnRefused  bool // nobody decides what they asked for themselves
}

const (
	// delayedAfter is the number of failed sends after which people are told
	// that EPM does not answer.
	delayedAfter = 3
	// firstPoll is how long after EPM's acknowledgement its update webhook is
	// awaited before EPM is asked.
	firstPoll = 3 * time.Minute
	// maxPolls ends the asking; with back-off up to an hour it is about a day.
	maxPolls = 26
)

// ApplyUpdate does to t what the webhook in says, and reports what became of it:
// created, updated, or duplicate if t is as it was.
func (t *Ticket) ApplyUpdate(in Incoming, rules Rules, now time.Time) Status {
	n, from := in.Update, Source{in.ID, Digest(in.Raw)}
	switch {
	case n.Request != nil && t.ask(*n.Request, from, rules, now):
		return StatusCreated
	case n.Request != nil && t.complete(*n.Request, from, rules, now),
		n.Outcome != nil && t.conclude(*n.Outcome, from, rules, now):
		return StatusUpdated
	}
	return StatusDuplicate
}

// Ask gives t the request that a webhook brought. It reports false, and
// changes nothing, if t has its request already: EPM sends duplicates.
func (t *Ticket) Ask(r Request, rules Rules, now time.Time) bool {
	return t.ask(r, Source{}, rules, now)
}

func (t *Ticket) ask(r Request, from Source, rules Rules, now time.Time) bool {
	if t.Request != nil {
		return false
	}
	t.ID, t.Request = r.ID, &r
	t.Title, t.Category = rules.Title, rules.Category
	t.Undecidable = t.whyNobody(rules)
	for _, p := range rules.Places {
		if t.Message(p) == nil {
			t.Messages = append(t.Messages, Message{Place: p})
		}
	}
	e := Event{Kind: EventReceived, At: now, State: t.State, Source: from, Request: r.canonicalDigest()}
	if r.Listed {
		e.Text = "list"
	}
	t.happened(e)
	return true
}

// complete gives t the request that its webhook tells, which came after t was
// made of EPM's list. It reports false, and changes nothing, unless nobody has
// decided: what a decision was made on stays as it was. A request with fields
// that may be forged completes nothing.
func (t *Ticket) complete(r Request, from Source, rules Rules, now time.Time) bool {
	if t.Progress() != Pending || !t.Request.Listed || r.Listed || r.SuspectedForgery || t.Request.Kind != r.Kind {
		return false
	}
	t.Request = &r
	t.Undecidable = t.whyNobody(rules)
	t.happened(Event{Kind: EventRequestEnriched, At: now, Source: from, Request: r.canonicalDigest()})
	return true
}

// Conclude records what EPM finally decided. It reports false, and changes
// nothing, for a duplicate and for an outcome older than the recorded one. A
// later outcome replaces an earlier: EPM's console may deny what was
// approved.
func (t *Ticket) Conclude(o Outcome, rules Rules, now time.Time) bool {
	return t.conclude(o, Source{}, rules, now)
}

func (t *Ticket) conclude(o Outcome, from Source, rules Rules, now time.Time) bool {
	if old := t.Outcome; old != nil {
		switch {
		case sameOutcome(*old, o), !old.At.IsZero() && !o.At.IsZero() && o.At.Before(old.At):
			return false
		case old.agrees(o):
			// The same decision with other details, as when EPM's update
			// follows what was read back: the card shows them, and nobody is
			// told twice.
			filled := o.fill(*old)
			if sameOutcome(*old, filled) {
				return false
			}
			t.Outcome = &filled
			t.happened(Event{Kind: EventOutcomeAmended, At: now, Outcome: &filled, Source: from})
			return true
		}
	}
	t.Outcome = &o
	t.Refusal = nil
	e := Event{Kind: EventOutcome, At: now, Outcome: &o, Source: from}
	if rules.AutoClose {
		t.State = rules.Type.Closed
		t.Active = slices.Contains(rules.Active, t.State)
		e.State = t.State
	}
	t.happened(e)
	return true
}

func sameOutcome(a, b Outcome) bool {
	return a.Verdict == b.Verdict && a.Raw == b.Raw && a.Duration == b.Duration && a.By == b.By &&
		a.At.Equal(b.At) && (a.AtRaw == b.AtRaw || !a.At.IsZero()) && a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.StartRaw == b.StartRaw && a.EndRaw == b.EndRaw
}

// agrees reports whether o and other tell of one decision: nothing that both
// know differs.
func (o Outcome) agrees(other Outcome) bool {
	same := func(a, b string) bool { return a == "" || b == "" || a == b }
	at := func(a, b time.Time) bool { return a.IsZero() || b.IsZero() || a.Equal(b) }
	return o.Verdict == other.Verdict && o.Raw == other.Raw && same(o.Duration, other.Duration) && same(o.By, other.By) &&
		at(o.At, other.At) && at(o.Start, other.Start) && at(o.End, other.End)
}

// fill returns o with what it does not know taken from other.
func (o Outcome) fill(other Outcome) Outcome {
	o.Duration, o.By, o.AtRaw = cmp.Or(o.Duration, other.Duration), cmp.Or(o.By, other.By), cmp.Or(o.AtRaw, other.AtRaw)
	if o.Start.IsZero() && other.Start.IsZero() {
		o.StartRaw = cmp.Or(o.StartRaw, other.StartRaw)
	} else {
		o.StartRaw = ""
	}
	if o.End.IsZero() && other.End.IsZero() {
		o.EndRaw = cmp.Or(o.EndRaw, other.EndRaw)
	} else {
		o.EndRaw = ""
	}
	o.At, o.Start, o.End = cmp.Or(o.At, other.At), cmp.Or(o.Start, other.Start), cmp.Or(o.End, other.End)
	o.Imitates, o.UnknownFields = o.Imitates || other.Imitates, cmp.Or(o.UnknownFields, other.UnknownFields)
	return o
}

// Decidable says whether t may be decided under the rules: nil, or ErrFinal,
// ErrDecided, ErrInactive or ErrDamaged. It is asked when a form opens and
// again, by Decide, when it is submitted.
func (t *Ticket) Decidable(rules Rules) error {
	switch {
	case t.Outcome != nil, !t.Sending.Done.IsZero():
		return ErrFinal
	case t.Decision != nil:
		return ErrDecided
	case t.Request == nil, !slices.Contains(rules.Active, t.State):
		return ErrInactive
	case t.Damaged():
		return ErrDamaged
	}
	return nil
}

// Decide records d if t is Decidable; the first one wins. d has passed
// [Form.Check] and its actor was found to be an approver.
func (t *Ticket) Decide(d Decision, rules Rules) error {
	if err := t.Decidable(rules); err != nil {
		return err
	}
	if by := t.AcceptedBy(); by.ID == d.By.ID && by.Platform == d.By.Platform {
		return ErrAccepted
	}
	if (d.Verdict != Approve && d.Verdict != Deny) || d.Reason == "" || d.Duration.IsZero() || d.By.ID == "" {
		return errors.New("the decision is incomplete")
	}
	t.Decision, t.Sending, t.Refusal = &d, Sending{}, nil
	t.happened(Event{Kind: EventDecided, At: d.At, Actor: d.By, Decision: &d})
	return nil
}

// BeginSend notes that an attempt to send the decision is about to be made,
// and reports whether there is still something to send. If the end of the
// last attempt was not recorded, EPM may have the decision: Unclear is set.
func (t *Ticket) BeginSend(now time.Time) bool {
	if t.Progress() != Submitting || t.Damaged() {
		return false
	}
	s := &t.Sending
	if s.Begun {
		s.Unclear, s.UnclearAt = true, now
	}
	s.Begun = true
	if s.As == "" { // what an earlier version has sent is sent again
		s.As = t.Decision.By.Performer()
	}
	s.Attempts++
	return true
}

// AmbiguityWindow is how long after an unclear attempt EPM's word that it has no
// decision is final. Before, the attempt may still be on its way through
// EPM's own machines.
const AmbiguityWindow = 10 * time.Minute

// ConfirmAbsent notes that EPM was asked at now and does not have d. If that was
// long enough after the last unclear attempt, what was unclear is clear.
func (t *Ticket) ConfirmAbsent(d Decision, now time.Time) {
	if t.sends(d) && now.Sub(t.Sending.UnclearAt) >= AmbiguityWindow {
		t.Sending.Unclear, t.Sending.UnclearAt = false, time.Time{}
	}
}

// SendFailed notes a failed attempt that will be repeated at next. unclear
// says that EPM may have the decision all the same, and is not forgotten
// before NotThere; say is for people.
func (t *Ticket) SendFailed(d Decision, unclear bool, say string, next, now time.Time) {
	if !t.sends(d) {
		return
	}
	s := &t.Sending
	s.Begun = false
	if unclear {
		s.Unclear, s.UnclearAt = true, now
	}
	t.sendAgain(next, say, false)
	if s.Attempts >= delayedAfter && !t.toldOf(EventDelayed, "") {
		t.happened(Event{Kind: EventDelayed, At: now, Text: say})
	}
}

// SendNotPermitted notes that EPM did not take d because it does not let the bot
// decide at all. The decision stays, and is sent again at next. say, for
// people, tells what an admin has to do; they are told at once.
func (t *Ticket) SendNotPermitted(d Decision, say string, next, now time.Time) {
	if !t.sends(d) {
		return
	}
	t.Sending.Begun = false
	t.sendAgain(next, say, true)
	if !t.toldOf(EventNotPermitted, say) {
		t.happened(Event{Kind: EventNotPermitted, At: now, Text: say})
	}
}

func (t *Ticket) sendAgain(next time.Time, say string, denied bool) {
	s := &t.Sending
	s.NotBefore = next
	if s.Problem != say || s.NotPermitted != denied {
		t.Rev++ // the card says why it takes longer
	}
	s.Problem, s.NotPermitted = say, denied
}

// SendNow ends the wait of a decision that EPM denied, and reports whether
// there was one.
func (t *Ticket) SendNow(now time.Time) bool {
	if t.Progress() != Submitting || !t.Sending.NotPermitted || !t.Sending.NotBefore.After(now) {
		return false
	}
	t.Sending.NotBefore = time.Time{}
	return true
}

// toldOf reports whether the history tells of the present decision that it
// met a difficulty of that kind, for the reason that is given, if one is.
func (t *Ticket) toldOf(kind EventKind, why string) bool {
	for _, e := range slices.Backward(t.Events) {
		switch {
		case e.Kind == kind && (why == "" || e.Text == why):
			return true
		case e.Kind == EventDecided:
			return false
		}
	}
	return false
}

// RecordAccepted notes that EPM has accepted d: from here on it is final. EPM's
// update may have been faster than its answer: then it is known only now that
// what it recorded confirms d.
func (t *Ticket) RecordAccepted(d Decision, now time.Time) {
	if t.Outcome != nil && t.stands(d) && t.Sending.Begun && t.Sending.Done.IsZero() {
		t.Sending = Sending{Attempts: t.Sending.Attempts, As: t.Sending.As, Done: now, UnknownFields: t.Sending.UnknownFields}
		t.happened(Event{Kind: EventSubmitted, At: now, Attempts: t.Sending.Attempts})
		return
	}
	if !t.sends(d) {
		return
	}
	t.Sending = Sending{Attempts: t.Sending.Attempts, As: t.Sending.As, Done: now, NotBefore: now.Add(firstPoll), UnknownFields: t.Sending.UnknownFields}
	t.happened(Event{Kind: EventSubmitted, At: now, Attempts: t.Sending.Attempts})
}

// RecordRejection takes d off the ticket because EPM said no, and opens the ticket
// again. say is for people.
func (t *Ticket) RecordRejection(d Decision, say string, now time.Time) {
	if !t.sends(d) {
		return
	}
	t.Refusal = &Refusal{Decision: d, Reason: say, At: now}
	t.Decision, t.Sending = nil, Sending{}
	t.happened(Event{Kind: EventRefused, At: now, Actor: d.By, Decision: &d, Text: say})
}

// sends reports whether d is the decision that t is still sending: an answer
// that arrives late must not touch what came after it.
func (t *Ticket) sends(d Decision) bool {
	return t.Progress() == Submitting && t.stands(d)
}

// stands reports whether d is the decision that t has.
func (t *Ticket) stands(d Decision) bool {
	return t.Decision != nil && t.Decision.By == d.By && t.Decision.At.Equal(d.At) && t.Decision.Verdict == d.Verdict
}

// RecordPoll notes that EPM was asked and had no outcome yet; the next poll is
// due at next. People are told once.
func (t *Ticket) RecordPoll(next, now time.Time) {
	if t.Progress() != Submitted {
		return
	}
	t.Sending.Polls++
	t.Sending.NotBefore = next
	if t.Sending.Polls == 1 {
		t.happened(Event{Kind: EventOverdue, At: now})
	}
}

// Move puts t into another state of its type, and has it say whether anybody
// can decide it.
func (t *Ticket) Move(to State, by Actor, rules Rules, now time.Time) bool {
	active := slices.Contains(rules.Active, to)
	why := t.whyNobody(rules)
	if t.State == to && t.Active == active && t.Undecidable == why {
		return false
	}
	e := Event{Kind: EventState, At: now, Actor: by, Text: string(to)}
	if t.State == to {
		e = Event{Kind: EventReconsidered, At: now}
	}
	t.State, t.Active, t.Undecidable = to, active, why
	t.happened(e)
	return true
}

// happened appends an event that the card shows.
func (t *Ticket) happened(e Event) {
	t.Rev++
	e.Rev = t.Rev
	if s := t.standing(); t.told() == nil || *t.told() != s {
		e.Standing = &s
	}
	t.note(e)
}

func (t *Ticket) standing() Standing {
	return Standing{Type: t.Type, Title: t.Title, Category: t.Category, Active: t.Active, Undecidable: t.Undecidable}
}

// told is the standing that the history tells last, nil if it tells none.
func (t *Ticket) told() *Standing {
	for _, e := range slices.Backward(t.Events) {
		if e.Standing != nil {
			return e.Standing
		}
	}
	return nil
}

// note appends an event.
func (t *Ticket) note(e Event) {
	e.N = len(t.Events) + 1
	e.Hash = e.link(t.lastHash())
	t.Events = append(t.Events, e)
	for i := range t.Messages {
		t.tell(&t.Messages[i], 0)
	}
}

// tell notes that m's thread was told of the first n events, and of those
// after them that no thread is told of.
func (t *Ticket) tell(m *Message, n int) {
	if m.ID == "" {
		return
	}
	for m.Told = max(m.Told, n); m.Told < len(t.Events) && !t.Events[m.Told].Kind.InThread(); {
		m.Told++
	}
}

const (
	// maxNoted is how many events of a kind are noted of one ticket that
	// people or places can cause without end.
	maxNoted = 200
	// notedAgain is how long the same actor is not noted again for the same.
	notedAgain = time.Minute
)

// glance notes e unless the same was noted a moment ago or there were too many
// of its kind, and reports whether it did.
func (t *Ticket) glance(e Event) bool {
	n := 0
	for _, old := range slices.Backward(t.Events) {
		switch {
		case old.Kind == EventsSuppressed && old.Text == string(e.Kind):
			return false
		case old.Kind != e.Kind:
			continue
		case old.Actor.ID != "" && old.Actor.ID == e.Actor.ID && old.Actor.Platform == e.Actor.Platform &&
			old.Verdict == e.Verdict && old.Text == e.Text && e.At.Sub(old.At).Abs() < notedAgain:
			return false
		}
		n++
	}
	if n >= maxNoted {
		e = Event{Kind: EventsSuppressed, At: e.At, Text: string(e.Kind)}
	}
	t.note(e)
	return true
}

// RecordFormOpened notes that by was given the form to decide t. It reports false, and
// changes nothing, if that was noted a moment ago or too often.
func (t *Ticket) RecordFormOpened(by Actor, v Verdict, in Place, now time.Time) bool {
	return t.glance(Event{Kind: EventFormOpened, At: now, Actor: by, Verdict: v, Place: in})
}

// RecordAccessDenied notes that by was refused the form, the decision or, without a
// verdict, another state. why is for
// people, and holds nothing that anybody wrote. It reports false, and changes
// nothing, if that was noted a moment ago or too often.
func (t *Ticket) RecordAccessDenied(by Actor, v Verdict, in Place, why string, now time.Time) bool {
	return t.glance(Event{Kind: EventAccessDenied, At: now, Actor: by, Verdict: v, Place: in, Text: why})
}

// BeginPost notes that the ticket is about to be posted in place, and
// reports false if it is there already. Whoever finds the note without a
// message must look for one before posting again.
func (t *Ticket) BeginPost(place Place, now time.Time) bool {
	m := t.Message(place)
	if m == nil || m.ID != "" || m.Dead {
		return false
	}
	m.begin(now)
	return true
}

// RecordPost notes the message in place, which shows t as it was at shown. Its
// thread starts from there: the card itself tells what came before.
func (t *Ticket) RecordPost(place Place, id string, shown *Ticket, now time.Time) {
	m := t.Message(place)
	if m == nil || m.ID != "" {
		return
	}
	m.ID, m.Shown, m.Told = id, shown.Rev, len(shown.Events)
	m.FirstTry, m.Tries = time.Time{}, 0
	m.succeeded()
	t.note(Event{Kind: EventCardPosted, At: now, Place: place, Message: id})
}

// RecordEdit notes that the message in place shows rev.
func (t *Ticket) RecordEdit(place Place, rev int, now time.Time) {
	if m := t.Message(place); m != nil {
		m.Shown = max(m.Shown, rev)
		t.works(m, now)
	}
}

// works notes that m's place can be told again, if it could not.
func (t *Ticket) works(m *Message, now time.Time) {
	if m.Attempts > 0 {
		t.glance(Event{Kind: EventDeliveryRecovered, At: now, Place: m.Place})
	}
	m.succeeded()
}

// BeginReply notes that the thread in place is about to be told of an event.
func (t *Ticket) BeginReply(place Place, event int, now time.Time) bool {
	m := t.Message(place)
	if m == nil || m.ID == "" || m.Dead || m.Told > event {
		return false
	}
	m.begin(now)
	return true
}

// RecordReply notes that the thread in place has been told of events[:event+1].
func (t *Ticket) RecordReply(place Place, event int, now time.Time) {
	if m := t.Message(place); m != nil {
		t.tell(m, event+1)
		m.FirstTry, m.Tries = time.Time{}, 0
		t.works(m, now)
	}
}

func (m *Message) begin(now time.Time) {
	if m.FirstTry.IsZero() {
		m.FirstTry = now
	}
	m.Tries++
}

// Since is when the first attempt at the post or reply that has just begun
// was made, or zero if this is the first: nothing can be there yet.
func (m *Message) Since() time.Time {
	if m.Tries <= 1 {
		return time.Time{}
	}
	return m.FirstTry
}

// UndoAttempt notes that the attempt at the post or reply in place that was
// begun last certainly had no effect: it is no reason to look for it.
func (t *Ticket) UndoAttempt(place Place) {
	if m := t.Message(place); m != nil && m.Tries > 0 {
		if m.Tries--; m.Tries == 0 {
			m.FirstTry = time.Time{}
		}
	}
}

func (m *Message) succeeded() {
	m.Attempts, m.NotBefore, m.Problem = 0, time.Time{}, ""
}

// ShowFailed notes that a post, edit or reply in place failed. It is tried
// again at next, or never if the place is dead. problem is for admins.
func (t *Ticket) ShowFailed(place Place, problem string, next time.Time, dead bool, now time.Time) {
	if m := t.Message(place); m != nil && !m.Dead {
		switch {
		case dead:
			t.note(Event{Kind: EventDeliveryAbandoned, At: now, Place: place, Text: problem})
		case m.Attempts == 0:
			t.glance(Event{Kind: EventDeliveryFailing, At: now, Place: place, Text: problem})
		}
		m.Attempts++
		m.Problem, m.NotBefore, m.Dead = problem, next, dead
	}
}

// CardGone notes that the message id in place was deleted, or is no more ours to
// edit. While t can still change it is posted again, once; after that, or if t
// is final, the place is dead.
func (t *Ticket) CardGone(place Place, id, problem string, now time.Time) {
	m := t.Message(place)
	switch {
	case m == nil || m.Dead || id == "" || m.ID != id: // told before
	case m.Reposted || t.Progress() == Final:
		t.ShowFailed(place, problem, time.Time{}, true, now)
	default:
		t.note(Event{Kind: EventCardGone, At: now, Place: place, Message: id, Text: problem})
		*m = Message{Place: place, Told: m.Told, Reposted: true, UnknownFields: m.UnknownFields}
	}
}

// Start makes an empty ticket for a request that nothing was known of.
func Start(number Number, id RequestID, rules Rules, now time.Time) *Ticket {
	state := rules.Type.States[0]
	return &Ticket{
		Number:  number,
		Type:    rules.Type.Name,
		State:   state,
		Active:  slices.Contains(rules.Active, state),
		Created: now,
		ID:      id,
	}
}
