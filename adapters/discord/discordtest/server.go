package discordtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Identities that [New] uses where the Config names no others. The application
// and its bot user have different ids, as those of old applications have.
const (
	BotToken      = "discordtest.bot.token"
	ApplicationID = "1100000000000000001"
	BotUserID     = "1100000000000000002"
	GuildID       = "1100000000000000003" // also the id of the role @everyone
	OwnerID       = "1100000000000000004" // owns the guild and the application
	BotRoleID     = "1100000000000000005" // the managed role of the bot
)

// Config says what kind of Discord this is. The zero value is a good one.
type Config struct {
	BotToken      string // default [BotToken]
	ApplicationID string // default [ApplicationID]
	BotUserID     string // default [BotUserID]
	BotName       string // default "countersign"
	GuildID       string // default [GuildID]
	GuildName     string // default "Acme"

	// InteractionsURL is where signed interactions go, unchecked. Default ""
	// means the gateway. See [Server.SetInteractionsURL].
	InteractionsURL string

	// Listener is where the fake listens; default a free port of this machine.
	Listener net.Listener
	// Now dates messages, ids, tokens and rate limits; default time.Now.
	Now func() time.Time
	// SignNow dates signatures, apart from Now because the receiver compares
	// them with its own clock; default time.Now.
	SignNow func() time.Time

	AckWait     time.Duration // how long the bot may take to answer an interaction, in real time; default 3s
	TokenLife   time.Duration // how long an interaction's token works, by Now; default 15m
	NonceWindow time.Duration // how long enforce_nonce remembers, by Now; default 5m

	Heartbeat        time.Duration // heartbeat_interval of HELLO; default 41.25s
	IgnoreHeartbeats bool          // never acknowledge a heartbeat; default false. See [Server.AckHeartbeats]
	IdentifyEvery    time.Duration // an IDENTIFY sooner than this after another is a violation, in real time; default 0 (any pace)

	// Limits enforces rate limits by Now: 5 posts per 5 s and channel, 3 edits
	// of messages older than an hour per 6 s and channel, 50 requests per
	// second; default false.
	Limits  bool
	CallLog int // how many calls and deliveries are kept; default 10000

	// Check is called for every REST request with its 2xx answer, and for
	// answers to interactions that came inline over HTTP. What it returns
	// becomes violations. It may be called from many goroutines at once;
	// default none.
	Check func(Exchange) []string
}

// Exchange is a request to the REST API with its answer.
type Exchange struct {
	Method       string
	Path         string // as in the request line, with /api/v10 and the query
	Header       http.Header
	Body         []byte
	Status       int
	AnswerHeader http.Header
	Answer       []byte
}

// Server is a fake Discord. All methods may be used from many goroutines.
type Server struct {
	cfg     Config
	base    string // scheme, host and port
	http    *http.Server
	client  *http.Client
	public  ed25519.PublicKey
	private ed25519.PrivateKey
	ctx     context.Context // ends with Close; the server's own life, not a request's
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	down     bool
	latency  time.Duration
	url      string // where interactions go; "" is the gateway
	revoked  bool
	refused  int // calls with a bad token since the token was good
	gone     bool
	lastID   int64
	users    map[string]*User
	roles    map[string]*Role
	channels map[string]*Channel
	closedDM map[string]bool       // by user
	messages map[string][]*message // by channel, oldest first
	privates map[string][]*message // ephemeral ones by user, oldest first
	nonces   map[string]*nonce
	forms    map[string]*form // what each user has open
	buckets  map[string]*bucket
	faults   []*Fault

	commands []map[string]any
	writes   int // of commands

	interactions map[string]*interaction // by token

	calls      []Call
	callN      int
	counts     map[string]int
	invalid    int
	violations []string
	deliveries []*Delivery
	watchers   map[chan struct{}]bool

	gateway       string // host and port that the API names
	conns         []*conn
	sessions      map[string]*session
	gatewayDown   bool
	ignoreBeats   bool
	gatewayFaults []*GatewayFault
	identifies    int
	limitFrom     time.Time // when the first of limitUsed was started
	limitUsed     int       // IDENTIFYs that count towards the limit of a day
	refuseResumes bool
	resumes       int
	beats         int
	lastIdentify  time.Time
}

