package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/store"
)

// Backup writes everything that the store holds at this moment into one new
// file, beside whoever writes, and reads it back. ErrExist, of package fs, if
// there is such a file.
func (s *Store) Backup(ctx context.Context, file string) (store.Counts, error) {
	if _, err := os.Lstat(file); err == nil {
		return store.Counts{}, fmt.Errorf("%s: %w", file, fs.ErrExist)
	}
	made := file + ".new"
	counts, err := s.saveTo(ctx, made)
	if err != nil {
		return store.Counts{}, errors.Join(fmt.Errorf("back up to %s: %w", file, err), removeAll(made))
	}
	if err := os.Rename(made, file); err != nil {
		return store.Counts{}, errors.Join(fmt.Errorf("back up: %w", err), removeAll(made))
	}
	return counts, syncFolder(file)
}

// saveTo writes everything into the file made, durably, and reads it back.
func (s *Store) saveTo(ctx context.Context, made string) (store.Counts, error) {
	if err := removeAll(made); err != nil {
		return store.Counts{}, err
	}
	// SQLite would make it readable to others.
	f, err := os.OpenFile(made, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return store.Counts{}, err
	}
	defer func() { _ = f.Close() }()
	if err := s.vacuumInto(ctx, made); err != nil {
		return store.Counts{}, err
	}
	if err := f.Sync(); err != nil {
		return store.Counts{}, err
	}
	return readBack(ctx, made)
}

func (s *Store) vacuumInto(ctx context.Context, made string) (err error) {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// It writes nothing to the store, but SQLite counts it as a write.
	if _, err := conn.ExecContext(ctx, `PRAGMA query_only(0)`); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, `VACUUM INTO ?`, made)
	_, reset := conn.ExecContext(background, `PRAGMA query_only(1)`)
	return errors.Join(err, reset)
}

// readBack reads every page of a file that is a store by itself, and counts
// what it holds.
func readBack(ctx context.Context, file string) (counts store.Counts, err error) {
	s, err := Open(ctx, Config{Path: file, ReadOnly: true})
	if err != nil {
		return store.Counts{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.sound(ctx); err != nil {
		return store.Counts{}, err
	}
	return s.Count(ctx)
}

// sound is an error if SQLite finds the file damaged.
func (s *Store) sound(ctx context.Context) error {
	var found []string
	err := each(ctx, s.read, func(row scanner) error {
		var line string
		err := row.Scan(&line)
		found = append(found, line)
		return err
	}, `PRAGMA integrity_check(3)`)
	if err == nil && (len(found) != 1 || found[0] != "ok") {
		err = fmt.Errorf("the file is damaged: %s", strings.Join(found, "; "))
	}
	return err
}

// Restore puts what file holds in the place of the store at path, which no
// process may use: else it returns ErrLocked. What was there is put aside, with
// its log, under the name that is returned, which is empty if nothing was
// there; that can be opened as it is. The file stays as it is. Nothing is
// touched before all of it was read; if Restore is interrupted, it can be
// called again.
func Restore(ctx context.Context, path, file string, now time.Time) (aside string, counts store.Counts, err error) {
	fail := func(err error) (string, store.Counts, error) {
		return aside, store.Counts{}, fmt.Errorf("restore %s: %w", file, err)
	}
	lock, err := lockFile(path)
	if err != nil {
		return "", store.Counts{}, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	from, err := Open(ctx, Config{Path: file, ReadOnly: true})
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := from.sound(ctx); err != nil {
		return fail(err)
	}
	was, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if info, err := os.Stat(file); err == nil && was != nil && os.SameFile(info, was) {
		return fail(errors.New("this is the store itself"))
	}
	made := path + ".new"
	if counts, err = from.saveTo(ctx, made); err != nil {
		return fail(errors.Join(err, removeAll(made)))
	}
	if was != nil {
		if err := giveTo(made, was); err != nil {
			return fail(err)
		}
	}
	if aside, err = putAside(path, now); err != nil {
		return fail(err)
	}
	if err := os.Rename(made, path); err != nil {
		return fail(err)
	}
	return aside, counts, syncFolder(path)
}

// putAside renames a store with all that is beside it. If it is interrupted
// what may be left in its place is a log without a file, which Open refuses.
func putAside(path string, now time.Time) (aside string, err error) {
	name := path + ".before-" + now.UTC().Format("20060102T150405Z")
	for i := 2; ; i++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = fmt.Sprintf("%s.before-%s-%d", path, now.UTC().Format("20060102T150405Z"), i)
	}
	for _, suffix := range []string{".folded", "-shm", "", "-wal"} {
		switch err := os.Rename(path+suffix, name+suffix); {
		case err == nil:
			aside = name
		case !errors.Is(err, fs.ErrNotExist):
			return aside, err
		}
	}
	return aside, nil
}
