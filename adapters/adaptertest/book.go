package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// Book is a Handler that keeps tickets in memory and applies the rules, as
// the bot does.
type Book struct {
	mu      sync.Mutex
	rules   tickets.Rules
	tickets map[tickets.Number]*tickets.Ticket
	refuse  string                               // said to every click and submission, if not empty
	asks    func(context.Context, tickets.Actor) // about whoever clicks or submits, if not nil
	panic   bool
	clicks  []adapters.Click
	forms   []adapters.Submission
	hold    chan struct{} // commands wait until it is closed, if not nil

	commands   []adapters.Command
	deliveries map[adapters.Delivery]int

	version  int64 // of settings
	settings map[string]string
}

// NewBook returns an empty Book.
func NewBook() *Book {
	typ := tickets.Types()[0]
	return &Book{
		version: 7, settings: map[string]string{"category": "Hardware", "auto_close": "false", "active_states": "New, In Progress"},
		rules:   tickets.Rules{Type: typ, Active: typ.Active, Title: "Privileged access"},
		tickets: map[tickets.Number]*tickets.Ticket{}, deliveries: map[adapters.Delivery]int{},
	}
}

// came notes that something was delivered. The caller holds mu.
func (b *Book) came(d adapters.Delivery) { b.deliveries[d]++ }

// eachOnce fails if what people did has no name, or two things have the same.
func (b *Book) eachOnce(t *testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for d, n := range b.deliveries {
		if d == "" || n > 1 {
			t.Errorf("%d deliveries are called %q; want each to have a name of its own", n, d)
		}
	}
}

// Add makes the ticket of a request.
func (b *Book) Add(seq int64, r tickets.Request, place tickets.Place) *tickets.Ticket {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	rules := b.rules
	rules.Places = []tickets.Place{place}
	t := tickets.Start(tickets.NewNumber("JIT", seq), r.ID, rules, now)
	t.Ask(r, rules, now)
	b.tickets[t.Number] = t
	return t
}

// Click opens the form or the details, or moves the ticket.
func (b *Book) Click(ctx context.Context, c adapters.Click) adapters.Answer {
	if b.asks != nil {
		b.asks(ctx, c.Actor)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clicks = append(b.clicks, c)
	b.came(c.Delivery)
	t := b.tickets[c.Number]
	switch {
	case b.panic:
		panic("the handler breaks")
	case t == nil:
		return adapters.Note{Text: wording.MsgNoTicket(c.Number)}
	case c.Action == adapters.ActionDetails:
		return adapters.Details{Ticket: snapshot(t)}
	case b.refuse != "":
		return adapters.Note{Text: b.refuse}
	}
	if c.Action == adapters.ActionState {
		t.Move(c.State, c.Actor, b.rules, time.Now())
		return adapters.Done{}
	}
	if err := t.Decidable(b.rules); err != nil {
		return adapters.Note{Text: wording.MsgUndecidable(t, err)}
	}
	f := adapters.Form{Ticket: snapshot(t), Verdict: tickets.Verdict(c.Action)}
	if errors.Is(c.Digest.Check(t.Request), tickets.ErrMoreKnown) {
		f.Problems = tickets.Problems{tickets.FieldReason: wording.MsgMoreKnown}
	}
	if c.Action == adapters.ActionForm {
		f.Verdict, f.Values = c.Verdict, c.Form
	} else {
		f.Values.Unit, f.Values.Amount = t.Request.FormDuration()
	}
	return f
}

// snapshot is t as a store gives it out: it changes no more.
func snapshot(t *tickets.Ticket) *tickets.Ticket {
	s := *t
	return &s
}

// Submit decides.
func (b *Book) Submit(_ context.Context, s adapters.Submission) adapters.Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.came(s.Delivery)
	b.forms = append(b.forms, s)
	t := b.tickets[s.Number]
	switch {
	case t == nil:
		return adapters.Note{Text: wording.MsgNoTicket(s.Number)}
	case b.refuse != "":
		return adapters.Note{Text: b.refuse}
	case errors.Is(s.Digest.Check(t.Request), tickets.ErrMoreKnown):
		return adapters.Form{Ticket: snapshot(t), Verdict: s.Verdict, Values: s.Form, Problems: tickets.Problems{tickets.FieldReason: wording.MsgMoreKnown}}
	}
	reason, d, problems := s.Form.Check(s.Verdict)
	if len(problems) > 0 {
		return adapters.Form{Ticket: snapshot(t), Verdict: s.Verdict, Values: s.Form, Problems: problems}
	}
	err := t.Decide(tickets.Decision{Verdict: s.Verdict, Reason: reason, Duration: d, By: s.Actor, At: time.Now(), Place: s.Place}, b.rules)
	if err != nil {
		return adapters.Note{Text: wording.MsgUndecidable(t, err)}
	}
	return adapters.Done{}
}

