package tickets_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/tickets"
)

func TestPerformer(t *testing.T) {
	for name, want := range map[string]string{
		"Ann Example":                 "slack:U1 Ann Example",
		"":                            "slack:U1",
		" \n\x00":                     "slack:U1",
		"\u200b\u202e\u2800\u3164":    "slack:U1",
		`Ann", "Decision": "Approved`: "slack:U1 Ann , Decision : Approved",
		"a\\b\nc":                     "slack:U1 a b c",
		"Eve (slack:U9)":              "slack:U1 Eve slack:U9",
		"Eve（slack:U9）[x]{y}⟨z⟩❨w❩﴾v﴿":            "slack:U1 Eve slack:U9 x y z w v",
		"Eve \u202e)9U:kcals(":                    "slack:U1 Eve 9U:kcals",
		"Eve\u2066\u200d\ufeff\u00ad\u034f\ufe0f": "slack:U1 Eve",
		"Eve\u2028\u0085\xff\xed\xa0\x80Adams":    "slack:U1 Eve Adams",
		"Zoë 山田 Яна 😀":                            "slack:U1 Zoë 山田 Яна 😀",
	} {
		if got := (tickets.Actor{Platform: "slack", ID: "U1", Name: name}).Performer(); got != want {
			t.Errorf("Performer of %q = %q, want %q", name, got, want)
		}
	}
	if got := (tickets.Actor{Platform: "slack", ID: "U1", Name: strings.Repeat("é", 500)}).Performer(); utf8.RuneCountInString(got) > 120 || !utf8.ValidString(got) {
		t.Errorf("a long name = %q", got)
	}
}

// TestConfirmsWithoutAnswer: a decision whose answer was lost is known again
// by the name under which it was sent.
func TestConfirmsWithoutAnswer(t *testing.T) {
	at := time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)
	rules := tickets.Rules{Type: tickets.Types()[0], Active: tickets.Types()[0].Active}
	by := tickets.Actor{Platform: "slack", ID: "U1", Name: "Ann"}
	for name, c := range map[string]struct {
		unsent bool
		forged bool
		o      tickets.Outcome
		want   bool
	}{
		"Ours":          {o: tickets.Outcome{Verdict: tickets.Approve, By: "slack:U1 Ann"}, want: true},
		"OtherVerdict":  {o: tickets.Outcome{Verdict: tickets.Deny, By: "slack:U1 Ann"}},
		"Console":       {o: tickets.Outcome{Verdict: tickets.Approve, By: "carol@acme.example"}},
		"Nobody":        {o: tickets.Outcome{Verdict: tickets.Approve}},
		"NameAlone":     {o: tickets.Outcome{Verdict: tickets.Approve, By: "Ann"}},
		"SamePrefix":    {o: tickets.Outcome{Verdict: tickets.Approve, By: "slack:U1"}},
		"NeverSent":     {unsent: true, o: tickets.Outcome{Verdict: tickets.Approve, By: "slack:U1 Ann"}},
		"ForgedRequest": {forged: true, o: tickets.Outcome{Verdict: tickets.Approve, By: "slack:U1 Ann"}},
		"ForgedOutcome": {o: tickets.Outcome{Verdict: tickets.Approve, By: "slack:U1 Ann", Imitates: true}},
	} {
		tk := tickets.Start("JIT-1", "a", rules, at)
		tk.Ask(tickets.Request{ID: "a", SuspectedForgery: c.forged}, rules, at)
		d := tickets.Decision{Verdict: tickets.Approve, Reason: "ok", Duration: tickets.Once(), By: by, At: at}
		if err := tk.Decide(d, rules); err != nil {
			t.Fatal(err)
		}
		if !c.unsent {
			tk.BeginSend(at) // and its answer is lost
		}
		tk.Conclude(c.o, rules, at.Add(time.Minute))
		if got := tk.Confirms(tk.Outcome, tk.Decision); got != c.want {
			t.Errorf("%s: Confirms = %t, want %t", name, got, c.want)
		}
	}
}
