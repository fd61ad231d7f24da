package slacktest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
)

const goodCard = `{"type":"header","text":{"type":"plain_text","text":"⏳ JIT-1042","emoji":true}},
 {"type":"section","fields":[{"type":"mrkdwn","text":"*User*\nACME\\ann"},{"type":"mrkdwn","text":"*Computer*\nPC-0815"}]},
 {"type":"rich_text","elements":[{"type":"rich_text_preformatted","elements":[{"type":"text","text":"C:\\Program Files\\7-Zip\\7zFM.exe"}]}]},
 {"type":"divider"},
 {"type":"section","text":{"type":"plain_text","text":"Reason: unpack","emoji":false}},` + buttons + `,
 {"type":"context","elements":[{"type":"mrkdwn","text":"Pending · New · rev 7"}]}`

func x(n int) string { return strings.Repeat("ü", n) } // two bytes: limits count runes

func repeat(n int, f func(i int) string) string {
	var l []string
	for i := range n {
		l = append(l, f(i))
	}
	return strings.Join(l, ",")
}

func plain(s string) string { return `{"type":"plain_text","text":"` + s + `"}` }

func section(s string) string { return `{"type":"section","text":` + plain(s) + `}` }

func actions(es string) string { return `{"type":"actions","elements":[` + es + `]}` }

func button(more string) string { return `{"type":"button","text":` + plain("x") + more + `}` }

func option(value string) string { return `{"text":` + plain("x") + `,"value":"` + value + `"}` }

func options(n int) string { return repeat(n, func(i int) string { return option(fmt.Sprint(i)) }) }

func input(e string) string {
	return `{"type":"input","label":` + plain("x") + `,"element":` + e + `}`
}

func view(more, blocks string) string {
	return `{"type":"modal","title":` + plain("x") + more + `,"blocks":[` + blocks + `]}`
}

