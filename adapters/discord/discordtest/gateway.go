package discordtest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
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

// forget takes a connection out. Its session can be resumed unless the bot
// ended it with 1000 or 1001.
func (s *Server) forget(c *conn, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = slices.DeleteFunc(s.conns, func(x *conn) bool { return x == c })
	if ss := c.session; ss != nil && ss.conn == c {
		ss.conn, ss.lost = nil, time.Now()
		if code == websocket.CloseNormalClosure || code == websocket.CloseGoingAway {
			delete(s.sessions, ss.id)
		}
	}
	c.session = nil
	s.changed()
}

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

func (s *Server) goodToken(t string) bool {
	return !s.revoked && strings.TrimPrefix(t, "Bot ") == s.cfg.BotToken
}

func (s *Server) identify(c *conn, raw json.RawMessage) {
	var d struct {
		Token      string          `json:"token"`
		Intents    *int            `json:"intents"`
		Properties json.RawMessage `json:"properties"`
		Shard      []int           `json:"shard"`
	}
	if json.Unmarshal(raw, &d) != nil {
		c.end(closeDecode)
		return
	}
	now := time.Now()
	soon := s.cfg.IdentifyEvery > 0 && !s.lastIdentify.IsZero() && now.Sub(s.lastIdentify) < s.cfg.IdentifyEvery
	s.identifies++
	s.lastIdentify = now
	if s.renewLimit(); s.limitUsed == 0 {
		s.limitFrom = now
	}
	if s.limitUsed++; s.limitUsed > limitTotal {
		s.violate("gateway: more than %d IDENTIFYs within %v: the token is reset", limitTotal, limitTime)
		s.revoked = true
	}
	s.changed()
	switch {
	case c.session != nil:
		c.end(closeAlreadyThere)
	case !s.goodToken(d.Token):
		c.end(closeAuthentication)
	case len(d.Shard) > 0 && (len(d.Shard) != 2 || d.Shard[0] != 0 || d.Shard[1] != 1):
		c.end(closeInvalidShard)
	case d.Intents == nil || *d.Intents&^knownIntents != 0:
		c.end(closeInvalidIntents)
	case *d.Intents&privilegedIntents != 0:
		s.violate("gateway: IDENTIFY asks for privileged intents: %d", *d.Intents)
		c.end(closeDisallowed)
	case soon:
		s.violate("gateway: IDENTIFY twice within %v", s.cfg.IdentifyEvery)
		c.push(invalidSession)
	case s.instead(c):
	default:
		s.welcome(c, *d.Intents)
	}
}

var invalidSession = map[string]any{"op": opInvalid, "d": false, "s": nil, "t": nil}

// instead does what a fault says in the place of READY and RESUMED.
func (s *Server) instead(c *conn) bool {
	if !c.broken {
		return false
	}
	switch c.fault {
	case Op7First:
		c.push(map[string]any{"op": opReconnect, "d": nil, "s": nil, "t": nil})
	case Op9First:
		c.push(invalidSession)
		c.broken = false // the next IDENTIFY on this connection goes well
	case Op9Resumable:
		c.push(map[string]any{"op": opInvalid, "d": true, "s": nil, "t": nil})
		c.broken = false
	case CloseWith:
		c.end(c.code)
	case NoReady:
	default:
		return false
	}
	return true
}

func (s *Server) welcome(c *conn, intents int) {
	if len(s.sessions) >= maxSessions {
		maps.DeleteFunc(s.sessions, func(_ string, ss *session) bool { return ss.conn == nil })
	}
	ss := &session{id: secret(16), intents: intents, conn: c}
	s.sessions[ss.id] = ss
	c.session = ss
	version := 10
	if c.version == "9" {
		version = 9
	}
	guilds := []any{}
	if !s.gone {
		guilds = append(guilds, map[string]any{"id": s.cfg.GuildID, "unavailable": true})
	}
	self := s.wireUser(s.cfg.BotUserID)
	self["verified"], self["mfa_enabled"], self["email"] = true, true, nil
	ss.emit("READY", map[string]any{
		"v": version, "user_settings": map[string]any{}, "user": self, "session_type": "normal", "session_id": ss.id,
		"resume_gateway_url": s.gatewayURL(), "relationships": []any{}, "private_channels": []any{}, "presences": []any{},
		"guilds": guilds, "guild_join_requests": []any{}, "geo_ordered_rtc_regions": []any{}, "_trace": []any{"discordtest"},
		"application": map[string]any{"id": s.cfg.ApplicationID, "flags": 0},
	})
	if intents&intentGuilds != 0 && !s.gone {
		g := s.wireGuild()
		var channels []any
		for _, id := range ids(s.channels) {
			if ch := s.channels[id]; ch.Guild == s.cfg.GuildID && ch.Parent == "" {
				channels = append(channels, s.wireChannel(ch))
			}
		}
		g["channels"], g["threads"], g["members"] = list(channels), []any{}, []any{s.wireMember(s.user(s.cfg.BotUserID))}
		g["joined_at"], g["large"], g["unavailable"], g["member_count"] = "2023-04-27T10:00:00.000000+00:00", false, false, len(s.users)
		g["presences"], g["voice_states"], g["stage_instances"], g["guild_scheduled_events"], g["soundboard_sounds"] = []any{}, []any{}, []any{}, []any{}, []any{}
		ss.emit("GUILD_CREATE", g)
	}
	s.changed()
}

