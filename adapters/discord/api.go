package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// The routes that are counted, or named in errors, in more than one place.
const (
	routeMessages = "/channels/{channel}/messages"
	routeMessage  = "/channels/{channel}/messages/{message}"
	routeThreads  = "/channels/{channel}/messages/{message}/threads"
	routeMember   = "/guilds/{guild}/members/{user}"
	routeCommands = "/applications/{application}/guilds/{guild}/commands"
	routeCallback = "/interactions/{interaction}/{token}/callback"
	routeFollowUp = "/webhooks/{application}/{token}"
	routeOriginal = "/webhooks/{application}/{token}/messages/@original"
)

// request is one call of the API.
type request struct {
	method  string
	route   string // the path as documented, for errors and limits; never with a token
	path    string // what is called; may hold an interaction's token
	channel string // in which the call is counted; may be empty
	effect  bool   // writes something that must not happen twice
	old     bool   // edits a message older than an hour
	body    any    // sent as JSON; nil for none
	picture []byte // a PNG called [pictureName] that goes beside body; nil for none
}

// maxAnswer bounds an answer, in bytes, as it is after it was decompressed: a
// page of 100 large messages stays well below.
const maxAnswer = 8 << 20

// userAgent is what Discord asks for
// (discord.com/developers/docs/reference#user-agent).
const userAgent = "DiscordBot (https://github.com/countersign/countersign, 1)"

// api makes calls through the library, without what it does on its own: its
// limiter waits beyond a context's end and keeps a bucket for each
// interaction for ever; its retries send a message four times.
type api struct {
	session *discordgo.Session
	base    string   // of every path, as the library knows it
	host    *url.URL // that is called in its place
}

func newAPI(cfg Config, host *url.URL) (*api, error) {
	s, err := newSession(cfg, host)
	if err != nil {
		return nil, err
	}
	return &api{session: s, base: strings.TrimSuffix(discordgo.EndpointAPI, "/"), host: host}, nil
}

// newSession is a session of the library that does nothing by itself.
func newSession(cfg Config, host *url.URL) (*discordgo.Session, error) {
	s, err := discordgo.New("Bot " + cfg.BotToken)
	if err != nil {
		return nil, err
	}
	s.Client = &http.Client{
		Transport: &transport{next: cfg.Transport, host: host, token: cfg.Current},
		Timeout:   cfg.Timeout,
		// A redirect would carry the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.UserAgent = userAgent
	s.MaxRestRetries = 0
	s.ShouldRetryOnRateLimit = false
	s.StateEnabled = false
	s.LogLevel = -1 // its log holds what people wrote, and tokens
	return s, nil
}

// call makes r when the pace allows it and reads the answer into to, which
// may be nil. A nil pace means that r counts towards no limit. Its errors are
// tickets.Failure.
func (a *api) call(ctx context.Context, p *pacer, r request, to any) error {
	if p != nil {
		if err := p.wait(ctx, &r); err != nil {
			return err
		}
	}
	var body []byte
	if r.body != nil {
		var err error
		if body, err = jsonx.Encode(r.body); err != nil {
			return &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("discord %s: %w", r.route, err)}
		}
	}
	kind := "application/json"
	if r.picture != nil {
		var err error
		kind, body, err = discordgo.MultipartBodyWithJSON(json.RawMessage(body), []*discordgo.File{
			{Name: pictureName, ContentType: "image/png", Reader: bytes.NewReader(r.picture)},
		})
		if err != nil {
			return &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("discord %s: %w", r.route, err)}
		}
	}
	var said limits
	ctx = context.WithValue(ctx, limitsKey{}, &said)
	answer, err := a.session.RequestWithLockedBucket(r.method, a.base+r.path, kind, body,
		discordgo.NewRatelimiter().LockBucket(r.route), 0,
		discordgo.WithContext(ctx), discordgo.WithRestRetries(0), discordgo.WithRetryOnRatelimit(false))
	if p != nil {
		p.heed(ctx, &r, said)
	}
	if err == nil && to != nil {
		err = jsonx.IgnoreTypeErrors(json.Unmarshal(answer, to))
	}
	if err != nil {
		return failure(&r, err)
	}
	return nil
}

// limits is what an answer says about rate limits, handed from the transport
// to the call that it belongs to.
type limits struct {
	wait   time.Duration // until the next call may be made; 0 for no limit
	global bool          // no call at all until then
	code   int           // Discord's JSON code
	edge   bool          // refused by somebody before Discord, such as its edge or a proxy
}

type limitsKey struct{}

// limitedError is an answer 429.
type limitedError struct{ limits }

func (e *limitedError) Error() string {
	if e.edge {
		return "HTTP status 403 from Discord's edge or a proxy"
	}
	return fmt.Sprintf("rate limited for %s", e.wait)
}

// serverError is an answer of 500 or more. What was asked may have happened.
type serverError struct{ status int }

