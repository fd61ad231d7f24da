package bot

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// tellTimeout is for telling all admins one thing once.
	tellTimeout = 30 * time.Second
	// keepTold is how long replicas leave it to the one that has told that a
	// place is lost.
	keepTold = time.Hour
	// tellTries and firstTell: a chat that is down is tried for five minutes.
	tellTries = 6
	firstTell = 10 * time.Second
)

// notices tells admins, by direct message, what they must know and nobody asked
// for: that a place is lost or works again, that EPM takes no decisions, that
// cards are gone.
type notices struct {
	chats  map[tickets.Platform]adapters.Chat
	shared store.Coordinator // nil if this process is alone
	admins func() []tickets.Principal
	log    *slog.Logger
	now    func() time.Time
	poll   time.Duration
	added  chan struct{} // something is in list

	mu   sync.Mutex
	list []*adminNotice // at most one for each place, and one of its cards
}

// adminNotice is what admins have to be told about a place.
type adminNotice struct {
	place tickets.Place
	lost  bool // else it works again
	text  string
	cards []tickets.Number    // whose cards are given up there; text is said of them
	left  []tickets.Principal // who has to be told still
	told  int
	tries int
	at    time.Time // not before
}

// add wants n told to the admins. A newer notice takes the place of an older one
// that some have not got, and if nobody has, neither is told: they say the
// opposite of each other.
func (q *notices) add(n adminNotice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.find(n.place); i >= 0 {
		fresh := q.list[i].tries == 0
		q.list = slices.Delete(q.list, i, i+1)
		if fresh {
			return
		}
	}
	n.left, n.at = q.admins(), q.now()
	q.list = append(q.list, &n)
	signal(q.added)
}

// addCard wants told that the card of n in place is given up. What is given up in
// one place at about the same time is told together.
func (q *notices) addCard(place tickets.Place, n tickets.Number) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, other := range q.list {
		if other.place == place && other.cards != nil && other.tries == 0 {
			other.cards = append(other.cards, n)
			return
		}
	}
	q.list = append(q.list, &adminNotice{place: place, cards: []tickets.Number{n}, left: q.admins(), at: q.now().Add(firstTell)})
	signal(q.added)
}

func (q *notices) find(place tickets.Place) int {
	return slices.IndexFunc(q.list, func(n *adminNotice) bool { return n.place == place && n.cards == nil })
}

// take takes a notice that is due out of the list, or returns nil.
func (q *notices) take(now time.Time) *adminNotice {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.list, func(n *adminNotice) bool { return !n.at.After(now) })
	if i < 0 {
		return nil
	}
	n := q.list[i]
	q.list = slices.Delete(q.list, i, i+1)
	return n
}

// putBack puts n back into the list, unless there is news of its place.
func (q *notices) putBack(n *adminNotice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n.cards != nil || q.find(n.place) < 0 {
		q.list = append(q.list, n)
	}
}

// run tells admins what they have to be told until ctx ends, apart
// from the lanes, which it must not hold up.
func (q *notices) run(ctx context.Context) {
	poll := time.NewTicker(q.poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		if n := q.take(q.now()); n != nil {
			q.tell(ctx, n)
			continue
		}
		select {
		case <-ctx.Done():
		case <-q.added:
		case <-poll.C:
		}
	}
}

// tell tells n to everybody who is left, all at once: a chat that hangs must
// not keep the news from the others.
func (q *notices) tell(ctx context.Context, n *adminNotice) {
	call, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	switch {
	case n.tries > 0:
	case n.cards != nil:
		n.text = adapters.SayCardsGone(n.place, n.cards)
	case !q.tells(call, n):
		return
	}
	errs := make([]error, len(n.left))
	var wg sync.WaitGroup
	for i, who := range n.left {
		wg.Go(func() { errs[i] = q.tellOne(call, who, n.text) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	var left []tickets.Principal
	wait := outbox.Backoff(firstTell, outbox.SlowRetry, n.tries)
	for i, err := range errs {
		if err == nil {
			n.told++
			continue
		}
		q.log.Warn("cannot tell an admin", "actor", n.left[i].String(), "platform", n.place.Platform, "channel", n.place.Channel, "err", err)
		switch f := tickets.FailureOf(err); f.Class {
		case tickets.Unavailable, tickets.RateLimited, tickets.Ambiguous: // better twice than never
			left = append(left, n.left[i])
			wait = max(wait, f.RetryAfter)
		}
	}
	n.tries++
	if len(left) > 0 && n.tries < tellTries {
		n.left, n.at = left, q.now().Add(wait)
		q.putBack(n)
		return
	}
	if n.told == 0 {
		q.log.Error("no admin could be told about a place", "platform", n.place.Platform, "channel", n.place.Channel, "admins", len(q.admins()))
	}
}

// tells reports whether this process is to tell n: of several that see the
// same, one does. If they cannot be asked, twice is better than never.
func (q *notices) tells(ctx context.Context, n *adminNotice) bool {
	if q.shared == nil {
		return true
	}
	key := fmt.Sprintf("lost %s %s", n.place.Platform, n.place.Channel)
	ask := q.shared.Unclaim
	if n.lost {
		ask = func(ctx context.Context, key string) (bool, error) { return q.shared.ClaimOnce(ctx, key, keepTold) }
	}
	first, err := ask(ctx, key)
	return first || err != nil
}

func (q *notices) tellOne(ctx context.Context, who tickets.Principal, text string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("panic: %T\n%s", p, debug.Stack())}
		}
	}()
	chat := q.chats[who.Platform]
	if chat == nil {
		return &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("no chat on %s", who.Platform)}
	}
	return chat.DirectMessage(ctx, who, text)
}

// signal wakes the one that waits for c, which holds one value.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
