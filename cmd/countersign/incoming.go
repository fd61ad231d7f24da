package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/bot/webhooks"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

// maxListed is how many webhooks are listed at most.
const maxListed = 1000

// incoming looks at the webhooks that the store keeps, and replays them.
func incoming(ctx context.Context, p Env, args []string) error {
	sub, args := subcommand(args)
	switch sub {
	case "", "list":
		return incomingList(ctx, p, args)
	case "show":
		return incomingShow(ctx, p, args)
	case "replay":
		return incomingReplay(ctx, p, args)
	}
	return fmt.Errorf("incoming has no %q: say list, show ID or replay ID", sub)
}

// subcommand takes the first of args, unless that is a flag.
func subcommand(args []string) (string, []string) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return "", args
	}
	return args[0], args[1:]
}

// parse reads flags, which may stand anywhere, and returns the n arguments
// that want asks for.
func parse(p Env, flags *flag.FlagSet, args []string, n int, want string) ([]string, error) {
	flags.SetOutput(p.Stderr)
	var rest []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	if len(rest) != n {
		return nil, fmt.Errorf("write %s", want)
	}
	return rest, nil
}

func newFlags(name string) *flag.FlagSet { return flag.NewFlagSet(name, flag.ContinueOnError) }

// storeOf is the store of the environment. Nothing else of that need be set.
func storeOf(p Env) (path string, url secret, env environment, err error) {
	env, findings := p.Environment()
	var c checker
	for _, f := range findings {
		if f.name == "STORE" || f.name == "STORE_FILE" {
			c.findings = append(c.findings, f)
		}
	}
	if path, url = c.store(env.Store); len(c.findings) > 0 {
		return "", "", env, configError(c.findings)
	}
	return path, url, env, nil
}

// openToLook opens the store to read it, beside a running bot or without one.
func openToLook(ctx context.Context, p Env) (store.Store, error) {
	path, url, _, err := storeOf(p)
	switch {
	case err != nil:
		return nil, err
	case url != "":
		return redis.Open(ctx, redis.Config{URL: url.Reveal(), Now: p.Now})
	}
	return sqlite.Open(ctx, sqlite.Config{Path: path, ReadOnly: true})
}

// keptRecord is a webhook for scripts.
type keptRecord struct {
	ID       string         `json:"id"`
	At       time.Time      `json:"at"`
	Remote   string         `json:"remote"`
	Status   tickets.Status `json:"status"`
	Ticket   tickets.Number `json:"ticket,omitempty"`
	Error    string         `json:"error,omitempty"`
	Repaired bool           `json:"repaired,omitempty"`
}

func recordOf(k store.StoredIncoming) keptRecord {
	return keptRecord{k.ID, k.At, k.Remote, k.Receipt.Status, k.Receipt.Ticket, k.Error, k.Repaired}
}

var incomingTable = table{{"TIME (UTC)", 19}, {"STATUS", 9}, {"ID", 36}, {"TICKET", 10}, {"ERROR", 0}}

