package bot_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/bot"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// pages is a store that holds these, the newest first.
type pages struct {
	store.Store
	all []*tickets.Ticket
}

func (l pages) List(_ context.Context, q store.Query) ([]*tickets.Ticket, error) {
	from := 0
	if q.Before != "" {
		from = 1 + slices.IndexFunc(l.all, func(t *tickets.Ticket) bool { return t.Number == q.Before })
	}
	return l.all[from:min(from+q.Limit, len(l.all))], nil
}

// monday is the moment at which people begin to work.
var monday = time.Date(2026, 3, 2, 7, 0, 0, 0, time.UTC)

func TestReport(t *testing.T) {
	t.Parallel()
	var keep pages
	add := func(at time.Time, r tickets.Request, changes ...func(*tickets.Ticket)) {
		n := tickets.NewNumber("JIT", int64(1001+len(keep.all)))
		r.ID = tickets.RequestID(n)
		ticket := tickets.Start(n, r.ID, rules(), at)
		ticket.Ask(r, rules(), at)
		for _, change := range changes {
			change(ticket)
		}
		keep.all = slices.Insert(keep.all, 0, ticket)
	}
	decided := func(v tickets.Verdict, by tickets.Actor, after time.Duration) func(*tickets.Ticket) {
		return func(t *tickets.Ticket) {
			t.Decision = &tickets.Decision{Verdict: v, By: by, At: t.Created.Add(after)}
		}
	}
	recorded := func(v tickets.Verdict) func(*tickets.Ticket) {
		return func(t *tickets.Ticket) { t.Outcome = &tickets.Outcome{Verdict: v} }
	}
	editor := tickets.Request{Kind: tickets.Application, Product: "Notepad++", SHA256: "ABC", Group: "Sales"}
	rights := tickets.Request{Kind: tickets.Admin}

	add(monday.Add(-time.Hour), editor, decided(tickets.Approve, ann, time.Minute)) // before
	add(monday, editor, decided(tickets.Approve, ann, 2*time.Second))               // hasty
	add(monday.Add(time.Hour), editor, decided(tickets.Approve, ann, 10*time.Second), recorded(tickets.Approve))
	add(monday.Add(2*time.Hour), editor, decided(tickets.Deny, bob, time.Hour), recorded(tickets.Approve)) // EPM has the last word
	add(monday.Add(11*time.Hour), rights, decided(tickets.Deny, bob, time.Hour))                           // at 19:00
	add(monday.Add(12*time.Hour), rights, recorded(tickets.Deny))                                          // in the console
	add(monday.Add(13*time.Hour), rights)
	add(monday.Add(14*time.Hour), rights, recorded(tickets.Other))
	add(monday.Add(24*time.Hour), rights) // after

	r := bot.NewReport(monday, monday.Add(24*time.Hour), bot.Hours{From: 7, To: 19, In: time.UTC})
	if all, err := r.Read(t.Context(), keep, math.MaxInt); err != nil || !all {
		t.Fatalf("Read = %v, %v", all, err)
	}
	want := `Requests from 2026-03-02 07:00 to 2026-03-03 07:00 UTC: 7.
Approved: 3. Denied: 2. Undecided: 1. Ended otherwise: 1. Decided in EPM itself: 2.
Time to a decision: half within 10 s, 95 of 100 within 60 min.
By approver:
• Ann (Chat): 2, approved 2, denied 0
• Bob (Chat): 2, approved 0, denied 2
By what was asked for:
• administrator rights: 4, approved 0, denied 2
• Notepad++: 3, approved 3, denied 0
By computer group:
• Sales: 3, approved 3, denied 0
Decided outside of working hours (Monday to Friday, 07:00 to 19:00 UTC): 1 (JIT-1005)
Approved within ten seconds: 1 (JIT-1002)
Approved most often, perhaps better by a rule in EPM:
• Notepad++: 3 times, abc`
	if got := r.Text(2); got != want {
		t.Errorf("Text = %s\nwant %s", got, want)
	}

	if text := r.Text(1); !strings.Contains(text, "Ann (Chat): 2, approved 2, denied 0\n• and 1 more\nBy what was asked for") {
		t.Errorf("Text(1) = %s", text)
	}

	empty := bot.NewReport(monday.Add(-48*time.Hour), monday.Add(-47*time.Hour), bot.OfficeHours())
	if _, err := empty.Read(t.Context(), keep, math.MaxInt); err != nil || strings.Count(empty.Text(5), "\n") != 0 {
		t.Errorf("a report of nothing = %s, %v", empty.Text(5), err)
	}
}

// A report reads as far back as it needs to, and no further than it may.
func TestReportReadsPages(t *testing.T) {
	t.Parallel()
	var keep pages
	for i := range 1000 {
		n := tickets.NewNumber("JIT", int64(2000-i))
		ticket := tickets.Start(n, tickets.RequestID(n), rules(), monday.Add(-time.Duration(i)*time.Hour))
		ticket.Ask(tickets.Request{ID: tickets.RequestID(n), Kind: tickets.Admin}, rules(), ticket.Created)
		keep.all = append(keep.all, ticket)
	}
	for _, c := range []struct {
		hours, most int
		all         bool
		requests    int
	}{
		{hours: 99, most: 1000, all: true, requests: 99},
		{hours: 500, most: 2000, all: true, requests: 500},
		{hours: 5000, most: 2000, all: true, requests: 999},
		{hours: 5000, most: 400, all: false, requests: 399},
	} {
		r := bot.NewReport(monday.Add(-time.Duration(c.hours)*time.Hour), monday, bot.OfficeHours())
		all, err := r.Read(t.Context(), keep, c.most)
		if err != nil || all != c.all || r.Requests != c.requests {
			t.Errorf("%d hours, %d tickets at most: %v, %v, %d requests; want %v, %d", c.hours, c.most, all, err, r.Requests, c.all, c.requests)
		}
	}
}

func TestParseSpan(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"12h": 12 * time.Hour, "7d": 168 * time.Hour, "4W": 672 * time.Hour} {
		if d, err := bot.ParseSpan(s); err != nil || d != want {
			t.Errorf("ParseSpan(%q) = %v, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "d", "7", "-7d", "0d", "7m", "7 d", "999999999999w", "5000d", "7d7", "٣d", fmt.Sprint(math.MaxInt) + "h"} {
		if d, err := bot.ParseSpan(s); err == nil {
			t.Errorf("ParseSpan(%q) = %v, want an error", s, d)
		}
	}
}
