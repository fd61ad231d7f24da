package discord

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// message is what is sent to a channel or to one person. Everything in it
// that others wrote is escaped.
type message struct {
	Flags      int        `json:"flags"`
	Components []any      `json:"components"`
	Mentions   mentioning `json:"allowed_mentions"`

	Attachments []attachment `json:"attachments,omitempty"` // what is in picture
	picture     []byte       // a PNG that goes beside it; nil for none

	simple *message // to send instead if Discord refuses this one; nil if there is nothing simpler
}

// Discord's limits
// (discord.com/developers/docs/components/reference; the sum of texts by
// docs.discord.food/resources/components).
const (
	maxText       = 4000 // characters of all texts of a message
	maxComponents = 40   // of a message, nested ones count
	maxCustomID   = 100  // characters
	maxOptions    = 25   // of a select
	maxOption     = 100  // characters of an option and of its value
	maxThreadName = 100  // characters
)

// keepText is how much text a message of ours has at most: below Discord's
// limit, because it is not documented how Discord counts.
const keepText = 3800

// How much of a text is shown, in runes, before it is cut further to fit.
const (
	showSentence = 900
	showShort    = 200
	showCode     = 500
	showReason   = 900
	showWhy      = 500
)

// The colours of a card, by how far its ticket has come.
var colors = map[string]int{
	"open": 0xFAA61A, "idle": 0x80848E, "moving": 0x5865F2, "approved": 0x248046, "denied": 0xDA373C,
}

func color(t *tickets.Ticket) int {
	switch t.Progress() {
	case tickets.Pending:
		if t.Active {
			return colors["open"]
		}
	case tickets.Submitting, tickets.Submitted:
		return colors["moving"]
	case tickets.Final:
		switch t.Outcome.Verdict {
		case tickets.Approve:
			return colors["approved"]
		case tickets.Deny:
			return colors["denied"]
		}
	}
	return colors["idle"]
}

// firstMark is the identifier of the first component that carries a number
// of ours. Discord numbers the components that have none from 1 on.
const firstMark = 1 << 20

// mark is the identifier of a component that says which event, or which
// revision, a message shows: a message has no metadata.
func mark(n int) int { return firstMark + n }

// card is t as a message.
func (c *Chat) card(t *tickets.Ticket) message {
	settings := c.cfg.Card()
	facts := wording.Facts(t, settings.Fields)
	var m message
	for scale := 1; ; scale *= 2 {
		m = cardMessage(t, facts, settings, scale)
		if scale >= 64 || fits(m.Components) {
			break
		}
	}
	simple := message{Flags: flagComponents, Mentions: nobody(), Components: []any{
		text(escapeWithin(wording.PlainText(t, Platform), showSentence)),
		buttons(t),
	}}
	m.simple = &simple
	if !fits(m.Components) {
		return simple
	}
	return m
}

// cardMessage is a card whose texts are cut to a scale-th of their usual
// length. Its first text is the whole sentence: it is what a notification
// and a screen reader say first.
func cardMessage(t *tickets.Ticket, facts []wording.Fact, settings wording.Card, scale int) message {
	m := message{Flags: flagComponents, Mentions: nobody()}
	parts := []any{text(escapeWithin(wording.PlainText(t, Platform), showSentence/min(scale, 4)))}
	if warning := wording.Warning(t); warning != "" {
		parts = append(parts, text("**"+escape(warning)+"**"))
	}
	if address := settings.Elsewhere(t); address != "" {
		parts = append(parts, text("<"+address+">"))
	}
	var short, long []string
	for _, f := range facts {
		label := "**" + escape(f.Label) + "**"
		switch {
		case f.Shape == wording.Code:
			long = append(long, label+"\n"+codeBlock(wording.Cut(f.Value, showCode/scale)))
		case f.Shape == wording.Prose:
			long = append(long, quote(f.Label, f.Value, showReason/scale))
		case !f.Time.IsZero():
			short = append(short, label+" "+moment(f.Time))
		default:
			short = append(short, label+" "+escape(wording.Cut(f.Value, showShort/scale)))
		}
	}
	for _, block := range [][]string{short, long} {
		if len(block) > 0 {
			parts = append(parts, text(strings.Join(block, "\n")))
		}
	}
	if why := wording.DecisionReason(t); why != "" {
		parts = append(parts, text(quote("Reason for the decision", why, showWhy/scale)))
	}
	if who := mention(settings.Assign); who != "" && t.Open() {
		parts = append(parts, text("For "+who))
		if t.Rev <= 1 {
			m.Mentions = mentionOf(settings.Assign)
		}
	}
	parts = append(parts, separator{typeSeparator})
	if t.Request != nil {
		parts = append(append(parts, buttons(t)), menu(t, settings)...)
	}
	parts = append(parts, text("-# "+sentence(wording.Status(t))))
	m.Components = []any{container{Type: typeContainer, ID: mark(t.Rev), Color: color(t), Components: parts}}
	return m
}

