package slacktest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Identities that [New] uses where the Config names no others.
const (
	BotToken      = "xoxb-slacktest-bot"
	AppToken      = "xapp-1-slacktest-app"
	SigningSecret = "slacktest-signing-secret"
	AppID         = "A01APP"
	TeamID        = "T01TEAM"
	BotUserID     = "U0BOT"
	BotID         = "B0BOT"
)

// DefaultScopes are the bot scopes that a token has unless Config.Scopes names others.
func DefaultScopes() []string {
	return []string{
		"chat:write", "chat:write.public", "commands", "users:read", "users:read.email", "usergroups:read",
		"channels:read", "groups:read", "im:write", "channels:history", "groups:history", "metadata.message:read",
	}
}

// Config says what kind of Slack this is. The zero value is a good one.
type Config struct {
	BotToken      string // default [BotToken]
	AppToken      string // app-level token for Socket Mode; default [AppToken]
	SigningSecret string // signs requests over HTTP; default [SigningSecret]
	AppID         string // default [AppID]
	TeamID        string // default [TeamID]
	TeamDomain    string // default "acme"
	EnterpriseID  string // the organisation that the workspace belongs to; default none
	BotUserID     string // default [BotUserID]
	BotName       string // default "countersign"

	// Scopes of the bot token; default [DefaultScopes].
	Scopes []string

	// URLs is where signed HTTP goes. An empty one means Socket Mode. See [Server.SetURLs].
	URLs URLs

	// Now dates messages, triggers, response_urls and rate limits; default time.Now.
	Now func() time.Time
	// SignNow dates signatures, apart from Now because the receiver compares
	// them with its own clock; default time.Now.
	SignNow func() time.Time

	TriggerLife     time.Duration   // how long a trigger_id can be used, by Now; default 3s
	AnswerLag       time.Duration   // how long after it has come the answer to a form takes effect, in real time; default 0
	AckWait         time.Duration   // how long the bot may take to acknowledge, in real time; default 3s
	PingEvery       time.Duration   // Socket Mode pings; default 10s
	WarnAhead       time.Duration   // from the warning that a socket ends to its end; default 10s
	HangsUp         bool            // a socket ends with its close frame and takes nothing after that; default false
	AckAnywhere     bool            // an envelope may be acknowledged over another socket; Slack does not say; default false
	RetryDelays     []time.Duration // redeliveries of an event that was not acknowledged; default 0, 1m, 5m
	RetryAll        bool            // redeliver interactions and commands too, not only events; default false
	HistoryPage     int             // most messages or members in one page; default 999
	Limits          bool            // enforce Slack's rate limits, by Now; default false
	CallLog         int             // how many calls and deliveries are kept; default 10000
	AllowArgs       []string        // arguments allowed although no page names them; Bolt sends team_id with every call
	ResponseURLLife time.Duration   // how long a response_url can be used, by Now; default 30m
}

// URLs are the request URLs of the app.
type URLs struct{ Interactions, Commands, Events string }

// Server is a fake Slack. All methods may be used from many goroutines.
type Server struct {
	cfg    Config
	base   string // scheme, host and port
	http   *http.Server
	client *http.Client
	ctx    context.Context // ends with Close; the server's own life, not a request's
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	down    bool
	latency time.Duration

	addressesHidden bool // by the workspace

	urls     URLs
	seq      int64
	lastTS   int64 // microseconds
	tokens   map[string]*token
	users    map[string]*User
	channels map[string]*Channel
	groups   map[string]*Group
	messages map[string][]*Message // by channel, oldest first
	privates map[string][]*Ephemeral
	desks    map[string]*desk // by user
	external map[string]*view // by external_id
	triggers map[string]*trigger
	replies  map[string]*responseURL
	buckets  map[string]*bucket
	faults   []*Fault

	calls      []Call
	callN      int
	counts     map[string]int
	violations []string
	deliveries []Delivery
	watchers   map[chan struct{}]bool

	tickets   map[string]*token // of Socket Mode
	conns     []*conn
	nextConn  int
	envelopes map[string]*envelope
	envOrder  []string
}

type token struct {
	app    bool
	user   string // whose user token it is
	scopes []string
	err    string // answered instead of anything else, for example token_revoked
}

