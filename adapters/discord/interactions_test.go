package discord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const (
	sayUnknownButton  = "This button belongs to another version of Countersign"
	sayUnknownCommand = "Discord still shows a command of another version of Countersign"
	saySent           = "Sent. The message of JIT-1042 shows what comes of it"
)

// recording counts what reaches the handler.
type recording struct {
	*adaptertest.Book
	clicks, submits, commands atomic.Int32
	last                      atomic.Value // string: the last command
}

func (r *recording) Click(ctx context.Context, c adapters.Click) adapters.Answer {
	r.clicks.Add(1)
	return r.Book.Click(ctx, c)
}

func (r *recording) Submit(ctx context.Context, s adapters.Submission) adapters.Answer {
	r.submits.Add(1)
	return r.Book.Submit(ctx, s)
}

func (r *recording) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	r.commands.Add(1)
	r.last.Store(c.Text)
	return r.Book.Command(ctx, c)
}

func (r *recording) all() int32 { return r.clicks.Load() + r.submits.Load() + r.commands.Load() }

func TestOnlyDiscordGetsIn(t *testing.T) {
	t.Parallel()
	h := &recording{Book: adaptertest.NewBook()}
	w := begin(t, "http", h, nil)
	_, id := posted(t, h.Book, w)
	click := string(w.fake.Person(userOf(0)).ClickBody(channel, id, "approve:JIT-1042"))
	send := func(d discordtest.RawDelivery) (int, string) {
		t.Helper()
		status, body, err := w.fake.Deliver(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	for name, d := range map[string]discordtest.RawDelivery{
		"Unsigned":       {Unsigned: true},
		"OtherKey":       {OtherKey: true},
		"NoHex":          {Signature: strings.Repeat("zz", 64)},
		"Short":          {Signature: "abcd"},
		"Zeros":          {Signature: strings.Repeat("00", 64)},
		"Old":            {Age: 6 * time.Minute},
		"Future":         {Age: -6 * time.Minute},
		"NoTimestamp":    {Timestamp: "yesterday"},
		"HugeTimestamp":  {Timestamp: "99999999999999999999"},
		"LargeTimestamp": {Timestamp: "9223372036854775807"},
		"SmallTimestamp": {Timestamp: "-9223372036854775808"},
	} {
		for _, body := range []string{"", click} { // a PING too
			d.Body = body
			if status, _ := send(d); status != http.StatusUnauthorized {
				t.Errorf("%s: status %d, want 401", name, status)
			}
		}
	}
	if status, _ := send(discordtest.RawDelivery{Body: `"` + strings.Repeat("a", 2<<20) + `"`}); status != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MiB: status %d, want 413", status)
	}
	for _, body := range []string{"{", "type=1", "\x00"} {
		if status, _ := send(discordtest.RawDelivery{Body: body}); status != http.StatusBadRequest {
			t.Errorf("%q, rightly signed: status %d, want 400", body, status)
		}
	}
	res, err := http.Get(w.bot + "/discord/interactions")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET: status %d", res.StatusCode)
	}
	if n := h.all(); n != 0 {
		t.Fatalf("%d got through", n)
	}
	if status, body := send(discordtest.RawDelivery{}); status != http.StatusOK || body != `{"type":1}` {
		t.Errorf("PING: status %d, %q", status, body)
	}

	// The same bytes again, and the same click signed again, act once.
	if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	all := w.fake.Deliveries()
	last := all[len(all)-1]
	for range 3 {
		if status, body := send(discordtest.RawDelivery{Replay: &last}); status != http.StatusOK || body != last.Answer {
			t.Errorf("replay: status %d, %q, want the first answer", status, body)
		}
		if status, _ := send(discordtest.RawDelivery{Body: last.Body}); status != http.StatusOK {
			t.Errorf("again: status %d", status)
		}
	}
	if n := h.all(); n != 1 {
		t.Errorf("%d reached the handler, want 1", n)
	}
	if err := w.fake.CheckInteractionsURL(t.Context()); err != nil {
		t.Error(err)
	}
}

