package discord_test

import (
	"net/http"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

// TestReach: who is nobody is told with the reason; where Discord does not
// count a role's members, that is told.
func TestReach(t *testing.T) {
	t.Parallel()
	w := begin(t, "http", adaptertest.NewBook(), nil)
	const bot, gone, role = "600000000000000001", "600000000000000002", "600000000000000003"
	w.fake.AddUser(discordtest.User{ID: bot, Username: "bot", Bot: true})
	w.fake.AddRole(discordtest.Role{ID: role, Name: "leads"})
	w.fake.AddUser(discordtest.User{ID: userOf(0), Username: "person0", Nick: "Person Zero", Roles: []string{role}})
	tests := []struct {
		kind tickets.PrincipalKind
		id   string
		want adapters.Reach
	}{
		{tickets.User, bot, adapters.Reach{Name: "bot", Counted: true, Problem: "it is a bot: it can neither decide nor read a message"}},
		{tickets.User, gone, adapters.Reach{Counted: true, Problem: "Discord knows no such user"}},
		{tickets.User, userOf(0), adapters.Reach{Name: "Person Zero", People: 1, Counted: true}},
		{tickets.Role, role, adapters.Reach{Name: "@leads", People: 1, Counted: true}},
		{tickets.Role, discordtest.GuildID, adapters.Reach{Name: "@everyone"}},
		{tickets.Group, "1", adapters.Reach{Problem: "Discord has no such thing as a group"}},
	}
	var who []tickets.Principal
	for _, tt := range tests {
		who = append(who, tickets.Principal{Platform: discord.Platform, Kind: tt.kind, ID: tt.id})
	}
	for i, got := range w.chat.Resolve(t.Context(), who) {
		if got != tests[i].want {
			t.Errorf("Reach of %s = %+v, want %+v", who[i], got, tests[i].want)
		}
	}
	w.fake.Fail(discordtest.Fault{Method: http.MethodGet, Route: "/guilds/{guild}/roles/member-counts", Kind: discordtest.DiscordError, Status: http.StatusNotFound})
	if got := w.chat.Resolve(t.Context(), who[3:4]); got[0] != (adapters.Reach{Name: "@leads"}) {
		t.Errorf("without counts Reach = %+v, want the name alone", got)
	}
}
