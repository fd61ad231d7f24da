package bot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// placesChat is a chat with channels, each of which can be broken.
type placesChat struct {
	adapters.Chat // for what is not about places
	platform      tickets.Platform

	mu       sync.Mutex
	channels map[string]*fakeChat
	broken   func(tickets.StepKind, tickets.Place) error            // nil: nothing is
	failed   int                                                    // calls to what was broken
	tell     func(ctx context.Context, who tickets.Principal) error // nil: it works
	told     map[tickets.Principal][]string
	tries    int
}

func newPlacesChat(platform tickets.Platform) *placesChat {
	return &placesChat{
		Chat: &fakeChat{}, platform: platform, channels: map[string]*fakeChat{},
		told: map[tickets.Principal][]string{},
	}
}

func (c *placesChat) Platform() tickets.Platform { return c.platform }

func (c *placesChat) in(p tickets.Place) *fakeChat {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels[p.Channel] == nil {
		c.channels[p.Channel] = &fakeChat{}
	}
	return c.channels[p.Channel]
}

func (c *placesChat) fails(kind tickets.StepKind, p tickets.Place) error {
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	if broken == nil {
		return nil
	}
	err := broken(kind, p)
	if err != nil {
		c.mu.Lock()
		c.failed++
		c.mu.Unlock()
	}
	return err
}

func (c *placesChat) breaks(broken func(tickets.StepKind, tickets.Place) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = broken
}

func (c *placesChat) count() (failed, told, tries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, texts := range c.told {
		told += len(texts)
	}
	return c.failed, told, c.tries
}

func (c *placesChat) Post(ctx context.Context, p tickets.Place, t *tickets.Ticket, since time.Time) (string, error) {
	if err := c.fails(tickets.StepPost, p); err != nil {
		return "", err
	}
	return c.in(p).Post(ctx, p, t, since)
}

func (c *placesChat) Present(ctx context.Context, m tickets.Message) (bool, error) {
	if err := c.fails("present", m.Place); err != nil {
		return false, err
	}
	return c.in(m.Place).Present(ctx, m)
}

func (c *placesChat) Edit(ctx context.Context, m tickets.Message, t *tickets.Ticket) error {
	if err := c.fails(tickets.StepEdit, m.Place); err != nil {
		return err
	}
	return c.in(m.Place).Edit(ctx, m, t)
}

func (c *placesChat) Reply(ctx context.Context, m tickets.Message, t *tickets.Ticket, event int, since time.Time) error {
	if err := c.fails(tickets.StepReply, m.Place); err != nil {
		return err
	}
	return c.in(m.Place).Reply(ctx, m, t, event, since)
}

func (c *placesChat) DirectMessage(ctx context.Context, who tickets.Principal, text string) error {
	c.mu.Lock()
	c.tries++
	tell := c.tell
	c.mu.Unlock()
	if tell != nil {
		if err := tell(ctx, who); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[who] = append(c.told[who], text)
	return nil
}

func failure(class tickets.Class, place bool) error {
	return &tickets.Failure{Class: class, ChannelFault: place, Err: errors.New("planned")}
}

// only breaks what is done of kinds in channel.
func only(channel string, err error, kinds ...tickets.StepKind) func(tickets.StepKind, tickets.Place) error {
	return func(kind tickets.StepKind, p tickets.Place) error {
		if p.Channel == channel && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
			return err
		}
		return nil
	}
}

// first is broken once.
func first(broken func(tickets.StepKind, tickets.Place) error) func(tickets.StepKind, tickets.Place) error {
	var done atomic.Bool
	return func(kind tickets.StepKind, p tickets.Place) error {
		err := broken(kind, p)
		if err == nil || done.Swap(true) {
			return nil
		}
		return err
	}
}

func newPlacesWorld(t *testing.T) (*world, *placesChat) { return placesOf(newWorld(t)) }

func placesOf(w *world) (*world, *placesChat) {
	c := newPlacesChat("chat")
	w.chats = []adapters.Chat{c}
	return w, c
}

// eventually waits for a condition.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s; out of use: %+v", what, w.bot.ChannelOutages())
		}
	}
}

