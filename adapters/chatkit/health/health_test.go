package health

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLine(t *testing.T) {
	now := time.Now()
	later := now.Add(time.Minute)
	why := errors.New("cut")
	var l Connection
	says := func(when string, at time.Time, want bool) {
		t.Helper()
		if err := l.Problem("it", at, 15*time.Second); (err != nil) != want {
			t.Errorf("%s: Problem = %v, want one: %v", when, err, want)
		}
	}
	says("never up", now, true)
	l.Down(now, why)
	says("could not connect", now, true)
	if err := l.Problem("it", now, time.Second); !errors.Is(err, why) {
		t.Errorf("Problem = %v, want the reason", err)
	}
	l.Up(now)
	says("up", later, false)
	l.Down(later, why)
	says("away for a moment", later.Add(14*time.Second), false)
	l.Down(later.Add(14*time.Second), nil)
	says("away too long", later.Add(15*time.Second), true)
	if err := l.Problem("it", later.Add(time.Hour), time.Second); !errors.Is(err, why) {
		t.Errorf("Problem = %v, want the reason kept", err)
	}
}

func TestStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Auth
		refusal, end := errors.New("token revoked"), errors.New("closed for good")
		is := func(when string, want error, over bool) {
			t.Helper()
			if why, o := s.Problem(); !errors.Is(why, want) || o != over {
				t.Errorf("%s: Problem = %v, %v; want %v, %v", when, why, o, want, over)
			}
		}
		is("at first", errNotYet, false)
		s.Accepted()
		is("not known yet", errNotYet, false)
		s.Identified()
		is("accepted", nil, false)

		over := make(chan error, 1)
		var tries atomic.Int32
		watched := make(chan error, 1)
		go func() {
			watched <- s.Watch(t.Context(), over, func(context.Context) {
				if tries.Add(1) == 2 {
					s.Accepted()
				}
			})
		}()
		time.Sleep(10 * time.Minute)
		if n := tries.Load(); n != 0 {
			t.Errorf("%d tries while it was accepted", n)
		}
		s.Rejected(refusal)
		is("refused", refusal, false)
		time.Sleep(10 * time.Minute)
		if n := tries.Load(); n != 2 {
			t.Errorf("%d tries, want two: the second was accepted", n)
		}
		is("accepted again", nil, false)
		over <- end
		if err := <-watched; !errors.Is(err, end) {
			t.Errorf("Watch = %v, want the reason", err)
		}
		is("given up", end, true)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Watch(ctx, nil, nil); err != nil {
			t.Errorf("Watch = %v after the end of its context", err)
		}
	})
}
