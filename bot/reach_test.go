package bot_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

func (w *world) saysTo(a tickets.Actor, text string) string {
	w.t.Helper()
	return w.bot.Command(w.t.Context(), adapters.Command{Actor: a, Text: text}).(adapters.Note).Text
}

// TestRoles: admins see who is what, others only what they are themselves.
func TestRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := tickets.Principal{Platform: "chat", Kind: tickets.Group, ID: "S1"}
	w.approvers = append(w.approvers, group, tickets.Principal{Platform: "chat", Kind: tickets.Group, ID: "S2"}, tickets.Principal{Platform: "chat", Kind: tickets.Role, ID: "R1"})
	w.chat.reach = map[string]adapters.Reach{
		"U1": {Name: "Ann", People: 1, Counted: true},
		"U2": {Name: "Bob", Counted: true, Problem: "the account is deactivated"},
		"S1": {Name: "@desk", People: 12, Counted: true},
		"S2": {Err: errors.New("away")},
		"R1": {Name: "@leads"},
	}
	w.start()
	want := `You are an admin.
You are an approver.
Approvers, in Chat:
• Bob (chat:U2): the account is deactivated
• chat:group:S2: this cannot be read right now
• Ann (chat:U1)
• @desk (chat:group:S1): 12 people
• @leads (chat:role:R1): Chat does not tell how many people
Admins, in Chat:
• Ann (chat:U1)`
	if got := w.saysTo(ann, "roles"); got != want {
		t.Errorf("an admin is told\n%s\nwant\n%s", got, want)
	}
	w.chat.holds = func(p tickets.Principal, a tickets.Actor) (bool, error) {
		if p.Kind != tickets.User {
			return false, errors.New("away")
		}
		return p.ID == a.ID, nil
	}
	for _, tt := range []struct {
		who  tickets.Actor
		want string
	}{
		{bob, "You are not an admin.\nYou are an approver."},
		{sam, "You are not an admin.\nIt cannot be found out right now whether you are an approver."},
	} {
		if got := w.saysTo(tt.who, "roles"); got != tt.want {
			t.Errorf("%s is told %q, want %q", tt.who.Name, got, tt.want)
		}
	}
	w.chat.holds = nil
	if got, want := w.saysTo(sam, "roles"), "You are not an admin.\nYou are not an approver."; got != want {
		t.Errorf("a stranger is told %q, want %q", got, want)
	}
	w.wants("config set approvers chat:U2", "approvers is now")
	w.wants("roles", "You are not an approver.", "None of them is anybody, so that at present nobody can decide requests.")
}

// TestRolesOfWhoIsNotKnown: of approvers the reason why they can decide nothing
// is told, unless people may decide their own requests. Admins need not be known.
func TestRolesOfWhoIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		own  bool
		want string
	}{
		"Denied": {want: `Approvers, in Chat:
• Ann (chat:U1): addresses are hidden
• Bob (chat:U2): addresses are hidden
None of them can be told from whoever asked, so that at present nobody can decide requests.
Admins, in Chat:
• Ann (chat:U1)`},
		"Allowed": {own: true, want: `Approvers, in Chat:
• Ann (chat:U1)
• Bob (chat:U2)
Admins, in Chat:
• Ann (chat:U1)`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.own = tt.own
			w.chat.reach = map[string]adapters.Reach{
				"U1": {Name: "Ann", People: 1, Counted: true, Nameless: "addresses are hidden"},
				"U2": {Name: "Bob", People: 1, Counted: true, Nameless: "addresses are hidden"},
			}
			w.start()
			if got := w.saysTo(ann, "roles"); got != "You are an admin.\nYou are an approver.\n"+tt.want {
				t.Errorf("roles:\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestRolesOfWhatCannotBeRead tells what of the settings does not count.
func TestRolesOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	text := "chat:U1, nonsense"
	if _, err := w.store.Configure(t.Context(), 0, []tickets.Change{{Key: tickets.KeyApprovers, New: &text}}); err != nil {
		t.Fatal(err)
	}
	w.eventually("known as broken", func() bool { return len(w.bot.InvalidSettings()) == 1 })
	w.wants("roles", "Approvers, in Chat:\n• chat:U1\n", "The setting approvers cannot be read in whole, and what can be read counts: item 2: write platform:ID")
}

// TestMentionOfMany: before many people are mentioned, somebody who was told
// how many has to mean it.
func TestMentionOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.chat.reach = map[string]adapters.Reach{
		"S50": {Name: "@fifty", People: 50, Counted: true}, "S51": {Name: "@more", People: 51, Counted: true},
		"S0": {Name: "@none", Counted: true, Problem: "nobody is in it"}, "R1": {Name: "@leads"}, "S9": {Err: errors.New("away")},
	}
	w.start()
	w.wants("config set assignment_group chat:group:S50", "assignment_group is now “chat:group:S50”, it was empty.\nEach new ticket mentions:\n• @fifty (chat:group:S50): 50 people")
	w.wants("config set assignment_group chat:group:S51", "Nothing was changed yet: each new ticket would mention 51 people.", "• @more (chat:group:S51): 51 people", "send it again with yes at the end")
	if got := w.bot.Current().Show(tickets.KeyAssignmentGroup); got != "chat:group:S50" {
		t.Errorf("assignment_group = %q although nobody has said yes", got)
	}
	w.wants("config set assignment_group chat:group:S51 YES", "assignment_group is now “chat:group:S51”, it was “chat:group:S50”.\nEach new ticket mentions:")
	w.wants("config set assignment_group chat:group:S51 yes", "Nothing to change")
	w.wants("config set assignment_group yes", "assignment_group was not changed: item 1")
	w.wants("config set assignment_group chat:group:S0", "• @none (chat:group:S0): nobody is in it")
	w.wants("config set assignment_group chat:role:R1", "• @leads (chat:role:R1): Chat does not tell how many people")
	w.wants("config set assignment_group chat:group:S9", "• chat:group:S9: this cannot be read right now")
	if got := w.says("config set category really yes"); !strings.HasPrefix(got, "category is now “really yes”") || strings.Contains(got, "mention") {
		t.Errorf("another setting that ends in yes: %q", got)
	}
	if got := w.says("config set assignment_group"); strings.Contains(got, "mention") || !strings.Contains(got, "is now empty") {
		t.Errorf("nobody: %q", got)
	}
}

// TestReachLeavesTimeToAnswer: a chat that does not tell in time is not waited
// for.
func TestReachLeavesTimeToAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var left time.Duration
	w.chat.reached = func(ctx context.Context) {
		end, _ := ctx.Deadline()
		left = time.Until(end)
	}
	w.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	w.bot.Command(ctx, adapters.Command{Actor: ann, Text: "roles"})
	if left > 10*time.Second || left < time.Second {
		t.Errorf("with much time a chat has %v, want up to 10 s", left)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	w.bot.Command(ctx, adapters.Command{Actor: ann, Text: "roles"})
	if left > 4*time.Second {
		t.Errorf("of 5 s a chat has %v, want a second kept for the answer", left)
	}
}
