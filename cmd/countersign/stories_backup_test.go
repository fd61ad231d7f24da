package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestStoryRestoreABackup does what docs/maintenance.md says: a backup is taken
// while the bot runs, more happens, the file is lost, and the backup takes its
// place. What it had can be decided, and what was decided meanwhile is known
// from EPM.
func TestStoryRestoreABackup(t *testing.T) {
	t.Parallel()
	checkpoints := filepath.Join(t.TempDir(), "checkpoints")
	s := tell(t, func(s *story) { s.env.AuditCheckpoints = secret(checkpoints) })
	s.requested()
	backup := filepath.Join(t.TempDir(), "backup.db")
	if text, err := s.command(s.alone(), "store", "backup", backup); err != nil || !strings.Contains(text, "1 ticket ") || !strings.Contains(text, "Verified") {
		t.Fatalf("backup = %v\n%s", err, text)
	}
	if _, err := s.command(s.alone(), "store", "backup", backup); err == nil || !strings.Contains(err.Error(), "stays as it is") {
		t.Errorf("backup to a file that is there = %v", err)
	}
	if _, err := s.command(s.alone(), "store", "restore", backup); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("restore under a running bot = %v", err)
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
	text, err := s.command(s.alone(), "store", "restore", backup)
	if err != nil {
		t.Fatalf("restore = %v\n%s", err, text)
	}
	aside := regexp.MustCompile(`\S+\.before-\w+`).FindString(text)
	env.Store = secret("sqlite:" + aside)
	if text, err := s.command(env, "tickets", "show", "JIT-1001"); err != nil || !strings.Contains(text, "Approved") && !strings.Contains(text, "approve") {
		t.Errorf("what was put aside holds %q, %v", text, err)
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
	if text, err := s.command(s.alone(), "audit", "verify", "--checkpoints", checkpoints); err == nil || !strings.Contains(text, "JIT-1001") {
		t.Errorf("with the checkpoints from before the restore: %v\n%s", err, text)
	}
}
