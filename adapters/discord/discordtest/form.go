package discordtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The kinds of fields in a form.
const (
	FieldSelect     = typeStringSelect
	FieldText       = typeTextInput
	FieldUser       = typeUserSelect
	FieldRole       = typeRoleSelect
	FieldRadio      = typeRadioGroup
	FieldCheckboxes = typeCheckboxGroup
	FieldCheckbox   = typeCheckbox
)

// Modal is a form as its person sees it.
type Modal struct {
	CustomID string
	Title    string
	Raw      json.RawMessage   // as the bot sent it, with the ids of components
	Texts    []string          // what stands between the fields
	Fields   []Field           // in order
	Typed    map[string]string // what the fields hold now, by custom id; choices are joined by commas
}

// Field is one field of a form.
type Field struct {
	CustomID    string
	Type        int // [FieldText] and the like
	Label       string
	Description string
	Placeholder string
	Value       string // what it holds now, as in Modal.Typed
	Required    bool
	Min, Max    int  // of a text in runes, of choices how many; 0 says nothing
	Multiline   bool // of a text
	Options     []Option
}

// Option is one choice of a field.
type Option struct {
	Label, Value, Description string
	Default                   bool
}

// form is an open modal.
type form struct {
	customID, title string
	components      []any
	from            *interaction // that it was opened by
	typed           map[string][]string
}

// inputs calls f with every field, the component and what it stands in.
func (f *form) inputs(visit func(outer, c map[string]any)) {
	for _, v := range f.components {
		outer, _ := v.(map[string]any)
		if c, isLabel := outer["component"].(map[string]any); isLabel {
			visit(outer, c)
		}
		inner, _ := outer["components"].([]any)
		for _, v := range inner {
			if c, isObject := v.(map[string]any); isObject {
				visit(c, c) // an old text input has its label itself
			}
		}
	}
}

// reset puts what is preset into the fields.
func (f *form) reset() {
	f.typed = map[string][]string{}
	f.inputs(func(_, c map[string]any) {
		id := text(c, "custom_id")
		f.typed[id] = nil
		switch num(c, "type") {
		case typeTextInput:
			if v := text(c, "value"); v != "" {
				f.typed[id] = []string{v}
			}
		case typeCheckbox:
			f.typed[id] = []string{strconv.FormatBool(c["default"] == true)}
		case typeUserSelect, typeRoleSelect, typeMentionSelect, typeChannelSelect:
			defaults, _ := c["default_values"].([]any)
			for _, v := range defaults {
				m, _ := v.(map[string]any)
				f.typed[id] = append(f.typed[id], text(m, "id"))
			}
		default:
			for _, o := range optionsOf(c) {
				if o.Default {
					f.typed[id] = append(f.typed[id], o.Value)
				}
			}
		}
	})
}

func optionsOf(c map[string]any) []Option {
	var out []Option
	l, _ := c["options"].([]any)
	for _, v := range l {
		m, _ := v.(map[string]any)
		out = append(out, Option{Label: text(m, "label"), Value: text(m, "value"), Description: text(m, "description"), Default: m["default"] == true})
	}
	return out
}

// set fills one field.
func (f *form) set(field, value string) error {
	err := fmt.Errorf("field %s: %w", field, ErrNoSuchField)
	f.inputs(func(_, c map[string]any) {
		if text(c, "custom_id") != field {
			return
		}
		var values []string
		if value != "" {
			values = []string{value}
		}
		err = nil
		switch num(c, "type") {
		case typeTextInput:
		case typeCheckbox:
			on, bad := strconv.ParseBool(value)
			if bad != nil {
				err = fmt.Errorf("field %s: %q: %w", field, value, ErrNoSuchOption)
				return
			}
			values = []string{strconv.FormatBool(on)}
		case typeStringSelect, typeCheckboxGroup, typeRadioGroup:
			if value != "" && num(c, "type") != typeRadioGroup {
				values = strings.Split(value, ",")
			}
			for _, v := range values {
				if !slices.ContainsFunc(optionsOf(c), func(o Option) bool { return o.Value == v }) {
					err = fmt.Errorf("field %s: %q: %w", field, v, ErrNoSuchOption)
					return
				}
			}
		default:
			if value != "" {
				values = strings.Split(value, ",")
			}
		}
		f.typed[field] = values
	})
	return err
}

