package tickets_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

// TestLateAnswer: EPM's outcome overtakes the answer to a second attempt. What
// the first one had told is not left in the record.
func TestLateAnswer(t *testing.T) {
	at := time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)
	tk := asked()
	rules := tickets.Rules{Type: tickets.Types()[0], Active: tickets.Types()[0].Active}
	d := tickets.Decision{Verdict: tickets.Approve, Reason: "ok", Duration: tickets.Once(), By: ann, At: at}
	if err := tk.Decide(d, rules); err != nil {
		t.Fatal(err)
	}
	tk.BeginSend(at)
	tk.SendFailed(d, true, "no answer", at.Add(time.Minute), at)
	tk.BeginSend(at.Add(time.Minute))
	tk.Conclude(tickets.Outcome{Verdict: tickets.Approve, By: "x"}, rules, at.Add(time.Minute))
	tk.RecordAccepted(d, at.Add(2*time.Minute))
	if s := tk.Sending; s.Problem != "" || s.NotPermitted || s.Begun || !s.NotBefore.IsZero() || s.Done.IsZero() || s.Attempts != 2 || s.As == "" {
		t.Errorf("the sending is %+v", s)
	}
}

// TestDeadStaysDead: the late failure of an edit does not bring back a place that
// was given up.
func TestDeadStaysDead(t *testing.T) {
	at := time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)
	tk := asked()
	tk.ShowFailed(place, "gone", time.Time{}, true, at)
	tk.ShowFailed(place, "no answer", at.Add(time.Minute), false, at)
	if m := tk.Message(place); m == nil || !m.Dead || m.Problem != "gone" {
		t.Errorf("the message is %+v", m)
	}
}
