package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/pace"
	"github.com/countersign/countersign/adapters/wire"
	"github.com/countersign/countersign/tickets"
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
	// Lease is how long a replica that holds the gateway may be silent before
	// another takes it; default 15 s. Only replicas need it.
	Lease time.Duration
}

func (g Gateway) withDefaults() Gateway {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&g.Open, 20 * time.Second}, {&g.Ack, 105 * time.Second}, {&g.Gap, 15 * time.Second}, {&g.First, time.Second}, {&g.Last, 2 * time.Minute}, {&g.Lease, 15 * time.Second}} {
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

// listen takes interactions from the gateway until ctx ends. It returns an
// error when Discord will not let us connect however often we try.
func (c *Chat) listen(ctx context.Context, h adapters.Handler) error {
	if c.cfg.Peers != nil {
		return c.takeTurns(ctx, h)
	}
	return c.newSupervisor(h).run(ctx, 0)
}

// supervisor keeps a connection to the gateway, over one fresh session after
// the other: resuming one would only bring interactions that are too old to
// be answered.
//
// The library's own gateway is not used: its ways back deadlock
// (github.com/bwmarrin/discordgo/issues/1694 and 513), and a packet that it
// does not expect ends the whole process, Slack and EPM with it.
type supervisor struct {
	*Chat
	handler adapters.Handler
	slots   *slots
	wait    time.Duration // between a connection that failed and the next
	next    time.Time     // not to connect before
	ready   func()        // called after each sign-on; may be nil
}

func (c *Chat) newSupervisor(h adapters.Handler) *supervisor {
	return &supervisor{Chat: c, handler: h, slots: newSlots(c.cfg.Workers), wait: c.cfg.Gateway.First}
}

// run connects until ctx ends. If patience is not 0 it gives up after not
// being connected for so long. An error is fatal.
func (s *supervisor) run(ctx context.Context, patience time.Duration) error {
	away := time.Now()
	for pace.Sleep(ctx, time.Until(s.next)) {
		begun := time.Now()
		ready, err := s.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if code, fatal := fatalClose(err); fatal {
			return fmt.Errorf("discord's gateway closed with code %d: %s", code, fatalCodes[code])
		}
		s.line.Down(s.cfg.Now(), err)
		if ready {
			away = time.Now()
		}
		if time.Since(begun) > healthy {
			s.wait = s.cfg.Gateway.First
		}
		pause := max(s.wait/2+rand.N(s.wait), tickets.FailureOf(err).After)
		s.wait = min(2*s.wait, s.cfg.Gateway.Last)
		s.next = time.Now().Add(pause)
		if patience > 0 && time.Since(away) > patience {
			s.log.Warn("the gateway is away, leaving it to other replicas", "err", err)
			return nil
		}
		s.log.Warn("the gateway is away, connecting again", "err", err, "after", pause.Round(time.Millisecond))
	}
	return nil
}

func fatalClose(err error) (int, bool) {
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		_, fatal := fatalCodes[ce.Code]
		return ce.Code, fatal
	}
	return 0, false
}

// The operations of the gateway
// (discord.com/developers/docs/topics/opcodes-and-status-codes#gateway).
const (
	opDispatch     = 0
	opHeartbeat    = 1
	opIdentify     = 2
	opReconnect    = 7
	opInvalid      = 9
	opHello        = 10
	opAcknowledged = 11
)

// packet is what comes over the gateway.
type packet struct {
	Op   int             `json:"op"`
	Seq  *int64          `json:"s"`
	Type wire.Text       `json:"t"`
	Data json.RawMessage `json:"d"`
}

// maxPacket bounds a packet, in bytes: an interaction carries its message and
// what was typed.
const maxPacket = 4 << 20

// session is one connection to the gateway.
type session struct {
	conn     *websocket.Conn
	interval time.Duration // of heartbeats
	seq      atomic.Int64  // of the last event; 0 before the first
	acked    atomic.Int64  // when a heartbeat was last acknowledged, ns since 1970

	writing sync.Mutex
}

// openSession connects to the gateway at address and waits for its greeting. It does
// not sign on yet: that counts towards the sessions of a day.
func openSession(ctx context.Context, address string) (*session, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "wss" && u.Scheme != "ws") {
		return nil, errors.New("discord names no address of its gateway")
	}
	u.RawQuery = url.Values{"v": {discordgo.APIVersion}, "encoding": {"json"}}.Encode()
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment}
	conn, _, err := dialer.DialContext(ctx, u.String(), http.Header{"User-Agent": {userAgent}})
	if err != nil {
		return nil, plainError(err)
	}
	conn.SetReadLimit(maxPacket)
	s := &session{conn: conn}
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	hello, err := s.read()
	if err != nil {
		s.close()
		return nil, err
	}
	var d struct {
		Interval float64 `json:"heartbeat_interval"` // ms
	}
	// What cannot be read is 0.
	_ = json.Unmarshal(hello.Data, &d)
	s.interval = time.Duration(d.Interval * float64(time.Millisecond))
	if hello.Op != opHello || s.interval < time.Millisecond || s.interval > time.Hour {
		s.close()
		return nil, errors.New("it does not greet as Discord's gateway does")
	}
	s.acked.Store(time.Now().UnixNano())
	return s, nil
}