// span is how many values, or runes of a text, a field takes.
func span(c map[string]any) (low, high int) {
	switch num(c, "type") {
	case typeTextInput:
		if low, high = num(c, "min_length"), num(c, "max_length"); high == 0 {
			high = maxInput
		}
	case typeRadioGroup:
		low, high = 1, 1
	case typeCheckbox:
	default:
		low, high = 1, 1
		if v, there := number(c["min_values"]); there {
			low = v
		}
		if v, there := number(c["max_values"]); there {
			high = v
		} else if num(c, "type") == typeCheckboxGroup {
			high = len(optionsOf(c))
		}
	}
	return low, high
}

// block applies the rules of Discord's client, by custom id.
func (f *form) block() map[string]string {
	out := map[string]string{}
	f.inputs(func(_, c map[string]any) {
		id := text(c, "custom_id")
		values := f.typed[id]
		required := c["required"] != false // true unless said otherwise
		low, high := span(c)
		n, what := len(values), "option(s)"
		if num(c, "type") == typeTextInput {
			n, what = utf8.RuneCountInString(strings.Join(values, "")), "character(s)" // only spaces passes, as in Discord
		}
		switch {
		case num(c, "type") == typeCheckbox:
		case n == 0 && required:
			out[id] = "This field is required"
		case n == 0:
		case n < low:
			out[id] = fmt.Sprintf("Must be at least %d %s", low, what)
		case n > high:
			out[id] = fmt.Sprintf("Must be %d %s or fewer", high, what)
		}
	})
	return out
}

// submitted is the data of the interaction that submits the form.
func (f *form) submitted() map[string]any {
	filled := func(c map[string]any) map[string]any {
		values := f.typed[text(c, "custom_id")]
		out := map[string]any{"type": c["type"], "id": c["id"], "custom_id": c["custom_id"]}
		switch num(c, "type") {
		case typeTextInput:
			out["value"] = strings.Join(values, "")
		case typeCheckbox:
			out["value"] = len(values) > 0 && values[0] == "true"
		case typeRadioGroup:
			out["value"] = nil
			if len(values) > 0 {
				out["value"] = values[0]
			}
		default:
			out["values"] = append([]string{}, values...)
		}
		return out
	}
	components := []any{}
	for _, v := range f.components {
		outer, _ := v.(map[string]any)
		out := map[string]any{"type": outer["type"], "id": outer["id"]}
		if c, isLabel := outer["component"].(map[string]any); isLabel {
			out["component"] = filled(c)
		}
		if inner, isRow := outer["components"].([]any); isRow {
			var l []any
			for _, v := range inner {
				c, _ := v.(map[string]any)
				l = append(l, filled(c))
			}
			out["components"] = l
		}
		components = append(components, out)
	}
	return map[string]any{"custom_id": f.customID, "components": components}
}

func (f *form) show() Modal {
	m := Modal{CustomID: f.customID, Title: f.title, Typed: map[string]string{},
		Raw: marshal(map[string]any{"custom_id": f.customID, "title": f.title, "components": f.components})}
	m.Texts = texts(f.components)
	f.inputs(func(outer, c map[string]any) {
		low, high := span(c)
		field := Field{CustomID: text(c, "custom_id"), Type: num(c, "type"), Label: text(outer, "label"), Placeholder: text(c, "placeholder"),
			Required: c["required"] != false, Min: low, Max: high, Multiline: num(c, "style") == inputParagraph, Options: optionsOf(c)}
		field.Description = text(outer, "description")
		field.Value = strings.Join(f.typed[field.CustomID], ",")
		m.Typed[field.CustomID] = field.Value
		m.Fields = append(m.Fields, field)
	})
	return m
}
