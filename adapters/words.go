package adapters

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

// Sentences for people whose wish is not granted. They are the same on each
// platform and in each place.
const (
	SayNotApprover       = "You cannot decide this request: you are not one of the approvers"
	SayNoApprovers       = "Nobody can decide requests yet: no approvers are configured. An admin has to name them in COUNTERSIGN_APPROVERS"
	SayNotAdmin          = "Only an admin of Countersign can do that"
	SayCannotCheck       = "Countersign cannot find out right now whether you are an approver, so it does not let you decide. Please try again in a minute"
	SayNotReader         = "Only approvers and admins can read requests here. In a channel in which requests are shown its members can too: type the command there"
	SayCannotCheckReader = "Countersign cannot find out right now whether you may read requests, so it does not show them. Please try again in a minute"
	SayOwnRequest        = "You cannot decide your own request"
	SayCannotTell        = "Countersign cannot find out right now whether this request is your own, so it does not let you decide it. Please try again in a minute; if it lasts, tell your admin"
	SayUnknownAsker      = "EPM did not say who made this request, so Countersign cannot tell whether it is your own. Please decide it in the EPM console"
	SayNobodyNamed       = "Nobody can decide this request here: no approvers are configured. An admin names them with /" + CommandName + " config set approvers; until then, decide it in the EPM console"
	SayNobodyMay         = "Nobody can decide this request here: EPM did not say who made it, so it may be anybody's own. Decide it in the EPM console"
	SayOtherRequest      = "This card belongs to another request"
	SayMoreKnown         = "More is known of this request now: read the card again"
	SayNotShownHere      = "This card was not posted here by this Countersign, so it does nothing. Please use the request's own message"
	SayNoQueue           = "No request waits for you here: you are not one of the approvers"
	SayNothingWaits      = "No request waits for a decision"
	SayStranger          = "Only members of this workspace can do that"
	SayCannotPlace       = "Countersign cannot find out right now whether you belong to this workspace, so nothing was done. Please try again in a minute"
	SayStarting          = "Countersign is still starting. Please try again in a moment"
	SayBusy              = "Countersign is busy. Please try again in a moment"
	SayAgain             = "That took too long, so nothing was done. Please click again"
	SayMoment            = "This takes a moment…"
	SayStopping          = "Countersign was restarted before this ended, and nobody knows whether it was done. Please look, and try again in a minute"
	SaySlow              = "Countersign or its store did not answer in time, and nobody knows whether this was done. Please look at the request's message in a minute: if it does not show it, try again"
	SayBroken            = "Something went wrong in Countersign, and nothing was decided. Please try again; if it happens again, tell your admin"
	SayNothingToShow     = "EPM sent nothing beyond what the message shows"
	SayDamaged           = "The record of this request in Countersign's store was changed by something else than Countersign, so what it says may be false. Nobody can decide it here until an admin has compared it with the EPM console, and lets others decide it with /" + CommandName + " ticket NUMBER accept-damaged yes"
	SayAcceptedDamage    = "The record of this request was changed by something else than Countersign, and an admin lets it be decided all the same. Compare it with the EPM console before you decide"
	SayAcceptedByYou     = "You let others decide this request although its record is damaged, so you cannot decide it yourself: two people look at such a request"
	SayPerhapsAccepted   = "It cannot be told whether it was you, with another account, who let others decide this request although its record is damaged. Two people look at such a request: let somebody else decide it"
	SayImitates          = "Careful: parts of this request look as if someone tried to write fields in EPM's name. Check it in the EPM console before you decide"
)

// SayNoTicket says that there is no ticket n.
func SayNoTicket(n tickets.Number) string {
	return fmt.Sprintf("There is no ticket %s", short(string(n), 40))
}

// SayOwn says why somebody may not decide a request that m says is or may be
// their own, or "".
func SayOwn(m tickets.Match) string {
	switch {
	case m.SelfMatch == tickets.SelfMatchYes:
		return SayOwnRequest
	case m.SelfMatch == tickets.SelfMatchNo:
		return ""
	case m.Asked == "":
		return SayUnknownAsker
	case m.Known == "":
		return SayCannotTell
	}
	return fmt.Sprintf("This request may be your own: it was made by %s, and you are %s. Please let somebody else decide it", short(m.Asked, 100), short(m.Known, 100))
}

