package wording

import (
	"slices"

	"github.com/countersign/countersign/tickets"
)

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
		return text(msgDenied(short(e.Text, 300)))
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
