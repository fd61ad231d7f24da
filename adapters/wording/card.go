package wording

import (
	"github.com/countersign/countersign/tickets"
)

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
	if c.Console == nil || msgNobody(t) == "" {
		return ""
	}
	return c.Console(t.Request)
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
