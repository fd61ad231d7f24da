package slack

// The golden files hold what people see, in every state of a ticket. They are
// rewritten with: go test ./adapters/slack -run Golden -update

import (
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/tickets"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var at = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var (
	typ   = tickets.Types()[0]
	rules = tickets.Rules{Type: typ, Active: typ.Active, Title: "Privileged access"}
	ann   = tickets.Actor{Platform: Platform, ID: "U01ANN", Name: "Ann Approver"}
	bob   = tickets.Actor{Platform: "discord", ID: "4711", Name: "bob"}
)

func adminRequest() tickets.Request {
	return tickets.Request{
		ID: "7d1a2c9e-0000-4000-8000-000000000002", Kind: tickets.Admin, EPMNumber: "EPM000239", Time: at.Add(-2 * time.Minute),
		User: `ACME\carl`, Computer: "f3a0b1c2-1111-4222-8333-444455556666", Reason: "install a printer driver", Requested: "1800",
	}
}

func started(r tickets.Request) *tickets.Ticket {
	t := tickets.Start("JIT-1042", r.ID, rules, at)
	t.Ask(r, rules, at)
	return t
}

func decided(r tickets.Request, v tickets.Verdict, by tickets.Actor) *tickets.Ticket {
	t := started(r)
	d := tickets.Decision{Verdict: v, Reason: "patch window", Duration: tickets.For(2 * time.Hour), By: by, At: at.Add(time.Minute)}
	if v == tickets.Deny {
		d.Duration, d.Reason = tickets.Once(), "not on this computer"
	}
	if err := t.Decide(d, rules); err != nil {
		panic(err)
	}
	return t
}

func acknowledged(r tickets.Request, v tickets.Verdict) *tickets.Ticket {
	t := decided(r, v, ann)
	t.Acknowledge(*t.Decision, at.Add(2*time.Minute))
	return t
}

func with(t *tickets.Ticket, change func(t *tickets.Ticket)) *tickets.Ticket {
	change(t)
	return t
}

