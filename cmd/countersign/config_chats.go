package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/tickets"
)

// The shapes of Slack's identifiers.
var slackID = map[tickets.PrincipalKind]*regexp.Regexp{
	tickets.User:    regexp.MustCompile(`^[UW][A-Z0-9]{2,}$`),
	tickets.Group:   regexp.MustCompile(`^S[A-Z0-9]{2,}$`),
	tickets.Channel: regexp.MustCompile(`^[CG][A-Z0-9]{2,}$`),
}

// usesSlack reports whether any variable of Slack is set.
// reader is how EPM's webhooks are read.
func (env environment) reader() epm.Reader {
	return epm.Reader{DayFirst: env.EPMDayFirst == "true", Tenant: env.EPMTenantID}
}

func (env environment) usesSlack() bool {
	return env.SlackBotToken != "" || env.SlackSigningSecret != "" || env.SlackAppToken != "" || env.SlackChannel != ""
}

// usesDiscord reports whether any variable of Discord is set.
func (env environment) usesDiscord() bool {
	return env.DiscordBotToken != "" || env.DiscordApplicationID != "" || env.DiscordPublicKey != "" || env.DiscordGuild != "" || env.DiscordChannel != ""
}

func (c *checker) chats(env environment) {
	if !env.usesSlack() && !env.usesDiscord() {
		c.add("SLACK_BOT_TOKEN", "no chat is configured: set the variables of Slack (SLACK_BOT_TOKEN, SLACK_CHANNEL, …), of Discord (DISCORD_BOT_TOKEN, DISCORD_CHANNEL, …), or of both")
	}
	if env.usesSlack() {
		c.slack(env)
	}
	if env.usesDiscord() {
		c.discord(env)
	}
	for _, api := range []struct{ name, value string }{{"SLACK_API_URL", env.SlackAPIURL}, {"DISCORD_API_URL", env.DiscordAPIURL}} {
		if u := c.httpURL(api.name, api.value); u != "" && strings.HasPrefix(u, "http://") && !loopback(u) {
			c.add(api.name, "must be https, except on this machine")
		}
	}
}

func (c *checker) slack(env environment) {
	c.need("SLACK_BOT_TOKEN", env.SlackBotToken.Reveal(), "the bot token of the Slack app, which begins with xoxb-")
	switch t := env.SlackBotToken.Reveal(); {
	case slack.MsgRotating(t) != "":
		c.add("SLACK_BOT_TOKEN", "%s", slack.MsgRotating(t))
	case t != "" && !strings.HasPrefix(t, "xoxb-"):
		c.add("SLACK_BOT_TOKEN", "is not a bot token: those begin with xoxb-")
	}
	switch t := env.SlackAppToken.Reveal(); {
	case slack.MsgRotating(t) != "":
		c.add("SLACK_APP_TOKEN", "is not an app-level token: those begin with xapp-, and never expire. What is there shows that %s", slack.MsgRotation)
	case t != "" && !strings.HasPrefix(t, "xapp-"):
		c.add("SLACK_APP_TOKEN", "is not an app-level token: those begin with xapp-")
	}
	if env.SlackSigningSecret == "" && env.SlackAppToken == "" {
		c.add("SLACK_SIGNING_SECRET", "is missing: set it to receive clicks over HTTP, or set SLACK_APP_TOKEN for Socket Mode")
	}
	if env.SlackSigningSecretPrevious != "" && env.SlackSigningSecret == "" {
		c.add("SLACK_SIGNING_SECRET_PREVIOUS", "needs SLACK_SIGNING_SECRET beside it")
	}
	c.need("SLACK_CHANNEL", env.SlackChannel, "the ID of the channel for requests, which begins with C; Slack shows it at the bottom of the channel's details")
	if env.SlackChannel != "" && !slackID[tickets.Channel].MatchString(env.SlackChannel) {
		c.add("SLACK_CHANNEL", "is not a channel ID: those begin with C; Slack shows it at the bottom of the channel's details")
	}
}