// SayDecided says who was faster with t, where and when.
func SayDecided(t *tickets.Ticket) string {
	d := t.Decision
	if d == nil {
		return "This request is already decided"
	}
	return fmt.Sprintf("%s has already %s this request in %s, %s", DisplayName(d.By), d.Verdict.Past(), PlatformName(d.By.Platform), FormatTime(d.At))
}

// PlatformName is what people call p.
func PlatformName(p tickets.Platform) string { return capital(string(p)) }

// SayUndecidable says why t cannot be decided, err being what
// [tickets.Ticket.Decide] answered: the sentence of the rule, and who was
// faster.
func SayUndecidable(t *tickets.Ticket, err error) string {
	switch {
	case errors.Is(err, tickets.ErrDecided):
		return SayDecided(t) + ". The decision is on its way to EPM."
	case errors.Is(err, tickets.ErrFinal) && t.Decision != nil:
		return tickets.SayFinal + ". " + SayDecided(t) + "."
	case errors.Is(err, tickets.ErrFinal):
		return tickets.SayFinal + ". " + Status(t).String() + "."
	case errors.Is(err, tickets.ErrDamaged):
		return SayDamaged
	case errors.Is(err, tickets.ErrAccepted):
		return SayAcceptedByYou
	case errors.Is(err, tickets.ErrInactive):
		return tickets.SayInactive
	case errors.Is(err, tickets.ErrOtherRequest):
		return SayOtherRequest
	}
	return "This request cannot be decided: " + err.Error()
}

// Sentence is a line for people in parts, so that a platform can show a
// moment in the reader's own time zone and a person as a mention.
type Sentence []Part

// Part is a piece of a sentence. One of its fields is set.
type Part struct {
	Text  string        // may hold untrusted text, made visible and shortened
	Time  time.Time     // a moment
	Actor tickets.Actor // a person
}

// String is s in plain text, with times in UTC.
func (s Sentence) String() string { return s.On("") }

