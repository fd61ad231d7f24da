package outbox

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/countersign/countersign/tickets"
)

// How long to wait before a step is repeated.
const (
	FirstRetry = time.Second
	LastRetry  = time.Minute
	// SlowRetry is for what an admin has to mend first: a bot that is not in
	// its channel, a token that was revoked.
	SlowRetry = 5 * time.Minute
	// firstPause and lastPause bound how long a place is left alone that
	// fails. The first is short: most failures come alone, and all that waits
	// for the place waits for it.
	firstPause = 200 * time.Millisecond
	lastPause  = 15 * time.Second
)

// RetryAfter is how long to wait after failure f, the one after n failures in
// a row, of which the first lets wait for first.
func RetryAfter(f *tickets.Failure, first time.Duration, n int) time.Duration {
	d := Backoff(first, LastRetry, n)
	switch f.Class {
	case tickets.NotFound, tickets.Rejected, tickets.Unauthorized:
		d = SlowRetry
	}
	return max(d, f.RetryAfter)
}

// Backoff doubles from first to last, and moves each by up to a fifth, so
// that what failed together does not come back together.
func Backoff(first, last time.Duration, n int) time.Duration {
	d := last
	if n < 16 && first<<n < last {
		d = first << n
	}
	return d + time.Duration((rand.Float64()-0.5)*0.4*float64(d))
}

// Sleep reports whether d passed before ctx ended.
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
