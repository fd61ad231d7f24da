package redis

import (
	"context"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// retireScript removes tickets and accounts for them, if nobody has changed
// any of them, nor the ledger, since they were read.
//
//	KEYS[1]  tickets
//	KEYS[2]  tickets:final
//	KEYS[3]  retired
//	ARGV[1]  the last entry of the ledger as it was read, empty for none
//	ARGV[2]  the entry to add
//	ARGV[3]  ticket:, ARGV[4] request:
//	ARGV[5…] seq, version and request of each ticket
//
//	{"done"}
//	{"other"}  nothing is written
var retireScript = goredis.NewScript(`
if (redis.call('LINDEX', KEYS[3], -1) or '') ~= ARGV[1] then return {'other'} end
for i = 5, #ARGV, 3 do
	if redis.call('HGET', ARGV[3] .. ARGV[i], 'version') ~= ARGV[i+1] then return {'other'} end
end
redis.call('RPUSH', KEYS[3], ARGV[2])
for i = 5, #ARGV, 3 do
	redis.call('UNLINK', ARGV[3] .. ARGV[i], ARGV[4] .. ARGV[i+2])
	redis.call('ZREM', KEYS[1], ARGV[i])
	redis.call('ZREM', KEYS[2], ARGV[i])
end
return {'done'}
`)

// restoreLedgerScript adds entries to the ledger, if it has as many as were
// read.
//
//	KEYS[1]  retired
//	ARGV[1]  how many it has
//	ARGV[2…] entries, oldest first
//
//	{"done"}
//	{"other"}  nothing is written
var restoreLedgerScript = goredis.NewScript(`
if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return {'other'} end
for i = 2, #ARGV do
	redis.call('RPUSH', KEYS[1], ARGV[i])
end
return {'done'}
`)

// removeScript removes a ticket, if nobody has changed it since it was read.
//
//	KEYS[1]  ticket:
//	KEYS[2]  request:
//	KEYS[3…] tickets, its progress, and due: of each lane that it owes in
//	ARGV[1]  seq
//	ARGV[2]  version
//
//	{"done"}
//	{"other"}  nothing is written
var removeScript = goredis.NewScript(`
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return {'other'} end
redis.call('UNLINK', KEYS[1], KEYS[2])
for i = 3, #KEYS do
	redis.call('ZREM', KEYS[i], ARGV[1])
end
return {'done'}
`)

// Retire implements [store.Store]. If somebody else changed one of the tickets
// meanwhile, or forgot some, it forgets none: the next call does.
func (s *Store) Retire(ctx context.Context, before, now time.Time, n int) (store.Retired, error) {
	entry, err := s.retire(ctx, before, now, limit(n))
	if err != nil {
		return store.Retired{}, fmt.Errorf("retire tickets: %w", err)
	}
	s.hooks.CommittedLedger(entry)
	return entry, nil
}

func (s *Store) retire(ctx context.Context, before, now time.Time, n int) (store.Retired, error) {
	list, err := store.Retirable(before, n, func(seq int64) ([]store.Form, error) {
		return s.forms(ctx, s.k.progress(tickets.Final), seq, glance)
	})
	if err != nil || len(list) == 0 {
		return store.Retired{}, err
	}
	last, err := s.ledger(ctx, -1)
	if err != nil {
		return store.Retired{}, err
	}
	entry, doc, err := store.NewLedgerEntry(slices.Concat(last...), list, now)
	if err != nil {
		return store.Retired{}, err
	}
	args := append(make([]any, 0, 4+3*len(list)), slices.Concat(last...), doc, s.k.everyTicket(), s.k.request(""))
	for _, t := range list {
		seq, _ := t.Number.Seq()
		args = append(args, seq, t.Version, string(t.ID))
	}
	r, err := s.run(ctx, retireScript, []string{s.k.tickets(), s.k.progress(tickets.Final), s.k.retired()}, args...)
	switch {
	case err != nil:
		return store.Retired{}, err
	case r.text(0) == "other":
		return store.Retired{}, nil
	case r.text(0) != "done":
		return store.Retired{}, r.unknown()
	}
	return entry, nil
}

// ledger is the ledger from its i-th entry on; -1 is the last.
func (s *Store) ledger(ctx context.Context, i int64) ([][]byte, error) {
	return s.list(ctx, s.k.retired(), i, -1)
}

// Ledger implements [store.Archive].
func (s *Store) Ledger(ctx context.Context) ([][]byte, error) {
	docs, err := s.ledger(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return docs, nil
}

// RestoreLedger implements [store.Archive].
func (s *Store) RestoreLedger(ctx context.Context, docs [][]byte) (store.Restored, error) {
	for try := 0; ; try++ {
		have, err := s.ledger(ctx, 0)
		if err != nil {
			return store.Refused, err
		}
		more, did := store.CompareLedger(docs, have)
		if did != store.Copied {
			return did, nil
		}
		args := []any{len(have)}
		for _, doc := range more {
			args = append(args, doc)
		}
		r, err := s.run(ctx, restoreLedgerScript, []string{s.k.retired()}, args...)
		if err != nil || r.text(0) == "done" {
			return did, err
		}
		if err := pause(ctx, try); err != nil {
			return store.Refused, err
		}
	}
}

// RemoveRetired implements [store.Archive]: each ticket is a commit of its own, and
// all of them are one round trip.
func (s *Store) RemoveRetired(ctx context.Context, list []*tickets.Ticket) error {
	_, err := s.runAll(ctx, len(list), func(p goredis.Pipeliner, i int) (*goredis.Cmd, error) {
		t := list[i]
		seq, _ := t.Number.Seq()
		_, lanes := dueOf(t)
		keys := []string{s.k.ticket(seq), s.k.request(t.ID), s.k.tickets(), s.k.progress(t.Progress())}
		for _, l := range lanes {
			keys = append(keys, s.k.due(l))
		}
		return removeScript.Eval(ctx, p, keys, seq, t.Version), nil
	})
	if err != nil {
		return fmt.Errorf("remove retired tickets: %w", err)
	}
	return nil
}
