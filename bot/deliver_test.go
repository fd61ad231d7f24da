package bot_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// follow configures a receiver, from the next start on.
func (w *world) follow(name tickets.EventSink) *fakeReceiver {
	r := &fakeReceiver{}
	if w.receivers == nil {
		w.receivers = map[tickets.EventSink]events.Sink{}
	}
	w.receivers[name] = r
	return r
}

// delivered holds what r took against the history of t: all of it is there,
// nothing was taken before what comes before it, and what was repeated is the
// same.
func (w *world) delivered(r *fakeReceiver, t *tickets.Ticket) {
	w.t.Helper()
	w.deliveredFrom(r, t, 0)
}

func (w *world) deliveredFrom(r *fakeReceiver, t *tickets.Ticket, from int) {
	w.t.Helper()
	next, seen := from+1, map[string]tickets.EventEnvelope{}
	for _, n := range r.all() {
		if n.Data.Ticket != t.Number {
			continue
		}
		if old, ok := seen[n.ID]; ok {
			if !reflect.DeepEqual(n, old) {
				w.t.Errorf("%s was told as\n%+v\nand as\n%+v", n.ID, old, n)
			}
			continue
		}
		seen[n.ID] = n
		if n.Data.Position != next {
			w.t.Errorf("%s: event %d was told when it was the turn of %d", t.Number, n.Data.Position, next)
		}
		if e := t.Events[n.Data.Position-1]; n.Type != "ticket."+string(e.Kind) || n.Data.Event.Kind != e.Kind || !n.At.Equal(e.At) || n.Data.Request.User != t.Request.User {
			w.t.Errorf("%s: event %d was told as %+v, want %+v", t.Number, n.Data.Position, n, e)
		}
		next++
	}
	if next != len(t.Events)+1 {
		w.t.Errorf("%s: events up to %d were told, want %d", t.Number, next-1, len(t.Events))
	}
}

// Many tickets live at once, with a receiver that fails all the time and takes
// two events at most: each ticket's events come in their order. To see it
// fail, let Notices begin with the last event.
func TestDeliveredInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.follow("siem")
	r.takes = 2
	for i := range 15 {
		r.plan(tickets.StepDeliver, fault{tickets.Unavailable, false}, fault{tickets.Ambiguous, i%2 == 0})
	}
	w.start()
	defer w.hurry()()
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			id := fmt.Sprintf("r%d", i)
			n := w.ask(id)
			w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
			w.approve(n, ann, twoHours)
			w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted || t.Outcome != nil })
			w.conclude(id, *outcome(w.epm.first(tickets.RequestID(id))))
			w.delivered(r, w.until(n, "settled", settled))
		})
	}
	wg.Wait()
}

// A receiver that hangs delays nothing else. To see it fail, put its steps
// into the lane of edits.
func TestSlowReceiverDelaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, other := w.follow("slow"), w.follow("quick")
	r.hangs = make(chan struct{})
	w.start()
	var numbers []tickets.Number
	for i := range 5 {
		numbers = append(numbers, w.ask(fmt.Sprintf("r%d", i)))
	}
	start := time.Now()
	for i, n := range numbers {
		w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
		if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
			t.Fatalf("Submit = %+v, want Done", a)
		}
		w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
		w.conclude(fmt.Sprintf("r%d", i), *outcome(w.epm.first(tickets.RequestID(fmt.Sprintf("r%d", i)))))
		got := w.until(n, "final, shown, and told to the other one", func(t *tickets.Ticket) bool {
			for _, s := range t.PendingSteps(time.Now()) {
				if s.Sink != "slow" {
					return false
				}
			}
			return t.Progress() == tickets.Final
		})
		w.delivered(other, got)
	}
	// The steps time out after 25 s: none was waited for.
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("5 tickets took %v beside a receiver that hangs", took)
	}
	if len(r.all()) != 0 {
		t.Error("the slow one was not slow")
	}
	close(r.hangs)
	for _, n := range numbers {
		w.delivered(r, w.until(n, "settled", func(t *tickets.Ticket) bool { return len(t.PendingSteps(time.Now())) == 0 }))
	}
}

// firstRest is the shortest rest after a failure, a second less a fifth.
const firstRest = 800 * time.Millisecond

// While a receiver is down, or takes nothing any more, its lane rests: it is
// asked now and then, not once for each ticket, and status says so. To see it
// fail, leave out waitFor, or let failed pause nothing, or ofOne report true.
func TestDeadReceiverIsLeftAlone(t *testing.T) {
	t.Parallel()
	for class, most := range map[tickets.Class]int{tickets.Unavailable: 30, tickets.Unauthorized: 60, tickets.Ambiguous: 60} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			leftAlone(t, class, most)
		})
	}
}