// On is String for readers on platform on, which may be empty; see [DisplayNameOn].
func (s Sentence) On(on tickets.Platform) string {
	var b strings.Builder
	for _, p := range s {
		switch {
		case !p.Time.IsZero():
			b.WriteString(FormatTime(p.Time))
		case p.Actor.ID != "":
			b.WriteString(DisplayNameOn(on, p.Actor))
		default:
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// FormatTime is a time for people who may be anywhere.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// DisplayName is what to call a.
func DisplayName(a tickets.Actor) string {
	if name := short(a.Name, 80); name != "" {
		return name
	}
	return short(a.ID, 40)
}

// DisplayNameOn is what to call a in a message on platform on: people of another
// platform are named with it, because the same name may be somebody else
// there. An empty platform names everybody without.
func DisplayNameOn(on tickets.Platform, a tickets.Actor) string {
	if a.Platform == on || a.Platform == "" || on == "" {
		return DisplayName(a)
	}
	return DisplayName(a) + " (" + PlatformName(a.Platform) + ")"
}

// Emoji is a picture of how far t has come. It never stands without words.
func Emoji(t *tickets.Ticket) string {
	switch t.Progress() {
	case tickets.Pending:
		if !t.Active {
			return "⏸"
		}
		return "⏳"
	case tickets.Submitting:
		return "📤"
	case tickets.Submitted:
		return "📨"
	case tickets.Final:
		switch t.Outcome.Verdict {
		case tickets.Approve:
			return "✅"
		case tickets.Deny:
			return "❌"
		}
		return "📄"
	}
	return "❔"
}

// Title is the first line of a card: "⏳ JIT-1042 · Application access
// requested".
func Title(t *tickets.Ticket) string {
	word := "requested"
	switch t.Progress() {
	case tickets.Pending:
		switch {
		case t.Damaged():
			word = "requested, record damaged"
		case !t.Active:
			word = "requested, inactive"
		}
	case tickets.Submitting:
		word = t.Decision.Verdict.Past() + ", sending to EPM"
		if t.Damaged() {
			word = t.Decision.Verdict.Past() + ", record damaged"
		}
	case tickets.Submitted:
		word = t.Decision.Verdict.Past() + ", waiting for EPM"
	case tickets.Final:
		word = t.Outcome.Verdict.Past()
	}
	return fmt.Sprintf("%s %s · %s %s", Emoji(t), t.Number, access(t), word)
}

func access(t *tickets.Ticket) string {
	switch {
	case t.Request == nil:
		return "Access"
	case t.Request.Kind == tickets.Admin:
		return "Administrator access"
	}
	return "Application access"
}

// Status says how far t has come, in one sentence. It never says "approved"
// as a fact before EPM has recorded it.
func Status(t *tickets.Ticket) Sentence {
	switch t.Progress() {
	case tickets.Pending:
		var s Sentence
		if r := t.Refusal; r != nil {
			s = append(refused(r.Decision, r.Reason), text(". ")...)
			if t.Open() {
				return append(s, text("The request is open again")...)
			}
		}
		if t.Damaged() {
			return append(s, text("Pending, but its record is damaged: no decision can be made here until an admin has looked")...)
		}
		if !t.Active {
			return append(s, text("Pending, but inactive: no decision can be made in state "+short(string(t.State), 60)+" until an admin moves it")...)
		}
		if t.Undecidable != "" {
			return append(s, text("Pending: waiting for a decision that nobody here can make, only the EPM console · "+short(string(t.State), 60))...)
		}
		return text("Pending: waiting for a decision · " + short(string(t.State), 60))
	case tickets.Submitting:
		s := decided(*t.Decision)
		p := short(t.Sending.Problem, 300)
		switch {
		case t.Damaged():
			return append(s, text(", but not sent to EPM: the record is damaged, and an admin has to look first")...)
		case t.Sending.NotPermitted:
			return append(s, text(", not accepted by EPM yet. "+sayDenied(p))...)
		case p != "":
			return append(s, text(". EPM does not answer ("+p+"), trying until it does")...)
		}
		return append(s, text(", sending to EPM")...)
	case tickets.Submitted:
		s := append(decided(*t.Decision), text(", submitted to EPM")...)
		if t.Sending.Polls > 0 {
			return append(s, text(". EPM has not confirmed it yet; if this lasts, look at the request in the EPM console")...)
		}
		return append(s, text("; waiting for EPM to confirm it")...)
	case tickets.Final:
		return concluded(t, t.Outcome, t.Decision)
	}
	return text("EPM has sent an update; the request itself has not arrived")
}

// sayDenied is why EPM does not let Countersign decide, and what becomes of
// the decision.
func sayDenied(why string) string {
	return capital(strings.TrimRight(why, ". ")) + ". The decision is kept and sent again every 10 minutes; nobody has to decide again"
}

// DecisionReason is the reason that was given with the decision on t, or empty.
func DecisionReason(t *tickets.Ticket) string {
	if t.Decision == nil {
		return ""
	}
	return t.Decision.Reason
}

func text(s string) Sentence { return Sentence{{Text: s}} }

// decided is "Approved by Ann for 2 hours".
func decided(d tickets.Decision) Sentence {
	s := Sentence{{Text: capital(d.Verdict.Past()) + " by "}, {Actor: d.By}}
	if d.Verdict == tickets.Approve {
		s = append(s, text(span(d.Duration))...)
	}
	return s
}

func refused(d tickets.Decision, why string) Sentence {
	what := "approval"
	if d.Verdict == tickets.Deny {
		what = "denial"
	}
	s := Sentence{{Text: "EPM refused the " + what + " by "}, {Actor: d.By}}
	if why = strings.TrimRight(short(why, 400), ". "); why != "" {
		s = append(s, text(": "+why)...)
	}
	return s
}

func span(d tickets.Duration) string {
	switch {
	case d.IsZero():
		return ""
	case d.Once():
		return " once"
	}
	return " for " + d.String()
}

// concluded is what EPM recorded. ours is the decision made here, nil if
// there was none.
func concluded(t *tickets.Ticket, o *tickets.Outcome, ours *tickets.Decision) Sentence {
	confirms := t.Confirms(o, ours)
	by := short(o.By, 100)
	var s Sentence
	switch {
	case confirms:
		s = text("Confirmed by EPM: ")
	case ours == nil && by != "":
		s = text("Decided in EPM by “" + by + "”: ")
	case ours == nil:
		s = text("Decided in EPM: ")
	case by != "":
		s = text("EPM recorded, by “" + by + "”: ")
	default:
		s = text("EPM recorded: ")
	}
	switch o.Verdict {
	case tickets.Approve:
		s = append(s, text("approved"+outcomeSpan(o.Duration))...)
		if until, ok := o.Until(); ok {
			s = append(s, Part{Text: ", until "}, Part{Time: until})
		} else if o.EndRaw != "" {
			s = append(s, Part{Text: ", until “" + short(o.EndRaw, 60) + "”"})
		}
	case tickets.Deny:
		s = append(s, text("denied")...)
	default:
		word := short(o.Raw, 100)
		if word == "" {
			word = "no word for it"
		}
		s = append(s, text("“"+word+"”, a word that Countersign does not know; see the EPM console")...)
	}
	switch {
	case confirms:
		return append(s, Part{Text: " · decided by "}, Part{Actor: ours.By}, Part{Text: ", "}, Part{Time: ours.At})
	case ours != nil && ours.Verdict != o.Verdict:
		s = append(s, Part{Text: " · here it was " + ours.Verdict.Past() + " by "}, Part{Actor: ours.By})
	}
	if !o.At.IsZero() {
		s = append(s, Part{Text: " · "}, Part{Time: o.At})
	} else if o.AtRaw != "" {
		s = append(s, Part{Text: " · “" + short(o.AtRaw, 60) + "”"})
	}
	return s
}

func outcomeSpan(raw string) string {
	if raw = strings.TrimSpace(raw); raw == "" {
		return ""
	}
	if d, err := tickets.ParseDuration(raw); err == nil {
		return span(d)
	}
	return " for “" + short(raw, 60) + "”"
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// ThreadLine is event number i of t as a line of its thread. An EPM refusal names
// the approver, whom the platform may notify.
func ThreadLine(t *tickets.Ticket, i int) Sentence {
	if i < 0 || i >= len(t.Events) {
		return text("Something happened to " + string(t.Number))
	}
	e := t.Events[i]
	switch e.Kind {
	case tickets.EventReceived:
		if e.Text != "" {
			return text("The request was found in EPM's list: its webhook had not arrived")
		}
		return text("The request arrived")
	case tickets.EventDecided:
		if e.Decision == nil {
			break
		}
		return append(decided(*e.Decision), text(", sending to EPM. Reason: “"+short(e.Decision.Reason, 500)+"”")...)
	case tickets.EventDelayed:
		s := "EPM does not answer"
		if why := short(e.Text, 300); why != "" {
			s += " (" + why + ")"
		}
		return text(s + ". The decision is kept and sent again until EPM takes it")
	case tickets.EventNotPermitted:
		return text(sayDenied(short(e.Text, 300)))
	case tickets.EventSubmitted:
		if slices.ContainsFunc(t.Events[:i], func(e tickets.Event) bool { return e.Kind == tickets.EventOutcome }) {
			return text("EPM accepted the decision")
		}
		return text("EPM accepted the decision. It is now final; waiting for EPM to confirm it")
	case tickets.EventRefused:
		if e.Decision == nil {
			break
		}
		return append(refused(*e.Decision, e.Text), text(". The request is open again")...)
	case tickets.EventOutcome:
		if e.Outcome == nil {
			break
		}
		return concluded(t, e.Outcome, decidedBefore(t, i))
	case tickets.EventState:
		s := text("State moved to " + short(e.Text, 60))
		if e.Actor.ID != "" {
			s = append(s, Part{Text: " by "}, Part{Actor: e.Actor})
		}
		return s
	case tickets.EventDamaged:
		s := "The record of this request was found changed by something else than Countersign"
		if why := short(e.Text, 300); why != "" {
			s += " (" + why + ")"
		}
		return text(s + ". Nobody can decide it here until an admin has looked")
	case tickets.EventAccepted:
		return append(Sentence{{Actor: e.Actor}}, text(" has looked at the damaged record, and lets others decide the request")...)
	case tickets.EventOverdue:
		return text("EPM accepted the decision but has not confirmed it. Countersign keeps asking; if this lasts, look at the request in the EPM console")
	}
	if s := note(e); s != nil {
		return s
	}
	return text("Something happened to " + string(t.Number))
}

// note is an event for those who read the history, nil if it is none.
func note(e tickets.Event) Sentence {
	in := ""
	if e.Place != (tickets.Place{}) {
		in = " in " + PlatformName(e.Place.Platform) + " " + short(e.Place.Channel, 60)
	}
	why := ""
	if e.Text != "" {
		why = ": " + short(e.Text, 300)
	}
	switch e.Kind {
	case tickets.EventReconsidered:
		return text("The settings changed whether it can be decided")
	case tickets.EventRequestEnriched:
		return text("The webhook of the request arrived, which tells more of it")
	case tickets.EventOutcomeAmended:
		return text("EPM told more of what it recorded")
	case tickets.EventCardPosted:
		return text("Shown" + in)
	case tickets.EventCardGone:
		return text("The message is gone, and is posted again" + in + why)
	case tickets.EventFormOpened:
		return append(append(text("Form to "+string(e.Verdict)+" opened by "), Part{Actor: e.Actor}), text(in)...)
	case tickets.EventAccessDenied:
		return append(append(text("Turned away: "), Part{Actor: e.Actor}), text(in+why)...)
	case tickets.EventDeliveryFailing:
		return text("Cannot be shown or updated" + in + why)
	case tickets.EventDeliveryRecovered:
		return text("Updated again" + in)
	case tickets.EventDeliveryAbandoned:
		return text("Never to be updated again" + in + why)
	case tickets.EventsSuppressed:
		return text("There were too many events “" + short(e.Text, 30) + "”: no more of them are recorded")
	}
	return nil
}

// decidedBefore is the decision that stood when event i of t happened.
func decidedBefore(t *tickets.Ticket, i int) *tickets.Decision {
	var d *tickets.Decision
	for _, e := range t.Events[:i] {
		switch e.Kind {
		case tickets.EventDecided:
			d = e.Decision
		case tickets.EventRefused:
			d = nil
		}
	}
	return d
}

// Subject is what t is about: "7-Zip 24.09 for ACME\ann on PC-0815".
func Subject(t *tickets.Ticket) string {
	r := t.Request
	if r == nil {
		return "an access request"
	}
	s := short(r.What(), 150)
	if user := short(r.User, 100); user != "" {
		s += " for " + user
	}
	if where := short(r.Where(), 100); where != "" {
		s += " on " + where
	}
	return s
}

// PlainText is t in one plain paragraph for readers on platform on, for
// notifications and for screen readers, which read it instead of the card. It
// is shorter than 2000 runes.
func PlainText(t *tickets.Ticket, on tickets.Platform) string {
	s := fmt.Sprintf("%s %s, %s: %s. %s.", Emoji(t), t.Number, strings.ToLower(access(t)), Subject(t), strings.TrimRight(Status(t).On(on), "."))
	if r := t.Request; r != nil {
		if reason := strings.TrimRight(short(r.Reason, 200), "."); reason != "" && t.Progress() == tickets.Pending {
			s += " Reason given: “" + reason + "”."
		}
		if warned(t) {
			s += " " + SayImitates + "."
		}
	}
	return s
}

// Warning is a line that must be read before anything else on the card, or
// empty.
func Warning(t *tickets.Ticket) string {
	var lines []string
	if warned(t) {
		lines = append(lines, "⚠ "+SayImitates)
	}
	if t.Open() && t.AcceptedBy().ID != "" {
		lines = append(lines, "⚠ "+SayAcceptedDamage)
	}
	if say := sayNobody(t); say != "" {
		lines = append(lines, "⚠ "+say)
	}
	return strings.Join(lines, "\n")
}

// sayNobody says why nobody here can decide t while it waits, or "".
func sayNobody(t *tickets.Ticket) string {
	waits := t.Progress() == tickets.Pending
	switch {
	case (waits || t.Progress() == tickets.Submitting) && t.Damaged():
		return SayDamaged
	case !waits, t.Undecidable == "":
		return ""
	case t.Undecidable == tickets.NoApprovers:
		return SayNobodyNamed
	}
	return SayNobodyMay
}

func warned(t *tickets.Ticket) bool {
	return (t.Request != nil && t.Request.SuspectedForgery) || (t.Outcome != nil && t.Outcome.Imitates)
}

// ListLine is t on one line of a list for readers on platform on, in at most 260
// characters.
func ListLine(t *tickets.Ticket, on tickets.Platform) string {
	return fmt.Sprintf("%s %s · %s · %s", Emoji(t), t.Number, short(Subject(t), 110), short(Status(t).On(on), 110))
}

// Shape is how a fact wants to be shown.
type Shape int

// The shapes of facts.
const (
	Short Shape = iota // a few words, on one line
	Code               // a path or a command, in fixed width
	Prose              // somebody's own words, perhaps of several lines
)

// Fact is a labelled value of a card.
type Fact struct {
	Field string // its name in the setting "fields"
	Label string
	Value string    // visible, not shortened; empty if Time is set
	Time  time.Time // a moment, zero for other facts
	Shape Shape
}

// Card is what the settings say about how tickets are shown.
type Card struct {
	Fields []string // the facts, in order; default [DefaultFields] of the request's kind
	// Assign is mentioned on new tickets; default nobody.
	Assign tickets.Principal
	// Moves are the states that the menu on a card moves its ticket to;
	// default none, and no menu.
	Moves func(*tickets.Ticket) []tickets.State
	// Console is the address of a request in EPM's console; default none.
	Console func(*tickets.Request) string
}

// Elsewhere is the address where t is decided, if nobody can here; else empty.
func (c Card) Elsewhere(t *tickets.Ticket) string {
	if c.Console == nil || sayNobody(t) == "" {
		return ""
	}
	return c.Console(t.Request)
}

// fact knows how to take one fact from a ticket and its request.
type fact struct {
	field, label string
	shape        Shape
	value        func(t *tickets.Ticket, r *tickets.Request) string
	time         func(r *tickets.Request) time.Time
}

// facts knows every fact by its name in the settings.
var facts = []fact{
	{field: "user", label: "User", value: func(_ *tickets.Ticket, r *tickets.Request) string { return orElse(r.User, r.UserID, "not told by EPM") }},
	{field: "computer", label: "Computer", value: func(_ *tickets.Ticket, r *tickets.Request) string { return orElse(r.Where(), "not told by EPM") }},
	{field: "application", label: "Application", value: func(_ *tickets.Ticket, r *tickets.Request) string {
		if r.Kind == tickets.Admin {
			return ""
		}
		return r.What()
	}},
	{field: "publisher", label: "Publisher", value: func(_ *tickets.Ticket, r *tickets.Request) string {
		if r.Kind == tickets.Admin {
			return r.Publisher
		}
		return orElse(r.Publisher, "not signed or unknown")
	}},
	{field: "reputation", label: "Reputation", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Reputation }},
	{field: "duration", label: "Asked for", value: func(_ *tickets.Ticket, r *tickets.Request) string { return AskedFor(r) }},
	{field: "time", label: "Requested", time: func(r *tickets.Request) time.Time { return r.Time }, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.TimeRaw }},
	{field: "path", label: "Path", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Path }},
	{field: "command", label: "Command line", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Command }},
	{field: "parent", label: "Started by", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Parent }},
	{field: "source", label: "Downloaded from", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Source }},
	{field: "sha256", label: "SHA-256", value: func(_ *tickets.Ticket, r *tickets.Request) string { return shortHash(r.SHA256) }},
	{field: "sha1", label: "SHA-1", value: func(_ *tickets.Ticket, r *tickets.Request) string { return shortHash(r.SHA1) }},
	{field: "reason", label: "Reason", shape: Prose, value: func(_ *tickets.Ticket, r *tickets.Request) string { return orElse(r.Reason, "none was given") }},
	{field: "number", label: "EPM number", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.EPMNumber }},
	{field: "group", label: "Computer group", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Group }},
	{field: "tenant", label: "Tenant", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Tenant }},
	{field: "title", label: "Short description", value: func(t *tickets.Ticket, _ *tickets.Request) string { return t.Title }},
	{field: "category", label: "Category", value: func(t *tickets.Ticket, _ *tickets.Request) string { return t.Category }},
	{field: "type", label: "Type", value: func(t *tickets.Ticket, _ *tickets.Request) string { return t.Type }},
	{field: "state", label: "State", value: func(t *tickets.Ticket, _ *tickets.Request) string { return string(t.State) }},
}

