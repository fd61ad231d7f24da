package bot_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/integrity"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

// tamper does something to the store behind the bot's back.
func (w *world) tamper(query string, args ...any) {
	w.t.Helper()
	w.tampered.Store(true)
	db, err := sql.Open("sqlite", "file:"+w.path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(w.t.Context(), query, args...); err != nil {
		w.t.Fatal(err)
	}
}

// form is the stored form of n.
func (w *world) form(n tickets.Number) (seq int64, doc []byte) {
	w.t.Helper()
	seq, _ = n.Seq()
	page, err := w.under.FormsAfter(context.Background(), seq-1, 1)
	if err != nil || len(page) != 1 || page[0].Err != nil {
		w.t.Fatalf("form of %s = %+v, %v", n, page, err)
	}
	return seq, page[0].Doc
}

// rewrite puts another text in the place of one in the record of n, whose seal
// is broken then.
func (w *world) rewrite(n tickets.Number, old, text string) {
	w.t.Helper()
	seq, doc := w.form(n)
	if !bytes.Contains(doc, []byte(old)) {
		w.t.Fatalf("%s has no %s", doc, old)
	}
	w.plant(seq, bytes.Replace(doc, []byte(old), []byte(text), 1))
}

// plant puts doc in the place of a record, unpacked.
func (w *world) plant(seq int64, doc []byte) {
	w.t.Helper()
	w.tamper(`UPDATE tickets SET doc = ? WHERE seq = ?`, append([]byte{0}, doc...), seq)
}

// forge changes the record of n as somebody does who can seal it.
func (w *world) forge(n tickets.Number, change func(*tickets.Ticket)) {
	w.t.Helper()
	seq, doc := w.form(n)
	t, err := store.Decode(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	change(t)
	if doc, err = store.Encode(t); err != nil {
		w.t.Fatal(err)
	}
	w.plant(seq, doc)
}

// damages counts what a bot finds.
type damages struct {
	mu  sync.Mutex
	all map[integrity.Damage]int
}

func (d *damages) Step(tickets.StepKind, string, time.Duration) {}

func (d *damages) Damaged(what integrity.Damage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[integrity.Damage]int{}
	}
	d.all[what]++
}

func (d *damages) found(what integrity.Damage) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[what]
}

var two = []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: "U1"}, {Platform: "chat", Kind: tickets.User, ID: "U3"}}

// TestDamagedRecord: nobody decides by a record that something else has
// changed, and everybody sees why, until an admin lets others decide it.
func TestDamagedRecord(t *testing.T) {
	for name, damage := range map[string]func(*world, tickets.Number){
		"TheSealIsBroken": func(w *world, n tickets.Number) { w.rewrite(n, `"reason":"please"`, `"reason":"PLEASE"`) },
		"SealedAnew":      func(w *world, n tickets.Number) { w.forge(n, func(t *tickets.Ticket) { t.Request.Product = "other" }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFileWorld(t)
			w.meter, w.admins = &damages{}, two
			w.start()
			n, other := w.shown("a"), w.shown("b")
			damage(w, n)
			wantNote(t, w.click(n, ann, adapters.ActionApprove), "was changed by something else than Countersign")
			wantNote(t, w.approve(n, bob, twoHours), "was changed by something else than Countersign")
			tk := w.until(n, "shown as damaged", func(tk *tickets.Ticket) bool { return tk.Message(place).Shown == tk.Rev })
			if says := wording.Warning(tk); !strings.Contains(says, wording.MsgDamaged) || tk.Open() {
				t.Errorf("the card says %q, and is open: %t", says, tk.Open())
			}
			if w.meter.found(integrity.DamagedRecord) != 1 {
				t.Errorf("found %v; want one record", w.meter.all)
			}
			cmd := "ticket " + string(n) + " accept-damaged"
			if got := w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: cmd + " yes"}).(adapters.Note).Text; got != wording.MsgNotAdmin {
				t.Errorf("a stranger is told %q", got)
			}
			w.wants(cmd, "send: /epm ticket "+string(n)+" accept-damaged yes")
			wantNote(t, w.click(n, bob, adapters.ActionApprove), "was changed by something else than Countersign")
			w.wants(cmd+" Yes", "Other people can now decide "+string(n))
			w.wants(cmd+" yes", "is not damaged, or was accepted already")
			w.wants("ticket "+string(other)+" accept-damaged yes", "is not damaged")
			wantNote(t, w.click(n, ann, adapters.ActionApprove), wording.MsgAcceptedByYou)
			wantNote(t, w.approve(n, ann, twoHours), wording.MsgAcceptedByYou)
			w.restart() // what was accepted stays so
			if a := w.approve(n, bob, twoHours); a != (adapters.Done{}) {
				t.Fatalf("Bob decides: %#v", a)
			}
			tk = w.until(n, "sent", func(tk *tickets.Ticket) bool { return !tk.Sending.Done.IsZero() })
			var kinds []tickets.EventKind
			for _, e := range tk.Events {
				if e.Kind == tickets.EventDamaged || e.Kind == tickets.EventAccepted || e.Kind == tickets.EventDecided {
					kinds = append(kinds, e.Kind)
				}
			}
			if len(kinds) != 3 || kinds[0] != tickets.EventDamaged || kinds[1] != tickets.EventAccepted {
				t.Errorf("the history has %v", kinds)
			}
			if w.meter.found(integrity.DamagedRecord) != 1 {
				t.Errorf("found %v; what was accepted is found again", w.meter.all)
			}
		})
	}
}

