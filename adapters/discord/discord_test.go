package discord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

// The routes that faults are about.
const (
	routeMessages = "/channels/{channel}/messages"
	routeMessage  = "/channels/{channel}/messages/{message}"
	routeThreads  = "/channels/{channel}/messages/{message}/threads"
	routeMember   = "/guilds/{guild}/members/{user}"
	routeCommands = "/applications/{application}/guilds/{guild}/commands"
	routeCallback = "/interactions/{interaction}/{token}/callback"
	routeFollowUp = "/webhooks/{application}/{token}"
)

// other is a second channel.
const other = "500000000000000002"

// handler is a Handler made of functions.
type handler struct {
	click   func(context.Context, adapters.Click) adapters.Answer
	submit  func(context.Context, adapters.Submission) adapters.Answer
	command func(context.Context, adapters.Command) adapters.Answer

	configure func(context.Context, adapters.Configuration) adapters.Answer
	complete  func(context.Context, adapters.Completion) adapters.Suggestions
	home      func(context.Context, tickets.Actor) adapters.Answer
}

func (h handler) Click(ctx context.Context, c adapters.Click) adapters.Answer { return h.click(ctx, c) }
func (h handler) Submit(ctx context.Context, s adapters.Submission) adapters.Answer {
	return h.submit(ctx, s)
}
func (h handler) SubmitSettings(ctx context.Context, c adapters.Configuration) adapters.Answer {
	return h.configure(ctx, c)
}
func (h handler) Autocomplete(ctx context.Context, c adapters.Completion) adapters.Suggestions {
	return h.complete(ctx, c)
}
func (h handler) Home(ctx context.Context, a tickets.Actor) adapters.Answer { return h.home(ctx, a) }
func (h handler) Command(ctx context.Context, c adapters.Command) adapters.Answer {
	return h.command(ctx, c)
}

// clock runs ahead of the machine's, for the fake and the chat together.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }
func (c *clock) set(f *discordtest.Config, d *discord.Config) {
	f.Now, f.SignNow, d.Now = c.now, c.now, c.now
}

// restarted is the same chat after a restart: it remembers nothing.
func (w *world) restarted() *discord.Chat {
	w.t.Helper()
	c, err := discord.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// request is a ticket that nobody has posted yet.
func request(w *world, seq int64) *tickets.Ticket {
	return adaptertest.NewBook().Add(seq, adaptertest.Request(), w.Place())
}

// failed is the failure in err, with its class checked.
func failed(t testing.TB, what string, err error, want tickets.Class) *tickets.Failure {
	t.Helper()
	var f *tickets.Failure
	if !errors.As(err, &f) {
		t.Fatalf("%s = %v, want a failure of class %s", what, err, want)
	}
	if f.Class != want {
		t.Fatalf("%s = %v, want class %s", what, err, want)
	}
	return f
}

func logger(j *adaptertest.Journal) *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func named(code, status int) discordtest.Fault {
	return discordtest.Fault{Kind: discordtest.DiscordError, Code: code, Status: status}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	const secret, key = "planted.secret.token", "planted0planted0planted0planted0planted0planted0planted0planted0"
	good := discord.Config{BotToken: secret, ApplicationID: "100000000000000001", Guild: "200000000000000001"}
	for name, change := range map[string]func(*discord.Config){
		"Nothing":       func(c *discord.Config) { *c = discord.Config{} },
		"NoToken":       func(c *discord.Config) { c.BotToken = "" },
		"TokenWithBot":  func(c *discord.Config) { c.BotToken = "Bot " + secret },
		"NoApplication": func(c *discord.Config) { c.ApplicationID = "" },
		"Application":   func(c *discord.Config) { c.ApplicationID = "planted" },
		"NoGuild":       func(c *discord.Config) { c.Guild = "" },
		"Guild":         func(c *discord.Config) { c.Guild = "200000000000000001/planted" },
		"NoKey":         func(c *discord.Config) { c.HTTP = true },
		"ShortKey":      func(c *discord.Config) { c.PublicKey = "abcd" },
		"NoHexKey":      func(c *discord.Config) { c.PublicKey = key },
		"PlainHTTP":     func(c *discord.Config) { c.APIURL = "http://planted.example.com" },
		"URLOfSecrets":  func(c *discord.Config) { c.APIURL = "https://user:" + secret + "@discord.example.com" },
		"URLWithQuery":  func(c *discord.Config) { c.APIURL = "https://discord.example.com/?key=" + secret },
		"URLThatIsNone": func(c *discord.Config) { c.APIURL = "https://%zz" + secret },
	} {
		cfg := good
		change(&cfg)
		if _, err := discord.New(cfg); err == nil {
			t.Errorf("%s: New works", name)
		} else if strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: the error holds a value: %v", name, err)
		}
	}
	c, err := discord.New(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(good, c), fmt.Sprintf("%+v %#v %+v %#v", good, good, c, c)} {
		if strings.Contains(s, "planted") {
			t.Errorf("a Config prints its secrets: %s", s)
		}
	}
}

