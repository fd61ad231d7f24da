package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// prepare takes the lock and looks at the files. The store's file is made, with
// its tables, if there is none.
func (s *Store) prepare(ctx context.Context) error {
	var err error
	if s.lock, err = lockFile(s.path); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".folded"} {
		if err := writable(s.path + suffix); err != nil {
			return fmt.Errorf("open store: %w", err)
		}
	}
	switch info, err := os.Stat(s.path); {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0:
		if logged, err := hasLog(s.path); err != nil || logged {
			return errors.Join(err, fmt.Errorf("open store %s: %w", s.path, errLogAlone))
		}
		if err := create(ctx, s.path); err != nil {
			return fmt.Errorf("open store %s: %w", s.path, err)
		}
	case err != nil:
		return fmt.Errorf("open store: %w", err)
	}
	return nil
}

// errLogAlone is what an interrupted restore, or a file moved by hand, leaves.
var errLogAlone = errors.New("a -wal is there without the file that it belongs to: bring that back, or run countersign store restore, which puts the -wal aside. Neither is made anew, or what was kept would be lost")

func lockFile(path string) (*flock.Flock, error) {
	if err := writable(path + ".lock"); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("open store: %w: %s", err, folderHint(path, err))
	case !ok:
		return nil, fmt.Errorf("open store %s: %w", path, ErrLocked)
	}
	return lock, nil
}

func folderHint(path string, err error) string {
	dir := filepath.Dir(path)
	if errors.Is(err, syscall.EROFS) {
		return fmt.Sprintf("the folder %s is mounted to be read only", dir)
	}
	return fmt.Sprintf("the folder %s must exist and be writable by the user that the bot runs as", dir)
}

// writable is an error that says what to do about a file which is there and
// cannot be written.
func writable(path string) error {
	// Not by opening it: closing it again would end SQLite's locks on it.
	err := access(path)
	if err == nil {
		return nil
	}
	info, statErr := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || statErr != nil:
		return nil // who makes it tells
	case info.IsDir():
		return fmt.Errorf("%s is a folder: name a file in it", path)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %s", err, folderHint(path, err))
	case errors.Is(err, fs.ErrPermission):
		theirs, ours := ownerOf(info)
		return fmt.Errorf("the file %s belongs to %s, and %s, that the bot runs as, may not write it: give the file to that user with chown. A command that was run as root may have made it", path, theirs, ours)
	}
	return err
}

// create makes the file under another name, so that there is never one without
// tables under its own: such a one is a part of something.
func create(ctx context.Context, path string) error {
	made := path + ".new"
	if err := removeAll(made); err != nil {
		return err
	}
	f, err := os.OpenFile(made, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %s", err, folderHint(path, err))
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(made, false))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema+changesSchema+ledgerSchema+`INSERT INTO meta (key, value) VALUES ('schema', ?)`, schemaVersion); err != nil {
		return errors.Join(err, db.Close(), removeAll(made))
	}
	// Closing folds.
	if err := db.Close(); err != nil {
		return errors.Join(err, removeAll(made))
	}
	if err := os.Rename(made, path); err != nil {
		return err
	}
	return syncFolder(path)
}

// removeAll removes a file of SQLite with what may be beside it.
func removeAll(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// syncFolder makes the names in the folder of path durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
