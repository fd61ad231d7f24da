package store

import (
	"encoding/json"
	"errors"
	"fmt"

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
	if doc, err = json.Marshal(settingsForm{FormVersion, after}); err != nil {
		return tickets.Settings{}, nil, nil, err
	}
	for i := range changes {
		changes[i].Version = after.Version
		change, err := json.Marshal(changes[i])
		if err != nil {
			return tickets.Settings{}, nil, nil, err
		}
		docs = append(docs, change)
	}
	return after, doc, docs, nil
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