// hears sends an interaction that a test has made up, and returns what the
// person is told.
func (w *world) hears(i int, body string) string {
	w.t.Helper()
	if w.bot == "" {
		before := len(w.Notes(i))
		w.fake.Dispatch("INTERACTION_CREATE", json.RawMessage(body))
		w.poll("a word", func() bool { return len(w.Notes(i)) > before })
		return w.Notes(i)[before]
	}
	status, answer, err := w.fake.Deliver(w.t.Context(), discordtest.RawDelivery{Body: body})
	if err != nil || status != http.StatusOK {
		w.t.Fatalf("status %d, %v", status, err)
	}
	if !strings.Contains(answer, `"flags":32832`) { // ephemeral, components
		w.t.Errorf("everybody sees %s", answer)
	}
	return cardOf("", components(w.t, answer)).Text
}

// change is body with some of it replaced.
func change(t testing.TB, body string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(body, pairs[i]) {
			t.Fatalf("no %s in %s", pairs[i], body)
		}
		body = strings.ReplaceAll(body, pairs[i], pairs[i+1])
	}
	return body
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := &recording{Book: adaptertest.NewBook()}
			w := begin(t, mode, h, nil)
			_, id := posted(t, h.Book, w)
			for name, pairs := range map[string][]string{
				"OtherApplication": {`"application_id":"` + discordtest.ApplicationID + `"`, `"application_id":"999999999999999999"`},
				"OtherGuild":       {`"guild_id":"` + discordtest.GuildID + `"`, `"guild_id":"999999999999999999"`},
				"NoGuild":          {`"guild_id":"` + discordtest.GuildID + `"`, `"guild_id":null`},
				"DirectMessage":    {`"guild_id":"` + discordtest.GuildID + `",`, ``, `"member":`, `"user":`},
				"NoMember":         {`"member":{`, `"member":null,"left":{`},
				"NoUser":           {`"id":"` + userOf(0) + `"`, `"id":""`},
				"NoIDOfAUser":      {`"id":"` + userOf(0) + `"`, `"id":"role:1"`},
			} {
				for _, kind := range []string{"3", "5", "2"} {
					body := string(w.fake.Person(userOf(0)).ClickBody(channel, id, "approve:JIT-1042"))
					body = change(t, change(t, body, pairs...), `"type":3,`, `"type":`+kind+`,`)
					if got := w.hears(0, body); got != wording.MsgStranger {
						t.Errorf("%s, type %s: told %q", name, kind, got)
					}
				}
			}
			if n := h.all(); n != 0 {
				t.Errorf("%d reached the handler", n)
			}
		})
	}
}

// discordsDeadlines has the chat answer within Discord's 3 s, which the fake
// does not measure: it only bounds a hang.
func discordsDeadlines(_ *discordtest.Config, c *discord.Config) { c.AnswerTime = chatkit.AnswerTime }

// TestSlowHandlerIsAnsweredInTime: Discord gives up after three seconds, and
// so must we before.
func TestSlowHandlerIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
			h := handler{
				click: func(ctx context.Context, c adapters.Click) adapters.Answer {
					if c.Actor.ID == userOf(1) {
						<-ctx.Done() // as a store that does not answer
						return adapters.Note{Text: wording.MsgAgain}
					}
					return adapters.Form{Ticket: tk, Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}}
				},
				submit: func(ctx context.Context, _ adapters.Submission) adapters.Answer {
					<-ctx.Done()
					return adapters.Note{Text: wording.MsgAgain}
				},
				command: func(ctx context.Context, _ adapters.Command) adapters.Answer {
					<-ctx.Done()
					return adapters.Note{Text: wording.MsgAgain}
				},
			}
			w := begin(t, mode, h, discordsDeadlines)
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			for i, act := range []func() error{
				func() error {
					_, err := w.Submit(t.Context(), 0, map[tickets.FormField]string{tickets.FieldReason: "ok"})
					return err
				},
				func() error { return w.Click(t.Context(), 1, id, adapters.ActionApprove) },
				func() error { _, err := w.Command(t.Context(), 2, "status"); return err },
			} {
				if err := act(); err != nil {
					t.Errorf("person %d: %v", i, err)
				} else if got := w.Notes(i); len(got) != 1 || got[0] != wording.MsgAgain {
					t.Errorf("person %d is told %q", i, got)
				}
			}
		})
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), tickets.Place{})
			h := handler{
				click: func(_ context.Context, c adapters.Click) adapters.Answer {
					if c.Actor.ID == userOf(1) {
						panic("broken")
					}
					return adapters.Form{Ticket: tk, Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}}
				},
				submit:  func(context.Context, adapters.Submission) adapters.Answer { panic(errors.New("broken")) },
				command: func(context.Context, adapters.Command) adapters.Answer { panic(&tk) },
			}
			w := begin(t, mode, h, nil)
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Submit(t.Context(), 0, map[tickets.FormField]string{tickets.FieldReason: "ok"}); err != nil {
				t.Error(err)
			}
			if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil {
				t.Error(err)
			}
			if _, err := w.Command(t.Context(), 2, "status"); err != nil {
				t.Error(err)
			}
			for i := range 3 {
				if got := w.Notes(i); len(got) != 1 || !strings.Contains(got[0], wording.MsgBroken) {
					t.Errorf("person %d is told %q", i, got)
				}
			}
		})
	}
}

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

