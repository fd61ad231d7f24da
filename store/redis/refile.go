package redis

import (
	"context"
	"fmt"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// misfiledScript compares the indexes with what they should hold of tickets,
// but for those that were changed since they were read.
//
//	KEYS[1]  tickets
//	ARGV[1]  ticket:, ARGV[2] request:, ARGV[3] tickets:, ARGV[4] due:
//	ARGV[5]  how many kinds of progress there are, and these
//	ARGV[…]  of each ticket its seq, version, request and progress, in how many
//	         lanes it owes something, and of each the lane and the time in µs
//
//	seq, what is wrong, and where, one after the other:
//	progress  the progress that an index has it under, empty if none has it
//	request   nothing
//	due       the lane
var misfiledScript = goredis.NewScript(`
local result = {}
local function wrong(seq, what, where)
	table.insert(result, seq)
	table.insert(result, what)
	table.insert(result, where)
end
local kinds = {}
for i = 6, 5 + ARGV[5] do table.insert(kinds, ARGV[i]) end
local a = 6 + ARGV[5]
while a <= #ARGV do
	local seq, version, request, progress, lanes = ARGV[a], ARGV[a+1], ARGV[a+2], ARGV[a+3], tonumber(ARGV[a+4])
	local t = redis.call('HMGET', ARGV[1] .. seq, 'version', 'progress')
	if t[1] == version then
		local has, other = false, (t[2] ~= progress) and (t[2] or '')
		for _, kind in ipairs(kinds) do
			if redis.call('ZSCORE', ARGV[3] .. kind, seq) then
				if kind == progress then has = true else other = kind end
			end
		end
		if other or not has then wrong(seq, 'progress', other or '') end
		if redis.call('GET', ARGV[2] .. request) ~= seq then wrong(seq, 'request', '') end
		for i = 1, lanes do
			local lane, at = ARGV[a+3+2*i], ARGV[a+4+2*i]
			local is = redis.call('ZSCORE', ARGV[4] .. lane, seq)
			if not is or tonumber(is) > tonumber(at) then wrong(seq, 'due', lane) end
		end
	end
	a = a + 5 + 2 * lanes
end
return result
`)

// refileScript writes the entries of a ticket anew, if nobody has changed it
// since it was read.
//
//	KEYS[1]  ticket:SEQ
//	KEYS[2]  request:ID
//	KEYS[3]  lanes
//	KEYS[4]  tickets:PROGRESS as it should be
//	ARGV[1]  seq, ARGV[2] the version that was read
//	ARGV[3]  progress, ARGV[4] lanes
//	ARGV[5]  tickets:, ARGV[6] due:
//	ARGV[7]  seq of a ticket of another request, to which this request may lead:
//	         then it is led to this one; empty if it leads to none of another
//	ARGV[8]  how many kinds of progress there are, and these
//	ARGV[…]  lane and due time in µs, for each that it owes something in
//
//	{"done"}
//	{"other"}  nothing is written
var refileScript = goredis.NewScript(`
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return {'other'} end
redis.call('HSET', KEYS[1], 'progress', ARGV[3], 'lanes', ARGV[4])
if redis.call('GET', KEYS[2]) == ARGV[7] then
	redis.call('SET', KEYS[2], ARGV[1])
else
	redis.call('SETNX', KEYS[2], ARGV[1])
end
for i = 9, 8 + ARGV[8] do
	redis.call('ZREM', ARGV[5] .. ARGV[i], ARGV[1])
end
redis.call('ZADD', KEYS[4], ARGV[1], ARGV[1])
for _, lane in ipairs(redis.call('SMEMBERS', KEYS[3])) do
	redis.call('ZREM', ARGV[6] .. lane, ARGV[1])
end
for a = 9 + ARGV[8], #ARGV, 2 do
	redis.call('SADD', KEYS[3], ARGV[a])
	redis.call('ZADD', ARGV[6] .. ARGV[a], ARGV[a+1], ARGV[1])
end
return {'done'}
`)

// Misfiled implements [store.Store].
func (s *Store) Misfiled(ctx context.Context, list []store.Entries) ([]store.Misfiled, error) {
	if len(list) == 0 {
		return nil, nil
	}
	args := append([]any{s.k.everyTicket(), s.k.request(""), s.k.progress(""), s.k.dues()}, kinds()...)
	of := map[string]store.Entries{}
	for _, e := range list {
		of[strconv.FormatInt(e.Seq, 10)] = e
		args = append(args, e.Seq, e.Version, string(e.Request), string(e.Progress), len(e.Due))
		for _, l := range e.Lanes() {
			args = append(args, string(l), micros(e.Due[l]))
		}
	}
	r, err := s.run(ctx, misfiledScript, []string{s.k.tickets()}, args...)
	if err != nil {
		return nil, fmt.Errorf("compare the indexes: %w", err)
	}
	var found []store.Misfiled
	for i := 0; i < len(r); i += 3 {
		e := of[r.text(i)]
		switch r.text(i + 1) {
		case "progress":
			found = append(found, e.FiledAs(r.text(i+2)))
		case "request":
			found = append(found, e.FiledNowhere())
		case "due":
			found = append(found, e.NotDue(tickets.Lane(r.text(i+2))))
		}
	}
	return found, nil
}

// kinds is how many kinds of progress there are, and these.
func kinds() []any {
	args := []any{len(tickets.Progresses())}
	for _, p := range tickets.Progresses() {
		args = append(args, string(p))
	}
	return args
}

// Refile implements [store.Store].
func (s *Store) Refile(ctx context.Context, n tickets.Number) error {
	if err := s.refile(ctx, n); err != nil {
		return fmt.Errorf("file %s anew: %w", n, err)
	}
	return nil
}

func (s *Store) refile(ctx context.Context, n tickets.Number) error {
	for try := 0; ; try++ {
		t, err := s.Get(ctx, n)
		if err != nil {
			return err
		}
		e := store.EntriesOf(t)
		wrong, err := s.leadsWrong(ctx, e.Request)
		if err != nil {
			return err
		}
		args := append([]any{e.Seq, e.Version, string(e.Progress), laneText(e.Lanes()), s.k.progress(""), s.k.dues(), wrong}, kinds()...)
		for _, l := range e.Lanes() {
			args = append(args, string(l), micros(e.Due[l]))
		}
		keys := []string{s.k.ticket(e.Seq), s.k.request(e.Request), s.k.lanes(), s.k.progress(e.Progress)}
		r, err := s.run(ctx, refileScript, keys, args...)
		if err != nil || r.text(0) == "done" {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// leadsWrong is the seq to which request leads although there is no ticket of
// it; empty if it leads to its own, or to none.
func (s *Store) leadsWrong(ctx context.Context, request tickets.RequestID) (string, error) {
	r, err := s.run(ctx, lookScript, []string{s.k.request(request)}, s.k.everyTicket())
	if err != nil || r.text(0) != "known" {
		return "", err
	}
	if t, err := known(r).ticket(); err == nil && t.ID == request {
		return "", nil
	}
	return r.text(1), nil
}
