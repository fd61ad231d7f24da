package faults

import (
	"context"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/countersign/countersign/store"
)

// clockError is how wrong a time may be that people or EPM see: seconds are
// cut off, and a busy machine takes a while to ask Redis for the time.
const clockError = 5 * time.Second

// TestReplicasWithWrongClocks has one replica ten minutes ahead of the others
// and one ten minutes behind. They work by Redis' clock: nothing waits for ten
// minutes, Slack's signatures are believed, and the times that people and EPM
// see are right.
//
// The guard is clock.compare (cmd/countersign/peers.go): without it clicks in
// Slack are refused with 401, and tickets were made and decided ten minutes
// before and after they were.
func TestReplicasWithWrongClocks(t *testing.T) {
	needRedis(t)
	w := newWorld(t, func(w *world) {
		withReplicas(t, w, 3)
		w.workers = 6
	})
	for i, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		w.bots[i].kill()
		w.bots[i].setClock(off)
		w.bots[i].start()
	}
	w.during(func(ctx context.Context) {
		w.shown()
		wait(ctx, 2*time.Second)
	})
	w.check()
	w.checkTimes()
}

// TestClocksJump has the clocks of running processes jump an hour ahead, back,
// an hour behind, and back, under load. What was written down meanwhile is
// neither due in an hour nor dated an hour off.
//
// The guard is that the program's own clock is the monotonic one
// (cmd/countersign/peers.go: steady): with the machine's in its place,
// decisions that were made while it was ahead are not sent to EPM for an hour,
// also by replicas, which set their clocks right every 5 s only.
func TestClocksJump(t *testing.T) {
	for name, keep := range map[string]func(*world){
		"SQLite":        func(w *world) { w.calm = true },
		"RedisReplicas": func(w *world) { withReplicas(t, w, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			if name != "SQLite" {
				needRedis(t)
			}
			rounds := 1
			if long {
				rounds = 10
			}
			w := newWorld(t, func(w *world) {
				keep(w)
				w.workers = 6
			})
			w.during(func(ctx context.Context) {
				w.shown()
				for range rounds {
					b := oneOf(w.bots)
					for _, off := range []time.Duration{time.Hour, 0, -time.Hour, 0} {
						b.setClock(off)
						wait(ctx, 500*time.Millisecond+rand.N(time.Second))
					}
				}
			})
			w.check()
			w.checkTimes()
		})
	}
}

// wait goes on with the load for d.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// shownTime is a moment in a message, in seconds since 1970.
var shownTime = regexp.MustCompile(`<!date\^([0-9]+)\^|<t:([0-9]+):`)

// checkTimes sees that every time that was written down, sent to EPM or shown
// is one of this test, and that Slack was believed.
func (w *world) checkTimes() {
	w.Helper()
	s := w.open()
	defer func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	}()
	all, err := s.List(w.Context(), store.Query{Limit: 1 << 20})
	if err != nil {
		w.Fatal(err)
	}
	first, last := w.started.Add(-clockError), time.Now().Add(clockError)
	seen := 0
	wants := func(what, number string, at time.Time) {
		seen++
		if at.Before(first) || at.After(last) {
			w.Errorf("%s of %s is at %s, which is %s off", what, number, at.UTC().Format(time.TimeOnly), time.Until(at).Round(time.Second))
		}
	}
	until := map[int64]bool{} // when access ends, which is later
	for _, t := range all {
		n := string(t.Number)
		wants("the beginning", n, t.Created)
		for _, e := range t.Events {
			wants(string(e.Kind), n, e.At)
		}
		if t.Outcome != nil {
			if end, ok := t.Outcome.Until(); ok {
				until[end.Unix()] = true
			}
		}
		for _, d := range w.epm.Decisions(string(t.ID)) {
			if d.Console {
				continue
			}
			at, err := time.Parse(time.DateTime, d.DecisionTime)
			if err != nil {
				w.Errorf("EPM was told of %s at %q", n, d.DecisionTime)
				continue
			}
			wants("EPM's decision", n, at)
		}
	}
	b := w.board()
	for where, shown := range map[string]map[string][]card{"Slack's card": b.slack, "Discord's card": b.discord} {
		for n, cards := range shown {
			for _, m := range shownTime.FindAllStringSubmatch(cards[0].raw, -1) {
				s, err := strconv.ParseInt(m[1]+m[2], 10, 64)
				if err != nil {
					w.Fatal(err)
				}
				if !until[s] {
					wants(where, n, time.Unix(s, 0))
				}
			}
		}
	}
	w.Logf("%d times are right", seen)
	for _, d := range w.slack.Deliveries() {
		if d.Status == http.StatusUnauthorized {
			w.Errorf("what a person did in Slack at %s was not believed", d.At)
		}
	}
}
