package bot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/reconcile"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// listed is a record of EPM's list that was made so long before now.
func listed(id string, age time.Duration) tickets.ListedRequest {
	rid := tickets.RequestID(id)
	return tickets.ListedRequest{IDs: []tickets.RequestID{rid}, IDCertain: true, Raw: []byte(`{"requestId":"` + id + `"}`), Request: tickets.Request{
		ID: rid, Kind: tickets.Application, Listed: true, EPMNumber: "EPM-" + id, Time: time.Now().Add(-age), User: `ACME\jdoe`, Product: "7-Zip",
	}}
}

func decided(l tickets.ListedRequest, age time.Duration) tickets.ListedRequest {
	l.Outcome = &tickets.Outcome{Verdict: tickets.Deny, By: "console"}
	if age > 0 {
		l.Outcome.At = time.Now().Add(-age)
	}
	return l
}

// lists sets what EPM lists of application requests.
func (w *world) lists(list ...tickets.ListedRequest) {
	w.epm.mu.Lock()
	defer w.epm.mu.Unlock()
	w.epm.lists = map[tickets.Kind][]tickets.ListedRequest{tickets.Application: list}
}

// compares waits until a comparison has begun and ended after now.
func (w *world) compares() {
	w.t.Helper()
	count := func() int {
		w.epm.mu.Lock()
		defer w.epm.mu.Unlock()
		return w.epm.listed
	}
	// Two calls make a round; the first may have begun before now.
	before := count()
	w.eventually("a comparison", func() bool { return count() >= before+5 })
}

