package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

// doctorTime is how long all checks together may take. They run side by side.
const doctorTime = 20 * time.Second

// checkup is what was found in one part, and what could not be looked at.
type checkup struct {
	findings []adapters.Finding
	skipped  []string
	notes    []adapters.Finding // what may be as it should: without a Problem
}

func (c *checkup) ok(what string) { c.findings = append(c.findings, adapters.Finding{What: what}) }
func (c *checkup) bad(what, problem, fix string) {
	c.findings = append(c.findings, adapters.Finding{What: what, Problem: problem, Fix: fix})
}
func (c *checkup) note(what, fix string) {
	c.notes = append(c.notes, adapters.Finding{What: what, Fix: fix})
}
func (c *checkup) skip(what string) { c.skipped = append(c.skipped, what) }

// doctor checks the configuration and every connection. It prints everything
// that it looked at, and returns an error if something is to be fixed.
func doctor(ctx context.Context, p Env, args []string) error {
	if len(args) > 0 {
		return errors.New("doctor takes no arguments: it reads the same environment as serve")
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	env, findings := p.Environment()
	cfg, err := env.check(findings)
	var wrong configError
	if errors.As(err, &wrong) {
		cfg = usable(env, wrong)
	} else if err != nil {
		return err
	}

	parts := []func(context.Context, *checkup){
		func(_ context.Context, c *checkup) { checkConfig(c, cfg, wrong) },
		func(ctx context.Context, c *checkup) { checkStore(ctx, c, cfg, wrong) },
		func(ctx context.Context, c *checkup) { checkEPM(ctx, c, cfg, p, wrong) },
		func(ctx context.Context, c *checkup) { checkWebhooks(ctx, c, cfg) },
		func(ctx context.Context, c *checkup) { checkReady(ctx, c, env) },
		checkTraces,
		func(ctx context.Context, c *checkup) { checkReceivers(ctx, c, cfg, wrong) },
	}
	// What the parts log, they also find.
	chats, err := newChats(cfg, p, deps{log: slog.New(slog.DiscardHandler), m: newMetrics(), card: func(tickets.Platform) wording.Card { return wording.Card{} }})
	if err != nil {
		parts = append(parts, func(_ context.Context, c *checkup) {
			if len(wrong) > 0 {
				c.skip("a chat that is not configured completely: correct the configuration first")
				return
			}
			c.bad("the chats", err.Error(), "Correct the variables of that chat; docs/configuration.md explains them.")
		})
	}
	var usableChats []chat
	for _, chat := range chats.all() {
		prefix := strings.ToUpper(string(chat.Platform())) + "_"
		if wrong.about(prefix, prefix+"CHANNEL") {
			parts = append(parts, func(_ context.Context, c *checkup) {
				c.skip(wording.PlatformName(chat.Platform()) + ": correct the configuration first")
			})
			continue
		}
		usableChats = append(usableChats, chat)
		parts = append(parts, func(ctx context.Context, c *checkup) {
			for _, f := range chat.Diagnose(ctx, cfg.start.Rules.Places, slices.Concat(cfg.start.Approvers, cfg.start.Admins)) {
				f.What = wording.PlatformName(chat.Platform()) + ": " + f.What
				c.findings = append(c.findings, f)
			}
		})
	}
	parts = append(parts, func(ctx context.Context, c *checkup) { checkWayIn(ctx, c, cfg, usableChats) })

	results := make([]checkup, len(parts))
	var working sync.WaitGroup
	for i, part := range parts {
		working.Go(func() { part(ctx, &results[i]) })
	}
	working.Wait()
	return printCheckups(p.Stdout, results)
}

// printCheckups prints a line for everything, and says in its error how much
// is to be fixed.
func printCheckups(w io.Writer, list []checkup) error {
	var s strings.Builder
	total, bad := 0, 0
	for _, c := range list {
		for _, f := range c.findings {
			total++
			what := strings.ReplaceAll(f.What, "\n", "\n     ")
			if f.Problem == "" {
				fmt.Fprintf(&s, "ok   %s\n", what)
				continue
			}
			bad++
			fmt.Fprintf(&s, "fix  %s: %s\n     → %s\n", what, f.Problem, f.Fix)
		}
		for _, f := range c.notes {
			fmt.Fprintf(&s, "note %s\n     → %s\n", f.What, f.Fix)
		}
		for _, what := range c.skipped {
			fmt.Fprintf(&s, "skip %s\n", what)
		}
	}
	if bad == 0 {
		fmt.Fprintf(&s, "\nAll %d checks are fine.\n", total)
	} else {
		fmt.Fprintf(&s, "\n%d of %d checks need a fix.\n", bad, total)
	}
	if _, err := io.WriteString(w, s.String()); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("doctor: %d to fix", bad)
	}
	return nil
}