func (w *world) isOut(want bool) func() bool {
	return func() bool { return (len(w.bot.ChannelOutages()) > 0) == want }
}

// TestPlaceFailures states for each way in which a step in a chat can fail
// whether it puts the place out of use, and what becomes of the message. To
// see it fail, change any case of blamesPlace.
func TestPlaceFailures(t *testing.T) {
	for _, kind := range []tickets.StepKind{tickets.StepPost, tickets.StepEdit, tickets.StepReply} {
		for _, class := range []tickets.Class{tickets.Unavailable, tickets.RateLimited, tickets.Ambiguous, tickets.Rejected, tickets.Unauthorized, tickets.NotFound} {
			for _, place := range []bool{false, true} {
				out := place || class == tickets.Unauthorized
				gone := class == tickets.NotFound && !place
				dead := gone && kind == tickets.StepPost
				again := gone && !dead // in place of the message that is gone
				skipped := class == tickets.Rejected && kind == tickets.StepReply && !place
				t.Run(fmt.Sprintf("%s_%s_place=%t", kind, class, place), func(t *testing.T) {
					t.Parallel()
					w, c := newPlacesWorld(t)
					broken := only("C1", failure(class, place), kind)
					if again {
						broken = first(broken)
					}
					c.breaks(broken)
					w.start()
					n := w.ask("r")
					if kind != tickets.StepPost {
						w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
						w.approve(n, ann, twoHours)
					}
					w.until(n, "tried", func(t *tickets.Ticket) bool {
						m := t.Message(placeOne)
						return m.Problem != "" || m.Reposted || skipped && m.Told == len(t.Events)
					})
					if got := len(w.bot.ChannelOutages()) > 0; got != out {
						t.Errorf("out of use is %t, want %t", got, out)
					}
					if out {
						o := w.bot.ChannelOutages()[0]
						if o.Place != placeOne || !slices.Equal(o.Steps, []tickets.StepKind{kind}) || o.Since.IsZero() || !strings.Contains(o.Why, "planned") {
							t.Errorf("Places() = %+v", o)
						}
					}
					if problems := w.bot.Ready(t.Context()); len(problems) > 0 {
						t.Errorf("Ready() = %v, want none: other places work", problems)
					}
					c.breaks(nil)
					defer w.hurry()()
					never := kind == tickets.StepPost && dead // it was there and was deleted
					if kind == tickets.StepPost {
						w.until(n, "posted", func(t *tickets.Ticket) bool { return never || t.Message(placeOne).ID != "" })
						w.approve(n, ann, twoHours)
					}
					w.until(n, "acknowledged", func(t *tickets.Ticket) bool {
						return t.Progress() == tickets.Submitted || t.Progress() == tickets.Final
					})
					w.conclude("r", *outcome(w.epm.first("r")))
					got := w.until(n, "settled", settled)
					w.eventually("in use", w.isOut(false))
					if got.Message(placeOne).Dead != dead {
						t.Fatalf("dead is %t, want %t", got.Message(placeOne).Dead, dead)
					}
					posts := c.in(placeOne).posts
					if never && len(posts) == 0 {
						return
					}
					want := 1
					if again {
						want = 2
					}
					if len(posts) != want || never {
						t.Fatalf("%d messages, want %d, or none after it was deleted", len(posts), want)
					}
					if shows := wording.Status(posts[want-1].shown).String() == wording.Status(got).String(); shows == dead {
						t.Errorf("the message shows the end: %t, want %t", shows, !dead)
					}
				})
			}
		}
	}
}

var (
	placeOne = place
	placeTwo = tickets.Place{Platform: "chat", Channel: "C2"}
)

// busy counts the writes to a store.
type busy struct {
	store.Store
	mu     sync.Mutex
	writes int
}

func (b *busy) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	b.mu.Lock()
	b.writes++
	b.mu.Unlock()
	return b.Store.Update(ctx, n, change)
}

func (b *busy) take() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.writes
	b.writes = 0
	return n
}

