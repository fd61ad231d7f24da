package slack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// scopes are the permissions that the bot token needs. The manifest asks for
// them, and [Chat.Diagnose] looks for them.
var scopes = []struct {
	name string
	// inPlaces scopes are needed only where a place is of that kind. Who
	// installs the app may leave them out, and each place shows their lack.
	inPlaces bool
}{
	{name: "chat:write"},
	{name: "commands"},
	{name: "users:read"},
	{name: scopeEmail},
	{name: "usergroups:read"},
	{name: "channels:read"},
	{name: "groups:read"},
	{name: "im:write"},
	{name: "channels:history", inPlaces: true},
	{name: "groups:history", inPlaces: true},
}

// scopeEmail is the scope without which nobody can be told from who asked.
const scopeEmail = "users:read.email"

// report collects findings.
type report []adapters.Finding

func (r *report) ok(format string, args ...any) {
	*r = append(*r, adapters.Finding{What: fmt.Sprintf(format, args...)})
}

func (r *report) bad(what, problem, fix string) {
	*r = append(*r, adapters.Finding{What: what, Problem: problem, Fix: fix})
}

// credential is one of the app's tokens, and where an admin finds it.
type credential struct{ variable, prefix, page, again string }

const appPages = "https://api.slack.com/apps"

var (
	botToken = credential{
		variable: "COUNTERSIGN_SLACK_BOT_TOKEN", prefix: "xoxb-", page: "OAuth & Permissions, Bot User OAuth Token",
		again: "OAuth & Permissions, Reinstall to Workspace",
	}
	appToken = credential{
		variable: "COUNTERSIGN_SLACK_APP_TOKEN", prefix: "xapp-", page: "Basic Information, App-Level Tokens",
		again: "Basic Information, App-Level Tokens, Generate Token and Scopes, with the scope connections:write",
	}
)

// trouble says what err of a call with token t means, and what to do.
func (c *Chat) trouble(t credential, err error) (problem, fix string) {
	f := tickets.FailureOf(err)
	name := slackError(err)
	problem = "Slack answers " + name
	at := "At " + appPages + " choose the app, "
	switch name {
	case "":
		problem = "there is no answer from Slack: " + describe(err)
		fix = "Let this machine reach " + c.base.Host + " by HTTPS, through firewall and proxy, and check COUNTERSIGN_SLACK_API_URL."
	case "invalid_auth", "not_authed":
		fix = at + t.page + ", and copy the token into " + t.variable + ". If the app is restricted to IP addresses (OAuth & Permissions), add this machine's."
	case "token_revoked", "account_inactive":
		fix = at + t.again + ", and put the new token into " + t.variable + "."
	case "token_expired":
		fix = "Tokens of this app expire: " + MsgRotation + "."
	case "not_allowed_token_type":
		fix = at + t.page + ": that token begins with " + t.prefix + ". Put it into " + t.variable + "."
	case "missing_scope":
		return c.missing(t, needed(err))
	case "team_access_not_granted", "org_login_required", "enterprise_is_restricted", "no_permission", "access_denied", "forbidden_team":
		fix = "Ask an owner of the Slack organisation to allow the app in this workspace."
	default:
		fix = "Slack explains the word at https://docs.slack.dev/reference/methods, on the page of the method. Fatal and internal errors are its own: try again later, and look at https://slack-status.com."
	}
	if f.Class == tickets.RateLimited {
		problem, fix = "Slack wants fewer calls", "Check again in a minute."
	}
	return problem, fix
}

// missing says that t lacks one of the scopes.
func (c *Chat) missing(t credential, list string) (problem, fix string) {
	if t == appToken {
		return "the token lacks the scope connections:write", "At " + appPages + " choose the app, " + t.again + ", and put it into " + t.variable + "."
	}
	if list == "" {
		list = "that countersign slack-manifest lists"
	}
	return "the app lacks the scope " + list,
		"At " + appPages + " choose the app, OAuth & Permissions, Bot Token Scopes, add " + list + ", and then choose Reinstall to Workspace."
}

// needed names the scopes that Slack says were needed.
func needed(err error) string {
	var se slack.SlackErrorResponse
	if errors.As(err, &se) && scopePattern.MatchString(se.Needed) {
		return strings.ReplaceAll(se.Needed, ",", " or ")
	}
	return ""
}

