package epmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxAnswer is how many bytes of a webhook's answer are kept.
const maxAnswer = 4096

// Delivery is one attempt to post a webhook.
type Delivery struct {
	At        time.Time // by Config.Now
	Took      time.Duration
	Event     Event  // empty if the body came from Deliver
	RequestID string // empty if the body came from Deliver
	Attempt   int    // from 1
	Body      []byte
	Status    int    // that was answered; 0 if there was no answer
	Answer    string // at most 4096 bytes
	Err       string // why there was no answer
}

// OK reports whether the receiver took the event.
func (d Delivery) OK() bool { return success(d.Status) }

// String is one line for a log.
func (d Delivery) String() string {
	return fmt.Sprintf("%s %s attempt %d: %d %s", d.Event, d.RequestID, d.Attempt, d.Status, d.Err)
}

// Deliveries returns the newest attempts, at most 1024, oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deliveries.all()
}

// Deliver posts a body to the webhook once, with Basic auth, and records the
// attempt. The error is ErrNoWebhook, ErrClosed or says why there was no
// answer; an answer that is not 2xx is not an error, see Delivery.OK.
func (s *Server) Deliver(ctx context.Context, body []byte) (Delivery, error) {
	return s.post(ctx, "", "", 1, body)
}

// SendCreated sends the event that announces a request, again if need be,
// with Config.Body and Config.Retry. The error is ErrUnknownRequest,
// ErrNoWebhook, ErrClosed, or says that no attempt got a 2xx.
func (s *Server) SendCreated(idOrNumber string) error {
	r, ok := s.Request(idOrNumber)
	if !ok {
		return fmt.Errorf("send %s: %w", idOrNumber, ErrUnknownRequest)
	}
	return s.send(r.Kind.CreatedEvent(), r)
}

// SendUpdate sends the event that tells the decision now in effect, like
// SendCreated. The error may also be ErrPending.
func (s *Server) SendUpdate(idOrNumber string) error {
	r, ok := s.Request(idOrNumber)
	if !ok {
		return fmt.Errorf("send %s: %w", idOrNumber, ErrUnknownRequest)
	}
	if r.Status == Pending {
		return fmt.Errorf("send %s: %w", r.Number, ErrPending)
	}
	return s.send(r.Kind.UpdatedEvent(), r)
}

func (s *Server) send(e Event, r *Request) error {
	body := s.Body(e, r, s.cfg.Body)
	tries := 1 + s.cfg.Retry.Times
	if s.cfg.Retry.Off {
		tries = 1
	}
	for attempt := 1; ; attempt++ {
		d, err := s.post(s.ctx, e, r.ID, attempt, body)
		switch {
		case err == nil && d.OK():
			return nil
		case errors.Is(err, ErrNoWebhook), errors.Is(err, ErrClosed):
			return fmt.Errorf("send %s of %s: %w", e, r.Number, err)
		case attempt < tries:
			if !s.pause(s.ctx, time.Duration(attempt)*s.cfg.Retry.Wait) {
				return ErrClosed
			}
		case err != nil:
			return fmt.Errorf("send %s of %s: %w", e, r.Number, err)
		default:
			return fmt.Errorf("send %s of %s: the webhook answered %d", e, r.Number, d.Status)
		}
	}
}

func (s *Server) post(ctx context.Context, e Event, requestID string, attempt int, body []byte) (Delivery, error) {
	s.mu.Lock()
	hook := s.webhook
	if s.closed {
		s.mu.Unlock()
		return Delivery{}, ErrClosed
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	if hook.url == "" {
		return Delivery{}, ErrNoWebhook
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	d := Delivery{At: s.now(), Event: e, RequestID: requestID, Attempt: attempt, Body: bytes.Clone(body)}
	started := time.Now()
	err := s.exchange(ctx, hook, body, &d)
	d.Took = time.Since(started)
	if err != nil {
		d.Err = err.Error()
	}
	s.mu.Lock()
	s.deliveries.add(d)
	s.changedLocked()
	s.mu.Unlock()
	return d, err
}

func (s *Server) exchange(ctx context.Context, hook webhook, body []byte, d *Delivery) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's address is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "epmtest")
	if hook.user != "" || hook.password != "" {
		req.SetBasicAuth(hook.user, hook.password)
	}
	res, err := s.cfg.WebhookClient.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // without the address, which may hold a password
		}
		return fmt.Errorf("post webhook: %w", err)
	}
	defer res.Body.Close()
	d.Status = res.StatusCode
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	d.Answer = string(answer)
	if err != nil {
		return fmt.Errorf("read the webhook's answer: %w", err)
	}
	return nil
}

// confirm sends the update of a decision in the background, with AutoConfirm.
func (s *Server) confirm(requestID string) {
	if s.cfg.AutoConfirm {
		s.start(func() { s.confirmLater(requestID) })
	}
}

func (s *Server) confirmLater(requestID string) {
	if s.pause(s.ctx, s.cfg.ConfirmAfter) {
		_ = s.SendUpdate(requestID) // Deliveries shows how it went
	}
}
