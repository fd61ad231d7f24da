package sqlite

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/tickets"
)

const waitFor = time.Minute // bounds what hangs

// killed is what a process that is killed leaves: the files of s, as they are.
func killed(t *testing.T, s *Store) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "killed.db")
	for _, suffix := range []string{"", "-wal", ".folded"} {
		carry(t, s.path+suffix, path+suffix)
	}
	return path
}

// carry copies a file with the time of its last change.
func carry(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(to, b, 0o600), os.Chtimes(to, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

func held(t *testing.T, path string) int {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n, err := s.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n.Tickets
}

// Whoever puts a backup beside the log of a process that was killed is told, by
// whatever opens it first, and nothing is changed until they have moved it.
func TestRestoredBesideAnotherLog(t *testing.T) {
	for name, restore := range map[string]func(backup, path string) error{
		"Moved": os.Rename,
		"CopiedOver": func(backup, path string) error {
			from, err := os.Open(backup)
			if err != nil {
				return err
			}
			defer from.Close()
			to, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				return err
			}
			_, err = io.Copy(to, from)
			return errors.Join(err, to.Close())
		},
		"CopiedWithItsTime": func(backup, path string) error { carry(t, backup, path); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := opened(t)
			backup := filepath.Join(t.TempDir(), "backup.db")
			for i := range 3 {
				if _, err := keep(t.Context(), s, fmt.Sprint("request ", i)); err != nil {
					t.Fatal(err)
				}
				if i > 0 {
					continue
				}
				if n, err := s.Backup(t.Context(), backup); err != nil || n.Tickets != 1 {
					t.Fatalf("Backup = %+v, %v", n, err)
				}
			}
			path := killed(t, s)
			if n := held(t, killed(t, s)); n != 3 {
				t.Errorf("what was killed holds %d tickets, want 3", n)
			}
			if err := restore(backup, path); err != nil {
				t.Fatal(err)
			}
			for _, look := range []bool{true, false, true} {
				if s, err := Open(t.Context(), Config{Path: path, ReadOnly: look}); !errors.Is(err, ErrForeignLog) {
					t.Fatalf("Open, to look %v = %v, %v; want ErrForeignLog", look, s, err)
				}
			}
			for _, suffix := range []string{"-wal", "-shm"} {
				if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			s, err := Open(t.Context(), Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if n, err := s.Count(t.Context()); err != nil || n.Tickets != 1 {
				t.Errorf("once the log is away: %+v, %v; want the ticket of the backup", n, err)
			}
		})
	}
}

// Whatever a process that is killed leaves opens again: while it writes, while
// the log is folded, and when it has just begun.
func TestKilledOpensAgain(t *testing.T) {
	s := opened(t)
	if n := held(t, killed(t, s)); n != 0 {
		t.Errorf("%d tickets at first", n)
	}
	if _, err := keep(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	if err := markOf(s.path).unknown(); err != nil {
		t.Fatal(err)
	}
	if err := s.w.foldOn(s.w.fold); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		path := killed(t, s)
		if n := held(t, path); n != 1 {
			t.Errorf("%d tickets, want 1", n)
		}
		if err := markOf(s.path).folded(s.path); err != nil {
			t.Fatal(err)
		}
	}
	clean := killed(t, s)
	again, err := Open(t.Context(), Config{Path: clean})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", ".folded"} {
		if _, err := os.Stat(clean + suffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close there is %s: %v", suffix, err)
		}
	}
}

// A copy of the .db alone is never taken for a new store.
func TestTheFileAlone(t *testing.T) {
	s := opened(t)
	if _, err := keep(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	alone := func(from string) string {
		path := filepath.Join(t.TempDir(), "alone.db")
		carry(t, from, path)
		return path
	}
	if n := held(t, alone(s.path)); n > 1 {
		t.Errorf("%d tickets", n) // and no error: the tables are there at once
	}
	// As a file of an earlier version is, whose tables are in the log.
	path := filepath.Join(t.TempDir(), "early.db")
	db, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(schema); err != nil {
		t.Fatal(err)
	}
	for _, look := range []bool{true, false} {
		if s, err := Open(t.Context(), Config{Path: alone(path), ReadOnly: look}); !errors.Is(err, ErrNoTables) {
			t.Errorf("Open of a file without tables, to look %v = %v, %v; want ErrNoTables", look, s, err)
		}
	}
	// The log alone is no new store either.
	lost := killed(t, s)
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), Config{Path: lost}); !errors.Is(err, errLogAlone) {
		t.Errorf("Open of a log without its file = %v, %v", s, err)
	}
}

