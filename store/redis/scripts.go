package redis

import goredis "github.com/redis/go-redis/v9"

// Each script is one commit: Redis runs nothing else meanwhile, and writes
// what it did to the append-only file whole or not at all. The first thing a
// script writes may be refused for want of memory; then nothing is written.
//
// Every result is a list whose first item says what happened.

// luaKeep keeps a webhook. k is its first key and a its first argument:
//
//	KEYS[k]   incoming:ID
//	KEYS[k+1] incomings
//	KEYS[k+2] incomings:STATUS
//	ARGV[a]   its id
//	ARGV[a+1] when it arrived, µs
//	ARGV[a+2] remote, ARGV[a+3] status, ARGV[a+4] error, ARGV[a+5] repaired
//	ARGV[a+6] raw
//
// enter is the script's first write. It is false if a webhook has this id
// already: a script that is sent again, because its answer was lost, must not
// do its work again. Then was tells which:
//
//	{"kept", number, status}  this very webhook
//	{"taken"}                 another one
//
// leave undoes enter.
const luaKeep = `
local function was(k, a)
	local r = redis.call('HMGET', KEYS[k], 'raw', 'ticket', 'status')
	if not r[1] then return nil end
	if r[1] ~= ARGV[a+6] then return {'taken'} end
	return {'kept', r[2], r[3]}
end
local function enter(k, a)
	return redis.call('ZADD', KEYS[k+1], 'NX', ARGV[a+1], ARGV[a]) == 1
end
local function leave(k, a)
	redis.call('ZREM', KEYS[k+1], ARGV[a])
end
local function keep(k, a, ticket)
	redis.call('HSET', KEYS[k], 'at', ARGV[a+1], 'remote', ARGV[a+2], 'ticket', ticket,
		'status', ARGV[a+3], 'error', ARGV[a+4], 'repaired', ARGV[a+5], 'raw', ARGV[a+6])
	redis.call('ZADD', KEYS[k+2], ARGV[a+1], ARGV[a])
end
`

// acceptScript keeps a webhook, and the ticket it begins. The ticket's number
// is not known before, so its stored form comes in two halves, and the number
// goes between them. So new requests need one round trip, however many
// replicas there are, and numbers are in the order of arrival without gaps.
//
//	KEYS[1]   incoming:ID, and two more: see luaKeep
//	KEYS[4]   request:ID    if the webhook is about a request
//	KEYS[5]   seq           from here on only if it begins a ticket
//	KEYS[6]   tickets
//	KEYS[7]   tickets:PROGRESS
//	KEYS[8]   lanes
//	KEYS[9…]  due:LANE      of each lane that it owes something in
//	ARGV[1]   seven arguments: see luaKeep
//	ARGV[8]   ticket:       what a number makes the key of a ticket
//	ARGV[9]   the stored form before the number's counter
//	ARGV[10]  and after it
//	ARGV[11]  the number without its counter, JIT-
//	ARGV[12]  progress
//	ARGV[13]  lanes
//	ARGV[14…] lane and due time in µs, for each KEYS[9…]
//
//	{"done"}             the webhook is kept, and made no ticket
//	{"made", seq}        and made this one
//	{"known", seq, version, doc, progress, lanes}
//	                     nothing is written: its request has a ticket
//	{"used", seq}        nothing is written: the counter is behind
//	or what was tells
var acceptScript = goredis.NewScript(luaKeep + luaAccept)

const luaAccept = `
if KEYS[4] then
	local seq = redis.call('GET', KEYS[4])
	if seq then
		local t = redis.call('HMGET', ARGV[8] .. seq, 'version', 'doc', 'progress', 'lanes')
		return {'known', seq, t[1], t[2], t[3], t[4]}
	end
end
if not enter(1, 1) then return was(1, 1) or {'taken'} end
if not KEYS[5] then
	keep(1, 1, '')
	return {'done'}
end
local seq = string.format('%.0f', redis.call('INCR', KEYS[5]))
if redis.call('ZADD', KEYS[6], 'NX', seq, seq) == 0 then
	leave(1, 1)
	return {'used', seq}
end
redis.call('HSET', ARGV[8] .. seq, 'version', 1, 'doc', ARGV[9] .. seq .. ARGV[10], 'progress', ARGV[12], 'lanes', ARGV[13])
redis.call('SET', KEYS[4], seq)
redis.call('ZADD', KEYS[7], seq, seq)
for i = 9, #KEYS do
	local a = 14 + 2 * (i - 9)
	redis.call('SADD', KEYS[8], ARGV[a])
	redis.call('ZADD', KEYS[i], ARGV[a+1], seq)
end
keep(1, 1, ARGV[11] .. seq)
return {'made', seq}
`