func (w *world) all() []*tickets.Ticket {
	w.t.Helper()
	list, err := w.store.List(context.Background(), store.Query{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) kept() []store.StoredIncoming {
	w.t.Helper()
	list, err := w.store.Incomings(context.Background(), store.IncomingQuery{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) compared() reconcile.Comparison {
	list, _ := w.bot.Comparisons()
	return list[0]
}

func newComparing(t *testing.T) *world {
	w := newWorld(t)
	w.reconcile = 2 * time.Millisecond
	return w
}

// TestMissed: what EPM lists as pending and nobody told of becomes a ticket,
// once, like that of a webhook.
func TestMissed(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	w.lists(listed("a", time.Hour))
	w.start()
	w.eventually("a ticket", func() bool { return len(w.all()) == 1 })
	tk := w.until(w.all()[0].Number, "shown", settled)
	if tk.ID != "a" || !tk.Request.Listed || tk.Request.User != `ACME\jdoe` || !tk.Open() || len(w.chat.posts) != 1 {
		t.Errorf("ticket %+v, request %+v, %d posts", tk, tk.Request, len(w.chat.posts))
	}
	if tell := wording.ThreadLine(tk, 0).String(); !strings.Contains(tell, "EPM's list") {
		t.Errorf("the history begins with %q", tell)
	}
	w.compares()
	kept := w.kept()
	if len(kept) != 1 || kept[0].Remote != tickets.RemoteList || kept[0].Receipt.Ticket != tk.Number || kept[0].Receipt.Status != tickets.StatusCreated {
		t.Fatalf("kept %+v; want the record, once", kept)
	}
	if k, err := w.store.Incoming(t.Context(), kept[0].ID); err != nil || string(k.Raw) != `{"requestId":"a"}` {
		t.Errorf("kept %q, %v", k.Raw, err)
	}
	if c := w.compared(); c.Missed != 1 || c.Closed != 0 || c.At.IsZero() || c.Why != "" || !c.Whole {
		t.Errorf("compared %+v", c)
	}
	// It is decided like any other.
	if a := w.approve(tk.Number, ann, twoHours); a != (adapters.Done{}) {
		t.Fatalf("Submit = %+v", a)
	}
	w.until(tk.Number, "submitted", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
	w.compares()
	if got := w.all(); len(got) != 1 || got[0].Progress() != tickets.Submitted {
		t.Errorf("while EPM lists it as pending still: %+v", got[0])
	}
}

// TestNotMissed: what may be on its way, is known, or is not certain makes no
// ticket, and nothing is kept of it.
func TestNotMissed(t *testing.T) {
	t.Parallel()
	unsure := func(l tickets.ListedRequest) tickets.ListedRequest { l.IDCertain = false; return l }
	numbered := func(l tickets.ListedRequest, n string) tickets.ListedRequest { l.Request.EPMNumber = n; return l }
	for name, c := range map[string]struct {
		known []string
		list  func() tickets.ListedRequest // made when it is listed: how old it is counts
	}{
		"New":    {nil, func() tickets.ListedRequest { return listed("a", 0) }},
		"Old":    {nil, func() tickets.ListedRequest { return listed("a", 30*24*time.Hour) }},
		"Future": {nil, func() tickets.ListedRequest { return listed("a", -5*time.Hour) }},
		"NoTime": {nil, func() tickets.ListedRequest {
			return tickets.ListedRequest{IDs: []tickets.RequestID{"a"}, IDCertain: true, Request: tickets.Request{ID: "a", Kind: tickets.Application}}
		}},
		"Known": {[]string{"a"}, func() tickets.ListedRequest { return listed("a", time.Hour) }},
		"KnownAsOther": {[]string{"a"}, func() tickets.ListedRequest {
			return tickets.ListedRequest{IDs: []tickets.RequestID{"x", "a"}, IDCertain: true, Request: listed("x", time.Hour).Request}
		}},
		"NotSure":    {nil, func() tickets.ListedRequest { return unsure(listed("a", time.Hour)) }},
		"Decided":    {nil, func() tickets.ListedRequest { return decided(listed("a", time.Hour), time.Hour) }},
		"SameNumber": {[]string{"a"}, func() tickets.ListedRequest { return numbered(listed("b", time.Hour), "EPM-1") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newComparing(t)
			w.start()
			for _, id := range c.known {
				in := request(id)
				in.Update.Request.EPMNumber = "EPM-1"
				if _, err := w.bot.Keep(t.Context(), in); err != nil {
					t.Fatal(err)
				}
			}
			w.compares() // one that began before is over
			w.lists(c.list())
			w.compares()
			w.compares()
			if got := w.all(); len(got) != len(c.known) {
				t.Errorf("%d tickets, want %d: %+v", len(got), len(c.known), got)
			}
			if got := w.kept(); len(got) != len(c.known) {
				t.Errorf("%d kept, want %d", len(got), len(c.known))
			}
			if got := w.compared(); got.Missed != 0 || got.Closed != 0 || (got.Unknown > 0) != (name == "NotSure" || name == "SameNumber") {
				t.Errorf("compared %+v", got)
			}
		})
	}
}

// TestMissedLater: without a readable time, a request is missed some minutes
// after it was first seen.
func TestMissedLater(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]tickets.ListedRequest{"Future": listed("a", -5*time.Hour), "NoTime": func() tickets.ListedRequest {
		l := listed("a", 0)
		l.Request.Time = time.Time{}
		return l
	}()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newComparing(t)
			w.start()
			w.compares() // what is without a time there may be old
			w.lists(l)
			w.compares()
			w.advance(90 * time.Second)
			w.compares()
			if n := len(w.all()); n != 0 {
				t.Fatalf("%d tickets after a minute and a half", n)
			}
			w.advance(40 * time.Second)
			w.eventually("a ticket", func() bool { return len(w.all()) == 1 })
		})
	}
}

// TestForgottenLongAgo: what EPM lists without a readable time at the first
// comparison may have waited for years, and is left alone.
func TestForgottenLongAgo(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	l := listed("a", 0)
	l.Request.Time = time.Time{}
	w.lists(l)
	w.start()
	for range 3 {
		w.compares()
		w.advance(10 * time.Minute)
	}
	if n := len(w.all()); n != 0 {
		t.Errorf("%d tickets of what nobody can date", n)
	}
}

// TestProvenIdentifiers: once an identifier of uncertain name was seen to be
// that of a request we know, others of that name count too.
func TestProvenIdentifiers(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	a, b := listed("a", time.Hour), listed("b", time.Hour)
	a.IDCertain, b.IDCertain = false, false
	w.lists(a, b)
	w.start()
	w.compares()
	if n := len(w.all()); n != 0 {
		t.Fatalf("%d tickets of uncertain identifiers", n)
	}
	w.ask("a")
	w.eventually("a ticket of the other", func() bool { return len(w.all()) == 2 })
}

// TestDecidedElsewhere: a ticket that waits here gets the outcome that EPM
// lists, and nothing else changes.
func TestDecidedElsewhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age    time.Duration // of the outcome; 0: not told
		decide bool          // here, before
		closes bool
	}{
		"LongAgo": {age: time.Hour, closes: true},
		"NoTime":  {closes: true},
		"JustNow": {age: time.Second},
		"Decided": {age: time.Hour, decide: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newComparing(t)
			if c.decide {
				for range 20 {
					w.epm.plan(tickets.StepSend, fault{tickets.Unavailable, false})
				}
			}
			w.start()
			n := w.ask("a")
			if c.decide {
				if a := w.approve(n, ann, twoHours); a != (adapters.Done{}) {
					t.Fatalf("Submit = %+v", a)
				}
				w.compares() // one that began before is over
			}
			w.lists(decided(listed("a", 2*time.Hour), c.age))
			if !c.closes {
				w.compares()
				w.compares()
				if tk := w.all()[0]; tk.Outcome != nil || w.compared().Closed != 0 || len(w.kept()) != 1 {
					t.Fatalf("ticket %+v has an outcome, %+v", tk, w.compared())
				}
				return
			}
			tk := w.until(n, "final", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Final })
			if tk.Outcome.By != "console" || tk.Outcome.Verdict != tickets.Deny || tk.Decision != nil {
				t.Errorf("outcome %+v", tk.Outcome)
			}
			// What EPM lists afterwards opens nothing again.
			w.lists(listed("a", 2*time.Hour))
			w.compares()
			if tk := w.all()[0]; tk.Progress() != tickets.Final || len(w.kept()) != 2 || w.compared().Closed != 1 {
				t.Errorf("ticket is %s, %d kept, %+v", tk.Progress(), len(w.kept()), w.compared())
			}
		})
	}
}

