package bot_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// settingsForm opens the form as Ann, who is admin.
func (w *world) settingsForm() adapters.Settings {
	w.t.Helper()
	f, ok := w.bot.Command(w.t.Context(), adapters.Command{Actor: ann, Text: "config"}).(adapters.Settings)
	if !ok || len(f.Fields) != len(tickets.SettingKeys()) {
		w.t.Fatalf("the form is %+v", f)
	}
	return f
}

// fill is f as somebody sends it who has changed some values.
func fill(f adapters.Settings, changed map[string]string) adapters.Configuration {
	c := adapters.Configuration{Actor: ann, Place: place, Version: f.Version, Values: map[string]string{}}
	for _, one := range f.Fields {
		c.Values[one.Key] = one.Value
	}
	maps.Copy(c.Values, changed)
	return c
}

// sends sends the form with changes, and wants it to be shown again.
func (w *world) sends(f adapters.Settings, changed map[string]string) adapters.Settings {
	w.t.Helper()
	a := w.bot.SubmitSettings(w.t.Context(), fill(f, changed))
	again, ok := a.(adapters.Settings)
	if !ok {
		w.t.Fatalf("%v is answered with %#v, want the form again", changed, a)
	}
	return again
}

func (w *world) field(f adapters.Settings, key string) adapters.Setting {
	w.t.Helper()
	for _, one := range f.Fields {
		if one.Key == key {
			return one
		}
	}
	w.t.Fatalf("the form has no %s", key)
	return adapters.Setting{}
}

// version fails unless the settings are of that version.
func (w *world) version(want int64) {
	w.t.Helper()
	if set, err := w.store.Settings(w.t.Context()); err != nil || set.Version != want {
		w.t.Errorf("the settings are of version %d, %v; want %d", set.Version, err, want)
	}
}

func TestSettingsFormSaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	f := w.settingsForm()
	if one := w.field(f, "active_states"); !one.Many || strings.Join(one.Options, ", ") != "New, In Progress, On Hold, Resolved, Closed, Cancelled" || one.Value != "New, In Progress, On Hold" || one.Label != "Active states" || one.Help == "" {
		t.Errorf("active_states is %+v", one)
	}
	if one := w.field(f, "auto_close"); one.Many || strings.Join(one.Options, " ") != "true false" || one.Value != "false" {
		t.Errorf("auto_close is %+v", one)
	}
	wantNote(t, w.bot.SubmitSettings(t.Context(), fill(f, nil)), "Nothing to change")
	w.version(0)
	a := w.bot.SubmitSettings(t.Context(), fill(f, map[string]string{"category": " Security ", "auto_close": "true", "active_states": "New, On Hold"}))
	wantNote(t, a, "category is now “Security”, it was empty.")
	wantNote(t, a, "auto_close is now “true”")
	wantNote(t, a, "active_states is now “New, On Hold”")
	w.version(1) // all in one change
	changes, err := w.store.Changes(t.Context(), 10)
	if err != nil || len(changes) != 3 || changes[0].By != ann {
		t.Errorf("changes = %+v, %v", changes, err)
	}
	for _, who := range []tickets.Actor{sam, bob} { // Bob is an approver
		c := fill(w.settingsForm(), map[string]string{"category": "mine"})
		c.Actor = who
		wantNote(t, w.bot.SubmitSettings(t.Context(), c), wording.MsgNotAdmin)
		wantNote(t, w.bot.Command(t.Context(), adapters.Command{Actor: who, Text: "config"}), wording.MsgNotAdmin)
	}
	w.version(1)
}

func TestSettingsFormSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	f := w.settingsForm()
	again := w.sends(f, map[string]string{"ticket_type": "Nonsense", "fields": "user, shoes", "category": "Security"})
	for key, want := range map[string]string{"ticket_type": "Choose one of: ", "fields": "Item 2 is not a field"} {
		if one := w.field(again, key); !strings.Contains(one.Problem, want) {
			t.Errorf("at %s: %q, want %q", key, one.Problem, want)
		}
	}
	if one := w.field(again, "category"); one.Value != "Security" || one.Problem != "" || again.Problem != "" || again.Version != f.Version {
		t.Errorf("what was typed is %+v, in %+v", one, again)
	}
	for changed, want := range map[[2]string]string{
		{"approvers", ""}:     "nobody could decide requests any more",
		{"admins", "chat:U9"}: "you would not be an admin any more",
	} {
		again := w.sends(f, map[string]string{changed[0]: changed[1]})
		if !strings.Contains(again.Problem, want) || w.field(again, changed[0]).Value != changed[1] {
			t.Errorf("%v: %q, want %q and what was typed", changed, again.Problem, want)
		}
	}
	w.version(0)
}

