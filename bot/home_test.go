package bot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

// home is the page of somebody who has one.
func (w *world) home(a tickets.Actor) adapters.Home {
	w.t.Helper()
	h, ok := w.bot.Home(context.Background(), a).(adapters.Home)
	if !ok {
		w.t.Fatalf("%s has no page: %+v", a.Name, w.bot.Home(context.Background(), a))
	}
	return h
}

// waits is the queue in a few letters: the numbers, with a star for what is
// one's own.
func waits(h adapters.Home) string {
	var list []string
	for _, w := range h.Queue {
		n := string(w.Ticket.Number)
		if w.Own != "" {
			n += "*"
		}
		list = append(list, n)
	}
	return fmt.Sprintf("%s +%d", strings.Join(list, " "), h.More)
}

// TestHome: an approver is shown what waits, an admin how it all is, others a
// sentence.
func TestHome(t *testing.T) {
	w, first := started(t)
	second := w.ask("s")
	var rest []tickets.Number
	for i := range adapters.MaxQueue {
		rest = append(rest, w.ask(fmt.Sprint("x", i)))
	}
	both := adapters.MaxQueue + 2
	h := w.home(bob)
	if len(h.Queue) != adapters.MaxQueue || h.More != 2 || h.Queue[0].Ticket.Number != first || h.Queue[1].Ticket.Number != second || h.Intro != wording.MsgQueue(both) {
		t.Errorf("%q, queue %s; want the oldest %d of %d", h.Intro, waits(h), adapters.MaxQueue, both)
	}
	if h.Health != "" {
		t.Errorf("who is no admin reads %q", h.Health)
	}
	w.eventually("an admin reads what /epm status says", func() bool { return w.home(ann).Health == w.says("status") })
	if h := w.home(ann); !strings.Contains(h.Health, "Every connection works.") || len(h.Queue) != adapters.MaxQueue {
		t.Errorf("an admin reads %q, queue %s", h.Health, waits(h))
	}
	if h := w.home(sam); len(h.Queue) > 0 || h.Health != "" || h.Intro != wording.MsgNoQueue {
		t.Errorf("a stranger has the page %+v", h)
	}

	// What is decided, or may not be decided now, does not wait.
	w.approve(first, ann, twoHours)
	w.bot.Command(t.Context(), adapters.Command{Actor: ann, Text: "state " + string(second) + " Closed"})
	if h := w.home(bob); h.More != 0 || h.Queue[0].Ticket.Number != rest[0] || len(h.Queue) != len(rest) ||
		h.Intro != wording.MsgQueue(len(rest)+1)+". "+wording.MsgNotInQueue(1) {
		t.Errorf("%q, queue %s", h.Intro, waits(h))
	}
	if h, want := w.home(ann), fmt.Sprintf("Waiting for a decision: %d.", len(rest)+1); !strings.Contains(h.Health, want) || !strings.HasPrefix(h.Intro, fmt.Sprint(len(rest)+1, " ")) {
		t.Errorf("the page says %q, and of health %q; want the same number in both", h.Intro, h.Health)
	}
	for _, n := range rest {
		w.approve(n, ann, twoHours)
	}
	if h := w.home(bob); len(h.Queue) > 0 || h.Intro != wording.MsgQueue(1)+". "+wording.MsgNotInQueue(1) {
		t.Errorf("%q, queue %s; want the one that nobody can decide", h.Intro, waits(h))
	}
	w.bot.Command(t.Context(), adapters.Command{Actor: ann, Text: "state " + string(second) + " New"})
	w.approve(second, ann, twoHours)
	if h := w.home(bob); len(h.Queue) > 0 || h.Intro != wording.MsgNothingWaits {
		t.Errorf("%q, queue %s; want nothing", h.Intro, waits(h))
	}
}

