package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"unicode/utf8"

	"github.com/countersign/countersign/tickets"
)

// settingsVersion is the version of the stored form of settings.
const settingsVersion = 1

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
	if doc, err = json.Marshal(settingsForm{settingsVersion, s}); err != nil {
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
	err := json.Unmarshal(b, &f)
	switch {
	case newerForm(b, settingsVersion):
		return tickets.Settings{}, fmt.Errorf("stored settings: %w", ErrNewerForm)
	case err != nil:
		return tickets.Settings{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	case f.V < 1 || f.Version < 1:
		return tickets.Settings{}, fmt.Errorf("%w: no version", ErrDamaged)
	}
	return f.Settings, nil
}

// Mended is what settings that are damaged, in their stored form, become by c:
// none. recent are the newest changes in their stored forms, newest first,
// which tell the version that there was. It returns the stored forms to write.
// ErrChanged if they are not damaged.
func Mended(stored []byte, recent [][]byte, c tickets.Change) (after tickets.Settings, doc []byte, docs [][]byte, err error) {
	if _, err := DecodeSettings(stored); !errors.Is(err, ErrDamaged) {
		return tickets.Settings{}, nil, nil, ErrChanged
	}
	after.Version = 1
	for _, doc := range recent {
		if last, err := DecodeChange(doc); err == nil {
			after.Version = last.Version + 1
			break
		}
	}
	old := string(stored)
	if !utf8.Valid(stored) {
		old = strconv.Quote(old) // JSON would replace what is no text
	}
	c.Version, c.Key, c.Old, c.New = after.Version, tickets.KeyDamaged, &old, nil
	doc, docs, err = EncodeSettings(after, []tickets.Change{c})
	return after, doc, docs, err
}

// DecodeChange reads the stored form of a change.
func DecodeChange(b []byte) (tickets.Change, error) {
	var c tickets.Change
	if err := json.Unmarshal(b, &c); err != nil {
		return tickets.Change{}, fmt.Errorf("stored change: %w", err)
	}
	return c, nil
}
