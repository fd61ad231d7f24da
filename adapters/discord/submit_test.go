package discord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

// mistaken fills in the form of person i, which has a mistake, and returns
// what they are told, with the identifiers of the message and its button.
func (w *world) mistaken(i int, values map[string]string) (id, custom, text string) {
	w.t.Helper()
	if err := w.fake.Person(userOf(i)).Submit(w.t.Context(), values); err != nil {
		w.t.Fatal(err)
	}
	id, custom, text = w.again(i)
	if id == "" {
		w.t.Fatalf("person %d cannot try again: %q", i, w.Notes(i))
	}
	return id, custom, text
}

// reopens presses Try again and returns what the form holds.
func (w *world) reopens(i int, id, custom string) map[string]string {
	w.t.Helper()
	p := w.fake.Person(userOf(i))
	if err := p.ClickEphemeral(w.t.Context(), id, custom); err != nil {
		w.t.Fatal(err)
	}
	m, open := p.Modal()
	if !open {
		w.t.Fatalf("no form; person %d is told %q", i, w.Notes(i))
	}
	return m.Typed
}

func TestTryAgain(t *testing.T) {
	t.Parallel()
	const reason = "**bold** `x` <@300000000000000001> @everyone <t:1:R>\n> q \\ | 😀 ⟦U+202E⟧ \u202e\n\n# h\n- [a](https://evil.example)\n```sh\nrm\n``` approve:JIT-1 "
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := begin(t, mode, b, nil)
			tk, card := posted(t, b, w)
			p := w.fake.Person(userOf(0))
			if err := w.Click(t.Context(), 0, card, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			typed := map[string]string{"reason": reason, "unit": "minutes", "amount": "4"}
			first, custom, text := w.mistaken(0, typed)
			if !strings.Contains(text, tickets.MsgMinutes) || !strings.Contains(text, "**bold** `x` <@300000000000000001>") {
				t.Errorf("told %q", text)
			}
			for round, amount := range []string{"5000", "x 1"} {
				for range 2 { // closing the form loses nothing
					if got := w.reopens(0, first, custom); fmt.Sprint(got) != fmt.Sprint(typed) {
						t.Errorf("the form holds %q, want %q", got, typed)
					}
					p.CloseModal()
				}
				w.reopens(0, first, custom)
				typed["amount"] = amount
				id, _, text := w.mistaken(0, map[string]string{"amount": amount})
				if id != first || !strings.Contains(text, tickets.MsgMinutes) {
					t.Errorf("told %q in %s, want it in %s", text, id, first)
				}
				if all := p.Ephemerals(); len(all) != 1 || all[0].Edits != round+1 {
					t.Errorf("%d messages, the first edited %d times", len(all), all[0].Edits)
				}
			}
			// The card's own button starts afresh.
			if err := w.Click(t.Context(), 0, card, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			if m, _ := p.Modal(); m.Typed["reason"] != "" || m.Typed["unit"] != "hours" || m.Typed["amount"] != "2" {
				t.Errorf("a fresh form holds %q", m.Typed)
			}
			p.CloseModal()
			w.reopens(0, first, custom)
			if err := p.Submit(t.Context(), map[string]string{"amount": "30"}); err != nil {
				t.Fatal(err)
			}
			if d := tk.Decision; d == nil || d.Duration != tickets.Lasting(30*time.Minute) || d.Reason != strings.TrimSpace(reason) {
				t.Errorf("the decision is %+v", d)
			}
			all := p.Ephemerals()
			if len(all) != 1 || cardOf("", all[0].Components).Text != saySent {
				t.Fatalf("told %+v", all)
			}
			if bytes := string(all[0].Components); strings.Contains(bytes, "custom_id") {
				t.Errorf("there is still a button: %s", bytes)
			}
			if n := len(w.fake.Messages(channel)); n != 1 {
				t.Errorf("%d messages in the channel", n)
			}
		})
	}
}

// TestDraftsAreNotMixedUp: two people with two tickets, each with mistakes of
// their own, and nobody gets what somebody else typed.
func TestDraftsAreNotMixedUp(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, nil)
	type open struct{ id, custom string }
	drafts := map[string]open{}
	cards := map[int64]string{}
	for _, seq := range []int64{42, 1042} {
		tk := b.Add(seq, adaptertest.Request(), w.Place())
		id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		cards[seq] = id
	}
	each := func(do func(i int, seq int64, action adapters.Action, key string)) {
		for i := range 2 {
			for seq := range cards {
				for _, action := range []adapters.Action{adapters.ActionApprove, adapters.ActionDeny} {
					do(i, seq, action, fmt.Sprintf("%s of %d by %d", action, seq, i))
				}
			}
		}
	}
	tooLong := strings.Repeat("x", tickets.MaxReason-50)
	each(func(i int, seq int64, action adapters.Action, key string) {
		if err := w.Click(t.Context(), i, cards[seq], action); err != nil {
			t.Fatal(err)
		}
		values := map[string]string{"reason": tooLong + key, "unit": "hours", "amount": "99"}
		if action == adapters.ActionDeny {
			values = map[string]string{"reason": "\u00a0\t " + strings.Repeat(" ", 10*i+int(seq%7))}
		}
		id, custom, _ := w.mistaken(i, values)
		drafts[key] = open{id, custom}
	})
	each(func(i int, seq int64, action adapters.Action, key string) {
		got := w.reopens(i, drafts[key].id, drafts[key].custom)
		want := map[string]string{"reason": tooLong + key, "unit": "hours", "amount": "99"}
		if action == adapters.ActionDeny {
			want = map[string]string{"reason": "\u00a0\t " + strings.Repeat(" ", 10*i+int(seq%7))}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: the form holds %q", key, got)
		}
	})
}

