package bot

import (
	"context"
	"errors"
	"slices"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Home implements [adapters.Handler]: what waits for a, and for an admin what
// /epm status says.
func (b *Bot) Home(ctx context.Context, a tickets.Actor) adapters.Answer {
	err := b.ensure(ctx)
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		b.Log.Error("cannot read the settings", "err", err)
		return adapters.Note{Text: sayUnread(err)}
	}
	var out adapters.Home
	if err != nil {
		out.Say = sayDamaged
	} else {
		b.queueOf(ctx, a, &out)
	}
	if b.mayAdmin(ctx, a) == "" {
		out.Health = b.status(ctx, adapters.Command{Actor: a}, nil)
	}
	return out
}

// queueOf puts what waits for a into out, or why nothing does.
func (b *Bot) queueOf(ctx context.Context, a tickets.Actor, out *adapters.Home) {
	no := b.mayApprove(ctx, a)
	if no == adapters.SayNotApprover {
		no = adapters.SayNoQueue
	}
	if no != "" {
		out.Say = no
		return
	}
	var queue []*tickets.Ticket // the oldest so far, newest first
	all := 0
	whole, problem := b.eachOf(ctx, tickets.Pending, func(t *tickets.Ticket) {
		if t.Decidable(b.rulesOf(t)) != nil {
			return
		}
		all++
		if queue = append(queue, t); len(queue) > adapters.MaxQueue {
			queue = queue[1:]
		}
	})
	switch {
	case problem != nil && !whole && len(queue) == 0:
		b.Log.Error("cannot list what waits", "err", problem)
		out.Say = sayStoreAway
		return
	case problem != nil:
		b.Log.Error("cannot list all that waits", "err", problem)
		out.Say = adapters.SayQueue(all) + ". There are more, which cannot be read"
	case all == 0:
		out.Say = adapters.SayNothingWaits
		return
	default:
		out.Say = adapters.SayQueue(all)
	}
	own := b.owns(ctx, a)
	for _, t := range slices.Backward(queue) {
		no, _ := own(t.Request)
		out.Queue = append(out.Queue, adapters.Waiting{Ticket: t, Own: no})
	}
	out.More = all - len(queue)
}
