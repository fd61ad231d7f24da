package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// Fit is Text in at most limit characters, with as much of each list as there
// is room for.
func (r *Report) Fit(limit int) string {
	for top := topShown; top > 1; top-- {
		if s := r.Text(top); utf8.RuneCountInString(s) <= limit {
			return s
		}
	}
	return wording.Cut(r.Text(1), limit)
}

// levels are the heights of a bar in a line of text.
const levels = "▁▂▃▄▅▆▇█"

// line draws the requests on one line, and names the most.
func (r *Report) line() string {
	unit, bars := r.Bars()
	if len(bars) < 2 {
		return ""
	}
	most := slices.MaxFunc(bars, func(a, b Day) int { return cmp.Compare(a.Requests, b.Requests) })
	var s strings.Builder
	for _, bar := range bars {
		height := []rune(levels)
		if bar.Requests == 0 {
			s.WriteRune('·')
			continue
		}
		s.WriteRune(height[(bar.Requests*len(height)-1)/most.Requests])
	}
	on := "on"
	if unit != "day" {
		on = "from"
	}
	return fmt.Sprintf("\nBy %s from %s on: %s, %d at most, %s %s.", unit, bars[0].Date, s.String(), most.Requests, on, most.Date)
}

// name is what is counted, for people.
func (c *Breakdown) name() string { return wording.Cut(wording.Line(c.Name), 80) }

// Text is the report for people, with at most top of each list.
func (r *Report) Text(top int) string {
	var s strings.Builder
	const layout = "2006-01-02 15:04"
	fmt.Fprintf(&s, "Requests from %s to %s UTC: %d.", r.Since.UTC().Format(layout), r.Until.UTC().Format(layout), r.Requests)
	if r.Scanned > 0 {
		fmt.Fprintf(&s, " Only the newest %d tickets were looked through: what is older is missing here.", r.Scanned)
	}
	if r.Damaged {
		s.WriteString(" There are tickets that cannot be read: they are missing here.")
	}
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
	s.WriteString(r.line())
	counts := func(title string, list []Breakdown) {
		if len(list) == 0 {
			return
		}
		s.WriteString("\n" + title)
		for _, c := range list[:min(top, len(list))] {
			fmt.Fprintf(&s, "\n• %s: %d, approved %d, denied %d", c.name(), c.Requests, c.Approved, c.Denied)
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
	numbers("Approved within ten seconds", r.QuickApprovals)
	if len(r.FrequentApprovals) > 0 {
		s.WriteString("\nApproved most often, perhaps better by a rule in EPM:")
		for _, c := range r.FrequentApprovals[:min(top, len(r.FrequentApprovals))] {
			fmt.Fprintf(&s, "\n• %s: %d times, %s", c.name(), c.Approved, wording.Cut(wording.Line(c.Hash), 64))
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

// Alt says what a picture of r shows, to whoever cannot see it.
func (r *Report) Alt() string {
	unit, bars := r.Bars()
	s := fmt.Sprintf("Requests by %s from %s on: %d in all, %d approved, %d denied, %d undecided", unit, bars[0].Date, r.Requests, r.Approved, r.Denied, r.Waiting)
	if r.Other > 0 {
		s += fmt.Sprintf(", %d ended otherwise", r.Other)
	}
	if len(r.took) > 0 {
		s += fmt.Sprintf(". Half of the decisions took less than %s", spell(r.Median))
	}
	return s + "."
}
