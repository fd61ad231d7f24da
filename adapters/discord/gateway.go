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
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/internal/network"
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
	// First and Last bound the pause between connections; default 1 s and
	// 30 s.
	First, Last time.Duration
	// Start is the least time between the starts of two sessions: Discord
	// allows one every 5 s
	// (discord.com/developers/docs/events/gateway#rate-limiting). How many it
	// allows in a day is in starts.go. Default 5 s.
	Start time.Duration
	// Lease is how long a replica that holds the gateway may be silent before
	// another takes it; default 15 s. Only replicas need it.
	Lease time.Duration
}

func (g Gateway) withDefaults() Gateway {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&g.Open, 20 * time.Second}, {&g.Ack, 105 * time.Second}, {&g.Gap, 15 * time.Second}, {&g.First, time.Second}, {&g.Last, 30 * time.Second}, {&g.Start, 5 * time.Second}, {&g.Lease, 15 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return g
}

// lasting is after how long a connection counts as a good one: the pause after
// it is half of the last one.
const lasting = 10 * time.Second

// resumeTime is how long after it was lost a session is tried to be resumed.
// Discord does not say how long it keeps one; minutes are common experience.
const resumeTime = 2 * time.Minute

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
		return c.listenAsReplica(ctx, h)
	}
	return c.newSupervisor(h).run(ctx, 0)
}

// lostCodes are the close codes after which a session cannot be resumed, beside
// those of fatalCodes (ibid.).
var lostCodes = map[int]bool{4003: true, 4005: true, 4007: true, 4009: true}

// supervisor keeps a connection to the gateway. A session that was cut is
// resumed: starting another counts towards those that Discord allows in a day.
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
	last    resumable     // the session that can be resumed; zero if none
}

// resumable is a session that was lost.
type resumable struct {
	id      string
	address string // where it is to be resumed; "" where sessions start
	seq     int64  // of the last event that was taken
	lost    time.Time
}

func (c *Chat) newSupervisor(h adapters.Handler) *supervisor {
	return &supervisor{Chat: c, handler: h, slots: newSlots(c.cfg.Workers), wait: c.cfg.Gateway.First}
}

// run connects until ctx ends. If patience is not 0 it gives up after not
// being connected for so long. An error is fatal.
func (s *supervisor) run(ctx context.Context, patience time.Duration) error {
	away := time.Now()
	for chatkit.Sleep(ctx, time.Until(s.next)) {
		begun := time.Now()
		ready, err := s.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if code, fatal := fatalClose(err); fatal {
			return fmt.Errorf("discord's gateway closed with code %d: %s", code, fatalCodes[code])
		}
		s.gateway.Down(s.cfg.Now(), err)
		if ready {
			away = time.Now()
		}
		good := ready && time.Since(begun) > lasting
		if good {
			s.wait = max(s.wait/2, s.cfg.Gateway.First)
		}
		pause := max(s.wait/2+rand.N(s.wait), tickets.FailureOf(err).RetryAfter)
		if !good {
			s.wait = min(2*s.wait, s.cfg.Gateway.Last)
		}
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
	code := closeCode(err)
	_, fatal := fatalCodes[code]
	return code, fatal
}

// closeCode is the code with which a connection was closed; 0 if it was not.
func closeCode(err error) int {
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		return ce.Code
	}
	return 0
}

// The operations of the gateway
// (discord.com/developers/docs/topics/opcodes-and-status-codes#gateway).
const (
	opDispatch     = 0
	opHeartbeat    = 1
	opIdentify     = 2
	opResume       = 6
	opReconnect    = 7
	opInvalid      = 9
	opHello        = 10
	opAcknowledged = 11
)

