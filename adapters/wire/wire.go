// Package wire is what the adapters share when they read and write a
// platform's JSON, and when they say what went wrong with it.
//
// Its decoding is tolerant: platforms add kinds of things without notice, and
// a delivery that holds one must still reach whoever it is for.
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/countersign/countersign/internal/network"
)

// Text is a JSON string, or whatever stands in its place, as text: an empty
// input is null, and numbers come where strings were.
type Text string

// UnmarshalJSON never fails: what is no text is no text.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = Text(s)
	} else if len(b) > 0 && strings.IndexByte("-0123456789", b[0]) >= 0 {
		*t = Text(b)
	} else {
		*t = ""
	}
	return nil
}

// Soft ignores a field of another type than expected: the others are decoded
// all the same.
func Soft(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return nil
	}
	return err
}

// Encode writes JSON with &, < and > as they are: half the size of a text
// with many of them.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Hidden is an error whose text is our own while its cause can still be
// recognised: a vendor's text may hold an answer, a URL or a token.
type Hidden struct {
	Text  string
	Cause error
}

func (h *Hidden) Error() string { return h.Text }

// Unwrap returns the cause.
func (h *Hidden) Unwrap() error { return h.Cause }

// Describe is err, of a call that got no answer or one that is not JSON, or of
// a connection that ended, for the operator: without anything that the platform or the network put into it
// except names, numbers and addresses.
func Describe(err error) string {
	var (
		syntax *json.SyntaxError
		kind   *json.UnmarshalTypeError
		op     *net.OpError
		dns    *net.DNSError
		ue     *url.Error
		closed *websocket.CloseError
		to     *Unreached
	)
	host := "the platform"
	switch {
	case errors.As(err, &to):
		host = to.Host
	case errors.As(err, &ue):
		if u, err := url.Parse(ue.URL); err == nil && u.Host != "" {
			host = u.Host
		}
	}
	if say := network.Cause(err, network.Peer{Name: host, Host: host}); say != "" {
		return say
	}
	switch {
	case errors.As(err, &syntax), errors.As(err, &kind):
		return "the answer is not the platform's JSON"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "the call was cancelled"
	case errors.As(err, &closed):
		return fmt.Sprintf("closed with code %d", closed.Code)
	case errors.Is(err, websocket.ErrBadHandshake):
		return "the connection was refused"
	case errors.As(err, &dns):
		return "cannot look up " + dns.Name
	case errors.As(err, &op):
		at := ""
		if op.Addr != nil {
			at = " " + op.Addr.String()
		}
		return op.Op + at + ": " + op.Err.Error()
	case errors.As(err, &ue):
		if ue.Timeout() {
			return "no answer in time"
		}
		return "the connection failed: " + fmt.Sprintf("%T", ue.Err)
	}
	return fmt.Sprintf("the answer could not be understood (%T)", err)
}

// NeverSent reports whether err says that the call did not get as far as the
// platform.
func NeverSent(err error) bool { return network.NeverSent(err) }

// Unreached is a host to which no connection could be made.
type Unreached struct {
	Host string
	Err  error
}

func (u *Unreached) Error() string { return Describe(u.Err) }

// Unwrap returns the cause.
func (u *Unreached) Unwrap() error { return u.Err }

// BaseURL checks the address of an API: https, or http to this machine.
func BaseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "https" && (u.Scheme != "http" || !Loopback(u.Hostname()))) {
		return nil, errors.New("the API URL must be https (http only to this machine)")
	}
	return u, nil
}

// Loopback reports whether host is this machine.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
