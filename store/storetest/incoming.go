package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// keepFailed keeps the webhook of id as an older version that could not read
// it would, and returns it as it reads now.
func (s *suite) keepFailed(id string) tickets.Incoming {
	s.Helper()
	in := Asked(id)
	read := in
	in.Update, in.Error = nil, "an older version could not read this"
	_, _, err := s.s.Accept(s.Context(), in, nil)
	s.must(err)
	return read
}

func (s *suite) replay(in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket) {
	s.Helper()
	r, t, err := s.s.Replay(s.Context(), in, apply)
	s.must(err)
	return r, t
}

// count is how many webhooks there are of a status, "" for any.
func (s *suite) count(status tickets.Status) int {
	s.Helper()
	list, err := s.s.Incomings(s.Context(), store.IncomingQuery{Status: status, Limit: 1000})
	s.must(err)
	return len(list)
}

func (s *suite) replays() {
	in := s.keepFailed("a")
	s.keepFailed("b")
	in.Repaired = true
	r, t := s.replay(in, Asks(in, Now))
	if t == nil || t.Version != 1 || r != (tickets.Receipt{Incoming: in.ID, Ticket: t.Number, Status: tickets.StatusCreated}) {
		s.Fatalf("Replay = %+v, %+v; want it created", r, t)
	}
	check := func(when string) {
		s.Helper()
		k, err := s.s.Incoming(s.Context(), in.ID)
		s.must(err)
		if k.Receipt != r || k.Error != "" || !k.Repaired {
			s.Errorf("%s the record = %+v; want the new result", when, k)
		}
		if string(k.Raw) != string(in.Raw) || !k.At.Equal(in.At) || k.Remote != in.Remote {
			s.Errorf("%s the record = %+v; want body, time and sender as they arrived", when, k)
		}
		if failed, created, all := s.count(tickets.StatusFailed), s.count(tickets.StatusCreated), s.count(""); failed != 1 || created != 1 || all != 2 {
			s.Errorf("%s %d failed, %d created, %d webhooks; want 1, 1, 2", when, failed, created, all)
		}
		list, err := s.s.List(s.Context(), store.Query{})
		s.must(err)
		due, err := s.s.Claim(s.Context(), tickets.PostLane("slack"), Now, Now.Add(time.Minute), 10)
		s.must(err)
		if len(list) != 1 || list[0].Request == nil || len(due) != 1 || due[0].Number != t.Number {
			s.Errorf("%s tickets = %+v, of which %+v are due; want the one, and it is", when, list, due)
		}
		for _, t := range due {
			s.must(s.s.Release(s.Context(), tickets.PostLane("slack"), t.Number))
		}
	}
	check("after the replay")
	// Once more: also if what it says now were something else.
	out := in
	out.Update = &tickets.Update{ID: "other", Request: &tickets.Request{ID: "other"}}
	for _, again := range []tickets.Incoming{in, out} {
		if r2, t2 := s.replay(again, Asks(again, Now)); r2 != r || t2 != nil {
			s.Errorf("second Replay = %+v, %+v; want the receipt of the first and no ticket", r2, t2)
		}
	}
	bad := in
	bad.Update, bad.Error = nil, "a later version cannot read this"
	if r2, t2 := s.replay(bad, nil); r2 != r || t2 != nil {
		s.Errorf("Replay of what cannot be read any more = %+v, %+v; want the receipt of the first", r2, t2)
	}
	check("after more replays")
	s.reopenStore()
	check("after opening again")
}

