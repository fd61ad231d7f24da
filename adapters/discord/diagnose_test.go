package discord_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

const (
	leads    = "400000000000000001" // a role
	botRole  = "400000000000000002" // a role of the bot
	ann      = "300000000000000050"
	robot    = "300000000000000051"
	planted  = "planted.other.token"
	invites  = "https://discord.com/oauth2/authorize?client_id=" + discordtest.ApplicationID + "&scope=bot+applications.commands&permissions="
	devPages = "General Information"
)

// furnish adds what Check is asked about.
const lead = "300000000000000077"

func furnish(w *world) {
	w.fake.AddRole(discordtest.Role{ID: leads, Name: "leads"})
	w.fake.AddUser(discordtest.User{ID: ann, Username: "ann", Nick: "Ann\nApprover"})
	w.fake.AddUser(discordtest.User{ID: lead, Username: "lead", Roles: []string{leads}})
	w.fake.AddUser(discordtest.User{ID: robot, Username: "robot", Bot: true})
	w.fake.AddChannel(discordtest.Channel{ID: other, Name: "second"})
}

func checked() ([]tickets.Place, []tickets.Principal) {
	return []tickets.Place{{Platform: discord.Platform, Channel: channel}, {Platform: discord.Platform, Channel: other}, {Platform: "slack", Channel: "C01EPM"}},
		[]tickets.Principal{principal(tickets.User, ann), principal(tickets.Role, leads), {Platform: "slack", Kind: tickets.User, ID: "U0ANN"}}
}

// problems are the findings that are to be fixed, each on a line, with what
// is true of every finding checked.
func problems(t *testing.T, list []adapters.Finding) []string {
	t.Helper()
	if len(list) == 0 {
		t.Error("nothing was looked at")
	}
	var out []string
	for _, f := range list {
		line := f.What + ": " + f.Problem + " → " + f.Fix
		for _, secret := range []string{discordtest.BotToken, planted} {
			if strings.Contains(line, secret) {
				t.Errorf("a token is in %s", line)
			}
		}
		if f.What == "" || (f.Problem == "") != (f.Fix == "") || strings.Contains(line, "\n") {
			t.Errorf("the finding is %+v", f)
		}
		if f.Problem != "" {
			out = append(out, line)
		}
	}
	return out
}

// changesNothing checks that only looking was done.
func changesNothing(t *testing.T, w *world) {
	t.Helper()
	for _, c := range w.fake.Calls() {
		if c.Method != http.MethodGet {
			t.Errorf("Check made the call %s %s", c.Method, c.Path)
		}
	}
}

func TestCheckAllGood(t *testing.T) {
	t.Parallel()
	for mode, wayIn := range map[string]string{
		"gateway": "interactions come over the gateway at ws://",
		"http":    "interactions come over HTTP: Discord sends them to http://",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, mode, handler{}, nil)
			furnish(w)
			places, who := checked()
			list := w.chat.Diagnose(t.Context(), places, who)
			if got := problems(t, list); len(got) > 0 {
				t.Errorf("problems: %s", strings.Join(got, "\n"))
			}
			all := fmt.Sprint(list)
			for _, want := range []string{
				"the bot token is accepted: the bot is countersign", "the application id belongs to the bot token", "the public key is the application's", wayIn,
				"the bot is in the server " + discordtest.GuildID + ", Acme", "the slash command may be registered",
				"the bot may work in #epm (" + channel + ")", "the bot may work in #second (" + other + ")",
				"discord:" + ann + " is known: Ann ⏎ Approver", "discord:role:" + leads + " is known: the role leads",
			} {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in %s", want, all)
				}
			}
			if strings.Contains(all, "slack") || len(list) != 10 {
				t.Errorf("%d findings: %s", len(list), all)
			}
			changesNothing(t, w)
			if err := w.chat.Ready(); err == nil {
				t.Error("Check has made the chat ready without Run")
			}
		})
	}
}

