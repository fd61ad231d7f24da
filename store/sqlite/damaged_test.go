package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
)

func TestDamagedSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	open := func(h store.Hooks) (store.Store, error) { return Open(t.Context(), Config{Path: path, Hooks: h}) }
	storetest.Damaged(t, open, func(doc []byte) {
		if _, err := db.Exec(`INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)`, settingsKey, string(doc)); err != nil {
			t.Fatal(err)
		}
	})
}
