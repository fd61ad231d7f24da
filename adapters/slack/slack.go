package slack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/dedup"
	"github.com/countersign/countersign/adapters/chatkit/drain"
	"github.com/countersign/countersign/adapters/chatkit/health"
	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/adapters/chatkit/ttl"
	"github.com/countersign/countersign/tickets"
)

// Platform is Slack's name in places, actors and principals.
const Platform tickets.Platform = "slack"

// Chat is Slack as a chat of Countersign.
type Chat struct {
	cfg     Config
	within  chatkit.Deadlines // of answers
	changes bool              // of the tokens are possible
	base    *url.URL          // of the Web API, ends with a slash
	http    *http.Client
	log     *slog.Logger
	pace    *pacer

	members  *ttl.Cache[[]string]        // of groups and channels
	profiles *ttl.Cache[[]string]        // of people: the address, then names
	people   *ttl.Cache[somebody]        // by user
	hidden   *ttl.Cache[*missing]        // why Slack tells nobody's address; one value
	seen     *dedup.Deliveries[response] // deliveries
	forms    *newest                     // changes of open forms
	homes    homes                       // home tabs that are being made
	work     drain.Tracker               // deliveries being worked on
	commands *chatkit.Commands
	auth     health.Auth
	requests *signed.Requests // over HTTP

	listening sync.WaitGroup // connections of Socket Mode

	mu               sync.Mutex
	connectionStates []*health.Connection // of Socket Mode, the newest last
	sockets          []*socket            // that are open, the newest last
	connections      connections
	self             *identity  // nil until auth.test has told
	appID            string     // "" until known
	dead             chan error // a reason to stop, from an event
}

var (
	_ adapters.Chat          = (*Chat)(nil)
	_ adapters.Diagnoser     = (*Chat)(nil)
	_ adapters.HTTPEndpoints = (*Chat)(nil)
)

// New returns the chat for cfg. It calls nobody.
func New(cfg Config) (*Chat, error) {
	base, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("slack: %w", err)
	}
	cfg.setDefaults()
	changes := cfg.Current != nil
	if !changes {
		first := Secrets{BotToken: cfg.BotToken, AppToken: cfg.AppToken, SigningSecrets: cfg.SigningSecrets}
		cfg.Current = func() Secrets { return first }
	}
	c := &Chat{
		within:  chatkit.NewDeadlines(cfg.AnswerTime),
		cfg:     cfg,
		changes: changes,
		base:    base,
		http: &http.Client{
			Transport: bounded{cfg.Transport},
			Timeout:   cfg.Timeout,
			// A redirect would carry the token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:         cfg.Log.With("platform", string(Platform)),
		pace:        newPacer(cfg.Pace, cfg.Limiter),
		members:     ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		profiles:    ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		people:      ttl.NewCache[somebody](chatkit.BelieveFor, cfg.Now),
		hidden:      ttl.NewCache[*missing](chatkit.BelieveFor, cfg.Now),
		seen:        dedup.NewDeliveries[response](keepSeen, cfg.Now),
		forms:       newNewest(cfg.Now),
		connections: newConnections(),
		appID:       cfg.AppID,
		dead:        make(chan error, 1),
	}
	c.commands = chatkit.NewCommands(&c.work, c.log)
	c.requests = signed.New(signed.Config{
		Stamp: stamp, Verify: c.verify, Advice: "compare the signing secret with the app's page Basic Information",
		Within: cfg.AnswerTime, Refused: cfg.Refused, Log: c.log, // by this machine's clock
	})
	return c, nil
}

// String keeps what c holds out of logs.
func (c *Chat) String() string { return string(Platform) }

// GoString keeps what c holds out of %#v.
func (c *Chat) GoString() string { return string(Platform) }

// Platform is [Platform].
func (c *Chat) Platform() tickets.Platform { return Platform }

// Ready says why Slack cannot be posted to or listened to, or nil.
func (c *Chat) Ready() error {
	why, over := c.auth.Problem()
	if over || c.cfg.AppToken == "" {
		return why
	}
	return errors.Join(why, c.socketProblem())
}

// RateNote says how fast Slack takes messages
// (docs.slack.dev/apis/web-api/rate-limits).
func (c *Chat) RateNote() string { return "Slack takes one message a second in each channel" }

// Run listens until ctx ends. What ends it for good before waits for tokens
// that change, if they may.
func (c *Chat) Run(ctx context.Context, h adapters.Handler) error {
	defer c.work.Wait()
	end, stop := context.WithCancel(ctx)
	defer stop()
	c.work.HurryAfter(end, c.cfg.Drain)
	for {
		with := c.secrets()
		err := c.serveUntilFatal(ctx, h)
		if err == nil || ctx.Err() != nil || !c.changes {
			return err
		}
		c.log.Error("slack stopped: credentials rejected, waiting for new tokens", "err", err)
		if !c.awaitChange(ctx, with) {
			return nil
		}
		select {
		case <-c.dead: // said of the tokens before
		default:
		}
		c.auth.Reset()
	}
}

func (c *Chat) serveUntilFatal(ctx context.Context, h adapters.Handler) error {
	if err := c.waitForIdentity(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	defer c.listening.Wait()
	defer stop()
	if c.cfg.AppToken != "" {
		c.listening.Go(func() {
			c.listen(inner, func(ctx context.Context, api *slack.Client, conn *health.Connection) error {
				return c.serveSockets(ctx, api, conn, h)
			})
		})
	}
	return c.auth.Watch(ctx, c.dead, func(ctx context.Context) {
		// The outcome is noted by call.
		_ = c.call(ctx, "auth.test", "", false, func() error { _, err := c.api().AuthTestContext(ctx); return err })
	})
}

// fail has Run end with err, or with what was said before.
func (c *Chat) fail(err error) {
	select {
	case c.dead <- err:
	default: // one reason is enough
	}
}

// waitForIdentity asks who we are until Slack tells. Before that nobody may act.
func (c *Chat) waitForIdentity(ctx context.Context) error {
	err := chatkit.Retry(ctx, func(ctx context.Context) error {
		_, err := c.identity(ctx)
		return err
	}, func(err error) { c.log.Warn("auth.test failed, retrying", "err", err) })
	if err != nil {
		return c.auth.Stopped(err)
	}
	return nil
}