func (s *suite) replaysOthers() {
	// It fails again, with another reason.
	bad := s.keepFailed("bad")
	bad.Update, bad.Error = nil, "still not JSON"
	if r, t := s.replay(bad, nil); t != nil || r != (tickets.Receipt{Incoming: bad.ID, Status: tickets.StatusFailed}) {
		s.Errorf("Replay = %+v, %+v; want failed", r, t)
	}
	list, err := s.s.Incomings(s.Context(), store.IncomingQuery{Status: tickets.StatusFailed})
	s.must(err)
	if len(list) != 1 || list[0].Error != bad.Error {
		s.Errorf("failed = %+v; want it with the new reason", list)
	}
	// Its request has come another way meanwhile.
	again := s.keepFailed("again")
	known := again
	known.ID = "in-known"
	_, t, err := s.s.Accept(s.Context(), known, Asks(known, Now))
	s.must(err)
	if r, t2 := s.replay(again, Asks(again, Now)); t2 != nil || r != (tickets.Receipt{Incoming: again.ID, Ticket: t.Number, Status: tickets.StatusDuplicate}) {
		s.Errorf("Replay = %+v, %+v; want a duplicate of %s", r, t2, t.Number)
	}
	// An update.
	up := s.keepFailed("up")
	out := tickets.Outcome{Verdict: tickets.Deny, By: "console"}
	up.Update = &tickets.Update{ID: "again", Outcome: &out}
	r, t2 := s.replay(up, func(t *tickets.Ticket, _ int64) (*tickets.Ticket, tickets.Status) {
		t.Conclude(out, Rules(), Now)
		return t, tickets.StatusUpdated
	})
	if t2 == nil || t2.Progress() != tickets.Final || r != (tickets.Receipt{Incoming: up.ID, Ticket: t.Number, Status: tickets.StatusUpdated}) {
		s.Errorf("Replay = %+v, %+v; want %s final", r, t2, t.Number)
	}
	if got, err := s.s.Get(s.Context(), t.Number); err != nil || got.Progress() != tickets.Final || got.Version != 2 {
		s.Errorf("Get = %+v, %v; want it final, version 2", got, err)
	}
	nobody := Asked("nobody")
	if _, _, err := s.s.Replay(s.Context(), nobody, Asks(nobody, Now)); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Replay of what is not kept = %v; want ErrNotFound", err)
	}
	if _, _, err := s.s.Replay(s.Context(), tickets.Incoming{ID: "in-nobody"}, nil); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Replay of what is not kept = %v; want ErrNotFound", err)
	}
	// The number that a webhook did not use is the next one's.
	if next := s.ask("next"); next.Number != "JIT-1002" {
		s.Errorf("the next ticket is %s; want JIT-1002", next.Number)
	}
}

// replaysAtOnce has many replay the same webhooks, while EPM sends them again.
func (s *suite) replaysAtOnce() {
	const webhooks, people = 5, 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := map[string]int{}
	for i := range webhooks {
		in := s.keepFailed(fmt.Sprint(i))
		for p := range people {
			wg.Go(func() {
				keep := s.s.Replay
				in := in
				if p == 0 {
					keep, in.ID = s.s.Accept, in.ID+"-again"
				}
				_, t, err := keep(s.Context(), in, Asks(in, Now))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					s.Error(err)
				}
				if t != nil {
					made[string(t.ID)]++
				}
			})
		}
	}
	wg.Wait()
	list, err := s.s.List(s.Context(), store.Query{})
	s.must(err)
	if len(list) != webhooks || s.count(tickets.StatusCreated) != webhooks || s.count(tickets.StatusFailed) != 0 || s.count("") != 2*webhooks {
		s.Errorf("%d tickets, %d webhooks created, %d failed; want %d, %d, 0", len(list), s.count(tickets.StatusCreated), s.count(tickets.StatusFailed), webhooks, webhooks)
	}
	for i := range webhooks {
		if n := made[fmt.Sprint(i)]; n != 1 {
			s.Errorf("request %d was given a ticket %d times; want once", i, n)
		}
	}
}

func (s *suite) prefix() {
	for _, id := range []string{"00-a", "00-b", "01-a", "0"} {
		s.ask(id)
	}
	s.keepFailed("00-c")
	for _, c := range []struct {
		q    store.IncomingQuery
		want string
	}{
		{store.IncomingQuery{Prefix: "in-00"}, "[in-00-c in-00-b in-00-a]"},
		{store.IncomingQuery{Prefix: "in-00-"}, "[in-00-c in-00-b in-00-a]"},
		{store.IncomingQuery{Prefix: "in-00", Limit: 2}, "[in-00-c in-00-b]"},
		{store.IncomingQuery{Prefix: "in-00", Status: tickets.StatusCreated}, "[in-00-b in-00-a]"},
		{store.IncomingQuery{Prefix: "in-0"}, "[in-01-a in-00-c in-00-b in-00-a in-0]"},
		{store.IncomingQuery{Prefix: "in-01-a"}, "[in-01-a]"},
		{store.IncomingQuery{Prefix: "n-0"}, "[]"},
		{store.IncomingQuery{Prefix: "in-*"}, "[]"},
		{store.IncomingQuery{Prefix: "in-[0-9]0-a"}, "[]"},
		{store.IncomingQuery{Prefix: "in_00"}, "[]"},
	} {
		list, err := s.s.Incomings(s.Context(), c.q)
		s.must(err)
		ids := []string{}
		for _, k := range list {
			ids = append(ids, k.ID)
		}
		if got := fmt.Sprint(ids); got != c.want {
			s.Errorf("Incomings(%+v) = %v; want %v", c.q, got, c.want)
		}
	}
}

