package bot_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// texts are what the admins were told.
func (c *placesChat) texts() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, texts := range c.told {
		list = append(list, texts...)
	}
	return list
}

// move moves a ticket to a state, as an admin does.
func (w *world) move(n tickets.Number, state string) {
	w.t.Helper()
	answer := w.bot.Command(w.t.Context(), adapters.Command{Actor: ann, Place: placeOne, Text: "state " + string(n) + " " + state})
	wantNote(w.t, answer, "is now "+state)
}

// TestDeletedCardIsPostedAgainOnce: the card of an open request was deleted.
// That is seen at the next edit, and it is posted once more and works as the
// first did, also over a restart; deleted again, it is given up and the admins
// are told, once. The record says it all.
func TestDeletedCardIsPostedAgainOnce(t *testing.T) {
	t.Parallel()
	w, c := placesOf(newFileWorld(t))
	w.start()
	n := w.ask("r")
	firstCard := w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" }).Message(placeOne).ID
	c.in(placeOne).delete(firstCard)
	w.move(n, "On Hold")
	again := w.until(n, "posted again", func(t *tickets.Ticket) bool {
		return t.Message(placeOne).ID != "" && t.Message(placeOne).ID != firstCard
	})
	if want := []tickets.EventKind{"received", "card_posted", "state", "card_gone", "card_posted"}; !slices.Equal(kindsOf(again), want) {
		t.Errorf("events %v, want %v", kindsOf(again), want)
	}
	if len(w.bot.ChannelOutages()) > 0 {
		t.Errorf("the channel is out of use: %+v", w.bot.ChannelOutages())
	}
	w.restart()
	w.move(n, "New")
	second := w.until(n, "edited", func(t *tickets.Ticket) bool {
		m := t.Message(placeOne)
		return m.ID != "" && m.Shown == t.Rev && m.Told == len(t.Events)
	}).Message(placeOne)
	if second.ID == firstCard || !second.Reposted {
		t.Fatalf("the message is %+v; want a second one", second)
	}
	if texts := c.texts(); len(texts) > 0 {
		t.Errorf("admins were told %q, though it is shown", texts)
	}

	c.in(placeOne).delete(second.ID)
	w.move(n, "On Hold")
	w.until(n, "given up", func(t *tickets.Ticket) bool { return t.Message(placeOne).Dead })
	w.advance(time.Minute)
	w.eventually("admins are told", func() bool { return len(c.texts()) > 0 })
	w.move(n, "New")
	w.until(n, "settled", settled)
	if texts := c.texts(); len(texts) != 1 || texts[0] != wording.MsgCardsGone(placeOne, []tickets.Number{n}) {
		t.Errorf("admins were told %q", texts)
	}
	var found []store.Finding
	if _, err := store.Verify(t.Context(), w.under.(store.Archive), nil, func(f store.Finding) { found = append(found, f) }); err != nil || len(found) > 0 {
		t.Errorf("Verify: %v, %v", found, err)
	}
	if posts := c.in(placeOne).posts; len(posts) != 2 {
		t.Errorf("%d messages were posted, want 2", len(posts))
	}
}

// TestOldCardStillWorks: while the second card of a request is not there yet,
// and after that, what is clicked on a first one that is still to be seen
// counts.
func TestOldCardStillWorks(t *testing.T) {
	t.Parallel()
	w, c := newPlacesWorld(t)
	w.start()
	n := w.ask("r")
	card := w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" }).Message(placeOne).ID
	c.breaks(only("C1", failure(tickets.Unavailable, false), tickets.StepPost))
	c.in(placeOne).delete(card)
	w.move(n, "On Hold")
	w.until(n, "to be posted again", func(t *tickets.Ticket) bool { return t.Message(placeOne).Reposted })
	click := adapters.Click{Actor: ann, Place: placeOne, Number: n, Digest: w.digest(n), Action: adapters.ActionDeny}
	if f, ok := w.bot.Click(t.Context(), click).(adapters.Form); !ok {
		t.Errorf("answer = %+v, want the form", f)
	}
}

