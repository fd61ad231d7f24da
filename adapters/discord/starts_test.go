package discord

import (
	"strings"
	"testing"
	"time"
)

func TestStartsAreSpread(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 3, 9, 0, 0, 0, time.UTC)
	day := (24 * time.Hour).Milliseconds()
	for name, tt := range map[string]struct {
		limit     startLimit
		begun     time.Duration // ago; 0 for never
		low, high time.Duration // of the wait
		slow      bool
	}{
		"First":          {startLimit{1000, 1000, day}, 0, 0, 0, false},
		"SecondAtOnce":   {startLimit{1000, 999, day}, time.Second, 4 * time.Second, 4 * time.Second, false},
		"Second":         {startLimit{1000, 999, day}, time.Minute, 0, 0, false},
		"Many":           {startLimit{1000, 960, day}, time.Minute, 170 * time.Second, 190 * time.Second, true},
		"AfterARestart":  {startLimit{1000, 700, day}, 0, 0, 0, true},
		"FewLeft":        {startLimit{1000, 40, day}, time.Minute, 11 * time.Hour, 13 * time.Hour, true},
		"NoneLeft":       {startLimit{1000, 0, day}, time.Minute, 24 * time.Hour, 25 * time.Hour, true},
		"NoneLeftAtOnce": {startLimit{1000, 0, day}, 0, 24 * time.Hour, 25 * time.Hour, true},
		"NotTold":        {startLimit{}, time.Second, 4 * time.Second, 4 * time.Second, false},
		"Nonsense":       {startLimit{-1, 5, 7}, time.Minute, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := starts{every: 5 * time.Second}
			if tt.begun > 0 {
				s.begin(now.Add(-tt.begun))
			}
			s.heed(tt.limit, now)
			if wait, _ := s.wait(now); wait < tt.low || wait > tt.high {
				t.Errorf("wait = %v, want %v to %v", wait, tt.low, tt.high)
			}
			if slow := s.slow(now); (slow != "") != tt.slow || tt.slow && !strings.Contains(slow, "until 09:00 UTC") {
				t.Errorf("slow = %q, want something: %v", slow, tt.slow)
			}
		})
	}
}
