package slacktest

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"
)

// element kinds: where they may stand and which keys they know besides
// type, action_id and confirm.
type elementKind struct {
	places    string // of: actions, section, input, context
	modalOnly bool
	keys      []string
}

var common = []string{"focus_on_load", "placeholder", "confirm"}

func keysAnd(more ...string) []string { return append(slices.Clone(common), more...) }

var elements = map[string]*elementKind{
	"button":                     {places: "actions section", keys: []string{"text!", "value", "url", "style", "confirm", "accessibility_label", "visible_to_user_ids"}},
	"static_select":              {places: "actions section input", keys: keysAnd("options", "option_groups", "initial_option")},
	"multi_static_select":        {places: "actions section input", keys: keysAnd("options", "option_groups", "initial_options", "max_selected_items")},
	"external_select":            {places: "actions section input", keys: keysAnd("initial_option", "min_query_length")},
	"users_select":               {places: "actions section input", keys: keysAnd("initial_user")},
	"multi_users_select":         {places: "actions section input", keys: keysAnd("initial_users", "max_selected_items")},
	"conversations_select":       {places: "actions section input", keys: keysAnd("initial_conversation", "default_to_current_conversation", "filter", "response_url_enabled")},
	"multi_conversations_select": {places: "actions section input", keys: keysAnd("initial_conversations", "default_to_current_conversation", "filter", "max_selected_items")},
	"channels_select":            {places: "actions section input", keys: keysAnd("initial_channel", "response_url_enabled")},
	"multi_channels_select":      {places: "actions section input", keys: keysAnd("initial_channels", "max_selected_items")},
	"overflow":                   {places: "actions section", keys: []string{"options!", "confirm"}},
	"radio_buttons":              {places: "actions section input", keys: []string{"options!", "initial_option", "confirm", "focus_on_load"}},
	"checkboxes":                 {places: "actions section input", keys: []string{"options!", "initial_options", "confirm", "focus_on_load", "visible_to_user_ids"}},
	"datepicker":                 {places: "actions section input", keys: keysAnd("initial_date")},
	"timepicker":                 {places: "actions section input", keys: keysAnd("initial_time", "timezone")},
	"datetimepicker":             {places: "actions section input", keys: []string{"initial_date_time", "confirm", "focus_on_load"}},
	"plain_text_input":           {places: "input", keys: []string{"initial_value", "multiline", "min_length", "max_length", "dispatch_action_config", "focus_on_load", "placeholder"}},
	"number_input":               {places: "input", modalOnly: true, keys: []string{"is_decimal_allowed!", "initial_value", "min_value", "max_value", "dispatch_action_config", "focus_on_load", "placeholder"}},
	"email_text_input":           {places: "input", modalOnly: true, keys: []string{"initial_value", "dispatch_action_config", "focus_on_load", "placeholder"}},
	"url_text_input":             {places: "input", modalOnly: true, keys: []string{"initial_value", "dispatch_action_config", "focus_on_load", "placeholder"}},
	"image":                      {places: "section context", keys: []string{"image_url", "slack_file", "alt_text!"}},
}

func (p *checked) element(at string, e map[string]any, place string) {
	kind := text(e, "type")
	k := elements[kind]
	if k == nil || !slices.Contains(strings.Fields(k.places), place) {
		p.bad(at+"/type", "unsupported type: %s in %s", kind, place)
		return
	}
	if k.modalOnly && p.surface == inMessage {
		p.bad(at+"/type", "unsupported type: %s in a message", kind)
	}
	known := slices.Clone(k.keys)
	if kind != "image" {
		known = append(known, "action_id")
	}
	p.keys(at, e, known...)
	if id := p.str(at, e, "action_id", maxID); id != "" {
		if p.actions[id] {
			p.bad(at+"/action_id", "action_id %q already exists", id)
		}
		p.actions[id] = true
	}
	p.textObject(at, e, "placeholder", maxPlaceholder, plainOnly)
	p.boolean(at, e, "focus_on_load", "multiline", "is_decimal_allowed")
	p.confirm(at, e)
	p.str(at, e, "accessibility_label", maxButton)
	switch kind {
	case "button":
		p.textObject(at, e, "text", maxButton, plainOnly)
		p.str(at, e, "value", maxValue)
		p.str(at, e, "url", maxURL)
		p.oneOf(at, e, "style", "primary", "danger")
	case "image":
		p.str(at, e, "image_url", maxURL)
		p.str(at, e, "alt_text", 2000)
	case "static_select", "multi_static_select":
		p.selectOptions(at, e)
	case "radio_buttons", "checkboxes":
		p.options(at, e, maxChoices, plainOrMrkdwn)
	case "overflow":
		p.options(at, e, maxOverflow, plainOnly)
	case "plain_text_input":
		low, hasLow := p.whole(at, e, "min_length", 0, maxInputLength)
		high, hasHigh := p.whole(at, e, "max_length", 1, maxInputLength)
		if hasLow && hasHigh && low > high {
			p.bad(at, "min_length must not exceed max_length")
		}
		if v := p.str(at, e, "initial_value", maxInputLength); hasHigh && utf8.RuneCountInString(v) > high {
			p.bad(at+"/initial_value", "must be less than %d characters", high+1)
		}
	case "number_input":
		p.numberInput(at, e)
	}
}

