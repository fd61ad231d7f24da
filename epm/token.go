package epm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/countersign/countersign/tickets"
)

// tokenSource caches the token of the API account and lets one caller at a
// time ask for a new one. The sources of [oauth2] would do neither as it is
// needed here: they cannot drop a token that EPM has revoked, wait without
// regard to a caller's context, have no clock of ours, read only what is JSON
// to the letter, and print the whole answer in their errors.
type tokenSource struct {
	http    *http.Client
	address string
	id      string
	secret  func() string // at present
	now     func() time.Time

	mu     sync.Mutex
	token  *oauth2.Token
	flight *flight // of the caller that asks at present
}

// flight is one request for a token, for all who wait for it.
type flight struct {
	done  chan struct{}
	token *oauth2.Token
	err   error
	gone  bool // the caller that asked gave up: its error is no one else's
}

func newTokenSource(client *http.Client, address, id string, secret func() string, now func() time.Time) *tokenSource {
	return &tokenSource{http: client, address: address, id: id, secret: secret, now: now}
}

// get returns a token that is valid for a while.
func (s *tokenSource) get(ctx context.Context) (*oauth2.Token, error) {
	for {
		s.mu.Lock()
		if s.token != nil && s.now().Before(s.token.Expiry) {
			defer s.mu.Unlock()
			return s.token, nil
		}
		f := s.flight
		if f == nil {
			f = &flight{done: make(chan struct{})}
			s.flight = f
			s.mu.Unlock()
			s.fetch(ctx, f)
			return f.token, f.err
		}
		s.mu.Unlock()
		select {
		case <-f.done:
			if !f.gone {
				return f.token, f.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *tokenSource) fetch(ctx context.Context, f *flight) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.err == nil && f.token != nil {
			s.token = f.token
		}
		s.flight = nil
		close(f.done)
	}()
	f.gone = true // until the answer is here
	f.token, f.err = s.ask(ctx)
	f.gone = f.err != nil && ctx.Err() != nil
}

// drop forgets t, if it is still the one in use.
func (s *tokenSource) drop(t *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == t {
		s.token = nil
	}
}

// maxTokenAnswer is how many bytes of an answer are read: EPM's tokens have
// some 2 KB.
const maxTokenAnswer = 64 << 10

// tokenError is an answer without a token. Nothing of its body is kept but an
// error code of OAuth2.
type tokenError struct {
	status int
	code   string        // empty if it is none of OAuth2's
	page   bool          // it is a web page
	after  time.Duration // to wait at least, as the answer asks
	date   string        // by EPM's clock, when it answered
}

// GoString leaves out what the answer wrote.
func (e *tokenError) GoString() string { return e.Error() }

func (e *tokenError) Error() string {
	if e.status/100 == 2 && e.code == "" && !e.page {
		return "token: unreadable answer"
	}
	s := "token: " + strings.TrimSpace(strconv.Itoa(e.status)+" "+http.StatusText(e.status))
	if e.code != "" {
		s += " (" + e.code + ")"
	}
	if e.page {
		s += ": " + (&pageError{e.status}).Error()
	}
	return s
}

// Unwrap says that the answer was a web page.
func (e *tokenError) Unwrap() error {
	if e.page {
		return &pageError{e.status}
	}
	return nil
}

// ask asks EPM for a token: client ID and secret in the form's body, not as
// Basic authentication. https://docs.beyondtrust.com/epm-wm/docs/api
func (s *tokenSource) ask(ctx context.Context) (*oauth2.Token, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.id}, "client_secret": {s.secret()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, &tickets.Failure{Class: tickets.Rejected, Err: errors.New("the address of the token is not valid")}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	asked := s.now()
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTokenAnswer))
	if err != nil && res.StatusCode/100 == 2 {
		return nil, err
	}
	t, code := readToken(body, asked)
	if page := isPage(res, body); page || t == nil || res.StatusCode/100 != 2 {
		return nil, &tokenError{status: res.StatusCode, code: code, page: page, after: retryAfterOf(res, s.now()), date: res.Header.Get("Date")}
	}
	return t, nil
}

// readToken reads an answer for a token, or nil, and the error code in it. It
// goes by what the answer says, and not by the content type it is sent with:
// proxies change that. The token's Expiry is when to ask for another, somewhat
// before it ends; asked is when this one was asked for.
func readToken(body []byte, asked time.Time) (*oauth2.Token, string) {
	var answer struct {
		Token any `json:"access_token"`
		Life  any `json:"expires_in"`
		Error any `json:"error"`
	}
	if json.Unmarshal(bytes.TrimSpace(withoutBOM(body)), &answer) != nil {
		return nil, ""
	}
	code, _ := answer.Error.(string)
	access, _ := answer.Token.(string)
	// It becomes a line of a header.
	if access = strings.TrimSpace(access); access == "" || strings.ContainsFunc(access, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errorCode(code)
	}
	var seconds float64
	switch life := answer.Life.(type) {
	case float64:
		seconds = life
	case string:
		seconds, _ = strconv.ParseFloat(strings.TrimSpace(life), 64)
	}
	life := time.Duration(max(0, min(seconds, 24*3600)) * float64(time.Second))
	if life <= 0 {
		life = 2 * tokenEarly // EPM always says; be careful if it does not
	}
	// A short life is used to its half, so that no token is born old.
	return &oauth2.Token{AccessToken: access, Expiry: asked.Add(max(life-tokenEarly, life/2))}, ""
}

// changing is how long EPM may refuse credentials that it took before, until
// that counts: it ends the old secret when it makes the new one, which
// somebody then has to bring here. Decisions wait meanwhile.
const changing = 5 * time.Minute

// refusals is since when EPM refuses credentials that it took before.
type refusals struct {
	patience time.Duration // 0 if the secret does not change while we run

	mu    sync.Mutex
	took  bool
	since time.Time // zero while EPM takes them
}

func (r *refusals) accepted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took, r.since = true, time.Time{}
}

// judge is f, or what it is while the secret may be changing.
func (r *refusals) judge(f *tickets.Failure, now time.Time) *tickets.Failure {
	if f.Class != tickets.Unauthorized || f.UserMessage != sayCredentials {
		return f
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.patience == 0 || !r.took {
		return f
	}
	if r.since.IsZero() {
		r.since = now
	}
	if now.Sub(r.since) >= r.patience {
		return f
	}
	return &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayChanging, Err: f.Err}
}
