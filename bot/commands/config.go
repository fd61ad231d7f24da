package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// editor shows and changes the settings.
type editor struct{ *Config }

// configure makes changes to the settings, by key; nil takes a setting back
// to what the program was started with. Whoever is sure need not be asked. It
// returns what to say.
func (e editor) configure(ctx context.Context, by tickets.Actor, values map[string]*string, sure bool) string {
	done := e.change(ctx, by, func(tickets.Settings) (map[string]*string, bool) { return values, true }, func(string) bool { return sure })
	if done.ask != "" {
		return done.say + "\n" + sayConfirmInWords
	}
	return done.say
}

// changed is what came of a change of the settings.
type changed struct {
	say   string // to the person
	ask   string // what has to be meant before, if it was not made for that
	done  bool   // it was made
	again bool   // the store did not answer: the same may be tried again
}

// change makes the changes that plan wants to the settings as the store has
// them. plan is called again if they were changed meanwhile, and reports false
// to make none. What has to be meant is asked of sure.
func (e editor) change(ctx context.Context, by tickets.Actor, plan func(tickets.Settings) (map[string]*string, bool), sure func(ask string) bool) changed {
	var out changed
	var after string // said once it is done
	done, err := e.Settings.Edit(ctx, by, func(set tickets.Settings) []tickets.Change {
		out, after = changed{}, ""
		values, ok := plan(set)
		if !ok {
			return nil
		}
		changes, say, inactive := e.changes(set, values)
		out.say = say
		if len(changes) == 0 {
			return nil
		}
		if no := e.locksOut(ctx, by, set, changes); no != "" {
			out.say = no
			return nil
		}
		mentioned, many := e.mentions(ctx, set, changes)
		ask := strings.Join(slices.DeleteFunc([]string{inactive, many}, func(s string) bool { return s == "" }), "\n")
		if ask != "" && !sure(ask) {
			out.say, out.ask = "Nothing was changed yet: "+strings.ToLower(ask[:1])+ask[1:], ask
			return nil
		}
		if inactive != "" {
			after = "\n" + inactive
		}
		after += mentioned
		return changes
	})
	switch {
	case errors.Is(err, settings.ErrBusy):
		return changed{say: "Somebody else is changing the settings at the same moment. Please try again."}
	case err != nil:
		e.Log.Error("cannot change the settings", "err", err)
		return changed{say: Unread(err), again: !errors.Is(err, store.ErrCorrupt)}
	case done:
		out.say, out.done = out.say+after, true
	}
	return out
}

// locksOut says why changes of set must not be made by somebody who would be no
// admin any more: nobody else is known to be one, and an ID is easily mistyped.
func (e editor) locksOut(ctx context.Context, by tickets.Actor, set tickets.Settings, changes []tickets.Change) string {
	if !slices.ContainsFunc(changes, func(c tickets.Change) bool { return c.Key == tickets.KeyAdmins }) {
		return ""
	}
	after, _ := e.Settings.Of(set.With(changes))
	switch ok, err := e.Access.HasAny(ctx, by, after.Admins); {
	case err != nil && !ok:
		e.Log.Error("cannot check admin", "actor", by.String(), "err", err)
		return "Nothing was changed: it cannot be found out right now whether you would still be an admin. Please try again in a minute."
	case !ok:
		return "Nothing was changed: you would not be an admin any more. Add yourself, or let another admin do it."
	}
	return ""
}

// changes are what makes set hold values, what to say once they are made, and
// what has to be meant before; none if they must not be made, or there is
// nothing to do.
func (e editor) changes(set tickets.Settings, values map[string]*string) (list []tickets.Change, say, ask string) {
	changes, does, ask, problems := settings.PlanChanges(e.Settings.Start, e.Settings.Registry, set, values)
	switch {
	case len(problems) > 0:
		return nil, problems[0], ""
	case len(changes) == 0:
		return nil, "Nothing to change: it is so already.", ""
	}
	var lines []string
	for _, d := range does {
		line := fmt.Sprintf("%s is now %s", d.Key, sayValue(d.After))
		if d.Before != d.After {
			line += fmt.Sprintf(", it was %s", sayValue(d.Before))
		}
		if d.Unfit {
			line += fmt.Sprintf(" (what was set does not fit %s)", d.Type)
		}
		lines = append(lines, line+".")
	}
	return changes, strings.Join(lines, "\n"), ask
}

func sayValue(text string) string {
	if text == "" {
		return "empty"
	}
	return "“" + text + "”"
}

// config shows and changes the settings: without more words in a form, where
// the chat has one.
func (h *Handler) config(ctx context.Context, c adapters.Command, args []string) adapters.Answer {
	e := editor{&h.Config}
	if len(args) == 0 {
		return e.form(ctx)
	}
	return adapters.Note{Text: e.command(ctx, c, args)}
}

