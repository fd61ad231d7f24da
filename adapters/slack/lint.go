package slack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// Slack's limits, in runes or in pieces (docs.slack.dev/reference/block-kit,
// docs.slack.dev/reference/views). The unit is not documented; runes are what
// Slack's own validators count.
const (
	maxTopText       = 3900 // text of a message; chat.update takes 4000
	maxAllText       = 8000 // all texts of a message; undocumented, 9,597 were accepted and 11,341 refused (slackapi/bolt-js#2867)
	maxBlocks        = 50   // blocks of a message
	maxViewBlocks    = 100
	maxViewBytes     = 250 << 10
	maxViewTitle     = 24 // title, submit and close of a view
	maxPrivate       = 3000
	maxID            = 255 // block_id, action_id, callback_id, external_id
	maxHeader        = 150
	maxText          = 3000 // a text object
	maxFields        = 10   // fields of a section
	maxFieldText     = 2000
	maxContext       = 10 // elements of a context block
	maxElements      = 25 // elements of an actions block
	maxButtonText    = 75
	maxButtonValue   = 2000
	maxURL           = 3000
	maxAccessibility = 75
	maxLabel         = 2000 // label and hint of an input
	maxPlaceholder   = 150
	maxOptions       = 100 // of a select
	maxChoices       = 10  // radio buttons, checkboxes
	maxOverflow      = 5
	maxOptionText    = 75
	maxOptionValue   = 150
	maxInput         = 3000 // max_length of a text input
	maxAlert         = 200
	maxMarkdown      = 12000
	maxConfirmTitle  = 100
	maxConfirmText   = 300
	maxConfirmButton = 30
)

// lintMessage lists what Slack would refuse in a message, or show wrongly.
func lintMessage(text string, blocks json.RawMessage) []string {
	l := &lint{surface: "message", blockIDs: map[string]bool{}}
	n := utf8.RuneCountInString(text)
	l.check(n > 0, "text", "is empty")
	l.check(n <= maxTopText, "text", "has %d characters, at most %d", n, maxTopText)
	if string(blocks) != "null" { // a plain message has none
		l.blocks(blocks, maxBlocks)
	}
	l.check(l.runes <= maxAllText, "blocks", "have %d characters together, at most %d", l.runes, maxAllText)
	return l.wrong
}

// lintView lists what Slack would refuse in a modal or a home tab.
func lintView(view json.RawMessage) []string {
	l := &lint{surface: "modal", blockIDs: map[string]bool{}}
	l.check(len(view) <= maxViewBytes, "view", "has %d bytes, at most %d", len(view), maxViewBytes)
	var v map[string]any
	if err := json.Unmarshal(view, &v); err != nil {
		return append(l.wrong, "view: is not an object")
	}
	if v["type"] == homeTab {
		l.surface = "home"
		for _, k := range []string{"title", "submit", "close"} {
			l.check(v[k] == nil, k, "is for forms")
		}
	} else {
		l.check(v["type"] == "modal", "type", "is neither modal nor home")
		l.check(v["title"] != nil, "title", "is missing")
	}
	for _, k := range []string{"title", "submit", "close"} {
		l.text(k, v[k], maxViewTitle, true)
	}
	for k, limit := range map[string]int{"private_metadata": maxPrivate, "callback_id": maxID, "external_id": maxID} {
		l.short(k, v[k], limit)
	}
	raw, _ := json.Marshal(v["blocks"])
	l.blocks(raw, maxViewBlocks)
	l.check(l.inputs == 0 || l.surface == "home" || v["submit"] != nil, "submit", "is missing although there are inputs")
	return l.wrong
}

type lint struct {
	surface   string
	wrong     []string
	runes     int
	inputs    int
	blockIDs  map[string]bool
	actionIDs map[string]bool // of one block (docs.slack.dev/reference/block-kit/block-elements)
}

func (l *lint) check(ok bool, at, format string, args ...any) {
	if !ok {
		l.wrong = append(l.wrong, at+": "+fmt.Sprintf(format, args...))
	}
}

func (l *lint) blocks(raw json.RawMessage, limit int) {
	var blocks []map[string]any
	if err := json.Unmarshal(raw, &blocks); err != nil || blocks == nil {
		l.check(false, "blocks", "are not a list of objects")
		return
	}
	l.check(len(blocks) <= limit, "blocks", "are %d, at most %d", len(blocks), limit)
	for i, b := range blocks {
		l.block("blocks/"+strconv.Itoa(i), b)
	}
}

// short checks an optional string of 1 to limit runes.
func (l *lint) short(at string, v any, limit int) string {
	if v == nil {
		return ""
	}
	s, ok := v.(string)
	l.check(ok, at, "is not a string")
	n := utf8.RuneCountInString(s)
	l.check(n > 0, at, "is empty")
	l.check(n <= limit, at, "has %d characters, at most %d", n, limit)
	return s
}

