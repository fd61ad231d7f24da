package drain

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Tracker
		g.Wait() // nothing has begun
		g.Begin()
		g.Begin()
		passed := make(chan struct{})
		go func() { g.Wait(); close(passed) }()
		g.End()
		synctest.Wait()
		select {
		case <-passed:
			t.Fatal("it did not wait for the second")
		default:
		}
		g.End()
		<-passed
	})
}

func TestGateHurriesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Tracker
		chat, stop := context.WithCancel(t.Context())
		quick, end := g.Within(t.Context())
		end()
		if quick.Err() == nil {
			t.Error("what has ended goes on")
		}
		slow, end := g.Within(t.Context())
		defer end()
		g.HurryAfter(chat, 6*time.Second)
		time.Sleep(time.Hour)
		stop()
		time.Sleep(5 * time.Second)
		if slow.Err() != nil {
			t.Error("it has no time to end")
		}
		time.Sleep(2 * time.Second)
		if slow.Err() == nil {
			t.Error("it may go on for ever")
		}
		late, end := g.Within(t.Context())
		defer end()
		synctest.Wait()
		if late.Err() == nil {
			t.Error("what begins at the end may go on for ever")
		}
	})
}
