package adapters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// lastWords is how long after the deadline a call may still answer in its own
// words: most that are too late have just seen the deadline.
const lastWords = 250 * time.Millisecond

// Ask makes one call of a [Handler]: until the deadline, and without letting
// a panic end the program. A nil answer is Done. A call that does not return,
// as when the disk hangs under it, is left behind: the person is told that
// nobody knows what came of it. So they are if chat is cancelled, which means
// that the program stops: what was called has given up then, whatever it says.
func Ask(chat context.Context, deadline time.Time, log *slog.Logger, call func(context.Context) Answer) Answer {
	ctx, cancel := context.WithDeadline(chat, deadline)
	answered := make(chan Answer, 1)
	go func() {
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				log.Error("panic while somebody acted", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
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

// By returns what was asked, or false if there is no answer by then.
func By(then time.Time, asked <-chan Answer) (Answer, bool) {
	late := time.NewTimer(time.Until(then))
	defer late.Stop()
	select {
	case a := <-asked:
		return a, true
	case <-late.C:
		return nil, false
	}
}