// TestForgedDecisionIsNotSent: a decision that nobody made, in a record that is
// sealed well and was put into the index, while the bot runs.
func TestForgedDecisionIsNotSent(t *testing.T) {
	t.Parallel()
	w := newFileWorld(t)
	w.start()
	n, honest := w.shown("a"), w.shown("b")
	seq, _ := n.Seq()
	w.forge(n, func(t *tickets.Ticket) {
		t.Decision = &tickets.Decision{Verdict: tickets.Approve, Reason: "ok", Duration: tickets.Lasting(24 * time.Hour), By: bob, At: w.now(), Place: place}
	})
	w.tamper(`INSERT INTO due (lane, at, seq) VALUES ('epm', 1, ?)`, seq)
	w.until(n, "held", func(tk *tickets.Ticket) bool { return tk.Damaged() && !tk.Broken })
	if a := w.approve(honest, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit = %#v", a)
	}
	w.until(honest, "sent", func(tk *tickets.Ticket) bool { return !tk.Sending.Done.IsZero() })
	if sent := w.sent(); sent != 1 {
		t.Errorf("%d decisions were sent; want the honest one", sent)
	}
}

// TestForgeryIsNotWrittenIntoTheHistory: what happens next to a ticket does not
// make a forged title the one of its history.
func TestForgeryIsNotWrittenIntoTheHistory(t *testing.T) {
	for name, change := range map[string]func(*tickets.Ticket){
		"Title": func(t *tickets.Ticket) { t.Title = "harmless" },
		"Rev":   func(t *tickets.Ticket) { t.Rev-- },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFileWorld(t)
			w.start()
			n := w.shown("a")
			w.forge(n, change)
			w.wants("state "+string(n)+" On Hold", "is now On Hold")
			w.until(n, "found", func(tk *tickets.Ticket) bool { return tk.Damaged() })
			wantNote(t, w.click(n, bob, adapters.ActionApprove), "was changed by something else than Countersign")
		})
	}
}

// TestAnotherNumberHarmsNobody: a record that says it is another ticket does
// not have that one marked.
func TestAnotherNumberHarmsNobody(t *testing.T) {
	t.Parallel()
	w := newFileWorld(t)
	w.meter = &damages{}
	w.start()
	n, honest := w.shown("a"), w.shown("b")
	w.stop()
	w.startAfter(func() { w.rewrite(n, `"number":"`+string(n)+`"`, `"number":"`+string(honest)+`"`) })
	for end := time.Now().Add(time.Minute); w.meter.found(integrity.UnreadableRecord) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody found it")
		}
	}
	if a := w.approve(honest, ann, twoHours); a != (adapters.Done{}) {
		t.Errorf("the honest one: %#v", a)
	}
}

