package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/tickets"
)

// The attributes of spans. There are no others: no reason, no name, no body.
const (
	ticketKey   = attribute.Key("countersign.ticket")
	platformKey = attribute.Key("countersign.platform")
	resultKey   = attribute.Key("countersign.result")
)

// traceFlush is how long the end of the program waits for the last spans.
const traceFlush = 3 * time.Second

// tracer sends what is done for tickets to an OpenTelemetry collector. A nil
// tracer is one that is switched off.
//
// The trace of a ticket, its first span and those of its decisions have
// identifiers that are computed from EPM's request: replicas, and the program
// after a restart, name the same without keeping anything.
type tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	now      func() time.Time
}

var _ tracing.Tracer = (*tracer)(nil)

// tracesWanted reports whether the standard variables of OpenTelemetry ask for
// traces.
func tracesWanted() (bool, error) {
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); {
	case endpoint == "", strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true"), exporter == "none":
		return false, nil
	case exporter != "" && exporter != "otlp":
		return false, errors.New("OTEL_TRACES_EXPORTER: write otlp or none")
	}
	if cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")) == "grpc" {
		return false, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL: traces are sent over HTTP: write http/protobuf, and the collector's port for it, mostly 4318")
	}
	return true, nil
}

// newTracer makes the tracer that the environment asks for, or that sends to
// exporter if that is not nil. It returns nil if nobody asks for traces.
func newTracer(ctx context.Context, exporter sdktrace.SpanExporter, now func() time.Time, log *slog.Logger) (*tracer, error) {
	if exporter == nil {
		wanted, err := tracesWanted()
		if err == nil && wanted {
			hearLibrary(log)
			if exporter, err = otlptracehttp.New(ctx); err != nil {
				err = errors.New("OTEL_EXPORTER_OTLP_ENDPOINT: the variables of the exporter cannot be used")
			}
		}
		if err != nil {
			// These variables are often those of a whole cluster: they must not
			// keep anybody from deciding.
			log.Warn("no traces are sent", "err", err)
			return nil, nil
		}
		if !wanted {
			return nil, nil
		}
		log.Info("traces are sent")
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "countersign"), attribute.String("service.version", versionText())),
		resource.WithFromEnv())
	if err != nil {
		log.Warn("OTEL_RESOURCE_ATTRIBUTES cannot be read whole")
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&redactingHandler{SpanExporter: exporter, log: log}), sdktrace.WithResource(about), sdktrace.WithIDGenerator(idGenerator{}))
	return &tracer{provider: provider, tracer: provider.Tracer("github.com/countersign/countersign"), now: now}, nil
}

// close sends what was not sent yet, and waits for it for a moment.
func (t *tracer) close(ctx context.Context, log *slog.Logger) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceFlush)
	defer cancel()
	if t.provider.Shutdown(ctx) != nil {
		log.Warn("traces: the last spans were not sent")
	}
}

// Begin implements [trace.Tracer].
func (t *tracer) Begin(ctx context.Context, s tracing.Span) (context.Context, func(tickets.Number, string)) {
	root := t.root(ctx, s.ID, time.Time{}).SpanContext()
	parent := root
	switch around := trace.SpanContextFromContext(ctx); {
	case s.For != nil:
		parent = root.WithSpanID(decisionSpan(s.ID, s.For))
	case around.TraceID() == root.TraceID():
		parent = around
	}
	start := trace.ContextWithSpanContext(ctx, parent)
	if s.Makes != nil {
		start = context.WithValue(start, nameKey{}, name{root.TraceID(), decisionSpan(s.ID, s.Makes)})
	}
	at := s.Start
	if at.IsZero() {
		at = t.now()
	}
	_, span := t.tracer.Start(start, s.Name, trace.WithTimestamp(at))
	if s.Platform != "" {
		span.SetAttributes(platformKey.String(string(s.Platform)))
	}
	return trace.ContextWithSpan(ctx, span), func(n tickets.Number, result string) {
		if n != "" {
			span.SetAttributes(ticketKey.String(string(n)))
		}
		span.SetAttributes(resultKey.String(result))
		if failures[result] {
			span.SetStatus(codes.Error, "")
		}
		span.End(trace.WithTimestamp(t.now()))
	}
}

// failures are the results that somebody may want to look for.
var failures = map[string]bool{
	"error": true, string(tickets.Unavailable): true, string(tickets.Ambiguous): true, string(tickets.RateLimited): true, string(tickets.Unauthorized): true,
	string(tickets.Rejected): true, string(tickets.NotFound): true,
}

// Ended implements [trace.Tracer]: the first span of the trace, which all others
// are below, lasts from the request to the outcome.
func (t *tracer) Ended(k *tickets.Ticket, at time.Time) {
	span := t.root(context.Background(), k.ID, k.Created)
	span.SetAttributes(ticketKey.String(string(k.Number)), resultKey.String(string(k.Outcome.Verdict)))
	span.End(trace.WithTimestamp(at))
}

// root begins the first span of a trace. It is sent only if it is ended; the
// sampler of the environment says whether the trace is sent at all.
func (t *tracer) root(ctx context.Context, id tickets.RequestID, start time.Time) trace.Span {
	of := name{}
	sum := sha256.Sum256([]byte("countersign\x00" + id))
	copy(of.trace[:], sum[:])
	copy(of.span[:], sum[len(of.trace):])
	_, span := t.tracer.Start(context.WithValue(ctx, nameKey{}, of), "ticket", trace.WithNewRoot(), trace.WithTimestamp(start))
	return span
}