// TestDeletedCardOfClosedRequest: nobody has to see that any more.
func TestDeletedCardOfClosedRequest(t *testing.T) {
	t.Parallel()
	w, c := newPlacesWorld(t)
	w.start()
	n := w.ask("r")
	card := w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" }).Message(placeOne).ID
	c.in(placeOne).delete(card)
	w.conclude("r", tickets.Outcome{Verdict: tickets.Deny, By: "Console", At: w.now()})
	got := w.until(n, "settled", settled)
	w.advance(time.Hour)
	if m := got.Message(placeOne); !m.Dead || m.Reposted || len(c.in(placeOne).posts) != 1 || len(c.texts()) > 0 {
		t.Errorf("the message is %+v, %d posts, admins were told %q; want it given up", m, len(c.in(placeOne).posts), c.texts())
	}
}

// TestManyCardsAreToldTogether: admins are told of many cards at once.
func TestManyCardsAreToldTogether(t *testing.T) {
	t.Parallel()
	w, c := newPlacesWorld(t)
	w.start()
	var list []tickets.Number
	for _, id := range strings.Fields("a b c d e f g h i j k l") {
		n := w.ask(id)
		list = append(list, n)
		w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
	}
	w.freeze() // what is told is told of some seconds together
	c.breaks(only("C1", failure(tickets.NotFound, false), tickets.StepEdit))
	for _, n := range list {
		w.move(n, "On Hold")
		w.until(n, "posted again", func(t *tickets.Ticket) bool { return t.Message(placeOne).Reposted && t.Message(placeOne).ID != "" })
		w.move(n, "New")
		w.until(n, "given up", func(t *tickets.Ticket) bool { return t.Message(placeOne).Dead })
	}
	w.eventually("they are to be told", func() bool { return w.bot.CardsToTell() == len(list) })
	w.advance(time.Minute)
	w.eventually("admins are told", func() bool { return len(c.texts()) > 0 })
	if texts := c.texts(); len(texts) != 1 || texts[0] != wording.MsgCardsGone(placeOne, list) || !strings.Contains(texts[0], "2 more") {
		t.Errorf("admins were told %q", texts)
	}
}

// TestDeletedCardIsLookedFor: the card of a request that nothing happens to was
// deleted. That is found out all the same; a channel that cannot be looked into
// says nothing about its cards.
func TestDeletedCardIsLookedFor(t *testing.T) {
	t.Parallel()
	w, c := newPlacesWorld(t)
	w.cards = 10 * time.Millisecond
	var asked atomic.Int64
	c.breaks(func(kind tickets.StepKind, _ tickets.Place) error {
		if kind == "present" {
			asked.Add(1)
			return failure(tickets.NotFound, true)
		}
		return nil
	})
	w.start()
	n := w.ask("r")
	card := w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" }).Message(placeOne).ID
	w.eventually("it was looked for", func() bool { return asked.Load() > 2 })
	if got, err := w.store.Get(t.Context(), n); err != nil || got.Message(placeOne).ID != card {
		t.Errorf("the message is %+v, %v; want the first one", got.Message(placeOne), err)
	}
	c.breaks(nil)
	for _, want := range []int{2, 2} {
		c.in(placeOne).delete(card)
		got := w.until(n, "seen to be gone", func(t *tickets.Ticket) bool {
			m := t.Message(placeOne)
			return m.Dead || m.ID != "" && m.ID != card
		})
		card = got.Message(placeOne).ID
		if posts := c.in(placeOne).posts; len(posts) != want {
			t.Errorf("%d messages, want %d", len(posts), want)
		}
	}
	w.until(n, "given up", func(t *tickets.Ticket) bool { return t.Message(placeOne).Dead })
	w.advance(time.Minute)
	w.eventually("admins are told", func() bool { return slices.Contains(c.texts(), wording.MsgCardsGone(placeOne, []tickets.Number{n})) })
}
