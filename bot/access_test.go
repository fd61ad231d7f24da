package bot_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// TestWhoMayRead: every word that shows requests, its pages and its
// suggestions, are for approvers and admins anywhere, and for others where
// requests are shown. The rest is for everybody.
func TestWhoMayRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	n := w.ask("a")
	elsewhere := tickets.Place{Platform: "chat", Channel: "C9"}
	yes := func(tickets.Actor) (bool, error) { return true, nil }
	unknown := func(tickets.Actor) (bool, error) { return false, errors.New("not told") }
	for _, tt := range []struct {
		name  string
		by    tickets.Actor
		in    tickets.Place
		sees  func(tickets.Actor) (bool, error)
		holds func(tickets.Principal, tickets.Actor) (bool, error)
		no    string
	}{
		{name: "AdminAnywhere", by: ann, in: elsewhere},
		{name: "ApproverAnywhere", by: bob, in: elsewhere},
		{name: "ApproverNowhere", by: bob},
		{name: "StrangerWhereTheyAreShown", by: sam, in: place},
		{name: "MemberElsewhere", by: sam, in: elsewhere, sees: yes},
		{name: "StrangerElsewhere", by: sam, in: elsewhere, no: wording.MsgNotReader},
		{name: "StrangerNowhere", by: sam, no: wording.MsgNotReader},
		{name: "NobodyTells", by: sam, in: elsewhere, sees: unknown, no: wording.MsgCannotCheckReader},
		{name: "NoGroupIsTold", by: sam, in: elsewhere, no: wording.MsgCannotCheckReader,
			holds: func(tickets.Principal, tickets.Actor) (bool, error) { return false, errors.New("not told") }},
		{name: "MemberAlthoughNoGroupIsTold", by: sam, in: place,
			holds: func(tickets.Principal, tickets.Actor) (bool, error) { return false, errors.New("not told") }},
		{name: "OnAChatThatIsNotThere", by: tickets.Actor{Platform: "other", ID: "U1"}, in: place, no: wording.MsgNotReader},
		{name: "WithoutAnID", by: tickets.Actor{Platform: "chat"}, in: elsewhere, no: wording.MsgNotReader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.chat.sees, w.chat.holds = tt.sees, tt.holds
			defer func() { w.chat.sees, w.chat.holds = nil, nil }()
			for _, word := range wording.Commands() {
				if word.Admin {
					continue
				}
				for _, turned := range []bool{false, true} {
					if turned && word.Name != "tickets" {
						continue
					}
					text := word.Name
					if word.Name == "ticket" {
						text += " " + string(n)
					}
					c := adapters.Command{Actor: tt.by, Place: tt.in, Text: text, FromPager: turned}
					answer := w.bot.Command(t.Context(), c)
					note, _ := answer.(adapters.Note)
					open := word.Name == "help" || word.Name == "roles"
					refused := note.Text == wording.MsgNotReader || note.Text == wording.MsgCannotCheckReader
					switch {
					case !open && tt.no != "" && note.Text != tt.no:
						t.Errorf("%q (turned: %v) is answered %+v, want %q", text, turned, answer, tt.no)
					case (open || tt.no == "") && refused:
						t.Errorf("%q (turned: %v) is refused: %q", text, turned, note.Text)
					}
				}
			}
			for _, arg := range []string{"ticket number", "tickets state"} {
				word, name, _ := strings.Cut(arg, " ")
				got := w.bot.Autocomplete(t.Context(), adapters.Completion{Actor: tt.by, Place: tt.in, Word: word, Arg: name})
				if (len(got) > 0) != (tt.no == "") {
					t.Errorf("for %s %v is suggested; refused: %q", arg, got, tt.no)
				}
			}
		})
	}
}