// about reports whether a finding is about a variable of ours whose name
// begins with prefix, and is not except.
func (e configError) about(prefix, except string) bool {
	return slices.ContainsFunc(e, func(f finding) bool {
		return strings.HasPrefix(f.name, prefix) && f.name != except && slices.Contains(variables(), strings.TrimSuffix(f.name, "_FILE"))
	})
}

// usable is what can be tried of a configuration that is not complete. Where
// it is wrong the parts are skipped.
func usable(env environment, wrong configError) config {
	var c checker // the same findings once more, for nobody
	cfg := env.unchecked()
	if !wrong.about("STORE", "") {
		cfg.storePath, cfg.storeURL = c.store(env.Store)
	}
	cfg.publicURL = c.httpURL("PUBLIC_URL", env.PublicURL)
	cfg.settings, cfg.world, cfg.start = c.settings(env)
	cfg.start.Rules.Places = slices.DeleteFunc(cfg.start.Rules.Places, func(p tickets.Place) bool {
		return wrong.about(strings.ToUpper(string(p.Platform))+"_CHANNEL", "")
	})
	return cfg
}

func checkConfig(c *checkup, cfg config, wrong configError) {
	for _, f := range wrong {
		c.bad(f.variable(), f.say, "Correct this variable and run doctor again; docs/configuration.md explains all of them.")
	}
	if len(wrong) == 0 {
		c.ok("the configuration is complete")
	}
	for _, f := range cfg.short() {
		if !wrong.about(f.name, "") {
			c.bad(envPrefix+"_"+f.name, f.say, "Make a new one, for example with openssl rand -hex 24; docs/maintenance.md tells how each secret is changed.")
		}
	}
	if cfg.TLSCert != "" && cfg.TLSKey != "" {
		if _, err := loadCertificate(cfg.TLSCert, cfg.TLSKey, time.Now); err != nil {
			c.bad("the certificate for TLS", err.Error(), "Let "+envPrefix+"_TLS_CERT and "+envPrefix+"_TLS_KEY name files that belong together and that the bot may read.")
		} else {
			c.ok("the certificate for TLS")
		}
	}
	switch {
	case len(cfg.start.Approvers) > 0:
		c.ok(fmt.Sprintf("who may decide: %d named in %s_APPROVERS", len(cfg.start.Approvers), envPrefix))
	case !wrong.about("APPROVERS", ""):
		c.bad("who may decide", "nobody is named, so that nobody can decide a request",
			"Set "+envPrefix+"_APPROVERS, for example to slack:U0123ABC,slack:group:S0123ABC.")
	}
	switch problem := unreachableAdmins(&cfg.start); {
	case wrong.about("ADMINS", ""):
	case problem == "":
		c.ok(fmt.Sprintf("who is told when something needs an admin: named in %s_ADMINS", envPrefix))
	default:
		c.bad("who is told when something needs an admin", problem, "Add a person to "+envPrefix+"_ADMINS, for example slack:U0123ABC or discord:123456789012345678.")
	}
}

func checkStore(ctx context.Context, c *checkup, cfg config, wrong configError) {
	switch {
	case cfg.storeURL != "":
		checkRedis(ctx, c, cfg, wrong)
	case cfg.storePath != "":
		checkSQLite(ctx, c, cfg, wrong)
	default:
		c.skip("the store: correct the configuration first")
	}
}

func checkRedis(ctx context.Context, c *checkup, cfg config, wrong configError) {
	url := cfg.storeURL
	shown, err := redis.Address(url.Reveal())
	if err != nil {
		c.bad("the store", err.Error(), "Correct "+envPrefix+"_STORE; docs/configuration.md explains it.")
		return
	}
	what := "the store " + shown
	keep, err := redis.Open(ctx, redis.Config{URL: url.Reveal()})
	if err == nil {
		defer func() { _ = keep.Close() }()
		err = keep.Ping(ctx)
	}
	if err != nil {
		c.bad(what, err.Error(), "Start that Redis, or correct "+envPrefix+"_STORE: its host, user, password and kind; docs/configuration.md explains them.")
		return
	}
	c.ok(what + ": answers and can be written")
	checkSettings(ctx, c, cfg, keep)
	checkOwed(ctx, c, cfg, wrong, keep)
	checkForeign(ctx, c, cfg, keep)
	found, unchecked := keep.Durability(ctx)
	for _, sentence := range found {
		problem, fix, _ := strings.Cut(sentence, ". ")
		c.bad(what, problem, cmp.Or(fix, "Run doctor again."))
	}
	for _, sentence := range unchecked {
		unknown, todo, _ := strings.Cut(sentence, ". ")
		c.note(what+": "+unknown, cmp.Or(todo, "Run doctor again."))
	}
}

