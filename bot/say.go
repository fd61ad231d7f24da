package bot

import (
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// What the bot alone can say to the person who acted. The other words are in
// adapters, those of the rules in tickets.
const (
	sayOldButton = "I do not know this button any more. Please use the buttons of the newest message about the request."
	sayStoreAway = "I cannot reach my store at the moment, and nothing was changed. Please try again in a minute."
)

// sayUndecidable says why t cannot be decided: the sentence of the rule, and
// who was faster.
func sayUndecidable(t *tickets.Ticket, err error) string {
	switch {
	case errors.Is(err, tickets.ErrDecided):
		return adapters.SayDecided(t) + ". The decision is on its way to EPM."
	case errors.Is(err, tickets.ErrFinal) && t.Decision != nil:
		return tickets.SayFinal + ". " + adapters.SayDecided(t) + "."
	case errors.Is(err, tickets.ErrFinal):
		return tickets.SayFinal + ". " + adapters.Status(t).String() + "."
	case errors.Is(err, tickets.ErrInactive):
		return tickets.SayInactive
	}
	return "This request cannot be decided: " + err.Error()
}
