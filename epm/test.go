package epm

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

// maxSkew is how far our clock may be from EPM's: decisions carry a time.
const maxSkew = 2 * time.Minute

// Report is the result of a connection test, for people.
type Report struct {
	OK       bool
	Findings []string // whole sentences; what works and what does not
}

// String is "Connection OK" or what is wrong and what to do, with the
// findings below it.
func (r Report) String() string {
	head := "Connection OK"
	if !r.OK {
		head = "The connection to EPM does not work"
	}
	return strings.Join(append([]string{head}, r.Findings...), "\n")
}

// Test tries the connection: sign in, then read each list. It decides
// nothing, because EPM has no way to try that without effect.
func (c *Client) Test(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	if _, err := c.tokens.get(ctx); err != nil {
		f := tokenFailure(err)
		c.remember(http.MethodPost, f)
		c.noteDate(err)
		r := Report{Findings: []string{c.explain(f)}}
		if say := c.sayClock(); say != "" {
			r.Findings = append(r.Findings, say)
		}
		return r
	}
	r := Report{OK: true}
	readable := 0
	var shared string // what is wrong with all of it
	for _, list := range []struct {
		name  string
		paths []string
	}{
		{"admin access requests", lists(tickets.Admin)},
		{"application access requests", lists(tickets.Application)},
	} {
		var f *tickets.Failure
		for _, p := range list.paths {
			_, status, err := c.page(ctx, p, 1, 1, "test-connection")
			if f = nil; err == nil {
				readable++
				break
			}
			f = tickets.FailureOf(err)
			if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
				break
			}
		}
		if f != nil && shared == c.explain(f) {
			r.Findings = []string{shared}
		} else if f != nil {
			shared = c.explain(f)
			r.Findings = append(r.Findings, "Reading "+list.name+" does not work. "+shared)
		}
	}
	switch readable {
	case 0:
		r.OK = false
	case 1:
		r.Findings = append(r.Findings, "If you use only the other kind of request, that is fine.")
	}
	if readable > 0 {
		r.Findings = append(r.Findings, "Host name, credentials and reading were tested. Whether a decision is accepted shows only with a real request: EPM has no way to try one.")
	}
	if say := c.sayClock(); say != "" {
		r.Findings = append(r.Findings, say)
	}
	return r
}

// advice makes sentences of a failure's words, with what to do.
func (c *Client) advice(f *tickets.Failure) string {
	todo := ""
	switch f.UserMessage {
	case sayUnreachable, sayNoAnswer:
		todo = ". Check COUNTERSIGN_EPM_HOST (" + c.base.Host + "), and that the firewall and the proxy let this machine reach it by HTTPS"
	case sayTLS:
		todo = ". Check COUNTERSIGN_EPM_HOST (" + c.base.Host + ") and this machine's clock; if a proxy opens TLS, install its certificate authority on this machine"
	case sayNoRequest, sayWrongPath:
		return "EPM does not know this address. Check COUNTERSIGN_EPM_HOST (" + c.base.Host + ")."
	case sayPermission:
		todo = ". Change it in EPM under Configuration, API Settings"
	case sayBusy, sayPace:
		todo = ". Try again in a minute"
	}
	if f.UserMessage == "" {
		return "EPM gave no answer that can be understood."
	}
	return strings.ToUpper(f.UserMessage[:1]) + f.UserMessage[1:] + todo + "."
}

// watchClock notes how far EPM's clock is from ours.
func (c *Client) watchClock(date string) {
	if at, err := http.ParseTime(date); err == nil {
		c.skew.Store(int64(at.Sub(c.config.Now())))
	}
}
