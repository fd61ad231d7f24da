// Package adaptertest says what keeping the contract of [adapters.Chat]
// means. Every platform runs the suite against its fake:
//
//	func TestContract(t *testing.T) {
//		adaptertest.Run(t, func(t *testing.T, h adapters.Handler) adaptertest.Harness { … })
//	}
//
// The suite knows domain values and what people see; everything particular to
// a platform is behind the [Harness].
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
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// People is how many people a harness must have.
const People = 20

// Harness is a chat that runs, with the platform that it speaks to.
type Harness interface {
	Chat() adapters.Chat
	Place() tickets.Place      // a channel that the bot may post to
	Actor(i int) tickets.Actor // person i, from 0 to People-1
	// Many is a new group or role of the first n people, called by that name.
	Many(name string, n int) tickets.Principal
	// Missing is an ID in the shape of p's that there is not.
	Missing(p tickets.Principal) string

	// Cards are the messages in the place outside threads, oldest first.
	Cards() []Card
	// Replies are the texts in the thread of a card, oldest first.
	Replies(id string) []string
	// Notes are the texts that only person i was shown in the place.
	Notes(i int) []string
	// Pictures are the descriptions of pictures that only person i was shown,
	// and false where the platform shows none to one person alone.
	Pictures(i int) (alts []string, shows bool)
	// Delete removes a message, as an admin does.
	Delete(id string)
	// Fail makes the next call of op go wrong.
	Fail(op Op, how Trouble)

	// Click presses a button of a card.
	Click(ctx context.Context, i int, id string, action adapters.Action) error
	// Choose has person i choose a state from the menu of a card.
	Choose(ctx context.Context, i int, id string, state tickets.State) error
	// Screen is the text of the form or view that person i has open, or "".
	Screen(i int) string
	// Submit fills in and sends the open form of person i. The values are by
	// field; a unit is chosen before an amount is typed. It returns what the
	// person is told is wrong.
	Submit(ctx context.Context, i int, values map[tickets.FormField]string) (problems []string, err error)
	// Command types /epm with text, and returns what the person is shown.
	Command(ctx context.Context, i int, text string) (string, error)
	// Configure fills in and sends the form of the settings that person i has
	// open. The values are by key. It returns what the person is told is wrong.
	Configure(ctx context.Context, i int, values map[string]string) (problems []string, err error)
	// Complete has person i type into an argument of a word, others being
	// given, and returns the values that are suggested. The error is
	// errors.ErrUnsupported where nothing is.
	Complete(ctx context.Context, i int, word, arg, typed string, given map[string]string) ([]string, error)
	// OpenHome has person i open the page that is for them alone. The error is
	// errors.ErrUnsupported where there is none.
	OpenHome(ctx context.Context, i int) error
	// Home is that page as person i last saw it, or the zero Card.
	Home(i int) Card
	// ClickHome presses a button of ticket n on that page.
	ClickHome(ctx context.Context, i int, n tickets.Number, action adapters.Action) error
	// Turn presses the button of the newest note of person i that turns a page.
	Turn(ctx context.Context, i int, action adapters.Action) error
	// Waits reports whether person i was told that an answer takes a moment,
	// and sees that still.
	Waits(i int) bool

	// Stop tells the chat to end, and returns a channel that is closed when it
	// has ended.
	Stop() <-chan struct{}
}

// Card is a message as people see it.
type Card struct {
	ID      string
	Text    string            // everything that can be read on it
	Speech  string            // what a notification and a screen reader say
	Buttons []adapters.Action // in order
	Menu    []string          // of the states: what it says while it is closed, then the choices
	Pings   []string          // whom the message notifies
}

// Op is a call to the platform.
type Op string

// The calls that a harness can make fail.
const (
	OpPost  Op = "post"
	OpEdit  Op = "edit"
	OpReply Op = "reply"

	OpIdentify Op = "identify"
	OpAnswer   Op = "answer" // that is said after the first one
	OpHome     Op = "home"
)

// Trouble is a way for a call to go wrong.
type Trouble string

// The troubles.
const (
	LostAnswer  Trouble = "took effect, no answer"
	LostRequest Trouble = "no effect, no answer"
	Limited     Trouble = "rate limited, no effect"
)

// Hang bounds the waits of tests that need a chat: it ends what hangs, and is
// far above what a busy machine needs.
const Hang = 2 * time.Minute

// Patience is how long a chat is told that its platform waits for an answer
// where a test is not about that. The fakes wait for [Hang].
const Patience = Hang / 2

// Run runs the suite. start starts a chat with h, on a platform that waits for
// answers as long as wait, and returns when it is ready; it ends it with the
// test.
func Run(t *testing.T, start func(t *testing.T, h adapters.Handler, wait time.Duration) Harness) {
	run := func(wait time.Duration, tests []contractTest) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				b := NewBook()
				defer b.eachOnce(t)
				tt.run(t, b, start(t, b, wait))
			})
		}
	}
	run(Patience, []contractTest{
		{"PostShowsTheTicket", postShows},
		{"PostAgainAfterLostAnswerAdopts", postAdopts},
		{"PostAgainAfterLostRequestPosts", postRepeats},
		{"AdoptedCardShowsTheNewestRev", adoptedIsCurrent},
		{"EditMayBeRepeated", editRepeats},
		{"FinalCardCannotBeDecided", finalCard},
		{"InactiveCardCannotBeDecided", inactiveCard},
		{"MenuOffersTheOtherStates", menuOffers},
		{"MenuMovesTheTicket", menuMoves},
		{"MenuIsRefusedToOnePerson", menuRefused},
		{"CardThatNobodyCanDecideSaysSo", nobodyCard},
		{"EditOfDeletedIsGone", editGone},
		{"DeletedIsPostedAgain", postedAgain},
		{"LimitedSaysHowLong", limited},
		{"ReplyAgainAfterLostAnswerIsThereOnce", replyOnce},
		{"RepliesOfOneThreadAreToldApart", repliesApart},
		{"HostileTextNeverPings", hostile},
		{"FormDecides", formDecides},
		{"FormRefusesBadValues", formRefuses},
		{"DenyNeedsAReasonOnly", formDenies},
		{"WhatIsClickedSaysWhatItShows", digestsCarried},
		{"FormIsShownAnewWhenMoreIsKnown", formAnew},
		{"NoteIsForOnePerson", notePrivate},
		{"DetailsShowEverything", details},
		{"CommandIsAnswered", command},
		{"SettingsAreShown", settingsShown},
		{"SettingsThatOthersChangedAreSeen", settingsOfOthers},
		{"ValuesAreSuggested", suggests},
		{"PagesAreTurned", turnPages},
		{"PageStaysIfItCannotBeTurned", turnFails},
		{"HomeShowsWhatWaits", homeShows},
		{"HomeIsDecidedFrom", homeDecides},
		{"HomeSaysWhatWentWrong", homeRefuses},
		{"HomeIsPublishedAgainIfItWasLost", homeLost},
		{"TwentyAtOnceOneDecides", twenty},
		{"HoldsAPersonById", holds},
		{"ReachTellsWhoAndHowMany", reaches},
		{"IdentifiesAPerson", identifies},
		{"IdentityOfActorsIsKnown", identifiesActors},
		{"PanicOfTheHandlerIsSurvived", panics},
	})
	// Answers that come later than the platform waits.
	run(chatkit.AnswerTime, []contractTest{
		{"PictureIsForOnePerson", picture},
		{"SlowCommandIsAnsweredLater", slowCommand},
		{"LateAnswerIsSaidAgainIfItWasLost", lateAnswerLost},
		{"StopLetsCommandsEnd", stopLetsEnd},
		{"SettingsThatTakeLongAreSaved", settingsLate},
		{"PageThatTakesLongIsTurnedLater", turnLate},
	})
}

