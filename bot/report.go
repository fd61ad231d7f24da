package bot

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
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
	// reportPage is how many tickets are read together.
	reportPage = 200
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
	return fmt.Sprintf("Monday to Friday, %02d:00 to %02d:00 %s", h.From, h.To, h.In)
}

// Report tells what became of the requests that arrived from Since on and
// before Until. A request is approved or denied as EPM recorded it in the end,
// and until then as it was decided here.
type Report struct {
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Requests int       `json:"requests"`
	Approved int       `json:"approved"`
	Denied   int       `json:"denied"`
	Other    int       `json:"other"`   // EPM recorded something else
	Waiting  int       `json:"waiting"` // undecided
	InEPM    int       `json:"in_epm"`  // of the decided: in EPM's own console

	// The time from a request's arrival to the decision made here, in
	// seconds; 0 if there was none.
	Median float64 `json:"median_seconds"`
	P95    float64 `json:"p95_seconds"`

	Approvers    []Tally `json:"approvers"`       // who decided here, the most decisions first
	Applications []Tally `json:"applications"`    // what was asked for
	Groups       []Tally `json:"computer_groups"` // of EPM, where it sends them

	AfterHours []tickets.Number `json:"after_hours"` // decided here outside of Hours
	Hasty      []tickets.Number `json:"hasty"`       // approved within ten seconds
	// Often are files that were approved more than once, by their hash: a rule
	// in EPM may serve better.
	Often []Tally `json:"often_approved"`

	Hours Hours `json:"-"`

	took                            []time.Duration
	approvers, applications, groups map[string]*Tally
	files                           map[string]*Tally
}

// Tally counts requests that have something in common.
type Tally struct {
	Name     string `json:"name"`
	Hash     string `json:"hash,omitempty"` // of a file, SHA-256 or, without one, SHA-1
	Requests int    `json:"requests"`
	Approved int    `json:"approved"`
	Denied   int    `json:"denied"`
}

// NewReport begins a report of the requests from since to until.
func NewReport(since, until time.Time, hours Hours) *Report {
	return &Report{
		Since: since, Until: until, Hours: hours,
		approvers: map[string]*Tally{}, applications: map[string]*Tally{}, groups: map[string]*Tally{}, files: map[string]*Tally{},
	}
}

// Read adds the tickets of s, the newest first, and ends the report. It reads
// most tickets at most and reports whether that was enough.
func (r *Report) Read(ctx context.Context, s store.Store, most int) (all bool, err error) {
	q := store.Query{Limit: reportPage}
	for read := 0; read < most; {
		list, err := s.List(ctx, q)
		if err != nil {
			return false, err
		}
		older := 0
		for _, t := range list {
			r.add(t)
			if t.Created.Before(r.Since) {
				older++
			}
		}
		// Clocks may have been wrong for a while: a whole page is before it.
		if len(list) < q.Limit || older == len(list) {
			r.end()
			return true, nil
		}
		read += len(list)
		q.Before = list[len(list)-1].Number
	}
	r.end()
	return false, nil
}

func (r *Report) add(t *tickets.Ticket) {
	if t.Created.Before(r.Since) || !t.Created.Before(r.Until) || t.Request == nil {
		return
	}
	r.Requests++
	verdict := tickets.Verdict("")
	switch {
	case t.Outcome != nil:
		verdict = t.Outcome.Verdict
	case t.Decision != nil:
		verdict = t.Decision.Verdict
	}
	switch verdict {
	case tickets.Approve:
		r.Approved++
	case tickets.Deny:
		r.Denied++
	case "":
		r.Waiting++
	default:
		r.Other++
	}
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
	r.took = append(r.took, took)
	by := tally(r.approvers, d.By.String(), d.Verdict)
	by.Name = cmp.Or(d.By.Name, d.By.ID) + " (" + adapters.PlatformName(d.By.Platform) + ")"
	if !r.Hours.hold(d.At) {
		r.AfterHours = append(r.AfterHours, t.Number)
	}
	if d.Verdict == tickets.Approve && took < hasty {
		r.Hasty = append(r.Hasty, t.Number)
	}
}

