package epm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/oauth2"
	"golang.org/x/time/rate"

	"github.com/countersign/countersign/internal/network"
	"github.com/countersign/countersign/tickets"
)

const (
	decideTimeout = 15 * time.Second // of a decision, the wait for our pace and a new token included
	readTimeout   = 20 * time.Second // of reading an outcome, several pages included
	testTimeout   = 25 * time.Second // of a connection test
	maxAnswer     = 1 << 20          // bytes read of an answer
)

// Config is what a client is made of.
type Config struct {
	Host         string // services host, for example acme-services.beyondtrustcloud.com; required
	ClientID     string // of the API account; required
	ClientSecret string // required
	TenantID     string // default none

	// Current is the client secret at present, asked whenever it is needed,
	// for one that changes while the client works. Default ClientSecret.
	Current func() string

	AppDecisionPath   string // default DefaultAppDecisionPath
	AdminDecisionPath string // default DefaultAdminDecisionPath

	// PublicURL is where people reach this installation; a decision refers to
	// it. Default: EPM's own console.
	PublicURL string

	Transport http.RoundTripper // default Transport()
	Now       func() time.Time  // default time.Now
	Log       *slog.Logger      // required
	Rate      rate.Limit        // calls per second, and how many at once; default 5
}

// String hides the secret.
func (c Config) String() string {
	return fmt.Sprintf("epm.Config{Host: %q, ClientID: %q, ClientSecret: [secret]}", c.Host, c.ClientID)
}

// GoString hides the secret.
func (c Config) GoString() string { return c.String() }

// LogValue hides the secret.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText hides the secret.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Client speaks the EPM management API. It is safe for concurrent use. It
// repeats nothing by itself but a call that was refused for its token, once.
type Client struct {
	config  Config
	base    *url.URL
	http    *http.Client
	tokens  *tokenSource
	problem atomic.Pointer[string] // why credentials or permissions fail; nil if they do not
	refused refusals               // of credentials that EPM took before
	skew    atomic.Int64           // of EPM's clock from ours, when it last answered, in nanoseconds
	pace    *rate.Limiter          // of every call
	seldom  *rate.Limiter          // of those that can wait
	told    sync.Map               // kinds of which an unknown shape was logged
}

// String is the host and nothing else.
func (c *Client) String() string { return "epm.Client " + c.base.Host }

// GoString is the host and nothing else.
func (c *Client) GoString() string { return c.String() }

// New checks c and makes a client. It makes no call.
func New(c Config) (*Client, error) {
	base, err := baseURL(c.Host)
	if err != nil {
		return nil, err
	}
	if c.ClientID == "" || c.ClientSecret == "" {
		return nil, errors.New("the client ID or client secret is missing")
	}
	if c.Log == nil {
		return nil, errors.New("epm: no log")
	}
	c.AppDecisionPath = cmp.Or(c.AppDecisionPath, DefaultAppDecisionPath)
	c.AdminDecisionPath = cmp.Or(c.AdminDecisionPath, DefaultAdminDecisionPath)
	for _, p := range []string{c.AppDecisionPath, c.AdminDecisionPath} {
		if err := checkDecisionPath(p); err != nil {
			return nil, err
		}
	}
	if strings.EqualFold(c.AppDecisionPath, c.AdminDecisionPath) {
		return nil, errors.New("both kinds of decision have the same path; they are different calls of EPM")
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("the public URL must be like https://countersign.example.com")
		}
	}
	if c.Transport == nil {
		c.Transport = Transport()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rate == 0 {
		c.Rate = callsPerSecond
	}
	var patience time.Duration
	secret := c.Current
	if secret == nil {
		secret = func() string { return c.ClientSecret }
	} else {
		patience = changing
	}
	pace := rate.NewLimiter(c.Rate, max(1, int(c.Rate)))
	client := &http.Client{
		Transport: &guardTransport{next: c.Transport, limit: pace},
		// A redirect would carry the token, or the decision, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{
		config: c, base: base, http: client, pace: pace, seldom: rate.NewLimiter(c.Rate/seldomPart, 1),
		tokens:  newTokenSource(client, base.JoinPath(tokenPath).String(), c.ClientID, secret, c.Now),
		refused: refusals{patience: patience},
	}, nil
}

