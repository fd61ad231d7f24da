package ttl

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Cache remembers for a while what it was told. It is safe for concurrent use.
type Cache[V any] struct {
	keep time.Duration
	now  func() time.Time

	mu    sync.Mutex
	known *known[V] // another after Clear, so that what was being loaded is not kept
}

type known[V any] struct {
	values  *Map[string, V]
	loading singleflight.Group
}

// NewCache remembers values for keep, by the clock now.
func NewCache[V any](keep time.Duration, now func() time.Time) *Cache[V] {
	c := &Cache[V]{keep: keep, now: now}
	c.Clear()
	return c
}

// Clear forgets everything.
func (c *Cache[V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = &known[V]{values: NewMap[string, V](c.keep, c.now)}
}

func (c *Cache[V]) current() *known[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// Put remembers the value of key as it is now.
func (c *Cache[V]) Put(key string, value V) { c.current().values.Put(key, value) }

// errNotLoaded is what others get if load panics.
var errNotLoaded = errors.New("it could not be loaded")

// Get returns the value of key, which load fetches if it is not known: once for
// all who ask meanwhile. The value is shared, and not to be changed. An error is
// not remembered. If load panics, so does whoever brought it.
func (c *Cache[V]) Get(ctx context.Context, key string, load func(context.Context) (V, error)) (value V, err error) {
	for {
		known := c.current()
		if v, ok := known.values.Get(key); ok {
			return v, nil
		}
		var mine bool
		var panicked any
		loaded := known.loading.DoChan(key, func() (_ any, err error) {
			mine, err = true, errNotLoaded
			defer func() { panicked = recover() }()
			if v, ok := known.values.Get(key); ok { // of a load that has just ended
				return v, nil
			}
			v, err := load(ctx)
			if err == nil {
				known.values.PutNew(key, v) // what was Put meanwhile is newer
			}
			return v, err
		})
		select {
		case r := <-loaded:
			switch {
			case mine && panicked != nil:
				panic(panicked)
			case r.Err != nil && !mine && ctx.Err() == nil && (errors.Is(r.Err, context.Canceled) || errors.Is(r.Err, context.DeadlineExceeded)):
				continue // whoever loads may have run out of time where we have not
			}
			value, _ = r.Val.(V)
			return value, r.Err
		case <-ctx.Done():
			return value, ctx.Err()
		}
	}
}
