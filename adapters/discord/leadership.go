package discord

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
)

// Peers is what the processes that serve one application agree on.
type Peers interface {
	ratelimit.Limiter
	// AcquireLease takes the lease called name for holder, or renews it, for d from
	// now, and reports whether holder has it.
	AcquireLease(ctx context.Context, name, holder string, d time.Duration) (bool, error)
	// ReleaseLease ends the lease called name, if holder has it.
	ReleaseLease(ctx context.Context, name, holder string) error
	// ClaimOnce reports whether nobody has asked for key in the last keep.
	ClaimOnce(ctx context.Context, key string, keep time.Duration) (bool, error)
}

// leadership is the order in which processes hold the gateway: Discord sends every
// interaction to every connection, so one is enough, and another must take
// its place soon.
type leadership struct {
	peers  Peers
	holder string
	lease  time.Duration
}

// The leases: who holds the gateway, who would take it next, and who has
// connected to it in the last lease.
const (
	leaseGateway   = "discord gateway"
	leaseNext      = "discord gateway next"
	leaseConnected = "discord gateway connected"
)

// pollInterval is how often somebody looks whether the gateway is free, and renew how
// often its holder says that it still is there.
func (t *leadership) pollInterval() time.Duration  { return t.lease / 10 }
func (t *leadership) renewInterval() time.Duration { return t.lease / 4 }

// askTime is how long peers may take to answer.
const askTime = 2 * time.Second

func (t *leadership) acquireLease(ctx context.Context, name string, d time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return t.peers.AcquireLease(ctx, name, t.holder, d)
}

func (t *leadership) releaseLease(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	_ = t.peers.ReleaseLease(ctx, name, t.holder) // else it ends by itself
}

// acquire returns true when this process may have the gateway, and false when
// ctx ended. If the peers cannot be asked for the length of a lease it may:
// somebody has to tell people so.
func (t *leadership) acquire(ctx context.Context, c *Chat) bool {
	told, asked := false, time.Now()
	for {
		has, err := t.acquireLease(ctx, leaseGateway, t.lease)
		if err == nil {
			asked = time.Now()
		}
		switch {
		case ctx.Err() != nil:
			if has {
				t.releaseLease(ctx, leaseGateway)
			}
			return false
		case has:
			t.releaseLease(ctx, leaseNext)
			return true
		case err != nil && time.Since(asked) > t.lease:
			c.log.Warn("cannot ask who holds the gateway, so it is taken", "err", err)
			return true
		case err != nil:
			c.log.Debug("cannot ask who holds the gateway", "err", err)
		default:
			c.gateway.Up(c.cfg.Now()) // another process is connected for all
			if !told {
				told = true
				c.log.Info("another replica holds the gateway; standing by")
			}
			// Who leaves the gateway wants to know whether somebody stands by.
			_, _ = t.acquireLease(ctx, leaseNext, t.lease)
		}
		if !chatkit.Sleep(ctx, t.pollInterval()) {
			t.releaseLease(ctx, leaseNext)
			return false
		}
	}
}

// renewUntilLost renews the lease until ctx ends, and calls lost if another process has
// it. While the peers cannot be asked the gateway is kept: there would be
// nobody to tell people so.
func (t *leadership) renewUntilLost(ctx context.Context, lost func()) {
	for chatkit.Sleep(ctx, t.renewInterval()) {
		if has, err := t.acquireLease(ctx, leaseGateway, t.lease); err == nil && !has {
			lost()
			return
		}
	}
}

// noStandby reports whether nobody stands by, as far as can be found out.
func (t *leadership) noStandby(ctx context.Context) bool {
	none, err := t.acquireLease(ctx, leaseNext, time.Millisecond)
	return none || err != nil
}

// announceConnected tells whoever hands over that this process has taken its place.
func (t *leadership) announceConnected(ctx context.Context) {
	for {
		if has, err := t.acquireLease(ctx, leaseConnected, t.lease); has || err != nil || !chatkit.Sleep(ctx, t.pollInterval()) {
			return
		}
	}
}

