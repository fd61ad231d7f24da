package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// pageBytes ends a page of tickets or webhooks early.
const pageBytes = 4 << 20

// pageScript reads tickets, oldest first.
//
//	KEYS[1] tickets or tickets:PROGRESS
//	ARGV[1] only numbers above this one
//	ARGV[2] how many at most
//	ARGV[3] after how many bytes no more
//	ARGV[4] ticket:
//
//	seq, version and doc of each ticket, one after the other
var pageScript = goredis.NewScript(`
local result, bytes = {}, 0
for _, seq in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])) do
	local t = redis.call('HMGET', ARGV[4] .. seq, 'version', 'doc')
	table.insert(result, seq)
	table.insert(result, t[1])
	table.insert(result, t[2])
	bytes = bytes + #(t[2] or '')
	if bytes >= tonumber(ARGV[3]) then break end
end
return result
`)

// incomingPageScript reads webhooks with their bodies, oldest first.
//
//	KEYS[1] incomings
//	ARGV[1] the id of the one before; empty to begin
//	ARGV[2] how many at most
//	ARGV[3] after how many bytes no more
//	ARGV[4] incoming:
//
//	{"gone"}   there is no webhook of this id
//	{"page", id, at, remote, ticket, status, error, repaired, raw, …}
var incomingPageScript = goredis.NewScript(`
local from, bytes, result = 0, 0, {'page'}
if ARGV[1] ~= '' then
	local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
	if not rank then return {'gone'} end
	from = rank + 1
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], from, from + ARGV[2] - 1)) do
	table.insert(result, id)
	for _, v in ipairs(redis.call('HMGET', ARGV[4] .. id, 'at', 'remote', 'ticket', 'status', 'error', 'repaired', 'raw')) do
		table.insert(result, v)
		bytes = bytes + #(v or '')
	end
	if bytes >= tonumber(ARGV[3]) then break end
end
return result
`)

// standingScript reads what there is of a number and of a request.
//
//	KEYS[1] ticket:SEQ
//	KEYS[2] request:ID
//	ARGV[1] seq
//	ARGV[2] ticket:
//
//	{version, doc, progress, lanes, seq of the request}, and if that is
//	another one its version and doc
var standingScript = goredis.NewScript(`
local t = redis.call('HMGET', KEYS[1], 'version', 'doc', 'progress', 'lanes')
local of = redis.call('GET', KEYS[2])
if not of or of == ARGV[1] then return {t[1], t[2], t[3], t[4], of} end
local o = redis.call('HMGET', ARGV[2] .. of, 'version', 'doc')
return {t[1], t[2], t[3], t[4], of, o[1], o[2]}
`)

// restoreScript writes a ticket as another store has kept it, if what stands
// in its place is still as it was read.
//
//	KEYS[1]  ticket:SEQ
//	KEYS[2]  request:ID
//	KEYS[3]  tickets
//	KEYS[4]  lanes
//	KEYS[5]  tickets:PROGRESS as it was
//	KEYS[6]  tickets:PROGRESS as it becomes
//	KEYS[7…] due:LANE of each lane it leaves, then of each it owes something in
//	ARGV[1]  seq
//	ARGV[2]  the version that was read; empty if there was none
//	ARGV[3]  version, ARGV[4] the stored form, ARGV[5] progress, ARGV[6] lanes
//	ARGV[7]  how many lanes it leaves
//	ARGV[8…] lane and due time in µs, for each that it owes something in
//
//	{"done"}
//	{"other"}  nothing is written
var restoreScript = goredis.NewScript(`
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[2] then return {'other'} end
if (redis.call('GET', KEYS[2]) or ARGV[1]) ~= ARGV[1] then return {'other'} end
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'doc', ARGV[4], 'progress', ARGV[5], 'lanes', ARGV[6])
redis.call('SET', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[1])
if KEYS[5] ~= KEYS[6] then
	redis.call('ZREM', KEYS[5], ARGV[1])
end
redis.call('ZADD', KEYS[6], ARGV[1], ARGV[1])
local left = tonumber(ARGV[7])
for i = 7, 6 + left do
	redis.call('ZREM', KEYS[i], ARGV[1])
end
for i = 7 + left, #KEYS do
	local a = 8 + 2 * (i - 7 - left)
	redis.call('SADD', KEYS[4], ARGV[a])
	redis.call('ZADD', KEYS[i], ARGV[a+1], ARGV[1])
end
return {'done'}
`)

