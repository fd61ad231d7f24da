package wording

import (
	"fmt"

	"github.com/countersign/countersign/tickets"
)

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
