package epm

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/tickets"
)

// maxBody is the largest webhook, in bytes. The templates fill 4 KB; command
// lines of 100 KB have been seen elsewhere.
const maxBody = 1 << 20

// retryAfter is what EPM is asked to wait, in seconds, when a webhook could
// not be stored.
const retryAfter = "5"

// Keeper makes a webhook durable together with what it says. When Keep
// returns without an error, EPM is told that it need not send it again.
type Keeper interface {
	Keep(ctx context.Context, in tickets.Incoming) (tickets.Receipt, error)
}

// ReceiverConfig is what a receiver is made of.
type ReceiverConfig struct {
	User             string // of Basic authentication; required
	Password         string // required
	PasswordPrevious string // also accepted, while rotating; default none

	Allow          []netip.Prefix // networks that may send; default all
	TrustedProxies []netip.Prefix // whose X-Forwarded-For counts; default none

	Keeper  Keeper              // required
	Observe func(result string) // called once per webhook; default: nothing
	Now     func() time.Time    // default time.Now
	Log     *slog.Logger        // required
}

// Receiver is the HTTP handler for EPM's webhooks. It answers in JSON; EPM
// keeps the answers in its delivery history, where admins read them.
type Receiver struct {
	ReceiverConfig
	user      [sha256.Size]byte
	passwords [][sha256.Size]byte
}

// Results that Observe is called with, beside the statuses of tickets.
const (
	resultUnauthorized = "unauthorized"
	resultForbidden    = "forbidden"
	resultUnsupported  = "unsupported"
	resultTooLarge     = "too_large"
	resultUnavailable  = "unavailable"
	resultBroken       = "broken" // the body did not arrive whole
)

// NewReceiver checks c and makes a receiver.
func NewReceiver(c ReceiverConfig) (*Receiver, error) {
	switch {
	case c.User == "" || c.Password == "":
		return nil, errors.New("epm: the webhook's user or password is missing")
	case c.Keeper == nil:
		return nil, errors.New("epm: no keeper")
	case c.Log == nil:
		return nil, errors.New("epm: no log")
	}
	if c.Observe == nil {
		c.Observe = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Receiver{ReceiverConfig: c, user: sha256.Sum256([]byte(c.User)), passwords: [][sha256.Size]byte{sha256.Sum256([]byte(c.Password))}}
	if c.PasswordPrevious != "" {
		r.passwords = append(r.passwords, sha256.Sum256([]byte(c.PasswordPrevious)))
	}
	return r, nil
}

// reply is the answer to EPM.
type reply struct {
	Incoming string         `json:"incoming,omitempty"`
	Ticket   tickets.Number `json:"ticket,omitempty"`
	Status   tickets.Status `json:"status"`
	Error    string         `json:"error,omitempty"` // a sentence that says what to do
}

// ServeHTTP implements [http.Handler].
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		r.refuse(w, http.StatusMethodNotAllowed, resultUnsupported, "EPM's webhooks are sent with POST")
		return
	}
	from, ok := r.sender(q)
	if !ok {
		r.Log.Warn("webhook refused: address not allowed", "remote", from)
		r.refuse(w, http.StatusForbidden, resultForbidden, "this address may not send webhooks; an admin can add it to COUNTERSIGN_WEBHOOK_ALLOW")
		return
	}
	if !r.authenticated(q) {
		r.Log.Warn("webhook refused: wrong user or password", "remote", from)
		w.Header().Set("WWW-Authenticate", `Basic realm="countersign", charset="UTF-8"`)
		r.refuse(w, http.StatusUnauthorized, resultUnauthorized, "the user or password is wrong; compare the webhook's authentication in EPM with COUNTERSIGN_WEBHOOK_USER and COUNTERSIGN_WEBHOOK_PASSWORD")
		return
	}
	if !isJSON(q.Header.Get("Content-Type")) {
		r.refuse(w, http.StatusUnsupportedMediaType, resultUnsupported, "set the webhook's content type in EPM to application/json")
		return
	}
	body, err := readBody(w, q)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			r.refuse(w, http.StatusRequestEntityTooLarge, resultTooLarge, "the body is larger than 1 MiB")
			return
		}
		r.Log.Warn("webhook did not arrive whole", "remote", from, "err", err)
		r.refuse(w, http.StatusBadRequest, resultBroken, "the body did not arrive whole; send it again")
		return
	}
	r.keep(w, q, from, body)
}

