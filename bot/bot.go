package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/bot/access"
	"github.com/countersign/countersign/bot/audit"
	"github.com/countersign/countersign/bot/cards"
	"github.com/countersign/countersign/bot/commands"
	"github.com/countersign/countersign/bot/decisions"
	"github.com/countersign/countersign/bot/dedup"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/bot/integrity"
	"github.com/countersign/countersign/bot/lease"
	"github.com/countersign/countersign/bot/notify"
	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/bot/reconcile"
	"github.com/countersign/countersign/bot/reports"
	"github.com/countersign/countersign/bot/retention"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/bot/webhooks"
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
	// read whole. Class Unauthorized means that the account may not, Rejected that
	// there is no such list.
	List(ctx context.Context, kind tickets.Kind, take func([]tickets.ListedRequest)) (tickets.ListResult, error)
}

// Meter counts what the bot does.
type Meter interface {
	// Step is called after each step. result is "ok" or a failure's class.
	Step(kind tickets.StepKind, result string, took time.Duration)
	// Damaged is called for each thing in the store that is found changed by
	// something else.
	Damaged(integrity.Damage)
}

// Config is what a bot is made of.
type Config struct {
	Store    store.Store       // required
	EPM      EPM               // required
	Chats    []adapters.Chat   // at least one
	Settings map[string]string // what the program was started with, by key; see [settings.Read]. Must have no problems
	Registry settings.Registry // what settings may name; all of it is required

	// EventSinks are told of every event; each has a lane of its own. Store must be
	// opened with [events.Track] of them. Default: none.
	EventSinks map[tickets.EventSink]events.Sink

	Shared store.Coordinator // what the processes on one store agree on; nil if this one is alone

	Log    *slog.Logger     // required
	Now    func() time.Time // default time.Now
	Meter  Meter            // default: counts nothing
	Tracer tracing.Tracer   // default: hears nothing
	// Read fills in what a kept webhook's raw body says, to replay it;
	// default: webhooks cannot be replayed.
	Read    func(tickets.Incoming) tickets.Incoming
	Test    func(context.Context) string // tests the EPM connection and says the result to people; default: says that it cannot
	Picture reports.Picture              // default: reports have none

	Reconcile time.Duration // how often the store is compared with EPM's lists; default 5 min, never if negative

	Cards time.Duration // how often the cards of open requests are looked for; default 10 min, never if negative

	Workers   int            // steps at once in each lane; default 4
	Poll      time.Duration  // how often a lane looks for what became due; default 500 ms
	Lease     time.Duration  // how long a step's claim lasts; default 60 s
	Timeout   time.Duration  // of one step, less than Lease; default 25 s
	Grace     time.Duration  // given to steps under way when Run is told to end; default 10 s
	Purge     time.Duration  // how often what is kept is looked through for what to forget; default 1 h
	Retention retention.Ages // how long what is kept
}

// Bot moves tickets through their lives. Make one with [New].
type Bot struct {
	store    store.Store
	chats    map[tickets.Platform]adapters.Chat
	tracer   tracing.Tracer
	meter    Meter
	log      *slog.Logger
	now      func() time.Time
	poll     time.Duration
	grace    time.Duration
	settings *settings.Live

	access     *access.Access
	audit      *audit.Log
	cards      *cards.Watcher
	commands   *commands.Handler
	decisions  *decisions.Sender
	deliveries *dedup.Deliveries
	events     *events.Delivery
	inspector  *integrity.Inspector
	notifier   *notify.Notifier
	outbox     *outbox.Outbox
	purger     *retention.Purger
	reconciler *reconcile.Reconciler
}

var _ adapters.Handler = (*Bot)(nil)

