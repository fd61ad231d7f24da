package main

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
)

// requestedBy is requested, by a user of that name.
func (s *story) requestedBy(user string) *epmtest.Request {
	s.Helper()
	r, err := s.epm.RequestApp(epmtest.App{User: user})
	if err != nil {
		s.Fatal(err)
	}
	s.shows("waiting for a decision")
	return r
}

// refuses has somebody click in Slack, and be told why no form opens.
func (s *story) refuses(person, button, want string) {
	s.Helper()
	p := s.slack.Person(person)
	if err := p.Click(s.Context(), channel, s.cards()[0].TS, button); err != nil {
		s.Fatalf("%s clicks %s: %v", person, button, err)
	}
	s.told(person, want)
	if _, open := p.View(); open {
		s.Errorf("a form opened for %s", person)
	}
}

func TestStoryOwnRequest(t *testing.T) {
	for name, transport := range map[string]option{"HTTP": func(*story) {}, "Socket": bySocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, transport)
			r := s.requestedBy("Ann@Example.com")
			s.refuses("U01ANN", "approve", wording.MsgOwnRequest)
			s.refuses("U01ANN", "deny", wording.MsgOwnRequest)
			if n := len(s.epm.Decisions(r.ID)); n != 0 {
				t.Fatalf("%d decisions reached EPM", n)
			}
			s.decide("U02BOB", "approve", hours2)
			s.inEffect(r.ID, "Approved", "7200")
			if log := s.logs.String(); !strings.Contains(log, "it is same their own request") || strings.Contains(strings.ToLower(log), "ann@example.com") {
				t.Error("the log does not tell of the refusal, or tells of the person")
			}
		})
	}
}

func TestStoryPerhapsOwnRequest(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r := s.requestedBy(`ACME\ann`)
	s.refuses("U01ANN", "approve", `This request may be your own: it was made by ACME\ann, and you are ann@example.com. Please let somebody else decide it`)
	s.decide("U03GRACE", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
}

// TestStoryCannotTellWhoseRequest: while Slack does not tell who somebody is
// they decide nothing, also with a form that is open already.
func TestStoryCannotTellWhoseRequest(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r := s.requestedBy(`ACME\jdoe`)
	s.opens("U02BOB", "approve")
	s.skew.Add(int64(2 * time.Minute)) // what Slack told is too old
	s.slack.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.InternalError, Times: -1})
	s.refuses("U01ANN", "approve", wording.MsgCannotTell)
	if problems := s.submits("U02BOB", map[string]string{"reason": "ok"}); problems["reason"] != wording.MsgCannotTell {
		t.Errorf("problems = %v, want %q and what was typed kept", problems, wording.MsgCannotTell)
	}
	if n := len(s.epm.Decisions(r.ID)); n != 0 {
		t.Fatalf("%d decisions reached EPM", n)
	}
	s.slack.ClearFaults()
	if problems := s.submits("U02BOB", map[string]string{"reason": "now"}); len(problems) > 0 {
		t.Errorf("problems = %v after Slack tells again", problems)
	}
	s.inEffect(r.ID, "Approved", "Once")
}

func TestStoryOwnRequestAllowed(t *testing.T) {
	t.Parallel()
	s := tell(t, func(s *story) { s.env.SettingsSelfApproval = "allow" })
	r := s.requestedBy("ann@example.com")
	before := s.slack.Count("users.info") // about the bot itself
	s.decide("U01ANN", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
	if n := s.slack.Count("users.info") - before; n != 0 {
		t.Errorf("Slack was asked %d times who somebody is, for nothing", n)
	}
}

func TestStoryOwnRequestInDiscord(t *testing.T) {
	for name, transport := range map[string]option{"Gateway": withDiscord, "HTTP": discordByHTTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, transport, discordOnly)
			r, err := s.epm.RequestAdmin(epmtest.Admin{User: `ACME\grace`})
			if err != nil {
				t.Fatal(err)
			}
			card := s.discordShows("administrator", "waiting for a decision")
			grace := s.discord.Person(discordGrace)
			for _, button := range []string{"approve", "deny"} {
				if err := grace.Click(t.Context(), discordChannel, card.id, card.custom[button]); err != nil {
					t.Fatal(err)
				}
				if _, open := grace.Modal(); open {
					t.Errorf("a form opened for %s", button)
				}
			}
			if told := s.discordTold(discordGrace); strings.Count(told, `This request may be your own: it was made by ACME\grace, and you are grace.`) != 2 {
				t.Errorf("told %q, want twice why not", told)
			}
			s.discordOpens(discordAnn, "approve")
			s.discordSubmits(discordAnn, hours2)
			s.inEffect(r.ID, "Approved", "7200")
		})
	}
	t.Run("Allowed", func(t *testing.T) {
		t.Parallel()
		s := tell(t, withDiscord, discordOnly, func(s *story) { s.env.SettingsSelfApproval = "allow" })
		r, err := s.epm.RequestAdmin(epmtest.Admin{User: `ACME\grace`})
		if err != nil {
			t.Fatal(err)
		}
		s.discordShows("waiting for a decision")
		s.discordOpens(discordGrace, "approve")
		s.discordSubmits(discordGrace, hours2)
		s.inEffect(r.ID, "Approved", "7200")
	})
}

