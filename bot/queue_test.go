package bot_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// order is the numbers of the cards in a channel as they stand.
func (c *placesChat) order(p tickets.Place) []tickets.Number {
	f := c.in(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []tickets.Number
	for _, post := range f.posts {
		list = append(list, post.number)
	}
	return list
}

// storm asks n times at once, and then returns the tickets' numbers, oldest
// first.
func (w *world) storm(n int) []tickets.Number {
	w.t.Helper()
	numbers := make([]tickets.Number, n)
	for i := range n {
		numbers[i] = w.ask(fmt.Sprint("storm", i))
	}
	return numbers
}

// TestPostsAreInOrder: cards stand in the order in which their requests came,
// also when posts fail in between, with all of the platform or alone. To see
// it fail, let join say that it is everybody's turn, or record the wait of
// show in the ticket.
func TestPostsAreInOrder(t *testing.T) {
	for name, fails := range map[string]func(call int) error{
		"Never":    func(int) error { return nil },
		"Down":     func(n int) error { return when(n == 3 || n == 4 || n == 11, tickets.Unavailable) },
		"Unclear":  func(n int) error { return when(n == 5 || n == 6, tickets.Ambiguous) },
		"AtOnce":   func(n int) error { return when(n <= 2, tickets.Unavailable) },
		"Limited":  func(n int) error { return when(n == 7, tickets.RateLimited) },
		"LongDown": func(n int) error { return when(n > 5 && n < 15, tickets.Unavailable) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const storm = 60
			w, c := newPlacesWorld(t)
			w.rules.Places = []tickets.Place{placeOne}
			var mu sync.Mutex
			calls, failed := 0, 0
			begin := make(chan struct{})
			c.breaks(func(kind tickets.StepKind, _ tickets.Place) error {
				<-begin
				if kind != tickets.StepPost {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				calls++
				err := fails(calls)
				if err != nil {
					failed++
				}
				return err
			})
			w.start()
			numbers := w.storm(storm)
			close(begin)
			defer w.hurry()()
			w.eventually("all shown", func() bool { return len(c.order(placeOne)) == storm })
			got := c.order(placeOne)
			moved := 0
			for i, n := range got {
				if d := slices.Index(numbers, n) - i; d > 0 {
					moved = max(moved, d)
				}
			}
			// A failed one waits while others are tried in its stead: as many
			// as there were tries.
			if mu.Lock(); moved > 0 && failed == 0 || moved > failed {
				t.Errorf("cards stand in the order %v; %d failed", got, failed)
			}
			mu.Unlock()
		})
	}
}

func when(fails bool, class tickets.Class) error {
	if !fails {
		return nil
	}
	return &tickets.Failure{Class: class, Err: fmt.Errorf("planned")}
}

// TestOneChannelHoldsUpNoOther: one channel takes nothing for a time, and the
// other gets every card; then the first one gets them too, in order. To see it
// fail, let failed note nothing.
func TestOneChannelHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const storm = 150
	w, c := newPlacesWorld(t)
	other := tickets.Place{Platform: placeOne.Platform, Channel: "C-other"}
	w.rules.Places = []tickets.Place{placeOne, other}
	limited := &tickets.Failure{Class: tickets.RateLimited, RetryAfter: time.Minute, Err: fmt.Errorf("planned")}
	c.breaks(only(placeOne.Channel, limited, tickets.StepPost))
	w.start()
	numbers := w.storm(storm)
	w.eventually("the other channel has all", func() bool { return len(c.order(other)) == storm })
	if got := c.order(other); !slices.Equal(got, numbers) {
		t.Errorf("the cards stand in the order %v", got)
	}
	if failed, _, _ := c.count(); failed != 1 {
		t.Errorf("%d forbidden calls, want 1", failed)
	}
	stats, err := w.store.Stats(t.Context(), w.now())
	if due := stats.Due[tickets.PostLane(placeOne.Platform)]; err != nil || due.Count != storm {
		t.Errorf("%d are due, %v; want those that wait for the channel, %d", due.Count, err, storm)
	}
	w.advance(5 * time.Second)
	text := said(w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"}))
	if want := fmt.Sprintf("Chat: %d requests wait to be shown, the oldest for ", storm); !strings.Contains(text, want) || !strings.Contains(text, "Chat has asked Countersign to wait for another ") {
		t.Errorf("status = %q, want %q and why", text, want)
	}
	c.breaks(nil)
	w.advance(61 * time.Second)
	w.eventually("the channel has all", func() bool { return len(c.order(placeOne)) == storm })
	if got := c.order(placeOne); !slices.Equal(got, numbers) {
		t.Errorf("the cards stand in the order %v", got)
	}
}

// TestDecisionBeforePosts: while hundreds of posts wait, a decided ticket is
// sent, edited and told of at once. To see it fail, put edits into the lane of
// posts.
func TestDecisionBeforePosts(t *testing.T) {
	t.Parallel()
	w, c := newPlacesWorld(t)
	w.rules.Places = []tickets.Place{placeOne}
	gate := make(chan struct{})
	c.breaks(func(kind tickets.StepKind, _ tickets.Place) error {
		if kind == tickets.StepPost {
			<-gate
		}
		return nil
	})
	w.start()
	first := w.ask("first")
	gate <- struct{}{}
	w.until(first, "shown", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
	w.storm(300)
	if a := w.approve(first, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit = %+v", a)
	}
	w.until(first, "sent, edited and told", func(t *tickets.Ticket) bool {
		m := t.Message(placeOne)
		return t.Progress() == tickets.Submitted && m.Shown == t.Rev && m.Told == len(t.Events)
	})
	if n := len(c.order(placeOne)); n != 1 {
		t.Errorf("%d cards, want the first alone: the others wait", n)
	}
	close(gate)
	w.eventually("all shown", func() bool { return len(c.order(placeOne)) == 301 })
}

// TestRestartWhileWaiting: waits that keep their turn are not written down;
// after a restart the cards still come, in order.
func TestRestartWhileWaiting(t *testing.T) {
	t.Parallel()
	w, c := newPlacesWorld(t)
	w.rules.Places = []tickets.Place{placeOne}
	c.breaks(only(placeOne.Channel, failure(tickets.Unavailable, false), tickets.StepPost))
	w.start()
	numbers := w.storm(20)
	w.eventually("tried", func() bool { failed, _, _ := c.count(); return failed > 0 })
	for _, n := range numbers {
		if got, err := w.store.Get(context.Background(), n); err != nil || !got.Message(placeOne).NotBefore.IsZero() {
			t.Errorf("%s waits until %v, %v; want its turn to be kept", n, got.Message(placeOne).NotBefore, err)
		}
	}
	c.breaks(nil)
	w.restart()
	w.eventually("all shown", func() bool { return len(c.order(placeOne)) == 20 })
	if got := c.order(placeOne); !slices.Equal(got, numbers) {
		t.Errorf("the cards stand in the order %v", got)
	}
}
