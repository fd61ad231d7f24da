package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnceHasOneEffect(t *testing.T) {
	d := NewDeliveries[int](time.Minute, time.Now)
	var done atomic.Int32
	var first atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			got, again := d.Once(t.Context(), "a", func() int { return int(done.Add(1)) })
			if got != 1 {
				t.Errorf("the answer is %d, want the first one's", got)
			}
			if !again {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 || first.Load() != 1 {
		t.Errorf("done %d times, %d were first; want once", done.Load(), first.Load())
	}
}

func TestOnceDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDeliveries[int](time.Minute, time.Now)
		hold := make(chan struct{})
		go d.Once(t.Context(), "a", func() int { <-hold; return 1 })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, again := d.Once(ctx, "a", func() int { return 2 }); got != 0 || !again {
			t.Errorf("Once = %d, %v; want nothing, again", got, again)
		}
		close(hold)
	})
}

func TestOncePanicsOnce(t *testing.T) {
	d := NewDeliveries[int](time.Minute, time.Now)
	func() {
		defer func() { _ = recover() }()
		d.Once(t.Context(), "a", func() int { panic("broken") })
	}()
	if got, again := d.Once(t.Context(), "a", func() int { return 2 }); got != 0 || !again {
		t.Errorf("after a panic Once = %d, %v; want nothing, again", got, again)
	}
}

func TestDeliveriesAreForgotten(t *testing.T) {
	now := time.Now()
	d := NewDeliveries[int](10*time.Minute, func() time.Time { return now })
	for i := range 1000 {
		d.New(fmt.Sprint(i))
	}
	if d.New("7") {
		t.Error("a delivery that was seen counts as new")
	}
	now = now.Add(11 * time.Minute)
	if !d.New("7") || len(d.past) != 1 {
		t.Errorf("after its time %d are remembered, want the new one", len(d.past))
	}
}

func TestDeliveriesAreBounded(t *testing.T) {
	d := NewDeliveries[string](time.Hour, time.Now)
	key := func(i int) string { return fmt.Sprint("k", i) }
	const all = 3 * maxDeliveries
	for i := range all {
		if _, again := d.Once(t.Context(), key(i), func() string { return "answer to " + key(i) }); again {
			t.Fatalf("%s was seen before", key(i))
		}
	}
	answers := 0
	for _, p := range d.past {
		if p.answer != nil {
			answers++
		}
	}
	if len(d.past) != maxDeliveries || len(d.known) != maxDeliveries || answers != maxAnswers || len(d.answered) != maxAnswers {
		t.Errorf("%d deliveries, %d answers are kept; want %d, %d", len(d.past), answers, maxDeliveries, maxAnswers)
	}
	for i, want := range map[int]string{all - 1: "answer to " + key(all-1), all - maxAnswers: "answer to " + key(all-maxAnswers), all - maxAnswers - 1: "", all - maxDeliveries: ""} {
		got, again := d.Once(t.Context(), key(i), func() string { return "done again" })
		if !again || got != want {
			t.Errorf("%s again: %q, %v; want %q", key(i), got, again, want)
		}
	}
}

func TestSetsAskOnceForAll(t *testing.T) {
	now := time.Now()
	s := NewSets(func() time.Time { return now })
	var asked atomic.Int32
	load := func(context.Context) ([]string, error) { asked.Add(1); return []string{"ann"}, nil }
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if ok, err := s.Has(t.Context(), "g", "ann", load); !ok || err != nil {
				t.Errorf("Has = %v, %v", ok, err)
			}
		})
	}
	wg.Wait()
	if ok, _ := s.Has(t.Context(), "g", "bob", load); ok || asked.Load() != 1 {
		t.Errorf("bob is in it: %v; asked %d times, want 1", ok, asked.Load())
	}
	now = now.Add(keepSet)
	if ok, _ := s.Has(t.Context(), "g", "ann", load); !ok || asked.Load() != 2 {
		t.Errorf("a minute later: %v, asked %d times; want it asked again", ok, asked.Load())
	}
}

