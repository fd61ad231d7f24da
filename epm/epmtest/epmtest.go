// Package epmtest is a fake of BeyondTrust Endpoint Privilege Management: the
// cloud's token endpoint, the just-in-time part of its management API and its
// webhook sender, on a loopback address. It is named like net/http/httptest
// and serves two readers: the tests, which make it fail in every way the real
// one can, and the demo command, which shows it as an endpoint where people
// ask for access.
//
// The fake has its own wire structs and its own copy of the vendor's webhook
// templates, so that a mistake in package epm cannot agree with itself here.
// Where the vendor documents nothing (error bodies, a second decision, paging
// order), the answer is a plausible one and a Config field changes it.
//
// A server is created with [New], holds requests that are raised with
// [Server.RequestApp] and [Server.RequestAdmin], takes decisions from its API
// or from [Server.DecideInConsole], and is made to fail with [Server.Fail],
// [Server.SetMode] and [Server.SetDown]. What happened is read back from
// [Server.Decisions], [Server.Calls], [Server.Deliveries] and
// [Server.Violations].
//
// It does not model endpoints, policies, audits, or the end of a granted
// session, and it checks no rights of the person named in a decision, because
// the vendor does not either.
//
// Sources: https://docs.beyondtrust.com/epm-wm/docs/api,
// https://docs.beyondtrust.com/epm-wm/v25.5/reference/authorizationrequest,
// https://docs.beyondtrust.com/epm-wm/v25.7/reference/adminaccessrequest,
// https://docs.beyondtrust.com/epm-wm/docs/webhook-settings.
package epmtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Where a decision goes unless Config says otherwise. The application path is
// documented, the suffix of the admin path is not.
const (
	DefaultAppDecisionPath   = "/management-api/v2/AuthorizationRequest/notification"
	DefaultAdminDecisionPath = "/management-api/v2/AdminAccessRequest/approval"
)

// TimeLayout is how EPM writes and reads times without a zone; they are UTC.
const TimeLayout = "2006-01-02 15:04:05"

// ErrUnknownRequest means that EPM has no request with that id or number.
var ErrUnknownRequest = errors.New("no such request in EPM")

// ErrPending means that a request has no decision that could be sent.
var ErrPending = errors.New("the request is not decided")

// ErrNoWebhook means that no webhook address is configured, so nothing was sent.
var ErrNoWebhook = errors.New("no webhook is configured")

// ErrClosed means that the server was closed.
var ErrClosed = errors.New("the server is closed")

// Config describes a tenant. ClientID and ClientSecret are required.
type Config struct {
	ClientID     string
	ClientSecret string

	// TokenLife is how long a token is good for, by Now; default 3600 s.
	TokenLife time.Duration
	// Listen is the address to listen on; default 127.0.0.1:0.
	Listen string
	// AppDecisionPath takes decisions about applications; default
	// DefaultAppDecisionPath. Version 2 in a path also stands for version 3
	// and the other way round.
	AppDecisionPath string
	// AdminDecisionPath takes decisions about admin access; default
	// DefaultAdminDecisionPath.
	AdminDecisionPath string

	// WebhookURL is where events are posted; default none. SetWebhook changes it.
	WebhookURL string
	// WebhookUser and WebhookPassword are sent as Basic auth; default none.
	WebhookUser     string
	WebhookPassword string
	// WebhookClient posts the events; default a client with a timeout of 10 s
	// that follows no redirects and uses no proxy.
	WebhookClient *http.Client
	// Retry says how a webhook that got no 2xx is repeated; default 3 more
	// times, 50, 100 and 150 ms apart.
	Retry Retry
	// Body is how webhook bodies are written unless a call says otherwise;
	// default escaped values, nothing broken.
	Body BodyOptions
	// WebhookTimeLayout is the layout of times in webhooks; default TimeLayout.
	WebhookTimeLayout string

	// Now is the clock for tokens, decisions and the rate limit; default time.Now.
	Now func() time.Time
	// AutoConfirm sends the update webhook by itself after every decision
	// that took effect; default false.
	AutoConfirm bool
	// ConfirmAfter is how long AutoConfirm waits, by the machine's clock;
	// default 0 s.
	ConfirmAfter time.Duration

	// EqualAnswer is the status for a decision that repeats the one in
	// effect; default 200.
	EqualAnswer int
	// DifferentAnswer is the status for a decision that contradicts the one
	// in effect; default 409. With a 2xx the later decision takes effect.
	DifferentAnswer int
	// RefuseAdminOnce answers 400 to the duration "Once" for admin access,
	// for a tenant that wants seconds; default false.
	RefuseAdminOnce bool
	// OwnRecordIDs gives records an id of their own, so that reading an
	// application's record by its request id answers 404; default false.
	OwnRecordIDs bool
	// OldestFirst lists the oldest record first when the caller asks for no
	// order; default false, newest first.
	OldestFirst bool
	// NoSwagger hides the API description under /management-api/swagger/;
	// default false.
	NoSwagger bool

	// RateLimit is how many requests pass per RateWindow, by Now; more are
	// answered with 429. Default 1000, negative means no limit.
	RateLimit int
	// RateWindow is the length of the rate limit's window; default 100 s.
	RateWindow time.Duration
	// SlowBy is how long Slow holds every answer; default 3 s.
	SlowBy time.Duration
	// TenantID is the tenant in webhooks; default a random uuid.
	TenantID string
	// FirstNumber is the number of the first ticket; default 238, EPM000238.
	FirstNumber int
}