// TestPostFaults is the table of what a failed post means, and that one which
// is repeated never leaves two cards: whether the first took effect or not,
// and whether Discord still knows its nonce or the card has to be looked for.
func TestPostFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault discordtest.Fault
		want  tickets.Class
		place bool
		after time.Duration
		once  bool // it cannot have taken effect
	}{
		{name: "Drop", fault: discordtest.Fault{Kind: discordtest.DropConnection}, want: tickets.Ambiguous},
		{name: "Slow", fault: discordtest.Fault{Kind: discordtest.Slow, Delay: time.Minute}, want: tickets.Ambiguous},
		{name: "BadGateway", fault: discordtest.Fault{Kind: discordtest.ServerError}, want: tickets.Ambiguous},
		{name: "BadGatewayHTML", fault: discordtest.Fault{Kind: discordtest.ServerError, HTML: true}, want: tickets.Ambiguous},
		{name: "Internal", fault: discordtest.Fault{Kind: discordtest.ServerError, Status: 500}, want: tickets.Ambiguous},
		{name: "EmptyList", fault: discordtest.Fault{Kind: discordtest.Empty}, want: tickets.Ambiguous},
		{name: "ProxyRedirects", fault: named(0, http.StatusFound), want: tickets.Ambiguous},
		{name: "ProxyForbids", fault: named(0, http.StatusForbidden), want: tickets.Ambiguous},
		{name: "ProxyFindsNothing", fault: named(0, http.StatusNotFound), want: tickets.Ambiguous},
		{name: "Limited", fault: discordtest.Fault{Kind: discordtest.Limited}, want: tickets.RateLimited, after: time.Second},
		{name: "LimitedShared", fault: discordtest.Fault{Kind: discordtest.LimitedShared, RetryAfter: 90 * time.Second}, want: tickets.RateLimited, after: 90 * time.Second},
		{name: "LimitedGlobal", fault: discordtest.Fault{Kind: discordtest.LimitedGlobal}, want: tickets.RateLimited, after: time.Second},
		{name: "LimitedForDays", fault: discordtest.Fault{Kind: discordtest.Limited, RetryAfter: 99 * time.Hour}, want: tickets.RateLimited, after: time.Hour},
		{name: "LimitedForAMoment", fault: discordtest.Fault{Kind: discordtest.Limited, RetryAfter: time.Millisecond}, want: tickets.RateLimited, after: time.Second},
		{name: "LimitedNoRetryAfter", fault: discordtest.Fault{Kind: discordtest.LimitedNoRetryAfter}, want: tickets.RateLimited, after: 5 * time.Second},
		{name: "LimitedHTML", fault: discordtest.Fault{Kind: discordtest.LimitedHTML}, want: tickets.RateLimited, after: 5 * time.Second},
		{name: "LimitedOldEdit", fault: discordtest.Fault{Kind: discordtest.LimitedOldEdit}, want: tickets.RateLimited, after: 5 * time.Second},
		{name: "NoChannel", fault: named(10003, 404), want: tickets.NotFound, place: true, once: true},
		{name: "NoGuild", fault: named(10004, 404), want: tickets.NotFound, place: true, once: true},
		{name: "NoMessage", fault: named(10008, 404), want: tickets.NotFound, once: true},
		{name: "NoAccess", fault: named(50001, 403), want: tickets.Rejected, place: true, once: true},
		{name: "NoPermission", fault: named(50013, 403), want: tickets.Rejected, place: true, once: true},
		{name: "NoText", fault: named(50008, 400), want: tickets.Rejected, place: true, once: true},
		{name: "Unauthorized", fault: named(0, 401), want: tickets.Unauthorized, once: true},
		{name: "UnauthorizedCode", fault: named(40001, 403), want: tickets.Unauthorized, once: true},
		{name: "OfTomorrow", fault: named(990099, 400), want: tickets.Rejected, once: true},
		{name: "OfTomorrowNotFound", fault: named(990099, 404), want: tickets.NotFound, once: true},
	} {
		for _, did := range []bool{false, true} {
			for _, looks := range []bool{false, true} {
				if tt.once && (did || looks) {
					continue
				}
				t.Run(fmt.Sprintf("%s/did=%v/looks=%v", tt.name, did, looks), func(t *testing.T) {
					t.Parallel()
					var ahead clock
					w := prepare(t, "gateway", handler{}, ahead.set)
					tk := request(w, 1042)
					f := tt.fault
					f.Method, f.Route, f.Did = http.MethodPost, routeMessages, did
					w.fake.Fail(f)
					first := w.chat
					if f.Kind == discordtest.Slow {
						w.cfg.Timeout = 3 * time.Second
						first = w.restarted()
						w.cfg.Timeout = 0
					}
					since := ahead.now()
					_, err := first.Post(t.Context(), w.Place(), tk, time.Time{})
					got := failed(t, "Post()", err, tt.want)
					if got.ChannelFault != tt.place || got.RetryAfter != tt.after {
						t.Errorf("place %v after %s, want %v after %s", got.ChannelFault, got.RetryAfter, tt.place, tt.after)
					}
					if n := w.fake.Count("POST " + routeMessages); n != 1 {
						t.Errorf("%d calls, want 1", n)
					}
					if tt.once {
						return
					}
					if looks {
						ahead.advance(10 * time.Minute)
					}
					again := w.restarted()
					id, err := again.Post(t.Context(), w.Place(), tk, since)
					if err != nil {
						t.Fatalf("the second Post() = %v", err)
					}
					if list := w.fake.Messages(channel); len(list) != 1 || list[0].ID != id {
						t.Errorf("Post() = %q with %d messages, want 1", id, len(list))
					}
					posts := 2
					if did && looks {
						posts = 1 // it was found
					}
					if n := w.fake.Count("POST " + routeMessages); n != posts {
						t.Errorf("%d messages sent, want %d", n, posts)
					}
					if n := w.fake.Count("GET " + routeMessages); (n == 1) != looks {
						t.Errorf("looked %d times", n)
					}
					if n := w.fake.InvalidRequests(); n > 1 {
						t.Errorf("%d invalid requests", n)
					}
				})
			}
		}
	}
}

// TestPostSucceedsWhateverElseIsSaid: the message exists; what the answer
// holds besides its identifier does not matter.
func TestPostSucceedsWhateverElseIsSaid(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]discordtest.FaultKind{"UnknownComponent": discordtest.UnknownComponent, "BadReset": discordtest.BadReset} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, "gateway", handler{}, nil)
			tk := request(w, 1042)
			w.fake.Fail(discordtest.Fault{Route: routeMessages, Kind: kind, Did: true})
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if list := w.fake.Messages(channel); err != nil || len(list) != 1 || list[0].ID != id {
				t.Fatalf("Post() = %q, %v, with %d messages", id, err, len(list))
			}
			w.fake.Fail(discordtest.Fault{Route: routeMessage, Kind: kind, Did: true})
			if err := w.chat.Edit(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk); err != nil {
				t.Errorf("Edit() = %v", err)
			}
			if n := w.fake.Count("POST " + routeMessages); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
		})
	}
}

