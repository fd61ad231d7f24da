package discordtest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

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
