package discord

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// The permissions that the bot needs in a channel
// (discord.com/developers/docs/topics/permissions).
const (
	permitAdministrator = 1 << 3
	permitView          = 1 << 10
	permitSend          = 1 << 11
	permitHistory       = 1 << 16
	permitThreads       = 1 << 35
	permitInThreads     = 1 << 38
)

var needed = []struct {
	bit       uint64
	name, why string
}{
	{permitView, "View Channel", "see the channel"},
	{permitSend, "Send Messages", "post requests"},
	{permitHistory, "Read Message History", "find a message again that got lost on its way, and edit it"},
	{permitThreads, "Create Public Threads", "tell the steps of a decision under its message"},
	{permitInThreads, "Send Messages in Threads", "tell the steps of a decision under its message"},
}

// Permissions is the sum of what the bot needs, for the address by which it
// is invited.
func Permissions() uint64 {
	var all uint64
	for _, n := range needed {
		all |= n.bit
	}
	return all
}

// inviteURL is where an admin invites the bot, or gives it what it lacks.
func (c *Chat) inviteURL() string {
	return fmt.Sprintf("https://discord.com/oauth2/authorize?client_id=%s&scope=bot+applications.commands&permissions=%d&guild_id=%s", c.cfg.ApplicationID, Permissions(), c.cfg.Guild)
}

// inspection is one run of Check.
type inspection struct {
	*Chat
	ctx      context.Context // of this one run
	findings []adapters.Finding

	bot    string         // the bot's user id
	counts map[string]int // members of each role; nil: not asked yet
	mine   []string
	roles  map[string]roleInfo
}

type roleInfo struct {
	ID          jsonx.LooseString `json:"id"`
	Name        jsonx.LooseString `json:"name"`
	Permissions jsonx.LooseString `json:"permissions"`
}

// Diagnose looks at the token, the application, the way in, the server, each
// place and each principal of Discord.
func (c *Chat) Diagnose(ctx context.Context, places []tickets.Place, who []tickets.Principal) []adapters.Finding {
	in := &inspection{Chat: c, ctx: ctx}
	if in.token() {
		in.application()
		if in.server() {
			in.commands()
			for _, p := range places {
				if p.Platform == Platform {
					in.place(p.Channel)
				}
			}
			for _, p := range who {
				if p.Platform == Platform {
					in.principal(p)
				}
			}
		}
	}
	return in.findings
}

func (in *inspection) ok(format string, args ...any) {
	in.findings = append(in.findings, adapters.Finding{What: fmt.Sprintf(format, args...)})
}

func (in *inspection) bad(what, problem, fix string) {
	in.findings = append(in.findings, adapters.Finding{What: what, Problem: problem, Fix: fix})
}

// get reads path. It reports false if it could not; then what is said about
// what, with the fix for the code, or a general one.
func (in *inspection) get(what, route, path string, to any, fixes map[int]string) bool {
	err := in.api.call(in.ctx, in.pace, request{method: http.MethodGet, route: route, path: path}, to)
	if err == nil {
		return true
	}
	fix, known := fixes[codeOf(err)]
	if f := tickets.FailureOf(err); !known {
		switch f.Class {
		case tickets.Unauthorized:
			fix = "Open discord.com/developers/applications, the application, Bot, press Reset Token, and set COUNTERSIGN_DISCORD_BOT_TOKEN to the new one"
		case tickets.Unavailable, tickets.Ambiguous:
			fix = "Check that this machine reaches " + in.api.host.Host + " (network, proxy, DNS), then try again"
		case tickets.RateLimited:
			fix = "Wait a minute and try again"
		default:
			fix = "Look the code up at discord.com/developers/docs/topics/opcodes-and-status-codes"
		}
	}
	in.bad(what, err.Error(), fix)
	return false
}

func (in *inspection) token() bool {
	var me struct {
		ID       jsonx.LooseString `json:"id"`
		Username jsonx.LooseString `json:"username"`
	}
	const what = "the bot token is accepted"
	if !in.get(what, "/users/@me", "/users/@me", &me, nil) {
		return false
	}
	in.bot = string(me.ID)
	in.ok("%s: the bot is %s", what, wording.Cut(wording.Line(string(me.Username)), 40))
	return true
}

