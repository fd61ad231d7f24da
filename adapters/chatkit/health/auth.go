// Package health is whether a platform accepts us and is connected.
package health

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Auth is whether a platform accepts us: whether it has told who we are,
// whether it refuses our credentials now, and whether it was given up. The
// zero value is one that has not told anything.
type Auth struct {
	mu      sync.Mutex
	known   bool  // it has told who we are
	refused error // nil while it accepts us
	ended   error // why it was given up
}

// Identified notes that the platform has told who we are.
func (s *Auth) Identified() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = true
}

// Accepted notes that the platform accepts our credentials.
func (s *Auth) Accepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = nil
}

// Rejected notes that it does not, and why.
func (s *Auth) Rejected(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = why
}

// Stopped notes why the platform is given up, and returns it.
func (s *Auth) Stopped(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = why
	return why
}

// Reset forgets that the platform refused us or was given up: our credentials
// are others now.
func (s *Auth) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused, s.ended = nil, nil
}

// errNotYet is the problem of a platform that has said nothing yet.
var errNotYet = errors.New("the platform has not confirmed the bot token yet")

// Problem is why the platform cannot be used, or nil. If over is set nothing
// else matters any more.
func (s *Auth) Problem() (why error, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil:
		return s.ended, true
	case s.refused != nil:
		return s.refused, false
	case !s.known:
		return errNotYet, false
	}
	return nil, false
}

// recheck is how often credentials that are not accepted are tried again.
const recheck = time.Minute

// Watch returns when ctx ends, with nil, or with the reason that comes
// through over. While our credentials are refused it tries them again.
func (s *Auth) Watch(ctx context.Context, over <-chan error, try func(context.Context)) error {
	again := time.NewTicker(recheck)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-over:
			if ctx.Err() != nil {
				return nil
			}
			return s.Stopped(err)
		case <-again.C:
			s.mu.Lock()
			refused := s.refused != nil
			s.mu.Unlock()
			if refused {
				try(ctx)
			}
		}
	}
}
