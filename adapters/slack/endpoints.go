package slack

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/signed"
)

// Endpoints are the signed paths. There are none without a signing secret.
func (c *Chat) Endpoints(h adapters.Handler) map[string]http.Handler {
	if len(c.cfg.SigningSecrets) == 0 {
		return nil
	}
	return map[string]http.Handler{
		"/slack/interactions": c.signed(func(ctx context.Context, received time.Time, body []byte) (response, error) {
			v, err := url.ParseQuery(string(body))
			if err != nil || v.Get("payload") == "" {
				return response{}, errNoPayload
			}
			return c.interact(ctx, received, []byte(v.Get("payload")), h), nil
		}),
		"/slack/commands": c.signed(func(ctx context.Context, received time.Time, body []byte) (response, error) {
			v, err := url.ParseQuery(string(body))
			if err != nil {
				return response{}, errNoPayload
			}
			return c.command(ctx, received, commandOf(v), h), nil
		}),
		"/slack/events": c.signed(func(_ context.Context, _ time.Time, body []byte) (response, error) {
			if !json.Valid(body) {
				return response{}, errNoPayload
			}
			return c.event(body, h), nil
		}),
	}
}

var errNoPayload = errors.New("the body is not what Slack sends")

// signed lets only Slack in. The signature covers the raw body and the time,
// and counts once (docs.slack.dev/authentication/verifying-requests-from-slack).
func (c *Chat) signed(answer func(context.Context, time.Time, []byte) (response, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received := time.Now()
		body, ok := c.requests.Read(w, r)
		if !ok {
			return
		}
		c.work.Begin()
		defer c.work.End()
		// Slack hanging up does not undo what a person did.
		ctx := context.WithoutCancel(r.Context())
		s, err := answer(ctx, received, body)
		if err != nil {
			c.log.Warn("a signed request was not understood", "path", r.URL.Path, "err", err)
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		if s.ack != nil {
			out, err := jsonx.Encode(s.ack)
			if err != nil {
				c.log.Error("an answer cannot be written", "err", err)
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Content-Length", fmt.Sprint(len(out)))
			_, _ = w.Write(out) // a sender that hung up sends again
		} else {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusOK)
		}
		if s.after != nil {
			// The answer, and what comes next over this connection, must not
			// wait for what follows.
			c.work.Begin()
			go func() {
				defer c.work.End()
				c.follow(ctx, s)
			}()
		}
	})
}

// The headers of a signed request
// (docs.slack.dev/authentication/verifying-requests-from-slack).
const (
	stampHeader     = "X-Slack-Request-Timestamp"
	signatureHeader = "X-Slack-Signature"
)

var signatureShape = regexp.MustCompile(`^v0=[0-9a-fA-F]{64}$`)

// stamp is when a request with such headers was signed.
func stamp(h http.Header) (seconds int64, ok bool) {
	seconds, err := strconv.ParseInt(h.Get(stampHeader), 10, 64)
	return seconds, err == nil && signatureShape.MatchString(h.Get(signatureHeader))
}

// verify says why body was not signed by Slack with one of the secrets, now and
// as far as is known here for the first time. No header is believed that is not
// signed, such as that which marks a retry: one that was made in the same second
// as the first attempt is refused, and has no effect that the first had not.
func (c *Chat) verify(h http.Header, body []byte) signed.Reason {
	got, _ := hex.DecodeString(strings.TrimPrefix(h.Get(signatureHeader), "v0=")) // stamp has seen its shape
	for _, secret := range c.secrets().SigningSecrets {
		sum := hmac.New(sha256.New, []byte(secret))
		sum.Write([]byte("v0:" + h.Get(stampHeader) + ":"))
		sum.Write(body)
		if !hmac.Equal(got, sum.Sum(nil)) {
			continue
		}
		key := "signature\x00" + h.Get(stampHeader) + "\x00" + strings.ToLower(h.Get(signatureHeader))
		if !c.seen.New(key) {
			return signed.Replayed
		}
		return ""
	}
	return signed.Signature
}
