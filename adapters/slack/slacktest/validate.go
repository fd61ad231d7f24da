package slacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of Block Kit, counted in runes (docs.slack.dev/reference/block-kit).
const (
	maxMessageBlocks = 50
	maxViewBlocks    = 100
	maxText          = 3000
	maxFields        = 10
	maxField         = 2000
	maxHeader        = 150
	maxButton        = 75
	maxValue         = 2000
	maxURL           = 3000
	maxID            = 255
	maxActions       = 25
	maxContext       = 10
	maxOptions       = 100
	maxChoices       = 10 // radio buttons and checkboxes
	maxOverflow      = 5
	maxOptionText    = 75
	maxOptionValue   = 150
	maxLabel         = 2000
	maxPlaceholder   = 150
	maxAlert         = 200
	maxInputLength   = 3000
	maxMarkdown      = 12000
	maxViewTitle     = 24
	maxPrivate       = 3000
	maxViewBytes     = 250 * 1024
	maxAllText       = 11000 // undocumented: 9,597 accepted, 11,341 refused (slackapi/bolt-js#2867)
)

type surface int

const (
	inMessage surface = iota
	inModal
	inHome
)

// checked is the outcome of validating blocks.
type checked struct {
	blocks    []map[string]any
	problems  []string // as in response_metadata.messages
	malformed bool     // not an array of objects at all
	runes     int      // of all texts together
	inputs    int
	surface   surface
	root      string // JSON pointer of the blocks
	blockIDs  map[string]bool
	actions   map[string]bool // block_id and action_id together
	markdown  int
}

// CheckBlocks lists what is wrong with the blocks of a message, in Slack's words.
func CheckBlocks(blocks json.RawMessage) []string {
	p := checkBlocks(blocks, inMessage)
	if p.malformed {
		return []string{"invalid_blocks_format"}
	}
	if p.runes > maxAllText {
		p.problems = append(p.problems, "msg_blocks_too_long")
	}
	return p.problems
}

// CheckView lists what is wrong with a modal or a home tab, in Slack's words.
func CheckView(v json.RawMessage) []string {
	_, p := checkView(v)
	if len(v) > maxViewBytes {
		p = append(p, "view_too_large")
	}
	return p
}

// decode keeps numbers as they were written.
func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return fmt.Errorf("more than one value")
	}
	return nil
}

func checkBlocks(raw []byte, on surface) *checked {
	p := &checked{surface: on, root: "/blocks", blockIDs: map[string]bool{}, actions: map[string]bool{}}
	if on != inMessage {
		p.root = "/view/blocks"
	}
	if decode(raw, &p.blocks) != nil || slices.ContainsFunc(p.blocks, func(b map[string]any) bool { return b == nil }) {
		p.malformed = true
		return p
	}
	most := maxMessageBlocks
	if on != inMessage {
		most = maxViewBlocks
	}
	if len(p.blocks) > most {
		p.bad(p.root, "no more than %d items allowed", most)
	}
	for i, b := range p.blocks {
		p.block(fmt.Sprintf("%s/%d", p.root, i), b)
	}
	if p.markdown > maxMarkdown {
		p.bad(p.root, "markdown blocks must be less than %d characters together", maxMarkdown+1)
	}
	return p
}

// fill gives ids to the blocks and elements that came without, as Slack does.
func (p *checked) fill(s *Server) {
	for _, b := range p.blocks {
		if text(b, "block_id") == "" {
			b["block_id"] = s.id("b")
		}
		for _, e := range interactive(b) {
			if text(e, "action_id") == "" {
				e["action_id"] = s.id("a")
			}
		}
	}
}

// interactive lists the elements of a block that a person can use.
func interactive(b map[string]any) []map[string]any {
	var out []map[string]any
	add := func(v any) {
		if e, ok := v.(map[string]any); ok && elements[text(e, "type")] != nil && text(e, "type") != "image" {
			out = append(out, e)
		}
	}
	switch text(b, "type") {
	case "actions":
		list, _ := b["elements"].([]any)
		for _, e := range list {
			add(e)
		}
	case "section":
		add(b["accessory"])
	case "input":
		add(b["element"])
	}
	return out
}

