package slack

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

// TestHomesAreMadeInTurn: of one person's home tab the last that is published
// was made after everything that asked for it.
func TestHomesAreMadeInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h homes
		var mu sync.Mutex
		made := map[string]int{}
		proceed := make(chan struct{})
		open := func(user string) {
			h.make(user, func() {
				mu.Lock()
				made[user]++
				mu.Unlock()
				<-proceed
			})
		}
		count := func(user string, want int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if made[user] != want {
				t.Errorf("%s: made %d times, want %d", user, made[user], want)
			}
		}
		var all sync.WaitGroup
		all.Go(func() { open("ann") })
		count("ann", 1)
		for range 3 {
			all.Go(func() { open("ann") })
		}
		all.Go(func() { open("bob") }) // does not wait for ann's
		count("ann", 1)
		count("bob", 1)
		proceed <- struct{}{}
		proceed <- struct{}{}
		count("ann", 2) // once for all three
		close(proceed)
		all.Wait()
		count("ann", 2)

		func() {
			defer func() { _ = recover() }()
			h.make("ann", func() { panic("the page cannot be drawn") })
		}()
		open("ann")
		count("ann", 3)
		if len(h.busy) != 0 {
			t.Errorf("%d are still busy", len(h.busy))
		}
	})
}

// TestManyHomes: those who open tabs take no more than a few workers.
func TestManyHomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h homes
		proceed := make(chan struct{})
		var all sync.WaitGroup
		for i := range maxHomes {
			all.Go(func() { h.make(userOfHome(i), func() { <-proceed }) })
		}
		synctest.Wait()
		if h.make("another", func() { t.Error("made for another one") }) {
			t.Error("one too many is taken")
		}
		if !h.make(userOfHome(0), func() {}) {
			t.Error("whoever is served already is turned away")
		}
		close(proceed)
		all.Wait()
		if !h.make("another", func() {}) {
			t.Error("nobody is served afterwards")
		}
	})
}

func userOfHome(i int) string { return fmt.Sprint("U", i) }