// setDefaults fills in what is not set.
func (cfg *Config) setDefaults() {
	setString := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	setString(&cfg.BotToken, BotToken)
	setString(&cfg.AppToken, AppToken)
	setString(&cfg.SigningSecret, SigningSecret)
	setString(&cfg.AppID, AppID)
	setString(&cfg.TeamID, TeamID)
	setString(&cfg.TeamDomain, "acme")
	setString(&cfg.BotUserID, BotUserID)
	setString(&cfg.BotName, "countersign")
	setDuration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	setDuration(&cfg.TriggerLife, 3*time.Second)
	setDuration(&cfg.AckWait, 3*time.Second)
	setDuration(&cfg.PingEvery, 10*time.Second)
	setDuration(&cfg.WarnAhead, 10*time.Second)
	setDuration(&cfg.ResponseURLLife, 30*time.Minute)
	if cfg.Scopes == nil {
		cfg.Scopes = DefaultScopes()
	}
	if cfg.RetryDelays == nil {
		cfg.RetryDelays = []time.Duration{0, time.Minute, 5 * time.Minute}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.SignNow == nil {
		cfg.SignNow = time.Now
	}
	if cfg.HistoryPage == 0 {
		cfg.HistoryPage = 999
	}
	if cfg.CallLog == 0 {
		cfg.CallLog = 10000
	}
}

// New starts a fake Slack on a free port of 127.0.0.1.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if cfg.BotToken == cfg.AppToken {
		return nil, fmt.Errorf("bot token and app token are the same")
	}
	if _, err := specs(); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		cfg: cfg, base: "http://" + ln.Addr().String(), urls: cfg.URLs,
		tokens: map[string]*token{
			cfg.BotToken: {scopes: slices.Clone(cfg.Scopes)},
			cfg.AppToken: {app: true, scopes: []string{"connections:write"}},
		},
		users: map[string]*User{}, channels: map[string]*Channel{}, groups: map[string]*Group{},
		messages: map[string][]*Message{}, privates: map[string][]*Ephemeral{}, desks: map[string]*desk{},
		external: map[string]*view{}, triggers: map[string]*trigger{}, replies: map[string]*responseURL{},
		buckets: map[string]*bucket{}, counts: map[string]int{}, watchers: map[chan struct{}]bool{},
		tickets: map[string]*token{}, envelopes: map[string]*envelope{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.client = &http.Client{
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 32},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.AddUser(User{ID: cfg.BotUserID, Name: cfg.BotName, RealName: cfg.BotName, Bot: true})
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ErrorLog:          log.New(io.Discard, "", 0), // dropped connections are meant
		ReadHeaderTimeout: 10 * time.Second,
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		_ = s.http.Serve(ordered{ln}) // ends with Close
	}()
	return s, nil
}

// ordered is a listener whose connections write each piece by itself. What a
// socket writes in one call (writev) the race detector does not take for
// happening before it is read.
type ordered struct{ net.Listener }

func (o ordered) Accept() (net.Conn, error) {
	c, err := o.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

// URL is the address of the Web API, "http://127.0.0.1:PORT/api/".
func (s *Server) URL() string { return s.base + "/api/" }

// Close ends every connection and waits until nothing of the server runs any more.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.wg.Wait()
		return
	}
	s.closed = true
	for w := range s.watchers {
		delete(s.watchers, w)
		close(w)
	}
	s.mu.Unlock()
	s.cancel()         // closes the sockets too
	_ = s.http.Close() // every connection is to end anyway
	s.wg.Wait()
	s.client.CloseIdleConnections()
}

// begin joins a goroutine or request to those that Close waits for.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

// SetURLs says where signed HTTP goes from now on. An empty URL means Socket
// Mode for that kind of request.
func (s *Server) SetURLs(u URLs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.urls = u
}

// SetDown makes a total outage (true) or ends it: every request is dropped
// without an answer and every socket is closed.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	s.down = down
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	if down {
		for _, c := range conns {
			c.ws.Close()
		}
	}
}

// SetLatency delays every answer of the Web API by d, in real time.
func (s *Server) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.wg.Done()
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		panic(http.ErrAbortHandler)
	}
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/api/"):
		s.serveAPI(w, r, strings.TrimPrefix(path, "/api/"))
	case strings.HasPrefix(path, "/response/"):
		s.serveResponseURL(w, r)
	case path == "/link":
		s.serveSocket(w, r)
	default:
		http.NotFound(w, r)
	}
}

// wait ends after d, or early with false when the request or the server ends.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return false
}

// Violations lists what the bot did that it must never do: arguments that
// Slack does not document, acks with the wrong content, and the like. It is
// empty for a well-behaved bot.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *Server) violate(format string, args ...any) {
	if len(s.violations) < 1000 {
		s.violations = append(s.violations, fmt.Sprintf(format, args...))
	}
}

// Changes reports that something visible changed: a message, a form, an
// ephemeral message. Reports are coalesced: read the state again after each.
// The channel closes when ctx or the server ends.
func (s *Server) Changes(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || ctx.Err() != nil {
		close(ch)
		return ch
	}
	s.watchers[ch] = true
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watchers[ch] {
			delete(s.watchers, ch)
			close(ch)
		}
	})
	return ch
}

func (s *Server) changed() {
	for w := range s.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// id makes an id that looks like Slack's and is unique in this server.
func (s *Server) id(prefix string) string {
	s.seq++
	return prefix + strings.ToUpper(fmt.Sprintf("%07s", base36(s.seq)))
}

func base36(n int64) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	var b []byte
	for ; n > 0; n /= 36 {
		b = append(b, digits[n%36])
	}
	slices.Reverse(b)
	return string(b)
}

// ts makes a message timestamp: seconds with six decimals, unique and growing.
func (s *Server) ts() string {
	now := s.cfg.Now().UnixMicro()
	s.lastTS = max(now, s.lastTS+1)
	return fmt.Sprintf("%d.%06d", s.lastTS/1e6, s.lastTS%1e6)
}

func nonce() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails: crypto/rand.Read's documentation
	return hex.EncodeToString(b)
}

// marshal writes JSON without turning &, < and > into escapes, as Slack does.
func marshal(v any) json.RawMessage {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("slacktest: marshal %T: %v", v, err)) // only values that this package built
	}
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}
