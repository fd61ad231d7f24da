package pace

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/tickets"
)

func TestWaitForTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		limit := rate.NewLimiter(1, 2)
		begun := time.Now()
		for range 5 {
			if err := p.Wait(t.Context(), "post", nil, nil, limit); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("5 calls at 1 a second with 2 at once took %s, want 3s", took)
		}
	})
}

func TestClosedLaneHoldsOnlyItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		p.Close("a", 10*time.Second)
		p.Close("a", time.Second) // the later end counts
		begun := time.Now()
		if err := p.Wait(t.Context(), "post", []string{"b"}); err != nil || time.Since(begun) != 0 {
			t.Errorf("another lane waited %s, %v", time.Since(begun), err)
		}
		if err := p.Wait(t.Context(), "post", []string{"b", "a"}); err != nil || time.Since(begun) != 10*time.Second {
			t.Errorf("the closed lane waited %s, %v; want 10s", time.Since(begun), err)
		}
	})
}

func TestClosedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		p.Close("a", time.Second)
		begun := time.Now()
		time.AfterFunc(500*time.Millisecond, func() { p.Close("a", 4*time.Second) })
		if err := p.Wait(t.Context(), "post", []string{"a"}); err != nil || time.Since(begun) != 4500*time.Millisecond {
			t.Errorf("waited %s, %v; want until the later end", time.Since(begun), err)
		}
	})
}

func TestTooLongIsSaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		limit := rate.NewLimiter(rate.Every(time.Minute), 1)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := p.Wait(ctx, "post", nil, limit); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for range 2 { // the one that gave up has booked nothing
			err := p.Wait(ctx, "post", nil, limit)
			f := tickets.FailureOf(err)
			if f.Class != tickets.Limited || f.After != time.Minute || time.Since(begun) != 0 {
				t.Errorf("Wait = %v (after %s) in %s; want limited for a minute, at once", err, f.After, time.Since(begun))
			}
		}
	})
}

func TestIdleLimitersAreForgotten(t *testing.T) {
	l := NewLimiters(1000, 1)
	busy := l.Of("busy")
	busy.ReserveN(time.Now(), 1)
	busy.SetLimit(rate.Every(time.Hour))
	for i := range 5 * keepLimiters {
		l.Of(fmt.Sprint(i))
	}
	if n := len(l.all); n > keepLimiters+1 {
		t.Errorf("%d limiters are kept, want about %d", n, keepLimiters)
	}
	if l.Of("busy") != busy {
		t.Error("one that somebody waits for was forgotten")
	}
}

func TestUntil(t *testing.T) {
	away := &tickets.Failure{Class: tickets.Down}
	denied := &tickets.Failure{Class: tickets.Denied, Err: errors.New("wrong token")}
	for name, c := range map[string]struct {
		answers []error
		took    time.Duration
		want    error
	}{
		"AtOnce":     {[]error{nil}, 0, nil},
		"ThirdTime":  {[]error{away, away, nil}, 3 * time.Second, nil},
		"AsToldTo":   {[]error{&tickets.Failure{Class: tickets.Limited, After: time.Minute}, nil}, time.Minute, nil},
		"Denied":     {[]error{away, denied}, time.Second, denied.Err},
		"LongPauses": {[]error{away, away, away, away, away, away, away, nil}, (1 + 2 + 4 + 8 + 16 + 30 + 30) * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, i, failed := time.Now(), 0, 0
				err := Until(t.Context(), func(context.Context) error { i++; return c.answers[i-1] }, func(error) { failed++ })
				if !errors.Is(err, c.want) || time.Since(begun) != c.took || i != len(c.answers) || failed != i-1 {
					t.Errorf("Until = %v in %s after %d answers, %d told; want %v in %s", err, time.Since(begun), i, failed, c.want, c.took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := Until(ctx, func(context.Context) error { return away }, func(error) {}); err != nil {
			t.Errorf("Until = %v after the end of its context, want nil", err)
		}
	})
}
