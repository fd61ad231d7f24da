package discord

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/pace"
	"github.com/countersign/countersign/adapters/wire"
)

// Gateway is how patient we are with Discord's gateway.
type Gateway struct {
	// Open is how long a connection may take to be ready; default 20 s.
	Open time.Duration
	// Ack is how long Discord may leave heartbeats unanswered, which come
	// every 41.25 s; default 105 s, about 2.5 of them.
	Ack time.Duration
	// Gap is how long the connection may be away before we are not ready;
	// default 15 s.
	Gap time.Duration
	// First and Last bound the pause between connections. Discord allows
	// one every 5 s and 1,000 a day
	// (discord.com/developers/docs/events/gateway#rate-limiting); default 1 s
	// and 2 min.
	First, Last time.Duration
}

func (g Gateway) withDefaults() Gateway {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&g.Open, 20 * time.Second}, {&g.Ack, 105 * time.Second}, {&g.Gap, 15 * time.Second}, {&g.First, time.Second}, {&g.Last, 2 * time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return g
}

// healthy is after how long a connection counts as a good one: the next pause
// is short again.
const healthy = time.Minute

// fatalCodes are the close codes after which Discord demands not to connect
// again (discord.com/developers/docs/topics/opcodes-and-status-codes#gateway).
var fatalCodes = map[int]string{
	4004: "the bot token is not accepted: set a new one",
	4010: "the shard is wrong",
	4011: "the bot is in too many servers for one connection",
	4012: "the version of the gateway is no longer served: update Countersign",
	4013: "the intents are wrong",
	4014: "the intents are not allowed for this bot",
}

// listen takes interactions from the gateway until ctx ends, over one fresh
// session after the other: the library's own ways back deadlock
// (github.com/bwmarrin/discordgo/issues/1694 and 513), and resuming would
// only bring interactions that are too old to be answered. It returns an
// error when Discord will not let us connect however often we try.
func (c *Chat) listen(ctx context.Context, h adapters.Handler) error {
	slots := newSlots(c.cfg.Workers)
	wait := c.cfg.Gateway.First
	for {
		begun := time.Now()
		err := c.connect(ctx, h, slots)
		if ctx.Err() != nil {
			return nil
		}
		if code, fatal := fatalClose(err); fatal {
			return fmt.Errorf("discord's gateway closed with code %d: %s", code, fatalCodes[code])
		}
		c.line.Down(c.cfg.Now(), err)
		if time.Since(begun) > healthy {
			wait = c.cfg.Gateway.First
		}
		pause := wait/2 + rand.N(wait)
		c.log.Warn("the gateway is away, connecting again", "err", err, "after", pause.Round(time.Millisecond))
		if !pace.Sleep(ctx, pause) {
			return nil
		}
		wait = min(2*wait, c.cfg.Gateway.Last)
	}
}

func fatalClose(err error) (int, bool) {
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		_, fatal := fatalCodes[ce.Code]
		return ce.Code, fatal
	}
	return 0, false
}

// socket remembers the connection under a session, so that it can be cut from
// outside when the session hangs.
type socket struct {
	mu   sync.Mutex
	conn net.Conn
	shut bool
}

func (s *socket) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s.conn = conn
	return conn, nil
}

func (s *socket) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// stuckFor is how long a session may take to notice that it was cut. One that
// does not is abandoned.
const stuckFor = 2 * time.Second

// connect is one session: it opens it, watches it and ends it. It returns why
// it ended.
func (c *Chat) connect(ctx context.Context, h adapters.Handler, slots *slots) error {
	s, err := newSession(c.cfg, c.api.host)
	if err != nil {
		return err
	}
	// What people do outlives ctx until it is answered.
	acts := context.WithoutCancel(ctx)
	s.AddHandler(func(_ *discordgo.Session, e *discordgo.Event) {
		if ctx.Err() == nil {
			c.onEvent(acts, e.Type, e.RawData, h, slots)
		}
	})
	down := make(chan error, 1)
	s.AddHandler(func(*discordgo.Session, *discordgo.Disconnect) {
		select {
		case down <- nil:
		default:
		}
	})
	line := &socket{}
	s.Dialer = &websocket.Dialer{Proxy: http.ProxyFromEnvironment, NetDialContext: line.dial, HandshakeTimeout: c.cfg.Gateway.Open}
	defer line.cut()

	opened := make(chan error, 1)
	go func() { opened <- s.Open() }()
	patience := time.NewTimer(c.cfg.Gateway.Open)
	defer patience.Stop()
	select {
	case err := <-opened:
		if err != nil {
			return openError(err)
		}
	case <-patience.C:
		line.cut()
		c.settle(opened)
		return errors.New("it did not become ready in time")
	case <-ctx.Done():
		line.cut()
		c.settle(opened)
		return ctx.Err()
	}
	c.line.Up(c.cfg.Now())
	c.log.Info("the gateway is connected")

	watch := time.NewTicker(c.cfg.Gateway.Ack / 4)
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			line.cut()
			c.settle(down)
			return ctx.Err()
		case <-down:
			return errors.New("the connection ended")
		case <-watch.C:
			s.RLock()
			last := s.LastHeartbeatAck
			s.RUnlock()
			if time.Since(last) > c.cfg.Gateway.Ack {
				line.cut()
				c.settle(down)
				return errors.New("heartbeats are not answered")
			}
		}
	}
}

// settle waits for a session that was cut. One that does not end is
// abandoned: its goroutine can do nothing without a connection.
func (c *Chat) settle(ended <-chan error) {
	select {
	case <-ended:
	case <-time.After(stuckFor):
		c.log.Error("a session of the library is stuck and was abandoned")
	}
}

// openError is why a session did not open, without what the library or
// Discord put into its text, but for a close code.
func openError(err error) error {
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		return &wire.Hidden{Text: fmt.Sprintf("closed with code %d", ce.Code), Cause: ce}
	}
	return &wire.Hidden{Text: wire.Describe(err), Cause: err}
}