// TestHomeOfWhoAsked: one's own request is shown without being offered.
func TestHomeOfWhoAsked(t *testing.T) {
	for name, c := range map[string]struct {
		who   selfcheck.Identity
		err   error
		own   bool
		queue string
		says  string // of what is not offered
	}{
		"SomebodyElse": {who: selfcheck.Identity{Emails: []string{"bob@acme.com"}, Names: []string{"Bob"}}, queue: "JIT-1001 JIT-1002 +0"},
		"Theirs":       {who: selfcheck.Identity{Emails: []string{"mia@acme.com"}}, queue: "JIT-1001 JIT-1002* +0", says: wording.MsgOwnRequest},
		"Perhaps":      {who: selfcheck.Identity{Emails: []string{"jdoe@acme.com"}}, queue: "JIT-1001* JIT-1002 +0", says: "This request may be your own"},
		"Unknown":      {err: errors.New("away"), queue: "JIT-1001* JIT-1002* +0", says: wording.MsgCannotTell},
		"Allowed":      {who: selfcheck.Identity{Emails: []string{"mia@acme.com"}}, own: true, queue: "JIT-1001 JIT-1002 +0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			asked := 0
			w.own, w.chat.who = c.own, func(tickets.Actor) (selfcheck.Identity, error) { asked++; return c.who, c.err }
			w.start()
			w.ask("r")
			in := request("s")
			in.Update.Request.User = "mia@acme.com"
			if _, err := w.bot.Keep(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			h := w.home(bob)
			if got := waits(h); got != c.queue {
				t.Errorf("queue %s, want %s", got, c.queue)
			}
			for _, one := range h.Queue {
				if one.Own != "" && !strings.Contains(one.Own, c.says) {
					t.Errorf("%s: %q, want %q", one.Ticket.Number, one.Own, c.says)
				}
			}
			if asked > 1 {
				t.Errorf("asked %d times who it is", asked)
			}
		})
	}
}

// blind is a store that cannot list, or not all of it.
type blind struct {
	store.Store
	hides atomic.Int64 // of the newest; all if negative
}

func (b *blind) List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error) {
	list, err := b.Store.List(ctx, q)
	switch hides := int(b.hides.Load()); {
	case hides < 0:
		return nil, errors.New("nothing can be read")
	case hides > 0 && q.OldestFirst && q.After != "":
		return nil, errors.New("one cannot be read")
	case hides > 0 && q.OldestFirst:
		return list[:max(0, len(list)-hides)], errors.New("one cannot be read")
	case hides > 0 && !q.OldestFirst && q.Before == "":
		return list[min(hides, len(list)):], errors.New("one cannot be read")
	}
	return list, err
}

// TestHomeWhenSomethingIsAmiss: what cannot be found out is said.
func TestHomeWhenSomethingIsAmiss(t *testing.T) {
	t.Run("NoApprovers", func(t *testing.T) {
		w := newWorld(t)
		w.approvers, w.admins = nil, []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: ann.ID}}
		w.start()
		w.ask("r")
		if h := w.home(ann); h.Intro != wording.MsgNoApprovers || len(h.Queue) > 0 || !strings.Contains(h.Health, wording.MsgNoApprovers) {
			t.Errorf("the page is %+v", h)
		}
	})
	t.Run("GroupUnreadable", func(t *testing.T) {
		w := newWorld(t)
		w.approvers = []tickets.Principal{{Platform: "chat", Kind: tickets.Group, ID: "S1"}}
		w.chat.holds = func(tickets.Principal, tickets.Actor) (bool, error) { return false, errors.New("away") }
		w.start()
		w.ask("r")
		if h := w.home(ann); h.Intro != wording.MsgCannotCheck || len(h.Queue) > 0 || h.Health != "" {
			t.Errorf("the page is %+v", h)
		}
	})
	t.Run("StoreAway", func(t *testing.T) {
		w := newWorld(t)
		b := &blind{}
		w.wrap = func(s store.Store) store.Store { b.Store = s; return b }
		w.start()
		for _, id := range []string{"r", "s", "u"} {
			w.ask(id)
		}
		b.hides.Store(1)
		if h := w.home(bob); waits(h) != "JIT-1001 JIT-1002 +0" || h.Intro != wording.MsgQueue(3)+". Not all of them can be read" {
			t.Errorf("%q, queue %s", h.Intro, waits(h))
		}
		b.hides.Store(-1)
		if h := w.home(bob); len(h.Queue) > 0 || !strings.Contains(h.Intro, "I cannot reach my store") {
			t.Errorf("%q, queue %s", h.Intro, waits(h))
		}
	})
	t.Run("DamagedSettings", func(t *testing.T) {
		w := newFileWorld(t)
		s := w.opened()
		w.damage(damaged)
		w.build(s)
		const says = "The settings in my store are damaged"
		if h := w.home(ann); !strings.Contains(h.Intro, says) || !strings.Contains(h.Health, says) || len(h.Queue) > 0 {
			t.Errorf("the page of an admin of the start is %+v", h)
		}
		if h := w.home(bob); !strings.Contains(h.Intro, says) || h.Health != "" || len(h.Queue) > 0 {
			t.Errorf("the page of an approver of the start is %+v", h)
		}
	})
}

