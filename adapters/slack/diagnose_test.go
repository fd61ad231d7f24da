package slack_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

// furnish makes a workspace in which everything is right for checked.
func furnish(w *world) {
	w.fake.AddUser(slacktest.User{ID: "U0ANN", Name: "ann", RealName: "Ann Example", Email: "ann@example.com"})
	w.fake.AddGroup(slacktest.Group{ID: "S0HELP", Handle: "helpdesk", Users: []string{"U0ANN"}})
	w.fake.AddChannel(slacktest.Channel{ID: "C0LEADS", Name: "leads", Members: []string{"U0ANN"}})
	w.fake.AddChannel(slacktest.Channel{ID: "C0SECRET", Name: "secret", Private: true, Members: []string{"U0ANN", slacktest.BotUserID}})
}

func principal(kind tickets.PrincipalKind, id string) tickets.Principal {
	return tickets.Principal{Platform: slack.Platform, Kind: kind, ID: id}
}

// checked is what the tests of Check look at, with some of it named twice and
// some of another platform.
func checked() ([]tickets.Place, []tickets.Principal) {
	return []tickets.Place{
			{Platform: slack.Platform, Channel: channel}, {Platform: "discord", Channel: "123"},
			{Platform: slack.Platform, Channel: "C0SECRET"}, {Platform: slack.Platform, Channel: channel},
		}, []tickets.Principal{
			principal(tickets.User, "U0ANN"), principal(tickets.Group, "S0HELP"), principal(tickets.Channel, "C0LEADS"),
			principal(tickets.User, "U0ANN"), {Platform: "discord", Kind: tickets.Role, ID: "9"},
		}
}

// problems are the findings of Check that are something to do, one text each.
func problems(t *testing.T, list []adapters.Finding) []string {
	t.Helper()
	var out []string
	for _, f := range list {
		all := f.What + ": " + f.Problem + " -> " + f.Fix
		for _, secret := range []string{slacktest.BotToken, slacktest.AppToken, slacktest.SigningSecret, "xapp-2-other", "xoxb-really"} {
			if strings.Contains(all, secret) {
				t.Errorf("a finding holds a secret: %s", all)
			}
		}
		if f.What == "" || (f.Problem == "") != (f.Fix == "") {
			t.Errorf("not a whole finding: %+v", f)
		}
		if f.Problem != "" {
			out = append(out, all)
		}
	}
	return out
}

