package neterr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/countersign/countersign/internal/network"
)

func TestDescribeNamesNoAddressOfACall(t *testing.T) {
	const planted = "planted-token"
	dial := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}, Err: errors.New("connection refused")}
	for _, err := range []error{
		dial, &net.DNSError{Name: "discord.com", Err: "no such host"}, context.DeadlineExceeded, context.Canceled,
		&websocket.CloseError{Code: 1008, Text: planted}, websocket.ErrBadHandshake,
		errors.New(planted), json.Unmarshal([]byte("<html>"+planted), new(int)),
	} {
		wrapped := &url.Error{Op: "Post", URL: "https://discord.com/interactions/1/" + planted + "/callback", Err: err}
		for _, e := range []error{err, wrapped, fmt.Errorf("x %w", wrapped)} {
			if got := Describe(e); got == "" || strings.Contains(got, planted) {
				t.Errorf("Describe(%T) = %q", e, got)
			}
		}
	}
	if !NeverSent(&url.Error{Err: dial}) || NeverSent(&net.OpError{Op: "read", Err: errors.New("reset")}) {
		t.Error("a connection that was never made must be told from one that broke")
	}
}

func TestBaseURL(t *testing.T) {
	for in, ok := range map[string]bool{
		"https://slack.com/api/": true, "http://127.0.0.1:1/": true, "http://localhost:1": true, "http://[::1]:1/": true,
		"http://slack.com/": false, "ftp://x/": false, "https://": false, "https://u:p@x/": false, "https://x/?a=b": false, "%": false, "": false,
	} {
		if _, err := BaseURL(in); (err == nil) != ok {
			t.Errorf("BaseURL(%q) = %v, want ok %v", in, err, ok)
		}
	}
}

// What stands between us and a platform is said in whole sentences, with the
// host, for calls and for sockets.
func TestDescribeNamesWhatIsBetween(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"Proxy":       {&network.ProxyError{Status: 403}, "The proxy between this machine and discord.com refuses the way to discord.com (403)."},
		"Certificate": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "The certificate at discord.com is of an authority that this machine does not know."},
	} {
		for _, err := range []error{
			&url.Error{Op: "Post", URL: "https://discord.com/interactions/1/planted/callback", Err: tt.err},
			&UnreachedError{Host: "discord.com", Err: tt.err},
		} {
			if got := Describe(fmt.Errorf("x: %w", err)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s: Describe(%T) = %q, want %q", name, err, got, tt.want)
			}
			if !NeverSent(err) {
				t.Errorf("%s: %T may have been sent", name, err)
			}
		}
	}
}
