package bot_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/reports"
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

	r := reports.New(monday, monday.Add(24*time.Hour), reports.Hours{From: 7, To: 19, In: time.UTC})
	if err := r.Read(t.Context(), keep, math.MaxInt); err != nil || r.Scanned != 0 {
		t.Fatalf("Read = %v, %d looked through", err, r.Scanned)
	}
	want := `Requests from 2026-03-02 07:00 to 2026-03-03 07:00 UTC: 7.
Approved: 3. Denied: 2. Undecided: 1. Ended otherwise: 1. Decided in EPM itself: 2.
Time to a decision: half within 10 s, 95 of 100 within 60 min.
By day from 2026-03-02 on: █·, 7 at most, on 2026-03-02.
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

	empty := reports.New(monday.Add(-48*time.Hour), monday.Add(-47*time.Hour), reports.OfficeHours())
	if err := empty.Read(t.Context(), keep, math.MaxInt); err != nil || strings.Count(empty.Text(5), "\n") != 0 {
		t.Errorf("a report of nothing = %s, %v", empty.Text(5), err)
	}
}

// A report reads as far back as it needs to, and no further than it may.
func TestReportReadsPages(t *testing.T) {
	t.Parallel()
	keep := hours(1000)
	for _, c := range []struct {
		hours, most, looked, requests int
	}{
		{hours: 99, most: 1000, looked: 0, requests: 99},
		{hours: 500, most: 2000, looked: 0, requests: 500},
		{hours: 5000, most: 2000, looked: 0, requests: 999},
		{hours: 5000, most: 400, looked: 400, requests: 399},
	} {
		r := reports.New(monday.Add(-time.Duration(c.hours)*time.Hour), monday, reports.OfficeHours())
		err := r.Read(t.Context(), keep, c.most)
		if err != nil || r.Scanned != c.looked || r.Requests != c.requests {
			t.Errorf("%d hours, %d tickets at most: %v, %d looked through, %d requests; want %d, %d", c.hours, c.most, err, r.Scanned, r.Requests, c.looked, c.requests)
		}
		if said := strings.Contains(r.Text(1), "the newest 400 tickets"); said != (c.looked > 0) {
			t.Errorf("%d hours, %d tickets at most: %s", c.hours, c.most, r.Text(1))
		}
	}
}

// What cannot be read hides nothing else, and is told.
func TestReportTellsOfDamage(t *testing.T) {
	t.Parallel()
	broken := errors.New("ticket JIT-1501 is no JSON")
	for _, c := range []struct {
		fails            func(store.Query) bool
		damaged          bool
		looked, requests int
		err              error
	}{
		{func(q store.Query) bool { return q.Before == "" }, true, 0, 999, broken},
		{func(q store.Query) bool { return q.Before == "JIT-1801" }, true, 0, 999, broken},
		{func(q store.Query) bool { return false }, false, 0, 999, nil},
	} {
		keep := partly{hours(1000), broken, c.fails}
		r := reports.New(monday.Add(-5000*time.Hour), monday, reports.OfficeHours())
		if err := r.Read(t.Context(), keep, math.MaxInt); !errors.Is(err, c.err) || r.Damaged != c.damaged || r.Scanned != c.looked || r.Requests != c.requests {
			t.Errorf("Read = %v, damaged %v, %d looked through, %d requests", err, r.Damaged, r.Scanned, r.Requests)
		}
		if said := strings.Contains(r.Text(1), "cannot be read"); said != c.damaged {
			t.Errorf("Text = %s", r.Text(1))
		}
	}
	away := partly{pages{}, broken, func(store.Query) bool { return true }}
	if err := reports.New(monday, monday, reports.OfficeHours()).Read(t.Context(), away, 10); !errors.Is(err, broken) {
		t.Errorf("Read of a store that is away = %v", err)
	}
	// The time is over in the middle: what was read is told.
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	late := partly{hours(1000), context.DeadlineExceeded, func(q store.Query) bool { return q.Before != "" }}
	r := reports.New(monday.Add(-5000*time.Hour), monday, reports.OfficeHours())
	if err := r.Read(ctx, late, math.MaxInt); err != nil || r.Scanned != 200 || r.Damaged || r.Requests != 199 {
		t.Errorf("Read whose time is over = %v, %d looked through, damaged %v, %d requests", err, r.Scanned, r.Damaged, r.Requests)
	}
}

// hours are n requests, one an hour, the newest of them on monday.
func hours(n int) pages {
	var keep pages
	for i := range n {
		number := tickets.NewNumber("JIT", int64(2000-i))
		ticket := tickets.Start(number, tickets.RequestID(number), rules(), monday.Add(-time.Duration(i)*time.Hour))
		ticket.Ask(tickets.Request{ID: tickets.RequestID(number), Kind: tickets.Admin}, rules(), ticket.Created)
		keep.all = append(keep.all, ticket)
	}
	return keep
}

// partly is a store some of whose answers have an error beside them.
type partly struct {
	pages
	err   error
	fails func(store.Query) bool
}

func (d partly) List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error) {
	list, err := d.pages.List(ctx, q)
	if d.fails(q) {
		err = d.err
	}
	return list, err
}

// A report fits into a chat whatever names there are, and loses of its lists
// before it is cut.
func TestReportFits(t *testing.T) {
	t.Parallel()
	var keep pages
	for i := range 60 {
		n := tickets.NewNumber("JIT", int64(2000-i))
		ticket := tickets.Start(n, tickets.RequestID(n), rules(), monday.Add(-time.Duration(i)*time.Hour))
		ticket.Ask(tickets.Request{
			ID: tickets.RequestID(n), Kind: tickets.Application, SHA256: strings.Repeat(fmt.Sprintf("%x", i/3%16), 64), Group: fmt.Sprintf("Group %d\n• Nobody: 0", i),
			Product: fmt.Sprintf("%d %s", i/3, strings.Repeat("長い名前", 500)),
		}, rules(), ticket.Created)
		ticket.Decision = &tickets.Decision{Verdict: tickets.Approve, By: tickets.Actor{Platform: "chat", ID: fmt.Sprint(i), Name: strings.Repeat("Ann ", 50)}, At: ticket.Created}
		keep.all = append(keep.all, ticket)
	}
	r := reports.New(monday.Add(-60*24*time.Hour), monday.Add(time.Hour), reports.OfficeHours())
	if err := r.Read(t.Context(), keep, math.MaxInt); err != nil {
		t.Fatal(err)
	}
	whole := r.Fit(math.MaxInt)
	if whole != r.Text(10) {
		t.Error("there is room and something is left out")
	}
	for _, limit := range []int{adapters.MaxNote, 2000, 300} {
		text := r.Fit(limit)
		if n := utf8.RuneCountInString(text); n > limit || n < limit/3 {
			t.Errorf("%d characters for a limit of %d", n, limit)
		}
		if limit >= 2000 && !strings.Contains(text, "Approved most often") {
			t.Errorf("limit %d: the end is missing:\n%s", limit, text)
		}
		if strings.Contains(text, "\n• Nobody: 0") {
			t.Errorf("limit %d: a name writes a line of ours", limit)
		}
	}
}

// The days of a report are all there, in the zone of its hours, also where
// the clocks are set; and are put together when there are many.
func TestReportDays(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	until := time.Date(2026, 3, 31, 0, 0, 0, 0, berlin)
	keep := hours(1)
	keep.all[0].Created = time.Date(2026, 3, 28, 23, 30, 0, 0, time.UTC) // the 29th in Berlin, on which the day has 23 hours
	for _, c := range []struct {
		days       int
		unit       string
		bars       int
		first, has string
	}{
		{3, "day", 4, "2026-03-27", "2026-03-29"},
		{34, "day", 35, "2026-02-24", "2026-03-29"},
		{35, "week", 6, "2026-02-23", "2026-03-23"},
		{300, "4 weeks", 11, "2025-06-04", "2026-03-11"},
		{3650, "52 weeks", 11, "2016-04-02", "2026-03-21"},
	} {
		r := reports.New(until.Add(-time.Duration(c.days)*24*time.Hour), until, reports.Hours{From: 7, To: 19, In: berlin})
		if err := r.Read(t.Context(), keep, 10); err != nil {
			t.Fatal(err)
		}
		unit, bars := r.Bars()
		i := slices.IndexFunc(bars, func(d reports.Day) bool { return d.Requests == 1 })
		if unit != c.unit || len(bars) != c.bars || bars[0].Date != c.first || i < 0 || bars[i].Date != c.has {
			t.Errorf("%d days: %d of a %s from %s, the request at %d: %+v", c.days, len(bars), unit, bars[0].Date, i, bars[max(i, 0)])
		}
	}
}

// The command tells admins what the report says, and shows its picture if one
// can be drawn.
func TestReportCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var drawn *reports.Report
	broken := false
	w.picture = func(r *reports.Report) ([]byte, error) {
		if drawn = r; broken {
			return nil, errors.New("no paint")
		}
		return []byte("png"), nil
	}
	w.start()
	ask := func(by tickets.Actor, text string) adapters.Note {
		return w.bot.Command(t.Context(), adapters.Command{Actor: by, Place: place, Text: text}).(adapters.Note)
	}
	if n := ask(ann, "report"); !strings.HasSuffix(n.Text, "UTC: 0.") || n.Picture != nil {
		t.Errorf("a report of nothing is %q, %v", n.Text, n.Picture)
	}
	n := w.ask("one")
	w.approve(n, ann, twoHours)
	w.until(n, "confirmed", func(t *tickets.Ticket) bool { return !t.Sending.Done.IsZero() })
	got := ask(ann, "report 4w")
	for _, want := range []string{"UTC: 1.", "Approved: 1.", "• Ann (Chat): 1, approved 1, denied 0", "Approved within ten seconds: 1 (" + string(n) + ")"} {
		if !strings.Contains(got.Text, want) {
			t.Errorf("the report lacks %q:\n%s", want, got.Text)
		}
	}
	if got.Picture == nil || string(got.Picture.PNG) != "png" || drawn.Requests != 1 || len(drawn.Days) < 28 ||
		!strings.HasPrefix(got.Picture.Alt, "Requests by day from ") || !strings.Contains(got.Picture.Alt, "1 in all, 1 approved, 0 denied, 0 undecided. Half of the decisions took less than") {
		t.Errorf("the picture is %+v of %+v", got.Picture, drawn)
	}
	broken = true
	if got := ask(ann, "report"); got.Picture != nil || !strings.Contains(got.Text, "UTC: 1.") {
		t.Errorf("a report that cannot be drawn is %q, %v", got.Text, got.Picture)
	}
	wantNote(t, ask(ann, "report since yesterday"), "write hours, days or weeks")
	for _, who := range []tickets.Actor{bob, sam} {
		wantNote(t, ask(who, "report"), wording.MsgNotAdmin)
	}
	if list := w.bot.Autocomplete(t.Context(), adapters.Completion{Actor: ann, Word: "report", Arg: "span", Typed: "4"}); len(list) != 2 || list[0].Value != "4w" {
		t.Errorf("suggested %v", list)
	}
}

func TestParseSpan(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"12h": 12 * time.Hour, "7d": 168 * time.Hour, "4W": 672 * time.Hour} {
		if d, err := reports.ParseSpan(s); err != nil || d != want {
			t.Errorf("ParseSpan(%q) = %v, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "d", "7", "-7d", "0d", "7m", "7 d", "999999999999w", "5000d", "7d7", "٣d", fmt.Sprint(math.MaxInt) + "h"} {
		if d, err := reports.ParseSpan(s); err == nil {
			t.Errorf("ParseSpan(%q) = %v, want an error", s, d)
		}
	}
}
