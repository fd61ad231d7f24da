package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

const ledgerSchema = `
CREATE TABLE IF NOT EXISTS retired (
	id  INTEGER PRIMARY KEY AUTOINCREMENT,
	doc TEXT NOT NULL
);
`

// Retire implements [store.Store]. What may go is looked for beside the
// writes; the writer only removes it.
func (s *Store) Retire(ctx context.Context, before, now time.Time, n int) (entry store.Retired, err error) {
	list, err := store.Retirable(before, limit(n), func(seq int64) ([]store.Form, error) {
		return s.forms(ctx, `SELECT seq, version, doc FROM tickets WHERE progress = ? AND seq > ? ORDER BY seq LIMIT ?`, string(tickets.Final), seq, glance)
	})
	if err == nil && len(list) > 0 {
		err = s.write(ctx, func(b *batch) (err error) {
			entry, err = b.retire(list, now)
			return err
		})
	}
	if err != nil {
		return store.Retired{}, fmt.Errorf("retire tickets: %w", err)
	}
	s.hooks.CommittedLedger(entry)
	return entry, nil
}

// retire removes those of list that nothing has happened to since.
func (b *batch) retire(list []*tickets.Ticket, now time.Time) (store.Retired, error) {
	gone, err := b.remove(list)
	if err != nil || len(gone) == 0 {
		return store.Retired{}, err
	}
	last, err := ledger(background, b.conn, `ORDER BY id DESC LIMIT 1`)
	if err != nil {
		return store.Retired{}, err
	}
	entry, doc, err := store.NewLedgerEntry(slices.Concat(last...), gone, now)
	if err != nil {
		return store.Retired{}, err
	}
	return entry, b.account(doc)
}

// remove removes those of list that nothing has happened to since, and returns
// them.
func (b *batch) remove(list []*tickets.Ticket) (gone []*tickets.Ticket, err error) {
	for _, t := range list {
		seq, _ := t.Number.Seq()
		res, err := b.conn.ExecContext(background, `DELETE FROM tickets WHERE seq = ? AND version = ?`, seq, t.Version)
		if err != nil {
			return nil, err
		}
		if n, err := res.RowsAffected(); err != nil {
			return nil, err
		} else if n != 1 {
			continue
		}
		if err := b.index(seq, t.NextDue(), nil); err != nil {
			return nil, err
		}
		b.moved[t.Progress()]--
		gone = append(gone, t)
	}
	return gone, nil
}

// RemoveRetired implements [store.Archive], in one commit.
func (s *Store) RemoveRetired(ctx context.Context, list []*tickets.Ticket) error {
	err := s.write(ctx, func(b *batch) error {
		_, err := b.remove(list)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove retired tickets: %w", err)
	}
	return nil
}

// account adds an entry to the ledger.
func (b *batch) account(doc []byte) error {
	_, err := b.conn.ExecContext(background, `INSERT INTO retired (doc) VALUES (?)`, string(doc))
	return err
}

func ledger(ctx context.Context, db querier, which string) ([][]byte, error) {
	return docs(ctx, db, `SELECT doc FROM retired `+which)
}

// Ledger implements [store.Archive].
func (s *Store) Ledger(ctx context.Context) ([][]byte, error) {
	// A file that an older version served last has none.
	var n int
	err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'retired'`).Scan(&n)
	var list [][]byte
	if err == nil && n > 0 {
		list, err = ledger(ctx, s.read, `ORDER BY id`)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return list, nil
}

// RestoreLedger implements [store.Archive].
func (s *Store) RestoreLedger(ctx context.Context, docs [][]byte) (did store.Restored, err error) {
	err = s.write(ctx, func(b *batch) error {
		have, err := ledger(background, b.conn, `ORDER BY id`)
		if err != nil {
			return err
		}
		var more [][]byte
		more, did = store.CompareLedger(docs, have)
		var errs []error
		for _, doc := range more {
			errs = append(errs, b.account(doc))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return store.Refused, err
	}
	return did, nil
}
