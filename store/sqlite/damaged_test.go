package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/store/storetest"
)

func TestDamagedSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	storetest.Damaged(t, s, func(doc []byte) {
		if _, err := db.Exec(`INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)`, settingsKey, string(doc)); err != nil {
			t.Fatal(err)
		}
	})
}