// TestCheckFinds: each thing that may be wrong, with the words of the one
// line that tells of it; "+" begins the next line.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	lacking := func(bits uint64) func(*world) {
		return func(w *world) { w.fake.SetPermissions(channel, discordtest.BotPermissions&^bits) }
	}
	// overwritten denies something to one, and allows it to another.
	overwritten := func(o ...discordtest.Overwrite) func(*world) {
		return func(w *world) {
			w.fake.AddChannel(discordtest.Channel{ID: channel, Name: "epm", Overwrites: o})
		}
	}
	named := func(route string, code, status int) func(*world) {
		return func(w *world) {
			w.fake.Fail(discordtest.Fault{Method: http.MethodGet, Route: route, Kind: discordtest.DiscordError, Code: code, Status: status})
		}
	}
	who := func(list ...tickets.Principal) []tickets.Principal { return list }
	for name, tt := range map[string]struct {
		mode   string // default gateway
		config func(*discordtest.Config, *discord.Config)
		world  func(*world)
		after  func(*discord.Config) // changes what the fake has told
		who    []tickets.Principal
		want   []string
	}{
		"Revoked":    {world: func(w *world) { w.fake.RevokeToken() }, want: []string{"the bot token is accepted", "401", "Reset Token", "COUNTERSIGN_DISCORD_BOT_TOKEN"}},
		"OtherToken": {config: func(_ *discordtest.Config, c *discord.Config) { c.BotToken = planted }, want: []string{"the bot token is accepted", "401", "Reset Token"}},
		"Outage":     {world: func(w *world) { w.fake.SetDown(true) }, want: []string{"the bot token is accepted", "127.0.0.1", "network, proxy, DNS"}},
		"Portal": {world: func(w *world) {
			w.fake.Fail(discordtest.Fault{Route: "/users/@me", Kind: discordtest.ServerError, HTML: true})
		}, want: []string{"the bot token is accepted", "502", "network, proxy, DNS"}},
		"ProxyForbids": {world: named("/users/@me", 0, 403), want: []string{"the bot token is accepted", "403", "network, proxy, DNS"}},
		"TooOften": {world: func(w *world) { w.fake.Fail(discordtest.Fault{Route: "/users/@me", Kind: discordtest.Limited}) },
			want: []string{"the bot token is accepted", "rate limited", "Wait a minute"}},
		"OtherError": {world: named("/users/@me", 990099, 400), want: []string{"the bot token is accepted", "990099", "opcodes-and-status-codes"}},

		"OtherApplication": {config: func(_ *discordtest.Config, c *discord.Config) { c.ApplicationID = "999999999999999999" },
			want: []string{"the application id belongs", "another application", "COUNTERSIGN_DISCORD_APPLICATION_ID to " + discordtest.ApplicationID, "+", "slash command"}},
		"NoApplication": {world: named("/applications/@me", 50001, 403), want: []string{"the application can be read", "50001"}},
		"OtherKey":      {after: func(c *discord.Config) { c.PublicKey = strings.Repeat("ab", 32) }, want: []string{"the public key", "another key", "Public Key", devPages}},

		"GatewayWithURL": {config: func(f *discordtest.Config, _ *discord.Config) { f.InteractionsURL = "https://old.example.com/x" },
			want: []string{"interactions come over the gateway", "Interactions Endpoint URL", "Clear", "COUNTERSIGN_DISCORD_MODE=http"}},
		"HTTPWithoutURL": {mode: "http", world: func(w *world) { _ = w.fake.SetInteractionsURL(w.t.Context(), "") },
			after: func(c *discord.Config) { c.PublicURL = "https://bot.example.com" },
			want:  []string{"interactions come over HTTP", "no Interactions Endpoint URL", "https://bot.example.com/discord/interactions"}},
		"HTTPWithOtherURL": {mode: "http", after: func(c *discord.Config) { c.PublicURL = "https://bot.example.com" },
			want: []string{"interactions come over HTTP", "is not https://bot.example.com/discord/interactions", "COUNTERSIGN_PUBLIC_URL"}},
		"GatewayDown": {world: named("/gateway/bot", 0, 404), want: []string{"interactions come over the gateway", "404"}},

		"NotInvited": {world: func(w *world) { w.fake.RemoveBot() }, want: []string{"the bot is in the server " + discordtest.GuildID, "10004", "Invite it: " + invites, "&guild_id=" + discordtest.GuildID}},
		"OtherGuild": {config: func(_ *discordtest.Config, c *discord.Config) { c.Guild = "999999999999999999" }, want: []string{"the bot is in the server 999999999999999999", "Invite it"}},
		"NoRoles":    {world: named("/guilds/{guild}/roles", 0, 502), want: []string{"roles can be read"}},
		"NoCommands": {world: named(routeCommands, 50001, 403), want: []string{"the slash command may be registered", "applications.commands", invites}},

		"NoChannel":    {world: func(w *world) { w.fake.RemoveChannel(channel) }, want: []string{"channel " + channel, "no such channel", "COUNTERSIGN_DISCORD_CHANNEL", "Developer Mode"}},
		"HiddenAtAll":  {world: lacking(discordtest.ViewChannel), want: []string{"channel " + channel, "cannot see the channel", "allow View Channel"}},
		"OtherServers": {world: func(w *world) { w.fake.Fail(discordtest.Fault{Route: "/channels/{channel}", Kind: discordtest.Empty}) }, want: []string{"another server", "COUNTERSIGN_DISCORD_GUILD"}},
		"Forum": {world: func(w *world) {
			w.fake.AddChannel(discordtest.Channel{ID: channel, Name: "epm", Kind: discordtest.Forum})
		}, want: []string{"#epm (" + channel + ")", "not a text channel", "Choose a text channel"}},
		"Category": {world: func(w *world) {
			w.fake.AddChannel(discordtest.Channel{ID: channel, Name: "epm", Kind: discordtest.Category})
		}, want: []string{"not a text channel"}},
		"Announcements": {world: func(w *world) {
			w.fake.AddChannel(discordtest.Channel{ID: channel, Name: "epm", Kind: discordtest.AnnouncementChannel})
		}},

		"NoSend":      {world: lacking(discordtest.SendMessages), want: []string{"#epm", "lacks the permission Send Messages", "post requests", "Permissions", invites}},
		"NoHistory":   {world: lacking(discordtest.ReadMessageHistory), want: []string{"#epm", "lacks the permission Read Message History", "find a message again"}},
		"NoThreads":   {world: lacking(discordtest.CreatePublicThreads), want: []string{"#epm", "lacks the permission Create Public Threads"}},
		"NotInThread": {world: lacking(discordtest.SendMessagesInThreads), want: []string{"#epm", "lacks the permission Send Messages in Threads"}},
		"Several": {world: lacking(discordtest.SendMessagesInThreads | discordtest.SendMessages),
			want: []string{"Send Messages,", "+", "Send Messages in Threads,"}},
		"EveryoneDenied": {world: overwritten(discordtest.Overwrite{ID: discordtest.GuildID, Deny: discordtest.SendMessages}), want: []string{"lacks the permission Send Messages,"}},
		"RoleAllows": {world: overwritten(discordtest.Overwrite{ID: discordtest.GuildID, Deny: discordtest.SendMessages},
			discordtest.Overwrite{ID: discordtest.BotRoleID, Allow: discordtest.SendMessages})},
		"RoleOfOthersAllows": {world: overwritten(discordtest.Overwrite{ID: discordtest.GuildID, Deny: discordtest.SendMessages},
			discordtest.Overwrite{ID: leads, Allow: discordtest.SendMessages}), want: []string{"lacks the permission Send Messages,"}},
		"OneRoleDeniesOneAllows": {world: func(w *world) {
			w.fake.AddRole(discordtest.Role{ID: botRole, Name: "more"})
			w.fake.SetRoles(discordtest.BotUserID, discordtest.BotRoleID, botRole)
			overwritten(discordtest.Overwrite{ID: discordtest.BotRoleID, Deny: discordtest.SendMessages}, discordtest.Overwrite{ID: botRole, Allow: discordtest.SendMessages})(w)
		}},
		"MemberDenied": {world: overwritten(discordtest.Overwrite{ID: discordtest.BotRoleID, Allow: discordtest.SendMessages},
			discordtest.Overwrite{ID: discordtest.BotUserID, User: true, Deny: discordtest.SendMessages}), want: []string{"lacks the permission Send Messages,"}},
		"MemberOfThatID": {world: overwritten(discordtest.Overwrite{ID: discordtest.BotUserID, Deny: discordtest.SendMessages})}, // a role of that id is none of the bot's
		"Administrator": {world: func(w *world) {
			w.fake.AddRole(discordtest.Role{ID: botRole, Name: "admin", Permissions: discordtest.Administrator})
			w.fake.SetRoles(discordtest.BotUserID, botRole)
			overwritten(discordtest.Overwrite{ID: discordtest.BotUserID, User: true, Deny: discordtest.SendMessages | discordtest.ViewChannel})(w)
		}},

		"NoRole":      {who: who(principal(tickets.Role, "499999999999999999")), want: []string{"discord:role:499999999999999999", "no such role", "COUNTERSIGN_APPROVERS", "Developer Mode"}},
		"Everyone":    {who: who(principal(tickets.Role, discordtest.GuildID)), want: []string{"@everyone", "only approvers or admins"}},
		"RoleRemoved": {world: func(w *world) { w.fake.RemoveRole(leads) }, want: []string{"discord:role:" + leads, "no such role"}},
		"RoleEmpty":   {world: func(w *world) { w.fake.SetRoles(lead) }, want: []string{"discord:role:" + leads, "nobody has the role leads", "Server Settings, Members"}},
		"NoUser":      {who: who(principal(tickets.User, "399999999999999999")), want: []string{"discord:399999999999999999", "10013", "COUNTERSIGN_APPROVERS", "Developer Mode"}},
		"HasLeft": {world: func(w *world) { w.fake.AddUser(discordtest.User{ID: ann, Username: "ann", Stranger: true}) },
			want: []string{"discord:" + ann, "10007", "They have left the server", "COUNTERSIGN_APPROVERS"}},
		"Bot":   {who: who(principal(tickets.User, robot)), want: []string{"discord:" + robot, "that is a bot", "COUNTERSIGN_APPROVERS"}},
		"Group": {who: who(principal(tickets.Group, leads)), want: []string{"no such thing as a group", "discord:role:ID"}},
		"UserFails": {world: func(w *world) {
			w.fake.Fail(discordtest.Fault{Route: routeMember, Skip: 1, Kind: discordtest.ServerError})
		}, want: []string{"discord:" + ann, "502"}},
		"AllGood": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mode := tt.mode
			if mode == "" {
				mode = "gateway"
			}
			w := prepare(t, mode, handler{}, tt.config)
			furnish(w)
			if tt.world != nil {
				tt.world(w)
			}
			if tt.after != nil {
				tt.after(&w.cfg)
				w.chat = w.restarted()
			}
			places, principals := checked()
			if tt.who != nil {
				principals = tt.who
			}
			got := problems(t, w.chat.Diagnose(t.Context(), places, principals))
			var want [][]string
			if tt.want != nil {
				for _, part := range strings.Split(strings.Join(tt.want, "\x00"), "\x00+\x00") {
					want = append(want, strings.Split(part, "\x00"))
				}
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
			changesNothing(t, w)
		})
	}
}

