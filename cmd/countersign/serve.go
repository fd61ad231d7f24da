package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/internal/network"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

const (
	// grace is what steps and requests under way get when the program is told
	// to end, so that it has ended within 15 s.
	grace = 10 * time.Second

	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// serve runs the bot with the environment's configuration.
func serve(ctx context.Context, p Env, args []string) error {
	if len(args) > 0 {
		return errors.New("serve takes no arguments: it is configured by the environment")
	}
	env, findings := p.Environment()
	cfg, err := env.check(findings)
	if err != nil {
		return err
	}
	return endsWithin(ctx, stopTime, func() error { return runBot(ctx, cfg, p, newLog(cfg, p.Stderr)) })
}

func newLog(cfg config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.logLevel}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// runBot builds the bot of cfg, runs it until ctx ends, and ends it: nothing
// new is taken up, what is under way gets grace.
func runBot(ctx context.Context, cfg config, p Env, log *slog.Logger) (err error) {
	var inUse atomic.Pointer[environment]
	inUse.Store(&cfg.environment)
	cfg.now = inUse.Load
	m := newMetrics()
	machine := p.Now
	clock := &clock{own: machine}
	if p.Steady {
		clock.own = steady(machine)
	}
	p.Now = clock.Now
	name, free := lifeName(cfg)
	defer free()
	checkpoints := newCheckpointLog(cfg.AuditCheckpoints, machine, log)
	hooks := store.Hooks{BeforeWrite: events.Track(cfg.follows()...), AfterCommit: checkpoints.note}
	keep, begin, err := openStore(ctx, cfg, name, hooks, p, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	shared, _ := keep.(store.Coordinator)
	follow, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer func() { stop(); following.Wait() }()
	switch {
	case shared != nil:
		clock.compare(ctx, shared, log)
		m.watchClock(clock, machine)
		following.Go(func() { clock.follow(follow, shared, log) })
	case p.Steady:
		following.Go(func() { clock.followMachine(follow, machine, log) })
	}

	tr, err := newTracer(ctx, p.Traces, p.Now, log)
	if err != nil {
		return err
	}
	defer tr.close(ctx, log)
	client, err := newEPM(cfg, p, log, m, tr)
	if err != nil {
		return err
	}
	var running atomic.Pointer[bot.Bot]
	foreign := func(ctx context.Context, n int) error {
		m.foreign.Set(float64(n))
		return keep.SetCursor(ctx, foreignMark, int64(n))
	}
	chats, err := newChats(cfg, p, deps{shared, log, m, tr, foreign, func(on tickets.Platform) wording.Card {
		if b := running.Load(); b != nil {
			card := b.Card(on)
			card.Console = client.ConsoleURL
			return card
		}
		return wording.Card{}
	}})
	if err != nil {
		return err
	}
	told, err := newReceivers(cfg, p.Now)
	if err != nil {
		return err
	}
	config := bot.Config{
		Store: keep, EPM: client, Chats: chats.forBot(),
		Settings: cfg.settings, Registry: cfg.world, EventSinks: counting(told, m),
		Shared: shared, Log: log, Now: p.Now, Meter: m, Grace: grace, Lease: p.Lease, Timeout: p.Timeout, Retention: cfg.keep,
		Read: cfg.reader().Read, Test: func(ctx context.Context) string { return client.Test(ctx).String() }, Picture: picture,
	}
	if tr != nil { // a nil tracer is no nil Tracer
		config.Tracer = tr
	}
	b, err := bot.New(config)
	if err != nil {
		return err
	}
	running.Store(b)
	m.watch(keep, b.Lanes(), p.Now)
	m.watchPlaces(b)
	m.watchComparisons(b)
	if len(cfg.start.Approvers) == 0 {
		log.Warn("no approver is configured: nobody can decide; set COUNTERSIGN_APPROVERS")
	}
	if say := unreachableAdmins(&cfg.start); say != "" {
		log.Warn(say)
	}
	for _, f := range cfg.short() {
		log.Warn("a secret is too short", "variable", envPrefix+"_"+f.name, "err", f.say)
	}
	receiver, err := epm.NewReceiver(epm.ReceiverConfig{
		User: cfg.WebhookUser, Password: cfg.WebhookPassword.Reveal(), PasswordPrevious: cfg.WebhookPasswordPrevious.Reveal(),
		Current: func() (string, string) {
			now := cfg.now()
			return now.WebhookPassword.Reveal(), now.WebhookPasswordPrevious.Reveal()
		},
		Allow: cfg.webhookAllow, TrustedProxies: cfg.proxies,
		Reader: cfg.reader(), Keeper: b, Observe: m.webhook, Now: p.Now, Log: log,
	})
	if err != nil {
		return err
	}
	var shown *certificate
	if cfg.TLSCert != "" {
		if shown, err = loadCertificate(cfg.TLSCert, cfg.TLSKey, machine); err != nil {
			return err
		}
	}
	listener, open, err := listen(ctx, cfg, shown)
	if err != nil {
		return err
	}
	ready := &readiness{log: log, look: func(ctx context.Context) map[string]error {
		problems := b.Ready(ctx)
		if err := client.Ready(); err != nil {
			problems["epm"] = err
		}
		return problems
	}}
	shownHere := m
	if cfg.OpsListen != "" {
		stopOps, err := serveOps(ctx, cfg.OpsListen, opsRoutes(ready, m), log)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		defer stopOps()
		shownHere = nil
	}
	server := &http.Server{
		Handler:           withoutPanics(routes(b, cfg.world.Types, receiver, chats.all(), ready, shownHere), log),
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ConnState: open.follow,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	renewing := renewer{read: p.Environment, inUse: &inUse, list: renewables(keep, client, chats), certificate: shown, renewed: b.RetryNow, log: log}
	following.Go(func() { renewing.run(follow, cmp.Or(p.Renew, renewEvery), p.Hangup) })
	defer func() { stop(); following.Wait() }() // before what it renews is closed
	checkpoints.noteOthers(ctx, keep)
	written := make(chan struct{})
	telling, endTelling := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(written)
		checkpoints.run(telling)
	}()
	defer func() {
		endTelling() // once nothing more happens
		checkpoints.wait(written)
	}()
	log.Info("listening", "address", listener.Addr().String(), "version", versionText())
	if p.Listening != nil {
		p.Listening(listener.Addr().String())
	}
	return serveUntilDone(ctx, server, listener, b, begin, log)
}

const (
	// beginTimeout is for one try to open the store.
	beginTimeout = 5 * time.Second
	// firstBegin and lastBegin are how long to wait before the next.
	firstBegin = time.Second
	lastBegin  = 5 * time.Second
)

// openStore opens the configured store. If that is away at present it returns
// one that answers so until begin, which waits for it, has returned. name is
// this process's, or empty.
func openStore(ctx context.Context, cfg config, name string, hooks store.Hooks, p Env, log *slog.Logger) (_ store.Store, begin func(context.Context) error, _ error) {
	begin = func(context.Context) error { return nil }
	if cfg.storeURL == "" {
		s, err := sqlite.Open(ctx, sqlite.Config{Path: cfg.storePath, Hooks: hooks})
		return s, begin, err
	}
	s, err := redis.New(redis.Config{URL: cfg.storeURL.Reveal(), Current: func() string { return cfg.now().Store.Reveal() }, Now: p.Now, Name: name, Hooks: hooks})
	if err != nil {
		return nil, nil, err
	}
	switch err = beginOnce(ctx, s, log); {
	case errors.Is(err, redis.ErrAway) && ctx.Err() == nil:
		begin = func(ctx context.Context) error { return awaitStore(ctx, s, err, log) }
	case err != nil:
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, begin, nil
}

func beginOnce(ctx context.Context, s *redis.Store, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	if err := s.Begin(ctx); err != nil {
		return err
	}
	for _, sentence := range s.Warnings(ctx) {
		log.Warn("the store may lose what it acknowledges", "err", sentence)
	}
	return nil
}

// awaitStore opens s, which was away with err, when it is there, and returns
// nil then or when ctx ends.
func awaitStore(ctx context.Context, s *redis.Store, err error, log *slog.Logger) error {
	for wait := firstBegin; ; wait = min(2*wait, lastBegin) {
		log.Warn("the store is away: nothing is taken or posted until it is back", "err", err, "again_in", wait.String())
		if !chatkit.Sleep(ctx, wait) {
			return nil
		}
		switch err = beginOnce(ctx, s, log); {
		case err == nil:
			log.Info("the store is there")
			return nil
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, redis.ErrAway):
			return err
		}
	}
}

// serveUntilDone serves and runs the bot until ctx ends, serving fails or begin does.
func serveUntilDone(ctx context.Context, server *http.Server, listener net.Listener, b *bot.Bot, begin func(context.Context) error, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(listener)
		cancel() // without the server the bot must not go on alone
	}()
	ran, began := make(chan error, 1), make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	go func() {
		err := begin(ctx)
		if err != nil {
			cancel()
		}
		began <- err
	}()

	<-ctx.Done()
	log.Info("stopping")
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer stop()
	err := server.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	err = errors.Join(err, <-ran, <-began)
	log.Info("stopped")
	return err
}

// listen opens the port; with TLS unless shown is nil.
func listen(ctx context.Context, cfg config, shown *certificate) (net.Listener, *connections, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	open := &connections{Listener: listener, most: maxWaiting}
	if shown == nil {
		return open, open, nil
	}
	open.most = maxWaitingTLS
	return tls.NewListener(open, &tls.Config{
		GetCertificate: shown.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	}), open, nil
}

func newEPM(cfg config, p Env, log *slog.Logger, m *metrics, tr *tracer) (*epm.Client, error) {
	client, err := epm.New(epm.Config{
		Host: cfg.EPMHost, ClientID: cfg.EPMClientID, ClientSecret: cfg.EPMClientSecret.Reveal(), TenantID: cfg.EPMTenantID,
		Current:         func() string { return cfg.now().EPMClientSecret.Reveal() },
		AppDecisionPath: cfg.EPMAppDecisionPath, AdminDecisionPath: cfg.EPMAdminDecisionPath, PublicURL: cfg.publicURL,
		Transport: m.transport("epm", tr.transport("epm", epm.Transport(), epm.CallName), epm.CallName), Rate: p.EPMRate, Now: p.Now, Log: log,
	})
	if err != nil {
		return nil, configError{{"EPM_HOST", err.Error()}}
	}
	return client, nil
}

// deps is what chats are connected to.
type deps struct {
	shared store.Coordinator // nil for a process that is alone
	log    *slog.Logger
	m      *metrics
	tr     *tracer // nil if traces are switched off
	// foreign records how many connections of Slack are of no replica.
	foreign func(context.Context, int) error
	card    func(tickets.Platform) wording.Card // what the settings say about cards
}

// newChats makes the configured chats. With an error it returns those that
// could be made.
func newChats(cfg config, p Env, s deps) (c chats, err error) {
	var slackErr, discordErr error
	if cfg.usesSlack() {
		c.slack, slackErr = newSlack(cfg, p, s)
	}
	if cfg.usesDiscord() {
		c.discord, discordErr = newDiscord(cfg, p, s)
	}
	return c, errors.Join(slackErr, discordErr)
}

func newSlack(cfg config, p Env, s deps) (*slack.Chat, error) {
	current := func() slack.Secrets {
		now := cfg.now()
		return slack.Secrets{BotToken: now.SlackBotToken.Reveal(), AppToken: now.SlackAppToken.Reveal(),
			SigningSecrets: []string{now.SlackSigningSecret.Reveal(), now.SlackSigningSecretPrevious.Reveal()}}
	}
	first := current()
	var limiter ratelimit.Limiter
	var connections slack.Connections
	if s.shared != nil {
		limiter, connections = peers{s.shared}, s.shared
	}
	return slack.New(slack.Config{
		BotToken: first.BotToken, AppToken: first.AppToken, SigningSecrets: first.SigningSecrets, Current: current,
		APIURL:      strings.TrimRight(cfg.SlackAPIURL, "/") + "/",
		Transport:   s.m.transport("slack", s.tr.transport("slack", network.Transport(), slackCall), slackCall),
		Connections: connections, Foreign: s.foreign,
		Pace: p.SlackPace, AnswerTime: p.AnswerTime, Limiter: limiter, Refused: s.m.refusals(slack.Platform), Card: func() wording.Card { return s.card(slack.Platform) }, Log: s.log, Now: p.Now,
	})
}

// foreignMark is what the store keeps the number of connections under that
// belong to no replica, for doctor.
const foreignMark = "slack/foreign-connections"

// slackCall is what a call of Slack is, without identifiers and secrets.
func slackCall(r *http.Request) string {
	if !strings.Contains(r.URL.Path, "/api/") {
		return "response_url" // its path is a secret
	}
	return path.Base(r.URL.Path)
}

func newDiscord(cfg config, p Env, s deps) (*discord.Chat, error) {
	var others discord.Peers
	if s.shared != nil {
		others = peers{s.shared}
	}
	return discord.New(discord.Config{
		BotToken: cfg.DiscordBotToken.Reveal(), Current: func() string { return cfg.now().DiscordBotToken.Reveal() },
		ApplicationID: cfg.DiscordApplicationID, Guild: cfg.DiscordGuild,
		PublicKey: cfg.DiscordPublicKey, HTTP: cfg.DiscordMode == "http",
		APIURL: cfg.DiscordAPIURL, PublicURL: cfg.publicURL,
		Transport: s.m.transport("discord", s.tr.transport("discord", network.Transport(), discord.CallName), discord.CallName),
		Pace:      p.DiscordPace, AnswerTime: p.AnswerTime, Gateway: p.DiscordGateway, Peers: others, Refused: s.m.refusals(discord.Platform), Card: func() wording.Card { return s.card(discord.Platform) }, Log: s.log, Now: p.Now,
	})
}
