package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/slack"
)

// Env is what a command gets from its surroundings.
type Env struct {
	Environment func() (environment, []finding)
	Stdout      io.Writer
	Stderr      io.Writer
	Now         func() time.Time
	// Steady has serve go by a clock of its own, which follows Now and not its
	// jumps; true in production.
	Steady bool
	// Listening is called with the address once connections are accepted;
	// nil in production.
	Listening func(addr string)
	// Hangup says that files of secrets were changed; nil where nothing does.
	Hangup <-chan os.Signal
	// Renew is how often those are read again; in production 0, which is the
	// default.
	Renew time.Duration
	// SlackPace is how fast Slack is called; in production its zero value,
	// which is Slack's own limits.
	SlackPace slack.Pace
	// DiscordPace and DiscordGateway are the same for Discord.
	DiscordPace    discord.Pace
	DiscordGateway discord.Gateway
	// AnswerTime is how long the chats wait for an answer; in production its
	// zero value, which is [adapters.AnswerTime].
	AnswerTime time.Duration
	// EPMRate is how many calls a second EPM gets; in production 0, which is
	// the default.
	EPMRate rate.Limit
	// Lease and Timeout are those of a step; in production 0, which is the
	// bot's default.
	Lease, Timeout time.Duration
	// Traces takes the traces; in production nil, which asks the environment.
	Traces sdktrace.SpanExporter
}

type command struct {
	name, args, help string
	run              func(ctx context.Context, p Env, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "", "run the bot, configured by the environment", serve},
		{"demo", "[--listen ADDR] [--no-open]", "run everything on this machine, with simulated Slack, Discord and EPM, behind one web page", demo},
		{"doctor", "", "check the configuration and every connection, and say what to do about what is wrong", doctor},
		{"healthcheck", "[--ready]", "ask the bot on this machine whether it lives, or whether everything it needs is usable; exits with 1 if not; reads COUNTERSIGN_LISTEN, COUNTERSIGN_OPS_LISTEN and COUNTERSIGN_TLS_CERT", healthcheck},
		{"templates", "", "print the four webhook templates for EPM", templates},
		{"slack-manifest", "--mode http|socket [--url URL]", "print the manifest of the Slack app", slackManifest},
		{"incoming", "[list [--failed] [--limit N] [--json] | show ID | replay ID]", "list the webhooks that were kept, print one as it arrived, or apply one that failed once more; reads COUNTERSIGN_STORE", incoming},
		{"tickets", "list [--progress P] [--limit N] [--json] | show NUMBER [--json | --evidence [--out FILE]] | export [--format jsonl|csv]", "read the tickets in the store; reads COUNTERSIGN_STORE", ticketsCommand},
		{"audit", "verify [--checkpoints FILE] [--json] | export [--format jsonl|csv|cef] [--since WHEN] [--ticket NUMBER]", "check that nothing in the history was changed, removed or moved, or export it; reads COUNTERSIGN_STORE", audit},
		{"report", "[--since 7d] [--hours 7-19] [--zone ZONE] [--json] [--picture FILE]", "tell what became of the requests of the last days, who decided and how fast; reads COUNTERSIGN_STORE", report},
		{"store", "backup FILE | restore FILE | copy FROM TO", "save the SQLite file that COUNTERSIGN_STORE names, while the bot runs, or put a saved one in its place; or copy everything from one store to another, each written as in COUNTERSIGN_STORE. To restore or copy stop the bot first", storeCommand},
		{"events", "drop-sink syslog|webhook|file", "discard undelivered events of a removed receiver; with SQLite stop the bot first; reads COUNTERSIGN_STORE", eventsCommand},
		{"settings", "export [--history] | import [--dry-run] FILE | reset [KEY | yes]", "print what was set in chat as one file, set what such a file says, or take one setting or all back to the environment; to change anything in SQLite stop the bot first", settingsCommand},
		{"version", "", "print the version", version},
	}
}

// run is the program: one command, until it is done or ctx ends.
func run(ctx context.Context, args []string, p Env) (err error) {
	p.Stdout, p.Stderr = forPeople(p.Stdout), forPeople(p.Stderr)
	if t, ok := p.Stdout.(*terminal); ok {
		defer func() { err = errors.Join(err, t.end()) }()
	}
	if len(args) == 0 {
		usage(p.Stderr)
		return errors.New("say what to do")
	}
	name := args[0]
	switch name {
	case "help", "-h", "--help":
		usage(p.Stdout)
		return nil
	case "--version", "-version", "-v":
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name && asksForHelp(args[1:]) {
			_, err := fmt.Fprintf(p.Stdout, "Usage: countersign %s\n\n%s.\n", strings.TrimSpace(c.name+" "+c.args), c.help)
			return err
		}
		if c.name == name {
			return c.run(ctx, p, args[1:])
		}
	}
	usage(p.Stderr)
	return fmt.Errorf("there is no command %q", name)
}

// asksForHelp reports whether one of a command's arguments does. No command
// does anything then.
func asksForHelp(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) || len(args) == 1 && args[0] == "help"
}

func usage(w io.Writer) {
	var s strings.Builder
	s.WriteString("Countersign: approvals of privileged access, in chat.\n\nUsage: countersign COMMAND\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&s, "  %s\n      %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
	_, _ = io.WriteString(w, s.String())
}

// buildVersion is set by the linker: -X main.buildVersion=v1.2.3.
var buildVersion string

func versionText() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func version(_ context.Context, p Env, _ []string) error {
	_, err := fmt.Fprintf(p.Stdout, "countersign %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
