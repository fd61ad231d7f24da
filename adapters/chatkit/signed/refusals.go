package signed

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// tellEvery is how often the log tells of what was refused.
const tellEvery = time.Minute

// refusals tells the log of what was refused: the first at once, and what
// follows in one line a minute.
type refusals struct {
	log    *slog.Logger
	advice string // about wrong signatures

	mu     sync.Mutex
	paused bool // a line was written less than tellEvery ago
	counts map[Reason]int
	off    time.Duration // of the last that was refused for its time
}

func (r *refusals) note(why Reason, off time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[Reason]int{}
	}
	r.counts[why]++
	if why == Clock {
		r.off = off
	}
	if !r.paused {
		r.tell()
	}
}

// tell writes what has been counted, if anything, and again in a minute. r.mu
// is held.
func (r *refusals) tell() {
	r.paused = len(r.counts) > 0
	if !r.paused {
		return
	}
	total := 0
	var counts []any
	for _, why := range Reasons() {
		if n := r.counts[why]; n > 0 {
			total += n
			counts = append(counts, string(why), n)
		}
	}
	r.log.Warn("signed requests refused", append([]any{"count", total, "err", r.why()}, counts...)...)
	r.counts = nil
	time.AfterFunc(tellEvery, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tell()
	})
}

// why says what may be wrong, and what to do.
func (r *refusals) why() string {
	var why []string
	if r.counts[Clock] > 0 {
		side := "behind"
		if r.off > 0 {
			side = "ahead of"
		}
		why = append(why, "the time at which they were signed is "+r.off.Abs().Round(time.Second).String()+" "+side+" this machine's clock: set the clock by NTP")
	}
	if r.counts[Signature] > 0 {
		why = append(why, "their time is right but not their signature: "+r.advice)
	}
	if r.counts[Replayed] > 0 {
		why = append(why, "they came before, and count once")
	}
	if r.counts[TooLarge] > 0 || r.counts[Incomplete] > 0 {
		why = append(why, "they are too large or arrive too slowly to be the platform's")
	}
	if len(why) == 0 {
		why = append(why, "they are not signed at all, so not the platform's: a scanner, or a proxy that takes headers away")
	}
	return strings.Join(why, "; ")
}
