package storetest

import (
	"sync"
	"sync/atomic"
)

// first: of many who claim the same at once one is first, and what is over is
// new again.
func (s *suite) first() {
	var wg sync.WaitGroup
	var n atomic.Int32
	for range 20 {
		wg.Go(func() {
			if is, err := s.s.ClaimOnce(s.Context(), "click", long); err != nil {
				s.Error(err)
			} else if is {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if n.Load() != 1 {
		s.Errorf("%d were first, want 1", n.Load())
	}
	for key, want := range map[string]bool{"click": false, "another": true, "Click": true, "": true} {
		if is, err := s.s.ClaimOnce(s.Context(), key, long); err != nil || is != want {
			s.Errorf("First(%q) = %v, %v; want %v", key, is, err, want)
		}
	}
	if is, err := s.s.ClaimOnce(s.Context(), "soon over", short); err != nil || !is {
		s.Fatalf("First = %v, %v; want true", is, err)
	}
	eventually(s.T, "the key is new again", func() bool {
		is, err := s.s.ClaimOnce(s.Context(), "soon over", short)
		s.must(err)
		return is
	})
}

// firstReopened: what was claimed stays so after a restart.
func (s *suite) firstReopened() {
	for _, want := range []bool{true, false, false} {
		if is, err := s.s.ClaimOnce(s.Context(), "form", long); err != nil || is != want {
			s.Errorf("First = %v, %v; want %v", is, err, want)
		}
		s.reopenStore()
	}
}
