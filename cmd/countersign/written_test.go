package main

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/countersign/countersign/adapters"
)

func inUTF16(s string, big, mark bool) string {
	if mark {
		s = "\ufeff" + s
	}
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return string(out)
}

// spoiled are the ways in which a secret's file, or a value of docker
// --env-file, was written wrong, and what is said of each.
var spoiled = map[string]struct {
	spoil func(string) string
	say   string
	file  bool // cannot be in the environment itself
}{
	"BOM":              {func(s string) string { return "\ufeff" + s + "\r\n" }, sayBOM, false},
	"UTF16LittleMark":  {func(s string) string { return inUTF16(s+"\r\n", false, true) }, sayUTF16, true},
	"UTF16BigMark":     {func(s string) string { return inUTF16(s+"\n", true, true) }, sayUTF16, true},
	"UTF16Little":      {func(s string) string { return inUTF16(s, false, false) }, sayUTF16, true},
	"UTF16Big":         {func(s string) string { return inUTF16(s, true, false) }, sayUTF16, true},
	"Latin1":           {func(s string) string { return s + "\xe4" }, sayNotUTF8, false},
	"BlankAfter":       {func(s string) string { return s + " \n" }, sayBlankEnd, false},
	"BlankBefore":      {func(s string) string { return " " + s }, sayBlankEnd, false},
	"TabAfter":         {func(s string) string { return s + "\t" }, sayBlankEnd, false},
	"NoBreakSpace":     {func(s string) string { return s + "\u00a0" }, sayBlankEnd, false},
	"LineBefore":       {func(s string) string { return "\n" + s }, sayBlankEnd, false},
	"TwoLines":         {func(s string) string { return s + "\nfor EPM\n" }, sayLines, false},
	"ZeroWidth":        {func(s string) string { return s + "\u200b" }, "U+200B", false},
	"ZeroWidthWithin":  {func(s string) string { return s[:4] + "\u2060" + s[4:] }, "U+2060", false},
	"Escape":           {func(s string) string { return s + "\x1b[0m" }, "U+001B", false},
	"DoubleQuotes":     {func(s string) string { return `"` + s + `"` }, sayQuoted, false},
	"SingleQuotes":     {func(s string) string { return "'" + s + "'\n" }, sayQuoted, false},
	"SmartQuotes":      {func(s string) string { return "“" + s + "”" }, sayQuoted, false},
	"QuotesAndBlank":   {func(s string) string { return `"` + s + `" ` }, sayQuoted, false},
	"BlankAlone":       {func(string) string { return " " }, sayBlank, false},
	"NoBreakAlone":     {func(string) string { return "\u00a0\t" }, sayBlank, false},
	"BlankLines":       {func(string) string { return " \n \n" }, sayBlank, false},
	"BOMAlone":         {func(string) string { return "\ufeff" }, sayBOM, false},
	"BOMAndQuotes":     {func(s string) string { return "\ufeff\"" + s + `"` }, sayBOM, false},
	"EmptyQuotes":      {func(string) string { return `""` }, sayQuoted, false},
	"QuotedBlankInner": {func(s string) string { return `" ` + s + ` "` }, sayQuoted, false},
}

// allSecrets is a configuration that has every secret.
func allSecrets() map[string]string {
	vars := complete()
	maps.Copy(vars, map[string]string{
		"WEBHOOK_PASSWORD": "webhook-planted-1", "WEBHOOK_PASSWORD_PREVIOUS": "webhook-planted-0", "EPM_CLIENT_SECRET": "epm-planted-1",
		"SLACK_BOT_TOKEN": "xoxb-planted-1", "SLACK_APP_TOKEN": "xapp-planted-1", "SLACK_SIGNING_SECRET": "signing-planted-1", "SLACK_SIGNING_SECRET_PREVIOUS": "signing-planted-0",
		"DISCORD_BOT_TOKEN": "planted.planted.planted", "DISCORD_APPLICATION_ID": "1100000000000000001", "DISCORD_GUILD": "1100000000000000003", "DISCORD_CHANNEL": "1200000000000000001",
		"EVENTS_WEBHOOK": "https://events.example.com/planted", "EVENTS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "EVENTS_WEBHOOK_SECRET_PREVIOUS": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"STORE": "redis://:planted@127.0.0.1:6379/0", "AUDIT_CHECKPOINTS": "https://checkpoints.example.com/planted",
	})
	return vars
}

// TestEverySecretIsWrittenRight: all secrets that were saved in a wrong way are
// named at the start, at once, each once and with what is wrong with it.
func TestEverySecretIsWrittenRight(t *testing.T) {
	setenv(t, allSecrets())
	env, findings := readEnvironment()
	if _, err := env.check(findings); err != nil {
		t.Fatalf("as it should be: %v", err)
	}
	for name, c := range spoiled {
		for _, from := range []string{"Files", "Environment"} {
			if from == "Environment" && c.file {
				continue
			}
			t.Run(name+from, func(t *testing.T) {
				vars, dir := allSecrets(), t.TempDir()
				for _, secret := range secretNames() {
					value := c.spoil(vars[secret])
					if from == "Environment" {
						vars[secret] = strings.TrimRight(value, "\r\n")
						continue
					}
					path := filepath.Join(dir, secret)
					if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
						t.Fatal(err)
					}
					delete(vars, secret)
					vars[secret+"_FILE"] = path
				}
				setenv(t, vars)
				var out bytes.Buffer
				err := run(context.Background(), []string{"serve"}, Env{Environment: readEnvironment, Stdout: &out, Stderr: &out, Now: time.Now})
				if err == nil {
					t.Fatal("it starts")
				}
				lines := strings.Split(err.Error(), "\n")
				for _, secret := range secretNames() {
					about := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.Contains(line, envPrefix+"_"+secret+": ") })
					if len(about) != 1 || !strings.Contains(about[0], c.say) {
						t.Errorf("%s: %q, want one line with %q", secret, about, c.say)
					}
				}
				if strings.Contains(err.Error()+out.String(), "planted") {
					t.Errorf("a value is printed:\n%v", err)
				}
			})
		}
	}
}

