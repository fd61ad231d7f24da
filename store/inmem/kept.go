package inmem

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Incoming implements [store.Store].
func (s *Store) Incoming(ctx context.Context, id string) (k store.StoredIncoming, err error) {
	err = s.locked(ctx, "incoming "+id, func(db *DB) error {
		found, ok := db.incomings[id]
		if !ok {
			return store.ErrNotFound
		}
		k = found
		k.Raw = slices.Clone(k.Raw)
		return nil
	})
	return k, err
}

// Incomings implements [store.Store].
func (s *Store) Incomings(ctx context.Context, q store.IncomingQuery) (list []store.StoredIncoming, err error) {
	err = s.locked(ctx, "list incoming", func(db *DB) error {
		for _, id := range slices.Backward(slices.Sorted(maps.Keys(db.incomings))) {
			k := db.incomings[id]
			if len(list) == limit(q.Limit) || q.Status != "" && k.Receipt.Status != q.Status || !strings.HasPrefix(id, q.Prefix) {
				continue
			}
			k.Raw = nil
			list = append(list, k)
		}
		return nil
	})
	return list, err
}

// Replay implements [store.Store].
func (s *Store) Replay(ctx context.Context, in tickets.Incoming, apply store.Apply) (r tickets.Receipt, t *tickets.Ticket, err error) {
	w := s.hooks.WriteTicket()
	apply = w.Apply(apply)
	err = s.locked(ctx, "replay webhook "+in.ID, func(db *DB) (err error) {
		k, ok := db.incomings[in.ID]
		if !ok {
			return store.ErrNotFound
		}
		if r = k.Receipt; r.Status != tickets.StatusFailed {
			return nil
		}
		if apply != nil {
			if t, err = db.apply(in.Update, apply, &r); err != nil {
				return err
			}
		}
		k.Receipt, k.Error, k.Repaired = r, in.Error, in.Repaired
		db.incomings[in.ID] = k
		return nil
	})
	if err != nil {
		return tickets.Receipt{}, nil, err
	}
	w.Committed(t)
	return r, t, nil
}

// Purge implements [store.Store].
func (s *Store) Purge(ctx context.Context, r store.Retention) (n int, err error) {
	err = s.locked(ctx, "purge incoming", func(db *DB) (err error) {
		n, err = store.PurgeBatches(r, func() (int, error) { return len(db.incomings), nil }, func(failed bool, before time.Time, most int) (int, error) {
			return db.purge(failed, before, most), nil
		})
		return err
	})
	return n, err
}

// purge forgets up to most webhooks that are older than before, the oldest first.
func (db *DB) purge(failed bool, before time.Time, most int) (gone int) {
	ids := slices.SortedFunc(maps.Keys(db.incomings), func(a, b string) int {
		return db.incomings[a].At.Compare(db.incomings[b].At)
	})
	for _, id := range ids {
		k := db.incomings[id]
		if gone == most || !k.At.Before(before) || failed != (k.Receipt.Status == tickets.StatusFailed) || db.unfinished(k.Receipt) {
			continue
		}
		delete(db.incomings, id)
		gone++
	}
	return gone
}

// unfinished reports whether a webhook made or changed a ticket that is not final.
func (db *DB) unfinished(r tickets.Receipt) bool {
	if r.Status != tickets.StatusCreated && r.Status != tickets.StatusUpdated {
		return false
	}
	seq, _ := r.Ticket.Seq()
	row, ok := db.rows[seq]
	return ok && row.progress != tickets.Final
}

