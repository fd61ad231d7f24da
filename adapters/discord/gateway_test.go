package discord_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// quick makes the supervisor notice in seconds what takes it minutes. A busy
// machine may keep a heartbeat waiting for one.
func quick(f *discordtest.Config, c *discord.Config) {
	f.Heartbeat = 500 * time.Millisecond
	c.Gateway = discord.Gateway{Open: 3 * time.Second, Ack: 4 * time.Second, First: 5 * time.Millisecond, Last: 20 * time.Millisecond, Start: time.Millisecond}
}

// posted is a ticket with its card.
func posted(t *testing.T, b *adaptertest.Book, w *world) (*tickets.Ticket, string) {
	t.Helper()
	tk := b.Add(1042, adaptertest.Request(), w.Place())
	id, err := w.chat.Post(t.Context(), w.Place(), tk, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return tk, id
}

// buttonOf is the custom id of a button of tk.
func buttonOf(tk *tickets.Ticket, action adapters.Action) string {
	return string(action) + ":" + string(tk.Request.Digest()) + ":" + string(tk.Number)
}

// opens clicks until the form is open: a click may go to a connection that
// just ends.
func (w *world) opens(i int, id string) {
	w.t.Helper()
	w.poll("a form", func() bool {
		if w.fake.Connections() == 0 {
			return false
		}
		_ = w.Click(w.t.Context(), i, id, adapters.ActionApprove)
		return w.Screen(i) != ""
	})
}

// TestGatewayComesBack: after each way of losing the connection, and of not
// getting one, there is another, and clicks are answered.
func TestGatewayComesBack(t *testing.T) {
	t.Parallel()
	fails := func(kinds ...discordtest.GatewayFaultKind) func(*world) {
		return func(w *world) {
			for _, k := range kinds {
				w.fake.FailGateway(discordtest.GatewayFault{Kind: k})
			}
			w.fake.Drop()
		}
	}
	for name, tt := range map[string]struct {
		harm  func(*world)
		fresh bool // another session is started; else the old one is resumed
	}{
		"Cut":              {func(w *world) { w.fake.Drop() }, false},
		"Outage":           {func(w *world) { w.fake.SetDown(true); w.fake.SetDown(false) }, false},
		"AskedToReconnect": {func(w *world) { w.fake.Reconnect() }, false},
		"SessionInvalid":   {func(w *world) { w.fake.Invalidate() }, true},
		"ResumesRefused":   {func(w *world) { w.fake.RefuseResumes(true); w.fake.Drop() }, true},
		"ClosedUnknown":    {func(w *world) { w.fake.CloseConnections(4000) }, false},
		"ClosedSeq":        {func(w *world) { w.fake.CloseConnections(4007) }, true},
		"ClosedTimeout":    {func(w *world) { w.fake.CloseConnections(4009) }, true},
		"ClosedNormally":   {func(w *world) { w.fake.CloseConnections(1000) }, false},
		"Zombie": {func(w *world) {
			w.fake.AckHeartbeats(false)
			w.fake.Drop()
			w.poll("resumed", func() bool { return w.fake.Resumes() > 0 })
			w.fake.AckHeartbeats(true)
		}, false},
		"NoHello":          {fails(discordtest.NoHello), false},
		"NoReady":          {fails(discordtest.NoReady), false},
		"Op7First":         {fails(discordtest.Op7First), false},
		"Op7Again":         {fails(discordtest.Op7First, discordtest.Op7First, discordtest.Op7First), false},
		"Op9First":         {fails(discordtest.Op9First), true},
		"Op9Resumable":     {fails(discordtest.Op9Resumable), false},
		"UpgradeRefused":   {fails(discordtest.RefuseUpgrade), false},
		"OneAfterTheOther": {fails(discordtest.Op9First, discordtest.Op7First, discordtest.RefuseUpgrade, discordtest.NoHello), true},
		"ClosedAtOnce": {func(w *world) {
			w.fake.FailGateway(discordtest.GatewayFault{Kind: discordtest.CloseWith, Code: 4008, Times: 3})
			w.fake.Drop()
		}, false},
		"HeartbeatAskedFor": {func(w *world) { w.fake.RequestHeartbeats(); w.fake.Drop() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := adaptertest.NewBook()
			w := begin(t, "gateway", b, quick)
			_, id := posted(t, b, w)
			tt.harm(w)
			w.poll("another connection", func() bool {
				return (w.fake.Identifies() > 1 || !tt.fresh && w.fake.Resumes() > 0) && w.fake.Connections() == 1
			})
			w.opens(0, id)
			if n := w.fake.Identifies(); n > 1 != tt.fresh {
				t.Errorf("%d sessions were started; another was wanted: %v", n, tt.fresh)
			}
		})
	}
}

// TestResumeBringsWhatWasDone: what people did while the connection was cut
// arrives with the session, and has its effect unless it is too late.
func TestResumeBringsWhatWasDone(t *testing.T) {
	t.Parallel()
	b := &counting{Book: adaptertest.NewBook()}
	w := begin(t, "gateway", b, quick)
	_, id := posted(t, b.Book, w)
	w.fake.GatewayDown(true)
	w.poll("no connection", func() bool { return w.fake.Connections() == 0 })
	var click map[string]any
	if err := json.Unmarshal(w.fake.Person(userOf(1)).ClickBody(channel, id, "approve:JIT-1042"), &click); err != nil {
		t.Fatal(err)
	}
	// An identifier says when: this one a quarter of an hour ago.
	click["id"] = strconv.FormatInt((time.Now().Add(-15*time.Minute).UnixMilli()-1420070400000)<<22, 10)
	old, err := json.Marshal(click)
	if err != nil {
		t.Fatal(err)
	}
	w.fake.Dispatch("INTERACTION_CREATE", old)
	clicked := make(chan error, 1)
	go func() { clicked <- w.Click(t.Context(), 0, id, adapters.ActionApprove) }()
	w.poll("a click that waits", func() bool { return len(w.fake.Deliveries()) > 0 })
	w.fake.GatewayDown(false)
	if err := <-clicked; err != nil || w.Screen(0) == "" {
		t.Errorf("a click while the connection was cut: %v, want the form", err)
	}
	w.opens(2, id)
	if n := b.clicks.Load(); n != 2 {
		t.Errorf("%d clicks had an effect, want 2: not the one of a quarter of an hour ago", n)
	}
	if n := w.fake.Identifies(); n != 1 {
		t.Errorf("%d sessions were started, want the one resumed", n)
	}
}

// TestGatewayStopsForGood: after these codes Discord demands not to come
// again; coming again would have the token reset.
func TestGatewayStopsForGood(t *testing.T) {
	t.Parallel()
	for _, code := range []int{4004, 4010, 4011, 4012, 4013, 4014} {
		for _, when := range []string{"AtOnce", "Later"} {
			t.Run(when, func(t *testing.T) {
				t.Parallel()
				b := adaptertest.NewBook()
				w := begin(t, "gateway", b, quick)
				w.fake.FailGateway(discordtest.GatewayFault{Kind: discordtest.CloseWith, Code: code, Times: -1})
				identified := w.fake.Identifies()
				if when == "AtOnce" {
					w.fake.Drop()
				} else {
					w.fake.CloseConnections(code)
				}
				select {
				case err := <-w.ended:
					w.ended <- nil
					if err == nil || !strings.Contains(err.Error(), "closed with code 40") {
						t.Errorf("Run ended with %v, want the code", err)
					}
				case <-time.After(hang):
					t.Fatal("Run goes on")
				}
				if err := w.chat.Ready(); err == nil {
					t.Error("it is ready")
				}
				if n := w.fake.Identifies() - identified; n > 1 {
					t.Errorf("%d more sessions, want one at most", n)
				}
			})
		}
	}
}

func TestGatewayNotReadyWhenAway(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, func(f *discordtest.Config, c *discord.Config) {
		quick(f, c)
		c.Gateway.Gap = time.Minute
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	w.fake.GatewayDown(true)
	w.poll("no connection", func() bool { return w.fake.Connections() == 0 })
	w.poll("it notices", func() bool { return strings.Contains(w.log.String(), "the gateway is away") })
	if err := w.chat.Ready(); err != nil {
		t.Errorf("Ready() = %v after a moment", err)
	}
	ahead.Store(int64(2 * time.Minute))
	if err := w.chat.Ready(); err == nil {
		t.Error("ready without a connection")
	}
	w.fake.GatewayDown(false)
	w.poll("ready again", func() bool { return w.chat.Ready() == nil })
}

// TestGatewayTraps: whatever comes over the gateway, the next click works.
func TestGatewayTraps(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, quick)
	_, id := posted(t, b, w)
	tomorrow := `[{"type":99,"custom_id":"x","components":[{"type":98,"component":{"type":97,"value":{"a":1}}}]}]`
	for _, odd := range []string{
		`{}`, `null`, `7`, `"x"`, `[]`, `{"id":7,"type":"x","member":[],"data":7}`,
		`{"id":"1","application_id":"` + discordtest.ApplicationID + `","guild_id":"` + discordtest.GuildID + `","type":3,"token":"t","member":{"user":{"id":"` + userOf(1) + `"}},"data":{"custom_id":7},"message":{"components":` + tomorrow + `}}`,
		`{"id":"2","application_id":"` + discordtest.ApplicationID + `","guild_id":"` + discordtest.GuildID + `","type":5,"token":"t","member":{"user":{"id":"` + userOf(1) + `"}},"data":{"custom_id":"approve:JIT-1042","components":` + tomorrow + `}}`,
		`{"id":"3","application_id":"` + discordtest.ApplicationID + `","guild_id":"` + discordtest.GuildID + `","type":77,"token":"t","member":{"user":{"id":"` + userOf(1) + `"}}}`,
	} {
		w.fake.Dispatch("INTERACTION_CREATE", json.RawMessage(odd))
		w.fake.Dispatch("EVENT_OF_TOMORROW", json.RawMessage(odd))
	}
	w.opens(0, id)
	if strings.Contains(w.log.String(), "panic") {
		t.Error("something panicked")
	}
}

// TestOddComponentsInTheMessage: a click on a message that holds components
// which the library cannot decode.
func TestOddComponentsInTheMessage(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, nil)
	_, id := posted(t, b, w)
	body := string(w.fake.Person(userOf(2)).ClickBody(channel, id, "approve:JIT-1042"))
	odd := strings.Replace(body, `"components":[`, `"components":[{"type":99,"id":77,"components":[{"type":98}]},`, 1)
	if odd == body {
		t.Fatalf("no components in %s", body)
	}
	w.fake.Dispatch("INTERACTION_CREATE", json.RawMessage(odd))
	w.poll("the form", func() bool { return w.Screen(2) != "" })
}

