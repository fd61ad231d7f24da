package slack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// unitField is the one field whose change asks for another form.
const unitField = string(tickets.FieldUnit)

// formView is the decision form as a modal. The block id of each input is its
// action id, so that Slack keeps what was typed when the view is updated. Its
// callback id is the verdict and its private metadata the ticket's number and
// the digest of the request.
func formView(f adapters.Form) slack.ModalViewRequest {
	number := string(f.Ticket.Number)
	label := wording.Label(f.Verdict)
	intro := []string{number + " · " + wording.Subject(f.Ticket)}
	if r := f.Ticket.Request; r != nil {
		if asked := wording.AskedFor(r); asked != "" {
			intro = append(intro, "Asked for: "+wording.Cut(wording.Line(asked), showShort))
		}
		if strings.TrimSpace(r.Reason) != "" {
			intro = append(intro, wording.Quote("Reason given", r.Reason, showWhy))
		}
	}
	blocks := []slack.Block{section(plain(strings.Join(intro, "\n")))}
	if warning := wording.Warning(f.Ticket); warning != "" {
		blocks = append(blocks, section(plainEmoji(warning)))
	}

	problem := func(field tickets.FormField) {
		if say := f.Problems[field]; say != "" {
			blocks = append(blocks, slack.NewContextBlock("", plainEmoji("⚠ "+wording.Cut(wording.Line(say), showShort))))
		}
	}
	problem(tickets.FieldReason)
	reason := slack.NewPlainTextInputBlockElement(nil, string(tickets.FieldReason))
	reason.Multiline = true
	reason.MaxLength = tickets.MaxReason
	reason.FocusOnLoad = f.Values.Reason == ""
	reason.InitialValue = wording.Typed(f.Values.Reason, tickets.MaxReason)
	blocks = append(blocks, input(tickets.FieldReason, wording.LabelReason, "", reason))

	if f.Verdict == tickets.Approve {
		problem(tickets.FieldUnit)
		unit := slack.NewRadioButtonsBlockElement(unitField)
		for _, u := range wording.Units() {
			option := slack.NewOptionBlockObject(string(u.Unit), plainEmoji(u.Label), nil)
			unit.Options = append(unit.Options, option)
			if u.Unit == f.Values.Unit {
				unit.InitialOption = option
			}
		}
		b := input(tickets.FieldUnit, wording.LabelUnit, "", unit)
		b.DispatchAction = true
		blocks = append(blocks, b)

		if label, hint, ok := wording.Amount(f.Values.Unit); ok {
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
		PrivateMetadata: number + " " + string(f.Ticket.Request.Digest()),
		Title:           plainEmoji(title(label, number)),
		Submit:          plainEmoji(label),
		Close:           plainEmoji(wording.LabelCancel),
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
	blocks := []slack.Block{section(plain(string(t.Number) + " · " + wording.Subject(t)))}
	if warning := wording.Warning(t); warning != "" {
		blocks = append(blocks, section(plainEmoji(warning)))
	}
	var sent []tickets.Field
	if t.Request != nil {
		sent = t.Request.Fields
	}
	if len(sent) == 0 {
		blocks = append(blocks, section(plain(wording.MsgNothingToShow)))
	}
	for i, size := 0, 0; i < len(sent); i++ {
		name, value := wording.Line(sent[i].Name), strings.TrimSpace(wording.Visible(sent[i].Value))
		if value == "" {
			value = "(empty)"
		}
		b := section(plain(wording.Quote(wording.Cut(name, showShort), value, showValue)))
		wire, err := json.Marshal(b)
		if size += len(wire); err != nil || size > detailsBytes || len(blocks) >= detailsBlocks {
			blocks = append(blocks, section(plain(fmt.Sprintf("%s, which are in the record: countersign tickets show %s", wording.MoreFields(sent[i:]), t.Number))))
			break
		}
		blocks = append(blocks, b)
	}
	return slack.ModalViewRequest{
		Type:            slack.VTModal,
		CallbackID:      string(adapters.ActionDetails),
		PrivateMetadata: string(t.Number),
		Title:           plainEmoji(title(wording.LabelDetails, string(t.Number))),
		Close:           plainEmoji(wording.LabelClose),
		Blocks:          slack.Blocks{BlockSet: blocks},
	}
}

// noteView is a note in place of a form.
func noteView(s string) slack.ModalViewRequest {
	_, blocks := note(s)
	return slack.ModalViewRequest{
		Type:   slack.VTModal,
		Title:  plainEmoji("Countersign"),
		Close:  plainEmoji(wording.LabelClose),
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
	case adapters.Settings:
		return settingsView(a), true
	case adapters.Note:
		return noteView(a.Text), true
	}
	return slack.ModalViewRequest{}, false
}

// settingsForm is the callback id of the form of the settings. Its private
// metadata is their version.
const settingsForm = "settings"

// settingID is the block id of a field. It holds the version, because Slack
// keeps what an input of the same id held when a view is replaced: what a newer
// version says would not be seen.
func settingID(key string, version int64) string { return key + "@" + strconv.FormatInt(version, 10) }

// settingsView is the form of the settings.
func settingsView(s adapters.Settings) slack.ModalViewRequest {
	var blocks []slack.Block
	problem := func(say string) {
		if say != "" {
			blocks = append(blocks, slack.NewContextBlock("", plainEmoji("⚠ "+wording.Cut(wording.Line(say), maxText-2))))
		}
	}
	problem(s.Problem)
	for _, f := range s.Fields {
		problem(f.Problem)
		id := settingID(f.Key, s.Version)
		if utf8.RuneCountInString(f.Value) > maxInput {
			// A field would cut it, and what is cut would be saved.
			blocks = append(blocks, section(plain(f.Label+" is too long for this form: change it with /"+adapters.CommandName+" config set "+f.Key)))
			continue
		}
		b := slack.NewInputBlock(id, plainEmoji(f.Label), nil, settingElement(f, id))
		b.Optional = true
		if f.Help != "" {
			b.Hint = plainEmoji(wording.Cut(f.Help, maxLabel))
		}
		blocks = append(blocks, b)
	}
	return slack.ModalViewRequest{
		Type:            slack.VTModal,
		CallbackID:      settingsForm,
		PrivateMetadata: strconv.FormatInt(s.Version, 10),
		Title:           plainEmoji("Settings"),
		Submit:          plainEmoji(wording.LabelSave),
		Close:           plainEmoji(wording.LabelCancel),
		Blocks:          slack.Blocks{BlockSet: blocks},
	}
}

// settingElement is a select if its options fit into one.
func settingElement(f adapters.Setting, id string) slack.BlockElement {
	chosen := strings.Split(f.Value, ",")
	var options, initial []*slack.OptionBlockObject
	fit := len(f.Options) > 0 && len(f.Options) <= maxOptions
	for _, value := range f.Options {
		fit = fit && value != "" && utf8.RuneCountInString(value) <= maxOptionText
		option := slack.NewOptionBlockObject(value, plain(value), nil)
		options = append(options, option)
		if value == f.Value || f.Many && slices.ContainsFunc(chosen, func(c string) bool { return strings.TrimSpace(c) == value }) {
			initial = append(initial, option)
		}
	}
	switch {
	case fit && f.Many:
		return &slack.MultiSelectBlockElement{Type: slack.MultiOptTypeStatic, ActionID: id, Options: options, InitialOptions: initial}
	case fit:
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, id, options...)
		if len(initial) == 1 {
			e.InitialOption = initial[0]
		}
		return e
	}
	e := slack.NewPlainTextInputBlockElement(nil, id)
	e.MaxLength = maxInput
	e.InitialValue = wording.Typed(f.Value, maxInput)
	return e
}
