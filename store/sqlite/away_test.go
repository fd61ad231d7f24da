package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "a.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func keep(ctx context.Context, s *Store, id string) (*tickets.Ticket, error) {
	in := storetest.Asked(id)
	_, made, err := s.Accept(ctx, in, storetest.Asks(in, storetest.Now))
	return made, err
}

// A disk that does not answer keeps nobody waiting beyond their context. What
// was begun is carried out, what was only queued is not: its caller was told
// that it failed.
func TestStalledDisk(t *testing.T) {
	s := opened(t)
	first, err := keep(t.Context(), s, "first")
	if err != nil {
		t.Fatal(err)
	}
	begun, disk := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	stuck, giveUp := context.WithCancel(t.Context())
	go func() {
		ended <- s.write(stuck, func(b *batch) error {
			close(begun)
			<-disk
			_, err := b.conn.ExecContext(background, `UPDATE meta SET value = value`)
			return err
		})
	}()
	<-begun
	const patience = 50 * time.Millisecond
	for name, call := range map[string]func(context.Context) error{
		"Ping":   s.Ping,
		"Accept": func(ctx context.Context) error { _, err := keep(ctx, s, "queued"); return err },
		"Update": func(ctx context.Context) error {
			_, err := s.Update(ctx, first.Number, func(t *tickets.Ticket) error { t.Title = "queued"; return nil })
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		start := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer") || time.Since(start) > 20*patience {
			t.Errorf("%s = %v after %v, want an error soon after %v", name, err, time.Since(start), patience)
		}
	}
	giveUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the write that was begun = %v, want the end of its context", err)
	}
	if got, err := s.Get(t.Context(), first.Number); err != nil || got.Title == "queued" {
		t.Errorf("Get while the disk stalls = %+v, %v", got, err)
	}
	close(disk)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping once the disk answers = %v", err)
	}
	if got, err := s.Get(t.Context(), first.Number); err != nil || got.Title == "queued" {
		t.Errorf("a change whose caller had given up was made: %+v, %v", got, err)
	}
	if _, err := s.Incoming(t.Context(), "in-queued"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a webhook whose caller had given up was kept: %v", err)
	}
	if next, err := keep(t.Context(), s, "next"); err != nil || next.Number != "JIT-1002" {
		t.Errorf("the next ticket = %v, %v; want JIT-1002", next, err)
	}
}

// On a full disk webhooks are refused and nothing is written by half; with
// room again everything goes on.
func TestFullDisk(t *testing.T) {
	s := opened(t)
	limit := func(pages int) {
		t.Helper()
		if err := s.write(t.Context(), func(b *batch) error {
			_, err := b.conn.ExecContext(background, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit(100)
	made := 0
	for ; made < 10000; made++ {
		in := storetest.Asked(fmt.Sprint("r", made))
		in.Raw = fmt.Appendf(nil, "%032x", made)
		if _, _, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now)); err != nil {
			if !strings.Contains(err.Error(), "full") {
				t.Errorf("Accept on a full disk = %v; want a word about that", err)
			}
			break
		}
	}
	if made == 0 || made == 10000 {
		t.Fatalf("%d webhooks were kept: the disk was never full", made)
	}
	whole := func(want int) {
		t.Helper()
		st, err := s.Stats(t.Context(), storetest.Now)
		kept, err2 := s.Incomings(t.Context(), store.IncomingQuery{Limit: 1 << 20})
		if err != nil || err2 != nil || st.Progress[tickets.Pending] != want || st.Due[tickets.PostLane("slack")].Count != want || len(kept) != want {
			t.Errorf("%+v, %d webhooks, %v, %v; want %d of each", st, len(kept), err, err2, want)
		}
	}
	whole(made)
	limit(1 << 20)
	if next, err := keep(t.Context(), s, "room"); err != nil || string(next.Number) != fmt.Sprint("JIT-", store.FirstSeq+made) {
		t.Errorf("with room again: %v, %v; want number %d", next, err, store.FirstSeq+made)
	}
	whole(made + 1)
}

// Somebody else holds the file, as a backup does: writes fail in time, and go
// on by themselves.
func TestFileIsHeld(t *testing.T) {
	s := opened(t)
	other, err := sql.Open("sqlite", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := keep(ctx, s, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Accept of a file that is held = %v, want the end of its context", err)
	}
	if _, err := other.Exec(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if made, err := keep(t.Context(), s, "b"); err != nil || made.Number != "JIT-1001" {
		t.Errorf("Accept once it is free = %v, %v; want the first number", made, err)
	}
	if _, err := s.Incoming(t.Context(), "in-a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a webhook whose caller had given up was kept: %v", err)
	}
}
