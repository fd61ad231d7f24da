package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/sinks"
	"github.com/countersign/countersign/bot/events"
	"github.com/countersign/countersign/tickets"
)

// receiver is one that can be checked.
type receiver interface {
	events.Sink
	Check(context.Context) adapters.Finding
}

// receivers checks the variables of those who are told of events.
func (c *checker) receivers(env environment) {
	if env.EventsSyslog != "" {
		if _, err := syslogAddress(env.EventsSyslog); err != nil {
			c.add("EVENTS_SYSLOG", "%s", err)
		}
	}
	secure := strings.HasPrefix(env.EventsSyslog, "tls://")
	for _, v := range []struct{ name, value string }{
		{"EVENTS_SYSLOG_CA", env.EventsSyslogCA}, {"EVENTS_SYSLOG_CERT", env.EventsSyslogCert}, {"EVENTS_SYSLOG_KEY", env.EventsSyslogKey},
	} {
		if v.value != "" && !secure {
			c.add(v.name, "needs EVENTS_SYSLOG beside it, which begins with tls://")
		}
	}
	if (env.EventsSyslogCert == "") != (env.EventsSyslogKey == "") {
		c.add("EVENTS_SYSLOG_CERT", "EVENTS_SYSLOG_CERT and EVENTS_SYSLOG_KEY belong together: set both or neither")
	}
	if env.EventsWebhook != "" {
		if err := sinks.CheckURL(env.EventsWebhook.Reveal()); err != nil {
			c.add("EVENTS_WEBHOOK", "%s", err)
		}
		c.need("EVENTS_WEBHOOK_SECRET", env.EventsWebhookSecret.Reveal(), "what each event is signed with, whsec_ and 32 random bytes in base64")
	}
	for _, v := range []struct {
		name  string
		value secret
	}{{"EVENTS_WEBHOOK_SECRET", env.EventsWebhookSecret}, {"EVENTS_WEBHOOK_SECRET_PREVIOUS", env.EventsWebhookSecretPrevious}} {
		if v.value == "" {
			continue
		}
		if err := sinks.CheckSecret(v.value.Reveal()); err != nil {
			c.add(v.name, "%s", err)
		}
		if env.EventsWebhook == "" {
			c.add(v.name, "needs EVENTS_WEBHOOK beside it")
		}
	}
}

// syslogAddress takes an address like tls://HOST:6514 apart.
func syslogAddress(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err == nil && (u.Scheme == "tls" || u.Scheme == "tcp") && u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == "" {
		if host, port, err := net.SplitHostPort(u.Host); err == nil && host != "" && port != "" {
			return u, nil
		}
	}
	return nil, errors.New("write tls://HOST:6514, or tcp://HOST:601 for a network that nobody else can read")
}

// follows lists the receivers that env names.
func (env environment) follows() []tickets.EventSink {
	var list []tickets.EventSink
	for name, set := range map[tickets.EventSink]bool{
		sinks.SyslogName: env.EventsSyslog != "", sinks.WebhookName: env.EventsWebhook != "", sinks.FileName: env.EventsFile != "",
	} {
		if set {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// newReceivers makes those who are told of events, whose variables were
// checked.
func newReceivers(cfg config, now func() time.Time) (map[tickets.EventSink]receiver, error) {
	made := map[tickets.EventSink]receiver{}
	var wrong []error
	add := func(name tickets.EventSink, r receiver, err error) {
		if err != nil {
			wrong = append(wrong, err)
			return
		}
		made[name] = r
	}
	for _, name := range cfg.follows() {
		switch name {
		case sinks.SyslogName:
			r, err := newSyslog(cfg)
			add(name, r, err)
		case sinks.WebhookName:
			current := func() (string, []string) {
				env := cfg.now()
				secrets := []string{env.EventsWebhookSecret.Reveal()}
				if env.EventsWebhookSecretPrevious != "" {
					secrets = append(secrets, env.EventsWebhookSecretPrevious.Reveal())
				}
				return env.EventsWebhook.Reveal(), secrets
			}
			address, secrets := current()
			r, err := sinks.NewWebhook(sinks.WebhookConfig{URL: address, Secrets: secrets, Current: current, Now: now})
			add(name, r, err)
		case sinks.FileName:
			r, err := sinks.NewFile(cfg.EventsFile)
			add(name, r, err)
		}
	}
	return made, errors.Join(wrong...)
}

func newSyslog(cfg config) (*sinks.Syslog, error) {
	u, err := syslogAddress(cfg.EventsSyslog)
	if err != nil {
		return nil, err
	}
	c := sinks.SyslogConfig{Address: u.Host}
	if c.Hostname, err = os.Hostname(); err != nil {
		return nil, fmt.Errorf("this machine's name: %w", err)
	}
	if u.Scheme == "tls" {
		if c.TLS, err = syslogTLS(cfg); err != nil {
			return nil, err
		}
	}
	return sinks.NewSyslog(c)
}

// syslogTLS is how TLS is spoken with the syslog receiver.
func syslogTLS(cfg config) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if path := cfg.EventsSyslogCA; path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s_EVENTS_SYSLOG_CA: %w", envPrefix, withoutPath(err))
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s_EVENTS_SYSLOG_CA: there is no certificate in PEM in that file", envPrefix)
		}
	}
	if cfg.EventsSyslogCert != "" {
		// Read again for each connection, so that it can be renewed.
		own := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cfg.EventsSyslogCert, cfg.EventsSyslogKey)
			return &pair, withoutPath(err)
		}
		if _, err := own(); err != nil {
			return nil, fmt.Errorf("load %s_EVENTS_SYSLOG_CERT and %s_EVENTS_SYSLOG_KEY: %w", envPrefix, envPrefix, err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own() }
	}
	return c, nil
}

// metered is a receiver whose deliveries are counted.
type metered struct {
	events.Sink
	name tickets.EventSink
	m    *metrics
}

// Deliver implements [events.Sink].
func (c metered) Deliver(ctx context.Context, list []tickets.EventEnvelope) (taken int, err error) {
	taken, err = c.Sink.Deliver(ctx, list)
	c.m.deliveries.WithLabelValues(string(c.name), "ok").Add(float64(taken))
	if err != nil {
		c.m.deliveries.WithLabelValues(string(c.name), string(tickets.FailureOf(err).Class)).Inc()
	}
	return taken, err
}

// counting is made, with what each takes counted in m.
func counting(made map[tickets.EventSink]receiver, m *metrics) map[tickets.EventSink]events.Sink {
	all := map[tickets.EventSink]events.Sink{}
	for name, r := range made {
		for _, result := range []string{"ok", string(tickets.Rejected)} { // so that the first one is an increase
			m.deliveries.WithLabelValues(string(name), result)
		}
		all[name] = metered{r, name, m}
	}
	return all
}

// checkReceivers sends each receiver a test, or looks whether it can be
// written.
func checkReceivers(ctx context.Context, c *checkup, cfg config, wrong configError) {
	if wrong.about("EVENTS_", "") {
		c.skip("the receivers of events: correct the configuration first")
		return
	}
	made, err := newReceivers(cfg, time.Now)
	if err != nil {
		c.bad("the receivers of events", err.Error(), "Correct that variable, or let the bot's user read the file; docs/configuration.md explains it.")
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		c.findings = append(c.findings, made[name].Check(ctx))
	}
}
