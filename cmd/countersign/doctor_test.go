package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store/sqlite"
)

// doctored runs doctor beside the bot of the story, with what change makes of
// its environment. It returns what doctor prints, its error, and the lines
// that are to be fixed with what to do.
func (s *story) doctored(ctx context.Context, change func(*environment)) (text string, fixes []string, err error) {
	s.Helper()
	env := s.env
	env.PublicURL = "http://" + s.addr
	if change != nil {
		change(&env)
	}
	var out, side bytes.Buffer
	err = run(ctx, []string{"doctor"}, Env{
		Environment: func() (environment, []finding) { return env, nil },
		Stdout:      &out, Stderr: &side, Now: time.Now,
	})
	text = out.String()
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "fix  ") {
			if !strings.HasPrefix(lines[i+1], "     → ") {
				s.Errorf("no fix below %q", line)
			}
			fixes = append(fixes, line+" "+strings.TrimSpace(lines[i+1]))
		}
	}
	if (err != nil) != (len(fixes) > 0) {
		s.Errorf("doctor = %v with %d to fix", err, len(fixes))
	}
	if err != nil && strings.Contains(err.Error(), "\n") || side.Len() > 0 {
		s.Errorf("the list comes twice: %v, and %s", err, &side)
	}
	for _, v := range []string{webhookPass, "epm-secret", slacktest.BotToken, slacktest.SigningSecret, slacktest.AppToken, discordtest.BotToken, "another-secret", "planted"} {
		if strings.Contains(text, v) {
			s.Errorf("doctor prints a secret, %q:\n%s", v, text)
		}
	}
	return text, fixes, err
}

func TestDoctorAllGood(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options []option
		wayIn   string
	}{
		"HTTP":   {nil, "ok   Slack's way in, "},
		"Socket": {[]option{bySocket}, "ok   Slack: the app token (Socket Mode): Slack accepts it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, tt.options...)
			text, fixes, err := s.doctored(t.Context(), nil)
			if err != nil || len(fixes) > 0 {
				t.Fatalf("doctor = %v\n%s", err, text)
			}
			for _, want := range []string{
				"ok   the configuration is complete\n",
				"ok   who may decide: 3 named",
				"in use by a running bot",
				"ok   EPM: the connection works\n     ",
				"ok   Slack: the bot token: Slack accepts it, as @countersign",
				"ok   Slack: the channel #epm-requests (C01EPM): the bot is in it\n",
				"ok   Slack: the user group @helpdesk (S01HELP): 1 person\n",
				"ok   Slack: the user Ann Example (U01ANN)\n",
				"ok   the bot at http://" + s.addr + ": answers\n",
				tt.wayIn,
				"checks are fine.\n",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if strings.Contains(text, "skip") {
				t.Errorf("something was skipped:\n%s", text)
			}
			if n := s.slack.Count("chat.postMessage"); n != 0 {
				t.Errorf("doctor posted %d messages", n)
			}
			if (name == "Socket") == strings.Contains(text, "way in") {
				t.Errorf("Slack's way in over HTTP, in mode %s:\n%s", name, text)
			}
		})
	}
}

func TestDoctorDiscord(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options []option
		wayIn   []string
	}{
		"HTTP": {[]option{discordByHTTP, discordOnly}, []string{"ok   Discord: interactions come over HTTP: Discord sends them to http://",
			"ok   Discord's way in, http://", ": the bot answers, and refuses what Discord did not sign\n"}},
		"Gateway": {[]option{withDiscord}, []string{"ok   Discord: interactions come over the gateway at ws://", "ok   Slack's way in, "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, tt.options...)
			text, fixes, err := s.doctored(t.Context(), nil)
			if err != nil || len(fixes) > 0 {
				t.Fatalf("doctor = %v\n%s", err, text)
			}
			for _, want := range append([]string{
				"ok   the configuration is complete\n",
				"ok   Discord: the bot token is accepted: the bot is countersign\n",
				"ok   Discord: the bot may work in #epm-requests (" + discordChannel + ")\n",
				"ok   Discord: discord:" + discordAnn + " is known: Ann of Discord\n",
				"ok   Discord: discord:role:" + discordRole + " is known: the role helpdesk\n",
				"ok   the bot at http://" + s.addr + ": answers\n",
				"checks are fine.\n",
			}, tt.wayIn...) {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if strings.Contains(text, "skip") || (name == "Gateway") == strings.Contains(text, "Discord's way in") {
				t.Errorf("in mode %s doctor prints\n%s", name, text)
			}
			if n := len(s.discord.Messages(discordChannel)); n != 0 {
				t.Errorf("doctor posted %d messages", n)
			}

			s.discord.SetPermissions(discordChannel, discordtest.BotPermissions&^discordtest.ReadMessageHistory)
			text, fixes, _ = s.doctored(t.Context(), nil)
			if len(fixes) != 1 || !strings.Contains(fixes[0], "Discord: the bot may work in #epm-requests") || !strings.Contains(fixes[0], "Read Message History") ||
				!strings.Contains(fixes[0], "invite the bot again: https://discord.com/oauth2/authorize") {
				t.Errorf("with a permission missing doctor prints\n%s", text)
			}
		})
	}
}

