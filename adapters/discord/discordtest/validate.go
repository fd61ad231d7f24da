package discordtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits, in runes where they are of texts
// (discord.com/developers/docs/resources/message and components/reference).
const (
	maxContent        = 2000
	maxEmbeds         = 10
	maxEmbedTitle     = 256
	maxEmbedText      = 4096
	maxEmbedFields    = 25
	maxEmbedName      = 256
	maxEmbedValue     = 1024
	maxEmbedFooter    = 2048
	maxEmbedSum       = 6000 // over all embeds of a message
	maxRows           = 5
	maxButtons        = 5
	maxButtonLabel    = 80
	maxButtonURL      = 512
	maxURL            = 2048
	maxCustomID       = 100
	maxOptions        = 25
	maxOptionText     = 100
	maxPlaceholder    = 150
	maxComponents     = 40   // nested ones count
	maxV2Text         = 4000 // all text displays together; docs.discord.food
	maxSectionTexts   = 3
	maxMedia          = 10
	maxMediaText      = 1024
	maxColor          = 0xFFFFFF
	maxFormTitle      = 45
	maxFormComponents = 5
	maxLabel          = 45
	maxLabelText      = 100
	maxInput          = 4000
	maxInputHint      = 100
	minRadio          = 2
	maxChoices        = 10 // of radio and checkbox groups
	maxNonce          = 25
)

// Types of components (discord.com/developers/docs/components/reference).
const (
	typeRow           = 1
	typeButton        = 2
	typeStringSelect  = 3
	typeTextInput     = 4
	typeUserSelect    = 5
	typeRoleSelect    = 6
	typeMentionSelect = 7
	typeChannelSelect = 8
	typeSection       = 9
	typeText          = 10
	typeThumbnail     = 11
	typeGallery       = 12
	typeFile          = 13
	typeSeparator     = 14
	typeContainer     = 17
	typeLabel         = 18
	typeFileUpload    = 19
	typeRadioGroup    = 21
	typeCheckboxGroup = 22
	typeCheckbox      = 23
)

// Styles of buttons and of text inputs.
const (
	styleLink      = 5
	stylePremium   = 6
	inputParagraph = 2
)

// problems collects what is wrong with a body.
type problems struct {
	list   []string // "components.0.custom_id: This field is required"
	tree   map[string]any
	silent []string // what a bot must not do although no answer would tell it
}

// bad notes an error at a path such as "components.0.custom_id".
func (p *problems) bad(path, code, message string) {
	p.list = append(p.list, path+": "+message)
	if p.tree == nil {
		p.tree = map[string]any{}
	}
	at := p.tree
	for _, part := range strings.Split(path, ".") {
		next, _ := at[part].(map[string]any)
		if next == nil {
			next = map[string]any{}
			at[part] = next
		}
		at = next
	}
	old, _ := at["_errors"].([]any)
	at["_errors"] = append(old, map[string]any{"code": code, "message": message})
}

func (p *problems) mute(format string, args ...any) {
	p.silent = append(p.silent, fmt.Sprintf(format, args...))
}

// err is the answer to a body with problems, or nil.
func (p *problems) err() *apiError {
	if len(p.list) == 0 {
		return nil
	}
	return &apiError{status: http.StatusBadRequest, code: 50035, errors: p.tree}
}

func text(m map[string]any, key string) string {
	v, _ := m[key].(string)
	return v
}

// number reads a whole number.
func number(v any) (int, bool) {
	n, isNumber := v.(json.Number)
	if !isNumber {
		return 0, false
	}
	i, err := strconv.Atoi(n.String())
	return i, err == nil
}

