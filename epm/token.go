package epm

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// tokenSource caches the token of the API account. [oauth2.ReuseTokenSource]
// would do but cannot drop a token that EPM has revoked, and has no clock of
// ours.
type tokenSource struct {
	http   *http.Client
	config clientcredentials.Config
	now    func() time.Time

	mu    sync.Mutex // also: one request for a token at a time
	token *oauth2.Token
	until time.Time
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != nil && s.now().Before(s.until) {
		return s.token, nil
	}
	start := s.now()
	token, err := s.config.Token(context.WithValue(ctx, oauth2.HTTPClient, s.http))
	if err != nil {
		return nil, err
	}
	life := time.Duration(token.ExpiresIn) * time.Second
	if life <= 0 {
		life = 2 * tokenEarly // EPM always says; be careful if it does not
	}
	// A short life is used to its half, so that a token is never born old.
	s.token, s.until = token, start.Add(max(life-tokenEarly, life/2))
	return token, nil
}

// drop forgets t, if it is still the one in use.
func (s *tokenSource) drop(t *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == t {
		s.token = nil
	}
}
