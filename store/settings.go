package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/countersign/countersign/tickets"
)

// settingsForm is the stored form of settings; see form.
type settingsForm struct {
	V int `json:"v"`
	tickets.Settings
}

// Configured is what settings, in their stored form or empty, become by
// changes, which get the new version. It returns the stored forms to write.
// ErrChanged if the settings are not of version from.
func Configured(stored []byte, from int64, changes []tickets.Change) (after tickets.Settings, doc []byte, docs [][]byte, err error) {
	before, err := DecodeSettings(stored)
	if err != nil {
		return tickets.Settings{}, nil, nil, err
	}
	if before.Version != from {
		return before, nil, nil, ErrChanged
	}
	after = before.With(changes)
	for i := range changes {
		changes[i].Version = after.Version
	}
	doc, docs, err = EncodeSettings(after, changes)
	return after, doc, docs, err
}

// EncodeSettings is the stored form of settings and of each change.
func EncodeSettings(s tickets.Settings, changes []tickets.Change) (doc []byte, docs [][]byte, err error) {
	if doc, err = json.Marshal(settingsForm{FormVersion, s}); err != nil {
		return nil, nil, err
	}
	for _, c := range changes {
		change, err := json.Marshal(c)
		if err != nil {
			return nil, nil, err
		}
		docs = append(docs, change)
	}
	return doc, docs, nil
}

// WeighSettings is what becomes of settings that are to be restored where
// others, in their stored form or empty, stand: they are copied to where none
// are, and else left.
func WeighSettings(s tickets.Settings, stored []byte) (Restored, error) {
	have, err := DecodeSettings(stored)
	switch {
	case err != nil:
		return Refused, err
	case len(stored) == 0:
		return Copied, nil
	case have.Version == s.Version && maps.Equal(have.Values, s.Values):
		return Same, nil
	}
	return Further, nil
}

// DecodeSettings reads the stored form of settings; an empty one is of none.
func DecodeSettings(b []byte) (tickets.Settings, error) {
	if len(b) == 0 {
		return tickets.Settings{}, nil
	}
	var f settingsForm
	if err := json.Unmarshal(b, &f); err != nil {
		return tickets.Settings{}, fmt.Errorf("stored settings: %w", err)
	}
	switch {
	case f.V > FormVersion:
		return tickets.Settings{}, fmt.Errorf("stored settings: %w", ErrNewerForm)
	case f.V < 1 || f.Version < 1:
		return tickets.Settings{}, errors.New("stored settings: no version")
	}
	return f.Settings, nil
}

// DecodeChange reads the stored form of a change.
func DecodeChange(b []byte) (tickets.Change, error) {
	var c tickets.Change
	if err := json.Unmarshal(b, &c); err != nil {
		return tickets.Change{}, fmt.Errorf("stored change: %w", err)
	}
	return c, nil
}
