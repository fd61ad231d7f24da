package adaptertest

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// digestsCarried: whatever can be clicked says of which request it is, and
// whether it was shown to one person alone.
func digestsCarried(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	want := tk.Request.Digest()
	click := func(what string, private bool, act func() error) {
		t.Helper()
		b.mu.Lock()
		b.clicks = nil
		b.mu.Unlock()
		if err := act(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.clicks) == 0 {
			t.Errorf("%s: nothing was clicked", what)
		}
		for _, c := range b.clicks {
			if c.Digest != want || c.Private != private {
				t.Errorf("%s carries %q, private %v; want %q, %v", what, c.Digest, c.Private, want, private)
			}
		}
	}
	click("the state", false, func() error { return h.Choose(ctx(t), 0, m.ID, "In Progress") })
	click("the details", false, func() error { return h.Click(ctx(t), 0, m.ID, adapters.ActionDetails) })
	click("a denial", false, func() error { return h.Click(ctx(t), 1, m.ID, adapters.ActionDeny) })
	click("an approval", false, func() error { return h.Click(ctx(t), 2, m.ID, adapters.ActionApprove) })
	if opensHome(t, h, 3, "1 request waits") {
		click("the page of one person", true, func() error { return h.ClickHome(ctx(t), 3, tk.Number, adapters.ActionApprove) })
	}
	for _, reason := range []string{" ", "ok"} { // with a mistake, and then without
		if _, err := h.Submit(ctx(t), 1, map[tickets.FormField]string{tickets.FieldReason: reason}); err != nil {
			t.Fatal(err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.forms) != 2 {
		t.Fatalf("%d forms were sent, want 2", len(b.forms))
	}
	for _, s := range b.forms {
		if s.Digest != want {
			t.Errorf("the form carries %q, want %q", s.Digest, want)
		}
	}
}

// formAnew: EPM told more of the request while the form was open. The person
// reads that, sees the form of what is known now with all that they typed, and
// can send it.
func formAnew(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1042, Request(), h.Place())
	m := post(t, h, tk)
	if err := h.Click(ctx(t), 0, m.ID, adapters.ActionDeny); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	more := *tk.Request
	more.Reason = "the true reason"
	more.Fields = append([]tickets.Field{{Name: "More", Value: "of it"}}, more.Fields...)
	tk.Request = &more
	b.mu.Unlock()
	problems, err := h.Submit(ctx(t), 0, map[tickets.FormField]string{tickets.FieldReason: "typed before"})
	if err != nil {
		t.Fatal(err)
	}
	mentions(t, "the answer", strings.Join(problems, "\n")+h.Screen(0), wording.MsgMoreKnown)
	if d := b.decision(tk.Number); d != nil {
		t.Fatalf("decided all the same: %+v", d)
	}
	if problems, err = h.Submit(ctx(t), 0, nil); err != nil || len(problems) > 0 {
		t.Fatalf("Submit() again = %q, %v", problems, err)
	}
	if d := b.decision(tk.Number); d == nil || d.Reason != "typed before" {
		t.Errorf("the decision is %+v, want what was typed before", d)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.forms[len(b.forms)-1]; last.Digest != more.Digest() {
		t.Errorf("the form that was shown anew carries %q, want %q", last.Digest, more.Digest())
	}
}
