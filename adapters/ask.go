package adapters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// AnswerTime is how long Slack and Discord wait for the answer to what somebody
// did (docs.slack.dev/interactivity/handling-user-interaction,
// discord.com/developers/docs/interactions/receiving-and-responding).
const AnswerTime = 3 * time.Second

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

// CallHandler makes one call of a [Handler]: until the deadline, and without letting
// a panic end the program. A nil answer is Done. A call that does not return,
// as when the disk hangs under it, is left behind: the person is told that
// nobody knows what came of it. So they are if chat is cancelled, which means
// that the program stops: what was called has given up then, whatever it says.
func CallHandler(chat context.Context, deadline time.Time, log *slog.Logger, call func(context.Context) Answer) Answer {
	ctx, cancel := context.WithDeadline(chat, deadline)
	answered := make(chan Answer, 1)
	go func() {
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				log.Error("panic while somebody acted", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
				answered <- Note{Text: SayBroken, Again: true}
			}
		}()
		a := call(ctx)
		if a == nil {
			a = Done{}
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
			return Note{Text: SayStopping, Again: true}
		}
		return a
	case <-late.C:
		log.Error("what somebody did is not answered in time")
		return Note{Text: SaySlow, Again: true}
	}
}

// AwaitUntil returns what was asked, or false if there is no answer by then.
func AwaitUntil(then time.Time, asked <-chan Answer) (Answer, bool) {
	late := time.NewTimer(time.Until(then))
	defer late.Stop()
	select {
	case a := <-asked:
		return a, true
	case <-late.C:
		return nil, false
	}
}
