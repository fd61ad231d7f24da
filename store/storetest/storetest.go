// Package storetest is what every keeper of the store contract must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Open opens the same store each time it is called within one test; the
// suite closes it before it opens it again.
type Open func(store.Hooks) (store.Store, error)

// Place is where the suite's tickets are shown.
var Place = tickets.Place{Platform: "slack", Channel: "C1"}

// Receiver is who the suite's tickets tell of their events.
const Receiver tickets.EventSink = "syslog"

// Rules are the suite's rules: the default ticket type, one place.
func Rules() tickets.Rules {
	typ := tickets.Types()[0]
	return tickets.Rules{Type: typ, Active: typ.Active, Title: "EPM JIT Access Request", Places: []tickets.Place{Place}}
}

// Now is when the suite's time begins.
var Now = time.Date(2026, 1, 31, 13, 5, 0, 0, time.UTC)

// Ann approves.
var Ann = tickets.Actor{Platform: "slack", ID: "U1", Name: "Ann"}

// Asked is a webhook with a new application request.
func Asked(id string) tickets.Incoming {
	rid := tickets.RequestID(id)
	return tickets.Incoming{
		ID: "in-" + id, At: Now, Remote: "192.0.2.1", Raw: []byte(`{"RequestId":"` + id + `"}`),
		Update: &tickets.Update{ID: rid, Request: &tickets.Request{ID: rid, Kind: tickets.Application, User: `ACME\ann`, Host: "PC-0815", Product: "7-Zip"}},
	}
}

// Asks applies a webhook of Asked.
func Asks(in tickets.Incoming, at time.Time) store.Apply {
	return func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
		if t == nil {
			t = tickets.Start(tickets.NewNumber("JIT", seq), in.Update.ID, Rules(), at)
		}
		return taken(t, in, at)
	}
}

// taken is t once in was taken, or nil if it says nothing new.
func taken(t *tickets.Ticket, in tickets.Incoming, at time.Time) (*tickets.Ticket, tickets.Status) {
	status := t.ApplyUpdate(in, Rules(), at)
	if status == tickets.StatusDuplicate {
		return nil, status
	}
	return t, status
}

// Approval is Ann's yes, once.
func Approval(at time.Time) tickets.Decision {
	return tickets.Decision{Verdict: tickets.Approve, Reason: "ok", Duration: tickets.Once(), By: Ann, At: at, Place: Place}
}

type suite struct {
	*testing.T
	open  Open
	hooks store.Hooks
	s     store.Store
}

