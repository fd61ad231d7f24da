package bot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// cardsLease is of the replica that looks for the cards.
	cardsLease = "cards"
	// cardPause is between two cards: Slack answers 50 such questions a minute
	// (docs.slack.dev/apis/web-api/rate-limits, tier 3).
	cardPause = 1500 * time.Millisecond
)

// runCards looks every Config.Cards whether the cards of pending requests are
// still there, until ctx ends: nothing else may be done for a request for hours,
// in which nobody would see it. Of several replicas one looks.
func (b *Bot) runCards(ctx context.Context) {
	if b.Cards < 0 {
		return
	}
	holder := rand.Text()
	defer b.drop(ctx, cardsLease, holder)
	pause := time.NewTicker(min(cardPause, b.Cards))
	defer pause.Stop()
	tick := time.NewTicker(b.Cards)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.lookForCards(ctx, func() bool { return b.holdsLease(ctx, cardsLease, holder, b.Cards+time.Minute) }, pause.C)
	}
}

// lookForCards looks for each card once, one at each tick of pace, while the
// lease is mine.
func (b *Bot) lookForCards(ctx context.Context, mine func() bool, pace <-chan time.Time) {
	defer func() {
		if p := recover(); p != nil {
			b.Log.Error("looking for cards panicked", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	unseen := map[tickets.Place]bool{} // cannot be looked into this time
	q := store.Query{Progress: tickets.Pending, Limit: homePage, OldestFirst: true}
	for {
		if !mine() {
			return
		}
		list, err := b.Store.List(ctx, q)
		if err != nil && ctx.Err() == nil {
			b.Log.Warn("cannot list all cards to look for", "err", err)
		}
		for _, t := range list {
			for _, m := range t.Messages {
				chat := b.chats[m.Place.Platform]
				if chat == nil || m.ID == "" || m.Dead || unseen[m.Place] {
					continue
				}
				select {
				case <-ctx.Done():
					return
				case <-pace:
				}
				call, cancel := context.WithTimeout(ctx, b.Timeout)
				is, err := chat.Present(call, m)
				cancel()
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					b.Log.Warn("cannot look for cards", "platform", m.Place.Platform, "channel", m.Place.Channel, "class", tickets.FailureOf(err).Class, "err", err)
					unseen[m.Place] = true
				case !is:
					b.cardMissing(ctx, t.Number, m)
				}
			}
		}
		if len(list) == 0 || len(list) < q.Limit && err == nil {
			return
		}
		q.After = list[len(list)-1].Number
	}
}

// cardMissing records that message m of n is gone. What is owed for that is done
// by the lanes.
func (b *Bot) cardMissing(ctx context.Context, n tickets.Number, m tickets.Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	var was *tickets.Ticket
	after, err := b.Store.Update(ctx, n, func(t *tickets.Ticket) error {
		now := t.Message(m.Place)
		if now == nil || now.ID != m.ID || now.Dead || t.Progress() == tickets.Final {
			return errNothing
		}
		before := *t
		before.Messages = append([]tickets.Message(nil), t.Messages...)
		was = &before
		t.CardGone(m.Place, m.ID, "it is not there", b.Now())
		return nil
	})
	switch {
	case err == nil:
		b.Log.Warn("a card is gone", "ticket", n, "platform", m.Place.Platform, "channel", m.Place.Channel)
		b.cardGivenUp(was, after, m.Place)
		b.outbox.Wake(after)
	case !errors.Is(err, errNothing) && !errors.Is(err, store.ErrNotFound):
		b.Log.Warn("cannot record that a card is gone", "ticket", n, "err", err)
	}
}

// cardGivenUp tells the admins if the last step made the card of an open request
// dead: nobody would see the request in that place any more. was and t are the
// ticket before and after.
func (b *Bot) cardGivenUp(was, t *tickets.Ticket, place tickets.Place) {
	before, m := was.Message(place), t.Message(place)
	if m == nil || !m.Dead || before != nil && before.Dead || t.Progress() == tickets.Final {
		return
	}
	b.Log.Error("the card of an open request is given up", "ticket", t.Number, "platform", place.Platform, "channel", place.Channel, "err", m.Problem)
	b.notices.addCard(place, t.Number)
}
