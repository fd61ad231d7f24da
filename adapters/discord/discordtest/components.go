package discordtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// tree checks components, of a message or of a form.
type tree struct {
	*problems
	v2      bool
	form    bool
	count   int
	runes   int
	ids     map[int]bool
	customs map[string]bool
	all     []map[string]any // in the order in which ids are given
}

func (p *problems) components(v any, v2 bool) []any {
	t := &tree{problems: p, v2: v2, ids: map[int]bool{}, customs: map[string]bool{}}
	most, allowed := maxRows, []int{typeRow}
	if v2 {
		most, allowed = maxComponents, []int{typeRow, typeSection, typeText, typeGallery, typeFile, typeSeparator, typeContainer}
	}
	l := p.array("components", v, 0, most)
	for i, c := range l {
		t.component(fmt.Sprintf("components.%d", i), c, allowed...)
	}
	if v2 && t.count > maxComponents {
		p.bad("components", "COMPONENTS_MAX_TOTAL", fmt.Sprintf("The total number of components, nested ones too, must be %d or fewer.", maxComponents))
	}
	if t.runes > maxV2Text {
		p.bad("components", "COMPONENT_MAX_TEXT_SIZE", fmt.Sprintf("The texts of all components together must be %d or fewer in length.", maxV2Text))
	}
	t.number()
	return l
}

// number gives an id to each component that came without. Components of a
// message without IS_COMPONENTS_V2 carry 0.
func (t *tree) number() {
	next := 1
	for _, c := range t.all {
		if n, _ := number(c["id"]); n > 0 {
			continue
		}
		c["id"] = json.Number("0")
		if !t.v2 && !t.form {
			continue
		}
		for t.ids[next] {
			next++
		}
		t.ids[next] = true
		c["id"] = json.Number(strconv.Itoa(next))
	}
}

func (t *tree) component(path string, v any, allowed ...int) (map[string]any, int) {
	m := t.object(path, v)
	if m == nil {
		return nil, 0
	}
	kind, isNumber := number(m["type"])
	if m["type"] == nil {
		t.required(path + ".type")
		return nil, 0
	}
	if !isNumber || !slices.Contains(allowed, kind) {
		t.bad(path+".type", "UNION_TYPE_CHOICES", `Value of field "type" must be one of (`+strings.TrimSuffix(strings.TrimPrefix(choices(allowed), "Value must be one of ("), "."))
		return nil, 0
	}
	t.count++
	t.all = append(t.all, m)
	if n, good := t.int(path+".id", m["id"], 0, 1<<31-1); good && n > 0 {
		if t.ids[n] {
			t.bad(path+".id", "COMPONENT_ID_DUPLICATED", fmt.Sprintf("Component id %d cannot be duplicated", n))
		}
		t.ids[n] = true
	}
	t.check(kind, path, m)
	return m, kind
}

// only names the keys of a component besides type and id.
func (t *tree) only(path string, m map[string]any, known ...string) {
	t.keys(path, m, append([]string{"type", "id"}, known...)...)
}