func TestDenyForm(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := begin(t, mode, b, nil)
			tk, card := posted(t, b, w)
			p := w.fake.Person(userOf(0))
			if err := w.Click(t.Context(), 0, card, adapters.ActionDeny); err != nil {
				t.Fatal(err)
			}
			if m, _ := p.Modal(); len(m.Fields) != 1 || m.Fields[0].CustomID != "reason" || m.CustomID != buttonOf(tk, "deny") {
				t.Errorf("the form is %+v", m)
			}
			var blocked *discordtest.BlockedError
			if err := p.Submit(t.Context(), map[string]string{"reason": ""}); !errors.As(err, &blocked) {
				t.Errorf("an empty reason: %v", err)
			}
			id, custom, text := w.mistaken(0, map[string]string{"reason": "   "})
			if !strings.Contains(text, tickets.MsgReason) || !strings.HasPrefix(custom, "deny:") {
				t.Errorf("told %q with %s", text, custom)
			}
			w.reopens(0, id, custom)
			if err := p.Submit(t.Context(), map[string]string{"reason": "no"}); err != nil {
				t.Fatal(err)
			}
			if d := tk.Decision; d == nil || d.Verdict != tickets.Deny || d.Reason != "no" || !d.Duration.Once() {
				t.Errorf("the decision is %+v", d)
			}
			if got := w.Notes(0); len(got) != 1 || got[0] != saySent {
				t.Errorf("told %q", got)
			}
		})
	}
}

func TestOddSubmissions(t *testing.T) {
	t.Parallel()
	const good = `{"type":18,"component":{"type":4,"custom_id":"reason","value":"ok"}}`
	form := func(components string) string {
		return `{"custom_id":"approve:JIT-1042","components":` + components + `}`
	}
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := &recording{Book: adaptertest.NewBook()}
			w := begin(t, mode, h, nil)
			tk, card := posted(t, h.Book, w)
			for i, tt := range []struct{ data, say string }{
				{form(`[]`), tickets.MsgReason},
				{form(`null`), tickets.MsgReason},
				{form(`{}`), tickets.MsgReason},
				{form(`[null,7,"x",[]]`), tickets.MsgReason},
				{form(`[` + good + `]`), "Choose Once, Minutes or Hours"},
				{form(`[` + good + `,{"type":18,"component":{"type":21,"custom_id":"unit","value":null}}]`), "Choose Once, Minutes or Hours"},
				{form(`[` + good + `,{"type":18,"component":{"type":21,"custom_id":"unit","value":["once"]}}]`), "Choose Once, Minutes or Hours"},
				{form(`[` + good + `,{"type":18,"component":{"type":3,"custom_id":"unit","values":["once"]}}]`), "Choose Once, Minutes or Hours"},
				{form(`[` + good + `,{"type":18,"component":{"type":21,"custom_id":"unit","value":"days"}}]`), "Choose Once, Minutes or Hours"},
				{form(`[` + good + `,{"type":18,"component":{"type":21,"custom_id":"unit","value":"hours"}}]`), tickets.MsgHours},
				{form(`[{"type":99,"components":[{"type":98,"component":{"type":97}}]},{"type":18,"component":{"type":4,"custom_id":"reason","value":true}}]`), tickets.MsgReason},
				{`{"custom_id":"details:JIT-1042","components":[]}`, sayUnknownButton},
				{`{"custom_id":"explode:JIT-1042","components":[]}`, sayUnknownButton},
				{`{"custom_id":"approve:","components":[]}`, sayUnknownButton},
				{`{"custom_id":"approve:<@1>","components":[]}`, sayUnknownButton},
				{`{"custom_id":"approve:JIT-1042:x","components":[]}`, sayUnknownButton},
				{`{"custom_id":{"approve":"JIT-1042"}}`, sayUnknownButton},
				{`{}`, sayUnknownButton},
				{`{"custom_id":"approve:JIT-77","components":[` + good + `]}`, "There is no ticket JIT-77"},
			} {
				if err := w.Click(t.Context(), i%20, card, adapters.ActionApprove); err != nil {
					t.Fatal(err)
				}
				if err := w.fake.Person(userOf(i%20)).SubmitRaw(t.Context(), json.RawMessage(tt.data)); err != nil {
					t.Errorf("%s: %v", tt.data, err)
					continue
				}
				notes := w.Notes(i % 20)
				if len(notes) == 0 || !strings.Contains(notes[len(notes)-1], tt.say) {
					t.Errorf("%s: told %q, want %q", tt.data, notes, tt.say)
				}
			}
			if tk.Decision != nil {
				t.Errorf("decided: %+v", tk.Decision)
			}
			if n := h.submits.Load(); n != 12 {
				t.Errorf("%d forms reached the handler, want 12", n)
			}
			// Buttons that are not ours, or of tickets that are not there.
			for custom, say := range map[string]string{"explode:JIT-1042": sayUnknownButton, "approve": sayUnknownButton, "approve:JIT": sayUnknownButton, "deny:JIT-99": "There is no ticket JIT-99", "form:JIT-1042": sayUnknownButton} {
				body := string(w.fake.Person(userOf(19)).ClickBody(channel, card, custom))
				if got := w.hears(19, body); !strings.Contains(got, say) {
					t.Errorf("%s: told %q, want %q", custom, got, say)
				}
			}
		})
	}
}

func TestDecidedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := begin(t, mode, b, nil)
			tk, card := posted(t, b, w)
			// One has the form open, one has the button to try again, one
			// looks at an old card.
			for i := range 2 {
				if err := w.Click(t.Context(), i, card, adapters.ActionApprove); err != nil {
					t.Fatal(err)
				}
			}
			id, custom, _ := w.mistaken(1, map[string]string{"reason": "mine", "unit": "hours", "amount": "99"})
			if a := b.Submit(t.Context(), adapters.Submission{Actor: w.Actor(5), Number: tk.Number, Verdict: tickets.Deny, Form: tickets.Form{Reason: "no"}}); a != (adapters.Done{}) {
				t.Fatalf("Submit() = %v", a)
			}
			if err := w.fake.Person(userOf(0)).Submit(t.Context(), map[string]string{"reason": "ok", "unit": "once"}); err != nil {
				t.Fatal(err)
			}
			if err := w.fake.Person(userOf(1)).ClickEphemeral(t.Context(), id, custom); err != nil {
				t.Fatal(err)
			}
			if err := w.fake.Person(userOf(2)).Click(t.Context(), channel, card, buttonOf(tk, "approve")); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if got := w.Notes(i); len(got) != 1 || !strings.Contains(got[0], "person5 has already denied this request") {
					t.Errorf("person %d is told %q", i, got)
				}
				if all := w.fake.Person(userOf(i)).Ephemerals(); len(all) == 1 && strings.Contains(string(all[0].Components), "custom_id") {
					t.Errorf("person %d can still try again", i)
				}
			}
		})
	}
}

// TestTypedIsKeptWhenNothingWasDone: an answer that says so keeps what was
// typed, on the first form and on one that was opened again.
func TestTypedIsKeptWhenNothingWasDone(t *testing.T) {
	t.Parallel()
	b := &away{Book: adaptertest.NewBook()}
	w := begin(t, "gateway", b, nil)
	tk, id := posted(t, b.Book, w)
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	b.away.Store(true)
	typed := map[tickets.FormField]string{tickets.FieldReason: "patch window", tickets.FieldUnit: "minutes", tickets.FieldAmount: "30"}
	for range 2 {
		said, err := w.Submit(t.Context(), 0, typed)
		if err != nil {
			t.Fatal(err)
		}
		if len(said) != 1 || !strings.Contains(said[0], "the store is away") || !strings.Contains(said[0], "patch window") {
			t.Fatalf("told %q, want the reason and what was typed", said)
		}
		typed = nil // the form holds it
	}
	b.away.Store(false)
	if said, err := w.Submit(t.Context(), 0, nil); err != nil || len(said) > 0 {
		t.Fatalf("Submit() = %q, %v", said, err)
	}
	if b.mustDecide(tk.Number); len(w.Notes(0)) != 1 {
		t.Errorf("notes %q, want one, which was changed", w.Notes(0))
	}
}

// away is a bot whose store comes and goes.
type away struct {
	*adaptertest.Book
	away    atomic.Bool
	decided sync.Map
}

func (a *away) Submit(ctx context.Context, s adapters.Submission) adapters.Answer {
	if a.away.Load() {
		return adapters.Note{Text: "the store is away", Retryable: true}
	}
	answer := a.Book.Submit(ctx, s)
	if _, done := answer.(adapters.Done); done {
		a.decided.Store(s.Number, s.Form)
	}
	return answer
}

func (a *away) mustDecide(n tickets.Number) {
	if form, ok := a.decided.Load(n); !ok || form != any(tickets.Form{Reason: "patch window", Unit: tickets.UnitMinutes, Amount: "30"}) {
		panic(fmt.Sprintf("decided with %v", form))
	}
}
