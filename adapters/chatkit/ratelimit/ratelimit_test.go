package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/tickets"
)

func TestWaitForTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("chat", nil)
		limit := Limit{"c1", time.Second, 2}
		begun := time.Now()
		for range 5 {
			if err := p.Wait(t.Context(), "post", nil, limit); err != nil {
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
		p := New("chat", nil)
		p.Block(t.Context(), "a", 10*time.Second)
		p.Block(t.Context(), "a", time.Second) // the later end counts
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
		p := New("chat", nil)
		p.Block(t.Context(), "a", time.Second)
		begun := time.Now()
		time.AfterFunc(500*time.Millisecond, func() { p.Block(t.Context(), "a", 4*time.Second) })
		if err := p.Wait(t.Context(), "post", []string{"a"}); err != nil || time.Since(begun) != 4500*time.Millisecond {
			t.Errorf("waited %s, %v; want until the later end", time.Since(begun), err)
		}
	})
}

func TestTooLongIsSaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("chat", nil)
		limit := Limit{"c1", time.Minute, 1}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := p.Wait(ctx, "post", nil, limit); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for range 2 { // the one that gave up has booked nothing
			err := p.Wait(ctx, "post", nil, limit)
			f := tickets.FailureOf(err)
			if f.Class != tickets.RateLimited || f.RetryAfter != time.Minute || time.Since(begun) != 0 {
				t.Errorf("Wait = %v (after %s) in %s; want limited for a minute, at once", err, f.RetryAfter, time.Since(begun))
			}
		}
	})
}

func TestIdleLimitersAreForgotten(t *testing.T) {
	p := New("chat", nil)
	busy := Limit{"busy", time.Hour, 1}
	patient := func(limit Limit) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return p.Wait(ctx, "post", nil, limit)
	}
	if err := patient(busy); err != nil {
		t.Fatal(err)
	}
	for i := range 5 * keepLimiters {
		if err := patient(Limit{fmt.Sprint(i), time.Nanosecond, 1}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.own.limits); n > keepLimiters+1 {
		t.Errorf("%d limiters are kept, want about %d", n, keepLimiters)
	}
	if patient(busy) == nil {
		t.Error("one that was used up was forgotten")
	}
}

// several is a limiter of several processes, which may be away.
type several struct {
	own  *Pacer
	away bool
	got  []string
}

func (s *several) Reserve(_ context.Context, lanes []string, limits []Limit, patience time.Duration) (time.Duration, bool, error) {
	if s.away {
		return 0, false, errors.New("away")
	}
	s.got = append(s.got, fmt.Sprint(lanes, limits))
	d, booked := s.own.own.reserve(lanes, limits, patience)
	return d, booked, nil
}

func (s *several) Block(_ context.Context, lane string, d time.Duration) error {
	if s.away {
		return errors.New("away")
	}
	s.own.own.block(lane, d)
	return nil
}

func TestSeveralCountTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &several{own: New("", nil)}
		one, other := New("chat", shared), New("chat", shared)
		limit := Limit{"c1", time.Second, 1}
		begun := time.Now()
		for i := range 6 {
			p := one
			if i%2 == 1 {
				p = other
			}
			if err := p.Wait(t.Context(), "post", []string{"lane"}, limit); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("6 calls of two processes at 1 a second took %s, want 5s", took)
		}
		if want := "[chat lane] [{chat c1 1s 1}]"; shared.got[0] != want {
			t.Errorf("booked %s, want %s: platforms must not share limits", shared.got[0], want)
		}
		one.Block(t.Context(), "lane", time.Minute)
		begun = time.Now()
		if err := other.Wait(t.Context(), "post", []string{"lane"}); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("the other process waited %s, %v; want a minute", time.Since(begun), err)
		}
	})
}

func TestAloneWhileTheOthersCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("chat", &several{away: true})
		p.Block(t.Context(), "lane", time.Minute)
		begun := time.Now()
		for range 3 {
			if err := p.Wait(t.Context(), "post", []string{"lane"}, Limit{"c1", time.Second, 1}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != time.Minute+2*time.Second {
			t.Errorf("3 calls took %s, want a second between them once the lane was open", took)
		}
	})
}