// TestDetailsInPages: over HTTP the rest may be on its way before Discord has
// read the answer that it follows.
func TestDetailsInPages(t *testing.T) {
	t.Parallel()
	r := adaptertest.Request()
	r.Fields = nil
	for i := range 40 {
		r.Fields = append(r.Fields, tickets.Field{Name: fmt.Sprintf("field%02d", i), Value: strings.Repeat("*long* @everyone ", 20+i)})
	}
	r.Fields = append(r.Fields, tickets.Field{Name: "Command Line", Value: strings.Repeat("\\", 300_000)}, tickets.Field{Name: "Empty"})
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := begin(t, mode, b, nil)
			tk := b.Add(1042, r, w.Place())
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				if err := w.Click(t.Context(), i, id, adapters.ActionDetails); err != nil {
					t.Fatal(err)
				}
				w.poll("all pages", func() bool { return len(w.Notes(i)) == 5 })
				all := strings.Join(w.Notes(i), "\n")
				last := -1
				for n := range 15 {
					at := strings.Index(all, fmt.Sprintf("field%02d", n))
					if at <= last {
						t.Fatalf("field%02d is missing, or out of order", n)
					}
					last = at
				}
				if !strings.Contains(all, "more fields, which are in the record of JIT-1042") {
					t.Errorf("nothing tells of the rest: %.300s", w.Notes(i)[4])
				}
			}
			if strings.Contains(w.log.String(), "send follow-up response") {
				t.Error("somebody was not told the rest")
			}
			if n := len(w.fake.Messages(channel)); n != 1 {
				t.Errorf("%d messages in the channel", n)
			}
		})
	}
}

