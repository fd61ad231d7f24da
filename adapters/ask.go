package adapters

import (
	"context"
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
// nobody knows what came of it.
func Ask(ctx context.Context, deadline time.Time, log *slog.Logger, call func(context.Context) Answer) Answer {
	ctx, cancel := context.WithDeadline(ctx, deadline)
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
	late := time.NewTimer(time.Until(deadline) + lastWords)
	defer late.Stop()
	select {
	case a := <-answered:
		return a
	case <-late.C:
		log.Error("what somebody did is not answered in time")
		return Note{Text: SaySlow, Again: true}
	}
}
