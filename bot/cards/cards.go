// Package cards looks for the cards of open requests: one that was deleted is no
// outage. While its request is open it is posted again, once in each place, and
// after that admins are told.
package cards

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/lease"
	"github.com/countersign/countersign/bot/notify"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// pause is between two cards: Slack answers 50 such questions a minute
	// (docs.slack.dev/apis/web-api/rate-limits, tier 3).
	pause = 1500 * time.Millisecond
	// pageSize is how many tickets are read together.
	pageSize = 50
)

// Store is what a watcher needs of the store; see the store package.
type Store interface {
	List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error)
	Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error)
}

// Watcher looks for cards. All of it is required.
type Watcher struct {
	Store    Store
	Chats    map[tickets.Platform]adapters.Chat
	Lease    *lease.Lease // of the replica that looks
	Notifier *notify.Notifier
	Wake     func(*tickets.Ticket) // is called with each ticket whose card is gone
	Log      *slog.Logger
	Now      func() time.Time
	Every    time.Duration // never if negative
	Timeout  time.Duration // of one call to a chat
}

// Run looks again and again whether the cards of pending requests are
// still there, until ctx ends: nothing else may be done for a request for hours,
// in which nobody would see it. Of several replicas one looks.
func (w *Watcher) Run(ctx context.Context) {
	if w.Every < 0 {
		return
	}
	defer w.Lease.Release(ctx)
	pace := time.NewTicker(min(pause, w.Every))
	defer pace.Stop()
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.look(ctx, pace.C)
	}
}

// look looks for each card once, one at each tick of pace, while this process has
// the lease.
func (w *Watcher) look(ctx context.Context, pace <-chan time.Time) {
	defer func() {
		if p := recover(); p != nil {
			w.Log.Error("looking for cards panicked", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	unseen := map[tickets.Place]bool{} // cannot be looked into this time
	q := store.Query{Progress: tickets.Pending, Limit: pageSize, OldestFirst: true}
	for {
		if !w.Lease.Held(ctx, w.Every+time.Minute) {
			return
		}
		list, err := w.Store.List(ctx, q)
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("cannot list all cards to look for", "err", err)
		}
		for _, t := range list {
			for _, m := range t.Messages {
				chat := w.Chats[m.Place.Platform]
				if chat == nil || m.ID == "" || m.Dead || unseen[m.Place] {
					continue
				}
				select {
				case <-ctx.Done():
					return
				case <-pace:
				}
				call, cancel := context.WithTimeout(ctx, w.Timeout)
				is, err := chat.Present(call, m)
				cancel()
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					w.Log.Warn("cannot look for cards", "platform", m.Place.Platform, "channel", m.Place.Channel, "class", tickets.FailureOf(err).Class, "err", err)
					unseen[m.Place] = true
				case !is:
					w.missing(ctx, t.Number, m)
				}
			}
		}
		if len(list) == 0 || len(list) < q.Limit && err == nil {
			return
		}
		q.After = list[len(list)-1].Number
	}
}

// missing records that message m of n is gone. What is owed for that is done
// by the lanes.
func (w *Watcher) missing(ctx context.Context, n tickets.Number, m tickets.Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outbox.RecordTimeout)
	defer cancel()
	var was *tickets.Ticket
	after, changed, err := store.Change(ctx, w.Store, n, func(t *tickets.Ticket) bool {
		now := t.Message(m.Place)
		if now == nil || now.ID != m.ID || now.Dead || t.Progress() == tickets.Final {
			return false
		}
		before := *t
		before.Messages = append([]tickets.Message(nil), t.Messages...)
		was = &before
		t.CardGone(m.Place, m.ID, "it is not there", w.Now())
		return true
	})
	switch {
	case changed:
		w.Log.Warn("a card is gone", "ticket", n, "platform", m.Place.Platform, "channel", m.Place.Channel)
		w.GivenUp(was, after, m.Place)
		w.Wake(after)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		w.Log.Warn("cannot record that a card is gone", "ticket", n, "err", err)
	}
}

// GivenUp tells the admins if the last step made the card of an open request
// dead: nobody would see the request in that place any more. was and t are the
// ticket before and after.
func (w *Watcher) GivenUp(was, t *tickets.Ticket, place tickets.Place) {
	before, m := was.Message(place), t.Message(place)
	if m == nil || !m.Dead || before != nil && before.Dead || t.Progress() == tickets.Final {
		return
	}
	w.Log.Error("the card of an open request is given up", "ticket", t.Number, "platform", place.Platform, "channel", place.Channel, "err", m.Problem)
	w.Notifier.CardGone(place, t.Number)
}
