package discord

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// modal is a form (discord.com/developers/docs/components/reference, and
// interactions/receiving-and-responding for the answer that opens it).
type modal struct {
	CustomID   string `json:"custom_id"`
	Title      string `json:"title"`
	Components []any  `json:"components"`
}

type label struct {
	Type        int    `json:"type"`
	Label       string `json:"label"`
	Description string `json:"description,omitempty"`
	Component   any    `json:"component"`
}

type textInput struct {
	Type      int    `json:"type"`
	CustomID  string `json:"custom_id"`
	Style     int    `json:"style"`
	MaxLength int    `json:"max_length"`
	Required  bool   `json:"required"` // Discord's own default is true
	Value     string `json:"value,omitempty"`
}

// The styles of text inputs.
const (
	styleLine      = 1
	styleParagraph = 2
)

type radioGroup struct {
	Type     int      `json:"type"`
	CustomID string   `json:"custom_id"`
	Required bool     `json:"required"`
	Options  []option `json:"options"`
}

type option struct {
	Value   string `json:"value"`
	Label   string `json:"label"`
	Default bool   `json:"default,omitempty"`
}

// Discord's limits of a form (…/components/reference#label).
const (
	maxTitle  = 45 // characters
	maxAmount = 6  // characters of the amount: room for a slip, to be told about it
	maxIntro  = 1500
)

// formModal is the decision form. Discord cannot change an open form, so the
// amount is always in it, for every unit.
func formModal(f adapters.Form) modal {
	number := string(f.Ticket.Number)
	word := wording.Label(f.Verdict)
	m := modal{CustomID: customID(adapters.Action(f.Verdict), f.Ticket.Request.Digest(), f.Ticket.Number), Title: word + " " + number}
	if length(m.Title) > maxTitle {
		m.Title = word
	}
	m.Components = []any{
		text(intro(f)),
		label{Type: typeLabel, Label: wording.LabelReason, Component: textInput{
			Type: typeInput, CustomID: string(tickets.FieldReason), Style: styleParagraph, MaxLength: tickets.MaxReason, Required: true,
			Value: wording.Typed(f.Values.Reason, tickets.MaxReason),
		}},
	}
	if f.Verdict != tickets.Approve {
		return m
	}
	units := radioGroup{Type: typeRadio, CustomID: string(tickets.FieldUnit), Required: true}
	for _, u := range wording.Units() {
		units.Options = append(units.Options, option{string(u.Unit), u.Label, u.Unit == f.Values.Unit})
	}
	howMany, hint := wording.AmountOfAny()
	m.Components = append(m.Components,
		label{Type: typeLabel, Label: wording.LabelUnit, Component: units},
		label{Type: typeLabel, Label: howMany, Description: hint, Component: textInput{
			Type: typeInput, CustomID: string(tickets.FieldAmount), Style: styleLine, MaxLength: maxAmount,
			Value: wording.Typed(strings.TrimSpace(f.Values.Amount), maxAmount),
		}},
	)
	return m
}

// intro says above the fields what is being decided.
func intro(f adapters.Form) string {
	for scale := 1; ; scale *= 2 {
		lines := []string{"**" + escape(string(f.Ticket.Number)) + "** · " + escape(wording.Subject(f.Ticket))}
		if warning := wording.Warning(f.Ticket); warning != "" {
			lines = append(lines, "**"+escape(warning)+"**")
		}
		lines = append(lines, problems(f)...)
		if r := f.Ticket.Request; r != nil {
			if asked := wording.AskedFor(r); asked != "" {
				lines = append(lines, escape("Asked for: "+wording.Cut(wording.Line(asked), showShort/scale)))
			}
			if strings.TrimSpace(r.Reason) != "" {
				lines = append(lines, quote("Reason given", r.Reason, showWhy/scale))
			}
		}
		if s := strings.Join(lines, "\n"); scale >= 8 || within(s, maxIntro) {
			return s
		}
	}
}

// problems says what is wrong with a form, a line each.
func problems(f adapters.Form) []string {
	var lines []string
	for _, field := range []tickets.FormField{tickets.FieldReason, tickets.FieldUnit, tickets.FieldAmount} {
		if say := f.Problems[field]; say != "" {
			lines = append(lines, "⚠ "+escape(wording.Line(say)))
		}
	}
	return lines
}

// How much of what EPM sent the details show: the answer and up to four
// messages after it, each only for the person who asked.
const (
	showValue  = 1500
	maxDetails = 5
)

// detailsMessages show everything EPM sent.
func detailsMessages(t *tickets.Ticket) []message {
	page := "**" + escape(string(t.Number)) + "** · " + escape(wording.Subject(t))
	if warning := wording.Warning(t); warning != "" {
		page += "\n**" + escape(warning) + "**"
	}
	var sent []tickets.Field
	if t.Request != nil {
		sent = t.Request.Fields
	}
	if len(sent) == 0 {
		page += "\n" + escape(wording.MsgNothingToShow)
	}
	const rest = 150 // room for the last line
	var pages []string
	for i, f := range sent {
		line := detail(f)
		room := keepText
		if len(pages) == maxDetails-1 {
			room -= rest
		}
		if length(page)+1+length(line) <= room {
			page += "\n" + line
			continue
		}
		if len(pages) == maxDetails-1 {
			page += "\n" + escape(fmt.Sprintf("%s, which are in the record of %s", wording.MoreFields(sent[i:]), t.Number))
			break
		}
		pages, page = append(pages, page), line
	}
	return private(append(pages, page))
}

// detail is one value with its name.
func detail(f tickets.Field) string {
	name := wording.Cut(wording.Line(f.Name), showShort)
	value := strings.TrimSpace(wording.Visible(f.Value))
	if value == "" {
		value = "(empty)"
	}
	line := quote(name, value, showValue)
	if !within(line, keepText-200) {
		line = quote(name, value, showValue/4)
	}
	return line
}

// private are messages for one person.
func private(pages []string) []message {
	var all []message
	for _, p := range pages {
		all = append(all, message{Flags: flagComponents | flagEphemeral, Mentions: nobody(), Components: []any{text(p)}})
	}
	return all
}