// dot is a picture.
var dot = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 1))); err != nil {
		panic(err) // a buffer takes all
	}
	return b.Bytes()
})

// Command repeats what was said, on pages if it is asked for "tickets" and with
// a picture for "report".
func (b *Book) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return adapters.Note{Text: "The time for an answer was over"}
		}
	}
	if c.Text == "config" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.came(c.Delivery)
		return b.form(nil, nil)
	}
	said := fmt.Sprintf("You said: %s", c.Text)
	n, err := strconv.Atoi(strings.TrimPrefix(c.Text, "tickets "))
	b.mu.Lock()
	b.commands = append(b.commands, c)
	b.came(c.Delivery)
	refuse := b.refuse
	b.mu.Unlock()
	switch {
	case refuse != "":
		return adapters.Note{Text: refuse}
	case c.Text == "report":
		return adapters.Note{Text: said, Picture: &adapters.Picture{PNG: dot(), Alt: "A grey dot <!channel> @everyone" + strings.Repeat(".", adapters.MaxAlt)}}
	case c.Text == "tickets":
		n = 1
	case err != nil:
		return adapters.Note{Text: said}
	}
	p := adapters.Page{Text: said + " <!channel> @everyone", Older: fmt.Sprintf("tickets %d", n+1)}
	if n > 1 {
		p.Newer = fmt.Sprintf("tickets %d", n-1)
	}
	if n > 2 {
		p.Older = "tickets " + strings.Repeat("x", adapters.MaxPagerCommand)
	}
	return p
}

// form is the form of the settings. typed stands in place of what is set.
func (b *Book) form(typed, problems map[string]string) adapters.Settings {
	out := adapters.Settings{Text: "Settings", Version: b.version}
	for _, f := range []adapters.Setting{
		{Key: "category", Label: "Category", Help: "Free text <!channel>"},
		{Key: "auto_close", Label: "Auto close", Options: []string{"true", "false"}},
		{Key: "active_states", Label: "Active states", Options: []string{"New", "In Progress", "On Hold"}, Many: true},
	} {
		f.Value, f.Problem = b.settings[f.Key], problems[f.Key]
		if v, ok := typed[f.Key]; ok {
			f.Value = v
		}
		out.Fields = append(out.Fields, f)
		out.Text += "\n" + f.Key + ": " + f.Value
	}
	return out
}

// SubmitSettings saves the settings. It refuses the category "bad", and a form of an
// older version, of which it keeps the category.
func (b *Book) SubmitSettings(ctx context.Context, c adapters.Configuration) adapters.Answer {
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.came(c.Delivery)
	switch {
	case c.Values["category"] == "bad":
		f := b.form(c.Values, map[string]string{"category": "This category is bad"})
		f.Version = c.Version
		return f
	case c.Version != b.version:
		return b.form(map[string]string{"category": c.Values["category"]}, map[string]string{"category": "Somebody else has changed this"})
	}
	b.version++
	maps.Copy(b.settings, c.Values)
	return adapters.Note{Text: "Saved by " + c.Actor.ID}
}

