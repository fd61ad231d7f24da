package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// EPM is what the bot needs of the EPM API. Errors hold a [tickets.Failure].
type EPM interface {
	// Decide sends t's decision. nil means that EPM has accepted it; class
	// Unclear that it may have.
	Decide(ctx context.Context, t *tickets.Ticket) error
	// Outcome reads back what EPM recorded for t's request; nil if EPM shows
	// it undecided.
	Outcome(ctx context.Context, t *tickets.Ticket) (*tickets.Outcome, error)
	// List gives take the requests of a kind that EPM lists, a page at a
	// time, and skips records that it does not understand. A long list is not
	// read whole. Class Denied means that the account may not, Refused that
	// there is no such list.
	List(ctx context.Context, kind tickets.Kind, take func([]tickets.ListedRequest)) (tickets.ListResult, error)
}

// Meter counts what the bot does.
type Meter interface {
	// Step is called after each step. result is "ok" or a failure's class.
	Step(kind tickets.StepKind, result string, took time.Duration)
	// Damaged is called for each thing in the store that is found changed by
	// something else.
	Damaged(Damage)
}

// Config is what a bot is made of.
type Config struct {
	Store    store.Store       // required
	EPM      EPM               // required
	Chats    []adapters.Chat   // at least one
	Settings map[string]string // what the program was started with, by key; see [Read]. Must have no problems
	Registry Registry          // what settings may name; all of it is required

	// EventSinks are told of every event; each has a lane of its own. Default: none.
	EventSinks map[tickets.EventSink]events.Sink

	Shared store.Coordinator // what the processes on one store agree on; nil if this one is alone

	Log    *slog.Logger     // required
	Now    func() time.Time // default time.Now
	Meter  Meter            // default: counts nothing
	Tracer Tracer           // default: hears nothing
	// Read fills in what a kept webhook's raw body says, to replay it;
	// default: webhooks cannot be replayed.
	Read    func(tickets.Incoming) tickets.Incoming
	Test    func(context.Context) string // tests the EPM connection and says the result to people; default: says that it cannot
	Picture Picture                      // default: reports have none

	Resync time.Duration // how often the store is compared with EPM's lists; default 5 min, never if negative

	Cards time.Duration // how often the cards of open requests are looked for; default 10 min, never if negative

	Workers   int           // steps at once in each lane; default 4
	Poll      time.Duration // how often a lane looks for what became due; default 500 ms
	Lease     time.Duration // how long a step's claim lasts; default 60 s
	Timeout   time.Duration // of one step, less than Lease; default 25 s
	Grace     time.Duration // given to steps under way when Run is told to end; default 10 s
	Purge     time.Duration // how often what is kept is looked through for what to forget; default 1 h
	Retention Retention     // how long what is kept
}

// Bot moves tickets through their lives. Make one with [New].
type Bot struct {
	Config
	chats  map[tickets.Platform]adapters.Chat
	outbox *outbox.Outbox
	events *events.Delivery
	set    atomic.Pointer[activeSettings]

	resync    *reconciler
	notices   notices
	late      lateWrites
	denial    denial
	permitted chan struct{} // what EPM denied is to be sent
	changed   chan struct{} // the settings were changed here
	loaded    chan struct{} // closed once the settings were read
	inspected chan struct{} // closed once the decisions on their way were compared with their histories
	loadOnce  sync.Once
}

var _ adapters.Handler = (*Bot)(nil)

// New checks c and makes a bot. It does nothing before [Bot.Run].
func New(c Config) (*Bot, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("bot: no store")
	case c.EPM == nil:
		return nil, errors.New("bot: no EPM")
	case len(c.Chats) == 0:
		return nil, errors.New("bot: no chat")
	case len(c.Registry.Types) == 0 || c.Registry.Principal == nil || c.Registry.Place == nil:
		return nil, errors.New("bot: no world")
	case c.Log == nil:
		return nil, errors.New("bot: no log")
	}
	setDefault(&c.Resync, 5*time.Minute)
	setDefault(&c.Cards, 10*time.Minute)
	setDefault(&c.Workers, 4)
	setDefault(&c.Poll, 500*time.Millisecond)
	setDefault(&c.Lease, 60*time.Second)
	setDefault(&c.Timeout, 25*time.Second)
	setDefault(&c.Grace, 10*time.Second)
	setDefault(&c.Purge, time.Hour)
	setDefault(&c.Retention.Failed, KeepFailed)
	setDefault(&c.Retention.Applied, KeepApplied)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout >= c.Lease {
		return nil, errors.New("bot: a step's timeout must be less than its lease")
	}
	b := &Bot{
		Config: c, chats: map[tickets.Platform]adapters.Chat{}, resync: newReconciler(),
		permitted: make(chan struct{}, 1), changed: make(chan struct{}, 1), loaded: make(chan struct{}), inspected: make(chan struct{}),
		late: lateWrites{end: make(chan struct{})},
	}
	lanes := []outbox.LaneConfig{
		{Name: tickets.LaneEPM, Checked: true, After: b.inspected},
		{Name: tickets.LanePoll, After: b.loaded},
	}
	for _, chat := range c.Chats {
		p := chat.Platform()
		if b.chats[p] != nil {
			return nil, fmt.Errorf("bot: two chats on %s", p)
		}
		b.chats[p] = chat
		lanes = append(lanes,
			outbox.LaneConfig{Name: tickets.PostLane(p), InOrder: true, After: b.loaded},
			outbox.LaneConfig{Name: tickets.EditLane(p), After: b.loaded})
	}
	for to := range c.EventSinks {
		lanes = append(lanes, outbox.LaneConfig{Name: tickets.DeliverLane(to), After: b.loaded})
	}
	b.Store = events.Tracking(c.Store, slices.Sorted(maps.Keys(c.EventSinks))...)
	b.notices = notices{
		chats: b.chats, shared: c.Shared, log: c.Log, now: c.Now, poll: c.Poll, added: make(chan struct{}, 1),
		admins: func() []tickets.Principal { return b.Current().Admins },
	}
	b.outbox = outbox.New(outbox.Config{
		Store: b.Store, Steps: steps{b}, Lanes: lanes, Log: c.Log, Now: c.Now,
		Workers: c.Workers, Poll: c.Poll, Lease: c.Lease, Timeout: c.Timeout, Grace: c.Grace,
		Hooks: outbox.Hooks{
			Begin: b.stepSpan, Recorded: b.recorded,
			Lost: func(place tickets.Place, why string) {
				b.notices.add(adminNotice{place: place, lost: true, text: adapters.SayPlaceLost(place, why)})
			},
			Recovered: func(place tickets.Place) {
				b.notices.add(adminNotice{place: place, text: adapters.SayPlaceBack(place)})
			},
		},
	})
	b.events = events.New(events.Config{
		Store: b.Store, Sinks: c.EventSinks, Shared: c.Shared, Log: c.Log, Now: c.Now,
		Version: func() int64 { return b.set.Load().stored.Version },
		Timeout: c.Timeout, Poll: min(settingsEvery, 4*c.Poll),
	}, b.outbox.Lane)
	start, problems := Read(c.Settings, c.Registry)
	for key, err := range problems {
		return nil, fmt.Errorf("bot: setting %s: %w", key, err)
	}
	b.set.Store(&activeSettings{Settings: start})
	return b, nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Run does what is owed and listens to the chats until ctx ends. Then it