func text(m map[string]any, key string) string {
	v, _ := m[key].(string)
	return v
}

func (p *checked) bad(at, format string, args ...any) {
	p.problems = append(p.problems, pointer(fmt.Sprintf(format, args...), at))
}

// keys refuses keys that are not known and misses those that are required.
// A key that ends in "!" is required.
func (p *checked) keys(at string, m map[string]any, known ...string) bool {
	ok := true
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k != "type" && !slices.Contains(known, k) && !slices.Contains(known, k+"!") {
			p.bad(at, "invalid additional property: %s", k)
			ok = false
		}
	}
	for _, k := range known {
		if name, required := strings.CutSuffix(k, "!"); required && m[name] == nil {
			p.bad(at, "missing required field: %s", name)
			ok = false
		}
	}
	return ok
}

// str checks a string that is optional and has at most n runes.
func (p *checked) str(at string, m map[string]any, key string, n int) string {
	v, there := m[key]
	if !there {
		return ""
	}
	t, ok := v.(string)
	if !ok {
		p.bad(at+"/"+key, "must provide a string")
		return ""
	}
	if utf8.RuneCountInString(t) > n {
		p.bad(at+"/"+key, "must be less than %d characters", n+1)
	}
	return t
}

func (p *checked) boolean(at string, m map[string]any, keys ...string) {
	for _, key := range keys {
		if v, there := m[key]; there {
			if _, ok := v.(bool); !ok {
				p.bad(at+"/"+key, "must provide a boolean")
			}
		}
	}
}

// whole checks an optional whole number.
func (p *checked) whole(at string, m map[string]any, key string, low, high int) (int, bool) {
	v, there := m[key]
	if !there {
		return 0, false
	}
	n, isNumber := v.(json.Number)
	i, err := strconv.Atoi(n.String())
	if !isNumber || err != nil {
		p.bad(at+"/"+key, "must provide an integer")
		return 0, false
	}
	if i < low || i > high {
		p.bad(at+"/"+key, "must be between %d and %d", low, high)
	}
	return i, true
}

type textKind int

const (
	plainOnly textKind = iota
	plainOrMrkdwn
)

// textObject checks an optional text object of 1 to n runes.
func (p *checked) textObject(at string, m map[string]any, key string, n int, kind textKind) {
	v, there := m[key]
	if !there {
		return
	}
	p.textValue(at+"/"+key, v, n, kind)
}

func (p *checked) textValue(at string, v any, n int, kind textKind) {
	t, ok := v.(map[string]any)
	if !ok {
		p.bad(at, "must provide an object")
		return
	}
	switch text(t, "type") {
	case "plain_text":
		p.keys(at, t, "text!", "emoji")
		p.boolean(at, t, "emoji")
	case "mrkdwn":
		if kind == plainOnly {
			p.bad(at+"/type", "must be one of the following values: plain_text")
		}
		p.keys(at, t, "text!", "verbatim")
		p.boolean(at, t, "verbatim")
	default:
		p.bad(at+"/type", "unsupported text type: %q", text(t, "type"))
	}
	s := p.str(at, t, "text", n)
	p.runes += utf8.RuneCountInString(s)
	if _, isString := t["text"].(string); isString && s == "" {
		p.bad(at+"/text", "must be more than 0 characters")
	}
}

