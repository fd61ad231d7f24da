package bot_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

func (w *world) click(n tickets.Number, by tickets.Actor, a adapters.Action) adapters.Answer {
	answer := w.bot.Click(context.Background(), adapters.Click{Actor: by, Place: place, Number: n, Digest: w.digest(n), Action: a})
	w.bot.Written(w.t.Context())
	return answer
}

func started(t *testing.T) (*world, tickets.Number) {
	t.Helper()
	w := newWorld(t)
	w.start()
	return w, w.shown("r")
}

// shown is the number of a new request that is shown already.
func (w *world) shown(id string) tickets.Number {
	w.t.Helper()
	n := w.ask(id)
	w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
	return n
}

func wantNote(t *testing.T, a adapters.Answer, want string) {
	t.Helper()
	if got, ok := a.(adapters.Note); !ok || !strings.Contains(got.Text, want) {
		t.Errorf("answer = %#v, want a note with %q", a, want)
	}
}

// said is the text of an answer to a command.
func said(a adapters.Answer) string {
	switch a := a.(type) {
	case adapters.Note:
		return a.Text
	case adapters.Page:
		return a.Text
	case adapters.Settings:
		return a.Text
	}
	return ""
}

func TestClickOpensForm(t *testing.T) {
	w, n := started(t)
	for action, verdict := range map[adapters.Action]tickets.Verdict{adapters.ActionApprove: tickets.Approve, adapters.ActionDeny: tickets.Deny} {
		f, ok := w.click(n, ann, action).(adapters.Form)
		if !ok || f.Verdict != verdict || f.Ticket.Number != n || len(f.Problems) > 0 {
			t.Errorf("%s = %#v, want the form", action, f)
		}
	}
	if d, ok := w.click(n, sam, adapters.ActionDetails).(adapters.Details); !ok || d.Ticket.Number != n {
		t.Errorf("details = %#v", d)
	}
	wantNote(t, w.click(n, ann, "launch"), "I do not know this button")
	wantNote(t, w.click("JIT-7", ann, adapters.ActionApprove), "no ticket JIT-7")
}

func TestWhoMayDecide(t *testing.T) {
	group := tickets.Principal{Platform: "chat", Kind: tickets.Group, ID: "S1"}
	for name, c := range map[string]struct {
		approvers []tickets.Principal
		holds     func(tickets.Principal, tickets.Actor) (bool, error)
		refusal   string // empty: allowed
	}{
		"ByName":           {approvers: []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: "U1"}}},
		"NobodyConfigured": {refusal: wording.MsgNoApprovers},
		"SomebodyElse":     {approvers: []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: "U2"}}, refusal: wording.MsgNotApprover},
		"OtherPlatform":    {approvers: []tickets.Principal{{Platform: "other", Kind: tickets.User, ID: "U1"}}, refusal: wording.MsgNotApprover},
		"InGroup":          {approvers: []tickets.Principal{group}, holds: func(tickets.Principal, tickets.Actor) (bool, error) { return true, nil }},
		"GroupUnreadable":  {approvers: []tickets.Principal{group}, holds: func(tickets.Principal, tickets.Actor) (bool, error) { return false, errors.New("away") }, refusal: wording.MsgCannotCheck},
		"YesWithError":     {approvers: []tickets.Principal{group}, holds: func(tickets.Principal, tickets.Actor) (bool, error) { return true, errors.New("away") }, refusal: wording.MsgCannotCheck},
		"NamedAndUnreadable": {approvers: []tickets.Principal{group, {Platform: "chat", Kind: tickets.User, ID: "U1"}}, holds: func(p tickets.Principal, a tickets.Actor) (bool, error) {
			if p.Kind == tickets.Group {
				return false, errors.New("away")
			}
			return p.ID == a.ID, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.approvers, w.chat.holds = c.approvers, c.holds
			w.start()
			n := w.shown("r")
			clicked, submitted := w.click(n, ann, adapters.ActionApprove), w.approve(n, ann, twoHours)
			if c.refusal == "" {
				if _, ok := clicked.(adapters.Form); !ok || submitted != (adapters.Done{}) {
					t.Errorf("click = %#v, submit = %#v; want both allowed", clicked, submitted)
				}
				return
			}
			wantNote(t, clicked, c.refusal)
			wantNote(t, submitted, c.refusal)
			if got, _ := w.store.Get(t.Context(), n); got.Decision != nil {
				t.Errorf("decision = %+v, want none", got.Decision)
			}
		})
	}
}

