package tickets_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

var (
	now   = time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)
	place = tickets.Place{Platform: "slack", Channel: "C1"}
	ann   = tickets.Actor{Platform: "slack", ID: "U1", Name: "Ann"}
	bob   = tickets.Actor{Platform: "slack", ID: "U2", Name: "Bob"}
)

func rules() tickets.Rules {
	typ := tickets.Types()[0]
	return tickets.Rules{Type: typ, Active: typ.Active, Places: []tickets.Place{place}}
}

func asked() *tickets.Ticket {
	t := tickets.Start("JIT-1042", "r", rules(), now)
	t.Ask(tickets.Request{ID: "r", Kind: tickets.Application}, rules(), now)
	return t
}

func decision(v tickets.Verdict, by tickets.Actor) tickets.Decision {
	return tickets.Decision{Verdict: v, Reason: "ok", Duration: tickets.Once(), By: by, At: now, Place: place}
}

func kinds(steps []tickets.Step) (ks []tickets.StepKind) {
	for _, s := range steps {
		ks = append(ks, s.Kind)
	}
	return ks
}

// owes checks what t owes right now.
func owes(t *testing.T, tk *tickets.Ticket, want ...tickets.StepKind) {
	t.Helper()
	got := kinds(tk.PendingSteps(now))
	if len(got) != len(want) {
		t.Fatalf("%s owes %v, want %v", tk.Progress(), got, want)
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || g == w
		}
		if !found {
			t.Fatalf("%s owes %v, want %v", tk.Progress(), got, want)
		}
	}
}

func TestLifeOwesEachStepOnce(t *testing.T) {
	tk := asked()
	owes(t, tk, tickets.StepPost)
	tk.BeginPost(place, now)
	tk.RecordPost(place, "m1", tk, now)
	owes(t, tk)
	if err := tk.Decide(decision(tickets.Approve, ann), rules()); err != nil {
		t.Fatal(err)
	}
	owes(t, tk, tickets.StepSend, tickets.StepEdit)
	tk.BeginSend(now)
	tk.RecordAccepted(*tk.Decision, now)
	owes(t, tk, tickets.StepEdit)
	tk.RecordEdit(place, tk.Rev, now)
	owes(t, tk, tickets.StepReply)
	tk.RecordReply(place, 2, now)
	tk.RecordReply(place, 3, now)
	owes(t, tk)
	if got := kinds(tk.PendingSteps(now.Add(time.Hour))); len(got) != 1 || got[0] != tickets.StepPoll {
		t.Errorf("an hour later owes %v, want a look", got)
	}
	tk.Conclude(tickets.Outcome{Verdict: tickets.Approve, At: now}, rules(), now)
	owes(t, tk, tickets.StepEdit)
}

// EPM's update may be recorded before its answer to the call that caused it.
func TestUpdateOvertakesTheAnswer(t *testing.T) {
	tk := asked()
	d := decision(tickets.Approve, ann)
	if err := tk.Decide(d, rules()); err != nil {
		t.Fatal(err)
	}
	tk.BeginSend(now)
	tk.Conclude(tickets.Outcome{Verdict: tickets.Approve, At: now}, rules(), now)
	rev := tk.Rev
	other := d
	other.By = bob
	tk.RecordAccepted(other, now)
	if !tk.Sending.Done.IsZero() || tk.Rev != rev {
		t.Error("the answer to another decision counts")
	}
	tk.RecordAccepted(d, now)
	tk.RecordAccepted(d, now)
	if tk.Sending.Done.IsZero() || tk.Rev != rev+1 || tk.Progress() != tickets.Final {
		t.Errorf("sending %+v, %d changes, %s; want it acknowledged once", tk.Sending, tk.Rev-rev, tk.Progress())
	}
	owes(t, tk, tickets.StepPost)
}

func TestPostShowsWhatItWas(t *testing.T) {
	tk := asked()
	before := *tk
	if err := tk.Decide(decision(tickets.Deny, ann), rules()); err != nil {
		t.Fatal(err)
	}
	tk.RecordPost(place, "m1", &before, now)
	owes(t, tk, tickets.StepSend, tickets.StepEdit)
}

