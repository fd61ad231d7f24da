package slack_test

import (
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

// TestReach: who is nobody is told with the reason, and all user groups cost
// one call.
func TestReach(t *testing.T) {
	t.Parallel()
	w := begin(t, "http", adaptertest.NewBook(), nil)
	w.fake.AddUser(slacktest.User{ID: "U0GONE", Name: "gone", RealName: "Gone\nExample", Deleted: true})
	w.fake.AddUser(slacktest.User{ID: "U0BOT", Name: "bot", Bot: true})
	w.fake.AddUser(slacktest.User{ID: "U0OTHER", Name: "other", TeamID: "T0OTHER"})
	w.fake.AddGroup(slacktest.Group{ID: "S0OFF", Handle: "off", Users: []string{userOf(0)}, Disabled: true})
	w.fake.AddGroup(slacktest.Group{ID: "S0TWO", Handle: "two", Users: []string{userOf(0), userOf(1)}})
	w.fake.AddChannel(slacktest.Channel{ID: "C0SECRET", Name: "secret", Private: true, Members: []string{userOf(0)}})
	tests := []struct {
		kind tickets.PrincipalKind
		id   string
		want adapters.Reach
	}{
		{tickets.User, "U0GONE", adapters.Reach{Name: "Gone ⏎ Example", Counted: true, Problem: "the account is deactivated"}},
		{tickets.User, "U0BOT", adapters.Reach{Name: "bot", Counted: true, Problem: "it is a bot: it can neither decide nor read a message"}},
		{tickets.User, "U0OTHER", adapters.Reach{Name: "other", Counted: true, Problem: "they belong to another workspace, whose people may not act here"}},
		{tickets.Group, "S0OFF", adapters.Reach{Name: "@off", Counted: true, Problem: "the user group is disabled"}},
		{tickets.Group, "S0TWO", adapters.Reach{Name: "@two", People: 2, Counted: true}},
		{tickets.Channel, channel, adapters.Reach{Name: "#epm", People: adaptertest.People, Counted: true}}, // without the bot
		{tickets.Channel, "C0SECRET", adapters.Reach{Problem: "Countersign sees no such channel"}},
		{tickets.Role, "R1", adapters.Reach{Problem: "Slack has no roles"}},
	}
	var who []tickets.Principal
	for _, tt := range tests {
		who = append(who, tickets.Principal{Platform: slack.Platform, Kind: tt.kind, ID: tt.id})
	}
	for i, got := range w.chat.Resolve(t.Context(), who) {
		if got != tests[i].want {
			t.Errorf("Reach of %s = %+v, want %+v", who[i], got, tests[i].want)
		}
	}
	if n := w.fake.Count("usergroups.list"); n != 1 {
		t.Errorf("the user groups were listed %d times, want once", n)
	}
	w.chat.Resolve(t.Context(), who[:3])
	if n := w.fake.Count("users.info") - 1; n != 3 {
		t.Errorf("users.info was called %d times, want once for each user", n)
	}
	w.fake.Fail(slacktest.Fault{Method: "usergroups.list", Kind: slacktest.SlackError, ErrorName: "plan_upgrade_required"})
	if got := w.chat.Resolve(t.Context(), who[4:5]); got[0].Problem != "this workspace has no user groups" || got[0].Err != nil {
		t.Errorf("without user groups Reach = %+v", got)
	}
}
