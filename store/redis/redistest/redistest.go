// Package redistest starts real redis-server processes for tests: one alone,
// with or without TLS, two with three Sentinels, or a Cluster of three nodes.
// They listen on free ports of the loopback interface, keep their data in a
// folder of the test, and can be killed, started again and held up.
//
// Unless told otherwise they keep what they acknowledge: an append-only file,
// written through with each commit.
package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/countersign/countersign/internal/certtest"
)

// ErrMissing means that there is no redis-server on this machine.
var ErrMissing = errors.New("no redis-server was found: install it (Debian: apt-get install redis-server)")

// Password is the servers' password where Config says so.
const Password = "redis-secret/1@2:3%"

const startTime = 2 * time.Minute

// Config says what server to start.
type Config struct {
	Dir      string   // folder for its data and log; must exist. Required
	TLS      bool     // only TLS, with a certificate of its own authority. Default false
	Password bool     // wants Password. Default false
	Args     []string // more settings, as --name value. Default none
	Env      []string // more variables of its environment, as NAME=value. Default none
}

// Server is a process of redis-server.
type Server struct {
	Port  int
	dir   string
	certs *certtest.Certificates // nil without TLS
	pw    bool
	args  []string
	env   []string
	mu    sync.Mutex
	cmd   *exec.Cmd
}

// Find returns the path of redis-server, or ErrMissing.
func Find() (string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", ErrMissing
	}
	return path, nil
}

// Start starts a server and waits until it answers. Close ends it.
func Start(c Config) (*Server, error) {
	logging.Disable() // of the library, while a server is not there yet
	var last error
	for range 3 { // somebody else may take the port
		s, err := newServer(c)
		if err != nil {
			return nil, err
		}
		if last = s.Restart(); last == nil {
			return s, nil
		}
	}
	return nil, last
}

func newServer(c Config) (*Server, error) {
	if c.Dir == "" {
		return nil, errors.New("redistest: the folder is missing")
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Dir, strconv.Itoa(port))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{Port: port, dir: dir, pw: c.Password, env: c.Env}
	p := strconv.Itoa(port)
	s.args = []string{"--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--loglevel", "notice"}
	if c.TLS {
		if s.certs, err = certtest.New(certtest.Config{Dir: dir}); err != nil {
			return nil, err
		}
		s.args = append(s.args, "--port", "0", "--tls-port", p, "--tls-auth-clients", "no", "--tls-ca-cert-file", s.CA(),
			"--tls-cert-file", s.certs.Cert, "--tls-key-file", s.certs.Key)
	} else {
		s.args = append(s.args, "--port", p)
	}
	if c.Password {
		s.args = append(s.args, "--requirepass", Password, "--masterauth", Password)
	}
	s.args = append(s.args, c.Args...)
	return s, nil
}

// Addr is the server's host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// CA is the file of the authority that signed the certificate of a server
// with TLS.
func (s *Server) CA() string { return s.certs.CA }

// URL is the address of a tenant's store on this server.
func (s *Server) URL(tenant string) string {
	q := url.Values{"tenant": {tenant}}
	scheme := "redis"
	if s.certs != nil {
		scheme = "rediss"
		q.Set("ca", s.CA())
	}
	return scheme + "://" + s.user() + s.Addr() + "/0?" + q.Encode()
}

func (s *Server) user() string {
	if !s.pw {
		return ""
	}
	return ":" + url.PathEscape(Password) + "@"
}

// Restart starts the server, or again what was killed, with its data, and
// waits until it answers.
func (s *Server) Restart() error {
	if err := s.start(); err != nil {
		return err
	}
	if err := s.await(); err != nil {
		s.Kill()
		return err
	}
	return nil
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("redistest: the server runs already")
	}
	path, err := Find()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(path, s.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = endWithUs()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.cmd = cmd
	return nil
}

func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	c := s.Client()
	defer func() { _ = c.Close() }()
	err := eventually(ctx, func() error {
		err := c.Ping(ctx).Err()
		if redis.HasErrorPrefix(err, "NOAUTH") { // it has users of its own, and answers
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("redis-server does not answer: %w\n%s", err, s.Log())
	}
	return nil
}

// Client is a client for the test's own looks; the caller closes it.
func (s *Server) Client() *redis.Client {
	o := &redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1}
	if s.pw {
		o.Password = Password
	}
	if s.certs != nil {
		o.TLSConfig = &tls.Config{RootCAs: s.certs.Pool, MinVersion: tls.VersionTLS12}
	}
	return redis.NewClient(o)
}

// Log is what the server has printed.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Kill ends the process at once, as kill -9 does, and waits for its end.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Close ends the server.
func (s *Server) Close() { s.Kill() }

// Pause holds the process up: connections stay, nothing answers.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return errors.New("redistest: the server does not run")
	}
	return s.cmd.Process.Signal(sig)
}

// eventually repeats try until it succeeds or ctx ends.
func eventually(ctx context.Context, try func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// given are the ports that freePort has returned, so that two servers that
// start together do not get the same.
var given sync.Map

func freePort() (int, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return 0, err
		}
		if _, twice := given.LoadOrStore(port, true); !twice {
			return port, nil
		}
	}
}