func leftAlone(t *testing.T, class tickets.Class, most int) {
	w := newWorld(t)
	r := w.follow("siem")
	w.start()
	took := w.ask("taken")
	w.until(took, "told", toldAll)
	for range 1000 {
		r.plan(tickets.StepDeliver, fault{class, false})
	}
	var last tickets.Number
	for i := range 50 {
		last = w.ask(fmt.Sprint(i))
	}
	w.until(last, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
	w.eventually("status tells", func() bool {
		s := said(w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"}))
		return strings.Contains(s, "Events for siem: ") && strings.Contains(s, "tickets have events to deliver") && strings.Contains(s, "did not take the last one ("+string(class)+")")
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls > most {
		t.Errorf("a receiver that takes nothing was called %d times for 50 tickets", r.calls)
	}
	delete(r.asked, took) // it is told again to see whether it is taken
	for n, at := range r.asked {
		for i := range at[1:] {
			if d := at[i+1].Sub(at[i]); d < firstRest {
				t.Errorf("it was told of %s again after %v", n, d)
			}
		}
	}
}

// toldAll reports whether the first receiver of t was told of everything, and
// that t is posted.
func toldAll(t *tickets.Ticket) bool {
	return t.Message(place).ID != "" && t.Deliveries[0].Done == len(t.Events) && t.Deliveries[0].Attempts == 0
}

// One event that is refused for what it says holds up its own ticket alone.
// To see it fail, let every class of failure rest the lane.
func TestRefusedEventHoldsUpItsTicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.follow("siem")
	r.plan(tickets.StepDeliver, fault{tickets.Rejected, false})
	w.start()
	first := w.ask("a")
	w.until(first, "refused", func(t *tickets.Ticket) bool { return t.Deliveries[0].Attempts == 1 && t.Deliveries[0].Problem != "" })
	second := w.ask("b")
	got := w.until(second, "told", toldAll)
	w.delivered(r, got)
	if f, err := w.store.Get(t.Context(), first); err != nil || f.Deliveries[0].Done != 0 {
		t.Errorf("what was refused = %+v, %v", f.Deliveries, err)
	}
	defer w.hurry()()
	w.delivered(r, w.until(first, "told later", toldAll))
}

// A receiver that fails with some tickets only, as if it were down: more of
// them than there are workers hold up no other. To see it fail, let them keep
// their turn.
func TestTicketsThatFailHoldUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.follow("siem")
	r.bad = func(n tickets.EventEnvelope) *tickets.Failure {
		if strings.HasPrefix(string(n.Data.Request.ID), "bad") {
			return &tickets.Failure{Class: tickets.Ambiguous, Err: errors.New("it answers with HTTP status 500")}
		}
		return nil
	}
	w.start()
	for i := range 9 {
		w.ask(fmt.Sprint("bad", i))
	}
	var good []tickets.Number
	for i := range 9 {
		good = append(good, w.ask(fmt.Sprint("good", i)))
	}
	defer w.hurry()()
	for _, n := range good {
		w.delivered(r, w.until(n, "told", toldAll))
	}
}

// Whoever asks for access can let nothing wait but the events of their own
// requests: what a firewall before the receiver forbids rests no lane, and is
// tried less and less often. The clock is not hurried: the rests would take
// minutes. To see it fail, let ofOne report false.
func TestForbiddenTextHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, class := range []tickets.Class{tickets.Unauthorized, tickets.Ambiguous, tickets.NotFound} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.follow("siem")
			var allowed atomic.Bool
			r.bad = func(n tickets.EventEnvelope) *tickets.Failure {
				if !allowed.Load() && strings.HasPrefix(string(n.Data.Request.ID), "bad") {
					return &tickets.Failure{Class: class, Err: errors.New("it is forbidden")}
				}
				return nil
			}
			w.start()
			w.until(w.ask("first"), "told", toldAll)
			var bad []tickets.Number
			for i := range 60 {
				bad = append(bad, w.ask(fmt.Sprint("bad", i)))
			}
			last := w.ask("last")
			w.delivered(r, w.until(last, "told", toldAll))
			if s := said(w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"})); strings.Contains(s, "did not take the last one") {
				t.Errorf("the lane rests: %s", s)
			}
			w.eventually("status tells of those that are not due", func() bool {
				s := said(w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"}))
				return strings.Contains(s, "Events for siem: 60 tickets have events to deliver") && strings.Contains(s, "tried again within minutes: ")
			})
			for tries := 1; tries < 10; tries++ {
				got := w.until(bad[0], "tried again", func(t *tickets.Ticket) bool { return t.Deliveries[0].Attempts >= tries })
				w.advance(max(0, got.Deliveries[0].NotBefore.Sub(w.now())))
			}
			got := w.until(bad[0], "tried seldom", func(t *tickets.Ticket) bool { return t.Deliveries[0].Attempts >= 10 })
			if d := got.Deliveries[0].NotBefore.Sub(w.now()); d < 3*time.Minute || d > 6*time.Minute {
				t.Errorf("after %d failures it is tried again in %v", got.Deliveries[0].Attempts, d)
			}
			allowed.Store(true)
			defer w.hurry()() // one may just be failing once more
			for _, n := range bad {
				w.delivered(r, w.until(n, "told when it is allowed", toldAll))
			}
		})
	}
}

