package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
)

var _ store.Coordinator = (*Store)(nil)

// holdScript takes or renews a lease.
//
//	KEYS[1] hold:NAME
//	ARGV[1] the holder
//	ARGV[2] for how long, ms
//
//	{1} if the holder has it, else {0}
var holdScript = goredis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {0} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1}
`)

// dropScript ends a lease.
//
//	KEYS[1] hold:NAME
//	ARGV[1] the holder
var dropScript = goredis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {}
`)

// countScript counts what holders have. A field is "N TILL", in µs.
//
//	KEYS[1] count:NAME
//	ARGV[1] the holder
//	ARGV[2] how many it has
//	ARGV[3] for how long, ms
//
//	{how many all have}
var countScript = goredis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', now + ARGV[3] * 1000))
local all, held = 0, redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
	local n, till = string.match(held[i + 1], '^(%d+) (%d+)$')
	if tonumber(till) >= now then
		all = all + n
	else
		redis.call('HDEL', KEYS[1], held[i])
	end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {string.format('%.0f', all)}
`)

// bookScript takes a call out of limits. Of each limit it keeps when the last
// call that was taken would have been made had there been no burst: the
// virtual scheduling algorithm (GCRA, ITU-T I.371).
//
//	KEYS    shut:LANE of each lane, then pace:KEY of each limit
//	ARGV[1] how many lanes
//	ARGV[2] the patience, µs; negative for any
//	ARGV[3…] of each limit the time between two calls in µs, and its burst
//
//	{1 if booked, else 0; how long to wait, µs}
var bookScript = goredis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lanes, patience, wait = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
-- What lies further ahead than it can have been written is of a clock that
-- was set back since.
for i = 1, lanes do
	local till = tonumber(redis.call('GET', KEYS[i])) or 0
	if till <= now + 7200000000 then wait = math.max(wait, till - now) end
end
local open, last = now + wait, {}
for i = lanes + 1, #KEYS do
	local a = 3 + 2 * (i - lanes - 1)
	local every, burst = tonumber(ARGV[a]), tonumber(ARGV[a+1])
	local at = tonumber(redis.call('GET', KEYS[i])) or 0
	if at > open + (burst + 1) * every + 600000000 then at = 0 end
	at = math.max(at, open) + every
	last[i] = at
	wait = math.max(wait, at - burst * every - now)
end
if patience >= 0 and wait > patience then return {0, string.format('%.0f', wait)} end
for i = lanes + 1, #KEYS do
	redis.call('SET', KEYS[i], string.format('%.0f', last[i]), 'PX', string.format('%.0f', (last[i] - now) / 1000 + 1))
end
return {1, string.format('%.0f', wait)}
`)

// shutScript closes a lane.
//
//	KEYS[1] shut:LANE
//	ARGV[1] for how long, µs
var shutScript = goredis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local till = now + ARGV[1]
if (tonumber(redis.call('GET', KEYS[1])) or 0) < till then
	redis.call('SET', KEYS[1], string.format('%.0f', till), 'PX', string.format('%.0f', (till - now) / 1000 + 1))
end
return {}
`)

// timeScript tells the clock of the server that has the tenant's keys.
//
//	KEYS[1] any key of the tenant
//
//	{µs since 1970}
var timeScript = goredis.NewScript(`
local time = redis.call('TIME')
return {string.format('%.0f', time[1] * 1000000 + time[2])}
`)

// AcquireLease implements [store.Coordinator].
func (s *Store) AcquireLease(ctx context.Context, name, holder string, d time.Duration) (bool, error) {
	r, err := s.run(ctx, holdScript, []string{s.k.hold(name)}, holder, max(d.Milliseconds(), 1))
	if err != nil {
		return false, fmt.Errorf("lease %s: %w", name, err)
	}
	return r.at(0) == int64(1), nil
}

// ReleaseLease implements [store.Coordinator].
func (s *Store) ReleaseLease(ctx context.Context, name, holder string) error {
	if _, err := s.run(ctx, dropScript, []string{s.k.hold(name)}, holder); err != nil {
		return fmt.Errorf("lease %s: %w", name, err)
	}
	return nil
}

// ClaimOnce implements [store.Coordinator].
func (s *Store) ClaimOnce(ctx context.Context, key string, keep time.Duration) (bool, error) {
	leave, err := s.enter()
	if err != nil {
		return false, err
	}
	defer leave()
	err = s.c.SetArgs(ctx, s.k.once(key), 1, goredis.SetArgs{Mode: "NX", TTL: max(keep, time.Millisecond)}).Err()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, goredis.Nil):
		return false, nil
	}
	return false, fmt.Errorf("claim %s: %w", key, s.failed(ctx, err))
}

// Unclaim implements [store.Coordinator].
func (s *Store) Unclaim(ctx context.Context, key string) (bool, error) {
	leave, err := s.enter()
	if err != nil {
		return false, err
	}
	defer leave()
	n, err := s.c.Del(ctx, s.k.once(key)).Result()
	if err != nil {
		return false, fmt.Errorf("forget %s: %w", key, s.failed(ctx, err))
	}
	return n > 0, nil
}

// CountHeld implements [store.Coordinator].
func (s *Store) CountHeld(ctx context.Context, name, holder string, n int, d time.Duration) (int, error) {
	r, err := s.run(ctx, countScript, []string{s.k.count(name)}, holder, n, max(d.Milliseconds(), 1))
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", name, err)
	}
	all, err := strconv.Atoi(r.text(0))
	if err != nil {
		return 0, r.unknown()
	}
	return all, nil
}

// Reserve implements [store.Coordinator].
func (s *Store) Reserve(ctx context.Context, lanes []string, limits []store.Limit, patience time.Duration) (wait time.Duration, booked bool, err error) {
	keys := make([]string, 0, len(lanes)+len(limits))
	args := append(make([]any, 0, 2+2*len(limits)), len(lanes), patience.Microseconds())
	if patience < 0 {
		args[1] = -1
	}
	for _, l := range lanes {
		keys = append(keys, s.k.shut(l))
	}
	for _, l := range limits {
		keys = append(keys, s.k.pace(l.Key))
		args = append(args, max(l.Every.Microseconds(), 1), max(l.Burst, 1))
	}
	if len(keys) == 0 {
		return 0, true, nil
	}
	r, err := s.run(ctx, bookScript, keys, args...)
	if err != nil {
		return 0, false, fmt.Errorf("keep the pace: %w", err)
	}
	wait, err = time.ParseDuration(r.text(1) + "us")
	if err != nil {
		return 0, false, r.unknown()
	}
	return wait, r.at(0) == int64(1), nil
}

// Block implements [store.Coordinator].
func (s *Store) Block(ctx context.Context, lane string, d time.Duration) error {
	if _, err := s.run(ctx, shutScript, []string{s.k.shut(lane)}, d.Microseconds()); err != nil {
		return fmt.Errorf("keep the pace: %w", err)
	}
	return nil
}

// Time implements [store.Coordinator].
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	r, err := s.run(ctx, timeScript, []string{s.k.schema()})
	if err != nil {
		return time.Time{}, fmt.Errorf("redis' clock: %w", err)
	}
	micros, err := strconv.ParseInt(r.text(0), 10, 64)
	if err != nil {
		return time.Time{}, r.unknown()
	}
	return time.UnixMicro(micros).UTC(), nil
}
