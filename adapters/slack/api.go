package slack

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// identity is who the bot is in Slack.
type identity struct{ team, enterprise, user, bot string }

// maxAnswer bounds an answer of Slack, in bytes, as it is after it was
// decompressed: a page of 200 large messages stays well below.
const maxAnswer = 8 << 20

// bounded makes calls whose answers end with an error after maxAnswer: the
// library reads them to their end.
type bounded struct{ next http.RoundTripper }

// RoundTrip makes one call.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if err == nil && res.Body != nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxAnswer)
	}
	return res, err
}

// read calls a method that only reads, and decodes no more of the answer than
// into holds. Its errors are the library's.
func (c *Chat) read(ctx context.Context, method string, args url.Values, into any) error {
	_, err := c.fetch(ctx, method, args, into)
	return err
}

// fetch is read, and the header of the answer.
func (c *Chat) fetch(ctx context.Context, method string, args url.Values, into any) (http.Header, error) {
	form := url.Values{"token": {c.secrets().BotToken}}
	for k, v := range args {
		form[k] = v
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.APIURL+method, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusTooManyRequests {
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
			return nil, &slack.RateLimitedError{RetryAfter: time.Duration(s) * time.Second}
		}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, slack.StatusCodeError{Code: resp.StatusCode}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var head struct {
		OK    bool `json:"ok"`
		Error text `json:"error"`
		Need  text `json:"needed"`
	}
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(body, &head)); err != nil {
		return nil, err
	}
	if !head.OK {
		return nil, slack.SlackErrorResponse{Err: string(head.Error), Needed: string(head.Need)}
	}
	return resp.Header, jsonx.IgnoreTypeErrors(json.Unmarshal(body, into))
}

// call makes one call of a method within the pace, and tells what its error
// means.
func (c *Chat) call(ctx context.Context, method, channel string, effect bool, do func() error) error {
	if err := c.pace.wait(ctx, method, channel); err != nil {
		return err
	}
	with := c.secrets().BotToken
	err := do()
	if err == nil {
		c.auth.Accepted()
		return nil
	}
	f := failure(method, effect, err)
	if f.Class == tickets.Unauthorized && c.secrets().BotToken != with {
		return c.call(ctx, method, channel, effect, do) // it was replaced meanwhile
	}
	switch f.Class {
	case tickets.RateLimited:
		c.pace.close(ctx, method, channel, f.RetryAfter)
	case tickets.Unauthorized:
		if slackError(err) != "missing_scope" { // one method's trouble, not the token's
			c.auth.Rejected(f.Err)
		}
	}
	return f
}

// identity is who we are, asked once.
func (c *Chat) identity(ctx context.Context) (identity, error) {
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self != nil {
		return *self, nil
	}
	var got identity
	err := c.call(ctx, "auth.test", "", false, func() error {
		r, err := c.api().AuthTestContext(ctx)
		if err != nil {
			return err
		}
		if r.TeamID == "" || r.UserID == "" {
			return errNoEcho
		}
		got = identity{team: r.TeamID, enterprise: r.EnterpriseID, user: r.UserID, bot: r.BotID}
		return nil
	})
	if err != nil {
		return identity{}, err
	}
	app := c.ownApp(ctx, got)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = &got
	if c.appID == "" {
		c.appID = app
	}
	c.auth.Identified()
	return got, nil
}

// ownApp is the app whose bot self is, or "" if Slack does not tell: over HTTP
// nothing else says which app deliveries must name.
func (c *Chat) ownApp(ctx context.Context, self identity) string {
	c.mu.Lock()
	known := c.appID
	c.mu.Unlock()
	if known != "" {
		return known
	}
	u, err := c.account(ctx, self.user)
	if err != nil || u.Profile.AppID == "" {
		c.log.Warn("slack does not tell which app this is, so that only the signature or the connection says it", "err", err)
	}
	return string(u.Profile.AppID)
}
