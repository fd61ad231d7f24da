package epm

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// parseTime reads a time as the API writes it, or in any layout of webhooks
// with the month first; zero if it cannot be read.
func parseTime(s string) time.Time {
	t, _ := readTime(s, false)
	return t
}

// order is what a date tells of the order in which day and month are written.
type order uint8

const (
	orderUnknown order = iota // both are at most 12, or the order is another
	dayFirst                  // the first number can only be a day
	monthFirst                // the second number can only be a day
)

// readTime reads s, which names a day and a time, in the layouts of .NET, ISO
// 8601, RFC 1123 and JavaScript, or as seconds or milliseconds since 1970. If
// s names no zone it is UTC. days says that of two numbers that may both be a
// month the first is the day. It returns the zero time for whatever cannot be
// read without a guess: people are shown s then.
func readTime(s string, days bool) (time.Time, order) {
	if len(s) > maxTimeText {
		return time.Time{}, orderUnknown
	}
	if t, err := time.Parse(decisionTimeLayout, s); err == nil { // as the API writes it
		return inCalendar(t), orderUnknown
	}
	s = tidy(s)
	if t, ok := sinceEpoch(s); ok {
		return t, orderUnknown
	}
	if m := isoCompact.FindStringSubmatch(s); m != nil {
		return clock{year: m[1], month: m[2], day: m[3], hour: m[4], minute: m[5], second: m[6], fraction: m[7], zone: m[8:]}.time(), orderUnknown
	}
	if m := yearFirst.FindStringSubmatch(s); m != nil {
		return clockOf(m[1], m[2], m[3], m[4:]).time(), orderUnknown
	}
	if m := numbers.FindStringSubmatch(s); m != nil {
		first, second, found := m[1], m[3], orderUnknown
		a, _ := strconv.Atoi(first)
		b, _ := strconv.Atoi(second)
		switch {
		case a > 12 && b <= 12:
			found, days = dayFirst, true
		case b > 12 && a <= 12:
			found, days = monthFirst, false
		case m[2] == ".": // written by nobody with the month first
			days = true
		}
		if !days {
			first, second = second, first
		}
		t := clockOf(m[4], second, first, m[5:]).time()
		if t.IsZero() || m[2] == "." {
			found = orderUnknown
		}
		return t, found
	}
	if m := dayName.FindStringSubmatch(s); m != nil {
		return clockOf(m[3], monthOf(m[2]), m[1], m[4:]).time(), orderUnknown
	}
	if m := monthName.FindStringSubmatch(s); m != nil {
		return clockOf(m[3], monthOf(m[1]), m[2], m[4:]).time(), orderUnknown
	}
	if m := unixDate.FindStringSubmatch(s); m != nil { // Sat Jan 31 13:05:00 UTC 2026
		return clock{year: m[7], month: monthOf(m[1]), day: m[2], hour: m[3], minute: m[4], second: m[5], zone: []string{m[6], "", "", ""}}.time(), orderUnknown
	}
	return time.Time{}, orderUnknown
}

// maxTimeText is longer than what JavaScript writes, the longest of all.
const maxTimeText = 100

// Parts of the layouts. What follows a date: the time of the day with what
// Windows' settings make of it, and a zone.
const (
	timePart = `(?:T|,? (?:AT )?)(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:[.,](\d+))?)?(?: ?([AP])\.?M\.?)?`
	zonePart = ` ?(Z|UTC|GMT|(?:UTC|GMT)? ?([+-])(\d{2}):?(\d{2})?)?(?: \([^()]*\))?$`
	weekday  = `^(?:[A-Z]{3,9},? )?`
)

var (
	isoCompact = regexp.MustCompile(`^(\d{4})(\d{2})(\d{2})[T ]?(\d{2})(\d{2})(\d{2})(?:[.,](\d+))?` + zonePart)
	yearFirst  = regexp.MustCompile(`^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})` + timePart + zonePart)
	numbers    = regexp.MustCompile(`^(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4})` + timePart + zonePart)
	dayName    = regexp.MustCompile(weekday + `(\d{1,2})(?:ST|ND|RD|TH)?[ -]([A-Z]{3,9})\.?,?[ -](\d{4})` + timePart + zonePart)
	monthName  = regexp.MustCompile(weekday + `([A-Z]{3,9})\.? (\d{1,2})(?:ST|ND|RD|TH)?,? (\d{4})` + timePart + zonePart)
	unixDate   = regexp.MustCompile(weekday + `([A-Z]{3}) (\d{1,2}) (\d{2}):(\d{2}):(\d{2}) (?:(UTC|GMT) )?(\d{4})$`)
	netJSON    = regexp.MustCompile(`^\\?/DATE\((-?\d+)(?:[+-]\d{4})?\)\\?/$`)
	plainEpoch = regexp.MustCompile(`^\d{10}(?:\d{3})?(?:\.\d+)?$`)
)

