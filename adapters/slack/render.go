package slack

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// message is what is sent to a channel. Everything in it that others wrote is
// escaped, or stands where Slack shows text as it is.
type message struct {
	text   string // escaped
	blocks []slack.Block
	simple *message // to send instead if Slack refuses this one; nil if there is nothing simpler
}

// How much of a text is shown, in runes. All together a card stays below
// maxAllText even if every fact is as long as it may be; see card.
const (
	showShort  = 200  // a value of a few words
	showCode   = 600  // a path or a command line
	showReason = 1000 // why access is asked for
	showWhy    = 500  // why it was decided so
)

// card is t as a message.
func (c *Chat) card(t *tickets.Ticket) message {
	settings := c.cfg.Card()
	m := message{text: escapeWithin(wording.PlainText(t, Platform), maxTopText)}
	facts := wording.Facts(t, settings.Fields)
	for scale := 1; ; scale *= 2 {
		m.blocks = cardBlocks(t, facts, settings, scale)
		if scale >= 8 || runes(m.blocks) <= maxAllText {
			break
		}
	}
	m.simple = &message{text: m.text, blocks: []slack.Block{
		section(plain(wording.Cut(wording.PlainText(t, Platform), showReason))),
		slack.NewActionBlock(actionsID(t), buttons(t, true)...),
	}}
	return m
}

// cardBlocks are the blocks of a card whose texts are cut to a scale-th of
// their usual length.
func cardBlocks(t *tickets.Ticket, facts []wording.Fact, settings wording.Card, scale int) []slack.Block {
	blocks := []slack.Block{slack.NewHeaderBlock(plainEmoji(wording.Cut(wording.Title(t), maxHeader)))}
	if warning := wording.Warning(t); warning != "" {
		blocks = append(blocks, section(plainEmoji(warning)))
	}
	if address := settings.Elsewhere(t); address != "" {
		blocks = append(blocks, section(mrkdwn("<"+escape(address)+">")))
	}
	var fields []*slack.TextBlockObject
	var code []slack.RichTextElement
	var prose []slack.Block
	for _, f := range facts {
		switch {
		case f.Shape == wording.Code:
			code = append(code,
				slack.NewRichTextSection(slack.NewRichTextSectionTextElement(f.Label, &slack.RichTextSectionTextStyle{Bold: true})),
				&slack.RichTextPreformatted{Type: slack.RTEPreformatted, Elements: []slack.RichTextSectionElement{
					slack.NewRichTextSectionTextElement(wording.Cut(f.Value, showCode/scale), nil),
				}},
			)
		case f.Shape == wording.Prose:
			prose = append(prose, section(plain(wording.Quote(f.Label, f.Value, showReason/scale))))
		case !f.Time.IsZero():
			fields = append(fields, mrkdwn("*"+f.Label+"*\n"+date(f.Time)))
		default:
			fields = append(fields, field(f.Label, wording.Cut(f.Value, showShort/scale)))
		}
	}
	for len(fields) > 0 {
		n := min(len(fields), maxFields)
		blocks = append(blocks, slack.NewSectionBlock(nil, fields[:n], nil))
		fields = fields[n:]
	}
	if len(code) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("", code...))
	}
	blocks = append(blocks, prose...)
	if why := wording.DecisionReason(t); why != "" {
		blocks = append(blocks, section(plain(wording.Quote("Reason for the decision", why, showWhy/scale))))
	}
	if t.Open() {
		if who := mention(settings.Assign); who != "" {
			blocks = append(blocks, section(mrkdwn("For "+who)))
		}
	}
	if t.Request != nil {
		blocks = append(blocks, slack.NewActionBlock(actionsID(t), append(buttons(t, true), menu(t, settings)...)...))
	}
	return append(blocks, slack.NewContextBlock("", elements(wording.Status(t))...))
}

// actionsID is the block id of what can be done with t now. It changes with
// every revision (docs.slack.dev/reference/block-kit/blocks: "if a message is
// updated, use a new block_id"), and ends with the digest of the request.
func actionsID(t *tickets.Ticket) string {
	return "act:" + strconv.Itoa(t.Rev) + ":" + string(t.Request.Digest())
}

// digestIn is the digest at the end of a block id, or empty.
func digestIn(blockID string) tickets.RequestDigest {
	d, _ := tickets.ParseRequestDigest(blockID[strings.LastIndexByte(blockID, ':')+1:])
	return d
}

