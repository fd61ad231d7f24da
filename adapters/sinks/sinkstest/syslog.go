// Package sinkstest imitates those who are told of events: a syslog server
// and the receiver of a webhook. They share nothing with the code they test,
// and refuse what the standards refuse.
package sinkstest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
)

// Mode is how a syslog server behaves.
type Mode int

// The modes.
const (
	Takes  Mode = iota // reads to the end, then closes
	Hangs              // accepts connections and reads nothing
	Stays              // reads everything and does not close
	Resets             // reads the first message, keeps it, and resets the connection
	Talks              // answers, again and again
)

// maxOctets is the longest message that the server takes: what RFC 5425 says
// that every one should.
const maxOctets = 8192

// Syslog is a syslog server on this machine. Make one with [NewSyslog].
type Syslog struct {
	tls *tls.Config

	mu         sync.Mutex
	mode       Mode
	addr       string
	listener   net.Listener
	open       map[net.Conn]bool
	down       chan struct{} // closed by Down
	messages   []Message
	violations []string
	working    sync.WaitGroup
}

// NewSyslog starts a server, with TLS unless config is nil.
func NewSyslog(config *tls.Config) (*Syslog, error) {
	s := &Syslog{tls: config, addr: "127.0.0.1:0", open: map[net.Conn]bool{}}
	return s, s.Up()
}

// Addr is where the server listens, also after Down and Up.
func (s *Syslog) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Up lets the server listen.
func (s *Syslog) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.addr, s.listener, s.down = l.Addr().String(), l, make(chan struct{})
	s.working.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.working.Go(func() { s.serve(c) })
		}
	})
	return nil
}

// Down ends the listener and every connection, as a process does that is
// killed.
func (s *Syslog) Down() {
	s.mu.Lock()
	_ = s.listener.Close()
	select {
	case <-s.down:
	default:
		close(s.down)
	}
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.working.Wait()
}

// SetMode says how connections from now on are treated.
func (s *Syslog) SetMode(m Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
}

// Messages are those that were taken, in their order.
func (s *Syslog) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Violations are what the server was sent against the standards.
func (s *Syslog) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *Syslog) serve(raw net.Conn) {
	s.mu.Lock()
	mode, down := s.mode, s.down
	s.open[raw] = true
	s.mu.Unlock()
	conn := raw
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.open, raw)
		s.mu.Unlock()
	}()
	if mode == Hangs {
		<-down
		return
	}
	if s.tls != nil {
		secure := tls.Server(raw, s.tls)
		if secure.Handshake() != nil {
			return
		}
		conn = secure
	}
	r := bufio.NewReader(conn)
	for {
		text, err := frame(r, maxOctets)
		if errors.Is(err, errFraming) {
			s.violation("%v", err)
		}
		if err != nil {
			break
		}
		m, err := Parse(text)
		if err != nil {
			s.violation("%v in %.300q", err, text)
			continue
		}
		s.mu.Lock()
		s.messages = append(s.messages, m)
		s.mu.Unlock()
		if mode == Resets {
			if tcp, ok := raw.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = raw.Close()
			return
		}
	}
	switch mode {
	case Stays:
		<-down
	case Talks:
		for {
			if _, err := io.WriteString(conn, "hello\n"); err != nil {
				return
			}
		}
	}
}

func (s *Syslog) violation(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}