// TestStormIntoDeadPlace: a thousand tickets for a channel that is gone make
// a handful of calls and one write each, and are all shown, once, as soon as
// one succeeds. To see it fail, let enter let
// everybody in, or leave out the recall.
func TestStormIntoDeadPlace(t *testing.T) {
	t.Parallel()
	const storm, workers = 1000, 4
	w, c := newPlacesWorld(t)
	writes := &busy{}
	w.wrap = func(s store.Store) store.Store { writes.Store = s; return writes }
	c.breaks(only("C1", failure(tickets.Unauthorized, true)))
	w.start()
	numbers := make([]tickets.Number, storm)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := i; j < storm; j += 20 {
				r, err := w.bot.Keep(context.Background(), request(fmt.Sprint("r", j)))
				if err != nil {
					t.Error(err)
				}
				numbers[j] = r.Ticket
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	nothingDue := func() bool {
		stats, err := w.store.Stats(t.Context(), w.now())
		return err == nil && stats.Due[tickets.PostLane("chat")].Count == 0
	}
	w.eventually("all wait", nothingDue)
	failed, _, _ := c.count()
	if failed == 0 || failed > workers {
		t.Errorf("%d forbidden calls, want at most %d", failed, workers)
	}
	if n := writes.take(); n > storm+2*workers {
		t.Errorf("%d writes for %d tickets", n, storm)
	}
	before := failed
	w.advance(7 * time.Minute)
	w.eventually("all wait again", nothingDue)
	if after, _, _ := c.count(); after-before != 1 {
		t.Errorf("%d forbidden calls in five minutes, want 1", after-before)
	}
	if n := writes.take(); n > storm+workers {
		t.Errorf("%d writes in five minutes for %d tickets", n, storm)
	}
	if o := w.bot.ChannelOutages(); len(o) != 1 || o[0].Waiting != storm {
		t.Errorf("Places() = %+v, want one for which %d wait", o, storm)
	}

	c.breaks(nil)
	w.advance(5*time.Minute + time.Second) // too early for most: they are recalled
	w.eventually("all shown", func() bool { f := c.in(placeOne); f.mu.Lock(); defer f.mu.Unlock(); return len(f.posts) >= storm })
	for _, n := range numbers {
		w.until(n, "settled", settled)
	}
	seen := map[tickets.Number]int{}
	for _, post := range c.in(placeOne).posts {
		seen[post.number]++
	}
	for _, n := range numbers {
		if seen[n] != 1 {
			t.Errorf("%s is shown %d times, want once", n, seen[n])
		}
	}
	if len(w.bot.ChannelOutages()) > 0 {
		t.Errorf("Places() = %+v, want none", w.bot.ChannelOutages())
	}
}

// TestAdminsAreToldOnce: many steps fail at the same time, and every admin on
// every chat hears of it once, and once when it is over. To see it fail, note
// it for each failure in placeLost, or for each success in placeTried.
func TestAdminsAreToldOnce(t *testing.T) {
	w, c := newPlacesWorld(t)
	other := newPlacesChat("other")
	w.chats = append(w.chats, other)
	user := func(p tickets.Platform, id string) tickets.Principal {
		return tickets.Principal{Platform: p, Kind: tickets.User, ID: id}
	}
	group := tickets.Principal{Platform: "chat", Kind: tickets.Group, ID: "S1"}
	w.admins = []tickets.Principal{user("chat", "U1"), group, user("chat", "U2"), user("other", "U3"), user("nowhere", "U4")}
	c.tell = func(_ context.Context, who tickets.Principal) error {
		if who == group {
			return failure(tickets.Rejected, false)
		}
		return nil
	}
	// Every worker of the lane is inside a call before the first one fails.
	var mu sync.Mutex
	inside, open := 0, make(chan struct{})
	broken := only("C1", failure(tickets.NotFound, true), tickets.StepEdit)
	c.breaks(func(kind tickets.StepKind, p tickets.Place) error {
		if kind != tickets.StepEdit { // of which several are made at once
			return nil
		}
		mu.Lock()
		if inside++; inside == 4 {
			close(open)
		}
		mu.Unlock()
		<-open
		return broken(kind, p)
	})
	w.start()
	var numbers []tickets.Number
	for i := range 20 {
		numbers = append(numbers, w.ask(fmt.Sprint("r", i)))
	}
	for _, n := range numbers {
		w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
		w.approve(n, ann, twoHours)
	}
	w.eventually("all wait", func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == 20 })
	told := func(n int) func() bool {
		return func() bool { _, a, _ := c.count(); _, b, _ := other.count(); return a == 2*n && b == n }
	}
	w.eventually("told", told(1))

	c.breaks(nil)
	w.advance(5*time.Minute + time.Second)
	for _, n := range numbers {
		w.until(n, "shown", func(t *tickets.Ticket) bool { return t.Message(placeOne).Shown == t.Rev })
	}
	w.eventually("told of the end", told(2))
	for _, texts := range []map[tickets.Principal][]string{c.told, other.told} {
		for who, said := range texts {
			if len(said) != 2 || said[0] != wording.MsgPlaceLost(placeOne, "not_found: planned") || said[1] != wording.MsgPlaceBack(placeOne) {
				t.Errorf("%s was told %q", who, said)
			}
		}
	}
	if c.tries != 6 {
		t.Errorf("%d tries to tell, want 6: who cannot be told is not asked again", c.tries)
	}
}

