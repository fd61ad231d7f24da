package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	maxSockets  = 10        // docs.slack.dev/apis/events-api/using-socket-mode
	maxAckBytes = 20 * 1024 // larger acks are dropped
)

// conn is one Socket Mode connection.
type conn struct {
	ws     *websocket.Conn
	token  *token // that it was opened with
	write  sync.Mutex
	ending bool // nothing comes after the message that says so; under write
}

// errEnding is why a connection takes no envelope any more.
var errEnding = errors.New("the socket is about to end")

func (c *conn) send(v any) error {
	c.write.Lock()
	defer c.write.Unlock()
	if c.ending {
		return errEnding
	}
	return c.put(v)
}

// end sends the last message.
func (c *conn) end(v any) error {
	c.write.Lock()
	defer c.write.Unlock()
	c.ending = true
	return c.put(v)
}

func (c *conn) put(v any) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if raw, ok := v.(string); ok {
		return c.ws.WriteMessage(websocket.TextMessage, []byte(raw))
	}
	return c.ws.WriteMessage(websocket.TextMessage, marshal(v))
}

// envelope is one that was sent, until it is acknowledged and for a while after.
type envelope struct {
	over  *conn
	acked bool
	ch    chan ack
}

func (s *Server) connectionsOpen(_ args, t *token) reply {
	ticket := nonce()
	s.tickets[ticket] = t
	return reply{body: map[string]any{"url": strings.Replace(s.base, "http://", "ws://", 1) + "/link?ticket=" + ticket + "&app_id=" + s.cfg.AppID}}
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }} // clients send Slack's origin

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	s.mu.Lock()
	opened := s.tickets[ticket]
	delete(s.tickets, ticket) // works once
	s.mu.Unlock()
	if opened == nil {
		http.Error(w, "invalid ticket", http.StatusForbidden)
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	defer ws.Close()
	stop := context.AfterFunc(s.ctx, func() { ws.Close() })
	defer stop()
	c := &conn{ws: ws, token: opened}
	s.mu.Lock()
	if s.closed || s.down {
		s.mu.Unlock()
		return
	}
	full := len(s.conns) >= maxSockets
	if !full {
		s.conns = append(s.conns, c)
	}
	n := len(s.conns)
	s.mu.Unlock()
	if full {
		_ = c.send(disconnect("too_many_websockets"))
		return
	}
	done := make(chan struct{})
	defer close(done)
	defer s.forget(c)
	if !s.begin() {
		return
	}
	go func() {
		defer s.wg.Done()
		s.ping(c, done)
	}()
	if c.send(map[string]any{
		"type": "hello", "num_connections": n, "connection_info": map[string]any{"app_id": s.cfg.AppID},
		"debug_info": map[string]any{"host": "slacktest", "build_number": 1, "approximate_connection_time": 18060},
	}) != nil {
		return
	}
	for {
		_, raw, err := ws.ReadMessage()
		if err != nil {
			return
		}
		s.acknowledge(c, raw)
	}
}

