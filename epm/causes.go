package epm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/internal/network"
	"github.com/countersign/countersign/tickets"
)

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
	var page *pageError
	var timeout net.Error
	if say := network.Cause(err, network.Peer{Name: "EPM", Host: host, Setting: "COUNTERSIGN_EPM_HOST"}); say != "" {
		return say
	}
	switch {
	case errors.As(err, &page) && page.status >= 500:
		return fmt.Sprintf("A web page answers at %s instead of EPM's API (%d): EPM's own gateway or a proxy before it has trouble. Try again in a minute; if it lasts, check COUNTERSIGN_EPM_HOST and the proxy.", host, page.status)
	case errors.As(err, &page):
		return fmt.Sprintf("A web page answers at %s instead of EPM's API (%d): a proxy, a login page or another host. Check COUNTERSIGN_EPM_HOST, and let the proxy pass calls to that host unchanged.", host, page.status)
	case errors.As(err, &dns) && dns.IsNotFound:
		return "There is no host named " + c.base.Hostname() + ". Correct COUNTERSIGN_EPM_HOST: it is the console's host with -services after the first word, for example acme-services.beyondtrustcloud.com."
	case errors.As(err, &dns):
		return "The name " + c.base.Hostname() + " cannot be looked up: this machine's name server (DNS) does not answer. Check the network and /etc/resolv.conf."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "The connection to " + host + " is refused. Check COUNTERSIGN_EPM_HOST, and that the firewall and the proxy let this machine reach it by HTTPS."
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
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