// TestTellFails: a chat that is down is tried again, for those who have not
// heard yet and not for ever; a chat that hangs or panics holds nothing up.
// To see it fail, give up after one try, tell everybody again, or tell inside
// the step.
func TestTellFails(t *testing.T) {
	two := []tickets.Principal{{Platform: "chat", Kind: tickets.User, ID: "U1"}, {Platform: "chat", Kind: tickets.User, ID: "U2"}}
	begin := func(t *testing.T, tell func(context.Context, tickets.Principal) error) (*world, *placesChat, *logged) {
		w, c := newPlacesWorld(t)
		log := &logged{}
		w.admins, w.log, c.tell = two, slog.NewTextHandler(log, nil), tell
		w.rules.Places = []tickets.Place{placeOne, placeTwo}
		c.breaks(only("C1", failure(tickets.NotFound, true)))
		w.start()
		return w, c, log
	}
	t.Run("DownForAWhile", func(t *testing.T) {
		var mu sync.Mutex
		n := 0
		w, c, log := begin(t, func(_ context.Context, who tickets.Principal) error {
			mu.Lock()
			defer mu.Unlock()
			if who.ID == "U2" {
				if n++; n < 4 {
					return failure(tickets.Unavailable, false)
				}
			}
			return nil
		})
		defer w.hurry()()
		w.ask("r")
		w.eventually("both told", func() bool { _, told, _ := c.count(); return told == 2 })
		if _, _, tries := c.count(); tries != 5 || len(c.told[two[0]]) != 1 {
			t.Errorf("%d tries, told %v", tries, c.told)
		}
		if log.has("no admin could be told") {
			t.Error("the log says that nobody was told")
		}
	})
	t.Run("DownForGood", func(t *testing.T) {
		w, c, log := begin(t, func(context.Context, tickets.Principal) error { return failure(tickets.Unavailable, false) })
		defer w.hurry()()
		w.ask("r")
		w.eventually("logged", func() bool { return log.has("no admin could be told") })
		if _, _, tries := c.count(); tries != 12 {
			t.Errorf("%d tries, want 6 for each of two", tries)
		}
	})
	t.Run("NobodyToTell", func(t *testing.T) {
		w, _, log := begin(t, func(context.Context, tickets.Principal) error { return failure(tickets.Rejected, false) })
		w.ask("r")
		w.eventually("logged", func() bool { return log.has("no admin could be told") })
	})
	t.Run("Panics", func(t *testing.T) {
		w, c, log := begin(t, func(context.Context, tickets.Principal) error { panic("planned") })
		w.ask("r")
		w.eventually("logged", func() bool { return log.has("no admin could be told") })
		if _, _, tries := c.count(); tries != 2 {
			t.Errorf("%d tries, want 2", tries)
		}
	})
	t.Run("Hangs", func(t *testing.T) {
		hanging := make(chan struct{}, 2)
		w, c, _ := begin(t, func(ctx context.Context, _ tickets.Principal) error {
			hanging <- struct{}{}
			<-ctx.Done()
			return failure(tickets.Ambiguous, false)
		})
		first := w.ask("r0")
		<-hanging
		for i := range 10 {
			n := w.ask(fmt.Sprint("q", i))
			w.until(n, "shown in the other channel", func(t *tickets.Ticket) bool { return t.Message(placeTwo).ID != "" })
		}
		c.breaks(nil)
		w.advance(5*time.Minute + time.Second)
		w.until(first, "shown", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
		start := time.Now()
		w.stop()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Run ended after %s", took)
		}
	})
	t.Run("OverBeforeAnybodyHeard", func(t *testing.T) {
		// The first news hangs; the second place comes and goes meanwhile.
		hold := make(chan struct{})
		w, c, _ := begin(t, func(ctx context.Context, _ tickets.Principal) error {
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return nil
		})
		w.ask("r0")
		w.eventually("telling", func() bool { _, _, tries := c.count(); return tries == 2 })
		c.breaks(only("C2", failure(tickets.NotFound, true)))
		n := w.ask("r1")
		w.eventually("both out", func() bool { return len(w.bot.ChannelOutages()) == 2 })
		c.breaks(nil)
		w.advance(5*time.Minute + time.Second)
		w.until(n, "shown in both", func(t *tickets.Ticket) bool {
			return t.Message(placeOne).ID != "" && t.Message(placeTwo).ID != ""
		})
		close(hold)
		w.eventually("told", func() bool { _, told, _ := c.count(); return told == 4 })
		for _, said := range c.told {
			if strings.Contains(strings.Join(said, " "), "C2") {
				t.Errorf("told %q, want nothing of C2", said)
			}
		}
	})
}

