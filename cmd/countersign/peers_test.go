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
	store.Coordinator
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

// TestJumpsAreBelievedWhenTheyStay: a clock that jumps and comes back changes
// nothing; one that stays is followed.
func TestJumpsAreBelievedWhenTheyStay(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	own := begun
	now := steady(func() time.Time { return own })
	own = own.Add(time.Hour)
	if d := now().Sub(begun); d > time.Minute {
		t.Errorf("the clock has jumped by %s", d)
	}
	var j jump
	for _, c := range []struct {
		after time.Duration
		is    time.Duration
		want  bool
	}{
		{0, time.Second, true},                             // a small correction
		{5 * time.Second, time.Hour, false},                // a jump
		{10 * time.Second, time.Hour, false},               //
		{15 * time.Second, 0, true},                        // and back
		{20 * time.Second, -time.Hour, false},              // another
		{40 * time.Second, time.Hour, false},               // and another
		{69 * time.Second, time.Hour + time.Second, false}, // not long enough
		{70 * time.Second, time.Hour, true},                //
	} {
		if got := j.believe(c.is, 0, begun.Add(c.after)); got != c.want {
			t.Errorf("after %s, off by %s: believed %t, want %t", c.after, c.is, got, c.want)
		}
	}
}
