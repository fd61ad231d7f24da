package discord_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

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