// TestEditIsBelievedOnlyToDiscord: a portal on the way answers everything
// with 200.
func TestEditIsBelievedOnlyToDiscord(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"HTML": "<html>sign in</html>", "Nothing": "{}", "Other": `{"id":"600000000000000009"}`, "List": "[]"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
			defer api.Close()
			c, err := discord.New(discord.Config{BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, APIURL: api.URL})
			if err != nil {
				t.Fatal(err)
			}
			place := tickets.Place{Platform: discord.Platform, Channel: channel}
			tk := adaptertest.NewBook().Add(1, adaptertest.Request(), place)
			failed(t, "Edit()", c.Edit(t.Context(), tickets.Message{Place: place, ID: "600000000000000001"}, tk), tickets.Ambiguous)
		})
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c, err := discord.New(discord.Config{BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, APIURL: dead.URL})
	if err != nil {
		t.Fatal(err)
	}
	place := tickets.Place{Platform: discord.Platform, Channel: channel}
	_, err = c.Post(t.Context(), place, adaptertest.NewBook().Add(1, adaptertest.Request(), place), time.Time{})
	failed(t, "Post()", err, tickets.Unavailable) // it never got there
}

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

func TestDeadPlaces(t *testing.T) {
	t.Parallel()
	without := func(bits uint64) func(*world) {
		return func(w *world) { w.fake.SetPermissions(channel, discordtest.BotPermissions&^bits) }
	}
	for name, tt := range map[string]struct {
		harm func(*world)
		post tickets.Class
		edit tickets.Class // "" for success
	}{
		"ChannelRemoved": {func(w *world) { w.fake.RemoveChannel(channel) }, tickets.NotFound, tickets.NotFound},
		"BotKicked":      {func(w *world) { w.fake.RemoveBot() }, tickets.Rejected, tickets.Rejected},
		"NoView":         {without(discordtest.ViewChannel), tickets.Rejected, tickets.Rejected},
		"NoSend":         {without(discordtest.SendMessages), tickets.Rejected, ""},
		"Forum": {func(w *world) {
			w.fake.AddChannel(discordtest.Channel{ID: channel, Name: "epm", Kind: discordtest.Forum})
		}, tickets.Rejected, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ahead clock
			w := prepare(t, "gateway", handler{}, ahead.set)
			tk := request(w, 1042)
			id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			tt.harm(w)
			next := request(w, 1043)
			for _, since := range []time.Time{{}, ahead.now(), ahead.now().Add(-time.Hour)} {
				_, err := w.chat.Post(t.Context(), w.Place(), next, since)
				if f := failed(t, "Post()", err, tt.post); !f.ChannelFault {
					t.Errorf("since %s: Post() = %v, and the place is not blamed", since, err)
				}
			}
			err = w.chat.Edit(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk)
			if tt.edit == "" {
				if err != nil {
					t.Errorf("Edit() = %v", err)
				}
			} else if f := failed(t, "Edit()", err, tt.edit); !f.ChannelFault {
				t.Errorf("Edit() = %v, and the place is not blamed", err)
			}
			if n := w.fake.InvalidRequests(); n > 6 {
				t.Errorf("%d invalid requests", n)
			}
		})
	}
}

// TestThreadTrouble: whatever is wrong with the thread, the place works, and
// a reply makes a handful of calls at most.
func TestThreadTrouble(t *testing.T) {
	t.Parallel()
	without := func(bits uint64) func(*world, string) {
		return func(w *world, _ string) { w.fake.SetPermissions(channel, discordtest.BotPermissions&^bits) }
	}
	fault := func(method, route string, f discordtest.Fault) func(*world, string) {
		f.Method, f.Route = method, route
		return func(w *world, _ string) { w.fake.Fail(f) }
	}
	for name, tt := range map[string]struct {
		thread bool // there is one already
		harm   func(w *world, card string)
		want   tickets.Class // "" if the reply arrives
	}{
		"NoThreadYet":        {harm: func(*world, string) {}},
		"NoPermission":       {harm: without(discordtest.CreatePublicThreads), want: tickets.Rejected},
		"NoPermissionToSend": {harm: without(discordtest.SendMessagesInThreads), want: tickets.Rejected},
		"Locked":             {thread: true, harm: func(w *world, id string) { w.fake.LockThread(id, true) }, want: tickets.Rejected},
		"LockedAndArchived": {thread: true, harm: func(w *world, id string) {
			w.fake.LockThread(id, true)
			w.fake.ArchiveThread(id, true)
		}, want: tickets.Rejected},
		"Archived":         {thread: true, harm: func(w *world, id string) { w.fake.ArchiveThread(id, true) }},
		"ArchivedForGood":  {thread: true, harm: fault("POST", routeMessages, named(50083, 400)), want: tickets.Rejected},
		"ThreadDeleted":    {thread: true, harm: func(w *world, id string) { w.fake.DeleteThread(id) }},
		"MessageDeleted":   {harm: func(w *world, id string) { w.fake.Delete(channel, id) }, want: tickets.Rejected},
		"OnlyMessageGone":  {thread: true, harm: func(w *world, id string) { w.fake.Delete(channel, id) }},
		"ChannelRemoved":   {thread: true, harm: func(w *world, _ string) { w.fake.RemoveChannel(channel) }, want: tickets.Rejected},
		"BotKicked":        {harm: func(w *world, _ string) { w.fake.RemoveBot() }, want: tickets.Rejected},
		"NoView":           {thread: true, harm: without(discordtest.ViewChannel), want: tickets.Rejected},
		"SomebodyWasFirst": {harm: fault("POST", routeThreads, discordtest.Fault{Kind: discordtest.DiscordError, Code: 160004, Status: 400, Did: true})},
		"ThereIsOneUnseen": {harm: fault("POST", routeThreads, named(160004, 400)), want: tickets.Rejected},
		"TooManyThreads":   {harm: fault("POST", routeThreads, named(160006, 400)), want: tickets.Rejected},
		"ThreadUnclear":    {harm: fault("POST", routeThreads, discordtest.Fault{Kind: discordtest.DropConnection, Did: true}), want: tickets.Ambiguous},
		"ThreadLimited":    {harm: fault("POST", routeThreads, discordtest.Fault{Kind: discordtest.Limited}), want: tickets.RateLimited},
		"NoGuild":          {thread: true, harm: fault("POST", routeMessages, named(10004, 404)), want: tickets.Rejected},
	} {
		for _, looks := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/looks=%v", name, looks), func(t *testing.T) {
				t.Parallel()
				w := prepare(t, "gateway", handler{}, nil)
				tk := request(w, 1042)
				id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				m := tickets.Message{Place: w.Place(), ID: id}
				tk.Events = append(tk.Events, tickets.Event{Kind: tickets.EventDelayed}, tickets.Event{Kind: tickets.EventSubmitted})
				event := len(tk.Events) - 1
				if tt.thread {
					if err := w.chat.Reply(t.Context(), m, tk, event-1, time.Time{}); err != nil {
						t.Fatal(err)
					}
				}
				tt.harm(w, id)
				since := time.Time{}
				if looks {
					since = time.Now().Add(-time.Hour)
				}
				before, replies := len(w.fake.Calls()), len(w.fake.Messages(id))
				err = w.chat.Reply(t.Context(), m, tk, event, since)
				if tt.want == "" && err != nil {
					t.Errorf("Reply() = %v", err)
				}
				if tt.want != "" {
					if f := failed(t, "Reply()", err, tt.want); f.ChannelFault {
						t.Errorf("Reply() = %v blames the place", err)
					}
				}
				if n := len(w.fake.Messages(id)); tt.want == "" && n != replies+1 && !(name == "ThreadDeleted" && n == 1) {
					t.Errorf("%d replies, want one more than %d", n, replies)
				}
				if n := len(w.fake.Calls()) - before; n > 5 {
					t.Errorf("%d calls for one reply", n)
				}
				if n := w.fake.InvalidRequests(); n > 2 {
					t.Errorf("%d invalid requests", n)
				}
			})
		}
	}
	t.Run("LookingFails", func(t *testing.T) {
		w := prepare(t, "gateway", handler{}, nil)
		tk := request(w, 1042)
		id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		f := named(10004, 404)
		f.Method, f.Route = http.MethodGet, routeMessages
		w.fake.Fail(f)
		err = w.chat.Reply(t.Context(), tickets.Message{Place: w.Place(), ID: id}, tk, 0, time.Now().Add(-time.Hour))
		if f := failed(t, "Reply()", err, tickets.Rejected); f.ChannelFault {
			t.Errorf("Reply() = %v blames the place", err)
		}
	})
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