func TestSetsKeepNoError(t *testing.T) {
	s := NewSets(time.Now)
	broken := errors.New("away")
	if ok, err := s.Has(t.Context(), "g", "ann", func(context.Context) ([]string, error) { return nil, broken }); ok || !errors.Is(err, broken) {
		t.Errorf("Has = %v, %v; want the error", ok, err)
	}
	if ok, err := s.Has(t.Context(), "g", "ann", func(context.Context) ([]string, error) { return []string{"ann"}, nil }); !ok || err != nil {
		t.Errorf("Has = %v, %v after the error", ok, err)
	}
}

func TestMembersAreInOrder(t *testing.T) {
	s := NewSets(time.Now)
	want := []string{"zoe@example.com", "zoe", "ann"}
	for range 2 {
		got, err := s.Members(t.Context(), "g", func(context.Context) ([]string, error) { return want, nil })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Members = %q, %v; want %q", got, err, want)
		}
	}
	broken := errors.New("away")
	if got, err := s.Members(t.Context(), "h", func(context.Context) ([]string, error) { return want, broken }); !errors.Is(err, broken) {
		t.Errorf("Members = %q, %v; want the error", got, err)
	}
}

func TestPutReplaces(t *testing.T) {
	s := NewSets(time.Now)
	never := func(context.Context) ([]string, error) { t.Error("asked although it was put"); return nil, nil }
	s.Put("u", []string{"admin"})
	if ok, _ := s.Has(t.Context(), "u", "admin", never); !ok {
		t.Error("what was put is not there")
	}
	s.Put("u", nil)
	if ok, _ := s.Has(t.Context(), "u", "admin", never); ok {
		t.Error("what was taken away is still there")
	}
	s.Forget()
	if len(s.sets) != 0 {
		t.Errorf("%d sets after Forget", len(s.sets))
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		g.Wait() // nothing has begun
		g.Begin()
		g.Begin()
		passed := make(chan struct{})
		go func() { g.Wait(); close(passed) }()
		g.End()
		synctest.Wait()
		select {
		case <-passed:
			t.Fatal("it did not wait for the second")
		default:
		}
		g.End()
		<-passed
	})
}

func TestLine(t *testing.T) {
	now := time.Now()
	later := now.Add(time.Minute)
	why := errors.New("cut")
	var l Line
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

func TestSetsSurviveAPanic(t *testing.T) {
	s := NewSets(time.Now)
	func() {
		defer func() { _ = recover() }()
		_, _ = s.Has(t.Context(), "g", "ann", func(context.Context) ([]string, error) { panic("broken") })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if ok, err := s.Has(ctx, "g", "ann", func(context.Context) ([]string, error) { return []string{"ann"}, nil }); !ok || err != nil {
		t.Errorf("after a panic Has = %v, %v", ok, err)
	}
}

func TestStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Standing
		refusal, end := errors.New("token revoked"), errors.New("closed for good")
		is := func(when string, want error, over bool) {
			t.Helper()
			if why, o := s.Problem(); !errors.Is(why, want) || o != over {
				t.Errorf("%s: Problem = %v, %v; want %v, %v", when, why, o, want, over)
			}
		}
		is("at first", errNotYet, false)
		s.Accepts()
		is("not known yet", errNotYet, false)
		s.Knows()
		is("accepted", nil, false)

		over := make(chan error, 1)
		var tries atomic.Int32
		watched := make(chan error, 1)
		go func() {
			watched <- s.Watch(t.Context(), over, func(context.Context) {
				if tries.Add(1) == 2 {
					s.Accepts()
				}
			})
		}()
		time.Sleep(10 * time.Minute)
		if n := tries.Load(); n != 0 {
			t.Errorf("%d tries while it was accepted", n)
		}
		s.Refuses(refusal)
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

func TestGateHurriesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		chat, stop := context.WithCancel(t.Context())
		quick, end := g.Within(t.Context())
		end()
		if quick.Err() == nil {
			t.Error("what has ended goes on")
		}
		slow, end := g.Within(t.Context())
		defer end()
		g.HurryAfter(chat, 6*time.Second)
		time.Sleep(time.Hour)
		stop()
		time.Sleep(5 * time.Second)
		if slow.Err() != nil {
			t.Error("it has no time to end")
		}
		time.Sleep(2 * time.Second)
		if slow.Err() == nil {
			t.Error("it may go on for ever")
		}
		late, end := g.Within(t.Context())
		defer end()
		synctest.Wait()
		if late.Err() == nil {
			t.Error("what begins at the end may go on for ever")
		}
	})
}
