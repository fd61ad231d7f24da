package discord_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

// TestCardDeletedBetweenAttempts: the first attempt took effect unnoticed and
// an admin deleted the card. Nothing is wrong with the place.
func TestCardDeletedBetweenAttempts(t *testing.T) {
	t.Parallel()
	w := prepare(t, "gateway", handler{}, nil)
	tk := request(w, 1042)
	since := time.Now()
	w.fake.Fail(discordtest.Fault{Route: routeMessages, Kind: discordtest.DropConnection, Did: true})
	_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	failed(t, "Post()", err, tickets.Ambiguous)
	w.fake.Delete(channel, w.fake.Messages(channel)[0].ID)
	_, err = w.chat.Post(t.Context(), w.Place(), tk, since)
	if f := failed(t, "the second Post()", err, tickets.NotFound); f.ChannelFault {
		t.Error("the place is blamed")
	}
	if n := w.fake.Count("POST " + routeMessages); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// TestFindsOnlyItsOwn: many people talk, and other cards look nearly alike.
func TestFindsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	var ahead clock
	w := prepare(t, "gateway", handler{}, ahead.set)
	since := ahead.now()
	for i := range 230 {
		w.fake.Say(channel, userOf(i%20), "approve:JIT-1042 deny:JIT-1042")
	}
	imitates := adaptertest.Request()
	imitates.Reason, imitates.Product = "approve:JIT-1042", `{"custom_id":"deny:JIT-1042"}`
	for _, seq := range []int64{4, 1, 420, 10420, 1043} {
		tk := adaptertest.NewBook().Add(seq, imitates, w.Place())
		if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	tk := request(w, 1042)
	w.fake.Fail(discordtest.Fault{Method: http.MethodPost, Route: routeMessages, Kind: discordtest.DropConnection, Did: true})
	_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	failed(t, "Post()", err, tickets.Ambiguous)
	all := w.fake.Messages(channel)
	own := all[len(all)-1].ID
	for i := range 50 {
		w.fake.Say(channel, userOf(i%20), "chatter")
	}
	ahead.advance(10 * time.Minute)
	id, err := w.chat.Post(t.Context(), w.Place(), tk, since)
	if err != nil || id != own {
		t.Errorf("Post() = %q, %v; want %q", id, err, own)
	}
	if n := w.fake.Count("GET " + routeMessages); n != 3 {
		t.Errorf("%d pages were read, want 3", n)
	}
	// Not one of the others is taken for a ticket that has none.
	missing := request(w, 42)
	if id, err = w.chat.Post(t.Context(), w.Place(), missing, since); err != nil || slices.ContainsFunc(all, func(m discordtest.Message) bool { return m.ID == id }) {
		t.Errorf("Post() = %q, %v; want a new card", id, err)
	}
}

// TestListOfOtherApps: what others post must neither keep us from finding our
// own card nor be taken for it.
func TestListOfOtherApps(t *testing.T) {
	t.Parallel()
	const list = `[
	 {"id":"600000000000000009","author":{"id":"777777777777777777"},"components":[{"type":1,"components":[{"type":2,"custom_id":"approve:JIT-1042"}]}]},
	 {"id":600000000000000008,"author":7,"components":{"a":1}},
	 {"id":"600000000000000007","author":{"id":"` + discordtest.BotUserID + `"},"components":[{"type":99,"content":"approve:JIT-1042","components":[{"type":98,"custom_id":{"x":"approve:JIT-1042"}}]}]},
	 {"id":"600000000000000006","author":{"id":"` + discordtest.BotUserID + `"},"components":[{"type":17,"components":[{"type":99,"accessory":{"type":2,"custom_id":"details:JIT-1042"}}]}]}]`
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/users/@me"):
			_, _ = io.WriteString(w, `{"id":"`+discordtest.BotUserID+`"}`)
		case r.Method == http.MethodPatch:
			_, _ = io.WriteString(w, `{"id":"600000000000000006"}`)
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, list)
		default:
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
	}))
	defer api.Close()
	c, err := discord.New(discord.Config{BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, APIURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	place := tickets.Place{Platform: discord.Platform, Channel: channel}
	tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), place)
	id, err := c.Post(t.Context(), place, tk, time.Now().Add(-time.Hour))
	if err != nil || id != "600000000000000006" {
		t.Errorf("Post() = %q, %v; want the message ending in 6", id, err)
	}
}

// TestPostsAgainWhereLookingIsNotAllowed: a second card is the smaller harm.
func TestPostsAgainWhereLookingIsNotAllowed(t *testing.T) {
	t.Parallel()
	w := prepare(t, "gateway", handler{}, nil)
	w.fake.Fail(discordtest.Fault{Method: http.MethodGet, Route: routeMessages, Kind: discordtest.DiscordError, Code: 50013, Status: 403})
	if _, err := w.chat.Post(t.Context(), w.Place(), request(w, 1042), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := len(w.fake.Messages(channel)); n != 1 {
		t.Errorf("%d cards, want 1", n)
	}
	// A look that fails otherwise does not post: the card may be there.
	w.fake.Fail(discordtest.Fault{Method: http.MethodGet, Route: routeMessages, Kind: discordtest.ServerError})
	_, err := w.chat.Post(t.Context(), w.Place(), request(w, 1043), time.Now().Add(-time.Hour))
	failed(t, "Post()", err, tickets.Unavailable)
	if n := len(w.fake.Messages(channel)); n != 1 {
		t.Errorf("%d cards, want 1", n)
	}
}
