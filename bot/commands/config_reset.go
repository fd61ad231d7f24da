package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	sayNothingSet     = "Nothing to change: every setting is as the program was started with."
	sayResetAsks      = "Nothing was changed yet. /epm config reset yes changes this, /epm config reset KEY one setting alone:"
	sayResetAsksBlind = "Nothing was changed yet. The settings in my store are damaged, so that I cannot tell what is set in them. /epm config reset yes makes every setting what the program was started with, and keeps what stands there in the history."
)

// reset takes settings back to what the program was started with: one,
// which a yes may have to confirm, or after a yes all. Without either it says
// what would change.
func (e editor) reset(ctx context.Context, by tickets.Actor, words []string) string {
	set, err := e.Store.Settings(ctx)
	damaged := errors.Is(err, store.ErrCorrupt)
	if err != nil && !damaged {
		e.Log.Error("cannot read the settings", "err", err)
		return wording.MsgStoreAway
	}
	all := len(words) == 1 && strings.EqualFold(words[0], yes)
	switch {
	case len(words) == 0 && damaged:
		return sayResetAsksBlind
	case all && damaged:
		return e.resetDamaged(ctx, by)
	case damaged:
		return wording.MsgDamagedSettings
	case all:
		values := settings.ReplaceAll(set, nil)
		if len(values) == 0 {
			return sayNothingSet
		}
		return e.configure(ctx, by, values, true)
	case len(words) == 0:
		return e.sayReset(ctx, by, set)
	}
	key := strings.ToLower(words[0])
	_, isSet := set.Values[key] // perhaps by a later version
	switch {
	case !isSet && !slices.Contains(tickets.SettingKeys(), key):
		return noSetting(key)
	case !isSet:
		return fmt.Sprintf("Nothing to change: %s is as the program was started with.", key)
	}
	return e.configure(ctx, by, map[string]*string{key: nil}, len(words) > 1)
}

// sayReset says what a reset of all of set would change, or why it would not be
// done.
func (e editor) sayReset(ctx context.Context, by tickets.Actor, set tickets.Settings) string {
	values := settings.ReplaceAll(set, nil)
	if len(values) == 0 {
		return sayNothingSet
	}
	changes, does, ask, problems := settings.PlanChanges(e.Settings.Start, e.Settings.Registry, set, values)
	if len(problems) > 0 {
		return problems[0]
	}
	if no := e.locksOut(ctx, by, set, changes); no != "" {
		return no
	}
	lines := []string{sayResetAsks}
	for _, d := range does {
		lines = append(lines, fmt.Sprintf("%s: %s, now %s.", d.Key, sayValue(d.After), sayValue(d.Before)))
	}
	if ask != "" {
		lines = append(lines, "After that: "+ask)
	}
	return strings.Join(lines, "\n")
}

// resetDamaged begins damaged settings anew: with what the program was
// started with. What stood there is kept in the history.
func (e editor) resetDamaged(ctx context.Context, by tickets.Actor) string {
	none := tickets.Settings{}
	if no := e.locksOut(ctx, by, none, []tickets.Change{{Key: tickets.KeyAdmins}}); no != "" {
		return no
	}
	switch err := e.Settings.Reset(ctx, by); {
	case errors.Is(err, store.ErrChanged):
		return "Somebody else has just changed the settings. Please look at /epm config."
	case err != nil:
		e.Log.Error("cannot reset the settings", "err", err)
		return wording.MsgStoreAway
	}
	return "The settings in the store could not be read. Every setting is as the program was started with again. " +
		"What stood there is kept: countersign settings export --history prints it."
}