// TestDetailsGoOn: what follows fails in each way; nobody is told twice, and
// there is no storm.
func TestDetailsGoOn(t *testing.T) {
	t.Parallel()
	r := adaptertest.Request()
	for range 10 {
		r.Fields = append(r.Fields, tickets.Field{Name: "name", Value: strings.Repeat("long ", 300)})
	}
	for name, tt := range map[string]struct {
		fault discordtest.Fault
		calls int
		pages int
	}{
		"NotYetAnswered":  {discordtest.Fault{Kind: discordtest.DiscordError, Code: 10015, Status: 404, Times: 2}, 6, 5},
		"NeverAnswered":   {discordtest.Fault{Kind: discordtest.DiscordError, Code: 10015, Status: 404, Times: -1}, 5, 1},
		"Late":            {discordtest.Fault{Kind: discordtest.DiscordError, Code: 50027, Status: 401, Times: -1}, 1, 1},
		"Limited":         {discordtest.Fault{Kind: discordtest.Limited, Times: -1}, 1, 1},
		"LostAnswer":      {discordtest.Fault{Kind: discordtest.DropConnection, Did: true}, 1, 2},
		"ServerErrorThen": {discordtest.Fault{Kind: discordtest.ServerError, Skip: 1}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := begin(t, "gateway", b, nil)
			tk := b.Add(1042, r, w.Place())
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			tt.fault.Route = routeFollowUp
			w.fake.Fail(tt.fault)
			if err := w.fake.Person(userOf(0)).Click(t.Context(), channel, id, buttonOf(tk, "details")); err != nil {
				t.Fatal(err)
			}
			w.poll("the end", func() bool {
				return len(w.Notes(0)) == 5 || strings.Contains(w.log.String(), "send follow-up response")
			})
			if n := len(w.Notes(0)); n != tt.pages {
				t.Errorf("%d pages, want %d", n, tt.pages)
			}
			if n := w.fake.Count(routeFollowUp); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
			if err := w.chat.Ready(); err != nil {
				t.Errorf("Ready() = %v: a token of an interaction is not the bot's", err)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := &recording{Book: adaptertest.NewBook()}
			w := begin(t, mode, h, nil)
			p := w.fake.Person(userOf(2))
			for _, tt := range []struct {
				word    string
				options map[string]string
				want    string
			}{
				{"help", nil, "help"},
				{"status", nil, "status"},
				{"tickets", nil, "tickets"},
				{"tickets", map[string]string{"state": "pending"}, "tickets pending"},
				{"tickets", map[string]string{"text": "7-zip ann", "state": "On Hold"}, "tickets On Hold 7-zip ann"},
				{"ticket", map[string]string{"number": " JIT-1042 "}, "ticket JIT-1042"},
				{"ticket", map[string]string{"number": "**<@&1> @everyone"}, "ticket **<@&1> @everyone"},
				{"state", map[string]string{"state": "On Hold", "number": "JIT-1042"}, "state JIT-1042 On Hold"},
				{"test-connection", nil, "test-connection"},
			} {
				got, err := p.Command(t.Context(), channel, tt.word, tt.options)
				if err != nil || got == nil {
					t.Fatalf("%s %v: %v", tt.word, tt.options, err)
				}
				if said := cardOf("", got.Components).Text; !strings.HasPrefix(said, "You said: "+tt.want) || h.last.Load() != tt.want {
					t.Errorf("%s %v: the handler saw %q, and the person %q", tt.word, tt.options, h.last.Load(), said)
				}
				if got.Flags&discordtest.FlagEphemeral == 0 {
					t.Errorf("everybody sees the answer to %s", tt.word)
				}
			}
			for _, tt := range []struct {
				word    string
				options map[string]string
			}{{"incoming", map[string]string{"action": "gone"}}, {"ticket", nil}, {"state", map[string]string{"number": "1"}}, {"help", map[string]string{"x": "y"}}, {"explode", nil}} {
				if _, err := p.Command(t.Context(), channel, tt.word, tt.options); err == nil {
					t.Errorf("Discord offers %s %v", tt.word, tt.options)
				}
			}
			if len(w.fake.Messages(channel)) > 0 {
				t.Error("an answer is in the channel")
			}
		})
	}
	h := &recording{Book: adaptertest.NewBook()}
	w := begin(t, "http", h, nil)
	if _, err := w.Command(t.Context(), 0, "status"); err != nil {
		t.Fatal(err)
	}
	all := w.fake.Deliveries()
	body := all[len(all)-1].Body
	before := h.commands.Load()
	for i, pairs := range [][]string{
		{`"name":"status"`, `"name":"explode"`},
		{`"name":"epm"`, `"name":"other"`},
		{`"name":"status","options":[]`, `"name":"status","options":{"a":1}`, `"options":[{`, `"options":[{},{`},
		{`"options":[{"name":"status","options":[],"type":1}]`, `"options":null`},
		{`"data":{`, `"data":7,"x":{`},
	} {
		odd := change(t, change(t, body, pairs...), all[len(all)-1].ID, fmt.Sprintf("9000000000000000%02d", i))
		if got := w.hears(0, odd); !strings.Contains(got, sayUnknownCommand) {
			t.Errorf("%v: told %q", pairs, got)
		}
	}
	if n := h.commands.Load(); n != before {
		t.Errorf("%d commands of another version reached the handler", n-before)
	}
}

