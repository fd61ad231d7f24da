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
	damaged := err != nil
	now := b.Now()
	stats, err := b.Store.Stats(ctx, now)
	switch {
	case damaged:
		out.Say = sayDamaged
	case err != nil:
		out.Say = sayStoreAway
	default:
		b.queueOf(ctx, a, &stats, &out)
	}
	if b.mayAdmin(ctx, a) == "" {
		out.Health = b.health(ctx, stats, err, now)
	} else if err != nil {
		b.Log.Error("cannot read stats", "err", err)
	}
	return out
}

// queueOf puts what waits for a into out, or why nothing does. How many wait is
// what stats say, as in /epm status; if the whole list was read, which is
// later, stats are made to agree with it.
func (b *Bot) queueOf(ctx context.Context, a tickets.Actor, stats *store.Stats, out *adapters.Home) {
	no := b.mayApprove(ctx, a)
	if no == adapters.SayNotApprover {
		no = adapters.SayNoQueue
	}
	if no != "" {
		out.Say = no
		return
	}
	var queue []*tickets.Ticket // the oldest so far, newest first
	all, decidable := 0, 0
	whole, problem := b.eachOf(ctx, tickets.Pending, func(t *tickets.Ticket) {
		all++
		if t.Decidable(b.rulesOf(t)) != nil {
			return
		}
		decidable++
		if queue = append(queue, t); len(queue) > adapters.MaxQueue {
			queue = queue[1:]
		}
	})
	if problem == nil {
		stats.Progress[tickets.Pending] = all
	}
	out.Say = adapters.SayQueue(stats.Progress[tickets.Pending])
	switch {
	case problem != nil && !whole && all == 0:
		b.Log.Error("cannot list what waits", "err", problem)
		out.Say = sayStoreAway
		return
	case problem != nil:
		b.Log.Error("cannot list all that waits", "err", problem)
		out.Say += ". Not all of them can be read"
	case all > decidable:
		out.Say += ". " + adapters.SayNotInQueue(all-decidable)
	}
	own := b.owns(ctx, a)
	for _, t := range slices.Backward(queue) {
		no, _ := own(t.Request)
		out.Queue = append(out.Queue, adapters.Waiting{Ticket: t, Own: no})
	}
	out.More = decidable - len(queue)
}
