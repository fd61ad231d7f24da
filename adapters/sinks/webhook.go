package sinks

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/internal/network"
	"github.com/countersign/countersign/tickets"
)

const (
	webhookTimeout = 10 * time.Second
	// secretPrefix begins a secret, of which at least minSecret and at most
	// maxSecret bytes follow in base64: what Standard Webhooks says.
	secretPrefix         = "whsec_"
	minSecret, maxSecret = 24, 64
	maxRetryAfter        = 3600 // seconds
)

// WebhookConfig says where notices are sent.
type WebhookConfig struct {
	URL     string   // https, or http to this machine; may hold a secret. Required
	Secrets []string // each signs; see [CheckSecret]. At least one
	// Current is what URL and Secrets are now; default: as above.
	Current func() (url string, secrets []string)

	Transport http.RoundTripper // default: that of the environment's proxy
	Timeout   time.Duration     // of one notice; default 10 s
	Now       func() time.Time  // default time.Now
}

// Webhook posts notices, each by itself, signed as Standard Webhooks says:
// with the header webhook-id, which is the notice's, webhook-timestamp and
// webhook-signature, which has a signature for each secret. Make one with
// [NewWebhook].
type Webhook struct {
	WebhookConfig
	client *http.Client
}

// CheckURL says what is wrong with the address of a webhook, and nothing of
// it.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("write an address like https://siem.example.com/events")
	}
	if u.Scheme == "http" && !neterr.Loopback(u.Hostname()) {
		return errors.New("must be https, except on this machine")
	}
	return nil
}

// CheckSecret says what is wrong with a secret, and nothing of it.
func CheckSecret(s string) error {
	key, ok := strings.CutPrefix(s, secretPrefix)
	b, err := base64.StdEncoding.DecodeString(key)
	if !ok || err != nil || len(b) < minSecret || len(b) > maxSecret {
		return fmt.Errorf(`is not a secret of Standard Webhooks: whsec_ and then %d to %d random bytes in base64, as this makes: echo "whsec_$(openssl rand -base64 32)"`, minSecret, maxSecret)
	}
	return nil
}

// NewWebhook checks c and makes a Webhook.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	if err := CheckURL(c.URL); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	if len(c.Secrets) == 0 {
		return nil, errors.New("webhook: no secret")
	}
	if c.Transport == nil {
		c.Transport = network.Transport()
	}
	if c.Timeout == 0 {
		c.Timeout = webhookTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Current == nil {
		c.Current = func() (string, []string) { return c.URL, c.Secrets }
	}
	for _, s := range c.Secrets {
		if err := CheckSecret(s); err != nil {
			return nil, fmt.Errorf("webhook: the secret %w", err)
		}
	}
	return &Webhook{WebhookConfig: c, client: &http.Client{
		Transport:     c.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// errRepeat is a receiver's answer that it has a notice already.
var errRepeat = fmt.Errorf("it answers with HTTP status %d", http.StatusConflict)

// Deliver posts list, one after the other, until one is not taken. Each may be
// a repeat, also of what was told before a crash that nobody remembers: a
// receiver that says that it has it already has taken it.
func (h *Webhook) Deliver(ctx context.Context, list []tickets.EventEnvelope) (taken int, err error) {
	for i, n := range list {
		if err := h.post(ctx, n); err != nil && !errors.Is(err, errRepeat) {
			return i, err
		}
	}
	return len(list), nil
}

// Check posts a notice that is only a test.
func (h *Webhook) Check(ctx context.Context) adapters.Finding {
	const what = "the webhook for events"
	if err := h.post(ctx, test()); err != nil {
		return adapters.Finding{
			What: what, Problem: tickets.FailureOf(err).Err.Error(),
			Fix: "Let what COUNTERSIGN_EVENTS_WEBHOOK names answer 2xx to what is signed with COUNTERSIGN_EVENTS_WEBHOOK_SECRET, also to the type " + testType + ", or correct these variables.",
		}
	}
	return adapters.Finding{What: what + ": took a signed test"}
}

func (h *Webhook) post(ctx context.Context, n tickets.EventEnvelope) error {
	body, err := encode(n)
	if err != nil {
		return &tickets.Failure{Class: tickets.Rejected, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	address, secrets := h.Current()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return &tickets.Failure{Class: tickets.NotFound, Err: errors.New("its address cannot be used")}
	}
	now := h.Now()
	signatures, err := sign(secrets, n.ID, now, body)
	if err != nil {
		return &tickets.Failure{Class: tickets.Unauthorized, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "countersign")
	req.Header.Set(standardwebhooks.HeaderWebhookID, n.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	res, err := h.client.Do(req)
	if err != nil {
		return noAnswer(err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // so that the connection can be used again
	_ = res.Body.Close()
	return answered(res)
}

// sign is the signatures of a notice, one by each secret.
func sign(secrets []string, id string, at time.Time, body []byte) ([]string, error) {
	var list []string
	for _, s := range secrets {
		signer, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			return nil, errors.New("a secret cannot be used") // the library's error may hold a piece of it
		}
		one, err := signer.Sign(id, at, body)
		if err != nil {
			return nil, fmt.Errorf("sign %s: %w", id, err)
		}
		list = append(list, one)
	}
	return list, nil
}

// answered is what an answer says of the notice that it is for, nil if it was
// taken. Only what is said of this notice is class Rejected; what would be said
// of every other one lets the receiver rest.
func answered(res *http.Response) error {
	code := res.StatusCode
	f := &tickets.Failure{Err: fmt.Errorf("it answers with HTTP status %d", code)}
	switch {
	case code/100 == 2:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && retryAfter(res) > 0:
		f.Class, f.RetryAfter = tickets.RateLimited, retryAfter(res)
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		f.Class = tickets.Unauthorized
	case code == http.StatusConflict:
		f.Class, f.Err = tickets.Rejected, errRepeat
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		f.Class = tickets.Rejected
	case code/100 == 5, code == http.StatusRequestTimeout:
		f.Class = tickets.Ambiguous
	default: // another address, another method: an admin must act
		f.Class = tickets.NotFound
	}
	return f
}

// retryAfter is how long an answer asks to wait, if it says so in seconds.
func retryAfter(res *http.Response) time.Duration {
	s, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return time.Duration(min(max(s, 0), maxRetryAfter)) * time.Second
}
