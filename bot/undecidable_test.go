package bot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// TestNobodyCanDecide: cards follow whether anybody can decide, when the
// settings change, also while nobody ran.
func TestNobodyCanDecide(t *testing.T) {
	w := newWorld(t)
	w.approvers = nil
	w.admins = []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: "U1"}}
	w.start()
	known := w.shown("known")
	in := request("unknown")
	in.Update.Request.User = ""
	r, err := w.bot.Keep(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	unknown := r.Ticket
	// shows waits until both cards show why nobody can decide, or that somebody can.
	shows := func(when string, one, other tickets.Undecidable) {
		t.Helper()
		for n, want := range map[tickets.Number]tickets.Undecidable{known: one, unknown: other} {
			w.until(n, when, func(tk *tickets.Ticket) bool {
				m := tk.Message(place)
				return m.ID != "" && m.Shown == tk.Rev && tk.Undecidable == want
			})
			var card *tickets.Ticket
			w.chat.mu.Lock()
			for _, p := range w.chat.posts {
				if p.number == n {
					card = p.shown
				}
			}
			w.chat.mu.Unlock()
			if card.Undecidable != want || card.Open() != (want == "") {
				t.Errorf("%s: the card of %s shows %q, want %q", when, n, card.Undecidable, want)
			}
			if says := wording.Warning(card); strings.Contains(says, "Nobody can decide") != (want != "") {
				t.Errorf("%s: the card of %s says %q", when, n, says)
			}
		}
	}
	shows("without approvers", tickets.NoApprovers, tickets.NoApprovers)
	approver := []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: "U2"}}
	started := func(with []tickets.Principal) {
		w.stop()
		w.approvers = with
		w.start()
	}
	started(approver)
	shows("started with an approver", "", tickets.UnknownAsker)
	w.answers("config set self_approval allow", "self_approval is now")
	shows("with self-approval", "", "")
	w.answers("config set self_approval deny", "self_approval is now")
	shows("without self-approval", "", tickets.UnknownAsker)
	started(nil)
	shows("started without approvers", tickets.NoApprovers, tickets.NoApprovers)
	w.answers("config set approvers chat:U2", "approvers is now")
	shows("with an approver that an admin named", "", tickets.UnknownAsker)
}

// TestRefusedWhileSettingsChanged: EPM's refusal opens a ticket again that
// nobody can decide any more.
func TestRefusedWhileSettingsChanged(t *testing.T) {
	w := newWorld(t)
	w.own = true
	w.start()
	in := request("r")
	in.Update.Request.User = ""
	r, err := w.bot.Keep(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	n := r.Ticket
	w.epm.plan(tickets.StepSend, fault{class: tickets.Unavailable}, fault{class: tickets.Rejected})
	if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit() = %#v", a)
	}
	w.until(n, "tried", func(tk *tickets.Ticket) bool { return tk.Sending.Attempts == 1 && !tk.Sending.Begun })
	w.answers("config set self_approval deny", "self_approval is now")
	w.advance(time.Hour)
	w.until(n, "refused", func(tk *tickets.Ticket) bool {
		return tk.Refusal != nil && tk.Undecidable == tickets.UnknownAsker && !tk.Open()
	})
}