// TestLimits plants one fault at a time, each beside the largest thing that is still allowed.
func TestLimits(t *testing.T) {
	const submit = `,"submit":{"type":"plain_text","text":"OK"}`
	confirm := func(title, text, ok string) string {
		return button(`,"confirm":{"title":` + plain(title) + `,"text":` + plain(text) + `,"confirm":` + plain(ok) + `,"deny":` + plain("n") + `}`)
	}
	header := func(n int) string { return `{"type":"header","text":` + plain(x(n)) + `}` }
	fields := func(n, size int) string {
		return `{"type":"section","fields":[` + repeat(n, func(int) string { return plain(x(size)) }) + `]}`
	}
	id := func(n int) string { return `{"type":"divider","block_id":"` + x(n) + `"}` }
	blocks := []struct{ name, good, bad string }{
		{"Blocks", repeat(50, func(int) string { return `{"type":"divider"}` }), repeat(51, func(int) string { return `{"type":"divider"}` })},
		{"Text", section(x(3000)), section(x(3001))},
		{"TextEmpty", section("x"), section("")},
		{"TextObjectEmpty", section("x"), `{"type":"section","text":{}}`},
		{"TextMissing", section("x"), `{"type":"section"}`},
		{"TextType", section("x"), `{"type":"section","text":{"type":"markdown","text":"x"}}`},
		{"Fields", fields(10, 1), fields(11, 1)},
		{"Field", fields(1, 2000), fields(1, 2001)},
		{"Header", header(150), header(151)},
		{"HeaderMrkdwn", header(1), `{"type":"header","text":{"type":"mrkdwn","text":"x"}}`},
		{"BlockID", id(255), id(256)},
		{"BlockIDTwice", id(1) + "," + id(2), id(1) + "," + id(1)},
		{"Actions", actions(repeat(25, func(int) string { return button("") })), actions(repeat(26, func(int) string { return button("") }))},
		{"ActionsEmpty", actions(button("")), actions("")},
		{"ActionIDTwice", actions(button(`,"action_id":"a"`) + "," + button(`,"action_id":"b"`)), actions(button(`,"action_id":"a"`) + "," + button(`,"action_id":"a"`))},
		{"ActionID", actions(button(`,"action_id":"` + x(255) + `"`)), actions(button(`,"action_id":"` + x(256) + `"`))},
		{"ButtonText", actions(`{"type":"button","text":` + plain(x(75)) + `}`), actions(`{"type":"button","text":` + plain(x(76)) + `}`)},
		{"ButtonMrkdwn", actions(button("")), actions(`{"type":"button","text":{"type":"mrkdwn","text":"x"}}`)},
		{"ButtonValue", actions(button(`,"value":"` + x(2000) + `"`)), actions(button(`,"value":"` + x(2001) + `"`))},
		{"ButtonURL", actions(button(`,"url":"` + x(3000) + `"`)), actions(button(`,"url":"` + x(3001) + `"`))},
		{"ButtonStyle", actions(button(`,"style":"primary"`)), actions(button(`,"style":"green"`))},
		{"ButtonLabel", actions(button(`,"accessibility_label":"` + x(75) + `"`)), actions(button(`,"accessibility_label":"` + x(76) + `"`))},
		{"UnknownKey", actions(button("")), actions(button(`,"colour":"red"`))},
		{"UnknownBlock", section("x"), `{"type":"block_of_tomorrow"}`},
		{"ElementPlace", section("x"), actions(`{"type":"plain_text_input","action_id":"a"}`)},
		{"ConfirmTitle", actions(confirm(x(100), "t", "y")), actions(confirm(x(101), "t", "y"))},
		{"ConfirmText", actions(confirm("t", x(300), "y")), actions(confirm("t", x(301), "y"))},
		{"ConfirmButton", actions(confirm("t", "t", x(30))), actions(confirm("t", "t", x(31)))},
		{"Context", `{"type":"context","elements":[` + repeat(10, func(int) string { return plain("x") }) + `]}`, `{"type":"context","elements":[` + repeat(11, func(int) string { return plain("x") }) + `]}`},
		{"SelectOptions", actions(`{"type":"static_select","options":[` + options(100) + `]}`), actions(`{"type":"static_select","options":[` + options(101) + `]}`)},
		{"Placeholder", actions(`{"type":"static_select","placeholder":` + plain(x(150)) + `,"options":[` + options(1) + `]}`), actions(`{"type":"static_select","placeholder":` + plain(x(151)) + `,"options":[` + options(1) + `]}`)},
		{"Radio", actions(`{"type":"radio_buttons","options":[` + options(10) + `]}`), actions(`{"type":"radio_buttons","options":[` + options(11) + `]}`)},
		{"Checkboxes", actions(`{"type":"checkboxes","options":[` + options(10) + `]}`), actions(`{"type":"checkboxes","options":[` + options(11) + `]}`)},
		{"Overflow", actions(`{"type":"overflow","options":[` + options(5) + `]}`), actions(`{"type":"overflow","options":[` + options(6) + `]}`)},
		{"OptionText", actions(`{"type":"overflow","options":[{"value":"v","text":` + plain(x(75)) + `}]}`), actions(`{"type":"overflow","options":[{"value":"v","text":` + plain(x(76)) + `}]}`)},
		{"OptionValue", actions(`{"type":"overflow","options":[` + option(x(150)) + `]}`), actions(`{"type":"overflow","options":[` + option(x(151)) + `]}`)},
		{"OptionDescription", actions(`{"type":"overflow","options":[{"value":"v","text":` + plain("x") + `,"description":` + plain(x(75)) + `}]}`), actions(`{"type":"overflow","options":[{"value":"v","text":` + plain("x") + `,"description":` + plain(x(76)) + `}]}`)},
		{"InitialOption", actions(`{"type":"radio_buttons","options":[` + options(2) + `],"initial_option":` + option("1") + `}`), actions(`{"type":"radio_buttons","options":[` + options(2) + `],"initial_option":` + option("2") + `}`)},
		{"Alert", section("x"), `{"type":"alert","text":` + plain("x") + `}`},
		{"NumberInMessage", section("x"), input(`{"type":"number_input","is_decimal_allowed":false}`)},
		{"RichTextEmpty", `{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"x"}]}]}`, `{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":""}]}]}`},
		{"AllText", repeat(3, func(int) string { return section(x(3000)) }), repeat(4, func(int) string { return section(x(3000)) })},
	}
	for _, c := range blocks {
		t.Run("Message/"+c.name, func(t *testing.T) {
			if p := slacktest.CheckBlocks(json.RawMessage("[" + c.good + "]")); len(p) > 0 {
				t.Errorf("good one refused: %q", p)
			}
			if p := slacktest.CheckBlocks(json.RawMessage("[" + c.bad + "]")); len(p) == 0 {
				t.Error("bad one accepted")
			}
		})
	}
	number := func(more string) string {
		return view(submit, input(`{"type":"number_input","is_decimal_allowed":false`+more+`}`))
	}
	lines := func(more string) string { return view(submit, input(`{"type":"plain_text_input"`+more+`}`)) }
	labelled := func(n int) string {
		return view(submit, `{"type":"input","label":`+plain(x(n))+`,"hint":`+plain(x(n))+`,"element":{"type":"plain_text_input"}}`)
	}
	divider := func(int) string { return `{"type":"divider"}` }
	titled := func(n int) string {
		return `{"type":"modal","title":` + plain(x(n)) + `,"close":` + plain(x(n)) + `,"submit":` + plain(x(n)) + `,"blocks":[]}`
	}
	views := []struct{ name, good, bad string }{
		{"Blocks", view("", repeat(100, divider)), view("", repeat(101, divider))},
		{"NoBlocks", view("", ""), `{"type":"modal","title":` + plain("x") + `,"blocks":null}`},
		{"NoTitle", view("", ""), `{"type":"modal","blocks":[]}`},
		{"Title", titled(24), titled(25)},
		{"Type", view("", ""), `{"type":"dialog","title":` + plain("x") + `,"blocks":[]}`},
		{"PrivateMetadata", view(`,"private_metadata":"`+x(3000)+`"`, ""), view(`,"private_metadata":"`+x(3001)+`"`, "")},
		{"CallbackID", view(`,"callback_id":"`+x(255)+`"`, ""), view(`,"callback_id":"`+x(256)+`"`, "")},
		{"ExternalID", view(`,"external_id":"`+x(255)+`"`, ""), view(`,"external_id":"`+x(256)+`"`, "")},
		{"Submit", lines(""), view("", input(`{"type":"plain_text_input"}`))},
		{"Label", labelled(2000), labelled(2001)},
		{"Decimal", number(""), view(submit, input(`{"type":"number_input"}`))},
		{"Range", number(`,"min_value":"1","max_value":"2"`), number(`,"min_value":"2","max_value":"1"`)},
		{"RangeNumbers", number(`,"min_value":"1"`), number(`,"min_value":1`)},
		{"Initial", number(`,"max_value":"2","initial_value":"2"`), number(`,"max_value":"2","initial_value":"3"`)},
		{"MaxLength", lines(`,"max_length":3000`), lines(`,"max_length":3001`)},
		{"MinLength", lines(`,"min_length":2,"max_length":2`), lines(`,"min_length":3,"max_length":2`)},
		{"Alert", view("", `{"type":"alert","text":`+plain(x(200))+`}`), view("", `{"type":"alert","text":`+plain(x(201))+`}`)},
		{"Home", `{"type":"home","blocks":[]}`, `{"type":"home","title":` + plain("x") + `,"blocks":[]}`},
		{"Size", view("", section("x")), view("", section(x(200*1024)))},
	}
	for _, c := range views {
		t.Run("View/"+c.name, func(t *testing.T) {
			if p := slacktest.CheckView(json.RawMessage(c.good)); len(p) > 0 {
				t.Errorf("good one refused: %q", p)
			}
			if p := slacktest.CheckView(json.RawMessage(c.bad)); len(p) == 0 {
				t.Error("bad one accepted")
			}
		})
	}
	if p := slacktest.CheckBlocks(json.RawMessage("[" + goodCard + "]")); len(p) > 0 {
		t.Errorf("card: %q", p)
	}
	if p := slacktest.CheckView(json.RawMessage(form)); len(p) > 0 {
		t.Errorf("form: %q", p)
	}
}

