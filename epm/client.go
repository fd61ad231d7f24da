package epm

import (
	"bytes"
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
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/time/rate"

	"github.com/countersign/countersign/tickets"
)

const (
	callTimeout = 15 * time.Second // of one call, the token's included
	maxAnswer   = 1 << 20          // bytes read of an answer
)

// Config is what a client is made of.
type Config struct {
	Host         string // services host, for example acme-services.beyondtrustcloud.com; required
	ClientID     string // of the API account; required
	ClientSecret string // required
	TenantID     string // default none

	AppDecisionPath   string // default DefaultAppDecisionPath
	AdminDecisionPath string // default DefaultAdminDecisionPath

	// PublicURL is where people reach this installation; a decision refers to
	// it. Default: EPM's own console.
	PublicURL string

	Transport http.RoundTripper // default Transport()
	Now       func() time.Time  // default time.Now
	Log       *slog.Logger      // required
	Rate      rate.Limit        // calls per second; default 5
}

// Client speaks the EPM management API. It is safe for concurrent use. It
// repeats nothing by itself but a call that was refused for its token, once.
type Client struct {
	Config
	base    *url.URL
	http    *http.Client
	tokens  *tokenSource
	limit   *rate.Limiter
	problem atomic.Pointer[string] // why credentials or permissions fail; nil if they do not
}

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
	if c.AppDecisionPath == "" {
		c.AppDecisionPath = DefaultAppDecisionPath
	}
	if c.AdminDecisionPath == "" {
		c.AdminDecisionPath = DefaultAdminDecisionPath
	}
	for _, p := range []*string{&c.AppDecisionPath, &c.AdminDecisionPath} {
		if *p, err = decisionPath(*p); err != nil {
			return nil, err
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
	client := &http.Client{
		Transport: c.Transport,
		Timeout:   callTimeout,
		// A redirect would carry the token, or the decision, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{
		Config: c, base: base, http: client, limit: rate.NewLimiter(c.Rate, max(1, int(c.Rate))),
		tokens: newTokenSource(client, base.JoinPath(tokenPath).String(), c.ClientID, c.ClientSecret, c.Now),
	}, nil
}

// Transport is a transport for EPM: TLS 1.2 or newer, the environment's
// proxy, the system's certificate authorities.
func Transport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: callTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       90 * time.Second,
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

// baseURL makes the base of every address from a host as people write it.
func baseURL(host string) (*url.URL, error) {
	host = strings.TrimSpace(host)
	scheme, rest, ok := strings.Cut(host, "://")
	if !ok {
		scheme, rest = "https", host
	}
	u, err := url.Parse(strings.ToLower(scheme) + "://" + strings.TrimRight(rest, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("write EPM's services host alone, for example acme-services.beyondtrustcloud.com")
	}
	u.Host, u.Path = strings.ToLower(u.Host), ""
	switch {
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("EPM is reached by https only")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("write EPM's services host alone, for example acme-services.beyondtrustcloud.com")
	}
	label, domain, _ := strings.Cut(u.Hostname(), ".")
	if strings.HasSuffix("."+domain, ".beyondtrustcloud.com") && !strings.HasSuffix(label, "-services") {
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

// decisionPath checks a configured path. It refuses, in any spelling, the one
// that would create a request instead of deciding one.
func decisionPath(p string) (string, error) {
	u, err := url.Parse(p)
	if err != nil || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || u.Host != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(p, "?#%;\\ ") || path.Clean(p) != p {
		return "", errors.New("the decision path must be a plain path like " + DefaultAdminDecisionPath)
	}
	if creates(p) {
		return "", errors.New("the decision path would create an admin request instead of deciding one: it must continue after AdminAccessRequest, as in " + DefaultAdminDecisionPath)
	}
	return p, nil
}

// creates reports whether a POST to p would create an admin request.
func creates(p string) bool {
	return strings.EqualFold(path.Base(path.Clean(p)), createAdminSegment)
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
	if t.Decision == nil || t.Request == nil {
		return &tickets.Failure{Class: tickets.Refused, Err: errors.New("the ticket has no decision to send")}
	}
	p, body := c.AppDecisionPath, c.appDecision(t)
	if t.Request.Kind == tickets.Admin {
		p, body = c.AdminDecisionPath, c.adminDecision(t)
	}
	_, err := c.call(ctx, http.MethodPost, p, nil, body, string(t.ID))
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
		"decisionPerformedByUser": performer(d.By),
		"duration":                d.Duration.Wire(), // Once for a denial: it must not be empty
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
		"decisionPerformedByUser": performer(d.By),
		"decisionTime":            d.At.UTC().Format(decisionTimeLayout),
		"message":                 d.Reason,
		"systemId":                string(t.ID),
		"ticketId":                string(t.Number),
		"ticketUrl":               c.ticketURL(t),
	}
	if d.Verdict == tickets.Approve {
		body["decision"], body["duration"] = decisionApproved, d.Duration.Wire()
	}
	return body
}

// performer names the decider to EPM: the name people know, and the
// identifier that proves it.
func performer(a tickets.Actor) string {
	name := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r == '\\' || r == 0x7f {
			return ' ' // EPM may put it into a webhook without escaping
		}
		return r
	}, a.Name)), " ")
	if name == "" {
		return a.String()
	}
	return name + " (" + a.String() + ")"
}

func (c *Client) ticketURL(t *tickets.Ticket) string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/") + "/tickets/" + url.PathEscape(string(t.Number))
	}
	return c.consoleURL(t.Request)
}

