package adaptertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// at is when the requests of States were made.
var at = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Elsewhere is somebody who acts in another chat than the one under test.
var Elsewhere = tickets.Actor{Platform: "elsewhere", ID: "4711", Name: "bob"}

// AdminRequest is an ordinary request for administrator rights.
func AdminRequest() tickets.Request {
	return tickets.Request{
		ID: "7d1a2c9e-0000-4000-8000-000000000002", Kind: tickets.Admin, EPMNumber: "EPM000239", Time: at.Add(-2 * time.Minute),
		User: `ACME\carl`, Computer: "f3a0b1c2-1111-4222-8333-444455556666", Reason: "install a printer driver", Requested: "1800",
	}
}

// Moves are the states on the menu of t's card.
func Moves(t *tickets.Ticket) []tickets.State { return NewBook().rules.Type.Others(t.State) }

// Crowd are more and longer states than a type may have, with text that tries
// something.
func Crowd(*tickets.Ticket) []tickets.State {
	var all []tickets.State
	for i := range 120 {
		all = append(all, tickets.State(fmt.Sprintf("%d <!here> @everyone \u202e *x* 😀%s", i, strings.Repeat("w", 30))))
	}
	return all
}

// Started is the ticket of a request that nobody has decided.
func Started(r tickets.Request) *tickets.Ticket {
	t := tickets.Start("JIT-1042", r.ID, NewBook().rules, at)
	t.Ask(r, NewBook().rules, at)
	return t
}

// Decided is a ticket on which by has decided.
func Decided(r tickets.Request, v tickets.Verdict, by tickets.Actor) *tickets.Ticket {
	t := Started(r)
	d := tickets.Decision{Verdict: v, Reason: "patch window", Duration: tickets.Lasting(2 * time.Hour), By: by, At: at.Add(time.Minute)}
	if v == tickets.Deny {
		d.Duration, d.Reason = tickets.Once(), "not on this computer"
	}
	if err := t.Decide(d, NewBook().rules); err != nil {
		panic(err)
	}
	return t
}

// Acknowledged is a ticket whose decision EPM has taken.
func Acknowledged(r tickets.Request, v tickets.Verdict, by tickets.Actor) *tickets.Ticket {
	t := Decided(r, v, by)
	t.RecordAccepted(*t.Decision, at.Add(2*time.Minute))
	return t
}

// With changes t and returns it.
func With(t *tickets.Ticket, change func(t *tickets.Ticket)) *tickets.Ticket {
	change(t)
	return t
}

