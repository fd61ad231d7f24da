package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

func file(t *testing.T, h store.Hooks) storetest.Side {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Hooks: h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	exec := func(query string, args ...any) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	plain := func(b []byte) []byte { return append([]byte{0}, b...) } // the first byte says that it is not packed
	return storetest.Side{
		Keeper: s,
		SetDoc: func(seq int64, doc []byte) { exec(`UPDATE tickets SET doc = ? WHERE seq = ?`, plain(doc), seq) },
		Remove: func(seq int64) { exec(`DELETE FROM tickets WHERE seq = ?`, seq) },
		SetDue: func(lane tickets.Lane, seq int64, at time.Time) {
			exec(`DELETE FROM due WHERE lane = ? AND seq = ?`, string(lane), seq)
			if !at.IsZero() {
				exec(`INSERT INTO due (lane, at, seq) VALUES (?, ?, ?)`, string(lane), at.UnixMicro(), seq)
			}
		},
		SetProgress: func(seq int64, p tickets.Progress) {
			exec(`UPDATE tickets SET progress = ? WHERE seq = ?`, string(p), seq)
		},
		SetRequest: func(seq int64, id tickets.RequestID) {
			exec(`UPDATE tickets SET request = ? WHERE seq = ?`, string(id), seq)
		},
		SetCounter: func(seq int64) { exec(`UPDATE sqlite_sequence SET seq = ? WHERE name = 'tickets'`, seq) },
		SetBody:    func(id string, raw []byte) { exec(`UPDATE incoming SET raw = ? WHERE id = ?`, plain(raw), id) },
		SetSettings: func(doc []byte, docs ...[]byte) {
			exec(`UPDATE meta SET value = ? WHERE key = 'settings'`, string(doc))
			exec(`DELETE FROM changes`)
			for _, doc := range docs {
				exec(`INSERT INTO changes (doc) VALUES (?)`, string(doc))
			}
		},
	}
}

// tenants makes a tenant of srv each time.
func tenants(srv *redistest.Server) storetest.Fresh {
	var n atomic.Int64
	return func(t *testing.T, h store.Hooks) storetest.Side {
		tenant := fmt.Sprint("t", n.Add(1))
		s, err := redis.Open(t.Context(), redis.Config{URL: srv.URL(tenant), Hooks: h})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		do := func(args ...any) {
			t.Helper()
			c := srv.Client()
			defer c.Close()
			args[1] = fmt.Sprintf("{countersign:%s}:%s", tenant, args[1])
			if err := c.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		return storetest.Side{
			Keeper: s,
			SetDoc: func(seq int64, doc []byte) { do("HSET", fmt.Sprint("ticket:", seq), "doc", doc) },
			Remove: func(seq int64) {
				do("ZREM", "tickets", seq)
				do("DEL", fmt.Sprint("ticket:", seq))
			},
			SetDue: func(lane tickets.Lane, seq int64, at time.Time) {
				do("ZREM", "due:"+string(lane), seq)
				if !at.IsZero() {
					do("ZADD", "due:"+string(lane), at.UnixMicro(), seq)
				}
			},
			SetProgress: func(seq int64, p tickets.Progress) {
				for _, was := range tickets.Progresses() {
					do("ZREM", "tickets:"+string(was), seq)
				}
				do("ZADD", "tickets:"+string(p), seq, seq)
				do("HSET", fmt.Sprint("ticket:", seq), "progress", string(p))
			},
			SetRequest: func(seq int64, id tickets.RequestID) { do("SET", "request:"+string(id), seq) },
			SetCounter: func(seq int64) { do("SET", "seq", seq) },
			SetBody:    func(id string, raw []byte) { do("HSET", "incoming:"+id, "raw", raw) },
			SetSettings: func(doc []byte, docs ...[]byte) {
				do("SET", "settings", doc)
				do("DEL", "changes")
				for _, doc := range docs {
					do("LPUSH", "changes", doc)
				}
			},
		}
	}
}

// server is a Redis of the test's own; without one the test ends here.
func server(t *testing.T) *redistest.Server {
	t.Helper()
	_, err := redistest.Find()
	if errors.Is(err, redistest.ErrMissing) && os.Getenv("COUNTERSIGN_TEST_ALL") != "1" {
		t.Skip(err)
	}
	srv, err := redistest.Start(redistest.Config{Dir: t.TempDir(), Password: true, Args: []string{"--appendfsync", "everysec"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

func TestVerify(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { storetest.Verify(t, file) })
	tenant := tenants(server(t))
	t.Run("Redis", func(t *testing.T) { storetest.Verify(t, tenant) })
}

func TestCopy(t *testing.T) {
	t.Run("SQLiteToSQLite", func(t *testing.T) { storetest.Copy(t, file, file) })
	tenant := tenants(server(t))
	t.Run("SQLiteToRedis", func(t *testing.T) { storetest.Copy(t, file, tenant) })
	t.Run("RedisToSQLite", func(t *testing.T) { storetest.Copy(t, tenant, file) })
	t.Run("RedisToRedis", func(t *testing.T) { storetest.Copy(t, tenant, tenant) })
}