// Autocomplete suggests what was typed, in many ways, and the number that is given
// with it. Of a panic nobody hears.
func (b *Book) Autocomplete(_ context.Context, c adapters.Completion) adapters.Suggestions {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.panic {
		panic("the handler breaks")
	}
	out := adapters.Suggestions{
		{Text: c.Word + " \u202E" + strings.Repeat("😀", 200), Value: c.Typed + " for " + c.Actor.ID + " beside " + c.Given["number"]},
		{Text: "too long", Value: strings.Repeat("x", adapters.MaxSuggestion+1)},
		{Text: "", Value: "nothing to choose by"},
	}
	for i := range 50 {
		out = append(out, adapters.Suggestion{Text: fmt.Sprint("choice ", i), Value: fmt.Sprint(c.Arg, i)})
	}
	return out
}

// Home shows everything that can be decided, with what nobody may decide whose
// name is in it, and whoever asked.
func (b *Book) Home(_ context.Context, a tickets.Actor) adapters.Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.panic:
		panic("the handler breaks")
	case b.refuse != "":
		return adapters.Note{Text: b.refuse}
	}
	var out adapters.Home
	for _, n := range slices.Sorted(maps.Keys(b.tickets)) {
		t := b.tickets[n]
		switch {
		case !t.Open():
		case len(out.Queue) == 3:
			out.More++
		case t.Request.User == a.ID:
			out.Queue = append(out.Queue, adapters.Waiting{Ticket: snapshot(t), Own: wording.MsgOwnRequest})
		default:
			out.Queue = append(out.Queue, adapters.Waiting{Ticket: snapshot(t)})
		}
	}
	out.Intro = wording.MsgQueue(len(out.Queue)+out.More) + " for " + a.ID
	out.Health = "Everything works <!channel>"
	return out
}

// set is a setting of the book.
func (b *Book) set(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings[key]
}

// decision is the decision on t as it stands.
func (b *Book) decision(n tickets.Number) *tickets.Decision {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tickets[n].Decision
}

// Request is an ordinary request for an application.
func Request() tickets.Request {
	return tickets.Request{
		ID: "0b9f9d1c-6d1f-4a55-8b57-0f4f4f1f0a01", Kind: tickets.Application, EPMNumber: "EPM000238",
		Time: time.Date(2026, 11, 23, 11, 58, 0, 0, time.UTC),
		User: `ACME\ann`, Host: "PC-0815", Reason: "need to unpack the installer", Requested: "7200",
		Product: "7-Zip", Version: "24.09", Publisher: "Igor Pavlov",
		Path:   `C:\Program Files\7-Zip\7zFM.exe`,
		SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		Fields: []tickets.Field{{Name: "ProductName", Value: "7-Zip"}, {Name: "Owner", Value: `NT SERVICE\TrustedInstaller`}},
	}
}

// Hostile is a request whose every text tries something.
func Hostile() tickets.Request {
	evil := "Micros\u043eft <!channel> <!here> @everyone @here <@U01ANN> <@&42> <#C1> :white_check_mark:\n*Approved by* Ann\n" +
		"[safe](https://evil.example) <https://evil.example|https://good.example> \u202Eexe.fdp\u202C a\x00b zero\u200Bwidth \xff"
	r := Request()
	r.User, r.Host, r.Reason, r.Product, r.Version = "u "+evil, "h "+evil, "r "+evil, "p "+evil, "v"
	r.Publisher, r.Command, r.Parent, r.Source = "s "+evil, strings.Repeat(evil, 500), evil, evil
	r.Path, r.SHA256, r.EPMNumber, r.Requested, r.Reputation = `C:\`+evil, evil, evil, evil, evil
	r.Fields = nil
	for i := range 50 {
		r.Fields = append(r.Fields, tickets.Field{Name: fmt.Sprintf("field%d %s", i, evil), Value: strings.Repeat(evil, 20)})
	}
	return r
}