// TestDamagedAgain: who accepted one damage has not accepted the next, also not
// of the same kind.
func TestDamagedAgain(t *testing.T) {
	t.Parallel()
	w := newFileWorld(t)
	w.start()
	n := w.shown("a")
	w.forge(n, func(t *tickets.Ticket) { t.Request.Product = "one" })
	wantNote(t, w.click(n, bob, adapters.ActionApprove), "was changed by something else")
	w.wants("ticket "+string(n)+" accept-damaged yes", "Other people")
	w.until(n, "settled", settled)
	w.forge(n, func(t *tickets.Ticket) { t.Request.Product = "two" })
	wantNote(t, w.click(n, bob, adapters.ActionApprove), "was changed by something else")
	w.wants("ticket "+string(n)+" accept-damaged yes", "Other people")
	w.until(n, "settled", settled)
	w.rewrite(n, `"reason":"please"`, `"reason":"PLEASE"`)
	wantNote(t, w.click(n, bob, adapters.ActionApprove), "was changed by something else")
	w.wants("ticket "+string(n)+" accept-damaged yes", "Other people")
	w.until(n, "settled", settled)
	w.rewrite(n, `"reason":"PLEASE"`, `"reason":"now"`)
	wantNote(t, w.click(n, bob, adapters.ActionApprove), "was changed by something else")
}

// TestDecisionInADamagedRecord: a decision that perhaps nobody made is not
// sent, and whoever made it does not accept it.
func TestDecisionInADamagedRecord(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*world, tickets.Number)
		accepted string // by Ann
	}{
		"Changed": {func(w *world, n tickets.Number) { w.rewrite(n, `"verdict":"deny"`, `"verdict":"approve"`) }, "Other people"},
		"Forged": {func(w *world, n tickets.Number) {
			w.forge(n, func(t *tickets.Ticket) {
				t.Decision.Verdict, t.Decision.Duration = tickets.Approve, tickets.Lasting(24*time.Hour)
			})
		}, "Other people"},
		"TheirOwn": {func(w *world, n tickets.Number) {
			w.forge(n, func(t *tickets.Ticket) { t.Decision.Verdict, t.Decision.By = tickets.Approve, ann })
		}, "is yours, or may be"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFileWorld(t)
			w.start()
			n := w.shown("a")
			w.epm.plan(tickets.StepSend, fault{class: tickets.Unavailable})
			if a := w.bot.Submit(t.Context(), adapters.Submission{Number: n, Actor: bob, Verdict: tickets.Deny, Form: tickets.Form{Reason: "no"}, Digest: w.digest(n)}); a != (adapters.Done{}) {
				t.Fatalf("Submit = %#v", a)
			}
			w.until(n, "tried", func(tk *tickets.Ticket) bool { return tk.Sending.Attempts == 1 && !tk.Sending.Begun })
			w.stop()
			w.startAfter(func() { c.change(w, n) })
			tk := w.until(n, "held", func(tk *tickets.Ticket) bool { return tk.Damaged() && !tk.Broken && tk.Message(place).Shown == tk.Rev })
			w.advance(24 * time.Hour)
			if says := wording.Status(tk).String(); !strings.Contains(says, "not sent to EPM: the record is damaged") || !strings.Contains(wording.Warning(tk), wording.MsgDamaged) {
				t.Errorf("the card says %q, %q", says, wording.Warning(tk))
			}
			after := w.shown("after")
			if a := w.approve(after, ann, twoHours); a != (adapters.Done{}) {
				t.Fatalf("Submit = %#v", a)
			}
			w.until(after, "sent", func(tk *tickets.Ticket) bool { return !tk.Sending.Done.IsZero() })
			if sent := w.sent(); sent != 1 {
				t.Errorf("%d decisions were sent; want the other one alone", sent)
			}
			w.wants("ticket "+string(n)+" accept-damaged yes", c.accepted)
			if name != "TheirOwn" {
				w.until(n, "sent", func(tk *tickets.Ticket) bool { return !tk.Sending.Done.IsZero() })
			} else if sent := w.sent(); sent != 1 {
				t.Errorf("%d decisions were sent; want the other one alone", sent)
			}
		})
	}
}

// TestIndexesAreMended: what an index lost is found in the tickets.
func TestIndexesAreMended(t *testing.T) {
	for name, query := range map[string]string{
		"NothingIsDue": `DELETE FROM due`,
		"PutOff":       `UPDATE OR IGNORE due SET at = at + 1000000000000000`,
		"HiddenAsOpen": `UPDATE tickets SET progress = 'final'`,
		"NoRequest":    `UPDATE tickets SET request = 'x' || seq`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFileWorld(t)
			w.meter = &damages{}
			w.start()
			n := w.shown("a")
			waits := w.shown("b")
			w.epm.plan(tickets.StepSend, fault{class: tickets.Unavailable})
			if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
				t.Fatalf("Submit = %#v", a)
			}
			w.until(n, "tried", func(tk *tickets.Ticket) bool { return tk.Sending.Attempts == 1 && !tk.Sending.Begun })
			w.stop()
			w.startAfter(func() { w.tamper(query) })
			w.advance(time.Hour)
			w.until(n, "sent", func(tk *tickets.Ticket) bool { return !tk.Sending.Done.IsZero() })
			for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				list, err := w.store.List(t.Context(), store.Query{Progress: tickets.Pending})
				if err == nil && len(list) == 1 && list[0].Number == waits {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("pending are %v, %v", list, err)
				}
			}
			if w.meter.found(integrity.DamagedIndex) == 0 {
				t.Errorf("found %v", w.meter.all)
			}
			if r, err := w.bot.Keep(t.Context(), request("b")); err == nil && r.Ticket != waits {
				t.Errorf("a second webhook made %s", r.Ticket)
			}
		})
	}
}