// New checks c and makes a bot. It does nothing before [Bot.Run].
func New(c Config) (*Bot, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := c.Store
	live, err := settings.NewLive(settings.Config{Store: s, Start: c.Settings, Registry: c.Registry, Log: c.Log, Now: c.Now})
	if err != nil {
		return nil, fmt.Errorf("bot: %w", err)
	}
	b := &Bot{
		store: s, chats: map[tickets.Platform]adapters.Chat{}, tracer: c.Tracer, meter: c.Meter, log: c.Log, now: c.Now, poll: c.Poll, grace: c.Grace,
		settings: live, deliveries: &dedup.Deliveries{Store: s, Log: c.Log},
	}
	for _, chat := range c.Chats {
		p := chat.Platform()
		if b.chats[p] != nil {
			return nil, fmt.Errorf("bot: two chats on %s", p)
		}
		b.chats[p] = chat
	}
	wake := func(t *tickets.Ticket) { b.outbox.Wake(t) }
	b.access = &access.Access{Settings: live, Chats: b.chats, Log: c.Log}
	b.audit = audit.New(s, wake, c.Log, c.Now)
	b.notifier = notify.New(notify.Config{
		Chats: b.chats, Shared: c.Shared, Log: c.Log, Now: c.Now, Poll: c.Poll,
		Admins: func() []tickets.Principal { return live.Current().Admins },
	})
	b.decisions = decisions.New(decisions.Config{Store: s, EPM: c.EPM, Rules: live.RulesOf, Notifier: b.notifier, Wake: wake, Log: c.Log, Now: c.Now})
	b.inspector = integrity.New(integrity.Config{
		Store: s, Lease: lease.New(c.Shared, "inspect", c.Log), Ready: b.awaitReady, Wake: wake, Log: c.Log, Now: c.Now,
		Found: func(d integrity.Damage) {
			if b.meter != nil {
				b.meter.Damaged(d)
			}
		},
	})
	b.outbox = outbox.New(outbox.Config{
		Store: s, Steps: steps{b}, Lanes: b.lanes(c), Log: c.Log, Now: c.Now,
		Workers: c.Workers, Poll: c.Poll, Lease: c.Lease, Timeout: c.Timeout, Grace: c.Grace,
		Hooks: outbox.Hooks{
			Begin: b.stepSpan, Recorded: b.recorded,
			Lost:      func(p tickets.Place, why string) { b.notifier.Lost(p, wording.MsgPlaceLost(p, why)) },
			Recovered: func(p tickets.Place) { b.notifier.Recovered(p, wording.MsgPlaceBack(p)) },
		},
	})
	b.events = events.New(events.Config{
		Store: s, Sinks: c.EventSinks, Shared: c.Shared, Log: c.Log, Now: c.Now,
		Version: func() int64 { return live.Stored().Version },
		Timeout: c.Timeout, Poll: min(settings.PollEvery, 4*c.Poll),
	}, b.outbox.Lane)
	b.cards = &cards.Watcher{
		Store: s, Chats: b.chats, Lease: lease.New(c.Shared, "cards", c.Log), Notifier: b.notifier, Wake: wake,
		Log: c.Log, Now: c.Now, Every: c.Cards, Timeout: c.Timeout,
	}
	b.reconciler = reconcile.New(reconcile.Config{
		Store: s, EPM: c.EPM, Lease: lease.New(c.Shared, "reconcile", c.Log), Rules: live.RulesOf, Ready: b.awaitReady, Wake: wake,
		Tracer: c.Tracer, Log: c.Log, Now: c.Now, Every: c.Reconcile,
	})
	b.purger = &retention.Purger{Store: s, Ages: c.Retention, Every: c.Purge, Log: c.Log, Now: c.Now}
	b.commands = commands.New(commands.Config{
		Store: s, Settings: live, Access: b.access, Audit: b.audit, Deliveries: b.deliveries, Outbox: b.outbox, Reconciler: b.reconciler,
		Chats: b.chats, EPM: connection{b.decisions, c.Test}, Ready: b.Ready, Read: c.Read, Picture: c.Picture, Tracer: c.Tracer, Log: c.Log, Now: c.Now,
	})
	return b, nil
}

