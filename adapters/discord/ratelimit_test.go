package discord

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/tickets"
)

// TestOldEditsArePaced: whenever Discord begins to count its 6 s, it counts 3
// edits of old messages in a channel at most.
func TestOldEditsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(Pace{}, nil)
		edit := func(channel string, old bool) *request {
			return &request{method: "PATCH", route: routeMessage, channel: channel, old: old}
		}
		start := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				for {
					asked := time.Now()
					err := p.wait(context.Background(), edit("1", true))
					if time.Since(asked) > oldPatience {
						t.Errorf("wait() held its caller for %s", time.Since(asked))
					}
					if err == nil {
						break
					}
					f := tickets.FailureOf(err)
					if f.Class != tickets.RateLimited || f.RetryAfter <= 0 {
						t.Errorf("wait() = %v after %s", err, f.RetryAfter)
						return
					}
					time.Sleep(f.RetryAfter)
				}
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(start))
			})
		}
		synctest.Wait()
		for _, r := range []*request{edit("1", false), edit("2", true)} {
			if err := p.wait(context.Background(), r); err != nil || time.Since(start) > 0 {
				t.Errorf("channel %s, old %v: %v after %s", r.channel, r.old, err, time.Since(start))
			}
		}
		all.Wait()
		if at[0] != 0 {
			t.Errorf("the first waited for %s", at[0])
		}
		for i := 3; i < len(at); i++ {
			if d := at[i] - at[i-3]; d <= 6*time.Second {
				t.Errorf("edits %d to %d came within %s", i-3, i, d)
			}
		}
		if at[len(at)-1] > 30*time.Second {
			t.Errorf("twelve edits took %s", at[len(at)-1])
		}
	})
}

// TestLimits: a limit may be said in headers, in the body, in both or nowhere.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		header [2]string
		body   string
		want   limits
	}{
		"Good":        {200, [2]string{"X-RateLimit-Remaining", "1"}, `{}`, limits{}},
		"LastOne":     {200, [2]string{"X-RateLimit-Reset-After", "2.5"}, `{}`, limits{wait: 2500 * time.Millisecond}},
		"OddReset":    {200, [2]string{"X-RateLimit-Reset-After", "soon"}, `{}`, limits{}},
		"NoNumber":    {200, [2]string{"X-RateLimit-Reset-After", "NaN"}, `{}`, limits{}},
		"ForEver":     {200, [2]string{"X-RateLimit-Reset-After", "+Inf"}, `{}`, limits{wait: time.Hour}},
		"Past":        {200, [2]string{"X-RateLimit-Reset-After", "-7"}, `{}`, limits{}},
		"Header":      {429, [2]string{"Retry-After", "7"}, `{}`, limits{wait: 7 * time.Second}},
		"Body":        {429, [2]string{}, `{"retry_after":7.5}`, limits{wait: 7500 * time.Millisecond}},
		"BodyAsText":  {429, [2]string{}, `{"retry_after":"7.5"}`, limits{wait: 7500 * time.Millisecond}},
		"Both":        {429, [2]string{"Retry-After", "7"}, `{"retry_after":6.1}`, limits{wait: 7 * time.Second}},
		"Moment":      {429, [2]string{}, `{"retry_after":0.01}`, limits{wait: time.Second}},
		"Nowhere":     {429, [2]string{}, `{"message":"x"}`, limits{wait: 5 * time.Second}},
		"Code":        {429, [2]string{}, `{"code":30046}`, limits{wait: 5 * time.Second, code: 30046}},
		"GlobalBody":  {429, [2]string{}, `{"retry_after":2,"global":true}`, limits{wait: 2 * time.Second, global: true}},
		"GlobalHead":  {429, [2]string{"X-RateLimit-Global", "true"}, `{"retry_after":2}`, limits{wait: 2 * time.Second, global: true}},
		"GlobalScope": {429, [2]string{"X-RateLimit-Scope", "global"}, `{"retry_after":2}`, limits{wait: 2 * time.Second, global: true}},
		"HTML":        {429, [2]string{}, `<html>`, limits{wait: 5 * time.Second, global: true}},
		"OddBody":     {429, [2]string{}, `{"retry_after":{},"global":"x","code":"y"}`, limits{wait: 5 * time.Second}},
	} {
		res := &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(tt.body))}
		res.Header.Set("X-RateLimit-Remaining", "0")
		if tt.header[0] != "" {
			res.Header.Set(tt.header[0], tt.header[1])
		}
		if got := limitsOf(res, []byte(tt.body)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
