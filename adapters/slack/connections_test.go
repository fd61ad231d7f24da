package slack_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
)

// shared counts for several processes, as a store does.
type shared struct {
	mu   sync.Mutex
	held map[string]int
}

func (s *shared) CountHeld(_ context.Context, _, holder string, n int, _ time.Duration) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[string]int{}
	}
	s.held[holder] = n
	all := 0
	for _, n := range s.held {
		all += n
	}
	return all, nil
}

// beside starts another process that uses the app of w, and returns what ends
// it.
func (w *world) beside(t *testing.T, with slack.Connections) (*slack.Chat, func()) {
	t.Helper()
	chat, err := slack.New(slack.Config{
		BotToken: slacktest.BotToken, AppToken: slacktest.AppToken, APIURL: w.fake.URL(), Connections: with, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- chat.Run(ctx, adaptertest.NewBook()) }()
	poll(t, "the other is ready", func() bool { return chat.Ready() == nil })
	end := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(end)
	return chat, end
}

// TestForeignConnections: another installation uses the same app. It is found
// when Slack greets a connection, told and recorded, and no more once it has
// gone.
func TestForeignConnections(t *testing.T) {
	var mu sync.Mutex
	var recorded []int
	foreign := func(_ context.Context, n int) error {
		mu.Lock()
		defer mu.Unlock()
		recorded = append(recorded, n)
		return nil
	}
	last := func() int {
		mu.Lock()
		defer mu.Unlock()
		if len(recorded) == 0 {
			return -1
		}
		return recorded[len(recorded)-1]
	}
	h := adaptertest.NewBook()
	w := prepare(t, "socket", h, func(_ *slacktest.Config, c *slack.Config) {
		c.Foreign, c.Compare = foreign, 200*time.Millisecond
	})
	other, end := w.beside(t, nil)
	poll(t, "the other is alone", func() bool { return other.Foreign() == 0 })
	w.run(h)
	poll(t, "one is found", func() bool { return w.chat.Foreign() == 1 && last() == 1 })
	if says := strings.Join(w.chat.Warnings(), " "); !strings.Contains(says, "not of this installation") {
		t.Errorf("it warns %q", says)
	}
	poll(t, "the log tells", func() bool {
		return strings.Contains(w.log.String(), "slack has connections of this app that are not of this installation")
	})
	end()
	// Nobody refreshes anything: a connection that showed a foreign one is
	// replaced, to see.
	poll(t, "none is found any more", func() bool { return w.chat.Foreign() == 0 && last() == 0 && len(w.chat.Warnings()) == 0 })
	if err := w.chat.Ready(); err != nil {
		t.Errorf("Ready() = %v", err)
	}
}

// TestReplicasAreNotForeign: processes that count together, each with
// connections that end and begin.
func TestReplicasAreNotForeign(t *testing.T) {
	together := &shared{}
	w := begin(t, "socket", adaptertest.NewBook(), func(_ *slacktest.Config, c *slack.Config) { c.Connections = together })
	other, _ := w.beside(t, together)
	for range 3 {
		greeted := strings.Count(w.log.String(), "socket mode is connected")
		w.fake.Refresh("refresh_requested")
		poll(t, "another connection", func() bool { return strings.Count(w.log.String(), "socket mode is connected") > greeted })
	}
	if w.chat.Foreign() != 0 || other.Foreign() != 0 || strings.Contains(w.log.String(), "not of this installation") {
		t.Errorf("%d and %d are foreign", w.chat.Foreign(), other.Foreign())
	}
}