// TestOwnRequest: ann, as the chat knows her, decides a request.
func TestOwnRequest(t *testing.T) {
	away := errors.New("away")
	for name, c := range map[string]struct {
		user    string
		who     selfcheck.Identity
		err     error
		own     bool   // self-approval is allowed
		refusal string // empty: allowed
		again   bool
		log     string
	}{
		"SomebodyElse":     {user: `ACME\jdoe`, who: selfcheck.Identity{Emails: []string{"ann@acme.com"}, Names: []string{"Ann"}}},
		"SameAddress":      {user: "JDoe@acme.com", who: selfcheck.Identity{Emails: []string{"jdoe@ACME.com"}}, refusal: wording.MsgOwnRequest, log: "it is same their own"},
		"AccountIsAlike":   {user: `ACME\jdoe`, who: selfcheck.Identity{Emails: []string{"jdoe@acme.com"}}, refusal: `made by ACME\jdoe, and you are jdoe@acme.com`, log: "it is perhaps their own"},
		"NobodyAsked":      {who: selfcheck.Identity{Emails: []string{"ann@acme.com"}}, refusal: wording.MsgUnknownAsker, log: "it is perhaps their own"},
		"CannotBeFoundOut": {user: `ACME\jdoe`, err: away, refusal: wording.MsgCannotTell, again: true, log: "cannot tell whose request it is"},
		"AddressesAreHidden": {user: `ACME\jdoe`, err: fmt.Errorf("profile: %w", &tickets.Failure{Class: tickets.Rejected, UserMessage: "Chat hides addresses: Settings, Display", Err: away}),
			refusal: "Chat hides addresses: Settings, Display", again: true, log: "cannot tell whose request it is"},
		"NothingIsKnown": {user: `ACME\jdoe`, refusal: wording.MsgCannotTell, again: true, log: "it is perhaps their own"},
		"SameAndAllowed": {user: "jdoe@acme.com", who: selfcheck.Identity{Emails: []string{"jdoe@acme.com"}}, own: true},
		"AwayAndAllowed": {user: `ACME\jdoe`, err: away, own: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			log := &logged{}
			w.log, w.own = slog.NewTextHandler(log, nil), c.own
			w.chat.who = func(tickets.Actor) (selfcheck.Identity, error) { return c.who, c.err }
			w.start()
			in := request("r")
			in.Update.Request.User = c.user
			r, err := w.bot.Keep(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			n := r.Ticket
			w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
			for _, a := range []adapters.Action{adapters.ActionApprove, adapters.ActionDeny} {
				clicked := w.click(n, ann, a)
				if c.refusal != "" {
					wantNote(t, clicked, c.refusal)
				} else if _, ok := clicked.(adapters.Form); !ok {
					t.Errorf("click %s = %#v, want the form", a, clicked)
				}
			}
			if _, ok := w.click(n, ann, adapters.ActionDetails).(adapters.Details); !ok {
				t.Error("no details")
			}
			submitted := w.approve(n, ann, twoHours)
			if c.refusal == "" {
				if submitted != (adapters.Done{}) {
					t.Errorf("submit = %#v, want it done", submitted)
				}
				return
			}
			wantNote(t, submitted, c.refusal)
			if got, ok := submitted.(adapters.Note); ok && got.Retryable != c.again {
				t.Errorf("what was typed is kept: %v, want %v", got.Retryable, c.again)
			}
			deny := adapters.Submission{Actor: ann, Place: place, Number: n, Digest: w.digest(n), Verdict: tickets.Deny, Form: tickets.Form{Reason: "mine"}}
			wantNote(t, w.bot.Submit(t.Context(), deny), c.refusal)
			if got, _ := w.store.Get(t.Context(), n); got.Decision != nil {
				t.Errorf("decision = %+v, want none", got.Decision)
			}
			if !log.has("msg=\"authorization denied\"") || !log.has(c.log) || log.has("jdoe") || log.has("JDoe") {
				t.Errorf("the log has no refusal with %q, or it holds who asked:\n%s", c.log, &log.buf)
			}
		})
	}
}

