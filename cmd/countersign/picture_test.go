package main

import (
	"bytes"
	"context"
	"image/color"
	"image/png"
	"math"
	"testing"
	"time"

	"github.com/go-analyze/charts"

	"github.com/countersign/countersign/bot/reports"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// fewTickets is a store that holds these.
type fewTickets struct {
	store.Store
	all []*tickets.Ticket
}

func (f fewTickets) List(_ context.Context, q store.Query) ([]*tickets.Ticket, error) {
	if q.Before != "" {
		return nil, nil
	}
	return f.all, nil
}

// drawn is a picture of requests of one day, and how many pixels it has of
// each colour.
func drawn(t *testing.T, span time.Duration, verdicts map[tickets.Verdict]int, took time.Duration) map[color.Color]int {
	t.Helper()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	var keep fewTickets
	for v, n := range verdicts {
		for range n {
			one := &tickets.Ticket{Number: "JIT-1", Created: now.Add(-took), Request: &tickets.Request{Kind: tickets.Admin}}
			if v != "" {
				one.Decision, one.Outcome = &tickets.Decision{Verdict: v, At: now}, &tickets.Outcome{Verdict: v}
			}
			keep.all = append(keep.all, one)
		}
	}
	r := reports.New(now.Add(-span), now, reports.Hours{From: 7, To: 19, In: time.UTC})
	if err := r.Read(t.Context(), keep, math.MaxInt); err != nil {
		t.Fatal(err)
	}
	b, err := picture(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 200_000 {
		t.Errorf("%d bytes", len(b))
	}
	p, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Bounds().Size(); s.X != pictureWidth || s.Y != pictureHeight {
		t.Errorf("size %v", s)
	}
	count := map[color.Color]int{}
	for y := range pictureHeight {
		for x := range pictureWidth {
			r, g, b, _ := p.At(x, y).RGBA()
			count[charts.ColorRGB(uint8(r>>8), uint8(g>>8), uint8(b>>8))]++
		}
	}
	return count
}

// The picture shows as much of each colour as there are requests of its kind,
// and the time that decisions took.
func TestPicture(t *testing.T) {
	t.Parallel()
	for _, span := range []time.Duration{2 * time.Hour, 7 * 24 * time.Hour, 34 * 24 * time.Hour, 900 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		legend := drawn(t, span, map[tickets.Verdict]int{"": 1}, time.Minute)
		if legend[colorTime] != 0 {
			t.Errorf("%v: %d pixels of a time, and nobody decided", span, legend[colorTime])
		}
		got := drawn(t, span, map[tickets.Verdict]int{tickets.Approve: 12, tickets.Deny: 4, tickets.Other: 4, "": 4}, time.Minute)
		approved, denied, other := got[colorApproved]-legend[colorApproved], got[colorDenied]-legend[colorDenied], got[colorOther]-legend[colorOther]
		if denied < 100 || math.Abs(float64(approved)/float64(denied)-3) > 0.2 || math.Abs(float64(other)/float64(denied)-1) > 0.1 {
			t.Errorf("%v: %d pixels approved, %d denied, %d otherwise; want 3 to 1 to 1", span, approved, denied, other)
		}
		if got[colorTime] < 10 {
			t.Errorf("%v: %d pixels of the time to a decision", span, got[colorTime])
		}
	}
}

func TestTimeUnit(t *testing.T) {
	t.Parallel()
	for most, want := range map[float64]string{0: "seconds", 119: "seconds", 120: "minutes", 7199: "minutes", 7200: "hours", 200_000: "days"} {
		if seconds, name := timeUnit(most); name != want || most/seconds > 180 {
			t.Errorf("timeUnit(%v) = %v, %s; want %s", most, seconds, name, want)
		}
	}
}
