package epm

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// tokenSource caches the token of the API account and lets one caller at a
// time ask for a new one. [oauth2.ReuseTokenSource] would do but cannot drop
// a token that EPM has revoked, waits without regard to a caller's context
// and has no clock of ours.
type tokenSource struct {
	http   *http.Client
	config clientcredentials.Config
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

func newTokenSource(client *http.Client, address, id, secret string, now func() time.Time) *tokenSource {
	return &tokenSource{http: client, now: now, config: clientcredentials.Config{
		ClientID: id, ClientSecret: secret, TokenURL: address,
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
	f.token, f.err = s.config.Token(context.WithValue(ctx, oauth2.HTTPClient, s.http))
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
