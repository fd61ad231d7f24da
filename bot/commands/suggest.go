package commands

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// suggestLooked is how many tickets are looked through for suggestions, of
// those that wait and of all.
const suggestLooked = 200

// Autocomplete implements [adapters.Handler].
func (h *Handler) Autocomplete(ctx context.Context, c adapters.Completion) adapters.Suggestions {
	i := slices.IndexFunc(wording.Commands(), func(w adapters.CommandSpec) bool { return w.Name == c.Word })
	if i < 0 || h.Settings.Ensure(ctx) != nil {
		return nil
	}
	// Without a word, as for what nobody can find out.
	switch w := wording.Commands()[i]; {
	case w.Admin && h.Access.Administer(ctx, c.Actor) != nil:
		return nil
	case !w.Admin && !w.Open && h.Access.Read(ctx, c.Actor, c.Place) != nil:
		return nil
	}
	s := suggester{&h.Config}
	switch c.Word + " " + c.Arg {
	case "ticket number", "state number":
		return s.tickets(ctx, c.Typed)
	case "state state":
		return suggestions(c.Typed, s.statesOf(ctx, c.Given["number"]))
	case "tickets state":
		return suggestions(c.Typed, lister{&h.Config}.states())
	case "config value":
		return s.value(c)
	case "report span":
		return suggestions(c.Typed, []string{"24h", "7d", "4w", "13w", "52w"})
	case "incoming id":
		return s.incoming(ctx, c)
	}
	return nil
}

// suggester finds what somebody who is typing may mean.
type suggester struct{ *Config }

// suggestions are those of values that begin like typed, then those that hold
// it.
func suggestions(typed string, values []string) adapters.Suggestions {
	var first, rest adapters.Suggestions
	typed = strings.ToLower(strings.TrimSpace(typed))
	for _, v := range values {
		switch at := strings.Index(strings.ToLower(v), typed); {
		case at == 0:
			first = append(first, adapters.Suggestion{Text: v, Value: v})
		case at > 0:
			rest = append(rest, adapters.Suggestion{Text: v, Value: v})
		}
	}
	return append(first, rest...)
}

// tickets are the newest that wait, then the newest others, of those
// whose number or subject holds what is typed.
func (s suggester) tickets(ctx context.Context, typed string) adapters.Suggestions {
	var out adapters.Suggestions
	typed = strings.ToLower(typed)
	known := map[tickets.Number]bool{}
	for _, progress := range []tickets.Progress{tickets.Pending, ""} {
		list, err := s.Store.List(ctx, store.Query{Progress: progress, Limit: suggestLooked})
		if err != nil && ctx.Err() == nil {
			s.Log.Warn("cannot list tickets for suggestions", "err", err)
		}
		for _, t := range list {
			text := string(t.Number) + " · " + wording.Subject(t)
			if known[t.Number] || !strings.Contains(strings.ToLower(text), typed) {
				continue
			}
			known[t.Number] = true
			out = append(out, adapters.Suggestion{Text: text, Value: string(t.Number)})
		}
		if len(out) >= adapters.MaxSuggestions {
			break
		}
	}
	return out
}

// statesOf are the states that a ticket can be moved to, or a new one if there
// is no such ticket.
func (s suggester) statesOf(ctx context.Context, n string) []string {
	states := s.Settings.RulesOf(nil).Type.States
	if t, err := s.Store.Get(ctx, number(strings.TrimSpace(n))); err == nil {
		states = s.Settings.RulesOf(t).Type.Others(t.State)
	}
	var names []string
	for _, s := range states {
		names = append(names, string(s))
	}
	return names
}

// value are values of a setting: those that there are, or else the one
// that it has. Of a comma list it is the last item that is being typed.
func (s suggester) value(c adapters.Completion) adapters.Suggestions {
	key := c.Given["key"]
	if key == "" && strings.EqualFold(c.Given["action"], "reset") {
		return suggestions(c.Typed, []string{"yes"})
	}
	if !slices.Contains(tickets.SettingKeys(), key) || !strings.EqualFold(c.Given["action"], "set") {
		return nil
	}
	now := s.Settings.Current()
	values, many := settings.Options(key, now, s.Settings.Registry)
	if key == tickets.KeyFields {
		values, many = wording.Fields(), true
	}
	if len(values) == 0 {
		return suggestions(c.Typed, []string{now.Show(key)})
	}
	if !many {
		return suggestions(c.Typed, values)
	}
	var head string
	last := c.Typed
	if i := strings.LastIndexByte(c.Typed, ','); i >= 0 {
		head, last = strings.TrimSpace(c.Typed[:i])+", ", c.Typed[i+1:]
	}
	chosen := settings.Items(head)
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool {
		return slices.ContainsFunc(chosen, func(one string) bool { return strings.EqualFold(one, v) })
	})
	out := suggestions(last, values)
	for i := range out {
		out[i] = adapters.Suggestion{Text: head + out[i].Text, Value: head + out[i].Value}
	}
	if show := now.Show(key); c.Typed == "" && show != "" {
		out = append(adapters.Suggestions{{Text: show, Value: show}}, out...)
	}
	return out
}

// incoming are the newest webhooks that failed.
func (s suggester) incoming(ctx context.Context, c adapters.Completion) adapters.Suggestions {
	if !strings.EqualFold(c.Given["action"], "replay") {
		return nil
	}
	list, err := s.Store.Incomings(ctx, store.IncomingQuery{Status: tickets.StatusFailed, Limit: suggestLooked})
	if err != nil && ctx.Err() == nil {
		s.Log.Warn("cannot list webhooks for suggestions", "err", err)
	}
	var out adapters.Suggestions
	for _, k := range list {
		if strings.HasPrefix(k.ID, strings.ToLower(c.Typed)) {
			out = append(out, adapters.Suggestion{Text: wording.FormatTime(k.At) + " · " + k.Error, Value: k.ID})
		}
	}
	return out
}