// arrives keeps a webhook of each kind that arrived at a time: one whose
// ticket is open, two of a ticket that is final, a duplicate of the first,
// and one that failed.
func (s *suite) arrives(name string, at time.Time) {
	s.Helper()
	out := tickets.Outcome{Verdict: tickets.Deny, By: "console", At: at}
	for _, id := range []string{"open", "done", "up", "twice", "bad"} {
		in := Asked(name + "-" + id)
		in.At = at
		apply := Asks(in, at)
		switch id {
		case "up":
			in.Update = &tickets.Update{ID: tickets.RequestID(name + "-done"), Outcome: &out}
			apply = func(t *tickets.Ticket, _ int64) (*tickets.Ticket, tickets.Status) {
				t.Conclude(out, Rules(), at)
				return t, tickets.StatusUpdated
			}
		case "twice":
			in.Update = Asked(name + "-open").Update
			apply = Asks(in, at)
		case "bad":
			in.Update, in.Error, apply = nil, "not JSON", nil
		}
		_, _, err := s.s.Accept(s.Context(), in, apply)
		s.must(err)
	}
}

// holds checks which webhooks are kept, in every list that there is.
func (s *suite) holds(when string, want ...string) {
	s.Helper()
	all := map[string]bool{}
	for _, status := range []tickets.Status{tickets.StatusCreated, tickets.StatusUpdated, tickets.StatusDuplicate, tickets.StatusFailed} {
		list, err := s.s.Incomings(s.Context(), store.IncomingQuery{Status: status, Limit: 1000})
		s.must(err)
		for _, k := range list {
			all[k.ID] = true
		}
	}
	if n := s.count(""); n != len(want) || len(all) != len(want) {
		s.Errorf("%s %d webhooks are listed, by status %v; want %v", when, n, all, want)
	}
	for _, id := range want {
		if _, err := s.s.Incoming(s.Context(), "in-"+id); err != nil || !all["in-"+id] {
			s.Errorf("%s %s is not kept or not listed: %v", when, id, err)
		}
	}
}

func (s *suite) purge(r store.Retention, want int) {
	s.Helper()
	if n, err := s.s.Purge(s.Context(), r); err != nil || n != want {
		s.Errorf("Purge(%+v) = %d, %v; want %d", r, n, err, want)
	}
}

const day = 24 * time.Hour

func (s *suite) purgesByAge() {
	s.arrives("old", Now.Add(-100*day))
	s.arrives("mid", Now.Add(-40*day))
	s.arrives("new", Now)
	s.purge(store.Retention{}, 0)
	r := store.Retention{Applied: Now.Add(-30 * day), Failed: Now.Add(-90 * day)}
	r.Limit = 2
	s.purge(r, 2)
	if n := s.count(""); n != 13 {
		s.Errorf("%d webhooks; want 13: no more go at once than that", n)
	}
	r.Limit = 100
	s.purge(r, 5)
	rest := []string{"old-open", "mid-open", "mid-bad", "new-open", "new-done", "new-up", "new-twice", "new-bad"}
	s.holds("after the purge", rest...)
	s.purge(r, 0)
	s.reopenStore()
	s.holds("after opening again", rest...)

	// What is forgotten is not forgotten by the tickets: a webhook that EPM
	// sends again is a duplicate still, and cannot be replayed.
	for _, id := range []string{"old-done", "old-open"} {
		again := Asked(id)
		again.ID += "-again"
		if r, t, err := s.s.Accept(s.Context(), again, Asks(again, Now)); err != nil || t != nil || r.Status != tickets.StatusDuplicate || r.Ticket == "" {
			s.Errorf("%s sent again = %+v, %+v, %v; want a duplicate", id, r, t, err)
		}
	}
	gone := Asked("old-done")
	if r, t, err := s.s.Replay(s.Context(), gone, Asks(gone, Now)); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Replay of what was forgotten = %+v, %+v, %v; want ErrNotFound", r, t, err)
	}
	if _, err := s.s.Incoming(s.Context(), "in-old-done"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("Incoming of what was forgotten = %v; want ErrNotFound", err)
	}
	// One that failed and was replayed is kept for as long as those that
	// were applied.
	mid := Asked("mid-bad")
	mid.At = Now.Add(-40 * day)
	mid.Update = Asked("mid-done").Update
	s.replay(mid, Asks(mid, Now))
	s.purge(r, 1)
	// A ticket that becomes final lets go of its webhook.
	list, err := s.s.List(s.Context(), store.Query{Progress: tickets.Pending, Limit: 100})
	s.must(err)
	for _, t := range list {
		_, err := s.s.Update(s.Context(), t.Number, func(t *tickets.Ticket) error {
			t.Conclude(tickets.Outcome{Verdict: tickets.Deny, By: "console"}, Rules(), Now)
			return nil
		})
		s.must(err)
	}
	s.purge(r, 2)
	if _, err := s.s.Incoming(s.Context(), "in-old-open"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("the webhook of a ticket that is final now = %v; want ErrNotFound", err)
	}
}