// Soon after a write the file alone holds everything, with nothing more
// written; and a log that has grown large is folded before that.
func TestTheLogIsFolded(t *testing.T) {
	s := opened(t)
	if _, err := keep(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "alone.db")
	for end := time.Now().Add(waitFor); ; time.Sleep(20 * time.Millisecond) {
		carry(t, s.path, alone)
		if held(t, alone) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what was written is in the log alone")
		}
	}
}

func TestALargeLogIsFolded(t *testing.T) {
	s := opened(t)
	w := &writer{path: s.path, late: time.NewTimer(time.Hour), folds: make(chan struct{}, 1)}
	if w.askFolder(maxBatch); w.folding {
		t.Error("a small log is folded after 256 writes")
	}
	if err := os.Truncate(s.path+"-wal", checkpointAt+1); err != nil {
		t.Fatal(err)
	}
	if w.askFolder(1); !w.folding {
		t.Error("a large log is not folded")
	}
}

// What stands in the way of who may not write says whose it is.
func TestSomebodyElsesFile(t *testing.T) {
	if path := os.Getenv("TEST_OPEN_STORE"); path != "" {
		s, err := Open(t.Context(), Config{Path: path})
		if err == nil {
			err = s.Close()
		}
		fmt.Println("opened:", err)
		return
	}
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("needs root on Linux: only it can make a file of somebody else's")
	}
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "test")
	carry(t, exe, program)
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.db")
	asNobody := func() string {
		c := exec.CommandContext(t.Context(), program, "-test.run", "^TestSomebodyElsesFile$")
		c.Env = append(os.Environ(), "TEST_OPEN_STORE="+path)
		c.Dir = dir
		as(c, 65534)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if out := asNobody(); !strings.Contains(out, "opened: <nil>") {
		t.Fatalf("its own file: %s", out)
	}
	for _, suffix := range []string{"", ".lock"} {
		if err := os.Chown(path+suffix, 0, 0); err != nil {
			t.Fatal(err)
		}
		if out := asNobody(); !strings.Contains(out, "the file "+path+suffix+" belongs to root, and user 65534") {
			t.Errorf("%s of root: %s", suffix, out)
		}
		if err := os.Chown(path+suffix, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out := asNobody(); !strings.Contains(out, "the folder "+dir+" must exist") {
		t.Errorf("a folder of root: %s", out)
	}
}

// Restore puts aside what was there, so that it opens, refuses while a process
// uses the store, and touches nothing if the backup is no store.
func TestRestore(t *testing.T) {
	s := opened(t)
	if _, err := keep(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), backup); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Backup to a file that is there = %v, want ErrExist", err)
	}
	if _, err := keep(t.Context(), s, "b"); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if _, _, err := Restore(t.Context(), s.path, backup, now); !errors.Is(err, ErrLocked) {
		t.Errorf("Restore under a process = %v, want ErrLocked", err)
	}
	path := killed(t, s) // with a log
	broken := filepath.Join(t.TempDir(), "broken.db")
	carry(t, backup, broken)
	if err := os.Truncate(broken, 3*pageSize); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{broken, path} {
		if aside, _, err := Restore(t.Context(), path, file, now); err == nil || aside != "" {
			t.Errorf("Restore of %s = %q, %v; want an error", file, aside, err)
		}
	}
	path = killed(t, s) // opening it has folded the log
	var asides []string
	for range 2 {
		aside, n, err := Restore(t.Context(), path, backup, now)
		if err != nil || n.Tickets != 1 || aside == "" {
			t.Fatalf("Restore = %q, %+v, %v", aside, n, err)
		}
		asides = append(asides, aside)
	}
	if a, b := held(t, asides[0]), held(t, asides[1]); a != 2 || b != 1 || asides[0] == asides[1] {
		t.Errorf("put aside: %v with %d and %d tickets, want 2 and 1", asides, a, b)
	}
	if n := held(t, path); n != 1 {
		t.Errorf("%d tickets, want the one of the backup", n)
	}
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	if aside, n, err := Restore(t.Context(), fresh, backup, now); err != nil || aside != "" || n.Tickets != 1 {
		t.Errorf("Restore where nothing was = %q, %+v, %v", aside, n, err)
	}
}

