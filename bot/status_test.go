package bot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

// left is how many calls of kind fail still.
func (f *faults) left(kind tickets.StepKind) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.next[kind])
}

// TestStatusAgreesWithItself: from a failure on until something works again,
// also while a call is under way, /epm status says what fails, and not that
// every connection works; afterwards it says that alone. To see it fail, leave
// out the time of the call in pausedOn, epmAway in backlog, or failing in
// sayReceivers.
func TestStatusAgreesWithItself(t *testing.T) {
	t.Parallel()
	const works = "Every connection works."
	for name, c := range map[string]struct {
		kind   tickets.StepKind
		faults func(*world, *fakeReceiver) *faults
		says   []string // one of them, all the time
	}{
		"EPM":      {tickets.StepSend, func(w *world, _ *fakeReceiver) *faults { return &w.epm.faults }, []string{"EPM: Not sent at the last try, and tried again within minutes: 1.", "EPM did not answer the last one"}},
		"Posts":    {tickets.StepPost, func(w *world, _ *fakeReceiver) *faults { return &w.chat.faults }, []string{"Chat did not take the last one"}},
		"Edits":    {tickets.StepEdit, func(w *world, _ *fakeReceiver) *faults { return &w.chat.faults }, []string{"Chat did not take the last one"}},
		"Replies":  {tickets.StepReply, func(w *world, _ *fakeReceiver) *faults { return &w.chat.faults }, []string{"Chat did not take the last one"}},
		"Receiver": {tickets.StepDeliver, func(_ *world, r *fakeReceiver) *faults { return &r.faults }, []string{"It did not take the last one (unavailable)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.follow("siem")
			w.start()
			// Every connection has worked once.
			first := w.ask("first")
			w.until(first, "told", toldAll)
			f := c.faults(w, r)
			for range 6 {
				f.plan(c.kind, fault{tickets.Unavailable, false})
			}
			n := w.ask("second")
			if c.kind != tickets.StepPost {
				w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
				w.approve(n, ann, twoHours)
			}
			checked := 0
			for end := time.Now().Add(2 * time.Minute); f.left(c.kind) > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d calls were never made: %s", f.left(c.kind), w.says("status"))
				}
				begun := f.left(c.kind) <= 4 // so that the failure of one before is known
				s := w.says("status")
				if strings.Contains(s, "again in ") || strings.Contains(s, "again within ") {
					w.advance(time.Second)
				}
				if !begun || f.left(c.kind) == 0 {
					continue
				}
				checked++
				if strings.Contains(s, works) {
					t.Fatalf("while it fails: %s", s)
				}
				if !strings.Contains(s, c.says[0]) && !strings.Contains(s, c.says[len(c.says)-1]) {
					t.Fatalf("%q, want one of %q in it", s, c.says)
				}
			}
			if checked == 0 {
				t.Error("nothing was looked at while it failed")
			}
			stop := w.hurry()
			defer stop()
			w.eventually("it works again", func() bool {
				s := w.says("status")
				return strings.Contains(s, works) && !strings.Contains(s, "again")
			})
		})
	}
}