// putScript writes a changed ticket, if nobody has changed it since it was
// read, and keeps the webhook that changed it.
//
//	KEYS[1]  ticket:SEQ
//	KEYS[2]  tickets:PROGRESS as it was
//	KEYS[3]  tickets:PROGRESS as it becomes
//	KEYS[4]  lanes
//	KEYS[5…] due:LANE of each lane it leaves, then of each it owes something in
//	KEYS[…]  incoming:ID and two more, if there is a webhook: see luaKeep
//	ARGV[1]  seq
//	ARGV[2]  the version that was read
//	ARGV[3]  the stored form; empty to leave the ticket as it is
//	ARGV[4]  progress
//	ARGV[5]  lanes
//	ARGV[6]  how many lanes it leaves
//	ARGV[7]  how many it owes something in
//	ARGV[8…] lane and due time in µs, for each of these
//	ARGV[…]  if there is a webhook, seven arguments, see luaKeep, and the
//	         ticket's number
//
//	{"done"}
//	{"other", version, doc, progress, lanes}  nothing is written: it was changed
//	or what was tells
var putScript = goredis.NewScript(luaKeep + luaPut)

const luaPut = `
local left, owed = tonumber(ARGV[6]), tonumber(ARGV[7])
local k, a = 5 + left + owed, 8 + 2 * owed
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then
	local t = redis.call('HMGET', KEYS[1], 'version', 'doc', 'progress', 'lanes')
	return {'other', t[1], t[2], t[3], t[4]}
end
if KEYS[k] then
	if not enter(k, a) then return was(k, a) or {'taken'} end
	keep(k, a, ARGV[a+7])
end
if ARGV[3] ~= '' then
	redis.call('HSET', KEYS[1], 'doc', ARGV[3], 'progress', ARGV[4], 'lanes', ARGV[5])
	redis.call('HINCRBY', KEYS[1], 'version', 1)
	if KEYS[2] ~= KEYS[3] then
		redis.call('ZREM', KEYS[2], ARGV[1])
		redis.call('ZADD', KEYS[3], ARGV[1], ARGV[1])
	end
	for i = 5, 4 + left do
		redis.call('ZREM', KEYS[i], ARGV[1])
	end
	for i = 1, owed do
		redis.call('SADD', KEYS[4], ARGV[6 + 2 * i])
		redis.call('ZADD', KEYS[4 + left + i], ARGV[7 + 2 * i], ARGV[1])
	end
end
return {'done'}
`

// lookScript finds the ticket of a request.
//
//	KEYS[1] request:ID
//	ARGV[1] ticket:
//
//	{"none"}
//	{"known", seq, version, doc, progress, lanes}
var lookScript = goredis.NewScript(`
local seq = redis.call('GET', KEYS[1])
if not seq then return {'none'} end
local t = redis.call('HMGET', ARGV[1] .. seq, 'version', 'doc', 'progress', 'lanes')
return {'known', seq, t[1], t[2], t[3], t[4]}
`)

// endLeasesScript ends an owner's leases in a lane, all but some.
//
//	KEYS[1] leases:LANE
//	ARGV[1] the owner
//	ARGV[2…] leases that stay
//
//	how many were ended
var endLeasesScript = goredis.NewScript(`
local stays, ended = {}, 0
for i = 2, #ARGV do
	stays[ARGV[i]] = true
end
for _, lease in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
	if not stays[lease] and string.match(lease, ' (.*)$') == ARGV[1] then
		ended = ended + redis.call('ZREM', KEYS[1], lease)
	end
end
return {ended}
`)

