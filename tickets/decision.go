package tickets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The sentences of the rules. They are exact: the vendor's manual for its
// ServiceNow application quotes them, and people search for them.
const (
	MsgReason   = "Please enter a reason"
	MsgMinutes  = "Enter a number between 5 and 1440"
	MsgHours    = "Enter a number between 1 and 24"
	MsgInactive = "You cannot modify the decision because this request is inactive"
	MsgFinal    = "The server has accepted the decision. It is now final and cannot be changed"
)

// MsgUnusedAmount is our own sentence, for what the manual's form cannot produce.
const MsgUnusedAmount = "You chose Once and typed a number: choose Minutes or Hours, or empty the number"

// Limits of a decision, from the vendor's manual.
const (
	MinMinutes = 5
	MaxMinutes = 1440
	MinHours   = 1
	MaxHours   = 24

	// MaxReason is the longest reason, in runes. It is ours: EPM states no
	// limit, and every platform's form takes this much.
	MaxReason = 1000
)

// Errors of a ticket's rules. People are told the sentences above.
var (
	// ErrInactive means that no decision may be made in the ticket's state.
	ErrInactive = errors.New("the request is inactive")
	// ErrFinal means that EPM has accepted or made a decision.
	ErrFinal = errors.New("the decision is final")
	// ErrDecided means that somebody was faster and EPM has not acknowledged
	// their decision yet.
	ErrDecided = errors.New("somebody else has decided this request")
)

// Unit is how a form expresses a duration.
type Unit string

// The units. Their values are the form's own and scripts rely on them.
const (
	UnitOnce    Unit = "once"
	UnitMinutes Unit = "minutes"
	UnitHours   Unit = "hours"
)

// Duration is how long access lasts: once, or a length of time. The zero
// Duration is invalid, so that forgetting it cannot grant anything.
type Duration struct {
	once   bool
	length time.Duration
}

// Once is a single use.
func Once() Duration { return Duration{once: true} }

// Lasting is access for a length of time.
func Lasting(d time.Duration) Duration { return Duration{length: d} }

// Once reports whether d is a single use.
func (d Duration) Once() bool { return d.once }

// Length is the length of time, 0 for a single use.
func (d Duration) Length() time.Duration { return d.length }

// IsZero reports whether d was never set.
func (d Duration) IsZero() bool { return d == Duration{} }

// Wire is d as EPM writes it: "Once", or whole seconds in decimal.
func (d Duration) Wire() string {
	if d.once {
		return "Once"
	}
	return strconv.FormatInt(int64(d.length/time.Second), 10)
}

// ParseDuration reads what [Duration.Wire] writes. Letter case and blanks do
// not matter. It does not apply the rules of the form: EPM's console allows
// more.
func ParseDuration(s string) (Duration, error) {
	s = strings.TrimSpace(s)
	if strings.EqualFold(s, "once") {
		return Once(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > 10*366*24*3600 {
		return Duration{}, fmt.Errorf("duration is neither Once nor a positive number of seconds")
	}
	return Lasting(time.Duration(n) * time.Second), nil
}

// String is d for people: "once", "2 hours", "1 hour 30 minutes".
func (d Duration) String() string {
	if d.once {
		return "once"
	}
	var parts []string
	rest := d.length
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if u.name == "day" && rest <= 24*time.Hour {
			continue // 24 hours read better as hours: the form offers them so
		}
		n := rest / u.size
		rest -= n * u.size
		switch {
		case n == 1:
			parts = append(parts, "1 "+u.name)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, u.name))
		}
	}
	return strings.Join(parts, " ")
}

// MarshalJSON writes d as EPM does.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.Wire()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	parsed, err := ParseDuration(s)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// FormDuration is the unit and amount in which a form starts for r: what was
// asked for if the rules allow it, else once.
func (r *Request) FormDuration() (Unit, string) {
	d, err := ParseDuration(r.Requested)
	if err != nil || d.Once() || d.Length()%time.Minute != 0 {
		return UnitOnce, ""
	}
	minutes := int64(d.Length() / time.Minute)
	switch {
	case minutes%60 == 0 && minutes/60 >= MinHours && minutes/60 <= MaxHours:
		return UnitHours, strconv.FormatInt(minutes/60, 10)
	case minutes >= MinMinutes && minutes <= MaxMinutes:
		return UnitMinutes, strconv.FormatInt(minutes, 10)
	}
	return UnitOnce, ""
}

// FormField names a field of the decision form. The values are fixed.
type FormField string

