package slack_test

import (
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

func TestHoldsGroupsAndChannels(t *testing.T) {
	b := adaptertest.NewBook()
	now := time.Now()
	var ahead atomic.Int64
	w := begin(t, "http", b, func(f *slacktest.Config, c *slack.Config) {
		f.HistoryPage = 7 // of members too
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	w.fake.AddGroup(slacktest.Group{ID: "S01HELP", Handle: "helpdesk", Users: []string{userOf(0)}})
	group := tickets.Principal{Platform: slack.Platform, Kind: tickets.Group, ID: "S01HELP"}
	inChannel := tickets.Principal{Platform: slack.Platform, Kind: tickets.Channel, ID: channel}
	check := func(p tickets.Principal, i int, want bool) {
		t.Helper()
		if got, err := w.chat.HasRole(t.Context(), p, w.Actor(i)); err != nil || got != want {
			t.Errorf("Holds(%s, %d) = %v, %v; want %v", p, i, got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check(group, 0, true) })
	}
	all.Wait()
	check(group, 1, false)
	if n := w.fake.Count("usergroups.users.list"); n != 1 {
		t.Errorf("the group was asked for %d times, want 1", n)
	}
	check(inChannel, 19, true) // on the third page
	if got, err := w.chat.HasRole(t.Context(), inChannel, tickets.Actor{Platform: slack.Platform, ID: "U99ELSE"}); got || err != nil {
		t.Errorf("a stranger is in the channel: %v, %v", got, err)
	}

	w.fake.SetGroup("S01HELP", userOf(1))
	check(group, 1, false) // not yet known
	if err := w.fake.SendEvent(t.Context(), map[string]any{"type": "subteam_members_changed", "subteam_id": "S01HELP"}); err != nil {
		t.Fatal(err)
	}
	check(group, 1, true)
	w.fake.SetGroup("S01HELP")
	ahead.Store(int64(61 * time.Second))
	check(group, 1, false)

	ahead.Store(int64(122 * time.Second))
	w.fake.Fail(slacktest.Fault{Method: "usergroups.users.list", Kind: slacktest.Unavailable})
	if got, err := w.chat.HasRole(t.Context(), group, w.Actor(1)); got || err == nil {
		t.Errorf("Holds() of an unreadable group = %v, %v; want an error", got, err)
	}
	role := tickets.Principal{Platform: slack.Platform, Kind: tickets.Role, ID: "1"}
	if got, err := w.chat.HasRole(t.Context(), role, w.Actor(1)); got || err == nil {
		t.Errorf("Holds(%s) = %v, %v; want an error", role, got, err)
	}
}

// TestHoldsOfWhatIsGone: nobody is in a group or a channel that is gone, which
// is no error and is not asked on each click; what cannot be read lets nobody in
// either, and is one.
func TestHoldsOfWhatIsGone(t *testing.T) {
	t.Parallel()
	group, inChannel := principal(tickets.Group, "S01HELP"), principal(tickets.Channel, "C0LEADS")
	says := func(method, name string) func(*world) {
		return func(w *world) {
			w.fake.Fail(slacktest.Fault{Method: method, Kind: slacktest.SlackError, ErrorName: name, Times: -1})
		}
	}
	const ofGroup, ofChannel = "usergroups.users.list", "conversations.members"
	for name, tt := range map[string]struct {
		p       tickets.Principal
		breakIt func(*world)
		method  string
		unread  bool
	}{
		"GroupDeleted": {p: group, breakIt: func(w *world) { w.fake.RemoveGroup("S01HELP") }, method: ofGroup},
		"GroupDisabled": {p: group, breakIt: func(w *world) {
			w.fake.AddGroup(slacktest.Group{ID: "S01HELP", Disabled: true, Users: []string{userOf(0)}})
		}, method: ofGroup},
		"GroupsGone":     {p: group, breakIt: says(ofGroup, "plan_upgrade_required"), method: ofGroup},
		"ChannelDeleted": {p: inChannel, breakIt: func(w *world) { w.fake.RemoveChannel("C0LEADS") }, method: ofChannel},
		"GroupScope":     {p: group, breakIt: func(w *world) { w.fake.RemoveScopes("usergroups:read") }, method: ofGroup, unread: true},
		"GroupLimited":   {p: group, breakIt: says(ofGroup, "ratelimited"), method: ofGroup, unread: true},
		"GroupAway":      {p: group, breakIt: func(w *world) { w.fake.SetDown(true) }, method: ofGroup, unread: true},
		"GroupDenied":    {p: group, breakIt: says(ofGroup, "team_access_not_granted"), method: ofGroup, unread: true},
		"ChannelScope":   {p: inChannel, breakIt: func(w *world) { w.fake.RemoveScopes("channels:read", "groups:read") }, method: ofChannel, unread: true},
		"ChannelUnread":  {p: inChannel, breakIt: says(ofChannel, "fetch_members_failed"), method: ofChannel, unread: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, "http", adaptertest.NewBook(), nil)
			w.fake.AddGroup(slacktest.Group{ID: "S01HELP", Handle: "helpdesk", Users: []string{userOf(0)}})
			w.fake.AddChannel(slacktest.Channel{ID: "C0LEADS", Name: "leads", Members: []string{userOf(0), slacktest.BotUserID}})
			tt.breakIt(w)
			before := w.fake.Count(tt.method)
			for i := range 3 {
				if i > 0 && tt.unread {
					break // a limit would be waited for
				}
				if got, err := w.chat.HasRole(t.Context(), tt.p, w.Actor(i)); got || (err != nil) != tt.unread {
					t.Errorf("Holds(%s, %d) = %v, %v; want nobody, an error: %v", tt.p, i, got, err, tt.unread)
				}
			}
			if n := w.fake.Count(tt.method) - before; !tt.unread && n != 1 {
				t.Errorf("it was asked %d times, want once", n)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	b := adaptertest.NewBook()
	now := time.Now()
	var ahead atomic.Int64
	w := begin(t, "http", b, func(_ *slacktest.Config, c *slack.Config) {
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})
	w.fake.AddUser(slacktest.User{ID: userOf(0), Name: "jane", RealName: "Jane Doe", Email: "jdoe@acme.com"})
	check := func(email string) {
		t.Helper()
		got, err := w.chat.Identify(t.Context(), w.Actor(0))
		want := selfcheck.Identity{Emails: []string{email}, Names: []string{"jane", "Jane Doe"}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Identify() = %+v, %v; want %+v", got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check("jdoe@acme.com") })
	}
	all.Wait()
	if n := w.fake.Count("users.info") - 1; n != 1 {
		t.Errorf("the user was asked for %d times, want 1", n)
	}
	w.fake.AddUser(slacktest.User{ID: userOf(0), Name: "jane", RealName: "Jane Doe", Email: "jane@acme.com"})
	check("jdoe@acme.com")
	ahead.Add(int64(61 * time.Second))
	check("jane@acme.com")

	// What is not told is an error, and asked again.
	for name, breaks := range map[string]func() (mend func()){
		"NoEmailScope": func() func() {
			w.fake.RemoveScopes("users:read.email")
			return func() { w.fake.AddScopes("users:read.email") }
		},
		"NoScope": func() func() {
			w.fake.RemoveScopes("users:read")
			return func() { w.fake.AddScopes("users:read") }
		},
		"NoUser": func() func() {
			w.fake.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.SlackError, ErrorName: "user_not_found"})
			return func() {}
		},
		"Empty": func() func() {
			w.fake.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.NoTS})
			return func() {}
		},
		"Portal": func() func() {
			w.fake.Fail(slacktest.Fault{Method: "users.info", Kind: slacktest.CaptivePortal})
			return func() {}
		},
	} {
		ahead.Add(int64(61 * time.Second))
		mend := breaks()
		got, err := w.chat.Identify(t.Context(), w.Actor(0))
		mend()
		if err == nil {
			t.Errorf("%s: Identify() = %+v, want an error", name, got)
		} else if strings.Contains(err.Error(), "acme") || name == "NoEmailScope" && !strings.Contains(err.Error(), "users:read.email") {
			t.Errorf("%s: Identify() = %v; want what to do, and nobody's data", name, err)
		}
		check("jane@acme.com")
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("not ready because of one profile: %v", err)
	}
}
