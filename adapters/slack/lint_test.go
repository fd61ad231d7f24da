package slack

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/tickets"
)

func x(n int) string { return strings.Repeat("x", n) }

func block(format string, args ...any) string { return fmt.Sprintf("["+format+"]", args...) }

func repeat(n int, one string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]"
}

// TestLintMessageFaults plants one fault each in blocks of a message.
func TestLintMessageFaults(t *testing.T) {
	const ok = `{"type":"plain_text","text":"a"}`
	button := func(extra string) string {
		return block(`{"type":"actions","elements":[{"type":"button","action_id":"a","text":%s%s}]}`, ok, extra)
	}
	for name, blocks := range map[string]string{
		"51 blocks":                    repeat(51, `{"type":"divider"}`),
		"nil blocks":                   "{}",
		"unknown block":                block(`{"type":"carousel"}`),
		"alert":                        block(`{"type":"alert","text":%s}`, ok),
		"input":                        block(`{"type":"input","label":%s,"element":{"type":"number_input","action_id":"a","is_decimal_allowed":false}}`, ok),
		"number_input in actions":      block(`{"type":"actions","elements":[{"type":"number_input","action_id":"a","is_decimal_allowed":false}]}`),
		"the same block_id twice":      block(`{"type":"divider","block_id":"b"},{"type":"divider","block_id":"b"}`),
		"the same action_id twice":     block(`{"type":"actions","elements":[{"type":"button","action_id":"a","text":%s},{"type":"button","action_id":"a","text":%s}]}`, ok, ok),
		"block_id 256":                 block(`{"type":"divider","block_id":"%s"}`, x(256)),
		"action_id 256":                block(`{"type":"actions","elements":[{"type":"button","action_id":"%s","text":%s}]}`, x(256), ok),
		"header 151":                   block(`{"type":"header","text":{"type":"plain_text","text":"%s"}}`, x(151)),
		"mrkdwn in header":             block(`{"type":"header","text":{"type":"mrkdwn","text":"a"}}`),
		"header without text":          block(`{"type":"header"}`),
		"section text 3001":            block(`{"type":"section","text":{"type":"plain_text","text":"%s"}}`, x(3001)),
		"section text empty":           block(`{"type":"section","text":{"type":"plain_text","text":""}}`),
		"section empty":                block(`{"type":"section"}`),
		"section field 2001":           block(`{"type":"section","fields":[{"type":"plain_text","text":"%s"}]}`, x(2001)),
		"11 fields":                    block(`{"type":"section","fields":%s}`, repeat(11, ok)),
		"no fields":                    block(`{"type":"section","fields":[]}`),
		"text of no type":              block(`{"type":"section","text":{"text":"a"}}`),
		"text without text":            block(`{"type":"section","text":{"type":"mrkdwn"}}`),
		"text object as a string":      block(`{"type":"section","text":"a"}`),
		"emoji in mrkdwn":              block(`{"type":"section","text":{"type":"mrkdwn","text":"a","emoji":true}}`),
		"verbatim in plain_text":       block(`{"type":"section","text":{"type":"plain_text","text":"a","verbatim":true}}`),
		"11 context elements":          block(`{"type":"context","elements":%s}`, repeat(11, ok)),
		"no context elements":          block(`{"type":"context","elements":[]}`),
		"26 elements":                  block(`{"type":"actions","elements":%s}`, repeat(26, `{"type":"button","text":`+ok+`}`)),
		"no elements":                  block(`{"type":"actions"}`),
		"text input in actions":        block(`{"type":"actions","elements":[{"type":"plain_text_input","action_id":"a"}]}`),
		"button text 76":               block(`{"type":"actions","elements":[{"type":"button","action_id":"a","text":{"type":"plain_text","text":"%s"}}]}`, x(76)),
		"mrkdwn in button":             block(`{"type":"actions","elements":[{"type":"button","action_id":"a","text":{"type":"mrkdwn","text":"a"}}]}`),
		"button without text":          block(`{"type":"actions","elements":[{"type":"button","action_id":"a"}]}`),
		"button value 2001":            button(`,"value":"` + x(2001) + `"`),
		"button url 3001":              button(`,"url":"` + x(3001) + `"`),
		"button value a number":        button(`,"value":7`),
		"accessibility_label 76":       button(`,"accessibility_label":"` + x(76) + `"`),
		"confirm title 101":            button(`,"confirm":{"title":{"type":"plain_text","text":"` + x(101) + `"}}`),
		"confirm text 301":             button(`,"confirm":{"text":{"type":"plain_text","text":"` + x(301) + `"}}`),
		"confirm button 31":            button(`,"confirm":{"deny":{"type":"plain_text","text":"` + x(31) + `"}}`),
		"6 overflow options":           block(`{"type":"actions","elements":[{"type":"overflow","action_id":"a","options":%s}]}`, repeat(6, `{"text":`+ok+`,"value":"v"}`)),
		"101 select options":           block(`{"type":"actions","elements":[{"type":"static_select","action_id":"a","options":%s}]}`, repeat(101, `{"text":`+ok+`,"value":"v"}`)),
		"placeholder 151":              block(`{"type":"actions","elements":[{"type":"static_select","action_id":"a","placeholder":{"type":"plain_text","text":"%s"},"options":[{"text":%s,"value":"v"}]}]}`, x(151), ok),
		"rich text of an unknown kind": block(`{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"broadcast","range":"channel"}]}]}`),
		"rich text empty":              block(`{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":""}]}]}`),
		"markdown 12001":               block(`{"type":"markdown","text":"%s"}`, x(12001)),
		"all text together":            repeat(5, `{"type":"section","text":{"type":"plain_text","text":"`+x(2000)+`"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			if !json.Valid([]byte(blocks)) {
				t.Fatalf("the test is wrong: %s", blocks)
			}
			if len(lintMessage("text", json.RawMessage(blocks))) == 0 {
				t.Error("the lint does not see it")
			}
		})
	}
	good := json.RawMessage(block(`{"type":"section","text":%s}`, ok))
	for name, text := range map[string]string{"text empty": "", "text 4000": x(4000)} {
		if len(lintMessage(text, good)) == 0 {
			t.Errorf("%s: the lint does not see it", name)
		}
	}
	if wrong := lintMessage("text", good); len(wrong) > 0 {
		t.Errorf("the lint refuses what is right: %v", wrong)
	}
}

// TestLintViewFaults plants one fault each in the decision form.
func TestLintViewFaults(t *testing.T) {
	good := func() map[string]any {
		raw, err := json.Marshal(formView(adapters.Form{Ticket: adaptertest.Started(adaptertest.Request()), Verdict: tickets.Approve,
			Values: tickets.Form{Unit: tickets.UnitMinutes, Amount: "30"}}))
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	element := func(v map[string]any, id string) map[string]any {
		for _, b := range v["blocks"].([]any) {
			if b := b.(map[string]any); b["block_id"] == id {
				return b["element"].(map[string]any)
			}
		}
		t.Fatalf("no block %s", id)
		return nil
	}
	input := func(v map[string]any, id string) map[string]any {
		for _, b := range v["blocks"].([]any) {
			if b := b.(map[string]any); b["block_id"] == id {
				return b
			}
		}
		return nil
	}
	option := func(v map[string]any) map[string]any {
		return element(v, "unit")["options"].([]any)[0].(map[string]any)
	}
	text := func(s string) map[string]any { return map[string]any{"type": "plain_text", "text": s} }
	mark := map[string]any{"type": "mrkdwn", "text": "a"}
	for name, plant := range map[string]func(v map[string]any){
		"not a modal":           func(v map[string]any) { v["type"] = "home" },
		"no title":              func(v map[string]any) { delete(v, "title") },
		"title 25":              func(v map[string]any) { v["title"] = text(x(25)) },
		"submit 25":             func(v map[string]any) { v["submit"] = text(x(25)) },
		"close 25":              func(v map[string]any) { v["close"] = text(x(25)) },
		"mrkdwn in title":       func(v map[string]any) { v["title"] = mark },
		"inputs without submit": func(v map[string]any) { delete(v, "submit") },
		"private_metadata 3001": func(v map[string]any) { v["private_metadata"] = x(3001) },
		"callback_id 256":       func(v map[string]any) { v["callback_id"] = x(256) },
		"external_id 256":       func(v map[string]any) { v["external_id"] = x(256) },
		"nil blocks":            func(v map[string]any) { v["blocks"] = nil },
		"101 blocks":            func(v map[string]any) { v["blocks"] = make101() },
		"250 KB":                func(v map[string]any) { v["junk"] = x(250 << 10) },
		"same block_id":         func(v map[string]any) { input(v, "amount")["block_id"] = "unit" },
		"label 2001":            func(v map[string]any) { input(v, "unit")["label"] = text(x(2001)) },
		"mrkdwn in label":       func(v map[string]any) { input(v, "unit")["label"] = mark },
		"no label":              func(v map[string]any) { delete(input(v, "unit"), "label") },
		"hint 2001":             func(v map[string]any) { input(v, "amount")["hint"] = text(x(2001)) },
		"no element":            func(v map[string]any) { delete(input(v, "unit"), "element") },
		"button in input": func(v map[string]any) {
			input(v, "unit")["element"] = map[string]any{"type": "button", "text": text("a")}
		},
		"option text 76":        func(v map[string]any) { option(v)["text"] = text(x(76)); element(v, "unit")["initial_option"] = nil },
		"option value 151":      func(v map[string]any) { option(v)["value"] = x(151); element(v, "unit")["initial_option"] = nil },
		"option description 76": func(v map[string]any) { option(v)["description"] = text(x(76)) },
		"option without value":  func(v map[string]any) { delete(option(v), "value") },
		"11 radio options":      func(v map[string]any) { element(v, "unit")["options"] = eleven() },
		"initial_option unknown": func(v map[string]any) {
			element(v, "unit")["initial_option"] = map[string]any{"text": text("Days"), "value": "days"}
		},
		"min above max": func(v map[string]any) {
			element(v, "amount")["min_value"] = "9"
			element(v, "amount")["max_value"] = "8"
		},
		"initial above max":     func(v map[string]any) { element(v, "amount")["max_value"] = "8" },
		"initial below min":     func(v map[string]any) { element(v, "amount")["min_value"] = "80" },
		"min a number":          func(v map[string]any) { element(v, "amount")["min_value"] = 5 },
		"initial no number":     func(v map[string]any) { element(v, "amount")["initial_value"] = "two" },
		"no is_decimal_allowed": func(v map[string]any) { delete(element(v, "amount"), "is_decimal_allowed") },
		"max_length 3001":       func(v map[string]any) { element(v, "reason")["max_length"] = 3001 },
		"min_length above max":  func(v map[string]any) { element(v, "reason")["min_length"] = 2000 },
		"alert 201":             func(v map[string]any) { v["blocks"] = []any{map[string]any{"type": "alert", "text": text(x(201))}} },
		"markdown":              func(v map[string]any) { v["blocks"] = []any{map[string]any{"type": "markdown", "text": "a"}} },
	} {
		t.Run(name, func(t *testing.T) {
			v := good()
			plant(v)
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if len(lintView(raw)) == 0 {
				t.Errorf("the lint does not see it: %.300s", raw)
			}
		})
	}
	raw, _ := json.Marshal(good())
	if wrong := lintView(raw); len(wrong) > 0 {
		t.Errorf("the lint refuses what is right: %v", wrong)
	}
}

func make101() []any {
	var out []any
	for range 101 {
		out = append(out, map[string]any{"type": "divider"})
	}
	return out
}

func eleven() []any {
	var out []any
	for i := range 11 {
		out = append(out, map[string]any{"text": map[string]any{"type": "plain_text", "text": "o"}, "value": fmt.Sprint(i)})
	}
	return out
}