// unique checks an id that may occur once.
func (l *lint) unique(at string, v any, seen map[string]bool) {
	id := l.short(at, v, maxID)
	l.check(id == "" || !seen[id], at, "%q occurs twice", id)
	seen[id] = true
}

// text checks an optional text object; plainOnly where mrkdwn is refused.
func (l *lint) text(at string, v any, limit int, plainOnly bool) {
	if v == nil {
		return
	}
	t, ok := v.(map[string]any)
	if !ok {
		l.check(false, at, "is not a text object")
		return
	}
	switch t["type"] {
	case slack.PlainTextType:
		l.check(t["verbatim"] == nil, at, "plain_text has no verbatim")
	case slack.MarkdownType:
		l.check(!plainOnly, at, "must be plain_text")
		l.check(t["emoji"] == nil, at, "mrkdwn has no emoji")
	default:
		l.check(false, at, "is of no known text type")
	}
	l.check(t["text"] != nil, at, "has no text")
	l.runes += utf8.RuneCountInString(l.short(at, t["text"], limit))
}

// list checks that m[key] is a list of 1 to limit objects and calls each.
func (l *lint) list(at string, m map[string]any, key string, limit int, each func(string, map[string]any)) {
	items, ok := m[key].([]any)
	l.check(ok && len(items) > 0, at+"/"+key, "is empty")
	l.check(len(items) <= limit, at+"/"+key, "are %d, at most %d", len(items), limit)
	for i, item := range items {
		at := at + "/" + key + "/" + strconv.Itoa(i)
		if o, ok := item.(map[string]any); ok {
			each(at, o)
		} else {
			l.check(false, at, "is not an object")
		}
	}
}

func (l *lint) block(at string, b map[string]any) {
	l.unique(at+"/block_id", b["block_id"], l.blockIDs)
	l.actionIDs = map[string]bool{}
	switch kind, _ := b["type"].(string); kind {
	case "header":
		l.check(b["text"] != nil, at, "has no text")
		l.text(at+"/text", b["text"], maxHeader, true)
	case "section":
		l.check(b["text"] != nil || b["fields"] != nil, at, "has neither text nor fields")
		l.text(at+"/text", b["text"], maxText, false)
		if b["fields"] != nil {
			l.list(at, b, "fields", maxFields, func(at string, f map[string]any) { l.text(at, f, maxFieldText, false) })
		}
		if e, ok := b["accessory"].(map[string]any); ok {
			l.element(at+"/accessory", e, kind)
		}
	case "rich_text":
		l.list(at, b, "elements", 1000, l.rich)
	case "context":
		l.list(at, b, "elements", maxContext, func(at string, e map[string]any) { l.text(at, e, maxText, false) })
	case "actions":
		l.list(at, b, "elements", maxElements, func(at string, e map[string]any) { l.element(at, e, kind) })
	case "input":
		l.inputs++
		l.check(l.surface != "message", at, "input is for forms")
		l.check(b["label"] != nil, at, "has no label")
		l.text(at+"/label", b["label"], maxLabel, true)
		l.text(at+"/hint", b["hint"], maxLabel, true)
		e, ok := b["element"].(map[string]any)
		l.check(ok, at, "has no element")
		if ok {
			l.element(at+"/element", e, kind)
		}
	case "divider":
	case "markdown":
		l.check(l.surface == "message", at, "markdown is for messages")
		l.runes += utf8.RuneCountInString(l.short(at+"/text", b["text"], maxMarkdown))
	case "alert":
		l.check(l.surface == "modal", at, "alert is for forms")
		l.text(at+"/text", b["text"], maxAlert, false)
	default:
		l.check(false, at, "%q is no block that we send", kind)
	}
}

func (l *lint) rich(at string, e map[string]any) {
	switch kind, _ := e["type"].(string); kind {
	case "rich_text_section", "rich_text_preformatted", "rich_text_quote":
		l.list(at, e, "elements", 1000, l.rich)
	case "text":
		l.check(e["text"] != nil, at, "has no text")
		l.runes += utf8.RuneCountInString(l.short(at+"/text", e["text"], maxAllText))
	case "user", "date":
	default:
		l.check(false, at, "%q is no rich text that we send", kind)
	}
}

// where tells which elements may stand in which block.
var where = map[string][]string{
	"button":              {"actions", "section"},
	"overflow":            {"actions", "section"},
	"static_select":       {"actions", "section", "input"},
	"multi_static_select": {"section", "input"},
	"radio_buttons":       {"actions", "section", "input"},
	"checkboxes":          {"actions", "section", "input"},
	"plain_text_input":    {"input"},
	"number_input":        {"input"},
	"email_text_input":    {"input"},
	"url_text_input":      {"input"},
	"users_select":        {"actions", "section", "input"},
	"multi_users_select":  {"section", "input"},
}

