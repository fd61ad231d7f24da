package health

import (
	"fmt"
	"sync"
	"time"
)

// Connection is what is known of a connection that comes and goes: whether it is
// up, since when, and why not. The zero value is one that was never up.
type Connection struct {
	mu    sync.Mutex
	up    bool
	since time.Time // of up, or of being away
	err   error     // why it is away, if known
}

// Up notes that the connection is there.
func (c *Connection) Up(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up, c.since, c.err = true, now, nil
}

// Down notes that it is not, and why; a nil reason keeps the one that is known.
func (c *Connection) Down(now time.Time, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up {
		c.up, c.since, c.err = false, now, nil
	}
	if why != nil {
		c.err = why
	}
}

// Problem is nil while the connection is up, or has been away for less than
// gap: platforms replace connections as a matter of course. what names it.
func (c *Connection) Problem(what string, now time.Time, gap time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.up, !c.since.IsZero() && now.Sub(c.since) < gap:
		return nil
	case c.err != nil:
		return fmt.Errorf("%s is not connected: %w", what, c.err)
	}
	return fmt.Errorf("%s is not connected", what)
}