func TestFormProblemsStayInForm(t *testing.T) {
	w, n := started(t)
	f, ok := w.approve(n, ann, tickets.Form{Reason: "  ", Unit: tickets.UnitHours, Amount: "25"}).(adapters.Form)
	want := tickets.Problems{tickets.FieldReason: tickets.MsgReason, tickets.FieldAmount: tickets.MsgHours}
	if !ok || len(f.Problems) != 2 || f.Problems[tickets.FieldReason] != want[tickets.FieldReason] || f.Problems[tickets.FieldAmount] != want[tickets.FieldAmount] {
		t.Errorf("problems = %v, want %v", f.Problems, want)
	}
	if f.Values.Amount != "25" {
		t.Errorf("values = %+v, want what was typed", f.Values)
	}
}

func TestManyDecideAtOnce(t *testing.T) {
	w, n := started(t)
	var wg sync.WaitGroup
	answers := make([]adapters.Answer, 20)
	for i := range answers {
		by := []tickets.Actor{ann, bob}[i%2]
		wg.Go(func() {
			answers[i] = w.approve(n, by, tickets.Form{Reason: fmt.Sprint("because ", i), Unit: tickets.UnitOnce})
		})
	}
	wg.Wait()
	done := 0
	for _, a := range answers {
		if a == (adapters.Done{}) {
			done++
			continue
		}
		if text := a.(adapters.Note).Text; !strings.Contains(text, "approved") && !strings.Contains(text, tickets.MsgFinal) {
			t.Errorf("a loser was told %q, want who was faster", text)
		}
	}
	if done != 1 {
		t.Errorf("%d decided, want 1", done)
	}
	w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
	wantNote(t, w.approve(n, bob, twoHours), tickets.MsgFinal)
	wantNote(t, w.click(n, bob, adapters.ActionDeny), tickets.MsgFinal)
	if len(w.epm.taken["r"]) != 1 {
		t.Errorf("%d decisions at EPM, want 1", len(w.epm.taken["r"]))
	}
}

func TestSameFormDeliveredTwiceIsOneDecision(t *testing.T) {
	w, n := started(t)
	for range 2 {
		if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
			t.Errorf("Submit = %#v, want Done", a)
		}
	}
}

func TestInactive(t *testing.T) {
	w, n := started(t)
	cmd := func(by tickets.Actor, text string) string {
		return w.bot.Command(context.Background(), adapters.Command{Actor: by, Place: place, Text: text}).(adapters.Note).Text
	}
	if got := cmd(sam, "state "+string(n)+" Closed"); got != wording.MsgNotAdmin {
		t.Errorf("a stranger was told %q, want %q", got, wording.MsgNotAdmin)
	}
	if got := cmd(ann, "state "+string(n)+" nowhere"); !strings.Contains(got, "New, In Progress") {
		t.Errorf("unknown state: %q, want the list", got)
	}
	if got := cmd(ann, "STATE "+strings.ToLower(string(n))+" on hold"); !strings.Contains(got, "On Hold") {
		t.Errorf("state = %q", got)
	}
	cmd(ann, "state "+string(n)+" resolved")
	wantNote(t, w.click(n, ann, adapters.ActionApprove), tickets.MsgInactive)
	wantNote(t, w.approve(n, ann, twoHours), tickets.MsgInactive)
	shown := func(open bool) func(*tickets.Ticket) bool {
		return func(*tickets.Ticket) bool {
			w.chat.mu.Lock()
			defer w.chat.mu.Unlock()
			return w.chat.posts[0].shown.Open() == open
		}
	}
	w.until(n, "shown without buttons", shown(false))
	cmd(ann, "state "+string(n)+" new")
	w.until(n, "shown with buttons", shown(true))
	if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
		t.Errorf("Submit = %#v, want Done", a)
	}
}

