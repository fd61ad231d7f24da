package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// pageBytes ends a page of tickets or webhooks early.
const pageBytes = 4 << 20

// TicketsAfter implements [store.Archive].
func (s *Store) TicketsAfter(ctx context.Context, seq int64, n int) ([]store.TicketRecord, error) {
	forms, err := s.FormsAfter(ctx, seq, n)
	page := make([]store.TicketRecord, len(forms))
	for i, f := range forms {
		page[i] = f.Record()
	}
	return page, err
}

// FormsAfter implements [store.Archive].
func (s *Store) FormsAfter(ctx context.Context, seq int64, n int) ([]store.Form, error) {
	page, err := s.forms(ctx, `SELECT seq, version, doc FROM tickets WHERE seq > ? ORDER BY seq LIMIT ?`, seq, limit(n))
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	return page, nil
}

func (s *Store) forms(ctx context.Context, query string, args ...any) ([]store.Form, error) {
	var page []store.Form
	err := s.page(ctx, func(row scanner) (int, error) {
		var f store.Form
		var packed []byte
		if err := row.Scan(&f.Seq, &f.Version, &packed); err != nil {
			return 0, err
		}
		f.Doc, f.Err = s.pack.unpack(packed)
		page = append(page, f)
		return len(packed), nil
	}, query, args...)
	return page, err
}

// IncomingsAfter implements [store.Archive].
func (s *Store) IncomingsAfter(ctx context.Context, id string, n int) ([]store.IncomingRecord, error) {
	var page []store.IncomingRecord
	err := s.page(ctx, func(row scanner) (int, error) {
		var packed []byte
		k, err := scanKept(row, &packed)
		if err != nil {
			return 0, err
		}
		r := store.IncomingRecord{StoredIncoming: k}
		r.Raw, r.Err = s.pack.unpack(packed)
		page = append(page, r)
		return len(r.Raw), nil
	}, `SELECT `+incomingColumns+`, raw FROM incoming WHERE id > ? ORDER BY id LIMIT ?`, id, limit(n))
	if err != nil {
		return nil, fmt.Errorf("read incoming: %w", err)
	}
	return page, nil
}

// page reads rows until they are enough bytes.
func (s *Store) page(ctx context.Context, read func(scanner) (int, error), query string, args ...any) (err error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for bytes := 0; bytes < pageBytes && rows.Next(); {
		n, err := read(rows)
		if err != nil {
			return err
		}
		bytes += n
	}
	return rows.Err()
}

// RestoreTickets implements [store.Archive], in one commit.
func (s *Store) RestoreTickets(ctx context.Context, list []*tickets.Ticket, choose store.Choose) error {
	err := s.write(ctx, func(b *batch) error {
		for i, t := range list {
			have := b.standing(t)
			if t = choose(i, have); t == nil {
				continue
			}
			if err := b.restore(t, have.ByNumber); err != nil {
				return fmt.Errorf("%s: %w", t.Number, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore tickets: %w", err)
	}
	return nil
}

// standing is what there is of t's number and request.
func (b *batch) standing(t *tickets.Ticket) store.Existing {
	var have store.Existing
	seq, _ := t.Number.Seq()
	old, err := b.pack.scan(b.selSeq.QueryRowContext(background, seq))
	if errors.Is(err, store.ErrNotFound) {
		old, err = nil, nil
	}
	have.ByNumber = old
	if err == nil {
		if have.ByRequest = old; old == nil || old.ID != t.ID {
			have.ByRequest, err = b.byRequest(t.ID)
		}
	}
	have.Err = err
	return have
}

// restore writes t with its own version, in place of old or as new.
func (b *batch) restore(t, old *tickets.Ticket) error {
	seq, doc, err := b.form(t)
	if err != nil {
		return err
	}
	var res sql.Result
	if old == nil {
		res, err = b.insTicket.ExecContext(background, seq, string(t.ID), string(t.Progress()), t.Version, doc)
	} else {
		res, err = b.conn.ExecContext(background, `UPDATE tickets SET progress = ?, version = ?, doc = ? WHERE seq = ? AND version = ?`,
			string(t.Progress()), t.Version, doc, seq, old.Version)
	}
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, errors.New("another ticket is in its place"))
	}
	b.seq = max(b.seq, seq)
	var due map[tickets.Lane]time.Time
	if old != nil {
		due = old.NextDue()
		b.moved[old.Progress()]--
	}
	b.moved[t.Progress()]++
	return b.index(seq, due, t.NextDue())
}

// RestoreIncomings implements [store.Archive], in one commit.
func (s *Store) RestoreIncomings(ctx context.Context, list []store.StoredIncoming) ([]store.Restored, error) {
	packed := make([][]byte, len(list))
	for i, k := range list {
		packed[i] = s.pack.pack(k.Raw)
	}
	did := make([]store.Restored, len(list))
	err := s.write(ctx, func(b *batch) (err error) {
		find, err := b.conn.PrepareContext(background, `SELECT `+incomingColumns+`, raw FROM incoming WHERE id = ?`)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, find.Close()) }()
		for i, k := range list {
			if did[i], err = b.restoreIncoming(find, k, packed[i]); err != nil {
				return fmt.Errorf("webhook %s: %w", k.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("restore incoming: %w", err)
	}
	return did, nil
}

func (b *batch) restoreIncoming(find *sql.Stmt, k store.StoredIncoming, packed []byte) (store.Restored, error) {
	var raw []byte
	old, err := scanKept(find.QueryRowContext(background, k.ID), &raw)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return store.Copied, b.keep(k.Incoming, packed, k.Receipt)
	case err != nil:
		return store.Refused, err
	}
	if raw, err = b.pack.unpack(raw); err != nil || !bytes.Equal(raw, k.Raw) || old.Receipt != k.Receipt || !old.At.Equal(k.At) ||
		old.Remote != k.Remote || old.Error != k.Error || old.Repaired != k.Repaired {
		return store.Refused, nil
	}
	return store.Same, nil
}

// RaiseCounter implements [store.Archive].
func (s *Store) RaiseCounter(ctx context.Context, seq int64) error {
	err := s.write(ctx, func(b *batch) error {
		if seq <= b.seq {
			return nil
		}
		res, err := b.conn.ExecContext(background, `UPDATE sqlite_sequence SET seq = ? WHERE name = 'tickets'`, seq)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			if _, err := b.conn.ExecContext(background, `INSERT INTO sqlite_sequence (name, seq) VALUES ('tickets', ?)`, seq); err != nil {
				return err
			}
		}
		b.seq = seq
		return nil
	})
	if err != nil {
		return fmt.Errorf("raise the counter: %w", err)
	}
	return nil
}

// Count implements [store.Archive].
func (s *Store) Count(ctx context.Context) (store.Counts, error) {
	c := store.Counts{Counter: store.FirstSeq - 1}
	var last sql.NullInt64
	err := s.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM tickets), (SELECT count(*) FROM incoming),
		(SELECT max(seq) FROM sqlite_sequence WHERE name = 'tickets')`).Scan(&c.Tickets, &c.Incomings, &last)
	if err != nil {
		return store.Counts{}, fmt.Errorf("count: %w", err)
	}
	c.Counter = max(c.Counter, last.Int64)
	return c, nil
}
