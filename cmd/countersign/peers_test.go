package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
)

// wall is a store that tells a time.
type wall struct {
	store.Shared
	at  time.Time
	err error
}

func (w *wall) Time(context.Context) (time.Time, error) { return w.at, w.err }

// TestClockIsSetRight: replicas work by the store's clock, whatever their own
// shows and however it jumps.
func TestClockIsSetRight(t *testing.T) {
	t.Parallel()
	own := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	right := &wall{at: own.Add(10 * time.Minute)}
	c := &clock{own: func() time.Time { return own }}
	log := &syncBuffer{}
	compare := func() { c.compare(t.Context(), right, slog.New(slog.NewTextHandler(log, nil))) }
	wants := func(what string, want time.Time) {
		t.Helper()
		if d := c.Now().Sub(want).Abs(); d > clockAnswer { // half of the way to the store counts
			t.Errorf("%s: Now() = %s, want %s", what, c.Now(), want)
		}
	}
	wants("before it was compared", own)
	compare()
	wants("ten minutes behind", right.at)
	own = own.Add(-time.Hour)
	compare()
	wants("after a jump", right.at)
	if n := strings.Count(log.String(), "clock"); n != 2 {
		t.Errorf("the operator is told %d times, want 2:\n%s", n, log)
	}
	right.err = errors.New("away")
	compare()
	wants("while the store is away", right.at)
	right.err, own = nil, right.at
	compare()
	if c.Offset().Abs() > clockAnswer {
		t.Errorf("the clock is right and still set by %s", c.Offset())
	}
}
