package chatkit

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
)

func TestAskAnswersInTime(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	hang := make(chan struct{})
	for name, c := range map[string]struct {
		call func(context.Context) adapters.Answer
		want adapters.Answer
		took time.Duration
	}{
		"AtOnce":   {func(context.Context) adapters.Answer { return adapters.Note{Text: "yes"} }, adapters.Note{Text: "yes"}, 0},
		"Nothing":  {func(context.Context) adapters.Answer { return nil }, adapters.Done{}, 0},
		"Panics":   {func(context.Context) adapters.Answer { panic("planned") }, adapters.Note{Text: wording.MsgBroken, Retryable: true}, 0},
		"OwnWords": {func(ctx context.Context) adapters.Answer { <-ctx.Done(); return adapters.Note{Text: "too late"} }, adapters.Note{Text: "too late"}, time.Second},
		"Hangs":    {func(context.Context) adapters.Answer { <-hang; return adapters.Done{} }, adapters.Note{Text: wording.MsgSlow, Retryable: true}, time.Second + lastWords},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang = make(chan struct{})
				start := time.Now()
				got := CallHandler(t.Context(), start.Add(time.Second), log, c.call)
				if took := time.Since(start); got != c.want || took != c.took {
					t.Errorf("Ask = %+v after %v, want %+v after %v", got, took, c.want, c.took)
				}
				close(hang)
			})
		})
	}
}

// A command may outlast what the platform waits, but not the chat.
func TestAskOutlastsAndStops(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	synctest.Test(t, func(t *testing.T) {
		chat, stop := context.WithCancel(t.Context())
		asked := make(chan adapters.Answer, 1)
		go func() {
			asked <- CallHandler(chat, time.Now().Add(adapters.CommandTime), log, func(ctx context.Context) adapters.Answer {
				<-ctx.Done()
				return adapters.Note{Text: "EPM does not answer: " + ctx.Err().Error()}
			})
		}()
		if a, ok := AwaitUntil(time.Now().Add(2*time.Second), asked); ok {
			t.Errorf("answered at once: %+v", a)
		}
		start := time.Now()
		stop()
		if a, ok := AwaitUntil(start.Add(time.Second), asked); !ok || a != (adapters.Note{Text: wording.MsgStopping, Retryable: true}) || time.Since(start) > lastWords {
			t.Errorf("after %v: %+v, %v; want to be told that the program stops", time.Since(start), a, ok)
		}
	})
}
