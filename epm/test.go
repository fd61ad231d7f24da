package epm

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/countersign/countersign/tickets"
)

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
	if _, err := c.token(ctx); err != nil {
		return Report{Findings: []string{advice(tickets.FailureOf(err).Say)}}
	}
	r := Report{OK: true}
	readable := 0
	for _, list := range []struct{ name, path, older string }{
		{"admin access requests", adminListPath, ""},
		{"application access requests", appListPath, appListPathV2},
	} {
		err := c.readable(ctx, list.path)
		if f := tickets.FailureOf(err); err != nil && f.Class == tickets.Refused && list.older != "" {
			err = c.readable(ctx, list.older)
		}
		if err == nil {
			readable++
			continue
		}
		r.Findings = append(r.Findings, "Reading "+list.name+" does not work: "+advice(tickets.FailureOf(err).Say))
	}
	switch readable {
	case 0:
		r.OK = false
	case 2:
		r.Findings = append(r.Findings, "Host name, credentials and reading were tested. Whether a decision is accepted shows only with a real request.")
	default:
		r.Findings = append(r.Findings, "If you use only one kind of request, that is fine.")
	}
	return r
}

func (c *Client) readable(ctx context.Context, list string) error {
	_, err := c.call(ctx, http.MethodGet, list, url.Values{"Pagination.PageSize": {"1"}, "Pagination.PageNumber": {"1"}}, nil, "test-connection")
	return err
}

// advice makes a sentence of a failure's words, with what to do.
func advice(say string) string {
	todo := ""
	switch say {
	case sayUnreachable, sayNoAnswer:
		todo = ". Check COUNTERSIGN_EPM_HOST and that the firewall lets this machine reach it by HTTPS"
	case sayTLS:
		todo = ". Check for a proxy that opens TLS, and install its certificate authority on this machine"
	case sayNoRequest, sayWrongPath:
		return "EPM does not know this address. Check COUNTERSIGN_EPM_HOST."
	case sayPermission:
		todo = ". In EPM: Configuration → API Settings"
	}
	if say == "" {
		return "EPM gave no answer that can be understood."
	}
	return strings.ToUpper(say[:1]) + say[1:] + todo + "."
}