// TestLongList: tickets beyond the pages that are read are asked for.
func TestLongList(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	w.epm.long = true
	w.start()
	var numbers []tickets.Number
	for i := range 12 {
		id := fmt.Sprint("r", i)
		numbers = append(numbers, w.ask(id))
		w.epm.mu.Lock()
		w.epm.outcomes[tickets.RequestID(id)] = &tickets.Outcome{Verdict: tickets.Deny, By: "console"}
		w.epm.mu.Unlock()
	}
	w.compares()
	for _, tk := range w.all() {
		if tk.Outcome != nil {
			t.Fatalf("%s was closed at once: its webhook may be on its way", tk.Number)
		}
	}
	w.advance(time.Hour)
	for _, n := range numbers {
		w.until(n, "final", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Final })
	}
}

// TestCannotCompare: a list that may not be read is tried seldom, one that
// fails for the moment soon; status says so.
func TestCannotCompare(t *testing.T) {
	t.Parallel()
	for class, seldom := range map[tickets.Class]bool{tickets.Unauthorized: true, tickets.Rejected: true, tickets.Unavailable: false} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			w := newComparing(t)
			w.lists(listed("a", time.Hour))
			set := func(err error) {
				w.epm.mu.Lock()
				defer w.epm.mu.Unlock()
				w.epm.errs = map[tickets.Kind]error{tickets.Admin: err}
			}
			set(&tickets.Failure{Class: class, UserMessage: "EPM does not want to", Err: errors.New("planned")})
			w.start()
			status := func() string {
				return said(w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"}))
			}
			w.eventually("status tells", func() bool {
				s := status()
				return strings.Contains(s, "list of admin access requests: not yet. The last try, 2") && strings.Contains(s, ", failed: EPM does not want to.") &&
					!strings.Contains(s, "Every connection works") &&
					strings.Contains(s, "list of application requests 2") && strings.Contains(s, ": 1 missed, none closed by it")
			})
			set(nil)
			works := func() bool { list, _ := w.bot.Comparisons(); return list[1].Why == "" && !list[1].At.IsZero() }
			if seldom {
				before := w.compared().At
				w.eventually("more comparisons of the other kind", func() bool { return w.compared().At.After(before.Add(20 * time.Millisecond)) })
				if works() {
					t.Error("a list that may not be read was tried again at once")
				}
				w.advance(time.Hour)
			}
			w.eventually("it compares", works)
			w.eventually("status tells that it works", func() bool {
				s := status()
				return strings.Contains(s, "Every connection works.") && !strings.Contains(s, "failed")
			})
		})
	}
}

