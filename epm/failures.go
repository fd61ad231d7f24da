package epm

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/countersign/countersign/tickets"
)

// What people are told when EPM does not take a decision.
const (
	sayNoAnswer    = "EPM did not answer"
	sayUnreachable = "EPM cannot be reached"
	sayBusy        = "EPM is busy"
	sayBroken      = "EPM reports an error of its own"
	sayCredentials = "EPM does not accept the bot's client ID or secret; an admin has to correct COUNTERSIGN_EPM_CLIENT_ID and COUNTERSIGN_EPM_CLIENT_SECRET"
	sayPermission  = "EPM does not allow it: the bot's API account needs JIT: Full Access"
	sayWrongPath   = "EPM does not know the address of the decision; an admin has to compare the decision path with the API description of this tenant"
	sayNoRequest   = "EPM does not know this request any more"
	sayRefused     = "EPM did not accept it"
	sayTLS         = "the connection to EPM is not secure: its certificate is not trusted here"
)

// networkFailure is a call without an answer. sent says whether the request
// may have reached EPM.
func networkFailure(err error, sent bool) *tickets.Failure {
	f := &tickets.Failure{Class: tickets.Down, Say: sayUnreachable, Err: plain(err)}
	var unknownAuthority x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	switch {
	case sent:
		f.Class, f.Say = tickets.Unclear, sayNoAnswer
	case errors.As(err, &unknownAuthority), errors.As(err, &certificate):
		f.Say = sayTLS
	}
	return f
}

// plain is err without the address that [url.Error] would print.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// statusFailure is an answer that is not 2xx. Only the status of it is kept:
// its body may hold anything.
func (c *Client) statusFailure(res *http.Response, method, p string) *tickets.Failure {
	err := fmt.Errorf("%s %s: %s", method, p, strconv.Itoa(res.StatusCode)+" "+http.StatusText(res.StatusCode))
	f := &tickets.Failure{Class: tickets.Refused, Say: sayRefused + " (" + strconv.Itoa(res.StatusCode) + ")", Err: err}
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized:
		f.Class, f.Say, f.Err = tickets.Denied, sayCredentials, fmt.Errorf("%w: %w", err, errUnauthorized)
	case code == http.StatusForbidden:
		f.Class, f.Say = tickets.Denied, sayPermission
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		f.Class, f.Say, f.After = tickets.Limited, sayBusy, c.retryAfter(res)
	case code == http.StatusRequestTimeout, code >= 500:
		f.Class, f.Say = tickets.Unclear, sayBroken+" ("+strconv.Itoa(code)+")"
	case code == http.StatusMethodNotAllowed, code == http.StatusNotFound && p == c.AdminDecisionPath:
		f.Say = sayWrongPath
	case code == http.StatusNotFound:
		f.Say = sayNoRequest
	case code/100 == 3:
		f.Say = "EPM's host answers with a redirect; check COUNTERSIGN_EPM_HOST"
	}
	return f
}

// retryAfter reads the header in both its forms, at most an hour.
func (c *Client) retryAfter(res *http.Response) time.Duration {
	v := strings.TrimSpace(res.Header.Get("Retry-After"))
	d := time.Duration(0)
	if s, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(max(s, 0), 3600)) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(c.Now())
	}
	return min(max(d, 0), time.Hour)
}

// tokenFailure is a token that was not given. The text of
// [oauth2.RetrieveError] holds the whole answer and is not used.
func tokenFailure(err error) *tickets.Failure {
	var f *tickets.Failure
	if errors.As(err, &f) {
		return f
	}
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		code := refused.Response.StatusCode
		told := fmt.Errorf("token: %d %s", code, http.StatusText(code))
		if word := errorCode(refused.ErrorCode); word != "" {
			told = fmt.Errorf("%w (%s)", told, word)
		}
		switch {
		case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
			return &tickets.Failure{Class: tickets.Limited, Say: sayBusy, Err: told}
		case code >= 500:
			return &tickets.Failure{Class: tickets.Down, Say: sayBroken + " (" + strconv.Itoa(code) + ")", Err: told}
		case code/100 == 2:
			return &tickets.Failure{Class: tickets.Down, Say: "EPM's answer to the sign-in cannot be read", Err: told}
		case code == http.StatusNotFound, code/100 == 3:
			return &tickets.Failure{Class: tickets.Denied, Say: "there is no EPM at that host; an admin has to check COUNTERSIGN_EPM_HOST", Err: told}
		}
		return &tickets.Failure{Class: tickets.Denied, Say: sayCredentials, Err: told}
	}
	var network net.Error
	if errors.As(err, &network) || errors.As(err, new(*url.Error)) {
		f := networkFailure(err, false) // no decision was on its way
		return f
	}
	return &tickets.Failure{Class: tickets.Down, Say: "EPM's answer to the sign-in cannot be read", Err: errors.New("token: unreadable answer")}
}

// errorCode lets through the error codes of OAuth2 (RFC 6749, section 5.2)
// and nothing else.
func errorCode(s string) string {
	switch s {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
		return s
	}
	return ""
}