// TestStoryAddressesAreHidden: the workspace's setting is named to whoever
// cannot decide because of it, by /epm roles and by doctor, and nothing else has
// to be done than to change it.
func TestStoryAddressesAreHidden(t *testing.T) {
	t.Parallel()
	const setting = "Workspace settings, Email display"
	s := tell(t)
	s.slack.HideAddresses(true)
	r := s.requestedBy(`ACME\jdoe`)
	s.refuses("U01ANN", "approve", setting)
	if says := s.slackSays("U01ANN", "roles"); strings.Count(says, setting) != 3 || !strings.Contains(says, "so that at present nobody can decide requests") {
		t.Errorf("roles: %s\nwant the setting for each of three approvers, none for admins", says)
	}
	_, fixes, _ := s.doctored(t.Context(), nil)
	if len(fixes) != 1 || !strings.Contains(fixes[0], setting) {
		t.Errorf("to fix: %q, want the setting alone", fixes)
	}
	s.slack.HideAddresses(false)
	s.skew.Add(int64(2 * time.Minute)) // what Slack told is too old
	s.decide("U01ANN", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
}

// TestStoryApproverGroupIsGone: a stranger reads that they may not decide, not
// that it cannot be found out; doctor, /epm roles and /epm status tell admins of
// the group; nothing is an error. A group that cannot be read stays closed.
func TestStoryApproverGroupIsGone(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.requestedBy(`ACME\jdoe`)
	s.slack.RemoveGroup("S01HELP")
	s.refuses("U09SAM", "approve", wording.MsgNotApprover)
	s.refuses("U03GRACE", "approve", wording.MsgNotApprover)
	for word, want := range map[string]string{
		"roles":  "• slack:group:S01HELP: Slack knows no such user group",
		"status": "Named as approvers or admins, but nobody: slack:group:S01HELP: Slack knows no such user group.",
	} {
		s.has("/epm "+word, s.slackSays("U01ANN", word), want)
	}
	_, fixes, _ := s.doctored(t.Context(), nil)
	if len(fixes) != 1 || !strings.Contains(fixes[0], "the user group S01HELP") || !strings.Contains(fixes[0], "there is no such user group") {
		t.Errorf("to fix: %q, want the group", fixes)
	}
	if log := s.logs.String(); strings.Contains(log, "cannot check approver") {
		t.Error("a group that is gone is logged as one that cannot be read")
	}
	s.skew.Add(int64(2 * time.Minute)) // what Slack told is too old
	s.slack.RemoveScopes("usergroups:read")
	s.refuses("U09SAM", "approve", wording.MsgCannotCheck)
}

// TestStoryApproverRoleIsGone: the same in Discord.
func TestStoryApproverRoleIsGone(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord, discordOnly)
	if _, err := s.epm.RequestAdmin(epmtest.Admin{User: `ACME\jdoe`}); err != nil {
		t.Fatal(err)
	}
	card := s.discordShows("administrator", "waiting for a decision")
	s.discord.RemoveRole(discordRole)
	for _, person := range []string{discordSam, discordGrace} {
		if err := s.discord.Person(person).Click(t.Context(), discordChannel, card.id, card.custom["approve"]); err != nil {
			t.Fatal(err)
		}
		if told := s.discordTold(person); !strings.Contains(told, wording.MsgNotApprover) {
			t.Errorf("told %q, want %q", told, wording.MsgNotApprover)
		}
	}
	s.has("/epm status", s.discordSays(discordAnn, "status", nil), "Named as approvers or admins, but nobody: discord:role:"+discordRole+": the server has no such role.")
	_, fixes, _ := s.doctored(t.Context(), nil)
	if !strings.Contains(strings.Join(fixes, "\n"), "the server has no such role") {
		t.Errorf("to fix: %q, want the role", fixes)
	}
}

// TestDoctorFindsThatNobodyCanBeIdentified: without the scope nobody could
// decide.
func TestDoctorFindsThatNobodyCanBeIdentified(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.slack.RemoveScopes("users:read.email")
	_, fixes, _ := s.doctored(t.Context(), nil)
	if len(fixes) != 1 || !strings.Contains(fixes[0], "lacks the scope users:read.email") || !strings.Contains(fixes[0], "Reinstall to Workspace") {
		t.Errorf("to fix: %q, want the scope and what to do", fixes)
	}
	s.requestedBy(`ACME\jdoe`)
	s.refuses("U01ANN", "approve", wording.MsgCannotTell)
}