// Try asks EPM for a token with secret, which is not in use yet. Its errors
// are [tickets.Failure].
func (c *Client) Try(ctx context.Context, secret string) error {
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	_, err := newTokenSource(c.http, c.base.JoinPath(tokenPath).String(), c.config.ClientID, func() string { return secret }, c.config.Now).get(ctx)
	if err != nil {
		return tokenFailure(err)
	}
	return nil
}

// guardTransport is what every request to EPM goes through, those for a token as well:
// our own pace, and the one address that must never be posted to.
type guardTransport struct {
	next  http.RoundTripper
	limit *rate.Limiter
}

func (d *guardTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead && creates(q.URL) {
		closeBody(q)
		return nil, &tickets.Failure{Class: tickets.Rejected, UserMessage: sayCreates, Err: errors.New("the call would create a request; it was not made")}
	}
	if err := d.limit.Wait(q.Context()); err != nil {
		closeBody(q)
		if q.Context().Err() != nil {
			return nil, &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayUnreachable, Err: q.Context().Err()}
		}
		return nil, &tickets.Failure{Class: tickets.RateLimited, RetryAfter: time.Second, UserMessage: sayPace, Err: errors.New("our own pace: the turn would come too late")}
	}
	return d.next.RoundTrip(q)
}

// closeBody does what is expected of a transport that sends nothing.
func closeBody(q *http.Request) {
	if q.Body != nil {
		_ = q.Body.Close()
	}
}

// Transport is a transport for EPM: TLS 1.2 or newer, the environment's
// proxy, the system's certificate authorities.
func Transport() http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  decideTimeout,
		OnProxyConnectResponse: network.AskProxy,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
	}
}

// CallName names a call for metrics, without any identifier.
func CallName(r *http.Request) string {
	p := strings.ToLower(r.URL.Path)
	switch {
	case strings.HasSuffix(p, tokenPath):
		return "token"
	case r.Method == http.MethodPost:
		return "decide"
	}
	return "read"
}

var errHost = errors.New("write EPM's services host alone, for example acme-services.beyondtrustcloud.com")