func (e *serverError) Error() string { return fmt.Sprintf("HTTP status %d", e.status) }

// transport makes the calls of the library. It sends them to another host in
// tests, bounds answers, and turns the answers that the library does not
// understand into errors that say what they mean.
type transport struct {
	next  http.RoundTripper
	host  *url.URL
	token func() string // at present
}

// limitedFor is how long to wait after a rate limit that does not say.
const limitedFor = 5 * time.Second

// edgeFor is how long to wait after a page of 403 that Discord did not write.
const edgeFor = time.Minute

// maxLimit bounds how long one answer can make us wait.
const maxLimit = time.Hour

// RoundTrip makes one call.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.URL.Scheme, r.URL.Host, r.Host = t.host.Scheme, t.host.Host, ""
	if r.Header.Get("Authorization") != "" { // the library has the first one
		r.Header.Set("Authorization", "Bot "+t.token())
	}
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(http.MaxBytesReader(nil, res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	said := limitsOf(res, body)
	if to, ok := req.Context().Value(limitsKey{}).(*limits); ok {
		*to = said
	}
	switch {
	case res.StatusCode == http.StatusTooManyRequests, said.edge:
		return nil, &limitedError{said}
	case res.StatusCode >= 500:
		return nil, &serverError{res.StatusCode}
	}
	// The library would fail a good answer over a header that it cannot read.
	for name := range res.Header {
		if strings.HasPrefix(name, "X-Ratelimit-") {
			delete(res.Header, name)
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

// limitsOf reads the headers and, of a 429, the body: either may be missing,
// or be a page of HTML that a proxy wrote
// (discord.com/developers/docs/topics/rate-limits).
func limitsOf(res *http.Response, body []byte) limits {
	seconds := func(s string) time.Duration {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f != f || f <= 0 {
			return 0
		}
		return time.Duration(min(f, maxLimit.Seconds()) * float64(time.Second))
	}
	var l limits
	if res.StatusCode == http.StatusForbidden && !json.Valid(body) {
		// Going on would have the address banned for a longer time.
		return limits{wait: edgeFor, global: true, edge: true}
	}
	if res.StatusCode != http.StatusTooManyRequests {
		if res.Header.Get("X-RateLimit-Remaining") == "0" {
			l.wait = seconds(res.Header.Get("X-RateLimit-Reset-After"))
		}
		return l
	}
	var said struct {
		After  jsonx.LooseString `json:"retry_after"`
		Global bool              `json:"global"`
		Code   int               `json:"code"`
	}
	isJSON := jsonx.IgnoreTypeErrors(json.Unmarshal(body, &said)) == nil
	l.code = said.Code
	l.global = said.Global || !isJSON || res.Header.Get("X-RateLimit-Global") != "" || res.Header.Get("X-RateLimit-Scope") == "global"
	l.wait = max(seconds(res.Header.Get("Retry-After")), seconds(string(said.After)))
	if l.wait == 0 {
		l.wait = limitedFor
	}
	l.wait = max(l.wait, time.Second)
	return l
}

// restError is the library's error for an answer of 4xx, or nil.
func restError(err error) *discordgo.RESTError {
	var re *discordgo.RESTError
	if errors.As(err, &re) {
		return re
	}
	return nil
}

// CallName is what a call is, for metrics: its method and documented path,
// without identifiers and tokens.
func CallName(r *http.Request) string {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		switch {
		case i == 2 && (parts[0] == "interactions" || parts[0] == "webhooks"):
			parts[i] = "{token}"
		case IsID(p):
			parts[i] = "{id}"
		}
	}
	return r.Method + " /" + strings.Join(parts, "/")
}

// call makes a call within the pace, and notes whether Discord accepts our
// token.
func (c *Chat) call(ctx context.Context, r request, to any) error {
	with := c.cfg.Current()
	err := c.api.call(ctx, c.pace, r, to)
	switch f := (*tickets.Failure)(nil); {
	case err == nil:
		c.auth.Accepted()
	case errors.As(err, &f) && f.Class == tickets.Unauthorized && c.cfg.Current() != with:
		return c.call(ctx, r, to) // it was replaced meanwhile
	case errors.As(err, &f) && f.Class == tickets.Unauthorized:
		c.auth.Rejected(f.Err)
	}
	return err
}

// identity is the bot's user id, asked once.
func (c *Chat) identity(ctx context.Context) (string, error) {
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self != "" {
		return self, nil
	}
	var me struct {
		ID jsonx.LooseString `json:"id"`
	}
	err := c.call(ctx, request{method: http.MethodGet, route: "/users/@me", path: "/users/@me"}, &me)
	if err != nil {
		return "", err
	}
	if !IsID(string(me.ID)) {
		return "", &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord /users/@me: %w", errNoEcho)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = string(me.ID)
	c.auth.Identified()
	return c.self, nil
}
