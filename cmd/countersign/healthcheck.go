package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// healthcheckTime is for the question and its answer; /readyz takes 2 s at
// most.
const healthcheckTime = 4 * time.Second

// healthcheck asks the bot on this machine whether it lives or, with --ready,
// whether everything it needs is usable. It is for containers, which hold no
// other program that could ask.
func healthcheck(ctx context.Context, p Env, args []string) error {
	path := "/healthz"
	switch {
	case len(args) == 1 && args[0] == "--ready":
		path = "/readyz"
	case len(args) > 0:
		return errors.New("healthcheck takes --ready or nothing: it reads COUNTERSIGN_LISTEN, COUNTERSIGN_OPS_LISTEN and COUNTERSIGN_TLS_CERT")
	}
	env, _ := p.Environment() // what else is wrong in it, serve tells
	what, health, err := askHealth(ctx, env, path)
	switch {
	case err != nil:
		return err
	case health.Ready:
		_, err = fmt.Fprintf(p.Stdout, "%s is ready\n", what)
		return err
	case health.Alive:
		_, err = fmt.Fprintf(p.Stdout, "%s is alive\n", what)
		return err
	case len(health.Problems) > 0:
		return fmt.Errorf("%s is not ready: %s", what, sayProblems(health.Problems))
	}
	return fmt.Errorf("%s is not ready: its log and countersign doctor say why", what)
}

// health is what /healthz or /readyz answers.
type health struct {
	Alive, Ready bool
	Problems     map[string]string // at OPS_LISTEN alone
}

// errNoAnswer is that nothing listens, or it hangs.
var errNoAnswer = errors.New("does not answer")

// askHealth asks the bot on this machine: where operators ask it, if that is
// configured, else where all others do.
func askHealth(ctx context.Context, env environment, path string) (what string, h health, _ error) {
	name, listen, scheme := "LISTEN", env.Listen, "http"
	switch {
	case env.OpsListen != "":
		name, listen = "OPS_LISTEN", env.OpsListen
	case env.TLSCert != "":
		scheme = "https"
	}
	if _, port, err := net.SplitHostPort(listen); err != nil || port == "0" {
		return "", h, fmt.Errorf("%s_%s: write an address and a port, for example :8080: nobody could tell where the bot listens", envPrefix, name)
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost"+path, nil)
	if err != nil {
		return "", h, err
	}
	what = "the bot at " + listen
	client := &http.Client{
		Transport: &http.Transport{
			// A dialer takes an address without a host for this machine.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, listen)
			},
			// The certificate is for the name that others call the bot by, and
			// nothing secret is sent or believed.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return what, h, fmt.Errorf("%s %w: %w", what, errNoAnswer, withoutURL(err))
	}
	defer res.Body.Close()
	err = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&h)
	notReady := res.StatusCode == http.StatusServiceUnavailable && path == "/readyz" && !h.Ready
	if err == nil && (notReady || res.StatusCode == http.StatusOK && (h.Alive || h.Ready)) {
		return what, h, nil
	}
	return what, h, fmt.Errorf("%s: something else answers there, with HTTP status %d", what, res.StatusCode)
}

// withoutURL is what an http.Client's err says beside method and address.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
