package discordtest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Opcodes of the gateway (discord.com/developers/docs/topics/opcodes-and-status-codes).
const (
	opDispatch  = 0
	opHeartbeat = 1
	opIdentify  = 2
	opPresence  = 3
	opVoice     = 4
	opResume    = 6
	opReconnect = 7
	opMembers   = 8
	opInvalid   = 9
	opHello     = 10
	opAck       = 11
)

// Close codes of the gateway.
const (
	closeUnknownOp       = 4001
	closeDecode          = 4002
	closeNotIdentified   = 4003
	closeAuthentication  = 4004
	closeAlreadyThere    = 4005
	closeInvalidSequence = 4007
	closeTimedOut        = 4009
	closeInvalidShard    = 4010
	closeInvalidIntents  = 4013
	closeDisallowed      = 4014
)

const (
	intentGuilds      = 1 << 0
	privilegedIntents = 1<<1 | 1<<8 | 1<<15 // members, presences, message content
	knownIntents      = 1<<26 - 1

	resumeLife = time.Minute // how long a lost session can be resumed, in real time
	sessionLog = 1000        // events that a session remembers

	// How many IDENTIFYs Discord allows in limitTime; then it resets the token
	// (discord.com/developers/docs/events/gateway#rate-limiting).
	limitTotal = 1000
	limitTime  = 24 * time.Hour

	maxSessions = 100
)

// GatewayFaultKind says how a connection to the gateway goes wrong.
type GatewayFaultKind int

// The ways a connection can go wrong.
const (
	NoHello       GatewayFaultKind = iota // accepted, and then silence
	Op7First                              // op 7 instead of READY or RESUMED
	Op9First                              // op 9 with d:false instead of READY or RESUMED
	Op9Resumable                          // op 9 with d:true instead of READY or RESUMED
	NoAck                                 // works, but no heartbeat is acknowledged
	NoReady                               // HELLO, and then silence but for heartbeats
	CloseWith                             // closed with GatewayFault.Code instead of READY or RESUMED
	RefuseUpgrade                         // HTTP GatewayFault.Status instead of a connection
)

// GatewayFault makes the next connections to the gateway go wrong.
type GatewayFault struct {
	Kind   GatewayFaultKind
	Skip   int // how many connections go well first
	Times  int // how many go wrong then; default 1, negative means for ever
	Code   int // of CloseWith; default 4000
	Status int // of RefuseUpgrade; default 503
}

// FailGateway adds a fault. Of several, the oldest is used first.
func (s *Server) FailGateway(f GatewayFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	if f.Code == 0 {
		f.Code = 4000
	}
	if f.Status == 0 {
		f.Status = http.StatusServiceUnavailable
	}
	s.gatewayFaults = append(s.gatewayFaults, &f)
}

func (s *Server) takeGatewayFault() *GatewayFault {
	for i, f := range s.gatewayFaults {
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.gatewayFaults = slices.Delete(s.gatewayFaults, i, i+1)
			}
		}
		taken := *f
		return &taken
	}
	return nil
}

// conn is one connection to the gateway.
type conn struct {
	ws      *websocket.Conn
	fault   GatewayFaultKind // of this connection
	code    int              // of CloseWith
	broken  bool             // whether fault is one
	version string
	session *session // nil until READY or RESUMED; guarded by Server.mu

	ending atomic.Bool // a close frame is out
	mu     sync.Mutex
	queue  []packet
	wake   chan struct{}
}

// packet is a message to send, or the end of the connection.
type packet struct {
	data  []byte
	close int
}

// session is what READY begins and RESUME continues.
type session struct {
	id      string
	seq     int
	log     []event
	intents int
	conn    *conn     // nil while it is lost
	lost    time.Time // real
}

type event struct {
	seq  int
	data []byte
}

func (c *conn) push(v any)   { c.put(packet{data: marshal(v)}) }
func (c *conn) end(code int) { c.put(packet{close: code}) }

// put never waits: it is called with the server's lock held.
func (c *conn) put(p packet) {
	c.mu.Lock()
	c.queue = append(c.queue, p)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write sends what is queued until done is closed.
func (c *conn) write(done <-chan struct{}) {
	for {
		c.mu.Lock()
		queue := c.queue
		c.queue = nil
		c.mu.Unlock()
		for _, p := range queue {
			_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second)) // only fails with the write
			if p.close != 0 {
				c.ending.Store(true)
				_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(p.close, closeTexts[p.close]), time.Now().Add(time.Second))
				// The bot ends the connection: if this side did, what the bot
				// still sends would take the close code from it.
				_ = c.ws.SetReadDeadline(time.Now().Add(5 * time.Second))
				return
			}
			if c.ws.WriteMessage(websocket.TextMessage, p.data) != nil {
				c.ws.Close()
				return
			}
		}
		select {
		case <-c.wake:
		case <-done:
			return
		}
	}
}