type contractTest struct {
	name string
	run  func(t *testing.T, b *Book, h Harness)
}

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
	out.Say = wording.MsgQueue(len(out.Queue)+out.More) + " for " + a.ID
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

func ctx(t *testing.T) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), Hang)
	t.Cleanup(cancel)
	return c
}

// post posts a ticket that must go through.
func post(t *testing.T, h Harness, tk *tickets.Ticket) tickets.Message {
	t.Helper()
	id, err := h.Chat().Post(ctx(t), h.Place(), tk, time.Time{})
	if err != nil || id == "" {
		t.Fatalf("Post() = %q, %v", id, err)
	}
	return tickets.Message{Place: h.Place(), ID: id, Shown: tk.Rev, Told: len(tk.Events)}
}

// card is the only card.
func card(t *testing.T, h Harness) Card {
	t.Helper()
	cards := h.Cards()
	if len(cards) != 1 {
		t.Fatalf("%d cards, want 1", len(cards))
	}
	return cards[0]
}

// failed checks the class of a failure and returns it.
func failed(t *testing.T, err error, want tickets.Class) *tickets.Failure {
	t.Helper()
	var f *tickets.Failure
	if !errors.As(err, &f) {
		t.Fatalf("error is %v (%T), want a tickets.Failure", err, err)
	}
	if f.Class != want {
		t.Fatalf("class is %s, want %s (%v)", f.Class, want, err)
	}
	return f
}

func class(t *testing.T, err error, want tickets.Class) {
	t.Helper()
	_ = failed(t, err, want)
}

func buttons(c Card) string { return fmt.Sprint(c.Buttons) }

const (
	open   = "[approve deny details]"
	closed = "[details]"
)

func mentions(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}

func postShows(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	c := card(t, h)
	if c.ID != m.ID {
		t.Errorf("the card's id is %q, Post returned %q", c.ID, m.ID)
	}
	wants := []string{"JIT-1042", `ACME\ann`, "PC-0815", "7-Zip 24.09", "need to unpack the installer"}
	mentions(t, "the card", c.Text, append(wants, "Igor Pavlov", "2 hours", `C:\Program Files\7-Zip\7zFM.exe`)...)
	mentions(t, "the fallback", c.Speech, wants...)
	if buttons(c) != open {
		t.Errorf("buttons are %v, want %s", c.Buttons, open)
	}
}

func postAdopts(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	other := b.Add(1043, Request(), h.Place())
	since := time.Now()
	h.Fail(OpPost, LostAnswer)
	_, err := h.Chat().Post(ctx(t), h.Place(), tk, time.Time{})
	class(t, err, tickets.Ambiguous)
	if _, err := h.Chat().Post(ctx(t), h.Place(), other, time.Time{}); err != nil {
		t.Fatal(err)
	}
	// Also for a bot whose clock was ten minutes ahead of the platform's.
	for _, since := range []time.Time{since, since.Add(10 * time.Minute)} {
		id, err := h.Chat().Post(ctx(t), h.Place(), tk, since)
		if err != nil {
			t.Fatal(err)
		}
		cards := h.Cards()
		if len(cards) != 2 || id != cards[0].ID {
			t.Errorf("%d cards, Post adopted %q; want the first of 2", len(cards), id)
		}
	}
}

func postRepeats(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	since := time.Now()
	h.Fail(OpPost, LostRequest)
	_, err := h.Chat().Post(ctx(t), h.Place(), tk, time.Time{})
	class(t, err, tickets.Ambiguous)
	id, err := h.Chat().Post(ctx(t), h.Place(), tk, since)
	if err != nil {
		t.Fatal(err)
	}
	if c := card(t, h); c.ID != id {
		t.Errorf("the card's id is %q, Post returned %q", c.ID, id)
	}
}

func adoptedIsCurrent(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	since := time.Now()
	h.Fail(OpPost, LostAnswer)
	_, err := h.Chat().Post(ctx(t), h.Place(), tk, time.Time{})
	class(t, err, tickets.Ambiguous)
	tk.Move("Closed", h.Actor(0), b.rules, since)
	if _, err := h.Chat().Post(ctx(t), h.Place(), tk, since); err != nil {
		t.Fatal(err)
	}
	if c := card(t, h); buttons(c) != closed {
		t.Errorf("the adopted card has the buttons %v: it does not show the ticket that the caller records as shown", c.Buttons)
	}
}

func editRepeats(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	decide(t, b, tk, h.Actor(0))
	for range 2 {
		if err := h.Chat().Edit(ctx(t), m, tk); err != nil {
			t.Fatal(err)
		}
	}
	h.Fail(OpEdit, LostAnswer)
	class(t, h.Chat().Edit(ctx(t), m, tk), tickets.Ambiguous)
	if err := h.Chat().Edit(ctx(t), m, tk); err != nil {
		t.Fatal(err)
	}
	c := card(t, h)
	if buttons(c) != closed {
		t.Errorf("buttons are %v, want %s", c.Buttons, closed)
	}
	mentions(t, "the fallback", c.Speech, "Approved by", "for 2 hours", "sending to EPM")
	if strings.Contains(c.Text, "Pending") {
		t.Errorf("the card still says that it is pending:\n%s", c.Text)
	}
}

