package discord_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fmt"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
)

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

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"gateway", "http"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := &recording{Book: adaptertest.NewBook()}
			w := begin(t, mode, h, nil)
			p := w.fake.Person(userOf(2))
			for _, tt := range []struct {
				word    string
				options map[string]string
				want    string
			}{
				{"help", nil, "help"},
				{"status", nil, "status"},
				{"tickets", nil, "tickets"},
				{"tickets", map[string]string{"state": "pending"}, "tickets pending"},
				{"tickets", map[string]string{"text": "7-zip ann", "state": "On Hold"}, "tickets On Hold 7-zip ann"},
				{"ticket", map[string]string{"number": " JIT-1042 "}, "ticket JIT-1042"},
				{"ticket", map[string]string{"number": "**<@&1> @everyone"}, "ticket **<@&1> @everyone"},
				{"state", map[string]string{"state": "On Hold", "number": "JIT-1042"}, "state JIT-1042 On Hold"},
				{"test-connection", nil, "test-connection"},
			} {
				got, err := p.Command(t.Context(), channel, tt.word, tt.options)
				if err != nil || got == nil {
					t.Fatalf("%s %v: %v", tt.word, tt.options, err)
				}
				if said := cardOf("", got.Components).Text; !strings.HasPrefix(said, "You said: "+tt.want) || h.last.Load() != tt.want {
					t.Errorf("%s %v: the handler saw %q, and the person %q", tt.word, tt.options, h.last.Load(), said)
				}
				if got.Flags&discordtest.FlagEphemeral == 0 {
					t.Errorf("everybody sees the answer to %s", tt.word)
				}
			}
			for _, tt := range []struct {
				word    string
				options map[string]string
			}{{"incoming", map[string]string{"action": "gone"}}, {"ticket", nil}, {"state", map[string]string{"number": "1"}}, {"help", map[string]string{"x": "y"}}, {"explode", nil}} {
				if _, err := p.Command(t.Context(), channel, tt.word, tt.options); err == nil {
					t.Errorf("Discord offers %s %v", tt.word, tt.options)
				}
			}
			if len(w.fake.Messages(channel)) > 0 {
				t.Error("an answer is in the channel")
			}
		})
	}
	h := &recording{Book: adaptertest.NewBook()}
	w := begin(t, "http", h, nil)
	if _, err := w.Command(t.Context(), 0, "status"); err != nil {
		t.Fatal(err)
	}
	all := w.fake.Deliveries()
	body := all[len(all)-1].Body
	before := h.commands.Load()
	for i, pairs := range [][]string{
		{`"name":"status"`, `"name":"explode"`},
		{`"name":"epm"`, `"name":"other"`},
		{`"name":"status","options":[]`, `"name":"status","options":{"a":1}`, `"options":[{`, `"options":[{},{`},
		{`"options":[{"name":"status","options":[],"type":1}]`, `"options":null`},
		{`"data":{`, `"data":7,"x":{`},
	} {
		odd := change(t, change(t, body, pairs...), all[len(all)-1].ID, fmt.Sprintf("9000000000000000%02d", i))
		if got := w.hears(0, odd); !strings.Contains(got, sayUnknownCommand) {
			t.Errorf("%v: told %q", pairs, got)
		}
	}
	if n := h.commands.Load(); n != before {
		t.Errorf("%d commands of another version reached the handler", n-before)
	}
}