// The fields of the form.
const (
	FieldReason FormField = "reason"
	FieldUnit   FormField = "unit"
	FieldAmount FormField = "amount"
)

// Form is the decision form as somebody filled it in: raw text, unchecked.
type Form struct {
	Reason string
	Unit   Unit   // ignored for a denial
	Amount string // ignored for a denial and for UnitOnce
}

// Problems maps a field to the sentence that says what is wrong with it.
type Problems map[FormField]string

// Check applies the rules to f. It returns the reason, trimmed, and the
// duration, or the problems of each field.
func (f Form) Check(v Verdict) (reason string, d Duration, problems Problems) {
	problems = Problems{}
	reason = trim(f.Reason)
	switch n := utf8.RuneCountInString(reason); {
	case n == 0:
		problems[FieldReason] = MsgReason
	case n > MaxReason:
		problems[FieldReason] = fmt.Sprintf("Shorten the reason to %d characters; it has %d", MaxReason, n)
	}
	d = Once()
	if v == Approve {
		var field FormField
		var say string
		if d, field, say = f.duration(); say != "" {
			problems[field] = say
		}
	}
	if len(problems) > 0 {
		return "", Duration{}, problems
	}
	return reason, d, nil
}

// UnusedAmount is the problem of a form of r that says Once and yet holds an amount
// that somebody typed: one of the two is a slip, and EPM would make it final.
// A form may show the amount for every unit, filled in with what was asked
// for; that one means nothing.
func (f Form) UnusedAmount(r *Request) Problems {
	amount := trim(f.Amount)
	if _, asked := r.FormDuration(); f.Unit != UnitOnce || amount == "" || amount == asked {
		return nil
	}
	return Problems{FieldUnit: MsgUnusedAmount}
}

func (f Form) duration() (Duration, FormField, string) {
	switch f.Unit {
	case UnitOnce:
		return Once(), "", ""
	case UnitMinutes:
		n, ok := amount(f.Amount, MinMinutes, MaxMinutes)
		if !ok {
			return Duration{}, FieldAmount, MsgMinutes
		}
		return Lasting(time.Duration(n) * time.Minute), "", ""
	case UnitHours:
		n, ok := amount(f.Amount, MinHours, MaxHours)
		if !ok {
			return Duration{}, FieldAmount, MsgHours
		}
		return Lasting(time.Duration(n) * time.Hour), "", ""
	}
	return Duration{}, FieldUnit, "Choose Once, Minutes or Hours"
}

// amount reads a whole number from lo to hi. Only ASCII digits count: a form
// may deliver any text.
func amount(s string, lo, hi int) (int, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= lo && n <= hi
}

// trim removes blanks and characters that show nothing from both ends, so
// that a reason of zero-width spaces is no reason.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u3164' || r == '\u115f' || r == '\u1160' || r == '\u2800'
	})
}

// State is where a ticket stands in its type's own workflow.
type State string

// Type is a kind of ticket with its own workflow.
type Type struct {
	Name   string  `json:"name"`
	Prefix string  `json:"prefix"` // of the ticket number
	States []State `json:"states"`
	Active []State `json:"active"` // in which a decision may be made
	Closed State   `json:"closed"` // where auto-close moves a ticket
}

// Types lists the built-in ticket types; the first is the default.
func Types() []Type {
	itil := []State{"New", "In Progress", "On Hold"}
	return []Type{
		{"Access Request", "JIT", append(slices.Clone(itil), "Resolved", "Closed", "Cancelled"), itil, "Closed"},
		{"Incident", "INC", append(slices.Clone(itil), "Resolved", "Closed", "Cancelled"), itil, "Resolved"},
		{"Change Request", "CHG", []State{"New", "Assess", "Authorize", "Scheduled", "Implement", "Review", "Closed", "Cancelled"},
			[]State{"New", "Assess", "Authorize", "Scheduled", "Implement"}, "Closed"},
		{"Service Catalog Task", "SCTASK", []State{"Open", "Work in Progress", "Pending", "Closed Complete", "Closed Incomplete", "Closed Skipped"},
			[]State{"Open", "Work in Progress", "Pending"}, "Closed Complete"},
		{"Service Catalog Requested Item", "RITM", []State{"Open", "Work in Progress", "Pending", "Closed Complete", "Closed Incomplete", "Closed Skipped"},
			[]State{"Open", "Work in Progress", "Pending"}, "Closed Complete"},
	}
}

