package bot_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/tickets"
)

// heard is a Tracer that writes down what it hears.
type heard struct {
	mu   sync.Mutex
	list []string
}

type aroundKey struct{}

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, fmt.Sprintf(format, args...))
}

func (h *heard) Begin(ctx context.Context, s tracing.Span) (context.Context, func(tickets.Number, string)) {
	around, _ := ctx.Value(aroundKey{}).(string)
	return context.WithValue(ctx, aroundKey{}, s.Name), func(n tickets.Number, result string) {
		switch {
		case s.ID != "one":
			h.add("%s of %s", s.Name, s.ID)
		case s.For != nil:
			h.add("%s%s %s for %s: %s", around, s.Name, n, s.For.Reason, result)
		case s.Makes != nil:
			h.add("%s %s %s makes %s: %s", around, s.Name, n, s.Makes.Reason, result)
		default:
			h.add("%s%s %s %s: %s", around, s.Name, n, s.Platform, result)
		}
	}
}

func (h *heard) Ended(t *tickets.Ticket, at time.Time) { h.add("%s ended", t.Number) }

func (h *heard) times(line string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, one := range h.list {
		if one == line {
			n++
		}
	}
	return n
}

// A Tracer hears of everything that is done for a ticket with what came of it,
// and once that it has ended, whoever was faster with the outcome.
func TestTracerHearsOfEachThing(t *testing.T) {
	t.Parallel()
	h := &heard{}
	w := newWorld(t)
	w.tracer = h
	w.start()
	w.epm.plan(tickets.StepSend, fault{tickets.Unavailable, false})
	n := w.ask("one")
	again := request("one")
	again.ID = "in-again"
	if _, err := w.bot.Keep(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Messages[0].ID != "" })
	w.bot.Click(t.Context(), adapters.Click{Actor: ann, Place: place, Number: n, Digest: w.digest(n), Action: adapters.ActionApprove})
	w.bot.Click(t.Context(), adapters.Click{Actor: sam, Place: place, Number: n, Digest: w.digest(n), Action: adapters.ActionApprove})
	w.bot.Click(t.Context(), adapters.Click{Actor: sam, Place: place, Number: n, Digest: w.digest(n), Action: adapters.ActionDetails})
	w.bot.Command(t.Context(), adapters.Command{Actor: ann, Place: place, Text: "state " + string(n) + " in progress"})
	w.approve(n, sam, twoHours)
	w.approve(n, ann, tickets.Form{})
	w.approve(n, ann, twoHours)
	w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return !t.Sending.Done.IsZero() })
	for _, by := range []string{"", "console", "console"} {
		w.conclude("one", tickets.Outcome{Verdict: tickets.Approve, Duration: "7200", At: time.Unix(1e9, 0), By: by})
	}
	w.until(n, "settled", settled)
	w.stop()
	for line, want := range map[string]int{
		"webhook " + string(n) + " : created": 1, "webhook " + string(n) + " : updated": 2, "webhook " + string(n) + " : duplicate": 2,
		"post " + string(n) + " chat: ok":    1,
		"click " + string(n) + " chat: form": 1, "click " + string(n) + " chat: told": 1, "click " + string(n) + " chat: details": 1,
		"move " + string(n) + " chat: done":   1,
		"submit " + string(n) + " chat: told": 1, "submit " + string(n) + " chat: form": 1, "submit " + string(n) + " chat: done": 1,
		"submit decide " + string(n) + " makes ok for the patch window: approve": 1,
		"send " + string(n) + " for ok for the patch window: unavailable":        1,
		"send " + string(n) + " for ok for the patch window: ok":                 1,
		string(n) + " ended": 1,
	} {
		if got := h.times(line); got != want {
			t.Errorf("heard %d times %q, want %d", got, line, want)
		}
	}
	if t.Failed() {
		t.Logf("heard %q", h.list)
	}
}

// The end is heard of also when EPM's list, what is read back, or a webhook
// that is replayed tells the outcome.
func TestTracerHearsOfEveryEnd(t *testing.T) {
	t.Parallel()
	h := &heard{}
	w := newComparing(t)
	w.tracer, w.read = h, reads
	w.lists(listed("one", time.Hour))
	w.start()
	w.eventually("a ticket", func() bool { return len(w.all()) == 1 })
	n := string(w.all()[0].Number)
	w.advance(time.Hour)
	w.lists(decided(listed("one", time.Hour), time.Minute))
	w.until(w.all()[0].Number, "final", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Final })
	w.stop()
	for line, want := range map[string]int{"listed " + n + " : created": 1, "listed " + n + " : updated": 1, n + " ended": 1} {
		if got := h.times(line); got != want {
			t.Errorf("heard %d times %q, want %d", got, line, want)
		}
	}

	w.lists()
	h.list = nil
	w.start()
	w.epm.plan(tickets.StepSend, fault{tickets.Ambiguous, true})
	asked := w.ask("two")
	w.approve(asked, ann, twoHours)
	w.until(asked, "final", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Final })
	w.keepsFailed(firstID, "ask three", time.Now())
	w.keepsFailed(secondID, "deny three", time.Now())
	w.answers("incoming replay "+firstID, "created")
	w.answers("incoming replay "+secondID, "updated")
	w.stop()
	for line, want := range map[string]int{"send of two": 2, "replay of three": 2} {
		if got := h.times(line); got != want {
			t.Errorf("heard %d times %q, want %d: %q", got, line, want, h.list)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ends := slices.DeleteFunc(slices.Clone(h.list), func(s string) bool { return !strings.HasSuffix(s, " ended") })
	if len(ends) != 2 || ends[0] == ends[1] {
		t.Errorf("heard %q", ends)
	}
}
