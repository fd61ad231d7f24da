package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// healthcheckTime is for the question and its answer; /readyz takes 2 s at
// most.
const healthcheckTime = 4 * time.Second

// healthcheck asks the bot on this machine whether it lives or, with --ready,
// whether everything it needs is usable. It is for containers, which hold no
// other program that could ask.
func healthcheck(ctx context.Context, p process, args []string) error {
	path := "/healthz"
	switch {
	case len(args) == 1 && args[0] == "--ready":
		path = "/readyz"
	case len(args) > 0:
		return errors.New("healthcheck takes --ready or nothing: it reads COUNTERSIGN_LISTEN and COUNTERSIGN_TLS_CERT")
	}
	env, _ := p.Environment() // what else is wrong in it, serve tells
	if _, port, err := net.SplitHostPort(env.Listen); err != nil || port == "0" {
		return fmt.Errorf("%s_LISTEN: write an address and a port, for example :8080: nobody could tell where the bot listens", envPrefix)
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTime)
	defer cancel()
	scheme := "http"
	if env.TLSCert != "" {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost"+path, nil)
	if err != nil {
		return err
	}
	what := "the bot at " + env.Listen
	client := &http.Client{
		Transport: &http.Transport{
			// A dialer takes an address without a host for this machine.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, env.Listen)
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
		return fmt.Errorf("%s does not answer: %w", what, withoutURL(err))
	}
	defer res.Body.Close()
	var health struct {
		Alive, Ready bool
		Problems     map[string]string
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&health)
	switch {
	case err == nil && res.StatusCode == http.StatusOK && health.Ready:
		_, err = fmt.Fprintf(p.Stdout, "%s is ready\n", what)
		return err
	case err == nil && res.StatusCode == http.StatusOK && health.Alive:
		_, err = fmt.Fprintf(p.Stdout, "%s is alive\n", what)
		return err
	case err == nil && len(health.Problems) > 0:
		var list []string
		for _, name := range slices.Sorted(maps.Keys(health.Problems)) {
			list = append(list, name+": "+health.Problems[name])
		}
		return fmt.Errorf("%s is not ready: %s", what, strings.Join(list, "; "))
	}
	return fmt.Errorf("%s: something else answers there, with HTTP status %d", what, res.StatusCode)
}

// withoutURL is what an http.Client's err says beside method and address.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
