package epm

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/epm/epmtest"
)

// guess sends a webhook with a password from an address, perhaps by a proxy.
func (r *receiving) guess(password, peer, forwarded string) *http.Response {
	return r.post([]byte("{}"), func(q *http.Request) {
		q.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(peer), 4711).String()
		if forwarded != "" {
			q.Header.Set("X-Forwarded-For", forwarded)
		}
		q.SetBasicAuth("epm", password)
	}).Result()
}

// TestGuessingIsAnsweredTooMany: who sends wrong passwords is soon told that
// they are too many. Nobody else is, and the right password always counts.
func TestGuessingIsAnsweredTooMany(t *testing.T) {
	clean := newWorld(t).body(epmtest.AdminCreated, epmtest.BodyOptions{})
	for name, c := range map[string]struct {
		peer, forwarded string // of each wrong password; %d is its number
		same            bool   // they are one guesser
	}{
		"OneAddress":          {"203.0.113.9", "", true},
		"Mapped":              {"::ffff:203.0.113.9", "", true},
		"ManyAddresses":       {"203.0.113.%d", "", false},
		"OneNetworkOfIPv6":    {"2001:db8:1:2::%d", "", true},
		"ManyNetworksOfIPv6":  {"2001:db8:1:%d::1", "", false},
		"BehindOurProxy":      {"10.0.0.1", "198.51.100.7", true},
		"ManyBehindOurProxy":  {"10.0.0.1", "198.51.100.%d", false},
		"ForgedForwarding":    {"203.0.113.9", "198.51.100.%d", true},
		"ForgedThroughOurs":   {"10.0.0.1", "192.0.2.%d, 198.51.100.7", true},
		"UnreadableForwarded": {"10.0.0.1", "guess-%d", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiving(t, func(c *ReceiverConfig) { c.TrustedProxies = prefixes("10.0.0.0/8") })
			number := func(s string, i int) string { return strings.ReplaceAll(s, "%d", fmt.Sprint(i)) }
			limited := 0
			for i := range 3 * maxWrong {
				res := r.guess("guess", number(c.peer, i), number(c.forwarded, i))
				switch {
				case res.StatusCode == http.StatusTooManyRequests:
					limited++
					if res.Header.Get("Retry-After") != "60" || res.Header.Get("WWW-Authenticate") != "" {
						t.Errorf("header %v", res.Header)
					}
				case res.StatusCode != http.StatusUnauthorized:
					t.Errorf("guess %d: %d", i, res.StatusCode)
				}
			}
			if want := map[bool]int{true: 2 * maxWrong}[c.same]; limited != want {
				t.Errorf("%d were answered that they are too many, want %d", limited, want)
			}
			// The right one, from where the wrong ones came.
			w := r.post(clean, func(q *http.Request) {
				q.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(number(c.peer, 1)), 4711).String()
				q.Header.Set("X-Forwarded-For", number(c.forwarded, 1))
			})
			if w.Code != http.StatusOK {
				t.Errorf("the right password = %d", w.Code)
			}
		})
	}
}

// TestGuessingEnds: after a minute a sender is told again what is wrong, and
// who sends no password at all, as clients do that ask first, is told always.
func TestGuessingEnds(t *testing.T) {
	now := noon
	r := newReceiving(t, func(c *ReceiverConfig) { c.Now = func() time.Time { return now } })
	for range maxWrong + 1 {
		r.guess("guess", "203.0.113.9", "")
	}
	now = now.Add(59 * time.Second)
	if res := r.guess("guess", "203.0.113.9", ""); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" {
		t.Errorf("after 59 s: %d, %v", res.StatusCode, res.Header)
	}
	for range 3 * maxWrong {
		w := r.post(nil, func(q *http.Request) { q.RemoteAddr = "203.0.113.9:1"; q.Header.Del("Authorization") })
		if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
			t.Fatalf("without a password: %d, %v", w.Code, w.Header())
		}
	}
	now = now.Add(time.Second)
	if res := r.guess("guess", "203.0.113.9", ""); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after a minute: %d", res.StatusCode)
	}
}

// TestGuessersAreBounded: however many networks guess, no more are remembered
// than there is room for, and those beyond count as one.
func TestGuessersAreBounded(t *testing.T) {
	var g guesses
	limited := 0
	for i := range 3 * maxGuessers {
		if g.wrong(fmt.Sprintf("2001:db8:%x:%x::1", i>>8, i&0xff), noon) > 0 {
			limited++
		}
	}
	if len(g.from) > maxGuessers+1 || limited != 2*maxGuessers-maxWrong {
		t.Errorf("%d networks are remembered, %d guesses were too many", len(g.from), limited)
	}
}

// TestGuessingLogsALineAMinute: whatever strangers send, there is a line at
// once and then one a minute that says how many there were.
func TestGuessingLogsALineAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		line  string
		guess func(*receiving)
	}{
		"WrongPassword": {"wrong user or password", func(r *receiving) { r.guess("guess", "203.0.113.9", "") }},
		"NoPassword": {"wrong user or password", func(r *receiving) {
			r.post(nil, func(q *http.Request) { q.RemoteAddr = "203.0.113.9:1"; q.Header.Del("Authorization") })
		}},
		"ForbiddenAddress": {"address not allowed", func(r *receiving) { r.guess("correct horse", "198.51.100.1", "") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiving(t, func(c *ReceiverConfig) { c.Allow = prefixes("203.0.113.0/24") })
				lines := func() (out []string) {
					synctest.Wait()
					for _, tally := range []*tally{&r.mistaken, &r.forbidden} { // they write the log
						tally.mu.Lock()
						defer tally.mu.Unlock()
					}
					for line := range strings.Lines(r.log.String()) {
						if !strings.Contains(line, c.line) {
							t.Errorf("another line: %s", line)
						}
						_, count, _ := strings.Cut(strings.TrimSpace(line), " count=")
						out = append(out, count)
					}
					return out
				}
				for range 2100 {
					c.guess(r)
				}
				if got := fmt.Sprint(lines()); got != "[1]" {
					t.Errorf("at once: %s", got)
				}
				time.Sleep(time.Minute + time.Millisecond)
				for range 30 {
					c.guess(r)
					time.Sleep(time.Second)
				}
				if got := fmt.Sprint(lines()); got != "[1 2099]" {
					t.Errorf("after a minute: %s", got)
				}
				time.Sleep(time.Hour)
				if got := fmt.Sprint(lines()); got != "[1 2099 30]" {
					t.Errorf("after an hour: %s", got)
				}
				c.guess(r)
				if got := fmt.Sprint(lines()); got != "[1 2099 30 1]" {
					t.Errorf("the next: %s", got)
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}
