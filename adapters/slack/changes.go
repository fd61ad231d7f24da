package slack

import (
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/ttl"
)

// keepSeen is how long a delivery is remembered: longer than Slack's last
// redelivery, after five minutes.
const keepSeen = 15 * time.Minute

// newest knows the last change of each open form.
type newest struct {
	last *ttl.Map[string, string] // Slack's time of the change, by view
}

func newNewest(now func() time.Time) *newest {
	return &newest{ttl.NewMap[string, string](keepSeen, now)}
}

// change notes a change of a form at ts and returns a function that reports
// whether no later one came.
func (n *newest) change(view, ts string) func() bool {
	n.last.Update(view, func(last string) string {
		if later(ts, last) {
			return ts
		}
		return last
	})
	return func() bool {
		last, _ := n.last.Get(view)
		return last == ts
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
