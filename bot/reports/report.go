// Package reports tells what became of the requests of a span of time: outcomes,
// approvers, response times.
package reports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// hasty is how soon after a request an approval is one that nobody can
	// have thought about.
	hasty = 10 * time.Second
	// often is how many approvals of one file make it a candidate for a rule
	// in EPM.
	often = 2
	// pageSize is how many tickets are read together.
	pageSize = 200
	// topShown is how much of each list is shown in a chat, if there is room.
	topShown = 10
	// maxBars is how many bars the requests are divided into.
	maxBars = 35
)

// Hours are those in which people work, on Monday to Friday.
type Hours struct {
	From, To int // hours of the day: from the first to before the second
	In       *time.Location
}

// OfficeHours are the hours of a report for which none were given.
func OfficeHours() Hours { return Hours{From: 7, To: 19, In: time.Local} }

func (h Hours) hold(at time.Time) bool {
	at = at.In(h.In)
	day := at.Weekday()
	return day != time.Saturday && day != time.Sunday && at.Hour() >= h.From && at.Hour() < h.To
}

func (h Hours) String() string {
	zone := h.In.String()
	if h.In == time.Local { // which is no name that tells anybody where
		zone = time.Now().In(h.In).Format("MST")
	}
	return fmt.Sprintf("Monday to Friday, %02d:00 to %02d:00 %s", h.From, h.To, zone)
}

// Counts are numbers of requests, by what became of them.
type Counts struct {
	Requests int `json:"requests"`
	Approved int `json:"approved"`
	Denied   int `json:"denied"`
	Other    int `json:"other"`   // EPM recorded something else
	Waiting  int `json:"waiting"` // undecided
}

func (c *Counts) add(v tickets.Verdict) {
	c.Requests++
	switch v {
	case tickets.Approve:
		c.Approved++
	case tickets.Deny:
		c.Denied++
	case "":
		c.Waiting++
	default:
		c.Other++
	}
}

// Report tells what became of the requests that arrived from Since on and
// before Until. A request is approved or denied as EPM recorded it in the end,
// and until then as it was decided here.
type Report struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Counts
	InEPM int `json:"in_epm"` // of the decided: in EPM's own console

	// The time from a request's arrival to the decision made here, in
	// seconds; 0 if there was none.
	Median float64 `json:"median_seconds"`
	P95    float64 `json:"p95_seconds"`

	Approvers    []Breakdown `json:"approvers"`       // who decided here, the most decisions first
	Applications []Breakdown `json:"applications"`    // what was asked for
	Groups       []Breakdown `json:"computer_groups"` // of EPM, where it sends them

	AfterHours     []tickets.Number `json:"after_hours"` // decided here outside of Hours
	QuickApprovals []tickets.Number `json:"hasty"`       // approved within ten seconds
	// FrequentApprovals are files that were approved more than once, by their hash: a rule
	// in EPM may serve better.
	FrequentApprovals []Breakdown `json:"often_approved"`

	Days []Day `json:"days"` // all of them, the oldest first

	// Scanned is how many tickets were looked through, the newest first, if
	// those were not all that it takes; else 0.
	Scanned int `json:"looked_through,omitempty"`
	// Damaged says that there are tickets that cannot be read and are missing
	// in the numbers.
	Damaged bool `json:"damaged,omitempty"`

	Hours Hours `json:"-"`

	took                            []time.Duration
	days                            map[string]*Day
	approvers, applications, groups map[string]*Breakdown
	files                           map[string]*Breakdown
}

// Breakdown counts requests that have something in common.
type Breakdown struct {
	Name string `json:"name"`
	Hash string `json:"hash,omitempty"` // of a file, SHA-256 or, without one, SHA-1
	Counts
}

// Day tells of the requests that arrived on a day, or from it on.
type Day struct {
	Date string `json:"date"` // as 2026-03-02, where the hours of the report are
	Counts
	Median float64 `json:"median_seconds"` // as in [Report]

	took []time.Duration
}

// New begins a report of the requests from since to until.
func New(since, until time.Time, hours Hours) *Report {
	return &Report{
		Since: since, Until: until, Hours: hours,
		AfterHours: []tickets.Number{}, QuickApprovals: []tickets.Number{},
		days:      map[string]*Day{},
		approvers: map[string]*Breakdown{}, applications: map[string]*Breakdown{}, groups: map[string]*Breakdown{}, files: map[string]*Breakdown{},
	}
}

// Read adds the tickets of s, the newest first, and ends the report. It reads
// most tickets at most, and for as long as ctx lasts; the report says then
// what is missing. So it does beside an error: tickets that cannot be read
// hide no others.
func (r *Report) Read(ctx context.Context, s store.Store, most int) error {
	defer r.end()
	var wrong error
	q := store.Query{Limit: pageSize}
	for read := 0; read < most; r.Scanned = read {
		list, err := s.List(ctx, q)
		if err != nil && read > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return wrong
		}
		if err != nil {
			wrong, r.Damaged = err, true
		}
		if err != nil && len(list) == 0 {
			return wrong
		}
		older := 0
		for _, t := range list {
			r.add(t)
			if t.Created.Before(r.Since) {
				older++
			}
		}
		// Clocks may have been wrong for a while: a whole page is before it.
		if len(list) < q.Limit && err == nil || older == len(list) {
			r.Scanned = 0
			return wrong
		}
		read += len(list)
		q.Before = list[len(list)-1].Number
	}
	return wrong
}