// SubmitSettings implements [adapters.Handler]: it saves what somebody has changed
// in the form.
func (h *Handler) SubmitSettings(ctx context.Context, c adapters.Configuration) adapters.Answer {
	return editor{&h.Config}.submit(ctx, c)
}

func (e editor) command(ctx context.Context, c adapters.Command, args []string) string {
	switch action := strings.ToLower(args[0]); {
	case action == "list" && len(args) == 1:
		say, _ := e.show(ctx)
		return say
	case action == "reset" && (len(args) <= 2 || len(args) == 3 && slices.Contains(confirmed, strings.ToLower(args[1])) && strings.EqualFold(args[2], yes)):
		return e.reset(ctx, c.Actor, args[1:])
	case action == "set" && len(args) > 1:
		key := strings.ToLower(args[1])
		if !slices.Contains(tickets.SettingKeys(), key) {
			return noSetting(key)
		}
		// The value as it was typed: its inner blanks may matter.
		value, sure := e.cutYes(key, rest(c.Text, 3))
		return e.configure(ctx, c.Actor, map[string]*string{key: &value}, sure)
	}
	return "Say what to do: /epm config, /epm config list, /epm config set KEY VALUE, /epm config reset, /epm config reset KEY or /epm config reset yes. The keys are " + strings.Join(tickets.SettingKeys(), ", ") + "."
}

// show reads the settings and lists them, and who set them. It reports
// false, and says why, if they cannot be read.
func (e editor) show(ctx context.Context) (say string, ok bool) {
	if err := e.Settings.Load(ctx); err != nil {
		e.Log.Error("cannot read the settings", "err", err)
		return Unread(err), false
	}
	changes, err := e.Store.Changes(ctx, 200)
	if err != nil {
		e.Log.Error("cannot read the changes of the settings", "err", err)
		return wording.MsgStoreAway, false
	}
	now, stored := e.Settings.Current(), e.Settings.Stored()
	lines := []string{fmt.Sprintf("Settings, version %d. Change one with /epm config set KEY VALUE.", stored.Version)}
	for _, key := range tickets.SettingKeys() {
		line := key + ": " + sayValue(now.Show(key))
		i := slices.IndexFunc(changes, func(c tickets.Change) bool { return c.Key == key })
		if _, set := stored.Values[key]; set && i >= 0 {
			line += fmt.Sprintf(" (set by %s, %s)", sayBy(changes[i].By), wording.FormatTime(changes[i].At))
		}
		if err := e.Settings.Invalid()[key]; err != nil {
			line += fmt.Sprintf(". What was set cannot be used: %s. Set it again, or use /epm config reset %s", err, key)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), true
}

// rest is what stands behind the first n words of text.
func rest(text string, n int) string {
	for range n {
		text = strings.TrimSpace(text)
		i := strings.IndexFunc(text, unicode.IsSpace)
		if i < 0 {
			return ""
		}
		text = text[i:]
	}
	return strings.TrimSpace(text)
}

func sayBy(a tickets.Actor) string {
	switch {
	case a.ID == "" && a.Name != "":
		return "the operator (" + wording.DisplayName(a) + ")"
	case a.ID == "":
		return "the operator"
	}
	return wording.DisplayNameOn("", a) + " in " + wording.PlatformName(a.Platform)
}

func noSetting(key string) string {
	keys := tickets.SettingKeys()
	say := fmt.Sprintf("There is no setting “%s”.", wording.Line(key))
	if near := nearest(key, keys); near != "" {
		return say + " Did you mean " + near + "?"
	}
	return say + " There are " + strings.Join(keys, ", ") + "."
}

// manyPeople is how many a mention reaches without being asked for twice.
const manyPeople = 50

// mentions says, beginning a line, how many people changes of set would have
// each new ticket mention; nothing if they are not about that. ask has to be
// meant before, if they are many.
func (e editor) mentions(ctx context.Context, set tickets.Settings, changes []tickets.Change) (say, ask string) {
	if !slices.ContainsFunc(changes, func(c tickets.Change) bool { return c.Key == tickets.KeyAssignmentGroup && c.New != nil }) {
		return "", ""
	}
	after, _ := e.Settings.Of(set.With(changes))
	if len(after.Assign) == 0 {
		return "", ""
	}
	var lines strings.Builder
	people := 0
	for i, r := range e.reach(ctx, after.Assign) {
		people += r.People
		lines.WriteString("\n• " + wording.MsgReach(after.Assign[i], r))
	}
	if people > manyPeople {
		ask = fmt.Sprintf("Each new ticket would mention %s.%s", wording.MsgPeople(people), lines.String())
	}
	return "\nEach new ticket mentions:" + lines.String(), ask
}