// takes up nothing new and returns when what was under way has ended, or
// after Grace. A chat that stops for good stops alone; its Ready says why.
func (b *Bot) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { b.outbox.Run(ctx) })
	wg.Go(func() { b.runDenied(ctx) })
	wg.Go(func() { b.notices.run(ctx) })
	wg.Go(func() { b.runPurge(ctx) })
	wg.Go(func() { b.runSettings(ctx) })
	wg.Go(func() { b.runReconcile(ctx) })
	wg.Go(func() { b.runCards(ctx) })
	wg.Go(func() { b.runInspect(ctx) })
	wg.Go(func() {
		select {
		case <-b.loaded:
			b.events.Run(ctx)
		case <-ctx.Done():
		}
	})
	for p, chat := range b.chats {
		wg.Go(func() {
			if err := chat.Run(ctx, b); err != nil {
				b.Log.Error("chat stopped", "platform", p, "err", err)
			}
		})
	}
	grace, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(b.Grace, stop) })()
	wg.Wait()
	b.endLate(grace)
	return nil
}

// Lanes lists the lanes that the bot works on.
func (b *Bot) Lanes() []tickets.Lane { return b.outbox.Names() }

// ChannelOutages lists the places that cannot be used at present.
func (b *Bot) ChannelOutages() []outbox.Outage { return b.outbox.Outages() }

// RetryNow has what waits because a neighbour refused our credentials go on at
// once: they are others now.
func (b *Bot) RetryNow() {
	b.sendDenied()
	b.outbox.RetryNow()
}

// Ready says for each neighbour why it is not ready; an empty map means that
// everything is. A place that is out of use is no reason: others work. See
// [Bot.ChannelOutages].
func (b *Bot) Ready(ctx context.Context) map[string]error {
	problems := map[string]error{}
	if err := b.Store.Ping(ctx); err != nil {
		problems["store"] = err
	}
	for p, chat := range b.chats {
		if err := chat.Ready(); err != nil {
			problems[string(p)] = err
		}
	}
	return problems
}

// Keep records a webhook and what it says. It implements the keeper that the
// EPM receiver needs; when it returns without an error, everything is
// durable.
func (b *Bot) Keep(ctx context.Context, in tickets.Incoming) (tickets.Receipt, error) {
	if err := b.ensure(ctx); err != nil {
		return tickets.Receipt{}, err
	}
	now := b.Now()
	var apply store.Apply
	if in.Update != nil && in.Error == "" {
		apply = func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
			return take(in, b.rulesOf(t), t, seq, now)
		}
	}
	ctx, end := b.news(ctx, "webhook", in.Update, now)
	r, t, err := b.Store.Accept(ctx, in, apply)
	end(t, r, err)
	if err != nil {
		return r, err
	}
	if t != nil {
		b.outbox.Wake(t)
	}
	return r, nil
}

// take does to a ticket, or to none, what a webhook says.
func take(in tickets.Incoming, rules tickets.Rules, t *tickets.Ticket, seq int64, now time.Time) (*tickets.Ticket, tickets.Status) {
	if in.Update.Waiting {
		return nil, tickets.StatusDuplicate // says nothing that is not known
	}
	if t == nil {
		t = tickets.Start(tickets.NewNumber(rules.Type.Prefix, seq), in.Update.ID, rules, now)
	}
	status := t.ApplyUpdate(in, rules, now)
	if status == tickets.StatusDuplicate {
		return nil, status
	}
	return t, status
}
