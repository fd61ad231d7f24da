package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStoryRestoreABackup does what docs/operating.md says: a backup is taken
// while the bot runs, more happens, the file is lost, and the backup takes its
// place. What it had can be decided, and what was decided meanwhile is known
// from EPM.
func TestStoryRestoreABackup(t *testing.T) {
	t.Parallel()
	heads := filepath.Join(t.TempDir(), "heads")
	s := tell(t, func(s *story) { s.env.AuditHeads = secret(heads) })
	s.requested()
	file := strings.TrimPrefix(s.env.Store.Reveal(), "sqlite:")
	backup := filepath.Join(t.TempDir(), "backup.db")
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "VACUUM INTO ?", backup); err != nil {
		t.Fatal(err)
	}
	var whole string
	copied, err := sql.Open("sqlite", "file:"+backup+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	if err := copied.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&whole); err != nil || whole != "ok" {
		t.Fatalf("the backup is %q: %v", whole, err)
	}
	if err := copied.Close(); err != nil {
		t.Fatal(err)
	}
	env := s.alone()
	env.Store = secret("sqlite:" + backup)
	if text, err := s.command(env, "tickets", "list", "--limit", "5"); err != nil || !strings.Contains(text, "JIT-1001") {
		t.Errorf("the backup lists %q, %v", text, err)
	}
	if text, err := s.command(env, "audit", "verify"); err != nil {
		t.Errorf("the history in the backup: %v\n%s", err, text)
	}
	s.decide("U01ANN", "approve", hours2)
	s.shows("submitted to EPM")
	s.stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(backup, file); err != nil {
		t.Fatal(err)
	}
	s.skew.Add(int64(10 * time.Minute)) // what is younger than two minutes is left alone
	s.start()
	s.eventually("the decision is known from EPM's list", func() bool {
		return strings.Contains(s.cards()[0].Text, "Decided in EPM by")
	})
	if n := len(s.cards()); n != 1 {
		t.Errorf("%d cards, want the one from before", n)
	}
	// The history goes on and is whole, and what happened after the backup is
	// known to be missing.
	s.quiet()
	if text, err := s.command(s.alone(), "audit", "verify"); err != nil {
		t.Errorf("the history after the restore: %v\n%s", err, text)
	}
	if text, err := s.command(s.alone(), "audit", "verify", "--heads", heads); err == nil || !strings.Contains(text, "JIT-1001") {
		t.Errorf("with the heads from before the restore: %v\n%s", err, text)
	}
}