// String hides the secrets.
func (c Config) String() string {
	return fmt.Sprintf("epmtest.Config{ClientID: %s, ClientSecret: [secret], WebhookPassword: [secret]}", c.ClientID)
}

// GoString hides the secrets.
func (c Config) GoString() string { return c.String() }

// Retry says how often and how fast a webhook is repeated that got no 2xx.
// How EPM itself does it is not documented.
type Retry struct {
	// Off sends each event once; default false.
	Off bool
	// Times is how many more times an event is sent; default 3.
	Times int
	// Wait is the pause before the first repetition; the n-th waits n times
	// as long. Default 50 ms.
	Wait time.Duration
}

// Server is a fake EPM tenant. All methods may be called at any time from
// several goroutines.
type Server struct {
	cfg      Config
	now      func() time.Time
	url      string
	listener *cuttable
	http     *http.Server
	ctx      context.Context // ends with Close: held answers and webhooks on their way
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	secret    string
	tokens    map[string]time.Time // until when each token is good
	webhook   webhook
	mode      Mode
	forbidden Endpoint
	faults    []*fault
	window    []time.Time // requests inside the rate limit's window, oldest first
	requests  map[string]*request
	byNumber  map[string]*request
	order     []*request
	odd       map[Kind][]json.RawMessage // listed after the requests
	swaggers  map[string]string          // what is served as the API description, by path

	swaggerLocked bool
	number        int
	decisions     map[string][]Decision
	violations    []string
	calls         ring[Call]
	counts        map[Endpoint]int
	deliveries    ring[Delivery]
	subscribers   map[chan struct{}]struct{}
}

type webhook struct{ url, user, password string }

// New starts a fake EPM. The error names what is missing in cfg, or says why
// the address could not be taken.
func New(cfg Config) (*Server, error) {
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		return nil, errors.New("epmtest: ClientID and ClientSecret are required")
	}
	cfg.TokenLife = cmp.Or(cfg.TokenLife, time.Hour)
	cfg.Listen = cmp.Or(cfg.Listen, "127.0.0.1:0")
	cfg.AppDecisionPath = cmp.Or(cfg.AppDecisionPath, DefaultAppDecisionPath)
	cfg.AdminDecisionPath = cmp.Or(cfg.AdminDecisionPath, DefaultAdminDecisionPath)
	cfg.WebhookTimeLayout = cmp.Or(cfg.WebhookTimeLayout, TimeLayout)
	cfg.Retry.Times = cmp.Or(cfg.Retry.Times, 3)
	cfg.Retry.Wait = cmp.Or(cfg.Retry.Wait, 50*time.Millisecond)
	cfg.EqualAnswer = cmp.Or(cfg.EqualAnswer, http.StatusOK)
	cfg.DifferentAnswer = cmp.Or(cfg.DifferentAnswer, http.StatusConflict)
	cfg.RateLimit = cmp.Or(cfg.RateLimit, 1000)
	cfg.RateWindow = cmp.Or(cfg.RateWindow, 100*time.Second)
	cfg.SlowBy = cmp.Or(cfg.SlowBy, 3*time.Second)
	cfg.FirstNumber = cmp.Or(cfg.FirstNumber, 238)
	cfg.TenantID = cmp.Or(cfg.TenantID, newUUID())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.WebhookClient == nil {
		cfg.WebhookClient = &http.Client{
			Timeout:       10 * time.Second,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	for _, p := range []string{cfg.AppDecisionPath, cfg.AdminDecisionPath} {
		if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") {
			return nil, fmt.Errorf("epmtest: decision path %q must begin with one slash and hold no double slash", p)
		}
		if createsAdminRequest(p) {
			return nil, fmt.Errorf("epmtest: decision path %q creates requests, it decides none", p)
		}
	}
	if normalPath(cfg.AppDecisionPath) == normalPath(cfg.AdminDecisionPath) {
		return nil, errors.New("epmtest: both kinds of decision have the same path")
	}
	if cfg.WebhookURL != "" {
		if _, err := url.ParseRequestURI(cfg.WebhookURL); err != nil {
			return nil, errors.New("epmtest: WebhookURL is not a URL")
		}
	}

	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("epmtest: listen: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		cfg:         cfg,
		now:         cfg.Now,
		url:         "http://" + l.Addr().String(),
		listener:    &cuttable{Listener: l, open: map[net.Conn]struct{}{}},
		ctx:         ctx,
		stop:        stop,
		secret:      cfg.ClientSecret,
		tokens:      map[string]time.Time{},
		webhook:     webhook{cfg.WebhookURL, cfg.WebhookUser, cfg.WebhookPassword},
		mode:        Normal,
		requests:    map[string]*request{},
		byNumber:    map[string]*request{},
		odd:         map[Kind][]json.RawMessage{},
		swaggers:    map[string]string{},
		number:      cfg.FirstNumber,
		decisions:   map[string][]Decision{},
		calls:       ring[Call]{max: 4096},
		counts:      map[Endpoint]int{},
		deliveries:  ring[Delivery]{max: 1024},
		subscribers: map[chan struct{}]struct{}{},
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet()}
	s.running.Go(func() { _ = s.http.Serve(s.listener) })
	return s, nil
}

