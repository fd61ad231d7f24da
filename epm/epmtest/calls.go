package epmtest

import (
	"fmt"
	"slices"
	"time"
)

// Call is one API call that arrived. It holds no header and no body, so it
// holds no secret.
type Call struct {
	At        time.Time // by Config.Now
	Wall      time.Time // by the machine's clock
	Endpoint  Endpoint
	Method    string
	Path      string
	Query     string // of reads only
	RequestID string // that a decision or a record names
	Status    int    // that was answered; 0 for a cut or hanging connection
	Fault     string // the fault that the call met, if any
	Did       bool   // carried out: a token issued, a decision in effect or repeated, a page read
}

// String is one line for a log.
func (c Call) String() string {
	line := fmt.Sprintf("%s %s %s %s %d", c.At.UTC().Format(TimeLayout), c.Endpoint, c.Method, c.Path, c.Status)
	if c.Fault != "" {
		line += fmt.Sprintf(" (%s, did %t)", c.Fault, c.Did)
	}
	return line
}

// Calls returns the newest calls to the given endpoints, at most 4096, oldest
// first. Without an endpoint it returns all. A call is recorded when its
// answer is known.
func (s *Server) Calls(endpoints ...Endpoint) []Call {
	want := join(endpoints)
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls.all() {
		if c.Endpoint&want != 0 {
			out = append(out, c)
		}
	}
	return out
}

// Count is how many calls the given endpoints have received since New or
// since ResetCalls; without an endpoint, all calls. A call counts from the
// moment it arrives, also one that never gets an answer.
func (s *Server) Count(endpoints ...Endpoint) int {
	want := join(endpoints)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for e, count := range s.counts {
		if e&want != 0 {
			n += count
		}
	}
	return n
}

// MostWithin is the largest number of recorded calls that arrived within any
// span of d, by the machine's clock: a client paced at 5 a second shows at
// most 5 and its burst within a second.
func (s *Server) MostWithin(d time.Duration, endpoints ...Endpoint) int {
	calls := s.Calls(endpoints...)
	times := make([]time.Time, len(calls))
	for i, c := range calls {
		times[i] = c.Wall
	}
	slices.SortFunc(times, time.Time.Compare) // calls are recorded in the order of their answers
	most, first := 0, 0
	for i, t := range times {
		for t.Sub(times[first]) >= d {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// ResetCalls forgets the calls and their counts.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	s.calls = ring[Call]{max: s.calls.max}
	clear(s.counts)
	s.mu.Unlock()
}

func join(endpoints []Endpoint) Endpoint {
	if len(endpoints) == 0 {
		return Any
	}
	var e Endpoint
	for _, one := range endpoints {
		e |= one
	}
	return e
}
