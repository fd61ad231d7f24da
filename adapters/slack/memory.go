package slack

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// keepMembers is how long the members of a group are believed.
const keepMembers = time.Minute

// cache remembers who belongs to what, and asks once for all who wait.
type cache struct {
	now func() time.Time

	mu   sync.Mutex
	sets map[string]*set
}

type set struct {
	ready   chan struct{} // closed once the rest is filled in
	members []string
	err     error
	at      time.Time
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, sets: map[string]*set{}}
}

// has reports whether member is in the set of that name, which load fetches.
// An error is not remembered.
func (c *cache) has(ctx context.Context, name, member string, load func(context.Context) ([]string, error)) (bool, error) {
	for {
		c.mu.Lock()
		s := c.sets[name]
		mine := s == nil
		if s != nil && !s.at.IsZero() && c.now().Sub(s.at) >= keepMembers {
			mine = true
		}
		if mine {
			s = &set{ready: make(chan struct{})}
			c.sets[name] = s
		}
		c.mu.Unlock()
		if mine {
			s.members, s.err = load(ctx)
			c.mu.Lock()
			s.at = c.now()
			if s.err != nil && c.sets[name] == s {
				delete(c.sets, name)
			}
			c.mu.Unlock()
			close(s.ready)
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		// Whoever fetched may have run out of time where we have not.
		if s.err != nil && !mine && ctx.Err() == nil && (errors.Is(s.err, context.Canceled) || errors.Is(s.err, context.DeadlineExceeded)) {
			continue
		}
		return slices.Contains(s.members, member), s.err
	}
}

// forget drops everything.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.sets)
}

// keepSeen is how long a delivery is remembered: longer than Slack's last
// redelivery, after five minutes.
const keepSeen = 15 * time.Minute

// memory knows the deliveries of the last minutes with their answers, so that
// one that is delivered again gets the same answer and has no effect.
type memory struct {
	now func() time.Time

	mu    sync.Mutex
	past  map[string]*past
	last  map[string]last // newest change of an open form, by view
	swept time.Time
}

type last struct {
	ts string // Slack's time of the change
	at time.Time
}

type past struct {
	done chan struct{} // closed once body is known
	body any
	at   time.Time
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, past: map[string]*past{}, last: map[string]last{}}
}

// newest notes a change of a form at ts and returns a function that reports
// whether no later one came.
func (m *memory) newest(view, ts string) func() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if later(ts, m.last[view].ts) {
		m.last[view] = last{ts, m.now()}
	}
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.last[view].ts == ts
	}
}

// later compares two of Slack's timestamps.
func later(a, b string) bool {
	whole := func(s string) string { w, _, _ := strings.Cut(s, "."); return w }
	if x, y := whole(a), whole(b); len(x) != len(y) {
		return len(x) > len(y)
	}
	return a > b
}

// first reports whether key is new. Of a new one the caller must end its past.
func (m *memory) first(key string) (*past, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if now.Sub(m.swept) > time.Minute {
		m.swept = now
		for k, p := range m.past {
			if now.Sub(p.at) > keepSeen {
				delete(m.past, k)
			}
		}
		for k, l := range m.last {
			if now.Sub(l.at) > keepSeen {
				delete(m.last, k)
			}
		}
	}
	if p := m.past[key]; p != nil {
		return p, false
	}
	p := &past{done: make(chan struct{}), at: now}
	m.past[key] = p
	return p, true
}

func (p *past) end(body any) {
	p.body = body
	close(p.done)
}

// gate counts what has begun, so that Run can wait for it.
type gate struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (g *gate) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

func (g *gate) wait() {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	<-idle
}