func incomingList(ctx context.Context, p Env, args []string) (err error) {
	flags := newFlags("incoming list")
	failed := flags.Bool("failed", false, "only those that failed")
	limit := flags.Int("limit", 20, "how many, the newest first; `1 to 1000`")
	asJSON := flags.Bool("json", false, "one JSON object on each line")
	if _, err := parse(p, flags, args, 0, "incoming list [--failed] [--limit N] [--json]"); err != nil {
		return err
	}
	if *limit < 1 || *limit > maxListed {
		return fmt.Errorf("--limit is from 1 to %d", maxListed)
	}
	q := store.IncomingQuery{Limit: *limit}
	if *failed {
		q.Status = tickets.StatusFailed
	}
	keep, err := openToLook(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	list, err := keep.Incomings(ctx, q)
	if err != nil {
		return err
	}
	out := newPrinter(p.Stdout)
	if !*asJSON {
		out.head(incomingTable)
	}
	for _, k := range list {
		if *asJSON {
			out.json(recordOf(k))
			continue
		}
		out.row(incomingTable, k.At.UTC().Format(time.DateTime), string(k.Receipt.Status), k.ID, string(k.Receipt.Ticket), k.Error)
	}
	return out.end()
}

// incomingShow prints a webhook's body as it arrived, byte by byte.
func incomingShow(ctx context.Context, p Env, args []string) (err error) {
	args, err = parse(p, newFlags("incoming show"), args, 1, "incoming show ID")
	if err != nil {
		return err
	}
	keep, err := openToLook(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	k, err := webhooks.Find(ctx, keep, args[0])
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(k.Raw)
	return err
}

// incomingReplay does what /epm incoming replay does. A SQLite file has one
// writer, so that a running bot must do it itself.
func incomingReplay(ctx context.Context, p Env, args []string) (err error) {
	args, err = parse(p, newFlags("incoming replay"), args, 1, "incoming replay ID")
	if err != nil {
		return err
	}
	path, url, env, err := storeOf(p)
	if err != nil {
		return err
	}
	now := p.Now
	hooks := store.Hooks{BeforeWrite: events.Track(env.follows()...)}
	var keep store.Store
	if url != "" {
		shared, err := redis.Open(ctx, redis.Config{URL: url.Reveal(), Now: p.Now, Hooks: hooks})
		if err != nil {
			return err
		}
		keep = shared
		// All who work on this store go by its clock.
		if at, err := shared.Time(ctx); err == nil {
			now = func() time.Time { return at }
		}
	} else if keep, err = openToReplay(ctx, path, args[0], hooks); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	rules, err := replayRules(ctx, keep, env, args[0])
	if err != nil {
		return err
	}
	done, err := webhooks.Replayer{Store: keep, Read: env.reader().Read, Rules: rules, Now: now}.Replay(ctx, args[0])
	switch {
	case err != nil:
		return err
	case done.Receipt.Status == tickets.StatusFailed:
		return errors.New(done.String())
	}
	_, err = fmt.Fprintln(p.Stdout, done)
	return err
}

func openToReplay(ctx context.Context, path, id string, hooks store.Hooks) (store.Store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no store %s", path)
	}
	keep, err := sqlite.Open(ctx, sqlite.Config{Path: path, Hooks: hooks})
	if errors.Is(err, sqlite.ErrLocked) {
		return nil, fmt.Errorf("the bot is running, and it alone may write the store %s: write /epm incoming replay %s in chat, or stop the bot first", path, wording.Line(id))
	}
	return keep, err
}

// replayRules are the rules by which serve would take the webhook in. If it
// would be applied, they must say where tickets are shown.
func replayRules(ctx context.Context, keep store.Store, env environment, id string) (func(*tickets.Ticket) tickets.Rules, error) {
	set, err := keep.Settings(ctx)
	if err != nil {
		return nil, err
	}
	var c checker
	start, world, _ := c.settings(env)
	rules := settings.RulesOf(start, set, world)
	k, err := webhooks.Find(ctx, keep, id)
	switch {
	case err != nil:
		return nil, err
	case k.Receipt.Status != tickets.StatusFailed || env.reader().Read(k.Incoming).Update == nil:
		return rules, nil // nothing will be applied
	case len(rules(nil).Places) == 0:
		return nil, fmt.Errorf("this webhook can be read now; to apply it as serve does, replay needs the environment of serve too: neither %[1]s_SLACK_CHANNEL nor %[1]s_DISCORD_CHANNEL is set, and nobody would see the ticket", envPrefix)
	case len(c.findings) > 0:
		return nil, configError(c.findings)
	}
	_, broken := settings.Effective(start, set, world)
	for _, key := range []string{tickets.KeyChannels, tickets.KeyTicketType} {
		if err := broken[key]; err != nil {
			return nil, fmt.Errorf("the ticket would not be as serve makes it: the setting %s cannot be used with this environment: %w", key, err)
		}
	}
	return rules, nil
}

// json writes v on one line.
func (o *printer) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		o.err = errors.Join(o.err, err)
		return
	}
	o.write(append(escapeJSON(b), '\n'))
}
