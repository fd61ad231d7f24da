package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/store/storetest"
)

func file(t *testing.T) storetest.Side {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return storetest.Side{Keeper: s, SetDoc: func(seq int64, doc []byte) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		// The first byte says that it is not packed.
		if _, err := db.Exec(`UPDATE tickets SET doc = ? WHERE seq = ?`, append([]byte{0}, doc...), seq); err != nil {
			t.Fatal(err)
		}
	}}
}

// tenants makes a tenant of srv each time.
func tenants(srv *redistest.Server) func(t *testing.T) storetest.Side {
	var n atomic.Int64
	return func(t *testing.T) storetest.Side {
		tenant := fmt.Sprint("t", n.Add(1))
		s, err := redis.Open(t.Context(), redis.Config{URL: srv.URL(tenant)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return storetest.Side{Keeper: s, SetDoc: func(seq int64, doc []byte) {
			t.Helper()
			c := srv.Client()
			defer c.Close()
			if err := c.HSet(t.Context(), fmt.Sprintf("{countersign:%s}:ticket:%d", tenant, seq), "doc", doc).Err(); err != nil {
				t.Fatal(err)
			}
		}}
	}
}

func TestCopy(t *testing.T) {
	t.Run("SQLiteToSQLite", func(t *testing.T) { storetest.Copy(t, file, file) })
	_, err := redistest.Find()
	if errors.Is(err, redistest.ErrMissing) && os.Getenv("COUNTERSIGN_TEST_ALL") != "1" {
		t.Skip(err)
	}
	srv, err := redistest.Start(redistest.Config{Dir: t.TempDir(), Password: true, Args: []string{"--appendfsync", "everysec"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	tenant := tenants(srv)
	t.Run("SQLiteToRedis", func(t *testing.T) { storetest.Copy(t, file, tenant) })
	t.Run("RedisToSQLite", func(t *testing.T) { storetest.Copy(t, tenant, file) })
	t.Run("RedisToRedis", func(t *testing.T) { storetest.Copy(t, tenant, tenant) })
}