func (r *Report) add(t *tickets.Ticket) {
	if t.Created.Before(r.Since) || !t.Created.Before(r.Until) || t.Request == nil {
		return
	}
	verdict := tickets.Verdict("")
	switch {
	case t.Outcome != nil:
		verdict = t.Outcome.Verdict
	case t.Decision != nil:
		verdict = t.Decision.Verdict
	}
	r.Counts.add(verdict)
	date := t.Created.In(r.Hours.In).Format(time.DateOnly)
	day := r.days[date]
	if day == nil {
		day = &Day{Date: date}
		r.days[date] = day
	}
	day.Counts.add(verdict)
	tally(r.applications, t.Request.What(), verdict)
	if t.Request.Group != "" {
		tally(r.groups, t.Request.Group, verdict)
	}
	if hash := cmp.Or(t.Request.SHA256, t.Request.SHA1); hash != "" && verdict == tickets.Approve {
		file := tally(r.files, strings.ToLower(hash), verdict)
		file.Name, file.Hash = t.Request.What(), strings.ToLower(hash)
	}
	d := t.Decision
	if d == nil {
		if verdict != "" {
			r.InEPM++
		}
		return
	}
	took := max(d.At.Sub(t.Created), 0)
	r.took, day.took = append(r.took, took), append(day.took, took)
	by := tally(r.approvers, d.By.String(), d.Verdict)
	by.Name = wording.DisplayName(d.By) + " (" + wording.PlatformName(d.By.Platform) + ")"
	if !r.Hours.hold(d.At) {
		r.AfterHours = append(r.AfterHours, t.Number)
	}
	if d.Verdict == tickets.Approve && took < hasty {
		r.QuickApprovals = append(r.QuickApprovals, t.Number)
	}
}

func tally(in map[string]*Breakdown, key string, v tickets.Verdict) *Breakdown {
	c := in[key]
	if c == nil {
		c = &Breakdown{Name: key}
		in[key] = c
	}
	c.Counts.add(v)
	return c
}

func (r *Report) end() {
	r.Median, r.P95 = percentile(r.took, 50), percentile(r.took, 95)
	for at := r.Since.In(r.Hours.In); ; at = at.AddDate(0, 0, 1) {
		date := at.Format(time.DateOnly)
		if last := r.Until.Add(-1).In(r.Hours.In).Format(time.DateOnly); date > last {
			break
		}
		day := cmp.Or(r.days[date], &Day{Date: date})
		day.Median = percentile(day.took, 50)
		r.Days = append(r.Days, *day)
	}
	r.Approvers, r.Applications, r.Groups = ranked(r.approvers), ranked(r.applications), ranked(r.groups)
	r.FrequentApprovals = slices.DeleteFunc(ranked(r.files), func(c Breakdown) bool { return c.Approved < often })
	slices.Reverse(r.AfterHours) // the oldest first
	slices.Reverse(r.QuickApprovals)
}

// Picture draws a report for people.
type Picture func(*Report) (png []byte, err error)

// ParseSpan reads how far back a report looks: hours, days or weeks, as 12h,
// 7d or 4w, at most ten years.
func ParseSpan(s string) (time.Duration, error) {
	units := map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	const most = 10 * 366 * 24 * time.Hour
	if s != "" {
		n, err := strconv.Atoi(s[:len(s)-1])
		if unit := units[strings.ToLower(s[len(s)-1:])]; err == nil && unit > 0 && n > 0 && n <= int(most/unit) {
			return time.Duration(n) * unit, nil
		}
	}
	return 0, fmt.Errorf("“%s” is no span of time: write hours, days or weeks, for example 12h, 7d or 4w", wording.Cut(wording.Line(s), 40))
}

// percentile is the time that p of a hundred of took lasted at most, in
// seconds (nearest rank); 0 if there are none.
func percentile(took []time.Duration, p int) float64 {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	rank := (p*len(took) + 99) / 100
	return took[rank-1].Seconds()
}

// Bars are the days of r, put together so that there are few enough to be
// seen at once, and how much time each is: "day", "week". Each has the date of
// its first day.
func (r *Report) Bars() (unit string, bars []Day) {
	of := 1
	unit = "day"
	for _, u := range []struct {
		days int
		name string
	}{{7, "week"}, {4 * 7, "4 weeks"}, {52 * 7, "52 weeks"}} {
		if len(r.Days) > maxBars*of {
			of, unit = u.days, u.name
		}
	}
	for days := range slices.Chunk(r.Days, of) {
		bar := Day{Date: days[0].Date}
		for _, d := range days {
			bar.Requests += d.Requests
			bar.Approved += d.Approved
			bar.Denied += d.Denied
			bar.Other += d.Other
			bar.Waiting += d.Waiting
			bar.took = append(bar.took, d.took...)
		}
		bar.Median = percentile(bar.took, 50)
		bars = append(bars, bar)
	}
	return unit, bars
}

func ranked(in map[string]*Breakdown) []Breakdown {
	list := make([]Breakdown, 0, len(in))
	for _, c := range slices.Collect(maps.Values(in)) {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Breakdown) int {
		return cmp.Or(b.Requests-a.Requests, strings.Compare(a.Name, b.Name), strings.Compare(a.Hash, b.Hash))
	})
	return list
}
