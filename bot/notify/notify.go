// Package notify tells admins, by direct message, what they must know and nobody
// asked for: that a place is lost or works again, that EPM takes no decisions, that
// cards are gone. Of several replicas that see the same, one tells it.
package notify

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
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

// Config is what a notifier is made of. All of it is required but Shared.
type Config struct {
	Chats  map[tickets.Platform]adapters.Chat
	Shared store.Coordinator // what the processes on one store agree on; nil if this one is alone
	Admins func() []tickets.Principal
	Log    *slog.Logger
	Now    func() time.Time
	Poll   time.Duration // how often it is looked for what became due
}

// Notifier tells admins. Make one with [New].
type Notifier struct {
	Config
	added chan struct{} // something is in list

	mu   sync.Mutex
	list []*notice // at most one for each place, and one of its cards
}

// New makes a notifier. It tells nothing before [Notifier.Run].
func New(c Config) *Notifier { return &Notifier{Config: c, added: make(chan struct{}, 1)} }

// notice is what admins have to be told about a place.
type notice struct {
	place tickets.Place
	lost  bool // else it works again
	text  string
	cards []tickets.Number    // whose cards are given up there; text is said of them
	left  []tickets.Principal // who has to be told still
	told  int
	tries int
	at    time.Time // not before
}

// Lost wants the admins told text: that place can no longer be used.
func (q *Notifier) Lost(place tickets.Place, text string) {
	q.add(notice{place: place, lost: true, text: text})
}

// Recovered wants the admins told text: that place works again.
func (q *Notifier) Recovered(place tickets.Place, text string) {
	q.add(notice{place: place, text: text})
}

// add wants n told to the admins. A newer notice takes the place of an older one
// that some have not got, and if nobody has, neither is told: they say the
// opposite of each other.
func (q *Notifier) add(n notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.find(n.place); i >= 0 {
		fresh := q.list[i].tries == 0
		q.list = slices.Delete(q.list, i, i+1)
		if fresh {
			return
		}
	}
	n.left, n.at = q.Admins(), q.Now()
	q.list = append(q.list, &n)
	signal(q.added)
}

// CardGone wants told that the card of n in place is given up. What is given up in
// one place at about the same time is told together.
func (q *Notifier) CardGone(place tickets.Place, n tickets.Number) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, other := range q.list {
		if other.place == place && other.cards != nil && other.tries == 0 {
			other.cards = append(other.cards, n)
			return
		}
	}
	q.list = append(q.list, &notice{place: place, cards: []tickets.Number{n}, left: q.Admins(), at: q.Now().Add(firstTell)})
	signal(q.added)
}

func (q *Notifier) find(place tickets.Place) int {
	return slices.IndexFunc(q.list, func(n *notice) bool { return n.place == place && n.cards == nil })
}

// take takes a notice that is due out of the list, or returns nil.
func (q *Notifier) take(now time.Time) *notice {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.list, func(n *notice) bool { return !n.at.After(now) })
	if i < 0 {
		return nil
	}
	n := q.list[i]
	q.list = slices.Delete(q.list, i, i+1)
	return n
}

// putBack puts n back into the list, unless there is news of its place.
func (q *Notifier) putBack(n *notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n.cards != nil || q.find(n.place) < 0 {
		q.list = append(q.list, n)
	}
}

// Run tells admins what they have to be told until ctx ends, apart
// from the lanes, which it must not hold up.
func (q *Notifier) Run(ctx context.Context) {
	poll := time.NewTicker(q.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		if n := q.take(q.Now()); n != nil {
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
func (q *Notifier) tell(ctx context.Context, n *notice) {
	call, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	switch {
	case n.tries > 0:
	case n.cards != nil:
		slices.SortFunc(n.cards, bySeq)
		n.text = wording.MsgCardsGone(n.place, n.cards)
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
		q.Log.Warn("cannot tell an admin", "actor", n.left[i].String(), "platform", n.place.Platform, "channel", n.place.Channel, "err", err)
		switch f := tickets.FailureOf(err); f.Class {
		case tickets.Unavailable, tickets.RateLimited, tickets.Ambiguous: // better twice than never
			left = append(left, n.left[i])
			wait = max(wait, f.RetryAfter)
		}
	}
	n.tries++
	if len(left) > 0 && n.tries < tellTries {
		n.left, n.at = left, q.Now().Add(wait)
		q.putBack(n)
		return
	}
	if n.told == 0 {
		q.Log.Error("no admin could be told about a place", "platform", n.place.Platform, "channel", n.place.Channel, "admins", len(q.Admins()))
	}
}

// tells reports whether this process is to tell n: of several that see the
// same, one does. If they cannot be asked, twice is better than never.
func (q *Notifier) tells(ctx context.Context, n *notice) bool {
	if q.Shared == nil {
		return true
	}
	key := fmt.Sprintf("lost %s %s", n.place.Platform, n.place.Channel)
	ask := q.Shared.Unclaim
	if n.lost {
		ask = func(ctx context.Context, key string) (bool, error) { return q.Shared.ClaimOnce(ctx, key, keepTold) }
	}
	first, err := ask(ctx, key)
	return first || err != nil
}

func (q *Notifier) tellOne(ctx context.Context, who tickets.Principal, text string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("panic: %T\n%s", p, debug.Stack())}
		}
	}()
	chat := q.Chats[who.Platform]
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

// Cards returns of how many cards the admins have to be told still.
func (q *Notifier) Cards() (cards int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range q.list {
		cards += len(n.cards)
	}
	return cards
}

// bySeq orders tickets by their counters: cards are given up by several workers, in
// any order.
func bySeq(a, b tickets.Number) int {
	first, _ := a.Seq()
	second, _ := b.Seq()
	return cmp.Compare(first, second)
}
