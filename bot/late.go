package bot

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/countersign/countersign/bot/outbox"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const (
	// maxLate bounds what waits in memory for a store that does not answer.
	maxLate = 1000
	// lateKept is how long a write is tried.
	lateKept = 10 * time.Minute
)

// lateWrite is a change of a ticket that no answer waits for, such as the event
// that somebody opened the form.
type lateWrite struct {
	number tickets.Number
	actor  tickets.Actor // who gave rise to it
	change func(*tickets.Ticket) bool
	since  time.Time
}

// lateWrites are made beside the answers, in their order: a person waits for the
// answer, and chats give 3 s.
type lateWrites struct {
	mu      sync.Mutex
	waiting []lateWrite   // being written included
	written chan struct{} // closed when nothing waits any more; nil if nothing does
	end     chan struct{} // closed when nothing is written any more
}

// writeLater has change made to n beside the answer to a. It is tried for a while;
// what cannot be written is told to the log. Its goroutine ends with the queue;
// Run waits for that in endLate.
func (b *Bot) writeLater(n tickets.Number, a tickets.Actor, change func(*tickets.Ticket) bool) {
	one := lateWrite{n, a, change, b.Now()}
	l := &b.late
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.end:
		b.writeLost(one, errors.New("the program is ending"))
		return
	default:
	}
	if len(l.waiting) == maxLate {
		b.writeLost(one, errors.New("too much is waiting to be written already"))
		return
	}
	l.waiting = append(l.waiting, one)
	if l.written == nil {
		l.written = make(chan struct{})
		go b.writeLate()
	}
}

func (b *Bot) writeLost(l lateWrite, err error) {
	b.Log.Error("cannot write to the history", "ticket", l.number, "actor", l.actor.String(), "err", err)
}

// writeLate writes what waits, and returns when nothing does.
func (b *Bot) writeLate() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		select {
		case <-b.late.end:
			stop()
		case <-ctx.Done():
		}
	}()
	for fails := 0; ; {
		one, ok := b.late.first()
		if !ok {
			return
		}
		err := b.writeOne(ctx, one)
		if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrNewerForm) || errors.Is(err, store.ErrUnreadable) || b.Now().Sub(one.since) > lateKept {
			if err != nil {
				b.writeLost(one, err)
			}
			fails = 0
			b.late.drop()
			continue
		}
		b.late.later()
		wait := time.NewTimer(outbox.Backoff(outbox.FirstRetry/10, outbox.LastRetry, fails))
		fails++
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
}

func (b *Bot) writeOne(ctx context.Context, l lateWrite) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	t, err := b.Store.Update(ctx, l.number, func(t *tickets.Ticket) error {
		if !l.change(t) {
			return errNothing
		}
		return nil
	})
	switch {
	case errors.Is(err, errNothing), errors.Is(err, store.ErrNotFound):
		return nil
	case err == nil:
		b.outbox.Wake(t) // receivers are told of it
	}
	return err
}

// first is the write to make next.
func (l *lateWrites) first() (lateWrite, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		close(l.written)
		l.written = nil
		return lateWrite{}, false
	}
	return l.waiting[0], true
}

// drop forgets the first write.
func (l *lateWrites) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = l.waiting[1:]
}

// later moves the writes of the first one's ticket behind all others: that
// ticket may be the only one that cannot be written.
func (l *lateWrites) later() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first, others []lateWrite
	for _, one := range l.waiting {
		if one.number == l.waiting[0].number {
			first = append(first, one)
		} else {
			others = append(others, one)
		}
	}
	l.waiting = append(others, first...)
}

// wait returns when nothing waits to be written, or when ctx is done.
func (l *lateWrites) wait(ctx context.Context) {
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

// endLate waits for the late writes until ctx is done, and then tells the log of
// those that were not made.
func (b *Bot) endLate(ctx context.Context) {
	b.late.wait(ctx)
	close(b.late.end)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outbox.FirstRetry)
	defer cancel()
	b.late.wait(ctx) // those that are left are told to the log
}
