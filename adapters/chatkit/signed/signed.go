// Package signed lets in what a platform has signed. It reads no body before
// the headers are those of the platform, few at once and none for long, so
// that strangers cost next to nothing; and it tells what it refuses.
package signed

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// MaxBody is the largest request that is read, in bytes: a platform sends
	// the clicked message along, and our cards stay well below.
	MaxBody = 256 << 10
	// MaxAge is how old or how new a signature may be. Slack asks for no more
	// (docs.slack.dev/authentication/verifying-requests-from-slack); Discord
	// sets no limit, but without one a request could be sent again for ever.
	MaxAge = 5 * time.Minute

	// maxReading is how many bodies are read at once, each into a buffer that
	// is used again.
	maxReading = 16
)

// Reason is why a request was refused.
type Reason string

// The reasons.
const (
	Unsigned   Reason = "unsigned"   // without the platform's headers, or not of their shape
	Clock      Reason = "clock"      // signed at a time that is too far from ours
	Signature  Reason = "signature"  // not signed with our secret
	Replayed   Reason = "replayed"   // came before
	TooLarge   Reason = "too_large"  // larger than MaxBody
	Incomplete Reason = "incomplete" // did not arrive in time
)

// Reasons lists them all.
func Reasons() []Reason {
	return []Reason{Unsigned, Clock, Signature, Replayed, TooLarge, Incomplete}
}

// Config says how a platform signs.
type Config struct {
	// Stamp is when a request was signed, in Unix seconds, and whether its
	// headers have the shape of the platform's. Required.
	Stamp func(http.Header) (seconds int64, ok bool)
	// Verify returns why a body is refused that came with such headers, or "".
	// Required.
	Verify func(http.Header, []byte) Reason
	// Advice says what to check when signatures are wrong. Required.
	Advice string

	// Within is how long a body may take; default 3 s, which Slack and Discord
	// give the whole answer.
	Within time.Duration

	Refused func(Reason)     // is told of each request that is refused; default nothing
	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // default slog.Default()
}

// Requests takes the signed requests of one platform. It is safe for
// concurrent use.
type Requests struct {
	cfg     Config
	refusal refusals

	buffers chan *bytes.Buffer // that are not in use

	mu      sync.Mutex
	reading []*http.ResponseController // of the bodies that are being read, who has been at it longest first
}

// New returns the requests that cfg describes.
func New(cfg Config) *Requests {
	if cfg.Within <= 0 {
		cfg.Within = 3 * time.Second
	}
	if cfg.Refused == nil {
		cfg.Refused = func(Reason) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	q := &Requests{cfg: cfg, refusal: refusals{log: cfg.Log, advice: cfg.Advice}, buffers: make(chan *bytes.Buffer, maxReading)}
	for range maxReading {
		q.buffers <- &bytes.Buffer{}
	}
	return q
}

// Read returns the body of a request that the platform has signed. Any other
// it answers itself.
func (q *Requests) Read(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed)
		return nil, false
	}
	seconds, ok := q.cfg.Stamp(r.Header)
	if !ok {
		q.refuse(w, http.StatusUnauthorized, Unsigned, 0)
		return nil, false
	}
	if off := time.Unix(seconds, 0).Sub(q.cfg.Now()); off > MaxAge || off < -MaxAge {
		q.refuse(w, http.StatusUnauthorized, Clock, off)
		return nil, false
	}
	if r.ContentLength > MaxBody {
		q.refuse(w, http.StatusRequestEntityTooLarge, TooLarge, 0)
		return nil, false
	}
	b, ok := q.buffer(r.Context())
	if !ok {
		q.refuse(w, http.StatusRequestTimeout, Incomplete, 0)
		return nil, false
	}
	defer func() { q.buffers <- b }()
	b.Reset()
	err := q.read(w, r, b)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		q.refuse(w, http.StatusRequestEntityTooLarge, TooLarge, 0)
		return nil, false
	case err != nil:
		q.refuse(w, http.StatusRequestTimeout, Incomplete, 0)
		return nil, false
	}
	if why := q.cfg.Verify(r.Header, b.Bytes()); why != "" {
		q.refuse(w, http.StatusUnauthorized, why, 0)
		return nil, false
	}
	w.Header().Del("Connection") // which the bodies of strangers have closed
	return bytes.Clone(b.Bytes()), true
}

// buffer returns one to read into. When all are in use it takes that of the
// body that has taken longest: a platform's arrives with its headers, and must
// not wait for those that never end.
func (q *Requests) buffer(ctx context.Context) (*bytes.Buffer, bool) {
	select {
	case b := <-q.buffers:
		return b, true
	default:
	}
	q.mu.Lock()
	if len(q.reading) > 0 {
		_ = q.reading[0].SetReadDeadline(time.Now())
		q.reading = slices.Delete(q.reading, 0, 1)
	}
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Within)
	defer cancel()
	select {
	case b := <-q.buffers:
		return b, true
	case <-ctx.Done():
		return nil, false
	}
}

// read reads a body into b.
func (q *Requests) read(w http.ResponseWriter, r *http.Request, b *bytes.Buffer) error {
	conn := http.NewResponseController(w)
	// A response that knows no deadlines is of no connection, and cannot be slow.
	_ = conn.SetReadDeadline(time.Now().Add(q.cfg.Within))
	q.mu.Lock()
	q.reading = append(q.reading, conn)
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.reading = slices.DeleteFunc(q.reading, func(other *http.ResponseController) bool { return other == conn })
	}()
	_, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, MaxBody))
	return err
}

// refuse answers a request that is refused. off is how far its time is from
// ours.
func (q *Requests) refuse(w http.ResponseWriter, status int, why Reason, off time.Duration) {
	q.cfg.Refused(why)
	q.refusal.note(why, off)
	refuse(w, status)
}

func refuse(w http.ResponseWriter, status int) {
	// Else the rest of the body would be waited for.
	w.Header().Set("Connection", "close")
	http.Error(w, http.StatusText(status), status)
}
