package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// webhook is one on its way into its record: for the first time, or again.
type webhook struct {
	tickets.Incoming
	again bool // it is replayed
}

// keys are what luaKeep, or luaAgain, wants to be given.
func (in webhook) keys(k keys, status tickets.Status) []string {
	if in.again {
		return []string{k.incoming(in.ID), k.incomingsOf(tickets.StatusFailed), k.incomingsOf(status)}
	}
	return []string{k.incoming(in.ID), k.incomings(), k.incomingsOf(status)}
}

// args are likewise.
func (in webhook) args(status tickets.Status) []any {
	repaired := ""
	if in.Repaired {
		repaired = "1"
	}
	raw := in.Raw
	if in.again {
		raw = nil // it is there
	}
	return []any{in.ID, in.At.UnixMicro(), in.Remote, string(status), in.Error, repaired, raw}
}

// incomingsScript reads webhooks without their bodies, newest first.
//
//	KEYS[1] incomings or incomings:STATUS
//	ARGV[1] incoming:
//	ARGV[2] how many at most
//
//	id, at, remote, ticket, status, error and repaired of each, one after the
//	other
var incomingsScript = goredis.NewScript(luaTell + `
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, ARGV[2] - 1)) do
	tell(id)
end
return result
`)

// namedScript reads webhooks without their bodies, as incomingsScript does.
//
//	KEYS[1]  any key of the tenant
//	ARGV[1]  incoming:
//	ARGV[2…] their ids
var namedScript = goredis.NewScript(luaTell + `
for i = 2, #ARGV do
	tell(ARGV[i])
end
return result
`)

// luaTell adds a webhook to result, if it is there.
const luaTell = `
local result = {}
local function tell(id)
	local r = redis.call('HMGET', ARGV[1] .. id, 'at', 'remote', 'ticket', 'status', 'error', 'repaired')
	if not r[1] then return end
	table.insert(result, id)
	for _, v in ipairs(r) do
		table.insert(result, v)
	end
end
`

// luaAgain does for a webhook that is replayed what luaKeep does for one that
// arrives, with the same arguments except
//
//	KEYS[k+1] incomings:failed
//	ARGV[a+6] nothing
//
// enter writes nothing. It is false if the webhook is not kept as failed.
// Then was tells:
//
//	{"kept", number, status}  it has been applied
//	{"gone"}                  it is not kept
const luaAgain = `
local function was(k, a)
	local r = redis.call('HMGET', KEYS[k], 'ticket', 'status')
	if not r[2] then return {'gone'} end
	return {'kept', r[1], r[2]}
end
local function enter(k, a)
	return redis.call('HGET', KEYS[k], 'status') == 'failed'
end
local function leave(k, a) end
local function keep(k, a, ticket)
	redis.call('HSET', KEYS[k], 'ticket', ticket, 'status', ARGV[a+3], 'error', ARGV[a+4], 'repaired', ARGV[a+5])
	redis.call('ZREM', KEYS[k+1], ARGV[a])
	redis.call('ZADD', KEYS[k+2], ARGV[a+1], ARGV[a])
end
`

// Replaying is accepting with another record.
var (
	acceptAgainScript = goredis.NewScript(luaAgain + luaAccept)
	putAgainScript    = goredis.NewScript(luaAgain + luaPut)
)

// sweepScript forgets webhooks, the oldest first. One that made or changed a
// ticket which is not final stays.
//
//	KEYS[1] incomings, or incomings:failed to forget those that failed
//	KEYS[2] incomings
//	ARGV[1] only those that arrived before, µs
//	ARGV[2] how many to pass over
//	ARGV[3] how many to look at, at most
//	ARGV[4] how many to forget, at most
//	ARGV[5] incoming:, ARGV[6] incomings:, ARGV[7] ticket:
//
//	{"done", how many it looked at, how many it forgot}
var sweepScript = goredis.NewScript(`
local failed = KEYS[1] ~= KEYS[2]
local function may(status, ticket)
	if failed then return status == 'failed' end
	if status == 'failed' then return false end
	if status ~= 'created' and status ~= 'updated' then return true end
	local progress = redis.call('HGET', ARGV[7] .. (string.match(ticket or '', '%d+$') or ''), 'progress')
	return not progress or progress == 'final'
end
local seen, gone = 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', ARGV[2], ARGV[3])) do
	seen = seen + 1
	local r = redis.call('HMGET', ARGV[5] .. id, 'status', 'ticket')
	if may(r[1], r[2]) then
		redis.call('UNLINK', ARGV[5] .. id)
		redis.call('ZREM', KEYS[2], id)
		if r[1] then redis.call('ZREM', ARGV[6] .. r[1], id) end
		gone = gone + 1
		if gone == tonumber(ARGV[4]) then break end
	end
end
return {'done', seen, gone}
`)