// Run runs the suite. fresh makes a new empty store for one test, and returns
// how to open it.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	for name, test := range map[string]func(*suite){
		"AcceptMakesOneTicketPerRequest": (*suite).accept,
		"AcceptKeepsWhatFailed":          (*suite).failed,
		"ListAndWebhookAtOnce":           (*suite).listed,
		"UpdateFirstThenRequest":         (*suite).updateFirst,
		"OneOfManyDecides":               (*suite).oneDecides,
		"RefusedUpdateWritesNothing":     (*suite).refused,
		"NotFound":                       (*suite).notFound,
		"ListNewestFirst":                (*suite).list,
		"ClaimLeases":                    (*suite).claim,
		"IndexAgreesWithOwes":            (*suite).index,
		"ManyAtOnce":                     (*suite).many,
		"SurvivesReopening":              (*suite).reopen,
		"Stats":                          (*suite).stats,
		"Settings":                       (*suite).settings,
		"OneOfManyConfigures":            (*suite).oneConfigures,
		"Marks":                          (*suite).marks,
		"FirstOfMany":                    (*suite).first,
		"FirstSurvivesReopening":         (*suite).firstReopened,
		"ReplayAppliesWhatFailed":        (*suite).replays,
		"ReplayOfOthers":                 (*suite).replaysOthers,
		"ReplaysAtOnce":                  (*suite).replaysAtOnce,
		"IncomingsByPrefix":              (*suite).prefix,
		"PurgeByAge":                     (*suite).purgesByAge,
		"PurgeByCount":                   (*suite).purgesByCount,
		"PurgesAtOnce":                   (*suite).purgesAtOnce,
		"PurgeLooksAtAll":                (*suite).purgesAll,
		"PanicHarmsNobody":               (*suite).panics,
		"ClosedSaysSo":                   (*suite).closed,
		"WritesCallHooks":                (*suite).writesCallHooks,
	} {
		t.Run(name, func(t *testing.T) {
			s := &suite{T: t, open: fresh(t)}
			s.reopenStore()
			t.Cleanup(func() {
				if err := s.s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(s)
		})
	}
}

func (s *suite) reopenStore() {
	s.Helper()
	if s.s != nil {
		s.must(s.s.Close())
	}
	st, err := s.open(s.hooks)
	s.must(err)
	s.s = st
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) ask(id string) *tickets.Ticket {
	s.Helper()
	return s.askAt(id, Now)
}

func (s *suite) askAt(id string, at time.Time) *tickets.Ticket {
	s.Helper()
	in := Asked(id)
	_, t, err := s.s.Accept(s.Context(), in, Asks(in, at))
	s.must(err)
	return t
}

func (s *suite) oneDecides() {
	n := s.ask("a").Number
	var wg sync.WaitGroup
	results := make([]error, 20)
	for i := range results {
		wg.Go(func() {
			d := Approval(Now)
			d.By.ID = fmt.Sprintf("U%d", i)
			_, results[i] = s.s.Update(s.Context(), n, func(t *tickets.Ticket) error { return t.Decide(d, Rules()) })
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, tickets.ErrDecided):
			s.Errorf("loser got %v; want ErrDecided", err)
		}
	}
	if won != 1 {
		s.Errorf("%d of 20 decided; want 1", won)
	}
}

func (s *suite) refused() {
	before := s.ask("a")
	boom := errors.New("boom")
	got, err := s.s.Update(s.Context(), before.Number, func(t *tickets.Ticket) error {
		t.State, t.Rev = "Closed", 99
		return boom
	})
	if !errors.Is(err, boom) || got == nil || got.State != before.State || got.Rev != before.Rev {
		s.Errorf("Update = %+v, %v; want the ticket as it stands and the error", got, err)
	}
	stored, err := s.s.Get(s.Context(), before.Number)
	s.must(err)
	if stored.Version != before.Version || stored.State != before.State {
		s.Errorf("stored = %+v; want it unchanged", stored)
	}
}

func (s *suite) notFound() {
	s.ask("a")
	for _, n := range []tickets.Number{"", "JIT", "JIT-0", "JIT-+1001", "JIT-01001", "INC-1001", "JIT-9999999", "JIT-99999999999999999999", "'; DROP TABLE tickets"} {
		if _, err := s.s.Get(s.Context(), n); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("Get(%q) = %v; want ErrNotFound", n, err)
		}
		if _, err := s.s.Update(s.Context(), n, func(*tickets.Ticket) error { return nil }); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("Update(%q) = %v; want ErrNotFound", n, err)
		}
	}
	for _, id := range []tickets.RequestID{"", "b", "'; DROP TABLE tickets"} {
		if _, err := s.s.Find(s.Context(), id); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("Find(%q) = %v; want ErrNotFound", id, err)
		}
	}
	if _, err := s.s.Incoming(s.Context(), "nope"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Incoming = %v; want ErrNotFound", err)
	}
}

