package epm

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/tickets"
)

// proxyError is a proxy that does not let us through.
type proxyError struct{ status int }

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy answers %d %s", e.status, http.StatusText(e.status))
}

// askProxy makes errors of a proxy's refusals that can be told from EPM's.
func askProxy(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return &proxyError{res.StatusCode}
	}
	return nil
}

// pageError is a web page where EPM's API answers in JSON.
type pageError struct{ status int }

func (e *pageError) Error() string {
	return fmt.Sprintf("a web page with status %d", e.status)
}

// isPage reports whether an answer, which begins with body, is written for
// browsers. EPM's API answers in JSON, proxies and firewalls in HTML, which
// not all of them call so.
func isPage(res *http.Response, body []byte) bool {
	if res == nil {
		return false
	}
	kind := strings.ToLower(strings.TrimSpace(res.Header.Get("Content-Type")))
	return strings.HasPrefix(kind, "text/html") || strings.HasPrefix(kind, "application/xhtml") ||
		bytes.HasPrefix(bytes.TrimSpace(withoutBOM(body)), []byte("<"))
}

// withoutBOM is b without a byte-order mark before it.
func withoutBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }

// cause says why err kept us from EPM, and what to do: the first sentence
// what is wrong. It is empty if nothing more is known than the failure's own
// words tell.
func (c *Client) cause(err error) string {
	host := c.base.Host
	var dns *net.DNSError
	var refusedBy *proxyError
	var page *pageError
	var address *net.OpError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var network net.Error
	errors.As(err, &address)
	switch {
	case errors.As(err, &refusedBy) && refusedBy.status == http.StatusProxyAuthRequired:
		return "The proxy between this machine and EPM wants a user and password. Put them into HTTPS_PROXY, or except " + host + " in NO_PROXY."
	case errors.As(err, &refusedBy):
		return fmt.Sprintf("The proxy between this machine and EPM refuses the way to %s (%d). Let it pass HTTPS to that host, or except the host in NO_PROXY.", host, refusedBy.status)
	case address != nil && address.Op == "proxyconnect":
		return "The proxy between this machine and EPM cannot be reached. Check HTTPS_PROXY, or except " + host + " in NO_PROXY."
	case errors.As(err, &page) && page.status >= 500:
		return fmt.Sprintf("A web page answers at %s instead of EPM's API (%d): EPM's own gateway or a proxy before it has trouble. Try again in a minute; if it lasts, check COUNTERSIGN_EPM_HOST and the proxy.", host, page.status)
	case errors.As(err, &page):
		return fmt.Sprintf("A web page answers at %s instead of EPM's API (%d): a proxy, a login page or another host. Check COUNTERSIGN_EPM_HOST, and let the proxy pass calls to that host unchanged.", host, page.status)
	case errors.As(err, &dns) && dns.IsNotFound:
		return "There is no host named " + c.base.Hostname() + ". Correct COUNTERSIGN_EPM_HOST: it is the console's host with -services after the first word, for example acme-services.beyondtrustcloud.com."
	case errors.As(err, &dns):
		return "The name " + c.base.Hostname() + " cannot be looked up: this machine's name server (DNS) does not answer. Check the network and /etc/resolv.conf."
	case errors.As(err, &name):
		return "The certificate at " + host + " is for another name. Check COUNTERSIGN_EPM_HOST; if it is right, something else answers there."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		now := time.Now() // the clock by which the certificate was judged
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return "The certificate at " + host + " is not valid yet by this machine's clock, which says " + now.UTC().Format("2006-01-02 15:04 UTC") + ". Set the clock by NTP; if it is right, something else than EPM answers there."
		}
		return "The certificate at " + host + " has expired by this machine's clock, which says " + now.UTC().Format("2006-01-02 15:04 UTC") + ". Set the clock by NTP; if it is right, something else than EPM answers there."
	case errors.As(err, &authority), errors.As(err, &invalid):
		return "The certificate at " + host + " is of an authority that this machine does not know. If a proxy opens TLS, install its certificate authority on this machine, or name it in SSL_CERT_FILE; else something else than EPM answers there."
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "What answers at " + host + " does not speak TLS. Check COUNTERSIGN_EPM_HOST and its port, and that no proxy answers in EPM's place."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "The connection to " + host + " is refused. Check COUNTERSIGN_EPM_HOST, and that the firewall and the proxy let this machine reach it by HTTPS."
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "There is no answer from " + host + " in time. Check that the firewall and the proxy let this machine reach it by HTTPS; if others reach it, try again in a minute."
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "This machine has no way to " + host + ". Check its network, and whether it needs a proxy (HTTPS_PROXY)."
	}
	return ""
}

// noteDate notes how far EPM's clock is from ours by a refused token's answer.
func (c *Client) noteDate(err error) {
	var refused *tokenError
	if errors.As(err, &refused) {
		c.watchClock(refused.date)
	}
}

// sayClock says that this machine's clock is wrong, or nothing.
func (c *Client) sayClock() string {
	if skew := time.Duration(c.skew.Load()); skew.Abs() > maxSkew {
		return fmt.Sprintf("This machine's clock differs from EPM's by %s. Correct it: decisions carry a time.", skew.Abs().Round(time.Second))
	}
	return ""
}

// explain is the sentences for a failed call of the connection test.
func (c *Client) explain(f *tickets.Failure) string {
	if say := c.cause(f.Err); say != "" {
		return say
	}
	return c.advice(f)
}
