package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/bot/retention"
)

// setenv makes exactly these variables of ours the environment.
func setenv(t testing.TB, vars map[string]string) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, envPrefix+"_") {
			t.Setenv(name, "") // restores it afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, value := range vars {
		t.Setenv(envPrefix+"_"+name, value)
	}
}

func complete() map[string]string {
	return map[string]string{
		"WEBHOOK_USER": "epm", "WEBHOOK_PASSWORD": "pw-secret",
		"EPM_HOST": "acme-services.beyondtrustcloud.com", "EPM_CLIENT_ID": "id", "EPM_CLIENT_SECRET": "epm-secret",
		"SLACK_BOT_TOKEN": "xoxb-secret", "SLACK_SIGNING_SECRET": "signing-secret", "SLACK_CHANNEL": "C0123ABC",
		"APPROVERS": "slack:U1AA, slack:group:S1AA",
	}
}

func TestConfigDefaults(t *testing.T) {
	setenv(t, complete())
	env, findings := readEnvironment()
	cfg, err := env.check(findings)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != ":8080" || cfg.storePath != "countersign.db" || cfg.start.Rules.Type.Name != "Access Request" || cfg.LogFormat != "json" {
		t.Errorf("config = %+v", cfg)
	}
	if len(cfg.start.Approvers) != 2 || len(cfg.start.Rules.Active) != 3 || cfg.start.Rules.Places[0].Channel != "C0123ABC" {
		t.Errorf("approvers %v, active %v, places %v", cfg.start.Approvers, cfg.start.Rules.Active, cfg.start.Rules.Places)
	}
}

func TestConfigFindsEverythingAtOnce(t *testing.T) {
	const planted = "planted-value"
	setenv(t, map[string]string{
		"LISTEN": planted, "PUBLIC_URL": planted, "STORE": "redis://:" + planted + "@h:x/", "WEBHOOK_ALLOW": "10.0.0.0/8," + planted,
		"SLACK_BOT_TOKEN": planted, "SLACK_APP_TOKEN": planted, "SLACK_CHANNEL": "#" + planted, "SLACK_API_URL": "http://" + planted + "/",
		"APPROVERS": planted + ",slack:" + planted + ",discord:1,slack:role:S1", "LOG_LEVEL": planted, "LOG_FORMAT": planted,
		"SETTINGS_TICKET_TYPE": planted, "SETTINGS_AUTO_CLOSE": planted, "SETTINGS_SELF_APPROVAL": planted, "TLS_CERT": planted,
		"SLAKC_CHANNEL": planted, "SETTINGS_FIELDS": planted, "KEEP_TICKETS": planted, "KEEP_INCOMING": "1h", "KEEP_INCOMING_FAILED": planted, "AUDIT_CHECKPOINTS": "ftp://" + planted,
		"DISCORD_BOT_TOKEN": "Bot " + planted, "DISCORD_GUILD": planted, "DISCORD_MODE": planted, "DISCORD_PUBLIC_KEY": planted, "DISCORD_API_URL": "http://" + planted,
		"EPM_CLIENT_SECRET_FILE": filepath.Join(t.TempDir(), planted),
	})
	var out bytes.Buffer
	err := run(context.Background(), []string{"serve"}, Env{Environment: readEnvironment, Stdout: &out, Stderr: &out, Now: time.Now})
	if err == nil {
		t.Fatal("serve = nil, want an error")
	}
	text := err.Error()
	for _, name := range []string{
		"LISTEN", "PUBLIC_URL", "STORE", "WEBHOOK_USER", "WEBHOOK_PASSWORD", "WEBHOOK_ALLOW", "EPM_HOST", "EPM_CLIENT_ID", "EPM_CLIENT_SECRET",
		"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_CHANNEL", "SLACK_API_URL", "APPROVERS", "LOG_LEVEL", "LOG_FORMAT", "SETTINGS_TICKET_TYPE", "SETTINGS_SELF_APPROVAL",
		"TLS_CERT", "SLAKC_CHANNEL", "SETTINGS_FIELDS", "KEEP_TICKETS", "KEEP_INCOMING", "KEEP_INCOMING_FAILED", "AUDIT_CHECKPOINTS",
		"DISCORD_BOT_TOKEN", "DISCORD_APPLICATION_ID", "DISCORD_GUILD", "DISCORD_CHANNEL", "DISCORD_MODE", "DISCORD_PUBLIC_KEY", "DISCORD_API_URL", "EPM_CLIENT_SECRET_FILE",
	} {
		if !strings.Contains(text, "COUNTERSIGN_"+name+": ") {
			t.Errorf("no finding for %s in\n%s", name, text)
		}
	}
	if strings.Contains(text+out.String(), planted) {
		t.Errorf("a value is printed:\n%s", text)
	}
}

