package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// readyFor is how long an answer of /readyz is repeated: to look writes to
	// the store, and whoever reaches the address can ask without end.
	readyFor = 2 * time.Second
	// readyTimeout is for one look.
	readyTimeout = 2 * time.Second
)

// readiness is whether everything that the bot needs is usable.
type readiness struct {
	look func(context.Context) map[string]error // what is not, by name
	log  *slog.Logger

	mu       sync.Mutex
	until    time.Time
	problems map[string]string
	names    string // of those that the log was told of
	was      bool   // ready, at least once: before that it starts
}

// get is what is not usable and why, as it was seen in the last readyFor. The
// log is told when other parts are unusable than before.
func (r *readiness) get(ctx context.Context) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.problems
	}
	// Who asked may go: the answer is for others, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	r.problems = map[string]string{}
	for name, err := range r.look(ctx) {
		r.problems[name] = err.Error()
	}
	r.until = time.Now().Add(readyFor)
	switch names := strings.Join(slices.Sorted(maps.Keys(r.problems)), ","); {
	case names == r.names:
	case names == "":
		r.log.Info("ready")
		r.names = names
	default:
		level := slog.LevelWarn
		if !r.was {
			level = slog.LevelInfo
		}
		r.log.Log(ctx, level, "not ready", "err", sayProblems(r.problems))
		r.names = names
	}
	r.was = r.was || len(r.problems) == 0
	return r.problems
}

// sayProblems is what is not usable in one line.
func sayProblems(problems map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(problems)) {
		list = append(list, name+": "+problems[name])
	}
	return strings.Join(list, "; ")
}

// answers is the handler of /readyz. The reasons may name addresses, and are
// for operators alone.
func (r *readiness) answers(reasons bool) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		problems := r.get(q.Context())
		status, body := http.StatusOK, map[string]any{"ready": len(problems) == 0}
		if len(problems) > 0 {
			status = http.StatusServiceUnavailable
			if reasons {
				body["problems"] = problems
			}
		}
		answer(w, status, body)
	}
}

func alive(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"alive": true})
}

// opsRoutes is what OPS_LISTEN shows.
func opsRoutes(r *readiness, m *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", r.answers(true))
	mux.Handle("GET /metrics", metricsHandler(m))
	return mux
}

// withoutPanics logs of a panic in next what may be told: its type, and where.
func withoutPanics(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				panic(p)
			} else if p != nil {
				log.Error("panic in a request", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// metricsHandler shows what can be collected although some cannot.
func metricsHandler(m *metrics) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes})
}

// serveOps serves handler at OPS_LISTEN until stop is called.
func serveOps(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) (stop func(), _ error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen at %s_OPS_LISTEN: %w", envPrefix, err)
	}
	server := &http.Server{
		Handler: withoutPanics(handler, log), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics and health are not served any more", "err", err)
		}
	}()
	log.Info("listening for operators", "address", listener.Addr().String())
	return func() {
		_ = server.Close() // what is asked at the end may be asked again
		<-served
	}, nil
}