// Diagnose calls only methods that read, and apps.connections.open, which makes
// an address that nobody connects to.
func (c *Chat) Diagnose(ctx context.Context, places []tickets.Place, who []tickets.Principal) []adapters.Finding {
	var out report
	self, bot, ok := c.checkToken(ctx, &out)
	c.checkListening(ctx, &out)
	if !ok {
		return out // nothing else could be found out
	}
	var parts []func(*report)
	var seen []string
	first := func(key string) bool {
		again := slices.Contains(seen, key)
		seen = append(seen, key)
		return !again
	}
	for _, p := range places {
		if p.Platform == Platform && first(p.String()) {
			parts = append(parts, func(r *report) { c.checkPlace(ctx, r, p.Channel, bot) })
		}
	}
	groups := sync.OnceValues(func() (map[string]group, error) { return c.groups(ctx) })
	if slices.ContainsFunc(who, func(p tickets.Principal) bool { return p.Platform == Platform }) {
		parts = append(parts, func(r *report) { c.checkAddresses(ctx, r) })
	}
	for _, p := range who {
		if p.Platform != Platform || !first(p.String()) {
			continue
		}
		parts = append(parts, func(r *report) {
			switch p.Kind {
			case tickets.User:
				c.checkUser(ctx, r, p.ID, self)
			case tickets.Group:
				all, err := groups()
				c.checkGroup(r, p.ID, all, err)
			case tickets.Channel:
				c.checkMembers(ctx, r, p.ID, bot, self)
			default:
				r.bad("the approver or admin "+p.String(), "Slack has no roles", "Name a user, a user group or a channel instead: slack:U…, slack:group:S…, slack:channel:C….")
			}
		})
	}
	// A few at once: with many people one after the other would take long.
	results := make([]report, len(parts))
	slots := make(chan struct{}, 4)
	var working sync.WaitGroup
	for i, part := range parts {
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }()
			part(&results[i])
		})
	}
	working.Wait()
	return append(out, slices.Concat(results...)...)
}

// checkToken looks at the bot token and its scopes. It returns who the bot
// is, and its name there.
func (c *Chat) checkToken(ctx context.Context, out *report) (self identity, bot string, ok bool) {
	const what = "the bot token"
	var r *slack.AuthTestResponse
	err := c.call(ctx, "auth.test", "", false, func() (err error) {
		r, err = c.api().AuthTestContext(ctx)
		return err
	})
	if err != nil {
		problem, fix := c.trouble(botToken, err)
		out.bad(what, problem, fix)
		return identity{}, "", false
	}
	if r.BotID == "" || r.UserID == "" || r.TeamID == "" {
		_, fix := c.trouble(botToken, slack.SlackErrorResponse{Err: "not_allowed_token_type"})
		out.bad(what, "it is not the token of a bot", fix)
		return identity{}, "", false
	}
	self = identity{team: r.TeamID, enterprise: r.EnterpriseID, user: r.UserID, bot: r.BotID}
	bot = named("@", r.User, "")
	out.ok("%s: Slack accepts it, as %s in %s", what, named("@", r.User, r.UserID), named("", r.Team, r.TeamID))

	const permissions = "the scopes of the bot token"
	has := granted(r.Header)
	if len(has) == 0 {
		out.bad(permissions, "the answer does not name them", "If a proxy stands between this machine and Slack, let it pass the header X-OAuth-Scopes.")
		return self, bot, true
	}
	var lacks []string
	for _, s := range scopes {
		if !s.inPlaces && !slices.Contains(has, s.name) {
			lacks = append(lacks, s.name)
		}
	}
	if len(lacks) > 0 {
		problem, fix := c.missing(botToken, strings.Join(lacks, ", "))
		out.bad(permissions, problem, fix)
	} else {
		out.ok("%s: all that are needed", permissions)
	}
	return self, bot, true
}

// checkListening looks at how clicks and commands come in.
func (c *Chat) checkListening(ctx context.Context, out *report) {
	if c.cfg.AppToken == "" {
		out.ok("the signing secret is set: clicks come by HTTP")
		return
	}
	const method = "apps.connections.open"
	const what = "the app token (Socket Mode)"
	err := c.pace.wait(ctx, method, "")
	if err == nil {
		// Not by call: it would take this token's acceptance for the bot token's.
		var link string
		_, link, err = c.api().StartSocketModeContext(ctx)
		if err == nil && link == "" {
			err = errNoEcho
		}
		if err != nil {
			err = failure(method, false, err)
		}
	}
	if err != nil {
		problem, fix := c.trouble(appToken, err)
		out.bad(what, problem, fix)
		return
	}
	out.ok("%s: Slack accepts it", what)
}

// conversation is a channel as far as checking needs it.
type conversation struct {
	ID       string            `json:"id"`
	Name     jsonx.LooseString `json:"name"`
	Archived bool              `json:"is_archived"`
	Member   bool              `json:"is_member"`
}

