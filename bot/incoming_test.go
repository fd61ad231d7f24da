package bot_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/retention"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// reads is a parser that understands "ask ID" and "deny ID", and says of
// anything else that it does not.
func reads(in tickets.Incoming) tickets.Incoming {
	in.Update, in.Error = nil, ""
	verb, id, _ := strings.Cut(string(in.Raw), " ")
	rid := tickets.RequestID(id)
	switch verb {
	case "ask":
		in.Update = request(id).Update
	case "deny":
		in.Update = &tickets.Update{ID: rid, Outcome: &tickets.Outcome{Verdict: tickets.Deny, By: "console"}}
	case "approve":
		in.Update = &tickets.Update{ID: rid, Outcome: &tickets.Outcome{Verdict: tickets.Approve, By: "console"}}
	case "wait":
		in.Update = &tickets.Update{ID: rid, Waiting: true}
	default:
		in.Error = "the body is <neither> one\nnor the \u202eother"
	}
	return in
}

// replaying is a world whose bot can read what it could not before.
func replaying(t *testing.T) *world {
	w := newWorld(t)
	w.read = reads
	w.start()
	return w
}

// keepsFailed keeps a webhook that could not be read when it arrived.
func (w *world) keepsFailed(id, raw string, at time.Time) {
	w.t.Helper()
	r, err := w.bot.Keep(context.Background(), tickets.Incoming{ID: id, At: at, Remote: "192.0.2.1", Raw: []byte(raw), Error: "an older version could not read this"})
	if err != nil || r.Status != tickets.StatusFailed {
		w.t.Fatalf("Keep = %+v, %v; want failed", r, err)
	}
}

func (w *world) told(by tickets.Actor, text string) string {
	w.t.Helper()
	return w.bot.Command(context.Background(), adapters.Command{Actor: by, Place: place, Text: text}).(adapters.Note).Text
}

func (w *world) answers(text, want string) {
	w.t.Helper()
	if got := w.told(ann, text); !strings.Contains(got, want) {
		w.t.Errorf("/epm %s = %q, want %q in it", text, got, want)
	}
}

const (
	firstID  = "01980000-aaaa-7000-8000-000000000001"
	secondID = "01980000-aaaa-7000-8000-000000000002"
	thirdID  = "01980001-aaaa-7000-8000-000000000003"
)

