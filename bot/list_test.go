package bot_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// shelf is a store that lists tickets of its own, oldest first.
type shelf struct {
	store.Store
	list   []*tickets.Ticket
	broken error // comes beside each list
	looked int
}

func (s *shelf) List(_ context.Context, q store.Query) ([]*tickets.Ticket, error) {
	var out []*tickets.Ticket
	before, _ := q.Before.Seq()
	for i := len(s.list) - 1; i >= 0 && len(out) < q.Limit; i-- {
		seq, _ := s.list[i].Number.Seq()
		if (q.Before == "" || seq < before) && (q.Progress == "" || s.list[i].Progress() == q.Progress) {
			out = append(out, s.list[i])
		}
	}
	s.looked += len(out)
	return out, s.broken
}

// shelved is a bot whose store lists n tickets, from JIT-1001 on; shape changes
// them.
func shelved(t *testing.T, n int, shape func(i int, r *tickets.Request, tk *tickets.Ticket)) (*world, *shelf) {
	w := newWorld(t)
	s := &shelf{}
	w.wrap = func(inner store.Store) store.Store { s.Store = inner; return s }
	w.build(w.open()) // which does not run: it would look through the list too
	rules := w.rules
	for i := range n {
		r := *request(fmt.Sprint("r", i)).Update.Request
		tk := tickets.Start(tickets.NewNumber("JIT", int64(1001+i)), r.ID, rules, w.now())
		if shape != nil {
			shape(i, &r, tk)
		}
		tk.Request = &r
		s.list = append(s.list, tk)
	}
	return w, s
}

var someNumber = regexp.MustCompile(`JIT-[0-9]+`)

// pages asks for a page and returns the numbers on it.
func (w *world) pages(text string) (adapters.Page, string) {
	w.t.Helper()
	p, ok := w.bot.Command(w.t.Context(), adapters.Command{Actor: sam, Place: place, Text: text}).(adapters.Page)
	if !ok {
		w.t.Fatalf("%s is answered with a %T", text, p)
	}
	var numbers []string
	for line := range strings.Lines(p.Text) {
		if n := someNumber.FindString(line); n != "" && strings.Contains(line, " · ") {
			numbers = append(numbers, strings.TrimPrefix(n, "JIT-10"))
		}
	}
	return p, strings.Join(numbers, " ")
}

// Going older and newer again shows each ticket once, whatever comes meanwhile.
func TestListTurnsPages(t *testing.T) {
	w, s := shelved(t, 35, nil)
	if _, all := w.pages("tickets all"); all != "35 34 33 32 31 30 29 28 27 26" {
		t.Errorf("all are %s", all)
	}
	p, got := w.pages("tickets")
	if want := "35 34 33 32 31 30 29 28 27 26"; got != want || p.Newer != "" {
		t.Fatalf("the first page is %s, newer %q; want %s", got, p.Newer, want)
	}
	for _, want := range []string{"25 24 23 22 21 20 19 18 17 16", "15 14 13 12 11 10 09 08 07 06", "05 04 03 02 01"} {
		if p, got = w.pages(p.Older); got != want {
			t.Errorf("older is %s, want %s", got, want)
		}
	}
	if p.Older != "" {
		t.Errorf("behind the last page there is %q", p.Older)
	}
	fresh := *s.list[0]
	fresh.Number = "JIT-1036"
	s.list = append(s.list, &fresh)
	for _, want := range []string{"15 14 13 12 11 10 09 08 07 06", "25 24 23 22 21 20 19 18 17 16", "35 34 33 32 31 30 29 28 27 26", "36 35 34 33 32 31 30 29 28 27"} {
		if p, got = w.pages(p.Newer); got != want {
			t.Errorf("newer is %s, want %s", got, want)
		}
	}
	if p.Newer != "" || p.Older == "" {
		t.Errorf("the newest page has newer %q, older %q", p.Newer, p.Older)
	}
}

