package bot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

func kindsOf(t *tickets.Ticket) (kinds []tickets.EventKind) {
	for _, e := range t.Events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// Who opened a form and who was turned away is in the history, with the
// webhook's hash and the message; the card is not edited for it.
func TestHistoryTellsWhoTried(t *testing.T) {
	w, n := started(t)
	w.click(n, sam, adapters.ActionApprove)
	w.click(n, sam, adapters.ActionApprove)
	w.approve(n, sam, twoHours)
	w.click(n, ann, adapters.ActionDeny)
	got, err := w.store.Get(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if want := []tickets.EventKind{"received", "shown", "turned_away", "opened"}; !slices.Equal(kindsOf(got), want) || got.Rev != 1 {
		t.Fatalf("events %v at rev %d; want %v at rev 1", kindsOf(got), got.Rev, want)
	}
	received, shown, away, opened := got.Events[0], got.Events[1], got.Events[2], got.Events[3]
	if received.Source.Incoming != "in-r" || received.Source.Body != tickets.Digest(nil) || received.Request == "" {
		t.Errorf("received %+v; want the webhook's id and hash", received)
	}
	if shown.Place != place || shown.Message != got.Message(place).ID {
		t.Errorf("shown %+v; want the message's id", shown)
	}
	if away.Actor != sam || away.Text != adapters.SayNotApprover || away.Verdict != tickets.Approve || away.Place != place {
		t.Errorf("turned away %+v; want who, where, and why", away)
	}
	if opened.Actor != ann || opened.Verdict != tickets.Deny || opened.Place != place {
		t.Errorf("opened %+v; want who and what", opened)
	}
	w.chat.mu.Lock()
	defer w.chat.mu.Unlock()
	if p := w.chat.posts[0]; len(p.shown.Events) != 1 || len(p.replies) != 0 {
		t.Errorf("edited to %v, and %d replies, for what no card tells", kindsOf(p.shown), len(p.replies))
	}
}

// mute is a store that can be read and takes no changes.
type mute struct {
	store.Store
	hangs bool
}

func (m mute) Update(ctx context.Context, n tickets.Number, _ func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	if m.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errors.New("the disk is full")
}

// A form opens, and a refusal is said, though neither can be written down.
func TestFormOpensWithoutItsLine(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprintf("Hangs=%t", hangs), func(t *testing.T) {
			w, n := started(t)
			w.stop()
			w.wrap = func(s store.Store) store.Store { return mute{s, hangs} }
			w.start()
			begun := time.Now()
			if f, ok := w.click(n, ann, adapters.ActionApprove).(adapters.Form); !ok {
				t.Errorf("answer = %+v, want the form", f)
			}
			note(t, w.click(n, sam, adapters.ActionApprove), adapters.SayNotApprover)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("two clicks took %v; a chat gives 3 s for one", took)
			}
		})
	}
}
