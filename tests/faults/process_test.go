package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// long asks for the long form.
var long = os.Getenv("COUNTERSIGN_TEST_FAULTS") == "long"

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// build makes the program once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "countersign-faults-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "countersign")
	args := []string{"build", "-tags", "faults", "-o", binary}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/countersign")...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})

// process is one `countersign serve`.
type process struct {
	testing.TB
	binary string
	env    []string
	clock  string // file with the offset of its clock

	log   logFile
	aside atomic.Bool // the door sends it nothing

	mu     sync.Mutex
	wanted bool // it is to run
	cmd    *exec.Cmd
	done   chan struct{} // closed when cmd has ended
}

// restartAfter is how long whatever runs the program in production waits
// when it ended by itself, as without a Redis.
const restartAfter = 100 * time.Millisecond

// start starts it, and again whenever it ends by itself, until it is told to
// end.
func (p *process) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
	p.run()
}

// run is called with the lock held.
func (p *process) run() {
	if p.cmd != nil || !p.wanted {
		return
	}
	cmd, done := exec.Command(p.binary, "serve"), make(chan struct{})
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &p.log, &p.log
	cmd.SysProcAttr = endWithUs()
	if err := cmd.Start(); err != nil {
		p.Errorf("start: %v", err)
		return
	}
	p.cmd, p.done = cmd, done
	go func() {
		defer close(done)
		err := cmd.Wait()
		p.log.fresh()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cmd = nil
		if p.wanted {
			fmt.Fprintf(&p.log, "ended by itself: %v\n", err)
			time.AfterFunc(restartAfter, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.run()
			})
		}
	}()
}

// kill is kill -9.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop lets it end in order, and says if it could not.
func (p *process) stop() {
	if cmd := p.end(syscall.SIGTERM); cmd != nil && !cmd.ProcessState.Success() {
		p.Errorf("a process that was told to stop ended with %v", cmd.ProcessState)
	}
}

// end sends sig and waits. It returns nil if there was no process.
func (p *process) end(sig os.Signal) *exec.Cmd {
	p.mu.Lock()
	p.wanted = false
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	for {
		if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.Errorf("signal %v: %v", sig, err)
		}
		select {
		case <-done:
			return cmd
		case <-time.After(time.Minute):
			p.Errorf("a process does not end by %v", sig)
			sig = syscall.SIGKILL
		}
	}
}

// setClock puts its clock off by d, also while it runs.
func (p *process) setClock(d time.Duration) {
	p.Helper()
	// Renamed, so that it is never read half.
	if err := errors.Join(os.WriteFile(p.clock+".new", []byte(d.String()), 0o600), os.Rename(p.clock+".new", p.clock)); err != nil {
		p.Fatal(err)
	}
}

// logFile keeps what all runs of a process print, and finds out where the
// present one listens.
type logFile struct {
	mu   sync.Mutex
	text bytes.Buffer
	line []byte
	addr atomic.Pointer[string]
}

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if l.addr.Load() != nil {
		return len(b), nil
	}
	l.line = append(l.line, b...)
	for {
		line, rest, whole := bytes.Cut(l.line, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		l.line = bytes.Clone(rest)
		var said struct{ Msg, Address string }
		if json.Unmarshal(line, &said) == nil && said.Msg == "listening" {
			l.addr.Store(&said.Address)
		}
	}
}

// fresh forgets where the last run listened.
func (l *logFile) fresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr.Store(nil)
	l.line = nil
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// end is the last lines.
func (l *logFile) end(n int) string {
	lines := strings.Split(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// addr is where it listens, "" while it does not.
func (p *process) addr() string {
	if a := p.log.addr.Load(); a != nil {
		return *a
	}
	return ""
}

// door passes on to any of the processes what EPM and Slack send, as the
// load balancer before several replicas does.
type door struct{ processes func() []*process }

func (d door) handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "127.0.0.1:1" // nobody
			var up []string
			for _, p := range d.processes() {
				if a := p.addr(); a != "" && !p.aside.Load() {
					up = append(up, a)
				}
			}
			if len(up) > 0 {
				r.Out.URL.Host = up[rand.N(len(up))]
			}
		},
		Transport:    &http.Transport{MaxIdleConnsPerHost: 16},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	return proxy
}