// A receiver begins with what happens after it is configured; one that is
// taken out stays owed, and one that nobody knows harms nothing. To see it
// fail, let Follow begin with the first event.
func TestReceiverBegins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	old := w.ask("old")
	before := len(w.until(old, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" }).Events)
	first := w.follow("first")
	w.restart()
	if a := w.approve(old, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit = %+v, want Done", a)
	}
	got := w.until(old, "told", func(t *tickets.Ticket) bool {
		return t.Progress() == tickets.Submitted && len(t.PendingSteps(time.Now())) == 0
	})
	w.deliveredFrom(first, got, before)
	w.receivers = nil
	second := w.follow("second")
	w.restart()
	w.conclude("old", *outcome(w.epm.first("old")))
	got = w.until(old, "told to the second", func(t *tickets.Ticket) bool {
		return len(t.Deliveries) == 2 && t.Deliveries[1].Done == len(t.Events)
	})
	w.deliveredFrom(second, got, len(got.Events)-1)
	if s := said(w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"})); !strings.Contains(s, "Events for first: 1 ticket has events to deliver") || !strings.Contains(s, "No such receiver is configured") {
		t.Errorf("status = %q", s)
	}
	w.receivers["first"] = first
	w.restart()
	got = w.until(old, "told to the first as well", func(t *tickets.Ticket) bool { return t.Deliveries[0].Done == len(t.Events) })
	w.deliveredFrom(first, got, before)
}

// torn is a store of which one ticket cannot be read.
type torn struct{ events.Archive }

func (s torn) TicketsAfter(ctx context.Context, seq int64, limit int) ([]store.TicketRecord, error) {
	page, err := s.Archive.TicketsAfter(ctx, seq, limit)
	for i := range page {
		if page[i].Seq == store.FirstSeq+1 {
			page[i] = store.TicketRecord{Seq: page[i].Seq, Err: store.ErrNewerForm}
		}
	}
	return page, err
}

// A ticket that cannot be read keeps a receiver from being forgotten there
// alone, and the error says so. To see it fail, return at the first error.
func TestForgetGoesOn(t *testing.T) {
	t.Parallel()
	w := newFileWorld(t)
	w.follow("siem")
	w.start()
	for i := range 3 {
		w.until(w.ask(fmt.Sprint(i)), "told", toldAll)
	}
	w.stop()
	s := w.opened().(events.Archive)
	for _, run := range []struct {
		s    events.Archive
		want int
		says string
	}{{torn{s}, 2, "left as they are: 1, the first: "}, {s, 1, ""}, {s, 0, ""}} {
		done, err := events.Drop(t.Context(), run.s, "siem")
		if done != (events.Dropped{Tickets: run.want}) || (err != nil) != (run.says != "") || err != nil && !(errors.Is(err, store.ErrNewerForm) && strings.Contains(err.Error(), run.says)) {
			t.Errorf("Forget = %+v, %v; want %d tickets and %q", done, err, run.want, run.says)
		}
	}
}

// An update that overtakes its request tells nothing before the request comes,
// and then everything.
func TestDeliveredAfterTheRequestCame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.conclude("r", tickets.Outcome{Verdict: tickets.Deny, By: "console"})
	r := w.follow("siem")
	w.restart()
	n := w.ask("r")
	got := w.until(n, "told", func(t *tickets.Ticket) bool { return t.Request != nil && toldAll(t) })
	w.delivered(r, got)
}

