package bot_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// decides are the ways to act on a card.
var decides = []adapters.Action{adapters.ActionApprove, adapters.ActionDeny, adapters.ActionDetails, adapters.ActionState, adapters.ActionForm}

// TestClickOnWhatIsNotOurs: a number says little of which request somebody
// sees, and where they see it little of who showed it.
func TestClickOnWhatIsNotOurs(t *testing.T) {
	other := (&tickets.Request{ID: "other"}).Digest()
	elsewhere := tickets.Place{Platform: "chat", Channel: "C2"}
	for name, c := range map[string]struct {
		digest  tickets.RequestDigest // empty: the right one
		none    bool                  // no digest
		place   tickets.Place
		private bool
		say     string // empty: it is done
	}{
		"ShownHere":           {place: place},
		"OtherRequest":        {place: place, digest: other, say: wording.MsgOtherRequest},
		"OtherRequestPrivate": {private: true, digest: other, say: wording.MsgOtherRequest},
		"NoDigest":            {place: place, none: true, say: "I do not know this button any more"},
		"NeverShownHere":      {place: elsewhere, say: wording.MsgNotShownHere},
		"Nowhere":             {say: wording.MsgNotShownHere},
		"PrivateElsewhere":    {place: elsewhere, private: true},
		"PrivateNowhere":      {private: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, n := started(t)
			click := adapters.Click{Actor: ann, Place: c.place, Number: n, Digest: c.digest, Private: c.private, Verdict: tickets.Deny, State: "In Progress"}
			if c.digest == "" && !c.none {
				click.Digest = w.digest(n)
			}
			for _, click.Action = range decides {
				a := w.bot.Click(t.Context(), click)
				if _, refused := a.(adapters.Note); refused != (c.say != "") {
					t.Errorf("%s is answered %#v", click.Action, a)
				}
				if c.say != "" {
					wantNote(t, a, c.say)
				}
			}
			w.bot.Written(t.Context())
			got, err := w.store.Get(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			turned := 0
			for _, e := range got.Events {
				if e.Kind == tickets.EventAccessDenied {
					turned++
				}
			}
			// Of each verdict, and of the state; the form's is the denial's.
			if moved := got.State != "New"; got.Decision != nil || moved != (c.say == "") || (turned == 3) != (c.say != "") {
				t.Errorf("the ticket is in %s with %d people turned away, decided %v", got.State, turned, got.Decision)
			}
		})
	}
}

// TestSubmitForAnotherRequest: a form of another request decides nothing.
func TestSubmitForAnotherRequest(t *testing.T) {
	w, n := started(t)
	for digest, say := range map[tickets.RequestDigest]string{
		(&tickets.Request{ID: "other"}).Digest(): wording.MsgOtherRequest,
		"":                                       "I do not know this button any more",
	} {
		s := adapters.Submission{Actor: ann, Place: place, Number: n, Digest: digest, Verdict: tickets.Approve, Form: twoHours}
		wantNote(t, w.bot.Submit(t.Context(), s), say)
	}
	w.bot.Written(t.Context())
	got, err := w.store.Get(t.Context(), n)
	if err != nil || got.Decision != nil || fmt.Sprint(kindsOf(got)) != "[received card_posted access_denied access_denied]" {
		t.Errorf("the ticket is %+v, %v; want it undecided, and who tried in its history", got, err)
	}
}

// TestRestoredStoreGivesNumbersAgain: a card from before the store was
// restored has the number of what was asked since.
func TestRestoredStoreGivesNumbersAgain(t *testing.T) {
	w := newFileWorld(t)
	w.start()
	w.shown("first")
	w.stop()
	backup, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	lost := w.shown("lost")
	old := w.digest(lost)
	w.stop()
	for _, beside := range []string{"-wal", "-shm"} {
		if err := os.RemoveAll(w.path + beside); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	n := w.shown("since")
	if n != lost {
		t.Fatalf("the number is %s, want %s again", n, lost)
	}
	for _, action := range decides {
		wantNote(t, w.bot.Click(t.Context(), adapters.Click{Actor: ann, Place: place, Number: n, Digest: old, Action: action, Verdict: tickets.Deny, State: "Closed"}), wording.MsgOtherRequest)
	}
	wantNote(t, w.bot.Submit(t.Context(), adapters.Submission{Actor: ann, Place: place, Number: n, Digest: old, Verdict: tickets.Approve, Form: twoHours}), wording.MsgOtherRequest)
	if got, _ := w.store.Get(t.Context(), n); got.Decision != nil || got.State != "New" {
		t.Errorf("the ticket is %+v, want it untouched", got)
	}
	if _, ok := w.click(n, ann, adapters.ActionApprove).(adapters.Form); !ok {
		t.Error("its own card does not open the form")
	}
}

// fuller is the webhook of a request, and less what EPM's list tells of it.
func fuller(id string) tickets.Incoming {
	in := request(id)
	in.ID += "-webhook"
	in.Update.Request.Fields = []tickets.Field{{Name: "user", Value: `ACME\jdoe`}, {Name: "parent", Value: "evil.exe"}}
	return in
}

func less(id string) tickets.Incoming {
	in := request(id)
	in.Update.Request.Listed = true
	in.Update.Request.Fields = []tickets.Field{{Name: "user", Value: `ACME\jdoe`}}
	return in
}

// meanwhile is a store in which something happens before the next update.
type meanwhile struct {
	store.Store
	mu     sync.Mutex
	before func(store.Store)
}

func (s *meanwhile) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	s.mu.Lock()
	before := s.before
	s.before = nil
	s.mu.Unlock()
	if before != nil {
		before(s.Store)
	}
	return s.Store.Update(ctx, n, change)
}

