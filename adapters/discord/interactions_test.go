package discord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
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
