package discord

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/dedup"
	"github.com/countersign/countersign/adapters/chatkit/drain"
	"github.com/countersign/countersign/adapters/chatkit/health"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/adapters/chatkit/ttl"
	"github.com/countersign/countersign/tickets"
)

// Platform is Discord's name in places, actors and principals.
const Platform tickets.Platform = "discord"

// Chat is Discord as a chat of Countersign.
type Chat struct {
	cfg     Config
	within  chatkit.Deadlines // of answers
	changes bool              // of the token are possible
	key     ed25519.PublicKey // nil without HTTP
	api     *api
	log     *slog.Logger
	pace    *pacer

	roles   *ttl.Cache[[]string]                                                 // of members, by user id
	names   *ttl.Cache[[]string]                                                 // of members, by user id
	people  *ttl.Cache[somebody]                                                 // by user id
	seen    *dedup.Deliveries[response]                                          // interactions
	work    drain.Tracker                                                        // interactions being worked on
	gateway health.Connection                                                    // the gateway
	starts  starts                                                               // of its sessions
	dial    func(ctx context.Context, network, address string) (net.Conn, error) // to it; nil for the library's
	cards   *cards                                                               // that were looked for

	commands *chatkit.Commands
	auth     health.Auth
	requests *signed.Requests // over HTTP

	mu   sync.Mutex
	self string // the bot's user id; "" until Discord has told
}

var (
	_ adapters.Chat          = (*Chat)(nil)
	_ adapters.Diagnoser     = (*Chat)(nil)
	_ adapters.HTTPEndpoints = (*Chat)(nil)
)

// keepSeen is how long an interaction is remembered: as long as its token
// lives (discord.com/developers/docs/interactions/receiving-and-responding).
const keepSeen = 15 * time.Minute

// New returns the chat for cfg. It calls nobody.
func New(cfg Config) (*Chat, error) {
	base, key, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("discord: %w", err)
	}
	cfg.setDefaults()
	changes := cfg.Current != nil
	if !changes {
		cfg.Current = func() string { return cfg.BotToken }
	}
	var limiter ratelimit.Limiter
	if cfg.Peers != nil {
		limiter = cfg.Peers
	}
	c := &Chat{
		within:  chatkit.NewDeadlines(cfg.AnswerTime),
		cfg:     cfg,
		changes: changes,
		log:     cfg.Log.With("platform", string(Platform)),
		pace:    newPacer(cfg.Pace, limiter),
		roles:   ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		names:   ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		people:  ttl.NewCache[somebody](chatkit.BelieveFor, cfg.Now),
		cards:   newCards(cfg.Now),
		seen:    dedup.NewDeliveries[response](keepSeen, cfg.Now),
	}
	c.starts.every = cfg.Gateway.Start
	if len(key) > 0 {
		c.key = key
	}
	c.commands = chatkit.NewCommands(&c.work, c.log)
	c.requests = signed.New(signed.Config{
		Stamp: stamp, Verify: c.verify,
		Advice: "compare the public key with the application's page General Information; a few are normal, since Discord sends wrong ones to see that they are refused",
		Within: cfg.AnswerTime, Refused: cfg.Refused, Now: cfg.Now, Log: c.log,
	})
	if c.api, err = newAPI(cfg, base); err != nil {
		return nil, fmt.Errorf("discord: %w", err)
	}
	return c, nil
}

// String keeps what c holds out of logs.
func (c *Chat) String() string { return string(Platform) }

// GoString keeps what c holds out of %#v.
func (c *Chat) GoString() string { return string(Platform) }

// Platform is [Platform].
func (c *Chat) Platform() tickets.Platform { return Platform }

// RateNote says how fast Discord takes messages. It announces its limits with
// each answer; this one is common experience.
func (c *Chat) RateNote() string {
	return "Discord takes about five messages in five seconds in each channel"
}

// Ready says why Discord cannot be posted to or listened to, or nil.
func (c *Chat) Ready() error {
	why, over := c.auth.Problem()
	if over || c.cfg.HTTP {
		return why
	}
	return errors.Join(why, c.gateway.Problem("discord's gateway", c.cfg.Now(), c.cfg.Gateway.Gap))
}

// Run listens until ctx ends. What ends it for good before waits for a token
// that changes, if it may.
func (c *Chat) Run(ctx context.Context, h adapters.Handler) error {
	defer c.work.Wait()
	end, stop := context.WithCancel(ctx)
	defer stop()
	c.work.HurryAfter(end, c.cfg.Drain)
	for {
		with := c.cfg.Current()
		err := c.serveUntilFatal(ctx, h)
		if err == nil || ctx.Err() != nil || !c.changes {
			return err
		}
		c.log.Error("discord stopped: credentials rejected, waiting for a new token", "err", err)
		for c.cfg.Current() == with {
			if !chatkit.Sleep(ctx, renewEvery) {
				return nil
			}
		}
		c.auth.Reset()
	}
}

// renewEvery is how often it is looked whether the token has changed, once
// Discord was given up.
const renewEvery = time.Second

// Try asks Discord whether it takes token, which is not in use yet, and
// whether it is of our application. Its errors are [tickets.Failure], but for
// the token of another application.
func (c *Chat) Try(ctx context.Context, token string) error {
	cfg := c.cfg
	cfg.Current = func() string { return token }
	api, err := newAPI(cfg, c.api.host)
	if err != nil {
		return err
	}
	var app struct {
		ID jsonx.LooseString `json:"id"`
	}
	if err := api.call(ctx, nil, request{method: http.MethodGet, route: "/applications/@me", path: "/applications/@me"}, &app); err != nil {
		return err
	}
	if string(app.ID) != c.cfg.ApplicationID {
		return errors.New("discord: it is the token of another application")
	}
	return nil
}

func (c *Chat) serveUntilFatal(ctx context.Context, h adapters.Handler) error {
	if err := c.waitForIdentity(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { c.register(inner) })
	over := make(chan error, 1)
	if !c.cfg.HTTP {
		running.Go(func() { over <- c.listen(inner, h) })
	}
	return c.auth.Watch(ctx, over, func(ctx context.Context) {
		// The outcome is noted by call.
		_ = c.call(ctx, request{method: http.MethodGet, route: "/users/@me", path: "/users/@me"}, &struct{}{})
	})
}

// waitForIdentity asks who we are until Discord tells. A token that Discord does
// not accept is fatal: asking on would have the address banned
// (discord.com/developers/docs/topics/rate-limits, "invalid request limit").
func (c *Chat) waitForIdentity(ctx context.Context) error {
	err := chatkit.Retry(ctx, func(ctx context.Context) error {
		_, err := c.identity(ctx)
		return err
	}, func(err error) { c.log.Warn("read own user failed, retrying", "err", err) })
	if err != nil {
		return c.auth.Stopped(err)
	}
	return nil
}