func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	nobody := httptest.NewServer(nil)
	nobody.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("welcome")) }))
	t.Cleanup(other.Close)
	otherJSON := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"status":"up"}`)) }))
	t.Cleanup(otherJSON.Close)
	folder := t.TempDir()
	broken := filepath.Join(folder, "broken.db")
	if err := os.WriteFile(broken, bytes.Repeat([]byte("not a database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*environment)
		world  func(*story)
		want   [][]string // the words of each line to fix
		text   []string   // what else is printed
	}{
		"Approvers": {change: func(e *environment) { e.Approvers = "" }, want: [][]string{{"who may decide", "nobody is named", "COUNTERSIGN_APPROVERS"}}},
		"SlackToken": {world: func(s *story) { s.slack.FailToken(slacktest.BotToken, "token_revoked") },
			want: [][]string{{"Slack: the bot token", "token_revoked", "api.slack.com/apps"}}},
		"Scope":      {world: func(s *story) { s.slack.RemoveScopes("commands") }, want: [][]string{{"Slack: the scopes", "lacks the scope commands"}}},
		"NotInvited": {world: func(s *story) { s.slack.Kick(channel, slacktest.BotUserID) }, want: [][]string{{"#epm-requests (C01EPM)", "the bot is not in it", "/invite @countersign"}}},
		"Approver": {change: func(e *environment) { e.Approvers += ", slack:group:S0NONE" },
			want: [][]string{{"the user group S0NONE", "no such user group"}}},
		"NobodyToTell": {change: func(e *environment) { e.Admins = "slack:channel:" + channel }, want: [][]string{{"no admin can be told"}}},
		"Admin":        {change: func(e *environment) { e.Admins += ", slack:U0NONE" }, want: [][]string{{"the user U0NONE", "no such user"}}},
		"SlackDown": {world: func(s *story) { s.slack.SetDown(true) }, want: [][]string{{"Slack: the bot token", "there is no answer"}},
			text: []string{"ok   EPM", ": answers"}},

		"EPMSecret": {change: func(e *environment) { e.EPMClientSecret = "another-secret" },
			want: [][]string{{"EPM: EPM does not accept the bot's client ID or secret ", "→ An admin has to correct COUNTERSIGN_EPM_CLIENT_ID"}}},
		"EPMDown":    {change: func(e *environment) { e.EPMHost = nobody.URL }, want: [][]string{{"EPM: The connection to 127.0.0.1:", "is refused → Check COUNTERSIGN_EPM_HOST"}}},
		"EPMConsole": {change: func(e *environment) { e.EPMHost = "acme.beyondtrustcloud.com" }, want: [][]string{{"COUNTERSIGN_EPM_HOST", "acme-services", "docs/configuration.md"}}},

		"Nobody":    {change: func(e *environment) { e.PublicURL = nobody.URL }, want: [][]string{{"the bot at " + nobody.URL, "refused", "countersign serve", "COUNTERSIGN_PUBLIC_URL"}}},
		"Other":     {change: func(e *environment) { e.PublicURL = other.URL }, want: [][]string{{"the bot at " + other.URL, "something else answers", "COUNTERSIGN_PUBLIC_URL"}}},
		"OtherJSON": {change: func(e *environment) { e.PublicURL = otherJSON.URL }, want: [][]string{{"the bot at " + otherJSON.URL, "something else answers"}}},
		"SigningSecret": {change: func(e *environment) { e.SlackSigningSecret = "another-secret" },
			want: [][]string{{"Slack's way in", "does not accept our signature", "Signing Secret"}}},
		"NoAddress": {change: func(e *environment) { e.PublicURL = "" }, text: []string{"skip the bot's address: set COUNTERSIGN_PUBLIC_URL"}},

		"StoreFolder": {change: func(e *environment) { e.Store = secret("sqlite:" + filepath.Join(folder, "none", "a.db")) }, want: [][]string{{"the store ", "none", "Make the folder"}}},
		"StoreBroken": {change: func(e *environment) { e.Store = secret("sqlite:" + broken) }, want: [][]string{{"the store " + broken, "not a database", "backup"}}},
		"TLS": {change: func(e *environment) { e.TLSCert, e.TLSKey = broken, broken },
			want: [][]string{{"the certificate for TLS", "COUNTERSIGN_TLS_CERT"}}},

		// With a configuration that is not complete, the rest is tried.
		"Webhooks": {change: func(e *environment) { e.WebhookUser, e.WebhookPassword, e.LogLevel = "", "", "planted" },
			want: [][]string{{"COUNTERSIGN_WEBHOOK_USER", "is missing"}, {"COUNTERSIGN_WEBHOOK_PASSWORD"}, {"COUNTERSIGN_LOG_LEVEL"}},
			text: []string{"ok   EPM", "ok   Slack: the channel #epm-requests", "in use by a running bot", ": answers", "3 of "}},
		"Channel": {change: func(e *environment) { e.SlackChannel = "#epm" }, want: [][]string{{"COUNTERSIGN_SLACK_CHANNEL", "not a channel ID"}},
			text: []string{"ok   Slack: the bot token"}},
		"Token": {change: func(e *environment) { e.SlackBotToken = "planted" }, want: [][]string{{"COUNTERSIGN_SLACK_BOT_TOKEN"}},
			text: []string{"skip Slack", "ok   EPM"}},
		"NoToken": {change: func(e *environment) { e.SlackBotToken = "" }, want: [][]string{{"COUNTERSIGN_SLACK_BOT_TOKEN"}},
			text: []string{"skip a chat", "ok   EPM"}},
		"NoEPM": {change: func(e *environment) { e.EPMClientSecret = "" }, want: [][]string{{"COUNTERSIGN_EPM_CLIENT_SECRET"}},
			text: []string{"skip EPM", "ok   Slack: the bot token"}},
		"Store":     {change: func(e *environment) { e.Store = "planted" }, want: [][]string{{"COUNTERSIGN_STORE"}}, text: []string{"skip the store"}},
		"Principal": {change: func(e *environment) { e.Approvers = "planted" }, want: [][]string{{"COUNTERSIGN_APPROVERS", "item 1"}}},
		"Address":   {change: func(e *environment) { e.PublicURL = "planted" }, want: [][]string{{"COUNTERSIGN_PUBLIC_URL"}}, text: []string{"skip the bot's address"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t)
			if tt.world != nil {
				tt.world(s)
			}
			text, fixes, _ := s.doctored(t.Context(), tt.change)
			if len(fixes) != len(tt.want) {
				t.Fatalf("%d to fix, want %d:\n%s", len(fixes), len(tt.want), text)
			}
			for i, words := range tt.want {
				for _, w := range words {
					if !strings.Contains(fixes[i], w) {
						t.Errorf("no %q in %s", w, fixes[i])
					}
				}
			}
			for _, w := range tt.text {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in\n%s", w, text)
				}
			}
		})
	}
}

func TestDoctorLeavesTheStoreAsItIs(t *testing.T) {
	t.Parallel()
	s := tell(t)
	path := filepath.Join(t.TempDir(), "b.db")
	at := func(e *environment) { e.Store = secret("sqlite:" + path) }
	text, _, err := s.doctored(t.Context(), at)
	if err != nil || !strings.Contains(text, "ok   the store "+path+": does not exist yet") {
		t.Errorf("doctor without a file = %v\n%s", err, text)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("doctor leaves %v, %v", left, err)
	}
	keep, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := keep.Close(); err != nil {
		t.Fatal(err)
	}
	text, _, err = s.doctored(t.Context(), at)
	if err != nil || !strings.Contains(text, "ok   the store "+path+": opens and can be written\n") {
		t.Errorf("doctor with a file = %v\n%s", err, text)
	}
}

// A neighbour that hangs must not keep the others from being told about.
func TestDoctorEnds(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.epm.Fail(epmtest.Fault{On: epmtest.Token, Kind: epmtest.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	start := time.Now()
	text, fixes, _ := s.doctored(ctx, nil)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("doctor took %v", took)
	}
	if len(fixes) != 1 || !strings.Contains(fixes[0], "EPM: There is no answer from 127.0.0.1:") || !strings.Contains(text, "ok   Slack: the channel #epm-requests") || !strings.Contains(text, ": answers") {
		t.Errorf("doctor prints\n%s", text)
	}
}

func TestDoctorTakesNoArguments(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"doctor", "--now"}, Env{}); err == nil || !strings.Contains(err.Error(), "no arguments") {
		t.Errorf("doctor --now = %v", err)
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	for sentence, want := range map[string][2]string{
		"EPM cannot be reached. Check COUNTERSIGN_EPM_HOST (a.b.example), and the proxy.": {"EPM cannot be reached", "Check COUNTERSIGN_EPM_HOST (a.b.example), and the proxy."},
		"It is wrong at a.b.example; an admin has to look.":                               {"It is wrong at a.b.example", "An admin has to look."},
		"EPM's answer cannot be read.":                                                    {"EPM's answer cannot be read", epmFix},
		"no full stop":                                                                    {"no full stop", epmFix},
		"a.b":                                                                             {"a.b", epmFix},
		"":                                                                                {"", epmFix},
	} {
		if problem, fix := advice(sentence); problem != want[0] || fix != want[1] {
			t.Errorf("advice(%q) = %q, %q, want %q", sentence, problem, fix, want)
		}
	}
}
