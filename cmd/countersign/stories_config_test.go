package main

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
)

// Settings are changed in either chat, hold in both and in every replica, and
// are not for everybody. Cards show what the settings say.
func TestStoryConfig(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord, withRedis(startRedis(t)))
	_, stop := s.join(0)
	defer stop()
	says := func(answer, want string) {
		t.Helper()
		if !strings.Contains(answer, want) {
			t.Errorf("answer %q, want %q in it", answer, want)
		}
	}
	inSlack := func(person, text, want string) { t.Helper(); says(s.slackSays(person, text), want) }
	inDiscord := func(person, word string, options map[string]string, want string) {
		t.Helper()
		says(s.discordSays(person, word, options), want)
	}
	for _, stranger := range []string{"U09SAM", "U02BOB"} { // Bob is an approver
		inSlack(stranger, "config", adapters.SayNotAdmin)
		inSlack(stranger, "config set approvers slack:"+stranger, adapters.SayNotAdmin)
	}
	inDiscord(discordSam, "config", map[string]string{"action": "reset"}, adapters.SayNotAdmin)

	inSlack("U01ANN", "config list", "category: empty")
	inSlack("U01ANN", "config set fields reason, user", "fields is now “reason, user”")
	inDiscord(discordAnn, "config", map[string]string{"action": "set", "key": "category", "value": "Security"}, "category is now “Security”")
	inDiscord(discordAnn, "config", nil, "fields: “reason, user” (set by")
	inSlack("U01ANN", "config set approvers slack:channel:C01EPM, nobody", "item 2: write platform:ID")
	inSlack("U01ANN", "config set chanels slack:C1", "Did you mean channels?")
	inSlack("U01ANN", "config set assignment_group slack:group:S01HELP, discord:role:"+discordRole, "assignment_group is now")
	inSlack("U01ANN", "config set approvers slack:U02BOB", "approvers is now “slack:U02BOB”")

	r, card := s.requested()
	if blocks := string(card.Blocks); !strings.Contains(blocks, "<!subteam^S01HELP>") || strings.Contains(blocks, "*Computer*") ||
		!strings.Contains(blocks, "*User*") || !strings.Contains(blocks, "Reason: ") {
		t.Errorf("the card does not show the user, the reason and no more, or does not mention the group:\n%s", blocks)
	}
	s.eventually("Discord has it", func() bool { return len(s.discordCards()) == 1 })
	p := s.slack.Person("U01ANN")
	if err := p.Click(t.Context(), channel, card.TS, "approve"); err != nil {
		t.Fatal(err)
	}
	s.told("U01ANN", adapters.SayNotApprover)
	if problems := s.decide("U02BOB", "deny", map[string]string{"reason": "no"}); len(problems) > 0 {
		t.Fatalf("problems = %v", problems)
	}
	s.inEffect(r.ID, "Denied", "Once")
	inDiscord(discordAnn, "config", map[string]string{"action": "reset"}, "Nothing was changed yet")
	inSlack("U01ANN", "config reset", "approvers: ")
	inSlack("U01ANN", "config list", "Settings, version 4.")
	inDiscord(discordAnn, "config", map[string]string{"action": "reset", "key": "fields"}, "fields is now empty, it was “reason, user”.")
	inDiscord(discordAnn, "config", map[string]string{"action": "reset", "value": "yes"}, "approvers is now")
	inSlack("U01ANN", "config list", "Settings, version 6.")
}