func text(s string) textDisplay { return textDisplay{Type: typeText, Content: s} }

// buttons are what can be done with t now.
func buttons(t *tickets.Ticket) actionRow {
	row := actionRow{Type: typeRow}
	add := func(action adapters.Action, label string, style int) {
		row.Components = append(row.Components, button{typeButton, style, label, customID(action, t.Request.Digest(), t.Number)})
	}
	if t.Open() {
		add(adapters.ActionApprove, wording.LabelApprove, styleSuccess)
		add(adapters.ActionDeny, wording.LabelDeny, styleDanger)
	}
	add(adapters.ActionDetails, wording.LabelDetails, styleSecondary)
	return row
}

// menu moves t to another state, if settings have one for it. No option is the
// default, because Discord goes on showing a choice that was refused to
// whoever made it: it must not look like the state.
func menu(t *tickets.Ticket, settings wording.Card) []any {
	closed, states := settings.Menu(t)
	if len(states) == 0 {
		return nil
	}
	s := selectMenu{Type: typeSelect, CustomID: customID(adapters.ActionState, t.Request.Digest(), t.Number), Placeholder: closed}
	for _, state := range states[:min(len(states), maxOptions)] {
		s.Options = append(s.Options, option{Label: wording.Cut(wording.Line(string(state)), maxOption), Value: string(state)})
	}
	return []any{actionRow{typeRow, []any{s}}}
}

// customID is what a button, a menu or a form carries: what it asks for, the
// digest of the request and the ticket's number, and nothing else. Of a menu,
// the value is the state.
func customID(a adapters.Action, d tickets.RequestDigest, n tickets.Number) string {
	return string(a) + ":" + string(d) + ":" + string(n)
}

// turnID names a button that turns pages, or is empty if the command is too long
// for one.
func turnID(a adapters.Action, command string) string {
	id := string(a) + ":" + command
	if command == "" || length(command) > adapters.MaxPagerCommand {
		return ""
	}
	return id
}

// parseTurn is the reverse of turnID.
func parseTurn(s string) (command string, ok bool) {
	action, command, _ := strings.Cut(s, ":")
	switch adapters.Action(action) {
	case adapters.ActionNewer, adapters.ActionOlder:
		return command, true
	}
	return "", false
}

// parseCustomID is the reverse of customID. What a version before there were
// digests wrote has none.
func parseCustomID(s string) (adapters.Action, tickets.RequestDigest, tickets.Number, bool) {
	action, rest, _ := strings.Cut(s, ":")
	digest, number, has := strings.Cut(rest, ":")
	if !has {
		digest, number = "", rest
	}
	switch a := adapters.Action(action); a {
	case adapters.ActionApprove, adapters.ActionDeny, adapters.ActionDetails, adapters.ActionState:
		d, isDigest := tickets.ParseRequestDigest(digest)
		_, isNumber := tickets.Number(number).Seq()
		return a, d, tickets.Number(number), isDigest == has && isNumber && len(s) <= maxCustomID
	}
	return "", "", "", false
}

// reply is event number i of t as a message in the card's thread. People are
// named; only after a refusal by EPM the approver is notified, because the
// request waits for them again.
func (c *Chat) reply(t *tickets.Ticket, i int) message {
	s := wording.ThreadLine(t, i)
	content := sentence(s)
	if !within(content, keepText) {
		content = escapeWithin(s.On(Platform), keepText)
	}
	m := message{Flags: flagComponents, Mentions: nobody(), Components: []any{textDisplay{typeText, mark(i), content}}}
	if i >= 0 && i < len(t.Events) && t.Events[i].Kind == tickets.EventRefused && t.Events[i].Decision != nil {
		if by := t.Events[i].Decision.By; by.Platform == Platform && IsID(by.ID) {
			m.Mentions.Users = []string{by.ID}
		}
	}
	m.simple = &message{Flags: flagComponents, Mentions: nobody(), Components: []any{textDisplay{typeText, mark(i), escapeWithin(s.On(Platform), showSentence)}}}
	return m
}

// threadName is the title of t's thread. It is shown as it is.
func threadName(t *tickets.Ticket) string {
	return wording.Cut(string(t.Number)+" · "+wording.Subject(t), maxThreadName)
}

// note is text for one person.
func note(s string) message {
	s = strings.TrimSpace(wording.Visible(s))
	if s == "" {
		s = wording.MsgBroken
	}
	return message{Flags: flagComponents, Mentions: nobody(), Components: []any{text(escapeWithin(s, keepText))}}
}

