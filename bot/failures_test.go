package bot_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// TestFailures is the table of ambiguous effects: for each step and each way
// of failing, how many messages, replies and effective sends there are in the
// end, and what the ticket has come to. To see it fail, let Message.Since
// return the zero time, or let send ignore Sending.Unclear.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		step     tickets.StepKind
		fault    fault
		unread   bool // EPM does not let us read back
		messages int
		sends    int // that took effect at EPM
		ends     tickets.Progress
	}{
		{step: tickets.StepPost, fault: fault{tickets.Unavailable, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{tickets.RateLimited, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{tickets.RateLimited, true}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{tickets.Ambiguous, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{tickets.Ambiguous, true}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{tickets.NotFound, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{tickets.Rejected, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{tickets.Unauthorized, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepEdit, fault: fault{tickets.Unavailable, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepEdit, fault: fault{tickets.Ambiguous, true}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepEdit, fault: fault{tickets.Ambiguous, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepEdit, fault: fault{tickets.RateLimited, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepReply, fault: fault{tickets.Unavailable, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepReply, fault: fault{tickets.Ambiguous, true}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepReply, fault: fault{tickets.Ambiguous, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{tickets.Unavailable, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{tickets.RateLimited, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{tickets.Ambiguous, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{tickets.Ambiguous, true}, messages: 1, sends: 1, ends: tickets.Final},
		// Nobody can tell whether EPM has it: the same decision goes twice.
		{step: tickets.StepSend, fault: fault{tickets.Ambiguous, true}, unread: true, messages: 1, sends: 2, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{tickets.Ambiguous, false}, unread: true, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{class: panics}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepPost, fault: fault{class: panics}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepEdit, fault: fault{class: panics}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepReply, fault: fault{class: panics}, messages: 1, sends: 1, ends: tickets.Final},
		// However a delivery fails, every event is told, in order.
		{step: tickets.StepDeliver, fault: fault{tickets.Unavailable, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepDeliver, fault: fault{tickets.RateLimited, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepDeliver, fault: fault{tickets.Ambiguous, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepDeliver, fault: fault{tickets.Ambiguous, true}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepDeliver, fault: fault{tickets.Rejected, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepDeliver, fault: fault{tickets.Unauthorized, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepDeliver, fault: fault{tickets.NotFound, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepDeliver, fault: fault{class: panics}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{tickets.Rejected, false}, messages: 1, sends: 0, ends: tickets.Pending},
		// EPM does not let us: the decision waits until it does, and is made once.
		{step: tickets.StepSend, fault: fault{tickets.Unauthorized, false}, messages: 1, sends: 1, ends: tickets.Final},
		{step: tickets.StepSend, fault: fault{tickets.Unauthorized, false}, unread: true, messages: 1, sends: 1, ends: tickets.Final},
	} {
		name := fmt.Sprintf("%s_%s_did=%t_unread=%t", c.step, c.fault.class, c.fault.did, c.unread)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.epm.unread = c.unread
			w.chat.plan(c.step, c.fault)
			w.epm.plan(c.step, c.fault)
			r := w.follow("siem")
			r.plan(c.step, c.fault)
			w.start()
			n := w.ask("r")
			// The clock runs fast, so that no back-off is waited for.
			stop := w.hurry()
			defer stop()
			w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
			if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
				t.Fatalf("Submit = %+v, want Done", a)
			}
			if c.ends == tickets.Pending {
				w.until(n, "open again", func(t *tickets.Ticket) bool { return t.Refusal != nil && t.Open() })
			} else {
				w.until(n, "acknowledged or final", func(t *tickets.Ticket) bool {
					return t.Progress() == tickets.Submitted || t.Progress() == tickets.Final
				})
				w.conclude("r", *outcome(w.epm.first("r")))
			}
			got := w.until(n, "settled", settled)
			w.check(got, c.messages, c.sends, c.ends)
			w.delivered(r, got)
		})
	}
}

// hurry lets the clock run a thousand times faster.
func (w *world) hurry() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				w.advance(time.Second)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// check holds what chat and EPM show against the ticket.
func (w *world) check(t *tickets.Ticket, messages, sends int, ends tickets.Progress) {
	w.t.Helper()
	w.chat.mu.Lock()
	defer w.chat.mu.Unlock()
	w.epm.mu.Lock()
	defer w.epm.mu.Unlock()
	if t.Progress() != ends {
		w.t.Errorf("progress = %s, want %s", t.Progress(), ends)
	}
	if len(w.chat.posts) != messages {
		w.t.Fatalf("%d messages, want %d", len(w.chat.posts), messages)
	}
	if got := len(w.epm.taken[t.ID]); got != sends {
		w.t.Errorf("%d sends took effect, want %d", got, sends)
	}
	for _, d := range w.epm.taken[t.ID] {
		if first := w.epm.taken[t.ID][0]; d.Verdict != first.Verdict || d.Duration != first.Duration || d.By != first.By {
			w.t.Errorf("two different decisions reached EPM: %+v and %+v", first, d)
		}
	}
	p := w.chat.posts[0]
	if wording.Status(p.shown).String() != wording.Status(t).String() {
		w.t.Errorf("the message says %q, the ticket %q", wording.Status(p.shown), wording.Status(t))
	}
	seen := map[int]bool{}
	for _, e := range p.replies {
		if seen[e] {
			w.t.Errorf("event %d was told twice in the thread", e)
		}
		seen[e] = true
	}
	for i, e := range t.Events {
		if e.Kind.InThread() && !seen[i] && i >= w.firstTold(t) {
			w.t.Errorf("event %d (%s) was not told in the thread", i, e.Kind)
		}
	}
}

// firstTold is the first event that the thread must tell: what happened
// before the post is on the card.
func (w *world) firstTold(t *tickets.Ticket) int {
	for i, e := range t.Events {
		if e.Kind == tickets.EventDecided {
			return i
		}
	}
	return len(t.Events)
}

// errDead is what a dead process's store answers.
var errDead = errors.New("the process is dead")

// mortal is a store whose process dies at its nth write: nothing of what
// comes after reaches store, chat or EPM.
type mortal struct {
	store.Store
	mu     sync.Mutex
	left   int  // writes until death; negative: immortal
	after  bool // die after the write took effect, not before
	killed chan struct{}
}

func (m *mortal) write(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == 0 {
		return errDead
	}
	if m.left--; m.left != 0 {
		return do()
	}
	defer close(m.killed)
	if m.after {
		if err := do(); err != nil && !errors.Is(err, context.Canceled) {
			return errors.Join(errDead, err)
		}
	}
	return errDead
}

func (m *mortal) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (r tickets.Receipt, t *tickets.Ticket, err error) {
	err = m.write(func() (err error) { r, t, err = m.Store.Accept(ctx, in, apply); return err })
	return r, t, err
}

func (m *mortal) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (t *tickets.Ticket, err error) {
	err = m.write(func() (err error) { t, err = m.Store.Update(ctx, n, change); return err })
	if errors.Is(err, errDead) {
		t = nil
	}
	return t, err
}

func (m *mortal) Claim(ctx context.Context, lane tickets.Lane, now, until time.Time, limit int) ([]*tickets.Ticket, error) {
	m.mu.Lock()
	dead := m.left == 0
	m.mu.Unlock()
	if dead {
		return nil, errDead
	}
	return m.Store.Claim(ctx, lane, now, until, limit)
}

// TestDeathBetweenAnyTwoWrites runs a whole story again and again, each time
// killing the process at another write, before or after the write took
// effect, and starting it again. In the end there is always one message, one
// decision, and the truth. To see it fail, leave out BeginPost or BeginSend.
func TestDeathBetweenAnyTwoWrites(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			died := false
			t.Run(fmt.Sprintf("write=%d_after=%t", n, after), func(t *testing.T) {
				w := newWorld(t)
				m := &mortal{left: n, after: after, killed: make(chan struct{})}
				w.wrap = func(s store.Store) store.Store {
					if m.Store == nil {
						m.Store = s
						return m
					}
					return s
				}
				r := w.follow("siem")
				w.start()
				died = w.story(m)
				got := w.until("JIT-1001", "settled and final", func(t *tickets.Ticket) bool { return settled(t) && t.Progress() == tickets.Final })
				w.check(got, 1, 1, tickets.Final)
				w.delivered(r, got)
			})
			if !died || t.Failed() {
				if n < 10 {
					t.Errorf("only %d writes in the story: is the store still under the knife?", n)
				}
				break
			}
		}
	}
}

// story takes a request to its end; whoever is not answered tries again. It
// restarts the process when it dies and reports whether it did.
func (w *world) story(m *mortal) (died bool) {
	w.t.Helper()
	stop := w.hurry()
	defer stop()
	revive := func() {
		select {
		case <-m.killed:
			if !died {
				died = true
				w.restart()
			}
		default:
		}
	}
	// try repeats what somebody outside does until it is answered and seen.
	try := func(what string, act func() bool, seen func(*tickets.Ticket) bool) {
		w.t.Helper()
		deadline := time.Now().Add(time.Minute)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		answered := false
		for range tick.C {
			revive()
			answered = answered || act()
			if got, err := w.store.Get(context.Background(), "JIT-1001"); answered && err == nil && seen(got) {
				return
			}
			if time.Now().After(deadline) {
				w.t.Fatalf("never: %s", what)
			}
		}
	}
	attempt := 0
	try("posted", func() bool {
		attempt++
		in := request("r")
		in.ID = fmt.Sprintf("in-%d", attempt)
		_, err := w.bot.Keep(context.Background(), in)
		return err == nil
	}, func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
	try("acknowledged", func() bool {
		return w.approve("JIT-1001", ann, twoHours) == adapters.Answer(adapters.Done{})
	}, func(t *tickets.Ticket) bool {
		return t.Progress() == tickets.Submitted || t.Progress() == tickets.Final
	})
	try("final", func() bool {
		attempt++
		o := *outcome(w.epm.first("r"))
		_, err := w.bot.Keep(context.Background(), tickets.Incoming{ID: fmt.Sprintf("in-%d", attempt), At: time.Now(), Update: &tickets.Update{ID: "r", Outcome: &o}})
		return err == nil
	}, func(t *tickets.Ticket) bool { return t.Progress() == tickets.Final })
	try("settled", func() bool { return true }, settled)
	return died
}

func (e *fakeEPM) first(id tickets.RequestID) tickets.Decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.taken[id][0]
}

// TestNoEffectIsNotLookedFor: after an attempt that certainly did nothing,
// nobody looks for its message; after one that may have, somebody does. To
// see it fail, leave out NothingThere.
func TestNoEffectIsNotLookedFor(t *testing.T) {
	for _, c := range []struct {
		faults []fault
		looks  int
	}{
		{[]fault{{tickets.Unavailable, false}, {tickets.Unavailable, false}}, 0},
		{[]fault{{tickets.RateLimited, false}}, 1},
		{[]fault{{tickets.Ambiguous, false}}, 1},
		{[]fault{{tickets.Ambiguous, false}, {tickets.Unavailable, false}}, 2},
		{[]fault{{tickets.Unavailable, false}, {tickets.Ambiguous, false}}, 1},
	} {
		t.Run(fmt.Sprint(c.faults), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.chat.plan(tickets.StepPost, c.faults...)
			w.start()
			n := w.ask("r")
			defer w.hurry()()
			w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
			w.chat.mu.Lock()
			defer w.chat.mu.Unlock()
			if w.chat.looking != c.looks {
				t.Errorf("it was looked for %d times, want %d", w.chat.looking, c.looks)
			}
		})
	}
}

// TestStoppedInTheMiddle: the process is stopped after it has noted that it is
// about to post, until its time for that is over. Others may have posted
// meanwhile: it looks for that first. To see it fail, leave isOver out of do.
func TestStoppedInTheMiddle(t *testing.T) {
	w := newWorld(t)
	w.timeout = 50 * time.Millisecond
	w.wrap = func(s store.Store) store.Store { return &stoppingStore{Store: s} }
	c := &attemptsChat{fakeChat: w.chat}
	w.chats = []adapters.Chat{c}
	w.start()
	n := w.ask("r")
	w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(place).ID != "" })
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.since) != 1 || c.since[0].IsZero() {
		t.Errorf("posted as if nothing could be there: %v", c.since)
	}
}

// stoppingStore answers the first update when its caller's time is over.
type stoppingStore struct {
	store.Store
	once sync.Once
}

func (s *stoppingStore) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	t, err := s.Store.Update(ctx, n, change)
	s.once.Do(func() { <-ctx.Done() })
	return t, err
}

// attemptsChat keeps what each post was told of earlier ones.
type attemptsChat struct {
	*fakeChat
	mu    sync.Mutex
	since []time.Time
}

func (c *attemptsChat) Post(ctx context.Context, p tickets.Place, t *tickets.Ticket, since time.Time) (string, error) {
	c.mu.Lock()
	c.since = append(c.since, since)
	c.mu.Unlock()
	return c.fakeChat.Post(ctx, p, t, since)
}
