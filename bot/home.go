package bot

import (
	"context"
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/access"
	"github.com/countersign/countersign/bot/commands"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Home implements [adapters.Handler]: what waits for a, and for an admin what
// /epm status says.
func (b *Bot) Home(ctx context.Context, a tickets.Actor) adapters.Answer {
	err := b.settings.Ensure(ctx)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		b.log.Error("cannot read the settings", "err", err)
		return adapters.Note{Text: commands.Unread(err)}
	}
	var out adapters.Home
	damaged := err != nil
	now := b.now()
	stats, err := b.store.Stats(ctx, now)
	switch {
	case damaged:
		out.Intro = wording.MsgDamagedSettings
	case err != nil:
		out.Intro = wording.MsgStoreAway
	default:
		b.queueOf(ctx, a, &stats, &out)
	}
	if b.access.Administer(ctx, a) == nil {
		out.Health = b.commands.Health(ctx, stats, err, now)
	} else if err != nil {
		b.log.Error("cannot read stats", "err", err)
	}
	return out
}

// The queue is read a page at a time, from the oldest request on.
const (
	homePage  = 2 * adapters.MaxQueue
	homePages = 8 // of requests that nobody can decide at present, before it is given up
)

// queueOf puts what waits for a into out, or why nothing does. How many wait is
// what stats say, as in /epm status; if the whole list was read, which is
// later, stats are made to agree with it.
func (b *Bot) queueOf(ctx context.Context, a tickets.Actor, stats *store.Stats, out *adapters.Home) {
	if no := b.access.Approve(ctx, a); no != nil {
		out.Intro = no.Text
		if errors.Is(no, access.ErrNotApprover) {
			out.Intro = wording.MsgNoQueue
		}
		return
	}
	var queue []*tickets.Ticket
	undecidable := 0
	whole := false
	var problem error
	q := store.Query{Progress: tickets.Pending, Limit: homePage, OldestFirst: true}
	for page := 0; page < homePages && len(queue) < adapters.MaxQueue && !whole; page++ {
		list, err := b.store.List(ctx, q)
		problem = errors.Join(problem, err)
		for i, t := range list {
			if len(queue) == adapters.MaxQueue {
				list = list[:i] // others wait behind the queue
				break
			}
			if t.Decidable(b.settings.RulesOf(t)) != nil {
				undecidable++
				continue
			}
			queue = append(queue, t)
		}
		if len(list) == 0 {
			whole = true
			break
		}
		whole = len(list) < q.Limit && len(queue) < adapters.MaxQueue && err == nil
		q.After = list[len(list)-1].Number
	}
	if whole && problem == nil {
		stats.Progress[tickets.Pending] = len(queue) + undecidable
	}
	all := stats.Progress[tickets.Pending]
	out.Intro = wording.MsgQueue(all)
	switch {
	case problem != nil && len(queue)+undecidable == 0:
		b.log.Error("cannot list what waits", "err", problem)
		out.Intro = wording.MsgStoreAway
		return
	case problem != nil:
		b.log.Error("cannot list all that waits", "err", problem)
		out.Intro += ". Not all of them can be read"
	case undecidable > 0:
		out.Intro += ". " + wording.MsgNotInQueue(undecidable)
	}
	own := b.access.OwnRequest(ctx, a)
	for _, t := range queue {
		waiting := adapters.Waiting{Ticket: t}
		if no := own(t.Request); no != nil {
			waiting.Own = no.Text
		}
		out.Queue = append(out.Queue, waiting)
	}
	if !whole {
		out.More = max(0, all-len(queue)-undecidable)
	}
}
