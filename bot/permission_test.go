package bot_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// lockedEPM is an EPM that refuses our account while why is not empty.
type lockedEPM struct {
	*fakeEPM
	mu    sync.Mutex
	why   string
	tries map[tickets.RequestID]int
}

func (e *lockedEPM) lock(why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.why = why
}

func (e *lockedEPM) tried(id tickets.RequestID) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tries[id]
}

func (e *lockedEPM) Decide(ctx context.Context, t *tickets.Ticket) error {
	e.mu.Lock()
	why := e.why
	e.tries[t.ID]++
	e.mu.Unlock()
	if why != "" {
		return &tickets.Failure{Class: tickets.Unauthorized, UserMessage: why, Err: errors.New("403")}
	}
	return e.fakeEPM.Decide(ctx, t)
}

// toldChat keeps what people are told.
type toldChat struct {
	*fakeChat
	mu   sync.Mutex
	said []string
}

func (c *toldChat) DirectMessage(_ context.Context, who tickets.Principal, text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, who.ID+": "+text)
	return nil
}

func (c *toldChat) heard(t *testing.T, n int) []string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		said := append([]string{}, c.said...)
		c.mu.Unlock()
		if len(said) >= n {
			return said
		}
		if time.Now().After(end) {
			t.Fatalf("admins were told %q, want %d things", said, n)
		}
	}
}

// TestEPMDenies: EPM does not let the bot decide. The decisions stay, the
// cards say which right is missing, admins are told at once and once, each is
// tried again after ten minutes, and when EPM takes one all are sent. To see
// it fail, let send treat Denied as Refused, or sendEnded return at once.
func TestEPMDenies(t *testing.T) {
	const right, other = "EPM does not allow it: the bot's API account needs JIT: Full Access", "EPM does not accept the bot's client ID or secret"
	w := newWorld(t)
	chat := &toldChat{fakeChat: w.chat}
	epm := &lockedEPM{fakeEPM: w.epm, why: right, tries: map[tickets.RequestID]int{}}
	w.chats, w.decides = []adapters.Chat{chat}, epm
	w.start()
	waiting := func(n tickets.Number) *tickets.Ticket {
		t.Helper()
		return w.until(n, "denied, and shown so", func(t *tickets.Ticket) bool {
			return t.Sending.NotPermitted && t.Message(place).Shown == t.Rev && t.Message(place).Told == len(t.Events)
		})
	}
	first, second := w.ask("r1"), w.ask("r2")
	for _, n := range []tickets.Number{first, second} {
		w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
		if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
			t.Fatalf("Submit = %+v, want Done", a)
		}
		got := waiting(n)
		if got.Progress() != tickets.Submitting || got.Decision == nil || got.Refusal != nil {
			t.Errorf("%s: progress %s, decision %v, refusal %v; want the decision kept", n, got.Progress(), got.Decision, got.Refusal)
		}
		card := wording.Status(got).String()
		if !strings.Contains(card, right) || !strings.Contains(card, "every 10 minutes") || strings.Contains(card, "does not answer") {
			t.Errorf("the card says %q", card)
		}
		if at := got.Sending.NotBefore.Sub(w.now()); at < 9*time.Minute || at > 10*time.Minute {
			t.Errorf("%s is tried again in %s, want 10 minutes", n, at)
		}
	}
	if said := chat.heard(t, 1); len(said) != 1 || said[0] != "U1: "+wording.MsgEPMDenies(right) {
		t.Errorf("admins were told %q", said)
	}
	status := w.bot.Command(context.Background(), adapters.Command{Actor: ann, Place: place, Text: "status"}).(adapters.Note).Text
	if !strings.Contains(status, right) || strings.Contains(status, "Every connection works") {
		t.Errorf("status says %q", status)
	}

	// Ten minutes later: another reason, which is told as well.
	epm.lock(other)
	w.advance(10 * time.Minute)
	for _, n := range []tickets.Number{first, second} {
		w.until(n, "denied for another reason", func(t *tickets.Ticket) bool { return t.Sending.Problem == other })
	}
	if said := chat.heard(t, 2); len(said) != 2 || said[1] != "U1: "+wording.MsgEPMDenies(other) {
		t.Errorf("admins were told %q", said)
	}
	if n := epm.tried("r1"); n != 2 {
		t.Errorf("tried %d times, want 2", n)
	}

	// A third decision shows that it is mended: nobody waits ten minutes.
	epm.lock("")
	third := w.ask("r3")
	w.until(third, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
	if a := w.approve(third, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit = %+v, want Done", a)
	}
	for _, n := range []tickets.Number{first, second, third} {
		got := w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
		if d := w.epm.first(got.ID); d.By != ann || d.Reason != twoHours.Reason {
			t.Errorf("%s: EPM has %+v", n, d)
		}
	}
	if said := chat.heard(t, 3); len(said) != 3 || said[2] != "U1: "+wording.MsgEPMAllows() {
		t.Errorf("admins were told %q", said)
	}
}

// TestEPMDeniesUntilTested: the test of the connection has what waits tried
// at once.
func TestEPMDeniesUntilTested(t *testing.T) {
	w := newWorld(t)
	epm := &lockedEPM{fakeEPM: w.epm, why: "no right", tries: map[tickets.RequestID]int{}}
	w.decides = epm
	w.start()
	n := w.ask("r")
	if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit = %+v, want Done", a)
	}
	w.until(n, "denied", func(t *tickets.Ticket) bool { return t.Sending.NotPermitted })
	epm.lock("")
	for end := time.Now().Add(time.Minute); epm.tried("r") < 2; time.Sleep(time.Millisecond) {
		w.bot.Command(context.Background(), adapters.Command{Actor: ann, Place: place, Text: "test-connection"})
		if time.Now().After(end) {
			t.Fatal("it is not tried again")
		}
	}
	w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
}

// TestEPMDeniedAFormerLife: what EPM denied before the bot was started again,
// perhaps with another secret, does not wait ten minutes.
func TestEPMDeniedAFormerLife(t *testing.T) {
	w := newWorld(t)
	epm := &lockedEPM{fakeEPM: w.epm, why: "no right", tries: map[tickets.RequestID]int{}}
	w.decides = epm
	w.start()
	n := w.ask("r")
	if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit = %+v, want Done", a)
	}
	w.until(n, "denied", func(t *tickets.Ticket) bool { return t.Sending.NotPermitted })
	w.stop()
	epm.lock("")
	w.start()
	w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
}