func (p *checked) numberInput(at string, e map[string]any) {
	num := map[string]*big.Rat{}
	for _, key := range []string{"min_value", "max_value", "initial_value"} {
		v := p.str(at, e, key, 64)
		if _, there := e[key]; !there {
			continue
		}
		n, ok := number(v)
		if !ok {
			p.bad(at+"/"+key, "must be a number")
			continue
		}
		if e["is_decimal_allowed"] == false && !n.IsInt() {
			p.bad(at+"/"+key, "must be an integer")
		}
		num[key] = n
	}
	below := func(a, b string) bool { return num[a] != nil && num[b] != nil && num[a].Cmp(num[b]) < 0 }
	if below("max_value", "min_value") {
		p.bad(at, "min_value must not exceed max_value")
	}
	if below("initial_value", "min_value") || below("max_value", "initial_value") {
		p.bad(at+"/initial_value", "must be between min_value and max_value")
	}
}

// number reads a decimal number without exponent, as Slack's client does.
func number(s string) (*big.Rat, bool) {
	if s == "" || strings.Trim(s, "0123456789.-+") != "" || len(s) > 64 {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

func (p *checked) selectOptions(at string, e map[string]any) {
	if (e["options"] == nil) == (e["option_groups"] == nil) {
		p.bad(at, "exactly one of options and option_groups must be given")
		return
	}
	if e["options"] != nil {
		p.options(at, e, maxOptions, plainOnly)
		return
	}
	p.list(at, e, "option_groups", 1, maxOptions, func(at string, g map[string]any) {
		p.keys(at, g, "label!", "options!")
		p.textObject(at, g, "label", maxOptionText, plainOnly)
		p.options(at, g, maxOptions, plainOnly)
	})
	p.initial(at, e)
}

func (p *checked) options(at string, e map[string]any, most int, kind textKind) {
	values := map[string]bool{}
	p.list(at, e, "options", 1, most, func(at string, o map[string]any) {
		p.option(at, o, kind)
		v := text(o, "value")
		if values[v] {
			p.bad(at+"/value", "option value %q already exists", v)
		}
		values[v] = true
	})
	p.initial(at, e)
}

func (p *checked) option(at string, o map[string]any, kind textKind) {
	p.keys(at, o, "text!", "value!", "description", "url")
	p.textObject(at, o, "text", maxOptionText, kind)
	if _, isString := o["value"].(string); isString && text(o, "value") == "" {
		p.bad(at+"/value", "must be more than 0 characters")
	}
	p.str(at, o, "value", maxOptionValue)
	p.textObject(at, o, "description", maxOptionText, kind)
	p.str(at, o, "url", maxURL)
	// The official types flag an option whose text and description differ in type.
	t, _ := o["text"].(map[string]any)
	d, _ := o["description"].(map[string]any)
	if t != nil && d != nil && text(t, "type") != text(d, "type") {
		p.bad(at+"/description", "must have the same text type as text")
	}
}

// initial requires that what is chosen at first is one of the options, exactly.
func (p *checked) initial(at string, e map[string]any) {
	var all []string
	for _, o := range allOptions(e) {
		all = append(all, string(marshal(o)))
	}
	check := func(at string, v any) {
		if !slices.Contains(all, string(marshal(v))) {
			p.bad(at, "initial option is not among the options")
		}
	}
	if v, there := e["initial_option"]; there {
		check(at+"/initial_option", v)
	}
	if v, there := e["initial_options"]; there {
		l, ok := v.([]any)
		if !ok || len(l) == 0 {
			p.bad(at+"/initial_options", "must provide an array that is not empty")
		}
		for i, o := range l {
			check(fmt.Sprintf("%s/initial_options/%d", at, i), o)
		}
	}
}

// allOptions lists the options of an element, those in groups too.
func allOptions(e map[string]any) []map[string]any {
	var out []map[string]any
	add := func(v any) {
		l, _ := v.([]any)
		for _, o := range l {
			if m, ok := o.(map[string]any); ok {
				out = append(out, m)
			}
		}
	}
	add(e["options"])
	groups, _ := e["option_groups"].([]any)
	for _, g := range groups {
		if m, ok := g.(map[string]any); ok {
			add(m["options"])
		}
	}
	return out
}

func (p *checked) confirm(at string, e map[string]any) {
	p.object(at, e, "confirm", func(at string, c map[string]any) {
		p.keys(at, c, "title!", "text!", "confirm!", "deny!", "style")
		p.textObject(at, c, "title", 100, plainOnly)
		p.textObject(at, c, "text", 300, plainOrMrkdwn)
		p.textObject(at, c, "confirm", 30, plainOnly)
		p.textObject(at, c, "deny", 30, plainOnly)
		p.oneOf(at, c, "style", "primary", "danger")
	})
}