func checkSQLite(ctx context.Context, c *checkup, cfg config, wrong configError) {
	path := cfg.storePath
	what := "the store " + path
	if !exists(path) {
		// Whoever runs this may be another user than the bot: it shall not
		// find a file that it cannot open.
		probe, err := os.CreateTemp(filepath.Dir(path), ".countersign-doctor-")
		if err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
		if err != nil {
			c.bad(what, err.Error(), "Make the folder "+filepath.Dir(path)+" and let the bot's user write in it.")
			return
		}
		c.ok(what + ": does not exist yet; serve makes it")
		checkFirstState(c, &cfg.start)
		return
	}
	const fix = "Let the bot's user read and write the file and its folder. If the file is damaged, restore the backup."
	keep, err := sqlite.Open(ctx, sqlite.Config{Path: path})
	if err == nil {
		checkSettings(ctx, c, cfg, keep)
		checkOwed(ctx, c, cfg, wrong, keep)
		checkForeign(ctx, c, cfg, keep)
		if err = errors.Join(keep.Ping(ctx), keep.Close()); err == nil {
			c.ok(what + ": opens and can be written")
			return
		}
	}
	if !errors.Is(err, sqlite.ErrLocked) {
		c.bad(what, err.Error(), fix)
		return
	}
	if keep, err = sqlite.Open(ctx, sqlite.Config{Path: path, ReadOnly: true}); err == nil {
		checkSettings(ctx, c, cfg, keep)
		checkOwed(ctx, c, cfg, wrong, keep)
		checkForeign(ctx, c, cfg, keep)
		_, err = keep.List(ctx, store.Query{Limit: 1})
		err = errors.Join(err, keep.Close())
	}
	if err != nil {
		c.bad(what, err.Error(), fix)
		return
	}
	c.ok(what + ": in use by a running bot, and readable")
}

// checkSettings finds settings that nobody can read, and tells what they mean
// for new requests. Other errors are the store's, and found there.
func checkSettings(ctx context.Context, c *checkup, cfg config, keep store.Store) {
	const what = "the settings in the store"
	switch set, err := keep.Settings(ctx); {
	case errors.Is(err, store.ErrCorrupt):
		c.bad(what, "they are damaged and cannot be read, and a bot that starts takes no webhook and lets nobody decide",
			"Let an admin write /epm config reset yes, or run countersign settings reset yes; then set again what is missing, or run countersign settings import with an earlier export.")
	case err == nil:
		c.ok(what + " can be read")
		now, _ := settings.Effective(cfg.settings, set, cfg.world)
		checkFirstState(c, &now)
	}
}

func checkFirstState(c *checkup, s *settings.Settings) {
	if say := s.FirstInactive(); say != "" {
		c.note(say, "If that is not meant, add the state to active_states with /epm config, or to "+envPrefix+"_SETTINGS_ACTIVE_STATES.")
	}
}

// checkOwed finds receivers of events that are owed some and not configured.
// An error is the store's, and found there.
func checkOwed(ctx context.Context, c *checkup, cfg config, wrong configError, keep store.Store) {
	if wrong.about(eventsPrefix, "") {
		return // who is configured is not known
	}
	stats, err := keep.Stats(ctx, time.Now())
	if err != nil {
		return
	}
	follows := cfg.follows()
	for _, lane := range slices.Sorted(maps.Keys(stats.Owed)) {
		to, ok := strings.CutPrefix(string(lane), string(tickets.DeliverLane("")))
		if ok && !slices.Contains(follows, tickets.EventSink(to)) {
			c.note(fmt.Sprintf("the receiver of events %s: not configured, and owed events of %s", to, counted(stats.Owed[lane], "ticket")),
				fmt.Sprintf("Configure it again, or let it be forgotten: countersign events drop-sink %s. Until then these tickets are not retired.", to))
		}
	}
}