func (s *Server) ping(c *conn, done chan struct{}) {
	t := time.NewTicker(s.cfg.PingEvery)
	defer t.Stop()
	for {
		if c.ws.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(5*time.Second)) != nil {
			return
		}
		select {
		case <-t.C:
		case <-done:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = slices.DeleteFunc(s.conns, func(x *conn) bool { return x == c })
}

// acknowledge takes what came over c.
func (s *Server) acknowledge(c *conn, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var a struct {
		EnvelopeID string          `json:"envelope_id"`
		Payload    json.RawMessage `json:"payload"`
	}
	if json.Unmarshal(raw, &a) != nil || a.EnvelopeID == "" {
		s.violate("socket: not an acknowledgement: %.100s", raw)
		return
	}
	if len(raw) >= maxAckBytes {
		s.violate("socket: an acknowledgement of %d bytes was dropped, %d is the limit", len(raw), maxAckBytes)
		return
	}
	e := s.envelopes[a.EnvelopeID]
	switch {
	case e == nil:
		s.violate("socket: acknowledgement of an envelope that was not sent")
	case e.acked:
		s.violate("socket: envelope acknowledged twice")
	case e.over != c && !s.cfg.AckAnywhere:
		// Slack's page says "over the WebSocket connection", and not whether
		// another one will do.
	default:
		e.acked = true
		e.ch <- ack{status: http.StatusOK, body: a.Payload}
	}
}

func (s *Server) newEnvelope(over *conn) (string, *envelope) {
	id := nonce() + nonce()
	e := &envelope{over: over, ch: make(chan ack, 1)}
	s.envelopes[id] = e
	if s.envOrder = append(s.envOrder, id); len(s.envOrder) > s.cfg.CallLog {
		delete(s.envelopes, s.envOrder[0])
		s.envOrder = slices.Delete(s.envOrder, 0, 1)
	}
	return id, e
}

// pick chooses the connection that an envelope goes to.
func (s *Server) pick() *conn {
	if len(s.conns) == 0 {
		return nil
	}
	s.nextConn++
	return s.conns[s.nextConn%len(s.conns)]
}

func (s *Server) deliverSocket(ctx context.Context, d *Delivery, payload json.RawMessage, attempt int, reason string) (ack, error) {
	s.mu.Lock()
	c := s.pick()
	if c == nil {
		s.mu.Unlock()
		return ack{}, ErrUnreachable
	}
	id, e := s.newEnvelope(c)
	s.mu.Unlock()
	env := map[string]any{"envelope_id": id, "type": d.Kind, "payload": payload, "accepts_response_payload": d.Kind != EventsAPI}
	if d.Kind == EventsAPI || attempt > 0 {
		env["retry_attempt"], env["retry_reason"] = attempt, ""
	}
	if attempt > 0 {
		env["retry_reason"] = "timeout"
		if reason == "connection_failed" {
			env["retry_reason"] = reason
		}
	}
	d.Body = string(marshal(env))
	switch err := c.send(d.Body); {
	case errors.Is(err, errEnding):
		return s.deliverSocket(ctx, d, payload, attempt, reason) // it is not picked again
	case err != nil:
		return ack{}, ErrUnreachable
	}
	select {
	case a := <-e.ch:
		return a, nil
	case <-ctx.Done():
		return ack{}, ErrNoAck
	}
}

func disconnect(reason string) map[string]any {
	return map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "slacktest"}}
}

// Sockets is the number of open Socket Mode connections.
func (s *Server) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Refresh tells every socket to reconnect: reason is "warning" (the socket
// goes on for Config.WarnAhead and is then told "refresh_requested"), or
// "refresh_requested" or "link_disabled" (it gets no envelope any more and is
// closed).
func (s *Server) Refresh(reason string) {
	s.refresh(reason, func(*conn) bool { return true })
}

func (s *Server) refresh(reason string, which func(*conn) bool) {
	s.mu.Lock()
	var conns, others []*conn
	for _, c := range s.conns {
		if which(c) {
			conns = append(conns, c)
		} else {
			others = append(others, c)
		}
	}
	if reason != "warning" {
		s.conns = others
	}
	s.mu.Unlock()
	if reason == "warning" {
		for _, c := range conns {
			_ = c.send(disconnect(reason)) // a socket that is gone needs no message
		}
		if s.begin() {
			go func() {
				defer s.wg.Done()
				if s.wait(s.ctx, s.cfg.WarnAhead) {
					s.refresh("refresh_requested", func(c *conn) bool { return slices.Contains(conns, c) })
				}
			}()
		}
		return
	}
	for _, c := range conns {
		_ = c.end(disconnect(reason))
		_ = c.ws.SetReadDeadline(time.Now().Add(5 * time.Second)) // time for acks that are on their way
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		if s.cfg.HangsUp {
			_ = c.ws.Close()
		}
	}
}

// CutSockets breaks every socket without a word.
func (s *Server) CutSockets() {
	s.mu.Lock()
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	for _, c := range conns {
		c.ws.Close()
	}
}

// SendEnvelope sends an envelope of any type with any payload over a socket
// and waits for its acknowledgement: for types that no client knows.
func (s *Server) SendEnvelope(ctx context.Context, kind string, payload json.RawMessage) (string, error) {
	if !s.begin() {
		return "", ErrUnreachable
	}
	defer s.wg.Done()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AckWait)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	a, err := s.deliverSocket(ctx, &Delivery{Kind: kind}, payload, 0, "")
	return string(a.body), err
}

// SendText sends anything over every socket, JSON or not.
func (s *Server) SendText(text string) {
	s.mu.Lock()
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.send(text) // as above
	}
}
