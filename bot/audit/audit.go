// Package audit appends to tickets' histories what no card shows, as who opened a
// form or was denied, beside the answer to the person: that it cannot be written
// stops nobody.
package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// maxWaiting bounds what waits in memory for a store that does not answer.
	maxWaiting = 1000
	// keepTrying is how long a write is tried.
	keepTrying = 10 * time.Minute
)

// Change changes a ticket. It reports false if there is nothing to change.
type Change func(*tickets.Ticket) bool

// entry is a change of a ticket that no answer waits for, such as the event that
// somebody opened the form.
type entry struct {
	number tickets.Number
	actor  tickets.Actor // who gave rise to it
	change Change
	since  time.Time
}

// Store is what a log needs of the store; see the store package.
type Store interface {
	Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error)
}

// Log appends beside the answers, in their order: a person waits for the answer,
// and chats give 3 s. Make one with [New].
type Log struct {
	store Store
	wake  func(*tickets.Ticket) // sinks are told of what was written
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	waiting []entry       // being written included
	written chan struct{} // closed when nothing waits any more; nil if nothing does
	end     chan struct{} // closed when nothing is written any more
}

// New makes a log. wake is called with each ticket that was written.
func New(s Store, wake func(*tickets.Ticket), log *slog.Logger, now func() time.Time) *Log {
	return &Log{store: s, wake: wake, log: log, now: now, end: make(chan struct{})}
}

// Denied tells the log and the ticket's history, if there is such a ticket, that a
// may not do what they wanted.
func (l *Log) Denied(a tickets.Actor, v tickets.Verdict, in tickets.Place, n tickets.Number, reason string) {
	now := l.now()
	l.LogDenied(a, n, reason)
	l.Append(n, a, func(t *tickets.Ticket) bool { return t.RecordAccessDenied(a, v, in, reason, now) })
}

// LogDenied tells the log alone.
func (l *Log) LogDenied(a tickets.Actor, n tickets.Number, reason string) {
	l.log.Warn("authorization denied", "ticket", n, "actor", a.String(), "why", reason)
}

// Append has change made to n beside the answer to a. It is tried for a while;
// what cannot be written is told to the log. Its goroutine ends with the queue;
// Close waits for that.
func (l *Log) Append(n tickets.Number, a tickets.Actor, change Change) {
	one := entry{n, a, change, l.now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.end:
		l.lost(one, errors.New("the program is ending"))
		return
	default:
	}
	if len(l.waiting) == maxWaiting {
		l.lost(one, errors.New("too much is waiting to be written already"))
		return
	}
	l.waiting = append(l.waiting, one)
	if l.written == nil {
		l.written = make(chan struct{})
		go l.write()
	}
}

func (l *Log) lost(e entry, err error) {
	l.log.Error("cannot write to the history", "ticket", e.number, "actor", e.actor.String(), "err", err)
}

// write writes what waits, and returns when nothing does.
func (l *Log) write() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		select {
		case <-l.end:
			stop()
		case <-ctx.Done():
		}
	}()
	for fails := 0; ; {
		one, ok := l.first()
		if !ok {
			return
		}
		err := l.Write(ctx, one.number, one.change)
		if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrNewerForm) || errors.Is(err, store.ErrUnreadable) || l.now().Sub(one.since) > keepTrying {
			if err != nil {
				l.lost(one, err)
			}
			fails = 0
			l.drop()
			continue
		}
		l.later()
		wait := time.NewTimer(outbox.Backoff(outbox.FirstRetry/10, outbox.LastRetry, fails))
		fails++
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
}

// Write makes change to n now. It is no error if there is no such ticket, or
// nothing to change.
func (l *Log) Write(ctx context.Context, n tickets.Number, change Change) error {
	ctx, cancel := context.WithTimeout(ctx, outbox.RecordTimeout)
	defer cancel()
	t, changed, err := store.Change(ctx, l.store, n, change)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case changed:
		l.wake(t) // sinks are told of it
	}
	return err
}

// first is the write to make next.
func (l *Log) first() (entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		close(l.written)
		l.written = nil
		return entry{}, false
	}
	return l.waiting[0], true
}

// drop forgets the first write.
func (l *Log) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = l.waiting[1:]
}

// later moves the writes of the first one's ticket behind all others: that
// ticket may be the only one that cannot be written.
func (l *Log) later() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first, others []entry
	for _, one := range l.waiting {
		if one.number == l.waiting[0].number {
			first = append(first, one)
		} else {
			others = append(others, one)
		}
	}
	l.waiting = append(others, first...)
}

// Wait returns when nothing waits to be written, or when ctx is done.
func (l *Log) Wait(ctx context.Context) {
	for {
		l.mu.Lock()
		written := l.written
		l.mu.Unlock()
		if written == nil {
			return
		}
		select {
		case <-written:
		case <-ctx.Done():
			return
		}
	}
}

// Close waits for what is to be written until ctx is done, and then tells the log of
// those that were not made.
func (l *Log) Close(ctx context.Context) {
	l.Wait(ctx)
	close(l.end)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outbox.FirstRetry)
	defer cancel()
	l.Wait(ctx) // those that are left are told to the log
}
