package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// The settings are one row of meta; each change has a row of its own.
const (
	settingsKey   = "settings"
	changesSchema = `
CREATE TABLE IF NOT EXISTS changes (
	id  INTEGER PRIMARY KEY AUTOINCREMENT,
	doc TEXT NOT NULL
);
`
	selMeta = `SELECT value FROM meta WHERE key = ?`
	setMeta = `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`

	// marks are rows of meta too.
	markPrefix = "mark:"
)

// Settings implements [store.Store].
func (s *Store) Settings(ctx context.Context) (tickets.Settings, error) {
	doc, err := stored(s.read.QueryRowContext(ctx, selMeta, settingsKey))
	if err == nil {
		var set tickets.Settings
		if set, err = store.DecodeSettings(doc); err == nil {
			return set, nil
		}
	}
	return tickets.Settings{}, fmt.Errorf("settings: %w", err)
}

// stored is the value of row, nil if there is none.
func stored(row *sql.Row) ([]byte, error) {
	var doc []byte
	if err := row.Scan(&doc); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	return doc, nil
}

// Configure implements [store.Store].
func (s *Store) Configure(ctx context.Context, from int64, changes []tickets.Change) (tickets.Settings, error) {
	var after tickets.Settings
	var docs [][]byte
	var refused error
	err := s.write(ctx, func(b *batch) error {
		refused = nil
		before, err := stored(b.conn.QueryRowContext(background, selMeta, settingsKey))
		if err != nil {
			return err
		}
		var doc []byte
		if after, doc, docs, refused = store.ApplyChanges(before, from, changes, b.recent); refused != nil {
			return nil // no reason to fail the writes beside this one
		}
		return b.set(doc, docs)
	})
	if err != nil {
		return tickets.Settings{}, fmt.Errorf("change settings: %w", err) // the write may be under way still
	}
	if refused != nil {
		return after, fmt.Errorf("change settings: %w", refused)
	}
	s.hooks.CommittedSettings(docs)
	return after, nil
}

// ResetSettings implements [store.Store].
func (s *Store) ResetSettings(ctx context.Context, c tickets.Change) (tickets.Settings, error) {
	var after tickets.Settings
	var docs [][]byte
	var refused error
	err := s.write(ctx, func(b *batch) error {
		refused = nil
		before, err := stored(b.conn.QueryRowContext(background, selMeta, settingsKey))
		if err != nil {
			return err
		}
		var doc []byte
		if after, doc, docs, refused = store.ResetDamaged(before, c, b.recent); refused != nil {
			return nil // no reason to fail the writes beside this one
		}
		return b.set(doc, docs)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return tickets.Settings{}, fmt.Errorf("mend settings: %w", err)
	}
	s.hooks.CommittedSettings(docs)
	return after, nil
}

// recent is a store.Recent.
func (b *batch) recent(limit int) ([][]byte, error) { return changeDocs(background, b.conn, limit) }

// set writes settings and their changes, oldest first.
func (b *batch) set(doc []byte, changes [][]byte) error {
	if _, err := b.conn.ExecContext(background, setMeta, settingsKey, string(doc)); err != nil {
		return err
	}
	for _, c := range changes {
		if _, err := b.conn.ExecContext(background, `INSERT INTO changes (doc) VALUES (?)`, string(c)); err != nil {
			return err
		}
	}
	return nil
}

// RestoreSettings implements [store.Archive].
func (s *Store) RestoreSettings(ctx context.Context, set tickets.Settings, changes []tickets.Change) (did store.Restored, err error) {
	doc, docs, err := store.EncodeSettings(set, changes)
	if err != nil {
		return store.Refused, err
	}
	slices.Reverse(docs)
	err = s.write(ctx, func(b *batch) error {
		before, err := stored(b.conn.QueryRowContext(background, selMeta, settingsKey))
		if err != nil {
			return err
		}
		if did, err = store.CompareSettings(set, before); err != nil || did != store.Copied {
			return err
		}
		return b.set(doc, docs)
	})
	if err != nil {
		return store.Refused, err
	}
	return did, nil
}

// ChangeForms implements [store.Archive].
func (s *Store) ChangeForms(ctx context.Context, n int) ([][]byte, error) {
	docs, err := changeDocs(ctx, s.read, limit(n))
	if err != nil {
		return nil, fmt.Errorf("changes of the settings: %w", err)
	}
	return docs, nil
}

// Changes implements [store.Store].
func (s *Store) Changes(ctx context.Context, n int) ([]tickets.Change, error) {
	docs, err := changeDocs(ctx, s.read, limit(n))
	if err != nil {
		return nil, fmt.Errorf("changes of the settings: %w", err)
	}
	list := make([]tickets.Change, len(docs))
	for i, doc := range docs {
		if list[i], err = store.DecodeChange(doc); err != nil {
			return nil, fmt.Errorf("changes of the settings: %w", err)
		}
	}
	return list, nil
}

// changeDocs are the stored forms of the n newest changes, newest first.
func changeDocs(ctx context.Context, db querier, n int) ([][]byte, error) {
	return docs(ctx, db, `SELECT doc FROM changes ORDER BY id DESC LIMIT ?`, n)
}

// docs are the stored forms that a query finds.
func docs(ctx context.Context, db querier, query string, args ...any) (list [][]byte, err error) {
	err = each(ctx, db, func(row scanner) error {
		var doc []byte
		err := row.Scan(&doc)
		list = append(list, doc)
		return err
	}, query, args...)
	return list, err
}

// Cursor implements [store.Store].
func (s *Store) Cursor(ctx context.Context, name string) (int64, error) {
	var at int64
	err := s.read.QueryRowContext(ctx, selMeta, markPrefix+name).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("mark of %s: %w", name, err)
	}
	return at, nil
}

// SetCursor implements [store.Store].
func (s *Store) SetCursor(ctx context.Context, name string, at int64) error {
	err := s.write(ctx, func(b *batch) error {
		_, err := b.conn.ExecContext(background, setMeta, markPrefix+name, strconv.FormatInt(at, 10))
		return err
	})
	if err != nil {
		return fmt.Errorf("set mark of %s: %w", name, err)
	}
	return nil
}

// Marks implements [store.Archive].
func (s *Store) Marks(ctx context.Context) (map[string]int64, error) {
	marks := map[string]int64{}
	err := each(ctx, s.read, func(row scanner) error {
		var key string
		var at int64
		err := row.Scan(&key, &at)
		marks[strings.TrimPrefix(key, markPrefix)] = at
		return err
	}, `SELECT key, value FROM meta WHERE key LIKE ?`, markPrefix+"%")
	if err != nil {
		return nil, fmt.Errorf("marks: %w", err)
	}
	return marks, nil
}