// check reports what is missing in c, and fills in the defaults.
func (c *Config) check() error {
	switch {
	case c.Store == nil:
		return errors.New("bot: no store")
	case c.EPM == nil:
		return errors.New("bot: no EPM")
	case len(c.Chats) == 0:
		return errors.New("bot: no chat")
	case len(c.Registry.Types) == 0 || c.Registry.Principal == nil || c.Registry.Place == nil:
		return errors.New("bot: no registry")
	case c.Log == nil:
		return errors.New("bot: no log")
	}
	setDefault(&c.Reconcile, 5*time.Minute)
	setDefault(&c.Cards, 10*time.Minute)
	setDefault(&c.Workers, 4)
	setDefault(&c.Poll, 500*time.Millisecond)
	setDefault(&c.Lease, 60*time.Second)
	setDefault(&c.Timeout, 25*time.Second)
	setDefault(&c.Grace, 10*time.Second)
	setDefault(&c.Purge, time.Hour)
	setDefault(&c.Retention.Failed, retention.KeepFailed)
	setDefault(&c.Retention.Applied, retention.KeepApplied)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout >= c.Lease {
		return errors.New("bot: a step's timeout must be less than its lease")
	}
	return nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// lanes are the lanes to work on. Nothing is done before the settings were read,
// and no decision is sent before those on their way were inspected.
func (b *Bot) lanes(c Config) []outbox.LaneConfig {
	after := b.settings.Loaded()
	list := []outbox.LaneConfig{
		{Name: tickets.LaneEPM, Checked: true, After: b.inspector.Inspected()},
		{Name: tickets.LanePoll, After: after},
	}
	for p := range b.chats {
		list = append(list,
			outbox.LaneConfig{Name: tickets.PostLane(p), InOrder: true, After: after},
			outbox.LaneConfig{Name: tickets.EditLane(p), After: after})
	}
	for to := range c.EventSinks {
		list = append(list, outbox.LaneConfig{Name: tickets.DeliverLane(to), After: after})
	}
	return list
}

// Run does what is owed and listens to the chats until ctx ends. Then it
// takes up nothing new and returns when what was under way has ended, or
// after Grace. A chat that stops for good stops alone; its Ready says why.
func (b *Bot) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	once := func(run func(context.Context)) { // the settings were read
		select {
		case <-b.settings.Loaded():
			run(ctx)
		case <-ctx.Done():
		}
	}
	wg.Go(func() { b.settings.Watch(ctx, b.reconsider) })
	wg.Go(func() { b.outbox.Run(ctx) })
	wg.Go(func() { b.notifier.Run(ctx) })
	wg.Go(func() { b.purger.Run(ctx) })
	wg.Go(func() { b.reconciler.Run(ctx) })
	wg.Go(func() { b.cards.Run(ctx) })
	wg.Go(func() { once(b.decisions.Run) })
	wg.Go(func() { once(b.inspector.Run) })
	wg.Go(func() { once(b.events.Run) })
	for p, chat := range b.chats {
		wg.Go(func() {
			if err := chat.Run(ctx, b); err != nil {
				b.log.Error("chat stopped", "platform", p, "err", err)
			}
		})
	}
	grace, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(b.grace, stop) })()
	wg.Wait()
	b.audit.Close(grace)
	return nil
}

