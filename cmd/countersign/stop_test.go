package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestStopIsBounded: what does not end, as when the disk hangs, does not keep
// the program from ending, and what ends in time says how.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		ends time.Duration // after it was told to; 0: never
		want error
	}{"InTime": {stopTime - time.Second, broken}, "Never": {0, errStop}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Hour, cancel)
				hung := make(chan struct{})
				begun := time.Now()
				err := endsWithin(ctx, stopTime, func() error {
					<-ctx.Done()
					if c.ends == 0 {
						<-hung
					}
					time.Sleep(c.ends)
					return broken
				})
				close(hung)
				if took := time.Since(begun) - time.Hour; !errors.Is(err, c.want) || took > stopTime {
					t.Errorf("it ended after %s with %v, want %v", took, err, c.want)
				}
			})
		})
	}
}
