package network

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/certtest"
)

// echo is a server that says back what it hears.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); _, _ = io.Copy(conn, conn) }()
		}
	}()
	return l.Addr().String()
}

// connecting is a proxy that wants the user u with the password p.
func connecting(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
		switch {
		case r.Method != http.MethodConnect:
			w.WriteHeader(http.StatusBadRequest)
			return
		case status != 0:
			w.WriteHeader(status)
			return
		case user != "u" || password != "p":
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		join(here, there)
	})
}

func join(a, b net.Conn) {
	go func() { defer a.Close(); _, _ = io.Copy(a, b) }()
	go func() { defer b.Close(); _, _ = io.Copy(b, a) }()
}

// socks is a SOCKS5 proxy (RFC 1928) that wants u and p (RFC 1929).
func socks(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve := func(conn net.Conn) error {
		in := bufio.NewReader(conn)
		take := func(n int) []byte {
			b := make([]byte, n)
			_, _ = io.ReadFull(in, b)
			return b
		}
		take(int(take(2)[1]))
		_, _ = conn.Write([]byte{5, 2})
		user := string(take(int(take(2)[1])))
		password := string(take(int(take(1)[0])))
		if user != "u" || password != "p" {
			_, _ = conn.Write([]byte{1, 1})
			return errors.New("a stranger")
		}
		_, _ = conn.Write([]byte{1, 0})
		head := take(4)
		host := ""
		switch head[3] {
		case 1:
			host = net.IP(take(4)).String()
		case 3:
			host = string(take(int(take(1)[0])))
		}
		port := take(2)
		there, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(int(port[0])<<8|int(port[1]))))
		if err != nil {
			return err
		}
		_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		join(conn, there)
		return nil
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if serve(conn) != nil {
					_ = conn.Close()
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestProxies(t *testing.T) {
	t.Parallel()
	target := echo(t)
	plain := httptest.NewServer(connecting(0))
	t.Cleanup(plain.Close)
	refusing := httptest.NewServer(connecting(http.StatusForbidden))
	t.Cleanup(refusing.Close)
	certs, err := certtest.New(certtest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(connecting(0))
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{certs.Pair}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	socksAt := socks(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	const user = "u:p@"
	for name, tt := range map[string]struct {
		by  string
		say string // "" for a connection
	}{
		"HTTP":           {"http://" + user + plain.Listener.Addr().String(), ""},
		"HTTPS":          {"https://" + user + secure.Listener.Addr().String(), ""},
		"SOCKS5":         {"socks5://" + user + socksAt, ""},
		"SOCKS5H":        {"socks5h://" + user + socksAt, ""},
		"NoPassword":     {"http://" + plain.Listener.Addr().String(), "wants a user and password"},
		"NoPasswordTLS":  {"https://" + secure.Listener.Addr().String(), "wants a user and password"},
		"NoPasswordSock": {"socks5://x:y@" + socksAt, "cannot be reached"},
		"Refused":        {"http://" + refusing.Listener.Addr().String(), "refuses the way to slack.com (403)"},
		"Dead":           {"http://" + dead.Addr().String(), "cannot be reached. Check HTTPS_PROXY"},
		"DeadTLS":        {"https://" + dead.Addr().String(), "cannot be reached. Check HTTPS_PROXY"},
		"DeadSocks":      {"socks5h://" + dead.Addr().String(), "cannot be reached. Check HTTPS_PROXY"},
		"Unknown":        {"ftp://" + dead.Addr().String(), "cannot be reached. Check HTTPS_PROXY"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			by, err := url.Parse(tt.by)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn, err := through(ctx, by, target, &tls.Config{RootCAs: certs.Pool})
			if tt.say != "" {
				if say := Cause(err, Peer{Name: "Slack", Host: "slack.com"}); !strings.Contains(say, tt.say) || !NeverSent(err) {
					t.Errorf("%v is explained by %q, never sent: %v; want %q", err, say, NeverSent(err), tt.say)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "hello"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 5)
			if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
				t.Errorf("heard %q, %v", b, err)
			}
		})
	}
}

// A proxy that takes the connection and says nothing holds nobody up beyond
// their patience.
func TestSilentProxy(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, scheme := range []string{"http", "https", "socks5"} {
		if conn, err := through(ctx, &url.URL{Scheme: scheme, Host: l.Addr().String()}, "slack.com:443", &tls.Config{}); err == nil {
			conn.Close()
			t.Errorf("%s: a silent proxy connects", scheme)
		}
	}
}

func TestCauses(t *testing.T) {
	t.Parallel()
	slack := Peer{Name: "slack.com", Host: "slack.com"}
	epm := Peer{Name: "EPM", Host: "acme-services.example", Setting: "COUNTERSIGN_EPM_HOST"}
	for name, tt := range map[string]struct {
		err   error
		peer  Peer
		words []string // none for no cause
	}{
		"ProxyPassword": {&ProxyError{407}, slack, []string{"The proxy between this machine and slack.com wants a user and password", "except slack.com in NO_PROXY"}},
		"Authority":     {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, slack, []string{"of an authority that this machine does not know", "SSL_CERT_FILE", "something else than slack.com"}},
		"Name":          {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "slack.com"}, slack, []string{"for another name. Something else answers there"}},
		"NameOfEPM":     {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, epm, []string{"for another name. Check COUNTERSIGN_EPM_HOST; if"}},
		"Expired":       {x509.CertificateInvalidError{Reason: x509.Expired}, slack, []string{"has expired by this machine's clock"}},
		"NoTLS":         {tls.RecordHeaderError{}, slack, []string{"does not speak TLS. Check that no proxy answers in slack.com's place"}},
		"NoTLSAtEPM":    {tls.RecordHeaderError{}, epm, []string{"does not speak TLS. Check COUNTERSIGN_EPM_HOST and its port, and that no proxy"}},
		"Else":          {io.EOF, slack, nil},
	} {
		got := Cause(&url.Error{Op: "Get", URL: "https://slack.com", Err: tt.err}, tt.peer)
		if len(tt.words) == 0 && got != "" {
			t.Errorf("%s: %q, want nothing", name, got)
		}
		for _, w := range tt.words {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q, want %q", name, got, w)
			}
		}
	}
}
