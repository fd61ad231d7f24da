package tickets

import (
	"slices"

	"github.com/countersign/countersign/tickets/selfcheck"
)

// Undecidable says why nobody here can decide a request that waits; empty if
// somebody may be able to. It is recorded in the ticket, because a card is a
// function of that.
type Undecidable string

// Why nobody can.
const (
	NoApprovers  Undecidable = "no_approvers"  // nobody is named who may
	UnknownAsker Undecidable = "unknown_asker" // it is not known who asks, so that it may be anybody's own request
	IsDamaged    Undecidable = "damaged"       // its record was changed by something else than Countersign
)

// whyNobody is why nobody can decide t under rules.
func (t *Ticket) whyNobody(rules Rules) Undecidable {
	if t.Progress() == Pending && t.Damaged() {
		return IsDamaged
	}
	return t.nobodyUnder(rules)
}

// nobodyUnder is why rules let nobody decide t.
func (t *Ticket) nobodyUnder(rules Rules) Undecidable {
	switch {
	case t.Progress() != Pending:
		return ""
	case rules.NoApprovers:
		return NoApprovers
	case rules.OwnRefused && t.Request.CompareRequester(selfcheck.Identity{}).Asked == "":
		return UnknownAsker
	}
	return ""
}

// Follows reports whether t offers its decision as the rules have it: whether
// it is active, and whether anybody can decide it. [Ticket.Move] to its own
// state makes it so.
func (t *Ticket) Follows(rules Rules) bool {
	return t.Active == slices.Contains(rules.Active, t.State) && t.Undecidable == t.whyNobody(rules)
}