// packet is what comes over the gateway.
type packet struct {
	Op   int               `json:"op"`
	Seq  *int64            `json:"s"`
	Type jsonx.LooseString `json:"t"`
	Data json.RawMessage   `json:"d"`
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
func (c *Chat) openSession(ctx context.Context, address string) (*session, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "wss" && u.Scheme != "ws") {
		return nil, errors.New("discord names no address of its gateway")
	}
	u.RawQuery = url.Values{"v": {discordgo.APIVersion}, "encoding": {"json"}}.Encode()
	dialer := websocket.Dialer{NetDialContext: c.dial}
	if c.dial == nil {
		dialer.NetDialContext = network.Dial(u.Scheme == "wss")
	}
	conn, _, err := dialer.DialContext(ctx, u.String(), http.Header{"User-Agent": {userAgent}})
	if err != nil {
		return nil, plainError(&neterr.UnreachedError{Host: u.Host, Err: err})
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
		if jsonx.IgnoreTypeErrors(json.Unmarshal(raw, &p)) == nil {
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
func (s *session) close() { s.end(websocket.CloseNormalClosure) }

// leaveCode closes a connection whose session goes on: after 1000 and 1001
// Discord forgets it (discord.com/developers/docs/events/gateway#disconnecting).
const leaveCode = 4000

// leave ends the connection, so that the session can be resumed.
func (s *session) leave() { s.end(leaveCode) }

func (s *session) end(code int) {
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
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
	for chatkit.Sleep(ctx, min(wait, patience/4)) {
		if time.Since(time.Unix(0, s.acked.Load())) > patience {
			s.leave()
			return
		}
		if wait -= patience / 4; wait > 0 {
			continue
		}
		wait = s.interval
		if s.beat() != nil {
			s.leave()
			return
		}
	}
}

// greet opens a connection and signs on over it: with the session that was
// lost, if it may still be resumed, else with a new one, once Discord's limit
// allows it. It reports whether the session is resumed.
func (s *supervisor) greet(ctx context.Context) (conn *session, resumes bool, err error) {
	if s.last.id != "" && time.Since(s.last.lost) > resumeTime {
		s.last = resumable{}
	}
	resumes = s.last.id != ""
	address := s.last.address
	if address == "" {
		if address, err = s.askGateway(ctx, resumes); err != nil {
			return nil, resumes, err
		}
	}
	if conn, err = s.openSession(ctx, address); err != nil {
		s.last.address = "" // perhaps that is what is wrong
		return nil, resumes, err
	}
	if resumes {
		conn.seq.Store(s.last.seq)
		err = conn.write(opResume, map[string]any{"token": s.cfg.Current(), "session_id": s.last.id, "seq": s.last.seq})
	} else {
		s.starts.begin(time.Now())
		err = conn.write(opIdentify, map[string]any{
			"token": s.cfg.Current(), "intents": 0, // interactions need none
			"properties": map[string]string{"os": runtime.GOOS, "browser": "countersign", "device": "countersign"},
		})
	}
	if err != nil {
		conn.leave()
		return nil, resumes, err
	}
	return conn, resumes, nil
}

// askGateway asks where the gateway is. For a new session it asks as well how
// many Discord allows, and returns an error if none may be started yet.
func (s *supervisor) askGateway(ctx context.Context, resumes bool) (string, error) {
	var gateway struct {
		URL   jsonx.LooseString `json:"url"`
		Limit startLimit        `json:"session_start_limit"`
	}
	route := "/gateway/bot"
	if resumes {
		route = "/gateway"
	}
	if err := s.call(ctx, request{method: http.MethodGet, route: route, path: route}, &gateway); err != nil {
		return "", err
	}
	if !resumes {
		s.starts.heed(gateway.Limit, time.Now())
		if err := s.mayStart(ctx); err != nil {
			return "", err
		}
	}
	return string(gateway.URL), s.trusts(string(gateway.URL))
}

// connect is one connection: it opens it, signs on and takes what comes. It
// returns whether it was ready, and why it ended.
func (s *supervisor) connect(ctx context.Context) (ready bool, err error) {
	opening, opened := context.WithTimeout(ctx, s.cfg.Gateway.Open)
	defer opened()
	conn, resumes, err := s.greet(opening)
	if err != nil {
		return false, err
	}
	live, end := context.WithCancel(ctx)
	var beating sync.WaitGroup
	defer beating.Wait()
	defer end()
	defer conn.leave()
	defer context.AfterFunc(ctx, conn.close)()
	beating.Go(func() { conn.keepAlive(live, s.cfg.Gateway.Ack) })
	defer func() {
		if code := closeCode(err); ctx.Err() != nil || lostCodes[code] || fatalCodes[code] != "" {
			s.last = resumable{}
		} else if ready && s.last.id != "" {
			s.last.seq, s.last.lost = conn.seq.Load(), time.Now()
		}
	}()

	late := context.AfterFunc(opening, conn.leave) // until it is ready
	isReady := func() {
		late()
		ready = true
		s.gateway.Up(s.cfg.Now())
		s.log.Info("the gateway is connected", "resumed", resumes)
		if s.ready != nil {
			s.ready()
		}
	}
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
			var again bool // it may be resumed
			_ = json.Unmarshal(p.Data, &again)
			if !again {
				s.last = resumable{}
			}
			return ready, errors.New("discord ended the session")
		case opDispatch:
			if p.Seq != nil {
				conn.seq.Store(*p.Seq)
			}
			switch {
			case p.Type == "READY":
				s.last = s.begun(p.Data)
				isReady()
			case p.Type == "RESUMED":
				isReady()
			case p.Type == "INTERACTION_CREATE" && ctx.Err() == nil:
				s.work.Begin()
				// What people do outlives ctx until it is answered.
				go s.onInteraction(context.WithoutCancel(ctx), p.Data, resumes && !ready, s.handler, s.slots)
			}
		}
	}
}

// begun is the session that a READY tells of.
func (s *supervisor) begun(ready json.RawMessage) resumable {
	var d struct {
		ID      jsonx.LooseString `json:"session_id"`
		Address jsonx.LooseString `json:"resume_gateway_url"`
	}
	_ = json.Unmarshal(ready, &d) // what cannot be read cannot be resumed
	if s.trusts(string(d.Address)) != nil {
		d.Address = ""
	}
	return resumable{id: string(d.ID), address: string(d.Address)}
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
	return &neterr.RedactedError{Text: neterr.Describe(err), Cause: err}
}
