package slack

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/health"
)

// Secrets are the secrets of an app at one time.
type Secrets struct {
	BotToken       string
	AppToken       string
	SigningSecrets []string // empty ones do not count
}

// String keeps the secrets out of logs.
func (Secrets) String() string { return "[slack secrets]" }

// GoString keeps the secrets out of %#v.
func (Secrets) GoString() string { return "[slack secrets]" }

// LogValue keeps the secrets out of slog.
func (Secrets) LogValue() slog.Value { return slog.StringValue("[slack secrets]") }

// renewEvery is how often it is looked whether the tokens have changed, by who
// has to act then.
const renewEvery = time.Second

// secrets are those at present.
func (c *Chat) secrets() Secrets {
	s := c.cfg.Current()
	s.SigningSecrets = slices.DeleteFunc(slices.Clone(s.SigningSecrets), func(one string) bool { return one == "" })
	return s
}

// api is the library with the tokens at present.
func (c *Chat) api() *slack.Client { return c.client(c.secrets()) }

func (c *Chat) client(s Secrets) *slack.Client {
	return slack.New(s.BotToken,
		slack.OptionHTTPClient(c.http),
		slack.OptionAPIURL(c.cfg.APIURL),
		slack.OptionAppLevelToken(s.AppToken),
		// The library's own log may hold what people wrote.
		slack.OptionLog(slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)),
	)
}

// Try asks Slack whether it takes the tokens of s that are not empty, which
// are not in use yet. A bot token must be of the bot that we are: another
// could not change its messages. A signing secret cannot be tried. Its errors
// are [tickets.Failure], but for the token of another bot and for one that expires.
func (c *Chat) Try(ctx context.Context, s Secrets) error {
	if say := MsgRotating(s.BotToken); say != "" {
		return errors.New("slack: the bot token " + say)
	}
	api := c.client(s)
	ask := func(method string, do func() error) error {
		err := c.pace.wait(ctx, method, "")
		if err == nil {
			err = do()
		}
		if err != nil {
			return failure(method, false, err)
		}
		return nil
	}
	if s.BotToken != "" {
		var r *slack.AuthTestResponse
		err := ask("auth.test", func() (err error) {
			r, err = api.AuthTestContext(ctx)
			return err
		})
		if err != nil {
			return err
		}
		c.mu.Lock()
		self := c.self
		c.mu.Unlock()
		if r.BotID == "" || self != nil && (r.UserID != self.user || r.TeamID != self.team) {
			return errOtherBot
		}
	}
	if s.AppToken != "" {
		// It makes an address that nobody connects to.
		return ask("apps.connections.open", func() error {
			_, _, err := api.StartSocketModeContext(ctx)
			return err
		})
	}
	return nil
}

var errOtherBot = errors.New("slack: it is not a token of the bot that posts here")

// awaitChange returns when the secrets are others than before, and false if
// ctx has ended first.
func (c *Chat) awaitChange(ctx context.Context, before Secrets) bool {
	for {
		if now := c.secrets(); now.BotToken != before.BotToken || now.AppToken != before.AppToken {
			return true
		}
		if !chatkit.Sleep(ctx, renewEvery) {
			return false
		}
	}
}

// listen listens to Slack by Socket Mode until ctx ends. When the app token
// changes a connection is made with the new one; that of the old one goes on
// until Slack ends it, so that nothing is lost in between.
func (c *Chat) listen(ctx context.Context, handle func(ctx context.Context, api *slack.Client, conn *health.Connection) error) {
	type end struct {
		conn *health.Connection
		err  error
	}
	ended := make(chan end)
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	token := ""
	var newest *health.Connection // of the token at present; another listener may have had the same
	for {
		if now := c.secrets(); now.AppToken != token {
			conn := c.addConnection()
			token, newest = now.AppToken, conn
			c.listening.Go(func() {
				err := handle(ctx, c.client(now), conn)
				c.dropConnection(conn)
				select {
				case ended <- end{conn, err}:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case e := <-ended:
			if e.conn != newest {
				c.log.Info("socket mode: the connection of the app token before this one has ended")
				continue
			}
			if e.err == nil {
				e.err = errors.New("slack socket mode: ended")
			}
			c.fail(e.err)
			return
		case <-tick.C:
		}
	}
}

func (c *Chat) addConnection() *health.Connection {
	conn := &health.Connection{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connectionStates = append(c.connectionStates, conn)
	return conn
}

func (c *Chat) dropConnection(conn *health.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.connectionStates) > 1 { // the last one says why nobody listens
		c.connectionStates = slices.DeleteFunc(c.connectionStates, func(l *health.Connection) bool { return l == conn })
	}
}

// socketProblem is why nobody listens over Socket Mode, or nil.
func (c *Chat) socketProblem() error {
	c.mu.Lock()
	conns := slices.Clone(c.connectionStates)
	c.mu.Unlock()
	err := (&health.Connection{}).Problem("slack socket mode", c.cfg.Now(), socketGap)
	for _, conn := range conns {
		if err = conn.Problem("slack socket mode", c.cfg.Now(), socketGap); err == nil {
			return nil
		}
	}
	return err
}
