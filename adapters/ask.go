package adapters

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// Ask makes one call of a [Handler]: until the deadline, and without letting
// a panic end the program. A nil answer is Done.
func Ask(ctx context.Context, deadline time.Time, log *slog.Logger, call func(context.Context) Answer) (a Answer) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic while somebody acted", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			a = Note{Text: SayBroken, Again: true}
		}
	}()
	if a = call(ctx); a == nil {
		return Done{}
	}
	return a
}