// Fields lists the names that the setting "fields" may hold.
func Fields() []string {
	var names []string
	for _, f := range facts {
		names = append(names, f.field)
	}
	return names
}

// DefaultFields are the facts of a card for a kind of request, in order.
func DefaultFields(k tickets.Kind) []string {
	if k == tickets.Admin {
		return []string{"user", "computer", "duration", "time", "number", "reason"}
	}
	return []string{"user", "computer", "application", "publisher", "reputation", "duration", "time", "sha256", "number", "path", "command", "parent", "source", "reason"}
}

// Menu is the menu of t's card: the states that t can be moved to, and what it
// says while it is closed, which is the present one. There is no menu without
// states.
//
// It is on every card: the state is the desk's own workflow, as for /epm state.
// An inactive ticket is moved back with it, and one that is decided is closed
// with it when the desk has done its part; the decision stays as it is.
func (c Card) Menu(t *tickets.Ticket) (closed string, states []tickets.State) {
	if c.Moves != nil && t.Request != nil {
		states = c.Moves(t)
	}
	return "State: " + short(string(t.State), 60), states
}

// Facts are what a card tells about t's request, in the order of fields, or
// of [DefaultFields] if there are none. Facts that EPM did not send are left
// out, except those whose absence matters to a decision.
func Facts(t *tickets.Ticket, fields []string) []Fact {
	r := t.Request
	if r == nil {
		return nil
	}
	if len(fields) == 0 {
		fields = DefaultFields(r.Kind)
	}
	var out []Fact
	for _, name := range fields {
		i := slices.IndexFunc(facts, func(f fact) bool { return strings.EqualFold(f.field, strings.TrimSpace(name)) })
		if i < 0 {
			continue
		}
		def := facts[i]
		f := Fact{Field: def.field, Label: def.label, Shape: def.shape}
		switch {
		case def.time != nil && !def.time(r).IsZero():
			f.Time = def.time(r)
		case def.shape == Prose:
			f.Value = strings.TrimSpace(Visible(def.value(t, r)))
		default:
			f.Value = Line(def.value(t, r))
		}
		if f.Value != "" || !f.Time.IsZero() {
			out = append(out, f)
		}
	}
	return out
}

