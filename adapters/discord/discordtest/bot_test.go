package discordtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/discord/discordtest/spec"
	"github.com/gorilla/websocket"
)

const (
	epm     = "1200000000000000001"
	ann     = "1300000000000000001"
	bob     = "1300000000000000002"
	appRole = "1400000000000000001"
)

const none = `"allowed_mentions":{"parse":[]}`

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock                   { return &clock{t: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)} }
func (c *clock) Now() time.Time          { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) Advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func newFake(t *testing.T, cfg discordtest.Config) *discordtest.Server {
	t.Helper()
	checker, err := spec.New()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Check = func(e discordtest.Exchange) []string {
		return checker.Exchange(e.Method, e.Path, e.Header, e.Body, e.Status, e.AnswerHeader, e.Answer)
	}
	s, err := discordtest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.AddRole(discordtest.Role{ID: appRole, Name: "approvers"})
	s.AddUser(discordtest.User{ID: ann, Username: "ann", GlobalName: "Ann Approver", Roles: []string{appRole}})
	s.AddUser(discordtest.User{ID: bob, Username: "bob"})
	s.AddChannel(discordtest.Channel{ID: epm, Name: "epm"})
	return s
}

func noViolations(t *testing.T, s *discordtest.Server) {
	t.Helper()
	for _, v := range s.Violations() {
		t.Errorf("violation: %s", v)
	}
}

func oneViolation(t *testing.T, s *discordtest.Server, part string) {
	t.Helper()
	v := s.Violations()
	if len(v) != 1 || !strings.Contains(v[0], part) {
		t.Errorf("violations = %q, want one with %q", v, part)
	}
}

// hang bounds each wait: it is far above what a busy machine needs.
const hang = 2 * time.Minute

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(hang)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// answer is what a REST call came back with.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
	list   []any
	err    error
}

func (a answer) code() int {
	n, _ := a.body["code"].(float64)
	return int(n)
}

func (a answer) str(key string) string {
	v, _ := a.body[key].(string)
	return v
}

// rest calls the API with the bot's token.
func rest(s *discordtest.Server, method, path, body string) answer {
	return restWith(s, method, path, body, http.Header{
		"Authorization": {"Bot " + discordtest.BotToken}, "Content-Type": {"application/json"},
		"User-Agent": {"DiscordBot (https://github.com/countersign/countersign, test)"},
	})
}