// logged is a log that can be searched.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

// TestRestartWhilePlaceIsOut: a new process learns from its first failing
// step, and nothing is lost or shown twice. To see it fail, let enter wait
// until a week later.
func TestRestartWhilePlaceIsOut(t *testing.T) {
	w, c := newPlacesWorld(t)
	c.breaks(only("C1", failure(tickets.NotFound, true)))
	w.start()
	for i := range 30 {
		w.ask(fmt.Sprint("r", i))
	}
	waiting := func(n int) func() bool {
		return func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == n }
	}
	w.eventually("all wait", waiting(30))
	w.restart()
	if out := w.bot.ChannelOutages(); len(out) > 0 {
		t.Errorf("Places() = %+v before any step", out)
	}
	before, _, _ := c.count()
	w.advance(7 * time.Minute)
	w.eventually("all wait again", waiting(30))
	if after, _, _ := c.count(); after-before > 4 {
		t.Errorf("%d forbidden calls after the restart, want at most 4", after-before)
	}
	w.restart()
	c.breaks(nil) // mended while nobody looked
	w.advance(7 * time.Minute)
	f := c.in(placeOne)
	w.eventually("all shown", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.posts) == 30 })
	for i := range 30 {
		w.until(tickets.NewNumber(w.rules.Type.Prefix, int64(1001+i)), "settled", settled)
	}
	if len(f.posts) != 30 {
		t.Errorf("%d messages, want 30", len(f.posts))
	}
}