func decide(t *testing.T, b *Book, tk *tickets.Ticket, by tickets.Actor) {
	t.Helper()
	d := tickets.Decision{Verdict: tickets.Approve, Reason: "patch window", Duration: tickets.Lasting(2 * time.Hour), By: by, At: time.Date(2026, 11, 23, 12, 5, 0, 0, time.UTC)}
	if err := tk.Decide(d, b.rules); err != nil {
		t.Fatal(err)
	}
}

func finalCard(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	decide(t, b, tk, h.Actor(0))
	at := tk.Decision.At
	tk.RecordAccepted(*tk.Decision, at)
	tk.Conclude(tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", At: at, By: "Ann"}, b.rules, at)
	if err := h.Chat().Edit(ctx(t), m, tk); err != nil {
		t.Fatal(err)
	}
	c := card(t, h)
	if buttons(c) != closed {
		t.Errorf("buttons are %v, want %s", c.Buttons, closed)
	}
	mentions(t, "the fallback", c.Speech, "Confirmed by EPM: approved for 2 hours", "14:05")
	mentions(t, "the card", c.Text, "7-Zip 24.09", "patch window")
}

// Console is the address of a request in a console of EPM.
func Console(r *tickets.Request) string { return "https://acme.example/details/" + r.EPMNumber }

// nobodyCard: the card says why nobody here can decide and where it can be
// done, offers the details alone, and is as usual again when somebody can.
func nobodyCard(t *testing.T, b *Book, h Harness) {
	r := Request()
	r.User, r.UserID = "", ""
	tk := b.Add(1042, r, h.Place())
	m := post(t, h, tk)
	address := Console(tk.Request)
	for _, step := range []struct {
		name                    string
		noApprovers, ownRefused bool
		say                     string
	}{
		{"NoApprovers", true, true, wording.MsgNobodyNamed},
		{"UnknownAsker", false, true, wording.MsgNobodyMay},
		{"Somebody", false, false, ""},
	} {
		rules := b.rules
		rules.NoApprovers, rules.OwnRefused = step.noApprovers, step.ownRefused
		tk.Move(tk.State, h.Actor(0), rules, time.Now())
		if err := h.Chat().Edit(ctx(t), m, tk); err != nil {
			t.Fatal(err)
		}
		c := card(t, h)
		if step.say == "" {
			if buttons(c) != open || strings.Contains(c.Text, "Nobody can decide") || strings.Contains(c.Text, address) {
				t.Errorf("%s: the buttons are %v, and the card says\n%s", step.name, c.Buttons, c.Text)
			}
			continue
		}
		mentions(t, step.name, c.Text, step.say, address)
		mentions(t, step.name, c.Speech, "a decision that nobody here can make")
		if len(c.Buttons) != 1 || c.Buttons[0] != adapters.ActionDetails {
			t.Errorf("%s: the buttons are %v, want the details alone", step.name, c.Buttons)
		}
	}
}

func inactiveCard(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	for _, step := range []struct {
		state tickets.State
		want  string
	}{{"Closed", closed}, {"New", open}} {
		tk.Move(step.state, h.Actor(0), b.rules, time.Now())
		if err := h.Chat().Edit(ctx(t), m, tk); err != nil {
			t.Fatal(err)
		}
		if c := card(t, h); buttons(c) != step.want {
			t.Errorf("in state %s the buttons are %v, want %s", step.state, c.Buttons, step.want)
		}
	}
}

// states are the menu of a card whose ticket is in state now.
func states(now string) string {
	menu := []string{"State: " + now}
	for _, s := range Moves(&tickets.Ticket{State: tickets.State(now)}) {
		menu = append(menu, string(s))
	}
	return fmt.Sprintf("%q", menu)
}

// menuOffers: the menu is on every card, also where nothing can be decided.
func menuOffers(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	check := func(what, now string) {
		t.Helper()
		if err := h.Chat().Edit(ctx(t), m, tk); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%q", card(t, h).Menu); got != states(now) {
			t.Errorf("%s: the menu is %s, want %s", what, got, states(now))
		}
	}
	check("pending", "New")
	tk.Move("Closed", h.Actor(0), b.rules, time.Now())
	check("inactive", "Closed")
	tk.Move("On Hold", h.Actor(0), b.rules, time.Now())
	decide(t, b, tk, h.Actor(0))
	check("decided", "On Hold")
	tk.RecordAccepted(*tk.Decision, time.Now())
	tk.Conclude(tickets.Outcome{Verdict: tickets.Approve, At: time.Now()}, b.rules, time.Now())
	check("final", "On Hold")
}

func menuMoves(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	for _, step := range []struct {
		state         tickets.State
		buttons, menu string
	}{{"Closed", closed, states("Closed")}, {"In Progress", open, states("In Progress")}} {
		if err := h.Choose(ctx(t), 2, m.ID, step.state); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		c := b.clicks[len(b.clicks)-1]
		now := tk.State
		b.mu.Unlock()
		if c.Action != adapters.ActionState || c.Number != tk.Number || c.State != step.state || c.Actor.ID != h.Actor(2).ID || c.Place != h.Place() || now != step.state {
			t.Errorf("the click was %+v, and the ticket is %s", c, now)
		}
		if err := h.Chat().Edit(ctx(t), m, tk); err != nil {
			t.Fatal(err)
		}
		if c := card(t, h); buttons(c) != step.buttons || fmt.Sprintf("%q", c.Menu) != step.menu {
			t.Errorf("in state %s the buttons are %v and the menu %q, want %s and %s", step.state, c.Buttons, c.Menu, step.buttons, step.menu)
		}
	}
	if n := append(h.Notes(1), h.Notes(2)...); len(n) > 0 {
		t.Errorf("somebody was told %q", n)
	}
	if err := h.Choose(ctx(t), 2, m.ID, "Abolished"); err == nil {
		t.Error("a state was chosen that is not on the menu")
	}
}

