package discord_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

// TestOldEditLimitClosesItsLaneOnly: 30046 speaks of edits of old messages in
// one channel, and says nothing about how long.
func TestOldEditLimitClosesItsLaneOnly(t *testing.T) {
	t.Parallel()
	var ahead clock
	w := prepare(t, "gateway", handler{}, ahead.set)
	w.fake.AddChannel(discordtest.Channel{ID: other, Name: "other"})
	elsewhere := tickets.Place{Platform: discord.Platform, Channel: other}
	post := func(seq int64, place tickets.Place) (*tickets.Ticket, tickets.Message) {
		t.Helper()
		tk := request(w, seq)
		id, err := w.chat.Post(t.Context(), place, tk, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return tk, tickets.Message{Place: place, ID: id}
	}
	old, oldMessage := post(1, w.Place())
	oldThere, oldThereMessage := post(2, elsewhere)
	ahead.advance(time.Hour)
	w.fake.Fail(discordtest.Fault{Method: http.MethodPatch, Kind: discordtest.LimitedOldEdit})
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for range 5 {
		f := failed(t, "Edit()", w.chat.Edit(short, oldMessage, old), tickets.RateLimited)
		if f.RetryAfter <= 0 || f.RetryAfter > 5*time.Second {
			t.Errorf("After is %s, want 5 s at most", f.RetryAfter)
		}
	}
	if n := w.fake.Count("PATCH " + routeMessage); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	young, youngMessage := post(3, w.Place())
	now, stop := context.WithTimeout(t.Context(), 4*time.Second) // less than the lane is closed
	defer stop()
	if err := w.chat.Edit(now, youngMessage, young); err != nil {
		t.Errorf("a young message in the same channel: %v", err)
	}
	if err := w.chat.Edit(now, oldThereMessage, oldThere); err != nil {
		t.Errorf("an old message in another channel: %v", err)
	}
}

// TestGlobalLimitClosesAllLanes: after one such answer there is no other call
// but the answers to people, which do not count.
func TestGlobalLimitClosesAllLanes(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]discordtest.FaultKind{"Global": discordtest.LimitedGlobal, "HTML": discordtest.LimitedHTML} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := begin(t, "gateway", b, nil)
			tk, id := posted(t, b, w)
			calls := len(w.fake.Calls())
			w.fake.Fail(discordtest.Fault{Method: http.MethodPost, Route: routeMessages, Kind: kind, Times: -1, RetryAfter: time.Minute})
			less := 30 * time.Second // than the lanes are closed
			if kind == discordtest.LimitedHTML {
				less = 4 * time.Second // a page does not say for how long
			}
			short, cancel := context.WithTimeout(t.Context(), less)
			defer cancel()
			for i := range 30 {
				place := tickets.Place{Platform: discord.Platform, Channel: fmt.Sprintf("5000000000000001%02d", i)}
				_, err := w.chat.Post(short, place, tk, time.Time{})
				if f := failed(t, "Post()", err, tickets.RateLimited); f.RetryAfter <= 0 || f.RetryAfter > time.Minute {
					t.Errorf("After is %s", f.RetryAfter)
				}
			}
			failed(t, "Edit()", w.chat.Edit(short, tickets.Message{Place: w.Place(), ID: id}, tk), tickets.RateLimited)
			failed(t, "Tell()", w.chat.DirectMessage(short, tickets.Principal{Platform: discord.Platform, Kind: tickets.User, ID: userOf(0)}, "x"), tickets.RateLimited)
			if n := len(w.fake.Calls()) - calls; n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
			if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil || w.Screen(0) == "" {
				t.Errorf("a click is not answered: %v", err)
			}
			if n := w.fake.InvalidRequests(); n != 1 {
				t.Errorf("%d invalid requests, want 1", n)
			}
		})
	}
}

// TestLimitHoldsForItsChannel: what Discord said to one caller counts for the
// next, of that channel only.
func TestLimitHoldsForItsChannel(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]discordtest.FaultKind{
		"User": discordtest.Limited, "Shared": discordtest.LimitedShared, "NoRetryAfter": discordtest.LimitedNoRetryAfter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, "gateway", handler{}, nil)
			w.fake.AddChannel(discordtest.Channel{ID: other, Name: "other"})
			w.fake.Fail(discordtest.Fault{Method: http.MethodPost, Channel: channel, Kind: kind, Times: -1, RetryAfter: 20 * time.Second})
			short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			for i := range 30 {
				_, err := w.chat.Post(short, w.Place(), request(w, int64(i+1)), time.Time{})
				if f := failed(t, "Post()", err, tickets.RateLimited); f.RetryAfter <= 0 {
					t.Errorf("After is %s", f.RetryAfter)
				}
			}
			if n := w.fake.Count("POST " + routeMessages); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
			now, stop := context.WithTimeout(t.Context(), 4*time.Second) // less than the lane is closed
			defer stop()
			if _, err := w.chat.Post(now, tickets.Place{Platform: discord.Platform, Channel: other}, request(w, 99), time.Time{}); err != nil {
				t.Errorf("the other channel: %v", err)
			}
		})
	}
}

// TestLimitsOfDiscordAreKept: against a Discord that counts, many posts at
// once end well without one call too many.
func TestLimitsOfDiscordAreKept(t *testing.T) {
	t.Parallel()
	w := prepare(t, "gateway", handler{}, func(f *discordtest.Config, c *discord.Config) {
		f.Limits = true
		c.Pace = discord.Pace{}
	})
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			for { // as the bot's loop
				_, err := w.chat.Post(ctx, w.Place(), request(w, int64(i+1)), time.Time{})
				if f := tickets.FailureOf(err); err == nil || f.Class != tickets.RateLimited {
					if err != nil {
						t.Errorf("Post() = %v", err)
					}
					return
				} else if f.RetryAfter > 3*time.Second {
					return // it is said how long, and nothing was sent
				}
			}
		})
	}
	all.Wait()
	if n := len(w.fake.Messages(channel)); n < 5 {
		t.Errorf("%d messages, want 5 at least", n)
	}
	if n := w.fake.InvalidRequests(); n > 1 { // calls under way when the fifth was answered
		t.Errorf("%d invalid requests", n)
	}
}