func (in *inspection) application() {
	var app struct {
		ID        jsonx.LooseString `json:"id"`
		VerifyKey jsonx.LooseString `json:"verify_key"`
		Endpoint  jsonx.LooseString `json:"interactions_endpoint_url"`
	}
	if !in.get("the application can be read", "/applications/@me", "/applications/@me", &app, nil) {
		return
	}
	const what = "the application id belongs to the bot token"
	if string(app.ID) != in.cfg.ApplicationID {
		in.bad(what, "the token is of another application", "Set COUNTERSIGN_DISCORD_APPLICATION_ID to "+string(app.ID)+", or take the token from the application that you mean")
	} else {
		in.ok("%s", what)
	}
	if in.cfg.PublicKey != "" {
		const what = "the public key is the application's"
		if !strings.EqualFold(string(app.VerifyKey), in.cfg.PublicKey) {
			in.bad(what, "Discord signs with another key", "Copy the Public Key from the application's General Information to COUNTERSIGN_DISCORD_PUBLIC_KEY")
		} else {
			in.ok("%s", what)
		}
	}
	endpoint := strings.TrimRight(string(app.Endpoint), "/")
	ours := in.cfg.PublicURL + interactionsPath
	if in.cfg.PublicURL == "" {
		ours = "https://, the bot's address, and " + interactionsPath
	}
	switch {
	case !in.cfg.HTTP && endpoint != "":
		in.bad("interactions come over the gateway", "the application has an Interactions Endpoint URL, so Discord sends them there and none over the gateway",
			"Clear the Interactions Endpoint URL on the application's General Information page, or set COUNTERSIGN_DISCORD_MODE=http")
	case !in.cfg.HTTP:
		in.gateway()
	case endpoint == "":
		in.bad("interactions come over HTTP", "the application has no Interactions Endpoint URL",
			"Start the bot, then set the Interactions Endpoint URL on the application's General Information page to "+ours)
	case in.cfg.PublicURL != "" && endpoint != ours:
		in.bad("interactions come over HTTP", "the application's Interactions Endpoint URL is not "+ours,
			"Set it on the application's General Information page, or correct COUNTERSIGN_PUBLIC_URL")
	default:
		in.ok("interactions come over HTTP: Discord sends them to %s", endpoint)
	}
}

func (in *inspection) gateway() {
	var bot struct {
		URL   jsonx.LooseString `json:"url"`
		Limit struct {
			Remaining int `json:"remaining"`
		} `json:"session_start_limit"`
	}
	const what = "interactions come over the gateway"
	switch {
	case !in.get(what, "/gateway/bot", "/gateway/bot", &bot, nil):
	case bot.Limit.Remaining < 10:
		in.bad(what, fmt.Sprintf("the bot may connect only %d more times today; at 0 Discord resets its token", bot.Limit.Remaining),
			"Find what connects so often with this token: another copy of Countersign, or another program")
	default:
		ctx, cancel := context.WithTimeout(in.ctx, in.cfg.Timeout)
		defer cancel()
		// Without signing on it does not count towards the sessions of a day.
		s, err := in.openSession(ctx, string(bot.URL))
		if err != nil {
			in.bad(what, fmt.Sprintf("no connection to %s: %v", bot.URL, err), "Let this machine make WebSocket connections to that address (firewall, proxy, DNS)")
			return
		}
		s.close()
		in.ok("%s at %s", what, bot.URL)
	}
}

func (in *inspection) server() bool {
	what := "the bot is in the server " + in.cfg.Guild
	invite := "Invite it: " + in.inviteURL()
	path := "/guilds/" + in.cfg.Guild
	notIn := map[int]string{codeUnknownGuild: invite, codeMissingAccess: invite, codeUnknownMember: invite}
	var guild struct {
		Name jsonx.LooseString `json:"name"`
	}
	var member struct {
		Roles []string `json:"roles"`
	}
	var roles []roleInfo
	if !in.get(what, "/guilds/{guild}", path, &guild, notIn) ||
		!in.get(what, routeMember, path+"/members/"+in.bot, &member, notIn) ||
		!in.get("the server's roles can be read", routeRoles, path+"/roles", &roles, notIn) {
		return false
	}
	in.mine, in.roles = member.Roles, map[string]roleInfo{}
	for _, r := range roles {
		in.roles[string(r.ID)] = r
	}
	in.ok("%s, %s", what, wording.Cut(wording.Line(string(guild.Name)), 60))
	return true
}

