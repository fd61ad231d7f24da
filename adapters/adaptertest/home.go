package adaptertest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// opensHome has person i open their page, and waits until it says want. It
// reports false on a platform that has none.
func opensHome(t *testing.T, h Harness, i int, want string) bool {
	t.Helper()
	err := h.OpenHome(ctx(t), i)
	if errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, want, func() bool { return strings.Contains(h.Home(i).Text, want) })
	return true
}

func homeShows(t *testing.T, b *Book, h Harness) {
	b.Add(1, Hostile(), h.Place())
	own := Request()
	own.User = h.Actor(2).ID
	b.Add(2, own, h.Place())
	b.Add(3, Request(), h.Place())
	b.Add(4, Request(), h.Place())
	if !opensHome(t, h, 2, "4 requests wait for a decision, the oldest first for "+h.Actor(2).ID) {
		return
	}
	c := h.Home(2)
	if c.Pings != nil {
		t.Errorf("the page notifies %v", c.Pings)
	}
	mentions(t, "the page", c.Text, "JIT-1", "JIT-2", "JIT-3", wording.MsgOwnRequest, "⟦U+202E⟧", "Micros⟦Cyrillic \u043e⟧ft", "Everything works <!channel>", wording.MsgMore(1))
	if strings.Contains(c.Text, "JIT-4") {
		t.Errorf("the page shows more than it was given:\n%s", c.Text)
	}
	if want := "[approve deny details details approve deny details]"; buttons(c) != want {
		t.Errorf("buttons are %v, want %s: none to decide one's own request", c.Buttons, want)
	}
	if c := h.Home(1); c.Text != "" {
		t.Errorf("somebody else was shown a page:\n%s", c.Text)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("the page is in the channel")
	}
}

func homeDecides(t *testing.T, b *Book, h Harness) {
	first, second := b.Add(1, Request(), h.Place()), b.Add(2, Request(), h.Place())
	if !opensHome(t, h, 2, "2 requests wait") {
		return
	}
	if err := h.ClickHome(ctx(t), 2, second.Number, adapters.ActionDetails); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the details", h.Screen(2), "JIT-2", "TrustedInstaller")
	if err := h.ClickHome(ctx(t), 2, second.Number, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", h.Screen(2), "JIT-2")
	problems, err := h.Submit(ctx(t), 2, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "hours", tickets.FieldAmount: "25"})
	if err != nil || len(problems) == 0 {
		t.Fatalf("Submit() = %q, %v; want the amount refused", problems, err)
	}
	problems, err = h.Submit(ctx(t), 2, map[tickets.FormField]string{tickets.FieldAmount: "2"})
	if err != nil || len(problems) > 0 {
		t.Fatalf("Submit() = %q, %v", problems, err)
	}
	if d := b.decision(second.Number); d == nil || d.By.ID != h.Actor(2).ID || d.Duration != tickets.Lasting(2*time.Hour) {
		t.Errorf("the decision is %+v", d)
	}
	eventually(t, "the page without it", func() bool { return strings.Contains(h.Home(2).Text, "1 request waits") })
	if b.decision(first.Number) != nil || strings.Contains(h.Home(2).Text, "JIT-2") || h.Screen(2) != "" {
		t.Errorf("the page is\n%s\nand the form\n%s", h.Home(2).Text, h.Screen(2))
	}
}

func homeRefuses(t *testing.T, b *Book, h Harness) {
	tk := b.Add(1, Request(), h.Place())
	if !opensHome(t, h, 2, "1 request waits") {
		return
	}
	b.mu.Lock()
	decide(t, b, tk, h.Actor(0))
	b.mu.Unlock()
	if err := h.ClickHome(ctx(t), 2, tk.Number, adapters.ActionDeny); err != nil {
		t.Fatal(err)
	}
	eventually(t, "who was faster", func() bool { return strings.Contains(h.Screen(2), h.Actor(0).Name+" has already approved") })
	eventually(t, "the page without it", func() bool { return strings.Contains(h.Home(2).Text, wording.MsgNothingWaits) })
	if n := len(h.Notes(2)) + len(h.Notes(1)); n > 0 {
		t.Errorf("%d notes in the channel", n)
	}

	b.mu.Lock()
	b.refuse = "The store is away <!channel>"
	b.mu.Unlock()
	opensHome(t, h, 2, "The store is away")
	b.mu.Lock()
	b.refuse, b.panic = "", true
	b.mu.Unlock()
	opensHome(t, h, 2, wording.MsgBroken)
}

func homeLost(t *testing.T, b *Book, h Harness) {
	b.Add(1, Request(), h.Place())
	if !opensHome(t, h, 2, "1 request waits") {
		return
	}
	for n, how := range []Trouble{LostAnswer, LostRequest} {
		b.Add(int64(n+2), Request(), h.Place())
		h.Fail(OpHome, how)
		opensHome(t, h, 2, fmt.Sprintf("%d requests wait", n+2))
	}
}
