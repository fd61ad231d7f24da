package bot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// settingsEvery is how often the store is asked whether the settings have
// changed: another replica, or the command line, may have done it.
const settingsEvery = 2 * time.Second

// activeSettings is the settings by which the bot works.
type activeSettings struct {
	Settings
	stored tickets.Settings
	broken map[string]error // what was set and cannot be read
}

// Current is how the bot works at present. It must not be changed.
func (b *Bot) Current() *Settings { return &b.set.Load().Settings }

// Card is what the settings say about cards on a platform.
func (b *Bot) Card(on tickets.Platform) adapters.Card {
	s := b.Current()
	card := adapters.Card{Fields: s.Fields, Moves: func(t *tickets.Ticket) []tickets.State { return b.rulesOf(t).Type.Others(t.State) }}
	for _, p := range s.Assign {
		if p.Platform == on {
			card.Assign = p
		}
	}
	return card
}

// InvalidSettings tells by key what was set and cannot be read, and is as if it had
// not been set.
func (b *Bot) InvalidSettings() map[string]error { return b.set.Load().broken }

// rulesOf are the rules for t, or for a new ticket if t is nil.
func (b *Bot) rulesOf(t *tickets.Ticket) tickets.Rules { return b.Current().rulesOf(t, b.Registry) }

// Load reads the settings from the store. Run does it too, again and again.
func (b *Bot) Load(ctx context.Context) error {
	was := b.set.Load()
	set, err := b.Store.Settings(ctx)
	if err != nil {
		return err
	}
	b.activate(was, set)
	b.loadOnce.Do(func() { close(b.loaded) })
	return nil
}

// ensure is nil once the settings have been read: before, nobody knows who
// may decide and where.
func (b *Bot) ensure(ctx context.Context) error {
	select {
	case <-b.loaded:
		return nil
	default:
		return b.Load(ctx)
	}
}

// activate makes set, which was read after was held, the settings in force. If
// others were put in force meanwhile those stand: they were read later. What
// the store has counts, also if its version is lower or the same: it may have
// lost a change, or been restored.
func (b *Bot) activate(was *activeSettings, set tickets.Settings) {
	if set.Version == was.stored.Version && maps.Equal(set.Values, was.stored.Values) {
		return
	}
	now := &activeSettings{stored: set}
	now.Settings, now.broken = Effective(b.Config.Settings, set, b.Registry)
	if !b.set.CompareAndSwap(was, now) {
		return
	}
	b.Log.Info("settings in force", "settings", set.Version)
	if set.Version < was.stored.Version {
		b.Log.Warn("the store has older settings than before: it was restored, or has lost a change", "settings", set.Version)
	}
	for key, err := range now.broken {
		b.Log.Error("a setting cannot be used", "setting", key, "err", err)
	}
}

