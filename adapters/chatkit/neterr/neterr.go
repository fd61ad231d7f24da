// Package neterr says what went wrong with a call or a connection, without what
// the platform or the network put into the error.
package neterr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/gorilla/websocket"

	"github.com/countersign/countersign/internal/network"
)

// RedactedError is an error whose text is our own while its cause can still be
// recognised: a vendor's text may hold an answer, a URL or a token.
type RedactedError struct {
	Text  string
	Cause error
}

func (h *RedactedError) Error() string { return h.Text }

// Unwrap returns the cause.
func (h *RedactedError) Unwrap() error { return h.Cause }

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
		to     *UnreachedError
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

// UnreachedError is a host to which no connection could be made.
type UnreachedError struct {
	Host string
	Err  error
}

func (u *UnreachedError) Error() string { return Describe(u.Err) }

// Unwrap returns the cause.
func (u *UnreachedError) Unwrap() error { return u.Err }

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
