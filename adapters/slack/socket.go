package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/health"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/internal/network"
	"github.com/countersign/countersign/tickets"
)

const (
	// maxEnvelope bounds one message of the socket, in bytes.
	maxEnvelope = 1 << 20
	// maxAck is the largest payload of an acknowledgement, in bytes: Slack
	// drops one of 20 KiB with its envelope
	// (github.com/slack-go/slack/socketmode).
	maxAck = 20<<10 - 512
	// oneFrame is the size of the buffer that makes each acknowledgement one
	// frame: Slack does not put together what comes in several (ibid.).
	oneFrame = 32 << 10
	// socketGap is how long the connection may be away before we are not
	// ready: Slack replaces it every few hours.
	socketGap = 15 * time.Second
	// maxRefusals is how many people can be told at once that we are busy.
	maxRefusals = 64
	// connectTime is how long a connection may take to be made.
	connectTime = 20 * time.Second
	// silence is after how long without a ping a connection counts as broken:
	// Slack sends one every few seconds.
	silence = 30 * time.Second
	// lingering is how long a connection goes on after Slack has said that it
	// will end it: it warns about 10 s before
	// (docs.slack.dev/apis/events-api/using-socket-mode#disconnect). For other
	// reasons, as too many connections, it is ended at once.
	lingering = 15 * time.Second
	// writeTime is how long an acknowledgement may take to be sent, and
	// byeTime how long Slack may take to answer that we hang up.
	writeTime = 10 * time.Second
	byeTime   = time.Second
	// lasting is after how long a connection counts as a good one: the next is
	// made at once when it ends.
	lasting = time.Minute
	// firstPause and lastPause bound the pause before a connection, after one
	// that was not good.
	firstPause, lastPause = 100 * time.Millisecond, time.Minute
)

// The types of what Slack sends that is no delivery.
const (
	helloType      = "hello"
	disconnectType = "disconnect"
)

// Why Slack ends connections that were good.
const (
	warningReason = "warning"
	refreshReason = "refresh_requested"
)

// The types of envelopes.
const (
	interactiveType = "interactive"
	commandType     = "slash_commands"
	eventType       = "events_api"
)

// envelope is what Socket Mode wraps a delivery in, or what it says about the
// connection (docs.slack.dev/apis/events-api/using-socket-mode).
type envelope struct {
	ID      text            `json:"envelope_id"`
	Type    text            `json:"type"`
	Payload json.RawMessage `json:"payload"`
	Reason  text            `json:"reason"` // of a disconnect
	Info    struct {
		AppID text `json:"app_id"`
	} `json:"connection_info"` // of a hello
	Connections int `json:"num_connections"` // of a hello: how many the app has, with this one
}

// socket is one connection of Socket Mode.
//
// The library's own client is not used: it drops the connection the moment
// that Slack announces its end, with the acknowledgements of everything that
// is being worked on; with an app token that was revoked they are never sent.
type socket struct {
	ws      *websocket.Conn
	writing sync.Mutex

	mu     sync.Mutex
	ending bool           // nothing is taken any more
	gone   bool           // we have hung up
	owed   sync.WaitGroup // acknowledgements of what was taken
	finish func()         // [socket.hangUp], once
}