func (s *suite) purgesByCount() {
	for i := range 3 {
		s.arrives(fmt.Sprint(i), Now.Add(time.Duration(i)*time.Minute))
	}
	s.purge(store.Retention{Most: 15, Limit: 100}, 0)
	s.purge(store.Retention{Most: 12, Limit: 1}, 1)
	s.purge(store.Retention{Most: 12, Limit: 100}, 2)
	s.holds("with twelve", "0-open", "0-bad", "1-open", "1-done", "1-up", "1-twice", "1-bad", "2-open", "2-done", "2-up", "2-twice", "2-bad")
	// Those that failed go last, and those of open tickets never.
	s.purge(store.Retention{Most: 5, Limit: 100}, 7)
	s.holds("with five", "0-open", "1-open", "2-open", "1-bad", "2-bad")
	s.purge(store.Retention{Most: 1, Limit: 100}, 2)
	s.holds("with as few as there may be", "0-open", "1-open", "2-open")
	s.purge(store.Retention{Most: 1, Applied: Now.Add(day), Failed: Now.Add(day), Limit: 100}, 0)
}

// purgesAll has more webhooks than a store looks at together, and every other
// one is to stay.
func (s *suite) purgesAll() {
	const n = 600
	s.ask("first")
	var wg sync.WaitGroup
	for from := range 8 {
		wg.Go(func() {
			for i := from; i < n; i += 8 {
				in := Asked(fmt.Sprintf("%03d", i))
				in.At = Now.Add(-100 * day).Add(time.Duration(i) * time.Second)
				if i%2 == 1 {
					in.Update = Asked("first").Update
				}
				if _, _, err := s.s.Accept(s.Context(), in, Asks(in, Now)); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.purge(store.Retention{Applied: Now.Add(-time.Minute), Limit: 2 * n}, n/2)
	if created := s.count(tickets.StatusCreated); created != n/2+1 || s.count("") != created {
		s.Errorf("%d webhooks, %d that made a ticket; want these %d alone", s.count(""), created, n/2+1)
	}
}

// purgesAtOnce purges from several sides while webhooks arrive and are
// replayed: nothing is lost that is to be kept.
func (s *suite) purgesAtOnce() {
	const n = 300 // more than a store looks at together
	var wg sync.WaitGroup
	for i := range n {
		in := Asked(fmt.Sprintf("%03d", i))
		in.At = Now.Add(-100 * day).Add(time.Duration(i) * time.Second)
		if i%2 == 0 {
			_, _, err := s.s.Accept(s.Context(), in, Asks(in, Now)) // its ticket is open
			s.must(err)
			continue
		}
		failed := in
		failed.Update, failed.Error = nil, "not JSON"
		_, _, err := s.s.Accept(s.Context(), failed, nil)
		s.must(err)
		wg.Go(func() {
			if _, _, err := s.s.Replay(s.Context(), in, Asks(in, Now)); err != nil && !errors.Is(err, store.ErrNotFound) {
				s.Error(err)
			}
		})
	}
	var mu sync.Mutex
	gone := 0
	for range 4 {
		wg.Go(func() {
			for {
				k, err := s.s.Purge(s.Context(), store.Retention{Applied: Now, Failed: Now, Limit: 20})
				if err != nil {
					s.Error(err)
				}
				mu.Lock()
				gone += k
				mu.Unlock()
				if k < 20 || err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	// A webhook is there exactly if its ticket is: it was replayed, or
	// forgotten before.
	list, err := s.s.List(s.Context(), store.Query{Limit: 2 * n})
	s.must(err)
	if kept := s.count(""); kept != len(list)+s.count(tickets.StatusFailed) || kept+gone != n {
		s.Errorf("%d webhooks are kept and %d forgotten, of %d, and %d tickets made", kept, gone, n, len(list))
	}
}