func TestCheckAllGood(t *testing.T) {
	for mode, ears := range map[string]string{"http": "the signing secret is set: clicks come by HTTP", "socket": "the app token (Socket Mode): Slack accepts it"} {
		t.Run(mode, func(t *testing.T) {
			w := prepare(t, mode, handler{}, nil)
			furnish(w)
			places, who := checked()
			var got []string
			list := w.chat.Diagnose(t.Context(), places, who)
			if bad := problems(t, list); len(bad) > 0 {
				t.Errorf("problems where there are none:\n%s", strings.Join(bad, "\n"))
			}
			for _, f := range list {
				got = append(got, f.What)
			}
			want := []string{
				"the bot token: Slack accepts it, as @countersign (U0BOT) in acme (T01TEAM)",
				"the scopes of the bot token: all that are needed",
				ears,
				"the channel #epm (C01EPM): the bot is in it",
				"the history of #epm (C01EPM): the bot may look for its own messages in it",
				"the channel #secret (C0SECRET): the bot is in it",
				"the history of #secret (C0SECRET): the bot may look for its own messages in it",
				"the user Ann Example (U0ANN)",
				"the user group @helpdesk (S0HELP): 1 person",
				"the members of #leads (C0LEADS): 1 person",
			}
			if !slices.Equal(got, want) {
				t.Errorf("Check =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, method := range []string{"chat.postMessage", "chat.postEphemeral", "conversations.open", "chat.update"} {
				if n := w.fake.Count(method); n != 0 {
					t.Errorf("Check called %s", method)
				}
			}
			if n := w.fake.Sockets(); n != 0 {
				t.Errorf("Check left %d sockets", n)
			}
		})
	}
}

// TestCheckFinds breaks one thing at a time.
func TestCheckFinds(t *testing.T) {
	named := func(method, name string) func(*world) {
		return func(w *world) {
			w.fake.Fail(slacktest.Fault{Method: method, Kind: slacktest.SlackError, ErrorName: name, Times: -1})
		}
	}
	botFails := func(name string) func(*world) {
		return func(w *world) { w.fake.FailToken(slacktest.BotToken, name) }
	}
	appFails := func(name string) func(*world) {
		return func(w *world) { w.fake.FailToken(slacktest.AppToken, name) }
	}
	lacking := func(scopes ...string) func(*world) {
		return func(w *world) { w.fake.RemoveScopes(scopes...) }
	}
	user := func(u slacktest.User) func(*world) {
		return func(w *world) { u.ID, u.Name = "U0ANN", "ann"; w.fake.AddUser(u) }
	}
	group := func(g slacktest.Group) func(*world) {
		return func(w *world) { g.ID, g.Handle = "S0HELP", "helpdesk"; w.fake.AddGroup(g) }
	}
	for name, tt := range map[string]struct {
		breakIt func(*world)
		config  func(*slacktest.Config, *slack.Config)
		who     []tickets.Principal // instead of those of checked
		want    []string            // words of the one problem and its fix; several problems are separated by "+"
	}{
		"Revoked":      {breakIt: botFails("token_revoked"), want: []string{"the bot token", "token_revoked", "Reinstall to Workspace", "COUNTERSIGN_SLACK_BOT_TOKEN"}},
		"Uninstalled":  {breakIt: botFails("account_inactive"), want: []string{"the bot token", "account_inactive", "Reinstall to Workspace"}},
		"InvalidAuth":  {breakIt: botFails("invalid_auth"), want: []string{"the bot token", "invalid_auth", "Bot User OAuth Token", "IP addresses"}},
		"Expired":      {breakIt: botFails("token_expired"), want: []string{"the bot token", "token rotation"}},
		"WrongKind":    {breakIt: botFails("not_allowed_token_type"), want: []string{"the bot token", "not_allowed_token_type", "xoxb-"}},
		"Organisation": {breakIt: botFails("team_access_not_granted"), want: []string{"the bot token", "owner of the Slack organisation"}},
		"NotABot": {config: func(f *slacktest.Config, c *slack.Config) {
			f.AppToken, c.BotToken = "xoxb-really-an-app", "xoxb-really-an-app"
		},
			want: []string{"the bot token", "not the token of a bot", "Bot User OAuth Token"}},
		"APersons": {config: func(_ *slacktest.Config, c *slack.Config) { c.BotToken = "xoxb-really-anns" },
			breakIt: func(w *world) { w.fake.AddUserToken("xoxb-really-anns", "U0ANN", slacktest.DefaultScopes()...) },
			want:    []string{"the bot token", "not the token of a bot", "Bot User OAuth Token"}},
		"Outage":   {breakIt: func(w *world) { w.fake.SetDown(true) }, want: []string{"the bot token", "no answer", "127.0.0.1", "firewall"}},
		"Portal":   {breakIt: func(w *world) { w.fake.Fail(slacktest.Fault{Method: "auth.test", Kind: slacktest.CaptivePortal}) }, want: []string{"the bot token", "JSON", "COUNTERSIGN_SLACK_API_URL"}},
		"TooOften": {breakIt: func(w *world) { w.fake.Fail(slacktest.Fault{Method: "auth.test", Kind: slacktest.Limited}) }, want: []string{"the bot token", "fewer calls", "in a minute"}},
		"OwnError": {breakIt: named("auth.test", "fatal_error"), want: []string{"the bot token", "fatal_error", "slack-status.com"}},

		"Scope":        {breakIt: lacking("im:write"), want: []string{"the scopes of the bot token", "lacks the scope im:write", "add im:write", "Reinstall"}},
		"Scopes":       {breakIt: lacking("chat:write", "commands"), want: []string{"lacks the scope chat:write, commands"}},
		"ScopeOfEmail": {breakIt: lacking("users:read.email"), want: []string{"the scopes of the bot token", "lacks the scope users:read.email", "add users:read.email", "Reinstall"}},
		"ScopeOfUsers": {breakIt: lacking("users:read"), want: []string{"the scopes of the bot token", "users:read", "+", "the user U0ANN", "users:read"}},
		"ScopeOfGroups": {breakIt: lacking("usergroups:read"),
			want: []string{"the scopes of the bot token", "usergroups:read", "+", "the user group S0HELP", "usergroups:read"}},
		"ScopeOfChannels": {breakIt: lacking("channels:read"),
			want: []string{"the scopes of the bot token", "channels:read", "+", "the channel C01EPM", "channels:read", "+", "the channel C0LEADS"}},
		"HeaderLost": {config: func(_ *slacktest.Config, c *slack.Config) {
			c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				res, err := http.DefaultTransport.RoundTrip(r)
				if err == nil {
					res.Header.Del("X-OAuth-Scopes")
				}
				return res, err
			})
		}, want: []string{"the scopes", "X-OAuth-Scopes"}},

		"AppTokenRevoked": {breakIt: appFails("token_revoked"), want: []string{"the app token", "token_revoked", "App-Level Tokens", "COUNTERSIGN_SLACK_APP_TOKEN"}},
		"AppTokenScope":   {breakIt: named("apps.connections.open", "missing_scope"), want: []string{"the app token", "connections:write", "Generate Token"}},
		"AppTokenKind": {config: func(_ *slacktest.Config, c *slack.Config) { c.AppToken = "xapp-2-other" },
			breakIt: func(w *world) { w.fake.AddToken("xapp-2-other") }, want: []string{"the app token", "not_allowed_token_type", "begins with xapp-"}},
		"AppTokenUnknown": {config: func(_ *slacktest.Config, c *slack.Config) { c.AppToken = "xapp-2-other" },
			want: []string{"the app token", "invalid_auth", "COUNTERSIGN_SLACK_APP_TOKEN"}},

		"NoChannel":      {breakIt: func(w *world) { w.fake.RemoveChannel(channel) }, want: []string{"the channel C01EPM", "no such channel", "/invite @countersign", "COUNTERSIGN_SLACK_CHANNEL"}},
		"PrivateChannel": {breakIt: func(w *world) { w.fake.Kick("C0SECRET", slacktest.BotUserID) }, want: []string{"the channel C0SECRET", "no such channel", "/invite @countersign"}},
		"Archived":       {breakIt: func(w *world) { w.fake.Archive(channel, true) }, want: []string{"the channel #epm (C01EPM)", "archived", "/invite @countersign"}},
		"NotInvited":     {breakIt: func(w *world) { w.fake.Kick(channel, slacktest.BotUserID) }, want: []string{"the channel #epm (C01EPM)", "the bot is not in it", "/invite @countersign"}},
		"NoHistory":      {breakIt: lacking("channels:history"), want: []string{"the history of #epm (C01EPM)", "lacks the scope channels:history", "shown twice", "add channels:history"}},
		"NoHistoryThere": {breakIt: lacking("groups:history"), want: []string{"the history of #secret (C0SECRET)", "groups:history"}},

		"NoUser":      {breakIt: named("users.info", "user_not_found"), want: []string{"the user U0ANN", "no such user", "Copy member ID"}},
		"HiddenUser":  {breakIt: named("users.info", "user_not_visible"), want: []string{"the user U0ANN", "no such user"}},
		"Deactivated": {breakIt: user(slacktest.User{Deleted: true}), want: []string{"the user ann (U0ANN)", "deactivated"}},
		"Bot":         {breakIt: user(slacktest.User{Bot: true}), want: []string{"the user ann (U0ANN)", "it is a bot"}},
		"Stranger":    {breakIt: user(slacktest.User{TeamID: "T0OTHER"}), want: []string{"the user ann (U0ANN)", "another workspace"}},
		"AddressesHidden": {breakIt: func(w *world) { w.fake.HideAddresses(true) },
			want: []string{"the e-mail addresses of people", "Slack hides e-mail addresses", "Workspace settings, Email display", "nobody can decide"}},
		"NoAddress": {breakIt: user(slacktest.User{Guest: true}), want: []string{"the user ann (U0ANN)", "no e-mail address for this account", "COUNTERSIGN_APPROVERS"}},
		"UserFails": {breakIt: named("users.info", "fatal_error"), want: []string{"the user U0ANN", "fatal_error"}},

		"NoGroup":       {who: []tickets.Principal{principal(tickets.Group, "S0NONE")}, want: []string{"the user group S0NONE", "no such user group", "Copy group ID"}},
		"GroupDisabled": {breakIt: group(slacktest.Group{Disabled: true, Users: []string{"U0ANN"}}), want: []string{"the user group @helpdesk (S0HELP)", "disabled", "Enable"}},
		"GroupEmpty":    {breakIt: group(slacktest.Group{}), want: []string{"the user group @helpdesk (S0HELP)", "nobody is in it", "Add people"}},
		"NoGroups":      {breakIt: named("usergroups.list", "plan_upgrade_required"), want: []string{"the user group S0HELP", "plan"}},

		"MembersEmpty":    {breakIt: func(w *world) { w.fake.Kick("C0LEADS", "U0ANN"); w.fake.Invite("C0LEADS", slacktest.BotUserID) }, want: []string{"the members of #leads (C0LEADS)", "nobody"}},
		"MembersUnread":   {breakIt: named("conversations.members", "fetch_members_failed"), want: []string{"the members of #leads (C0LEADS)", "fetch_members_failed"}},
		"NoMembersAtAll":  {breakIt: func(w *world) { w.fake.RemoveChannel("C0LEADS") }, want: []string{"the channel C0LEADS", "no such channel", "COUNTERSIGN_APPROVERS"}},
		"RoleOfElsewhere": {who: []tickets.Principal{principal(tickets.Role, "9")}, want: []string{"slack:role:9", "no roles"}},
	} {
		t.Run(name, func(t *testing.T) {
			mode := "http"
			if strings.HasPrefix(name, "AppToken") {
				mode = "socket"
			}
			w := prepare(t, mode, handler{}, tt.config)
			furnish(w)
			places, who := checked()
			if tt.who != nil {
				who = tt.who
			}
			if tt.breakIt != nil {
				tt.breakIt(w)
			}
			got := problems(t, w.chat.Diagnose(t.Context(), places, who))
			var want [][]string
			for _, part := range strings.Split(strings.Join(tt.want, "\x00"), "\x00+\x00") {
				want = append(want, strings.Split(part, "\x00"))
			}
			if len(got) != len(want) {
				t.Fatalf("%d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
			}
			for i, g := range got {
				for _, words := range want[i] {
					if !strings.Contains(g, words) {
						t.Errorf("no %q in %s", words, g)
					}
				}
			}
		})
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	w := prepare(t, "http", handler{}, nil)
	w.fake.SetLatency(time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	places, who := checked()
	got := problems(t, w.chat.Diagnose(ctx, places, who))
	if len(got) != 1 || !strings.Contains(got[0], "no answer in time") {
		t.Errorf("Check = %q, want that the answer is late", got)
	}
}

func TestProbe(t *testing.T) {
	answering := func(status int, body string) func(*world) {
		return func(w *world) {
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Location", "https://elsewhere.example.com/")
				rw.WriteHeader(status)
				fmt.Fprint(rw, body)
			}))
			w.t.Cleanup(s.Close)
			w.bot = s.URL
		}
	}
	for name, tt := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"Good":  {},
		"Slash": {change: func(w *world) { w.bot += "/" }},
		"OtherSecret": {change: func(w *world) {
			other := prepare(w.t, "http", handler{}, func(f *slacktest.Config, c *slack.Config) { c.SigningSecrets = []string{"another-secret"} })
			w.bot = other.bot
		}, want: []string{"does not accept our signature", "COUNTERSIGN_SLACK_SIGNING_SECRET"}},
		"NotFound":  {change: answering(404, "page not found"), want: []string{"nothing there answers Slack", "COUNTERSIGN_PUBLIC_URL"}},
		"Redirect":  {change: answering(302, ""), want: []string{"something else", "302", "COUNTERSIGN_PUBLIC_URL"}},
		"AnyAnswer": {change: answering(200, `{"challenge":"something"}`), want: []string{"something else", "200"}},
		"Nobody": {change: func(w *world) {
			s := httptest.NewServer(nil)
			w.bot = s.URL
			s.Close()
		}, want: []string{"refused", "countersign serve"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := prepare(t, "http", handler{}, nil)
			if tt.change != nil {
				tt.change(w)
			}
			list := w.chat.Probe(t.Context(), w.bot)
			if len(list) != 1 {
				t.Fatalf("Probe = %v, want one finding", list)
			}
			got := strings.Join(problems(t, list), "\n")
			if (got == "") != (tt.want == nil) {
				t.Errorf("Probe = %+v, want a problem: %v", list, tt.want != nil)
			}
			for _, words := range tt.want {
				if !strings.Contains(got, words) {
					t.Errorf("no %q in %s", words, got)
				}
			}
		})
	}
	w := prepare(t, "socket", handler{}, nil)
	if list := w.chat.Probe(t.Context(), "http://127.0.0.1:1"); len(list) != 0 {
		t.Errorf("in Socket Mode Probe = %v, want nothing", list)
	}
}

