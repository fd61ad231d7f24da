// Package settings says how the bot works at present: what admins have set, over
// what the program was started with. It reads and shows them (settings.go), plans
// changes (plan.go) and keeps them as the store has them (live.go).
package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// Settings is how the bot works at present: what admins have set, over what
// the program was started with.
type Settings struct {
	Rules        tickets.Rules       // for new tickets and for decisions
	Assign       []tickets.Principal // mentioned on new tickets, at most one on each platform
	Approvers    []tickets.Principal // who may decide; nobody if empty
	Admins       []tickets.Principal // who may use the admin words and is told of troubles; nobody if empty
	Fields       []string            // what cards show, in order; empty for [wording.DefaultFields]
	SelfApproval bool                // whether people may decide what they asked for themselves
}

// Registry is what settings may name.
type Registry struct {
	Types []tickets.Type // of tickets; the first is the default
	// Principal checks a person, group, role or channel in the way of its
	// platform. Its error is a sentence for people, without a full stop.
	Principal func(tickets.Principal) error
	// Place checks a channel, likewise.
	Place func(tickets.Place) error
}

// setting is one of them: read checks text and puts it into s, whose earlier
// settings of the list are in place; show is the text that read would make s
// of.
type setting struct {
	key, help string
	read      func(s *Settings, text string, w Registry) error
	show      func(s *Settings) string
}

// settings in an order in which each may need those before it.
var settings = []setting{
	{
		tickets.KeyTicketType, "the type of new tickets, with its number prefix and its states",
		func(s *Settings, text string, w Registry) error {
			if text == "" {
				s.Rules.Type = w.Types[0]
				return nil
			}
			for _, t := range w.Types {
				if strings.EqualFold(t.Name, text) {
					s.Rules.Type = t
					return nil
				}
			}
			names := make([]string, len(w.Types))
			for i, t := range w.Types {
				names[i] = t.Name
			}
			return fmt.Errorf("choose one of: %s", strings.Join(names, ", "))
		},
		func(s *Settings) string { return s.Rules.Type.Name },
	},
	{
		tickets.KeyActiveStates, "the states in which a request may be decided",
		func(s *Settings, text string, _ Registry) error {
			s.Rules.Active = s.Rules.Type.Active
			if text == "" {
				return nil
			}
			s.Rules.Active = nil
			for i, item := range Items(text) {
				state, ok := s.Rules.Type.FindState(item)
				if !ok {
					return fmt.Errorf("item %d is not a state of %s: choose from %s", i+1, s.Rules.Type.Name, join(s.Rules.Type.States))
				}
				if !slices.Contains(s.Rules.Active, state) {
					s.Rules.Active = append(s.Rules.Active, state)
				}
			}
			if len(s.Rules.Active) == 0 {
				return fmt.Errorf("without a state nobody could decide: choose from %s", join(s.Rules.Type.States))
			}
			return nil
		},
		func(s *Settings) string { return join(s.Rules.Active) },
	},
	{
		tickets.KeyShortDescription, "the short description of new tickets",
		func(s *Settings, text string, _ Registry) error { return oneLine(&s.Rules.Title, text, 160) },
		func(s *Settings) string { return s.Rules.Title },
	},
	{
		tickets.KeyAssignmentGroup, "who is mentioned on new tickets, at most one on each platform",
		func(s *Settings, text string, w Registry) (err error) {
			if s.Assign, err = principals(text, w); err != nil {
				return err
			}
			for i, p := range s.Assign {
				if slices.ContainsFunc(s.Assign[:i], func(q tickets.Principal) bool { return q.Platform == p.Platform }) {
					return fmt.Errorf("name one for %s, not two", wording.PlatformName(p.Platform))
				}
				if p.Kind == tickets.Channel {
					return errors.New("a whole channel is not mentioned: name a person, a group or a role")
				}
			}
			return nil
		},
		func(s *Settings) string { return sayPrincipals(s.Assign) },
	},
	{
		tickets.KeyCategory, "the category of new tickets, free text",
		func(s *Settings, text string, _ Registry) error { return oneLine(&s.Rules.Category, text, 80) },
		func(s *Settings) string { return s.Rules.Category },
	},
	{
		tickets.KeyAutoClose, "whether a ticket is moved to its type's closed state when EPM has recorded the decision: true or false",
		func(s *Settings, text string, _ Registry) error {
			return yesNo(&s.Rules.AutoClose, text, "true", "false")
		},
		func(s *Settings) string { return strconv.FormatBool(s.Rules.AutoClose) },
	},
	{
		tickets.KeyApprovers, "who may decide requests",
		func(s *Settings, text string, w Registry) (err error) {
			s.Approvers, err = principals(text, w)
			return err
		},
		func(s *Settings) string { return sayPrincipals(s.Approvers) },
	},
	{
		tickets.KeyAdmins, "who may use the words of admins",
		func(s *Settings, text string, w Registry) (err error) {
			s.Admins, err = principals(text, w)
			return err
		},
		func(s *Settings) string { return sayPrincipals(s.Admins) },
	},
	{
		tickets.KeyChannels, "where new requests are shown, for example slack:C0123ABC, discord:1234567890123456789",
		func(s *Settings, text string, w Registry) error {
			s.Rules.Places = nil
			for i, item := range Items(text) {
				platform, channel, ok := strings.Cut(item, ":")
				p := tickets.Place{Platform: tickets.Platform(platform), Channel: channel}
				err := w.Place(p)
				if !ok {
					err = errors.New("write platform:ID, for example slack:C0123ABC")
				}
				if err != nil {
					return fmt.Errorf("item %d: %w", i+1, err)
				}
				if !slices.Contains(s.Rules.Places, p) {
					s.Rules.Places = append(s.Rules.Places, p)
				}
			}
			if len(s.Rules.Places) == 0 {
				return errors.New("without a channel nobody would see a request: name one")
			}
			return nil
		},
		func(s *Settings) string {
			list := make([]string, len(s.Rules.Places))
			for i, p := range s.Rules.Places {
				list[i] = p.String()
			}
			return strings.Join(list, ", ")
		},
	},
	{
		tickets.KeyFields, "what cards show, in this order; empty for what suits each kind of request",
		func(s *Settings, text string, _ Registry) error {
			s.Fields = nil
			for i, item := range Items(strings.ToLower(text)) {
				if !slices.Contains(wording.Fields(), item) {
					return fmt.Errorf("item %d is not a field: choose from %s", i+1, strings.Join(wording.Fields(), ", "))
				}
				if !slices.Contains(s.Fields, item) {
					s.Fields = append(s.Fields, item)
				}
			}
			return nil
		},
		func(s *Settings) string { return strings.Join(s.Fields, ", ") },
	},
	{
		tickets.KeySelfApproval, "whether people may decide what they asked for themselves: deny or allow",
		func(s *Settings, text string, _ Registry) error { return yesNo(&s.SelfApproval, text, "allow", "deny") },
		func(s *Settings) string {
			if s.SelfApproval {
				return "allow"
			}
			return "deny"
		},
	},
}

