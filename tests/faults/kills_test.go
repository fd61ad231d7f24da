package faults

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// TestKills kills the program at random moments under load.
//
// Its guards, and what was seen without them:
//   - the look for a lost message before it is posted again: with no look
//     (since always zero in bot.show) 7 cards and replies in Slack were there
//     twice, and cards that Discord's nonce had found went on showing
//     “waiting for a decision”
//   - the first decision wins (tickets.Ticket.Decide): without asking
//     Decidable, EPM received two different decisions and refused one
//   - a webhook is answered after the commit: with SQLite's writer answering
//     20 ms before it, accepted webhooks were not found, and requests had got
//     the numbers of others
func TestKills(t *testing.T) {
	t.Parallel()
	rounds, kills := times(1, 6), times(10, 30)
	for name, keep := range map[string]func(testing.TB, *world){"SQLite": func(testing.TB, *world) {}, "Redis": withRedis} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range rounds {
				t.Run("", func(t *testing.T) {
					w := newWorld(t, func(w *world) { keep(t, w) })
					w.during(func(ctx context.Context) {
						for range kills {
							select {
							case <-time.After(rand.N(700 * time.Millisecond)):
								w.kill()
							case <-ctx.Done():
							}
						}
					})
					w.check()
				})
			}
		})
	}
}

// during runs what happens under load, and returns when all that was begun is
// done.
func (w *world) during(happens func(context.Context)) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*patience)
	enough, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.load(ctx, enough)
	}()
	defer func() { <-done }()
	defer cancel() // what happens may end the test
	happens(ctx)
	stop()
	<-done
}