func orElse(values ...string) string {
	for _, v := range values {
		if strings.TrimSpace(v) != "" {
			return v
		}
	}
	return ""
}

// AskedFor is the duration that r asks for, in words; EPM's own text if it is
// not a number of seconds; empty if none was asked for.
func AskedFor(r *tickets.Request) string {
	raw := strings.TrimSpace(r.Requested)
	if d, err := tickets.ParseDuration(raw); err == nil {
		return d.String()
	}
	return raw
}

// shortHash keeps both ends of a hash, enough to compare it by eye; Details
// has it whole.
func shortHash(h string) string {
	h = strings.TrimSpace(h)
	if len(h) <= 24 || !plain(h) {
		return h
	}
	return h[:12] + "…" + h[len(h)-8:]
}

// The words of the buttons and of the form.
const (
	LabelApprove = "Approve"
	LabelDeny    = "Deny"
	LabelDetails = "Details"
	LabelCancel  = "Cancel"
	LabelClose   = "Close"
	LabelSave    = "Save"
	LabelNewer   = "Newer"
	LabelOlder   = "Older"
	LabelReason  = "Reason"
	LabelUnit    = "Duration"
	LabelQueue   = "Waiting for your decision"
	LabelHealth  = "How Countersign is"
)

// Label is the word on the button for v.
func Label(v tickets.Verdict) string {
	if v == tickets.Deny {
		return LabelDeny
	}
	return LabelApprove
}

