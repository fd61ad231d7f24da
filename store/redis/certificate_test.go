package redis_test

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
)

// Certificates are often for names alone, and Sentinel and Cluster give out
// numbers: the error says what to do, and server_name is what to do.
func TestCertificateForANameAlone(t *testing.T) {
	t.Parallel()
	srv := alone(t, redistest.Config{TLS: true, Password: true})
	// The server's certificate is for test and 127.0.0.1, and here it has
	// another number.
	elsewhere, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip(err)
	}
	defer elsewhere.Close()
	go func() {
		for {
			in, err := elsewhere.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(srv.Port)))
			if err != nil {
				in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
		}
	}()
	other := strings.Replace(srv.URL("a"), net.JoinHostPort("127.0.0.1", strconv.Itoa(srv.Port)), elsewhere.Addr().String(), 1)
	if other == srv.URL("a") {
		t.Fatal("the address is not by number")
	}
	_, err = redis.Open(t.Context(), redis.Config{URL: other})
	if err == nil {
		t.Fatal("a certificate for another name is taken")
	}
	if !strings.Contains(err.Error(), "server_name=NAME") {
		t.Errorf("Open = %v, want what to do", err)
	}
	s, err := redis.Open(t.Context(), redis.Config{URL: other + "&server_name=test"})
	if err != nil {
		t.Fatalf("with server_name: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := redis.Address("redis://h:1/?server_name=x"); err == nil {
		t.Error("server_name is taken without TLS")
	}
}
