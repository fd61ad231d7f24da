package discordtest

import (
	"encoding/json"
	"fmt"
	"net/http"
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