func TestRefusedComponentsArePostedPlain(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, nil)
	w.fake.Fail(discordtest.Fault{Method: http.MethodPost, Route: routeMessages, Kind: discordtest.DiscordError, Code: 50035})
	tk, id := posted(t, b, w)
	cards := w.Cards()
	if len(cards) != 1 || !strings.Contains(cards[0].Text, "JIT-1042") || len(cards[0].Buttons) != 3 {
		t.Errorf("cards are %+v", cards)
	}
	if !strings.Contains(w.log.String(), "discord refuses a message") {
		t.Error("the operator was not told")
	}
	m := tickets.Message{Place: w.Place(), ID: id}
	w.fake.Fail(discordtest.Fault{Method: http.MethodPatch, Kind: discordtest.DiscordError, Code: 50035})
	if err := w.chat.Edit(t.Context(), m, tk); err != nil {
		t.Error(err)
	}
	w.fake.Fail(discordtest.Fault{Method: http.MethodPatch, Kind: discordtest.DiscordError, Code: 50035, Times: -1})
	before := w.fake.Count("PATCH " + routeMessage)
	if f := failed(t, "Edit()", w.chat.Edit(t.Context(), m, tk), tickets.Rejected); f.ChannelFault {
		t.Error("the place is blamed")
	}
	if n := w.fake.Count("PATCH "+routeMessage) - before; n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	w.fake.ClearFaults()

	// The plain card can be decided.
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	if problems, err := w.Submit(t.Context(), 0, map[tickets.FormField]string{tickets.FieldReason: "ok", tickets.FieldUnit: "once"}); err != nil || len(problems) > 0 {
		t.Fatalf("Submit() = %q, %v", problems, err)
	}
	w.fake.Fail(discordtest.Fault{Method: http.MethodPost, Route: routeMessages, Kind: discordtest.DiscordError, Code: 50035, Skip: 1})
	if err := w.chat.Reply(t.Context(), m, tk, len(tk.Events)-1, time.Time{}); err != nil {
		t.Error(err)
	}
	if got := w.Replies(id); len(got) != 1 || !strings.Contains(got[0], "Approved by") {
		t.Errorf("replies are %q", got)
	}
}

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

func TestDeniedShowsInReady(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	w.fake.RevokeToken()
	_, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if f := failed(t, "Post()", err, tickets.Unauthorized); f.ChannelFault {
		t.Error("the place is blamed")
	}
	if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("Ready() = %v", err)
	}
	w.fake.RestoreToken()
	if _, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{}); err != nil {
		t.Error(err)
	}
	if err := w.chat.Ready(); err != nil {
		t.Errorf("Ready() = %v after it went well", err)
	}
	if n := w.fake.InvalidRequests(); n != 1 {
		t.Errorf("%d invalid requests, want 1", n)
	}
}

func TestRunStopsWithoutAToken(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := prepare(t, mode, b, nil)
			w.fake.RevokeToken()
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			if err := w.chat.Run(ctx, b); err == nil || !strings.Contains(err.Error(), "401") {
				t.Fatalf("Run() = %v", err)
			}
			if err := w.chat.Ready(); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("Ready() = %v", err)
			}
			if n := len(w.fake.Calls()); n != 1 {
				t.Errorf("%d calls with a token that is not accepted, want 1", n)
			}
		})
	}
}