// restoreIncomingScript keeps a webhook as another store has kept it.
//
//	KEYS[1] incoming:ID, and two more: see luaKeep
//	ARGV[1] seven arguments: see luaKeep
//	ARGV[8] the ticket's number
//
//	{"done"}
//	{"same"}   it is there already
//	{"other"}  another one of this id is there
var restoreIncomingScript = goredis.NewScript(luaKeep + `
if enter(1, 1) then
	keep(1, 1, ARGV[8])
	return {'done'}
end
local have = redis.call('HMGET', KEYS[1], 'at', 'remote', 'status', 'error', 'repaired', 'raw', 'ticket')
for i = 1, 7 do
	if have[i] ~= ARGV[1 + i] then return {'other'} end
end
return {'same'}
`)

// raiseScript raises the counter.
//
//	KEYS[1] seq
//	ARGV[1] at least
//
//	{"done"}
var raiseScript = goredis.NewScript(`
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
	redis.call('SET', KEYS[1], ARGV[1])
end
return {'done'}
`)

// TicketsAfter implements [store.Archive].
func (s *Store) TicketsAfter(ctx context.Context, seq int64, n int) ([]store.TicketRecord, error) {
	forms, err := s.FormsAfter(ctx, seq, n)
	page := make([]store.TicketRecord, len(forms))
	for i, f := range forms {
		if page[i] = f.Record(); page[i].Err != nil {
			page[i].Err = fmt.Errorf("ticket %d: %w", f.Seq, page[i].Err)
		}
	}
	return page, err
}

// FormsAfter implements [store.Archive].
func (s *Store) FormsAfter(ctx context.Context, seq int64, n int) ([]store.Form, error) {
	page, err := s.forms(ctx, s.k.tickets(), seq, limit(n))
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	return page, nil
}

// forms are those of an index.
func (s *Store) forms(ctx context.Context, index string, seq int64, n int) ([]store.Form, error) {
	r, err := s.run(ctx, pageScript, []string{index}, seq, n, pageBytes, s.k.everyTicket())
	if err != nil {
		return nil, err
	}
	var page []store.Form
	for row := range slices.Chunk(r, 3) {
		var f store.Form
		if f.Seq, err = strconv.ParseInt(row.text(0), 10, 64); err != nil {
			return nil, errors.New("the key " + index + " has a number that is none")
		}
		c := recordOf(f.Seq, row[1:])
		f.Version, f.Doc, f.Err = c.version, []byte(c.doc), c.err
		page = append(page, f)
	}
	return page, nil
}

// IncomingsAfter implements [store.Archive].
func (s *Store) IncomingsAfter(ctx context.Context, id string, n int) ([]store.IncomingRecord, error) {
	r, err := s.run(ctx, incomingPageScript, []string{s.k.incomings()}, id, limit(n), pageBytes, s.k.everyIncoming())
	if err == nil && r.text(0) == "gone" {
		err = fmt.Errorf("webhook %s: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read incoming: %w", err)
	}
	var page []store.IncomingRecord
	for row := range slices.Chunk(r[1:], 8) {
		var k store.IncomingRecord
		k.StoredIncoming, k.Err = keptOf(row[:7])
		if k.ID, k.Raw = row.text(0), []byte(row.text(7)); k.Err == nil && row.at(7) == nil {
			k.Err = errors.New("it has no body")
		}
		page = append(page, k)
	}
	return page, nil
}