func menuRefused(t *testing.T, b *Book, h Harness) {
	m := post(t, h, b.Add(1042, Request(), h.Place()))
	b.refuse = wording.MsgNotAdmin + " <!channel> @everyone"
	if err := h.Choose(ctx(t), 1, m.ID, "Closed"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a note", func() bool { return len(h.Notes(1)) == 1 })
	mentions(t, "the note", h.Notes(1)[0], wording.MsgNotAdmin)
	if n := h.Notes(0); len(n) > 0 {
		t.Errorf("somebody else was told %q", n)
	}
	if c := card(t, h); fmt.Sprintf("%q", c.Menu) != states("New") {
		t.Errorf("the menu is %q", c.Menu)
	}
}

func editGone(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m, other := post(t, h, tk), post(t, h, b.Add(1043, Request(), h.Place()))
	present := func(m tickets.Message, want bool) {
		t.Helper()
		if is, err := h.Chat().Present(ctx(t), m); err != nil || is != want {
			t.Errorf("Present(%s) = %v, %v; want %v", m.ID, is, err, want)
		}
	}
	present(m, true)
	h.Delete(m.ID)
	present(m, false)
	present(other, true)
	m.Place.Channel = h.Missing(tickets.Principal{Platform: m.Place.Platform, Kind: tickets.Channel, ID: m.Place.Channel})
	if is, err := h.Chat().Present(ctx(t), m); err == nil {
		t.Errorf("Present() in a channel that there is not = %v; want an error", is)
	}
	m.Place = h.Place()
	class(t, h.Chat().Edit(ctx(t), m, tk), tickets.NotFound)
}

// postedAgain: the second card of a request is another message than the first,
// however soon that was deleted.
func postedAgain(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	tk.Messages = []tickets.Message{{Place: h.Place()}}
	m := post(t, h, tk)
	h.Delete(m.ID)
	tk.Messages[0].Reposted = true
	again := post(t, h, tk)
	if again.ID == m.ID {
		t.Errorf("Post() = %q, the message that was deleted", again.ID)
	}
	if err := h.Chat().Edit(ctx(t), again, tk); err != nil {
		t.Errorf("Edit() of the second card = %v", err)
	}
	if list := h.Cards(); len(list) != 1 {
		t.Errorf("%d cards, want 1", len(list))
	}
}

func limited(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	h.Fail(OpPost, Limited) // for longer than the caller has
	short, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	_, err := h.Chat().Post(short, h.Place(), tk, time.Time{})
	if f := failed(t, err, tickets.RateLimited); f.RetryAfter <= 0 {
		t.Errorf("After is %s, want the time to wait", f.RetryAfter)
	}
	_, err = h.Chat().Post(short, h.Place(), tk, time.Time{})
	if f := failed(t, err, tickets.RateLimited); f.RetryAfter <= 0 {
		t.Errorf("After is %s, want the time that is left", f.RetryAfter)
	}
	if short.Err() != nil {
		t.Error("it took all of the caller's time to say that the wait would be too long")
	}
	if n := len(h.Cards()); n != 0 {
		t.Errorf("%d cards, want none", n)
	}
}

func replyOnce(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	decide(t, b, tk, h.Actor(0))
	event := len(tk.Events) - 1
	since := time.Now()
	h.Fail(OpReply, LostAnswer)
	class(t, h.Chat().Reply(ctx(t), m, tk, event, time.Time{}), tickets.Ambiguous)
	if err := h.Chat().Reply(ctx(t), m, tk, event, since); err != nil {
		t.Fatal(err)
	}
	replies := h.Replies(m.ID)
	if len(replies) != 1 {
		t.Fatalf("%d replies, want 1: %q", len(replies), replies)
	}
	mentions(t, "the reply", replies[0], "Approved by", "patch window")
	card(t, h) // the thread is not in the channel
}

func repliesApart(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	since := time.Now()
	decide(t, b, tk, h.Actor(0))
	tk.RecordRejection(*tk.Decision, "the request has expired", since)
	for i := 1; i < len(tk.Events); i++ {
		if err := h.Chat().Reply(ctx(t), m, tk, i, since); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Replies(m.ID); len(got) != 2 || !strings.Contains(got[1], "the request has expired") {
		t.Errorf("replies are %q, want the decision and the refusal", got)
	}
}

func hostile(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Hostile(), h.Place())
	m := post(t, h, tk)
	c := card(t, h)
	if len(c.Pings) > 0 {
		t.Errorf("the card notifies %v", c.Pings)
	}
	for _, bad := range []string{"\u202E", "\x00", "\u200B", "\u202C", "Micros\u043eft"} {
		if strings.Contains(c.Text, bad) || strings.Contains(c.Speech, bad) {
			t.Errorf("%q is on the card as it is", bad)
		}
	}
	mentions(t, "the card", c.Text, "⟦U+202E⟧", "Micros⟦Cyrillic \u043e⟧ft", "␀", "more characters")
	for line := range strings.Lines(c.Text) {
		if strings.HasPrefix(strings.TrimSpace(line), "*Approved by* Ann") {
			t.Errorf("the requester wrote a line of the card: %q", line)
		}
	}
	tk.Events = append(tk.Events, tickets.Event{Kind: tickets.EventState, Text: Hostile().Reason, Actor: tickets.Actor{Platform: h.Chat().Platform(), ID: "X", Name: Hostile().User}})
	if err := h.Chat().Reply(ctx(t), m, tk, len(tk.Events)-1, time.Time{}); err != nil {
		t.Error(err)
	}
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionDetails); err != nil {
		t.Error(err)
	}
	mentions(t, "the details", h.Screen(0), "field0", "⟦U+202E⟧", "Micros⟦Cyrillic \u043e⟧ft")
	if err := h.Click(ctx(t), 1, m.ID, adapters.ActionApprove); err != nil {
		t.Error(err)
	}
	mentions(t, "the form", h.Screen(1), "JIT-1042", "⟦U+202E⟧", "Micros⟦Cyrillic \u043e⟧ft")
	for _, c := range h.Cards() {
		if len(c.Pings) > 0 {
			t.Errorf("something notifies %v", c.Pings)
		}
	}
}