// decisionSpan is the identifier of the span in which d was recorded.
func decisionSpan(id tickets.RequestID, d *tickets.Decision) (span trace.SpanID) {
	sum := sha256.Sum256(fmt.Appendf(nil, "countersign\x00%s\x00%s\x00%d", id, d.By, d.At.UnixNano()))
	copy(span[:], sum[:])
	return span
}

// transport makes a span of each call that is made for a ticket. name is as
// for [metrics.transport]. Nothing is added to the call: whoever is called need
// not know of our traces.
func (t *tracer) transport(platform string, next http.RoundTripper, name func(*http.Request) string) http.RoundTripper {
	if t == nil {
		return next
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if !trace.SpanFromContext(r.Context()).IsRecording() {
			return next.RoundTrip(r)
		}
		_, span := t.tracer.Start(r.Context(), platform+" "+name(r), trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(t.now()), trace.WithAttributes(platformKey.String(platform)))
		res, err := next.RoundTrip(r)
		result := "0" // no answer, as in the metrics
		if err == nil {
			result = strconv.Itoa(res.StatusCode)
		}
		if err != nil || res.StatusCode >= http.StatusBadRequest {
			span.SetStatus(codes.Error, "")
		}
		span.SetAttributes(resultKey.String(result))
		span.End(trace.WithTimestamp(t.now()))
		return res, err
	})
}

// name is what a span that begins is to be called.
type name struct {
	trace trace.TraceID
	span  trace.SpanID
}

type nameKey struct{}

// idGenerator gives spans the identifiers that their context asks for, and any others
// if it asks for none. It implements [sdktrace.IDGenerator].
type idGenerator struct{}

// NewIDs implements [sdktrace.IDGenerator].
func (g idGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if n, ok := ctx.Value(nameKey{}).(name); ok {
		return n.trace, n.span
	}
	var id trace.TraceID
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64()|1) // not zero, which is none
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements [sdktrace.IDGenerator].
func (idGenerator) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	if n, ok := ctx.Value(nameKey{}).(name); ok {
		return n.span
	}
	binary.NativeEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// redactingHandler tells the operator once when spans cannot be sent, and once when they
// can again, in words without what the collector answered.
type redactingHandler struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	fail atomic.Bool
}

// ExportSpans implements [sdktrace.SpanExporter]. What failed is lost: nothing
// waits for traces.
func (c *redactingHandler) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	switch failed := c.fail.Swap(err != nil); {
	case err != nil && !failed:
		c.log.Warn("traces are not sent and are lost", "err", whyUnsent(err))
	case err == nil && failed:
		c.log.Info("traces are sent again")
	}
	return nil
}

// whyUnsent is err without what the collector answered.
func whyUnsent(err error) string {
	var dial *net.OpError
	switch {
	case errors.As(err, &dial):
		return dial.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "the collector did not answer in time"
	}
	return "the collector did not take them"
}

// checkTraces sends the collector nothing, in the form of traces.
func checkTraces(ctx context.Context, c *checkup) {
	wanted, err := tracesWanted()
	switch {
	case err != nil:
		c.note("traces: none are sent, "+err.Error(), "Correct this variable, or remove it.")
		return
	case !wanted:
		return
	}
	hearLibrary(slog.New(slog.DiscardHandler))
	client := otlptracehttp.NewClient(otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err = client.Start(ctx); err == nil {
		err = errors.Join(client.UploadTraces(ctx, nil), client.Stop(ctx))
	}
	if err != nil {
		c.bad("traces: the collector", whyUnsent(err), "See that OTEL_EXPORTER_OTLP_ENDPOINT is the collector's address for OTLP over HTTP, mostly with port 4318, and that OTEL_EXPORTER_OTLP_HEADERS holds what it asks for.")
		return
	}
	c.ok("traces: the collector takes them")
}

// hearLibrary has OpenTelemetry log into log. What it says of a variable quotes
// it, and may so quote a token: its words alone are passed on.
func hearLibrary(log *slog.Logger) {
	otel.SetLogger(logr.FromSlogHandler(loggingExporter{log.Handler()}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) { log.Warn("traces: OpenTelemetry has a problem of its own") }))
}

// loggingExporter passes on the words of a log line, and nothing that it quotes.
type loggingExporter struct{ next slog.Handler }

// Enabled implements [slog.Handler].
func (w loggingExporter) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= libraryWarning && w.next.Enabled(ctx, slog.LevelWarn)
}

// libraryWarning is the level of the library's warnings, as logr writes them.
const libraryWarning = slog.LevelInfo - 1

// Handle implements [slog.Handler].
func (w loggingExporter) Handle(ctx context.Context, r slog.Record) error {
	return w.next.Handle(ctx, slog.NewRecord(r.Time, slog.LevelWarn, "traces: "+r.Message, r.PC))
}

// WithAttrs implements [slog.Handler].
func (w loggingExporter) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler].
func (w loggingExporter) WithGroup(string) slog.Handler { return w }