var closeTexts = map[int]string{
	4000: "Unknown error.", closeUnknownOp: "Unknown opcode.", closeDecode: "Error while decoding payload.", closeNotIdentified: "Not authenticated.",
	closeAuthentication: "Authentication failed.", closeAlreadyThere: "Already authenticated.", closeInvalidSequence: "Invalid seq.",
	closeTimedOut: "Session timed out.", closeInvalidShard: "Invalid shard.", closeInvalidIntents: "Invalid intent(s).", closeDisallowed: "Disallowed intent(s).",
}

// SetGateway has the API name host, with its port, as the gateway's address:
// that of a proxy before the fake.
func (s *Server) SetGateway(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway = host
}

func (s *Server) gatewayURL() string { return "ws://" + s.gateway }

func (s *Server) getGateway(*call) reply { return ok(map[string]any{"url": s.gatewayURL()}) }

func (s *Server) getGatewayBot(*call) reply {
	s.renewLimit()
	reset := limitTime
	if s.limitUsed > 0 {
		reset = time.Until(s.limitFrom.Add(limitTime))
	}
	return ok(map[string]any{"url": s.gatewayURL(), "shards": 1, "session_start_limit": map[string]any{
		"total": limitTotal, "remaining": max(0, limitTotal-s.limitUsed), "reset_after": reset.Milliseconds(), "max_concurrency": 1}})
}

func (s *Server) renewLimit() {
	if time.Since(s.limitFrom) >= limitTime {
		s.limitUsed = 0
	}
}

// UseStarts has n IDENTIFYs of the day used up, as by another copy of the bot.
func (s *Server) UseStarts(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewLimit()
	if s.limitUsed == 0 {
		s.limitFrom = time.Now()
	}
	s.limitUsed += n
}

// RefuseResumes has every RESUME answered with op 9 and d:false, or ends that.
func (s *Server) RefuseResumes(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuseResumes = on
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func (s *Server) serveGateway(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c := &conn{wake: make(chan struct{}, 1), version: q.Get("v")}
	s.mu.Lock()
	if s.gatewayDown {
		s.mu.Unlock()
		http.Error(w, "upstream connect error or disconnect/reset before headers", http.StatusServiceUnavailable)
		return
	}
	if f := s.takeGatewayFault(); f != nil {
		if f.Kind == RefuseUpgrade {
			s.mu.Unlock()
			http.Error(w, http.StatusText(f.Status), f.Status)
			return
		}
		c.fault, c.code, c.broken = f.Kind, f.Code, true
	}
	if q.Get("compress") != "" || q.Get("encoding") != "" && q.Get("encoding") != "json" {
		s.violate("gateway: encoding %q with compress %q is not known to this Discord", q.Get("encoding"), q.Get("compress"))
	}
	s.mu.Unlock()
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	defer ws.Close()
	stop := context.AfterFunc(s.ctx, func() { ws.Close() })
	defer stop()
	c.ws = ws
	s.mu.Lock()
	if s.closed || s.down {
		s.mu.Unlock()
		return
	}
	s.conns = append(s.conns, c)
	s.wg.Add(1)
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer s.wg.Done()
		c.write(done)
	}()
	defer close(done)
	if !c.is(NoHello) {
		c.push(map[string]any{"op": opHello, "d": map[string]any{"heartbeat_interval": s.cfg.Heartbeat.Milliseconds(), "_trace": []string{"discordtest"}}, "s": nil, "t": nil})
	}
	var closed int
	for {
		if !c.ending.Load() {
			_ = ws.SetReadDeadline(time.Now().Add(3*s.cfg.Heartbeat + 5*time.Second)) // only fails with the read
		}
		_, raw, err := ws.ReadMessage()
		if err != nil {
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				closed = ce.Code
			}
			break
		}
		if c.ending.Load() {
			continue
		}
		s.mu.Lock()
		s.receive(c, raw)
		s.mu.Unlock()
	}
	s.forget(c, closed)
}

func (c *conn) is(kind GatewayFaultKind) bool { return c.broken && c.fault == kind }

// receive does what the bot sent.
func (s *Server) receive(c *conn, raw []byte) {
	var p struct {
		Op *int            `json:"op"`
		D  json.RawMessage `json:"d"`
	}
	if json.Unmarshal(raw, &p) != nil || p.Op == nil {
		s.violate("gateway: not a payload: %.100s", raw)
		c.end(closeDecode)
		return
	}
	if c.is(NoHello) {
		return
	}
	switch *p.Op {
	case opHeartbeat:
		s.beats++
		if !s.ignoreBeats && !c.is(NoAck) {
			c.push(map[string]any{"op": opAck})
		}
	case opIdentify:
		s.identify(c, p.D)
	case opResume:
		s.resume(c, p.D)
	case opPresence, opVoice, opMembers:
		if c.session == nil {
			c.end(closeNotIdentified)
		}
	default:
		s.violate("gateway: opcode %d", *p.Op)
		c.end(closeUnknownOp)
	}
}
