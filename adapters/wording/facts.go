package wording

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

// Shape is how a fact wants to be shown.
type Shape int

// The shapes of facts.
const (
	Short Shape = iota // a few words, on one line
	Code               // a path or a command, in fixed width
	Prose              // somebody's own words, perhaps of several lines
)

// Fact is a labelled value of a card.
type Fact struct {
	Field string // its name in the setting "fields"
	Label string
	Value string    // visible, not shortened; empty if Time is set
	Time  time.Time // a moment, zero for other facts
	Shape Shape
}

// fact knows how to take one fact from a ticket and its request.
type fact struct {
	field, label string
	shape        Shape
	value        func(t *tickets.Ticket, r *tickets.Request) string
	time         func(r *tickets.Request) time.Time
}

// facts knows every fact by its name in the settings.
var facts = []fact{
	{field: "user", label: "User", value: func(_ *tickets.Ticket, r *tickets.Request) string { return orElse(r.User, r.UserID, "not told by EPM") }},
	{field: "computer", label: "Computer", value: func(_ *tickets.Ticket, r *tickets.Request) string { return orElse(r.Where(), "not told by EPM") }},
	{field: "application", label: "Application", value: func(_ *tickets.Ticket, r *tickets.Request) string {
		if r.Kind == tickets.Admin {
			return ""
		}
		return r.What()
	}},
	{field: "publisher", label: "Publisher", value: func(_ *tickets.Ticket, r *tickets.Request) string {
		if r.Kind == tickets.Admin {
			return r.Publisher
		}
		return orElse(r.Publisher, "not signed or unknown")
	}},
	{field: "reputation", label: "Reputation", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Reputation }},
	{field: "duration", label: "Asked for", value: func(_ *tickets.Ticket, r *tickets.Request) string { return AskedFor(r) }},
	{field: "time", label: "Requested", time: func(r *tickets.Request) time.Time { return r.Time }, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.TimeRaw }},
	{field: "path", label: "Path", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Path }},
	{field: "command", label: "Command line", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Command }},
	{field: "parent", label: "Started by", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Parent }},
	{field: "source", label: "Downloaded from", shape: Code, value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Source }},
	{field: "sha256", label: "SHA-256", value: func(_ *tickets.Ticket, r *tickets.Request) string { return shortHash(r.SHA256) }},
	{field: "sha1", label: "SHA-1", value: func(_ *tickets.Ticket, r *tickets.Request) string { return shortHash(r.SHA1) }},
	{field: "reason", label: "Reason", shape: Prose, value: func(_ *tickets.Ticket, r *tickets.Request) string { return orElse(r.Reason, "none was given") }},
	{field: "number", label: "EPM number", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.EPMNumber }},
	{field: "group", label: "Computer group", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Group }},
	{field: "tenant", label: "Tenant", value: func(_ *tickets.Ticket, r *tickets.Request) string { return r.Tenant }},
	{field: "title", label: "Short description", value: func(t *tickets.Ticket, _ *tickets.Request) string { return t.Title }},
	{field: "category", label: "Category", value: func(t *tickets.Ticket, _ *tickets.Request) string { return t.Category }},
	{field: "type", label: "Type", value: func(t *tickets.Ticket, _ *tickets.Request) string { return t.Type }},
	{field: "state", label: "State", value: func(t *tickets.Ticket, _ *tickets.Request) string { return string(t.State) }},
}

// Fields lists the names that the setting "fields" may hold.
func Fields() []string {
	var names []string
	for _, f := range facts {
		names = append(names, f.field)
	}
	return names
}

// DefaultFields are the facts of a card for a kind of request, in order.
func DefaultFields(k tickets.Kind) []string {
	if k == tickets.Admin {
		return []string{"user", "computer", "duration", "time", "number", "reason"}
	}
	return []string{"user", "computer", "application", "publisher", "reputation", "duration", "time", "sha256", "number", "path", "command", "parent", "source", "reason"}
}

// Facts are what a card tells about t's request, in the order of fields, or
// of [DefaultFields] if there are none. Facts that EPM did not send are left
// out, except those whose absence matters to a decision.
func Facts(t *tickets.Ticket, fields []string) []Fact {
	r := t.Request
	if r == nil {
		return nil
	}
	if len(fields) == 0 {
		fields = DefaultFields(r.Kind)
	}
	var out []Fact
	for _, name := range fields {
		i := slices.IndexFunc(facts, func(f fact) bool { return strings.EqualFold(f.field, strings.TrimSpace(name)) })
		if i < 0 {
			continue
		}
		def := facts[i]
		f := Fact{Field: def.field, Label: def.label, Shape: def.shape}
		switch {
		case def.time != nil && !def.time(r).IsZero():
			f.Time = def.time(r)
		case def.shape == Prose:
			f.Value = strings.TrimSpace(Visible(def.value(t, r)))
		default:
			f.Value = Line(def.value(t, r))
		}
		if f.Value != "" || !f.Time.IsZero() {
			out = append(out, f)
		}
	}
	return out
}

// AskedFor is the duration that r asks for, in words; EPM's own text if it is
// not a number of seconds; empty if none was asked for.
func AskedFor(r *tickets.Request) string {
	raw := strings.TrimSpace(r.Requested)
	if d, err := tickets.ParseDuration(raw); err == nil {
		return d.String()
	}
	return raw
}

// shortHash keeps both ends of a hash, enough to compare it by eye; Details
// has it whole.
func shortHash(h string) string {
	h = strings.TrimSpace(h)
	if len(h) <= 24 || !plain(h) {
		return h
	}
	return h[:12] + "…" + h[len(h)-8:]
}
