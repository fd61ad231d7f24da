package epm

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxWrong is how many webhooks with a wrong user or password one network
	// may send in a minute; each further one is answered that it is too many.
	maxWrong = 10
	// maxGuessers bounds how many networks are told apart. Those beyond are
	// counted as one.
	maxGuessers = 4096
)

// guesses counts the wrong passwords of the present minute by who sent them.
type guesses struct {
	mu    sync.Mutex
	until time.Time
	from  map[netip.Prefix]int
}

// wrong counts one, and says how long its sender is to wait before the next;
// zero while it was not too many.
func (g *guesses) wrong(sender string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if left := g.until.Sub(now); left <= 0 || left > time.Minute {
		g.until, g.from = now.Add(time.Minute), map[netip.Prefix]int{}
	}
	key := guesser(sender)
	if _, known := g.from[key]; !known && len(g.from) >= maxGuessers {
		key = netip.Prefix{}
	}
	g.from[key]++
	if g.from[key] <= maxWrong {
		return 0
	}
	return g.until.Sub(now)
}

// guesser is whom an address counts for: of IPv6 the network of 64 bits, in
// which one machine can have any address.
func guesser(sender string) netip.Prefix {
	a, err := netip.ParseAddr(sender)
	if err != nil {
		return netip.Prefix{}
	}
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // which an address of this family has
	return p
}

// tally logs what strangers can cause without end: the first time at once,
// then once a minute how often.
type tally struct {
	log func(count int, remote string)

	mu      sync.Mutex
	waiting bool
	count   int // since the last line
	remote  string
}

func (t *tally) add(remote string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting {
		t.count++
		t.remote = remote
		return
	}
	t.waiting = true
	t.log(1, remote)
	time.AfterFunc(time.Minute, t.minute)
}

func (t *tally) minute() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 {
		t.waiting = false
		return
	}
	t.log(t.count, t.remote)
	t.count = 0
	time.AfterFunc(time.Minute, t.minute)
}
