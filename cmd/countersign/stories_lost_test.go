package main

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/epm/epmtest"
)

// EPM takes a decision and its answer is lost. What EPM recorded is known to
// be ours by the name that it was sent, whichever way its word comes and
// whatever the approver is called: the cards say so, with the mention.
func TestStoryEPMsAnswerIsLost(t *testing.T) {
	for keep, with := range map[string]func(*testing.T) option{
		"SQLite": func(*testing.T) option { return func(*story) {} },
		"Redis":  func(t *testing.T) option { return withRedis(startRedis(t)) },
	} {
		for _, word := range []string{"Webhook", "Record"} {
			for _, chat := range []string{"Slack", "Discord"} {
				t.Run(keep+"/"+word+"/"+chat, func(t *testing.T) {
					t.Parallel()
					s := tell(t, withDiscord, with(t), func(s *story) {
						s.discord.AddUser(discordtest.User{ID: discordGrace, Username: "grace", Nick: "Grace (slack:U02BOB)\u202e", Roles: []string{discordRole}})
					})
					r, _ := s.requested()
					s.discordShows("waiting for a decision")
					lost := epmtest.Fault{On: epmtest.AppDecision, Times: 1, Kind: epmtest.Drop, Did: true}
					if word == "Webhook" { // the bot can neither ask nor get an answer to what it sends again
						lost.Times = -1
						s.epm.Fail(epmtest.Fault{On: epmtest.Read, Times: -1, Kind: epmtest.Answer, Status: 503})
					}
					s.epm.Fail(lost)
					by, mention := "slack:U01ANN ", "@U01ANN"
					if chat == "Slack" {
						s.decide("U01ANN", "approve", hours2)
					} else {
						by, mention = "discord:"+discordGrace+" Grace slack:U02BOB", "<@"+discordGrace+">"
						s.discordOpens(discordGrace, "approve")
						s.discordSubmits(discordGrace, hours2)
					}
					s.inEffect(r.ID, "Approved", "7200")
					if d, _ := s.epm.Effective(r.ID); !strings.HasPrefix(d.By, by) || strings.ContainsAny(d.By, "()\u202e") {
						t.Errorf("EPM has it by %+q, want %q", d.By, by)
					}
					if word == "Webhook" {
						s.confirmed(r.ID)
					} else {
						s.eventually("EPM is asked", func() bool {
							s.skew.Add(int64(time.Second))
							return len(s.epm.Calls(epmtest.Read)) > 0
						})
					}
					inSlack := s.shows("Confirmed by EPM: approved for 2 hours, until")
					inDiscord := s.discordShows("Confirmed by EPM: approved for 2 hours, until")
					if all := string(inSlack.Blocks) + inDiscord.text; !strings.Contains(all, mention) {
						t.Errorf("no card has %q: %s", mention, all)
					}
					for where, replies := range map[string]func() string{"Slack": s.replies, "Discord": s.discordReplies} {
						s.eventually("the thread in "+where, func() bool { return strings.Contains(replies(), "Confirmed by EPM") })
						if told := replies(); strings.Contains(told, "EPM recorded") || strings.Contains(told, "\u202e") {
							t.Errorf("the thread in %s says %s", where, told)
						}
					}
				})
			}
		}
	}
}
