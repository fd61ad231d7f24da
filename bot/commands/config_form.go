package commands

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/tickets"
)

// formHistory is how many changes of the settings a form may be behind.
const formHistory = 500

const sayFormTooOld = "The settings are others than when this form was opened. It shows now what they are: please look at them, and change them again."

// form is the form of the settings as they are.
func (e editor) form(ctx context.Context) adapters.Answer {
	text, ok := e.show(ctx)
	if !ok {
		return adapters.Note{Text: text}
	}
	return e.formOf(e.Settings.Stored(), text, nil, nil)
}

// formOf is the form of set. What was typed stands in place of what is set.
func (e editor) formOf(set tickets.Settings, text string, typed, problems map[string]string) adapters.Settings {
	now, broken := e.Settings.Of(set)
	out := adapters.Settings{Text: text, Version: set.Version}
	for _, key := range tickets.SettingKeys() {
		help := settings.Help(key)
		f := adapters.Setting{Key: key, Label: labelOf(key), Help: strings.ToUpper(help[:1]) + help[1:], Value: now.Show(key), Problem: problems[key]}
		f.Options, f.Many = settings.Options(key, &now, e.Settings.Registry)
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

// submit saves what somebody has changed
// in the form, all in one change. What others have changed since it was opened
// stays, or is shown before it is overwritten.
func (e editor) submit(ctx context.Context, c adapters.Configuration) adapters.Answer {
	if err := e.Settings.Ensure(ctx); err != nil {
		e.Log.Error("cannot read the settings", "err", err)
		return adapters.Note{Text: wording.MsgStoreAway, Retryable: true}
	}
	if no := e.Deliveries.First(ctx, c.Actor, c.Delivery); no != nil {
		return *no
	}
	if no := e.Access.Administer(ctx, c.Actor); no != nil {
		e.Audit.LogDenied(c.Actor, "", no.Reason)
		return adapters.Note{Text: no.Text, Retryable: no.Retryable}
	}
	changes, err := e.Store.Changes(ctx, formHistory)
	if err != nil {
		e.Log.Error("cannot read the changes of the settings", "err", err)
		return adapters.Note{Text: wording.MsgStoreAway, Retryable: true}
	}
	var again *adapters.Settings // to be sent once more
	var now tickets.Settings
	touched := map[string]string{}
	sure := func(ask string) bool { return c.Values[confirmKey(ask)] == yes }
	saved := e.change(ctx, c.Actor, func(set tickets.Settings) (map[string]*string, bool) {
		now = set
		if newest := int64(0); set.Version != c.Version {
			if len(changes) > 0 {
				newest = changes[0].Version
			}
			if newest < set.Version { // changed since they were read
				if list, err := e.Store.Changes(ctx, formHistory); err == nil {
					changes = list
				}
			}
		}
		then, since, ok := before(set, changes, c.Version)
		if !ok {
			f := e.formOf(set, sayFormTooOld, nil, nil)
			f.Problem = sayFormTooOld
			again = &f
			return nil, false
		}
		values := e.touched(then, c.Values)
		touched = maps.Clone(c.Values)
		maps.DeleteFunc(touched, func(key, _ string) bool { return values[key] == nil })
		if problems := e.overtaken(set, since, values); len(problems) > 0 {
			f := e.formOf(set, "", touched, problems)
			again = &f
			return nil, false
		}
		if problems := e.unusable(set, values); len(problems) > 0 {
			f := e.formOf(set, "", touched, problems)
			f.Version = c.Version // the form that was sent can be corrected
			again = &f
			return nil, false
		}
		return values, true
	}, sure)
	switch {
	case again != nil:
		return *again
	case saved.done || len(touched) == 0 || saved.again:
		return adapters.Note{Text: saved.say, Retryable: saved.again}
	}
	f := e.formOf(now, saved.say, touched, nil)
	f.Version, f.Problem = c.Version, saved.say
	if saved.ask != "" {
		f.Problem += " " + sayConfirmInForm
		f.Fields = slices.Insert(f.Fields, 0, confirmField(saved.ask))
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
func (e editor) touched(then tickets.Settings, values map[string]string) map[string]*string {
	shown, _ := e.Settings.Of(then)
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
func (e editor) overtaken(set tickets.Settings, since map[string]tickets.Change, values map[string]*string) map[string]string {
	now, _ := e.Settings.Of(set)
	problems := map[string]string{}
	for key, value := range values {
		if c, changed := since[key]; changed && now.Show(key) != *value {
			problems[key] = fmt.Sprintf("Since you opened this, %s has set this to %s. If you save again, what stands here counts", sayBy(c.By), sayValue(now.Show(key)))
		}
	}
	return problems
}

// unusable says by key what is wrong with values.
func (e editor) unusable(set tickets.Settings, values map[string]*string) map[string]string {
	_, broken := e.Settings.Of(set.With(settings.Changes(set, values)))
	problems := map[string]string{}
	for key := range values {
		if err := broken[key]; err != nil {
			problems[key] = strings.ToUpper(err.Error()[:1]) + err.Error()[1:]
		}
	}
	return problems
}