func TestSettingsFormOverwritesNothingUnseen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	f := w.settingsForm()
	w.wants("config set category Network", "category is now")
	w.wants("config set short_description Please", "short_description is now")
	w.wants("config set category Storage", "category is now")

	// What the form has not changed stays as others have set it.
	wantNote(t, w.bot.SubmitSettings(t.Context(), fill(f, map[string]string{"auto_close": "true"})), "auto_close is now “true”")
	w.wants("config list", "category: “Storage”", "short_description: “Please”", "auto_close: “true”")
	w.version(4)

	// What both have changed is shown before.
	again := w.sends(f, map[string]string{"category": "Security", "self_approval": "allow"})
	if one := w.field(again, "category"); one.Value != "Security" || !strings.Contains(one.Problem, "Ann in Chat has set this to “Storage”") {
		t.Errorf("the category is %+v", one)
	}
	if one := w.field(again, "short_description"); one.Value != "Please" || one.Problem != "" {
		t.Errorf("the short description is %+v: not what is set", one)
	}
	if one := w.field(again, "self_approval"); one.Value != "allow" || again.Version != 4 {
		t.Errorf("what was typed is %+v, version %d", one, again.Version)
	}
	w.version(4)
	a := w.bot.SubmitSettings(t.Context(), fill(again, nil))
	wantNote(t, a, "category is now “Security”, it was “Storage”.")
	w.version(5)

	// To set what others have set already is no conflict.
	f = w.settingsForm()
	w.wants("config set category Storage", "category is now")
	wantNote(t, w.bot.SubmitSettings(t.Context(), fill(f, map[string]string{"category": "Storage", "auto_close": "false"})), "auto_close is now “false”")

	// A form of settings that nobody knows, as after a restore.
	for _, version := range []int64{99, -1} {
		f.Version = version
		if again := w.sends(f, map[string]string{"category": "mine"}); !strings.Contains(again.Problem, "look at them") || w.field(again, "category").Value != "Storage" || again.Version != 7 {
			t.Errorf("a form of version %d: %+v", version, again)
		}
	}
	w.version(7)
}

// overtaken is a store to whose settings somebody else makes a change at the
// last moment.
type overtaken struct {
	store.Store
	other func()
}

func (o *overtaken) Configure(ctx context.Context, from int64, changes []tickets.Change) (tickets.Settings, error) {
	if other := o.other; other != nil {
		o.other = nil
		other()
	}
	return o.Store.Configure(ctx, from, changes)
}

func TestSettingsFormIsOvertakenAtTheLastMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := &overtaken{}
	w.wrap = func(s store.Store) store.Store { o.Store = s; return o }
	w.start()
	f := w.settingsForm()
	value := "Network"
	o.other = func() {
		if _, err := o.Store.Configure(t.Context(), 0, []tickets.Change{{Key: "category", New: &value, By: bob}}); err != nil {
			t.Error(err)
		}
	}
	again := w.sends(f, map[string]string{"category": "Security"})
	if one := w.field(again, "category"); one.Value != "Security" || !strings.Contains(one.Problem, "Bob in Chat has set this to “Network”") {
		t.Errorf("the category is %+v", one)
	}
	w.version(1)
}

// Where it cannot be found out whether somebody may, the form that they sent or
// changed is kept.
func TestDoubtKeepsTheForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.approvers = []tickets.Principal{{Platform: "chat", Kind: tickets.Group, ID: "S1"}}
	w.chat.holds = func(tickets.Principal, tickets.Actor) (bool, error) { return true, nil }
	w.start()
	n := w.ask("r")
	f := w.settingsForm()
	w.chat.holds = func(tickets.Principal, tickets.Actor) (bool, error) { return false, errors.New("away") }
	for name, a := range map[string]adapters.Answer{
		"Submit":    w.approve(n, ann, twoHours),
		"Change":    w.bot.Click(t.Context(), adapters.Click{Actor: ann, Place: place, Number: n, Digest: w.digest(n), Private: true, Action: adapters.ActionForm, Verdict: tickets.Approve, Form: twoHours}),
		"Configure": w.bot.SubmitSettings(t.Context(), fill(f, map[string]string{"category": "x"})),
	} {
		if n, ok := a.(adapters.Note); !ok || !n.Retryable || n.Text != wording.MsgCannotCheck {
			t.Errorf("%s = %#v, want to be asked to try again", name, a)
		}
	}
}
