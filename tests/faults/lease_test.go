package faults

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/epm/epmtest"
)

// TestKilledProcessHasItsLeasesBack kills the only process between two posts,
// while it holds leases of an hour on tickets that it claimed ahead. Started
// again it posts them at once, the oldest first.
//
// The guard is the name under which it leases (cmd/countersign/life.go): without
// it the cards that were claimed ahead were never posted, and newer ones were.
func TestKilledProcessHasItsLeasesBack(t *testing.T) {
	t.Parallel()
	const requests = 24
	w := newWorld(t, func(w *world) {
		withRedis(t, w)
		w.lease = time.Hour
		// Slow enough to be killed in between.
		w.overrides = map[string]any{"SlackPace": map[string]any{"PostsPerSecond": 8, "PostBurst": 1, "EditsPerMinute": 6e5, "EditBurst": 10_000}}
	})
	var numbers []string
	for range requests {
		a := &asked{request: w.epm.RequestAppQuietly(epmtest.App{})}
		w.asked = append(w.asked, a)
		w.delivers(t.Context(), a, w.epm.Body(a.request.Kind.CreatedEvent(), a.request, epmtest.BodyOptions{}))
		numbers = append(numbers, a.number)
	}
	for _, posted := range []int{2, 8, 14} {
		w.eventually("some are posted", func() bool { return len(w.board().slack) >= posted })
		w.kill()
		w.serving()
	}
	w.eventually("all are posted", func() bool { return len(w.board().slack) == requests })
	var shown []string
	for _, m := range w.slack.Messages(slackChannel) {
		if n := numberForm.FindString(m.Text); (m.ThreadTS == "" || m.ThreadTS == m.TS) && !slices.Contains(shown, n) {
			shown = append(shown, n)
		}
	}
	if !slices.Equal(shown, numbers) {
		t.Errorf("the cards stand in the order %v, want the oldest first: %v", shown, numbers)
	}
}