func (c *checker) discord(env environment) {
	const developer = "; switch Developer Mode on in Discord (User Settings, Advanced) to copy IDs from menus"
	c.need("DISCORD_BOT_TOKEN", env.DiscordBotToken.Reveal(), "the token of the Discord application's bot, on its page Bot at discord.com/developers/applications")
	if strings.HasPrefix(env.DiscordBotToken.Reveal(), "Bot ") {
		c.add("DISCORD_BOT_TOKEN", `write the token alone, without the word "Bot"`)
	}
	for _, id := range []struct{ name, value, why string }{
		{"DISCORD_APPLICATION_ID", env.DiscordApplicationID, "the Application ID, on the application's page General Information"},
		{"DISCORD_GUILD", env.DiscordGuild, "the ID of the server whose members may act" + developer},
		{"DISCORD_CHANNEL", env.DiscordChannel, "the ID of the channel for requests" + developer},
	} {
		c.need(id.name, id.value, id.why)
		if strings.TrimSpace(id.value) != "" && !discord.IsID(id.value) {
			c.add(id.name, "is not an ID, which is a number of 17 to 20 digits: %s", id.why)
		}
	}
	switch env.DiscordMode {
	case "gateway":
	case "http":
		c.need("DISCORD_PUBLIC_KEY", env.DiscordPublicKey, "the Public Key, on the application's page General Information; interactions over HTTP are checked with it")
	default:
		c.add("DISCORD_MODE", "write gateway or http")
	}
	if key, err := hex.DecodeString(env.DiscordPublicKey); err != nil || (len(key) != ed25519.PublicKeySize && len(key) != 0) {
		c.add("DISCORD_PUBLIC_KEY", "is not a public key, which has 64 hexadecimal digits")
	}
}

func loopback(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || (err == nil && addr.IsLoopback())
}

// principal says whether p is somebody in a chat that is configured.
func (env environment) principal(p tickets.Principal) error {
	switch p.Platform {
	case slack.Platform:
		if !env.usesSlack() {
			return fmt.Errorf("%s is not configured", wording.PlatformName(p.Platform))
		}
		return sayError(slackPrincipal(p))
	case discord.Platform:
		if !env.usesDiscord() {
			return fmt.Errorf("%s is not configured", wording.PlatformName(p.Platform))
		}
		return sayError(discordPrincipal(p, env.DiscordGuild))
	}
	return errors.New("there is no such platform: write slack:… or discord:…")
}

// place says whether p is a channel of a chat that is configured.
func (env environment) place(p tickets.Place) error {
	switch {
	case p.Platform != slack.Platform && p.Platform != discord.Platform:
		return errors.New("there is no such platform: write slack:… or discord:…")
	case p.Platform == slack.Platform && !env.usesSlack(), p.Platform == discord.Platform && !env.usesDiscord():
		return fmt.Errorf("%s is not configured", wording.PlatformName(p.Platform))
	case p.Platform == slack.Platform && !slackID[tickets.Channel].MatchString(p.Channel):
		return errors.New("that is not the ID of a Slack channel, which begins with C; Slack shows it at the bottom of the channel's details")
	case p.Platform == discord.Platform && !discord.IsID(p.Channel):
		return errors.New("that is not the ID of a Discord channel, which is a number of 17 to 20 digits")
	}
	return nil
}

func sayError(say string) error {
	if say == "" {
		return nil
	}
	return errors.New(say)
}

// slackPrincipal says what is wrong with p, or "".
func slackPrincipal(p tickets.Principal) string {
	switch shape := slackID[p.Kind]; {
	case shape == nil:
		return "Slack has users, groups and channels: slack:U…, slack:group:S…, slack:channel:C…"
	case !shape.MatchString(p.ID):
		return "that is not the ID of a Slack " + string(p.Kind)
	}
	return ""
}

// discordPrincipal says what is wrong with p, or "".
func discordPrincipal(p tickets.Principal, guild string) string {
	switch {
	case p.Kind != tickets.User && p.Kind != tickets.Role:
		return "Discord has users and roles: discord:ID, discord:role:ID"
	case !discord.IsID(p.ID):
		return "that is not the ID of a Discord " + string(p.Kind) + ", which is a number of 17 to 20 digits"
	case p.Kind == tickets.Role && p.ID == guild:
		return "that is the role @everyone: name a role that only some have"
	}
	return ""
}