// openSocket makes a connection. Its errors are [tickets.Failure].
func (c *Chat) openSocket(ctx context.Context, api *slack.Client) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	_, address, err := api.StartSocketModeContext(ctx)
	var status slack.StatusCodeError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return nil, &tickets.Failure{Class: tickets.Unauthorized, Err: errors.New("slack apps.connections.open: the app token or the API URL is wrong")}
	case err != nil:
		return nil, failure("apps.connections.open", false, err)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "wss" && c.base.Scheme == "https" {
		return nil, &tickets.Failure{Class: tickets.Unavailable, Err: errors.New("slack names no safe address of its socket")}
	}
	dialer := websocket.Dialer{NetDialContext: network.Dial(u.Scheme == "wss"), WriteBufferSize: oneFrame}
	ws, _, err := dialer.DialContext(ctx, address, http.Header{"Origin": {"https://api.slack.com"}})
	if err != nil {
		return nil, failure("socket mode", false, &neterr.UnreachedError{Host: u.Host, Err: err})
	}
	s := &socket{ws: ws}
	s.finish = sync.OnceFunc(s.hangUp)
	ws.SetReadLimit(maxEnvelope)
	// Slack's goodbye is answered when the last acknowledgement is out.
	ws.SetCloseHandler(func(int, string) error { return nil })
	ws.SetPingHandler(func(said string) error {
		s.alive()
		// A connection that cannot be written to ends by its silence.
		_ = ws.WriteControl(websocket.PongMessage, []byte(said), time.Now().Add(writeTime))
		return nil
	})
	s.alive()
	return s, nil
}

// alive grants the connection another time of silence.
func (s *socket) alive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		_ = s.ws.SetReadDeadline(time.Now().Add(silence)) // a connection that is closed says so when it is read
	}
}

// take reports whether a delivery may still be taken, which is then owed an
// acknowledgement.
func (s *socket) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		s.owed.Add(1)
	}
	return !s.ending
}

// hangUp ends the connection when everything that was taken is acknowledged.
func (s *socket) hangUp() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.owed.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	// A connection that is closed already takes neither.
	_ = s.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(byeTime))
	_ = s.ws.SetReadDeadline(time.Now().Add(byeTime))
}

// watch closes a connection to which Slack has said goodbye when nobody is at
// its other end any more: what would be written then is lost without an error.
func (s *socket) watch() {
	_, _ = io.Copy(io.Discard, s.ws.NetConn()) // until it ends, one way or another
	_ = s.ws.Close()
}

// write sends an acknowledgement.
func (s *socket) write(ack []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.ws.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	return s.ws.WriteMessage(websocket.TextMessage, ack)
}

// listener takes deliveries with one app token.
type listener struct {
	*Chat
	handler  adapters.Handler
	state    *health.Connection
	workers  chan struct{}
	refusals chan struct{}
	running  sync.WaitGroup // connections and deliveries
}

// serveSockets takes deliveries over Socket Mode until ctx ends, then waits for the
// answers that are being worked on. It returns an error when Slack will not
// let us connect however often we try.
func (c *Chat) serveSockets(ctx context.Context, api *slack.Client, state *health.Connection, h adapters.Handler) error {
	l := &listener{Chat: c, handler: h, state: state, workers: make(chan struct{}, c.cfg.Workers), refusals: make(chan struct{}, maxRefusals)}
	defer l.running.Wait()
	l.running.Go(func() { l.keepCount(ctx) })
	wait := time.Duration(0)
	for {
		begun := time.Now()
		made, err := l.connect(ctx, api)
		if ctx.Err() != nil {
			return nil
		}
		f := tickets.FailureOf(err)
		if f.Class == tickets.Unauthorized {
			return f.Err
		}
		state.Down(c.cfg.Now(), f.Err)
		if time.Since(begun) > lasting {
			wait = 0
		}
		pause := f.RetryAfter
		if wait > 0 {
			pause = max(pause, firstPause, wait/2+rand.N(wait/2))
		}
		level := slog.LevelInfo
		if !made {
			level = slog.LevelWarn
		}
		c.log.Log(ctx, level, "socket mode needs another connection", "err", f.Err, "after", pause.Round(time.Millisecond))
		wait = min(max(2*wait, firstPause), lastPause)
		if !chatkit.Sleep(ctx, pause) {
			return nil
		}
	}
}

