package epm

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
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

// keepTimeout is how long the keeper may take, and before it the wait for one
// of maxAtOnce. How long EPM waits for an answer is not documented; it must
// hear that it has to send again before it gives up.
const keepTimeout = 5 * time.Second

// maxAtOnce bounds how many webhooks are read and kept at the same time, and
// so the memory that they take. The others wait unread.
const maxAtOnce = 256

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
	// Current are the two passwords at present, asked for each webhook, for
	// ones that change while the receiver works. Default the two above.
	Current func() (password, previous string)

	Allow          []netip.Prefix // networks that may send; default all
	TrustedProxies []netip.Prefix // whose X-Forwarded-For counts; default none

	Reader Reader // how bodies are read; default the zero one
	Keeper Keeper // required
	// Observe is called once per webhook with what became of it: created,
	// updated, duplicate, failed, unauthorized, forbidden, too_large,
	// unsupported or unavailable; default nothing.
	Observe func(result string)
	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // required
}

// String hides the passwords.
func (c ReceiverConfig) String() string {
	return fmt.Sprintf("epm.ReceiverConfig{User: %q, Password: [secret]}", c.User)
}

// GoString hides the passwords.
func (c ReceiverConfig) GoString() string { return c.String() }

// LogValue hides the passwords.
func (c ReceiverConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText hides the passwords.
func (c ReceiverConfig) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Receiver is the HTTP handler for EPM's webhooks. It answers in JSON; EPM
// keeps the answers in its delivery history, where admins read them.
type Receiver struct {
	config ReceiverConfig
	user   [sha256.Size]byte
	slots  chan struct{} // those that are read and kept

	guesses             guesses
	forbidden, mistaken tally // what is logged of those
}

// String tells nothing.
func (r *Receiver) String() string { return "epm.Receiver" }

// GoString tells nothing.
func (r *Receiver) GoString() string { return r.String() }

// Results that Observe is called with, beside the statuses of tickets.
const (
	resultUnauthorized = "unauthorized"
	resultForbidden    = "forbidden"
	resultUnsupported  = "unsupported"
	resultTooLarge     = "too_large"
	resultUnavailable  = "unavailable"
)

// Results lists everything that Observe is called with.
func Results() []string {
	return []string{
		string(tickets.StatusCreated), string(tickets.StatusUpdated), string(tickets.StatusDuplicate), string(tickets.StatusFailed),
		resultUnauthorized, resultForbidden, resultUnsupported, resultTooLarge, resultUnavailable,
	}
}

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
	c.Allow, c.TrustedProxies = unmapped(c.Allow), unmapped(c.TrustedProxies)
	if c.Current == nil {
		c.Current = func() (string, string) { return c.Password, c.PasswordPrevious }
	}
	refused := func(what string) tally {
		return tally{log: func(count int, remote string) { c.Log.Warn(what, "remote", remote, "count", count) }}
	}
	return &Receiver{
		config: c, user: sha256.Sum256([]byte(c.User)), slots: make(chan struct{}, maxAtOnce),
		forbidden: refused("webhook refused: address not allowed"), mistaken: refused("webhook refused: wrong user or password"),
	}, nil
}

// reply is the answer to EPM.
type reply struct {
	Incoming string         `json:"incoming,omitempty"`
	Ticket   tickets.Number `json:"ticket,omitempty"`
	Status   tickets.Status `json:"status"`
	Error    string         `json:"error,omitempty"` // a sentence that says what to do
}

// sayGuesses is said of a wrong password after too many. The right one is
// taken at any time: only wrong ones are counted.
const sayGuesses = "too many webhooks with a wrong user or password came from this network; compare the webhook's authentication in EPM with COUNTERSIGN_WEBHOOK_USER and COUNTERSIGN_WEBHOOK_PASSWORD"

// ServeHTTP implements [http.Handler].
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p)
		} else if p != nil {
			// Its text may hold some of the body.
			r.config.Log.Error("webhook panicked", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
			r.tryLater(w)
		}
	}()
	r.serve(w, q)
}

