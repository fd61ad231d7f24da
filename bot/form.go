package bot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// formHistory is how many changes of the settings a form may be behind.
const formHistory = 500

const sayFormTooOld = "The settings are others than when this form was opened. It shows now what they are: please look at them, and change them again."

// settingsForm is the form of the settings as they are.
func (b *Bot) settingsForm(ctx context.Context) adapters.Answer {
	text, ok := b.showConfig(ctx)
	if !ok {
		return adapters.Note{Text: text}
	}
	return b.formOf(b.set.Load().stored, text, nil, nil)
}

// formOf is the form of set. What was typed stands in place of what is set.
func (b *Bot) formOf(set tickets.Settings, text string, typed, problems map[string]string) adapters.Settings {
	now, broken := Effective(b.Config.Settings, set, b.Registry)
	out := adapters.Settings{Text: text, Version: set.Version}
	for _, key := range tickets.SettingKeys() {
		i := slices.IndexFunc(settings, func(one setting) bool { return one.key == key })
		f := adapters.Setting{Key: key, Label: labelOf(key), Help: strings.ToUpper(settings[i].help[:1]) + settings[i].help[1:], Value: now.Show(key), Problem: problems[key]}
		f.Options, f.Many = b.options(key, &now)
		if v, ok := typed[key]; ok {
			f.Value = v
		} else if err := broken[key]; err != nil && f.Problem == "" {
			f.Problem = fmt.Sprintf("What was set cannot be used: %s", err)
		}
		out.Fields = append(out.Fields, f)
	}
	return out
}

// labelOf is key for people: "Active states".
func labelOf(key string) string {
	key = strings.ReplaceAll(key, "_", " ")
	return strings.ToUpper(key[:1]) + key[1:]
}

// options are the values that a setting can have beside s, nil if they cannot
// be counted, and whether it can have several.
func (b *Bot) options(key string, s *Settings) (values []string, many bool) {
	switch key {
	case tickets.KeyTicketType:
		for _, t := range b.Registry.Types {
			values = append(values, t.Name)
		}
	case tickets.KeyActiveStates:
		for _, state := range s.Rules.Type.States {
			values = append(values, string(state))
		}
		return values, true
	case tickets.KeyAutoClose:
		values = []string{"true", "false"}
	case tickets.KeySelfApproval:
		values = []string{"deny", "allow"}
	}
	return values, false
}

// SubmitSettings implements [adapters.Handler]: it saves what somebody has changed
// in the form, all in one change. What others have changed since it was opened
// stays, or is shown before it is overwritten.
func (b *Bot) SubmitSettings(ctx context.Context, c adapters.Configuration) adapters.Answer {
	if err := b.ensure(ctx); err != nil {
		b.Log.Error("cannot read the settings", "err", err)
		return adapters.Note{Text: sayStoreAway, Again: true}
	}
	if no := b.once(ctx, c.Actor, c.Delivery); no != nil {
		return *no
	}
	if no := b.mayAdmin(ctx, c.Actor); no != "" {
		b.refused(c.Actor, "", no)
		return adapters.Note{Text: no, Again: inDoubt(no)}
	}
	changes, err := b.Store.Changes(ctx, formHistory)
	if err != nil {
		b.Log.Error("cannot read the changes of the settings", "err", err)
		return adapters.Note{Text: sayStoreAway, Again: true}
	}
	var again *adapters.Settings // to be sent once more
	var now tickets.Settings
	touched := map[string]string{}
	sure := func(ask string) bool { return c.Values[confirmKey(ask)] == yes }
	say, ask, done := b.change(ctx, c.Actor, func(set tickets.Settings) (map[string]*string, bool) {
		now = set
		if newest := int64(0); set.Version != c.Version {
			if len(changes) > 0 {
				newest = changes[0].Version
			}
			if newest < set.Version { // changed since they were read
				if list, err := b.Store.Changes(ctx, formHistory); err == nil {
					changes = list
				}
			}
		}
		then, since, ok := before(set, changes, c.Version)
		if !ok {
			f := b.formOf(set, sayFormTooOld, nil, nil)
			f.Problem = sayFormTooOld
			again = &f
			return nil, false
		}
		values := b.touched(then, c.Values)
		touched = maps.Clone(c.Values)
		maps.DeleteFunc(touched, func(key, _ string) bool { return values[key] == nil })
		if problems := b.overtaken(set, since, values); len(problems) > 0 {
			f := b.formOf(set, "", touched, problems)
			again = &f
			return nil, false
		}
		if problems := b.unusable(set, values); len(problems) > 0 {
			f := b.formOf(set, "", touched, problems)
			f.Version = c.Version // the form that was sent can be corrected
			again = &f
			return nil, false
		}
		return values, true
	}, sure)
	switch {
	case again != nil:
		return *again
	case done || len(touched) == 0 || say == sayStoreAway:
		return adapters.Note{Text: say, Again: say == sayStoreAway}
	}
	f := b.formOf(now, say, touched, nil)
	f.Version, f.Problem = c.Version, say
	if ask != "" {
		f.Problem += " " + sayConfirmInForm
		f.Fields = slices.Insert(f.Fields, 0, confirmField(ask))
	}
	return f
}

// before is set as it was at version, and what was changed since by key, newest
// first. It reports false if that is not known.
func before(set tickets.Settings, changes []tickets.Change, version int64) (then tickets.Settings, since map[string]tickets.Change, ok bool) {
	then = tickets.Settings{Version: version, Values: maps.Clone(set.Values)}
	if then.Values == nil {
		then.Values = map[string]string{}
	}
	since = map[string]tickets.Change{}
	at := set.Version
	for _, c := range changes {
		if c.Version > set.Version || c.Version <= version {
			continue
		}
		if c.Version < at-1 {
			return then, nil, false // some are missing
		}
		at = c.Version
		if _, known := since[c.Key]; !known {
			since[c.Key] = c
		}
		if c.Old != nil {
			then.Values[c.Key] = *c.Old
		} else {
			delete(then.Values, c.Key)
		}
	}
	return then, since, version == set.Version || version >= 0 && version < set.Version && at == version+1
}

// touched is what somebody has changed in a form that showed then.
func (b *Bot) touched(then tickets.Settings, values map[string]string) map[string]*string {
	shown, _ := Effective(b.Config.Settings, then, b.Registry)
	out := map[string]*string{}
	for key, value := range values {
		value = strings.TrimSpace(value)
		if slices.Contains(tickets.SettingKeys(), key) && value != shown.Show(key) {
			out[key] = &value
		}
	}
	return out
}

// overtaken says by key what others have set meanwhile, where values would
// overwrite it.
func (b *Bot) overtaken(set tickets.Settings, since map[string]tickets.Change, values map[string]*string) map[string]string {
	now, _ := Effective(b.Config.Settings, set, b.Registry)
	problems := map[string]string{}
	for key, value := range values {
		if c, changed := since[key]; changed && now.Show(key) != *value {
			problems[key] = fmt.Sprintf("Since you opened this, %s has set this to %s. If you save again, what stands here counts", sayBy(c.By), sayValue(now.Show(key)))
		}
	}
	return problems
}

// unusable says by key what is wrong with values.
func (b *Bot) unusable(set tickets.Settings, values map[string]*string) map[string]string {
	_, broken := Effective(b.Config.Settings, set.With(asChanges(set, values)), b.Registry)
	problems := map[string]string{}
	for key := range values {
		if err := broken[key]; err != nil {
			problems[key] = strings.ToUpper(err.Error()[:1]) + err.Error()[1:]
		}
	}
	return problems
}
