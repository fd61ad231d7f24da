package chatkit

import (
	"context"
	"log/slog"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/drain"
	"github.com/countersign/countersign/adapters/wording"
)

// Commands begins commands and forms of settings, which may take their time: up to
// [adapters.MaxCommands] at once. Make one with [NewCommands].
type Commands struct {
	slots chan struct{} // a place for each that is being worked on
	work  *drain.Tracker
	log   *slog.Logger
}

// NewCommands makes one whose calls hurry when work must.
func NewCommands(work *drain.Tracker, log *slog.Logger) *Commands {
	return &Commands{slots: make(chan struct{}, adapters.MaxCommands), work: work, log: log}
}

// Begin makes one call of an [adapters.Handler] within [adapters.CommandTime] of received,
// and returns at once. The channel gets its answer: that too many are being worked on,
// if so.
func (c *Commands) Begin(ctx context.Context, received time.Time, call func(context.Context) adapters.Answer) <-chan adapters.Answer {
	asked := make(chan adapters.Answer, 1)
	select {
	case c.slots <- struct{}{}:
	default:
		c.log.Warn("too many commands at once, one is refused")
		asked <- adapters.Note{Text: wording.MsgBusy, Retryable: true}
		return asked
	}
	go func() {
		defer func() { <-c.slots }()
		ctx, end := c.work.Within(ctx)
		defer end()
		asked <- CallHandler(ctx, received.Add(adapters.CommandTime), c.log, call)
	}()
	return asked
}