// Read makes Settings of text by key. What a key says that is not in values
// is the default. problems tells by key what is wrong, in sentences without a
// full stop; such a key has its default too.
func Read(values map[string]string, w Registry) (s Settings, problems map[string]error) {
	problems = map[string]error{}
	for _, one := range settings {
		text, ok := values[one.key]
		if !ok && one.key == tickets.KeyChannels {
			continue // there is no default: the environment names them
		}
		before := s
		if err := one.read(&s, strings.TrimSpace(text), w); err != nil {
			problems[one.key], s = err, before
			_ = one.read(&s, "", w) // the default, where there is one
		}
	}
	for key := range values {
		if !slices.ContainsFunc(settings, func(one setting) bool { return one.key == key }) {
			problems[key] = errors.New("there is no such setting")
		}
	}
	return s, problems
}

// Effective is Settings of what the program was started with and what was set
// since. What was set and cannot be read is as if it had not been set, and
// broken tells why; but of approvers and admins what can be read counts, since
// those of the start may be people whose right was taken. What the program was started with and does not fit what
// was set, such as states of another ticket type, has its default.
func Effective(base map[string]string, set tickets.Settings, w Registry) (s Settings, broken map[string]error) {
	values := maps.Clone(base)
	maps.Copy(values, set.Values)
	s, problems := Read(values, w)
	broken = map[string]error{}
	for key, err := range problems {
		if _, ours := set.Values[key]; !ours {
			continue
		}
		broken[key] = err
		if key == tickets.KeyApprovers || key == tickets.KeyAdmins {
			values[key] = usable(set.Values[key], w)
			continue
		}
		delete(values, key)
		if text, ok := base[key]; ok {
			values[key] = text
		}
	}
	if len(broken) > 0 {
		s, _ = Read(values, w)
	}
	return s, broken
}