func TestRunUntilDiscordTells(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := prepare(t, "http", b, nil)
	w.fake.Fail(discordtest.Fault{Route: "/users/@me", Kind: discordtest.ServerError})
	if w.chat.Ready() == nil {
		t.Error("ready before Run")
	}
	w.run(b)
	w.poll("ready", func() bool { return w.chat.Ready() == nil })
	if n := w.fake.Count("/users/@me"); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// TestDeniedIsCheckedAgain: nothing else has to be called for the chat to
// find out that its token works again, and it asks once a minute only.
func TestDeniedIsCheckedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var revoked, portal atomic.Bool
		var asked atomic.Int32
		answer := func(status int, body string) *http.Response {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
		}
		c, err := discord.New(discord.Config{
			BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, HTTP: true, PublicKey: strings.Repeat("ab", 32),
			Log: logger(&adaptertest.Journal{}),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				switch {
				case revoked.Load():
					if strings.HasSuffix(r.URL.Path, "/users/@me") {
						asked.Add(1)
					}
					return answer(http.StatusUnauthorized, `{"message":"401: Unauthorized","code":0}`), nil
				case portal.Load():
					return answer(http.StatusOK, `<html>sign in</html>`), nil
				case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/commands"):
					return answer(http.StatusOK, `[]`), nil
				}
				return answer(http.StatusOK, `{"id":"`+discordtest.BotUserID+`"}`), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, handler{}) }()
		synctest.Wait()
		if err := c.Ready(); err != nil {
			t.Fatalf("Ready() = %v", err)
		}
		revoked.Store(true)
		place := tickets.Place{Platform: discord.Platform, Channel: channel}
		_, err = c.Post(ctx, place, adaptertest.NewBook().Add(1, adaptertest.Request(), place), time.Time{})
		failed(t, "Post()", err, tickets.Unauthorized)
		time.Sleep(10*time.Minute + time.Second)
		if n := asked.Load(); n != 10 || c.Ready() == nil {
			t.Errorf("in ten minutes it asked %d times, want 10; Ready() = %v", n, c.Ready())
		}
		revoked.Store(false)
		portal.Store(true)
		time.Sleep(2 * time.Minute)
		if c.Ready() == nil {
			t.Error("a portal on the way has made it ready")
		}
		portal.Store(false)
		time.Sleep(time.Minute)
		if err := c.Ready(); err != nil {
			t.Errorf("Ready() = %v, want it to have recovered", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

func principal(kind tickets.PrincipalKind, id string) tickets.Principal {
	return tickets.Principal{Platform: discord.Platform, Kind: kind, ID: id}
}

func TestTell(t *testing.T) {
	t.Parallel()
	w := prepare(t, "gateway", handler{}, nil)
	const text = "**3** webhooks failed @everyone <@300000000000000001>\n> look at /epm incoming failed https://evil.example"
	if err := w.chat.DirectMessage(t.Context(), principal(tickets.User, userOf(0)), text); err != nil {
		t.Fatal(err)
	}
	list := w.fake.Messages(w.fake.DM(userOf(0)))
	if len(list) != 1 || len(list[0].Pings) > 0 || cardOf("", list[0].Components).Text != text {
		t.Errorf("they read %+v", list)
	}
	if err := w.chat.DirectMessage(t.Context(), principal(tickets.User, userOf(0)), strings.Repeat("<", 50_000)); err != nil {
		t.Errorf("Tell a long text = %v", err)
	}
	if n := len(w.fake.Messages(channel)); n != 0 {
		t.Errorf("%d messages in the channel", n)
	}
}

func TestTellFails(t *testing.T) {
	t.Parallel()
	open, ann := "/users/@me/channels", principal(tickets.User, userOf(0))
	on := func(route string, f discordtest.Fault) *discordtest.Fault {
		f.Method, f.Route = http.MethodPost, route
		return &f
	}
	for name, tt := range map[string]struct {
		who   tickets.Principal
		world func(*world)
		fault *discordtest.Fault
		want  tickets.Class
		sent  int
	}{
		"Role":          {who: principal(tickets.Role, "400000000000000001"), want: tickets.Rejected},
		"Group":         {who: principal(tickets.Group, "400000000000000001"), want: tickets.Rejected},
		"OtherPlatform": {who: tickets.Principal{Platform: "slack", Kind: tickets.User, ID: userOf(0)}, want: tickets.Rejected},
		"Unknown":       {who: principal(tickets.User, "399999999999999999"), want: tickets.Rejected},
		"Closed":        {who: ann, world: func(w *world) { w.fake.CloseDMs(userOf(0), true) }, want: tickets.Rejected},
		"NoUser":        {who: ann, fault: on(open, named(10013, 404)), want: tickets.Rejected},
		"DMGone":        {who: ann, fault: on(routeMessages, named(10003, 404)), want: tickets.Rejected},
		"NoAccess":      {who: ann, fault: on(routeMessages, named(50001, 403)), want: tickets.Rejected},
		"Denied":        {who: ann, fault: on(open, named(0, 401)), want: tickets.Unauthorized},
		"OpenDropped":   {who: ann, fault: on(open, discordtest.Fault{Kind: discordtest.DropConnection}), want: tickets.Unavailable},
		"OpenEmpty":     {who: ann, fault: on(open, discordtest.Fault{Kind: discordtest.Empty}), want: tickets.Unavailable},
		"PostDropped":   {who: ann, fault: on(routeMessages, discordtest.Fault{Kind: discordtest.DropConnection, Did: true}), want: tickets.Ambiguous, sent: 1},
		"Limited":       {who: ann, fault: on(routeMessages, discordtest.Fault{Kind: discordtest.Limited}), want: tickets.RateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, "gateway", handler{}, nil)
			if tt.world != nil {
				tt.world(w)
			}
			if tt.fault != nil {
				w.fake.Fail(*tt.fault)
			}
			if f := failed(t, "Tell()", w.chat.DirectMessage(t.Context(), tt.who, "a word"), tt.want); f.ChannelFault {
				t.Error("a place is blamed")
			}
			if n := len(w.fake.Messages(w.fake.DM(userOf(0)))); n != tt.sent || len(w.fake.Calls()) > 2 {
				t.Errorf("%d direct messages, want %d, in %d calls", n, tt.sent, len(w.fake.Calls()))
			}
		})
	}
}

func TestHoldsRoles(t *testing.T) {
	t.Parallel()
	const role, lost = "400000000000000001", "400000000000000002"
	b := adaptertest.NewBook()
	var ahead clock
	w := begin(t, "gateway", b, ahead.set)
	w.fake.AddRole(discordtest.Role{ID: role, Name: "helpdesk"})
	w.fake.AddRole(discordtest.Role{ID: lost, Name: "former"})
	w.fake.SetRoles(userOf(0), role)
	check := func(i int, r string, want bool) {
		t.Helper()
		if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, r), w.Actor(i)); err != nil || got != want {
			t.Errorf("Holds(%s, %d) = %v, %v; want %v", r, i, got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check(0, role, true) })
	}
	all.Wait()
	check(0, lost, false)
	if n := w.fake.Count(routeMember); n != 1 {
		t.Errorf("the member was asked for %d times, want 1", n)
	}
	check(1, role, false)

	// What comes with a click is newer than what is remembered.
	_, id := posted(t, b, w)
	w.fake.SetRoles(userOf(0), lost)
	w.opens(0, id)
	before := w.fake.Count(routeMember)
	check(0, role, false)
	check(0, lost, true)
	if n := w.fake.Count(routeMember) - before; n != 0 {
		t.Errorf("asked %d times although the click told", n)
	}

	w.fake.SetRoles(userOf(0), role)
	ahead.advance(61 * time.Second)
	check(0, role, true)

	// Whoever has left the server holds nothing.
	ahead.advance(61 * time.Second)
	w.fake.AddUser(discordtest.User{ID: userOf(0), Username: "person0", Roles: []string{role}, Stranger: true})
	check(0, role, false)
	if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, role), tickets.Actor{Platform: discord.Platform, ID: "399999999999999999"}); got || err != nil {
		t.Errorf("an unknown user holds the role: %v, %v", got, err)
	}

	// What cannot be found out lets nobody in, and is asked again.
	for name, f := range map[string]discordtest.Fault{
		"ServerError": {Kind: discordtest.ServerError}, "Drop": {Kind: discordtest.DropConnection}, "NoGuild": named(10004, 404),
		"NoAccess": named(50001, 403), "Proxy": named(0, 404), "List": {Kind: discordtest.Empty},
	} {
		ahead.advance(61 * time.Second)
		w.fake.SetRoles(userOf(2), role)
		f.Route, f.Times = routeMember, -1 // a read that is dropped is made again by net/http
		w.fake.Fail(f)
		got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, role), w.Actor(2))
		w.fake.ClearFaults()
		if got || err == nil && name != "List" {
			t.Errorf("%s: Holds() = %v, %v; want an error", name, got, err)
		}
		if name != "List" {
			check(2, role, true)
		}
	}
	for _, p := range []tickets.Principal{principal(tickets.Group, role), principal(tickets.Channel, channel)} {
		if got, err := w.chat.HasRole(t.Context(), p, w.Actor(1)); got || err == nil {
			t.Errorf("Holds(%s) = %v, %v; want an error", p, got, err)
		}
	}
	for _, a := range []tickets.Actor{{}, {Platform: discord.Platform}, {Platform: "slack", ID: userOf(2)}} {
		for _, p := range []tickets.Principal{principal(tickets.Role, role), principal(tickets.User, userOf(2)), principal(tickets.User, "")} {
			if got, err := w.chat.HasRole(t.Context(), p, a); got || err != nil {
				t.Errorf("Holds(%s, %+v) = %v, %v", p, a, got, err)
			}
		}
	}
}