func (r *Receiver) keep(w http.ResponseWriter, q *http.Request, from string, body []byte) {
	id, err := uuid.NewV7()
	if err != nil {
		r.unavailable(w, err)
		return
	}
	in := tickets.Incoming{ID: id.String(), At: r.Now(), Remote: from, Raw: body}
	status := http.StatusOK
	parsed, err := Parse(body)
	switch {
	case err != nil:
		in.Error, status = err.Error(), http.StatusBadRequest
	case parsed.Ignored:
		in.Error, in.Ignored = unknownEvent(parsed.Event), true
	default:
		in.News, in.Repaired = parsed.News, parsed.Repaired
	}
	// A sender that gives up waiting must not undo what is being written.
	receipt, err := r.Keeper.Keep(context.WithoutCancel(q.Context()), in)
	if err != nil {
		r.unavailable(w, err)
		return
	}
	if in.Error != "" {
		r.Log.Warn("webhook not understood", "incoming", in.ID, "remote", from, "err", in.Error)
	} else {
		r.Log.Info("webhook", "incoming", in.ID, "ticket", receipt.Ticket, "status", receipt.Status, "repaired", in.Repaired)
	}
	r.Observe(string(receipt.Status))
	write(w, status, reply{Incoming: receipt.Incoming, Ticket: receipt.Ticket, Status: receipt.Status, Error: in.Error})
}

func (r *Receiver) unavailable(w http.ResponseWriter, err error) {
	r.Log.Error("cannot keep webhook", "err", err)
	w.Header().Set("Retry-After", retryAfter)
	r.refuse(w, http.StatusServiceUnavailable, resultUnavailable, "the webhook could not be stored; send it again")
}

func (r *Receiver) refuse(w http.ResponseWriter, status int, result, say string) {
	r.Observe(result)
	write(w, status, reply{Status: tickets.StatusFailed, Error: say})
}

func write(w http.ResponseWriter, status int, body reply) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the sender has gone: it will send again
}

func readBody(w http.ResponseWriter, q *http.Request) ([]byte, error) {
	limited := http.MaxBytesReader(w, q.Body, maxBody)
	if n := q.ContentLength; n > 0 && n <= maxBody {
		body := make([]byte, n)
		_, err := io.ReadFull(limited, body)
		return body, err
	}
	return io.ReadAll(limited)
}

// authenticated compares hashes, and all of them, so that the time it takes
// tells nothing of user or passwords.
func (r *Receiver) authenticated(q *http.Request) bool {
	user, password, ok := q.BasicAuth()
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	match := 0
	for i := range r.passwords {
		match |= subtle.ConstantTimeCompare(p[:], r.passwords[i][:])
	}
	return subtle.ConstantTimeCompare(u[:], r.user[:])&match == 1 && ok
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// sender is the address that sent q, as text, and whether it may. Addresses
// in X-Forwarded-For are believed from the right, as far as trusted proxies
// wrote them.
func (r *Receiver) sender(q *http.Request) (string, bool) {
	peer, err := netip.ParseAddrPort(q.RemoteAddr)
	if err != nil {
		return q.RemoteAddr, len(r.Allow) == 0
	}
	from := peer.Addr().Unmap().WithZone("")
	if contains(r.TrustedProxies, from) {
		hops := strings.Split(strings.Join(q.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0 && contains(r.TrustedProxies, from); i-- {
			hop := strings.TrimSpace(hops[i])
			if hop == "" && len(hops) == 1 {
				break // no header: the proxy itself sends
			}
			next, err := parseHop(hop)
			if err != nil {
				// A proxy that we trust passes on what we cannot read: then
				// nobody knows who sent it.
				return from.String(), len(r.Allow) == 0
			}
			from = next
		}
	}
	return from.String(), len(r.Allow) == 0 || contains(r.Allow, from)
}

// parseHop reads an address with or without a port.
func parseHop(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), nil
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr().Unmap().WithZone(""), err
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