// TestConfigChats: Slack, Discord or both; who is named must be of a chat that
// is configured.
func TestConfigChats(t *testing.T) {
	discordVars := map[string]string{
		"DISCORD_BOT_TOKEN": "a.b.c", "DISCORD_APPLICATION_ID": "1100000000000000001", "DISCORD_GUILD": "1100000000000000003", "DISCORD_CHANNEL": "1200000000000000001",
	}
	for _, c := range []struct {
		name           string
		slack, discord bool
		set            map[string]string
		places         int
		say            string // in the finding; empty for none
	}{
		{name: "Slack", slack: true, places: 1},
		{name: "Discord", discord: true, set: map[string]string{"APPROVERS": "discord:1300000000000000001, discord:role:1200000000000000002"}, places: 1},
		{name: "Both", slack: true, discord: true, places: 2},
		{name: "HTTP", slack: true, discord: true, set: map[string]string{"DISCORD_MODE": "http", "DISCORD_PUBLIC_KEY": strings.Repeat("0a", 32)}, places: 2},
		{name: "None", set: map[string]string{"APPROVERS": ""}, say: "COUNTERSIGN_SLACK_BOT_TOKEN: no chat is configured"},
		{name: "HTTPWithoutKey", slack: true, discord: true, set: map[string]string{"DISCORD_MODE": "http"}, say: "COUNTERSIGN_DISCORD_PUBLIC_KEY: is missing"},
		{name: "SlackPeopleWithoutSlack", discord: true, say: "COUNTERSIGN_APPROVERS: item 1: Slack is not configured"},
		{name: "DiscordPeopleWithoutDiscord", slack: true, set: map[string]string{"ADMINS": "discord:1300000000000000001"}, say: "COUNTERSIGN_ADMINS: item 1: Discord is not configured"},
		{name: "Everyone", discord: true, set: map[string]string{"APPROVERS": "discord:role:1100000000000000003"}, say: "COUNTERSIGN_APPROVERS: item 1: that is the role @everyone"},
		{name: "DiscordGroup", discord: true, set: map[string]string{"APPROVERS": "discord:group:1200000000000000002"}, say: "COUNTERSIGN_APPROVERS: item 1: Discord has users and roles"},
		{name: "NoSuchPlatform", slack: true, set: map[string]string{"APPROVERS": "teams:1"}, say: "COUNTERSIGN_APPROVERS: item 1: there is no such platform"},
	} {
		t.Run(c.name, func(t *testing.T) {
			vars := complete()
			for name := range vars {
				if strings.HasPrefix(name, "SLACK_") && !c.slack {
					delete(vars, name)
				}
			}
			if c.discord {
				maps.Copy(vars, discordVars)
			}
			maps.Copy(vars, c.set)
			setenv(t, vars)
			env, findings := readEnvironment()
			cfg, err := env.check(findings)
			switch {
			case c.say != "":
				if err == nil || !strings.Contains(err.Error(), c.say) {
					t.Errorf("check = %v, want %q", err, c.say)
				}
			case err != nil:
				t.Error(err)
			case len(cfg.start.Rules.Places) != c.places:
				t.Errorf("places = %v, want %d", cfg.start.Rules.Places, c.places)
			}
		})
	}
}

// TestConfigTokenRotation: whoever copied a token of an app that rotates them
// reads that, and what to do, and nothing of the token; also when its file is
// renewed, which asks the same check.
func TestConfigTokenRotation(t *testing.T) {
	const planted = "1-My0xLXBsYW50ZWQ"
	for _, name := range []string{"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"} {
		for _, token := range []string{"xoxe.xoxb-" + planted, "xoxe.xoxp-" + planted, "xoxe-" + planted} {
			vars := complete()
			vars[name] = token
			setenv(t, vars)
			env, findings := readEnvironment()
			_, err := env.check(findings)
			var wrong configError
			if !errors.As(err, &wrong) || len(wrong) != 1 || wrong[0].name != name || !strings.Contains(wrong[0].say, slack.MsgRotation) {
				t.Errorf("%s=%s…: %v, want one finding with what to do", name, token[:9], err)
			}
			if strings.Contains(fmt.Sprint(err), planted) {
				t.Errorf("%s: the token is printed: %v", name, err)
			}
		}
	}
}

func TestConfigSelfApproval(t *testing.T) {
	for value, want := range map[string]bool{"": false, "deny": false, "Deny": false, "allow": true, "ALLOW": true} {
		vars := complete()
		if vars["SETTINGS_SELF_APPROVAL"] = value; value == "" {
			delete(vars, "SETTINGS_SELF_APPROVAL")
		}
		setenv(t, vars)
		env, findings := readEnvironment()
		cfg, err := env.check(findings)
		if err != nil || cfg.start.SelfApproval != want {
			t.Errorf("%q: self-approval = %v, %v; want %v", value, cfg.start.SelfApproval, err, want)
		}
	}
}