// Units lists the units of the form with their words, in order.
func Units() []struct {
	Unit  tickets.Unit
	Label string
} {
	return []struct {
		Unit  tickets.Unit
		Label string
	}{
		{tickets.UnitOnce, "Once"},
		{tickets.UnitMinutes, fmt.Sprintf("Minutes (%d to %d)", tickets.MinMinutes, tickets.MaxMinutes)},
		{tickets.UnitHours, fmt.Sprintf("Hours (%d to %d)", tickets.MinHours, tickets.MaxHours)},
	}
}

// Amount is the label and the hint of the form's amount field for u, and
// false if u needs none.
func Amount(u tickets.Unit) (label, hint string, ok bool) {
	switch u {
	case tickets.UnitMinutes:
		return "How many minutes", fmt.Sprintf("From %d to %d", tickets.MinMinutes, tickets.MaxMinutes), true
	case tickets.UnitHours:
		return "How many hours", fmt.Sprintf("From %d to %d", tickets.MinHours, tickets.MaxHours), true
	}
	return "", "", false
}

// AmountOfAny is Amount for a form that cannot change its fields: one field
// for every unit.
func AmountOfAny() (label, hint string) {
	return "How many", fmt.Sprintf("Minutes: %d to %d. Hours: %d to %d. Once: leave it empty", tickets.MinMinutes, tickets.MaxMinutes, tickets.MinHours, tickets.MaxHours)
}