// release ends the lease while the connection still stands, and returns when
// another process has connected, or nobody will. What arrives on both
// connections meanwhile is claimed.
func (t *leadership) release(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	alone := t.noStandby(ctx)
	t.releaseLease(ctx, leaseConnected)
	t.releaseLease(ctx, leaseGateway)
	if !alone {
		t.waitForSuccessor(ctx, t.lease/2)
	}
}

// waitForSuccessor returns when another process has connected, or none has for so
// long. What Discord sent here before the other one stood is read still.
func (t *leadership) waitForSuccessor(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for chatkit.Sleep(ctx, t.pollInterval()) {
		// Taking the lease for a moment shows whether another has it.
		none, err := t.acquireLease(ctx, leaseConnected, time.Millisecond)
		if err != nil {
			return
		}
		if !none {
			chatkit.Sleep(ctx, onItsWay)
			return
		}
	}
}

// onItsWay is how long what was sent may take to be read.
const onItsWay = 500 * time.Millisecond

// listenAsReplica listens whenever it is this process' turn, until ctx ends. Its
// error is fatal.
func (c *Chat) listenAsReplica(ctx context.Context, h adapters.Handler) error {
	t := &leadership{peers: c.cfg.Peers, holder: rand.Text(), lease: c.cfg.Gateway.Lease}
	sup := c.newSupervisor(h)
	for chatkit.Sleep(ctx, time.Until(sup.next)) && t.acquire(ctx, c) {
		err := c.lead(ctx, t, sup)
		if err != nil {
			return err
		}
		if ctx.Err() == nil && !t.noStandby(ctx) {
			chatkit.Sleep(ctx, 2*t.pollInterval()) // perhaps somebody else has better luck
		}
	}
	return nil
}

// lead listens until ctx ends, another process has the gateway and has
// connected to it, or it cannot be reached for the length of a lease.
func (c *Chat) lead(ctx context.Context, t *leadership, sup *supervisor) error {
	turn, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	keeping, stopKeeping := context.WithCancel(turn)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		t.renewUntilLost(keeping, func() {
			c.log.Warn("another replica has taken the gateway")
			t.releaseLease(keeping, leaseConnected)
			t.waitForSuccessor(keeping, t.lease)
			if keeping.Err() == nil {
				end()
			}
		})
	}()
	var mu sync.Mutex // of connecting and the end of keeping
	var connecting sync.WaitGroup
	sup.ready = func() {
		mu.Lock()
		defer mu.Unlock()
		if keeping.Err() == nil {
			connecting.Go(func() { t.announceConnected(keeping) })
		}
	}
	// After it nothing renews a lease, or takes it back.
	letGo := func() {
		mu.Lock()
		stopKeeping()
		mu.Unlock()
		connecting.Wait()
		<-kept
	}
	left := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(left)
		defer end()
		letGo()
		t.release(ctx)
	})
	err := sup.run(turn, t.lease)
	if !stop() {
		<-left
	}
	letGo()
	t.releaseLease(ctx, leaseConnected)
	t.releaseLease(ctx, leaseGateway)
	return err
}

// lateAnswer is when a process that cannot ask its peers answers: one that
// can comes first.
const lateAnswer = 1500 * time.Millisecond

// claimInteraction reports whether this process is to answer the interaction called id,
// which came at received. It waits if it cannot tell.
func (c *Chat) claimInteraction(ctx context.Context, id string, received time.Time) bool {
	if c.cfg.Peers == nil {
		return true
	}
	ask, cancel := context.WithTimeout(ctx, lateAnswer/2)
	defer cancel()
	first, err := c.cfg.Peers.ClaimOnce(ask, "discord "+id, keepSeen)
	if err != nil {
		c.log.Warn("cannot ask whether another replica answers", "err", err)
		return chatkit.Sleep(ctx, time.Until(received.Add(lateAnswer)))
	}
	return first
}
