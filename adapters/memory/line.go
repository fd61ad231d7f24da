package memory

import (
	"fmt"
	"sync"
	"time"
)

// Line is what is known of a connection that comes and goes: whether it is
// up, since when, and why not. The zero value is one that was never up.
type Line struct {
	mu    sync.Mutex
	up    bool
	since time.Time // of up, or of being away
	err   error     // why it is away, if known
}

// Up notes that the connection is there.
func (l *Line) Up(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.since, l.err = true, now, nil
}

// Down notes that it is not, and why; a nil reason keeps the one that is known.
func (l *Line) Down(now time.Time, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up {
		l.up, l.since, l.err = false, now, nil
	}
	if why != nil {
		l.err = why
	}
}

// Problem is nil while the connection is up, or has been away for less than
// gap: platforms replace connections as a matter of course. what names it.
func (l *Line) Problem(what string, now time.Time, gap time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.up, !l.since.IsZero() && now.Sub(l.since) < gap:
		return nil
	case l.err != nil:
		return fmt.Errorf("%s is not connected: %w", what, l.err)
	}
	return fmt.Errorf("%s is not connected", what)
}
