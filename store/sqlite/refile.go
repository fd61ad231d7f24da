package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Misfiled implements [store.Store], and looks at one moment of the file.
func (s *Store) Misfiled(ctx context.Context, list []store.Entries) ([]store.Misfiled, error) {
	tx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("compare the indexes: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	var found []store.Misfiled
	for _, e := range list {
		wrong, err := misfiled(ctx, tx, e)
		if err != nil {
			return found, fmt.Errorf("compare the indexes of ticket %d: %w", e.Seq, err)
		}
		found = append(found, wrong...)
	}
	return found, nil
}

func misfiled(ctx context.Context, tx *sql.Tx, e store.Entries) (found []store.Misfiled, err error) {
	var version int64
	var request, progress string
	switch err := tx.QueryRowContext(ctx, `SELECT version, request, progress FROM tickets WHERE seq = ?`, e.Seq).Scan(&version, &request, &progress); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil // removed since
	case err != nil:
		return nil, err
	case version != e.Version:
		return nil, nil
	}
	if progress != string(e.Progress) {
		found = append(found, e.FiledAs(progress))
	}
	if request != string(e.Request) {
		found = append(found, e.FiledNowhere())
	}
	for _, lane := range e.Lanes() {
		var there bool
		// Too early does no harm. The first half, which is mostly true, needs
		// no search.
		err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM due WHERE lane = ?1 AND at = ?2 AND seq = ?3) OR
			EXISTS (SELECT 1 FROM due WHERE lane = ?1 AND at < ?2 AND seq = ?3)`, string(lane), micros(e.Due[lane]), e.Seq).Scan(&there)
		if err != nil {
			return nil, err
		}
		if !there {
			found = append(found, e.NotDue(lane))
		}
	}
	return found, nil
}

// Refile implements [store.Store].
func (s *Store) Refile(ctx context.Context, n tickets.Number) error {
	err := s.write(ctx, func(b *batch) error {
		t, err := b.byNumber(n)
		if err != nil {
			return err
		}
		e := store.EntriesOf(t)
		if _, err := b.conn.ExecContext(background, `UPDATE tickets SET progress = ? WHERE seq = ?`, string(e.Progress), e.Seq); err != nil {
			return err
		}
		// Another ticket may stand under this request, until it is filed anew.
		if _, err := b.conn.ExecContext(background, `UPDATE OR IGNORE tickets SET request = ? WHERE seq = ?`, string(e.Request), e.Seq); err != nil {
			return err
		}
		b.recount = true // what the index had it as may or may not have been counted
		if _, err := b.conn.ExecContext(background, `DELETE FROM due WHERE seq = ?`, e.Seq); err != nil {
			return err
		}
		return b.index(e.Seq, nil, e.Due)
	})
	if err != nil {
		return fmt.Errorf("file %s anew: %w", n, err)
	}
	return nil
}
