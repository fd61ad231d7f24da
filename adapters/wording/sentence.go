package wording

import (
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

// PlatformName is what people call p.
func PlatformName(p tickets.Platform) string { return capital(string(p)) }

// Sentence is a line for people in parts, so that a platform can show a
// moment in the reader's own time zone and a person as a mention.
type Sentence []Part

// Part is a piece of a sentence. One of its fields is set.
type Part struct {
	Text  string        // may hold untrusted text, made visible and shortened
	Time  time.Time     // a moment
	Actor tickets.Actor // a person
}

// String is s in plain text, with times in UTC.
func (s Sentence) String() string { return s.On("") }

// On is String for readers on platform on, which may be empty; see [DisplayNameOn].
func (s Sentence) On(on tickets.Platform) string {
	var b strings.Builder
	for _, p := range s {
		switch {
		case !p.Time.IsZero():
			b.WriteString(FormatTime(p.Time))
		case p.Actor.ID != "":
			b.WriteString(DisplayNameOn(on, p.Actor))
		default:
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// FormatTime is a time for people who may be anywhere.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// DisplayName is what to call a.
func DisplayName(a tickets.Actor) string {
	if name := short(a.Name, 80); name != "" {
		return name
	}
	return short(a.ID, 40)
}

// DisplayNameOn is what to call a in a message on platform on: people of another
// platform are named with it, because the same name may be somebody else
// there. An empty platform names everybody without.
func DisplayNameOn(on tickets.Platform, a tickets.Actor) string {
	if a.Platform == on || a.Platform == "" || on == "" {
		return DisplayName(a)
	}
	return DisplayName(a) + " (" + PlatformName(a.Platform) + ")"
}

func text(s string) Sentence { return Sentence{{Text: s}} }

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func orElse(values ...string) string {
	for _, v := range values {
		if strings.TrimSpace(v) != "" {
			return v
		}
	}
	return ""
}

// PlaceName is what people call p, as far as its identifier tells.
func PlaceName(p tickets.Place) string {
	return fmt.Sprintf("channel %s on %s", short(p.Channel, 40), PlatformName(p.Platform))
}
