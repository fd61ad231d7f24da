package epm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

// What people are told when EPM does not take a decision.
const (
	sayNoAnswer    = "EPM did not answer"
	sayUnreachable = "EPM cannot be reached"
	sayBusy        = "EPM is busy"
	sayBroken      = "EPM reports an error of its own"
	sayCredentials = "EPM does not accept the bot's client ID or secret; an admin has to correct COUNTERSIGN_EPM_CLIENT_ID and COUNTERSIGN_EPM_CLIENT_SECRET"
	sayChanging    = "EPM does not accept the bot's client secret any more; it is sent again when the new one is there"
	sayToken       = "EPM does not accept the token that it has just given to the bot: the bot's API account needs JIT: Full Access, and COUNTERSIGN_EPM_HOST must be the host of the same tenant"
	sayPage        = "a web page answers instead of EPM: a proxy, a firewall or a login page is in the way"
	sayPermission  = "EPM does not allow it: the bot's API account needs JIT: Full Access"
	sayWrongPath   = "EPM does not know the address of the decision; an admin has to correct the decision path (COUNTERSIGN_EPM_APP_DECISION_PATH or COUNTERSIGN_EPM_ADMIN_DECISION_PATH)"
	sayNoRequest   = "EPM does not know this request any more"
	sayRefused     = "EPM did not accept it"
	sayConflict    = "EPM already has a decision for this request and has not said which"
	sayRedirect    = "EPM's host answers with a redirect, which is not followed; an admin has to check COUNTERSIGN_EPM_HOST"
	sayNoEPM       = "there is no EPM at that host; an admin has to check COUNTERSIGN_EPM_HOST"
	sayUnreadable  = "EPM's answer cannot be read"
	sayPace        = "EPM is being called as often as is allowed"
	sayCreates     = "the decision path would create a request instead of deciding one; an admin has to correct it"
	sayNothing     = "there is no decision to send"
	sayTLS         = "the connection to EPM is not secure: its certificate is not trusted here"
)

// networkFailure is a call without an answer. sent says whether the request
// may have reached EPM.
func networkFailure(err error, method string, sent bool) *tickets.Failure {
	var own *tickets.Failure
	if errors.As(err, &own) {
		return own // of guardTransport
	}
	f := &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayUnreachable, Err: plain(err)}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case sent:
		f.UserMessage = sayNoAnswer
		if method != http.MethodGet { // reading has no effect to be unclear about
			f.Class = tickets.Ambiguous
		}
	case errors.As(err, &certificate), errors.As(err, &record):
		f.UserMessage = sayTLS
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

// statusFailure is an answer that is not 2xx, or a web page. Only the status
// of it is kept: its body may hold anything.
func (c *Client) statusFailure(res *http.Response, page bool, method, p string) *tickets.Failure {
	status := strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode)
	f := &tickets.Failure{Class: tickets.Rejected, UserMessage: sayRefused + " (" + strings.TrimSpace(status) + ")", Err: fmt.Errorf("%s %s: %s", method, c.callPath(p), status)}
	if page {
		f.Err = fmt.Errorf("%w: %w", f.Err, &pageError{res.StatusCode})
	}
	switch code := res.StatusCode; {
	case code/100 == 2:
		// Whoever wrote it may have passed the call on to EPM.
		f.Class, f.UserMessage = tickets.Ambiguous, sayPage
		if method == http.MethodGet {
			f.Class = tickets.Unavailable
		}
	case code/100 == 3:
		f.Class, f.UserMessage = tickets.Unavailable, sayRedirect
	case page && code < 500 && code != http.StatusTooManyRequests, code == http.StatusProxyAuthRequired:
		// Somebody before EPM answers, and it is not EPM that refuses.
		f.Class, f.UserMessage = tickets.Unavailable, sayPage
	case code == http.StatusUnauthorized:
		f.Class, f.UserMessage = tickets.Unauthorized, sayToken // which was fresh: call sees to that
	case code == http.StatusForbidden:
		f.Class, f.UserMessage = tickets.Unauthorized, sayPermission
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && method == http.MethodGet:
		f.Class, f.UserMessage, f.RetryAfter = tickets.RateLimited, sayBusy, retryAfterOf(res, c.config.Now())
	case code == http.StatusServiceUnavailable:
		// A gateway may say so after EPM has taken the decision.
		f.Class, f.UserMessage, f.RetryAfter = tickets.Ambiguous, sayBusy, retryAfterOf(res, c.config.Now())
	case code == http.StatusRequestTimeout, code >= 500:
		f.Class, f.UserMessage = tickets.Ambiguous, sayBroken+" ("+strconv.Itoa(code)+")"
		if method == http.MethodGet {
			f.Class = tickets.Unavailable
		}
	case code == http.StatusMethodNotAllowed, code == http.StatusNotFound && p == c.config.AdminDecisionPath:
		f.UserMessage = sayWrongPath
	case code == http.StatusNotFound:
		f.UserMessage = sayNoRequest
	case code == http.StatusConflict:
		// EPM has a decision, and it may be this one.
		f.Class, f.UserMessage = tickets.Ambiguous, sayConflict
	}
	return f
}

// callPath is p for the operator, without the identifier of a record.
func (c *Client) callPath(p string) string {
	if p == c.config.AppDecisionPath || p == c.config.AdminDecisionPath {
		return p
	}
	for _, list := range slices.Concat(lists(tickets.Admin), lists(tickets.Application)) {
		if strings.HasPrefix(p, list+"/") {
			return list + "/{id}"
		}
	}
	return p
}

// retryAfterOf reads the header in both its forms, at most an hour.
func retryAfterOf(res *http.Response, now time.Time) time.Duration {
	v := strings.TrimSpace(res.Header.Get("Retry-After"))
	d := time.Duration(0)
	if s, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(max(s, 0), 3600)) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}

// tokenFailure is a token that was not given.
func tokenFailure(err error) *tickets.Failure {
	var f *tickets.Failure
	if errors.As(err, &f) {
		return f
	}
	var told *tokenError
	if errors.As(err, &told) {
		code := told.status
		switch {
		case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
			return &tickets.Failure{Class: tickets.RateLimited, UserMessage: sayBusy, RetryAfter: told.after, Err: told}
		case code >= 500:
			return &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayBroken + " (" + strconv.Itoa(code) + ")", Err: told}
		case code/100 == 2 && !told.page && told.code == "":
			return &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayUnreadable, Err: told}
		case code/100 == 3:
			return &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayRedirect, Err: told}
		case told.page, code == http.StatusProxyAuthRequired:
			return &tickets.Failure{Class: tickets.Unavailable, UserMessage: sayPage, Err: told}
		case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
			return &tickets.Failure{Class: tickets.Unauthorized, UserMessage: sayNoEPM, Err: told}
		}
		return &tickets.Failure{Class: tickets.Unauthorized, UserMessage: sayCredentials, Err: told}
	}
	return networkFailure(err, http.MethodPost, false) // no decision was on its way
}

// errorCode lets through the error codes of OAuth2 (RFC 6749, section 5.2)
// and nothing else.
func errorCode(s string) string {
	switch s = strings.ToLower(strings.TrimSpace(s)); s {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
		return s
	}
	return ""
}
