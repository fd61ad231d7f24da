package bot_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// damage puts text in the place of the settings in the store.
func (w *world) damage(text string) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(w.t.Context(), `PRAGMA busy_timeout = 5000; INSERT OR REPLACE INTO meta (key, value) VALUES ('settings', ?)`, text); err != nil {
		w.t.Fatal(err)
	}
}

const damaged = `{"v":1,"version":1,"values":{"category":"Secu`

// TestDamagedSettings: while the settings cannot be read the known ones hold,
// a reset makes the default again, and what stood there is kept.
func TestDamagedSettings(t *testing.T) {
	t.Parallel()
	w := newFileWorld(t)
	w.start()
	w.wants("config set category Security", "category is now “Security”")
	w.damage(damaged)
	w.wants("status", "The settings in my store are damaged")
	w.wants("config", "damaged and cannot be read. An admin makes the default settings again with /epm config reset")
	w.wants("config set category x", "damaged and cannot be read")
	if got := w.bot.Current().Rules.Category; got != "Security" {
		t.Errorf("the category in force is %q, want the known one", got)
	}
	if got := w.bot.Command(t.Context(), adapters.Command{Actor: sam, Text: "config reset"}).(adapters.Note).Text; got != wording.MsgNotAdmin {
		t.Errorf("a stranger is told %q", got)
	}
	w.wants("config reset", "Nothing was changed yet. The settings in my store are damaged", "/epm config reset yes makes")
	w.wants("config reset category", "damaged and cannot be read")
	w.wants("status", "The settings in my store are damaged")
	w.wants("config reset yes", "Every setting is as the program was started with again. What stood there is kept")
	if got := w.bot.Current().Rules.Category; got != "" {
		t.Errorf("the category in force is %q, want none", got)
	}
	changes, err := w.store.Changes(t.Context(), 1)
	if err != nil || changes[0].Key != tickets.KeyDamaged || *changes[0].Old != damaged || changes[0].By != ann {
		t.Errorf("the newest change = %+v, %v", changes, err)
	}
	w.wants("config", "Settings, version 2.", "category: empty")
	w.wants("config set category Again", "category is now “Again”")
	if got := w.says("status"); strings.Contains(got, "damaged") {
		t.Errorf("/epm status still says %q", got)
	}
}

// TestStartWithDamagedSettings: nobody decides by the settings of the start,
// and an admin of the start makes them hold.
func TestStartWithDamagedSettings(t *testing.T) {
	t.Parallel()
	w := newFileWorld(t)
	s := w.opened()
	w.damage(damaged)
	w.build(s)
	for _, text := range []string{"tickets", "config", "config set category x"} {
		w.wants(text, "damaged and cannot be read")
	}
	if got := w.approve("JIT-1001", ann, twoHours).(adapters.Note); !strings.Contains(got.Text, "damaged") || !got.Retryable {
		t.Errorf("an approver is told %+v", got)
	}
	if _, err := w.bot.Keep(t.Context(), request("r")); err == nil {
		t.Error("a webhook was taken although nobody knows where it is to be shown")
	}
	if got := w.bot.Command(t.Context(), adapters.Command{Actor: bob, Text: "config reset"}).(adapters.Note).Text; got != wording.MsgNotAdmin {
		t.Errorf("an approver is told %q", got)
	}
	w.wants("config reset yes", "Every setting is as the program was started with again.")
	w.ask("r")
	w.wants("tickets", "JIT-1001")
}
