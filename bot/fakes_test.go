package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"log/slog"
	"maps"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/bot/reports"
	"github.com/countersign/countersign/bot/retention"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/inmem"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

var (
	place = tickets.Place{Platform: "chat", Channel: "C1"}
	ann   = tickets.Actor{Platform: "chat", ID: "U1", Name: "Ann"}
	bob   = tickets.Actor{Platform: "chat", ID: "U2", Name: "Bob"}
	sam   = tickets.Actor{Platform: "chat", ID: "U9", Name: "Sam"}
)

func rules() tickets.Rules {
	typ := tickets.Types()[0]
	return tickets.Rules{Type: typ, Active: typ.Active, Title: "EPM JIT Access Request", Places: []tickets.Place{place}}
}

// fault is how the next call of a kind fails, once.
type fault struct {
	class tickets.Class
	did   bool // it had its effect all the same
}

// panics, as a fault's class, is a call that panics.
const panics tickets.Class = "panics"

// faults fails calls by kind of step.
type faults struct {
	mu   sync.Mutex
	next map[tickets.StepKind][]fault
}

func (f *faults) plan(kind tickets.StepKind, list ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = map[tickets.StepKind][]fault{}
	}
	f.next[kind] = append(f.next[kind], list...)
}

// call runs effect unless the planned fault forbids it, and returns the
// fault as a failure.
func (f *faults) call(kind tickets.StepKind, effect func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.next[kind]) == 0 {
		effect()
		return nil
	}
	now := f.next[kind][0]
	f.next[kind] = f.next[kind][1:]
	if now.class == panics {
		panic("a planned panic")
	}
	if now.did {
		effect()
	}
	// Before there is a message, only the channel can be gone.
	gone := now.class == tickets.NotFound && kind == tickets.StepPost
	return &tickets.Failure{Class: now.class, ChannelFault: gone, UserMessage: "a planned failure", Err: errors.New("planned")}
}

type posted struct {
	id      string
	number  tickets.Number
	shown   *tickets.Ticket
	replies []int
}

// fakeChat is a chat that remembers what it shows.
type fakeChat struct {
	faults
	mu       sync.Mutex
	posts    []*posted
	gone     map[string]bool // by id: was deleted
	holds    func(tickets.Principal, tickets.Actor) (bool, error)
	sees     func(tickets.Actor) (bool, error)               // default: who acts in the place
	who      func(tickets.Actor) (selfcheck.Identity, error) // default: by their name
	looking  int                                             // posts that looked first
	reach    map[string]adapters.Reach                       // by ID; default: one person without a name
	reached  func(context.Context)                           // called by Reach; default: nothing
	warnings []string
}

var _ adapters.Chat = (*fakeChat)(nil)

func (c *fakeChat) Platform() tickets.Platform { return "chat" }