func num(m map[string]any, key string) int {
	n, _ := number(m[key])
	return n
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (p *problems) required(path string) {
	p.bad(path, "BASE_TYPE_REQUIRED", "This field is required")
}

// keys notes unknown keys and misses required ones, which end in "!".
func (p *problems) keys(path string, m map[string]any, known ...string) {
	for _, k := range sortedKeys(m) {
		if !contains(known, k) && !contains(known, k+"!") {
			p.mute("%s: unknown key %q", path, k)
		}
	}
	for _, k := range known {
		if name, required := strings.CutSuffix(k, "!"); required && m[name] == nil {
			p.required(join(path, name))
		}
	}
}

// str checks a text of low to high runes; a value that is not there is "".
func (p *problems) str(path string, v any, low, high int) string {
	if v == nil {
		if low > 0 {
			p.required(path)
		}
		return ""
	}
	t, isText := v.(string)
	if !isText {
		p.bad(path, "STRING_TYPE_CONVERT", fmt.Sprintf("Could not interpret %q as string.", fmt.Sprint(v)))
		return ""
	}
	switch n := utf8.RuneCountInString(t); {
	case n == 0 && low > 0:
		p.required(path)
	case n > high && low > 0:
		p.bad(path, "BASE_TYPE_BAD_LENGTH", fmt.Sprintf("Must be between %d and %d in length.", low, high))
	case n > high:
		p.bad(path, "BASE_TYPE_MAX_LENGTH", fmt.Sprintf("Must be %d or fewer in length.", high))
	}
	return t
}

// opt is str for a value that may be missing; when it is there it has at least low runes.
func (p *problems) opt(path string, v any, low, high int) string {
	if v == nil {
		return ""
	}
	return p.str(path, v, low, high)
}

// int checks a whole number in a range, if it is there.
func (p *problems) int(path string, v any, low, high int) (int, bool) {
	if v == nil {
		return 0, false
	}
	n, isNumber := number(v)
	switch {
	case !isNumber:
		p.bad(path, "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not int.", fmt.Sprint(v)))
	case n < low:
		p.bad(path, "NUMBER_TYPE_MIN", fmt.Sprintf("int value should be greater than or equal to %d.", low))
	case n > high:
		p.bad(path, "NUMBER_TYPE_MAX", fmt.Sprintf("int value should be less than or equal to %d.", high))
	default:
		return n, true
	}
	return n, false
}

