package dedup

import (
	"context"
	"fmt"
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
