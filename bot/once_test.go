package bot_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// act is something that changes something, as it is delivered.
type act struct {
	do   func(*world, adapters.Delivery) adapters.Answer
	undo func(*world)        // what somebody does meanwhile
	is   func(*world) string // what it changes
	want string              // once it was undone
}

// acts are the ways in which people change anything, on the ticket JIT-1001.
func acts() map[string]act {
	const n = tickets.Number("JIT-1001")
	state := func(w *world) string {
		t, err := w.store.Get(w.t.Context(), n)
		if err != nil {
			w.t.Fatal(err)
		}
		return string(t.State)
	}
	moved := func(w *world) { w.told(ann, "state JIT-1001 New") }
	category := func(w *world) string {
		set, err := w.store.Settings(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		return set.Values[tickets.KeyCategory]
	}
	command := func(text string) func(*world, adapters.Delivery) adapters.Answer {
		return func(w *world, d adapters.Delivery) adapters.Answer {
			return w.bot.Command(w.t.Context(), adapters.Command{Delivery: d, Actor: ann, Place: place, Text: text})
		}
	}
	software := func(w *world) { w.told(ann, "config set category Software") }
	return map[string]act{
		"Form": {
			do: func(w *world, d adapters.Delivery) adapters.Answer {
				return w.bot.Submit(w.t.Context(), adapters.Submission{Delivery: d, Actor: ann, Place: place, Number: n, Digest: w.digest(n), Verdict: tickets.Approve, Form: twoHours})
			},
			undo: func(w *world) {
				w.until(n, "open again", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Pending })
			},
			is: func(w *world) string {
				t, err := w.store.Get(w.t.Context(), n)
				if err != nil {
					w.t.Fatal(err)
				}
				return string(t.Progress())
			},
			want: "pending",
		},
		"Menu": {
			do: func(w *world, d adapters.Delivery) adapters.Answer {
				return w.bot.Click(w.t.Context(), adapters.Click{Delivery: d, Actor: ann, Place: place, Number: n, Digest: w.digest(n), Action: adapters.ActionState, State: "On Hold"})
			},
			undo: moved, is: state, want: "New",
		},
		"StateWord": {do: command("state JIT-1001 On Hold"), undo: moved, is: state, want: "New"},
		"SetWord":   {do: command("config set category Hardware"), undo: software, is: category, want: "Software"},
		"ResetWord": {do: command("config reset yes"), undo: software, is: category, want: "Software"},
		"Settings": {
			do: func(w *world, d adapters.Delivery) adapters.Answer {
				c := fill(w.settingsForm(), map[string]string{tickets.KeyCategory: "Hardware"})
				c.Delivery = d
				return w.bot.SubmitSettings(w.t.Context(), c)
			},
			undo: func(w *world) { w.told(ann, "config reset yes") }, is: category, want: "",
		},
		"ReplayWord": {
			do:   command("incoming replay " + firstID),
			undo: func(*world) {},
			is:   func(*world) string { return "" },
		},
	}
}

// acting is a world with a ticket, whose first decision EPM refuses.
func acting(t *testing.T) *world {
	w := replaying(t)
	w.epm.plan(tickets.StepSend, fault{tickets.Rejected, false})
	w.until(w.ask("r"), "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
	w.keepsFailed(firstID, "ask other", time.Now())
	w.told(ann, "config set category Games") // which can be reset
	w.told(ann, "config reset yes")
	return w
}

// What a chat delivers again has no effect at another replica, nor after a
// restart.
func TestDeliveryCountsOnce(t *testing.T) {
	t.Parallel()
	for name, a := range acts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := acting(t)
			if name == "ResetWord" {
				w.told(ann, "config set category Software")
			}
			if n, no := a.do(w, "one").(adapters.Note); no && n.Retryable {
				t.Fatalf("the first one is answered with %q", n.Text)
			}
			if is := a.is(w); is == a.want && name != "ReplayWord" && name != "Form" {
				t.Fatalf("it is %q after the first one", is)
			}
			a.undo(w)
			w.restart()
			if n, ok := a.do(w, "one").(adapters.Note); !ok || !n.Retryable || !strings.Contains(n.Text, "has reached me before") {
				t.Errorf("the second one is answered with %#v", n)
			}
			if is := a.is(w); is != a.want {
				t.Errorf("it is %q after the second one, want %q", is, a.want)
			}
			if n, ok := a.do(w, "two").(adapters.Note); ok && n.Retryable {
				t.Errorf("another one is answered with %q", n.Text)
			}
		})
	}
}

// forgetful cannot say what was delivered.
type forgetful struct {
	store.Store
	away  atomic.Bool
	asked atomic.Int32
}

func (f *forgetful) ClaimOnce(ctx context.Context, key string, keep time.Duration) (bool, error) {
	f.asked.Add(1)
	if f.away.Load() {
		return false, errors.New("away")
	}
	return f.Store.ClaimOnce(ctx, key, keep)
}

// While the store cannot say whether a delivery is new nothing is changed, and
// the form is kept.
func TestDeliveryThatCannotBeToldHasNoEffect(t *testing.T) {
	t.Parallel()
	for name, a := range acts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &forgetful{}
			w := replaying(t)
			w.stop()
			w.wrap = func(s store.Store) store.Store { f.Store = s; return f }
			w.start()
			w.until(w.ask("r"), "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
			w.keepsFailed(firstID, "ask other", time.Now())
			w.told(ann, "config set category Software")
			before := a.is(w)
			f.away.Store(true)
			if n, ok := a.do(w, "one").(adapters.Note); !ok || !n.Retryable || !strings.Contains(n.Text, "I cannot reach my store") {
				t.Errorf("it is answered with %#v", n)
			}
			if is := a.is(w); is != before {
				t.Errorf("it is %q, and was %q", is, before)
			}
			if list, err := w.store.List(t.Context(), store.Query{}); err != nil || len(list) != 1 {
				t.Errorf("%d tickets, %v; want the one", len(list), err)
			}
		})
	}
}

// Whoever only opens a form, or reads, asks the store for no claim.
func TestReadingNeedsNoClaim(t *testing.T) {
	t.Parallel()
	f := &forgetful{}
	w := replaying(t)
	w.stop()
	w.wrap = func(s store.Store) store.Store { f.Store = s; return f }
	w.start()
	n := w.ask("r")
	w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
	f.away.Store(true)
	for _, action := range []adapters.Action{adapters.ActionApprove, adapters.ActionDeny} {
		if a, ok := w.bot.Click(t.Context(), adapters.Click{Delivery: "d", Actor: ann, Place: place, Number: n, Digest: w.digest(n), Action: action}).(adapters.Form); !ok {
			t.Errorf("%s = %#v, want the form", action, a)
		}
	}
	if a, ok := w.bot.Click(t.Context(), adapters.Click{Delivery: "d", Actor: ann, Place: place, Number: n, Digest: w.digest(n), Action: adapters.ActionDetails}).(adapters.Details); !ok {
		t.Errorf("details = %#v", a)
	}
	for _, text := range []string{"", "help", "status", "tickets", "tickets pending 7-Zip", "ticket JIT-1001", "config", "config list", "CONFIG LIST", "incoming", "incoming failed", "report 7d", "test-connection", "roles"} {
		w.bot.Command(t.Context(), adapters.Command{Delivery: "d", Actor: ann, Place: place, Text: text})
	}
	if n := f.asked.Load(); n != 0 {
		t.Errorf("the store was asked %d times for a claim", n)
	}
}
