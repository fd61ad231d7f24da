// Package ttl keeps values for a limited time: a [Map], and a [Cache] that asks
// for what it does not hold, once for all who wait.
package ttl

import (
	"sync"
	"time"
)

// Map forgets each value some time after it was put in. It is safe for
// concurrent use.
type Map[K comparable, V any] struct {
	keep time.Duration
	now  func() time.Time

	mu      sync.Mutex
	entries map[K]entry[V]
	swept   time.Time
}

type entry[V any] struct {
	value V
	at    time.Time
}

// NewMap keeps values for keep, by the clock now.
func NewMap[K comparable, V any](keep time.Duration, now func() time.Time) *Map[K, V] {
	return &Map[K, V]{keep: keep, now: now, entries: map[K]entry[V]{}}
}

// Get returns the value of key, if there is one.
func (m *Map[K, V]) Get(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(key, m.now())
}

// Put makes value that of key.
func (m *Map[K, V]) Put(key K, value V) {
	m.Update(key, func(V) V { return value })
}

// PutNew returns the value of key, which is value if there was none.
func (m *Map[K, V]) PutNew(key K, value V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if v, ok := m.get(key, now); ok {
		return v
	}
	m.put(key, value, now)
	return value
}

// Update replaces the value of key by what change makes of it, or of the zero
// value if there is none. change must not use the map.
func (m *Map[K, V]) Update(key K, change func(V) V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	old, _ := m.get(key, now)
	m.put(key, change(old), now)
}

func (m *Map[K, V]) get(key K, now time.Time) (value V, ok bool) {
	if e, known := m.entries[key]; known && !m.over(e.at, now) {
		return e.value, true
	}
	return value, false
}

// put also drops, now and then, what is over.
func (m *Map[K, V]) put(key K, value V, now time.Time) {
	if m.over(m.swept, now) {
		m.swept = now
		for k, e := range m.entries {
			if m.over(e.at, now) {
				delete(m.entries, k)
			}
		}
	}
	m.entries[key] = entry[V]{value, now}
}

// over reports whether what was put in at has been kept for long enough. So it
// has if the clock was set back by that much.
func (m *Map[K, V]) over(at, now time.Time) bool { return now.Sub(at).Abs() >= m.keep }
