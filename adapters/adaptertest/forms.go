package adaptertest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

func formDecides(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	if err := h.Click(ctx(t), 3, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", h.Screen(3), "JIT-1042", "7-Zip 24.09")
	problems, err := h.Submit(ctx(t), 3, map[tickets.FormField]string{
		tickets.FieldReason: "  patch window ", tickets.FieldUnit: "minutes", tickets.FieldAmount: "30"})
	if err != nil || len(problems) > 0 {
		t.Fatalf("Submit() = %q, %v", problems, err)
	}
	d := b.decision(tk.Number)
	if d == nil {
		t.Fatal("nothing was decided")
	}
	if d.Verdict != tickets.Approve || d.Reason != "patch window" || d.Duration != tickets.Lasting(30*time.Minute) || d.By.ID != h.Actor(3).ID || d.By.Platform != h.Chat().Platform() {
		t.Errorf("the decision is %+v", d)
	}
	if h.Screen(3) != "" {
		t.Errorf("the form is still open:\n%s", h.Screen(3))
	}
}

func formRefuses(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	for _, tt := range []struct {
		name, reason, unit, amount, say string
	}{
		{"NoReason", "   ", "once", "", tickets.MsgReason},
		{"TooFewMinutes", "ok", "minutes", "4", tickets.MsgMinutes},
		{"TooManyMinutes", "ok", "minutes", "1441", tickets.MsgMinutes},
		{"TooManyHours", "ok", "hours", "25", tickets.MsgHours},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
				t.Fatal(err)
			}
			values := map[tickets.FormField]string{tickets.FieldReason: tt.reason, tickets.FieldUnit: tt.unit}
			if tt.amount != "" {
				values[tickets.FieldAmount] = tt.amount
			}
			problems, err := h.Submit(ctx(t), 0, values)
			if err != nil {
				t.Fatal(err)
			}
			mentions(t, "the form", strings.Join(problems, "\n"), tt.say)
			if d := b.decision(tk.Number); d != nil {
				t.Errorf("decided all the same: %+v", d)
			}
		})
	}
	t.Run("ThenCorrected", func(t *testing.T) {
		if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Submit(ctx(t), 0, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "hours", tickets.FieldAmount: "25"}); err != nil {
			t.Fatal(err)
		}
		problems, err := h.Submit(ctx(t), 0, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "hours", tickets.FieldAmount: "2"})
		if err != nil || len(problems) > 0 {
			t.Fatalf("Submit() = %q, %v", problems, err)
		}
		if d := b.decision(tk.Number); d == nil || d.Duration != tickets.Lasting(2*time.Hour) {
			t.Errorf("the decision is %+v", d)
		}
	})
}

func formDenies(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionDeny); err != nil {
		t.Fatal(err)
	}
	problems, err := h.Submit(ctx(t), 0, map[tickets.FormField]string{tickets.FieldReason: "no"})
	if err != nil || len(problems) > 0 {
		t.Fatalf("Submit() = %q, %v", problems, err)
	}
	if d := b.decision(tk.Number); d == nil || d.Verdict != tickets.Deny || !d.Duration.Once() {
		t.Errorf("the decision is %+v", d)
	}
}

func notePrivate(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	b.refuse = "You are not one of the approvers <!channel> @everyone"
	if err := h.Click(ctx(t), 1, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a note", func() bool { return len(h.Notes(1)) == 1 })
	mentions(t, "the note", h.Notes(1)[0], "You are not one of the approvers")
	if n := h.Notes(0); len(n) > 0 {
		t.Errorf("somebody else was told %q", n)
	}
	card(t, h)
}

func details(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionDetails); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the details", h.Screen(0), "JIT-1042", "ProductName", "Owner", `NT SERVICE\TrustedInstaller`)
}

func twenty(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	var wg sync.WaitGroup
	var told sync.Map
	for i := range People {
		wg.Go(func() {
			if err := h.Click(ctx(t), i, m.ID, adapters.ActionApprove); err != nil {
				t.Errorf("person %d: click: %v", i, err)
				return
			}
			if h.Screen(i) == "" { // too late: somebody was faster, and they were told
				told.Store(i, true)
				return
			}
			problems, err := h.Submit(ctx(t), i, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "once"})
			if len(problems) > 0 || strings.Contains(h.Screen(i), "already") {
				told.Store(i, true) // perhaps before the form could be sent
			} else if err != nil {
				t.Errorf("person %d: submit: %v", i, err)
			}
		})
	}
	wg.Wait()
	d := b.decision(tk.Number)
	if d == nil {
		t.Fatal("nobody decided")
	}
	for i := range People {
		if _, wasTold := told.Load(i); !wasTold && h.Actor(i).ID != d.By.ID {
			eventually(t, fmt.Sprintf("a word to person %d", i), func() bool { return len(h.Notes(i)) > 0 })
		}
	}
}

func panics(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	b.mu.Lock()
	b.panic = true
	b.mu.Unlock()
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a note", func() bool { return len(h.Notes(0)) == 1 })
	b.mu.Lock()
	b.panic = false
	b.mu.Unlock()
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	if h.Screen(0) == "" {
		t.Error("no form after the panic")
	}
}