// read returns the next packet that can be read.
func (s *session) read() (packet, error) {
	for {
		_, raw, err := s.conn.ReadMessage()
		if err != nil {
			return packet{}, plainError(err)
		}
		var p packet
		if wire.Soft(json.Unmarshal(raw, &p)) == nil {
			return p, nil
		}
	}
}

// writeTime is how long a packet may take to be sent.
const writeTime = 10 * time.Second

func (s *session) write(op int, data any) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return plainError(err)
	}
	if err := s.conn.WriteJSON(map[string]any{"op": op, "d": data}); err != nil {
		return plainError(err)
	}
	return nil
}

// close ends the session, saying so if it can.
func (s *session) close() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
	_ = s.conn.Close()
}

func (s *session) beat() error {
	var seq any
	if n := s.seq.Load(); n != 0 {
		seq = n
	}
	return s.write(opHeartbeat, seq)
}

// keepAlive sends heartbeats until ctx ends, the first after a part of the
// interval, as Discord asks. A connection on which they are not answered for
// patience is closed.
func (s *session) keepAlive(ctx context.Context, patience time.Duration) {
	wait := time.Duration(rand.Float64() * float64(s.interval))
	for pace.Sleep(ctx, min(wait, patience/4)) {
		if time.Since(time.Unix(0, s.acked.Load())) > patience {
			s.close()
			return
		}
		if wait -= patience / 4; wait > 0 {
			continue
		}
		wait = s.interval
		if s.beat() != nil {
			s.close()
			return
		}
	}
}

// connect is one session: it opens it, signs on and takes what comes. It
// returns whether it was ready, and why it ended.
func (s *supervisor) connect(ctx context.Context) (ready bool, err error) {
	opening, opened := context.WithTimeout(ctx, s.cfg.Gateway.Open)
	defer opened()
	var gateway struct {
		URL wire.Text `json:"url"`
	}
	if err := s.call(opening, request{method: http.MethodGet, route: "/gateway", path: "/gateway"}, &gateway); err != nil {
		return ready, err
	}
	if err := s.trusts(string(gateway.URL)); err != nil {
		return ready, err
	}
	conn, err := openSession(opening, string(gateway.URL))
	if err != nil {
		return ready, err
	}
	live, end := context.WithCancel(ctx)
	var beating sync.WaitGroup
	defer beating.Wait()
	defer end()
	defer conn.close()
	defer context.AfterFunc(ctx, conn.close)()
	beating.Go(func() { conn.keepAlive(live, s.cfg.Gateway.Ack) })

	err = conn.write(opIdentify, map[string]any{
		"token": s.cfg.Current(), "intents": 0, // interactions need none
		"properties": map[string]string{"os": runtime.GOOS, "browser": "countersign", "device": "countersign"},
	})
	if err != nil {
		return ready, err
	}
	late := context.AfterFunc(opening, conn.close) // until it is ready
	for {
		p, err := conn.read()
		switch {
		case err != nil && time.Since(time.Unix(0, conn.acked.Load())) > s.cfg.Gateway.Ack:
			return ready, errors.New("heartbeats are not answered")
		case err != nil:
			return ready, err
		}
		switch p.Op {
		case opHeartbeat:
			if err := conn.beat(); err != nil {
				return ready, err
			}
		case opAcknowledged:
			conn.acked.Store(time.Now().UnixNano())
		case opReconnect:
			return ready, errors.New("discord asks to connect again")
		case opInvalid:
			return ready, errors.New("discord ended the session")
		case opDispatch:
			if p.Seq != nil {
				conn.seq.Store(*p.Seq)
			}
			switch {
			case p.Type == "READY":
				late()
				ready = true
				s.line.Up(s.cfg.Now())
				s.log.Info("the gateway is connected")
				if s.ready != nil {
					go s.ready()
				}
			case p.Type == "INTERACTION_CREATE" && ctx.Err() == nil:
				s.work.Begin()
				// What people do outlives ctx until it is answered.
				go s.onInteraction(context.WithoutCancel(ctx), p.Data, s.handler, s.slots)
			}
		}
	}
}

// trusts reports an error for a gateway to which the bot token would go in
// plain text, unless the API is on this machine.
func (c *Chat) trusts(address string) error {
	if u, err := url.Parse(address); err != nil || (u.Scheme != "wss" && c.api.host.Scheme == "https") {
		return errors.New("discord names no safe address of its gateway")
	}
	return nil
}

// plainError is why the gateway is away, without what the library or Discord
// put into its text, but for a close code.
func plainError(err error) error {
	return &wire.Hidden{Text: wire.Describe(err), Cause: err}
}