func restWith(s *discordtest.Server, method, path, body string, h http.Header) answer {
	req, err := http.NewRequest(method, s.URL()+"/api/v10"+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header = h
	if body == "" {
		req.Header.Del("Content-Type")
	}
	client := &http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.raw, a.err = io.ReadAll(resp.Body)
	_ = json.Unmarshal(a.raw, &a.body) // either of them
	_ = json.Unmarshal(a.raw, &a.list)
	return a
}

func want(t *testing.T, what string, a answer, status, code int) {
	t.Helper()
	if a.err != nil || a.status != status || a.code() != code {
		t.Errorf("%s: %v, status %d, code %d, want %d, %d: %s", what, a.err, a.status, a.code(), status, code, a.raw)
	}
}

func post(t *testing.T, s *discordtest.Server, body string) string {
	t.Helper()
	a := rest(s, "POST", "/channels/"+epm+"/messages", body)
	want(t, "post", a, 200, 0)
	return a.str("id")
}

// bot is a small bot on the gateway.
type bot struct {
	t      *testing.T
	s      *discordtest.Server
	ws     *websocket.Conn
	mu     sync.Mutex
	writes sync.Mutex
	seen   []packet
	err    error
	ended  chan struct{}
	// on answers interactions; called in the order in which they come.
	on func(in interaction)
}

type packet struct {
	Op int             `json:"op"`
	T  string          `json:"t"`
	S  int             `json:"s"`
	D  json.RawMessage `json:"d"`
}

type interaction struct {
	s       *discordtest.Server
	raw     json.RawMessage
	ID      string `json:"id"`
	AppID   string `json:"application_id"`
	Token   string `json:"token"`
	Type    int    `json:"type"`
	Guild   string `json:"guild_id"`
	Channel string `json:"channel_id"`
	Member  struct {
		User        struct{ ID, Username string } `json:"user"`
		Roles       []string                      `json:"roles"`
		Permissions string                        `json:"permissions"`
	} `json:"member"`
	User    struct{ ID string } `json:"user"`
	Message *struct {
		ID    string `json:"id"`
		Flags int    `json:"flags"`
	} `json:"message"`
	Data struct {
		Name       string          `json:"name"`
		CustomID   string          `json:"custom_id"`
		Options    json.RawMessage `json:"options"`
		Components json.RawMessage `json:"components"`
		Values     []string        `json:"values"`
	} `json:"data"`
}

func (in interaction) callback(body string) answer {
	return rest(in.s, "POST", "/interactions/"+in.ID+"/"+in.Token+"/callback", body)
}

func (in interaction) hook(method, path, body string) answer {
	return rest(in.s, method, "/webhooks/"+in.AppID+"/"+in.Token+path, body)
}

func dial(t *testing.T, s *discordtest.Server) *bot {
	t.Helper()
	url := rest(s, "GET", "/gateway", "").str("url")
	ws, _, err := websocket.DefaultDialer.Dial(url+"/?v=10&encoding=json", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bot{t: t, s: s, ws: ws, ended: make(chan struct{})}
	t.Cleanup(func() { ws.Close(); <-b.ended })
	return b
}

// run reads until the connection ends.
func (b *bot) run() {
	go func() {
		defer close(b.ended)
		var handlers sync.WaitGroup
		defer handlers.Wait()
		for {
			_, raw, err := b.ws.ReadMessage()
			if err != nil {
				b.mu.Lock()
				b.err = err
				b.mu.Unlock()
				return
			}
			var p packet
			if err := json.Unmarshal(raw, &p); err != nil {
				b.t.Errorf("gateway: %v", err)
			}
			b.mu.Lock()
			b.seen = append(b.seen, p)
			on := b.on
			b.mu.Unlock()
			if p.Op == 1 {
				b.send(1, nil)
			}
			if p.T == "INTERACTION_CREATE" && on != nil {
				in := interaction{s: b.s, raw: p.D}
				if err := json.Unmarshal(p.D, &in); err != nil {
					b.t.Errorf("interaction: %v", err)
				}
				handlers.Add(1)
				go func() { defer handlers.Done(); on(in) }()
			}
		}
	}()
}

func (b *bot) send(op int, d any) {
	raw, _ := json.Marshal(map[string]any{"op": op, "d": d})
	b.writes.Lock()
	defer b.writes.Unlock()
	_ = b.ws.WriteMessage(websocket.TextMessage, raw) // the read side tells what happened
}

func (b *bot) identify(intents int) {
	b.send(2, map[string]any{"token": discordtest.BotToken, "intents": intents, "properties": map[string]any{"os": "test", "browser": "test", "device": "test"}})
}

func (b *bot) got(match func(packet) bool) (packet, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.seen {
		if match(p) {
			return p, true
		}
	}
	return packet{}, false
}

func (b *bot) wait(what string, match func(packet) bool) packet {
	b.t.Helper()
	var found packet
	eventually(b.t, what, func() (ok bool) { found, ok = b.got(match); return ok })
	return found
}

func op(n int) func(packet) bool          { return func(p packet) bool { return p.Op == n } }
func event(name string) func(packet) bool { return func(p packet) bool { return p.T == name } }

// closed waits for the end of the connection and tells its code.
func (b *bot) closed() int {
	b.t.Helper()
	select {
	case <-b.ended:
	case <-time.After(hang):
		b.t.Fatal("the connection was not closed")
	}
	var ce *websocket.CloseError
	if errors.As(b.err, &ce) {
		return ce.Code
	}
	return 0
}

// newBot is a bot that is READY and answers interactions with on.
func newBot(t *testing.T, s *discordtest.Server, on func(in interaction)) *bot {
	t.Helper()
	b := dial(t, s)
	b.on = on
	b.run()
	b.wait("HELLO", op(10))
	b.identify(0)
	b.wait("READY", event("READY"))
	return b
}

func compact(t *testing.T, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func repeat(n int, f func(i int) string) string {
	var parts []string
	for i := range n {
		parts = append(parts, f(i))
	}
	return strings.Join(parts, ",")
}

const card = `{"flags":32768,"components":[{"type":17,"accent_color":16763904,"components":[{"type":10,"content":"JIT-1042: ann wants root"},
 {"type":1,"components":[{"type":2,"style":3,"label":"Approve","custom_id":"approve:JIT-1042"},{"type":2,"style":4,"label":"Deny","custom_id":"deny:JIT-1042"},
 {"type":2,"style":2,"label":"Old","custom_id":"old","disabled":true}]}]}],` + none + `}`

const form = `{"type":9,"data":{"custom_id":"approve:JIT-1042","title":"Approve JIT-1042","components":[
 {"type":18,"label":"Reason","component":{"type":4,"custom_id":"reason","style":2,"min_length":2,"max_length":10,"required":true}},
 {"type":18,"label":"Duration","component":{"type":21,"custom_id":"unit","options":[
   {"label":"Once","value":"once","default":true},{"label":"Minutes","value":"minutes"},{"label":"Hours","value":"hours"}]}},
 {"type":18,"label":"Amount","description":"Minutes 5-1440 or hours 1-24; empty for once",
  "component":{"type":4,"custom_id":"amount","style":1,"max_length":4,"required":false}}]}}`

func message(kind, flags int, content string) string {
	return fmt.Sprintf(`{"type":%d,"data":{"content":%q,"flags":%d,%s}}`, kind, content, flags, none)
}