func TestTell(t *testing.T) {
	w := begin(t, "http", handler{}, nil)
	furnish(w)
	w.fake.AddUser(slacktest.User{ID: "U0BOB", Name: "bob"})
	w.fake.AddGroup(slacktest.Group{ID: "S0BOTH", Handle: "both", Users: []string{"U0ANN", "U0GONE", "U0BOB"}})
	w.fake.AddUser(slacktest.User{ID: "U0GONE", Name: "gone", Deleted: true})
	const text = "*3* webhooks failed <!channel> & <https://evil.example.com|help>\nlook at /epm incoming failed"
	if err := w.chat.DirectMessage(t.Context(), principal(tickets.User, "U0ANN"), text); err != nil {
		t.Fatal(err)
	}
	list := w.fake.Messages(w.fake.DM("U0ANN"))
	want := "*3* webhooks failed &lt;!channel&gt; &amp; &lt;https://evil.example.com|help&gt;\nlook at /epm incoming failed"
	if len(list) != 1 || list[0].Text != want {
		t.Errorf("Ann reads %+v, want %q", list, want)
	}
	call := w.fake.CallsTo("chat.postMessage")[0]
	for arg, want := range map[string]string{"mrkdwn": "false", "unfurl_links": "false", "unfurl_media": "false"} {
		if call.Args[arg] != want {
			t.Errorf("%s = %q, want %q", arg, call.Args[arg], want)
		}
	}
	if err := w.chat.DirectMessage(t.Context(), principal(tickets.Group, "S0BOTH"), "a word"); err != nil {
		t.Errorf("Tell a group with somebody who is gone = %v, want nil", err)
	}
	for user, want := range map[string]int{"U0ANN": 2, "U0BOB": 1} {
		if n := len(w.fake.Messages(w.fake.DM(user))); n != want {
			t.Errorf("%s got %d messages, want %d", user, n, want)
		}
	}
	if err := w.chat.DirectMessage(t.Context(), principal(tickets.User, "U0ANN"), strings.Repeat("<", 50000)); err != nil {
		t.Errorf("Tell a long text = %v", err)
	}
}