func (in *inspection) commands() {
	var have []command
	const what = "the slash command may be registered"
	if in.get(what, routeCommands, "/applications/"+in.cfg.ApplicationID+"/guilds/"+in.cfg.Guild+"/commands", &have,
		map[int]string{codeMissingAccess: "Invite the bot again with the scope applications.commands: " + in.inviteURL()}) {
		in.ok("%s", what)
	}
}

// overwrite is what a channel allows or denies to a role or a member.
type overwrite struct {
	ID    jsonx.LooseString `json:"id"`
	Type  int               `json:"type"` // 0 role, 1 member
	Allow jsonx.LooseString `json:"allow"`
	Deny  jsonx.LooseString `json:"deny"`
}

func (in *inspection) place(id string) {
	var channel struct {
		Name       jsonx.LooseString `json:"name"`
		Guild      jsonx.LooseString `json:"guild_id"`
		Type       int               `json:"type"`
		Overwrites []overwrite       `json:"permission_overwrites"`
	}
	what := "the bot may work in channel " + id
	let := "Let the bot see it: channel settings, Permissions, add the bot, allow View Channel"
	if !in.get(what, "/channels/{channel}", "/channels/"+id, &channel, map[int]string{
		codeUnknownChannel: "Correct COUNTERSIGN_DISCORD_CHANNEL: Discord copies the id from the channel's menu once Developer Mode is on (User Settings, Advanced)",
		codeMissingAccess:  let,
	}) {
		return
	}
	what = fmt.Sprintf("the bot may work in #%s (%s)", wording.Cut(wording.Line(string(channel.Name)), 60), id)
	const textChannel, newsChannel = 0, 5
	switch {
	case string(channel.Guild) != in.cfg.Guild:
		in.bad(what, "the channel is in another server", "Choose a channel of the server, or correct COUNTERSIGN_DISCORD_GUILD")
		return
	case channel.Type != textChannel && channel.Type != newsChannel:
		in.bad(what, "it is not a text channel", "Choose a text channel")
		return
	}
	may := in.permissions(channel.Overwrites)
	good := true
	for _, n := range needed {
		if may&n.bit == 0 {
			good = false
			in.bad(what, "it lacks the permission "+n.name+", which it needs to "+n.why, "Allow it in the channel's settings, Permissions, for the bot or its role; or invite the bot again: "+in.inviteURL())
		}
	}
	if good {
		in.ok("%s", what)
	}
}

// permissions is what the bot may do in a channel with those overwrites, as
// Discord computes it
// (discord.com/developers/docs/topics/permissions#permission-overwrites).
func (in *inspection) permissions(overwrites []overwrite) uint64 {
	bits := func(t jsonx.LooseString) uint64 {
		n, _ := strconv.ParseUint(string(t), 10, 64) // unreadable is nothing
		return n
	}
	may := bits(in.roles[in.cfg.Guild].Permissions)
	for _, r := range in.mine {
		may |= bits(in.roles[r].Permissions)
	}
	if may&permitAdministrator != 0 {
		return ^uint64(0)
	}
	var allow, deny uint64
	apply := func(is func(overwrite) bool) {
		allow, deny = 0, 0
		for _, o := range overwrites {
			if is(o) {
				allow, deny = allow|bits(o.Allow), deny|bits(o.Deny)
			}
		}
		may = may&^deny | allow
	}
	apply(func(o overwrite) bool { return o.Type == 0 && string(o.ID) == in.cfg.Guild })
	apply(func(o overwrite) bool {
		return o.Type == 0 && string(o.ID) != in.cfg.Guild && slices.Contains(in.mine, string(o.ID))
	})
	apply(func(o overwrite) bool { return o.Type == 1 && string(o.ID) == in.bot })
	return may
}