// TestHoldsOfARoleThatIsGone: nobody has it, which is no error.
func TestHoldsOfARoleThatIsGone(t *testing.T) {
	t.Parallel()
	const role, never = "400000000000000001", "400000000000000009"
	var ahead clock
	w := begin(t, "gateway", adaptertest.NewBook(), ahead.set)
	w.fake.AddRole(discordtest.Role{ID: role, Name: "helpdesk"})
	w.fake.SetRoles(userOf(0), role)
	if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, role), w.Actor(0)); !got || err != nil {
		t.Fatalf("Holds = %v, %v before it is deleted", got, err)
	}
	w.fake.RemoveRole(role)
	ahead.advance(61 * time.Second)
	for _, r := range []string{role, never} {
		for i := range 2 {
			if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, r), w.Actor(i)); got || err != nil {
				t.Errorf("Holds(%s, %d) = %v, %v; want nobody, without an error", r, i, got, err)
			}
		}
	}
	for _, r := range w.chat.Resolve(t.Context(), []tickets.Principal{principal(tickets.Role, role), principal(tickets.Role, never)}) {
		if r.Problem != "the server has no such role" || r.Err != nil {
			t.Errorf("Reach = %+v, want that there is no such role", r)
		}
	}
}

// TestNoSecretInErrors makes every call fail in every way, against a Discord
// that answers with the secrets themselves.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	const token, hidden = "TOPSECRET.bot.token", "TOPSECRET"
	answers := map[string]http.HandlerFunc{
		"message": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"message":%q,"code":990099,"errors":{"TOPSECRET":{"_errors":[{"message":%q}]}}}`, token, token)
		},
		"fields": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"message":"x","code":50035,"errors":{"content":{"%s":{"_errors":[{"message":%q}]}}}}`, token, token)
		},
		"html":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "<html>%s</html>", token) },
		"status": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, token, http.StatusBadGateway) },
		"denied": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, token, http.StatusUnauthorized) },
		"limit": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", token)
			w.Header().Set("X-RateLimit-Scope", token)
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/?token="+token, http.StatusFound)
		},
		"types": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"id":{"x":%q},"roles":%q}`, token, token)
		},
		"drop":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"nothing": nil,
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(answer)
			defer api.Close()
			if answer == nil {
				api.Close()
			}
			log := &adaptertest.Journal{}
			place := tickets.Place{Platform: discord.Platform, Channel: channel}
			tk := adaptertest.NewBook().Add(1042, adaptertest.Request(), place)
			m := tickets.Message{Place: place, ID: "600000000000000001"}
			var errs []error
			// A fresh chat each time: none waits for what another was told.
			call := func(do func(context.Context, *discord.Chat) error) {
				t.Helper()
				c, err := discord.New(discord.Config{BotToken: token, ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, APIURL: api.URL,
					Gateway: discord.Gateway{Open: 100 * time.Millisecond}, Log: logger(log)})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				defer cancel()
				errs = append(errs, do(ctx, c))
			}
			for _, since := range []time.Time{{}, time.Now().Add(-time.Hour)} {
				call(func(ctx context.Context, c *discord.Chat) error { _, err := c.Post(ctx, place, tk, since); return err })
				call(func(ctx context.Context, c *discord.Chat) error { return c.Reply(ctx, m, tk, 0, since) })
			}
			call(func(ctx context.Context, c *discord.Chat) error { return c.Edit(ctx, m, tk) })
			call(func(ctx context.Context, c *discord.Chat) error {
				return c.DirectMessage(ctx, principal(tickets.User, userOf(0)), "x")
			})
			call(func(ctx context.Context, c *discord.Chat) error {
				_, err := c.HasRole(ctx, principal(tickets.Role, "400000000000000001"), tickets.Actor{Platform: discord.Platform, ID: userOf(0)})
				if name == "types" {
					return errors.New("no roles are roles") // nobody is let in
				}
				return err
			})
			call(func(ctx context.Context, c *discord.Chat) error {
				short, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
				defer cancel()
				_ = c.Run(short, handler{})
				return c.Ready()
			})
			call(func(ctx context.Context, c *discord.Chat) error {
				bad := false
				for _, f := range c.Diagnose(ctx, []tickets.Place{place}, []tickets.Principal{principal(tickets.User, userOf(0))}) {
					if strings.Contains(f.What+f.Problem+f.Fix, hidden) {
						t.Errorf("a finding: %+v", f)
					}
					bad = bad || f.Problem != ""
				}
				if !bad {
					return nil
				}
				return errors.New("found something")
			})
			for i, err := range errs {
				if err == nil {
					t.Errorf("call %d works", i)
				} else if s := fmt.Sprintf("%v %+v", err, tickets.FailureOf(err).UserMessage); strings.Contains(s, hidden) {
					t.Errorf("call %d: %s", i, s)
				}
			}
			if strings.Contains(log.String(), hidden) {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestCallNames(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/api/v9/channels/500000000000000001/messages":                              "GET /channels/{id}/messages",
		"/api/v9/channels/500000000000000001/messages/600000000000000001/threads":   "GET /channels/{id}/messages/{id}/threads",
		"/api/v10/interactions/700000000000000001/aW50ZXJhY3Rpb24abc/callback":      "GET /interactions/{id}/{token}/callback",
		"/api/v9/webhooks/100000000000000001/123456789012345678":                    "GET /webhooks/{id}/{token}",
		"/api/v9/webhooks/100000000000000001/aW50ZXJhY3Rpb24abc/messages/@original": "GET /webhooks/{id}/{token}/messages/@original",
		"/api/v9/guilds/200000000000000001/members/300000000000000001":              "GET /guilds/{id}/members/{id}",
		"/api/v9/users/@me": "GET /users/@me",
		"/":                 "GET /",
	} {
		r := httptest.NewRequest(http.MethodGet, "https://discord.com"+path+"?after=1", nil)
		if got := discord.CallName(r); got != want {
			t.Errorf("CallName(%s) = %q, want %q", path, got, want)
		}
	}
}

// TestTransportSeesEveryCall: metrics name each call, without identifiers.
func TestTransportSeesEveryCall(t *testing.T) {
	t.Parallel()
	var names sync.Map
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, func(_ *discordtest.Config, c *discord.Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			names.Store(discord.CallName(r), true)
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	tk, id := posted(t, b, w)
	m := tickets.Message{Place: w.Place(), ID: id}
	if err := w.chat.Edit(t.Context(), m, tk); err != nil {
		t.Fatal(err)
	}
	if err := w.chat.Reply(t.Context(), m, tk, 0, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := w.chat.DirectMessage(t.Context(), principal(tickets.User, userOf(0)), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.chat.HasRole(t.Context(), principal(tickets.Role, userOf(9)), w.Actor(0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Click(t.Context(), 0, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	var got []string
	names.Range(func(k, _ any) bool { got = append(got, k.(string)); return true })
	slices.Sort(got)
	want := []string{
		"GET /applications/{id}/guilds/{id}/commands", "GET /channels/{id}/messages", "GET /gateway/bot", "GET /guilds/{id}/members/{id}", "GET /users/@me",
		"PATCH /channels/{id}/messages/{id}", "POST /channels/{id}/messages", "POST /channels/{id}/messages/{id}/threads",
		"POST /interactions/{id}/{token}/callback", "POST /users/@me/channels", "PUT /applications/{id}/guilds/{id}/commands",
	}
	if !slices.Equal(got, want) {
		t.Errorf("calls are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCommandsAreWrittenOnce: a server may create 200 commands a day.
func TestCommandsAreWrittenOnce(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "http", b, nil)
	if n := w.fake.CommandWrites(); n != 1 {
		t.Fatalf("%d writes at the first start, want 1", n)
	}
	again := func() {
		t.Helper()
		c := w.restarted()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		before := w.fake.Count("GET " + routeCommands)
		go func() { ended <- c.Run(ctx, b) }()
		w.poll("it has looked", func() bool { return w.fake.Count("GET "+routeCommands) > before })
		w.poll("our commands", func() bool { return strings.Contains(string(w.fake.Commands()), "test-connection") })
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	}
	again()
	if n := w.fake.CommandWrites(); n != 1 {
		t.Errorf("%d writes after the second start, want 1", n)
	}
	// Somebody has registered something else.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut,
		w.fake.URL()+"/api/v10/applications/"+discordtest.ApplicationID+"/guilds/"+discordtest.GuildID+"/commands",
		strings.NewReader(`[{"name":"epm","description":"of another version"}]`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bot " + discordtest.BotToken}, "Content-Type": {"application/json"}, "User-Agent": {"DiscordBot (https://example.com, 1)"}}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	_ = res.Body.Close()
	again()
	again()
	if n := w.fake.CommandWrites(); n != 3 { // theirs, and ours once more
		t.Errorf("%d writes, want 3", n)
	}
}

func TestCommandsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault discordtest.Fault
		gets  int
		done  bool
	}{
		"NotInvited":  {fault: discordtest.Fault{Method: http.MethodPut, Kind: discordtest.DiscordError, Code: 50001, Status: 403, Times: -1}, gets: 1},
		"Invalid":     {fault: discordtest.Fault{Method: http.MethodPut, Kind: discordtest.DiscordError, Code: 50035, Times: -1}, gets: 1},
		"NoGuild":     {fault: discordtest.Fault{Method: http.MethodGet, Kind: discordtest.DiscordError, Code: 10004, Status: 404, Times: -1}, gets: 1},
		"Limited":     {fault: discordtest.Fault{Method: http.MethodPut, Kind: discordtest.Limited, RetryAfter: time.Second}, gets: 2, done: true},
		"LimitedLong": {fault: discordtest.Fault{Method: http.MethodPut, Kind: discordtest.Limited, RetryAfter: time.Hour, Times: -1}, gets: 1},
		"LostAnswer":  {fault: discordtest.Fault{Method: http.MethodPut, Kind: discordtest.DropConnection, Did: true}, gets: 2, done: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := prepare(t, "http", b, nil)
			tt.fault.Route = routeCommands
			w.fake.Fail(tt.fault)
			w.run(b)
			w.poll("a word in the log", func() bool { return strings.Contains(w.log.String(), "slash command not registered") })
			w.poll("ready all the same", func() bool { return w.chat.Ready() == nil })
			if tt.done {
				w.poll("the second look", func() bool { return w.fake.Count("GET "+routeCommands) >= tt.gets })
				w.poll("the commands", func() bool { return strings.Contains(string(w.fake.Commands()), "test-connection") })
			}
			if n := w.fake.Count("GET " + routeCommands); n != tt.gets {
				t.Errorf("looked %d times, want %d", n, tt.gets)
			}
			if n := w.fake.CommandWrites(); n > 1 {
				t.Errorf("%d writes, want 1 at most", n)
			}
			if n := w.fake.InvalidRequests(); n > 1 {
				t.Errorf("%d invalid requests", n)
			}
		})
	}
}

// TestCommandsAreTriedSlowly: while the bot may not register them, an admin
// has to act; and every refusal counts towards a ban.
func TestCommandsAreTriedSlowly(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		body   string
		most   int32 // calls within an hour
	}{
		"NotInvited": {403, `{"message":"Missing Access","code":50001}`, 13},
		"NoGuild":    {404, `{"message":"Unknown Guild","code":10004}`, 13},
		"Denied":     {401, `{"message":"401: Unauthorized","code":0}`, 25},
		"Broken":     {502, `<html>`, 25},
		"Limited":    {429, `{"retry_after":1800,"global":false}`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				c, err := discord.New(discord.Config{
					BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, HTTP: true, PublicKey: strings.Repeat("ab", 32),
					Log: logger(&adaptertest.Journal{}),
					Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"` + discordtest.BotUserID + `"}`))}
						if strings.HasSuffix(r.URL.Path, "/commands") {
							asked.Add(1)
							res.StatusCode, res.Body = tt.status, io.NopCloser(strings.NewReader(tt.body))
						}
						return res, nil
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := c.Run(ctx, handler{}); err != nil {
					t.Errorf("Run() = %v", err)
				}
				if n := asked.Load(); n < 2 || n > tt.most {
					t.Errorf("%d calls within an hour, want 2 to %d", n, tt.most)
				}
			})
		})
	}
}

