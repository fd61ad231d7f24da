package slack

// The golden files hold what people see, in every state of a ticket. They are
// rewritten with: go test ./adapters/slack -run Golden -update

import (
	"encoding/json"
	"flag"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var ann = tickets.Actor{Platform: Platform, ID: "U01ANN", Name: "Ann Approver"}

// states are tickets in every state that a card can show.
func states() map[string]*tickets.Ticket { return adaptertest.States(ann) }

func chat(t testing.TB) *Chat {
	t.Helper()
	c, err := New(Config{
		BotToken: "xoxb-x", SigningSecrets: []string{"s"}, Log: slog.New(slog.DiscardHandler),
		Card: func() wording.Card { return wording.Card{Moves: adaptertest.Moves, Console: adaptertest.Console} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCardsGolden(t *testing.T) {
	c := chat(t)
	for name, ticket := range states() {
		t.Run(name, func(t *testing.T) {
			m := c.card(ticket)
			checkMessage(t, m)
			checkMessage(t, *m.simple)
			writeGolden(t, "card-"+name+".json", map[string]any{"text": m.text, "blocks": m.blocks})
			for i := range ticket.Events {
				checkMessage(t, c.reply(ticket, i))
				checkMessage(t, *c.reply(ticket, i).simple)
			}
		})
	}
}

// checkMessage holds a message against our lint and against the fake's own
// rules, which share no code.
func checkMessage(t *testing.T, m message) {
	t.Helper()
	blocks, err := json.Marshal(m.blocks)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := lintMessage(m.text, blocks); len(wrong) > 0 {
		t.Errorf("lint: %s", strings.Join(wrong, "\n"))
	}
	if m.blocks != nil {
		if wrong := slacktest.CheckBlocks(blocks); len(wrong) > 0 {
			t.Errorf("slacktest: %s", strings.Join(wrong, "\n"))
		}
	}
	all := m.text + string(blocks)
	for _, bad := range []string{"<!channel", "<!here", "<!everyone", "Micros\u043eft", "\u202e", "\u200b", "\x00"} {
		if strings.Contains(m.text, bad) || strings.Contains(marked(t, blocks), bad) {
			t.Errorf("%q is in the message: %.300s", bad, all)
		}
	}
}

// marked is all text that Slack reads as mrkdwn.
func marked(t *testing.T, blocks json.RawMessage) string {
	var v any
	if err := json.Unmarshal(blocks, &v); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			if v["type"] == "mrkdwn" {
				b.WriteString(v["text"].(string) + "\n")
			}
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(v)
	return b.String()
}

func TestRepliesGolden(t *testing.T) {
	c := chat(t)
	var out []map[string]any
	for _, name := range adaptertest.Telling() {
		ticket := states()[name]
		for i, e := range ticket.Events {
			m := c.reply(ticket, i)
			out = append(out, map[string]any{"ticket": name, "event": e.Kind, "text": m.text, "blocks": m.blocks})
			if pings := strings.Contains(m.text, "<@"); pings != (e.Kind == tickets.EventRefused) {
				t.Errorf("%s: a reply about %s mentions somebody: %v", name, e.Kind, pings)
			}
		}
	}
	writeGolden(t, "replies.json", out)
}

// TestHomeGolden: a full queue of hostile requests is as Slack wants it.
func TestHomeGolden(t *testing.T) {
	hostile := adaptertest.Hostile()
	hostile.SuspectedForgery = true
	var full adapters.Home
	full.Intro, full.More, full.Health = wording.MsgQueue(1000), 975, strings.Repeat("Slack <!channel>: *x* \u202e\x00 waits.\n", 400)
	for i := range adapters.MaxQueue + 5 { // more than there should be
		tk := adaptertest.Started(hostile)
		tk.Number = tickets.NewNumber("ABCDEFGHIJ", 1<<62+int64(i))
		w := adapters.Waiting{Ticket: tk}
		if i%2 == 0 {
			w.Own = wording.MsgOwn(selfcheck.Match{SelfMatch: selfcheck.SelfMatchMaybe, Asked: hostile.User, Known: hostile.Reason})
		}
		full.Queue = append(full.Queue, w)
	}
	two := adapters.Home{Intro: wording.MsgQueue(2), Queue: []adapters.Waiting{
		{Ticket: states()["pending"], Own: wording.MsgOwnRequest}, {Ticket: adaptertest.With(adaptertest.Started(hostile), func(t *tickets.Ticket) { t.Number = "JIT-1043" })},
	}, More: 1, Health: "Waiting for a decision: 3.\nEvery connection works."}
	for name, a := range map[string]adapters.Answer{
		"full": full, "two": two, "empty": adapters.Home{Intro: wording.MsgNothingWaits}, "nobody": adapters.Home{Intro: wording.MsgNoQueue, Health: "x"},
		"note": adapters.Note{Text: hostile.Reason}, "done": adapters.Done{},
	} {
		t.Run(name, func(t *testing.T) {
			v := homeView(a, time.Date(2026, 11, 23, 12, 5, 0, 0, time.UTC))
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if wrong := append(lintView(raw), slacktest.CheckView(raw)...); len(wrong) > 0 {
				t.Errorf("%s", strings.Join(wrong, "\n"))
			}
			for _, bad := range []string{"<!channel", "<!here", "<@U01ANN", "Micros\u043eft", "\u202e", "\u200b", "\x00"} {
				if blocks, _ := json.Marshal(v.Blocks); strings.Contains(marked(t, blocks), bad) || strings.Contains(bad, "\u202e") && strings.Contains(string(raw), bad) {
					t.Errorf("%q is on the page", bad)
				}
			}
			if name == "full" {
				if n := strings.Count(string(raw), `"details"`); n != adapters.MaxQueue || !strings.Contains(string(raw), "975 more requests") {
					t.Errorf("%d requests, want %d and how many more there are", n, adapters.MaxQueue)
				}
				return
			}
			writeGolden(t, "home-"+name+".json", v)
		})
	}
}

func TestFormsGolden(t *testing.T) {
	check := func(t *testing.T, name string, v any) {
		t.Helper()
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := lintView(raw); len(wrong) > 0 {
			t.Errorf("lint: %s", strings.Join(wrong, "\n"))
		}
		if wrong := slacktest.CheckView(raw); len(wrong) > 0 {
			t.Errorf("slacktest: %s", strings.Join(wrong, "\n"))
		}
		writeGolden(t, name+".json", v)
	}
	for name, f := range adaptertest.Forms() {
		t.Run(name, func(t *testing.T) { check(t, "form-"+name, formView(f)) })
	}
	for _, name := range []string{"pending", "pending-bare", "pending-hostile"} {
		t.Run("details-"+name, func(t *testing.T) { check(t, "form-details-"+name, detailsView(states()[name])) })
	}
	t.Run("many fields", func(t *testing.T) {
		tk := adaptertest.Crowded()
		raw, err := json.Marshal(detailsView(tk))
		if err != nil {
			t.Fatal(err)
		}
		if wrong := append(lintView(raw), slacktest.CheckView(raw)...); len(wrong) > 0 {
			t.Errorf("%s", strings.Join(wrong, "\n"))
		}
		if !strings.Contains(string(raw), "more fields") {
			t.Error("the view does not say that fields are missing")
		}
	})
	t.Run("a long command line", func(t *testing.T) {
		raw, err := json.Marshal(detailsView(adaptertest.Long()))
		if err != nil {
			t.Fatal(err)
		}
		adaptertest.CountsRight(t, string(raw))
	})
	t.Run("note", func(t *testing.T) { check(t, "form-note", noteView(tickets.MsgFinal+" <!channel>")) })
}

// TestAmountOnlyWithUnit is the rule of the form that people notice first.
func TestAmountOnlyWithUnit(t *testing.T) {
	for unit, want := range map[tickets.Unit]bool{tickets.UnitOnce: false, tickets.UnitMinutes: true, tickets.UnitHours: true, "": false} {
		raw, _ := json.Marshal(formView(adapters.Form{Ticket: adaptertest.Started(adaptertest.Request()), Verdict: tickets.Approve, Values: tickets.Form{Unit: unit}}))
		if got := strings.Contains(string(raw), `"block_id":"amount"`); got != want {
			t.Errorf("unit %q: amount is in the form: %v, want %v", unit, got, want)
		}
	}
}

func TestMentionOnNewTickets(t *testing.T) {
	c, err := New(Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, Card: func() wording.Card {
		return wording.Card{Fields: []string{"reason", "nonsense", "user"}, Assign: tickets.Principal{Platform: Platform, Kind: tickets.Group, ID: "S01HELP"}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := c.card(adaptertest.Started(adaptertest.Request()))
	checkMessage(t, m)
	raw, _ := jsonx.Encode(m.blocks)
	if !strings.Contains(string(raw), "<!subteam^S01HELP>") {
		t.Errorf("no mention: %s", raw)
	}
	if strings.Contains(string(raw), "7zFM.exe") || !strings.Contains(string(raw), "unpack the installer") {
		t.Errorf("the card does not show the fields that were set: %s", raw)
	}
	raw, _ = jsonx.Encode(c.card(adaptertest.Acknowledged(adaptertest.Request(), tickets.Approve, ann)).blocks)
	if strings.Contains(string(raw), "<!subteam") {
		t.Error("a decided ticket still mentions the group")
	}
}

// TestMenu: any number of states is shown as far as Slack takes them, and what
// is chosen says which ticket and which state.
func TestMenu(t *testing.T) {
	for name, moves := range map[string]func(*tickets.Ticket) []tickets.State{
		"none": nil, "no other": func(*tickets.Ticket) []tickets.State { return nil }, "crowd": adaptertest.Crowd,
	} {
		c, err := New(Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, Card: func() wording.Card { return wording.Card{Moves: moves} }})
		if err != nil {
			t.Fatal(err)
		}
		tk := adaptertest.Started(adaptertest.Request())
		tk.Number = "ABCDEFGHIJ-9223372036854775807"
		m := c.card(tk)
		checkMessage(t, m)
		raw, _ := jsonx.Encode(m.blocks)
		if got := strings.Contains(string(raw), "static_select"); got != (name == "crowd") {
			t.Errorf("%s: a menu: %v", name, got)
		}
	}
	for _, s := range adaptertest.Crowd(nil) {
		if n, state := parseMove(moveValue("JIT-1042", s)); n != "JIT-1042" || state != s {
			t.Errorf("%q comes back as %q of %q", s, state, n)
		}
	}
}

func TestLiteral(t *testing.T) {
	for s, want := range map[string]bool{
		"ACME\\svc_backup": true, "PC-0815": true, "Confirmed by EPM: approved": true, "a: b: c": true, "12:30:45": false,
		"_admin_": false, "*x*": false, "~x~": false, "a`b": false, "<x>": false, "a&b": false, ":smile:": false, "a\nb": false, "_": false,
	} {
		if got := literal(s); got != want {
			t.Errorf("literal(%q) = %v, want %v", s, got, want)
		}
	}
}

func TestBrokenCardIsReplaced(t *testing.T) {
	c := chat(t)
	m := c.card(adaptertest.Started(adaptertest.Request()))
	m.blocks = slices.Concat(m.blocks, m.blocks) // the same block_id twice
	got := c.sendable(m, "JIT-1042")
	checkMessage(t, got)
	raw, _ := jsonx.Encode(got.blocks)
	if !strings.Contains(string(raw), "approve") || !strings.Contains(got.text, "JIT-1042") {
		t.Errorf("the plain message cannot be decided: %s", raw)
	}
}

func writeGolden(t *testing.T, name string, v any) {
	t.Helper()
	adaptertest.GoldenJSON(t, *update, name, v)
}

// Golden compares got with a file below testdata, or writes it.
func Golden(t *testing.T, name string, got []byte) {
	t.Helper()
	adaptertest.Golden(t, *update, name, got)
}