func (p *checked) block(at string, b map[string]any) {
	kind := text(b, "type")
	if id := p.str(at, b, "block_id", maxID); id != "" {
		if p.blockIDs[id] {
			p.bad(at+"/block_id", "block_id %q already exists", id)
		}
		p.blockIDs[id] = true
	} else if _, there := b["block_id"]; there {
		p.bad(at+"/block_id", "must be more than 0 characters")
	}
	p.actions = map[string]bool{} // unique inside one block
	switch kind {
	case "divider":
		p.keys(at, b, "block_id")
	case "header":
		p.keys(at, b, "block_id", "text!", "level")
		p.textObject(at, b, "text", maxHeader, plainOnly)
		p.whole(at, b, "level", 1, 4)
	case "section":
		p.section(at, b)
	case "context":
		p.keys(at, b, "block_id", "elements!")
		p.list(at, b, "elements", 1, maxContext, func(at string, e map[string]any) {
			if text(e, "type") == "image" {
				p.element(at, e, "context")
				return
			}
			p.textValue(at, e, maxText, plainOrMrkdwn)
		})
	case "actions":
		p.keys(at, b, "block_id", "elements!")
		p.list(at, b, "elements", 1, maxActions, func(at string, e map[string]any) { p.element(at, e, "actions") })
	case "input":
		p.inputs++
		p.keys(at, b, "block_id", "label!", "element!", "dispatch_action", "hint", "optional")
		p.boolean(at, b, "dispatch_action", "optional")
		p.textObject(at, b, "label", maxLabel, plainOnly)
		p.textObject(at, b, "hint", maxLabel, plainOnly)
		p.object(at, b, "element", func(at string, e map[string]any) { p.element(at, e, "input") })
	case "image":
		p.keys(at, b, "block_id", "image_url", "slack_file", "alt_text!", "title")
		p.str(at, b, "image_url", maxURL)
		p.str(at, b, "alt_text", 2000)
		p.textObject(at, b, "title", 2000, plainOnly)
		if (b["image_url"] == nil) == (b["slack_file"] == nil) {
			p.bad(at, "exactly one of image_url and slack_file must be given")
		}
	case "rich_text":
		p.keys(at, b, "block_id", "elements!")
		p.list(at, b, "elements", 1, 1<<20, p.richText)
	case "markdown":
		if p.surface != inMessage {
			p.bad(at+"/type", "unsupported type: markdown")
		}
		p.keys(at, b, "block_id", "text!")
		n := utf8.RuneCountInString(p.str(at, b, "text", maxMarkdown))
		p.markdown += n
	case "alert":
		if p.surface != inModal {
			p.bad(at+"/type", "unsupported type: alert")
		}
		p.keys(at, b, "block_id", "text!", "level")
		p.textObject(at, b, "text", maxAlert, plainOrMrkdwn)
		p.oneOf(at, b, "level", "default", "info", "warning", "error", "success")
	default:
		p.bad(at+"/type", "unsupported type: %s", kind)
	}
}

func (p *checked) section(at string, b map[string]any) {
	p.keys(at, b, "block_id", "text", "fields", "accessory", "expand")
	p.boolean(at, b, "expand")
	if b["text"] == nil && b["fields"] == nil {
		p.bad(at, "missing required field: text or fields")
	}
	p.textObject(at, b, "text", maxText, plainOrMrkdwn)
	if b["fields"] != nil {
		p.list(at, b, "fields", 1, maxFields, func(at string, e map[string]any) { p.textValue(at, e, maxField, plainOrMrkdwn) })
	}
	if b["accessory"] != nil {
		p.object(at, b, "accessory", func(at string, e map[string]any) { p.element(at, e, "section") })
	}
}

func (p *checked) object(at string, m map[string]any, key string, check func(string, map[string]any)) {
	v, there := m[key]
	if !there {
		return
	}
	o, ok := v.(map[string]any)
	if !ok {
		p.bad(at+"/"+key, "must provide an object")
		return
	}
	check(at+"/"+key, o)
}

func (p *checked) list(at string, m map[string]any, key string, low, high int, check func(string, map[string]any)) {
	v, there := m[key]
	if !there {
		return
	}
	at += "/" + key
	l, ok := v.([]any)
	if !ok {
		p.bad(at, "must provide an array")
		return
	}
	if len(l) < low {
		p.bad(at, "no fewer than %d items allowed", low)
	}
	if len(l) > high {
		p.bad(at, "no more than %d items allowed", high)
	}
	for i, v := range l {
		o, ok := v.(map[string]any)
		if !ok {
			p.bad(fmt.Sprintf("%s/%d", at, i), "must provide an object")
			continue
		}
		check(fmt.Sprintf("%s/%d", at, i), o)
	}
}

