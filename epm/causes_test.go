package epm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/internal/certtest"
)

// signed is a certificate for name that the pool trusts.
func signed(t *testing.T, name string, from, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	certs, err := certtest.New(certtest.Config{Dir: t.TempDir(), Name: name, NotBefore: from, NotAfter: until})
	if err != nil {
		t.Fatal(err)
	}
	return certs.Pair, certs.Pool
}

// TestCauses provokes each thing that keeps us from EPM, and wants it named
// with what to do.
func TestCauses(t *testing.T) {
	const host = "acme-services.example.com"
	now := time.Now()
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	serve := func(t *testing.T, h http.Handler, cert *tls.Certificate) string {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = quiet
		if cert != nil {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	dialTo := func(addr string) func(*http.Transport) {
		return func(tr *http.Transport) {
			tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
		}
	}
	answers := func(t *testing.T, h http.HandlerFunc) func(*http.Transport) {
		cert, pool := signed(t, host, now.Add(-time.Hour), now.Add(time.Hour))
		addr := serve(t, h, &cert)
		return func(tr *http.Transport) {
			dialTo(addr)(tr)
			tr.TLSClientConfig.RootCAs = pool
		}
	}
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>planted</html>"))
		}
	}
	through := func(addr string) func(*http.Transport) {
		return func(tr *http.Transport) { tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: addr}) }
	}
	closed := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	tlsCase := func(name string, from, until time.Duration, trusted bool) func(*testing.T) func(*http.Transport) {
		return func(t *testing.T) func(*http.Transport) {
			cert, pool := signed(t, name, now.Add(from), now.Add(until))
			addr := serve(t, page(200), &cert)
			return func(tr *http.Transport) {
				dialTo(addr)(tr)
				if trusted {
					tr.TLSClientConfig.RootCAs = pool
				} else {
					tr.TLSClientConfig.RootCAs = x509.NewCertPool()
				}
			}
		}
	}
	failing := func(err error) func(*testing.T) func(*http.Transport) {
		return func(*testing.T) func(*http.Transport) {
			return func(tr *http.Transport) {
				tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
				}
			}
		}
	}
	for name, c := range map[string]struct {
		way  func(*testing.T) func(*http.Transport)
		want []string
	}{
		"NoSuchName":  {failing(&net.DNSError{Err: "no such host", Name: host, IsNotFound: true}), []string{"There is no host named " + host + ". Correct COUNTERSIGN_EPM_HOST", "-services"}},
		"NoDNS":       {failing(&net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}), []string{"cannot be looked up", "DNS"}},
		"Refused":     {func(t *testing.T) func(*http.Transport) { return dialTo(closed(t)) }, []string{"is refused. Check COUNTERSIGN_EPM_HOST", "firewall"}},
		"Expired":     {tlsCase(host, -2*time.Hour, -time.Hour, true), []string{"has expired by this machine's clock", "NTP"}},
		"NotYetValid": {tlsCase(host, time.Hour, 2*time.Hour, true), []string{"is not valid yet by this machine's clock", "NTP"}},
		"WrongName":   {tlsCase("other.example.com", -time.Hour, time.Hour, true), []string{"is for another name. Check COUNTERSIGN_EPM_HOST"}},
		"NoAuthority": {tlsCase(host, -time.Hour, time.Hour, false), []string{"of an authority that this machine does not know", "SSL_CERT_FILE"}},
		"NoTLS":       {func(t *testing.T) func(*http.Transport) { return dialTo(serve(t, page(200), nil)) }, []string{"does not speak TLS"}},
		"Silent": {func(t *testing.T) func(*http.Transport) {
			hold := make(chan struct{})
			way := answers(t, func(_ http.ResponseWriter, r *http.Request) {
				select {
				case <-hold:
				case <-r.Context().Done():
				}
			})
			t.Cleanup(func() { close(hold) }) // before the server, which waits for it
			return way
		}, []string{"There is no answer from " + host + " in time. Check that the firewall"}},
		"Page200": {func(t *testing.T) func(*http.Transport) { return answers(t, page(200)) }, []string{"A web page answers at " + host, "(200): a proxy, a login page"}},
		"Page403": {func(t *testing.T) func(*http.Transport) { return answers(t, page(403)) }, []string{"A web page answers at " + host, "(403)"}},
		"Page502": {func(t *testing.T) func(*http.Transport) { return answers(t, page(502)) }, []string{"A web page answers at " + host, "(502)", "Try again in a minute"}},
		"PageLater": {func(t *testing.T) func(*http.Transport) {
			return answers(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, tokenPath) {
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(`{"access_token":"planted","token_type":"Bearer","expires_in":3600}`))
					return
				}
				page(200)(w, r)
			})
		}, []string{"A web page answers at " + host, "(200)"}},
		"Redirect": {func(t *testing.T) func(*http.Transport) {
			return answers(t, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://login.example.com/", http.StatusFound)
			})
		}, []string{"COUNTERSIGN_EPM_HOST"}},
		"OtherHost": {func(t *testing.T) func(*http.Transport) {
			return answers(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
		}, []string{"There is no EPM at that host", "COUNTERSIGN_EPM_HOST"}},
		"Secret": {func(t *testing.T) func(*http.Transport) {
			return answers(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"planted"}`))
			})
		}, []string{"does not accept the bot's client ID or secret", "COUNTERSIGN_EPM_CLIENT_SECRET"}},
		"SecretAndClock": {func(t *testing.T) func(*http.Transport) {
			return answers(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", now.Add(90*time.Minute).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusUnauthorized)
			})
		}, []string{"does not accept the bot's client ID or secret", "clock differs from EPM's by 1h", "Correct it"}},
		"ProxyPassword": {func(t *testing.T) func(*http.Transport) { return through(serve(t, page(407), nil)) }, []string{"wants a user and password", "HTTPS_PROXY"}},
		"ProxyRefuses":  {func(t *testing.T) func(*http.Transport) { return through(serve(t, page(403), nil)) }, []string{"The proxy between this machine and EPM refuses", "(403)", "NO_PROXY"}},
		"ProxyAway":     {func(t *testing.T) func(*http.Transport) { return through(closed(t)) }, []string{"The proxy between this machine and EPM cannot be reached", "HTTPS_PROXY"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transport := Transport().(*http.Transport)
			transport.Proxy = nil
			c.way(t)(transport)
			t.Cleanup(transport.CloseIdleConnections)
			client, err := New(Config{Host: host, ClientID: "id", ClientSecret: hush, Transport: transport, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			patience := 20 * time.Second
			if name == "Silent" {
				patience = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got := client.Test(ctx).String()
			if !strings.HasPrefix(got, "The connection to EPM does not work\n") || strings.Contains(got, "planted") || strings.Contains(got, hush) {
				t.Errorf("Test = %s", got)
			}
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in %s", w, got)
				}
			}
			if strings.Contains(got, "clock differs") != (name == "SecretAndClock") {
				t.Errorf("Test = %s", got)
			}
		})
	}
	t.Run("Permission", func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.fake.Forbid(epmtest.Read)
		if got := b.Test(t.Context()).String(); !strings.Contains(got, "JIT: Full Access") || !strings.Contains(got, "API Settings") {
			t.Errorf("Test = %s", got)
		}
	})
	t.Run("Console", func(t *testing.T) {
		if _, err := New(Config{Host: "https://acme.beyondtrustcloud.com/", ClientID: "id", ClientSecret: hush, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "acme-services.beyondtrustcloud.com") {
			t.Errorf("New = %v", err)
		}
	})
}
