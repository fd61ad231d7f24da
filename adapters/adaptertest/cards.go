package adaptertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

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