func (s *suite) list() {
	var want []tickets.Number
	for i := range 7 {
		want = append(want, s.ask(fmt.Sprint(i)).Number)
	}
	oldest := slices.Clone(want)
	slices.Reverse(want)
	_, err := s.s.Update(s.Context(), want[3], func(t *tickets.Ticket) error { return t.Decide(Approval(Now), Rules()) })
	s.must(err)
	for _, c := range []struct {
		q    store.Query
		want []tickets.Number
	}{
		{store.Query{}, want},
		{store.Query{Limit: 2}, want[:2]},
		{store.Query{Before: want[1], Limit: 2}, want[2:4]},
		{store.Query{Progress: tickets.Submitting}, want[3:4]},
		{store.Query{Progress: tickets.Pending, Before: want[2], Limit: 2}, want[4:6]},
		{store.Query{Progress: tickets.Final}, nil},
		{store.Query{After: want[4]}, want[:4]},
		{store.Query{After: want[4], Before: want[1]}, want[2:4]},
		{store.Query{OldestFirst: true}, oldest},
		{store.Query{OldestFirst: true, Limit: 2}, oldest[:2]},
		{store.Query{OldestFirst: true, After: oldest[1], Limit: 2}, oldest[2:4]},
		{store.Query{OldestFirst: true, Progress: tickets.Pending, After: oldest[1], Limit: 2}, []tickets.Number{oldest[2], oldest[4]}},
		{store.Query{OldestFirst: true, After: oldest[6]}, nil},
	} {
		list, err := s.s.List(s.Context(), c.q)
		s.must(err)
		var got []tickets.Number
		for _, t := range list {
			got = append(got, t.Number)
		}
		if !slices.Equal(got, c.want) {
			s.Errorf("List(%+v) = %v; want %v", c.q, got, c.want)
		}
	}
	for _, q := range []store.Query{{Before: "x"}, {After: "x"}} {
		if _, err := s.s.List(s.Context(), q); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("List(%+v) = %v; want ErrNotFound", q, err)
		}
	}
}

