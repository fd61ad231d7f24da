package bot_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// says types /epm text as Ann, who is admin, and returns the answer.
func (w *world) says(text string) string {
	w.t.Helper()
	return said(w.bot.Command(w.t.Context(), adapters.Command{Actor: ann, Text: text}))
}

// wants fails unless the answer to /epm text holds all of parts.
func (w *world) wants(text string, parts ...string) {
	w.t.Helper()
	got := w.says(text)
	for _, p := range parts {
		if !strings.Contains(got, p) {
			w.t.Errorf("/epm %s = %q, want %q in it", text, got, p)
		}
	}
}

// TestConfig: settings are shown, checked, changed, kept over a restart and
// taken back.
func TestConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.wants("config", "Settings, version 0.", "ticket_type: “Access Request”", "approvers: “chat:U1, chat:U2”", "category: empty")
	w.wants("config set category  IT   Security ", "category is now “IT   Security”, it was empty.")
	w.wants("config set category IT   Security", "Nothing to change")
	w.wants("config set activ_states New", "no setting “activ_states”. Did you mean active_states?")
	w.wants("config set xyzzy 1", "no setting “xyzzy”. There are ticket_type")
	w.wants("config set active_states Nowhere", "active_states was not changed: item 1 is not a state of Access Request")
	w.wants("config set approvers", "Nothing was changed: nobody could decide requests any more")
	w.wants("config set admins", "Nothing was changed: nobody could change the settings in chat any more")
	w.wants("config set channels", "channels was not changed: without a channel")
	w.wants("config dance", "Say what to do: /epm config, /epm config list, /epm config set KEY VALUE")
	w.wants("config set", "Say what to do")
	w.wants("config reset category now", "Say what to do")
	w.wants("config reset categry", "no setting “categry”. Did you mean category?")
	w.wants("conifg", "I do not know “conifg”. Did you mean /epm config?")
	w.restart()
	w.wants("config", "Settings, version 1.", "category: “IT   Security” (set by Ann in Chat, 20")
	n := w.ask("r")
	if tk := w.until(n, "there", func(t *tickets.Ticket) bool { return t.Request != nil }); tk.Category != "IT   Security" {
		t.Errorf("the category of a new ticket is %q", tk.Category)
	}
	w.wants("config reset yes", "category is now empty, it was “IT   Security”.")
	w.wants("config reset", "Nothing to change")
	if got := w.bot.Command(t.Context(), adapters.Command{Actor: tickets.Actor{Platform: "chat", ID: "U9"}, Text: "config set category x"}); got.(adapters.Note).Text != wording.MsgNotAdmin {
		t.Errorf("a stranger is told %+v", got)
	}
	changes, err := w.store.Changes(t.Context(), 10)
	if err != nil || len(changes) != 2 || changes[1].By != ann || changes[0].New != nil {
		t.Errorf("changes = %+v, %v", changes, err)
	}
}

// TestTypeTakesItsStatesWithIt: states that were set for another type go with
// it, and tickets of that type keep theirs.
func TestTypeTakesItsStatesWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.wants("config set active_states New, In Progress", "active_states is now “New, In Progress”")
	before := w.ask("r1")
	w.wants("config set ticket_type change request", "ticket_type is now “Change Request”", "active_states is now “New, Assess, Authorize, Scheduled, Implement”", "does not fit Change Request")
	after := w.ask("r2")
	if !strings.HasPrefix(string(before), "JIT-") || !strings.HasPrefix(string(after), "CHG-") {
		t.Errorf("numbers %s and %s", before, after)
	}
	w.wants("state "+string(before)+" on hold", "is now On Hold")
	w.wants("state "+string(after)+" on hold", "There is no such state. Choose one of: New, Assess")
	w.wants("state "+string(after)+" assess", "is now Assess")
}

// TestSettingsHoldAtOnce: who is taken from the approvers can decide no more,
// and cards follow the active states, also those of requests that wait.
func TestSettingsHoldAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	n := w.ask("r")
	w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
	w.wants("config set approvers chat:U2", "approvers is now “chat:U2”")
	if got := w.approve(n, ann, twoHours); got.(adapters.Note).Text != wording.MsgNotApprover {
		t.Errorf("Ann, who is no approver any more, is told %+v", got)
	}
	w.wants("state "+string(n)+" In Progress", "is now In Progress")
	w.wants("config set active_states New", "active_states is now")
	w.until(n, "closed to decisions, and shown so", func(t *tickets.Ticket) bool { return !t.Active && t.Message(placeOne).Shown == t.Rev })
	w.wants("config reset yes", "approvers is now “chat:U1, chat:U2”")
	w.until(n, "open again, and shown so", func(t *tickets.Ticket) bool { return t.Active && t.Message(placeOne).Shown == t.Rev })
}

// TestSettingsFromElsewhere: what another process has set holds soon, and
// what nobody can read is as if it had not been set.
func TestSettingsFromElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var inner store.Store
	w.wrap = func(s store.Store) store.Store { inner = s; return s }
	w.start()
	set := func(from int64, key, value string) {
		t.Helper()
		if _, err := inner.Configure(t.Context(), from, []tickets.Change{{Key: key, New: &value}}); err != nil {
			t.Fatal(err)
		}
	}
	set(0, tickets.KeyCategory, "Elsewhere")
	w.eventually("in force", func() bool { return w.bot.Current().Rules.Category == "Elsewhere" })
	set(1, tickets.KeyAutoClose, "perhaps")
	set(2, "of_a_later_version", "x")
	w.eventually("known as broken", func() bool { return len(w.bot.InvalidSettings()) == 2 })
	w.wants("config", "auto_close: “false” (set by the operator, ", "What was set cannot be used: write true or false")
	w.wants("status", "The setting auto_close cannot be used", "The setting of_a_later_version cannot be used")
	w.wants("config reset yes", "auto_close is now “false”.")
	if len(w.bot.InvalidSettings()) != 0 {
		t.Errorf("after a reset these are broken: %v", w.bot.InvalidSettings())
	}
}

// TestNothingBeforeTheSettings: a bot that has not read its settings, which
// may say who may decide no more, lets nobody decide by those it was started
// with.
func TestNothingBeforeTheSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.opened()
	only := "chat:U2"
	if _, err := s.Configure(t.Context(), 0, []tickets.Change{{Key: tickets.KeyApprovers, New: &only}}); err != nil {
		t.Fatal(err)
	}
	w.build(s)
	n := w.ask("r")
	if got := w.approve(n, ann, twoHours); got.(adapters.Note).Text != wording.MsgNotApprover {
		t.Errorf("Ann is told %+v", got)
	}
}
