package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/store/storetest"
)

type records struct {
	*testing.T
	db   *sql.DB
	pack *packer
}

func (r records) Doc(seq int64) []byte {
	r.Helper()
	var packed []byte
	if err := r.db.QueryRow(`SELECT doc FROM tickets WHERE seq = ?`, seq).Scan(&packed); err != nil {
		r.Fatal(err)
	}
	doc, err := r.pack.unpack(packed)
	if err != nil {
		r.Fatal(err)
	}
	return doc
}

func (r records) SetDoc(seq int64, doc []byte) {
	r.Helper()
	if _, err := r.db.Exec(`UPDATE tickets SET doc = ? WHERE seq = ?`, r.pack.pack(doc), seq); err != nil {
		r.Fatal(err)
	}
}

func TestNewer(t *testing.T) {
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
	storetest.Newer(t, s, records{t, db, s.pack})
}