func TestFirstDecisionWins(t *testing.T) {
	tk := asked()
	if err := tk.Decide(decision(tickets.Approve, ann), rules()); err != nil {
		t.Fatal(err)
	}
	if err := tk.Decide(decision(tickets.Deny, bob), rules()); !errors.Is(err, tickets.ErrDecided) {
		t.Errorf("second = %v, want ErrDecided", err)
	}
	tk.BeginSend(now)
	tk.RecordAccepted(*tk.Decision, now)
	if err := tk.Decide(decision(tickets.Deny, bob), rules()); !errors.Is(err, tickets.ErrFinal) {
		t.Errorf("after EPM's answer = %v, want ErrFinal", err)
	}
	if tk.Decision.By != ann {
		t.Errorf("decided by %v, want ann", tk.Decision.By)
	}
}

func TestRefusalOpensAgain(t *testing.T) {
	tk := asked()
	first := decision(tickets.Approve, ann)
	_ = tk.Decide(first, rules())
	tk.BeginSend(now)
	tk.RecordRejection(first, "no such request", now)
	if !tk.Open() || tk.Refusal == nil {
		t.Fatalf("%s, refusal %v; want it open again", tk.Progress(), tk.Refusal)
	}
	second := decision(tickets.Deny, bob)
	second.At = now.Add(time.Second)
	if err := tk.Decide(second, rules()); err != nil {
		t.Fatal(err)
	}
	// The late answer to the first must not touch the second.
	tk.RecordAccepted(first, now)
	tk.RecordRejection(first, "late", now)
	if tk.Progress() != tickets.Submitting || tk.Decision.By != bob {
		t.Errorf("%s by %v, want bob's, submitting", tk.Progress(), tk.Decision.By)
	}
}

func TestUnclearIsNotForgotten(t *testing.T) {
	tk := asked()
	d := decision(tickets.Approve, ann)
	_ = tk.Decide(d, rules())
	tk.BeginSend(now)
	if tk.Sending.Unclear {
		t.Error("unclear at the first attempt")
	}
	tk.SendFailed(d, true, "timeout", now, now)
	tk.BeginSend(now)
	tk.SendFailed(d, false, "refused connection", now, now)
	if tk.BeginSend(now); !tk.Sending.Unclear {
		t.Error("a clean failure made clear what was unclear before it")
	}
	tk.ConfirmAbsent(d, now.Add(time.Minute))
	tk.SendFailed(d, false, "down", now, now)
	if tk.BeginSend(now); !tk.Sending.Unclear {
		t.Error("EPM's word was believed too early")
	}
	tk.ConfirmAbsent(d, now.Add(tickets.AmbiguityWindow))
	tk.SendFailed(d, false, "down", now, now)
	if tk.BeginSend(now); tk.Sending.Unclear {
		t.Error("unclear although EPM said that it has none")
	}
	if tk.BeginSend(now); !tk.Sending.Unclear {
		t.Error("clear although the end of the last attempt is not recorded")
	}
}

func TestDecidableOnlyInActiveStates(t *testing.T) {
	for _, s := range tickets.Types()[0].States {
		tk := asked()
		tk.Move(s, ann, rules(), now)
		err := tk.Decide(decision(tickets.Approve, ann), rules())
		active := s == "New" || s == "In Progress" || s == "On Hold"
		if active != (err == nil) || (!active && !errors.Is(err, tickets.ErrInactive)) {
			t.Errorf("in %s: %v", s, err)
		}
	}
}