// pictureOf shows the picture of a, if it has one. It is a message of its own,
// behind the words: the answer to a delivery over HTTP carries no file
// (github.com/discord/discord-api-docs/discussions/6204), and in an answer that
// is changed Discord does not find it
// (github.com/discord/discord-api-docs/issues/7529).
func pictureOf(a adapters.Answer) []message {
	n, ok := a.(adapters.Note)
	if !ok || n.Picture == nil {
		return nil
	}
	alt := wording.Cut(wording.Line(n.Picture.Alt), adapters.MaxAlt)
	item := galleryItem{Description: alt}
	item.Media.URL = "attachment://" + pictureName
	return []message{{
		Flags: flagComponents | flagEphemeral, Mentions: nobody(),
		Components:  []any{gallery{typeGallery, []galleryItem{item}}},
		Attachments: []attachment{{"0", pictureName, alt}}, picture: n.Picture.PNG,
	}}
}

// pages is a note with buttons that turn it.
func pages(p adapters.Page) message {
	m := note(p.Text)
	var row actionRow
	for _, turn := range []struct {
		action         adapters.Action
		label, command string
	}{{adapters.ActionNewer, wording.LabelNewer, p.Newer}, {adapters.ActionOlder, wording.LabelOlder, p.Older}} {
		if id := turnID(turn.action, turn.command); id != "" {
			row.Components = append(row.Components, button{typeButton, styleSecondary, turn.label, id})
		}
	}
	if len(row.Components) > 0 {
		row.Type = typeRow
		m.Components = append(m.Components, row)
	}
	return m
}

// sentence is s with moments in each reader's own time zone and people of
// Discord as mentions, which notify nobody unless the message says so.
func sentence(s wording.Sentence) string {
	var b strings.Builder
	for _, p := range s {
		switch {
		case !p.Time.IsZero():
			b.WriteString(moment(p.Time))
		case p.Actor.Platform == Platform && IsID(p.Actor.ID):
			b.WriteString("<@" + p.Actor.ID + ">")
		case p.Actor.ID != "":
			b.WriteString(escape(wording.DisplayNameOn(Platform, p.Actor)))
		default:
			b.WriteString(escape(p.Text))
		}
	}
	return b.String()
}

// moment shows t in each reader's own time zone.
func moment(t time.Time) string { return fmt.Sprintf("<t:%d:f>", t.Unix()) }

// mention is p so that Discord names them, or "".
func mention(p tickets.Principal) string {
	switch {
	case p.Platform != Platform || !IsID(p.ID):
	case p.Kind == tickets.User:
		return "<@" + p.ID + ">"
	case p.Kind == tickets.Role:
		return "<@&" + p.ID + ">"
	}
	return ""
}

// mentionOf notifies p and nobody else.
func mentionOf(p tickets.Principal) mentioning {
	m := nobody()
	switch p.Kind {
	case tickets.User:
		m.Users = []string{p.ID}
	case tickets.Role:
		m.Roles = []string{p.ID}
	}
	return m
}

// special is what Markdown, mentions, masked links and timestamps are made of
// anywhere in a line. A backslash before any of it shows it as it is
// (discord.com/developers/docs/reference#message-formatting).
const special = "\\`*_~|<[]@"

// beginning finds what has a meaning at the beginning of a line only, and
// what makes an address a link.
var beginning = regexp.MustCompile(`(?m)^([\s\v\x{85}\p{Z}]*)([#>-]|\d+\.)|(:)//`)

// escape makes s harmless in a text: no mention, no link, no formatting.
func escape(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for i := range len(s) {
		if strings.IndexByte(special, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return beginning.ReplaceAllStringFunc(b.String(), func(found string) string {
		if found == "://" {
			return `\://`
		}
		last := len(found) - 1 // of a number, its dot; else the sign itself
		return found[:last] + `\` + found[last:]
	})
}

// escapeWithin is s, escaped, in at most limit characters.
func escapeWithin(s string, limit int) string {
	for keep := limit; keep > 0; keep = keep * 3 / 4 {
		if e := escape(wording.Cut(s, keep)); within(e, limit) {
			return e
		}
	}
	return "…"
}

// quote is a label before somebody's own words, every line of which is seen
// to be theirs.
func quote(label, s string, limit int) string {
	q := wording.Quote(label, s, limit)
	rest, _ := strings.CutPrefix(q, label+":")
	return "**" + escape(label) + "**" + escape(rest)
}

// codeBlock shows s in fixed width and as it is, but for the last of three
// backticks in a row, which would end it.
func codeBlock(s string) string {
	if s == "" {
		s = " "
	}
	return "```\n" + strings.ReplaceAll(s, "```", "``ˋ") + "\n```"
}

// length is how long Discord may count s: in UTF-16, as its clients do.
func length(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func within(s string, limit int) bool { return len(s) <= limit || length(s) <= limit }

// fits reports whether Discord takes the components: their number, and the
// length of their texts. What is checked is what is sent.
func fits(components []any) bool {
	raw, err := json.Marshal(components)
	if err != nil {
		return false
	}
	n, chars, empty := 0, 0, false
	eachComponent(raw, func(c *component) {
		n++
		if c.Type == typeText {
			chars += length(string(c.Content))
			empty = empty || strings.TrimSpace(string(c.Content)) == ""
		}
	})
	return n <= maxComponents && chars <= keepText && !empty
}
