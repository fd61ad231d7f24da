package main

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
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
		inSlack(stranger, "config", wording.MsgNotAdmin)
		inSlack(stranger, "config set approvers slack:"+stranger, wording.MsgNotAdmin)
	}
	inDiscord(discordSam, "config", map[string]string{"action": "reset"}, wording.MsgNotAdmin)

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
	s.told("U01ANN", wording.MsgNotApprover)
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

// An admin who wants new requests to wait for one says so in Slack's form and in
// Discord's command; the status, the cards and doctor tell what it means.
func TestStoryFirstStateInactive(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord)
	const means = "ew requests begin in New, which is not an active state: nobody can decide one before an admin moves it to On Hold"
	p := s.slack.Person("U01ANN")
	s.slackSays("U01ANN", "config")
	sends := func(values map[string]string, want string) {
		t.Helper()
		form, ok := p.View()
		if !ok {
			t.Fatal("there is no form")
		}
		in := map[string]string{}
		for id := range form.Typed {
			key, _, _ := strings.Cut(id, "@")
			for name, value := range values {
				if strings.HasPrefix(key, name) {
					in[id] = value
				}
			}
		}
		if len(in) != len(values) {
			t.Fatalf("the form asks for %q, want %q among it", form.Typed, values)
		}
		if problems, err := p.Submit(t.Context(), in); err != nil || len(problems) > 0 {
			t.Fatalf("Submit(%q) = %v, %v", values, problems, err)
		}
		s.eventually("the form says "+want, func() bool {
			v, ok := p.View()
			return ok && strings.Contains(string(v.Blocks), want)
		})
	}
	sends(map[string]string{"active_states": "On Hold"}, "Nothing was changed yet: n"+means)
	sends(nil, "Nothing was changed yet: n"+means)
	sends(map[string]string{"confirm-": "yes"}, "N"+means)
	s.has("/epm status", s.slackSays("U01ANN", "status"), "N"+means)
	if text, fixes, err := s.doctored(t.Context(), nil); err != nil || !strings.Contains(text, "note N"+means) {
		t.Errorf("doctor = %v, %v\n%s", err, fixes, text)
	}
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	s.shows("no decision can be made in state New until an admin moves it")
	s.discordShows("no decision can be made in state New until an admin moves it")

	set := func(value string) string {
		return s.discordSays(discordAnn, "config", map[string]string{"action": "set", "key": "active_states", "value": value})
	}
	s.has("all states", set("New, On Hold"), "active_states is now “New, On Hold”")
	s.shows("Pending: waiting for a decision")
	s.has("without a yes", set("On Hold"), "Nothing was changed yet: n"+means+".\nIf that is what you want, send it again with yes at the end.")
	s.has("with it", set("On Hold yes"), "active_states is now “On Hold”, it was “New, On Hold”.\nN"+means)
}