// TestListAndWebhookAtOnce: one ticket, whoever comes first, with what the
// webhook tells.
func TestListAndWebhookAtOnce(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	var list []tickets.ListedRequest
	for i := range 40 {
		list = append(list, listed(fmt.Sprint("r", i), time.Hour))
	}
	w.lists(list...)
	w.start()
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() {
			if _, err := w.bot.Keep(context.Background(), request(fmt.Sprint("r", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w.compares()
	got := w.all()
	for _, tk := range got {
		if tk = w.until(tk.Number, "shown", settled); tk.Request.Listed || tk.Request.Reason != "please" || len(tk.Messages) != 1 {
			t.Errorf("%s has %+v", tk.Number, tk.Request)
		}
	}
	w.chat.mu.Lock()
	defer w.chat.mu.Unlock()
	if len(got) != 40 || len(w.chat.posts) != 40 {
		t.Errorf("%d tickets, %d posts; want 40 of each", len(got), len(w.chat.posts))
	}
}

// TestWebhookAfterTheList fills in what the list does not tell, until somebody
// has decided.
func TestWebhookAfterTheList(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	w.lists(listed("a", time.Hour), listed("b", time.Hour))
	w.start()
	w.eventually("tickets", func() bool { return len(w.all()) == 2 })
	for _, tk := range w.all() {
		late := tk.ID == "b"
		if late {
			w.until(tk.Number, "shown", settled)
			if a := w.approve(tk.Number, ann, twoHours); a != (adapters.Done{}) {
				t.Fatalf("Submit = %+v", a)
			}
		}
		r, err := w.bot.Keep(t.Context(), request(string(tk.ID)))
		want := tickets.StatusUpdated
		if late {
			want = tickets.StatusDuplicate
		}
		if err != nil || r.Status != want || r.Ticket != tk.Number {
			t.Errorf("webhook of %s: %+v, %v; want %s", tk.ID, r, err, want)
		}
		again, err := w.bot.Keep(t.Context(), func() tickets.Incoming { in := request(string(tk.ID)); in.ID += "-2"; return in }())
		if err != nil || again.Status != tickets.StatusDuplicate {
			t.Errorf("webhook of %s again: %+v, %v", tk.ID, again, err)
		}
	}
}

// leases is a store.Coordinator whose leases somebody else may have.
type leases struct {
	store.Coordinator
	mu      sync.Mutex
	holders map[string]string // by the name of the lease
}

func (l *leases) AcquireLease(_ context.Context, name, holder string, _ time.Duration) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holders[name] == "" {
		l.holders[name] = holder
	}
	return l.holders[name] == holder, nil
}

func (l *leases) ReleaseLease(_ context.Context, name, holder string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holders[name] == holder {
		delete(l.holders, name)
	}
	return nil
}

// TestOneReplicaCompares, and gives that up when it ends.
func TestOneReplicaCompares(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	shared := &leases{holders: map[string]string{"reconcile": "other"}}
	w.shared = shared
	w.lists(listed("a", time.Hour))
	w.start()
	w.eventually("it leaves it to the other", func() bool { _, elsewhere := w.bot.Comparisons(); return elsewhere })
	if s := said(w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"})); !strings.Contains(s, "another replica") {
		t.Errorf("status = %s", s)
	}
	w.epm.mu.Lock()
	if w.epm.listed != 0 {
		t.Error("both compare")
	}
	w.epm.mu.Unlock()
	if err := shared.ReleaseLease(t.Context(), "reconcile", "other"); err != nil {
		t.Fatal(err)
	}
	w.eventually("a ticket", func() bool { return len(w.all()) == 1 })
	w.stop()
	if len(shared.holders) > 0 {
		t.Errorf("leases were kept: %v", shared.holders)
	}
}

// faster does something in the moment before what EPM lists is kept.
type faster struct {
	store.Store
	first func()
	once  sync.Once
}

func (f *faster) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	if in.Remote == tickets.RemoteList {
		f.once.Do(f.first)
	}
	return f.Store.Accept(ctx, in, apply)
}

// TestDecidedMeanwhile: who decides here while EPM's list is read is not
// overtaken by it.
func TestDecidedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newComparing(t)
	for range 20 {
		w.epm.plan(tickets.StepSend, fault{tickets.Unavailable, false})
	}
	var n tickets.Number
	f := &faster{first: func() { w.approve(n, ann, twoHours) }}
	w.wrap = func(s store.Store) store.Store { f.Store = s; return f }
	w.start()
	n = w.ask("a")
	w.lists(decided(listed("a", 2*time.Hour), time.Hour))
	w.until(n, "decided", func(t *tickets.Ticket) bool { return t.Decision != nil || t.Outcome != nil })
	w.compares()
	if tk := w.all()[0]; tk.Outcome != nil || tk.Decision == nil || w.compared().Closed != 0 {
		t.Errorf("ticket %+v, %+v", tk, w.compared())
	}
}
