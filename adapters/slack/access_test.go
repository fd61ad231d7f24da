package slack_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// TestSees: members of a channel see what is shown in it, wherever they type,
// for a minute longer than they are members. What Slack does not tell is a no.
func TestSees(t *testing.T) {
	now := time.Now()
	var ahead atomic.Int64
	w := begin(t, "http", adaptertest.NewBook(), func(_ *slacktest.Config, c *slack.Config) {
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	other := tickets.Place{Platform: slack.Platform, Channel: "C0OTHER"}
	w.fake.AddChannel(slacktest.Channel{ID: other.Channel, Name: "other", Members: []string{slacktest.BotUserID, userOf(0)}})
	check := func(i int, in, place tickets.Place, want bool) {
		t.Helper()
		if got, err := w.chat.Sees(t.Context(), w.Actor(i), in, place); err != nil || got != want {
			t.Errorf("Sees(%d, %s, %s) = %v, %v; want %v", i, in, place, got, err, want)
		}
	}
	for _, in := range []tickets.Place{{}, w.Place(), other} {
		check(0, in, other, true)
		check(1, in, other, false)
		check(1, in, w.Place(), true)
		check(1, in, tickets.Place{Platform: "discord", Channel: channel}, false)
	}
	if n := w.fake.Count("conversations.members"); n != 2 {
		t.Errorf("the members of two channels were asked for %d times", n)
	}
	w.fake.AddChannel(slacktest.Channel{ID: other.Channel, Name: "other", Members: []string{slacktest.BotUserID, userOf(1)}})
	ahead.Add(int64(61 * time.Second))
	check(0, other, other, false)
	check(1, other, other, true)

	ahead.Add(int64(61 * time.Second))
	w.fake.Fail(slacktest.Fault{Method: "conversations.members", Kind: slacktest.Unavailable, Times: -1})
	if got, err := w.chat.Sees(t.Context(), w.Actor(1), other, other); got || err == nil {
		t.Errorf("Sees = %v, %v although Slack does not tell; want an error", got, err)
	}
	w.fake.ClearFaults()
	check(1, other, other, true)
}

// TestForeignEventsHaveNoEffect: what another app or workspace lost is none of
// our business, and of ours Slack is asked before anything is switched off.
func TestForeignEventsHaveNoEffect(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			w := begin(t, mode, adaptertest.NewBook(), nil)
			send := func(app, team, enterprise, event string) {
				t.Helper()
				body := fmt.Sprintf(`{"type":"event_callback","api_app_id":%q,"team_id":%q,"enterprise_id":%q,"event":%s}`, app, team, enterprise, event)
				if _, err := w.fake.Send(t.Context(), slacktest.EventsAPI, json.RawMessage(body)); err != nil {
					t.Fatal(err)
				}
			}
			lost := []string{`{"type":"app_uninstalled"}`, `{"type":"tokens_revoked","tokens":{"bot":["U0BOT"]}}`}
			asked := w.fake.Count("auth.test")
			for _, event := range lost {
				send(slacktest.AppID, "T99ELSE", "", event)
				send("A99ELSE", slacktest.TeamID, "", event)
				send("", slacktest.TeamID, "", event)
				send(slacktest.AppID, "", "", event)
				send(slacktest.AppID, "", "E99ELSE", event)
			}
			for _, event := range lost {
				send(slacktest.AppID, slacktest.TeamID, "", event) // ours, but Slack takes the token still
				asked++
				poll(t, "auth.test is asked", func() bool { return w.fake.Count("auth.test") == asked })
			}
			poll(t, "both were looked into", func() bool { return strings.Count(w.log.String(), "but not the bot token in use") == 2 })
			select {
			case err := <-w.ended:
				w.ended <- nil
				t.Fatalf("Run = %v", err)
			default:
			}
			if err := w.chat.Ready(); err != nil {
				t.Errorf("Ready = %v", err)
			}
			if n := w.fake.Count("auth.test"); n != asked {
				t.Errorf("auth.test was asked %d times, want %d: for events of others too", n, asked)
			}
		})
	}
}