func (in *inspection) principal(p tickets.Principal) {
	what := p.String() + " is known"
	switch p.Kind {
	case tickets.Role:
		r, known := in.roles[p.ID]
		switch {
		case p.ID == in.cfg.Guild:
			in.bad(what, "that is the role @everyone", "Name a role that only approvers or admins have")
		case known && in.empty(p.ID):
			in.bad(what, "nobody has the role "+wording.Cut(wording.Line(string(r.Name)), 60), "Give it to people in Server Settings, Members, or name another role")
		case !known:
			in.bad(what, "the server has no such role", "Copy the role's id from Server Settings, Roles (Developer Mode on), and correct COUNTERSIGN_APPROVERS or COUNTERSIGN_ADMINS")
		default:
			in.ok("%s: the role %s", what, wording.Cut(wording.Line(string(r.Name)), 60))
		}
	case tickets.User:
		var member struct {
			Nick jsonx.LooseString `json:"nick"`
			User struct {
				Username   jsonx.LooseString `json:"username"`
				GlobalName jsonx.LooseString `json:"global_name"`
				Bot        bool              `json:"bot"`
			} `json:"user"`
		}
		fix := "Copy the user's id from their profile (Developer Mode on), and correct COUNTERSIGN_APPROVERS or COUNTERSIGN_ADMINS"
		if !in.get(what, routeMember, "/guilds/"+in.cfg.Guild+"/members/"+p.ID, &member, map[int]string{codeUnknownUser: fix,
			codeUnknownMember: "They have left the server, or the id is wrong: invite them, or take them out of COUNTERSIGN_APPROVERS or COUNTERSIGN_ADMINS"}) {
			return
		}
		if member.User.Bot {
			in.bad(what, "that is a bot", fix)
			return
		}
		name := string(member.Nick)
		for _, other := range []jsonx.LooseString{member.User.GlobalName, member.User.Username} {
			if name == "" {
				name = string(other)
			}
		}
		in.ok("%s: %s", what, wording.Cut(wording.Line(name), 60))
	default:
		in.bad(what, "Discord has no such thing as a "+string(p.Kind), "Name a user, discord:ID, or a role, discord:role:ID")
	}
}

// empty reports whether a role has no members, as far as Discord tells.
func (in *inspection) empty(role string) bool {
	if in.counts == nil {
		in.counts = map[string]int{}

		if err := in.api.call(in.ctx, in.pace, request{method: http.MethodGet, route: routeCounts, path: "/guilds/" + in.cfg.Guild + "/roles/member-counts"}, &in.counts); err != nil {
			in.counts = map[string]int{} // nothing is concluded from that
		}
	}
	n, told := in.counts[role]
	return told && n == 0
}

// Probe calls the bot at its public address, base, without a signature, as
// Discord does to see that this is refused. The answer proves that the
// address leads to a bot that checks signatures; nobody but Discord can make
// one. There is no finding if interactions come over the gateway.
func (c *Chat) Probe(ctx context.Context, base string) []adapters.Finding {
	if !c.cfg.HTTP {
		return nil
	}
	address := strings.TrimRight(base, "/") + interactionsPath
	what := "Discord's way in, " + address
	finding := func(problem, fix string) []adapters.Finding {
		return []adapters.Finding{{What: what, Problem: problem, Fix: fix}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(`{"type":1}`))
	if err != nil {
		return finding("that is no address", "Correct COUNTERSIGN_PUBLIC_URL.")
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: c.cfg.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return finding(neterr.Describe(err), "Start the bot with countersign serve, or correct COUNTERSIGN_PUBLIC_URL.")
	}
	defer res.Body.Close()
	const pass = "let the proxy there pass " + interactionsPath + " on to the bot as it is, for everybody"
	switch {
	case res.StatusCode == http.StatusUnauthorized && res.Header.Get("WWW-Authenticate") == "":
		return []adapters.Finding{{What: what + ": the bot answers, and refuses what Discord did not sign"}}
	case res.StatusCode == http.StatusUnauthorized:
		return finding("something before the bot asks for a password", strings.ToUpper(pass[:1])+pass[1:]+".")
	case res.StatusCode == http.StatusNotFound:
		return finding("nothing there answers Discord", "Start the bot with COUNTERSIGN_DISCORD_MODE=http, or correct COUNTERSIGN_PUBLIC_URL.")
	}
	return finding(fmt.Sprintf("something else than the bot answers, with HTTP status %d", res.StatusCode), "Correct COUNTERSIGN_PUBLIC_URL, or "+pass+".")
}
