package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// ErrForeignLog means that the write-ahead log beside a file is of another
// file: SQLite would apply it, and undo what a restore has brought.
var ErrForeignLog = errors.New("another file was put in place of the one that this log was written for: opened together, the log would undo what was restored. " +
	"If you restored a backup, move the -wal and the -shm away and start again. " +
	"If both were moved here together, delete the file that ends in .folded and start again")

// mark is the file beside the store that says what the main file was like when
// the log was last folded into it. Only folding changes that file, and each
// fold begins by saying that it is not known. It is there while a process has
// the store, and stays when that is killed: with a log, and only then, it has
// something to say.
type mark string

func markOf(path string) mark { return mark(path + ".folded") }

const folding = "folding"

// unknown says durably that the main file may be changing.
func (m mark) unknown() error {
	f, err := os.OpenFile(string(m), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(folding + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// folded says what the main file is like from now on. What a loss of power
// takes of that is not known, which is as if nothing had been said.
func (m mark) folded(path string) error {
	like, err := likeness(path)
	if err != nil {
		return err
	}
	return os.WriteFile(string(m), []byte(like+"\n"), 0o600)
}

// forget is for who leaves no log behind.
func (m mark) forget(path string) {
	if logged, err := hasLog(path); err == nil && !logged {
		_ = os.Remove(string(m))
	}
}

func (m mark) read() string {
	b, err := os.ReadFile(string(m))
	if err != nil {
		return folding
	}
	return strings.TrimSpace(string(b))
}

// check is ErrForeignLog if there is a log, and the main file is not the one
// that it belongs to. It is safe beside a process that folds.
func (m mark) check(path string) error {
	const tries = 3
	for range tries {
		logged, err := hasLog(path)
		if err != nil || !logged {
			return err
		}
		before := m.read()
		like, err := likeness(path)
		if err != nil {
			return err
		}
		switch after := m.read(); {
		case !strings.Contains(before, " ") || !strings.Contains(after, " "), after == like:
			return nil // nothing is known, or it is the one
		case before == after:
			return fmt.Errorf("%s-wal: %w", path, ErrForeignLog)
		}
	}
	return nil
}

// likeness is what tells one state of a file from another: its size, and when
// it was written.
func likeness(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano)), nil
}

func hasLog(path string) (bool, error) {
	info, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Size() > 0, err
}
