package chatkit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/tickets"
)

func TestRetry(t *testing.T) {
	away := &tickets.Failure{Class: tickets.Unavailable}
	denied := &tickets.Failure{Class: tickets.Unauthorized, Err: errors.New("wrong token")}
	for name, c := range map[string]struct {
		answers []error
		took    time.Duration
		want    error
	}{
		"AtOnce":     {[]error{nil}, 0, nil},
		"ThirdTime":  {[]error{away, away, nil}, 3 * time.Second, nil},
		"AsToldTo":   {[]error{&tickets.Failure{Class: tickets.RateLimited, RetryAfter: time.Minute}, nil}, time.Minute, nil},
		"Denied":     {[]error{away, denied}, time.Second, denied.Err},
		"LongPauses": {[]error{away, away, away, away, away, away, away, nil}, (1 + 2 + 4 + 8 + 16 + 30 + 30) * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, i, failed := time.Now(), 0, 0
				err := Retry(t.Context(), func(context.Context) error { i++; return c.answers[i-1] }, func(error) { failed++ })
				if !errors.Is(err, c.want) || time.Since(begun) != c.took || i != len(c.answers) || failed != i-1 {
					t.Errorf("Retry = %v in %s after %d answers, %d told; want %v in %s", err, time.Since(begun), i, failed, c.want, c.took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := Retry(ctx, func(context.Context) error { return away }, func(error) {}); err != nil {
			t.Errorf("Retry = %v after the end of its context, want nil", err)
		}
	})
}