func (c *fakeChat) Post(_ context.Context, _ tickets.Place, t *tickets.Ticket, since time.Time) (string, error) {
	if id := c.find(t.Number, since); id != "" {
		return id, nil
	}
	var id string
	err := c.call(tickets.StepPost, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		id = fmt.Sprintf("m%d", len(c.posts)+1)
		c.posts = append(c.posts, &posted{id: id, number: t.Number, shown: t})
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

func (c *fakeChat) find(n tickets.Number, since time.Time) string {
	if since.IsZero() {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looking++
	for _, p := range c.posts {
		if p.number == n && !c.gone[p.id] {
			return p.id
		}
	}
	return ""
}

func (c *fakeChat) at(id string, do func(*posted)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.posts {
		if p.id == id {
			do(p)
		}
	}
}

// delete removes a message, as an admin of the chat does.
func (c *fakeChat) delete(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == nil {
		c.gone = map[string]bool{}
	}
	c.gone[id] = true
}

func (c *fakeChat) isGone(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone[id]
}

func (c *fakeChat) Present(_ context.Context, m tickets.Message) (bool, error) {
	return !c.isGone(m.ID), nil
}

func (c *fakeChat) Edit(_ context.Context, m tickets.Message, t *tickets.Ticket) error {
	if c.isGone(m.ID) {
		return &tickets.Failure{Class: tickets.NotFound, Err: errors.New("planned")}
	}
	return c.call(tickets.StepEdit, func() { c.at(m.ID, func(p *posted) { p.shown = t }) })
}

func (c *fakeChat) Reply(_ context.Context, m tickets.Message, _ *tickets.Ticket, event int, since time.Time) error {
	found := false
	c.at(m.ID, func(p *posted) { found = !since.IsZero() && slices.Contains(p.replies, event) })
	if found {
		return nil
	}
	return c.call(tickets.StepReply, func() { c.at(m.ID, func(p *posted) { p.replies = append(p.replies, event) }) })
}

func (c *fakeChat) Resolve(ctx context.Context, who []tickets.Principal) []adapters.Reach {
	if c.reached != nil {
		c.reached(ctx)
	}
	list := make([]adapters.Reach, len(who))
	for i, p := range who {
		r, ok := c.reach[p.ID]
		if !ok {
			r = adapters.Reach{People: 1, Counted: true}
		}
		list[i] = r
	}
	return list
}

func (c *fakeChat) Sees(_ context.Context, a tickets.Actor, in, place tickets.Place) (bool, error) {
	if c.sees != nil {
		return c.sees(a)
	}
	return in == place, nil
}

func (c *fakeChat) HasRole(_ context.Context, p tickets.Principal, a tickets.Actor) (bool, error) {
	if c.holds != nil {
		return c.holds(p, a)
	}
	return p.ID == a.ID, nil
}

func (c *fakeChat) Identify(_ context.Context, a tickets.Actor) (selfcheck.Identity, error) {
	if c.who != nil {
		return c.who(a)
	}
	return selfcheck.Identity{Names: []string{a.Name}}, nil
}

func (c *fakeChat) DirectMessage(context.Context, tickets.Principal, string) error { return nil }

func (c *fakeChat) Run(ctx context.Context, _ adapters.Handler) error { <-ctx.Done(); return nil }
func (c *fakeChat) Warnings() []string                                { return c.warnings }
func (c *fakeChat) RateNote() string                                  { return "Chat takes what it takes" }
func (c *fakeChat) Ready() error                                      { return nil }

// fakeEPM remembers the decisions that took effect.
type fakeEPM struct {
	faults
	mu       sync.Mutex
	sends    int
	taken    map[tickets.RequestID][]tickets.Decision
	unread   bool // reading back is not allowed
	outcomes map[tickets.RequestID]*tickets.Outcome

	lists  map[tickets.Kind][]tickets.ListedRequest
	errs   map[tickets.Kind]error
	long   bool // only the ends of a list are read
	listed int  // calls of List
}

func newFakeEPM() *fakeEPM {
	return &fakeEPM{taken: map[tickets.RequestID][]tickets.Decision{}, outcomes: map[tickets.RequestID]*tickets.Outcome{}}
}

func (e *fakeEPM) Decide(_ context.Context, t *tickets.Ticket) error {
	d := *t.Decision
	return e.call(tickets.StepSend, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.sends++
		e.taken[t.ID] = append(e.taken[t.ID], d)
		if e.outcomes[t.ID] == nil {
			e.outcomes[t.ID] = outcome(d)
		}
	})
}

func outcome(d tickets.Decision) *tickets.Outcome {
	return &tickets.Outcome{Verdict: d.Verdict, Duration: d.Duration.Wire(), By: d.By.Name, At: d.At.Truncate(time.Second)}
}

func (e *fakeEPM) Outcome(_ context.Context, t *tickets.Ticket) (*tickets.Outcome, error) {
	var out *tickets.Outcome
	err := e.call(tickets.StepPoll, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		out = e.outcomes[t.ID]
	})
	if err == nil && e.unread {
		err = &tickets.Failure{Class: tickets.Unauthorized, Err: errors.New("reading is not allowed")}
	}
	return out, err
}

func (e *fakeEPM) List(_ context.Context, kind tickets.Kind, take func([]tickets.ListedRequest)) (tickets.ListResult, error) {
	e.mu.Lock()
	list, err, long := slices.Clone(e.lists[kind]), e.errs[kind], e.long
	e.listed++
	e.mu.Unlock()
	for page := range slices.Chunk(list, 2) {
		take(page)
	}
	return tickets.ListResult{Complete: !long}, err
}

// fakeReceiver remembers what it took, repeats included.
type fakeReceiver struct {
	faults
	mu    sync.Mutex
	takes int // at most at once; 0: everything
	calls int
	asked map[tickets.Number][]time.Time // when it was told of which ticket, taken or not
	got   []tickets.EventEnvelope
	hangs chan struct{}                                // until it is closed nothing returns; nil: no
	bad   func(tickets.EventEnvelope) *tickets.Failure // of one notice; nil: none is
}

func (r *fakeReceiver) Deliver(ctx context.Context, list []tickets.EventEnvelope) (taken int, err error) {
	r.mu.Lock()
	n, hangs := len(list), r.hangs
	r.calls++
	if r.asked == nil {
		r.asked = map[tickets.Number][]time.Time{}
	}
	number := list[0].Data.Ticket
	r.asked[number] = append(r.asked[number], time.Now())
	if r.takes > 0 {
		n = min(n, r.takes)
	}
	r.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if r.bad != nil {
		if f := r.bad(list[0]); f != nil {
			return 0, f
		}
	}
	err = r.call(tickets.StepDeliver, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, n := range list[:n] {
			r.got = append(r.got, copied(n))
		}
	})
	switch {
	case err != nil:
		return 0, err
	case n < len(list):
		return n, &tickets.Failure{Class: tickets.RateLimited, Err: errors.New("that is enough")}
	}
	return n, nil
}

