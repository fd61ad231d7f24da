package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// configureScript writes settings, if nobody has changed them since they were
// read.
//
//	KEYS[1]  settings
//	KEYS[2]  changes
//	ARGV[1]  the settings as they were read, empty for none
//	ARGV[2]  the settings to write
//	ARGV[3…] the changes, in their order
//
//	{"done"}
//	{"other"}  nothing is written: they were changed
var configureScript = goredis.NewScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return {'other'} end
redis.call('SET', KEYS[1], ARGV[2])
for i = 3, #ARGV do
	redis.call('LPUSH', KEYS[2], ARGV[i])
end
return {'done'}
`)

// Settings implements [store.Store].
func (s *Store) Settings(ctx context.Context) (tickets.Settings, error) {
	doc, err := s.settings(ctx)
	if err == nil {
		var set tickets.Settings
		if set, err = store.DecodeSettings(doc); err == nil {
			return set, nil
		}
	}
	return tickets.Settings{}, fmt.Errorf("settings: %w", err)
}

// settings is their stored form, empty if there are none.
func (s *Store) settings(ctx context.Context) ([]byte, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	doc, err := s.c.Get(ctx, s.k.settings()).Bytes()
	if err != nil && !errors.Is(err, goredis.Nil) {
		return nil, s.failed(ctx, err)
	}
	return doc, nil
}

// Configure implements [store.Store].
func (s *Store) Configure(ctx context.Context, from int64, changes []tickets.Change) (tickets.Settings, error) {
	after, err := s.configure(ctx, from, changes)
	if err != nil {
		return after, fmt.Errorf("change settings: %w", err)
	}
	return after, nil
}

func (s *Store) configure(ctx context.Context, from int64, changes []tickets.Change) (tickets.Settings, error) {
	before, err := s.settings(ctx)
	if err != nil {
		return tickets.Settings{}, err
	}
	after, doc, docs, err := store.ApplyChanges(before, from, changes, s.recent(ctx))
	if err != nil {
		return after, err
	}
	if err := s.set(ctx, before, doc, docs); err != nil {
		return tickets.Settings{}, err
	}
	s.hooks.CommittedSettings(docs)
	return after, nil
}

// set writes settings in place of before, and their changes, oldest first.
// store.ErrChanged if others stand there.
func (s *Store) set(ctx context.Context, before, doc []byte, changes [][]byte) error {
	args := append(make([]any, 0, 2+len(changes)), before, doc)
	for _, c := range changes {
		args = append(args, c)
	}
	r, err := s.run(ctx, configureScript, []string{s.k.settings(), s.k.changes()}, args...)
	switch {
	case err != nil:
		return err
	case r.text(0) == "other":
		return store.ErrChanged
	case r.text(0) != "done":
		return r.unknown()
	}
	return nil
}

// ResetSettings implements [store.Store].
func (s *Store) ResetSettings(ctx context.Context, c tickets.Change) (tickets.Settings, error) {
	after, err := s.mendSettings(ctx, c)
	if err != nil {
		return tickets.Settings{}, fmt.Errorf("mend settings: %w", err)
	}
	return after, nil
}

func (s *Store) mendSettings(ctx context.Context, c tickets.Change) (tickets.Settings, error) {
	before, err := s.settings(ctx)
	if err != nil {
		return tickets.Settings{}, err
	}
	after, doc, docs, err := store.ResetDamaged(before, c, s.recent(ctx))
	if err != nil {
		return tickets.Settings{}, err
	}
	if err := s.set(ctx, before, doc, docs); err != nil {
		return tickets.Settings{}, err
	}
	s.hooks.CommittedSettings(docs)
	return after, nil
}

// RestoreSettings implements [store.Archive].
func (s *Store) RestoreSettings(ctx context.Context, set tickets.Settings, changes []tickets.Change) (store.Restored, error) {
	before, err := s.settings(ctx)
	if err != nil {
		return store.Refused, err
	}
	did, err := store.CompareSettings(set, before)
	if err != nil || did != store.Copied {
		return did, err
	}
	doc, docs, err := store.EncodeSettings(set, changes)
	if err != nil {
		return store.Refused, err
	}
	slices.Reverse(docs)
	return did, s.set(ctx, before, doc, docs)
}

// recent reads changes before the settings are written in place of those that
// were read before: then they are still the last.
func (s *Store) recent(ctx context.Context) store.Recent {
	return func(limit int) ([][]byte, error) { return s.changes(ctx, limit) }
}

// ChangeForms implements [store.Archive].
func (s *Store) ChangeForms(ctx context.Context, n int) ([][]byte, error) {
	docs, err := s.changes(ctx, limit(n))
	if err != nil {
		return nil, fmt.Errorf("changes of the settings: %w", err)
	}
	return docs, nil
}

// Changes implements [store.Store].
func (s *Store) Changes(ctx context.Context, n int) ([]tickets.Change, error) {
	docs, err := s.changes(ctx, limit(n))
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

// changes are the stored forms of the n newest, newest first.
func (s *Store) changes(ctx context.Context, n int) ([][]byte, error) {
	return s.list(ctx, s.k.changes(), 0, int64(n-1))
}

// list is a list from one place to another; -1 is the last.
func (s *Store) list(ctx context.Context, key string, from, to int64) ([][]byte, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	list, err := s.c.LRange(ctx, key, from, to).Result()
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	docs := make([][]byte, len(list))
	for i, doc := range list {
		docs[i] = []byte(doc)
	}
	return docs, nil
}

// Cursor implements [store.Store].
func (s *Store) Cursor(ctx context.Context, name string) (int64, error) {
	leave, err := s.enter()
	if err != nil {
		return 0, fmt.Errorf("mark of %s: %w", name, err)
	}
	defer leave()
	at, err := s.c.HGet(ctx, s.k.marks(), name).Int64()
	switch {
	case errors.Is(err, goredis.Nil):
		err = store.ErrNotFound
	case err != nil:
		err = s.failed(ctx, err)
	default:
		return at, nil
	}
	return 0, fmt.Errorf("mark of %s: %w", name, err)
}

// SetCursor implements [store.Store].
func (s *Store) SetCursor(ctx context.Context, name string, at int64) error {
	leave, err := s.enter()
	if err != nil {
		return fmt.Errorf("set mark of %s: %w", name, err)
	}
	defer leave()
	if err := s.c.HSet(ctx, s.k.marks(), name, at).Err(); err != nil {
		return fmt.Errorf("set mark of %s: %w", name, s.failed(ctx, err))
	}
	return nil
}

// Marks implements [store.Archive].
func (s *Store) Marks(ctx context.Context) (map[string]int64, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, fmt.Errorf("marks: %w", err)
	}
	defer leave()
	all, err := s.c.HGetAll(ctx, s.k.marks()).Result()
	if err != nil {
		return nil, fmt.Errorf("marks: %w", s.failed(ctx, err))
	}
	marks := make(map[string]int64, len(all))
	for name, text := range all {
		if marks[name], err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, fmt.Errorf("marks: %w", err)
		}
	}
	return marks, nil
}