// baseURL makes the base of every address from a host as people write it.
func baseURL(host string) (*url.URL, error) {
	host = strings.TrimSpace(host)
	scheme, rest, ok := strings.Cut(host, "://")
	if !ok {
		scheme, rest = "https", host
	}
	u, err := url.Parse(strings.ToLower(scheme) + "://" + strings.TrimRight(rest, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errHost
	}
	u.Host, u.Path = strings.ToLower(u.Host), ""
	switch {
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("EPM is reached by https only")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errHost
	}
	label, domain, _ := strings.Cut(u.Hostname(), ".")
	name, services := strings.CutSuffix(label, "-services")
	switch vendor := strings.HasSuffix("."+u.Hostname(), ".beyondtrustcloud.com"); {
	case vendor && (name == "" || domain == "com" || domain == "beyondtrustcloud.com" && name == "pm"):
		return nil, errHost
	case vendor && !services:
		return nil, fmt.Errorf("that is the host of the console; the API's is %s-services.%s", label, domain)
	}
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// checkDecisionPath refuses what is not a plain path, and, in any spelling,
// the path that would create a request instead of deciding one.
func checkDecisionPath(p string) error {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/."
	if creates(&url.URL{Path: p}) {
		return errors.New("the decision path would create an admin request instead of deciding one: it must continue after AdminAccessRequest, as in " + DefaultAdminDecisionPath)
	}
	if !strings.HasPrefix(p, "/") || strings.Trim(p, plain) != "" || path.Clean(p) != p || p == "/" || strings.Contains(p+"/", "./") {
		return errors.New("the decision path must be a plain path like " + DefaultAdminDecisionPath)
	}
	return nil
}

// creates reports whether u is, in any spelling, the address that creates an
// admin request when it is posted to. It is rather wrong than late: whatever
// servers do with encodings, dots, parameters and slashes is assumed.
func creates(u *url.URL) bool {
	p := u.Path
	for range 3 { // encoded once, and again
		if decoded, err := url.PathUnescape(p); err == nil {
			p = decoded
		}
	}
	p = strings.ReplaceAll(p, `\`, "/")
	p, _, _ = strings.Cut(p, "?")
	p, _, _ = strings.Cut(p, "#")
	segments := strings.Split(p, "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		segments[i] = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' || unicode.IsSpace(r) })
		if t := strings.TrimRight(segments[i], ". "); t != "" {
			segments[i] = t
		}
	}
	last := path.Base(path.Clean("/" + strings.Join(segments, "/")))
	return strings.EqualFold(last, createAdminSegment)
}

// Ready is nil unless EPM refuses our credentials or permissions. It answers
// from the last call.
func (c *Client) Ready() error {
	if p := c.problem.Load(); p != nil {
		return errors.New(*p)
	}
	return nil
}

// Decide sends t's decision. It implements the EPM that the bot needs; its
// errors hold a [tickets.Failure].
func (c *Client) Decide(ctx context.Context, t *tickets.Ticket) error {
	if t.Decision == nil || t.Request == nil || t.Decision.Verdict != tickets.Approve && t.Decision.Verdict != tickets.Deny || t.Decision.Duration.IsZero() {
		return &tickets.Failure{Class: tickets.Rejected, UserMessage: sayNothing, Err: errors.New("the ticket has no decision to send")}
	}
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	p, body := c.config.AppDecisionPath, c.appDecision(t)
	if t.Request.Kind == tickets.Admin {
		p, body = c.config.AdminDecisionPath, c.adminDecision(t)
	}
	_, _, err := c.call(ctx, http.MethodPost, p, nil, body, string(t.ID))
	return err
}

// appDecision has the ten fields of an answer to an application request. All
// are required and must not be empty.
// https://docs.beyondtrust.com/epm-wm/v25.5/reference/authorizationrequest
func (c *Client) appDecision(t *tickets.Ticket) map[string]string {
	d := t.Decision
	status, word := statusDenied, decisionDenied
	if d.Verdict == tickets.Approve {
		status, word = statusApproved, decisionApproved
	}
	return map[string]string{
		"status":                  status,
		"decision":                word,
		"decisionPerformedByUser": cmp.Or(t.Sending.As, d.By.Performer()),
		"duration":                duration(d),
		"itsmRequestId":           string(t.ID),
		"decisionTime":            d.At.UTC().Format(decisionTimeLayout),
		"message":                 d.Reason,
		"systemId":                string(t.ID),
		"ticketId":                string(t.Number),
		"ticketUrl":               c.ticketURL(t),
	}
}

// adminDecision answers an admin request. The vendor documents what is in it
// but not every name; unknown names are ignored by its binding, so the
// identifier goes under both probable ones.
// https://docs.beyondtrust.com/epm-wm/v25.7/reference/adminaccessrequest
func (c *Client) adminDecision(t *tickets.Ticket) map[string]string {
	d := t.Decision
	body := map[string]string{
		"requestId":               string(t.ID),
		"id":                      string(t.ID),
		"decision":                decisionDenied,
		"decisionPerformedByUser": cmp.Or(t.Sending.As, d.By.Performer()),
		"decisionTime":            d.At.UTC().Format(decisionTimeLayout),
		"message":                 d.Reason,
		"systemId":                string(t.ID),
		"ticketId":                string(t.Number),
		"ticketUrl":               c.ticketURL(t),
	}
	if d.Verdict == tickets.Approve {
		body["decision"], body["duration"] = decisionApproved, duration(d)
	}
	return body
}

// duration is the word Once for a denial as well: it must not be empty.
func duration(d *tickets.Decision) string {
	if d.Duration.Once() || d.Verdict != tickets.Approve {
		return durationOnce
	}
	return strconv.FormatInt(int64(d.Duration.Length()/time.Second), 10)
}

func (c *Client) ticketURL(t *tickets.Ticket) string {
	if c.config.PublicURL != "" {
		return strings.TrimRight(c.config.PublicURL, "/") + "/tickets/" + url.PathEscape(string(t.Number))
	}
	return c.ConsoleURL(t.Request)
}

// ConsoleURL is the request's page in EPM's console, as a working client
// builds it: the ticket number without letters and leading zeros.
func (c *Client) ConsoleURL(r *tickets.Request) string {
	label, rest, _ := strings.Cut(c.base.Host, ".")
	u := url.URL{Scheme: c.base.Scheme, Host: strings.TrimSuffix(label, "-services") + "." + rest, Path: consolePath}
	if rest == "" {
		u.Host = c.base.Host
	}
	digits := strings.TrimLeft(r.EPMNumber, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-0")
	if _, err := strconv.ParseUint(digits, 10, 63); err == nil {
		u.Path += consoleDetails + digits
	}
	return u.String()
}

// Outcome reads back what EPM recorded for t's request; nil if EPM shows it
// undecided. Errors hold a [tickets.Failure]; a record that cannot be found
// or understood is one too, since nothing may be concluded from it.
func (c *Client) Outcome(ctx context.Context, t *tickets.Ticket) (*tickets.Outcome, error) {
	if t.Request == nil {
		return nil, &tickets.Failure{Class: tickets.Rejected, Err: errors.New("the kind of the request is not known")}
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var rec record
	var err error
	for _, list := range lists(t.Request.Kind) {
		if rec, err = c.find(ctx, list, string(t.ID)); !errors.Is(err, errNoSuchPath) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	o, ok := rec.outcome()
	if !ok {
		return nil, &tickets.Failure{Class: tickets.Rejected, UserMessage: sayUnreadable, Err: errors.New("EPM's record has an unknown shape")}
	}
	return o, nil
}

// errNoSuchPath is a 404 or 405 for a list: this tenant has no such version.
var errNoSuchPath = errors.New("no such list")

// find reads the record of a request: by its id, and if that is unknown, in
// the list, since it is not documented which id a record goes by.
func (c *Client) find(ctx context.Context, list, id string) (record, error) {
	if !strings.ContainsAny(id, "/?#%.\\") {
		body, status, err := c.call(ctx, http.MethodGet, list+"/"+id, nil, nil, id)
		switch {
		case err == nil:
			if rec, ok := findRecord(body, id); ok {
				return rec, nil
			}
		case status == 0 || tickets.FailureOf(err).Class != tickets.Rejected:
			return nil, err
		}
	}
	last := 1
	for n := 0; n < min(maxPages, last); n++ {
		page, err := c.records(ctx, list, pageNumber(n, last), id)
		if err != nil {
			return nil, err
		}
		for _, raw := range page.Data {
			if rec, ok := readRecord(raw); ok && rec.is(id) {
				return rec, nil
			}
		}
		last = max(last, page.PageCount)
	}
	return nil, &tickets.Failure{Class: tickets.Rejected, UserMessage: sayNoRequest, Err: errors.New("EPM lists no such request")}
}

// page reads one page of a list.
func (c *Client) page(ctx context.Context, list string, size, number int, correlation string) (body []byte, status int, err error) {
	q := url.Values{queryPageSize: {strconv.Itoa(size)}, queryPageNumber: {strconv.Itoa(number)}}
	return c.call(ctx, http.MethodGet, list, q, nil, correlation)
}

// call makes one call with a token, and once more with a new token if the
// first was refused. It returns the body of a 2xx answer, and the status of
// any answer, 0 if there was none.
func (c *Client) call(ctx context.Context, method, p string, q url.Values, body map[string]string, correlation string) ([]byte, int, error) {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return nil, 0, &tickets.Failure{Class: tickets.Rejected, Err: err}
		}
	}
	for again := false; ; again = true {
		token, err := c.tokens.get(ctx)
		if err != nil {
			f := c.refused.judge(tokenFailure(err), c.config.Now())
			c.remember(http.MethodPost, f)
			return nil, 0, f
		}
		c.refused.accepted()
		answer, status, err := c.once(ctx, method, p, q, payload, correlation, token)
		if status == http.StatusUnauthorized && !again && tickets.FailureOf(err).Class == tickets.Unauthorized {
			// Regenerating the secret ends all tokens at once.
			// https://docs.beyondtrust.com/epm-wm/docs/api
			c.tokens.drop(token)
			c.config.Log.Info("EPM ended our token; asking for a new one")
			continue
		}
		c.remember(method, err)
		return answer, status, err
	}
}

// remember keeps for Ready whether EPM refuses us. Reading is a help and not
// needed: that it is forbidden is no problem, and that it works ends none
// but wrong credentials.
func (c *Client) remember(method string, err error) {
	if err == nil {
		if p := c.problem.Load(); p != nil && (method == http.MethodPost || *p != sayPermission) {
			c.problem.Store(nil)
		}
		return
	}
	if f := tickets.FailureOf(err); f.Class == tickets.Unauthorized && (method == http.MethodPost || f.UserMessage != sayPermission) {
		c.problem.Store(&f.UserMessage)
	}
}

// once makes one HTTP call.
func (c *Client) once(ctx context.Context, method, p string, q url.Values, payload []byte, correlation string, token *oauth2.Token) ([]byte, int, error) {
	if ctx.Err() != nil {
		return nil, 0, networkFailure(ctx.Err(), method, false)
	}
	u := c.base.JoinPath(p)
	u.RawQuery = q.Encode()
	var trace sending
	req, err := http.NewRequestWithContext(trace.watch(ctx), method, u.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, 0, &tickets.Failure{Class: tickets.Rejected, Err: errors.New("the address of the call is not valid")}
	}
	token.SetAuthHeader(req)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !strings.ContainsFunc(correlation, func(r rune) bool { return r <= ' ' || r > '~' }) {
		req.Header.Set(correlationHeader, correlation)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, 0, networkFailure(err, method, trace.may(err))
	}
	defer res.Body.Close()
	c.watchClock(res.Header.Get("Date"))
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if page := isPage(res, body); page || res.StatusCode/100 != 2 {
		return nil, res.StatusCode, c.statusFailure(res, page, method, p)
	}
	if err != nil && method == http.MethodGet {
		return nil, 0, networkFailure(err, method, true)
	}
	return withoutBOM(body), res.StatusCode, nil // of a decision, the status says it all
}

// sending watches whether a request may have reached EPM.
type sending struct {
	asked, written atomic.Bool
}

func (s *sending) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// The transport starts again only if it has written nothing.
		GetConn:      func(string) { s.asked.Store(true); s.written.Store(false) },
		WroteHeaders: func() { s.written.Store(true) },
	})
}

// may reports whether the request that ended with err may have reached EPM.
// A transport that does not tell is not trusted to have kept it.
func (s *sending) may(err error) bool {
	var dial *net.OpError
	var own *tickets.Failure
	switch {
	case errors.As(err, &own):
		return false // of guardTransport
	case s.asked.Load():
		return s.written.Load()
	case errors.As(err, &dial) && dial.Op == "dial":
		return false
	}
	return true
}
