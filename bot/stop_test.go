package bot_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// lateClaims is a store that is slow to answer the first claim of something:
// it has leased, and says so once end is closed.
type lateClaims struct {
	store.Store
	once   sync.Once
	leased chan struct{} // closed once something is leased
	end    chan struct{}

	mu    sync.Mutex
	owned map[tickets.Number]bool
}

func (s *lateClaims) Claim(ctx context.Context, lane tickets.Lane, now, until time.Time, limit int) ([]*tickets.Ticket, error) {
	list, err := s.Store.Claim(ctx, lane, now, until, limit)
	s.mu.Lock()
	for _, t := range list {
		s.owned[t.Number] = true
	}
	s.mu.Unlock()
	if len(list) > 0 {
		s.once.Do(func() {
			close(s.leased)
			<-s.end
		})
	}
	if err := ctx.Err(); err != nil {
		return nil, err // the answer is lost to a caller who has given up
	}
	return list, err
}

func (s *lateClaims) Release(ctx context.Context, lane tickets.Lane, n tickets.Number) error {
	s.mu.Lock()
	delete(s.owned, n)
	s.mu.Unlock()
	return s.Store.Release(ctx, lane, n)
}

// TestStopGivesBackWhatIsBeingClaimed: a slow store leases something while the
// bot is told to end. Others, or the next start, must not have to wait until
// that lease is over.
func TestStopGivesBackWhatIsBeingClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow := &lateClaims{leased: make(chan struct{}), end: make(chan struct{}), owned: map[tickets.Number]bool{}}
	w.wrap = func(s store.Store) store.Store { slow.Store = s; return slow }
	w.start()
	w.ask("a")
	<-slow.leased
	stopped := make(chan struct{})
	go func() {
		w.stop()
		close(stopped)
	}()
	w.eventually("it has been told to end", func() bool { return w.ending.Err() != nil })
	close(slow.end)
	<-stopped
	if len(slow.owned) > 0 {
		t.Errorf("%v is still leased after the end", slow.owned)
	}
}