// SayQueue is above a queue; n requests wait.
func SayQueue(n int) string {
	switch n {
	case 0:
		return SayNothingWaits
	case 1:
		return "1 request waits for a decision"
	}
	return fmt.Sprintf("%d requests wait for a decision, the oldest first", n)
}

// SayNotInQueue follows SayQueue if n of the requests that wait cannot be
// decided at present, as one that is On Hold.
func SayNotInQueue(n int) string {
	is := "are"
	if n == 1 {
		is = "is"
	}
	return fmt.Sprintf("%d of them %s not listed here: nobody can decide in the present state. /%s tickets pending lists all", n, is, CommandName)
}

// SayMore is below a queue behind which n more requests wait.
func SayMore(n int) string {
	what := "requests"
	if n == 1 {
		what = "request"
	}
	return fmt.Sprintf("%s, shown here as these are decided. /%s tickets pending lists all", more(n, true, what), CommandName)
}

// SayPlaceLost tells admins that place cannot be used, and why.
func SayPlaceLost(place tickets.Place, why string) string {
	return fmt.Sprintf("Countersign cannot use %s as it should: %s. No request is lost: what is missing there is kept and shown when it works again, which Countersign tries every few minutes. "+
		"Until then, requests can be decided wherever else they are shown, and in the EPM console. "+
		"Please look whether the channel still exists and is not archived, whether the app is in it and may write there, and whether the app's token is still valid. /epm status tells how it stands.",
		PlaceName(place), strings.TrimRight(short(why, 300), ". "))
}

