// Package dedup keeps what a platform delivers twice, or somebody recorded and sends
// again, from having its effect twice.
package dedup

import (
	"context"
	"log/slog"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// keepDelivery is for how long a delivery counts once. Platforms' signatures
// are believed for 5 minutes before and after the time that stands in them, so
// that what is recorded at the wrong moment of a wrong clock can be sent again
// for 10; the rest is for clocks of replicas that differ.
const keepDelivery = 15 * time.Minute

// sayTwice is for an act that another replica, or this one before it was
// restarted, has begun: whether it has finished is not known here.
const sayTwice = "This has reached me before, and counts once. Please look whether it was done; if it was not, send it again."

// Store remembers what was delivered; see the store package.
type Store interface {
	ClaimOnce(ctx context.Context, key string, keep time.Duration) (bool, error)
}

// Deliveries counts each delivery once. All of it is required.
type Deliveries struct {
	Store Store
	Log   *slog.Logger
}

// First returns nil if delivery, with which a wants to change something, is new,
// else what to say. What a platform has signed can be recorded and sent again,
// to any replica: it must not have its effect a second time. If the store cannot
// say whether it is new it has none.
func (d *Deliveries) First(ctx context.Context, a tickets.Actor, delivery adapters.Delivery) *adapters.Note {
	if delivery == "" {
		return nil
	}
	switch first, err := d.Store.ClaimOnce(ctx, "delivery "+string(a.Platform)+" "+string(delivery), keepDelivery); {
	case err != nil:
		d.Log.Error("cannot tell whether somebody did this before", "actor", a.String(), "err", err)
		return &adapters.Note{Text: wording.MsgStoreAway, Retryable: true}
	case !first:
		d.Log.Warn("what somebody did was delivered again, and is not done again", "actor", a.String())
		return &adapters.Note{Text: sayTwice, Retryable: true}
	}
	return nil
}
