package bot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
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
	if want := []tickets.EventKind{"received", "card_posted", "access_denied", "form_opened"}; !slices.Equal(kindsOf(got), want) || got.Rev != 1 {
		t.Fatalf("events %v at rev %d; want %v at rev 1", kindsOf(got), got.Rev, want)
	}
	received, shown, away, opened := got.Events[0], got.Events[1], got.Events[2], got.Events[3]
	if received.Source.Incoming != "in-r" || received.Source.Body != tickets.Digest(nil) || received.Request == "" {
		t.Errorf("received %+v; want the webhook's id and hash", received)
	}
	if shown.Place != place || shown.Message != got.Message(place).ID {
		t.Errorf("shown %+v; want the message's id", shown)
	}
	if away.Actor != sam || away.Text != wording.MsgNotApprover || away.Verdict != tickets.Approve || away.Place != place {
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

// mute is a store that can be read and takes no changes for as long as it
// hangs, or fails.
type mute struct {
	store.Store
	hangs chan struct{} // until it is closed changes hang; nil: they do not
	fails atomic.Bool
	asked atomic.Int64 // changes
}

func (m *mute) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	m.asked.Add(1)
	if m.fails.Load() {
		return nil, errors.New("the disk is full")
	}
	if m.hangs != nil {
		select {
		case <-m.hangs:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return m.Store.Update(ctx, n, change)
}

// mutes is a world with a request that is shown, over a store that takes no
// changes.
func mutes(t *testing.T, m *mute) (*world, tickets.Number) {
	w, n := started(t)
	w.stop()
	w.wrap = func(s store.Store) store.Store { m.Store = s; return m }
	w.start()
	return w, n
}

// tries are a click that opens the form, one that is refused, and a form that is
// refused, one after the other, each without waiting for what is written.
func (w *world) tries(n tickets.Number) {
	w.t.Helper()
	ctx := w.t.Context()
	click := adapters.Click{Actor: ann, Place: place, Number: n, Digest: w.digest(n), Action: adapters.ActionApprove}
	if f, ok := w.bot.Click(ctx, click).(adapters.Form); !ok {
		w.t.Errorf("answer = %+v, want the form", f)
	}
	click.Actor = sam
	wantNote(w.t, w.bot.Click(ctx, click), wording.MsgNotApprover)
	wantNote(w.t, w.bot.Submit(ctx, adapters.Submission{Actor: sam, Place: place, Number: n, Digest: w.digest(n), Verdict: tickets.Deny, Form: twoHours}), wording.MsgNotApprover)
}

var triedKinds = []tickets.EventKind{"received", "card_posted", "form_opened", "access_denied", "access_denied"}

// TestFormOpensBeforeItsLine: a store hangs when the history is to be written.
// The form opens, and a refusal is said, while it does; the lines are there once
// it goes on, also if the bot was told to end meanwhile.
func TestFormOpensBeforeItsLine(t *testing.T) {
	t.Parallel()
	for _, end := range []bool{false, true} {
		t.Run(fmt.Sprintf("Ends=%t", end), func(t *testing.T) {
			t.Parallel()
			m := &mute{hangs: make(chan struct{})}
			w, n := mutes(t, m)
			w.tries(n) // returns while all that is written hangs
			stopped := make(chan struct{})
			if end {
				s := w.under
				go func() { w.stop(); close(stopped) }()
				w.eventually("it has been told to end", func() bool { return w.ending.Err() != nil })
				close(m.hangs)
				<-stopped
				w.start()
				if s == w.under {
					t.Fatal("not restarted")
				}
			} else {
				close(m.hangs)
				w.bot.Written(t.Context())
			}
			got, err := w.store.Get(t.Context(), n)
			if err != nil || !slices.Equal(kindsOf(got), triedKinds) {
				t.Errorf("events %v, %v; want %v", kindsOf(got), err, triedKinds)
			}
		})
	}
}

// TestLineIsTriedAgain: a store fails for a while, and takes the lines then.
func TestLineIsTriedAgain(t *testing.T) {
	t.Parallel()
	m := &mute{}
	w, n := mutes(t, m)
	m.fails.Store(true)
	w.tries(n)
	w.eventually("it was tried", func() bool { return m.asked.Load() >= 2 })
	m.fails.Store(false)
	w.bot.Written(t.Context())
	got, err := w.store.Get(t.Context(), n)
	if err != nil || !slices.Equal(kindsOf(got), triedKinds) {
		t.Errorf("events %v, %v; want %v", kindsOf(got), err, triedKinds)
	}
}

// TestLostLineIsInTheLog: a store that hangs does not keep the bot from ending,
// and what it did not take is in the log with who it was.
func TestLostLineIsInTheLog(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	w, n := started(t)
	w.stop()
	w.wrap = func(s store.Store) store.Store { return &mute{Store: s, hangs: make(chan struct{})} }
	w.grace, w.log = 10*time.Millisecond, slog.NewTextHandler(&logged, nil)
	w.start()
	w.tries(n)
	w.stop()
	for _, who := range []tickets.Actor{ann, sam} {
		if want := regexp.MustCompile(`cannot write to the history" ticket=` + string(n) + ` actor="?` + regexp.QuoteMeta(who.String())); !want.MatchString(logged.String()) {
			t.Errorf("the log does not say that the line of %s is lost: %s", who, &logged)
		}
	}
}