func TestWordlessAnswers(t *testing.T) {
	t.Parallel()
	var answer atomic.Value
	h := handler{
		click: func(context.Context, adapters.Click) adapters.Answer { return adapters.Done{} },
		command: func(_ context.Context, c adapters.Command) adapters.Answer {
			answer.Store(c.Text)
			if c.Text == "help" {
				return nil
			}
			return adapters.Note{}
		},
	}
	w := begin(t, "gateway", h, nil)
	if got, err := w.Command(t.Context(), 0, "help"); err != nil || got != "Done" {
		t.Errorf("nil is answered with %q, %v", got, err)
	}
	if got, err := w.Command(t.Context(), 0, "status"); err != nil || got == "" {
		t.Errorf("an empty note is answered with %q, %v", got, err)
	}
	id, err := w.chat.Post(t.Context(), w.Place(), request(w, 1042), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil || len(w.Notes(1)) > 0 {
		t.Errorf("a click without words: %v, %q", err, w.Notes(1))
	}
}

// TestCallbackFails: an interaction is answered at most once; the answer is
// sent again only if it is unclear whether it arrived.
func TestCallbackFails(t *testing.T) {
	t.Parallel()
	kind := func(k discordtest.FaultKind, did bool, times int) discordtest.Fault {
		return discordtest.Fault{Kind: k, Did: did, Times: times}
	}
	forEver := func(code, status int) discordtest.Fault {
		return discordtest.Fault{Kind: discordtest.DiscordError, Code: code, Status: status, Times: -1}
	}
	for name, tt := range map[string]struct {
		fault discordtest.Fault
		calls int
		open  bool // the form opens
		log   bool // the operator is told
	}{
		"ServerError":        {kind(discordtest.ServerError, false, 1), 2, true, false},
		"ServerErrorDid":     {kind(discordtest.ServerError, true, 1), 2, true, false},
		"ServerErrorTwice":   {kind(discordtest.ServerError, false, 2), 3, true, false},
		"ServerErrorForEver": {kind(discordtest.ServerError, false, -1), 3, false, true},
		"Drop":               {kind(discordtest.DropConnection, false, 1), 2, true, false},
		"DropDid":            {kind(discordtest.DropConnection, true, 1), 2, true, false},
		"DropForEver":        {kind(discordtest.DropConnection, false, -1), 3, false, true},
		"BadReset":           {kind(discordtest.BadReset, true, 1), 1, true, false},
		"TooLate":            {forEver(10062, 404), 1, false, true},
		"AnsweredBefore":     {forEver(40060, 400), 1, false, true},
		"BadToken":           {forEver(50027, 401), 1, false, true},
		"Invalid":            {forEver(50035, 400), 2, false, true},
		"Limited":            {kind(discordtest.Limited, false, -1), 1, false, true},
		"LimitedHTML":        {kind(discordtest.LimitedHTML, false, -1), 1, false, true},
		"Proxy":              {named(0, 404), 2, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &recording{Book: adaptertest.NewBook()}
			w := begin(t, "gateway", h, nil)
			tk, id := posted(t, h.Book, w)
			tt.fault.Route = routeCallback
			w.fake.Fail(tt.fault)
			w.fake.Dispatch("INTERACTION_CREATE", w.fake.Person(userOf(0)).ClickBody(channel, id, "approve:JIT-1042"))
			told := func() bool { return strings.Contains(w.log.String(), "send interaction response") }
			w.poll("the end", func() bool { return w.fake.Count(routeCallback) >= tt.calls && (told() || w.Screen(0) != "") })
			// Another click is answered after whatever the first one does.
			w.fake.ClearFaults()
			w.opens(1, id)
			if n := w.fake.Count(routeCallback) - 1; n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
			if open := w.Screen(0) != ""; open != tt.open || told() != tt.log {
				t.Errorf("the form is open: %v, want %v; told: %v, want %v", open, tt.open, told(), tt.log)
			}
			if n := h.clicks.Load(); n != 2 {
				t.Errorf("the handler saw %d clicks, want 2", n)
			}
			// An interaction says nothing about the bot's own calls.
			if err := w.chat.Edit(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk); err != nil || w.chat.Ready() != nil {
				t.Errorf("Edit() = %v, Ready() = %v", err, w.chat.Ready())
			}
		})
	}
}

// TestSignedNonsense: whatever Discord may sign, there is an answer.
func TestSignedNonsense(t *testing.T) {
	t.Parallel()
	h := &recording{Book: adaptertest.NewBook()}
	w := begin(t, "http", h, nil)
	for _, body := range []string{"null", "7", `"x"`, "[]", "{}", `{"type":77}`, `{"type":"1"}`, `{"id":{},"type":3,"member":[],"data":7}`, `{"type":4}`} {
		status, answer, err := w.fake.Deliver(t.Context(), discordtest.RawDelivery{Body: body})
		if err != nil || status != http.StatusOK || !json.Valid([]byte(answer)) {
			t.Errorf("%s: status %d, %q, %v", body, status, answer, err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.bot+"/discord/interactions", io.MultiReader(strings.NewReader(`{"type":1}`)))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a body without a length: %v, %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	if n := h.all(); n != 0 {
		t.Errorf("%d reached the handler", n)
	}
}

// TestRefusedAnswerIsSaidInWords: a form or a note that Discord does not take
// leaves nobody without a word.
func TestRefusedAnswerIsSaidInWords(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, nil)
	_, id := posted(t, b, w)
	w.fake.Fail(discordtest.Fault{Route: routeCallback, Kind: discordtest.DiscordError, Code: 50035, Status: 400})
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.Notes(0), "\n"); !strings.Contains(got, "Discord did not take Countersign's answer") {
		t.Errorf("told %q", got)
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
		return adapters.Note{Text: "the store is away", Again: true}
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