// TestReadOnlyPlace: where nothing can be posted any more, old messages are
// still kept true, and that says nothing about posting. To see it fail, let
// useOf leave out the kind.
func TestReadOnlyPlace(t *testing.T) {
	w, c := newPlacesWorld(t)
	w.start()
	old := w.ask("old")
	w.until(old, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
	c.breaks(only("C1", failure(tickets.Rejected, true), tickets.StepPost))
	w.ask("new")
	w.eventually("out", w.isOut(true))
	w.approve(old, ann, twoHours)
	w.until(old, "acknowledged and shown", func(t *tickets.Ticket) bool {
		m := t.Message(placeOne)
		return t.Progress() == tickets.Submitted && m.Shown == t.Rev && m.Told == len(t.Events)
	})
	if o := w.bot.ChannelOutages(); len(o) != 1 || !slices.Equal(o[0].Steps, []tickets.StepKind{tickets.StepPost}) {
		t.Errorf("Places() = %+v, want posts alone", o)
	}
	if failed, _, _ := c.count(); failed != 1 {
		t.Errorf("%d forbidden calls, want 1", failed)
	}
}

// TestPlaceBackForEverything: a channel in which nothing worked is one outage
// and one return, and what works again brings the rest back with it. To see
// it fail, tell of each use, or leave the other uses alone in placeTried.
func TestPlaceBackForEverything(t *testing.T) {
	w, c := newPlacesWorld(t)
	w.start()
	var old []tickets.Number
	for i := range 10 {
		n := w.ask(fmt.Sprint("old", i))
		w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
		old = append(old, n)
	}
	c.breaks(only("C1", failure(tickets.Unavailable, true))) // as Slack's adapter says it of edits
	for i := range old {
		w.ask(fmt.Sprint("new", i))
	}
	w.eventually("posts wait", func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == 10 })
	w.advance(4 * time.Minute)
	for _, n := range old {
		w.approve(n, ann, twoHours)
	}
	w.eventually("all wait", func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == 20 })
	for _, n := range old { // nothing of EPM's waits
		w.until(n, "acknowledged", func(t *tickets.Ticket) bool { return t.Progress() == tickets.Submitted })
	}
	wantNote(t, w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"}), "Out of use since "+wording.FormatTime(w.bot.ChannelOutages()[0].Since)+
		": channel C1 on Chat (messages are not updated, new requests are not shown): unavailable: planned. Requests waiting for it: 20.")
	if failed, _, _ := c.count(); failed > 8 {
		t.Errorf("%d forbidden calls, want at most 8", failed)
	}
	c.breaks(nil)
	w.advance(time.Minute + time.Second) // for a post; edits go on with it
	for i := range 20 {
		w.until(tickets.NewNumber(w.rules.Type.Prefix, int64(1001+i)), "shown", func(t *tickets.Ticket) bool {
			m := t.Message(placeOne)
			return m.ID != "" && m.Shown == t.Rev && m.Told == len(t.Events)
		})
	}
	w.eventually("told both", func() bool { _, told, _ := c.count(); return told == 2 })
	for who, said := range c.told {
		if said[0] != wording.MsgPlaceLost(placeOne, "unavailable: planned") || said[1] != wording.MsgPlaceBack(placeOne) {
			t.Errorf("%s was told %q", who, said)
		}
	}
	wantNote(t, w.bot.Command(t.Context(), adapters.Command{Actor: sam, Place: place, Text: "status"}), "Every connection works.")
}

// TestProbe: what the one step that is let in tells about its place. To see
// it fail, let placeTried end the outage at any failure, or wait five minutes
// after each.
func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		fails error
		back  bool // the place works
		soon  bool // it does not tell: another step may try at once
	}{
		"Down":         {fails: failure(tickets.Unavailable, false), soon: true},
		"Unclear":      {fails: failure(tickets.Ambiguous, false), soon: true},
		"Limited":      {fails: failure(tickets.RateLimited, false), soon: true},
		"RefusedAlone": {fails: failure(tickets.Rejected, false), soon: true},
		"Deleted":      {fails: failure(tickets.NotFound, false), back: true},
		"StillOut":     {fails: failure(tickets.NotFound, true)},
		"Works":        {back: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, chat := newPlacesWorld(t)
			w.start()
			n := w.ask("r")
			w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
			chat.breaks(only("C1", failure(tickets.Unauthorized, false), tickets.StepEdit))
			w.approve(n, ann, twoHours)
			w.eventually("waits", func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == 1 })
			chat.breaks(only("C1", c.fails, tickets.StepEdit))
			w.advance(5*time.Minute + time.Second)
			w.until(n, "tried", func(t *tickets.Ticket) bool {
				m := t.Message(placeOne)
				return m.Dead || m.Problem == "" || c.fails != nil && m.Problem == c.fails.Error()
			})
			if got := len(w.bot.ChannelOutages()) == 0; got != c.back {
				t.Fatalf("in use is %t, want %t", got, c.back)
			}
			if c.back {
				return
			}
			chat.breaks(nil)
			if c.soon {
				w.advance(2 * time.Second)
				if name == "RefusedAlone" { // this ticket waits, another one does not
					other := w.ask("r2")
					w.until(other, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
					w.approve(other, ann, twoHours)
				}
			} else {
				w.advance(5 * time.Minute)
			}
			w.eventually("in use", w.isOut(false))
		})
	}
}