// TestInteractionTwice: an interaction that comes over two connections, or
// again, is worked on once and answered once.
func TestInteractionTwice(t *testing.T) {
	t.Parallel()
	b := &counting{Book: adaptertest.NewBook()}
	w := begin(t, "gateway", b, nil)
	_, id := posted(t, b.Book, w)
	body := w.fake.Person(userOf(2)).ClickBody(channel, id, "approve:JIT-1042")
	for range 5 {
		w.fake.Dispatch("INTERACTION_CREATE", body)
	}
	w.poll("the form", func() bool { return w.Screen(2) != "" })
	w.opens(3, id) // whatever came of the others has come by now
	if n := b.clicks.Load(); n != 2 {
		t.Errorf("the handler saw %d clicks, want 2", n)
	}
	if n := w.fake.Count("POST /interactions/{interaction}/{token}/callback"); n != 2 {
		t.Errorf("%d answers, want 2", n)
	}
}

// counting counts what reaches the handler.
type counting struct {
	*adaptertest.Book
	clicks atomic.Int32
	people sync.Map // their ids
}

func (c *counting) Click(ctx context.Context, click adapters.Click) adapters.Answer {
	c.clicks.Add(1)
	c.people.Store(click.Actor.ID, true)
	return c.Book.Click(ctx, click)
}