func (p *checked) oneOf(at string, m map[string]any, key string, values ...string) {
	if _, there := m[key]; there && !slices.Contains(values, text(m, key)) {
		p.bad(at+"/"+key, "must be one of the following values: %s", strings.Join(values, ", "))
	}
}

// richText checks what rich_text blocks consist of, down to the leaves.
func (p *checked) richText(at string, e map[string]any) {
	kinds := map[string][]string{
		"rich_text_section":      {"elements!"},
		"rich_text_preformatted": {"elements!", "border", "language"},
		"rich_text_quote":        {"elements!", "border"},
		"rich_text_list":         {"elements!", "style!", "indent", "offset", "border"},
	}
	known, ok := kinds[text(e, "type")]
	if !ok {
		p.bad(at+"/type", "unsupported type: %s", text(e, "type"))
		return
	}
	p.keys(at, e, known...)
	child := p.richLeaf
	if text(e, "type") == "rich_text_list" {
		p.oneOf(at, e, "style", "bullet", "ordered")
		child = p.richText
	}
	p.list(at, e, "elements", 0, 1<<20, child)
}

func (p *checked) richLeaf(at string, e map[string]any) {
	leaves := map[string][]string{
		"text":      {"text!", "style"},
		"link":      {"url!", "text", "unsafe", "style"},
		"emoji":     {"name!", "unicode", "style", "skin_tone"},
		"user":      {"user_id!", "style"},
		"usergroup": {"usergroup_id!", "style"},
		"channel":   {"channel_id!", "style"},
		"broadcast": {"range!", "style"},
		"date":      {"timestamp!", "format!", "fallback", "url", "style"},
		"color":     {"value!"},
	}
	known, ok := leaves[text(e, "type")]
	if !ok {
		p.bad(at+"/type", "unsupported type: %s", text(e, "type"))
		return
	}
	p.keys(at, e, known...)
	t := p.str(at, e, "text", 1<<20)
	p.runes += utf8.RuneCountInString(t)
	if text(e, "type") == "text" && t == "" {
		p.bad(at+"/text", "must be more than 0 characters")
	}
}

// checkView validates a modal or a home tab without its size.
func checkView(raw []byte) (map[string]any, []string) {
	var v map[string]any
	if decode(raw, &v) != nil || v == nil {
		return nil, []string{pointer("must provide an object", "/view")}
	}
	p := &checked{}
	on := inModal
	switch text(v, "type") {
	case "modal":
		p.keys("/view", v, "title!", "blocks!", "close", "submit", "private_metadata", "callback_id", "clear_on_close",
			"notify_on_close", "external_id", "submit_disabled")
		p.textObject("/view", v, "title", maxViewTitle, plainOnly)
		p.textObject("/view", v, "submit", maxViewTitle, plainOnly)
		p.textObject("/view", v, "close", maxViewTitle, plainOnly)
		p.boolean("/view", v, "clear_on_close", "notify_on_close", "submit_disabled")
	case "home":
		on = inHome
		p.keys("/view", v, "blocks!", "private_metadata", "callback_id", "external_id")
	default:
		p.bad("/view/type", "must be one of the following values: modal, home")
	}
	p.str("/view", v, "private_metadata", maxPrivate)
	p.str("/view", v, "callback_id", maxID)
	p.str("/view", v, "external_id", maxID)
	if v["blocks"] == nil {
		return v, p.problems
	}
	b := checkBlocks(marshal(v["blocks"]), on)
	if b.malformed {
		p.bad("/view/blocks", "must provide an array of objects")
		return v, p.problems
	}
	if b.inputs > 0 && on == inModal && v["submit"] == nil {
		p.bad("/view", "missing required field: submit, because there are input blocks")
	}
	v["blocks"] = asAny(b.blocks)
	return v, append(p.problems, b.problems...)
}

func asAny(blocks []map[string]any) []any {
	out := make([]any, len(blocks))
	for i, b := range blocks {
		out[i] = b
	}
	return out
}

// blocksOf lists the blocks of a checked view.
func blocksOf(v map[string]any) []map[string]any {
	var out []map[string]any
	l, _ := v["blocks"].([]any)
	for _, b := range l {
		if m, ok := b.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
