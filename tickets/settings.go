package tickets

import (
	"maps"
	"time"
)

// The keys of the settings.
const (
	KeyTicketType       = "ticket_type"
	KeyActiveStates     = "active_states"
	KeyShortDescription = "short_description"
	KeyAssignmentGroup  = "assignment_group"
	KeyCategory         = "category"
	KeyAutoClose        = "auto_close"
	KeyApprovers        = "approvers"
	KeyAdmins           = "admins"
	KeyChannels         = "channels"
	KeyFields           = "fields"
	KeySelfApproval     = "self_approval"
)

// KeyDamaged stands in a [Change] for all settings together: they could not be
// read, and its Old is the text that stood there. It is no setting.
const KeyDamaged = "damaged"

// SettingKeys lists the keys in the order in which settings are shown.
func SettingKeys() []string {
	return []string{
		KeyTicketType, KeyActiveStates, KeyShortDescription, KeyAssignmentGroup, KeyCategory, KeyAutoClose,
		KeyApprovers, KeyAdmins, KeyChannels, KeyFields, KeySelfApproval,
	}
}

// Settings is what admins have set at run time: text by key. A key that is
// missing has the value that the program was started with.
type Settings struct {
	Version int64             `json:"version"` // counts the changes; 0 if there was none
	Values  map[string]string `json:"values,omitempty"`
}

// With is s after changes.
func (s Settings) With(changes []Change) Settings {
	after := Settings{Version: s.Version + 1, Values: maps.Clone(s.Values)}
	if after.Values == nil {
		after.Values = map[string]string{}
	}
	for _, c := range changes {
		if c.New == nil {
			delete(after.Values, c.Key)
		} else {
			after.Values[c.Key] = *c.New
		}
	}
	return after
}

// Change is one setting changed by somebody. Changes are chained like the
// events of a ticket: see [Link] and [ChangesRoot].
type Change struct {
	N       int       `json:"n,omitempty"` // its place in the history, from 1
	Version int64     `json:"version"`     // of the settings that it made
	At      time.Time `json:"at"`
	By      Actor     `json:"by"` // empty for the operator, at the command line
	Key     string    `json:"key"`
	Old     *string   `json:"old,omitempty"` // nil: the value that the program was started with
	New     *string   `json:"new,omitempty"`
	Hash    string    `json:"hash,omitempty"`
}
