package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// reply is a script's result: texts, numbers and nothing.
type reply []any

func (r reply) at(i int) any {
	if i >= len(r) {
		return nil
	}
	return r[i]
}

// text is the i-th item, empty if it is none.
func (r reply) text(i int) string {
	s, _ := r.at(i).(string)
	return s
}

func (r reply) unknown() error { return fmt.Errorf("redis gave an unknown result: %.20q", r.text(0)) }

// record is a ticket as Redis keeps it.
type record struct {
	seq      int64
	version  int64
	doc      string
	progress tickets.Progress
	lanes    string
	err      error // why it cannot be read
}

// record reads the ticket of a number. The caller checks its prefix.
func (s *Store) record(ctx context.Context, n tickets.Number) (*record, error) {
	seq, ok := n.Seq()
	if !ok {
		return nil, store.ErrNotFound
	}
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	v, err := s.c.HMGet(ctx, s.k.ticket(seq), "version", "doc", "progress", "lanes").Result()
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if v[0] == nil {
		return nil, store.ErrNotFound
	}
	return recordOf(seq, v), nil
}

// recordOf takes version, doc, progress and lanes.
func recordOf(seq int64, r reply) *record {
	c := &record{seq: seq, doc: r.text(1), progress: tickets.Progress(r.text(2)), lanes: r.text(3)}
	if c.version, c.err = strconv.ParseInt(r.text(0), 10, 64); c.err != nil {
		c.err = fmt.Errorf("stored ticket: %w: it has no version", store.ErrUnreadable)
	}
	return c
}

// known is the record of a result {"known", seq, …}.
func known(r reply) *record {
	seq, err := strconv.ParseInt(r.text(1), 10, 64)
	if err != nil {
		return &record{err: fmt.Errorf("stored ticket: %w: its request leads to no number", store.ErrUnreadable)}
	}
	return recordOf(seq, r[2:])
}

// now is the record of a result {"other", …}, nil if it is gone.
func (c *record) now(r reply) *record {
	if r.at(1) == nil {
		return nil
	}
	return recordOf(c.seq, r[1:])
}

// ticket reads the stored form, anew each time.
func (c *record) ticket() (*tickets.Ticket, error) {
	err := c.err
	if err == nil {
		var t *tickets.Ticket
		if t, err = store.Decode([]byte(c.doc)); err == nil {
			t.Version = c.version
			return t, nil
		}
	}
	return nil, fmt.Errorf("ticket %d: %w", c.seq, err)
}

// found is the ticket of seq, version and doc.
func found(r reply) (*tickets.Ticket, error) {
	seq, err := strconv.ParseInt(r.text(0), 10, 64)
	if err != nil {
		return nil, errors.New("an index has a number that is none")
	}
	return recordOf(seq, r[1:]).ticket()
}

// keptOf takes id, at, remote, ticket, status, error and repaired.
func keptOf(r reply) (store.StoredIncoming, error) {
	at, err := strconv.ParseInt(r.text(1), 10, 64)
	if err != nil {
		return store.StoredIncoming{}, fmt.Errorf("the stored webhook %s has no time", r.text(0))
	}
	var k store.StoredIncoming
	k.ID, k.At, k.Remote, k.Error, k.Repaired = r.text(0), time.UnixMicro(at).UTC(), r.text(2), r.text(5), r.text(6) != ""
	k.Receipt = tickets.Receipt{Incoming: k.ID, Ticket: tickets.Number(r.text(3)), Status: tickets.Status(r.text(4))}
	return k, nil
}