// SayPlaceBack tells admins that place can be used again.
func SayPlaceBack(place tickets.Place) string {
	return fmt.Sprintf("Countersign can use %s again. What was missing there is being shown now.", PlaceName(place))
}

// SayCardsGone tells admins that the cards of list in place, of requests that
// are open, were posted again once and are gone again.
func SayCardsGone(place tickets.Place, list []tickets.Number) string {
	shown := make([]string, min(len(list), 10))
	for i := range shown {
		shown[i] = string(list[i])
	}
	if n := len(list) - len(shown); n > 0 {
		shown = append(shown, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("Open requests are no longer shown in %s: %s. Their cards were deleted there, or Countersign can no longer edit them, and it does not post them again. "+
		"Decide these requests where else they are shown, in the home tab or in the EPM console; /%s tickets pending lists them. Please find out who, or which app, deletes messages there.",
		PlaceName(place), strings.Join(shown, ", "), CommandName)
}

// SayEPMDenies tells admins that EPM lets Countersign decide nothing, and why.
func SayEPMDenies(why string) string {
	return fmt.Sprintf("EPM takes no decisions from Countersign. %s. Decisions are kept and sent again every 10 minutes, all of them as soon as EPM takes one; nobody has to decide again. "+
		"When it is mended, /%s test-connection sends them at once.", capital(strings.TrimRight(short(why, 300), ". ")), CommandName)
}

// SayEPMAllows tells admins that EPM lets Countersign decide again.
func SayEPMAllows() string {
	return "EPM takes decisions from Countersign again. Those that waited are being sent now."
}

// PlaceName is what people call p, as far as its identifier tells.
func PlaceName(p tickets.Place) string {
	return fmt.Sprintf("channel %s on %s", short(p.Channel, 40), PlatformName(p.Platform))
}