// TestStopAnswersWhatHasBegun: a click that is being worked on when the
// program is told to end is answered.
func TestStopAnswersWhatHasBegun(t *testing.T) {
	t.Parallel()
	b := &slow{Book: adaptertest.NewBook(), begun: make(chan struct{}, 1), hold: make(chan struct{})}
	w := begin(t, "gateway", b, nil)
	_, id := posted(t, b.Book, w)
	clicked := make(chan error, 1)
	go func() { clicked <- w.Click(t.Context(), 0, id, adapters.ActionApprove) }()
	<-b.begun
	w.stop()
	time.AfterFunc(100*time.Millisecond, func() { close(b.hold) })
	if err := <-clicked; err != nil || w.Screen(0) == "" {
		t.Errorf("the click was not answered: %v", err)
	}
}

// slow lets clicks wait.
type slow struct {
	*adaptertest.Book
	begun, hold chan struct{}
}

func (s *slow) Click(ctx context.Context, c adapters.Click) adapters.Answer {
	s.begun <- struct{}{}
	<-s.hold
	return s.Book.Click(ctx, c)
}

// TestBusy: what is more than can be worked on at once is refused in words.
func TestBusy(t *testing.T) {
	t.Parallel()
	b := &slow{Book: adaptertest.NewBook(), begun: make(chan struct{}, 10), hold: make(chan struct{})}
	w := begin(t, "gateway", b, func(_ *discordtest.Config, c *discord.Config) { c.Workers = 1 })
	_, id := posted(t, b.Book, w)
	clicked := make(chan error, 1)
	go func() { clicked <- w.Click(t.Context(), 0, id, adapters.ActionApprove) }()
	<-b.begun
	if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	w.poll("a word", func() bool { return len(w.Notes(1)) == 1 })
	if got := w.Notes(1)[0]; got != wording.MsgBusy {
		t.Errorf("told %q", got)
	}
	close(b.hold)
	if err := <-clicked; err != nil || w.Screen(0) == "" {
		t.Errorf("the first click: %v", err)
	}
}