// TestMenuMovesTheState: what arrives from a card's menu is checked like what
// is typed.
func TestMenuMovesTheState(t *testing.T) {
	w, n := started(t)
	choose := func(by tickets.Actor, n tickets.Number, s tickets.State) adapters.Answer {
		return w.bot.Click(context.Background(), adapters.Click{Actor: by, Place: place, Number: n, Digest: w.digest(n), Action: adapters.ActionState, State: s})
	}
	for _, by := range []tickets.Actor{sam, bob} { // bob is an approver
		if a := choose(by, n, "Closed"); a != (adapters.Note{Text: wording.MsgNotAdmin}) {
			t.Errorf("%s is answered %#v, want %q", by.Name, a, wording.MsgNotAdmin)
		}
	}
	wantNote(t, choose(sam, "JIT-7", "Closed"), wording.MsgNotAdmin) // and learns nothing of tickets
	wantNote(t, choose(ann, "JIT-7", "Closed"), "no ticket JIT-7")
	for _, s := range []tickets.State{"", "nowhere", "Work in Progress", "New, Closed", tickets.State(strings.Repeat("<!channel>", 1000))} {
		wantNote(t, choose(ann, n, s), "There is no such state. Choose one of: New, In Progress, On Hold, Resolved, Closed, Cancelled.")
	}
	w.bot.Written(t.Context())
	if got, err := w.store.Get(t.Context(), n); err != nil || got.State != "New" || fmt.Sprint(kindsOf(got)) != "[received card_posted access_denied access_denied]" {
		t.Fatalf("the ticket is %+v, %v; want it untouched, and who tried in its history", got, err)
	}
	if menu := w.bot.Card("chat").Moves; fmt.Sprint(menu(&tickets.Ticket{Type: "Incident", State: "New"})) != "[In Progress On Hold Resolved Closed Cancelled]" ||
		len(menu(&tickets.Ticket{Type: "Abolished", State: "Odd"})) != 0 {
		t.Error("a menu offers other states than those of the ticket's type")
	}
	for range 2 { // a platform may deliver it twice
		if a := choose(ann, n, "Closed"); a != (adapters.Done{}) {
			t.Errorf("Closed is answered %#v", a)
		}
	}
	wantNote(t, w.click(n, bob, adapters.ActionApprove), tickets.MsgInactive)
	w.bot.Written(t.Context())
	got := w.until(n, "moved", func(t *tickets.Ticket) bool { return t.State == "Closed" })
	if e := got.Events[4]; fmt.Sprint(kindsOf(got)[4:]) != "[state access_denied]" || e.Actor.ID != ann.ID || e.Text != "Closed" {
		t.Errorf("the history is %+v", got.Events)
	}
	choose(ann, n, "In Progress")
	if a := w.approve(n, bob, twoHours); a != (adapters.Done{}) {
		t.Errorf("Submit = %#v, want Done", a)
	}
	w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
	if a := choose(ann, n, "Resolved"); a != (adapters.Done{}) {
		t.Errorf("Resolved is answered %#v", a)
	}
	if got, err := w.store.Get(t.Context(), n); err != nil || got.State != "Resolved" || got.Progress() != tickets.Submitted {
		t.Errorf("the ticket is %+v, %v; want the decision to stand", got, err)
	}
}

func TestCardFollowsSettingsWhenSomebodyTries(t *testing.T) {
	w, n := started(t)
	w.rules.Active = []tickets.State{"In Progress"}
	w.restart()
	wantNote(t, w.click(n, ann, adapters.ActionApprove), tickets.MsgInactive)
	w.until(n, "corrected", func(t *tickets.Ticket) bool { return !t.Active && t.Message(place).Shown == t.Rev })
}

func TestDecidedInConsole(t *testing.T) {
	w, n := started(t)
	w.conclude("r", tickets.Outcome{Verdict: tickets.Deny, By: "console admin", At: time.Now()})
	wantNote(t, w.approve(n, ann, twoHours), tickets.MsgFinal)
	got := w.until(n, "settled", settled)
	if got.Progress() != tickets.Final || len(w.epm.taken["r"]) != 0 {
		t.Errorf("progress = %s with %d sends, want final without any", got.Progress(), len(w.epm.taken["r"]))
	}
}

