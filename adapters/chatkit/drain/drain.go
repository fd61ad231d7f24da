// Package drain lets what has begun end before a chat stops.
package drain

import (
	"context"
	"sync"
	"time"
)

// Tracker counts what has begun, so that an end can wait for it. Unlike a
// [sync.WaitGroup] it may be passed while somebody waits.
type Tracker struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while nobody waits
	over chan struct{} // closed when the rest must hurry; nil until somebody asks
}

// Within returns a context that ends with ctx, or when what is under way must
// hurry.
func (g *Tracker) Within(ctx context.Context) (context.Context, context.CancelFunc) {
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
func (g *Tracker) HurryAfter(ctx context.Context, d time.Duration) {
	over := g.ending()
	context.AfterFunc(ctx, func() { time.AfterFunc(d, func() { close(over) }) })
}

func (g *Tracker) ending() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over == nil {
		g.over = make(chan struct{})
	}
	return g.over
}

// Begin counts one more.
func (g *Tracker) Begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

// End counts one less.
func (g *Tracker) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Wait returns when nothing is under way.
func (g *Tracker) Wait() {
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