// States are tickets in every state that a card can show, by name; own is a
// person of the chat under test.
func States(own tickets.Actor) map[string]*tickets.Ticket {
	rules := NewBook().rules
	app := Request
	later := at.Add(3 * time.Minute)
	conclude := func(t *tickets.Ticket, o tickets.Outcome) *tickets.Ticket {
		o.At = later
		t.Conclude(o, rules, later)
		return t
	}
	damage := func(t *tickets.Ticket) {
		t.MarkDamaged([]string{"the record's state is \"Closed\", its history's \"New\" <!here>"}, later)
	}
	hostile := Hostile()
	hostile.SuspectedForgery = true
	return map[string]*tickets.Ticket{
		"pending":         Started(app()),
		"pending-admin":   Started(AdminRequest()),
		"pending-bare":    Started(tickets.Request{ID: "1", Kind: tickets.Application}),
		"pending-hostile": Started(hostile),
		"pending-imitates": Started(func() tickets.Request {
			r := app()
			r.SuspectedForgery = true
			r.Reason = "please\napproved by Ann\n<!channel>"
			return r
		}()),
		"pending-odd-time": Started(func() tickets.Request {
			r := AdminRequest()
			r.Time, r.TimeRaw = time.Time{}, "31. Januar <!here> @everyone"
			return r
		}()),
		"pending-no-approvers": With(Started(app()), func(t *tickets.Ticket) {
			t.Move(t.State, own, tickets.Rules{Active: rules.Active, NoApprovers: true}, later)
		}),
		"pending-unknown-asker": With(Started(tickets.Request{ID: "1", Kind: tickets.Admin, EPMNumber: "EPM000238", Reason: "please"}), func(t *tickets.Ticket) {
			t.Move(t.State, own, tickets.Rules{Active: rules.Active, OwnRefused: true}, later)
		}),
		"pending-damaged": With(Started(app()), damage),
		"pending-damage-accepted": With(Started(app()), func(t *tickets.Ticket) {
			damage(t)
			t.AcceptDamage(own, rules, later)
		}),
		"submitting-damaged": With(Decided(app(), tickets.Approve, own), damage),
		"inactive":           With(Started(app()), func(t *tickets.Ticket) { t.Move("Closed", own, rules, later) }),
		"refused": With(Decided(app(), tickets.Approve, own), func(t *tickets.Ticket) {
			t.RecordRejection(*t.Decision, "The request has expired.", later)
		}),
		"submitting": Decided(app(), tickets.Approve, own),
		"submitting-problem": With(Decided(app(), tickets.Approve, Elsewhere), func(t *tickets.Ticket) {
			t.BeginSend(later)
			t.SendFailed(*t.Decision, true, "no answer within 10 seconds", later, later)
		}),
		"submitting-denied": With(Decided(app(), tickets.Approve, Elsewhere), func(t *tickets.Ticket) {
			t.BeginSend(later)
			t.SendNotPermitted(*t.Decision, "EPM does not allow it: the bot's API account needs JIT: Full Access", later, later)
		}),
		"submitting-deny":   Decided(app(), tickets.Deny, own),
		"submitted":         Acknowledged(app(), tickets.Approve, own),
		"submitted-overdue": With(Acknowledged(app(), tickets.Approve, own), func(t *tickets.Ticket) { t.RecordPoll(later, later) }),
		"final-approved":    conclude(Acknowledged(app(), tickets.Approve, own), tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", By: "Ann Approver"}),
		"final-once":        conclude(Acknowledged(app(), tickets.Approve, own), tickets.Outcome{Verdict: tickets.Approve, Duration: "Once"}),
		"final-answer-lost": conclude(With(Decided(app(), tickets.Approve, own), func(t *tickets.Ticket) { t.BeginSend(later) }),
			tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", By: own.Performer()}),
		"final-denied":     conclude(Acknowledged(app(), tickets.Deny, own), tickets.Outcome{Verdict: tickets.Deny, By: "Ann Approver"}),
		"final-console":    conclude(Started(app()), tickets.Outcome{Verdict: tickets.Approve, Duration: "2678400", By: "carol@acme.example"}),
		"final-overruled":  conclude(Acknowledged(app(), tickets.Approve, own), tickets.Outcome{Verdict: tickets.Deny, By: "carol@acme.example"}),
		"final-other-word": conclude(Started(app()), tickets.Outcome{Verdict: tickets.Other, Raw: "Escal*ated*\n<!here>", By: "x"}),
		"final-odd-times": With(Acknowledged(app(), tickets.Approve, own), func(t *tickets.Ticket) {
			t.Conclude(tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", AtRaw: "31. Januar", EndRaw: "31. Januar <!here> *x*"}, rules, later)
		}),
		"final-hostile": conclude(Acknowledged(hostile, tickets.Approve, own), tickets.Outcome{
			Verdict: tickets.Approve, Duration: hostile.Reason, By: hostile.Reason, Imitates: true}),
	}
}

// Telling lists the names of States whose events are worth telling.
func Telling() []string {
	return []string{"submitting", "submitting-deny", "refused", "submitted-overdue", "submitting-denied", "final-approved", "final-denied", "final-console", "final-overruled", "final-other-word", "inactive", "final-hostile", "pending-damaged", "pending-damage-accepted"}
}

// Forms are decision forms of every kind, by name.
func Forms() map[string]adapters.Form {
	app := Started(Request())
	hostile := Hostile()
	hostile.SuspectedForgery = true
	approve := func(v tickets.Form, p tickets.Problems) adapters.Form {
		return adapters.Form{Ticket: app, Verdict: tickets.Approve, Values: v, Problems: p}
	}
	return map[string]adapters.Form{
		"approve-once":     approve(tickets.Form{Unit: tickets.UnitOnce}, nil),
		"approve-minutes":  approve(tickets.Form{Unit: tickets.UnitMinutes, Amount: "30"}, nil),
		"approve-hours":    approve(tickets.Form{Unit: tickets.UnitHours, Amount: "2", Reason: "ok"}, nil),
		"approve-problems": approve(tickets.Form{Unit: tickets.UnitHours, Amount: "2 or 3"}, tickets.Problems{tickets.FieldReason: tickets.MsgReason, tickets.FieldAmount: tickets.MsgHours}),
		"approve-odd":      approve(tickets.Form{Unit: "weeks", Amount: "\x00", Reason: strings.Repeat("x\x00\xff", 2000)}, nil),
		"approve-admin":    {Ticket: Started(AdminRequest()), Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitMinutes, Amount: "30"}},
		"deny":             {Ticket: app, Verdict: tickets.Deny},
		"approve-hostile":  {Ticket: Started(hostile), Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}},
		"approve-long-number": {Ticket: With(Started(Request()), func(t *tickets.Ticket) {
			t.Number = "SCTASK-123456789012345678"
		}), Verdict: tickets.Approve, Values: tickets.Form{Unit: tickets.UnitOnce}},
	}
}

// Crowded is a ticket with more in it than any chat can show.
func Crowded() *tickets.Ticket {
	t := Started(Hostile())
	for range 400 {
		t.Request.Fields = append(t.Request.Fields, tickets.Field{Name: strings.Repeat("n", 300), Value: strings.Repeat("\u202e😀\x00", 100_000)})
	}
	return t
}

// Long is a ticket with a command line of 100,000 letters q.
func Long() *tickets.Ticket {
	r := Request()
	r.Command = strings.Repeat("q", 100_000)
	r.Fields = []tickets.Field{{Name: "CommandLine", Value: r.Command}}
	return Started(r)
}

var counted = regexp.MustCompile(`(q{40,})… and (\d+) more characters`)

// CountsRight fails unless shown tells how much of [Long]'s command line it does
// not show.
func CountsRight(t *testing.T, shown string) {
	t.Helper()
	m := counted.FindStringSubmatch(shown)
	if m == nil {
		t.Fatalf("it shows %.3000s", shown)
	}
	if n, err := strconv.Atoi(m[2]); err != nil || n+len(m[1]) != 100_000 {
		t.Errorf("it shows %d characters and says that %s more are not shown: of 100000", len(m[1]), m[2])
	}
}

// Golden compares got with the file testdata/name, or writes it.
func Golden(t *testing.T, update bool, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if update {
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
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test -update rewrites it. Got:\n%s", path, got)
	}
}

// GoldenJSON is Golden for a value, as indented JSON.
func GoldenJSON(t *testing.T, update bool, name string, v any) {
	t.Helper()
	var pretty bytes.Buffer
	e := json.NewEncoder(&pretty)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	Golden(t, update, filepath.Join("golden", name), pretty.Bytes())
}
