package main

import (
	"context"
	"errors"
	"time"
)

// stopTime is how long the program takes at most to end when it is told to:
// grace for what is under way, and some for the rest.
const stopTime = 15 * time.Second

var errStop = errors.New("something did not end in time, as when the disk under the store hangs: what was acknowledged is kept, the rest is done after the next start")

// endsWithin runs f, and returns what it does, or errStop when f has not
// returned d after ctx has ended: a disk that hangs under it answers nobody, and
// must not keep the process from ending.
func endsWithin(ctx context.Context, d time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return errStop
	}
}