// channelInfo reads a channel.
func (c *Chat) channelInfo(ctx context.Context, id string) (conversation, error) {
	var answer struct {
		Channel conversation `json:"channel"`
	}
	const method = "conversations.info"
	err := c.call(ctx, method, id, false, func() error {
		err := c.read(ctx, method, url.Values{"channel": {id}}, &answer)
		if err == nil && answer.Channel.ID == "" {
			err = errNoEcho
		}
		return err
	})
	return answer.Channel, err
}

// conversation reads a channel. If it cannot it says why and returns false.
func (c *Chat) conversation(ctx context.Context, out *report, id, bot, where string) (conversation, bool) {
	ch, err := c.channelInfo(ctx, id)
	what := "the channel " + id
	switch {
	case err == nil:
		return ch, true
	case slackError(err) == "channel_not_found":
		out.bad(what, "the bot sees no such channel", "If it is a private one, write /invite "+bot+" in it. Otherwise correct "+where+
			": Slack shows a channel's ID at the bottom of its details.")
	default:
		problem, fix := c.trouble(botToken, err)
		out.bad(what, problem, fix)
	}
	return conversation{}, false
}

func (c *Chat) checkPlace(ctx context.Context, out *report, id, bot string) {
	ch, ok := c.conversation(ctx, out, id, bot, "COUNTERSIGN_SLACK_CHANNEL")
	if !ok {
		return
	}
	name := named("#", string(ch.Name), id)
	switch {
	case ch.Archived:
		out.bad("the channel "+name, "it is archived", "Take it out of the archive in Slack and write /invite "+bot+" in it, or set COUNTERSIGN_SLACK_CHANNEL to another one.")
		return
	case !ch.Member:
		out.bad("the channel "+name, "the bot is not in it", "Write /invite "+bot+" in the channel.")
		return
	}
	out.ok("the channel %s: the bot is in it", name)

	what := "the history of " + name
	const method = "conversations.history"
	var nothing struct{}
	err := c.call(ctx, method, id, false, func() error {
		return c.read(ctx, method, url.Values{"channel": {id}, "limit": {"1"}}, &nothing)
	})
	if err != nil {
		problem, fix := c.trouble(botToken, err)
		out.bad(what, problem+": a request whose posting was interrupted may be shown twice", fix)
		return
	}
	out.ok("%s: the bot may look for its own messages in it", what)
}

func (c *Chat) checkUser(ctx context.Context, out *report, id string, self identity) {
	const fix = "Correct COUNTERSIGN_APPROVERS and COUNTERSIGN_ADMINS: Slack shows somebody's ID under Profile, ⋮, Copy member ID."
	u, err := c.account(ctx, id)
	what := "the user " + named("", u.name(), id)
	switch wrong := c.wrongWith(u, self); {
	case isNoUser(err):
		out.bad(what, "the bot sees no such user", fix)
	case err != nil:
		problem, fix := c.trouble(botToken, err)
		out.bad(what, problem, fix)
	case wrong != "":
		out.bad(what, wrong, fix)
	case u.Profile.Email == "" && c.unaddressed(ctx) == ofOne:
		out.bad(what, ofOne.problem, ofOne.fix)
	default:
		out.ok("%s", what)
	}
}

// checkAddresses looks whether the workspace hides everybody's. A scope that
// lacks is not told of twice.
func (c *Chat) checkAddresses(ctx context.Context, out *report) {
	const what = "the e-mail addresses of people"
	why, err := c.everybodys(ctx)
	switch {
	case slackError(err) == "missing_scope":
	case err != nil:
		problem, fix := c.trouble(botToken, err)
		out.bad(what, problem, fix)
	case why != nil && *why == ofAll:
		out.bad(what, why.problem, why.fix)
	}
}

// group is a user group as far as checking needs it.
type group struct {
	ID      string            `json:"id"`
	Handle  jsonx.LooseString `json:"handle"`
	Deleted jsonx.LooseString `json:"date_delete"` // 0 while it is enabled
	Users   []string          `json:"users"`
}

// groups reads all user groups, by ID: one call, because few are allowed.
func (c *Chat) groups(ctx context.Context) (map[string]group, error) {
	var answer struct {
		Groups []group `json:"usergroups"`
	}
	const method = "usergroups.list"
	err := c.call(ctx, method, "", false, func() error {
		return c.read(ctx, method, url.Values{"include_disabled": {"1"}, "include_users": {"1"}}, &answer)
	})
	if err != nil {
		return nil, err
	}
	all := map[string]group{}
	for _, g := range answer.Groups {
		all[g.ID] = g
	}
	return all, nil
}

