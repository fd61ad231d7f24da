package wording

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/tickets"
)

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
			return append(s, text(", not accepted by EPM yet. "+msgDenied(p))...)
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

// msgDenied is why EPM does not let Countersign decide, and what becomes of
// the decision.
func msgDenied(why string) string {
	return capital(strings.TrimRight(why, ". ")) + ". The decision is kept and sent again every 10 minutes; nobody has to decide again"
}

// DecisionReason is the reason that was given with the decision on t, or empty.
func DecisionReason(t *tickets.Ticket) string {
	if t.Decision == nil {
		return ""
	}
	return t.Decision.Reason
}

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
			s += " " + MsgImitates + "."
		}
	}
	return s
}

// Warning is a line that must be read before anything else on the card, or
// empty.
func Warning(t *tickets.Ticket) string {
	var lines []string
	if warned(t) {
		lines = append(lines, "⚠ "+MsgImitates)
	}
	if t.Open() && t.AcceptedBy().ID != "" {
		lines = append(lines, "⚠ "+MsgAcceptedDamage)
	}
	if say := msgNobody(t); say != "" {
		lines = append(lines, "⚠ "+say)
	}
	return strings.Join(lines, "\n")
}

// msgNobody says why nobody here can decide t while it waits, or "".
func msgNobody(t *tickets.Ticket) string {
	waits := t.Progress() == tickets.Pending
	switch {
	case (waits || t.Progress() == tickets.Submitting) && t.Damaged():
		return MsgDamaged
	case !waits, t.Undecidable == "":
		return ""
	case t.Undecidable == tickets.NoApprovers:
		return MsgNobodyNamed
	}
	return MsgNobodyMay
}

func warned(t *tickets.Ticket) bool {
	return (t.Request != nil && t.Request.SuspectedForgery) || (t.Outcome != nil && t.Outcome.Imitates)
}

// ListLine is t on one line of a list for readers on platform on, in at most 260
// characters.
func ListLine(t *tickets.Ticket, on tickets.Platform) string {
	return fmt.Sprintf("%s %s · %s · %s", Emoji(t), t.Number, short(Subject(t), 110), short(Status(t).On(on), 110))
}
