package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/memory"
	"github.com/countersign/countersign/adapters/wire"
)

const (
	// maxEnvelope bounds one message of the socket, in bytes.
	maxEnvelope = 1 << 20
	// maxAck is the largest payload of an acknowledgement, in bytes: Slack
	// drops one of 20 KiB with its envelope
	// (github.com/slack-go/slack/socketmode).
	maxAck = 20<<10 - 512
	// socketGap is how long the connection may be away before we are not
	// ready: Slack replaces it every few hours.
	socketGap = 15 * time.Second
	// maxRefusals is how many people can be told at once that we are busy.
	maxRefusals = 64
	// flushTime is how long acknowledgements have to get out at the end: the
	// library queues them and does not tell when they are gone.
	flushTime = 150 * time.Millisecond
)

// envelope is what Socket Mode wraps a delivery in
// (docs.slack.dev/apis/events-api/using-socket-mode).
type envelope struct {
	ID      text            `json:"envelope_id"`
	Type    text            `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

// listen takes deliveries over Socket Mode until ctx ends, then waits for the
// answers that are being worked on. It returns an error when Slack will not
// let us connect however often we try.
func (c *Chat) listen(ctx context.Context, api *slack.Client, state *memory.Line, h adapters.Handler) error {
	sm := socketmode.New(api,
		socketmode.OptionLog(slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)),
		socketmode.OptionReadLimit(maxEnvelope),
	)
	// The connection outlives ctx until the last answer is out.
	line, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { ended <- sm.RunContext(line) })
	defer running.Wait()
	defer hangUp()

	var working sync.WaitGroup
	workers := make(chan struct{}, c.cfg.Workers)
	refusals := make(chan struct{}, maxRefusals)
	drained := make(chan struct{})
	stopping := ctx.Done()
	for {
		select {
		case <-stopping:
			stopping = nil
			running.Go(func() {
				working.Wait()
				select {
				case <-time.After(flushTime):
				case <-line.Done():
				}
				close(drained)
			})
		case <-drained:
			return nil
		case err := <-ended:
			working.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return failure("apps.connections.open", false, err).Err
		case e := <-sm.Events:
			env, bad, fatal := c.notice(e, state)
			if fatal != nil {
				working.Wait()
				return fatal
			}
			if bad {
				c.log.Warn("slack sent an envelope that the library does not know", "type", word(string(env.Type)))
			}
			if env.ID == "" || ctx.Err() != nil {
				continue // not acknowledged: Slack delivers it to another connection
			}
			received := time.Now()
			select {
			case workers <- struct{}{}:
				working.Go(func() {
					defer func() { <-workers }()
					c.deliver(line, sm, received, env, h)
				})
				continue
			default:
			}
			select {
			case refusals <- struct{}{}:
				c.log.Warn("too many deliveries at once, one is refused")
				working.Go(func() {
					defer func() { <-refusals }()
					c.acknowledge(line, sm, env, c.busy(env))
				})
			default: // not acknowledged: Slack tells the person that it did not work
				c.log.Error("too many deliveries at once, one is dropped")
			}
		}
	}
}

// notice takes what an event says about the connection, and returns the
// delivery in it. bad is set for one that the library could not decode.
func (c *Chat) notice(e socketmode.Event, state *memory.Line) (env envelope, bad bool, fatal error) {
	switch e.Type {
	case socketmode.EventTypeConnecting:
		state.Down(c.cfg.Now(), nil)
	case socketmode.EventTypeConnected:
		c.log.Debug("socket mode connects")
	case socketmode.EventTypeHello:
		if e.Request != nil {
			c.mu.Lock()
			if id := e.Request.ConnectionInfo.AppID; c.appID == "" && id != "" {
				c.appID = id
			}
			c.mu.Unlock()
		}
		state.Up(c.cfg.Now())
		c.log.Info("socket mode is connected")
	case socketmode.EventTypeConnectionError:
		if ce, ok := e.Data.(*slack.ConnectionErrorEvent); ok {
			f := failure("apps.connections.open", false, ce.ErrorObj)
			if isFatal(ce.ErrorObj) {
				return envelope{}, false, f.Err
			}
			state.Down(c.cfg.Now(), f.Err)
			c.log.Warn("socket mode cannot connect, trying again", "err", f.Err, "after", ce.Backoff)
		}
	case socketmode.EventTypeInvalidAuth:
		return envelope{}, false, errors.New("slack apps.connections.open: the app token or the API URL is wrong")
	case socketmode.EventTypeErrorWriteFailed:
		c.log.Warn("an acknowledgement was not sent; slack delivers again")
	case socketmode.EventTypeErrorBadMessage:
		if bm, ok := e.Data.(*socketmode.ErrorBadMessage); ok {
			// Tolerant: of a message that is no JSON nothing can be said.
			_ = json.Unmarshal(bm.Message, &env)
			return env, true, nil
		}
	default:
		if e.Request != nil && e.Request.EnvelopeID != "" {
			return envelope{ID: text(e.Request.EnvelopeID), Type: text(e.Request.Type), Payload: e.Request.Payload}, false, nil
		}
	}
	return envelope{}, false, nil
}

// deliver answers one delivery.
func (c *Chat) deliver(ctx context.Context, sm *socketmode.Client, received time.Time, env envelope, h adapters.Handler) {
	c.work.Begin()
	defer c.work.End()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in a delivery", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	var s said
	switch env.Type {
	case socketmode.RequestTypeInteractive:
		s = c.interact(ctx, received, env.Payload, h)
	case socketmode.RequestTypeSlashCommands:
		var in commandText
		if err := wire.Soft(json.Unmarshal(env.Payload, &in)); err != nil {
			c.log.Warn("a command is not JSON, acknowledged", "err", describe(err))
			break
		}
		s = c.command(ctx, received, in, h)
	case socketmode.RequestTypeEventsAPI:
		s = c.event(env.Payload, h)
	}
	c.acknowledge(ctx, sm, env, s)
}

// acknowledge sends an answer, or what stands in for one that is too large,
// and does what follows it.
func (c *Chat) acknowledge(ctx context.Context, sm *socketmode.Client, env envelope, s said) {
	var payload any
	if s.body != nil {
		raw, err := json.Marshal(s.body) // as the library writes it
		switch {
		case err != nil:
			c.log.Error("an answer cannot be written", "err", err)
		case len(raw) < maxAck:
			payload = json.RawMessage(raw)
		case s.small != nil:
			c.acknowledge(ctx, sm, env, *s.small)
			return
		default:
			c.log.Error("an answer is too large to be acknowledged with", "bytes", len(raw))
		}
	}
	ackCtx, cancel := context.WithTimeout(ctx, ackTime)
	err := sm.AckCtx(ackCtx, string(env.ID), payload)
	cancel()
	if err != nil {
		c.log.Warn("an acknowledgement was not sent", "err", describe(err))
	}
	if s.then != nil {
		c.follow(ctx, s)
	}
}

// busy is the answer to a delivery for which there is no worker.
func (c *Chat) busy(env envelope) said {
	switch env.Type {
	case socketmode.RequestTypeEventsAPI:
		return c.event(env.Payload, nil)
	case socketmode.RequestTypeSlashCommands:
		text, _ := note(adapters.SayBusy)
		return said{body: commandAnswer{ResponseType: slack.ResponseTypeEphemeral, Text: text}}
	}
	var in interaction
	if err := wire.Soft(json.Unmarshal(env.Payload, &in)); err != nil {
		return said{}
	}
	switch {
	case in.Type == "view_submission":
		for _, block := range []string{"reason", unitField} {
			if _, ok := in.View.State.Values[block]; ok { // keeps what was typed
				return said{body: submission{Action: "errors", Errors: map[string]string{block: adapters.SayBusy}}}
			}
		}
		return showing(noteView(adapters.SayBusy))
	case in.View.ID != "" && in.View.Type != homeTab:
		return said{} // the form stays as it is
	}
	return said{then: func(ctx context.Context) { c.tell(ctx, &in, adapters.SayBusy) }}
}
