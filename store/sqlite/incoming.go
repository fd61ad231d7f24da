package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const incomingColumns = `id, at, remote, ticket, status, error, repaired`

// Incoming implements [store.Store].
func (s *Store) Incoming(ctx context.Context, id string) (store.StoredIncoming, error) {
	var raw []byte
	k, err := scanKept(s.read.QueryRowContext(ctx, `SELECT `+incomingColumns+`, raw FROM incoming WHERE id = ?`, id), &raw)
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.StoredIncoming{}, fmt.Errorf("incoming %s: %w", id, err)
	}
	if k.Raw, err = s.pack.unpack(raw); err != nil {
		return store.StoredIncoming{}, fmt.Errorf("incoming %s: %w", id, err)
	}
	return k, nil
}

// Incomings implements [store.Store].
func (s *Store) Incomings(ctx context.Context, q store.IncomingQuery) ([]store.StoredIncoming, error) {
	where, args := "", []any{}
	switch q.Status {
	case "":
	case tickets.StatusFailed:
		where = " AND status = 'failed'" // which an index is for
	default:
		where, args = where+" AND status = ?", append(args, string(q.Status))
	}
	if q.Prefix != "" {
		// What may follow is less than a tilde.
		where, args = where+" AND id >= ? AND id < ?", append(args, q.Prefix, q.Prefix+"~")
	}
	var list []store.StoredIncoming
	err := each(ctx, s.read, func(row scanner) error {
		k, err := scanKept(row)
		list = append(list, k)
		return err
	}, `SELECT `+incomingColumns+` FROM incoming WHERE true`+where+` ORDER BY id DESC LIMIT ?`, append(args, limit(q.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("list incoming: %w", err)
	}
	return list, nil
}

func scanKept(row scanner, more ...any) (store.StoredIncoming, error) {
	var k store.StoredIncoming
	var at int64
	var ticket, status string
	err := row.Scan(append([]any{&k.ID, &at, &k.Remote, &ticket, &status, &k.Error, &k.Repaired}, more...)...)
	if err != nil {
		return store.StoredIncoming{}, err
	}
	k.At = time.UnixMicro(at).UTC()
	k.Receipt = tickets.Receipt{Incoming: k.ID, Ticket: tickets.Number(ticket), Status: tickets.Status(status)}
	return k, nil
}

// Replay implements [store.Store].
func (s *Store) Replay(ctx context.Context, in tickets.Incoming, apply store.Apply) (tickets.Receipt, *tickets.Ticket, error) {
	var r tickets.Receipt
	var t *tickets.Ticket
	missing := false
	w := s.hooks.WriteTicket()
	apply = w.Apply(apply)
	err := s.write(ctx, func(b *batch) error {
		r, t, missing = tickets.Receipt{Incoming: in.ID}, nil, false
		err := b.conn.QueryRowContext(background, `SELECT ticket, status FROM incoming WHERE id = ?`, in.ID).Scan(&r.Ticket, &r.Status)
		if missing = errors.Is(err, sql.ErrNoRows); missing {
			return nil // no reason to fail the writes beside this one
		}
		if err != nil || r.Status != tickets.StatusFailed {
			return err
		}
		if apply != nil {
			if t, err = b.apply(in.Update, apply, draft{}, &r); err != nil {
				return err
			}
		}
		_, err = b.conn.ExecContext(background, `UPDATE incoming SET ticket = ?, status = ?, error = ?, repaired = ? WHERE id = ?`,
			string(r.Ticket), string(r.Status), in.Error, in.Repaired, in.ID)
		return err
	})
	if err == nil && missing {
		err = store.ErrNotFound
	}
	if err != nil {
		return tickets.Receipt{}, nil, fmt.Errorf("replay webhook %s: %w", in.ID, err)
	}
	w.Committed(t)
	return r, t, nil
}

// Purge implements [store.Store]. What may go is looked for beside the
// writes; the writer only removes it.
func (s *Store) Purge(ctx context.Context, r store.Retention) (int, error) {
	n, err := store.PurgeBatches(r, func() (n int, err error) {
		err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM incoming`).Scan(&n)
		return n, err
	}, func(failed bool, before time.Time, most int) (int, error) {
		rows, err := s.oldest(ctx, failed, before, most)
		if err != nil || len(rows) == 0 {
			return 0, err
		}
		return s.remove(ctx, rows)
	})
	if err != nil {
		return n, fmt.Errorf("purge incoming: %w", err)
	}
	return n, nil
}

// old is a webhook that may go, as it was when it was looked at.
type old struct {
	row, at int64
	status  string
}

// glance is how many webhooks are looked at together.
const glance = 256

// oldest finds up to most webhooks that may go.
func (s *Store) oldest(ctx context.Context, failed bool, before time.Time, most int) ([]old, error) {
	is := "<>"
	if failed {
		is = "="
	}
	type candidate struct {
		old
		ticket tickets.Number
	}
	var list []old
	var last old
	for {
		var some []candidate
		err := each(ctx, s.read, func(row scanner) error {
			var c candidate
			err := row.Scan(&c.row, &c.at, &c.status, &c.ticket)
			some = append(some, c)
			return err
		}, `SELECT rowid, at, status, ticket FROM incoming WHERE at < ? AND (at, rowid) > (?, ?) AND status `+is+` 'failed' ORDER BY at, rowid LIMIT ?`,
			before.UnixMicro(), last.at, last.row, glance)
		if err != nil {
			return nil, err
		}
		for _, c := range some {
			if c.status == string(tickets.StatusCreated) || c.status == string(tickets.StatusUpdated) {
				if open, err := s.unfinished(ctx, c.ticket); err != nil {
					return nil, err
				} else if open {
					continue
				}
			}
			if list = append(list, c.old); len(list) == most {
				return list, nil
			}
		}
		if len(some) < glance {
			return list, nil
		}
		last = some[len(some)-1].old
	}
}

// unfinished reports whether there is such a ticket and it is not final.
func (s *Store) unfinished(ctx context.Context, n tickets.Number) (bool, error) {
	seq, _ := n.Seq()
	var p string
	err := s.read.QueryRowContext(ctx, `SELECT progress FROM tickets WHERE seq = ?`, seq).Scan(&p)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return p != string(tickets.Final), err
}

// remove removes those of list that nothing has happened to since.
func (s *Store) remove(ctx context.Context, list []old) (int, error) {
	n := 0
	err := s.write(ctx, func(b *batch) error {
		n = 0
		for _, o := range list {
			res, err := b.conn.ExecContext(background, `DELETE FROM incoming WHERE rowid = ? AND at = ? AND status = ?`, o.row, o.at, o.status)
			if err != nil {
				return err
			}
			gone, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += int(gone)
		}
		return nil
	})
	if err != nil {
		return 0, err // the write may be under way still
	}
	return n, nil
}