// Retire implements [store.Store].
func (s *Store) Retire(ctx context.Context, before, now time.Time, n int) (entry store.Retired, err error) {
	err = s.locked(ctx, "retire tickets", func(db *DB) error {
		list, err := store.Retirable(before, limit(n), func(seq int64) ([]store.Form, error) { return db.forms(seq, 256, tickets.Final), nil })
		if err != nil || len(list) == 0 {
			return err
		}
		var last, doc []byte
		if len(db.ledger) > 0 {
			last = db.ledger[len(db.ledger)-1]
		}
		if entry, doc, err = store.NewLedgerEntry(last, list, now); err != nil {
			return err
		}
		db.ledger = append(db.ledger, doc)
		for _, t := range list {
			seq, _ := t.Number.Seq()
			db.index(seq, nil)
			delete(db.rows, seq)
			delete(db.requests, t.ID)
		}
		return nil
	})
	if err == nil {
		s.hooks.CommittedLedger(entry)
	}
	return entry, err
}

// Settings implements [store.Store].
func (s *Store) Settings(ctx context.Context) (set tickets.Settings, err error) {
	err = s.locked(ctx, "settings", func(db *DB) (err error) { set, err = store.DecodeSettings(db.settings); return err })
	return set, err
}

// Configure implements [store.Store].
func (s *Store) Configure(ctx context.Context, from int64, changes []tickets.Change) (after tickets.Settings, err error) {
	var docs [][]byte
	err = s.locked(ctx, "change settings", func(db *DB) (err error) {
		var doc []byte
		after, doc, docs, err = store.ApplyChanges(db.settings, from, changes, db.recent)
		return db.set(doc, docs, err)
	})
	if err == nil {
		s.hooks.CommittedSettings(docs)
	}
	return after, err
}

// ResetSettings implements [store.Store].
func (s *Store) ResetSettings(ctx context.Context, c tickets.Change) (after tickets.Settings, err error) {
	var docs [][]byte
	err = s.locked(ctx, "reset settings", func(db *DB) (err error) {
		var doc []byte
		after, doc, docs, err = store.ResetDamaged(db.settings, c, db.recent)
		return db.set(doc, docs, err)
	})
	if err == nil {
		s.hooks.CommittedSettings(docs)
	}
	return after, err
}

// set writes settings and their changes, unless there is an error.
func (db *DB) set(doc []byte, changes [][]byte, err error) error {
	if err == nil {
		db.settings, db.changes = doc, append(db.changes, changes...)
	}
	return err
}

// recent is a [store.Recent].
func (db *DB) recent(n int) ([][]byte, error) {
	newest := slices.Clone(db.changes[max(0, len(db.changes)-n):])
	slices.Reverse(newest)
	return newest, nil
}

// Changes implements [store.Store].
func (s *Store) Changes(ctx context.Context, n int) (list []tickets.Change, err error) {
	err = s.locked(ctx, "changes of the settings", func(db *DB) error {
		docs, _ := db.recent(limit(n))
		for _, doc := range docs {
			c, err := store.DecodeChange(doc)
			if err != nil {
				return err
			}
			list = append(list, c)
		}
		return nil
	})
	return list, err
}

// Cursor implements [store.Store].
func (s *Store) Cursor(ctx context.Context, name string) (at int64, err error) {
	err = s.locked(ctx, "cursor of "+name, func(db *DB) error {
		var ok bool
		if at, ok = db.cursors[name]; !ok {
			return store.ErrNotFound
		}
		return nil
	})
	return at, err
}

// SetCursor implements [store.Store].
func (s *Store) SetCursor(ctx context.Context, name string, at int64) error {
	return s.locked(ctx, "set cursor of "+name, func(db *DB) error { db.cursors[name] = at; return nil })
}

// ClaimOnce implements [store.Store].
func (s *Store) ClaimOnce(ctx context.Context, key string, keep time.Duration) (first bool, err error) {
	err = s.locked(ctx, "claim "+key, func(db *DB) error {
		now := time.Now()
		maps.DeleteFunc(db.claims, func(_ string, until time.Time) bool { return !until.After(now) })
		if _, claimed := db.claims[key]; !claimed {
			db.claims[key], first = now.Add(keep), true
		}
		return nil
	})
	return first, err
}