// RestoreTickets implements [store.Archive]: each ticket is a commit of its
// own, and all of them are two round trips.
func (s *Store) RestoreTickets(ctx context.Context, list []*tickets.Ticket, choose store.Choose) error {
	todo := make([]int, len(list))
	for i := range list {
		todo[i] = i
	}
	for try := 0; len(todo) > 0; try++ {
		var err error
		if todo, err = s.restore(ctx, list, todo, choose); err != nil {
			return fmt.Errorf("restore tickets: %w", err)
		}
		if len(todo) == 0 {
			return nil
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
	return nil
}

// restore does so for the tickets in todo, and returns those that somebody
// changed meanwhile.
func (s *Store) restore(ctx context.Context, list []*tickets.Ticket, todo []int, choose store.Choose) (again []int, err error) {
	looks, err := s.runAll(ctx, len(todo), func(p goredis.Pipeliner, i int) (*goredis.Cmd, error) {
		t := list[todo[i]]
		seq, _ := t.Number.Seq()
		return standingScript.Eval(ctx, p, []string{s.k.ticket(seq), s.k.request(t.ID)}, seq, s.k.everyTicket()), nil
	})
	if err != nil {
		return nil, err
	}
	var chosen []*tickets.Ticket
	var olds []*record
	var of []int
	for i, r := range looks {
		t := list[todo[i]]
		old, have := standing(t, r)
		write, err := chosenBy(choose, todo[i], have)
		if err != nil {
			return nil, err
		}
		if write != nil {
			chosen, olds, of = append(chosen, write), append(olds, old), append(of, todo[i])
		}
	}
	done, err := s.runAll(ctx, len(chosen), func(p goredis.Pipeliner, i int) (*goredis.Cmd, error) {
		keys, args, err := s.restoreArgs(chosen[i], olds[i])
		if err != nil {
			return nil, err
		}
		return restoreScript.Eval(ctx, p, keys, args...), nil
	})
	if err != nil {
		return nil, err
	}
	for i, r := range done {
		switch r.text(0) {
		case "done":
		case "other":
			again = append(again, of[i])
		default:
			return nil, r.unknown()
		}
	}
	return again, nil
}

// standing reads standingScript's result about t. The record is that of its
// number, nil if there is none.
func standing(t *tickets.Ticket, r reply) (*record, store.Existing) {
	var old *record
	var have store.Existing
	if seq, _ := t.Number.Seq(); r.at(0) != nil {
		old = recordOf(seq, r)
		have.ByNumber, have.Err = old.ticket()
	}
	switch {
	case r.at(4) == nil:
	case len(r) > 5:
		other, err := found(r[4:])
		have.ByRequest, have.Err = other, errors.Join(have.Err, err)
	default:
		have.ByRequest = have.ByNumber
	}
	return old, have
}

// chosenBy calls choose; a panic in it is an error of this call alone.
func chosenBy(choose store.Choose, i int, have store.Existing) (_ *tickets.Ticket, err error) {
	defer recovered(&err)
	return choose(i, have), nil
}

func (s *Store) restoreArgs(t *tickets.Ticket, old *record) (keys []string, args []any, err error) {
	seq, ok := t.Number.Seq()
	if !ok {
		return nil, nil, fmt.Errorf("%q is not a ticket number", t.Number)
	}
	doc, err := store.Encode(t)
	if err != nil {
		return nil, nil, err
	}
	version, was, left := "", t.Progress(), []tickets.Lane(nil)
	due, lanes := dueOf(t)
	if old != nil {
		version, was = strconv.FormatInt(old.version, 10), old.progress
		left = slices.DeleteFunc(lanesOf(old.lanes), func(l tickets.Lane) bool { return slices.Contains(lanes, l) })
	}
	keys = []string{s.k.ticket(seq), s.k.request(t.ID), s.k.tickets(), s.k.lanes(), s.k.progress(was), s.k.progress(t.Progress())}
	args = []any{seq, version, t.Version, doc, string(t.Progress()), laneText(lanes), len(left)}
	for _, l := range left {
		keys = append(keys, s.k.due(l))
	}
	for _, l := range lanes {
		keys = append(keys, s.k.due(l))
		args = append(args, string(l), micros(due[l]))
	}
	return keys, args, nil
}

// RestoreIncomings implements [store.Archive]: each webhook is a commit of its
// own, and all of them are one round trip.
func (s *Store) RestoreIncomings(ctx context.Context, list []store.StoredIncoming) ([]store.Restored, error) {
	results, err := s.runAll(ctx, len(list), func(p goredis.Pipeliner, i int) (*goredis.Cmd, error) {
		k := list[i]
		keys := []string{s.k.incoming(k.ID), s.k.incomings(), s.k.incomingsOf(k.Receipt.Status)}
		args := append(webhook{Incoming: k.Incoming}.args(k.Receipt.Status), string(k.Receipt.Ticket))
		return restoreIncomingScript.Eval(ctx, p, keys, args...), nil
	})
	if err != nil {
		return nil, fmt.Errorf("restore incoming: %w", err)
	}
	did := make([]store.Restored, len(list))
	for i, r := range results {
		switch r.text(0) {
		case "done":
			did[i] = store.Copied
		case "same":
			did[i] = store.Same
		case "other":
			did[i] = store.Refused
		default:
			return nil, r.unknown()
		}
	}
	return did, nil
}

// runAll runs n scripts in one round trip.
func (s *Store) runAll(ctx context.Context, n int, script func(p goredis.Pipeliner, i int) (*goredis.Cmd, error)) ([]reply, error) {
	if n == 0 {
		return nil, ctx.Err()
	}
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	p := s.c.Pipeline()
	cmds := make([]*goredis.Cmd, n)
	for i := range cmds {
		if cmds[i], err = script(p, i); err != nil {
			return nil, err
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, s.failed(ctx, err)
	}
	replies := make([]reply, n)
	for i, cmd := range cmds {
		r, err := cmd.Slice()
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		replies[i] = r
	}
	return replies, nil
}

// RaiseCounter implements [store.Archive].
func (s *Store) RaiseCounter(ctx context.Context, seq int64) error {
	if _, err := s.run(ctx, raiseScript, []string{s.k.seq()}, seq); err != nil {
		return fmt.Errorf("raise the counter: %w", err)
	}
	return nil
}

// Count implements [store.Archive].
func (s *Store) Count(ctx context.Context) (store.Counts, error) {
	leave, err := s.enter()
	if err != nil {
		return store.Counts{}, fmt.Errorf("count: %w", err)
	}
	defer leave()
	p := s.c.Pipeline()
	t, in, seq := p.ZCard(ctx, s.k.tickets()), p.ZCard(ctx, s.k.incomings()), p.Get(ctx, s.k.seq())
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
		return store.Counts{}, fmt.Errorf("count: %w", s.failed(ctx, err))
	}
	counter, err := seq.Int64()
	if err != nil && !errors.Is(err, goredis.Nil) {
		return store.Counts{}, errors.New("count: the key " + s.k.seq() + " is not a number")
	}
	return store.Counts{Tickets: int(t.Val()), Incomings: int(in.Val()), Counter: max(counter, store.FirstSeq-1)}, nil
}

// Same reports whether s and other are one store, however their addresses are
// written. It writes what Ping writes.
func (s *Store) Same(ctx context.Context, other *Store) (bool, error) {
	for range 10 {
		mark := rand.Text()
		if err := s.mark(ctx, mark); err != nil {
			return false, err
		}
		there, err := other.marked(ctx)
		if err != nil {
			return false, err
		}
		here, err := s.marked(ctx)
		if err != nil {
			return false, err
		}
		if here == mark { // a bot has not pinged meanwhile
			return there == mark, nil
		}
	}
	return false, errors.New("the key " + s.k.ping() + " changes all the time")
}

func (s *Store) mark(ctx context.Context, text string) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	return s.failed(ctx, s.c.Set(ctx, s.k.ping(), text, 0).Err())
}

func (s *Store) marked(ctx context.Context) (string, error) {
	leave, err := s.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	text, err := s.c.Get(ctx, s.k.ping()).Result()
	if errors.Is(err, goredis.Nil) {
		return "", nil
	}
	return text, s.failed(ctx, err)
}