func (c *Chat) checkGroup(out *report, id string, all map[string]group, err error) {
	g, exists := all[id]
	what := "the user group " + named("@", string(g.Handle), id)
	switch {
	case slackError(err) == "plan_upgrade_required":
		out.bad(what, "this workspace has no user groups: its plan does not include them", "Name users or a channel in COUNTERSIGN_APPROVERS and COUNTERSIGN_ADMINS, or change the plan.")
	case err != nil:
		problem, fix := c.trouble(botToken, err)
		out.bad(what, problem, fix)
	case !exists:
		out.bad(what, "there is no such user group", "Correct COUNTERSIGN_APPROVERS and COUNTERSIGN_ADMINS: Slack shows a group's ID under People, User groups, ⋮, Copy group ID.")
	case g.Deleted != "0" && g.Deleted != "":
		out.bad(what, "it is disabled", "Enable it in Slack under People, User groups, or name another one.")
	case len(g.Users) == 0:
		out.bad(what, "nobody is in it", "Add people to it in Slack under People, User groups.")
	default:
		out.ok("%s: %s", what, wording.MsgPeople(len(g.Users)))
	}
}

func (c *Chat) checkMembers(ctx context.Context, out *report, id, bot string, self identity) {
	ch, ok := c.conversation(ctx, out, id, bot, "COUNTERSIGN_APPROVERS and COUNTERSIGN_ADMINS")
	if !ok {
		return
	}
	name := named("#", string(ch.Name), id)
	what := "the members of " + name
	members, err := c.channelMembers(ctx, id)
	members = slices.DeleteFunc(members, func(u string) bool { return u == self.user })
	switch {
	case err != nil:
		problem, fix := c.trouble(botToken, err)
		out.bad(what, problem, fix)
	case len(members) == 0:
		out.bad(what, "nobody is in it", "Add people to the channel, or name another one.")
	default:
		out.ok("%s: %s", what, wording.MsgPeople(len(members)))
	}
}

// named is a name of Slack's with its ID, or what there is of both.
func named(sign, name, id string) string {
	name = wording.Cut(wording.Line(name), 80)
	switch {
	case name == "":
		return id
	case id == "":
		return sign + name
	}
	return sign + name + " (" + id + ")"
}

// Probe calls the bot at its public address, base, as Slack does when an
// admin enters the address of a Slack app. The answer proves that the address
// leads to a bot with our signing secret. There is no finding if Slack does
// not call the bot over HTTP.
func (c *Chat) Probe(ctx context.Context, base string) []adapters.Finding {
	if c.cfg.AppToken != "" || len(c.cfg.SigningSecrets) == 0 {
		return nil
	}
	address := strings.TrimRight(base, "/") + "/slack/events"
	what := "Slack's way in, " + address
	finding := func(problem, fix string) []adapters.Finding {
		return []adapters.Finding{{What: what, Problem: problem, Fix: fix}}
	}
	challenge := rand.Text()
	body, err := jsonx.Encode(map[string]string{"type": "url_verification", "challenge": challenge})
	if err != nil {
		return finding("the probe cannot be written", "Report this.")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return finding("that is no address", "Correct COUNTERSIGN_PUBLIC_URL.")
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(c.secrets().SigningSecrets[0]))
	mac.Write([]byte("v0:" + at + ":" + string(body)))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Slack-Request-Timestamp", at)
	req.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := c.http.Do(req)
	if err != nil {
		return finding(neterr.Describe(err), "Start the bot with countersign serve, or correct COUNTERSIGN_PUBLIC_URL.")
	}
	defer resp.Body.Close()
	var answer struct {
		Challenge string `json:"challenge"`
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(raw, &answer) == nil && answer.Challenge == challenge {
		return []adapters.Finding{{What: what + ": the bot answers, and has our signing secret"}}
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return finding("the bot there does not accept our signature", "Let COUNTERSIGN_SLACK_SIGNING_SECRET be the Signing Secret of "+appPages+
			", your app, Basic Information, restart the bot, and let the clocks of both machines be right.")
	case http.StatusNotFound:
		return finding("nothing there answers Slack", "Start the bot with COUNTERSIGN_SLACK_SIGNING_SECRET and without COUNTERSIGN_SLACK_APP_TOKEN, or correct COUNTERSIGN_PUBLIC_URL.")
	}
	return finding(fmt.Sprintf("something else than the bot answers, with HTTP status %d", resp.StatusCode),
		"Correct COUNTERSIGN_PUBLIC_URL, or let the proxy there pass /slack/ on to the bot as it is.")
}