// checkForeign tells what a running bot has recorded of connections of the Slack
// app that are of none of its replicas: only a connection could tell anew, and
// that would take what people do. An error is the store's, and found there.
func checkForeign(ctx context.Context, c *checkup, cfg config, keep store.Store) {
	if !cfg.usesSlack() || cfg.SlackAppToken == "" {
		return
	}
	const what = "Slack: the connections of the app, as the bot last recorded them"
	switch n, err := keep.Cursor(ctx, foreignMark); {
	case err == nil && n > 0:
		c.bad(what, slack.MsgForeign(int(n)), "Find the other installation and give it an app and tokens of its own; a bot that was killed a moment ago counts too, for some minutes. docs/runbook.md, A card of another request, says what happens otherwise.")
	case err == nil:
		c.ok(what)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func checkEPM(ctx context.Context, c *checkup, cfg config, p Env, wrong configError) {
	if wrong.about("EPM_", "") {
		c.skip("EPM: correct the configuration first")
		return
	}
	client, err := newEPM(cfg, p, slog.New(slog.DiscardHandler), newMetrics(), nil)
	var refused configError
	if errors.As(err, &refused) {
		for _, f := range refused {
			c.bad(f.variable(), f.say, "Correct this variable and run doctor again; docs/configuration.md explains all of them.")
		}
		return
	} else if err != nil {
		c.bad("EPM", err.Error(), "Correct the variables of EPM; docs/configuration.md explains them.")
		return
	}
	r := client.Test(ctx)
	if r.OK {
		c.ok(strings.Join(append([]string{"EPM: the connection works"}, r.Findings...), "\n"))
		checkDescription(ctx, c, client)
		return
	}
	for _, sentence := range r.Findings {
		problem, fix := advice(sentence)
		c.bad("EPM", problem, fix)
	}
	if len(r.Findings) == 0 {
		c.bad("EPM", "the connection does not work", epmFix)
	}
}

const epmFix = "Check " + envPrefix + "_EPM_HOST, _EPM_CLIENT_ID and _EPM_CLIENT_SECRET, then run doctor again."

// advice takes a sentence of EPM's connection test apart: first what is
// wrong, then what to do.
func advice(sentence string) (problem, fix string) {
	at := strings.IndexAny(sentence, ".;")
	for at >= 0 && at+1 < len(sentence) && sentence[at+1] != ' ' { // a dot in a name
		next := strings.IndexAny(sentence[at+1:], ".;")
		if next < 0 {
			at = -1
			break
		}
		at += 1 + next
	}
	if at < 0 || at+2 >= len(sentence) {
		return strings.TrimRight(sentence, "."), epmFix
	}
	fix = sentence[at+2:]
	return sentence[:at], strings.ToUpper(fix[:1]) + fix[1:]
}

// checkReady asks the bot on this machine, where it tells the reasons, whether
// everything that it needs is usable. One that does not run, or runs
// elsewhere, cannot be asked.
func checkReady(ctx context.Context, c *checkup, env environment) {
	if env.OpsListen == "" {
		return
	}
	what, health, err := askHealth(ctx, env, "/readyz")
	switch {
	case errors.Is(err, errNoAnswer):
		c.skip(what + ": none answers on this machine")
	case err != nil:
		c.skip("the bot on this machine: it cannot be asked, " + err.Error())
	case health.Ready:
		c.ok(what + ": it is ready")
	default:
		c.bad(what, cmp.Or(sayProblems(health.Problems), "it is not ready"), "What is wrong is in another line here, or in its log. It goes on by itself when that works again.")
	}
}

// checkWayIn calls the bot at its public address, as EPM, people and the
// chats do.
func checkWayIn(ctx context.Context, c *checkup, cfg config, chats []chat) {
	base := cfg.publicURL
	if base == "" {
		c.skip("the bot's address: set " + envPrefix + "_PUBLIC_URL to have it called")
		return
	}
	what := "the bot at " + base
	const start = "Start it with countersign serve, or correct " + envPrefix + "_PUBLIC_URL. If only this machine cannot reach that address, run doctor on another one."
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		c.bad(what, "that is no address", "Correct "+envPrefix+"_PUBLIC_URL.")
		return
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		c.bad(what, "does not answer: "+withoutURL(err).Error(), start)
		return
	}
	defer res.Body.Close()
	var health struct {
		Alive bool `json:"alive"`
	}
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&health) != nil || !health.Alive {
		c.bad(what, fmt.Sprintf("something else answers, with HTTP status %d", res.StatusCode), "Correct "+envPrefix+"_PUBLIC_URL, or let the proxy there pass everything on to the bot.")
		return
	}
	c.ok(what + ": answers")
	checkWebhookAddress(ctx, c, cfg)
	for _, chat := range chats {
		c.findings = append(c.findings, chat.Probe(ctx, base)...)
	}
}