func tally(in map[string]*Tally, key string, v tickets.Verdict) *Tally {
	c := in[key]
	if c == nil {
		c = &Tally{Name: key}
		in[key] = c
	}
	c.Requests++
	switch v {
	case tickets.Approve:
		c.Approved++
	case tickets.Deny:
		c.Denied++
	}
	return c
}

func (r *Report) end() {
	slices.Sort(r.took)
	r.Median, r.P95 = r.percentile(50), r.percentile(95)
	r.Approvers, r.Applications, r.Groups = ranked(r.approvers), ranked(r.applications), ranked(r.groups)
	r.Often = slices.DeleteFunc(ranked(r.files), func(c Tally) bool { return c.Approved < often })
	slices.Reverse(r.AfterHours) // the oldest first
	slices.Reverse(r.Hasty)
}

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
	return 0, fmt.Errorf("%q is no span of time: write hours, days or weeks, for example 12h, 7d or 4w", adapters.Line(s))
}

// percentile is the time that p of a hundred decisions took at most, in
// seconds (nearest rank).
func (r *Report) percentile(p int) float64 {
	if len(r.took) == 0 {
		return 0
	}
	rank := (p*len(r.took) + 99) / 100
	return r.took[rank-1].Seconds()
}

func ranked(in map[string]*Tally) []Tally {
	list := make([]Tally, 0, len(in))
	for _, c := range slices.Collect(maps.Values(in)) {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Tally) int {
		return cmp.Or(b.Requests-a.Requests, strings.Compare(a.Name, b.Name), strings.Compare(a.Hash, b.Hash))
	})
	return list
}

// Text is the report for people, with at most top of each list.
func (r *Report) Text(top int) string {
	var s strings.Builder
	const layout = "2006-01-02 15:04"
	fmt.Fprintf(&s, "Requests from %s to %s UTC: %d.", r.Since.UTC().Format(layout), r.Until.UTC().Format(layout), r.Requests)
	if r.Requests == 0 {
		return s.String()
	}
	fmt.Fprintf(&s, "\nApproved: %d. Denied: %d. Undecided: %d.", r.Approved, r.Denied, r.Waiting)
	if r.Other > 0 {
		fmt.Fprintf(&s, " Ended otherwise: %d.", r.Other)
	}
	if r.InEPM > 0 {
		fmt.Fprintf(&s, " Decided in EPM itself: %d.", r.InEPM)
	}
	if len(r.took) > 0 {
		fmt.Fprintf(&s, "\nTime to a decision: half within %s, 95 of 100 within %s.", spell(r.Median), spell(r.P95))
	}
	counts := func(title string, list []Tally) {
		if len(list) == 0 {
			return
		}
		s.WriteString("\n" + title)
		for _, c := range list[:min(top, len(list))] {
			fmt.Fprintf(&s, "\n• %s: %d, approved %d, denied %d", adapters.Line(c.Name), c.Requests, c.Approved, c.Denied)
		}
		if more := len(list) - top; more > 0 {
			fmt.Fprintf(&s, "\n• and %d more", more)
		}
	}
	counts("By approver:", r.Approvers)
	counts("By what was asked for:", r.Applications)
	counts("By computer group:", r.Groups)
	numbers := func(title string, list []tickets.Number) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(&s, "\n%s: %d (", title, len(list))
		for i, n := range list[:min(top, len(list))] {
			if i > 0 {
				s.WriteString(", ")
			}
			s.WriteString(string(n))
		}
		if len(list) > top {
			s.WriteString(", …")
		}
		s.WriteString(")")
	}
	numbers("Decided outside of working hours ("+r.Hours.String()+")", r.AfterHours)
	numbers("Approved within ten seconds", r.Hasty)
	if len(r.Often) > 0 {
		s.WriteString("\nApproved most often, perhaps better by a rule in EPM:")
		for _, c := range r.Often[:min(top, len(r.Often))] {
			fmt.Fprintf(&s, "\n• %s: %d times, %s", adapters.Line(c.Name), c.Approved, adapters.Line(c.Hash))
		}
	}
	return s.String()
}

// spell is a number of seconds in the unit that suits it.
func spell(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}