func (r *Receiver) serve(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		r.refuse(w, http.StatusMethodNotAllowed, resultUnsupported, "EPM's webhooks are sent with POST")
		return
	}
	from, ok := r.sender(q)
	if !ok {
		r.forbidden.add(from)
		r.refuse(w, http.StatusForbidden, resultForbidden, "this address may not send webhooks; an admin can add it to COUNTERSIGN_WEBHOOK_ALLOW")
		return
	}
	if !r.authenticated(q) {
		r.mistaken.add(from)
		// Who sends no password guesses none: some clients ask first.
		if q.Header.Get("Authorization") != "" {
			if wait := r.guesses.wrong(from, r.config.Now()); wait > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
				r.refuse(w, http.StatusTooManyRequests, resultUnauthorized, sayGuesses)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="countersign", charset="UTF-8"`)
		r.refuse(w, http.StatusUnauthorized, resultUnauthorized, sayUnauthorized(q.Header.Get("Authorization")))
		return
	}
	if !isJSON(q.Header.Get("Content-Type")) || !isPlain(q.Header.Get("Content-Encoding")) {
		r.refuse(w, http.StatusUnsupportedMediaType, resultUnsupported, "the webhook must be sent as application/json, not compressed; set its content type in EPM")
		return
	}
	select {
	case r.slots <- struct{}{}:
	default:
		turn := time.NewTimer(keepTimeout)
		defer turn.Stop()
		select {
		case r.slots <- struct{}{}:
		case <-q.Context().Done():
			return // nobody waits for the answer any more
		case <-turn.C:
			r.config.Log.Error("too many webhooks at once, one is to come again", "remote", from)
			r.tryLater(w)
			return
		}
	}
	defer func() { <-r.slots }()
	body, err := readBody(w, q)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			r.refuse(w, http.StatusRequestEntityTooLarge, resultTooLarge, "the body is larger than 1 MiB")
			return
		}
		r.config.Log.Warn("webhook did not arrive whole", "remote", from, "err", err)
		r.refuse(w, http.StatusBadRequest, string(tickets.StatusFailed), "the body did not arrive whole; send it again")
		return
	}
	w.Header().Del("Connection") // which the bodies of strangers have closed
	r.keep(w, q, from, body)
}

func (r *Receiver) keep(w http.ResponseWriter, q *http.Request, from string, body []byte) {
	id, err := uuid.NewV7()
	if err != nil {
		r.config.Log.Error("cannot name webhook", "err", err)
		r.tryLater(w)
		return
	}
	in := r.config.Reader.Read(tickets.Incoming{ID: id.String(), At: r.config.Now(), Remote: from, Raw: body})
	// A sender that gives up waiting must not undo what is being written.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), keepTimeout)
	defer cancel()
	receipt, err := r.config.Keeper.Keep(ctx, in)
	if err != nil {
		r.config.Log.Error("cannot keep webhook", "incoming", in.ID, "err", err)
		r.tryLater(w)
		return
	}
	status, answer := http.StatusOK, reply{Incoming: in.ID, Ticket: receipt.Ticket, Status: receipt.Status, Error: in.Error}
	switch {
	case in.Ignored:
		answer.Status = tickets.StatusFailed
		r.config.Log.Warn("webhook of an unknown event kept", "incoming", in.ID, "remote", from)
	case in.Error != "":
		status, answer.Status = http.StatusBadRequest, tickets.StatusFailed
		r.config.Log.Warn("webhook not understood", "incoming", in.ID, "remote", from, "err", in.Error)
	default:
		r.config.Log.Info("webhook", "incoming", in.ID, "ticket", receipt.Ticket, "status", receipt.Status, "repaired", in.Repaired)
	}
	r.config.Observe(string(answer.Status))
	write(w, status, answer)
}

// tryLater asks EPM to send the webhook again.
func (r *Receiver) tryLater(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfter)
	r.refuse(w, http.StatusServiceUnavailable, resultUnavailable, "the webhook could not be stored; send it again")
}

func (r *Receiver) refuse(w http.ResponseWriter, status int, result, say string) {
	r.config.Observe(result)
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
	current, previous := r.config.Current()
	if previous == "" {
		previous = current
	}
	match := 0
	// Basic authentication does not say in which encoding a name and a password
	// are: UTF-8, as we ask for, or ISO-8859-1, as many senders write.
	// https://www.rfc-editor.org/rfc/rfc7617#section-2.1
	for _, read := range []func(string) string{asItIs, fromLatin1} {
		u, p := sha256.Sum256([]byte(read(user))), sha256.Sum256([]byte(read(password)))
		for _, known := range []string{current, previous} {
			k := sha256.Sum256([]byte(known))
			match |= subtle.ConstantTimeCompare(u[:], r.user[:]) & subtle.ConstantTimeCompare(p[:], k[:])
		}
	}
	return match == 1 && ok
}

func asItIs(s string) string { return s }

// fromLatin1 reads s as ISO-8859-1.
func fromLatin1(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// sayUnauthorized says what is wrong with a header Authorization. What stands
// in it is not repeated.
func sayUnauthorized(header string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	switch {
	case scheme == "":
		return "the webhook came without a user and password; set its authentication in EPM to Basic. If it is Basic already, a proxy between EPM and Countersign takes the header Authorization away: let it pass that on"
	case strings.EqualFold(scheme, "Bearer"):
		return "the webhook came with a token (Bearer); set its authentication in EPM to Basic, with the user and password in COUNTERSIGN_WEBHOOK_USER and COUNTERSIGN_WEBHOOK_PASSWORD"
	case !strings.EqualFold(scheme, "Basic"):
		return "the webhook's header Authorization does not begin with Basic; set its authentication in EPM to Basic, with the user and password in COUNTERSIGN_WEBHOOK_USER and COUNTERSIGN_WEBHOOK_PASSWORD"
	case err != nil || !strings.Contains(string(decoded), ":"):
		return "what follows Basic in the webhook's header Authorization is not USER:PASSWORD in base64; EPM's authentication type Basic encodes it by itself, with the type Custom you have to"
	}
	return "the user or password is wrong; compare the webhook's authentication in EPM with COUNTERSIGN_WEBHOOK_USER and COUNTERSIGN_WEBHOOK_PASSWORD"
}

// isJSON reports whether a content type is one of those that people and proxies
// write for JSON. The charset is not looked at: JSON is UTF-8.
func isJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind, _, _ = strings.Cut(kind, ",") // doubled by a proxy
	switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
	case "application/json", "text/json", "application/x-json", "text/x-json":
		return true
	}
	return strings.Contains(kind, "/") && strings.HasSuffix(kind, "+json")
}

func isPlain(encoding string) bool {
	return encoding == "" || strings.EqualFold(encoding, "identity")
}

// sender is the address that sent q, as text, and whether it may. Addresses
// in X-Forwarded-For are believed from the right, as far as trusted proxies
// wrote them.
func (r *Receiver) sender(q *http.Request) (string, bool) {
	peer, err := netip.ParseAddrPort(q.RemoteAddr)
	if err != nil {
		return q.RemoteAddr, len(r.config.Allow) == 0
	}
	from := peer.Addr().Unmap().WithZone("")
	if contains(r.config.TrustedProxies, from) {
		hops := strings.Split(strings.Join(q.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0 && contains(r.config.TrustedProxies, from); i-- {
			hop := strings.TrimSpace(hops[i])
			if hop == "" && len(hops) == 1 {
				break // no header: the proxy itself sends
			}
			next, err := parseHop(hop)
			if err != nil {
				// A proxy that we trust passes on what we cannot read: then
				// nobody knows who sent it.
				return from.String(), len(r.config.Allow) == 0
			}
			from = next
		}
	}
	return from.String(), len(r.config.Allow) == 0 || contains(r.config.Allow, from)
}

// parseHop reads an address with or without a port.
func parseHop(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), nil
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr().Unmap().WithZone(""), err
}

// unmapped writes networks of IPv4 addresses in IPv6 as what they are.
func unmapped(list []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out[i] = p
	}
	return out
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