func (s *Server) resume(c *conn, raw json.RawMessage) {
	var d struct {
		Token     string `json:"token"`
		SessionID string `json:"session_id"`
		Seq       *int   `json:"seq"`
	}
	if json.Unmarshal(raw, &d) != nil || d.Seq == nil || d.SessionID == "" {
		s.violate("gateway: a RESUME without session_id or seq")
		c.end(closeDecode)
		return
	}
	s.resumes++
	s.changed()
	s.expireSessions()
	ss := s.sessions[d.SessionID]
	switch {
	case c.session != nil:
		c.end(closeAlreadyThere)
	case !s.goodToken(d.Token):
		c.end(closeAuthentication)
	case s.instead(c):
	case ss == nil:
		c.push(invalidSession)
	case s.refuseResumes, len(ss.log) > 0 && *d.Seq < ss.log[0].seq-1:
		delete(s.sessions, ss.id)
		c.push(invalidSession)
	case *d.Seq > ss.seq:
		delete(s.sessions, ss.id)
		c.end(closeInvalidSequence)
	default:
		if old := ss.conn; old != nil {
			old.session = nil
			old.end(4000)
		}
		ss.conn, c.session = c, ss
		for _, e := range ss.log {
			if e.seq > *d.Seq {
				c.put(packet{data: e.data})
			}
		}
		ss.emit("RESUMED", map[string]any{"_trace": []any{"discordtest"}})
		s.changed()
	}
}

// emit sends an event, or keeps it for RESUME while the connection is lost.
func (ss *session) emit(name string, data any) {
	ss.seq++
	raw := marshal(map[string]any{"op": opDispatch, "t": name, "s": ss.seq, "d": data})
	ss.log = append(ss.log, event{ss.seq, raw})
	if len(ss.log) > sessionLog {
		ss.log = slices.Delete(ss.log, 0, len(ss.log)-sessionLog)
	}
	if ss.conn != nil {
		ss.conn.put(packet{data: raw})
	}
}

// dispatch sends an event to every session that has the intent, and tells how
// many are connected and how many may still be resumed.
func (s *Server) dispatch(name string, intent int, data any) (live, waiting int) {
	s.expireSessions()
	for _, ss := range s.sessions {
		if ss.intents&intent != intent {
			continue
		}
		ss.emit(name, data)
		if ss.conn != nil {
			live++
		} else {
			waiting++
		}
	}
	return live, waiting
}

func (s *Server) expireSessions() {
	for id, ss := range s.sessions {
		if ss.conn == nil && time.Since(ss.lost) > resumeLife {
			delete(s.sessions, id)
		}
	}
}

// Dispatch sends any event to every connection: for events that no client
// knows, and for interactions that come twice. It returns how many got it.
func (s *Server) Dispatch(name string, data json.RawMessage) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	live, _ := s.dispatch(name, 0, data)
	return live
}

// Connections is the number of connections to the gateway that are READY.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live())
}

// Identifies is how many IDENTIFYs there ever were.
func (s *Server) Identifies() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identifies
}

// Resumes is how many RESUMEs there ever were.
func (s *Server) Resumes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumes
}

// Heartbeats is how many heartbeats there ever were.
func (s *Server) Heartbeats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beats
}

func (s *Server) live() []*conn {
	return slices.DeleteFunc(slices.Clone(s.conns), func(c *conn) bool { return c.session == nil })
}

// Reconnect tells every connection to reconnect: op 7.
func (s *Server) Reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.live() {
		c.push(map[string]any{"op": opReconnect, "d": nil, "s": nil, "t": nil})
	}
}

// Invalidate ends every session: op 9 with d:false. The connections stay and
// get no event until they identify again.
func (s *Server) Invalidate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.live() {
		delete(s.sessions, c.session.id)
		c.session.conn = nil
		c.session = nil
		c.push(invalidSession)
	}
	s.changed()
}

// RequestHeartbeats asks every connection for a heartbeat at once: op 1.
func (s *Server) RequestHeartbeats() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.live() {
		c.push(map[string]any{"op": opHeartbeat, "d": nil, "s": nil, "t": nil})
	}
}

// AckHeartbeats says whether heartbeats are acknowledged from now on. Without,
// every connection becomes a zombie.
func (s *Server) AckHeartbeats(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ignoreBeats = !on
}

// CloseConnections closes every connection with a code of the gateway. The
// sessions of 4004, 4007, 4009 and 4010 to 4014 cannot be resumed.
func (s *Server) CloseConnections(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if ss := c.session; ss != nil {
			if code == closeAuthentication || code == closeInvalidSequence || code >= closeTimedOut {
				delete(s.sessions, ss.id)
			}
			ss.conn, ss.lost, c.session = nil, time.Now(), nil
		}
		c.end(code)
	}
	s.changed()
}

// Drop cuts every connection to the gateway without a word.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if ss := c.session; ss != nil {
			ss.conn, ss.lost, c.session = nil, time.Now(), nil
		}
		_ = c.ws.NetConn().Close() // it is gone either way
	}
	s.changed()
}

// GatewayDown makes the gateway refuse connections with 503 and cuts those
// that are there, or ends that. The REST API goes on working.
func (s *Server) GatewayDown(down bool) {
	s.mu.Lock()
	s.gatewayDown = down
	s.mu.Unlock()
	if down {
		s.Drop()
	}
}
