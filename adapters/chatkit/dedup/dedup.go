// Package dedup remembers which deliveries a chat saw and how it answered them,
// so that one that comes again has no second effect. All of it may be lost;
// nothing is decided by it alone.
package dedup

import (
	"context"
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