// TestRefusals is how the limits look to a client.
func TestRefusals(t *testing.T) {
	s, api := newFake(t, slacktest.Config{})
	post := func(o ...slack.MsgOption) error {
		_, _, err := api.PostMessageContext(t.Context(), channel, o...)
		return err
	}
	long := slack.MsgOptionBlocks(slack.NewSectionBlock(slack.NewTextBlockObject("plain_text", x(3001), false, false), nil, nil))
	err := post(slack.MsgOptionText("x", false), long)
	se, _ := err.(slack.SlackErrorResponse)
	if se.Err != "invalid_blocks" || len(se.ResponseMetadata.Messages) != 1 || !strings.Contains(se.ResponseMetadata.Messages[0], "[json-pointer:/blocks/0/text/text]") {
		t.Errorf("long section: %v %+v", err, se.ResponseMetadata)
	}
	if err := post(slack.MsgOptionText("", false)); slackError(err) != "no_text" {
		t.Errorf("no text: %v", err)
	}
	var many []slack.Block
	for range 4 {
		many = append(many, slack.NewSectionBlock(slack.NewTextBlockObject("plain_text", x(3000), false, false), nil, nil))
	}
	if err := post(slack.MsgOptionText("x", false), slack.MsgOptionBlocks(many...)); slackError(err) != "msg_blocks_too_long" {
		t.Errorf("much text: %v", err)
	}
	if err := post(slack.MsgOptionText("x", false)); err != nil {
		t.Fatal(err)
	}
	ts := s.Messages(channel)[0].TS
	for want, text := range map[string]string{"<nil>": x(4000), "msg_too_long": x(4001)} {
		_, _, _, err := api.UpdateMessageContext(t.Context(), channel, ts, slack.MsgOptionText(text, false))
		if got := fmt.Sprint(err); got != want {
			t.Errorf("update of %d: %v", len([]rune(text)), err)
		}
	}
	if _, _, _, err := api.UpdateMessageContext(t.Context(), "epm", ts, slack.MsgOptionText("x", false)); slackError(err) != "channel_not_found" {
		t.Errorf("update by name: %v", err)
	}
	if _, _, _, err := api.UpdateMessageContext(t.Context(), channel, s.Say(channel, ann, "mine", nil).TS, slack.MsgOptionText("x", false)); slackError(err) != "cant_update_message" {
		t.Errorf("update of another's: %v", err)
	}
	noViolations(t, s)
}