// One write that fails, or panics, makes the others wait for one commit more,
// and not for one each; what it had changed is taken back alone.
func TestThePoisonAlone(t *testing.T) {
	s := opened(t)
	run := func(b *batch) error {
		_, err := b.conn.ExecContext(background, `INSERT INTO meta (key, value) VALUES (hex(randomblob(8)), 'kept')`)
		return err
	}
	bad := errors.New("bad")
	var ops []*op
	runs := 0
	for i := range 100 {
		o := &op{ctx: t.Context(), err: make(chan error, 1), run: func(b *batch) error { runs++; return run(b) }}
		switch i {
		case 40:
			o.run = func(b *batch) error { b.seq += 7; b.moved["odd"]++; return errors.Join(bad, run(b)) }
		case 60:
			o.run = func(b *batch) error { _ = run(b); panic("poison") }
		}
		ops = append(ops, o)
	}
	// In the writer's own goroutine, as all that a batch does.
	if err := s.write(t.Context(), func(b *batch) error {
		if _, err := b.conn.ExecContext(background, `COMMIT`); err != nil {
			return err
		}
		s.w.folding = true // the log stays as it is, and tells
		seq, before := b.seq, commits(t, s.path)
		s.w.commit(b, ops)
		if n := commits(t, s.path) - before; n != 1 {
			t.Errorf("98 good writes and two bad ones took %d commits, want 1", n)
		}
		if b.seq != seq || s.w.b.counted()["odd"] != 0 {
			t.Errorf("what the bad write did is kept: %d, %v", b.seq-seq, b.counted())
		}
		_, err := b.conn.ExecContext(background, `BEGIN`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, o := range ops {
		err := <-o.err
		if want := i == 40 || i == 60; (err != nil) != want || i == 40 && !errors.Is(err, bad) {
			t.Errorf("write %d = %v", i, err)
		}
	}
	if runs > 2*98 {
		t.Errorf("98 good writes were run %d times", runs)
	}
	var kept int
	if err := s.read.QueryRowContext(t.Context(), `SELECT count(*) FROM meta WHERE value = 'kept'`).Scan(&kept); err != nil || kept != 98 {
		t.Errorf("%d writes are kept, %v; want 98", kept, err)
	}
}

// commits counts the commits in the log (sqlite.org/fileformat2.html#walformat).
func commits(t *testing.T, path string) (n int) {
	t.Helper()
	b, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	const header, frame = 32, 24
	for at := header; at+frame <= len(b); at += frame + pageSize {
		if binary.BigEndian.Uint32(b[at+4:]) != 0 { // the size of the file after it
			n++
		}
	}
	return n
}

// Claim on a disk that does not answer holds up nobody who gives a lease back.
func TestClaimHoldsNoLockOverTheDisk(t *testing.T) {
	s := opened(t)
	made, err := keep(t.Context(), s, "a")
	if err != nil {
		t.Fatal(err)
	}
	for range readers {
		conn, err := s.read.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	claims := make(chan error, 1)
	go func() {
		_, err := s.Claim(t.Context(), tickets.LaneEPM, time.Now(), time.Now().Add(time.Minute), 1)
		claims <- err
	}()
	for end := time.Now().Add(waitFor); s.read.Stats().WaitCount == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("Claim reads nothing")
		}
	}
	released := make(chan error, 1)
	go func() { released <- s.Release(t.Context(), tickets.LaneEPM, made.Number) }()
	select {
	case err := <-released:
		if err != nil {
			t.Error(err)
		}
	case err := <-claims:
		t.Errorf("Claim = %v before the disk answered", err)
	case <-time.After(waitFor):
		t.Error("Release waits for the disk that Claim waits for")
	}
}