// many is a store with as many open requests as there are in list, and counts
// how many of them are read.
type many struct {
	store.Store
	list []*tickets.Ticket // oldest first
	read int
}

func (m *many) Stats(ctx context.Context, now time.Time) (store.Stats, error) {
	stats, err := m.Store.Stats(ctx, now)
	stats.Progress = map[tickets.Progress]int{tickets.Pending: len(m.list)}
	return stats, err
}

func (m *many) List(_ context.Context, q store.Query) (list []*tickets.Ticket, err error) {
	after, before, err := q.Between()
	all := slices.Clone(m.list)
	if !q.OldestFirst {
		slices.Reverse(all)
	}
	for _, t := range all {
		if seq, _ := t.Number.Seq(); after < seq && seq < before && len(list) < q.Limit {
			list = append(list, t)
		}
	}
	m.read += len(list)
	return list, err
}

// TestHomeReadsAPage: however many requests wait, only as many are read as are
// shown, and of those that nobody can decide at present only so many. The
// numbers say of all that wait what becomes of them.
func TestHomeReadsAPage(t *testing.T) {
	const all = 10000
	for name, c := range map[string]struct {
		onHold int // the oldest
		read   int // at most
		shown  int
	}{
		"Decidable":  {read: 2 * adapters.MaxQueue, shown: adapters.MaxQueue},
		"SomeOnHold": {onHold: 190, read: 300, shown: adapters.MaxQueue},
		"ManyOnHold": {onHold: 9990, read: 500},
		"AllOnHold":  {onHold: all, read: 500},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.opened()
			m := &many{Store: s}
			for i := range all {
				one := tickets.Start(tickets.NewNumber("JIT", store.FirstSeq+int64(i)), tickets.RequestID(fmt.Sprint(i)), w.rules, time.Now())
				one.ApplyUpdate(request(fmt.Sprint(i)), w.rules, time.Now())
				if i < c.onHold {
					one.Move("Closed", ann, w.rules, time.Now())
				}
				m.list = append(m.list, one)
			}
			w.wrap = func(store.Store) store.Store { return m }
			w.build(s)
			h := w.home(bob)
			if m.read > c.read {
				t.Errorf("%d tickets were read; want at most %d", m.read, c.read)
			}
			undecidable := min(c.onHold, m.read)
			if len(h.Queue) != c.shown || len(h.Queue) > 0 && h.Queue[0].Ticket.Number != m.list[c.onHold].Number {
				t.Errorf("queue %s; want the oldest %d behind %d", waits(h), c.shown, c.onHold)
			}
			if h.More != all-c.shown-undecidable || !strings.HasPrefix(h.Intro, wording.MsgQueue(all)) {
				t.Errorf("%q, and %d more; want %d of %d", h.Intro, h.More, all-c.shown-undecidable, all)
			}
		})
	}
}