func formDecides(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	if err := h.Click(ctx(t), 3, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", h.Screen(3), "JIT-1042", "7-Zip 24.09")
	problems, err := h.Submit(ctx(t), 3, map[tickets.FormField]string{
		tickets.FieldReason: "  patch window ", tickets.FieldUnit: "minutes", tickets.FieldAmount: "30"})
	if err != nil || len(problems) > 0 {
		t.Fatalf("Submit() = %q, %v", problems, err)
	}
	d := b.decision(tk.Number)
	if d == nil {
		t.Fatal("nothing was decided")
	}
	if d.Verdict != tickets.Approve || d.Reason != "patch window" || d.Duration != tickets.Lasting(30*time.Minute) || d.By.ID != h.Actor(3).ID || d.By.Platform != h.Chat().Platform() {
		t.Errorf("the decision is %+v", d)
	}
	if h.Screen(3) != "" {
		t.Errorf("the form is still open:\n%s", h.Screen(3))
	}
}

func formRefuses(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	for _, tt := range []struct {
		name, reason, unit, amount, say string
	}{
		{"NoReason", "   ", "once", "", tickets.MsgReason},
		{"TooFewMinutes", "ok", "minutes", "4", tickets.MsgMinutes},
		{"TooManyMinutes", "ok", "minutes", "1441", tickets.MsgMinutes},
		{"TooManyHours", "ok", "hours", "25", tickets.MsgHours},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			values := map[tickets.FormField]string{tickets.FieldReason: tt.reason, tickets.FieldUnit: tt.unit}
			if tt.amount != "" {
				values[tickets.FieldAmount] = tt.amount
			}
			problems, err := h.Submit(ctx(t), 0, values)
			if err != nil {
				t.Fatal(err)
			}
			mentions(t, "the form", strings.Join(problems, "\n"), tt.say)
			if d := b.decision(tk.Number); d != nil {
				t.Errorf("decided all the same: %+v", d)
			}
		})
	}
	t.Run("ThenCorrected", func(t *testing.T) {
		if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Submit(ctx(t), 0, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "hours", tickets.FieldAmount: "25"}); err != nil {
			t.Fatal(err)
		}
		problems, err := h.Submit(ctx(t), 0, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "hours", tickets.FieldAmount: "2"})
		if err != nil || len(problems) > 0 {
			t.Fatalf("Submit() = %q, %v", problems, err)
		}
		if d := b.decision(tk.Number); d == nil || d.Duration != tickets.Lasting(2*time.Hour) {
			t.Errorf("the decision is %+v", d)
		}
	})
}

func formDenies(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionDeny); err != nil {
		t.Fatal(err)
	}
	problems, err := h.Submit(ctx(t), 0, map[tickets.FormField]string{tickets.FieldReason: "no"})
	if err != nil || len(problems) > 0 {
		t.Fatalf("Submit() = %q, %v", problems, err)
	}
	if d := b.decision(tk.Number); d == nil || d.Verdict != tickets.Deny || !d.Duration.Once() {
		t.Errorf("the decision is %+v", d)
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Hang)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, Hang)
		}
		<-tick.C
	}
}

func notePrivate(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	b.refuse = "You are not one of the approvers <!channel> @everyone"
	if err := h.Click(ctx(t), 1, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a note", func() bool { return len(h.Notes(1)) == 1 })
	mentions(t, "the note", h.Notes(1)[0], "You are not one of the approvers")
	if n := h.Notes(0); len(n) > 0 {
		t.Errorf("somebody else was told %q", n)
	}
	card(t, h)
}

func details(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionDetails); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the details", h.Screen(0), "JIT-1042", "ProductName", "Owner", `NT SERVICE\TrustedInstaller`)
}

func command(t *testing.T, _ *Book, h Harness) {
	got, err := h.Command(ctx(t), 2, "status")
	if err != nil {
		t.Fatal(err)
	}
	mentions(t, "the answer", got, "You said: status")
	if n := len(h.Cards()); n != 0 {
		t.Errorf("the answer is in the channel")
	}
}

// picture: what is drawn is described, shown to the asker alone, and not instead
// of the words; whether or not the words came in time.
func picture(t *testing.T, b *Book, h Harness) {
	for n := 1; n <= 2; n++ {
		if n == 2 {
			slowly(t, b, h, "report")
			close(b.hold)
			answeredLate(t, h, "You said: report")
		} else if got, err := h.Command(ctx(t), 2, "report"); err != nil || !strings.Contains(got, "You said: report") {
			t.Errorf("Command() = %q, %v", got, err)
		}
		if _, shows := h.Pictures(2); shows {
			eventually(t, "a picture", func() bool { alts, _ := h.Pictures(2); return len(alts) == n })
			alts, _ := h.Pictures(2)
			mentions(t, "the description", alts[n-1], "A grey dot")
		}
	}
	if alts, _ := h.Pictures(1); len(alts) > 0 {
		t.Errorf("somebody else is shown %q", alts)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("the picture is in the channel")
	}
}

// slowly has person 2 type text, a command whose answer takes until the book's hold
// is closed, and returns when they have been told to wait.
func slowly(t *testing.T, b *Book, h Harness, text string) {
	t.Helper()
	b.hold = make(chan struct{})
	begun, told := time.Now(), make(chan error, 1)
	go func() {
		_, err := h.Command(ctx(t), 2, text)
		told <- err
	}()
	eventually(t, "a word that it takes a moment", func() bool { return h.Waits(2) })
	if took := time.Since(begun); took < time.Second {
		t.Errorf("told to wait after %s, although the answer could still have been in time", took)
	}
	t.Cleanup(func() {
		if err := <-told; err != nil {
			t.Errorf("Command() = %v", err)
		}
	})
}

// answeredLate waits for the answer to slowly's command, which holds want and
// nobody else sees.
func answeredLate(t *testing.T, h Harness, want string) {
	t.Helper()
	eventually(t, "the answer", func() bool {
		notes := h.Notes(2)
		return slices.ContainsFunc(notes, func(said string) bool { return strings.Contains(said, want) })
	})
	if n := h.Notes(1); len(n) > 0 {
		t.Errorf("somebody else was told %q", n)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("the answer is in the channel")
	}
}

func slowCommand(t *testing.T, b *Book, h Harness) {
	slowly(t, b, h, "status")
	close(b.hold)
	answeredLate(t, h, "You said: status")
}

