package commands

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/tickets"
)

// confirmed are the settings of which a change may have to be confirmed, after
// what it means has been said.
var confirmed = []string{tickets.KeyTicketType, tickets.KeyActiveStates, tickets.KeyAssignmentGroup}

const (
	yes = "yes"

	sayConfirmInWords = "If that is what you want, send it again with yes at the end."
	sayConfirmInForm  = "If that is what you want, choose yes in the first field and save again."
)

// cutYes takes the word yes off the end of a value that was typed for key.
func (e editor) cutYes(key, value string) (rest string, sure bool) {
	words := strings.Fields(value)
	if !slices.Contains(confirmed, key) || len(words) < 2 || !strings.EqualFold(words[len(words)-1], yes) {
		return value, false
	}
	list := settings.Items(value)
	last := list[len(list)-1]
	for _, t := range e.Settings.Registry.Types { // a name may end in yes
		if _, named := t.FindState(last); named || strings.EqualFold(t.Name, last) {
			return value, false
		}
	}
	return strings.Join(words[:len(words)-1], " "), true
}

// confirmKey is the key of the field that answers ask in the form of the
// settings: a yes is an answer to what was asked, and to nothing else.
func confirmKey(ask string) string {
	sum := sha256.Sum256([]byte(ask))
	return "confirm-" + hex.EncodeToString(sum[:8])
}

// confirmField is that field.
func confirmField(ask string) adapters.Setting {
	return adapters.Setting{Key: confirmKey(ask), Label: "Save it all the same?", Help: "Choose yes if what is written above is what you want", Options: []string{yes}}
}
