package redis_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

func TestCopyWithACluster(t *testing.T) {
	t.Parallel()
	nodes, srv := cluster(t), alone(t, redistest.Config{Args: []string{"--appendfsync", "everysec"}})
	first, second, third := open(t, srv.URL("a")), open(t, nodes.URL("b")), open(t, nodes.URL("c"))
	const n = 200
	for i := range n {
		ask(t, first, fmt.Sprint(i))
	}
	for _, c := range []struct{ from, to *redis.Store }{{first, second}, {second, third}, {third, first}} {
		p, err := store.Copy(t.Context(), c.from, c.to, func(store.Progress) {})
		if err != nil || p.Tickets[store.Copied]+p.Tickets[store.Same] != n || p.From != p.To || p.To.Incomings != n {
			t.Errorf("Copy = %+v, %v; want %d tickets and webhooks in both", p, err, n)
		}
		if same, err := c.from.Same(t.Context(), c.to); same || err != nil {
			t.Errorf("Same = %t, %v; want two stores", same, err)
		}
	}
	if same, err := second.Same(t.Context(), open(t, nodes.URL("b"))); !same || err != nil {
		t.Errorf("Same = %t, %v; want one store", same, err)
	}
	if next := ask(t, third, "new"); next.Number != tickets.NewNumber("JIT", 1001+n) {
		t.Errorf("the next number is %s", next.Number)
	}
}

// Somebody decides a ticket between the look at it and its being written: it
// is looked at again.
func TestRestoreLosesNoDecision(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{})
	s, bot := open(t, srv.URL("a")), open(t, srv.URL("a"))
	var list []*tickets.Ticket
	for _, id := range []string{"a", "b", "c"} {
		list = append(list, ask(t, s, id))
	}
	looks := 0
	err := s.RestoreTickets(t.Context(), list, func(i int, have store.Existing) *tickets.Ticket {
		if i != 1 {
			return nil
		}
		if looks++; looks == 1 {
			_, err := bot.Update(t.Context(), list[1].Number, func(tk *tickets.Ticket) error {
				return tk.Decide(storetest.Approval(storetest.Now), storetest.Rules())
			})
			if err != nil {
				t.Error(err)
			}
			c := *list[1]
			c.Version++
			return &c
		}
		if have.ByNumber.Decision == nil {
			t.Error("the second look does not see the decision")
		}
		return nil
	})
	if err != nil || looks != 2 {
		t.Errorf("RestoreTickets = %v after %d looks, want 2", err, looks)
	}
	if got, err := s.Get(t.Context(), list[1].Number); err != nil || got.Decision == nil {
		t.Errorf("the decision is lost: %+v, %v", got, err)
	}
	// A ticket that another bot begins for the request meanwhile.
	looks = 0
	fresh := tickets.Start("JIT-2000", "d", storetest.Rules(), storetest.Now)
	fresh.Version = 1
	err = s.RestoreTickets(t.Context(), []*tickets.Ticket{fresh}, func(_ int, have store.Existing) *tickets.Ticket {
		if looks++; looks == 1 {
			ask(t, bot, "d")
			return fresh
		}
		if have.ByRequest == nil || have.ByRequest.Number != "JIT-1004" || have.ByNumber != nil {
			t.Errorf("the second look sees %+v, want JIT-1004", have)
		}
		return nil
	})
	if err != nil || looks != 2 {
		t.Errorf("RestoreTickets = %v after %d looks, want 2", err, looks)
	}
	if _, err := s.Get(t.Context(), "JIT-2000"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v: one request has two tickets", err)
	}
}

// A Redis that is away fails a copy in time, and what was written stays whole.
func TestCopyWhileRedisGoes(t *testing.T) {
	t.Parallel()
	srv, dst := alone(t, redistest.Config{}), alone(t, redistest.Config{})
	from, to := open(t, srv.URL("a")), open(t, dst.URL("a"))
	for i := range 300 {
		ask(t, from, fmt.Sprint(i))
	}
	pages := 0
	_, err := store.Copy(t.Context(), from, to, func(store.Progress) {
		if pages++; pages == 2 {
			dst.Kill()
		}
	})
	if err == nil {
		t.Error("Copy to a Redis that was killed = nil")
	}
	if err := dst.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it works again", func() bool { return to.Ping(t.Context()) == nil })
	p, err := store.Copy(t.Context(), from, to, func(store.Progress) {})
	if err != nil || p.From != p.To || p.Tickets[store.Same] < 128 || p.Tickets[store.Copied] == 0 {
		t.Errorf("Copy again = %+v, %v", p, err)
	}
	st, err := to.Stats(t.Context(), storetest.Now.Add(time.Minute))
	if err != nil || st.Due[lane].Count != 300 {
		t.Errorf("Stats = %+v, %v; want 300 due", st, err)
	}
}
