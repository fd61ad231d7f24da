// Package network is the way from this machine to the platforms: through the
// proxy of the environment, and what to say when something on the way does not
// let us through.
package network

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// ProxyError is a proxy that does not let us through.
type ProxyError struct{ Status int }

func (e *ProxyError) Error() string {
	return fmt.Sprintf("the proxy answers %d %s", e.Status, http.StatusText(e.Status))
}

// AskProxy makes errors of a proxy's refusals that can be told from the
// platform's, as [http.Transport.OnProxyConnectResponse].
func AskProxy(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return &ProxyError{res.StatusCode}
	}
	return nil
}

// Transport is [http.DefaultTransport] whose proxy's refusals can be told from
// the platform's.
func Transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.OnProxyConnectResponse = AskProxy
	return t
}

// Dial returns what makes the connections of WebSockets: through the same
// proxies as HTTP, of every kind that HTTP can use. secure tells whether TLS
// will be spoken over them.
func Dial(secure bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to := &url.URL{Scheme: "http", Host: address}
		if secure {
			to.Scheme = "https"
		}
		by, err := http.ProxyFromEnvironment(&http.Request{URL: to})
		switch {
		case err != nil:
			return nil, &net.OpError{Op: proxyConnect, Net: network, Err: errors.New("the proxy's address cannot be read")}
		case by == nil:
			return direct.DialContext(ctx, network, address)
		}
		return through(ctx, by, address, &tls.Config{MinVersion: tls.VersionTLS12})
	}
}

var direct = &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}

// proxyConnect is the operation of [net.OpError] that net/http names when a
// proxy cannot be reached.
const proxyConnect = "proxyconnect"

// through connects to address by a proxy.
func through(ctx context.Context, by *url.URL, address string, secure *tls.Config) (net.Conn, error) {
	port := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[by.Scheme]
	if port == "" {
		return nil, &net.OpError{Op: proxyConnect, Net: "tcp", Err: errors.New("a proxy is http, https, socks5 or socks5h")}
	}
	if by.Port() != "" {
		port = by.Port()
	}
	at := net.JoinHostPort(by.Hostname(), port)
	if by.Scheme == "socks5" || by.Scheme == "socks5h" { // both leave names to the proxy, as net/http does
		var auth *proxy.Auth
		if by.User != nil {
			password, _ := by.User.Password()
			auth = &proxy.Auth{User: by.User.Username(), Password: password}
		}
		d, err := proxy.SOCKS5("tcp", at, auth, direct)
		if err == nil {
			var conn net.Conn
			if conn, err = d.(proxy.ContextDialer).DialContext(ctx, "tcp", address); err == nil {
				return conn, nil
			}
		}
		return nil, &net.OpError{Op: proxyConnect, Net: "tcp", Err: err}
	}
	conn, err := direct.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, &net.OpError{Op: proxyConnect, Net: "tcp", Err: err}
	}
	// What is under way ends with ctx.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	over, err := connect(ctx, conn, by, address, secure)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return over, nil
}

// connect asks the proxy at the other end of conn for a way to address.
func connect(ctx context.Context, conn net.Conn, by *url.URL, address string, secure *tls.Config) (net.Conn, error) {
	if by.Scheme == "https" {
		secure = secure.Clone()
		secure.ServerName = by.Hostname()
		over := tls.Client(conn, secure)
		if err := over.HandshakeContext(ctx); err != nil {
			return nil, &net.OpError{Op: proxyConnect, Net: "tcp", Err: err}
		}
		conn = over
	}
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if by.User != nil {
		password, _ := by.User.Password()
		ask.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(by.User.Username()+":"+password)))
	}
	if err := ask.Write(conn); err != nil {
		return nil, &net.OpError{Op: proxyConnect, Net: "tcp", Err: err}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), ask) // nobody speaks before we do
	if err != nil {
		return nil, &net.OpError{Op: proxyConnect, Net: "tcp", Err: err}
	}
	if res.StatusCode != http.StatusOK {
		return nil, &ProxyError{res.StatusCode}
	}
	return conn, nil
}

// Peer is a platform that was to be reached.
type Peer struct {
	Name    string // what people call it
	Host    string // with its port, if it has one
	Setting string // the variable that names the host; "" if none has to
}

// Cause says what stands between this machine and p, and what to do about it:
// a proxy, or a certificate. The first sentence is what is wrong. It is empty
// if err says no such thing.
func Cause(err error, p Peer) string {
	var refused *ProxyError
	var address *net.OpError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	errors.As(err, &address)
	except := "except " + p.Host + " in NO_PROXY."
	check, port := "Something else answers there: a proxy, or a wrong entry in the name server (DNS).", "Check"
	if p.Setting != "" {
		check, port = "Check "+p.Setting+"; if it is right, something else answers there.", "Check "+p.Setting+" and its port, and"
	}
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusProxyAuthRequired:
		return "The proxy between this machine and " + p.Name + " wants a user and password. Put them into HTTPS_PROXY, or " + except
	case errors.As(err, &refused):
		return fmt.Sprintf("The proxy between this machine and %s refuses the way to %s (%d). Let it pass HTTPS to that host, or except the host in NO_PROXY.", p.Name, p.Host, refused.Status)
	case address != nil && address.Op == proxyConnect:
		return "The proxy between this machine and " + p.Name + " cannot be reached. Check HTTPS_PROXY, or " + except
	case errors.As(err, &name):
		return "The certificate at " + p.Host + " is for another name. " + check
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		now := time.Now() // the clock by which the certificate was judged
		say := " has expired"
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			say = " is not valid yet"
		}
		return "The certificate at " + p.Host + say + " by this machine's clock, which says " + now.UTC().Format("2006-01-02 15:04 UTC") + ". Set the clock by NTP; if it is right, something else than " + p.Name + " answers there."
	case errors.As(err, &authority), errors.As(err, &invalid):
		return "The certificate at " + p.Host + " is of an authority that this machine does not know. If a proxy opens TLS, install its certificate authority on this machine, or name it in SSL_CERT_FILE; else something else than " + p.Name + " answers there."
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "What answers at " + p.Host + " does not speak TLS. " + port + " that no proxy answers in " + p.Name + "'s place."
	}
	return ""
}

// NeverSent reports whether err says that a call did not get as far as the
// platform.
func NeverSent(err error) bool {
	var op *net.OpError
	var refused *ProxyError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == proxyConnect) ||
		errors.As(err, &refused) || errors.As(err, &certificate) || errors.As(err, &record)
}