// buttons are what can be done with t now, by somebody who may decide it or not.
func buttons(t *tickets.Ticket, decides bool) []slack.BlockElement {
	value := string(t.Number)
	button := func(action adapters.Action, label string, style slack.Style) *slack.ButtonBlockElement {
		b := slack.NewButtonBlockElement(string(action), value, plainEmoji(label))
		b.Style = style
		b.AccessibilityLabel = wording.Cut(label+" "+value+": "+wording.Subject(t), maxAccessibility)
		return b
	}
	var all []slack.BlockElement
	if decides && t.Open() {
		all = append(all,
			button(adapters.ActionApprove, wording.LabelApprove, slack.StylePrimary),
			button(adapters.ActionDeny, wording.LabelDeny, slack.StyleDanger),
		)
	}
	return append(all, button(adapters.ActionDetails, wording.LabelDetails, slack.StyleDefault))
}

// menu moves t to another state, if settings have one for it. It is a select:
// an overflow menu holds five, and types have up to 25 states. None is chosen
// at first, because Slack goes on showing a choice that was refused to whoever
// made it: it must not look like the state.
func menu(t *tickets.Ticket, settings wording.Card) []slack.BlockElement {
	closed, states := settings.Menu(t)
	if len(states) == 0 {
		return nil
	}
	var options []*slack.OptionBlockObject
	for _, s := range states[:min(len(states), maxOptions)] {
		options = append(options, slack.NewOptionBlockObject(moveValue(t.Number, s), plain(wording.Cut(wording.Line(string(s)), maxOptionText)), nil))
	}
	return []slack.BlockElement{slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain(closed), string(adapters.ActionState), options...)}
}

// moveValue is what an option of the menu carries: the ticket's number and the
// state, as /epm state takes them, and nothing else.
func moveValue(n tickets.Number, s tickets.State) string { return string(n) + " " + string(s) }

// parseMove is the reverse of moveValue.
func parseMove(value string) (tickets.Number, tickets.State) {
	number, state, _ := strings.Cut(value, " ")
	return tickets.Number(number), tickets.State(state)
}

// reply is event number i of t as a message in the card's thread. People are
// named; only after a refusal by EPM the approver is mentioned, because the
// request waits for them again.
func (c *Chat) reply(t *tickets.Ticket, i int) message {
	s := wording.ThreadLine(t, i)
	ping := i >= 0 && i < len(t.Events) && t.Events[i].Kind == tickets.EventRefused
	var text strings.Builder
	var parts []slack.RichTextSectionElement
	for _, p := range s {
		switch {
		case !p.Time.IsZero():
			text.WriteString(escape(wording.FormatTime(p.Time)))
			fallback := wording.FormatTime(p.Time)
			parts = append(parts, &slack.RichTextSectionDateElement{
				Type: slack.RTSEDate, Timestamp: slack.JSONTime(p.Time.Unix()), Format: dateFormat, Fallback: &fallback,
			})
		case p.Actor.ID != "" && p.Actor.Platform == Platform && ping && userID.MatchString(p.Actor.ID):
			text.WriteString("<@" + p.Actor.ID + ">")
			parts = append(parts, slack.NewRichTextSectionUserElement(p.Actor.ID, nil))
		case p.Actor.ID != "":
			text.WriteString(escape(wording.DisplayNameOn(Platform, p.Actor)))
			parts = append(parts, slack.NewRichTextSectionTextElement(wording.DisplayNameOn(Platform, p.Actor), &slack.RichTextSectionTextStyle{Bold: true}))
		case p.Text != "":
			text.WriteString(escape(p.Text))
			parts = append(parts, slack.NewRichTextSectionTextElement(p.Text, nil))
		}
	}
	top := text.String()
	if utf8.RuneCountInString(top) > maxTopText {
		top = escapeWithin(s.On(Platform), maxTopText)
	}
	return message{
		text:   top,
		blocks: []slack.Block{slack.NewRichTextBlock("", slack.NewRichTextSection(parts...))},
		simple: &message{text: escapeWithin(s.On(Platform), maxTopText)},
	}
}

// sendable is m, or what is sent in its place because Slack would refuse m.
func (c *Chat) sendable(m message, n tickets.Number) message {
	blocks, err := json.Marshal(m.blocks)
	if err != nil {
		c.log.Error("a message cannot be written, sending a plain one", "ticket", string(n), "err", err)
		return *m.simple
	}
	if wrong := lintMessage(m.text, blocks); len(wrong) > 0 {
		c.log.Error("a message breaks slack's limits, sending a plain one", "ticket", string(n), "limits", strings.Join(wrong, "; "))
		return *m.simple
	}
	return m
}

var (
	userID  = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)
	groupID = regexp.MustCompile(`^S[A-Z0-9]{1,30}$`)
)