func (t *tree) customID(path string, m map[string]any) {
	id := t.str(path+".custom_id", m["custom_id"], 1, maxCustomID)
	if id == "" {
		return
	}
	if t.customs[id] {
		t.bad(path+".custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
	}
	t.customs[id] = true
}

// check applies the rules of one type of component.
func (t *tree) check(kind int, path string, m map[string]any) {
	switch kind {
	case typeRow:
		t.row(path, m)
	case typeButton:
		t.button(path, m)
	case typeStringSelect:
		t.stringSelect(path, m)
	case typeTextInput:
		t.textInput(path, m)
	case typeUserSelect, typeRoleSelect, typeMentionSelect, typeChannelSelect:
		t.otherSelect(path, m)
	case typeSection:
		t.section(path, m)
	case typeText:
		t.text(path, m)
	case typeThumbnail:
		t.thumbnail(path, m)
	case typeGallery:
		t.gallery(path, m)
	case typeFile:
		t.bad(path, "DISCORDTEST", "this Discord does not know files")
	case typeSeparator:
		t.separator(path, m)
	case typeContainer:
		t.container(path, m)
	case typeLabel:
		t.label(path, m)
	case typeFileUpload:
		t.fileUpload(path, m)
	case typeRadioGroup:
		t.radioGroup(path, m)
	case typeCheckboxGroup:
		t.checkboxGroup(path, m)
	case typeCheckbox:
		t.checkbox(path, m)
	}
}

func (t *tree) row(path string, m map[string]any) {
	t.only(path, m, "components")
	allowed := []int{typeButton, typeStringSelect, typeUserSelect, typeRoleSelect, typeMentionSelect, typeChannelSelect}
	most := maxButtons
	if t.form {
		allowed, most = []int{typeTextInput}, 1
	}
	l := t.array(path+".components", m["components"], 1, most)
	selects := 0
	for i, v := range l {
		at := fmt.Sprintf("%s.components.%d", path, i)
		c, kind := t.component(at, v, allowed...)
		if kind != 0 && kind != typeButton && kind != typeTextInput {
			selects++
		}
		if kind == typeTextInput {
			t.str(at+".label", c["label"], 1, maxLabel)
		}
	}
	if selects > 0 && len(l) > 1 {
		t.bad(path+".components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "A row holds up to 5 buttons or one select")
	}
}

func (t *tree) button(path string, m map[string]any) {
	t.only(path, m, "custom_id", "style", "label", "disabled", "url", "sku_id", "emoji")
	t.opt(path+".label", m["label"], 0, maxButtonLabel)
	t.bool(path+".disabled", m["disabled"])
	style, good := t.int(path+".style", m["style"], 1, stylePremium)
	if m["style"] == nil {
		t.required(path + ".style")
	}
	if !good {
		return
	}
	t.emoji(path, m)
	if style != stylePremium && text(m, "label") == "" && m["emoji"] == nil {
		t.bad(path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A button must have a label or an emoji")
	}
	switch style {
	case styleLink:
		if m["custom_id"] != nil {
			t.bad(path, "BUTTON_COMPONENT_CUSTOM_ID_AND_URL", "A custom id and url cannot both be specified")
		}
		t.link(path+".url", m["url"], maxButtonURL, "http", "https", "discord")
	case stylePremium:
		if m["custom_id"] != nil || m["url"] != nil || m["label"] != nil || m["emoji"] != nil || m["sku_id"] == nil {
			t.bad(path, "BUTTON_COMPONENT_INVALID_PREMIUM", "A premium button has a sku_id and nothing else")
		}
	default:
		if m["url"] != nil {
			t.bad(path+".url", "BUTTON_COMPONENT_INVALID_URL", "Only link buttons have a url")
		}
		t.customID(path, m)
	}
}

func (t *tree) emoji(path string, m map[string]any) {
	if m["emoji"] == nil {
		return
	}
	e := t.object(path+".emoji", m["emoji"])
	if e == nil {
		return
	}
	t.keys(path+".emoji", e, "id", "name", "animated")
	if text(e, "id") == "" && text(e, "name") == "" {
		t.bad(path+".emoji.name", "COMPONENT_INVALID_EMOJI", "Invalid emoji")
	}
}

// span checks how many values may be chosen.
func (t *tree) span(path string, m map[string]any, high, most int) {
	low, least := t.int(path+".min_values", m["min_values"], 0, high)
	top, upper := t.int(path+".max_values", m["max_values"], 1, high)
	if !least {
		low = 1
	}
	if !upper {
		top = 1
	}
	if m["max_values"] != nil && low > top {
		t.bad(path+".min_values", "BASE_TYPE_INVALID_RANGE", "min_values must not be greater than max_values")
	}
	if upper && top > most {
		t.bad(path+".max_values", "BASE_TYPE_INVALID_RANGE", "max_values must not be greater than the number of options")
	}
	if least && low > most {
		t.bad(path+".min_values", "BASE_TYPE_INVALID_RANGE", "min_values must not be greater than the number of options")
	}
	if !t.form { // answers always have them
		m["min_values"], m["max_values"] = json.Number(strconv.Itoa(low)), json.Number(strconv.Itoa(top))
	}
	if t.form && least && low == 0 && m["required"] != false {
		t.bad(path+".min_values", "COMPONENT_REQUIRED_MIN_VALUES", "min_values cannot be 0 when the component is required")
	}
}

func (t *tree) selectBasics(path string, m map[string]any) {
	t.customID(path, m)
	t.opt(path+".placeholder", m["placeholder"], 0, maxPlaceholder)
	t.bool(path+".required", m["required"])
	if t.bool(path+".disabled", m["disabled"]) && t.form {
		t.bad(path+".disabled", "COMPONENT_DISABLED_IN_MODAL", "A select in a modal cannot be disabled")
	}
}

func (t *tree) stringSelect(path string, m map[string]any) {
	t.only(path, m, "custom_id", "options", "placeholder", "min_values", "max_values", "disabled", "required")
	t.selectBasics(path, m)
	n, defaults := t.options(path, m, 1, maxOptions)
	t.span(path, m, maxOptions, max(n, 1))
	most := 1
	if v, there := number(m["max_values"]); there {
		most = v
	}
	if defaults > most {
		t.bad(path+".options", "SELECT_COMPONENT_TOO_MANY_DEFAULT_VALUES", "More options are default than may be chosen")
	}
}

func (t *tree) otherSelect(path string, m map[string]any) {
	known := []string{"custom_id", "placeholder", "min_values", "max_values", "disabled", "required", "default_values"}
	allowed := map[int][]string{typeUserSelect: {"user"}, typeRoleSelect: {"role"}, typeMentionSelect: {"user", "role"}, typeChannelSelect: {"channel"}}[num(m, "type")]
	if num(m, "type") == typeChannelSelect {
		known = append(known, "channel_types")
	}
	t.only(path, m, known...)
	t.selectBasics(path, m)
	t.span(path, m, maxOptions, maxOptions)
	for i, v := range t.array(path+".default_values", m["default_values"], 0, maxOptions) {
		at := fmt.Sprintf("%s.default_values.%d", path, i)
		if d := t.object(at, v); d != nil {
			t.keys(at, d, "id!", "type!")
			if !contains(allowed, text(d, "type")) {
				t.bad(at+".type", "BASE_TYPE_CHOICES", "Value must be one of ("+quoted(allowed)+").")
			}
		}
	}
}

// options checks choices and tells how many there are and how many are default.
func (t *tree) options(path string, m map[string]any, low, high int) (n, defaults int) {
	values := map[string]bool{}
	l := t.array(path+".options", m["options"], low, high)
	for i, v := range l {
		at := fmt.Sprintf("%s.options.%d", path, i)
		o := t.object(at, v)
		if o == nil {
			continue
		}
		t.keys(at, o, "label", "value", "description", "default", "emoji")
		t.str(at+".label", o["label"], 1, maxOptionText)
		t.opt(at+".description", o["description"], 0, maxOptionText)
		t.emoji(at, o)
		value := t.str(at+".value", o["value"], 1, maxOptionText)
		if values[value] {
			t.bad(at+".value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The specified option value is already used")
		}
		values[value] = true
		if t.bool(at+".default", o["default"]) {
			defaults++
		}
	}
	return len(l), defaults
}

func (t *tree) text(path string, m map[string]any) {
	t.only(path, m, "content")
	t.runes += utf8.RuneCountInString(t.str(path+".content", m["content"], 1, maxV2Text))
}

func (t *tree) section(path string, m map[string]any) {
	t.only(path, m, "components", "accessory!")
	for i, v := range t.array(path+".components", m["components"], 1, maxSectionTexts) {
		t.component(fmt.Sprintf("%s.components.%d", path, i), v, typeText)
	}
	if m["accessory"] != nil {
		t.component(path+".accessory", m["accessory"], typeButton, typeThumbnail)
	}
}

// media checks what is shown; files of the message itself are known in
// galleries only.
func (t *tree) media(path string, v any, schemes ...string) {
	m := t.object(path, v)
	if m == nil {
		return
	}
	t.keys(path, m, "url")
	t.link(path+".url", m["url"], maxURL, append(schemes, "http", "https")...)
}

func (t *tree) thumbnail(path string, m map[string]any) {
	t.only(path, m, "media!", "description", "spoiler")
	if m["media"] != nil {
		t.media(path+".media", m["media"])
	}
	t.opt(path+".description", m["description"], 1, maxMediaText)
	m["spoiler"] = t.bool(path+".spoiler", m["spoiler"])
}

func (t *tree) gallery(path string, m map[string]any) {
	t.only(path, m, "items")
	for i, v := range t.array(path+".items", m["items"], 1, maxMedia) {
		at := fmt.Sprintf("%s.items.%d", path, i)
		item := t.object(at, v)
		if item == nil {
			continue
		}
		t.keys(at, item, "media!", "description", "spoiler")
		if item["media"] != nil {
			t.media(at+".media", item["media"], "attachment")
		}
		t.opt(at+".description", item["description"], 1, maxMediaText)
		item["spoiler"] = t.bool(at+".spoiler", item["spoiler"])
	}
}

func (t *tree) separator(path string, m map[string]any) {
	t.only(path, m, "divider", "spacing")
	divider := t.bool(path+".divider", m["divider"]) || m["divider"] == nil
	n, there := t.int(path+".spacing", m["spacing"], 1, 2)
	if !there {
		n = 1
	}
	m["divider"], m["spacing"] = divider, json.Number(strconv.Itoa(n))
}

func (t *tree) container(path string, m map[string]any) {
	t.only(path, m, "components", "accent_color", "spoiler")
	t.int(path+".accent_color", m["accent_color"], 0, maxColor)
	for i, v := range t.array(path+".components", m["components"], 1, maxComponents) {
		t.component(fmt.Sprintf("%s.components.%d", path, i), v, typeRow, typeSection, typeText, typeGallery, typeFile, typeSeparator)
	}
	if _, there := m["accent_color"]; !there {
		m["accent_color"] = nil // answers always have the key
	}
	m["spoiler"] = t.bool(path+".spoiler", m["spoiler"])
}

func (t *tree) label(path string, m map[string]any) {
	t.only(path, m, "label", "description", "component!")
	t.str(path+".label", m["label"], 1, maxLabel)
	t.opt(path+".description", m["description"], 1, maxLabelText)
	if m["component"] == nil {
		return
	}
	c, kind := t.component(path+".component", m["component"], typeStringSelect, typeTextInput, typeUserSelect, typeRoleSelect, typeMentionSelect,
		typeChannelSelect, typeFileUpload, typeRadioGroup, typeCheckboxGroup, typeCheckbox)
	if kind == typeTextInput && c["label"] != nil {
		t.bad(path+".component.label", "COMPONENT_LABEL_IN_LABEL", "A text input in a label has no label of its own")
	}
}

func (t *tree) textInput(path string, m map[string]any) {
	t.only(path, m, "custom_id", "style!", "label", "min_length", "max_length", "required", "value", "placeholder")
	t.customID(path, m)
	t.int(path+".style", m["style"], 1, inputParagraph)
	t.opt(path+".value", m["value"], 0, maxInput)
	t.opt(path+".placeholder", m["placeholder"], 0, maxInputHint)
	t.bool(path+".required", m["required"])
	low, least := t.int(path+".min_length", m["min_length"], 0, maxInput)
	high, most := t.int(path+".max_length", m["max_length"], 1, maxInput)
	if least && most && low > high {
		t.bad(path+".min_length", "BASE_TYPE_INVALID_RANGE", "min_length must not be greater than max_length")
	}
}

func (t *tree) fileUpload(path string, m map[string]any) {
	t.only(path, m, "custom_id", "min_values", "max_values", "required")
	t.customID(path, m)
	t.bool(path+".required", m["required"])
	t.span(path, m, maxChoices, maxChoices)
}

func (t *tree) radioGroup(path string, m map[string]any) {
	t.only(path, m, "custom_id", "options", "required")
	t.customID(path, m)
	t.bool(path+".required", m["required"])
	if _, defaults := t.options(path, m, minRadio, maxChoices); defaults > 1 {
		t.bad(path+".options", "SELECT_COMPONENT_TOO_MANY_DEFAULT_VALUES", "Only one option can be default")
	}
}

func (t *tree) checkboxGroup(path string, m map[string]any) {
	t.only(path, m, "custom_id", "options", "min_values", "max_values", "required")
	t.customID(path, m)
	t.bool(path+".required", m["required"])
	n, defaults := t.options(path, m, 1, maxChoices)
	t.span(path, m, maxChoices, max(n, 1))
	if most, there := number(m["max_values"]); there && defaults > most {
		t.bad(path+".options", "SELECT_COMPONENT_TOO_MANY_DEFAULT_VALUES", "More options are default than may be chosen")
	}
}

func (t *tree) checkbox(path string, m map[string]any) {
	t.only(path, m, "custom_id", "default")
	t.customID(path, m)
	t.bool(path+".default", m["default"])
}

// walk calls f with every component, outer ones first, until it says false.
func walk(components []any, f func(map[string]any) bool) bool {
	for _, v := range components {
		m, _ := v.(map[string]any)
		if m == nil {
			continue
		}
		if !f(m) {
			return false
		}
		inner, _ := m["components"].([]any)
		for _, key := range []string{"accessory", "component"} {
			if m[key] != nil {
				inner = append(slices.Clone(inner), m[key])
			}
		}
		if !walk(inner, f) {
			return false
		}
	}
	return true
}

// texts are all texts that a message's components show.
func texts(components []any) []string {
	var out []string
	walk(components, func(m map[string]any) bool {
		if num(m, "type") == typeText {
			out = append(out, text(m, "content"))
		}
		return true
	})
	return out
}