func lateAnswerLost(t *testing.T, b *Book, h Harness) {
	slowly(t, b, h, "status")
	h.Fail(OpAnswer, LostRequest)
	close(b.hold)
	answeredLate(t, h, "You said: status")
}

func stopLetsEnd(t *testing.T, b *Book, h Harness) {
	slowly(t, b, h, "status")
	ended := h.Stop()
	select {
	case <-ended:
		t.Error("the chat has ended before the command")
	case <-time.After(100 * time.Millisecond):
	}
	close(b.hold)
	<-ended
	answeredLate(t, h, "You said: status")
}

// opensSettings has person i open the form of the settings. It reports false
// on a platform that has none: the settings are told there.
func opensSettings(t *testing.T, h Harness, i int) bool {
	t.Helper()
	got, err := h.Command(ctx(t), i, "config")
	if err != nil {
		t.Fatal(err)
	}
	if h.Screen(i) == "" {
		mentions(t, "the answer", got, "category: Hardware", "active_states: New, In Progress")
		return false
	}
	mentions(t, "the form", h.Screen(i), "Category", "Auto close", "Active states", "On Hold")
	return true
}

// saves sends the form of person i, in which nothing is wrong.
func saves(t *testing.T, h Harness, i int, values map[string]string) {
	t.Helper()
	if problems, err := h.Configure(ctx(t), i, values); err != nil || len(problems) > 0 {
		t.Fatalf("Configure() = %q, %v", problems, err)
	}
	eventually(t, "saved", func() bool { return strings.Contains(h.Screen(i), "Saved by "+h.Actor(i).ID) })
}

func settingsShown(t *testing.T, b *Book, h Harness) {
	if !opensSettings(t, h, 2) {
		return
	}
	problems, err := h.Configure(ctx(t), 2, map[string]string{"category": "bad", "auto_close": "true"})
	if err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", strings.Join(problems, "\n"), "This category is bad")
	if b.set("category") != "Hardware" {
		t.Error("saved all the same")
	}
	saves(t, h, 2, map[string]string{"category": "Security"}) // what was chosen is kept
	if b.set("category") != "Security" || b.set("auto_close") != "true" || b.set("active_states") != "New, In Progress" {
		t.Errorf("the settings are %q", b.settings)
	}
	if _, err := h.Command(ctx(t), 2, "config"); err != nil {
		t.Fatal(err)
	}
	saves(t, h, 2, map[string]string{"category": "", "active_states": "On Hold,New"})
	if b.set("category") != "" || b.set("active_states") != "On Hold, New" {
		t.Errorf("the settings are %q", b.settings)
	}
}

func settingsOfOthers(t *testing.T, b *Book, h Harness) {
	if !opensSettings(t, h, 2) {
		return
	}
	opensSettings(t, h, 3)
	saves(t, h, 3, map[string]string{"category": "Security", "auto_close": "true"})
	if _, err := h.Configure(ctx(t), 2, map[string]string{"category": "Network"}); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", h.Screen(2), "Somebody else has changed this")
	if b.set("category") != "Security" {
		t.Error("what somebody else had set was overwritten unseen")
	}
	saves(t, h, 2, nil)
	if b.set("category") != "Network" || b.set("auto_close") != "true" {
		t.Errorf("the settings are %q: the second form did not show what the other had set", b.settings)
	}
}

func settingsLate(t *testing.T, b *Book, h Harness) {
	if !opensSettings(t, h, 2) {
		return
	}
	b.hold = make(chan struct{})
	if problems, err := h.Configure(ctx(t), 2, map[string]string{"category": "Network"}); err != nil || len(problems) > 0 {
		t.Fatalf("Configure() = %q, %v", problems, err)
	}
	mentions(t, "the form", h.Screen(2), wording.MsgMoment)
	close(b.hold)
	eventually(t, "saved", func() bool { return strings.Contains(h.Screen(2), "Saved by "+h.Actor(2).ID) })
}

func suggests(t *testing.T, b *Book, h Harness) {
	got, err := h.Complete(ctx(t), 2, "state", "state", "On", map[string]string{"number": "JIT-1042"})
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != adapters.MaxSuggestions || got[0] != "On for "+h.Actor(2).ID+" beside JIT-1042" || got[1] != "state0" {
		t.Errorf("%d suggestions, %q", len(got), got)
	}
	b.mu.Lock()
	b.panic = true
	b.mu.Unlock()
	if got, err := h.Complete(ctx(t), 2, "ticket", "number", "", nil); err != nil || len(got) > 0 {
		t.Errorf("after a panic: %q, %v; want no suggestions", got, err)
	}
	if n := h.Notes(2); len(n) > 0 {
		t.Errorf("whoever typed was told %q", n)
	}
}

// turn presses a button of the page that person 2 has, and waits until they
// have the page that says want, and no other note.
func turn(t *testing.T, h Harness, action adapters.Action, want string) {
	t.Helper()
	if err := h.Turn(ctx(t), 2, action); err != nil {
		t.Fatalf("Turn(%s) = %v", action, err)
	}
	eventually(t, want, func() bool { return strings.Contains(h.Notes(2)[0], want) })
	if all := h.Notes(2); len(all) != 1 {
		t.Errorf("notes %q, want one, which was turned", all)
	}
}

func turnPages(t *testing.T, b *Book, h Harness) {
	got, err := h.Command(ctx(t), 2, "tickets")
	if err != nil {
		t.Fatal(err)
	}
	mentions(t, "the first page", got, "You said: tickets")
	if err := h.Turn(ctx(t), 2, adapters.ActionNewer); err == nil {
		t.Error("the first page has a button to a newer one")
	}
	turn(t, h, adapters.ActionOlder, "You said: tickets 2")
	turn(t, h, adapters.ActionOlder, "You said: tickets 3")
	if err := h.Turn(ctx(t), 2, adapters.ActionOlder); err == nil {
		t.Error("a command that is too long for a button has one")
	}
	turn(t, h, adapters.ActionNewer, "You said: tickets 2")
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, c := range b.commands {
		if c.Actor.ID != h.Actor(2).ID || c.Place != h.Place() || c.Turned != (i > 0) {
			t.Errorf("command %d is %+v", i, c)
		}
	}
	if n := h.Notes(1); len(n) > 0 {
		t.Errorf("somebody else was told %q", n)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("a page is in the channel")
	}
}