func TestTellFails(t *testing.T) {
	open, post := "conversations.open", "chat.postMessage"
	named := func(method, name string) *slacktest.Fault {
		return &slacktest.Fault{Method: method, Kind: slacktest.SlackError, ErrorName: name}
	}
	ann, both := principal(tickets.User, "U0ANN"), principal(tickets.Group, "S0BOTH")
	for name, tt := range map[string]struct {
		who   tickets.Principal
		fault *slacktest.Fault
		want  tickets.Class
		sent  int
	}{
		"Channel":       {who: principal(tickets.Channel, channel), want: tickets.Rejected},
		"Role":          {who: principal(tickets.Role, "9"), want: tickets.Rejected},
		"OtherPlatform": {who: tickets.Principal{Platform: "discord", Kind: tickets.User, ID: "U0ANN"}, want: tickets.Rejected},
		"Unknown":       {who: principal(tickets.User, "U0NONE"), want: tickets.Rejected},
		"Deactivated":   {who: principal(tickets.User, "U0GONE"), want: tickets.Rejected},
		"Hidden":        {who: ann, fault: named(open, "user_not_visible"), want: tickets.Rejected},
		"TabDisabled":   {who: ann, fault: named(post, "messages_tab_disabled"), want: tickets.Rejected},
		"DMGone":        {who: ann, fault: named(post, "channel_not_found"), want: tickets.Rejected},
		"NoScope":       {who: ann, fault: named(open, "missing_scope"), want: tickets.Unauthorized},
		"OpenDropped":   {who: ann, fault: &slacktest.Fault{Method: open, Kind: slacktest.DropConnection}, want: tickets.Unavailable},
		"OpenEmpty":     {who: ann, fault: &slacktest.Fault{Method: open, Kind: slacktest.NoTS}, want: tickets.Unavailable},
		"PostDropped":   {who: ann, fault: &slacktest.Fault{Method: post, Kind: slacktest.DropConnection, Did: true}, want: tickets.Ambiguous, sent: 1},
		"PostNoTS":      {who: ann, fault: &slacktest.Fault{Method: post, Kind: slacktest.NoTS, Did: true}, want: tickets.Ambiguous, sent: 1},
		"Limited":       {who: ann, fault: &slacktest.Fault{Method: post, Kind: slacktest.Limited}, want: tickets.RateLimited},
		"NoGroup":       {who: principal(tickets.Group, "S0NONE"), want: tickets.Rejected},
		"EmptyGroup":    {who: principal(tickets.Group, "S0EMPTY"), want: tickets.Rejected},
		"GroupDenied":   {who: both, fault: named(open, "token_revoked"), want: tickets.Unauthorized},
		"GroupInPart":   {who: both, fault: &slacktest.Fault{Method: post, Kind: slacktest.DropConnection}, want: tickets.Ambiguous, sent: 1},
		"GroupUnread":   {who: both, fault: named("usergroups.users.list", "fatal_error"), want: tickets.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t, "http", handler{}, nil)
			furnish(w)
			w.fake.AddUser(slacktest.User{ID: "U0BOB", Name: "bob"})
			w.fake.AddUser(slacktest.User{ID: "U0GONE", Name: "gone", Deleted: true})
			w.fake.AddGroup(slacktest.Group{ID: "S0BOTH", Handle: "both", Users: []string{"U0ANN", "U0BOB"}})
			w.fake.AddGroup(slacktest.Group{ID: "S0EMPTY", Handle: "empty", Users: []string{"U0GONE"}})
			if tt.fault != nil {
				w.fake.Fail(*tt.fault)
			}
			err := w.chat.DirectMessage(t.Context(), tt.who, "a word")
			var f *tickets.Failure
			if !errors.As(err, &f) || f.Class != tt.want {
				t.Errorf("Tell = %v, want class %s", err, tt.want)
			}
			sent := 0
			for _, u := range []string{"U0ANN", "U0BOB"} {
				sent += len(w.fake.Messages(w.fake.DM(u)))
			}
			if sent != tt.sent || len(w.fake.Messages(channel)) != 0 {
				t.Errorf("%d direct messages, want %d; in the channel %v", sent, tt.sent, w.fake.Messages(channel))
			}
		})
	}
}