// TestProbeThatNeverWasMade: the store fails when the one step is let in, which
// then sees nothing; the next may try at once. To see it fail, leave out
// placeTried where begin fails.
func TestProbeThatNeverWasMade(t *testing.T) {
	w, c := newPlacesWorld(t)
	sick := &sickStore{}
	w.wrap = func(s store.Store) store.Store { sick.Store = s; return sick }
	c.breaks(only("C1", failure(tickets.NotFound, true)))
	w.start()
	n := w.ask("r")
	w.eventually("waits", func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == 1 })
	c.breaks(nil)
	sick.left.Store(1)
	w.advance(5*time.Minute + time.Second)
	w.eventually("the store has failed", func() bool { return sick.left.Load() == 0 })
	w.advance(2 * time.Second)
	w.until(n, "shown", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
}

// sickStore fails the next updates.
type sickStore struct {
	store.Store
	left atomic.Int64
}

func (s *sickStore) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	if s.left.Load() > 0 {
		defer s.left.Add(-1)
		return nil, errors.New("planned")
	}
	return s.Store.Update(ctx, n, change)
}

// TestSuccessUnderWayTellsNothing: an edit that began before its place was lost
// and ends afterwards does not bring the place back. To see it fail, let
// placeTried take any success.
func TestSuccessUnderWayTellsNothing(t *testing.T) {
	w, c := newPlacesWorld(t)
	entered, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.start()
	slow, other := w.ask("r1"), w.ask("r2")
	for _, n := range []tickets.Number{slow, other} {
		w.until(n, "posted", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
	}
	c.breaks(func(kind tickets.StepKind, _ tickets.Place) error {
		first := false
		once.Do(func() { first = true })
		if !first {
			return failure(tickets.NotFound, true)
		}
		close(entered)
		<-free
		return nil
	})
	w.approve(slow, ann, twoHours)
	<-entered
	w.approve(other, ann, twoHours)
	w.eventually("out", w.isOut(true))
	close(free)
	w.until(slow, "edited", func(t *tickets.Ticket) bool { return t.Message(placeOne).Shown > 1 })
	if len(w.bot.ChannelOutages()) != 1 {
		t.Error("the place is in use, which nobody has tried")
	}
}

// TestNotKeptWaitingByAPlaceThatIsBack: a ticket is put off, but before that
// is in the store the place comes back. To see it fail, leave out the recall
// in awaits.
func TestNotKeptWaitingByAPlaceThatIsBack(t *testing.T) {
	for !notKeptWaiting(t) {
		t.Log("the wait is too short to tell, once more")
	}
}

func notKeptWaiting(t *testing.T) (told bool) {
	w, c := newPlacesWorld(t)
	slow := &slowStore{held: make(chan struct{}), free: make(chan struct{}), put: make(chan time.Time, 1)}
	w.wrap = func(s store.Store) store.Store { slow.Store = s; return slow }
	w.start()
	first, second := w.ask("r1"), w.ask("r2")
	shown := func(t *tickets.Ticket) bool { m := t.Message(placeOne); return m.ID != "" && m.Shown == t.Rev }
	for _, n := range []tickets.Number{first, second} {
		w.until(n, "shown", shown)
	}
	c.breaks(only("C1", failure(tickets.NotFound, true), tickets.StepEdit))
	w.approve(first, ann, twoHours)
	w.eventually("waits", func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == 1 })
	slow.hold(second)
	w.approve(second, ann, twoHours)
	<-slow.held
	c.breaks(nil)
	w.advance(5*time.Minute + time.Second)
	w.until(first, "shown", shown)
	close(slow.free)
	until := <-slow.put
	if until.Sub(w.now()) < 10*time.Second {
		return false
	}
	w.until(second, "shown, and waits no more", func(t *tickets.Ticket) bool {
		return shown(t) && !t.Message(placeOne).NotBefore.After(w.now())
	})
	if !w.now().Before(until) {
		t.Error("the ticket has waited for a place that was back")
	}
	return true
}

// slowStore holds up the update that puts one ticket off, and tells until when
// the ticket then waits.
type slowStore struct {
	store.Store
	mu         sync.Mutex
	number     tickets.Number
	held, free chan struct{}
	put        chan time.Time
}