// connect makes a connection, and returns why another one is needed: it could
// not be made, it has ended, or Slack has said that it will.
func (l *listener) connect(ctx context.Context, api *slack.Client) (made bool, why error) {
	_, _, _ = l.count(ctx, 1) // before Slack can count it; the log knows of an error
	s, err := l.openSocket(ctx, api)
	if err != nil {
		return false, err
	}
	l.addSocket(s)
	over := make(chan error, 1)
	l.running.Go(func() {
		defer l.dropSocket(s)
		defer s.ws.Close()
		defer s.finish()
		defer context.AfterFunc(ctx, s.finish)()
		err := l.read(ctx, s, over)
		signal(over, failure("socket mode", false, err))
		if !goodbye(err) {
			s.ws.Close() // an acknowledgement must not be written into it
			return
		}
		l.running.Go(s.watch)
	})
	return true, <-over
}

// errCompare is why a connection is replaced that works: only a new one is told
// how many there are.
var errCompare = errors.New("to see whether there are foreign connections still")

// signal tells over the first reason.
func signal(over chan<- error, why error) {
	select {
	case over <- why:
	default:
	}
}

// goodbye reports whether err says that Slack hung up, which takes what is
// still owed, and not that the connection broke.
func goodbye(err error) bool {
	var closed *websocket.CloseError
	return errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure
}

// read takes what comes over s until that ends, and says why it did. over is
// told before that if Slack says that it will.
func (l *listener) read(ctx context.Context, s *socket, over chan<- error) error {
	greeting := time.AfterFunc(connectTime, func() {
		l.log.Warn("no hello on socket mode connection, closing")
		_ = s.ws.Close()
	})
	defer greeting.Stop()
	open, end := context.WithCancel(ctx)
	defer end()
	for {
		_, raw, err := s.ws.ReadMessage()
		if err != nil {
			return err
		}
		var env envelope
		if err := jsonx.IgnoreTypeErrors(json.Unmarshal(raw, &env)); err != nil {
			l.log.Warn("slack sent over the socket what is not JSON", "err", describe(err))
			continue
		}
		switch env.Type {
		case helloType:
			greeting.Stop()
			l.mu.Lock()
			if l.appID == "" {
				l.appID = string(env.Info.AppID)
			}
			l.mu.Unlock()
			l.state.Up(l.cfg.Now())
			l.log.Info("socket mode is connected")
			l.running.Go(func() {
				if l.compare(open, env.Connections) && chatkit.Sleep(open, l.cfg.Compare) {
					signal(over, errCompare)
					if chatkit.Sleep(open, lingering) {
						s.finish()
					}
				}
			})
			continue
		case disconnectType:
			// It goes on while another one is made: what is being worked on is
			// owed to it, and what was on its way when Slack said so still comes.
			linger := lingering
			if env.Reason != warningReason && env.Reason != refreshReason {
				linger = 0
			}
			defer time.AfterFunc(linger, s.finish).Stop()
			signal(over, fmt.Errorf("slack ends the connection: %s", word(string(env.Reason))))
			continue
		case interactiveType, commandType, eventType:
		default:
			l.log.Warn("slack sent an envelope of a kind that is not known", "type", word(string(env.Type)))
		}
		// What is not acknowledged Slack delivers to another connection.
		if env.ID != "" && s.take() {
			l.begin(context.WithoutCancel(ctx), s, env)
		}
	}
}

// begin has a delivery worked on.
func (l *listener) begin(ctx context.Context, from *socket, env envelope) {
	received := time.Now()
	select {
	case l.workers <- struct{}{}:
		l.running.Go(func() {
			free := sync.OnceFunc(func() { <-l.workers })
			defer free()
			l.deliver(ctx, from, func() response { return l.answer(ctx, received, env) }, env, free)
		})
		return
	default:
	}
	select {
	case l.refusals <- struct{}{}:
		l.log.Warn("too many deliveries at once, one is refused")
		l.running.Go(func() {
			free := sync.OnceFunc(func() { <-l.refusals })
			defer free()
			l.deliver(ctx, from, func() response { return l.busy(env) }, env, free)
		})
	default: // not acknowledged: Slack tells the person that it did not work
		from.owed.Done()
		l.log.Error("too many deliveries at once, one is dropped")
	}
}

