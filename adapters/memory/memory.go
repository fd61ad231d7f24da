// Package memory is what an adapter remembers: which deliveries it saw and how
// it answered them, what is being worked on, who belongs to which group,
// whether the platform accepts us and is connected. All of it may be lost;
// nothing is decided by it alone.
package memory

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// maxDeliveries is how many deliveries are known at most; more than ten a
	// second for 15 minutes. Then the oldest are forgotten.
	maxDeliveries = 10_000
	// maxAnswers is of how many the answer is kept too: some KB each, and
	// whoever delivers again does so within seconds.
	maxAnswers = 1000
)

// Deliveries knows the deliveries of the last minutes, 10,000 at most, and the
// answers of the last 1,000, so that one that is delivered again gets the same
// answer and has no effect.
type Deliveries[T any] struct {
	now  func() time.Time
	keep time.Duration

	mu       sync.Mutex
	past     map[string]*past[T]
	known    []*past[T] // in past, oldest first
	answered []*past[T] // with an answer, oldest first
}

type past[T any] struct {
	key    string
	done   chan struct{} // closed once answer is known
	answer *T            // nil if there is none, or no longer
	at     time.Time
}

// NewDeliveries remembers deliveries for keep, by the clock now.
func NewDeliveries[T any](keep time.Duration, now func() time.Time) *Deliveries[T] {
	return &Deliveries[T]{now: now, keep: keep, past: map[string]*past[T]{}}
}

// Once returns do's answer for a key that is new, and the first answer with
// again set for one that is not. If ctx ends before that is known, or if it is
// no longer known, the answer is the zero T.
func (d *Deliveries[T]) Once(ctx context.Context, key string, do func() T) (answer T, again bool) {
	p, first := d.first(key)
	if first {
		defer close(p.done)
		answer = do()
		d.answers(p, answer)
		return answer, false
	}
	select {
	case <-p.done:
		d.mu.Lock()
		defer d.mu.Unlock()
		if p.answer != nil {
			answer = *p.answer
		}
	case <-ctx.Done():
	}
	return answer, true
}

// New reports whether key is new, for deliveries whose answer nobody needs.
func (d *Deliveries[T]) New(key string) bool {
	p, first := d.first(key)
	if first {
		close(p.done)
	}
	return first
}

func (d *Deliveries[T]) first(key string) (*past[T], bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for len(d.known) > 0 && now.Sub(d.known[0].at) > d.keep {
		d.forget()
	}
	if p := d.past[key]; p != nil {
		return p, false
	}
	if len(d.known) >= maxDeliveries {
		d.forget()
	}
	p := &past[T]{key: key, done: make(chan struct{}), at: now}
	d.past[key] = p
	d.known = append(d.known, p)
	return p, true
}

// forget drops the oldest.
func (d *Deliveries[T]) forget() {
	delete(d.past, d.known[0].key)
	d.known[0].answer, d.known[0] = nil, nil
	d.known = d.known[1:]
}

func (d *Deliveries[T]) answers(p *past[T], answer T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.answer = &answer
	if len(d.answered) >= maxAnswers {
		d.answered[0].answer, d.answered[0] = nil, nil
		d.answered = d.answered[1:]
	}
	d.answered = append(d.answered, p)
}

// keepSet is how long the members of a set are believed.
const keepSet = time.Minute

// Sets remembers who belongs to what for a minute, and asks once for all who
// wait.
type Sets struct {
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

// NewSets remembers by the clock now.
func NewSets(now func() time.Time) *Sets {
	return &Sets{now: now, sets: map[string]*set{}}
}

// Has reports whether member is in the set of that name, which load fetches.
// An error is not remembered.
func (c *Sets) Has(ctx context.Context, name, member string, load func(context.Context) ([]string, error)) (bool, error) {
	members, err := c.Members(ctx, name, load)
	return slices.Contains(members, member), err
}

// Members returns the members of the set of that name, which load fetches, in
// its order; they are not to be changed. An error is not remembered.
func (c *Sets) Members(ctx context.Context, name string, load func(context.Context) ([]string, error)) ([]string, error) {
	for {
		c.mu.Lock()
		c.sweep()
		s := c.sets[name]
		mine := s == nil
		if mine {
			s = &set{ready: make(chan struct{})}
			c.sets[name] = s
		}
		c.mu.Unlock()
		if mine {
			c.load(ctx, name, s, load)
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// Whoever fetched may have run out of time where we have not.
		if s.err != nil && !mine && ctx.Err() == nil && (errors.Is(s.err, context.Canceled) || errors.Is(s.err, context.DeadlineExceeded)) {
			continue
		}
		return s.members, s.err
	}
}

// load fills s in, also if load panics: then it holds an error.
func (c *Sets) load(ctx context.Context, name string, s *set, load func(context.Context) ([]string, error)) {
	s.err = errNotLoaded
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.at = c.now()
		if s.err != nil && c.sets[name] == s {
			delete(c.sets, name)
		}
		close(s.ready)
	}()
	s.members, s.err = load(ctx)
}

var errNotLoaded = errors.New("the members could not be read")

// Put notes the members of a set as they are now.
func (c *Sets) Put(name string, members []string) {
	s := &set{ready: make(chan struct{}), members: members, at: c.now()}
	close(s.ready)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep()
	c.sets[name] = s
}

// Forget drops everything.
func (c *Sets) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.sets)
}

// sweep drops what is no longer believed.
func (c *Sets) sweep() {
	now := c.now()
	for name, s := range c.sets {
		if !s.at.IsZero() && now.Sub(s.at).Abs() >= keepSet {
			delete(c.sets, name)
		}
	}
}

// Gate counts what has begun, so that an end can wait for it. Unlike a
// [sync.WaitGroup] it may be passed while somebody waits.
type Gate struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while nobody waits
	over chan struct{} // closed when the rest must hurry; nil until somebody asks
}

// Within returns a context that ends with ctx, or when what is under way must
// hurry.
func (g *Gate) Within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	over := g.ending()
	go func() {
		select {
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// HurryAfter has the contexts of Within end when d has passed after ctx has
// ended. It is called once.
func (g *Gate) HurryAfter(ctx context.Context, d time.Duration) {
	over := g.ending()
	context.AfterFunc(ctx, func() { time.AfterFunc(d, func() { close(over) }) })
}

func (g *Gate) ending() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over == nil {
		g.over = make(chan struct{})
	}
	return g.over
}

// Begin counts one more.
func (g *Gate) Begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

// End counts one less.
func (g *Gate) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Wait returns when nothing is under way.
func (g *Gate) Wait() {
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