// mention is p so that Slack notifies them, or "".
func mention(p tickets.Principal) string {
	switch {
	case p.Platform != Platform:
	case p.Kind == tickets.User && userID.MatchString(p.ID):
		return "<@" + p.ID + ">"
	case p.Kind == tickets.Group && groupID.MatchString(p.ID):
		return "<!subteam^" + p.ID + ">"
	}
	return ""
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape makes s harmless in mrkdwn and in text: no mention, no link
// (docs.slack.dev/messaging/formatting-message-text, "escaping text").
func escape(s string) string { return escaper.Replace(s) }

// escapeWithin is s, escaped, in at most limit runes.
func escapeWithin(s string, limit int) string {
	for keep := limit; keep > 0; keep = keep * 3 / 4 {
		if e := escape(wording.Cut(s, keep)); utf8.RuneCountInString(e) <= limit {
			return e
		}
	}
	return ""
}

func plain(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

// plainEmoji is for our own words: Slack may draw :names: in it.
func plainEmoji(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, true, false)
}

// mrkdwn is for our own words and for escaped ones. Verbatim: Slack makes no
// links of what looks like one.
func mrkdwn(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, true)
}

func section(text *slack.TextBlockObject) slack.Block {
	return slack.NewSectionBlock(text, nil, nil)
}

// field is a label above a value. The label is bold where the value can stand
// in mrkdwn unchanged; a value that mrkdwn would change is shown in plain
// text.
func field(label, value string) *slack.TextBlockObject {
	if literal(value) {
		return mrkdwn("*" + label + "*\n" + value)
	}
	return plain(label + "\n" + value)
}

var emojiName = regexp.MustCompile(`:[^\s:]+:`)

// literal reports whether mrkdwn shows s as it is.
func literal(s string) bool {
	if strings.ContainsAny(s, "*~`&<>\n") || emojiName.MatchString(s) {
		return false
	}
	// An underscore inside a word is an underscore.
	inWord := func(r rune, n int) bool { return n > 0 && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	for i := range len(s) {
		if s[i] == '_' && (!inWord(utf8.DecodeLastRuneInString(s[:i])) || !inWord(utf8.DecodeRuneInString(s[i+1:]))) {
			return false
		}
	}
	return true
}

const dateFormat = "{date_short_pretty} {time}"

// date shows t in each reader's own time zone.
func date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^%s|%s>", t.Unix(), dateFormat, wording.FormatTime(t))
}

// elements are s as the elements of a context block.
func elements(s wording.Sentence) []slack.MixedElement {
	var out []slack.MixedElement
	var marked strings.Builder
	flush := func() {
		if marked.Len() > 0 {
			out = append(out, mrkdwn(marked.String()))
			marked.Reset()
		}
	}
	for _, p := range s {
		switch {
		case !p.Time.IsZero():
			marked.WriteString(date(p.Time))
		case p.Actor.Platform == Platform && userID.MatchString(p.Actor.ID):
			marked.WriteString("<@" + p.Actor.ID + ">")
		case p.Actor.ID != "":
			marked.WriteString(escape(wording.DisplayNameOn(Platform, p.Actor)))
		case literal(p.Text):
			marked.WriteString(p.Text)
		default:
			flush()
			out = append(out, plain(p.Text))
		}
	}
	flush()
	if len(out) > maxContext {
		return []slack.MixedElement{mrkdwn(escapeWithin(s.On(Platform), maxText))}
	}
	return out
}

// note is text for one person, as blocks and as escaped text.
func note(s string) (string, []slack.Block) {
	s = wording.Cut(strings.TrimSpace(wording.Visible(s)), showNote)
	if s == "" {
		s = wording.MsgBroken
	}
	return escapeWithin(s, maxTopText), []slack.Block{section(plain(s))}
}

// showNote is how much of a note is shown, in runes: one section holds it.
const showNote = 2900

// pages is a note with buttons that turn it. Their value is the command that
// shows the other page.
func pages(p adapters.Page) (string, []slack.Block) {
	text, blocks := note(p.Text)
	var all []slack.BlockElement
	for _, turn := range []struct {
		action         adapters.Action
		label, command string
	}{{adapters.ActionNewer, wording.LabelNewer, p.Newer}, {adapters.ActionOlder, wording.LabelOlder, p.Older}} {
		if turn.command != "" && len([]rune(turn.command)) <= adapters.MaxPagerCommand {
			all = append(all, slack.NewButtonBlockElement(string(turn.action), turn.command, plainEmoji(turn.label)))
		}
	}
	if len(all) > 0 {
		blocks = append(blocks, slack.NewActionBlock("turn", all...))
	}
	return text, blocks
}