// copied is n as somebody else reads it.
func copied(n tickets.EventEnvelope) (c tickets.EventEnvelope) {
	b, err := json.Marshal(n)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		panic(err)
	}
	return c
}

func (r *fakeReceiver) all() []tickets.EventEnvelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// world is one installation, which may be restarted.
type world struct {
	t      *testing.T
	db     *inmem.DB // what the store holds, unless path is set
	path   string    // of a store in a file
	chat   *fakeChat
	epm    *fakeEPM
	rules  tickets.Rules
	skew   atomic.Int64              // added to the clock, ns
	frozen atomic.Pointer[time.Time] // what the clock shows in place of the time

	tampered atomic.Bool // something else has written to the store

	approvers []tickets.Principal
	admins    []tickets.Principal               // default: the first approver
	chats     []adapters.Chat                   // default: chat
	decides   bot.EPM                           // default: epm
	log       slog.Handler                      // default: none
	types     []tickets.Type                    // beside the built-in ones
	own       bool                              // people may decide their own requests
	cards     time.Duration                     // default: never
	reconcile time.Duration                     // default: never
	shared    store.Coordinator                 // default: none
	receivers map[tickets.EventSink]events.Sink // default: none
	read      func(tickets.Incoming) tickets.Incoming
	purge     time.Duration
	timeout   time.Duration // of a step, default the bot's
	grace     time.Duration // default the bot's
	picture   reports.Picture
	tracer    tracing.Tracer
	meter     *damages
	ages      retention.Ages
	store     store.Store
	under     store.Store // what store is wrapped around
	bot       *bot.Bot
	stop      func()
	wrap      func(store.Store) store.Store
	ending    context.Context // done once the bot is told to end
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, db: inmem.NewDB(), chat: &fakeChat{}, epm: newFakeEPM(), rules: rules(),
		approvers: []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: "U1"}, {Platform: "chat", Kind: tickets.User, ID: "U2"}},
		wrap:      func(s store.Store) store.Store { return s },
	}
	t.Cleanup(func() {
		if w.stop != nil {
			w.stop()
		}
	})
	return w
}

// newFileWorld is a world whose store is a file, for who does something to that.
func newFileWorld(t *testing.T) *world {
	path := filepath.Join(t.TempDir(), "a.db") // which is removed once the bot has stopped
	w := newWorld(t)
	w.path = path
	return w
}

func (w *world) now() time.Time {
	if at := w.frozen.Load(); at != nil {
		return at.Add(time.Duration(w.skew.Load()))
	}
	return time.Now().Add(time.Duration(w.skew.Load()))
}

// freeze stops the clock, but for what advance adds, at a full microsecond:
// stores round up when something is due.
func (w *world) freeze() {
	now := time.Now().Truncate(time.Microsecond)
	w.frozen.Store(&now)
}

func (w *world) advance(d time.Duration) { w.skew.Add(int64(d)) }

func (w *world) start() { w.startAfter(func() {}) }

// startAfter opens the store, does something to it, and runs a bot.
func (w *world) startAfter(first func()) {
	w.t.Helper()
	s := w.open()
	w.build(s)
	first()
	ctx, cancel := context.WithCancel(context.Background())
	w.ending = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.bot.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	w.stop = func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			w.t.Errorf("close: %v", err)
		}
		w.stop = nil
	}
}

// open opens what the world keeps.
func (w *world) open() store.Store {
	w.t.Helper()
	hooks := store.Hooks{BeforeWrite: events.Track(slices.Sorted(maps.Keys(w.receivers))...)}
	if w.path == "" {
		return w.db.Open(hooks)
	}
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: w.path, Hooks: hooks})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// opened is the world's store, for a bot that does not run.
func (w *world) opened() store.Store {
	w.t.Helper()
	s := w.open()
	w.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return s
}

