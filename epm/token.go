package epm

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/countersign/countersign/tickets"
)

// tokenSource caches the token of the API account and lets one caller at a
// time ask for a new one. [oauth2.ReuseTokenSource] would do but cannot drop
// a token that EPM has revoked, waits without regard to a caller's context
// and has no clock of ours.
type tokenSource struct {
	http   *http.Client
	config clientcredentials.Config // without the secret
	secret func() string            // at present
	now    func() time.Time

	mu     sync.Mutex
	token  *oauth2.Token
	until  time.Time
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
	return &tokenSource{http: client, now: now, secret: secret, config: clientcredentials.Config{
		ClientID: id, TokenURL: address,
		// In the form's body, not as Basic authentication.
		// https://docs.beyondtrust.com/epm-wm/docs/api
		AuthStyle: oauth2.AuthStyleInParams,
	}}
}

// get returns a token that is valid for a while.
func (s *tokenSource) get(ctx context.Context) (*oauth2.Token, error) {
	for {
		s.mu.Lock()
		if s.token != nil && s.now().Before(s.until) {
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
	start := s.now()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.err == nil && f.token != nil {
			life := expiresIn(f.token)
			// A short life is used to its half, so that no token is born old.
			s.token, s.until = f.token, start.Add(max(life-tokenEarly, life/2))
		}
		s.flight = nil
		close(f.done)
	}()
	f.gone = true // until the answer is here
	with := s.config
	with.ClientSecret = s.secret()
	f.token, f.err = with.Token(context.WithValue(ctx, oauth2.HTTPClient, s.http))
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

// expiresIn is the life EPM gave the token. The library does not pass it on,
// only a time by the machine's clock.
func expiresIn(t *oauth2.Token) time.Duration {
	if n, ok := t.Extra("expires_in").(float64); ok && n > 0 {
		return time.Duration(min(n, 24*3600)) * time.Second
	}
	if !t.Expiry.IsZero() { // written as a text
		return time.Until(t.Expiry)
	}
	return 2 * tokenEarly // EPM always says; be careful if it does not
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
	if f.Class != tickets.Denied || f.Say != sayCredentials {
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
	return &tickets.Failure{Class: tickets.Down, Say: sayChanging, Err: f.Err}
}