func TestUpdateBeforeRequest(t *testing.T) {
	w := newWorld(t)
	w.start()
	r := w.conclude("r", tickets.Outcome{Verdict: tickets.Approve, Duration: "3600", At: time.Now()})
	if r.Status != tickets.StatusUpdated || r.Ticket == "" {
		t.Errorf("receipt = %+v, want updated", r)
	}
	if n := w.ask("r"); n != r.Ticket {
		t.Errorf("the request made %s, want it joined to %s", n, r.Ticket)
	}
	got := w.until(r.Ticket, "settled", settled)
	w.chat.mu.Lock()
	defer w.chat.mu.Unlock()
	if len(w.chat.posts) != 1 || w.chat.posts[0].shown.Progress() != tickets.Final {
		t.Errorf("messages = %d, progress %s; want one that is final", len(w.chat.posts), got.Progress())
	}
}

func TestWebhooksThatChangeNothing(t *testing.T) {
	w, n := started(t)
	again := request("r")
	again.ID = "in-again"
	if r, err := w.bot.Keep(t.Context(), again); err != nil || r.Status != tickets.StatusDuplicate || r.Ticket != n {
		t.Errorf("again = %+v, %v; want a duplicate of %s", r, err, n)
	}
	o := tickets.Outcome{Verdict: tickets.Deny, At: time.Now()}
	if r := w.conclude("r", o); r.Status != tickets.StatusUpdated {
		t.Errorf("outcome = %+v, want updated", r)
	}
	if r := w.conclude("r", o); r.Status != tickets.StatusDuplicate {
		t.Errorf("same outcome = %+v, want a duplicate", r)
	}
	older := tickets.Outcome{Verdict: tickets.Approve, At: o.At.Add(-time.Hour)}
	if r := w.conclude("r", older); r.Status != tickets.StatusDuplicate {
		t.Errorf("older outcome = %+v, want it to change nothing", r)
	}
	if r, err := w.bot.Keep(t.Context(), tickets.Incoming{ID: "in-wait", At: time.Now(), Update: &tickets.Update{ID: "r", Waiting: true}}); err != nil || r.Status != tickets.StatusDuplicate || r.Ticket != n {
		t.Errorf("waiting = %+v, %v; want nothing changed", r, err)
	}
	newer := tickets.Outcome{Verdict: tickets.Approve, At: o.At.Add(time.Hour)}
	if r := w.conclude("r", newer); r.Status != tickets.StatusUpdated {
		t.Errorf("newer outcome = %+v, want updated: the console has the last word", r)
	}
	if r, err := w.bot.Keep(t.Context(), tickets.Incoming{ID: "in-bad", At: time.Now(), Raw: []byte("{"), Error: "not JSON"}); err != nil || r.Status != tickets.StatusFailed {
		t.Errorf("unreadable = %+v, %v; want it kept as failed", r, err)
	}
}

func TestOutcomeIsReadBackWhenItsWebhookIsLost(t *testing.T) {
	w, n := started(t)
	w.approve(n, ann, twoHours)
	w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
	w.epm.mu.Lock()
	w.epm.outcomes["r"] = nil
	w.epm.mu.Unlock()
	w.advance(4 * time.Minute)
	w.until(n, "overdue", func(t *tickets.Ticket) bool { return t.Sending.Polls == 1 })
	w.epm.mu.Lock()
	w.epm.outcomes["r"] = outcome(w.epm.taken["r"][0])
	w.epm.mu.Unlock()
	w.advance(10 * time.Minute)
	w.until(n, "final", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Final && settled(t) })
	// The late webhook tells the same and is told to nobody twice.
	events := len(w.until(n, "settled", settled).Events)
	o := *outcome(w.epm.first("r"))
	o.End = o.At.Add(2 * time.Hour)
	w.conclude("r", o)
	got := w.until(n, "settled", settled)
	if len(got.Events) != events+1 || got.Events[events].Kind != tickets.EventOutcomeAmended || got.Outcome.End.IsZero() {
		t.Errorf("events %+v, outcome %+v; want one more than %d that nobody is told of, and the end filled in", got.Events, got.Outcome, events)
	}
}