// consoleURL is the request's page in EPM's console, as a working client
// builds it: the ticket number without letters and leading zeros.
func (c *Client) consoleURL(r *tickets.Request) string {
	label, rest, _ := strings.Cut(c.base.Host, ".")
	u := url.URL{Scheme: c.base.Scheme, Host: strings.TrimSuffix(label, "-services") + "." + rest, Path: "/jit-access-management"}
	if rest == "" {
		u.Host = c.base.Host
	}
	digits := strings.TrimLeft(r.EPMNumber, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-0")
	if _, err := strconv.ParseUint(digits, 10, 63); err == nil {
		u.Path += "/details/" + digits
	}
	return u.String()
}

// Outcome reads back what EPM recorded for t's request; nil if EPM shows it
// undecided. Errors hold a [tickets.Failure].
func (c *Client) Outcome(ctx context.Context, t *tickets.Ticket) (*tickets.Outcome, error) {
	lists := []string{appListPath, appListPathV2}
	if t.Request.Kind == tickets.Admin {
		lists = []string{adminListPath}
	}
	var last error
	for _, list := range lists {
		rec, err := c.find(ctx, list, t)
		if err == nil {
			return rec.outcome(), nil
		}
		last = err
		if f := tickets.FailureOf(err); f.Class != tickets.Refused {
			break
		}
	}
	return nil, last
}

// find reads the record of t's request: by its id, and if that is unknown,
// in the newest page of the list, since it is not documented which id a
// record goes by.
func (c *Client) find(ctx context.Context, list string, t *tickets.Ticket) (record, error) {
	id := string(t.ID)
	if !strings.ContainsAny(id, "/?#%.") {
		body, err := c.call(ctx, http.MethodGet, list+"/"+id, nil, nil, id)
		switch {
		case err == nil:
			if rec, ok := readRecord(body); ok && rec.is(id) {
				return rec, nil
			}
		case tickets.FailureOf(err).Class != tickets.Refused:
			return nil, err
		}
	}
	q := url.Values{"Pagination.PageSize": {strconv.Itoa(maxPageSize)}, "Pagination.PageNumber": {"1"}}
	body, err := c.call(ctx, http.MethodGet, list, q, nil, id)
	if err != nil {
		return nil, err
	}
	var page struct {
		Data []json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, &tickets.Failure{Class: tickets.Refused, Err: errors.New("EPM's list has an unknown shape")}
	}
	for _, raw := range page.Data {
		if rec, ok := readRecord(raw); ok && rec.is(id) {
			return rec, nil
		}
	}
	return nil, &tickets.Failure{Class: tickets.Refused, Err: errors.New("EPM lists no such request")}
}

// call makes one call, with a token, at our pace, and once more with a new
// token if the first was refused. It returns the body of a 2xx answer.
func (c *Client) call(ctx context.Context, method, p string, q url.Values, body map[string]string, correlation string) ([]byte, error) {
	if method == http.MethodPost && creates(p) {
		return nil, &tickets.Failure{Class: tickets.Refused, Err: errors.New("this call would create a request; it was not made")}
	}
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return nil, &tickets.Failure{Class: tickets.Refused, Err: err}
		}
	}
	for fresh := false; ; fresh = true {
		token, err := c.token(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := c.once(ctx, method, p, q, payload, correlation, token)
		if f := tickets.FailureOf(err); err != nil && f.Class == tickets.Denied && errors.Is(err, errUnauthorized) && !fresh {
			c.tokens.drop(token)
			continue
		}
		c.remember(method, err)
		return answer, err
	}
}

// remember keeps for Ready whether EPM refuses us. Reading is a help and not
// needed: that it is forbidden is no problem, and that it works does not end
// one with deciding.
func (c *Client) remember(method string, err error) {
	f := tickets.FailureOf(err)
	switch p := c.problem.Load(); {
	case err == nil && (method == http.MethodPost || p != nil && *p == sayCredentials):
		c.problem.Store(nil)
	case err != nil && f.Class == tickets.Denied && (method == http.MethodPost || f.Say != sayPermission):
		c.problem.Store(&f.Say)
	}
}

func (c *Client) token(ctx context.Context) (*oauth2.Token, error) {
	if err := c.pace(ctx); err != nil {
		return nil, err
	}
	token, err := c.tokens.get(ctx)
	if err != nil {
		err = tokenFailure(err)
		c.remember(http.MethodPost, err)
		return nil, err
	}
	return token, nil
}

// pace waits for our own pace, or says at once that ctx would end before.
func (c *Client) pace(ctx context.Context) error {
	if err := c.limit.Wait(ctx); err != nil {
		return &tickets.Failure{Class: tickets.Limited, After: time.Second, Say: "EPM is being called as often as is allowed", Err: err}
	}
	return nil
}

var errUnauthorized = errors.New("401 Unauthorized")

// once makes one HTTP call.
func (c *Client) once(ctx context.Context, method, p string, q url.Values, payload []byte, correlation string, token *oauth2.Token) ([]byte, error) {
	u := c.base.JoinPath(p)
	u.RawQuery = q.Encode()
	var written atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { written.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, &tickets.Failure{Class: tickets.Refused, Err: errors.New("the address of the call is not valid")}
	}
	// The transport must not repeat a decision by itself.
	if method == http.MethodPost {
		req.GetBody = nil
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	req.Header.Set("Accept", "application/json")
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Correlation-Id", correlation)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, networkFailure(err, written.Load())
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode/100 == 2 {
		if err != nil && method == http.MethodGet {
			return nil, networkFailure(err, true)
		}
		return body, nil
	}
	return nil, c.statusFailure(res, method, p)
}
