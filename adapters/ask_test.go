package adapters

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestAskAnswersInTime(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	hang := make(chan struct{})
	for name, c := range map[string]struct {
		call func(context.Context) Answer
		want Answer
		took time.Duration
	}{
		"AtOnce":   {func(context.Context) Answer { return Note{Text: "yes"} }, Note{Text: "yes"}, 0},
		"Nothing":  {func(context.Context) Answer { return nil }, Done{}, 0},
		"Panics":   {func(context.Context) Answer { panic("planned") }, Note{Text: SayBroken, Again: true}, 0},
		"OwnWords": {func(ctx context.Context) Answer { <-ctx.Done(); return Note{Text: "too late"} }, Note{Text: "too late"}, time.Second},
		"Hangs":    {func(context.Context) Answer { <-hang; return Done{} }, Note{Text: SaySlow, Again: true}, time.Second + lastWords},
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
		asked := make(chan Answer, 1)
		go func() {
			asked <- CallHandler(chat, time.Now().Add(CommandTime), log, func(ctx context.Context) Answer {
				<-ctx.Done()
				return Note{Text: "EPM does not answer: " + ctx.Err().Error()}
			})
		}()
		if a, ok := AwaitUntil(time.Now().Add(2*time.Second), asked); ok {
			t.Errorf("answered at once: %+v", a)
		}
		start := time.Now()
		stop()
		if a, ok := AwaitUntil(start.Add(time.Second), asked); !ok || a != (Note{Text: SayStopping, Again: true}) || time.Since(start) > lastWords {
			t.Errorf("after %v: %+v, %v; want to be told that the program stops", time.Since(start), a, ok)
		}
	})
}