// deliver answers one delivery, and does what follows the answer. It calls free
// before that: what is said late holds no place that a click needs.
func (l *listener) deliver(ctx context.Context, from *socket, answer func() response, env envelope, free func()) {
	l.work.Begin()
	defer l.work.End()
	sent := func() response {
		defer from.owed.Done()
		defer func() {
			if p := recover(); p != nil {
				l.log.Error("panic in a delivery", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
			}
		}()
		return l.acknowledge(from, env, answer())
	}()
	free()
	if sent.after != nil {
		l.follow(ctx, sent)
	}
}

// answer is the answer to a delivery.
func (l *listener) answer(ctx context.Context, received time.Time, env envelope) response {
	switch env.Type {
	case interactiveType:
		return l.interact(ctx, received, env.Payload, l.handler)
	case commandType:
		var in commandText
		if err := jsonx.IgnoreTypeErrors(json.Unmarshal(env.Payload, &in)); err != nil {
			l.log.Warn("a command is not JSON, acknowledged", "err", describe(err))
			return response{}
		}
		return l.command(ctx, received, in, l.handler)
	case eventType:
		return l.event(env.Payload, l.handler)
	}
	return response{}
}

// acknowledge sends an answer, or what stands in for one that is too large,
// and returns which.
func (l *listener) acknowledge(from *socket, env envelope, s response) response {
	ack := struct {
		ID      text            `json:"envelope_id"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}{ID: env.ID}
	if s.ack != nil {
		raw, err := json.Marshal(s.ack)
		switch {
		case err != nil:
			l.log.Error("an answer cannot be written", "err", err)
		case len(raw) < maxAck:
			ack.Payload = raw
		case s.fallbackAck != nil:
			return l.acknowledge(from, env, *s.fallbackAck)
		default:
			l.log.Error("an answer is too large to be acknowledged with", "bytes", len(raw))
		}
	}
	raw, err := json.Marshal(ack)
	if err == nil {
		err = l.send(from, raw)
	}
	if err != nil {
		l.log.Warn("an acknowledgement was not sent", "err", describe(err))
	} else {
		l.log.Debug("a delivery was acknowledged", "type", word(string(env.Type)), "bytes", len(raw))
	}
	return s
}

// send sends the acknowledgement of what came over from. When that is gone it
// goes over another connection, as Slack's own libraries have it
// (github.com/slackapi/python-slack-sdk, slack_sdk/socket_mode): whether Slack
// takes it is not known.
func (c *Chat) send(from *socket, ack []byte) error {
	err := from.write(ack)
	if err == nil {
		return nil
	}
	c.mu.Lock()
	others := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, other := range slices.Backward(others) {
		if other != from && other.write(ack) == nil {
			return nil
		}
	}
	return err
}

func (c *Chat) addSocket(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets = append(c.sockets, s)
}

func (c *Chat) dropSocket(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets = slices.DeleteFunc(c.sockets, func(one *socket) bool { return one == s })
	c.connections.ended = append(c.connections.ended, c.cfg.Now())
}

// busy is the answer to a delivery for which there is no worker.
func (c *Chat) busy(env envelope) response {
	switch env.Type {
	case eventType:
		return c.event(env.Payload, nil)
	case commandType:
		text, _ := note(wording.MsgBusy)
		return response{ack: commandAnswer{ResponseType: slack.ResponseTypeEphemeral, Text: text}}
	}
	var in interaction
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(env.Payload, &in)); err != nil {
		return response{}
	}
	switch {
	case in.Type == "view_submission":
		return in.View.keeping(wording.MsgBusy)
	case in.inForm():
		return response{} // the form stays as it is
	}
	return response{after: func(ctx context.Context) { c.answerClick(ctx, &in, wording.MsgBusy) }}
}