func TestIncompleteDecisionIsRefused(t *testing.T) {
	for name, d := range map[string]tickets.Decision{
		"NoVerdict":  {Reason: "ok", Duration: tickets.Once(), By: ann},
		"NoReason":   {Verdict: tickets.Deny, Duration: tickets.Once(), By: ann},
		"NoDuration": {Verdict: tickets.Approve, Reason: "ok", By: ann},
		"Nobody":     {Verdict: tickets.Approve, Reason: "ok", Duration: tickets.Once()},
	} {
		if err := asked().Decide(d, rules()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAutoClose(t *testing.T) {
	r := rules()
	r.AutoClose = true
	tk := asked()
	tk.Conclude(tickets.Outcome{Verdict: tickets.Deny}, r, now)
	if tk.State != "Closed" || tk.Active {
		t.Errorf("state = %s, active %t; want Closed, inactive", tk.State, tk.Active)
	}
}

func TestUntil(t *testing.T) {
	for name, c := range map[string]struct {
		o    tickets.Outcome
		want time.Time
	}{
		"End":       {tickets.Outcome{Verdict: tickets.Approve, End: now, Duration: "60", At: now}, now},
		"FromStart": {tickets.Outcome{Verdict: tickets.Approve, Start: now, At: now.Add(-time.Hour), Duration: "60"}, now.Add(time.Minute)},
		"FromTime":  {tickets.Outcome{Verdict: tickets.Approve, At: now, Duration: "7200"}, now.Add(2 * time.Hour)},
		"Once":      {tickets.Outcome{Verdict: tickets.Approve, At: now, Duration: "Once"}, time.Time{}},
		"Denied":    {tickets.Outcome{Verdict: tickets.Deny, At: now, Duration: "60"}, time.Time{}},
		"Unknown":   {tickets.Outcome{Verdict: tickets.Approve, At: now, Duration: "a while"}, time.Time{}},
	} {
		got, ok := c.o.Until()
		if !got.Equal(c.want) || ok == c.want.IsZero() {
			t.Errorf("%s: %v, %t, want %v", name, got, ok, c.want)
		}
	}
}

// FuzzLife takes a ticket through any order of things and holds it to its
// promises: a decision is made at most once and never changes, except that a
// refused one is taken off whole; an outcome is not undone; and what is due
// is owed.
func FuzzLife(f *testing.F) {
	f.Add([]byte{0, 2, 4, 7})
	f.Add([]byte{1, 2, 3, 2, 5, 0, 2, 3, 6, 7, 8})
	f.Add([]byte{7, 0, 9, 1, 10, 11, 12, 13})
	f.Fuzz(func(t *testing.T, script []byte) {
		tk := asked()
		at := now
		for i, b := range script {
			at = at.Add(time.Duration(b) * time.Second)
			before := *tk
			var d tickets.Decision
			if tk.Decision != nil {
				d = *tk.Decision
			}
			mayRefuse := false
			switch b % 14 {
			case 0, 1:
				v := tickets.Approve
				if b%2 == 1 {
					v = tickets.Deny
				}
				next := decision(v, tickets.Actor{Platform: "slack", ID: string(rune('A' + b%20))})
				next.At = at
				err := tk.Decide(next, rules())
				if (err == nil) != (before.Progress() == tickets.Pending && before.Active) {
					t.Fatalf("step %d: Decide in %s, active %t = %v", i, before.Progress(), before.Active, err)
				}
			case 2:
				tk.BeginSend(now)
			case 3:
				tk.SendFailed(d, b&16 != 0, "down", at.Add(time.Minute), at)
			case 4:
				tk.RecordAccepted(d, at)
			case 5:
				mayRefuse = before.Progress() == tickets.Submitting
				tk.RecordRejection(d, "no", at)
			case 6:
				tk.RecordPoll(at.Add(time.Minute), at)
			case 7:
				tk.Conclude(tickets.Outcome{Verdict: tickets.Deny, At: at}, rules(), at)
			case 8:
				tk.BeginPost(place, at)
			case 9:
				tk.RecordPost(place, "m1", &before, at)
			case 10:
				tk.RecordEdit(place, before.Rev, at)
			case 11:
				tk.ShowFailed(place, "gone", at.Add(time.Minute), b > 200, at)
			case 12:
				tk.RecordReply(place, int(b)%len(tk.Events), at)
			case 13:
				states := tickets.Types()[0].States
				tk.Move(states[int(b)%len(states)], ann, rules(), at)
			}
			switch {
			case before.Decision != nil && tk.Decision == nil && !mayRefuse:
				t.Fatalf("step %d: the decision is gone from a %s ticket", i, before.Progress())
			case before.Decision != nil && tk.Decision != nil && *before.Decision != *tk.Decision:
				t.Fatalf("step %d: the decision changed", i)
			case before.Outcome != nil && tk.Outcome == nil:
				t.Fatalf("step %d: the outcome is gone", i)
			case tk.Rev < before.Rev || len(tk.Events) < len(before.Events):
				t.Fatalf("step %d: rev or history went back", i)
			}
			for _, look := range []time.Time{at, at.Add(30 * time.Second), at.Add(24 * time.Hour)} {
				owed := map[tickets.Lane]bool{}
				for _, s := range tk.PendingSteps(look) {
					owed[s.Lane] = true
				}
				due := tk.NextDue()
				for _, lane := range []tickets.Lane{tickets.LaneEPM, tickets.LanePoll, tickets.PostLane("slack"), tickets.EditLane("slack")} {
					when, ok := due[lane]
					if isDue := ok && !when.After(look); isDue != owed[lane] {
						t.Fatalf("step %d: %s due %t, owed %t", i, lane, isDue, owed[lane])
					}
				}
			}
		}
	})
}
