// Package retention forgets webhooks, and tickets if that is wanted, once they are
// old enough. The store's ledger accounts for the tickets.
package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
)

// How long webhooks are kept. One that made or changed a ticket is kept until
// the ticket is final, however long that takes. docs/audit.md tells
// admins of these.
const (
	// KeepFailed is for webhooks that failed: they can be replayed.
	KeepFailed = 90 * 24 * time.Hour
	// KeepApplied is for all others.
	KeepApplied = 30 * 24 * time.Hour
	// KeepMost is how many are kept at most, whatever their age. Those that
	// failed are the last to go.
	KeepMost = 100_000
)

// Ages is how long what is kept.
type Ages struct {
	Tickets time.Duration // that are final, since anything happened to them; default forever
	Applied time.Duration // webhooks; default KeepApplied
	Failed  time.Duration // those that failed; default KeepFailed
}

// Store forgets; see the store package.
type Store interface {
	Purge(ctx context.Context, r store.Retention) (int, error)
	Retire(ctx context.Context, before, now time.Time, limit int) (store.Retired, error)
}

// Purger forgets webhooks and tickets. All of it is required.
type Purger struct {
	Store Store
	Ages  Ages
	Every time.Duration // how often it looks for what to forget
	Log   *slog.Logger
	Now   func() time.Time
}

const (
	firstPurge = time.Minute            // after the start
	purgeBatch = 100                    // webhooks or tickets forgotten together
	purgePause = 100 * time.Millisecond // after each batch, for all else that wants the store
)

// Run forgets webhooks and tickets now and then, until ctx ends. Several
// replicas may do it at once.
func (p *Purger) Run(ctx context.Context) {
	for wait := min(firstPurge, p.Every); outbox.Sleep(ctx, wait); wait = p.Every {
		n, err := p.purge(ctx)
		if err != nil && ctx.Err() == nil {
			p.Log.Error("cannot forget old webhooks", "err", err)
		}
		if n > 0 {
			p.Log.Info("old webhooks forgotten", "count", n)
		}
		n, err = p.retire(ctx)
		if err != nil && ctx.Err() == nil {
			p.Log.Error("cannot retire old tickets", "err", err)
		}
		if n > 0 {
			p.Log.Info("old tickets retired", "count", n)
		}
	}
}

func (p *Purger) purge(ctx context.Context) (int, error) {
	now := p.Now()
	total := 0
	for {
		n, err := p.Store.Purge(ctx, store.Retention{
			Failed: now.Add(-p.Ages.Failed), Applied: now.Add(-p.Ages.Applied), Most: KeepMost, Limit: purgeBatch,
		})
		total += n
		if err != nil || n < purgeBatch || !outbox.Sleep(ctx, purgePause) {
			return total, err
		}
	}
}

// retire forgets the tickets that are old enough, if any ever are.
func (p *Purger) retire(ctx context.Context) (int, error) {
	if p.Ages.Tickets <= 0 {
		return 0, nil
	}
	now := p.Now()
	total := 0
	for {
		e, err := p.Store.Retire(ctx, now.Add(-p.Ages.Tickets), now, purgeBatch)
		total += len(e.Tickets)
		if err != nil || len(e.Tickets) == 0 || !outbox.Sleep(ctx, purgePause) {
			return total, err
		}
	}
}