// TestWhoBelongs: people of the workspace may act, and those of another one of
// its organisation, if the delivery, auth.test and users.info name the same. It
// is the same for who is told to be an approver.
func TestWhoBelongs(t *testing.T) {
	for _, tt := range []struct {
		name             string
		ours             string // the organisation, by auth.test
		user             slacktest.User
		teams            []string // allowed by the configuration
		team, enterprise string   // in the delivery
		userTeam         string
		silent           bool // Slack does not answer users.info
		belongs, asked   bool
		says             string
	}{
		{name: "Home", user: slacktest.User{}, team: slacktest.TeamID, userTeam: slacktest.TeamID, belongs: true},
		{name: "HomeUnsaid", user: slacktest.User{}, team: slacktest.TeamID, belongs: true, asked: true},
		{name: "StrangerUnsaid", user: slacktest.User{TeamID: "T0OTHER"}, team: slacktest.TeamID, asked: true},
		{name: "DeactivatedUnsaid", user: slacktest.User{Deleted: true}, team: slacktest.TeamID, asked: true},
		{name: "BotUnsaid", user: slacktest.User{Bot: true}, team: slacktest.TeamID, asked: true},
		{name: "UnsaidAndSilent", user: slacktest.User{}, team: slacktest.TeamID, silent: true, asked: true, says: wording.MsgCannotPlace},
		{name: "Stranger", user: slacktest.User{TeamID: "T0OTHER"}, team: slacktest.TeamID, userTeam: "T0OTHER"},
		{name: "StrangerToTheOrganisation", ours: "E0GRID", user: slacktest.User{TeamID: "T0OTHER", EnterpriseID: "E0ELSE"}, team: slacktest.TeamID, enterprise: "E0GRID", userTeam: "T0OTHER", asked: true},
		{name: "Sister", ours: "E0GRID", user: slacktest.User{TeamID: "T0OTHER", EnterpriseID: "E0GRID"}, team: slacktest.TeamID, enterprise: "E0GRID", userTeam: "T0OTHER", belongs: true, asked: true},
		{name: "SisterInItsOwnWorkspace", ours: "E0GRID", user: slacktest.User{TeamID: "T0OTHER", EnterpriseID: "E0GRID"}, team: "T0OTHER", enterprise: "E0GRID", userTeam: "T0OTHER", belongs: true, asked: true},
		{name: "WholeOrganisation", ours: "E0GRID", user: slacktest.User{TeamID: "T0OTHER", EnterpriseID: "E0GRID"}, enterprise: "E0GRID", userTeam: "T0OTHER", belongs: true, asked: true},
		{name: "SisterAndSilent", ours: "E0GRID", user: slacktest.User{TeamID: "T0OTHER", EnterpriseID: "E0GRID"}, team: slacktest.TeamID, enterprise: "E0GRID", userTeam: "T0OTHER", silent: true, asked: true, says: wording.MsgCannotPlace},
		{name: "OrganisationOfTheDeliveryAlone", user: slacktest.User{TeamID: "T0OTHER", EnterpriseID: "E0GRID"}, team: slacktest.TeamID, enterprise: "E0GRID", userTeam: "T0OTHER"},
		{name: "AnotherOrganisationInTheDelivery", ours: "E0GRID", user: slacktest.User{TeamID: "T0OTHER", EnterpriseID: "E0GRID"}, team: slacktest.TeamID, enterprise: "E0ELSE", userTeam: "T0OTHER"},
		{name: "Configured", user: slacktest.User{TeamID: "T0OTHER"}, teams: []string{"T0OTHER"}, team: slacktest.TeamID, userTeam: "T0OTHER", belongs: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clicked := make(chan tickets.Actor, 1)
			h := handler{click: func(_ context.Context, c adapters.Click) adapters.Answer {
				clicked <- c.Actor
				return adapters.Note{Text: "hello"}
			}}
			w := begin(t, "http", h, func(f *slacktest.Config, c *slack.Config) { f.EnterpriseID, c.Teams = tt.ours, tt.teams })
			tt.user.ID = "U0SUE"
			w.fake.AddUser(tt.user)
			w.fake.Invite(channel, "U0SUE")
			if tt.silent {
				w.fake.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.Unavailable, Times: -1})
			}
			before := w.fake.Count("users.info")
			payload := fmt.Sprintf(`{"type":"block_actions","api_app_id":%q,"team":{"id":%q,"enterprise_id":%q},"enterprise":{"id":%q},"user":{"id":"U0SUE","team_id":%q},
				"container":{"message_ts":"1796075149.000001"},"channel":{"id":%q},"actions":[{"action_id":"approve","value":"JIT-1001","action_ts":"1.0"}]}`,
				slacktest.AppID, tt.team, tt.enterprise, tt.enterprise, tt.userTeam, channel)
			if _, err := w.fake.Send(t.Context(), slacktest.Interactive, json.RawMessage(payload)); err != nil {
				t.Fatal(err)
			}
			sue := w.fake.Person("U0SUE")
			poll(t, "an answer", func() bool { return len(sue.Ephemerals()) == 1 })
			want := cmp.Or(tt.says, wording.MsgStranger)
			if tt.belongs {
				want = "hello"
			}
			if got := sue.Ephemerals()[0].Text; got != want || (len(clicked) == 1) != tt.belongs {
				t.Errorf("she was told %q, want %q; %d clicks", got, want, len(clicked))
			}
			if asked := w.fake.Count("users.info") > before; asked != tt.asked {
				t.Errorf("users.info was asked: %v, want %v", asked, tt.asked)
			}
			if tt.silent || tt.ours == "" && tt.enterprise != "" || tt.enterprise == "E0ELSE" {
				return // what a delivery says is known of deliveries alone
			}
			r := w.chat.Resolve(t.Context(), []tickets.Principal{principal(tickets.User, "U0SUE")})[0]
			if (r.Problem == "") != tt.belongs || r.Err != nil {
				t.Errorf("/epm roles says %+v of whom a click says %v", r, tt.belongs)
			}
		})
	}
}