// TestSockets speaks Socket Mode by hand: single-use tickets, ten sockets, an ack that is too large.
func TestSockets(t *testing.T) {
	s, api := newFake(t, slacktest.Config{})
	dial := func() (*websocket.Conn, map[string]any) {
		_, u, err := api.StartSocketModeContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ws, _, err := websocket.DefaultDialer.Dial(u, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ws.Close() })
		if _, resp, err := websocket.DefaultDialer.Dial(u, nil); err == nil || resp.StatusCode != 403 {
			t.Errorf("ticket used twice: %v", err)
		}
		var first map[string]any
		if err := ws.ReadJSON(&first); err != nil {
			t.Fatal(err)
		}
		return ws, first
	}
	ws, hello := dial()
	if hello["type"] != "hello" {
		t.Errorf("first message: %v", hello)
	}
	go func() {
		for {
			var env map[string]any
			if ws.ReadJSON(&env) != nil {
				return
			}
			ws.WriteJSON(map[string]any{"envelope_id": env["envelope_id"], "payload": map[string]any{"text": strings.Repeat("x", 20*1024)}})
			ws.WriteJSON(map[string]any{"envelope_id": env["envelope_id"]})
		}
	}()
	if got, err := s.Person(ann).Command(t.Context(), "/epm", "x"); err != nil || got.Text != "" {
		t.Errorf("command = %+v, %v: the first ack is too large and dropped", got, err)
	}
	if v := s.Violations(); len(v) != 1 || !strings.Contains(v[0], "dropped") {
		t.Errorf("violations = %q", v)
	}
	for i := range 10 {
		if _, first := dial(); (i == 9) != (first["reason"] == "too_many_websockets") {
			t.Errorf("socket %d: %v", i+2, first)
		}
	}
}

// TestHome publishes a home tab and uses it; a form that wants to know is told that it was closed.
func TestHome(t *testing.T) {
	s, api := newFake(t, slacktest.Config{})
	a := &app{t: t}
	a.serve(s)
	p := s.Person(ann)
	var home slack.HomeTabViewRequest
	if err := json.Unmarshal([]byte(`{"type":"home","blocks":[`+buttons+`]}`), &home); err != nil {
		t.Fatal(err)
	}
	if _, err := api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: ann, View: home}); err != nil {
		t.Fatal(err)
	}
	if err := p.OpenHome(t.Context()); err != nil {
		t.Error(err)
	}
	a.on = func(cb slack.InteractionCallback) string {
		if cb.Type == slack.InteractionTypeBlockActions {
			if _, err := api.OpenViewContext(t.Context(), cb.TriggerID, modal(t, strings.Replace(form, `"title"`, `"notify_on_close":true,"title"`, 1))); err != nil {
				t.Error(err)
			}
		}
		return ""
	}
	if err := p.ActHome(t.Context(), "approve", ""); err != nil {
		t.Fatal(err)
	}
	if got := a.last(); got.View.Type != "home" || got.ActionCallback.BlockActions[0].Value != "JIT-1042" {
		t.Errorf("home click: %+v", got)
	}
	if err := p.CloseView(t.Context()); err != nil || a.last().Type != slack.InteractionTypeViewClosed {
		t.Errorf("close: %v, %s", err, a.last().Type)
	}
	noViolations(t, s)
}

// FuzzCheck: no bytes make the validation panic.
func FuzzCheck(f *testing.F) {
	f.Add("[" + goodCard + "]")
	f.Add(form)
	f.Add(`[{"type":"actions","elements":[{"type":"radio_buttons","options":[null,{"text":1}],"initial_option":[]}]}]`)
	f.Add(`{"type":"modal","blocks":[{"type":"input","element":{"type":"number_input","min_value":"-.","max_value":1e9}}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		slacktest.CheckBlocks(json.RawMessage(s))
		slacktest.CheckView(json.RawMessage(s))
	})
}