func TestReplayInChat(t *testing.T) {
	w := replaying(t)
	w.answers("incoming", "There are none.")
	w.keepsFailed(firstID, "ask r", time.Now().Add(-time.Hour))
	w.keepsFailed(secondID, "garbage", time.Now())
	w.keepsFailed(thirdID, "garbage", time.Now())
	w.answers("incoming", "failed · "+firstID+" · an older version could not read this")
	for _, word := range []string{"incoming", "incoming failed", "incoming replay " + firstID} {
		if got := w.told(sam, word); got != wording.MsgNotAdmin {
			t.Errorf("/epm %s of a stranger = %q, want %q", word, got, wording.MsgNotAdmin)
		}
	}
	for text, want := range map[string]string{
		"incoming replay":                   "Say which",
		"incoming replay 0198000":           "at least its first 8 characters",
		"incoming replay 0198/0000":         "letters, digits and hyphens",
		"incoming replay 01980000":          "Several webhooks",
		"incoming replay 01980002":          "No webhook has this ID",
		"incoming replay " + firstID + "1":  "No webhook has this ID",
		"incoming replay " + firstID + " x": "Say /epm incoming",
		"incoming " + firstID:               "Say /epm incoming",
	} {
		w.answers(text, want)
	}
	if list, err := w.store.List(t.Context(), store.Query{}); err != nil || len(list) != 0 {
		t.Fatalf("tickets = %+v, %v; want none yet", list, err)
	}

	w.answers("incoming REPLAY "+strings.ToUpper(firstID), "Replayed: the ticket JIT-1001 was created.")
	w.until("JIT-1001", "shown", settled)
	w.answers("incoming replay "+firstID, "it was applied before as created (JIT-1001). Nothing was changed.")
	w.answers("incoming", "created · "+firstID+" · JIT-1001")
	if got := w.told(ann, "incoming failed"); strings.Contains(got, firstID) || strings.Count(got, "failed") != 2 {
		t.Errorf("/epm incoming failed = %q, want the other two", got)
	}
	w.answers("incoming replay 01980001", "It fails still: the body is <neither> one ⏎ nor the ⟦U+202E⟧other. It stays kept.")
	w.answers("incoming failed", "⏎ nor the ⟦U+202E⟧other")
	k, err := w.store.Incoming(t.Context(), thirdID)
	if err != nil || !strings.HasPrefix(k.Error, "the body is") || string(k.Raw) != "garbage" {
		t.Errorf("the record = %+v, %v; want the new reason and the old body", k, err)
	}
	w.until("JIT-1001", "settled", settled)
	if n := len(w.chat.posts); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestReplayOfDuplicatesAndUpdates(t *testing.T) {
	w := replaying(t)
	n := w.ask("r")
	w.keepsFailed(firstID, "ask r", time.Now())
	w.keepsFailed(secondID, "wait other", time.Now())
	w.keepsFailed(thirdID, "deny r", time.Now())
	w.answers("incoming replay "+firstID, "it says nothing new ("+string(n)+"), and changed no ticket")
	w.answers("incoming replay "+firstID, "applied before as duplicate ("+string(n)+")")
	w.answers("incoming replay "+secondID, "it says nothing new, and changed no ticket")
	w.answers("incoming replay "+thirdID, "Replayed: the ticket "+string(n)+" was updated.")
	got := w.until(n, "shown", settled)
	if got.Progress() != tickets.Final || len(w.chat.posts) != 1 {
		t.Errorf("ticket %+v with %d messages; want it final, with one", got, len(w.chat.posts))
	}
}

// What was left lying is older than what EPM has said since.
func TestReplayDoesNotTurnBack(t *testing.T) {
	w := replaying(t)
	n := w.ask("r")
	w.keepsFailed(firstID, "approve r", time.Now())
	w.conclude("r", tickets.Outcome{Verdict: tickets.Deny, By: "console"})
	w.answers("incoming replay "+firstID, "it says nothing new ("+string(n)+")")
	if got, err := w.store.Get(t.Context(), n); err != nil || got.Outcome.Verdict != tickets.Deny {
		t.Errorf("outcome = %+v, %v; want the denial, which EPM sent later", got.Outcome, err)
	}
	// One that arrived later is later.
	w.advance(time.Minute)
	w.keepsFailed(secondID, "approve r", w.now())
	w.answers("incoming replay "+secondID, "was updated")
	if got, err := w.store.Get(t.Context(), n); err != nil || got.Outcome.Verdict != tickets.Approve {
		t.Errorf("outcome = %+v, %v; want the approval", got.Outcome, err)
	}
}

// lossy is a store whose Replay has its effect and says that it had none.
type lossy struct {
	store.Store
	lose bool
}

func (l *lossy) Replay(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	r, t, err := l.Store.Replay(ctx, in, apply)
	if l.lose {
		return tickets.Receipt{}, nil, errors.New("no answer")
	}
	return r, t, err
}

func TestReplayWhoseAnswerIsLost(t *testing.T) {
	w := newWorld(t)
	w.read = reads
	l := &lossy{lose: true}
	w.wrap = func(s store.Store) store.Store { l.Store = s; return l }
	w.start()
	w.keepsFailed(firstID, "ask r", time.Now())
	w.answers("incoming replay "+firstID, "is not replayed twice")
	l.lose = false
	w.answers("incoming replay "+firstID, "applied before as created (JIT-1001)")
	w.until("JIT-1001", "shown", settled)
	w.stop()
	w.answers("incoming", "cannot reach my store")
	w.answers("incoming replay "+firstID, "My store did not answer")
}

func TestReplayNeedsAReader(t *testing.T) {
	w, _ := started(t)
	w.keepsFailed(firstID, "ask x", time.Now())
	w.answers("incoming replay "+firstID, "cannot be replayed from here")
}

func TestIncomingShowsTen(t *testing.T) {
	var log strings.Builder
	w := newWorld(t)
	w.read, w.log = reads, slog.NewTextHandler(&log, nil)
	w.start()
	for i := range 12 {
		w.keepsFailed(fmt.Sprintf("01980000-%04d", i), "SECRET BODY", time.Now())
	}
	got := w.told(ann, "incoming failed")
	if lines := strings.Split(got, "\n"); len(lines) != 10 || !strings.Contains(lines[0], "01980000-0011") || !strings.Contains(lines[9], "01980000-0002") {
		t.Errorf("/epm incoming failed = %q, want the newest ten", got)
	}
	w.told(ann, "incoming replay 01980000-0011")
	w.stop()
	if strings.Contains(got, "SECRET BODY") || strings.Contains(log.String(), "SECRET BODY") {
		t.Error("a body is in the list or in the log")
	}
}

func TestPurge(t *testing.T) {
	w := newWorld(t)
	w.purge = time.Millisecond
	w.start()
	now := time.Now()
	old := func(id string, age time.Duration) { w.keepsFailed(id, "x", now.Add(-age)) }
	old("01980000-0001", retention.KeepFailed+time.Hour)
	old("01980000-0002", retention.KeepFailed-time.Hour)
	open := request("open")
	open.At = now.Add(-retention.KeepFailed - time.Hour)
	if _, err := w.bot.Keep(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	again := open
	again.ID, again.At = "in-again", now.Add(-retention.KeepApplied-time.Hour)
	if r, err := w.bot.Keep(t.Context(), again); err != nil || r.Status != tickets.StatusDuplicate {
		t.Fatalf("Keep = %+v, %v; want a duplicate", r, err)
	}
	kept := func() string {
		list, err := w.store.Incomings(t.Context(), store.IncomingQuery{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, k := range list {
			ids = append(ids, k.ID)
		}
		return strings.Join(ids, " ")
	}
	const want = "in-open 01980000-0002"
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ; kept() != want; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("kept are %s, want %s", kept(), want)
		}
	}
	again.ID = "in-again-2"
	if r, err := w.bot.Keep(t.Context(), again); err != nil || r.Status != tickets.StatusDuplicate || r.Ticket != "JIT-1001" {
		t.Errorf("the webhook sent again = %+v, %v; want a duplicate of JIT-1001", r, err)
	}
}

// Tickets are kept for good, or as long as was said: then their webhooks go
// too, and the ledger tells of them.
func TestRetire(t *testing.T) {
	w := newFileWorld(t)
	w.purge = time.Millisecond
	w.start()
	done := w.ask("done")
	w.conclude("done", tickets.Outcome{Verdict: tickets.Deny, At: time.Now()})
	w.until(done, "settled", settled)
	open := w.ask("open")
	w.advance(90 * 24 * time.Hour)
	w.until(open, "there", settled)
	if _, err := w.store.Get(t.Context(), done); err != nil {
		t.Fatalf("without an age: %v", err)
	}
	w.stop()
	w.ages.Tickets = 60 * 24 * time.Hour
	w.start()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		_, err := w.store.Get(t.Context(), done)
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%s is there still, %v", done, err)
		}
	}
	if _, err := w.store.Get(t.Context(), open); err != nil {
		t.Errorf("the open one: %v", err)
	}
	docs, err := w.under.(store.Archive).Ledger(t.Context())
	if err != nil || len(docs) != 1 || !strings.Contains(string(docs[0]), string(done)) {
		t.Errorf("the ledger has %s, %v", docs, err)
	}
	var found []store.Finding
	if _, err := store.Verify(t.Context(), w.under.(store.Archive), nil, func(f store.Finding) { found = append(found, f) }); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
}
