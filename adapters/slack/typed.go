package slack

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// keeping answers a submitted form with say, and leaves it open with what was
// typed.
func (v *view) keeping(say string) response {
	inputs := slices.Sorted(maps.Keys(v.State.Values))
	switch {
	case v.shows(tickets.FieldReason):
		inputs = []string{string(tickets.FieldReason)}
	case len(inputs) == 0:
		return showing(noteView(say))
	}
	return response{ack: submission{Action: "errors", Errors: map[string]string{inputs[0]: say}}}
}

// again is the form as it was sent, with say above it, for when something else
// was shown in its place meanwhile. It reports false if Slack did not send it
// along.
func (v *view) again(say string) (slack.ModalViewRequest, bool) {
	m := slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: string(v.CallbackID), PrivateMetadata: string(v.PrivateMetadata),
		Title: v.Title, Submit: v.Submit, Close: v.Close,
	}
	var blocks slack.Blocks
	if jsonx.IgnoreTypeErrors(json.Unmarshal(v.Blocks, &blocks)) != nil || len(blocks.BlockSet) == 0 || m.Title == nil || m.Submit == nil {
		return m, false
	}
	m.Blocks.BlockSet = []slack.Block{slack.NewContextBlock("", plainEmoji("⚠ "+wording.Cut(wording.Line(say), maxText-2)))}
	for _, b := range blocks.BlockSet {
		switch b := b.(type) {
		case *slack.ContextBlock: // what was wrong before
			continue
		case *slack.InputBlock:
			typed := v.State.Values[b.BlockID]
			for _, e := range typed {
				fill(b.Element, e)
			}
		}
		m.Blocks.BlockSet = append(m.Blocks.BlockSet, b)
	}
	return m, true
}

// fill puts what was typed into an element of a form.
func fill(element slack.BlockElement, typed entry) {
	chosen := func(options []*slack.OptionBlockObject, is func(value string) bool) (list []*slack.OptionBlockObject) {
		for _, o := range options {
			if is(o.Value) {
				list = append(list, o)
			}
		}
		return list
	}
	switch e := element.(type) {
	case *slack.PlainTextInputBlockElement:
		e.InitialValue = string(typed.Value)
	case *slack.NumberInputBlockElement:
		e.InitialValue = string(typed.Value)
	case *slack.SelectBlockElement:
		e.InitialOption = nil
		for _, o := range chosen(e.Options, func(value string) bool { return value == string(typed.Selected.Value) }) {
			e.InitialOption = o
		}
	case *slack.RadioButtonsBlockElement:
		e.InitialOption = nil
		for _, o := range chosen(e.Options, func(value string) bool { return value == string(typed.Selected.Value) }) {
			e.InitialOption = o
		}
	case *slack.MultiSelectBlockElement:
		e.InitialOptions = chosen(e.Options, func(value string) bool {
			for _, s := range typed.Several {
				if string(s.Value) == value {
					return true
				}
			}
			return false
		})
	}
}
