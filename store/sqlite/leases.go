package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Claim implements [store.Store]. Leases live in this process. What is read from
// the disk is read without the lock: a disk that does not answer must not hold
// up who only gives a lease back.
func (s *Store) Claim(ctx context.Context, lane tickets.Lane, now, until time.Time, n int) ([]*tickets.Ticket, error) {
	var claimed []*tickets.Ticket
	var errs []error
	var stale []entry
	seen := map[entry]bool{}
	for more := true; more && len(claimed) < n; {
		limit := s.held(lane, now) + len(seen) + n
		entries, err := s.due(ctx, lane, now, limit)
		if err != nil {
			errs = append(errs, fmt.Errorf("claim %s: %w", lane, err))
			break
		}
		more = len(entries) == limit // there may be others behind those that somebody has taken meanwhile
		for _, e := range entries {
			// Before it is read: what another has done with it meanwhile is
			// seen.
			if seen[e] || !s.take(lane, e.seq, until) {
				continue
			}
			seen[e] = true
			t, err := s.pack.scan(s.read.QueryRowContext(ctx, `SELECT version, doc FROM tickets WHERE seq = ?`, e.seq))
			if err != nil {
				// One unreadable ticket must not hold up the others: it stays
				// leased too, and is reported again when that ends.
				errs = append(errs, fmt.Errorf("claim ticket %d in %s: %w", e.seq, lane, err))
				continue
			}
			at, owes := t.NextDue()[lane]
			if !owes || micros(at) != e.at {
				stale = append(stale, e)
			}
			if !owes || at.After(now) {
				s.giveBack(lane, e.seq)
				continue
			}
			if claimed = append(claimed, t); len(claimed) == n {
				break
			}
		}
	}
	if err := s.mend(ctx, lane, stale); err != nil {
		errs = append(errs, fmt.Errorf("mend the index of %s: %w", lane, err))
	}
	return claimed, errors.Join(errs...)
}

// held is how many leases there are in lane. Those that have ended are
// forgotten.
func (s *Store) held(lane tickets.Lane, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := 0
	for l, end := range s.leases {
		switch {
		case !end.After(now):
			delete(s.leases, l)
		case l.lane == lane:
			held++
		}
	}
	return held
}

// take leases a ticket, unless somebody has it.
func (s *Store) take(lane tickets.Lane, seq int64, until time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := lease{lane, seq}
	if _, taken := s.leases[l]; taken {
		return false
	}
	s.leases[l] = until
	return true
}

func (s *Store) giveBack(lane tickets.Lane, seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, lease{lane, seq})
}

// entry is a row of the index in one lane.
type entry struct{ at, seq int64 }

// mend puts entries of the index right that another version of the program
// has written, for which tickets were due at other times.
func (s *Store) mend(ctx context.Context, lane tickets.Lane, stale []entry) error {
	if len(stale) == 0 {
		return nil
	}
	return s.write(ctx, func(b *batch) error {
		for _, e := range stale {
			t, err := b.pack.scan(b.selSeq.QueryRowContext(background, e.seq))
			if err != nil {
				continue // Claim tells of it
			}
			at, owes := t.NextDue()[lane]
			if owes && micros(at) == e.at {
				continue // it was changed meanwhile
			}
			if _, err := b.delDue.ExecContext(background, string(lane), e.at, e.seq); err != nil {
				return err
			}
			if !owes {
				continue
			}
			if _, err := b.conn.ExecContext(background, `INSERT INTO due (lane, at, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, string(lane), micros(at), e.seq); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) due(ctx context.Context, lane tickets.Lane, now time.Time, n int) (list []entry, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT at, seq FROM due WHERE lane = ? AND at <= ? ORDER BY at, seq LIMIT ?`,
		string(lane), now.UnixMicro(), n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.at, &e.seq); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

// Release implements [store.Store].
func (s *Store) Release(_ context.Context, lane tickets.Lane, n tickets.Number) error {
	seq, ok := n.Seq()
	if !ok {
		return fmt.Errorf("release %q: %w", n, store.ErrNotFound)
	}
	s.giveBack(lane, seq)
	return nil
}