func (s *slowStore) hold(n tickets.Number) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number = n
}

func (s *slowStore) Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error) {
	s.mu.Lock()
	hold := s.number == n
	if hold {
		t, err := s.Get(ctx, n)
		hold = err == nil && change(t) == nil && strings.Contains(t.Message(placeOne).Problem, "out of use")
	}
	if hold {
		s.number = ""
	}
	s.mu.Unlock()
	if !hold {
		return s.Store.Update(ctx, n, change)
	}
	close(s.held)
	<-s.free
	t, err := s.Store.Update(ctx, n, change)
	if err == nil {
		s.put <- t.Message(placeOne).NotBefore
	}
	return t, err
}

// told is what several replicas agree on about what admins were told.
type told struct {
	store.Coordinator // the bot asks for nothing else than what is below
	mu                sync.Mutex
	keys              map[string]bool
	away              bool
	asked             int
}

func (t *told) ClaimOnce(_ context.Context, key string, _ time.Duration) (bool, error) {
	return t.set(key, true)
}

// AcquireLease gives every lease to everybody: one process runs in each test.
func (t *told) AcquireLease(context.Context, string, string, time.Duration) (bool, error) {
	return true, nil
}

func (t *told) ReleaseLease(context.Context, string, string) error { return nil }

func (t *told) Unclaim(_ context.Context, key string) (bool, error) { return t.set(key, false) }

func (t *told) set(key string, to bool) (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	if t.away {
		return false, errors.New("away")
	}
	changed = t.keys[key] != to
	t.keys[key] = to
	return changed, nil
}

// TestReplicasTellOnce: what several replicas see of one place is told by one
// of them, or by each if they cannot be asked. To see it fail, let tells
// return true.
func TestReplicasTellOnce(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("away=%t", away), func(t *testing.T) {
			t.Parallel()
			want := 1
			if away {
				want = 2
			}
			shared := &told{keys: map[string]bool{}, away: away}
			var chats []*placesChat
			var worlds []*world
			for range 2 { // each with tickets of its own: both meet the place
				w, c := newPlacesWorld(t)
				w.shared = shared
				c.breaks(only("C1", failure(tickets.NotFound, true)))
				worlds, chats = append(worlds, w), append(chats, c)
			}
			count := func() (n int) {
				for _, c := range chats {
					_, told, _ := c.count()
					n += told
				}
				return n
			}
			each := func(do func(*world)) {
				for _, w := range worlds {
					do(w)
				}
			}
			each(func(w *world) { w.start(); w.ask("r"); w.eventually("out of use", w.isOut(true)) })
			settle := func(asked, told int) {
				worlds[0].eventually("told", func() bool {
					shared.mu.Lock()
					defer shared.mu.Unlock()
					return shared.asked >= asked && count() >= told
				})
			}
			settle(2, want)
			for _, c := range chats {
				c.breaks(nil)
			}
			each(func(w *world) { defer w.hurry()(); w.eventually("in use", w.isOut(false)) })
			settle(4, 2*want)
			each(func(w *world) { w.stop() })
			if n := count(); n != 2*want {
				t.Errorf("admins were told %d times that the place is lost and back, want %d", n, 2*want)
			}
		})
	}
}

// TestRenewedCredentials: what waits because a token was refused goes on when
// there is another, without a wait. To see it fail, let Renewed leave the
// next try where it was.
func TestRenewedCredentials(t *testing.T) {
	w, c := newPlacesWorld(t)
	c.breaks(only("C1", failure(tickets.Unauthorized, false)))
	w.start()
	for i := range 5 {
		w.ask(fmt.Sprint("r", i))
	}
	w.eventually("all wait", func() bool { o := w.bot.ChannelOutages(); return len(o) == 1 && o[0].Waiting == 5 })
	c.breaks(nil)
	w.bot.RetryNow()
	for i := range 5 {
		w.until(tickets.NewNumber(w.rules.Type.Prefix, int64(1001+i)), "shown", func(t *tickets.Ticket) bool { return t.Message(placeOne).ID != "" })
	}
	w.eventually("in use", w.isOut(false))
}
