package store

import (
	"context"
	"time"
)

// Coordinator is what several processes that work on one store agree on besides
// its tickets. A store that several can open at once keeps it. All times are
// the store's own, so that a process whose clock is wrong neither takes what
// another has nor holds it too long. None of it is worth keeping: losing it
// costs a takeover, a burst of calls or a repeated sentence.
//
// After an error the call may have had its effect.
type Coordinator interface {
	// AcquireLease takes the lease called name for holder, or renews it, for d from
	// now, and reports whether holder has it.
	AcquireLease(ctx context.Context, name, holder string, d time.Duration) (bool, error)

	// ReleaseLease ends the lease called name, if holder has it.
	ReleaseLease(ctx context.Context, name, holder string) error

	// ClaimOnce is that of [Store]; Forget makes a key new too.
	ClaimOnce(ctx context.Context, key string, keep time.Duration) (bool, error)

	// Unclaim undoes First, and reports whether there was something to undo.
	Unclaim(ctx context.Context, key string) (bool, error)

	// CountHeld notes that holder has n of what is called name, for d from now, and
	// returns how many all holders have together.
	CountHeld(ctx context.Context, name, holder string, n int, d time.Duration) (all int, err error)

	// Reserve takes one call out of each of limits, and returns how long to wait
	// before it may be made, which is not before the lanes are open. If that
	// is longer than patience, nothing is taken and booked is false. A
	// negative patience has no end.
	Reserve(ctx context.Context, lanes []string, limits []Limit, patience time.Duration) (wait time.Duration, booked bool, err error)

	// Block closes a lane for d, or leaves it closed for longer.
	Block(ctx context.Context, lane string, d time.Duration) error

	// Time is the store's clock.
	Time(ctx context.Context) (time.Time, error)
}

// Limit is how often something may be done: once in each Every, and at most
// Burst times at once after a pause.
type Limit struct {
	Key   string
	Every time.Duration // more than 0
	Burst int           // at least 1
}
