package settings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// PollEvery is how often the store is asked whether the settings have changed:
// another replica, or the command line, may have done it.
const PollEvery = 2 * time.Second

// readTimeout is for one read of the settings.
const readTimeout = 5 * time.Second

// ErrBusy means that somebody else changed the settings each time that they were
// to be changed.
var ErrBusy = errors.New("somebody else is changing the settings at the same moment")

// Store keeps settings; see the store package.
type Store interface {
	Settings(ctx context.Context) (tickets.Settings, error)
	Configure(ctx context.Context, from int64, changes []tickets.Change) (tickets.Settings, error)
	ResetSettings(ctx context.Context, c tickets.Change) (tickets.Settings, error)
}

// Config is what live settings are made of. All of it is required.
type Config struct {
	Store    Store
	Start    map[string]string // what the program was started with, by key. Must have no problems; see [Read]
	Registry Registry
	Log      *slog.Logger
	Now      func() time.Time
}

// Live is the settings by which the bot works, kept as the store has them. Make
// one with [NewLive].
type Live struct {
	Config
	active   atomic.Pointer[active]
	loaded   chan struct{} // closed once the settings were read
	loadOnce sync.Once
	changed  chan struct{} // they were changed here
}

type active struct {
	Settings
	stored  tickets.Settings
	invalid map[string]error // what was set and cannot be read
}

// NewLive returns the settings that the program was started with, until
// [Live.Load].
func NewLive(c Config) (*Live, error) {
	start, problems := Read(c.Start, c.Registry)
	for key, err := range problems {
		return nil, fmt.Errorf("setting %s: %w", key, err)
	}
	l := &Live{Config: c, loaded: make(chan struct{}), changed: make(chan struct{}, 1)}
	l.active.Store(&active{Settings: start})
	return l, nil
}

// Current is how the bot works at present. It must not be changed.
func (l *Live) Current() *Settings { return &l.active.Load().Settings }

// Stored is what admins have set, as it was last read.
func (l *Live) Stored() tickets.Settings { return l.active.Load().stored }

// Invalid tells by key what was set and cannot be read, and is as if it had not
// been set.
func (l *Live) Invalid() map[string]error { return l.active.Load().invalid }

// Of is how the bot would work with set, and by key what of that cannot be read.
func (l *Live) Of(set tickets.Settings) (Settings, map[string]error) {
	return Effective(l.Start, set, l.Registry)
}

// RulesOf are the rules for t, or for a new ticket if t is nil.
func (l *Live) RulesOf(t *tickets.Ticket) tickets.Rules { return l.Current().RulesOf(t, l.Registry) }

// Load reads the settings from the store. Watch does it too, again and again.
func (l *Live) Load(ctx context.Context) error {
	was := l.active.Load()
	set, err := l.Store.Settings(ctx)
	if err != nil {
		return err
	}
	l.activate(was, set)
	l.loadOnce.Do(func() { close(l.loaded) })
	return nil
}

// Loaded is closed once the settings have been read.
func (l *Live) Loaded() <-chan struct{} { return l.loaded }

// Ensure is nil once the settings have been read: before, nobody knows who may
// decide and where.
func (l *Live) Ensure(ctx context.Context) error {
	select {
	case <-l.loaded:
		return nil
	default:
		return l.Load(ctx)
	}
}

// activate makes set, which was read after was held, the settings by which the bot
// works. If others were activated meanwhile those stand: they were read later. What
// the store has counts, also if its version is lower or the same: it may have
// lost a change, or been restored.
func (l *Live) activate(was *active, set tickets.Settings) {
	if set.Version == was.stored.Version && maps.Equal(set.Values, was.stored.Values) {
		return
	}
	now := &active{stored: set}
	now.Settings, now.invalid = l.Of(set)
	if !l.active.CompareAndSwap(was, now) {
		return
	}
	l.Log.Info("settings applied", "settings", set.Version)
	if set.Version < was.stored.Version {
		l.Log.Warn("the store has older settings than before: it was restored, or has lost a change", "settings", set.Version)
	}
	for key, err := range now.invalid {
		l.Log.Error("a setting cannot be used", "setting", key, "err", err)
	}
}

// Watch keeps the settings as the store has them until ctx ends. changed is called
// at the start and whenever they may have changed, until it reports that it has
// done all that follows from it.
func (l *Live) Watch(ctx context.Context, changed func(context.Context) bool) {
	poll := time.NewTicker(PollEvery)
	defer poll.Stop()
	stale := true // what the settings are may have changed while nobody ran
	for {
		read, cancel := context.WithTimeout(ctx, readTimeout)
		before := l.active.Load()
		if err := l.Load(read); err != nil && ctx.Err() == nil {
			l.Log.Warn("cannot read the settings; the known ones hold", "err", err)
		}
		cancel()
		stale = stale || before != l.active.Load()
		if stale {
			stale = !changed(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
			stale = true
		case <-poll.C:
		}
	}
}

// Edit makes the changes that plan wants to the settings as the store has them, in
// one change that by has made; plan is called again if they were changed
// meanwhile, and wants none to make none. It reports whether there were any.
// ErrBusy if that goes on.
func (l *Live) Edit(ctx context.Context, by tickets.Actor, plan func(tickets.Settings) []tickets.Change) (bool, error) {
	for range 5 {
		was := l.active.Load()
		set, err := l.Store.Settings(ctx)
		if err != nil {
			return false, fmt.Errorf("read the settings: %w", err)
		}
		changes := plan(set)
		if len(changes) == 0 {
			return false, nil
		}
		for i := range changes {
			changes[i].By, changes[i].At = by, l.Now()
		}
		after, err := l.Store.Configure(ctx, set.Version, changes)
		switch {
		case errors.Is(err, store.ErrChanged):
			continue
		case err != nil:
			return false, fmt.Errorf("change the settings: %w", err)
		}
		for _, c := range changes {
			l.Log.Info("setting changed", "setting", c.Key, "actor", by.String(), "settings", after.Version)
		}
		l.activate(was, after)
		l.reload(ctx)
		return true, nil
	}
	return false, ErrBusy
}

// Reset begins damaged settings anew: with what the program was started with. What
// stood there is kept in the history.
func (l *Live) Reset(ctx context.Context, by tickets.Actor) error {
	after, err := l.Store.ResetSettings(ctx, tickets.Change{At: l.Now(), By: by})
	if err != nil {
		return err
	}
	l.Log.Warn("damaged settings were made anew; the history has what stood there", "actor", by.String(), "settings", after.Version)
	l.reload(ctx)
	return nil
}

// reload reads the settings after they were changed here: somebody else may have
// been as fast.
func (l *Live) reload(ctx context.Context) {
	select {
	case l.changed <- struct{}{}:
	default:
	}
	if err := l.Load(ctx); err != nil {
		l.Log.Warn("cannot read the settings; the known ones hold", "err", err)
	}
}

// RulesOf are the rules of a bot that was started with start, once it has read
// set from its store.
func RulesOf(start map[string]string, set tickets.Settings, w Registry) func(*tickets.Ticket) tickets.Rules {
	s, _ := Effective(start, set, w)
	return func(t *tickets.Ticket) tickets.Rules { return s.RulesOf(t, w) }
}