// TestMoreIsKnownMeanwhile: the webhook completes a request that EPM's list
// brought, while somebody decides on less. They are shown what is known now,
// with what they typed.
func TestMoreIsKnownMeanwhile(t *testing.T) {
	for name, between := range map[string]bool{"BeforeTheFormIsSent": false, "WhileTheDecisionIsWritten": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			slow := &meanwhile{}
			w.wrap = func(s store.Store) store.Store { slow.Store = s; return slow }
			w.start()
			r, err := w.bot.Keep(t.Context(), less("r"))
			if err != nil {
				t.Fatal(err)
			}
			n := r.Ticket
			w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
			old := w.digest(n)
			complete := func() {
				if r, err := w.bot.Keep(context.Background(), fuller("r")); err != nil || r.Status != tickets.StatusUpdated {
					t.Errorf("Keep() = %+v, %v", r, err)
				}
			}
			if !between {
				complete()
			} else {
				slow.mu.Lock()
				slow.before = func(store.Store) { complete() }
				slow.mu.Unlock()
			}
			s := adapters.Submission{Actor: ann, Place: place, Number: n, Digest: old, Verdict: tickets.Approve, Form: twoHours}
			f, ok := w.bot.Submit(t.Context(), s).(adapters.Form)
			if !ok || f.Problems[tickets.FieldReason] != wording.MsgMoreKnown || f.Values != twoHours || f.Ticket.Request.Digest() == old {
				t.Fatalf("Submit() = %#v, want the form anew with what was typed", f)
			}
			if got, _ := w.store.Get(t.Context(), n); got.Decision != nil {
				t.Fatalf("decided all the same: %+v", got.Decision)
			}
			// A card that is not edited yet opens the form of what is known now, and
			// says that it is more; so does a change inside the form.
			for _, action := range []adapters.Action{adapters.ActionApprove, adapters.ActionForm} {
				f, ok = w.bot.Click(t.Context(), adapters.Click{Actor: ann, Place: place, Number: n, Digest: old, Action: action, Verdict: tickets.Approve, Form: twoHours}).(adapters.Form)
				if !ok || f.Problems[tickets.FieldReason] != wording.MsgMoreKnown || f.Ticket.Request.Digest() == old {
					t.Errorf("%s = %#v, want the form of what is known now", action, f)
				}
			}
			if _, ok := w.bot.Click(t.Context(), adapters.Click{Actor: ann, Place: place, Number: n, Digest: old, Action: adapters.ActionDetails}).(adapters.Details); !ok {
				t.Error("no details, which show all that is known")
			}
			w.until(n, "edited", func(t *tickets.Ticket) bool { return t.Message(place).Shown == t.Rev })
			if s.Digest = w.digest(n); w.bot.Submit(t.Context(), s) != (adapters.Done{}) {
				t.Error("the form that was shown anew does not decide")
			}
			// What came late decides nothing twice.
			s.Digest, s.Actor = old, bob
			wantNote(t, w.bot.Submit(t.Context(), s), "already approved this request")
		})
	}
}

// TestStatusTellsWarnings: what a chat warns of is in /epm status, and keeps it
// from saying that all is well.
func TestStatusTellsWarnings(t *testing.T) {
	w, _ := started(t)
	if say := said(w.bot.Command(t.Context(), adapters.Command{Actor: ann, Place: place, Text: "status"})); !strings.Contains(say, "Every connection works.") {
		t.Errorf("status = %q", say)
	}
	w.stop()
	w.chat.warnings = []string{"somebody else uses this app"}
	w.start()
	say := said(w.bot.Command(t.Context(), adapters.Command{Actor: ann, Place: place, Text: "status"}))
	if !strings.Contains(say, "\nChat: somebody else uses this app.") || strings.Contains(say, "Every connection works") {
		t.Errorf("status = %q", say)
	}
}