// Changes of the settings are told in the order of their versions, from those
// on that are made after the receiver is configured. A receiver that is down
// is told later, also after a restart. To see it fail, set the mark before
// Deliver.
func TestChangesAreDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	set := func(value string) {
		t.Helper()
		if got := w.says("config set category " + value); !strings.Contains(got, "category is now") {
			t.Fatalf("config set = %q", got)
		}
	}
	set("before")
	r := w.follow("siem")
	w.restart()
	marked := func(want int64) func() bool {
		return func() bool {
			at, err := w.store.Cursor(context.Background(), "events/siem")
			return err == nil && at == want
		}
	}
	w.eventually("it begins", marked(1))
	for i := range 3 {
		set(fmt.Sprint(i))
	}
	w.eventually("they are told", marked(4))
	r.plan(tickets.StepDeliver, fault{tickets.Unavailable, false}, fault{tickets.Ambiguous, true}, fault{class: panics})
	set("down")
	w.eventually("it is asked", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.calls > 3 })
	set("more")
	w.restart()
	defer w.hurry()()
	w.eventually("all are told", marked(6))
	var got []string
	seen := map[string]bool{}
	for _, n := range r.all() {
		if c := n.Data.Change; c != nil && !seen[n.ID] {
			seen[n.ID] = true
			got = append(got, fmt.Sprintf("%s: %d %s by %s", n.Type, c.Version, *c.New, c.By.ID))
		}
	}
	want := []string{
		"settings.changed: 2 0 by U1", "settings.changed: 3 1 by U1", "settings.changed: 4 2 by U1",
		"settings.changed: 5 down by U1", "settings.changed: 6 more by U1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told were %q, want %q", got, want)
	}
}

// markless is a store that keeps no mark, for a while.
type markless struct {
	store.Store
	heals atomic.Bool
	tried atomic.Int64
}

func (s *markless) SetCursor(ctx context.Context, name string, at int64) error {
	if s.tried.Add(1); !s.heals.Load() {
		return errors.New("planned")
	}
	return s.Store.SetCursor(ctx, name, at)
}

// What is changed after a receiver begins is told, also if the store could not
// keep at first from where on. To see it fail, let begins be the version at
// each try.
func TestChangesAreDeliveredThoughNoMarkWasKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sick := &markless{}
	w.wrap = func(s store.Store) store.Store { sick.Store = s; return sick }
	r := w.follow("siem")
	w.start()
	w.eventually("it is tried", func() bool { return sick.tried.Load() > 0 })
	w.wants("config set category x", "category is now")
	sick.heals.Store(true)
	w.eventually("the change is told", func() bool {
		for _, n := range r.all() {
			if c := n.Data.Change; c != nil && c.Version == 1 {
				return true
			}
		}
		return false
	})
}

// Changes of one version that a receiver does not take all at once are told
// from where it stopped. To see it fail, leave taken out of the follower.
func TestChangesOfOneVersionGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.follow("siem")
	r.takes = 2
	w.start()
	w.eventually("it begins", func() bool { _, err := w.store.Cursor(t.Context(), "events/siem"); return err == nil })
	for _, s := range []string{"category x", "auto_close true", "short_description z", "self_approval allow"} {
		w.wants("config set "+s, " is now ")
	}
	w.wants("config reset yes", "category is now empty")
	newest, err := w.store.Changes(t.Context(), 1)
	if err != nil || len(newest) != 1 {
		t.Fatalf("Changes = %v, %v", newest, err)
	}
	last := newest[0].Version
	defer w.hurry()()
	w.eventually("all are told", func() bool { at, err := w.store.Cursor(t.Context(), "events/siem"); return err == nil && at == last })
	var keys []string
	for _, n := range r.all() {
		if c := n.Data.Change; c != nil && c.Version == last {
			keys = append(keys, c.Key)
		}
	}
	if told := slices.Compact(slices.Sorted(slices.Values(keys))); len(keys) != 4 || len(told) != 4 {
		t.Errorf("told were the changes of %q, want all four, each once", keys)
	}
}

// Of several replicas one tells of the changes of the settings.
func TestOneReplicaTellsOfChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shared := &leases{holders: map[string]string{}}
	w.shared = shared
	r := w.follow("siem")
	w.start()
	w.eventually("it begins", func() bool { _, err := w.store.Cursor(t.Context(), "events/siem"); return err == nil })
	shared.take("events/siem", "other")
	w.says("config set category x")
	tk := w.ask("a")
	w.until(tk, "told", toldAll)
	for range 20 { // while it lives on
		tk := w.ask(fmt.Sprint(time.Now().UnixNano()))
		w.until(tk, "told", toldAll)
	}
	changes := func() (n int) {
		for _, got := range r.all() {
			if got.Data.Change != nil {
				n++
			}
		}
		return n
	}
	if changes() != 0 {
		t.Error("both tell of a change")
	}
	if err := shared.ReleaseLease(t.Context(), "events/siem", "other"); err != nil {
		t.Fatal(err)
	}
	w.eventually("it takes over", func() bool { return changes() == 1 })
}

// take gives a lease to somebody else, whoever has it.
func (l *leases) take(name, holder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders[name] = holder
}
