package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, n tickets.Number) (*tickets.Ticket, error) {
	old, err := s.record(ctx, n)
	var t *tickets.Ticket
	if err == nil {
		t, err = old.ticket()
	}
	if err == nil && t.Number != n {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("ticket %s: %w", n, err)
	}
	return t, nil
}

// Find implements [store.Store].
func (s *Store) Find(ctx context.Context, id tickets.RequestID) (*tickets.Ticket, error) {
	r, err := s.run(ctx, lookScript, []string{s.k.request(id)}, s.k.everyTicket())
	var t *tickets.Ticket
	switch {
	case err != nil:
	case r.text(0) != "known":
		err = store.ErrNotFound
	default:
		t, err = known(r).ticket()
	}
	if err != nil {
		return nil, fmt.Errorf("ticket of request %s: %w", id, err)
	}
	return t, nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.Query) ([]*tickets.Ticket, error) {
	after, before, err := q.Between()
	if err != nil {
		return nil, err
	}
	key := s.k.tickets()
	if q.Progress != "" {
		key = s.k.progress(q.Progress)
	}
	bounds := []any{"ZREVRANGEBYSCORE", fmt.Sprintf("(%d", before), fmt.Sprintf("(%d", after)}
	if q.OldestFirst {
		bounds = []any{"ZRANGEBYSCORE", bounds[2], bounds[1]}
	}
	r, err := s.run(ctx, listScript, []string{key}, append(bounds, limit(q.Limit), s.k.everyTicket())...)
	if err != nil {
		return nil, fmt.Errorf("list tickets: %w", err)
	}
	var list []*tickets.Ticket
	var errs []error
	for row := range slices.Chunk(r, 3) {
		t, err := found(row)
		if err != nil {
			errs = append(errs, fmt.Errorf("list tickets: %w", err))
			continue
		}
		list = append(list, t)
	}
	return list, errors.Join(errs...)
}

func limit(n int) int {
	if n <= 0 {
		return 50
	}
	return n
}

// Stats implements [store.Store].
func (s *Store) Stats(ctx context.Context, now time.Time) (store.Stats, error) {
	keys := []string{s.k.lanes()}
	for _, p := range tickets.Progresses() {
		keys = append(keys, s.k.progress(p))
	}
	r, err := s.run(ctx, statsScript, keys, now.UnixMicro(), s.k.dues())
	if err != nil {
		return store.Stats{}, fmt.Errorf("count tickets: %w", err)
	}
	stats := store.Stats{Progress: map[tickets.Progress]int{}, Due: map[tickets.Lane]store.Backlog{}, Owed: map[tickets.Lane]int{}}
	for i, p := range tickets.Progresses() {
		if n, _ := r.at(i).(int64); n > 0 {
			stats.Progress[p] = int(n)
		}
	}
	for row := range slices.Chunk(r[min(len(r), len(tickets.Progresses())):], 4) {
		lane := tickets.Lane(row.text(0))
		owed, _ := row.at(1).(int64)
		due, _ := row.at(2).(int64)
		oldest, err := strconv.ParseFloat(row.text(3), 64)
		if err != nil {
			return store.Stats{}, fmt.Errorf("count what is due: %w", err)
		}
		stats.Owed[lane] = int(owed)
		if due > 0 {
			stats.Due[lane] = store.Backlog{Count: int(due), Oldest: time.UnixMicro(int64(oldest)).UTC()}
		}
	}
	return stats, nil
}