// A definite no after an attempt that may have succeeded must not open the
// ticket for another decision.
func TestNoReopeningWhileEPMMayHaveTheDecision(t *testing.T) {
	w, n := started(t)
	w.epm.unread = true
	w.epm.plan(tickets.StepSend, fault{tickets.Ambiguous, true}, fault{tickets.Rejected, false})
	w.approve(n, ann, twoHours)
	w.until(n, "failing", func(t *tickets.Ticket) bool { return t.Sending.Problem != "" })
	w.advance(time.Minute)
	got := w.until(n, "refused after unclear", func(t *tickets.Ticket) bool { return strings.Contains(t.Sending.Problem, "earlier attempt") })
	if got.Progress() != tickets.Submitting {
		t.Errorf("progress = %s, want submitting", got.Progress())
	}
	wantNote(t, w.approve(n, bob, twoHours), "approved")
}

// EPM may show a decision only a while after it took it: its word that there
// is none is not believed at once.
func TestNoReopeningSoonAfterAnUnclearAttempt(t *testing.T) {
	w, n := started(t)
	w.epm.plan(tickets.StepSend, fault{tickets.Ambiguous, false}, fault{tickets.Rejected, false}, fault{tickets.Rejected, false})
	w.approve(n, ann, twoHours)
	w.until(n, "failing", func(t *tickets.Ticket) bool { return t.Sending.Problem != "" })
	w.advance(time.Minute)
	got := w.until(n, "refused after unclear", func(t *tickets.Ticket) bool { return strings.Contains(t.Sending.Problem, "earlier attempt") })
	if got.Progress() != tickets.Submitting {
		t.Errorf("progress = %s, want submitting", got.Progress())
	}
	w.advance(tickets.AmbiguityWindow)
	w.until(n, "open again", func(t *tickets.Ticket) bool { return t.Open() && t.Refusal != nil })
}

// A look that may not read must not hold up decisions.
func TestForbiddenLooksDelayNoDecision(t *testing.T) {
	w, n := started(t)
	w.epm.unread = true
	w.approve(n, ann, twoHours)
	w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
	w.advance(4 * time.Minute)
	w.until(n, "looked", func(t *tickets.Ticket) bool { return t.Sending.Polls == 1 })
	other := w.ask("other")
	w.approve(other, bob, twoHours)
	w.until(other, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
}

func TestStoreAwayIsSaid(t *testing.T) {
	w, n := started(t)
	w.stop()
	wantNote(t, w.click(n, ann, adapters.ActionApprove), "cannot reach my store")
	wantNote(t, w.approve(n, ann, twoHours), "cannot reach my store")
	if _, err := w.bot.Keep(t.Context(), request("x")); err == nil {
		t.Error("Keep = nil, want an error: EPM must send it again")
	}
}

func TestCommands(t *testing.T) {
	w, n := started(t)
	for text, want := range map[string]string{
		"":                    "/epm status",
		"help":                "/epm status",
		"dance":               "/epm status",
		"status":              "Waiting for a decision: 1",
		"tickets":             string(n),
		"tickets final":       "There are none",
		"ticket " + string(n): "7-Zip",
		"ticket":              "/epm ticket JIT-1042",
		"ticket JIT-1":        "no ticket JIT-1",
		"test-connection":     "cannot be tested",
		"state":               "/epm state",
	} {
		got := said(w.bot.Command(t.Context(), adapters.Command{Actor: ann, Place: place, Text: text}))
		if !strings.Contains(got, want) {
			t.Errorf("/epm %s = %q, want %q in it", text, got, want)
		}
	}
	for _, word := range wording.Commands() {
		if said(w.bot.Command(t.Context(), adapters.Command{Actor: ann, Place: place, Text: word.Name})) == "" {
			t.Errorf("/epm %s has no answer", word.Name)
		}
	}
}