func turnLate(t *testing.T, b *Book, h Harness) {
	if _, err := h.Command(ctx(t), 2, "tickets"); err != nil {
		t.Fatal(err)
	}
	b.hold = make(chan struct{})
	if err := h.Turn(ctx(t), 2, adapters.ActionOlder); err != nil { // returns once it is acknowledged
		t.Fatal(err)
	}
	close(b.hold)
	eventually(t, "the page", func() bool { return strings.Contains(h.Notes(2)[0], "You said: tickets 2") })
	if all := h.Notes(2); len(all) != 1 {
		t.Errorf("notes %q, want one, which was turned", all)
	}
}

func turnFails(t *testing.T, b *Book, h Harness) {
	if _, err := h.Command(ctx(t), 2, "tickets"); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.refuse = "The store is away"
	b.mu.Unlock()
	if err := h.Turn(ctx(t), 2, adapters.ActionOlder); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word", func() bool { return len(h.Notes(2)) == 2 })
	mentions(t, "the page", h.Notes(2)[0], "You said: tickets")
	mentions(t, "the note", h.Notes(2)[1], "The store is away")
}

// opensHome has person i open their page, and waits until it says want. It
// reports false on a platform that has none.
func opensHome(t *testing.T, h Harness, i int, want string) bool {
	t.Helper()
	err := h.OpenHome(ctx(t), i)
	if errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, want, func() bool { return strings.Contains(h.Home(i).Text, want) })
	return true
}

func homeShows(t *testing.T, b *Book, h Harness) {
	b.Add(1, Hostile(), h.Place())
	own := Request()
	own.User = h.Actor(2).ID
	b.Add(2, own, h.Place())
	b.Add(3, Request(), h.Place())
	b.Add(4, Request(), h.Place())
	if !opensHome(t, h, 2, "4 requests wait for a decision, the oldest first for "+h.Actor(2).ID) {
		return
	}
	c := h.Home(2)
	if c.Pings != nil {
		t.Errorf("the page notifies %v", c.Pings)
	}
	mentions(t, "the page", c.Text, "JIT-1", "JIT-2", "JIT-3", wording.MsgOwnRequest, "⟦U+202E⟧", "Micros⟦Cyrillic \u043e⟧ft", "Everything works <!channel>", wording.MsgMore(1))
	if strings.Contains(c.Text, "JIT-4") {
		t.Errorf("the page shows more than it was given:\n%s", c.Text)
	}
	if want := "[approve deny details details approve deny details]"; buttons(c) != want {
		t.Errorf("buttons are %v, want %s: none to decide one's own request", c.Buttons, want)
	}
	if c := h.Home(1); c.Text != "" {
		t.Errorf("somebody else was shown a page:\n%s", c.Text)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("the page is in the channel")
	}
}

func homeDecides(t *testing.T, b *Book, h Harness) {
	first, second := b.Add(1, Request(), h.Place()), b.Add(2, Request(), h.Place())
	if !opensHome(t, h, 2, "2 requests wait") {
		return
	}
	if err := h.ClickHome(ctx(t), 2, second.Number, adapters.ActionDetails); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the details", h.Screen(2), "JIT-2", "TrustedInstaller")
	if err := h.ClickHome(ctx(t), 2, second.Number, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", h.Screen(2), "JIT-2")
	problems, err := h.Submit(ctx(t), 2, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "hours", tickets.FieldAmount: "25"})
	if err != nil || len(problems) == 0 {
		t.Fatalf("Submit() = %q, %v; want the amount refused", problems, err)
	}
	problems, err = h.Submit(ctx(t), 2, map[tickets.FormField]string{tickets.FieldAmount: "2"})
	if err != nil || len(problems) > 0 {
		t.Fatalf("Submit() = %q, %v", problems, err)
	}
	if d := b.decision(second.Number); d == nil || d.By.ID != h.Actor(2).ID || d.Duration != tickets.Lasting(2*time.Hour) {
		t.Errorf("the decision is %+v", d)
	}
	eventually(t, "the page without it", func() bool { return strings.Contains(h.Home(2).Text, "1 request waits") })
	if b.decision(first.Number) != nil || strings.Contains(h.Home(2).Text, "JIT-2") || h.Screen(2) != "" {
		t.Errorf("the page is\n%s\nand the form\n%s", h.Home(2).Text, h.Screen(2))
	}
}

func homeRefuses(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1, Request(), h.Place())
	if !opensHome(t, h, 2, "1 request waits") {
		return
	}
	b.mu.Lock()
	decide(t, b, tk, h.Actor(0))
	b.mu.Unlock()
	if err := h.ClickHome(ctx(t), 2, tk.Number, adapters.ActionDeny); err != nil {
		t.Fatal(err)
	}
	eventually(t, "who was faster", func() bool { return strings.Contains(h.Screen(2), h.Actor(0).Name+" has already approved") })
	eventually(t, "the page without it", func() bool { return strings.Contains(h.Home(2).Text, wording.MsgNothingWaits) })
	if n := len(h.Notes(2)) + len(h.Notes(1)); n > 0 {
		t.Errorf("%d notes in the channel", n)
	}

	b.mu.Lock()
	b.refuse = "The store is away <!channel>"
	b.mu.Unlock()
	opensHome(t, h, 2, "The store is away")
	b.mu.Lock()
	b.refuse, b.panic = "", true
	b.mu.Unlock()
	opensHome(t, h, 2, wording.MsgBroken)
}

func homeLost(t *testing.T, b *Book, h Harness) {
	b.Add(1, Request(), h.Place())
	if !opensHome(t, h, 2, "1 request waits") {
		return
	}
	for n, how := range []Trouble{LostAnswer, LostRequest} {
		b.Add(int64(n+2), Request(), h.Place())
		h.Fail(OpHome, how)
		opensHome(t, h, 2, fmt.Sprintf("%d requests wait", n+2))
	}
}

