package wording

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// MsgPlaceLost tells admins that place cannot be used, and why.
func MsgPlaceLost(place tickets.Place, why string) string {
	return fmt.Sprintf("Countersign cannot use %s as it should: %s. No request is lost: what is missing there is kept and shown when it works again, which Countersign tries every few minutes. "+
		"Until then, requests can be decided wherever else they are shown, and in the EPM console. "+
		"Please look whether the channel still exists and is not archived, whether the app is in it and may write there, and whether the app's token is still valid. /epm status tells how it stands.",
		PlaceName(place), strings.TrimRight(short(why, 300), ". "))
}

// MsgPlaceBack tells admins that place can be used again.
func MsgPlaceBack(place tickets.Place) string {
	return fmt.Sprintf("Countersign can use %s again. What was missing there is being shown now.", PlaceName(place))
}

// MsgCardsGone tells admins that the cards of list in place, of requests that
// are open, were posted again once and are gone again.
func MsgCardsGone(place tickets.Place, list []tickets.Number) string {
	shown := make([]string, min(len(list), 10))
	for i := range shown {
		shown[i] = string(list[i])
	}
	if n := len(list) - len(shown); n > 0 {
		shown = append(shown, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("Open requests are no longer shown in %s: %s. Their cards were deleted there, or Countersign can no longer edit them, and it does not post them again. "+
		"Decide these requests where else they are shown, in the home tab or in the EPM console; /%s tickets pending lists them. Please find out who, or which app, deletes messages there.",
		PlaceName(place), strings.Join(shown, ", "), adapters.CommandName)
}

// MsgEPMDenies tells admins that EPM lets Countersign decide nothing, and why.
func MsgEPMDenies(why string) string {
	return fmt.Sprintf("EPM takes no decisions from Countersign. %s. Decisions are kept and sent again every 10 minutes, all of them as soon as EPM takes one; nobody has to decide again. "+
		"When it is mended, /%s test-connection sends them at once.", capital(strings.TrimRight(short(why, 300), ". ")), adapters.CommandName)
}

// MsgEPMAllows tells admins that EPM lets Countersign decide again.
func MsgEPMAllows() string {
	return "EPM takes decisions from Countersign again. Those that waited are being sent now."
}