// ParseTypes reads ticket types that somebody wrote, a JSON list of objects
// as [Type] is. Without active states all but the closed one are. Errors say
// what to do.
func ParseTypes(b []byte) ([]Type, error) {
	var list []Type
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("write a JSON list of ticket types: %w", err)
	}
	known := Types()
	for i := range list {
		t := &list[i]
		if say := t.problem(known); say != "" {
			return nil, fmt.Errorf("ticket type %d: %s", i+1, say)
		}
		known = append(known, *t)
	}
	return list, nil
}

// prefixes are those that a number can begin with.
var prefixes = regexp.MustCompile(`^[A-Z][A-Z0-9]{0,9}$`)

// problem says what is wrong with t, which stands beside others, or "".
func (t *Type) problem(others []Type) string {
	if t.Active == nil {
		t.Active = slices.DeleteFunc(slices.Clone(t.States), func(s State) bool { return s == t.Closed })
	}
	switch {
	case strings.TrimSpace(t.Name) == "" || t.Name != strings.TrimSpace(t.Name) || len(t.Name) > 60:
		return "give it a name of up to 60 characters"
	case !prefixes.MatchString(t.Prefix):
		return "its prefix begins its numbers: write up to 10 capital letters and digits, a letter first"
	case len(t.States) == 0 || len(t.States) > 25:
		return "give it 1 to 25 states; new tickets are in the first"
	case !slices.Contains(t.States, t.Closed):
		return "closed must be one of its states, where closed tickets are moved to"
	case t.States[0] == t.Closed:
		return "new tickets are in its first state, which must not be the closed one"
	case len(t.Active) == 0:
		return "give it an active state, else nobody could ever decide a request"
	}
	for i, s := range t.States {
		if name := string(s); strings.TrimSpace(name) != name || name == "" || len(name) > 60 || strings.ContainsAny(name, ",\n") {
			return fmt.Sprintf("state %d must be a word or two without a comma, of up to 60 characters", i+1)
		}
		if slices.ContainsFunc(t.States[:i], func(o State) bool { return strings.EqualFold(string(o), string(s)) }) {
			return fmt.Sprintf("state %d is there twice", i+1)
		}
	}
	for i, s := range t.Active {
		if !slices.Contains(t.States, s) {
			return fmt.Sprintf("active state %d is not one of its states", i+1)
		}
	}
	for _, o := range others {
		if strings.EqualFold(o.Name, t.Name) || o.Prefix == t.Prefix {
			return "there is another type with this name or prefix"
		}
	}
	return ""
}

// FindState returns the type's state of that name, without regard to case.
func (t Type) FindState(name string) (State, bool) {
	for _, s := range t.States {
		if strings.EqualFold(string(s), strings.TrimSpace(name)) {
			return s, true
		}
	}
	return "", false
}

// Others lists the type's states without s.
func (t Type) Others(s State) []State {
	return slices.DeleteFunc(slices.Clone(t.States), func(o State) bool { return o == s })
}

// Principal is whom a role was given to: a person, a group or, only when an
// admin named it, everybody in a channel.
type Principal struct {
	Platform Platform
	Kind     PrincipalKind
	ID       string
}

// PrincipalKind says what a principal's ID names.
type PrincipalKind string

// The kinds of principal.
const (
	User    PrincipalKind = "user"
	Group   PrincipalKind = "group" // a Slack user group
	Role    PrincipalKind = "role"  // a Discord role
	Channel PrincipalKind = "channel"
)

// ParsePrincipal reads platform:ID or platform:kind:ID, for example
// slack:U0123 or slack:group:S0123.
func ParsePrincipal(s string) (Principal, error) {
	parts := strings.Split(strings.TrimSpace(s), ":")
	p := Principal{Kind: User}
	switch len(parts) {
	case 2:
		p.Platform, p.ID = Platform(parts[0]), parts[1]
	case 3:
		p.Platform, p.Kind, p.ID = Platform(parts[0]), PrincipalKind(parts[1]), parts[2]
	default:
		return Principal{}, errors.New("write platform:ID or platform:kind:ID, for example slack:U0123ABC or slack:group:S0123ABC")
	}
	if p.Platform == "" || p.ID == "" || strings.ContainsFunc(p.ID, unicode.IsSpace) {
		return Principal{}, errors.New("the platform or the ID is missing")
	}
	switch p.Kind {
	case User, Group, Role, Channel:
		return p, nil
	}
	return Principal{}, errors.New("the kind must be group, role or channel")
}

func (p Principal) String() string {
	if p.Kind == User {
		return string(p.Platform) + ":" + p.ID
	}
	return string(p.Platform) + ":" + string(p.Kind) + ":" + p.ID
}