// components are those of a message, for tests that read them.
func components(t testing.TB, raw string) json.RawMessage {
	t.Helper()
	var m struct {
		Data struct {
			Components json.RawMessage `json:"components"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return m.Data.Components
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	var ahead clock
	w := begin(t, "gateway", b, ahead.set)
	w.fake.AddUser(discordtest.User{ID: userOf(0), Username: "jane", GlobalName: "Jane Doe", Nick: "Jane of IT"})
	w.fake.AddUser(discordtest.User{ID: userOf(1), Username: "bob", GlobalName: "Bob"})
	check := func(i int, want ...string) {
		t.Helper()
		got, err := w.chat.Identify(t.Context(), w.Actor(i))
		if err != nil || len(got.Emails) > 0 || !slices.Equal(got.Names, want) {
			t.Errorf("Identify(%d) = %+v, %v; want the names %q alone", i, got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check(0, "Jane of IT", "Jane Doe", "jane") })
	}
	all.Wait()
	check(1, "Bob", "bob")
	if n := w.fake.Count(routeMember); n != 2 {
		t.Errorf("members were asked for %d times, want once for each", n)
	}

	// What comes with a click is newer than what is remembered.
	_, id := posted(t, b, w)
	w.fake.AddUser(discordtest.User{ID: userOf(0), Username: "jane", GlobalName: "Jane Doe", Nick: "Foxy"})
	w.opens(0, id)
	before := w.fake.Count(routeMember)
	check(0, "Foxy", "Jane Doe", "jane")
	if n := w.fake.Count(routeMember) - before; n != 0 {
		t.Errorf("asked %d times although the click told", n)
	}

	// What cannot be found out is an error, and asked again.
	for name, f := range map[string]discordtest.Fault{
		"ServerError": {Kind: discordtest.ServerError}, "Drop": {Kind: discordtest.DropConnection}, "NoAccess": named(50001, 403),
		"LeftTheServer": named(10007, 404), "Unknown": named(10013, 404), "List": {Kind: discordtest.Empty},
	} {
		ahead.advance(61 * time.Second)
		f.Route, f.Times = routeMember, -1 // a read that is dropped is made again by net/http
		w.fake.Fail(f)
		got, err := w.chat.Identify(t.Context(), w.Actor(0))
		w.fake.ClearFaults()
		if err == nil {
			t.Errorf("%s: Identify() = %+v, want an error", name, got)
		}
		check(0, "Foxy", "Jane Doe", "jane")
	}
}

// TestNoIdentifier: an answer that names something else than a message may
// hold our own token, and a message's id is stored. To see it fail, let create
// take any id.
func TestNoIdentifier(t *testing.T) {
	c, err := discord.New(discord.Config{
		BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, HTTP: true, PublicKey: strings.Repeat("ab", 32),
		Log: logger(&adaptertest.Journal{}),
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"Authorization: Bot a.b.c"}`))}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	place := tickets.Place{Platform: discord.Platform, Channel: "100000000000000001"}
	id, err := c.Post(t.Context(), place, adaptertest.NewBook().Add(1, adaptertest.Request(), place), time.Time{})
	if id != "" || err == nil || tickets.FailureOf(err).Class != tickets.Ambiguous || strings.Contains(err.Error(), "a.b.c") {
		t.Errorf("Post() = %q, %v; want no id, and that it is unclear", id, err)
	}
	err = c.DirectMessage(t.Context(), tickets.Principal{Platform: discord.Platform, Kind: tickets.User, ID: "100000000000000002"}, "x")
	if err == nil || tickets.FailureOf(err).Class != tickets.Unavailable || strings.Contains(err.Error(), "a.b.c") {
		t.Errorf("Tell() = %v, want that Discord is down", err)
	}
}