func (s *suite) claim() {
	lane := tickets.PostLane("slack")
	a := s.askAt("a", Now.Add(2*time.Second)).Number
	b := s.askAt("b", Now).Number
	c := s.askAt("c", Now.Add(time.Hour)).Number
	now := Now.Add(time.Minute)
	claim := func(now time.Time, limit int) []tickets.Number {
		s.Helper()
		list, err := s.s.Claim(s.Context(), lane, now, now.Add(time.Minute), limit)
		s.must(err)
		var ns []tickets.Number
		for _, t := range list {
			ns = append(ns, t.Number)
		}
		return ns
	}
	if got := claim(now, 1); !slices.Equal(got, []tickets.Number{b}) {
		s.Errorf("first claim = %v; want the one due longest, %s", got, b)
	}
	if got := claim(now, 5); !slices.Equal(got, []tickets.Number{a}) {
		s.Errorf("second claim = %v; want the other one, %s", got, a)
	}
	if got := claim(now, 5); got != nil {
		s.Errorf("third claim = %v; want nothing: all are leased or not due", got)
	}
	other, err := s.s.Claim(s.Context(), tickets.LaneEPM, now, now.Add(time.Minute), 5)
	s.must(err)
	if len(other) != 0 {
		s.Errorf("claim in another lane = %v; want nothing", other)
	}
	s.must(s.s.Release(s.Context(), lane, b))
	if got := claim(now, 5); !slices.Equal(got, []tickets.Number{b}) {
		s.Errorf("claim after release = %v; want %s", got, b)
	}
	// Releasing what is not leased is harmless.
	s.must(s.s.Release(s.Context(), lane, c))
	if got := claim(now.Add(2*time.Minute), 5); !slices.Equal(got, []tickets.Number{b, a}) {
		s.Errorf("claim after the leases ended = %v; want %v", got, []tickets.Number{b, a})
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[tickets.Number]int{}
	later := Now.Add(3 * time.Hour)
	for range 8 {
		wg.Go(func() {
			list, err := s.s.Claim(s.Context(), lane, later, later.Add(time.Minute), 1)
			if err != nil {
				s.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, t := range list {
				seen[t.Number]++
			}
		})
	}
	wg.Wait()
	for _, n := range []tickets.Number{a, b, c} {
		if seen[n] != 1 {
			s.Errorf("%s was claimed %d times at once; want once", n, seen[n])
		}
	}
}

// index takes tickets through random lives and compares, after each change,
// what the store gives out with what the ticket owes.
func (s *suite) index() {
	rng := rand.New(rand.NewPCG(1, 2))
	now := Now
	var ns []tickets.Number
	for i := range 5 {
		ns = append(ns, s.ask(fmt.Sprint(i)).Number)
	}
	lanes := []tickets.Lane{tickets.LaneEPM, tickets.LanePoll, tickets.PostLane("slack"), tickets.EditLane("slack"), tickets.DeliverLane(Receiver)}
	for range 120 {
		now = now.Add(time.Duration(rng.Int64N(int64(5 * time.Minute))))
		n := ns[rng.IntN(len(ns))]
		_, err := s.s.Update(s.Context(), n, func(t *tickets.Ticket) error {
			Live(t, rng, now)
			return nil
		})
		s.must(err)
		for _, n := range ns {
			t, err := s.s.Get(s.Context(), n)
			s.must(err)
			for _, lane := range lanes {
				at := now.Add(time.Duration(rng.Int64N(int64(2 * time.Hour))))
				got, err := s.s.Claim(s.Context(), lane, at, at.Add(time.Minute), len(ns))
				s.must(err)
				for _, c := range got {
					s.must(s.s.Release(s.Context(), lane, c.Number))
				}
				claimed := slices.ContainsFunc(got, func(c *tickets.Ticket) bool { return c.Number == n })
				owes := slices.ContainsFunc(t.PendingSteps(at), func(st tickets.Step) bool { return st.Lane == lane })
				if claimed != owes {
					s.Fatalf("%s in %s at %v: claimed %t, owes %t\n%+v", n, lane, at, claimed, owes, t)
				}
			}
		}
	}
}

// Live does one random thing to t that the bot might do.
func Live(t *tickets.Ticket, rng *rand.Rand, now time.Time) {
	later := now.Add(time.Duration(rng.Int64N(int64(time.Hour)))).Truncate(time.Microsecond)
	var d tickets.Decision
	if t.Decision != nil {
		d = *t.Decision
	}
	switch rng.IntN(16) {
	case 0, 1:
		_ = t.Decide(Approval(now), Rules())
	case 2:
		t.BeginSend(now)
	case 3:
		t.SendFailed(d, rng.IntN(2) == 0, "EPM does not answer", later, now)
	case 4:
		t.RecordAccepted(d, now)
	case 5:
		t.RecordRejection(d, "no such request", now)
	case 6:
		t.RecordPoll(later, now)
	case 7:
		if rng.IntN(4) == 0 {
			t.Conclude(tickets.Outcome{Verdict: tickets.Deny, At: now}, Rules(), now)
		}
	case 8:
		t.BeginPost(Place, now)
	case 9:
		t.RecordPost(Place, "1.2", t, now)
	case 10:
		t.RecordEdit(Place, t.Rev, now)
	case 11:
		t.ShowFailed(Place, "channel_not_found", later, rng.IntN(20) == 0, now)
	case 12:
		t.RecordReply(Place, rng.IntN(len(t.Events)), now)
	case 13:
		states := Rules().Type.States
		t.Move(states[rng.IntN(len(states))], Ann, Rules(), now)
	case 14:
		t.TrackSink([]tickets.EventSink{Receiver}, rng.IntN(2))
		t.DeliveryFailed(Receiver, "no answer", later)
	case 15:
		t.RecordDelivery(Receiver, rng.IntN(1+len(t.Events)))
	}
}

func (s *suite) many() {
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			in := Asked(fmt.Sprint(i / 2)) // each request twice
			in.ID = fmt.Sprintf("in-%d", i)
			if _, _, err := s.s.Accept(s.Context(), in, Asks(in, Now)); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := s.s.List(s.Context(), store.Query{Limit: n})
	s.must(err)
	seen := map[tickets.RequestID]bool{}
	for _, t := range list {
		if seen[t.ID] {
			s.Errorf("request %s has two tickets", t.ID)
		}
		seen[t.ID] = true
	}
	kept, err := s.s.Incomings(s.Context(), store.IncomingQuery{Limit: 2 * n})
	s.must(err)
	if len(list) != n/2 || len(kept) != n {
		s.Errorf("%d tickets and %d webhooks; want %d and %d", len(list), len(kept), n/2, n)
	}
}

func (s *suite) reopen() {
	a := s.ask("a")
	_, err := s.s.Update(s.Context(), a.Number, func(t *tickets.Ticket) error { return t.Decide(Approval(Now), Rules()) })
	s.must(err)
	claimed, err := s.s.Claim(s.Context(), tickets.LaneEPM, Now, Now.Add(time.Hour), 1)
	s.must(err)
	if len(claimed) != 1 {
		s.Fatalf("claimed %d; want 1", len(claimed))
	}
	s.reopenStore()
	got, err := s.s.Get(s.Context(), a.Number)
	s.must(err)
	if got.Decision == nil || got.Decision.Reason != "ok" || !got.Decision.Duration.Once() || got.Version != 2 {
		s.Errorf("after reopening = %+v; want the decision, version 2", got)
	}
	if b := s.ask("b"); b.Number == a.Number {
		s.Errorf("number %s was given out twice", a.Number)
	}
}

func (s *suite) stats() {
	a := s.askAt("a", Now.Add(-time.Minute))
	s.ask("b")
	_, err := s.s.Update(s.Context(), a.Number, func(t *tickets.Ticket) error { return t.Decide(Approval(Now), Rules()) })
	s.must(err)
	st, err := s.s.Stats(s.Context(), Now)
	s.must(err)
	if st.Progress[tickets.Pending] != 1 || st.Progress[tickets.Submitting] != 1 {
		s.Errorf("Progress = %v; want one pending, one submitting", st.Progress)
	}
	post := st.Due[tickets.PostLane("slack")]
	if post.Count != 2 || !post.Oldest.Equal(Now.Add(-time.Minute)) || st.Due[tickets.LaneEPM].Count != 1 {
		s.Errorf("Due = %v; want two posts, the oldest a minute old, and one send", st.Due)
	}
	owed := map[tickets.Lane]int{tickets.PostLane("slack"): 2, tickets.LaneEPM: 1}
	if !maps.Equal(st.Owed, owed) {
		s.Errorf("Owed = %v; want %v", st.Owed, owed)
	}
	if early, err := s.s.Stats(s.Context(), Now.Add(-time.Hour)); err != nil || len(early.Due) != 0 || !maps.Equal(early.Owed, owed) {
		s.Errorf("an hour before Due = %v and Owed = %v, %v; want nothing, and %v", early.Due, early.Owed, err, owed)
	}
}

func (s *suite) panics() {
	n := s.ask("a").Number
	if _, err := s.s.Update(s.Context(), n, func(*tickets.Ticket) error { panic("boom") }); err == nil {
		s.Error("Update with a panicking change = nil; want an error")
	}
	if _, err := s.s.Update(s.Context(), n, func(t *tickets.Ticket) error { return t.Decide(Approval(Now), Rules()) }); err != nil {
		s.Errorf("Update afterwards = %v; want nil", err)
	}
}

func (s *suite) closed() {
	s.must(s.s.Close())
	in := Asked("a")
	if _, _, err := s.s.Accept(context.Background(), in, Asks(in, Now)); err == nil {
		s.Error("Accept on a closed store = nil; want an error")
	}
	s.s = nil
	s.reopenStore()
}