// TestEveryVariableIsWrittenRight: docker --env-file leaves quotes around any
// value, and what names things must not end in a blank.
func TestEveryVariableIsWrittenRight(t *testing.T) {
	pem := "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----"
	for _, name := range variables() {
		for value, say := range map[string]string{`"planted"`: sayQuoted, "'planted'": sayQuoted, "planted\u200b": "U+200B", "planted ": sayBlankEnd, pem: "-"} {
			isLoose := loose[name] || strings.HasPrefix(name, "SETTINGS_")
			if isLoose && say != sayQuoted {
				continue
			}
			if say == "-" {
				if say = sayContent; slices.Contains(secretNames(), name) {
					say = sayLines
				}
			}
			vars := complete()
			vars[name] = value
			setenv(t, vars)
			env, findings := readEnvironment()
			_, err := env.check(findings)
			if err == nil || !strings.Contains(err.Error(), envPrefix+"_"+name+": ") || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "planted") {
				t.Errorf("%s=%q: %v, want %q", name, value, err, say)
			}
		}
	}
	// Passwords that only look odd are taken.
	for _, password := range []string{"pass word with blanks", `"quoted" at the beginning`, "it's 'quoted'", "Grüße aus München", "密码密码密码密码密码密码", `back\slash%20+and"quote`, "'"} {
		vars := complete()
		vars["WEBHOOK_PASSWORD"] = password
		setenv(t, vars)
		env, findings := readEnvironment()
		if cfg, err := env.check(findings); err != nil || cfg.WebhookPassword.Reveal() != password {
			t.Errorf("the password %q: %v", password, err)
		}
	}
	// The first line of a file that has a byte-order mark.
	vars := complete()
	setenv(t, vars)
	t.Setenv("\ufeffCOUNTERSIGN_LOG_LEVEL", "debug")
	if _, findings := readEnvironment(); len(findings) != 1 || findings[0].name != "LOG_LEVEL" || !strings.Contains(findings[0].say, "byte-order mark") {
		t.Errorf("a name with a byte-order mark: %v", findings)
	}
}

// TestSecretIsRenewedWrittenRight: a secret that is changed is held to the
// same; the one before stays.
func TestSecretIsRenewedWrittenRight(t *testing.T) {
	for name, c := range spoiled {
		for _, variable := range []string{"WEBHOOK_PASSWORD", "WEBHOOK_PASSWORD_PREVIOUS"} {
			t.Run(name+"/"+variable, func(t *testing.T) {
				setenv(t, allSecrets())
				env, _ := readEnvironment()
				r := newRenewing()
				r.env, r.last = env, env
				before := env
				r.inUse.Store(&before)
				value := strings.TrimRight(c.spoil("planted-new-secret"), "\r\n") // as the file is read
				*secretOf(&r.env, variable) = secret(value)
				for range 3 {
					r.look(t.Context(), true)
				}
				log := r.out.String()
				if *r.inUse.Load() != before || strings.Count(log, "is not used") != 1 || !strings.Contains(log, envPrefix+"_"+variable) || !strings.Contains(log, c.say) || strings.Contains(log, "planted") {
					t.Errorf("the log says\n%s\nwant %q", log, c.say)
				}
			})
		}
	}
}

// TestShortSecretsAreNamed at the start, when they are renewed, and by doctor.
// They are used: whoever has them must be able to change them in peace.
func TestShortSecretsAreNamed(t *testing.T) {
	for value, is := range map[string]bool{"a": true, "elevenchars": true, "twelve-chars": false, "zwölfzeichen": false} {
		vars := allSecrets()
		vars["WEBHOOK_PASSWORD"], vars["SLACK_SIGNING_SECRET_PREVIOUS"] = value, value
		setenv(t, vars)
		env, findings := readEnvironment()
		cfg, err := env.check(findings)
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		var names []string
		for _, f := range cfg.short() {
			names = append(names, f.name)
		}
		want := map[bool][]string{true: {"WEBHOOK_PASSWORD", "SLACK_SIGNING_SECRET_PREVIOUS"}}[is]
		if !slices.Equal(names, want) {
			t.Errorf("%q: short are %v, want %v", value, names, want)
		}
		var c checkup
		checkConfig(&c, cfg, nil)
		named := slices.ContainsFunc(c.findings, func(f adapters.Finding) bool {
			return f.What == "COUNTERSIGN_WEBHOOK_PASSWORD" && strings.Contains(f.Problem, "shorter than 12")
		})
		if named != is {
			t.Errorf("%q: doctor finds %v", value, c.findings)
		}
		r := newRenewing()
		r.env.WebhookPassword = secret(value)
		r.look(t.Context(), true)
		if log := r.out.String(); r.used() != value || strings.Contains(log, "too short") != is || strings.Contains(log, `"`+value+`"`) {
			t.Errorf("%q renewed: %q is in use, the log says\n%s", value, r.used(), log)
		}
	}
}

// TestStoryShortSecretIsNamed: the program starts with one, and says so.
func TestStoryShortSecretIsNamed(t *testing.T) {
	s := tell(t, func(s *story) { s.env.SlackSigningSecretPrevious = "a" })
	if log := s.logs.String(); strings.Count(log, "a secret is too short") != 1 || !strings.Contains(log, "COUNTERSIGN_SLACK_SIGNING_SECRET_PREVIOUS") {
		t.Errorf("the log does not name the short secret, or another:\n%s", log)
	}
}
