package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Claim implements [store.Store]. A lease is this store's: no other one can
// release it.
func (s *Store) Claim(ctx context.Context, lane tickets.Lane, now, until time.Time, n int) ([]*tickets.Ticket, error) {
	l := s.leases(lane)
	l.claiming.Lock()
	defer l.claiming.Unlock()
	var claimed []*tickets.Ticket
	var errs []error
	for len(claimed) < n {
		r, err := s.claim(ctx, lane, now, until, n-len(claimed))
		if err != nil {
			errs = append(errs, fmt.Errorf("claim %s: %w", lane, err))
			break
		}
		skipped := 0
		for row := range slices.Chunk(r, 3) {
			if row.at(1) == nil && row.text(2) != "" {
				// Left to replicas that can read it.
				errs = append(errs, s.newer(lane, row.text(0), now, until))
				continue
			}
			t, err := found(row)
			if err != nil {
				// It is leased too, and reported again when that ends. Others
				// take its place.
				skipped++
				errs = append(errs, fmt.Errorf("claim in %s: %w", lane, err))
				continue
			}
			if at, owes := t.NextDue()[lane]; !owes || micros(at) > now.UnixMicro() {
				skipped++
				if err := s.mend(ctx, lane, t); err != nil {
					errs = append(errs, fmt.Errorf("mend the index of %s: %w", lane, err))
				}
				continue
			}
			l.hold(row.text(0) + " " + s.owner)
			claimed = append(claimed, t)
		}
		if skipped == 0 {
			break
		}
	}
	return claimed, errors.Join(errs...)
}

// mend puts t's entry in a lane's index right that another version of the
// program has written, for which t was due at another time, and ends the lease
// that Claim took by it.
func (s *Store) mend(ctx context.Context, lane tickets.Lane, t *tickets.Ticket) error {
	seq, ok := t.Number.Seq()
	if !ok {
		return store.ErrNotFound
	}
	due := ""
	if at, owes := t.NextDue()[lane]; owes {
		due = strconv.FormatInt(micros(at), 10)
	}
	_, err := s.run(ctx, mendScript, []string{s.k.due(lane), s.k.ticket(seq), s.k.leases(lane)}, seq, t.Version, due, leaseOf(seq, s.owner))
	return err
}

// newer is the error about a ticket that this version cannot read, nil if it
// was reported before and until has not passed since.
func (s *Store) newer(lane tickets.Lane, seq string, now, until time.Time) error {
	s.lanesMu.Lock()
	defer s.lanesMu.Unlock()
	key := string(lane) + " " + seq
	if now.Before(s.reported[key]) {
		return nil
	}
	for k, end := range s.reported {
		if !now.Before(end) {
			delete(s.reported, k)
		}
	}
	s.reported[key] = until
	return fmt.Errorf("claim in %s: ticket %s: %w", lane, seq, store.ErrNewerForm)
}

// claim runs the script, which also ends the leases that are to be released.
func (s *Store) claim(ctx context.Context, lane tickets.Lane, now, until time.Time, n int) (reply, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	l := s.leases(lane)
	release, unsure := l.begin()
	var r reply
	if unsure {
		err = s.endLeases(ctx, lane, l.known())
	}
	if err == nil {
		args := append(make([]any, 0, 7+len(release)), now.UnixMicro(), until.UnixMicro(), s.now().UnixMicro(), n, s.owner, s.k.everyTicket(), store.FormVersion)
		for _, lease := range release {
			args = append(args, lease)
		}
		r, err = s.script(ctx, claimScript, []string{s.k.due(lane), s.k.leases(lane)}, args...)
	}
	l.end(release, err)
	return r, err
}

// leaseOf is a lease as the set of a lane's leases holds it.
func leaseOf(seq int64, owner string) string { return strconv.FormatInt(seq, 10) + " " + owner }

// Release implements [store.Store]. If it fails the next Claim does it.
func (s *Store) Release(ctx context.Context, lane tickets.Lane, n tickets.Number) error {
	seq, ok := n.Seq()
	if !ok {
		return fmt.Errorf("release %q: %w", n, store.ErrNotFound)
	}
	leave, err := s.enter()
	lease := leaseOf(seq, s.owner)
	if err == nil {
		defer leave()
		err = s.failed(ctx, s.c.ZRem(ctx, s.k.leases(lane), lease).Err())
	}
	s.leases(lane).drop(lease, err)
	if err != nil {
		return fmt.Errorf("release %s: %w", n, err)
	}
	return nil
}

// endFormer ends the leases of this process's former life.
func (s *Store) endFormer(ctx context.Context) error {
	lanes, err := s.c.SMembers(ctx, s.k.lanes()).Result()
	if err != nil {
		return s.failed(ctx, err)
	}
	for _, lane := range lanes {
		if err := s.endLeases(ctx, tickets.Lane(lane), nil); err != nil {
			return err
		}
	}
	return nil
}

// endLeases ends all leases under our name in lane but those of stay.
func (s *Store) endLeases(ctx context.Context, lane tickets.Lane, stay []string) error {
	args := []any{s.owner}
	for _, lease := range stay {
		args = append(args, lease)
	}
	_, err := s.script(ctx, endLeasesScript, []string{s.k.leases(lane)}, args...)
	return err
}

// leases is what a store knows of its own leases in a lane.
type leases struct {
	claiming sync.Mutex // held by Claim: what another has just leased is not known yet

	mu     sync.Mutex
	held   map[string]bool // that were not released
	unsure bool            // an answer was lost: there may be more than held
	owed   []string        // whose release failed, for the next Claim to end
}

// leases are those of lane.
func (s *Store) leases(lane tickets.Lane) *leases {
	s.lanesMu.Lock()
	defer s.lanesMu.Unlock()
	l := s.lanes[lane]
	if l == nil {
		l = &leases{held: map[string]bool{}}
		s.lanes[lane] = l
	}
	return l
}

// begin begins a call that claims: it says which leases that is to end, and
// whether it must first end those that are not known.
func (l *leases) begin() (release []string, unsure bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	release, unsure = l.owed, l.unsure
	l.owed = nil
	return release, unsure
}

// end notes whether that call was answered.
func (l *leases) end(release []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsure = err != nil
	if err != nil {
		l.owed = append(l.owed, release...)
	}
}

func (l *leases) known() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.held))
}

// hold notes that lease was given to us.
func (l *leases) hold(lease string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[lease] = true
}

// drop notes that lease is to end, and whether it did.
func (l *leases) drop(lease string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, lease)
	if err != nil && !slices.Contains(l.owed, lease) {
		l.owed = append(l.owed, lease)
	}
}