func TestConfigAges(t *testing.T) {
	vars := complete()
	setenv(t, vars)
	env, findings := readEnvironment()
	cfg, err := env.check(findings)
	if want := (retention.Ages{Applied: retention.KeepApplied, Failed: retention.KeepFailed}); err != nil || cfg.keep != want {
		t.Errorf("by default %+v, %v; want %+v", cfg.keep, err, want)
	}
	vars["KEEP_TICKETS"], vars["KEEP_INCOMING"], vars["KEEP_INCOMING_FAILED"] = "52w", "1d", "26w"
	setenv(t, vars)
	env, findings = readEnvironment()
	cfg, err = env.check(findings)
	const day = 24 * time.Hour
	if want := (retention.Ages{Tickets: 364 * day, Applied: day, Failed: 182 * day}); err != nil || cfg.keep != want {
		t.Errorf("%+v, %v; want %+v", cfg.keep, err, want)
	}
	vars["KEEP_TICKETS"] = "29d"
	setenv(t, vars)
	env, findings = readEnvironment()
	if _, err := env.check(findings); err == nil || !strings.Contains(err.Error(), "COUNTERSIGN_KEEP_TICKETS: ") {
		t.Errorf("29 days = %v, want a finding", err)
	}
	// What is replayed must find its ticket.
	vars["KEEP_TICKETS"], vars["KEEP_INCOMING_FAILED"] = "60d", "61d"
	setenv(t, vars)
	env, findings = readEnvironment()
	if _, err := env.check(findings); err == nil || !strings.Contains(err.Error(), "must be at least KEEP_INCOMING_FAILED, which is 61d") {
		t.Errorf("tickets go before webhooks = %v, want a finding", err)
	}
}

func TestConfigSecretsFromFiles(t *testing.T) {
	vars := complete()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	delete(vars, "WEBHOOK_PASSWORD")
	vars["WEBHOOK_PASSWORD_FILE"] = path
	setenv(t, vars)
	env, findings := readEnvironment()
	if len(findings) > 0 || env.WebhookPassword.Reveal() != "from-file" {
		t.Errorf("password = %q, findings %v; want it from the file without the line's end", env.WebhookPassword.Reveal(), findings)
	}
	t.Setenv("COUNTERSIGN_WEBHOOK_PASSWORD", "both")
	if _, findings := readEnvironment(); len(findings) != 1 {
		t.Errorf("findings = %v, want one: both are set", findings)
	}
}

func TestSecretNeverPrintsItself(t *testing.T) {
	v := struct{ S secret }{"planted-value"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", v.S, "struct", v)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", v.S, "struct", v)
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v.S, v.S), log.String(), string(b)} {
		if strings.Contains(s, "planted") {
			t.Errorf("printed: %s", s)
		}
	}
}

func TestEveryVariableIsInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range variables() {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/configuration.md does not tell of %s", name)
		}
	}
}

func TestCommandsPrint(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
		fail bool
	}{
		{"--version", "countersign ", false},
		{"version", "countersign ", false},
		{"--help", "countersign COMMAND", false},
		{"", "countersign COMMAND", true},
		{"dance", "countersign COMMAND", true},
		{"templates", `"EventType": "URM_Native_Ticket_Created"`, false},
		{"slack-manifest --mode socket", "socket_mode_enabled: true", false},
		{"slack-manifest --mode http --url https://countersign.example.com", "https://countersign.example.com/slack/interactions", false},
		{"slack-manifest --mode http", "", true},
	} {
		var out bytes.Buffer
		err := run(context.Background(), strings.Fields(c.args), Env{Environment: readEnvironment, Stdout: &out, Stderr: &out, Now: time.Now})
		if (err != nil) != c.fail || !strings.Contains(out.String(), c.want) {
			t.Errorf("countersign %s: %v\n%s\nwant %q in it", c.args, err, out.String(), c.want)
		}
	}
}

// TestZoneThatDoesNotExist: Go would take it for UTC, without a word.
func TestZoneThatDoesNotExist(t *testing.T) {
	for tz, ok := range map[string]bool{
		"": true, "UTC": true, "Europe/Berlin": true, ":Europe/Berlin": true, "Local": true,
		"Europe/Berln": false, "CET-1CEST,M3.5.0,M10.5.0/3": false, "Berlin": false, "../etc/passwd": false, "/etc/passwd": false, "/nowhere": false, "planted zone": false,
	} {
		setenv(t, complete())
		t.Setenv("TZ", tz)
		env, findings := readEnvironment()
		_, err := env.check(findings)
		if (err == nil) != ok || err != nil && (!strings.Contains(err.Error(), "\n  TZ: is no time zone") || strings.Contains(err.Error(), "planted")) {
			t.Errorf("TZ=%s: %v", tz, err)
		}
	}
}

// TestEveryCommandHasHelp: whoever asks for help gets it, without an error, and
// nothing is done.
func TestEveryCommandHasHelp(t *testing.T) {
	for _, c := range commands() {
		for _, args := range [][]string{{c.name, "--help"}, {c.name, "-h"}, {c.name, "help"}, {c.name, "reset", "--help"}, {c.name, "list", "-h"}} {
			var out, errs bytes.Buffer
			err := run(t.Context(), args, Env{Stdout: &out, Stderr: &errs, Now: time.Now, Environment: func() (environment, []finding) {
				t.Errorf("%v reads the environment", args)
				return environment{}, nil
			}})
			if err != nil || errs.Len() > 0 || !strings.HasPrefix(out.String(), "Usage: countersign "+c.name) || !strings.Contains(out.String(), c.help) {
				t.Errorf("%v = %v\n%s%s", args, err, out.String(), errs.String())
			}
		}
	}
}
