package bot

import (
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// misplaced returns "" if what was clicked shows the request of t, in a place
// where t was shown, else the sentence that says why nothing is done. A number
// alone says little: after a restore it is given out again, and another
// installation of the same app has tickets of the same numbers, whose clicks
// may be delivered here. That more is known of the request since is no reason:
// see [tickets.ErrMoreKnown].
func misplaced(c adapters.Click, t *tickets.Ticket) string {
	switch {
	case c.Digest == "":
		return sayOldButton
	case errors.Is(c.Digest.Check(t.Request), tickets.ErrOtherRequest):
		return adapters.SayOtherRequest
	case !c.Private && !t.ShownIn(c.Place):
		return adapters.SayNotShownHere
	}
	return ""
}

// anew is the form with values, for a request of which more is known than the
// person has seen.
func anew(t *tickets.Ticket, v tickets.Verdict, values tickets.Form, problems tickets.Problems) adapters.Form {
	all := tickets.Problems{}
	for field, say := range problems {
		all[field] = say
	}
	all[tickets.FieldReason] = adapters.SayMoreKnown
	return adapters.Form{Ticket: t, Verdict: v, Values: values, Problems: all}
}
