package slack

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/countersign/countersign/adapters/chatkit"
)

// Connections is what the processes of one installation agree on: how many
// connections of Socket Mode they hold.
type Connections interface {
	// CountHeld notes that holder has n of what is called name, for d from now,
	// and returns how many all holders have together.
	CountHeld(ctx context.Context, name, holder string, n int, d time.Duration) (all int, err error)
}

const (
	// connectionsName is what is counted, connectionsFor how long it counts
	// without being said again, which is every connectionsEvery.
	connectionsName  = "slack connections"
	connectionsFor   = 90 * time.Second
	connectionsEvery = 30 * time.Second
	// connectionsAsk is how long the others may take to answer.
	connectionsAsk = 2 * time.Second
	// droppedFor is how long after the end of a connection Slack may count it
	// still: until then it counts as held.
	droppedFor = time.Minute
)

// connections compares how many connections Slack counts for the app with how
// many this installation holds. One that is foreign is another installation's:
// Slack delivers a click to any of them.
type connections struct {
	holder  string
	ended   []time.Time // when own ones ended, the last of them
	foreign int         // as the last comparison found
	told    bool        // Config.Foreign knows of foreign
}

func newConnections() connections { return connections{holder: rand.Text()} }

// held is how many connections this process has, those included that Slack may
// count still, and how many of them have ended. c.mu is held.
func (c *Chat) held() (all, ended int) {
	now, kept := c.cfg.Now(), c.connections.ended[:0]
	for _, at := range c.connections.ended {
		if now.Sub(at) < droppedFor {
			kept = append(kept, at)
		}
	}
	c.connections.ended = kept
	return len(c.sockets) + len(kept), len(kept)
}

// count tells the other processes how many connections this one has, and more
// that it is about to make, and returns how many all have, and how many of
// this one's have ended.
func (c *Chat) count(ctx context.Context, more int) (all, ended int, err error) {
	c.mu.Lock()
	own, ended := c.held()
	c.mu.Unlock()
	if c.cfg.Connections == nil {
		return own + more, ended, nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectionsAsk)
	defer cancel()
	all, err = c.cfg.Connections.CountHeld(ctx, connectionsName, c.connections.holder, own+more, connectionsFor)
	if err != nil {
		c.log.Warn("cannot count the connections of all replicas", "err", err)
	}
	return all, ended, err
}

// keepCount tells the other processes how many connections this one has, until
// ctx ends.
func (c *Chat) keepCount(ctx context.Context) {
	if c.cfg.Connections == nil {
		return
	}
	for chatkit.Sleep(ctx, connectionsEvery) {
		_, _, _ = c.count(ctx, 0) // the log knows
	}
}

// compare compares the number of connections that Slack says the app has with
// what is held, and reports whether that should be done again.
func (c *Chat) compare(ctx context.Context, says int) (again bool) {
	if says <= 0 {
		return false
	}
	all, ended, err := c.count(ctx, 0)
	if err != nil {
		return false // another connection would not tell more
	}
	foreign := max(says-all, 0)
	c.mu.Lock()
	was, told := c.connections.foreign, c.connections.told
	c.connections.foreign = foreign
	c.mu.Unlock()
	switch {
	case foreign > 0:
		c.log.Warn("slack has connections of this app that are not of this installation, and delivers some of what people do to them", "foreign", foreign, "held", all)
	case was > 0:
		c.log.Info("slack has no foreign connections of this app any more", "held", all)
	}
	if c.cfg.Foreign != nil && (foreign != was || !told) {
		err := c.cfg.Foreign(ctx, foreign)
		if err != nil {
			c.log.Warn("cannot record how many foreign connections there are", "err", err)
		}
		c.mu.Lock()
		c.connections.told = err == nil
		c.mu.Unlock()
	}
	return foreign > 0 || says > all-ended
}

// Foreign is how many connections of Socket Mode the app has, as Slack last
// said, that are not of this installation.
func (c *Chat) Foreign() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connections.foreign
}

// Warnings tell of foreign connections.
func (c *Chat) Warnings() []string {
	if n := c.Foreign(); n > 0 {
		return []string{MsgForeign(n)}
	}
	return nil
}

// MsgForeign says that n connections are not of this installation.
func MsgForeign(n int) string {
	return fmt.Sprintf("connections of this app that are not of this installation: %d. Another one uses the same app token, and Slack delivers some of the clicks and commands to it. Give each installation an app of its own", n)
}
