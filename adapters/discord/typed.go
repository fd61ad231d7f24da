package discord

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// labelAgain is on the button that opens a form again.
const labelAgain = "Try again"

// What stands above what somebody typed, in the message that tells them what is
// wrong with it.
const (
	labelTyped     = "Your reason"
	labelTypedTime = "Your choice"
)

// retryMessage tells one person what is wrong with the form that they sent. Its
// button, called custom, opens the form again, of the request that custom names. What they typed is in the message
// itself, character by character: it comes back with the click, whichever
// process takes that, and whatever became of the one that wrote it.
func retryMessage(f adapters.Form, custom string) message {
	parts := []any{text(strings.Join(problems(f), "\n"))}
	if reason := wording.Typed(f.Values.Reason, tickets.MaxReason); reason != "" {
		parts = append(parts, text(carry(labelTyped, reason)))
	}
	if f.Verdict == tickets.Approve {
		parts = append(parts, text(carry(labelTypedTime, wording.Typed(string(f.Values.Unit), maxAmount+4)+" "+wording.Typed(f.Values.Amount, maxAmount))))
	}
	parts = append(parts, actionRow{Type: typeRow, Components: []any{button{typeButton, stylePrimary, labelAgain, custom}}})
	return message{Flags: flagComponents, Mentions: nobody(), Components: parts}
}

// maxCarried is how long what was typed may become when it is made visible, as
// Discord may count it: the rest of its 4,000 characters is for the other parts.
const maxCarried = 3000

// carry is text that carried reads. A character that nobody sees, or that turns
// others around, stands there by its name, if there is room for the names.
func carry(label, s string) string {
	var b strings.Builder
	for _, r := range s {
		if one := string(r); r == '⟦' || wording.Visible(one) != one {
			fmt.Fprintf(&b, "⟦U+%04X⟧", r)
		} else {
			b.WriteRune(r)
		}
	}
	visible := b.String()
	if length(visible) > maxCarried {
		visible = strings.ReplaceAll(s, "⟦", "[")
	}
	return "**" + label + "**\n" + codeBlock(visible)
}

var named = regexp.MustCompile(`⟦U\+([0-9A-F]{4,6})⟧`)

// carried is what stands in text under label.
func carried(text, label string) (string, bool) {
	s, ok := strings.CutPrefix(text, "**"+label+"**\n```\n")
	if !ok {
		return "", false
	}
	s, ok = strings.CutSuffix(s, "\n```")
	return named.ReplaceAllStringFunc(strings.ReplaceAll(s, "``ˋ", "```"), func(name string) string {
		r, err := strconv.ParseInt(named.FindStringSubmatch(name)[1], 16, 32)
		if err != nil {
			return name
		}
		return string(rune(r))
	}), ok
}

// typed is what the person typed into the form that they send with in, or into
// the one that in opens again. It reports false if in is neither.
func (in *interaction) typed() (v tickets.Verdict, f tickets.Form, ok bool) {
	action, _, _, ok := parseCustomID(in.customID())
	v = tickets.Verdict(action)
	if !ok || v != tickets.Approve && v != tickets.Deny {
		return v, f, false
	}
	switch {
	case in.Type == typeSubmit:
		return v, in.form(), true
	case in.Type != typeClick || !in.private():
		return v, f, false
	}
	found := false
	eachComponent(in.Message.Components, func(c *component) {
		if reason, ok := carried(string(c.Content), labelTyped); ok {
			f.Reason, found = reason, true
		}
		if choice, ok := carried(string(c.Content), labelTypedTime); ok {
			unit, amount, _ := strings.Cut(choice, " ")
			f.Unit, f.Amount, found = tickets.Unit(unit), amount, true
		}
		found = found || c.Label == labelAgain
	})
	return v, f, found
}

// again answers in with say, and keeps what the person typed: they can open the
// form with it again.
func (in *interaction) again(say string) response {
	v, f, ok := in.typed()
	if !ok {
		return telling(in, say)
	}
	return answering(in, retryMessage(adapters.Form{Verdict: v, Values: f, Problems: tickets.Problems{tickets.FieldReason: say}}, in.customID()))
}