// TestUnreadableTicket: it has a sentence of its own, and trying again is not
// advised.
func TestUnreadableTicket(t *testing.T) {
	t.Parallel()
	w := newFileWorld(t)
	w.meter = &damages{}
	w.start()
	n, waits := w.shown("a"), w.shown("b")
	seq, doc := w.form(n)
	for _, bad := range [][]byte{doc[:len(doc)/2], {}, []byte("[]"), []byte(`{"v":0}`)} {
		w.plant(seq, bad)
		for what, a := range map[string]adapters.Answer{
			"click": w.click(n, ann, adapters.ActionApprove), "details": w.click(n, ann, adapters.ActionDetails), "submit": w.approve(n, ann, twoHours),
		} {
			if a, ok := a.(adapters.Note); !ok || !strings.Contains(a.Text, "is damaged and cannot be read") || a.Retryable {
				t.Errorf("%q: %s = %#v", bad, what, a)
			}
		}
		w.wants("ticket "+string(n), "is damaged and cannot be read")
		w.wants("state "+string(n)+" On Hold", "is damaged and cannot be read")
		w.wants("ticket "+string(n)+" accept-damaged yes", "is damaged and cannot be read")
	}
	w.restart()
	for end := time.Now().Add(time.Minute); w.meter.found(integrity.UnreadableRecord) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody found it")
		}
	}
	if a := w.approve(waits, ann, twoHours); a != (adapters.Done{}) {
		t.Errorf("another request: %#v", a)
	}
	w.until(waits, "sent", func(tk *tickets.Ticket) bool { return !tk.Sending.Done.IsZero() })
}

// otherChat is a second chat.
type otherChat struct{ *fakeChat }

func (c otherChat) Platform() tickets.Platform { return "other" }

// TestAcceptedInAnotherChat: whoever accepted a damaged record in one chat does
// not decide it in another.
func TestAcceptedInAnotherChat(t *testing.T) {
	who := map[string]selfcheck.Identity{
		"U1": {Emails: []string{"jane.doe@acme.com"}, Names: []string{"Jane Doe"}},
		"D1": {Names: []string{"jane_doe"}},
		"D2": {Names: []string{"carl", "Carl Jung"}},
		"D3": {},
	}
	for id, want := range map[string]string{"D1": wording.MsgPerhapsAccepted, "D2": "", "D3": wording.MsgPerhapsAccepted, "D4": wording.MsgCannotTell} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			w := newFileWorld(t)
			w.own = true // whose request it is does not matter here
			identify := func(a tickets.Actor) (selfcheck.Identity, error) {
				if p, ok := who[a.ID]; ok {
					return p, nil
				}
				return selfcheck.Identity{}, errors.New("away")
			}
			w.chat.who = identify
			w.chats = []adapters.Chat{w.chat, otherChat{&fakeChat{who: identify}}}
			w.approvers = append(w.approvers, tickets.Principal{Platform: "other", Kind: tickets.User, ID: id})
			w.start()
			n := w.shown("a")
			w.rewrite(n, `"reason":"please"`, `"reason":"PLEASE"`)
			wantNote(t, w.click(n, bob, adapters.ActionApprove), "was changed by something else")
			w.wants("ticket "+string(n)+" accept-damaged yes", "Other people")
			a := w.approve(n, tickets.Actor{Platform: "other", ID: id, Name: "x"}, twoHours)
			if want == "" {
				if a != (adapters.Done{}) {
					t.Errorf("Submit = %#v", a)
				}
				return
			}
			wantNote(t, a, want)
		})
	}
}

// sent is how many decisions EPM was sent.
func (w *world) sent() int {
	w.epm.mu.Lock()
	defer w.epm.mu.Unlock()
	return w.epm.sends
}