// TestCheckSessions: at 0 sessions Discord resets the token.
func TestCheckSessions(t *testing.T) {
	t.Parallel()
	for left, bad := range map[string]bool{"9": true, "0": true, "10": false, "999": false} {
		w := prepare(t, "gateway", handler{}, func(_ *discordtest.Config, c *discord.Config) {
			c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				res, err := http.DefaultTransport.RoundTrip(r)
				if err == nil && strings.HasSuffix(r.URL.Path, "/gateway/bot") {
					body, readErr := io.ReadAll(res.Body)
					_ = res.Body.Close()
					body = regexp.MustCompile(`"remaining":\d+`).ReplaceAll(body, []byte(`"remaining":`+left))
					res.Body, err = io.NopCloser(bytes.NewReader(body)), readErr
				}
				return res, err
			})
		})
		furnish(w)
		got := problems(t, w.chat.Diagnose(t.Context(), nil, nil))
		if (len(got) > 0) != bad || bad && !strings.Contains(got[0], "only "+left+" more times today") {
			t.Errorf("%s left: %q", left, got)
		}
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := prepare(t, "gateway", handler{}, nil)
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
	t.Parallel()
	answering := func(status int, header ...string) func(*world) {
		return func(w *world) {
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(header); i += 2 {
					rw.Header().Set(header[i], header[i+1])
				}
				rw.WriteHeader(status)
				_, _ = io.WriteString(rw, `{"type":1}`)
			}))
			w.t.Cleanup(s.Close)
			w.bot = s.URL
		}
	}
	for name, tt := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"Good":      {},
		"Slash":     {change: func(w *world) { w.bot += "/" }},
		"NotFound":  {change: answering(404), want: []string{"nothing there answers Discord", "COUNTERSIGN_DISCORD_MODE=http", "COUNTERSIGN_PUBLIC_URL"}},
		"Redirect":  {change: answering(302, "Location", "https://elsewhere.example.com/"), want: []string{"something else", "302", "COUNTERSIGN_PUBLIC_URL"}},
		"Password":  {change: answering(401, "WWW-Authenticate", "Basic"), want: []string{"asks for a password", "proxy"}},
		"Trusting":  {change: answering(200), want: []string{"something else", "200"}},
		"Forbidden": {change: answering(403), want: []string{"something else", "403", "proxy"}},
		"NoAddress": {change: func(w *world) { w.bot = "http://%zz" }, want: []string{"no address", "COUNTERSIGN_PUBLIC_URL"}},
		"Nobody": {change: func(w *world) {
			s := httptest.NewServer(nil)
			w.bot = s.URL
			s.Close()
		}, want: []string{"refused", "countersign serve"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, "http", handler{}, nil)
			if tt.change != nil {
				tt.change(w)
			}
			calls := len(w.fake.Calls())
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
			if n := len(w.fake.Calls()) - calls; n != 0 {
				t.Errorf("%d calls of Discord", n)
			}
		})
	}
	w := prepare(t, "gateway", handler{}, nil)
	if list := w.chat.Probe(t.Context(), "http://127.0.0.1:1"); len(list) != 0 {
		t.Errorf("over the gateway Probe = %v, want nothing", list)
	}
}

// TestCheckConnectsToTheGateway: an address that cannot be reached is found,
// and looking does not sign on.
func TestCheckConnectsToTheGateway(t *testing.T) {
	t.Parallel()
	w := prepare(t, "gateway", handler{}, nil)
	furnish(w)
	if got := problems(t, w.chat.Diagnose(t.Context(), nil, nil)); len(got) > 0 {
		t.Errorf("problems %q, want none", got)
	}
	w.fake.GatewayDown(true)
	if got := problems(t, w.chat.Diagnose(t.Context(), nil, nil)); len(got) != 1 || !strings.Contains(got[0], "no connection to ws://") {
		t.Errorf("problems %q, want that the gateway cannot be reached", got)
	}
	if n := w.fake.Identifies(); n != 0 {
		t.Errorf("signed on %d times", n)
	}
}
