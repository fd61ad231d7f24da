package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

func ctx(t *testing.T) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), Hang)
	t.Cleanup(cancel)
	return c
}

// post posts a ticket that must go through.
func post(t *testing.T, h Harness, tk *tickets.Ticket) tickets.Message {
	t.Helper()
	id, err := h.Chat().Post(ctx(t), h.Place(), tk, time.Time{})
	if err != nil || id == "" {
		t.Fatalf("Post() = %q, %v", id, err)
	}
	return tickets.Message{Place: h.Place(), ID: id, Shown: tk.Rev, Told: len(tk.Events)}
}

// card is the only card.
func card(t *testing.T, h Harness) Card {
	t.Helper()
	cards := h.Cards()
	if len(cards) != 1 {
		t.Fatalf("%d cards, want 1", len(cards))
	}
	return cards[0]
}

// failed checks the class of a failure and returns it.
func failed(t *testing.T, err error, want tickets.Class) *tickets.Failure {
	t.Helper()
	var f *tickets.Failure
	if !errors.As(err, &f) {
		t.Fatalf("error is %v (%T), want a tickets.Failure", err, err)
	}
	if f.Class != want {
		t.Fatalf("class is %s, want %s (%v)", f.Class, want, err)
	}
	return f
}

func class(t *testing.T, err error, want tickets.Class) {
	t.Helper()
	_ = failed(t, err, want)
}

func buttons(c Card) string { return fmt.Sprint(c.Buttons) }

const (
	open   = "[approve deny details]"
	closed = "[details]"
)

func mentions(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}

func decide(t *testing.T, b *Book, tk *tickets.Ticket, by tickets.Actor) {
	t.Helper()
	d := tickets.Decision{Verdict: tickets.Approve, Reason: "patch window", Duration: tickets.Lasting(2 * time.Hour), By: by, At: time.Date(2026, 11, 23, 12, 5, 0, 0, time.UTC)}
	if err := tk.Decide(d, b.rules); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Hang)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, Hang)
		}
		<-tick.C
	}
}
