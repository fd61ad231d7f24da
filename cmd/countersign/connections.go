package main

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// How many connections may wait for a request. One costs about 20 KiB, and up
// to maxHeaderBytes more while its headers arrive. With TLS more wait, for
// longer: a handshake takes the processor a thousand times as long.
const (
	maxWaiting    = 512
	maxWaitingTLS = 1536
)

// connections bounds how many connections wait: those that have sent nothing
// yet, are in their TLS handshake, send their headers or are between two
// requests. When there are more, the one that has waited longest is closed,
// whoever opened it: who has a request to send needs no time, and who only
// holds connections finds the oldest of them gone. Requests that are being
// answered have limits of their own.
type connections struct {
	net.Listener
	most int

	mu      sync.Mutex
	waiting []net.Conn // the one that has waited longest first
}

// Accept implements [net.Listener].
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.wait(conn)
	}
	return conn, err
}

// follow is told by the server what its connections do.
func (c *connections) follow(conn net.Conn, state http.ConnState) {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = over.NetConn()
	}
	switch state {
	case http.StateNew: // accepted just now
	case http.StateIdle:
		c.wait(conn)
	default:
		c.leave(conn)
	}
}

func (c *connections) wait(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, conn)
	if len(c.waiting) > c.most {
		_ = c.waiting[0].Close() // its goroutine sees that, and ends
		c.waiting = slices.Delete(c.waiting, 0, 1)
	}
}

func (c *connections) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.waiting, conn); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
}
