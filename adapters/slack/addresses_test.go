package slack_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

// TestNoAddress: whoever has none is told why, and where that is changed: the
// workspace's setting, the app's scope, or their own account.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	const display = "Workspace settings, Email display"
	now := time.Now()
	var ahead atomic.Int64
	w := begin(t, "http", adaptertest.NewBook(), func(_ *slacktest.Config, c *slack.Config) {
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	w.fake.AddUser(slacktest.User{ID: "U0GUEST", Name: "guest", Guest: true})
	w.fake.AddGroup(slacktest.Group{ID: "S0ALL", Handle: "all", Users: []string{userOf(0), "U0GUEST"}})
	guest, person := tickets.Actor{Platform: slack.Platform, ID: "U0GUEST"}, w.Actor(0)
	who := []tickets.Principal{principal(tickets.User, person.ID), principal(tickets.User, guest.ID), principal(tickets.Group, "S0ALL"), principal(tickets.Channel, channel)}
	for _, tt := range []struct {
		name    string
		breakIt func()
		who     tickets.Actor
		say     []string  // what they read, nil if they have an address; "" for a sentence of no reason
		reach   [4]string // why, of who
	}{
		{"All", func() {}, person, nil, [4]string{"", "for this account", "", ""}},
		{"Guest", func() {}, guest, []string{"for your account", "somebody else"}, [4]string{"", "for this account", "", ""}},
		{"Hidden", func() { w.fake.HideAddresses(true) }, person, []string{"Slack hides e-mail addresses", display}, [4]string{display, display, display, display}},
		{"HiddenGuest", func() { w.fake.HideAddresses(true) }, guest, []string{"Slack hides e-mail addresses", display}, [4]string{display, display, display, display}},
		{"Scope", func() { w.fake.RemoveScopes("users:read.email") }, person, []string{""},
			[4]string{"users:read.email", "users:read.email", "users:read.email", "users:read.email"}},
		{"HiddenWithoutScope", func() { w.fake.HideAddresses(true); w.fake.RemoveScopes("users:read.email") }, guest, []string{""},
			[4]string{"users:read.email", "users:read.email", "users:read.email", "users:read.email"}},
		{"NotListed", func() {
			w.fake.HideAddresses(true)
			w.fake.Fail(slacktest.Fault{Method: "users.list", Kind: slacktest.SlackError, ErrorName: "limit_required", Times: -1})
		}, person, []string{display}, [4]string{display, display, "", ""}},
	} {
		ahead.Add(int64(61 * time.Second))
		tt.breakIt()
		got, err := w.chat.Identify(t.Context(), tt.who)
		switch say := tickets.FailureOf(err).UserMessage; {
		case tt.say == nil:
			if err != nil || len(got.Emails) != 1 {
				t.Errorf("%s: Identify = %+v, %v", tt.name, got, err)
			}
		case err == nil || (say == "") != (tt.say[0] == ""):
			t.Errorf("%s: Identify = %+v, %v, and they read %q", tt.name, got, err, say)
		default:
			for _, words := range tt.say {
				if !strings.Contains(say, words) {
					t.Errorf("%s: they read %q, want %q", tt.name, say, words)
				}
			}
		}
		for i, r := range w.chat.Resolve(t.Context(), who) {
			if r.Err != nil || r.Problem != "" || (r.Nameless == "") != (tt.reach[i] == "") || !strings.Contains(r.Nameless, tt.reach[i]) {
				t.Errorf("%s: Reach of %s = %+v, want %q", tt.name, who[i], r, tt.reach[i])
			}
		}
		w.fake.ClearFaults()
		w.fake.HideAddresses(false)
		w.fake.RemoveScopes("users:read.email")
		w.fake.AddScopes("users:read.email")
	}
}