// New starts a fake Discord on a free port of 127.0.0.1.
func New(cfg Config) (*Server, error) {
	setString := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	setString(&cfg.BotToken, BotToken)
	setString(&cfg.ApplicationID, ApplicationID)
	setString(&cfg.BotUserID, BotUserID)
	setString(&cfg.BotName, "countersign")
	setString(&cfg.GuildID, GuildID)
	setString(&cfg.GuildName, "Acme")
	setDuration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	setDuration(&cfg.AckWait, 3*time.Second)
	setDuration(&cfg.TokenLife, 15*time.Minute)
	setDuration(&cfg.NonceWindow, 5*time.Minute)
	setDuration(&cfg.Heartbeat, 41250*time.Millisecond)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.SignNow == nil {
		cfg.SignNow = time.Now
	}
	if cfg.CallLog == 0 {
		cfg.CallLog = 10000
	}
	for name, id := range map[string]string{"application id": cfg.ApplicationID, "bot user id": cfg.BotUserID, "guild id": cfg.GuildID} {
		if !isSnowflake(id) {
			return nil, fmt.Errorf("%s %q is not a snowflake", name, id)
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	ln := cfg.Listener
	if ln == nil {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	s := &Server{
		cfg: cfg, base: "http://" + ln.Addr().String(), gateway: ln.Addr().String(), url: cfg.InteractionsURL, public: public, private: private,
		ignoreBeats: cfg.IgnoreHeartbeats,
		users:       map[string]*User{}, roles: map[string]*Role{}, channels: map[string]*Channel{}, closedDM: map[string]bool{},
		messages: map[string][]*message{}, privates: map[string][]*message{}, nonces: map[string]*nonce{},
		forms: map[string]*form{}, buckets: map[string]*bucket{}, interactions: map[string]*interaction{},
		counts: map[string]int{}, watchers: map[chan struct{}]bool{}, sessions: map[string]*session{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.client = &http.Client{
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 32},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.AddRole(Role{ID: cfg.GuildID, Name: "@everyone", Permissions: everyonePermissions})
	s.AddRole(Role{ID: BotRoleID, Name: cfg.BotName, Permissions: BotPermissions, managed: true})
	s.AddUser(User{ID: OwnerID, Username: "owner", GlobalName: "Owner"})
	s.AddUser(User{ID: cfg.BotUserID, Username: cfg.BotName, Bot: true, Roles: []string{BotRoleID}})
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ErrorLog:          log.New(io.Discard, "", 0), // dropped connections are meant
		ReadHeaderTimeout: 10 * time.Second,
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		_ = s.http.Serve(ln) // ends with Close
	}()
	return s, nil
}

// URL is scheme, host and port, "http://127.0.0.1:PORT": what replaces
// https://discord.com in every address of the API. The gateway listens on the
// same port; its address comes from GET /gateway.
func (s *Server) URL() string { return s.base }

// PublicKey is the application's key that signatures are checked with, in hex.
func (s *Server) PublicKey() string { return hex.EncodeToString(s.public) }

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
	s.cancel()         // closes the gateway's connections too
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

// SetDown makes a total outage (true) or ends it: every request is dropped
// without an answer and every connection of the gateway is cut.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
	if down {
		s.Drop()
	}
}

// SetLatency delays every answer of the REST API by d, in real time.
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
	if strings.HasPrefix(r.URL.Path, "/api/") {
		s.serveAPI(w, r)
		return
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		s.serveGateway(w, r)
		return
	}
	http.NotFound(w, r)
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

// Violations lists what the bot did that it must never do: JSON keys that
// Discord does not document, mentions left open, and the like. It is empty for
// a well-behaved bot.
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
// ephemeral message, a connection. Reports are coalesced: read the state again
// after each. The channel closes when ctx or the server ends.
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

// epoch is the first millisecond of 2015, where snowflakes begin
// (discord.com/developers/docs/reference, "Snowflakes").
const epoch = 1420070400000

// id makes a snowflake of Now that is unique in this server and grows.
func (s *Server) id() string {
	now := (s.cfg.Now().UnixMilli() - epoch) << 22
	s.lastID = max(now, s.lastID+1)
	return strconv.FormatInt(s.lastID, 10)
}

func isSnowflake(id string) bool {
	n, err := strconv.ParseUint(id, 10, 63)
	return err == nil && n > 0
}

// older compares snowflakes, which may differ in length.
func older(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

func secret(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand.Read's documentation
	return hex.EncodeToString(b)
}

// marshal writes JSON without turning &, < and > into escapes, as Discord does.
func marshal(v any) json.RawMessage {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("discordtest: marshal %T: %v", v, err)) // only values that this package built
	}
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}

// decode keeps numbers as they were written.
func decode(data []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}
