package bot_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/tickets"
)

// TestResetAsksFirst: a reset of all says what would change, and changes it
// after a yes; one that would be refused says that at once. To see it fail, let
// resetConfig take no words for a yes.
func TestResetAsksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	unchanged := func(version int64) {
		t.Helper()
		if set, err := w.store.Settings(t.Context()); err != nil || set.Version != version {
			t.Fatalf("settings = %+v, %v; want version %d", set, err, version)
		}
	}
	for _, text := range []string{"config reset", "config reset yes", "config reset category"} {
		w.wants(text, "Nothing to change: ", " is as the program was started with.")
	}
	w.wants("config set category Games", "category is now")
	w.wants("config set approvers chat:U2", "approvers is now")
	got := w.says("config RESET")
	for _, want := range []string{"Nothing was changed yet. /epm config reset yes ", "\napprovers: “chat:U1, chat:U2”, now “chat:U2”.", "\ncategory: empty, now “Games”."} {
		if !strings.Contains(got, want) {
			t.Errorf("/epm config reset = %q, want %q in it", got, want)
		}
	}
	if n := strings.Count(got, "\n"); n != 2 {
		t.Errorf("it tells of %d settings, want 2: %q", n, got)
	}
	unchanged(2)
	w.wants("config reset no", "There is no setting “no”.")
	w.wants("config reset yes yes", "Say what to do")
	w.wants("config reset category yes", "Say what to do")
	unchanged(2)
	w.wants("config reset CATEGORY", "category is now empty, it was “Games”.")
	unchanged(3)
	if set, _ := w.store.Settings(t.Context()); set.Values[tickets.KeyApprovers] != "chat:U2" {
		t.Errorf("the other setting is %q, want it left alone", set.Values[tickets.KeyApprovers])
	}
	w.wants("config reset YES", "approvers is now “chat:U1, chat:U2”, it was “chat:U2”.")
	unchanged(4)
}

// TestResetSaysWhatItWouldNotDo: what would be refused after a yes is refused
// before it, in the same words.
func TestResetSaysWhatItWouldNotDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.admins = []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: bob.ID}}
	s := w.opened()
	both := "chat:" + ann.ID + ", chat:" + bob.ID
	if _, err := s.Configure(t.Context(), 0, []tickets.Change{{Key: tickets.KeyAdmins, New: &both}}); err != nil {
		t.Fatal(err)
	}
	w.build(s)
	const want = "Nothing was changed: you would not be an admin any more."
	for _, text := range []string{"config reset", "config reset yes", "config reset admins"} {
		w.wants(text, want)
	}
}

// TestResetOfALaterVersion: what only a later version knows can be reset
// alone.
func TestResetOfALaterVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.opened()
	later, games := "x", "Games"
	if _, err := s.Configure(t.Context(), 0, []tickets.Change{{Key: "of_a_later_version", New: &later}, {Key: tickets.KeyCategory, New: &games}}); err != nil {
		t.Fatal(err)
	}
	w.build(s)
	w.wants("status", "The setting of_a_later_version cannot be used")
	w.wants("config reset", "\nof_a_later_version: ", "\ncategory: empty, now “Games”.")
	w.wants("config reset of_a_later_version", "of_a_later_version is now ")
	if got := w.says("status"); strings.Contains(got, "later_version") {
		t.Errorf("/epm status still says %q", got)
	}
	w.wants("config", "category: “Games”")
}
