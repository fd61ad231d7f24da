package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
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

// Recent gives the stored forms of up to limit changes of the settings, newest
// first.
type Recent func(limit int) ([][]byte, error)

// allChanges is more than there are.
const allChanges = math.MaxInt32

// chain makes changes follow the ones that there are.
func chain(changes []tickets.Change, recent Recent) error {
	n, hash, err := endOf(recent)
	if err != nil {
		return err
	}
	for i := range changes {
		c := &changes[i]
		n++
		c.N, c.Hash = n, ""
		doc, err := json.Marshal(c)
		if err != nil {
			return err
		}
		hash = linkChange(hash, doc)
		c.Hash = hash
	}
	return nil
}

// endOf is how many changes there are, and the hash of the last.
func endOf(recent Recent) (n int, hash string, err error) {
	docs, err := recent(1)
	if err != nil {
		return 0, "", err
	}
	if len(docs) == 1 {
		if c, err := DecodeChange(docs[0]); err == nil && c.Hash != "" {
			return c.N, c.Hash, nil
		}
		// It is damaged.
		if docs, err = recent(allChanges); err != nil {
			return 0, "", err
		}
	}
	hash = tickets.ChangesRoot()
	for _, doc := range slices.Backward(docs) {
		n++
		if c, err := DecodeChange(doc); err == nil && c.Hash != "" {
			n, hash = c.N, c.Hash
		} else {
			hash = linkChange(hash, doc)
		}
	}
	return n, hash, nil
}

// linkChange is the hash of a change's stored form, also of one that cannot be
// read.
func linkChange(before string, doc []byte) string {
	h, err := tickets.Link(before, doc)
	if err != nil {
		return tickets.Digest(slices.Concat([]byte(before), []byte("\n"), doc))
	}
	return h
}

// ApplyChanges is what settings, in their stored form or empty, become by
// changes, which get the new version and are chained to the recent ones. It
// returns the stored forms to write. ErrChanged if the settings are not of
// version from.
func ApplyChanges(stored []byte, from int64, changes []tickets.Change, recent Recent) (after tickets.Settings, doc []byte, docs [][]byte, err error) {
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
	if err = chain(changes, recent); err != nil {
		return after, nil, nil, err
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

// CompareSettings is what becomes of settings that are to be restored where
// others, in their stored form or empty, stand: they are copied to where none
// are, and else left.
func CompareSettings(s tickets.Settings, stored []byte) (Restored, error) {
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
		return tickets.Settings{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case f.V < 1 || f.Version < 1:
		return tickets.Settings{}, fmt.Errorf("%w: no version", ErrCorrupt)
	}
	return f.Settings, nil
}

// recentChanges is how many changes are looked at for the version that damaged
// settings had.
const recentChanges = 20

// ResetDamaged is what settings that are damaged, in their stored form, become by c:
// none. The recent changes tell the version that there was. It returns the
// stored forms to write. ErrChanged if they are not damaged.
func ResetDamaged(stored []byte, c tickets.Change, recent Recent) (after tickets.Settings, doc []byte, docs [][]byte, err error) {
	if _, err := DecodeSettings(stored); !errors.Is(err, ErrCorrupt) {
		return tickets.Settings{}, nil, nil, ErrChanged
	}
	last, err := recent(recentChanges)
	if err != nil {
		return tickets.Settings{}, nil, nil, err
	}
	after.Version = 1
	for _, doc := range last {
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
	changes := []tickets.Change{c}
	if err = chain(changes, recent); err != nil {
		return tickets.Settings{}, nil, nil, err
	}
	doc, docs, err = EncodeSettings(after, changes)
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