// runSettings keeps the settings as the store has them, and cards as the
// settings say, until ctx ends.
func (b *Bot) runSettings(ctx context.Context) {
	poll := time.NewTicker(settingsEvery)
	defer poll.Stop()
	stale := true // what the settings are may have changed while nobody ran
	for {
		read, cancel := context.WithTimeout(ctx, recordTimeout)
		before := b.set.Load()
		if err := b.Load(read); err != nil && ctx.Err() == nil {
			b.Log.Warn("cannot read the settings; the known ones hold", "err", err)
		}
		cancel()
		stale = stale || before != b.set.Load()
		if stale {
			stale = !b.reconsider(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-b.changed:
			stale = true
		case <-poll.C:
		}
	}
}

// reconsider corrects the cards of requests that may be decided, or may no
// more, since the settings changed. It reports whether it saw them all.
func (b *Bot) reconsider(ctx context.Context) bool {
	whole, problem := b.eachOf(ctx, tickets.Pending, func(t *tickets.Ticket) {
		if t.Follows(b.rulesOf(t)) {
			return
		}
		if err := b.writeOne(ctx, lateWrite{number: t.Number, change: b.refreshActive}); err != nil && ctx.Err() == nil {
			b.Log.Error("cannot correct ticket", "ticket", t.Number, "err", err)
		}
	})
	if problem != nil && ctx.Err() == nil {
		b.Log.Warn("cannot look through all open requests after a change of the settings", "err", problem)
	}
	return whole
}

// eachOf visits every ticket that has come as far as p, newest first. Its
// problem is about those that cannot be read; without whole the store could
// not say which there are.
func (b *Bot) eachOf(ctx context.Context, p tickets.Progress, visit func(*tickets.Ticket)) (whole bool, problem error) {
	q := store.Query{Progress: p, Limit: listBatch}
	for {
		list, err := b.Store.List(ctx, q)
		problem = errors.Join(problem, err)
		for _, t := range list {
			visit(t)
		}
		if len(list) == 0 || len(list) < q.Limit && err == nil {
			return err == nil || errors.Is(err, store.ErrUnreadable) || errors.Is(err, store.ErrNewerForm), problem
		}
		q.Before = list[len(list)-1].Number
	}
}

// configure makes changes to the settings, by key; nil takes a setting back
// to what the program was started with. Whoever is sure need not be asked. It
// returns what to say.
func (b *Bot) configure(ctx context.Context, by tickets.Actor, values map[string]*string, sure bool) string {
	say, ask, _ := b.change(ctx, by, func(tickets.Settings) (map[string]*string, bool) { return values, true }, func(string) bool { return sure })
	if ask != "" {
		return say + "\n" + sayConfirmInWords
	}
	return say
}

// change makes the changes that plan wants to the settings as the store has
// them. plan is called again if they were changed meanwhile, and reports false
// to make none. What has to be meant is asked of sure. change returns what to
// say, what has to be meant before if it was not done for that, and whether it
// was done.
func (b *Bot) change(ctx context.Context, by tickets.Actor, plan func(tickets.Settings) (map[string]*string, bool), sure func(ask string) bool) (say, ask string, done bool) {
	for range 5 {
		was := b.set.Load()
		set, err := b.Store.Settings(ctx)
		if err != nil {
			b.Log.Error("cannot read the settings", "err", err)
			return sayUnread(err), "", false
		}
		values, ok := plan(set)
		if !ok {
			return "", "", false
		}
		changes, say, inactive := b.changes(set, values)
		if len(changes) == 0 {
			return say, "", false
		}
		if no := b.locksOut(ctx, by, set, changes); no != "" {
			return no, "", false
		}
		mentioned, many := b.mentions(ctx, set, changes)
		ask := strings.Join(slices.DeleteFunc([]string{inactive, many}, func(s string) bool { return s == "" }), "\n")
		if ask != "" && !sure(ask) {
			return "Nothing was changed yet: " + strings.ToLower(ask[:1]) + ask[1:], ask, false
		}
		for i := range changes {
			changes[i].By, changes[i].At = by, b.Now()
		}
		after, err := b.Store.Configure(ctx, set.Version, changes)
		switch {
		case errors.Is(err, store.ErrChanged):
			continue
		case err != nil:
			b.Log.Error("cannot change the settings", "err", err)
			return sayStoreAway, "", false
		}
		for _, c := range changes {
			b.Log.Info("setting changed", "setting", c.Key, "actor", by.String(), "settings", after.Version)
		}
		b.activate(was, after)
		signal(b.changed)
		if err := b.Load(ctx); err != nil { // somebody else may have been as fast
			b.Log.Warn("cannot read the settings; the known ones hold", "err", err)
		}
		if inactive != "" {
			say += "\n" + inactive
		}
		return say + mentioned, "", true
	}
	return "Somebody else is changing the settings at the same moment. Please try again.", "", false
}

// locksOut says why changes of set must not be made by somebody who would be no
// admin any more: nobody else is known to be one, and an ID is easily mistyped.
func (b *Bot) locksOut(ctx context.Context, by tickets.Actor, set tickets.Settings, changes []tickets.Change) string {
	if !slices.ContainsFunc(changes, func(c tickets.Change) bool { return c.Key == tickets.KeyAdmins }) {
		return ""
	}
	after, _ := Effective(b.Config.Settings, set.With(changes), b.Registry)
	switch ok, err := b.holds(ctx, by, after.Admins); {
	case err != nil && !ok:
		b.Log.Error("cannot check admin", "actor", by.String(), "err", err)
		return "Nothing was changed: it cannot be found out right now whether you would still be an admin. Please try again in a minute."
	case !ok:
		return "Nothing was changed: you would not be an admin any more. Add yourself, or let another admin do it."
	}
	return ""
}

// changes are what makes set hold values, what to say once they are made, and
// what has to be meant before; none if they must not be made, or there is
// nothing to do.
func (b *Bot) changes(set tickets.Settings, values map[string]*string) (list []tickets.Change, say, ask string) {
	changes, does, ask, problems := PlanChanges(b.Config.Settings, b.Registry, set, values)
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

// asChanges are values as changes of set, in the order of the keys.
func asChanges(set tickets.Settings, values map[string]*string) []tickets.Change {
	var list []tickets.Change
	for _, key := range slices.Sorted(maps.Keys(values)) {
		c := tickets.Change{Key: key, New: values[key]}
		if old, ok := set.Values[key]; ok {
			c.Old = &old
		}
		list = append(list, c)
	}
	return list
}

func sayValue(text string) string {
	if text == "" {
		return "empty"
	}
	return "“" + text + "”"
}

// config shows and changes the settings: without more words in a form, where
// the chat has one.
func (b *Bot) config(ctx context.Context, c adapters.Command, args []string) adapters.Answer {
	if len(args) == 0 {
		return b.settingsForm(ctx)
	}
	return adapters.Note{Text: b.configWord(ctx, c, args)}
}

func (b *Bot) configWord(ctx context.Context, c adapters.Command, args []string) string {
	switch action := strings.ToLower(args[0]); {
	case action == "list" && len(args) == 1:
		say, _ := b.showConfig(ctx)
		return say
	case action == "reset" && (len(args) <= 2 || len(args) == 3 && slices.Contains(confirmed, strings.ToLower(args[1])) && strings.EqualFold(args[2], yes)):
		return b.resetConfig(ctx, c.Actor, args[1:])
	case action == "set" && len(args) > 1:
		key := strings.ToLower(args[1])
		if !slices.Contains(tickets.SettingKeys(), key) {
			return sayNoSetting(key)
		}
		// The value as it was typed: its inner blanks may matter.
		value, sure := b.cutYes(key, rest(c.Text, 3))
		return b.configure(ctx, c.Actor, map[string]*string{key: &value}, sure)
	}
	return "Say what to do: /epm config, /epm config list, /epm config set KEY VALUE, /epm config reset, /epm config reset KEY or /epm config reset yes. The keys are " + strings.Join(tickets.SettingKeys(), ", ") + "."
}

// showConfig reads the settings and lists them, and who set them. It reports
// false, and says why, if they cannot be read.
func (b *Bot) showConfig(ctx context.Context) (say string, ok bool) {
	if err := b.Load(ctx); err != nil {
		b.Log.Error("cannot read the settings", "err", err)
		return sayUnread(err), false
	}
	changes, err := b.Store.Changes(ctx, 200)
	if err != nil {
		b.Log.Error("cannot read the changes of the settings", "err", err)
		return sayStoreAway, false
	}
	now := b.set.Load()
	lines := []string{fmt.Sprintf("Settings, version %d. Change one with /epm config set KEY VALUE.", now.stored.Version)}
	for _, key := range tickets.SettingKeys() {
		line := key + ": " + sayValue(now.Show(key))
		i := slices.IndexFunc(changes, func(c tickets.Change) bool { return c.Key == key })
		if _, set := now.stored.Values[key]; set && i >= 0 {
			line += fmt.Sprintf(" (set by %s, %s)", sayBy(changes[i].By), adapters.FormatTime(changes[i].At))
		}
		if err := now.broken[key]; err != nil {
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
		return "the operator (" + adapters.DisplayName(a) + ")"
	case a.ID == "":
		return "the operator"
	}
	return adapters.DisplayNameOn("", a) + " in " + adapters.PlatformName(a.Platform)
}

func sayNoSetting(key string) string {
	keys := tickets.SettingKeys()
	say := fmt.Sprintf("There is no setting “%s”.", adapters.Line(key))
	if near := nearest(key, keys); near != "" {
		return say + " Did you mean " + near + "?"
	}
	return say + " There are " + strings.Join(keys, ", ") + "."
}
