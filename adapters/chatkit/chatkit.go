// Package chatkit has what every chat needs: here the time that a platform
// waits for an answer, and calls of the [adapters.Handler] within it; below,
// a package for each of the rest.
package chatkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
)

// AnswerTime is how long Slack and Discord wait for the answer to what somebody
// did (docs.slack.dev/interactivity/handling-user-interaction,
// discord.com/developers/docs/interactions/receiving-and-responding).
const AnswerTime = 3 * time.Second

// BelieveFor is how long what a platform told of people and channels is
// believed: [adapters.Chat] promises that it is at most a minute old.
const BelieveFor = time.Minute

// Deadlines divide the time that a platform waits for an answer. Each counts
// from when the delivery was received.
type Deadlines struct {
	Think time.Duration // what the Handler has
	Open  time.Duration // when a form must have been opened or changed
	Ack   time.Duration // when the delivery must be answered
}

// NewDeadlines divides wait, which is [AnswerTime] if it is zero.
func NewDeadlines(wait time.Duration) Deadlines {
	if wait <= 0 {
		wait = AnswerTime
	}
	return Deadlines{Think: wait * 19 / 30, Open: wait * 25 / 30, Ack: wait * 28 / 30}
}

// lastWords is how long after the deadline a call may still answer in its own
// words: most that are too late have just seen the deadline. Within
// [AnswerTime] it leaves time to send the answer.
const lastWords = 500 * time.Millisecond

// CallHandler makes one call of an [adapters.Handler]: until the deadline, and without letting
// a panic end the program. A nil answer is Done. A call that does not return,
// as when the disk hangs under it, is left behind: the person is told that
// nobody knows what came of it. So they are if chat is cancelled, which means
// that the program stops: what was called has given up then, whatever it says.
func CallHandler(chat context.Context, deadline time.Time, log *slog.Logger, call func(context.Context) adapters.Answer) adapters.Answer {
	ctx, cancel := context.WithDeadline(chat, deadline)
	answered := make(chan adapters.Answer, 1)
	go func() {
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				log.Error("panic while somebody acted", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
				answered <- adapters.Note{Text: wording.MsgBroken, Retryable: true}
			}
		}()
		a := call(ctx)
		if a == nil {
			a = adapters.Done{}
		}
		answered <- a
	}()
	select {
	case a := <-answered:
		return a
	case <-ctx.Done():
	}
	late := time.NewTimer(lastWords)
	defer late.Stop()
	select {
	case a := <-answered:
		if errors.Is(chat.Err(), context.Canceled) {
			return adapters.Note{Text: wording.MsgStopping, Retryable: true}
		}
		return a
	case <-late.C:
		log.Error("what somebody did is not answered in time")
		return adapters.Note{Text: wording.MsgSlow, Retryable: true}
	}
}

// AwaitUntil returns what was asked, or false if there is no answer by then.
func AwaitUntil(then time.Time, asked <-chan adapters.Answer) (adapters.Answer, bool) {
	late := time.NewTimer(time.Until(then))
	defer late.Stop()
	select {
	case a := <-asked:
		return a, true
	case <-late.C:
		return nil, false
	}
}