func (p *problems) bool(path string, v any) bool {
	b, isBool := v.(bool)
	if v != nil && !isBool {
		p.bad(path, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
	}
	return b
}

func (p *problems) array(path string, v any, low, high int) []any {
	if v == nil {
		if low > 0 {
			p.required(path)
		}
		return nil
	}
	l, isList := v.([]any)
	if !isList {
		p.bad(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
		return nil
	}
	if len(l) < low || len(l) > high {
		if low > 0 {
			p.bad(path, "BASE_TYPE_BAD_LENGTH", fmt.Sprintf("Must be between %d and %d in length.", low, high))
		} else {
			p.bad(path, "BASE_TYPE_MAX_LENGTH", fmt.Sprintf("Must be %d or fewer in length.", high))
		}
	}
	return l
}

// object takes a JSON object and drops its nulls, which say nothing.
func (p *problems) object(path string, v any) map[string]any {
	m, isObject := v.(map[string]any)
	if !isObject {
		p.bad(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
		return nil
	}
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func (p *problems) link(path string, v any, high int, schemes ...string) {
	t := p.str(path, v, 1, high)
	if t == "" {
		return
	}
	u, err := url.Parse(t)
	if err != nil || u.Host == "" || !contains(schemes, u.Scheme) {
		p.bad(path, "URL_TYPE_INVALID_SCHEME", fmt.Sprintf("Scheme %q is not supported or the URL is not well formed. Scheme must be one of (%s).",
			schemeOf(t), quoted(schemes)))
	}
}

func schemeOf(link string) string {
	scheme, _, found := strings.Cut(link, ":")
	if !found {
		return ""
	}
	return scheme
}

func quoted(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, "'"+w+"'")
	}
	return strings.Join(out, ", ")
}

func choices(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return "Value must be one of (" + strings.Join(out, ", ") + ")."
}

// place is what a message body is for.
type place int

const (
	onCreate   place = iota // POST of a message
	onEdit                  // PATCH of a message
	onReply                 // callback 4
	onUpdate                // callback 7
	onFollowUp              // POST to the interaction's webhook
	onRewrite               // PATCH of an answer to an interaction
)

// edits reports a body that changes a message: what is not sent stays.
func (on place) edits() bool { return on == onEdit || on == onUpdate || on == onRewrite }

var bodyKeys = map[place][]string{
	onCreate: {"content", "embeds", "components", "flags", "allowed_mentions", "nonce", "enforce_nonce", "tts", "message_reference",
		"sticker_ids", "attachments", "poll", "shared_client_theme"},
	onEdit:     {"content", "embeds", "components", "flags", "allowed_mentions", "attachments", "sticker_ids"},
	onReply:    {"content", "embeds", "components", "flags", "allowed_mentions", "tts", "attachments", "poll"},
	onUpdate:   {"content", "embeds", "components", "flags", "allowed_mentions", "tts", "attachments", "poll"},
	onFollowUp: {"content", "embeds", "components", "flags", "allowed_mentions", "tts", "attachments", "poll", "username", "avatar_url", "thread_name", "applied_tags"},
	onRewrite:  {"content", "embeds", "components", "flags", "allowed_mentions", "attachments", "poll"},
}

// bodyFlags are the flags that a bot can set.
var bodyFlags = map[place]int{
	onCreate:   FlagSuppressEmbeds | FlagSuppressNotifications | FlagComponentsV2,
	onEdit:     FlagSuppressEmbeds | FlagComponentsV2,
	onReply:    FlagSuppressEmbeds | FlagSuppressNotifications | FlagComponentsV2 | FlagEphemeral,
	onUpdate:   FlagSuppressEmbeds | FlagComponentsV2,
	onFollowUp: FlagSuppressEmbeds | FlagSuppressNotifications | FlagComponentsV2 | FlagEphemeral,
	onRewrite:  FlagSuppressEmbeds | FlagComponentsV2,
}

// draft is a message body that was read and found good.
type draft struct {
	contentSet    bool
	content       string
	componentsSet bool
	components    []any
	embedsSet     bool
	embeds        []any
	flagsSet      bool
	flags         int
	allowed       json.RawMessage
	mentions      mentions
	nonce         string
	enforce       bool
	files         []File
}

// CheckMessage lists what is wrong with the body of a new message: what
// Discord answers, and what it would not tell.
func CheckMessage(body json.RawMessage) []string {
	var m map[string]any
	if decode(body, &m) != nil || m == nil {
		return []string{"not a JSON object"}
	}
	_, p, bad := readDraft(m, onCreate, nil, nil)
	out := append(p.list, p.silent...)
	if bad != nil && len(p.list) == 0 {
		out = append(out, bad.text())
	}
	return out
}

// CheckForm lists what is wrong with the data of a form, an answer of type 9.
func CheckForm(data json.RawMessage) []string {
	var m map[string]any
	if decode(data, &m) != nil || m == nil {
		return []string{"not a JSON object"}
	}
	_, p := readForm(m)
	return append(p.list, p.silent...)
}

// readMessage reads the body of a call that is a message.
func (s *Server) readMessage(c *call, on place, old *message) (*draft, *apiError) {
	var body map[string]any
	if !utf8.Valid(c.body) {
		s.violate("%s: the body is not UTF-8", c.where())
	}
	if decode(c.body, &body) != nil || body == nil {
		return nil, &apiError{status: http.StatusBadRequest, code: 50109}
	}
	return s.draft(c.where(), body, on, old, c.files)
}

func (s *Server) draft(where string, body map[string]any, on place, old *message, files []File) (*draft, *apiError) {
	d, p, bad := readDraft(body, on, old, files)
	for _, v := range p.silent {
		s.violate("%s: %s", where, strings.TrimPrefix(v, ": "))
	}
	return d, bad
}

func readDraft(body map[string]any, on place, old *message, files []File) (*draft, *problems, *apiError) {
	p := &problems{}
	d := &draft{}
	p.keys("", body, bodyKeys[on]...)
	for _, k := range []string{"sticker_ids", "poll", "message_reference", "shared_client_theme", "username", "avatar_url", "thread_name", "applied_tags"} {
		if v := body[k]; v != nil && contains(bodyKeys[on], k) {
			if l, isList := v.([]any); isList && len(l) == 0 {
				continue
			}
			p.bad(k, "DISCORDTEST", "this Discord does not know "+k)
		}
	}
	p.bool("tts", body["tts"])

	was := &message{}
	if old != nil {
		was = old
	}
	if v, there := body["flags"]; there && v != nil {
		n, isNumber := number(v)
		if !isNumber || n < 0 {
			p.bad("flags", "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not int.", fmt.Sprint(v)))
		}
		d.flags, d.flagsSet = n, true
		if odd := n &^ (bodyFlags[on] | was.Flags); odd != 0 {
			p.mute("flags: %d has no effect here", odd)
		}
		if was.Flags&FlagComponentsV2 != 0 && n&FlagComponentsV2 == 0 {
			p.bad("flags", "MESSAGE_CANNOT_REMOVE_COMPONENTS_V2_FLAG", "The IS_COMPONENTS_V2 flag cannot be removed from a message")
		}
	}
	v2 := d.flags&FlagComponentsV2 != 0 || was.Flags&FlagComponentsV2 != 0

	if v, there := body["content"]; there && (v != nil || on.edits()) {
		d.content, d.contentSet = strings.TrimSpace(p.str("content", v, 0, maxContent)), true
	}
	if v, there := body["embeds"]; there && (v != nil || on.edits()) {
		d.embeds, d.embedsSet = p.embeds(v), true
	}
	if v, there := body["components"]; there && (v != nil || on.edits()) {
		d.components, d.componentsSet = p.components(v, v2), true
	}
	d.files = p.attachments(body, files, d.components, on)
	p.nonce(body, d)
	p.allowedMentions(body["allowed_mentions"], d, on)

	content, embeds, components := was.Content, was.embeds, was.components
	if d.contentSet {
		content = d.content
	}
	if d.embedsSet {
		embeds = d.embeds
	}
	if d.componentsSet {
		components = d.components
	}
	if v2 {
		legacy := func(field string) {
			p.bad(field, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
				fmt.Sprintf("The '%s' field cannot be used when using MessageFlags.IS_COMPONENTS_V2", field))
		}
		if content != "" {
			legacy("content")
		}
		if len(embeds) > 0 {
			legacy("embeds")
		}
		if !d.componentsSet && was.Flags&FlagComponentsV2 == 0 && len(components) > 0 {
			p.mute("flags: IS_COMPONENTS_V2 was added without sending the components again")
		}
	}
	if bad := p.err(); bad != nil {
		return nil, p, bad
	}
	if content == "" && len(embeds) == 0 && len(components) == 0 {
		return nil, p, &apiError{status: http.StatusBadRequest, code: 50006}
	}
	return d, p, nil
}

func (p *problems) nonce(body map[string]any, d *draft) {
	switch v := body["nonce"].(type) {
	case nil:
	case json.Number:
		d.nonce = v.String()
	default:
		d.nonce = p.str("nonce", v, 0, maxNonce)
	}
	if d.enforce = p.bool("enforce_nonce", body["enforce_nonce"]); d.enforce && d.nonce == "" {
		p.mute("enforce_nonce: without a nonce it has no effect")
	}
}

// allowedMentions reads whom a message may notify. What is missing or open is
// noted: people write the texts that bots show.
func (p *problems) allowedMentions(v any, d *draft, on place) {
	if v == nil {
		p.mute("allowed_mentions is missing: the defaults apply")
		d.mentions = mentions{allUsers: true, allRoles: on == onCreate || on == onEdit, everyone: on == onCreate || on == onEdit}
		return
	}
	d.allowed = marshal(v)
	m, isObject := v.(map[string]any)
	if !isObject {
		p.bad("allowed_mentions", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
		return
	}
	p.keys("allowed_mentions", m, "parse", "users", "roles", "replied_user")
	parse, isList := m["parse"].([]any)
	if !isList {
		p.mute("allowed_mentions.parse is missing or null: say []")
	}
	if len(parse) > 0 {
		p.mute("allowed_mentions.parse is open: %v", parse)
	}
	for i, kind := range parse {
		switch kind {
		case "users":
			d.mentions.allUsers = true
		case "roles":
			d.mentions.allRoles = true
		case "everyone":
			d.mentions.everyone = true
		default:
			p.bad(fmt.Sprintf("allowed_mentions.parse.%d", i), "BASE_TYPE_CHOICES", "Value must be one of ('everyone', 'users', 'roles').")
		}
	}
	p.bool("allowed_mentions.replied_user", m["replied_user"])
	read := func(name string, all bool) []string {
		var out []string
		for i, v := range p.array("allowed_mentions."+name, m[name], 0, 100) {
			id, _ := v.(string)
			if !isSnowflake(id) {
				p.bad(fmt.Sprintf("allowed_mentions.%s.%d", name, i), "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not snowflake.", fmt.Sprint(v)))
			}
			out = append(out, id)
		}
		if all && len(out) > 0 {
			p.bad("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", fmt.Sprintf("parse:[%q] and %s: [ids...] are mutually exclusive.", name, name))
		}
		return out
	}
	d.mentions.users = read("users", d.mentions.allUsers)
	d.mentions.roles = read("roles", d.mentions.allRoles)
}

func (p *problems) embeds(v any) []any {
	l := p.array("embeds", v, 0, maxEmbeds)
	sum := 0
	count := func(t string) { sum += utf8.RuneCountInString(t) }
	for i, v := range l {
		at := fmt.Sprintf("embeds.%d", i)
		e := p.object(at, v)
		if e == nil {
			continue
		}
		p.keys(at, e, "type", "title", "description", "url", "timestamp", "color", "footer", "image", "thumbnail", "author", "fields", "provider", "video")
		count(p.opt(at+".title", e["title"], 0, maxEmbedTitle))
		count(p.opt(at+".description", e["description"], 0, maxEmbedText))
		p.int(at+".color", e["color"], 0, maxColor)
		if e["url"] != nil {
			p.link(at+".url", e["url"], maxURL, "http", "https")
		}
		if v := e["timestamp"]; v != nil {
			if _, err := time.Parse(time.RFC3339Nano, p.str(at+".timestamp", v, 1, 100)); err != nil {
				p.bad(at+".timestamp", "DATE_TIME_TYPE_PARSE", fmt.Sprintf("Could not parse %q. Should be ISO8601.", fmt.Sprint(v)))
			}
		}
		for _, part := range []struct {
			key, text, link string
			high            int
		}{{"footer", "text", "icon_url", maxEmbedFooter}, {"author", "name", "icon_url", maxEmbedName}, {"image", "", "url", 0}, {"thumbnail", "", "url", 0}} {
			if e[part.key] == nil {
				continue
			}
			m := p.object(at+"."+part.key, e[part.key])
			if m == nil {
				continue
			}
			if part.text != "" {
				p.keys(at+"."+part.key, m, part.text, "icon_url", "url", "proxy_icon_url")
				count(p.str(at+"."+part.key+"."+part.text, m[part.text], 1, part.high))
			}
			if m[part.link] != nil {
				p.link(at+"."+part.key+"."+part.link, m[part.link], maxURL, "http", "https", "attachment")
			}
		}
		fields := p.array(at+".fields", e["fields"], 0, maxEmbedFields)
		for j, v := range fields {
			at := fmt.Sprintf("%s.fields.%d", at, j)
			f := p.object(at, v)
			if f == nil {
				continue
			}
			p.keys(at, f, "name", "value", "inline")
			count(p.str(at+".name", f["name"], 1, maxEmbedName))
			count(p.str(at+".value", f["value"], 1, maxEmbedValue))
			f["inline"] = p.bool(at+".inline", f["inline"])
			for _, key := range []string{"name", "value"} {
				if t := text(f, key); t != "" && strings.TrimSpace(t) == "" {
					p.required(at + "." + key)
				}
			}
		}
		if text(e, "title") == "" && text(e, "description") == "" && len(fields) == 0 && e["footer"] == nil && e["author"] == nil && e["image"] == nil && e["thumbnail"] == nil {
			p.required(at + ".description")
		}
		e["type"] = "rich"
	}
	if sum > maxEmbedSum {
		p.bad("embeds", "MAX_EMBED_SIZE_EXCEEDED", fmt.Sprintf("Embed size exceeds maximum size of %d", maxEmbedSum))
	}
	return l
}

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

// readForm checks the data of an answer of type 9.
func readForm(data map[string]any) (*form, *problems) {
	p := &problems{}
	p.keys("data", data, "custom_id", "title", "components")
	f := &form{customID: p.str("data.custom_id", data["custom_id"], 1, maxCustomID), title: p.str("data.title", data["title"], 1, maxFormTitle)}
	t := &tree{problems: p, form: true, ids: map[int]bool{}, customs: map[string]bool{}}
	f.components = p.array("data.components", data["components"], 1, maxFormComponents)
	for i, v := range f.components {
		t.component(fmt.Sprintf("data.components.%d", i), v, typeRow, typeText, typeLabel)
	}
	t.number()
	return f, p
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