func twenty(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	var wg sync.WaitGroup
	var told sync.Map
	for i := range People {
		wg.Go(func() {
			if err := h.Click(ctx(t), i, m.ID, adapters.ActionApprove); err != nil {
				t.Errorf("person %d: click: %v", i, err)
				return
			}
			if h.Screen(i) == "" { // too late: somebody was faster, and they were told
				told.Store(i, true)
				return
			}
			problems, err := h.Submit(ctx(t), i, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "once"})
			if len(problems) > 0 || strings.Contains(h.Screen(i), "already") {
				told.Store(i, true) // perhaps before the form could be sent
			} else if err != nil {
				t.Errorf("person %d: submit: %v", i, err)
			}
		})
	}
	wg.Wait()
	d := b.decision(tk.Number)
	if d == nil {
		t.Fatal("nobody decided")
	}
	for i := range People {
		if _, wasTold := told.Load(i); !wasTold && h.Actor(i).ID != d.By.ID {
			eventually(t, fmt.Sprintf("a word to person %d", i), func() bool { return len(h.Notes(i)) > 0 })
		}
	}
}

func holds(t *testing.T, _ *Book, h Harness) {
	p := func(i int) tickets.Principal {
		return tickets.Principal{Platform: h.Chat().Platform(), Kind: tickets.User, ID: h.Actor(i).ID}
	}
	for _, tt := range []struct {
		name string
		p    tickets.Principal
		a    tickets.Actor
		want bool
	}{
		{"Same", p(0), h.Actor(0), true},
		{"Other", p(0), h.Actor(1), false},
		{"OtherPlatform", tickets.Principal{Platform: "elsewhere", Kind: tickets.User, ID: h.Actor(0).ID}, h.Actor(0), false},
		{"Nobody", tickets.Principal{Platform: h.Chat().Platform(), Kind: tickets.User}, tickets.Actor{Platform: h.Chat().Platform()}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := h.Chat().HasRole(ctx(t), tt.p, tt.a)
			if err != nil || got != tt.want {
				t.Errorf("Holds(%s, %s) = %v, %v; want %v", tt.p, tt.a, got, err, tt.want)
			}
		})
	}
}

// reaches: each of those asked for is told of in its place, with a name and a
// number where there are any.
func reaches(t *testing.T, _ *Book, h Harness) {
	p := func(i int) tickets.Principal {
		return tickets.Principal{Platform: h.Chat().Platform(), Kind: tickets.User, ID: h.Actor(i).ID}
	}
	h.Fail(OpIdentify, LostRequest)
	if got := h.Chat().Resolve(ctx(t), []tickets.Principal{p(0)}); len(got) != 1 || got[0].Err == nil || got[0].People != 0 || got[0].Problem != "" {
		t.Errorf("Reach = %+v although the call failed; want an error", got)
	}
	many, empty := h.Many("many", 7), h.Many("empty", 0)
	none, nobody := many, p(0)
	none.ID, nobody.ID = h.Missing(many), h.Missing(p(0))
	who := []tickets.Principal{
		many, p(3), empty, {Platform: "elsewhere", Kind: tickets.User, ID: p(0).ID}, none, p(0), nobody,
		{Platform: h.Chat().Platform(), Kind: "kind of another platform", ID: "1"},
	}
	got := h.Chat().Resolve(ctx(t), who)
	if len(got) != len(who) {
		t.Fatalf("Reach tells of %d, want %d", len(got), len(who))
	}
	for i, want := range []adapters.Reach{
		{Name: "@many", People: 7, Counted: true},
		{Name: h.Actor(3).Name, People: 1, Counted: true},
		{Name: "@empty", Counted: true, Problem: "x"},
		{Err: errors.New("x")},
		{Problem: "x"},
		{Name: h.Actor(0).Name, People: 1, Counted: true}, // an error is not remembered
		{Problem: "x"},
		{Problem: "x"},
	} {
		g := got[i]
		if g.Name != want.Name || g.People != want.People || (g.Problem != "") != (want.Problem != "") || (g.Err != nil) != (want.Err != nil) ||
			(g.Counted != want.Counted && want.Problem == "") {
			t.Errorf("Reach of %s = %+v; want %+v", who[i], g, want)
		}
	}
}

// identified checks what is known of person i.
func identified(t *testing.T, h Harness, i int) {
	t.Helper()
	got, err := h.Chat().Identify(ctx(t), h.Actor(i))
	if err != nil {
		t.Errorf("Identify(%d) = %v", i, err)
		return
	}
	if !slices.Contains(got.Names, h.Actor(i).Name) {
		t.Errorf("Identify(%d) = %+v, want the name %s", i, got, h.Actor(i).Name)
	}
	for _, text := range append(got.Emails, got.Names...) {
		if text == "" {
			t.Errorf("Identify(%d) = %+v, with an empty text", i, got)
		}
	}
	for _, email := range got.Emails {
		if !strings.HasPrefix(email, h.Actor(i).Name+"@") {
			t.Errorf("Identify(%d) = %+v, want their own address", i, got)
		}
	}
}

func identifies(t *testing.T, _ *Book, h Harness) {
	h.Fail(OpIdentify, LostRequest)
	if got, err := h.Chat().Identify(ctx(t), h.Actor(0)); err == nil {
		t.Errorf("Identify() = %+v although the call failed", got)
	}
	identified(t, h, 0) // an error is not remembered
	var all sync.WaitGroup
	for i := range People {
		all.Go(func() { identified(t, h, i%3) })
	}
	all.Wait()
	for _, a := range []tickets.Actor{{}, {Platform: h.Chat().Platform()}, {Platform: "elsewhere", ID: h.Actor(0).ID, Name: "x"}} {
		if got, err := h.Chat().Identify(ctx(t), a); err == nil {
			t.Errorf("Identify(%+v) = %+v, want an error", a, got)
		}
	}
}

// identifiesActors: who acts can be identified in time for the answer.
func identifiesActors(t *testing.T, b *Book, h Harness) {
	m := post(t, h, b.Add(1042, Request(), h.Place()))
	asked := make(chan error, 1)
	b.asks = func(ctx context.Context, a tickets.Actor) {
		got, err := h.Chat().Identify(ctx, a)
		if err == nil && !slices.Contains(got.Names, h.Actor(2).Name) {
			err = fmt.Errorf("Identify(%+v) = %+v", a, got)
		}
		asked <- err
	}
	if err := h.Click(ctx(t), 2, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if h.Screen(2) == "" {
		t.Error("no form")
	}
}

func panics(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	b.mu.Lock()
	b.panic = true
	b.mu.Unlock()
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a note", func() bool { return len(h.Notes(0)) == 1 })
	b.mu.Lock()
	b.panic = false
	b.mu.Unlock()
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	if h.Screen(0) == "" {
		t.Error("no form after the panic")
	}
}
