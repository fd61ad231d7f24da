package slack

import (
	"strings"
	"sync"
	"time"
)

// keepSeen is how long a delivery is remembered: longer than Slack's last
// redelivery, after five minutes.
const keepSeen = 15 * time.Minute

// newest knows the last change of each open form.
type newest struct {
	now func() time.Time

	mu    sync.Mutex
	last  map[string]last // by view
	swept time.Time
}

type last struct {
	ts string // Slack's time of the change
	at time.Time
}

func newNewest(now func() time.Time) *newest {
	return &newest{now: now, last: map[string]last{}}
}

// change notes a change of a form at ts and returns a function that reports
// whether no later one came.
func (n *newest) change(view, ts string) func() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	if now.Sub(n.swept) > time.Minute {
		n.swept = now
		for k, l := range n.last {
			if now.Sub(l.at) > keepSeen {
				delete(n.last, k)
			}
		}
	}
	if later(ts, n.last[view].ts) {
		n.last[view] = last{ts, now}
	}
	return func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.last[view].ts == ts
	}
}

// later compares two of Slack's timestamps.
func later(a, b string) bool {
	whole := func(s string) string { w, _, _ := strings.Cut(s, "."); return w }
	if x, y := whole(a), whole(b); len(x) != len(y) {
		return len(x) > len(y)
	}
	return a > b
}
