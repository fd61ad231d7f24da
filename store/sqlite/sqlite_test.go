package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Open {
		path := filepath.Join(t.TempDir(), "with space & 100%.db")
		return func(h store.Hooks) (store.Store, error) {
			return sqlite.Open(t.Context(), sqlite.Config{Path: path, Hooks: h})
		}
	})
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSecondProcessIsRefusedAndLookingIsAllowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	in := storetest.Asked("a")
	_, made, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Config{Path: path}); !errors.Is(err, sqlite.ErrLocked) {
		t.Errorf("second Open = %v, want ErrLocked", err)
	}
	look, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	if got, err := look.Get(t.Context(), made.Number); err != nil || got.ID != made.ID {
		t.Errorf("Get while another process serves = %v, %v; want the ticket", got, err)
	}
	if _, _, err := look.Accept(t.Context(), in, storetest.Asks(in, storetest.Now)); err == nil {
		t.Error("Accept on a store opened to look = nil, want an error")
	}
}

func TestDamagedTicketHoldsUpNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	for _, id := range []string{"a", "b", "c"} {
		in := storetest.Asked(id)
		if _, _, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE tickets SET doc = x'0102' WHERE seq = 1002`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	later := storetest.Now.Add(time.Minute)
	got, err := s.Claim(t.Context(), tickets.PostLane("slack"), later, later.Add(time.Minute), 10)
	if err == nil || len(got) != 2 {
		t.Errorf("Claim = %d tickets, %v; want the two that can be read, and an error", len(got), err)
	}
	if _, err := s.Claim(t.Context(), tickets.PostLane("slack"), later, later.Add(time.Minute), 10); err != nil {
		t.Errorf("second Claim = %v; want nothing new to report", err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	open(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %o, want 600", got)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.db")
	if err := os.WriteFile(junk, []byte("this is not a database, it is a letter to somebody, quite long"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]sqlite.Config{
		"NoPath":          {},
		"NoFolder":        {Path: filepath.Join(dir, "nope", "a.db")},
		"NotADatabase":    {Path: junk},
		"NothingToLookAt": {Path: filepath.Join(dir, "none.db"), ReadOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := sqlite.Open(t.Context(), c); err == nil {
				t.Errorf("Open = nil, want an error")
				_ = s.Close()
			}
		})
	}
}

// What is counted along with the writes is what the file holds, also after
// writes that failed beside others, and when the file is opened again.
func TestStatsAgreeWithTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	look, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	agree := func(when string) {
		t.Helper()
		got, err := s.Stats(t.Context(), storetest.Now)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := look.Stats(t.Context(), storetest.Now); err != nil || !maps.Equal(got.Progress, want.Progress) {
			t.Errorf("%s: Progress = %v, the file has %v, %v", when, got.Progress, want.Progress, err)
		}
	}
	var wg sync.WaitGroup
	for w := range 8 {
		rng := rand.New(rand.NewPCG(uint64(w), 1))
		wg.Go(func() {
			var numbers []tickets.Number
			for i := range 60 {
				in := storetest.Asked(fmt.Sprintf("%d-%d", w, i))
				if i%7 == 6 {
					in.ID = "in-" + fmt.Sprintf("%d-%d", w, i-1) // taken: the whole batch fails, and is written again without this one
				}
				_, made, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
				if (err != nil) != (i%7 == 6) {
					t.Errorf("Accept %s = %v", in.ID, err)
				}
				if made != nil {
					numbers = append(numbers, made.Number)
				}
				_, _ = s.Update(t.Context(), numbers[rng.IntN(len(numbers))], func(tk *tickets.Ticket) error {
					storetest.Live(tk, rng, storetest.Now)
					if rng.IntN(5) == 0 {
						return errors.New("no")
					}
					return nil
				})
			}
		})
	}
	wg.Wait()
	agree("after writes")
	if st, _ := s.Stats(t.Context(), storetest.Now); st.Progress[tickets.Pending] == 0 || len(st.Progress) < 3 {
		t.Errorf("Progress = %v; want more kinds", st.Progress)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	agree("opened again")
}

// TestIndexOfAnotherVersion: entries that another version wrote, for which
// tickets were due at other times or in other lanes, are put right by the
// first claim that meets them, and lead to nothing.
func TestIndexOfAnotherVersion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	in := storetest.Asked("r")
	_, tk, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
	if err != nil {
		t.Fatal(err)
	}
	post, edit := tickets.PostLane("slack"), tickets.EditLane("slack")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	seq, _ := tk.Number.Seq()
	right := storetest.Now.UnixMicro()
	for _, e := range []struct {
		lane tickets.Lane
		at   int64
	}{{edit, 1}, {edit, 2}, {post, 3}, {post, right - 5}} {
		if _, err := db.Exec(`INSERT INTO due (lane, at, seq) VALUES (?, ?, ?)`, string(e.lane), e.at, seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`DELETE FROM due WHERE lane = ? AND at = ?`, string(post), right); err != nil {
		t.Fatal(err)
	}
	now, until := storetest.Now.Add(time.Minute), storetest.Now.Add(time.Hour)
	if list, err := s.Claim(t.Context(), edit, now, until, 10); err != nil || len(list) != 0 {
		t.Errorf("Claim where nothing is owed = %d tickets, %v", len(list), err)
	}
	if list, err := s.Claim(t.Context(), post, now, until, 10); err != nil || len(list) != 1 {
		t.Errorf("Claim = %d tickets, %v; want the one that is due", len(list), err)
	}
	if err := s.Release(t.Context(), post, tk.Number); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an entry for each that is wrong
		if _, err := s.Claim(t.Context(), post, now, now, 10); err != nil {
			t.Fatal(err)
		}
	}
	var n, at int64
	if err := db.QueryRow(`SELECT count(*), max(at) FROM due`).Scan(&n, &at); err != nil || n != 1 || at != right {
		t.Errorf("%d entries, the last at %d, %v; want one at %d", n, at, err, right)
	}
}
