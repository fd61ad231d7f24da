// Package lease gives what only one of several processes on one store does to one
// of them.
package lease

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/countersign/countersign/store"
)

// timeout is for one question to the store.
const timeout = 5 * time.Second

// Lease is held by one process at a time. Make one with [New].
type Lease struct {
	shared store.Coordinator
	name   string
	holder string
	log    *slog.Logger
}

// New makes the lease called name, as this process sees it. With a nil shared this
// process is the only one.
func New(shared store.Coordinator, name string, log *slog.Logger) *Lease {
	return &Lease{shared: shared, name: name, holder: rand.Text(), log: log}
}

// Hold reports whether this process has the lease, which is its own for d from now
// on then. An error means that it could not be found out.
func (l *Lease) Hold(ctx context.Context, d time.Duration) (bool, error) {
	if l.shared == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return l.shared.AcquireLease(ctx, l.name, l.holder, d)
}

// Held is Hold, where what cannot be found out is told to the log.
func (l *Lease) Held(ctx context.Context, d time.Duration) bool {
	mine, err := l.Hold(ctx, d)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("acquire lease", "lease", l.name, "err", err)
	}
	return mine && err == nil
}

// Release ends the lease, if this process has it, also when ctx has ended.
func (l *Lease) Release(ctx context.Context) {
	if l.shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if err := l.shared.ReleaseLease(ctx, l.name, l.holder); err != nil {
		l.log.Warn("release lease", "lease", l.name, "err", err)
	}
}