// tidy writes s in capitals, with single plain spaces, and without the marks
// that Windows puts around dates. Newer versions of .NET write a narrow space
// that does not break before AM and PM.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '\u2212':
			return '-'
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		return unicode.ToUpper(r)
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// sinceEpoch reads 10 digits as seconds and 13 as milliseconds since 1970, and
// what .NET's older serializer writes, /Date(1769864700000)/.
func sinceEpoch(s string) (time.Time, bool) {
	if m := netJSON.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		return inCalendar(time.UnixMilli(n).UTC()), err == nil
	}
	if !plainEpoch.MatchString(s) {
		return time.Time{}, false
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if len(whole) == 13 {
		return time.UnixMilli(n).UTC(), true
	}
	return time.Unix(n, nanoseconds(fraction)).UTC(), true
}

// nanoseconds reads the digits behind a decimal point.
func nanoseconds(digits string) int64 {
	f, err := strconv.ParseFloat("0."+digits, 64)
	if err != nil {
		return 0
	}
	return int64(math.Round(f * 1e9))
}

// clock is a time in parts, as they are written.
type clock struct {
	year, month, day     string
	hour, minute, second string
	fraction, half       string   // half is A or P, or empty
	zone                 []string // the whole, then sign, hours and minutes
}

// clockOf makes a clock of a date and what timePart and zonePart found.
func clockOf(year, month, day string, rest []string) clock {
	return clock{year: year, month: month, day: day, hour: rest[0], minute: rest[1], second: rest[2], fraction: rest[3], half: rest[4], zone: rest[5:]}
}

// time is zero if there is no such time.
func (c clock) time() time.Time {
	wrong := false
	number := func(s string, low, high int) int {
		if s == "" {
			s = "0"
		}
		n, err := strconv.Atoi(s)
		wrong = wrong || err != nil || n < low || n > high
		return n
	}
	year, month, day := number(c.year, 1, 9999), number(c.month, 1, 12), number(c.day, 1, 31)
	hour := number(c.hour, 0, 23)
	if c.half != "" {
		hour = number(c.hour, 1, 12) % 12
		if c.half == "P" {
			hour += 12
		}
	}
	minute, second := number(c.minute, 0, 59), number(c.second, 0, 59)
	offset := time.Duration(number(c.zone[2], 0, 14))*time.Hour + time.Duration(number(c.zone[3], 0, 59))*time.Minute
	if c.zone[1] == "-" {
		offset = -offset
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, int(nanoseconds(c.fraction)), time.UTC)
	if wrong || t.Day() != day { // 31 February
		return time.Time{}
	}
	return inCalendar(t.Add(-offset))
}

// inCalendar is t, or zero if it cannot be written down.
func inCalendar(t time.Time) time.Time {
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// monthOf is the number of an English month, or "" if s is none.
func monthOf(s string) string {
	for m := time.January; m <= time.December; m++ {
		if name := strings.ToUpper(m.String()); s == name || s == name[:3] || s == "SEPT" && m == time.September {
			return strconv.Itoa(int(m))
		}
	}
	return "none"
}

// Order says what a kept webhook, which arrived at a time, tells of the order
// in which EPM writes day and month: that a date in it can only be read with
// the day first, or only with the month first, or neither. A date that can be
// read both ways tells it if the webhook arrived within a day of one of them.
func Order(raw []byte, arrived time.Time) (days, months bool) {
	b, err := read(bytes.Clone(raw))
	if err != nil {
		return false, false
	}
	for i := range b.values {
		v := &b.values[i]
		switch v.key {
		case kTimestamp, kDecided, kStart, kEnd:
		default:
			continue
		}
		text := given(v)
		d, found := readTime(text, true)
		m, _ := readTime(text, false)
		near := func(t time.Time) bool { return arrived.Sub(t).Abs() < 25*time.Hour }
		if found == orderUnknown && v.key == kTimestamp && !d.Equal(m) && near(d) != near(m) {
			found = monthFirst
			if near(d) {
				found = dayFirst
			}
		}
		days, months = days || found == dayFirst, months || found == monthFirst
	}
	return days, months
}