// URL is the base address, http://127.0.0.1:PORT without a trailing slash.
func (s *Server) URL() string { return s.url }

// String is the address and nothing else.
func (s *Server) String() string { return "epmtest.Server " + s.url }

// GoString is the address and nothing else.
func (s *Server) GoString() string { return s.String() }

// Close cuts every connection, stops the webhooks that are on their way and
// waits for both. It may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	_ = s.http.Close()
	s.listener.cut()
	s.running.Wait()
	s.cfg.WebhookClient.CloseIdleConnections()
}

// SetWebhook says where events are posted from now on and with which Basic
// auth. An empty address switches webhooks off.
func (s *Server) SetWebhook(address, user, password string) {
	s.mu.Lock()
	s.webhook = webhook{address, user, password}
	s.mu.Unlock()
	s.changed()
}

// TenantID is the tenant that webhooks name.
func (s *Server) TenantID() string { return s.cfg.TenantID }

// RevokeTokens makes every token that was handed out worthless, as EPM does
// when the secret is regenerated.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	clear(s.tokens)
	s.mu.Unlock()
}

// RotateSecret replaces the client secret, revokes all tokens and returns the
// new secret.
func (s *Server) RotateSecret() string {
	secret := rand.Text()
	s.mu.Lock()
	s.secret = secret
	clear(s.tokens)
	s.mu.Unlock()
	return secret
}

// Violations lists what a client did that would be dangerous in a real
// tenant: posting to the address that creates admin requests. Tests expect
// none.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.violations...)
}

// Subscribe returns a channel that gets a value after something changed:
// requests, decisions, calls, deliveries, faults. Several changes may arrive
// as one value. The function ends the subscription.
func (s *Server) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	s.subscribers[ch] = struct{}{}
	s.mu.Unlock()
	return ch, func() {
		s.mu.Lock()
		delete(s.subscribers, ch)
		s.mu.Unlock()
	}
}

// Wait returns nil as soon as done returns true; it asks again after every
// change. It returns the context's error when ctx ends first and ErrClosed
// when the server is closed first.
func (s *Server) Wait(ctx context.Context, done func() bool) error {
	changes, unsubscribe := s.Subscribe()
	defer unsubscribe()
	// done may look at things that the server does not know of.
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if done() {
			return nil
		}
		select {
		case <-changes:
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return ErrClosed
		}
	}
}

func (s *Server) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changedLocked()
}

func (s *Server) changedLocked() {
	for ch := range s.subscribers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// start runs f until it returns; Close waits for it. It reports false when the
// server is already closed.
func (s *Server) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Go(f)
	return true
}

// pause waits, and reports whether the whole time passed before a context ended.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil && s.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.ctx.Done():
		return false
	}
}

// newUUID returns a random uuid, version 4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// ring keeps the newest max values.
type ring[T any] struct {
	max    int
	next   int // where the next value goes once the ring is full
	values []T
}

func (r *ring[T]) add(v T) {
	if len(r.values) < r.max {
		r.values = append(r.values, v)
		return
	}
	r.values[r.next] = v
	r.next = (r.next + 1) % r.max
}

// all returns a copy, oldest first.
func (r *ring[T]) all() []T {
	out := make([]T, 0, len(r.values))
	out = append(out, r.values[r.next:]...)
	return append(out, r.values[:r.next]...)
}
