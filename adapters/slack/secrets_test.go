package slack

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters/chatkit/health"
)

// lines gets the lines of a log.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// TestEndOfAnEarlierListenerEndsNothing: an app token that comes back after
// another one is heard anew. That its first listener ends then says nothing of
// the present one.
func TestEndOfAnEarlierListenerEndsNothing(t *testing.T) {
	var mu sync.Mutex
	token := "xapp-a"
	set := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		token = s
	}
	log := make(lines, 100)
	c, err := New(Config{BotToken: "xoxb-1", AppToken: token, Log: slog.New(slog.NewTextHandler(log, nil)), Current: func() Secrets {
		mu.Lock()
		defer mu.Unlock()
		return Secrets{BotToken: "xoxb-1", AppToken: token}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // bounds a hang
	defer cancel()
	listener := make(chan chan error) // each listener, which ends with what it gets
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.listen(ctx, func(ctx context.Context, _ *slack.Client, _ *health.Connection) error {
			end := make(chan error)
			listener <- end
			return <-end
		})
	}()
	first := <-listener
	set("xapp-b")
	second := <-listener
	set("xapp-a")
	third := <-listener
	for _, earlier := range []chan error{first, second} {
		earlier <- errors.New("an earlier one")
		select {
		case <-log:
		case <-done:
		}
	}
	select {
	case third <- errors.New("the third one"):
	case <-done:
	}
	<-done
	if err := <-c.dead; err == nil || err.Error() != "the third one" {
		t.Errorf("it ends with %v, want the end of the third listener", err)
	}
}
