package chatkit

import (
	"context"
	"time"

	"github.com/countersign/countersign/tickets"
)

// Sleep waits for d, and reports false if ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Retry asks until the answer is no error, or ctx ends: then it returns nil.
// An answer of class Unauthorized is returned at once, since asking on would only
// be refused again. failed is told of every other failure.
func Retry(ctx context.Context, ask func(context.Context) error, failed func(error)) error {
	const first, last = time.Second, 30 * time.Second
	for wait := first; ; wait = min(2*wait, last) {
		err := ask(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		f := tickets.FailureOf(err)
		if f.Class == tickets.Unauthorized {
			return f.Err
		}
		failed(err)
		if !Sleep(ctx, max(wait, f.RetryAfter)) {
			return nil
		}
	}
}
