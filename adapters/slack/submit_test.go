package slack_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/tickets"
)

// TestSubmitBeforeTheAmountWasShown: the form went out with unit hours but
// before its amount field had come. Slack shows errors only for inputs that
// are in the view.
func TestSubmitBeforeTheAmountWasShown(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			_, _, p := opened(t, mode, b, nil)
			if err := p.Act(t.Context(), "unit", "once"); err != nil {
				t.Fatal(err)
			}
			state := `{"values":{"reason":{"reason":{"type":"plain_text_input","value":"ok"}},"unit":{"unit":{"type":"radio_buttons","selected_option":{"value":"hours"}}}}}`
			errs, err := p.SubmitRaw(t.Context(), json.RawMessage(state))
			if err != nil || len(errs) > 0 {
				t.Fatalf("SubmitRaw() = %v, %v", errs, err)
			}
			v, ok := p.View()
			if !ok || !strings.Contains(string(v.Blocks), tickets.MsgHours) || !strings.Contains(string(v.Blocks), `"amount"`) {
				t.Fatalf("the form is %v %+v", ok, v)
			}
			errs, err = p.Submit(t.Context(), map[string]string{"reason": "ok", "unit": "hours", "amount": "2"})
			if _, open := p.View(); err != nil || len(errs) > 0 || open {
				t.Errorf("Submit() = %v, %v", errs, err)
			}
		})
	}
}

func TestOddSubmissions(t *testing.T) {
	for _, state := range []string{``, `null`, `{}`, `{"values":null}`, `{"values":{"reason":{"reason":{"value":null}}}}`, `{"values":{"reason":{"reason":{"value":7}},"unit":{"unit":{"selected_option":null}}}}`} {
		t.Run(state, func(t *testing.T) {
			b := adaptertest.NewBook()
			_, tk, p := opened(t, "http", b, nil)
			var raw json.RawMessage
			if state != "" {
				raw = json.RawMessage(state)
			}
			errs, err := p.SubmitRaw(t.Context(), raw)
			v, open := p.View()
			if err != nil || !open || tk.Decision != nil {
				t.Fatalf("SubmitRaw() = %v, %v; open %v, decision %v", errs, err, open, tk.Decision)
			}
			if len(errs) == 0 && !strings.Contains(string(v.Blocks), "⚠") {
				t.Errorf("nothing says what is wrong: %s", v.Blocks)
			}
		})
	}
}

func TestDecidedMeanwhileIsSaidInTheForm(t *testing.T) {
	for _, mode := range []string{"http", "socket"} {
		t.Run(mode, func(t *testing.T) {
			b := adaptertest.NewBook()
			w, tk, p := opened(t, mode, b, nil)
			by := w.Actor(5)
			if a := b.Submit(t.Context(), adapters.Submission{Actor: by, Number: tk.Number, Verdict: tickets.Deny, Form: tickets.Form{Reason: "no"}}); a != (adapters.Done{}) {
				t.Fatalf("Submit() = %v", a)
			}
			errs, err := p.Submit(t.Context(), map[string]string{"reason": "ok"})
			v, open := p.View()
			if err != nil || len(errs) > 0 || !open || !strings.Contains(string(v.Blocks), "person5 has already denied this request") {
				t.Errorf("Submit() = %v, %v; the form is %+v", errs, err, v)
			}
			if _, err := p.Submit(t.Context(), nil); err == nil {
				t.Error("a note has a submit button")
			}
		})
	}
}

// TestTypedIsKeptWhenNothingWasDone: an answer that says so leaves the form
// open with what was typed.
func TestTypedIsKeptWhenNothingWasDone(t *testing.T) {
	b := &away{Book: adaptertest.NewBook()}
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	b.away.Store(true)
	typed := map[tickets.FormField]string{tickets.FieldReason: "patch window", tickets.FieldUnit: "once"}
	if said, err := w.Submit(t.Context(), 0, typed); err != nil || len(said) != 1 || said[0] != sayAway {
		t.Fatalf("Submit() = %q, %v; want the reason", said, err)
	}
	b.away.Store(false)
	if said, err := w.Submit(t.Context(), 0, nil); err != nil || len(said) > 0 {
		t.Errorf("Submit() again = %q, %v; want it decided with what was typed", said, err)
	}
}

const sayAway = "the store is away"

// away is a bot whose store comes and goes.
type away struct {
	*adaptertest.Book
	away atomic.Bool
}

func (a *away) Submit(ctx context.Context, s adapters.Submission) adapters.Answer {
	if a.away.Load() {
		return adapters.Note{Text: sayAway, Retryable: true}
	}
	return a.Book.Submit(ctx, s)
}