// Incoming implements [store.Store].
func (s *Store) Incoming(ctx context.Context, id string) (store.StoredIncoming, error) {
	k, err := s.kept(ctx, id)
	if err != nil {
		return store.StoredIncoming{}, fmt.Errorf("incoming %s: %w", id, err)
	}
	return k, nil
}

func (s *Store) kept(ctx context.Context, id string) (store.StoredIncoming, error) {
	leave, err := s.enter()
	if err != nil {
		return store.StoredIncoming{}, err
	}
	defer leave()
	v, err := s.c.HMGet(ctx, s.k.incoming(id), "at", "remote", "ticket", "status", "error", "repaired", "raw").Result()
	if err != nil {
		return store.StoredIncoming{}, s.failed(ctx, err)
	}
	r := reply(v)
	if r.at(6) == nil {
		return store.StoredIncoming{}, store.ErrNotFound
	}
	k, err := keptOf(append(reply{id}, r[:6]...))
	k.Raw = []byte(r.text(6))
	return k, err
}

// Incomings implements [store.Store].
func (s *Store) Incomings(ctx context.Context, q store.IncomingQuery) ([]store.StoredIncoming, error) {
	key := s.k.incomings()
	if q.Status != "" {
		key = s.k.incomingsOf(q.Status)
	}
	script, args := incomingsScript, []any{s.k.everyIncoming(), limit(q.Limit)}
	if q.Prefix != "" {
		ids, err := s.named(ctx, key, q.Prefix, limit(q.Limit))
		if err != nil {
			return nil, fmt.Errorf("list incoming: %w", err)
		}
		script, args = namedScript, append(args[:1], ids...)
	}
	r, err := s.run(ctx, script, []string{key}, args...)
	if err != nil {
		return nil, fmt.Errorf("list incoming: %w", err)
	}
	var list []store.StoredIncoming
	for row := range slices.Chunk(r, 7) {
		k, err := keptOf(row)
		if err != nil {
			return nil, fmt.Errorf("list incoming: %w", err)
		}
		list = append(list, k)
	}
	return list, nil
}

// named finds the ids in an index that begin with prefix, newest first. It
// walks the whole index in small steps: ids are sought by hand, and seldom.
func (s *Store) named(ctx context.Context, key, prefix string, most int) ([]any, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if strings.ContainsAny(prefix, `*?[]\^`) {
		return nil, nil // no id has these, which Redis would read as a pattern
	}
	var ids []string
	for cursor := uint64(0); ; {
		found, next, err := s.c.ZScan(ctx, key, cursor, prefix+"*", 1000).Result()
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		for pair := range slices.Chunk(found, 2) { // id and score
			ids = append(ids, pair[0])
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	slices.Sort(ids) // they are ordered by time
	ids = slices.Compact(ids)
	slices.Reverse(ids)
	var args []any
	for _, id := range ids[:min(len(ids), most)] {
		args = append(args, id)
	}
	return args, nil
}

// Replay implements [store.Store]. It costs what another webhook costs.
func (s *Store) Replay(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	r, t, err := s.accept(ctx, webhook{Incoming: in, again: true}, apply)
	if err != nil {
		return tickets.Receipt{}, nil, fmt.Errorf("replay webhook %s: %w", in.ID, err)
	}
	return r, t, nil
}

// glance is how many webhooks one script looks at: about a millisecond's
// work, in which Redis does nothing else.
const glance = 200

// Purge implements [store.Store].
func (s *Store) Purge(ctx context.Context, r store.Retention) (int, error) {
	n, err := store.PurgeBatches(r, func() (int, error) {
		leave, err := s.enter()
		if err != nil {
			return 0, err
		}
		defer leave()
		n, err := s.c.ZCard(ctx, s.k.incomings()).Result()
		return int(n), s.failed(ctx, err)
	}, func(failed bool, before time.Time, most int) (int, error) {
		return s.sweep(ctx, failed, before, most)
	})
	if err != nil {
		return n, fmt.Errorf("purge incoming: %w", err)
	}
	return n, nil
}

func (s *Store) sweep(ctx context.Context, failed bool, before time.Time, most int) (int, error) {
	index := s.k.incomings()
	if failed {
		index = s.k.incomingsOf(tickets.StatusFailed)
	}
	gone := 0
	for over := 0; gone < most; {
		r, err := s.run(ctx, sweepScript, []string{index, s.k.incomings()}, before.UnixMicro(), over, glance, most-gone,
			s.k.everyIncoming(), s.k.incomingsOf(""), s.k.everyTicket())
		if err != nil {
			return gone, err
		}
		seen, _ := r.at(1).(int64)
		n, _ := r.at(2).(int64)
		gone += int(n)
		over += int(seen - n)
		if seen < glance {
			break
		}
	}
	return gone, nil
}
