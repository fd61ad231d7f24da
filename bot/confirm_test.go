package bot_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const onHoldFirst = "new requests begin in New, which is not an active state: nobody can decide one before an admin moves it to On Hold."

// TestFirstStateInactive: active states without the first one are taken after a
// yes, and what that means is said before, then, and in the status.
func TestFirstStateInactive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	if got := w.says("status"); strings.Contains(got, "New requests begin") {
		t.Errorf("status before: %q", got)
	}
	for _, text := range []string{"On Hold", "on hold,"} {
		w.wants("config set active_states "+text, "Nothing was changed yet: "+onHoldFirst+"\nIf that is what you want, send it again with yes at the end.")
	}
	w.version(0)
	w.wants("config set active_states On Hold yes", "active_states is now “On Hold”, it was “New, In Progress, On Hold”.\nN"+onHoldFirst[1:])
	w.version(1)
	n := w.ask("r")
	tk := w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
	if tk.Active || !strings.Contains(wording.Status(tk).On("chat"), "no decision can be made in state New until an admin moves it") {
		t.Errorf("the ticket is active %t, and its card says %q", tk.Active, wording.Status(tk).On("chat"))
	}
	w.wants("status", "\nN"+onHoldFirst[1:])
	w.wants("state "+string(n)+" On Hold", "is now On Hold.")
	if a, ok := w.approve(n, ann, twoHours).(adapters.Note); ok && strings.Contains(a.Text, tickets.MsgInactive) {
		t.Errorf("moved, and still refused: %q", a.Text)
	}
	// What an admin has meant is not asked again.
	w.wants("config set category Security", "category is now")
	w.wants("config set active_states In Progress, On Hold", "active_states is now")
	w.wants("config set approvers yes", "approvers was not changed")
	w.wants("config set active_states yes", "item 1 is not a state")
	w.wants("config reset active_states", "active_states is now “New, In Progress, On Hold”")
	if got := w.says("status"); strings.Contains(got, "New requests begin") {
		t.Errorf("status after: %q", got)
	}
}

// TestFirstStateInactiveOtherwise: a type whose first state is not active, a
// state that is called yes, and a reset are asked about likewise.
func TestFirstStateInactiveOtherwise(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.types = append(w.types,
		tickets.Type{Name: "Triage", Prefix: "TRI", States: []tickets.State{"New", "Review", "Yes", "Done"}, Active: []tickets.State{"Review"}, Closed: "Done"},
		tickets.Type{Name: "Say yes", Prefix: "YES", States: []tickets.State{"New", "Done"}, Active: []tickets.State{"New"}, Closed: "Done"})
	w.rules.Active = []tickets.State{"On Hold"}
	w.start()
	w.wants("status", "N"+onHoldFirst[1:]) // as it was started
	w.wants("config set active_states New", "active_states is now “New”")
	w.wants("config reset", "After that: New requests begin in New")
	w.wants("config reset active_states", "Nothing was changed yet: "+onHoldFirst)
	w.version(1)
	w.wants("config reset active_states yes", "active_states is now “On Hold”", "New requests begin in New")
	w.wants("config set active_states New", "active_states is now “New”")
	w.wants("config reset yes", "active_states is now “On Hold”", "New requests begin in New")
	w.wants("config set active_states New", "active_states is now “New”")
	w.wants("config set ticket_type say yes", "ticket_type is now “Say yes”")
	w.wants("config reset active_states", "active_states is now “New”")
	w.wants("config set ticket_type triage", "Nothing was changed yet: new requests begin in New, which is not an active state: nobody can decide one before an admin moves it to Review.")
	w.wants("config set ticket_type triage yes", "ticket_type is now “Triage”", "New requests begin in New")
	w.wants("config set active_states New", "active_states is now “New”")
	w.wants("config set active_states Review, Yes", "Nothing was changed yet: new requests begin in New", "an admin moves it to Review or Yes.")
	w.wants("config set active_states Review, Yes yes", "active_states is now “Review, Yes”")
}

// TestSettingsFormConfirms: the form asks about what has to be meant, and a yes
// answers that question alone.
func TestSettingsFormConfirms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.chat.reach = map[string]adapters.Reach{"S51": {Name: "@more", People: 51, Counted: true}, "S60": {Name: "@most", People: 60, Counted: true}}
	w.start()
	f := w.settingsForm()
	asks := func(values map[string]string, want ...string) adapters.Settings {
		t.Helper()
		again := w.sends(f, values)
		for _, text := range append(want, "Nothing was changed yet: ", "choose yes in the first field and save again") {
			if !strings.Contains(again.Problem, text) {
				t.Errorf("%v: %q, want %q in it", values, again.Problem, text)
			}
		}
		one := again.Fields[0]
		if !strings.HasPrefix(one.Key, "confirm-") || len(one.Options) != 1 || one.Value != "" || one.Problem != "" || len(again.Fields) != len(f.Fields)+1 {
			t.Errorf("%v: the first field is %+v", values, one)
		}
		for key, value := range values {
			if !strings.HasPrefix(key, "confirm-") && w.field(again, key).Value != value {
				t.Errorf("%v: %s is %q: not what was typed", values, key, w.field(again, key).Value)
			}
		}
		return again
	}
	mention := asks(map[string]string{"assignment_group": "chat:group:S51"}, "each new ticket would mention 51 people.", "@more")
	sure := mention.Fields[0].Key
	asks(map[string]string{"assignment_group": "chat:group:S51", sure: ""})
	asks(map[string]string{"assignment_group": "chat:group:S60", sure: "yes"}, "60 people") // another question
	both := asks(map[string]string{"assignment_group": "chat:group:S51", "active_states": "On Hold", sure: "yes"}, onHoldFirst, "Each new ticket would mention 51 people.")
	w.version(0)
	a := w.bot.SubmitSettings(t.Context(), fill(both, map[string]string{both.Fields[0].Key: "yes"}))
	wantNote(t, a, "active_states is now “On Hold”")
	wantNote(t, a, "N"+onHoldFirst[1:])
	wantNote(t, a, "• @more (chat:group:S51): 51 people")
	w.version(1)
}