func (l *lint) element(at string, e map[string]any, block string) {
	kind, _ := e["type"].(string)
	l.check(slices.Contains(where[kind], block), at, "%q does not belong into %s", kind, block)
	l.unique(at+"/action_id", e["action_id"], l.actionIDs)
	l.text(at+"/placeholder", e["placeholder"], maxPlaceholder, true)
	if c, ok := e["confirm"].(map[string]any); ok {
		l.text(at+"/confirm/title", c["title"], maxConfirmTitle, true)
		l.text(at+"/confirm/text", c["text"], maxConfirmText, false)
		l.text(at+"/confirm/confirm", c["confirm"], maxConfirmButton, true)
		l.text(at+"/confirm/deny", c["deny"], maxConfirmButton, true)
	}
	switch kind {
	case "button":
		l.check(e["text"] != nil, at, "has no text")
		l.text(at+"/text", e["text"], maxButtonText, true)
		l.short(at+"/value", e["value"], maxButtonValue)
		l.short(at+"/url", e["url"], maxURL)
		l.short(at+"/accessibility_label", e["accessibility_label"], maxAccessibility)
	case "radio_buttons", "checkboxes":
		l.options(at, e, maxChoices)
	case "overflow":
		l.options(at, e, maxOverflow)
	case "static_select", "multi_static_select":
		if e["option_groups"] == nil {
			l.options(at, e, maxOptions)
		} else {
			l.list(at, e, "option_groups", maxOptions, func(at string, g map[string]any) {
				l.text(at+"/label", g["label"], maxOptionText, true)
				l.options(at, g, maxOptions)
			})
		}
	case "plain_text_input":
		low, high := l.number(at, e, "min_length"), l.number(at, e, "max_length")
		l.check(high == nil || (*high >= 1 && *high <= maxInput), at+"/max_length", "is not from 1 to %d", maxInput)
		l.check(low == nil || high == nil || *low <= *high, at, "min_length is above max_length")
	case "number_input":
		_, ok := e["is_decimal_allowed"].(bool)
		l.check(ok, at, "does not say is_decimal_allowed")
		low, high, first := l.decimal(at, e, "min_value"), l.decimal(at, e, "max_value"), l.decimal(at, e, "initial_value")
		l.check(low == nil || high == nil || *low <= *high, at, "min_value is above max_value")
		l.check(first == nil || low == nil || *first >= *low, at, "initial_value is below min_value")
		l.check(first == nil || high == nil || *first <= *high, at, "initial_value is above max_value")
	}
}

func (l *lint) options(at string, e map[string]any, limit int) {
	var known []string
	l.list(at, e, "options", limit, func(at string, o map[string]any) {
		l.option(at, o)
		raw, _ := json.Marshal(o)
		known = append(known, string(raw))
	})
	if first := e["initial_option"]; first != nil {
		raw, _ := json.Marshal(first)
		l.check(slices.Contains(known, string(raw)), at+"/initial_option", "is not among the options")
	}
	if list, ok := e["initial_options"].([]any); ok {
		for _, first := range list {
			raw, _ := json.Marshal(first)
			l.check(slices.Contains(known, string(raw)), at+"/initial_options", "has one that is not among the options")
		}
	}
}

func (l *lint) option(at string, o map[string]any) {
	l.check(o["text"] != nil, at, "has no text")
	l.check(o["value"] != nil, at, "has no value")
	l.text(at+"/text", o["text"], maxOptionText, false)
	l.text(at+"/description", o["description"], maxOptionText, false)
	l.short(at+"/value", o["value"], maxOptionValue)
}

func (l *lint) number(at string, e map[string]any, key string) *float64 {
	v, ok := e[key].(float64)
	if !ok {
		l.check(e[key] == nil, at+"/"+key, "is not a number")
		return nil
	}
	return &v
}

// decimal reads a number that Slack wants as a string.
func (l *lint) decimal(at string, e map[string]any, key string) *float64 {
	if e[key] == nil {
		return nil
	}
	s, _ := e[key].(string)
	v, err := strconv.ParseFloat(s, 64)
	l.check(err == nil, at+"/"+key, "is not a number in a string")
	if err != nil {
		return nil
	}
	return &v
}

// runes counts the text of blocks as Slack may.
func runes(blocks []slack.Block) int {
	raw, err := json.Marshal(blocks)
	if err != nil {
		return maxAllText + 1
	}
	l := &lint{surface: "message", blockIDs: map[string]bool{}}
	l.blocks(raw, maxBlocks)
	return l.runes
}
