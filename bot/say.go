package bot

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// What the bot alone can say to the person who acted. The other words are in
// adapters, those of the rules in tickets.
const (
	sayOldButton = "I do not know this button any more. Please use the buttons of the newest message about the request."
	sayStoreAway = "I cannot reach my store at the moment, and nothing was changed. Please try again in a minute."
)

// sayOut says that a place is out of use.
func sayOut(o Outage) string {
	var not []string
	for _, kind := range o.Steps {
		switch kind {
		case tickets.StepPost:
			not = append(not, "new requests are not shown")
		case tickets.StepEdit:
			not = append(not, "messages are not updated")
		case tickets.StepReply:
			not = append(not, "threads are not continued")
		}
	}
	return fmt.Sprintf("Out of use since %s: %s (%s): %s. Requests waiting for it: %d.",
		adapters.Moment(o.Since), adapters.PlaceName(o.Place), strings.Join(not, ", "), o.Why, o.Waiting)
}