// build makes a bot over s that does not run.
func (w *world) build(s store.Store) {
	w.t.Helper()
	w.under = s
	w.store = w.wrap(verified{s, w})
	chats, admins, log := w.chats, w.admins, w.log
	if chats == nil {
		chats = []adapters.Chat{w.chat}
	}
	if admins == nil {
		admins = w.approvers[:min(1, len(w.approvers))]
	}
	if log == nil {
		log = slog.DiscardHandler
	}
	var decides bot.EPM = w.epm
	if w.decides != nil {
		decides = w.decides
	}
	every := w.reconcile
	if every == 0 {
		every = -1
	}
	var meter bot.Meter
	if w.meter != nil {
		meter = w.meter
	}
	cards := w.cards
	if cards == 0 {
		cards = -1
	}
	var err error
	w.bot, err = bot.New(bot.Config{
		Meter:     meter,
		Reconcile: every, Cards: cards,
		Store: w.store, EPM: decides, Chats: chats, Settings: values(settings.Settings{Rules: w.rules, Approvers: w.approvers, Admins: admins, SelfApproval: w.own}), Registry: anywhere(append([]tickets.Type{w.rules.Type}, w.types...)...), Shared: w.shared, EventSinks: maps.Clone(w.receivers),
		Read: w.read, Purge: w.purge, Picture: w.picture, Tracer: w.tracer, Retention: w.ages,
		Log: slog.New(log), Now: w.now, Poll: 2 * time.Millisecond,
		// hurry lets the clock run a thousand times faster than the steps.
		Lease: 1000 * time.Hour, Timeout: w.timeout, Grace: w.grace,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// verified holds every ticket that is written against its own history: what
// Countersign itself does must never look as if something else had done it.
type verified struct {
	store.Store
	w *world
}

func (s verified) Accept(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	r, t, err := s.Store.Accept(ctx, in, apply)
	s.verify(t, err)
	return r, t, err
}

func (s verified) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	t, err := s.Store.Update(ctx, n, change)
	s.verify(t, err)
	return t, err
}

func (s verified) verify(t *tickets.Ticket, err error) {
	if err != nil || t == nil || s.w.tampered.Load() {
		return
	}
	seq, _ := t.Number.Seq()
	doc, err := store.Encode(t)
	if err != nil {
		s.w.t.Error(err)
	}
	for _, f := range store.VerifyForm(seq, doc) {
		s.w.t.Errorf("written by Countersign, and found: %s\n%s", f, doc)
	}
}

// values are s as text.
func values(s settings.Settings) map[string]string {
	text := map[string]string{}
	for _, key := range tickets.SettingKeys() {
		text[key] = s.Show(key)
	}
	return text
}

// anywhere is a world in which everything may be named.
func anywhere(first ...tickets.Type) settings.Registry {
	return settings.Registry{
		Types:     append(first, tickets.Types()...),
		Principal: func(tickets.Principal) error { return nil },
		Place:     func(tickets.Place) error { return nil },
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// until waits for a condition on a ticket and returns it.
func (w *world) until(n tickets.Number, what string, ok func(*tickets.Ticket) bool) *tickets.Ticket {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		t, err := w.store.Get(context.Background(), n)
		if err == nil && ok(t) {
			return t
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is not %s: %+v, %v", n, what, t, err)
		}
	}
	return nil
}

func settled(t *tickets.Ticket) bool {
	return len(t.PendingSteps(time.Now().Add(time.Hour*24*365))) == 0
}

// request is a webhook that asks.
func request(id string) tickets.Incoming {
	rid := tickets.RequestID(id)
	return tickets.Incoming{ID: "in-" + id, At: time.Now(), Update: &tickets.Update{ID: rid, Request: &tickets.Request{
		ID: rid, Kind: tickets.Application, User: `ACME\jdoe`, Host: "PC-0815", Product: "7-Zip", Reason: "please",
	}}}
}

func (w *world) ask(id string) tickets.Number {
	w.t.Helper()
	r, err := w.bot.Keep(context.Background(), request(id))
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Ticket
}

func (w *world) conclude(id string, o tickets.Outcome) tickets.Receipt {
	w.t.Helper()
	r, err := w.bot.Keep(context.Background(), tickets.Incoming{ID: fmt.Sprintf("up-%s-%d", id, time.Now().UnixNano()), At: time.Now(), Update: &tickets.Update{ID: tickets.RequestID(id), Outcome: &o}})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

var twoHours = tickets.Form{Reason: "ok for the patch window", Unit: tickets.UnitHours, Amount: "2"}

func (w *world) approve(n tickets.Number, by tickets.Actor, f tickets.Form) adapters.Answer {
	answer := w.bot.Submit(context.Background(), adapters.Submission{Actor: by, Place: place, Number: n, Digest: w.digest(n), Verdict: tickets.Approve, Form: f})
	w.bot.Written(w.t.Context())
	return answer
}

// digest is that of the request of n as a card shows it now; empty if there is
// none.
func (w *world) digest(n tickets.Number) tickets.RequestDigest {
	t, err := w.under.Get(context.Background(), n)
	if err != nil {
		return ""
	}
	return t.Request.Digest()
}