func TestListFinds(t *testing.T) {
	w, _ := shelved(t, 12, func(i int, r *tickets.Request, tk *tickets.Ticket) {
		switch i {
		case 0:
			r.Reason = "New York office needs it"
		case 1:
			r.User = `ACME\zoe`
		case 2:
			r.Host = "PC-4711"
		case 3:
			r.Product = "Wireshark"
		case 4:
			tk.State = "On Hold"
			r.Product = "Wireshark"
		case 5:
			tk.Decision = &tickets.Decision{Verdict: tickets.Deny, By: ann}
		case 6:
			tk.Request = nil
		}
	})
	for text, want := range map[string]string{
		"tickets york":                      "01",
		"tickets any New York":              "01",
		"tickets all New York":              "01",
		"tickets ALL new york":              "01",
		"tickets ZOE":                       "02",
		"tickets pc-4711":                   "03",
		"tickets wireshark":                 "05 04",
		"tickets wireshark  pc-0815":        "05 04",
		"tickets wireshark zoe":             "",
		"tickets on hold":                   "05",
		`tickets "On Hold" wireshark`:       "05",
		"tickets ON HOLD zoe":               "",
		"tickets Submitting":                "06",
		"tickets pending wireshark":         "05 04",
		"tickets jit-1007":                  "07",
		"tickets wireshark before:jit-1005": "04",
	} {
		if _, got := w.pages(text); got != want {
			t.Errorf("/epm %s shows %q, want %q", text, got, want)
		}
	}
	if p, _ := w.pages("tickets pendign"); !strings.Contains(p.Text, "There are none.") || !strings.Contains(p.Text, "Did you mean the state pending?") {
		t.Errorf("a slip is answered with %q", p.Text)
	}
	wantNote(t, w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "tickets " + strings.Repeat("long ", 13)}), "60 characters at most")
}

// One answer does bounded work, says so, and its buttons go on from there.
func TestListIsBounded(t *testing.T) {
	w, s := shelved(t, 4500, func(i int, r *tickets.Request, _ *tickets.Ticket) {
		if i == 10 || i == 4400 {
			r.Product = "Needle"
		}
	})
	p, got := w.pages("tickets needle")
	if s.looked > 2000 || got != "JIT-5401" && got != "" && !strings.Contains(p.Text, "JIT-5401") || !strings.Contains(p.Text, "looked through 2000 requests, as far as JIT-3501") {
		t.Errorf("after %d tickets: %q", s.looked, p.Text)
	}
	if p, _ = w.pages(p.Older); !strings.Contains(p.Text, "as far as JIT-1501") || strings.Contains(p.Text, "Needle") {
		t.Errorf("then %q", p.Text)
	}
	if p, got = w.pages(p.Older); got != "11" || p.Older != "" {
		t.Errorf("at last %q, older %q; want JIT-1011 alone", p.Text, p.Older)
	}
	for turns := 0; ; turns++ {
		s.looked = 0
		if p, _ = w.pages(p.Newer); s.looked > 4100 || turns > 4 {
			t.Fatalf("%d tickets were looked through, turn %d", s.looked, turns)
		}
		if strings.Contains(p.Text, "JIT-5401") {
			break
		}
	}
	for _, command := range []string{p.Newer, p.Older} {
		if len(command) > adapters.MaxPagerCommand {
			t.Errorf("%q does not fit a button", command)
		}
	}
}

func TestListThatCannotBeRead(t *testing.T) {
	w, s := shelved(t, 3, nil)
	s.broken = errors.New("one is of a newer form")
	if p, got := w.pages("tickets"); got != "03 02 01" || !strings.Contains(p.Text, "There are more, which cannot be read.") {
		t.Errorf("the list is %q", p.Text)
	}
	s.list = nil
	wantNote(t, w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "tickets"}), "I cannot reach my store")
}

// A button carries no word but those that have pages, whoever clicks.
func TestButtonsCarryOnlyPages(t *testing.T) {
	w := newWorld(t)
	w.start()
	for _, text := range []string{"config set approvers chat:U9", "config reset", "state JIT-1001 Closed", "incoming replay x", "status"} {
		wantNote(t, w.bot.Command(t.Context(), adapters.Command{Actor: ann, Place: place, Text: text, FromPager: true}), "I do not know this button any more")
	}
	if set, err := w.store.Settings(t.Context()); err != nil || set.Version != 0 {
		t.Errorf("settings = %+v, %v; want none", set, err)
	}
}