// TestManyInteractions: what people do leaves neither goroutines nor memory
// behind.
func TestManyInteractions(t *testing.T) {
	var ahead atomic.Int64
	b := adaptertest.NewBook()
	w := begin(t, "gateway", b, func(f *discordtest.Config, c *discord.Config) {
		f.CallLog, f.Check = interactions/5, nil // the fake's own memory must not count
		f.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	tk, id := posted(t, b, w)
	round := func(n int) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				p := w.fake.Person(userOf(i))
				for j := range n / 10 {
					if err := p.Click(t.Context(), channel, id, buttonOf(tk, "approve")); err != nil {
						t.Errorf("person %d, click %d: %v", i, j, err)
						return
					}
					p.CloseModal()
				}
			})
		}
		wg.Wait()
		ahead.Add(int64(time.Hour)) // what is remembered for minutes is forgotten
	}
	measure := func() (goroutines int, heap uint64) {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	round(interactions / 5)
	goroutines, heap := measure()
	for range 5 {
		round(interactions / 5)
	}
	round(10) // forgets the last round
	var more int
	w.poll("the goroutines end", func() bool { n, _ := measure(); more = n - goroutines; return more <= 5 })
	_, after := measure()
	if grown := int64(after) - int64(heap); grown > 4<<20 {
		t.Errorf("%d interactions left %d KiB behind", interactions, grown>>10)
	}
}

// TestOddGreetings: packets that no gateway should send end the session and
// nothing else.
func TestOddGreetings(t *testing.T) {
	t.Parallel()
	greetings := []string{
		`null`, `{}`, `7`, `[]`, `{"op":10}`, `{"op":10,"d":null}`, `{"op":10,"d":{"heartbeat_interval":0}}`, `{"op":10,"d":{"heartbeat_interval":-1}}`,
		`{"op":10,"d":{"heartbeat_interval":1e30}}`, `{"op":"x","d":{"heartbeat_interval":"y"}}`, `{"op":0,"t":"READY","d":{}}`, `{"op":11}`,
	}
	afterwards := []string{`null`, `{"op":0}`, `{"op":0,"t":7,"s":"x","d":7}`, `{"op":1}`, `{"op":1,"d":"x"}`, `{"op":99,"d":[]}`, `{"op":0,"t":"READY"}`, `not JSON`}
	var upgrader websocket.Upgrader
	var sessions atomic.Int32
	gateway := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(rw, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		n := int(sessions.Add(1)) - 1
		if n < len(greetings) {
			_ = conn.WriteMessage(websocket.TextMessage, []byte(greetings[n]))
		} else {
			for _, odd := range append([]string{`{"op":10,"d":{"heartbeat_interval":41250}}`}, afterwards...) {
				_ = conn.WriteMessage(websocket.TextMessage, []byte(odd))
			}
		}
		if n < len(greetings)+1 {
			_, _, _ = conn.ReadMessage()
			return
		}
		for { // stays
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}))
	t.Cleanup(gateway.Close)
	b := adaptertest.NewBook()
	w := prepare(t, "gateway", b, func(f *discordtest.Config, c *discord.Config) {
		quick(f, c)
		c.Gateway.Open = 500 * time.Millisecond
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			res, err := http.DefaultTransport.RoundTrip(r)
			if err == nil && strings.Contains(r.URL.Path, "/gateway") {
				_ = res.Body.Close()
				res.Body = io.NopCloser(strings.NewReader(`{"url":"ws` + strings.TrimPrefix(gateway.URL, "http") + `"}`))
				res.ContentLength = -1
			}
			return res, err
		})
	})
	w.run(b)
	w.poll("a session after every odd one", func() bool { return int(sessions.Load()) > len(greetings)+1 && w.chat.Ready() == nil })
	if strings.Contains(w.log.String(), "panic") {
		t.Error("something panicked")
	}
}