// claimScript leases tickets that are due in a lane. Leases are in Redis' own
// time, so that a replica whose clock is wrong neither takes what another
// holds nor holds it too long: what its clock is ahead is taken off.
//
//	KEYS[1] due:LANE
//	KEYS[2] leases:LANE
//	ARGV[1] now, µs
//	ARGV[2] until, µs
//	ARGV[3] the caller's clock, µs
//	ARGV[4] how many tickets at most
//	ARGV[5] the owner
//	ARGV[6] ticket:
//	ARGV[7] the form's version of this program
//	ARGV[8…] leases of this owner that are to end first
//
//	seq, version and doc of each ticket, one after the other; instead of them
//	seq, nil and the form's version of up to 64 that are due and of a newer
//	form: those are not leased, a newer replica takes them
var claimScript = goredis.NewScript(`
for i = 8, #ARGV do
	redis.call('ZREM', KEYS[2], ARGV[i])
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 64)
if #due == 0 then return {} end
local time = redis.call('TIME')
local ahead = ARGV[3] - (time[1] * 1000000 + time[2])
local now = string.format('%.0f', ARGV[1] - ahead)
local till = string.format('%.0f', ARGV[2] - ahead)
local held = {}
-- A lease that ends much later than those that are given is of a clock that
-- was set back since.
local latest = string.format('%.0f', till + 600000000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. latest, '+inf')
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, latest)) do
	held[string.match(lease, '^%d+')] = true
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local limit, found, newer, from, result = tonumber(ARGV[4]), 0, 0, 0, {}
while #due > 0 do
	for _, seq in ipairs(due) do
		if not held[seq] then
			local t = redis.call('HMGET', ARGV[6] .. seq, 'version', 'doc')
			local form = string.match(t[2] or '', '^{"v":(%d+)')
			if form and tonumber(form) > tonumber(ARGV[7]) then
				newer = newer + 1
				if newer <= 64 then
					table.insert(result, seq)
					table.insert(result, false)
					table.insert(result, form)
				end
			else
				redis.call('ZADD', KEYS[2], till, seq .. ' ' .. ARGV[5])
				table.insert(result, seq)
				table.insert(result, t[1])
				table.insert(result, t[2])
				found = found + 1
				if found >= limit then return result end
			end
		end
	end
	from = from + #due
	due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', from, 256)
end
return result
`)

// mendScript puts a ticket's entry in a lane's index right, if nobody has
// changed the ticket since it was read, and ends its lease.
//
//	KEYS[1] due:LANE
//	KEYS[2] ticket:SEQ
//	KEYS[3] leases:LANE
//	ARGV[1] seq
//	ARGV[2] the version that was read
//	ARGV[3] when it is due, µs; empty if it owes nothing in the lane
//	ARGV[4] the lease
//
//	{}
var mendScript = goredis.NewScript(`
redis.call('ZREM', KEYS[3], ARGV[4])
if redis.call('HGET', KEYS[2], 'version') ~= ARGV[2] then return {} end
if ARGV[3] == '' then
	redis.call('ZREM', KEYS[1], ARGV[1])
else
	redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return {}
`)

// listScript reads tickets.
//
//	KEYS[1] tickets or tickets:PROGRESS
//	ARGV[1] ZREVRANGEBYSCORE for newest first, or ZRANGEBYSCORE
//	ARGV[2] from which number on
//	ARGV[3] up to which
//	ARGV[4] how many at most
//	ARGV[5] ticket:
//
//	seq, version and doc of each ticket, one after the other
var listScript = goredis.NewScript(`
local result = {}
for _, seq in ipairs(redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])) do
	local t = redis.call('HMGET', ARGV[5] .. seq, 'version', 'doc')
	table.insert(result, seq)
	table.insert(result, t[1])
	table.insert(result, t[2])
end
return result
`)

// statsScript counts.
//
//	KEYS[1]  lanes
//	KEYS[2…] tickets:PROGRESS
//	ARGV[1]  now, µs
//	ARGV[2]  due:
//
//	how many tickets each KEYS[2…] has, and then for each lane in which
//	something is owed its name, how many owe it, how many of them now, and when
//	the first is due in µs
var statsScript = goredis.NewScript(`
local result = {}
for i = 2, #KEYS do
	table.insert(result, redis.call('ZCARD', KEYS[i]))
end
for _, lane in ipairs(redis.call('SMEMBERS', KEYS[1])) do
	local owed = redis.call('ZCARD', ARGV[2] .. lane)
	if owed > 0 then
		table.insert(result, lane)
		table.insert(result, owed)
		table.insert(result, redis.call('ZCOUNT', ARGV[2] .. lane, '-inf', ARGV[1]))
		table.insert(result, redis.call('ZRANGE', ARGV[2] .. lane, 0, 0, 'WITHSCORES')[2])
	end
end
return result
`)

// openScript makes an empty store, if there is none, and tells its layout.
//
//	KEYS[1] schema
//	KEYS[2] seq
//	ARGV[1] the layout of this program
//	ARGV[2] the number before the first
//
//	{"done", schema}
var openScript = goredis.NewScript(`
if redis.call('SETNX', KEYS[1], ARGV[1]) == 1 then
	redis.call('SETNX', KEYS[2], ARGV[2])
end
return {'done', redis.call('GET', KEYS[1])}
`)
