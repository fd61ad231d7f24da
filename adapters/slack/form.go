package slack

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// unitField is the one field whose change asks for another form.
const unitField = string(tickets.FieldUnit)

// formView is the decision form as a modal. The block id of each input is its
// action id, so that Slack keeps what was typed when the view is updated. Its
// callback id is the verdict and its private metadata the ticket's number.
func formView(f adapters.Form) slack.ModalViewRequest {
	number := string(f.Ticket.Number)
	label := adapters.Label(f.Verdict)
	intro := []string{number + " · " + adapters.Subject(f.Ticket)}
	if r := f.Ticket.Request; r != nil {
		if asked := adapters.AskedFor(r); asked != "" {
			intro = append(intro, "Asked for: "+adapters.Cut(adapters.Line(asked), showShort))
		}
		if strings.TrimSpace(r.Reason) != "" {
			intro = append(intro, adapters.Quote("Reason given", r.Reason, showWhy))
		}
	}
	blocks := []slack.Block{section(plain(strings.Join(intro, "\n")))}
	if warning := adapters.Warning(f.Ticket); warning != "" {
		blocks = append(blocks, section(plainEmoji(warning)))
	}

	problem := func(field tickets.FormField) {
		if say := f.Problems[field]; say != "" {
			blocks = append(blocks, slack.NewContextBlock("", plainEmoji("⚠ "+adapters.Cut(adapters.Line(say), showShort))))
		}
	}
	problem(tickets.FieldReason)
	reason := slack.NewPlainTextInputBlockElement(nil, string(tickets.FieldReason))
	reason.Multiline = true
	reason.MaxLength = tickets.MaxReason
	reason.FocusOnLoad = f.Values.Reason == ""
	reason.InitialValue = adapters.Typed(f.Values.Reason, tickets.MaxReason)
	blocks = append(blocks, input(tickets.FieldReason, adapters.LabelReason, "", reason))

	if f.Verdict == tickets.Approve {
		problem(tickets.FieldUnit)
		unit := slack.NewRadioButtonsBlockElement(unitField)
		for _, u := range adapters.Units() {
			option := slack.NewOptionBlockObject(string(u.Unit), plainEmoji(u.Label), nil)
			unit.Options = append(unit.Options, option)
			if u.Unit == f.Values.Unit {
				unit.InitialOption = option
			}
		}
		b := input(tickets.FieldUnit, adapters.LabelUnit, "", unit)
		b.DispatchAction = true
		blocks = append(blocks, b)

		if label, hint, ok := adapters.Amount(f.Values.Unit); ok {
			problem(tickets.FieldAmount)
			amount := &slack.NumberInputBlockElement{Type: slack.METNumber, ActionID: string(tickets.FieldAmount)}
			// No limits here: Slack would say them in its own words, and would
			// compare the amount of one unit with the limits of another.
			if v := strings.TrimSpace(f.Values.Amount); v != "" && len(v) <= 9 && strings.Trim(v, "0123456789") == "" {
				amount.InitialValue = v
			}
			blocks = append(blocks, input(tickets.FieldAmount, label, hint, amount))
		}
	}
	return slack.ModalViewRequest{
		Type:            slack.VTModal,
		CallbackID:      string(f.Verdict),
		PrivateMetadata: number,
		Title:           plainEmoji(title(label, number)),
		Submit:          plainEmoji(label),
		Close:           plainEmoji(adapters.LabelCancel),
		Blocks:          slack.Blocks{BlockSet: blocks},
	}
}

func input(field tickets.FormField, label, hint string, element slack.BlockElement) *slack.InputBlock {
	b := slack.NewInputBlock(string(field), plainEmoji(label), nil, element)
	if hint != "" {
		b.Hint = plainEmoji(hint)
	}
	return b
}

// title is a modal's title, which has few characters: a long number stands in
// the view's body only.
func title(word, number string) string {
	if t := word + " " + number; len(t) <= maxViewTitle {
		return t
	}
	return word
}

// How much of what EPM sent the details show: a view has at most 100 blocks
// and 250 KB (docs.slack.dev/reference/views).
const (
	showValue     = 2500
	detailsBlocks = maxViewBlocks - 2
	detailsBytes  = 150_000
)

// detailsView shows everything EPM sent.
func detailsView(t *tickets.Ticket) slack.ModalViewRequest {
	blocks := []slack.Block{section(plain(string(t.Number) + " · " + adapters.Subject(t)))}
	if warning := adapters.Warning(t); warning != "" {
		blocks = append(blocks, section(plainEmoji(warning)))
	}
	var sent []tickets.Field
	if t.Request != nil {
		sent = t.Request.Fields
	}
	if len(sent) == 0 {
		blocks = append(blocks, section(plain(adapters.SayNothingToShow)))
	}
	for i, size := 0, 0; i < len(sent); i++ {
		name, value := adapters.Line(sent[i].Name), strings.TrimSpace(adapters.Visible(firstBytes(sent[i].Value, 64<<10)))
		if value == "" {
			value = "(empty)"
		}
		b := section(plain(adapters.Quote(adapters.Cut(name, showShort), value, showValue)))
		wire, err := json.Marshal(b)
		if size += len(wire); err != nil || size > detailsBytes || len(blocks) >= detailsBlocks {
			blocks = append(blocks, section(plain(fmt.Sprintf("… and %d more fields, which are in the record: countersign tickets show %s", len(sent)-i, t.Number))))
			break
		}
		blocks = append(blocks, b)
	}
	return slack.ModalViewRequest{
		Type:            slack.VTModal,
		CallbackID:      string(adapters.ActionDetails),
		PrivateMetadata: string(t.Number),
		Title:           plainEmoji(title(adapters.LabelDetails, string(t.Number))),
		Close:           plainEmoji(adapters.LabelClose),
		Blocks:          slack.Blocks{BlockSet: blocks},
	}
}

// firstBytes keeps Visible from working on megabytes of which a few
// kilobytes are shown.
func firstBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}

// noteView is a note in place of a form.
func noteView(s string) slack.ModalViewRequest {
	_, blocks := note(s)
	return slack.ModalViewRequest{
		Type:   slack.VTModal,
		Title:  plainEmoji("Countersign"),
		Close:  plainEmoji(adapters.LabelClose),
		Blocks: slack.Blocks{BlockSet: blocks},
	}
}

// viewOf is the modal that shows a, or false if a needs none.
func viewOf(a adapters.Answer) (slack.ModalViewRequest, bool) {
	switch a := a.(type) {
	case adapters.Form:
		return formView(a), true
	case adapters.Details:
		return detailsView(a.Ticket), true
	case adapters.Note:
		return noteView(a.Text), true
	}
	return slack.ModalViewRequest{}, false
}
