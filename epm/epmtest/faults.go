package epmtest

import (
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"time"
)

// Endpoint is one part of the API, or several of them joined with |.
type Endpoint uint8

// The endpoints, and some of them together.
const (
	Token Endpoint = 1 << iota
	AppDecision
	AdminDecision
	ReadApp
	ReadAdmin
	Other // everything else, swagger among it

	Decide = AppDecision | AdminDecision
	Read   = ReadApp | ReadAdmin
	API    = Decide | Read | Other // everything but the token
	Any    = Token | API
)

// String names the parts, such as "appDecision|adminDecision".
func (e Endpoint) String() string {
	var names []string
	for _, n := range []struct {
		e    Endpoint
		name string
	}{{Token, "token"}, {AppDecision, "appDecision"}, {AdminDecision, "adminDecision"},
		{ReadApp, "readApp"}, {ReadAdmin, "readAdmin"}, {Other, "other"}} {
		if e&n.e != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, "|")
}

// FaultKind is a way of failing.
type FaultKind uint8

const (
	// Late answers what it would have answered, after Delay. With Did the
	// request is processed before the wait, without it after the wait; a
	// caller that gives up meanwhile then leaves nothing behind.
	Late FaultKind = iota
	// Drop cuts the connection without an answer.
	Drop
	// Hang never answers, until the caller gives up.
	Hang
	// Answer answers Status with a JSON error body.
	Answer
	// HTMLPage answers Status with a proxy's HTML page.
	HTMLPage
	// Garbage answers Status 200 with JSON that was cut off.
	Garbage
)

func (k FaultKind) String() string {
	return [...]string{"late", "drop", "hang", "answer", "htmlPage", "garbage"}[k]
}

// Fault is one way of failing, for some calls.
type Fault struct {
	// On is which endpoints fail; default Any.
	On Endpoint
	// RequestID limits a fault to decisions about one request; default all.
	RequestID string
	// Skip lets that many calls pass first; default 0.
	Skip int
	// Times is how many calls fail; default 0, all until ClearFaults.
	Times int
	// Kind is how they fail; default Late.
	Kind FaultKind
	// Did says whether the call is carried out all the same: a decision is
	// stored, a token handed out, and only the answer is lost. Default false,
	// nothing happens.
	Did bool
	// Status is the answer of Answer (default 500) and HTMLPage (default 502).
	Status int
	// ContentType is what HTMLPage is called; default text/html.
	ContentType string
	// RetryAfter is sent in whole seconds as the Retry-After header; default
	// none.
	RetryAfter time.Duration
	// Delay is how long the answer, or the cut, is held back; default 0 s.
	Delay time.Duration
}

type fault struct {
	Fault
	skipped int
	used    int
}

// Fail adds a fault. Faults are tried in the order they were added, and the
// first that fits a call is the only one it meets.
func (s *Server) Fail(f Fault) {
	if f.On == 0 {
		f.On = Any
	}
	if f.Status == 0 {
		f.Status = 500
		if f.Kind == HTMLPage {
			f.Status = 502
		}
	}
	s.mu.Lock()
	s.faults = append(s.faults, &fault{Fault: f})
	s.changedLocked()
	s.mu.Unlock()
}

// ClearFaults ends all faults that Fail added.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	s.faults = nil
	s.changedLocked()
	s.mu.Unlock()
}

// FaultsLeft is how many faults still wait for a call, the endless ones
// included.
func (s *Server) FaultsLeft() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.faults {
		if f.Times == 0 || f.used < f.Times {
			n++
		}
	}
	return n
}

// takeFault returns the fault that this call meets, or nil.
func (s *Server) takeFault(e Endpoint, requestID string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		switch {
		case f.On&e == 0, f.Times > 0 && f.used >= f.Times,
			f.RequestID != "" && !strings.EqualFold(f.RequestID, requestID):
			continue
		case f.skipped < f.Skip:
			f.skipped++
			continue
		}
		f.used++
		taken := f.Fault
		return &taken
	}
	return nil
}

// Mode is how the whole tenant behaves, for the demo.
type Mode string

// The modes.
const (
	Normal   Mode = "normal"
	Slow     Mode = "slow"     // every answer takes Config.SlowBy
	Failing  Mode = "failing"  // every answer is 503
	Refusing Mode = "refusing" // every decision is refused with 400
)

// Modes lists the modes in the order a person would try them.
func Modes() []Mode { return []Mode{Normal, Slow, Failing, Refusing} }

// SetMode changes how the whole tenant behaves. An unknown mode is Normal.
func (s *Server) SetMode(m Mode) {
	s.mu.Lock()
	s.mode = m
	s.changedLocked()
	s.mu.Unlock()
}

// Mode is how the whole tenant behaves.
func (s *Server) Mode() Mode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode
}

// Forbid replaces the set of endpoints that the API account may not use; they
// answer 403. Forbid(0) allows everything.
func (s *Server) Forbid(e Endpoint) {
	s.mu.Lock()
	s.forbidden = e
	s.changedLocked()
	s.mu.Unlock()
}

// SetDown takes the tenant off the network: open connections are cut, and new
// ones are cut as soon as they are accepted.
func (s *Server) SetDown(down bool) {
	s.listener.setDown(down)
	s.changed()
}

// Down reports whether the tenant is off the network.
func (s *Server) Down() bool {
	s.listener.mu.Lock()
	defer s.listener.mu.Unlock()
	return s.listener.down
}

// cuttable is a listener whose connections can be cut.
type cuttable struct {
	net.Listener
	mu   sync.Mutex
	down bool
	open map[net.Conn]struct{}
}

func (l *cuttable) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		if l.down {
			l.mu.Unlock()
			reset(c)
			continue
		}
		tracked := &trackedConn{Conn: c, l: l}
		l.open[tracked] = struct{}{}
		l.mu.Unlock()
		return tracked, nil
	}
}

func (l *cuttable) setDown(down bool) {
	l.mu.Lock()
	l.down = down
	l.mu.Unlock()
	if down {
		l.cut()
	}
}

// cut resets every open connection.
func (l *cuttable) cut() {
	l.mu.Lock()
	var conns []net.Conn
	for c := range l.open {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		reset(c)
	}
}

type trackedConn struct {
	net.Conn
	l *cuttable
}

func (c *trackedConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.open, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// reset closes a connection so that the other side sees a reset rather than
// an orderly end.
func reset(c net.Conn) {
	raw := c
	if t, ok := c.(*trackedConn); ok {
		raw = t.Conn
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