// RulesOf are the rules for t, which may be of a type that new tickets are
// not of any more: it keeps that type's states.
func (s *Settings) RulesOf(t *tickets.Ticket, w Registry) tickets.Rules {
	rules := s.Rules
	rules.NoApprovers, rules.OwnRefused = len(s.Approvers) == 0, !s.SelfApproval
	if t == nil || t.Type == rules.Type.Name {
		return rules
	}
	for _, typ := range w.Types {
		if typ.Name == t.Type {
			rules.Type, rules.Active = typ, typ.Active
			return rules
		}
	}
	// A custom type that was taken out of the file: only its name is known.
	// Its tickets stay where they are, and can be decided there.
	rules.Type = tickets.Type{Name: t.Type, States: []tickets.State{t.State}, Closed: t.State}
	rules.Active = nil
	if t.Active {
		rules.Active = rules.Type.States
	}
	return rules
}

// Show is the text of a setting, or "" if there is no such key.
func (s *Settings) Show(key string) string {
	for _, one := range settings {
		if one.key == key {
			return one.show(s)
		}
	}
	return ""
}

// stuck says why people could not do with s what they must be able to.
func (s *Settings) stuck() (why []string) {
	if len(s.Approvers) == 0 {
		why = append(why, "nobody could decide requests any more: name at least one approver")
	}
	if len(s.Admins) == 0 {
		why = append(why, "nobody could change the settings in chat any more: name at least one admin")
	}
	return why
}

// FirstInactive says what it means that new requests begin in a state that
// is not an active one, in a sentence without a full stop; "" if they do not.
func (s *Settings) FirstInactive() string {
	first := s.Rules.Type.States[0]
	if slices.Contains(s.Rules.Active, first) {
		return ""
	}
	return fmt.Sprintf("New requests begin in %s, which is not an active state: nobody can decide one before an admin moves it to %s", first, orJoin(s.Rules.Active))
}

func principals(text string, w Registry) ([]tickets.Principal, error) {
	var list []tickets.Principal
	for i, item := range Items(text) {
		p, err := tickets.ParsePrincipal(item)
		if err == nil {
			err = w.Principal(p)
		}
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list, nil
}

// usable is text without the principals that cannot be read.
func usable(text string, w Registry) string {
	return strings.Join(slices.DeleteFunc(Items(text), func(item string) bool {
		p, err := tickets.ParsePrincipal(item)
		return err != nil || w.Principal(p) != nil
	}), ",")
}

func sayPrincipals(ps []tickets.Principal) string {
	list := make([]string, len(ps))
	for i, p := range ps {
		list[i] = p.String()
	}
	return strings.Join(list, ", ")
}

// orJoin lists states of which one is chosen: "New, Review or On Hold".
func orJoin(states []tickets.State) string {
	if n := len(states) - 1; n > 0 {
		return join(states[:n]) + " or " + string(states[n])
	}
	return join(states)
}

func yesNo(v *bool, text, yes, no string) error {
	switch {
	case strings.EqualFold(text, yes):
		*v = true
	case strings.EqualFold(text, no), text == "":
		*v = false
	default:
		return fmt.Errorf("write %s or %s", yes, no)
	}
	return nil
}

// oneLine takes text of up to most characters.
func oneLine(v *string, text string, most int) error {
	if n := len([]rune(text)); n > most {
		return fmt.Errorf("shorten it to %d characters; it has %d", most, n)
	}
	*v = wording.Unmarked(text)
	return nil
}

// Items splits a comma list.
func Items(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// Help says what a setting is, in a few words for people.
func Help(key string) string {
	for _, one := range settings {
		if one.key == key {
			return one.help
		}
	}
	return ""
}

// Options are the values that a setting can have beside s, nil if they cannot be
// counted, and whether it can have several.
func Options(key string, s *Settings, w Registry) (values []string, many bool) {
	switch key {
	case tickets.KeyTicketType:
		for _, t := range w.Types {
			values = append(values, t.Name)
		}
	case tickets.KeyActiveStates:
		for _, state := range s.Rules.Type.States {
			values = append(values, string(state))
		}
		return values, true
	case tickets.KeyAutoClose:
		values = []string{"true", "false"}
	case tickets.KeySelfApproval:
		values = []string{"deny", "allow"}
	}
	return values, false
}

func join(states []tickets.State) string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}