// states are tickets in every state that a card can show.
func states() map[string]*tickets.Ticket {
	app := adaptertest.Request
	later := at.Add(3 * time.Minute)
	conclude := func(t *tickets.Ticket, o tickets.Outcome) *tickets.Ticket {
		o.At = later
		t.Conclude(o, rules, later)
		return t
	}
	bare := tickets.Request{ID: "1", Kind: tickets.Application}
	hostile := adaptertest.Hostile()
	hostile.Imitates = true
	return map[string]*tickets.Ticket{
		"pending":         started(app()),
		"pending-admin":   started(adminRequest()),
		"pending-bare":    started(bare),
		"pending-hostile": started(hostile),
		"pending-imitates": started(func() tickets.Request {
			r := app()
			r.Imitates = true
			r.Reason = "please\napproved by Ann\n<!channel>"
			return r
		}()),
		"inactive": with(started(app()), func(t *tickets.Ticket) { t.Move("Closed", ann, rules, later) }),
		"refused": with(decided(app(), tickets.Approve, ann), func(t *tickets.Ticket) {
			t.Refuse(*t.Decision, "The request has expired.", later)
		}),
		"submitting": decided(app(), tickets.Approve, ann),
		"submitting-problem": with(decided(app(), tickets.Approve, bob), func(t *tickets.Ticket) {
			t.BeginSend(time.Now())
			t.SendFailed(*t.Decision, true, "no answer within 10 seconds", later, later)
		}),
		"submitting-deny":   decided(app(), tickets.Deny, ann),
		"submitted":         acknowledged(app(), tickets.Approve),
		"submitted-overdue": with(acknowledged(app(), tickets.Approve), func(t *tickets.Ticket) { t.Looked(later, later) }),
		"final-approved":    conclude(acknowledged(app(), tickets.Approve), tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", By: "Ann Approver"}),
		"final-once":        conclude(acknowledged(app(), tickets.Approve), tickets.Outcome{Verdict: tickets.Approve, Duration: "Once"}),
		"final-denied":      conclude(acknowledged(app(), tickets.Deny), tickets.Outcome{Verdict: tickets.Deny, By: "Ann Approver"}),
		"final-console":     conclude(started(app()), tickets.Outcome{Verdict: tickets.Approve, Duration: "2678400", By: "carol@acme.example"}),
		"final-overruled":   conclude(acknowledged(app(), tickets.Approve), tickets.Outcome{Verdict: tickets.Deny, By: "carol@acme.example"}),
		"final-other-word":  conclude(started(app()), tickets.Outcome{Verdict: tickets.Other, Raw: "Escal*ated*\n<!here>", By: "x"}),
		"final-hostile": conclude(acknowledged(hostile, tickets.Approve), tickets.Outcome{
			Verdict: tickets.Approve, Duration: hostile.Reason, By: hostile.Reason, Imitates: true}),
	}
}

func chat(t testing.TB) *Chat {
	t.Helper()
	c, err := New(Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, Log: slog.New(slog.DiscardHandler)})
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
	for _, bad := range []string{"<!channel", "<!here", "<!everyone", "\u202e", "\u200b", "\x00"} {
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
	names := []string{"submitting", "submitting-deny", "refused", "submitted-overdue", "final-approved", "final-denied", "final-console", "final-overruled", "final-other-word", "inactive", "final-hostile"}
	for _, name := range names {
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

func forms() map[string]adapters.Form {
	app := started(adaptertest.Request())
	hostile := adaptertest.Hostile()
	hostile.Imitates = true
	approve := func(v tickets.Form, p tickets.Problems) adapters.Form {
		return adapters.Form{Ticket: app, Verdict: tickets.Approve, Values: v, Problems: p}
	}
	return map[string]adapters.Form{
		"approve-once":     approve(tickets.Form{Unit: tickets.UnitOnce}, nil),
		"approve-minutes":  approve(tickets.Form{Unit: tickets.UnitMinutes, Amount: "30"}, nil),
		"approve-hours":    approve(tickets.Form{Unit: tickets.UnitHours, Amount: "2", Reason: "ok"}, nil),
		"approve-problems": approve(tickets.Form{Unit: tickets.UnitHours, Amount: "2 or 3"}, tickets.Problems{tickets.FieldReason: tickets.SayReason, tickets.FieldAmount: tickets.SayHours}),
		"approve-odd":      approve(tickets.Form{Unit: "weeks", Amount: "\x00", Reason: strings.Repeat("x\x00\xff", 2000)}, nil),
		"approve-admin":    {Ticket: started(adminRequest()), Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitMinutes, Amount: "30"}},
		"deny":             {Ticket: app, Verdict: tickets.Deny},
		"approve-hostile":  {Ticket: started(hostile), Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}},
		"approve-long-number": {Ticket: with(started(adaptertest.Request()), func(t *tickets.Ticket) {
			t.Number = "SCTASK-123456789012345678"
		}), Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}},
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
	for name, f := range forms() {
		t.Run(name, func(t *testing.T) { check(t, "form-"+name, formView(f)) })
	}
	for _, name := range []string{"pending", "pending-bare", "pending-hostile"} {
		t.Run("details-"+name, func(t *testing.T) { check(t, "form-details-"+name, detailsView(states()[name])) })
	}
	t.Run("many fields", func(t *testing.T) {
		tk := started(adaptertest.Hostile())
		for range 400 {
			tk.Request.Fields = append(tk.Request.Fields, tickets.Field{Name: strings.Repeat("n", 300), Value: strings.Repeat("\u202e😀\x00", 100_000)})
		}
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
	t.Run("note", func(t *testing.T) { check(t, "form-note", noteView(tickets.SayFinal+" <!channel>")) })
}

// TestAmountOnlyWithUnit is the rule of the form that people notice first.
func TestAmountOnlyWithUnit(t *testing.T) {
	for unit, want := range map[tickets.Unit]bool{tickets.UnitOnce: false, tickets.UnitMinutes: true, tickets.UnitHours: true, "": false} {
		raw, _ := json.Marshal(formView(adapters.Form{Ticket: started(adaptertest.Request()), Verdict: tickets.Approve, Values: tickets.Form{Unit: unit}}))
		if got := strings.Contains(string(raw), `"block_id":"amount"`); got != want {
			t.Errorf("unit %q: amount is in the form: %v, want %v", unit, got, want)
		}
	}
}

func TestMentionOnNewTickets(t *testing.T) {
	c, err := New(Config{BotToken: "xoxb-x", SigningSecrets: []string{"s"}, Card: func() adapters.Card {
		return adapters.Card{Fields: []string{"reason", "nonsense", "user"}, Assign: tickets.Principal{Platform: Platform, Kind: tickets.Group, ID: "S01HELP"}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := c.card(started(adaptertest.Request()))
	checkMessage(t, m)
	raw, _ := encode(m.blocks)
	if !strings.Contains(string(raw), "<!subteam^S01HELP>") {
		t.Errorf("no mention: %s", raw)
	}
	if strings.Contains(string(raw), "7zFM.exe") || !strings.Contains(string(raw), "unpack the installer") {
		t.Errorf("the card does not show the fields that were set: %s", raw)
	}
	raw, _ = encode(c.card(acknowledged(adaptertest.Request(), tickets.Approve)).blocks)
	if strings.Contains(string(raw), "<!subteam") {
		t.Error("a decided ticket still mentions the group")
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
	m := c.card(started(adaptertest.Request()))
	m.blocks = slices.Concat(m.blocks, m.blocks) // the same block_id twice
	got := c.sendable(m, "JIT-1042")
	checkMessage(t, got)
	raw, _ := encode(got.blocks)
	if !strings.Contains(string(raw), "approve") || !strings.Contains(got.text, "JIT-1042") {
		t.Errorf("the plain message cannot be decided: %s", raw)
	}
}

func writeGolden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	var pretty strings.Builder
	e := json.NewEncoder(&pretty)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(json.RawMessage(got)); err != nil {
		t.Fatal(err)
	}
	Golden(t, filepath.Join("golden", name), []byte(pretty.String()))
}

// Golden compares got with a file below testdata, or writes it.
func Golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; go test -update rewrites it. Got:\n%s", path, got)
	}
}