// awaitReady waits for the store, and for the chats a while. It reports false
// if ctx ends.
func (b *Bot) awaitReady(ctx context.Context) bool {
	tick := time.NewTicker(b.poll)
	defer tick.Stop()
	for end := time.Now().Add(awaitChats); ; {
		problems := b.Ready(ctx)
		if len(problems) == 0 || problems["store"] == nil && time.Now().After(end) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// awaitChats is how long what is done beside waits for the chats.
const awaitChats = 30 * time.Second

// reconsider corrects the cards of requests that may be decided, or may no
// more, since the settings changed. It reports whether it saw them all.
func (b *Bot) reconsider(ctx context.Context) bool {
	whole, problem := store.Each(ctx, b.store, tickets.Pending, func(t *tickets.Ticket) {
		if t.Follows(b.settings.RulesOf(t)) {
			return
		}
		if err := b.audit.Write(ctx, t.Number, b.refreshActive); err != nil && ctx.Err() == nil {
			b.log.Error("cannot correct ticket", "ticket", t.Number, "err", err)
		}
	})
	if problem != nil && ctx.Err() == nil {
		b.log.Warn("cannot look through all open requests after a change of the settings", "err", problem)
	}
	return whole
}

// Lanes lists the lanes that the bot works on.
func (b *Bot) Lanes() []tickets.Lane { return b.outbox.Names() }

// ChannelOutages lists the places that cannot be used at present.
func (b *Bot) ChannelOutages() []outbox.Outage { return b.outbox.Outages() }

// RetryNow has what waits because a neighbour refused our credentials go on at
// once: they are others now.
func (b *Bot) RetryNow() {
	b.decisions.Retry()
	b.outbox.RetryNow()
}

// Ready says for each neighbour why it is not ready; an empty map means that
// everything is. A place that is out of use is no reason: others work. See
// [Bot.ChannelOutages].
func (b *Bot) Ready(ctx context.Context) map[string]error {
	problems := map[string]error{}
	if err := b.store.Ping(ctx); err != nil {
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
	if err := b.settings.Ensure(ctx); err != nil {
		return tickets.Receipt{}, err
	}
	now := b.now()
	var apply store.Apply
	if in.Update != nil && in.Error == "" {
		apply = func(t *tickets.Ticket, seq int64) (*tickets.Ticket, tickets.Status) {
			return webhooks.Apply(in, b.settings.RulesOf(t), t, seq, now)
		}
	}
	ctx, end := tracing.BeginUpdate(ctx, b.tracer, "webhook", in.Update, now)
	r, t, err := b.store.Accept(ctx, in, apply)
	end(t, r, err, b.now())
	if err != nil {
		return r, err
	}
	if t != nil {
		b.outbox.Wake(t)
	}
	return r, nil
}

// Current is how the bot works at present. It must not be changed.
func (b *Bot) Current() *settings.Settings { return b.settings.Current() }

// InvalidSettings tells by key what was set and cannot be read, and is as if it had
// not been set.
func (b *Bot) InvalidSettings() map[string]error { return b.settings.Invalid() }

// Load reads the settings from the store. Run does it too, again and again.
func (b *Bot) Load(ctx context.Context) error { return b.settings.Load(ctx) }

// Comparisons tells how the store compares with EPM's lists, and whether another
// replica compares them instead of this one.
func (b *Bot) Comparisons() ([]reconcile.Comparison, bool) { return b.reconciler.Comparisons() }

// Card is what the settings say about cards on a platform.
func (b *Bot) Card(on tickets.Platform) wording.Card {
	s := b.settings.Current()
	card := wording.Card{Fields: s.Fields, Moves: func(t *tickets.Ticket) []tickets.State { return b.settings.RulesOf(t).Type.Others(t.State) }}
	for _, p := range s.Assign {
		if p.Platform == on {
			card.Assign = p
		}
	}
	return card
}

// Command implements [adapters.Handler]: the words after /epm.
func (b *Bot) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	return b.commands.Command(ctx, c)
}

// Autocomplete implements [adapters.Handler].
func (b *Bot) Autocomplete(ctx context.Context, c adapters.Completion) adapters.Suggestions {
	return b.commands.Autocomplete(ctx, c)
}

// SubmitSettings implements [adapters.Handler].
func (b *Bot) SubmitSettings(ctx context.Context, c adapters.Configuration) adapters.Answer {
	return b.commands.SubmitSettings(ctx, c)
}

// connection is what commands know of the connection to EPM.
type connection struct {
	*decisions.Sender
	test func(context.Context) string
}

// Test implements [commands.EPM].
func (c connection) Test(ctx context.Context) string {
	c.Retry() // most likely an admin has mended something
	if c.test == nil {
		return "The connection to EPM cannot be tested from here."
	}
	return c.test(ctx)
}
