package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/bot/tracing"
	"github.com/countersign/countersign/tickets"
)

// traceCollector takes traces as OTLP over HTTP.
type traceCollector struct {
	*httptest.Server
	mu      sync.Mutex
	status  int // of answers; default 200
	bodies  [][]byte
	headers []http.Header
	spans   []*otlp.Span
	wrong   []string
}

func newTraceCollector(t testing.TB) *traceCollector {
	c := &traceCollector{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *traceCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var said collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &said)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.wrong = append(c.wrong, fmt.Sprint(r.URL.Path, r.Header, err))
	}
	c.bodies, c.headers = append(c.bodies, body), append(c.headers, r.Header)
	if c.status != 0 {
		http.Error(w, "the answer is a secret", c.status)
		return
	}
	for _, resource := range said.ResourceSpans {
		if !strings.Contains(resource.Resource.String(), `"countersign"`) {
			c.wrong = append(c.wrong, "resource "+resource.Resource.String())
		}
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *traceCollector) answers(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// all are the spans that have arrived.
func (c *traceCollector) all() []*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

func attributes(s *otlp.Span) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		all[a.Key] = a.Value.GetStringValue()
	}
	return all
}

// Everything that is done for one ticket is in one trace, whichever replica did
// it and before or after a restart: from the webhook, below the span of the
// whole ticket, to EPM's confirmation, and the decision leads to its sending.
func TestStoryTrace(t *testing.T) {
	t.Parallel()
	traces := newTraceCollector(t)
	s := tell(t, withDiscord, withRedis(startRedis(t)), func(s *story) {
		s.gateway.Lease = 2 * time.Second
		s.traces = func() sdktrace.SpanExporter {
			out, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(traces.URL+"/v1/traces"))
			if err != nil {
				t.Error(err)
			}
			return out
		}
	})
	r, _ := s.requested()
	s.discordShows("waiting for a decision")
	s.stop()
	s.start()
	addr, leave := s.join(0)
	s.slackCalls(addr)
	if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
		t.Fatalf("problems = %v", problems)
	}
	s.inEffect(r.ID, "Approved", "7200")
	s.shows("submitted to EPM")
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM")
	s.discordShows("Confirmed by EPM")
	s.confirmed(r.ID)
	s.eventually("every step", func() bool { return strings.Count(s.replies(), "Confirmed by EPM") == 1 })
	leave()
	s.stop() // which sends what is left

	spans := traces.all()
	byID, names := map[string]*otlp.Span{}, map[string]int{}
	for _, span := range spans {
		id := hex.EncodeToString(span.SpanId)
		if byID[id] != nil {
			t.Errorf("two spans are called %s: %s and %s", id, span.Name, byID[id].Name)
		}
		byID[id] = span
		names[span.Name+" "+attributes(span)["countersign.result"]]++
	}
	// parents are the names of what a span is below.
	parents := func(span *otlp.Span) string {
		var list []string
		for p := byID[hex.EncodeToString(span.ParentSpanId)]; p != nil; p = byID[hex.EncodeToString(p.ParentSpanId)] {
			list = append(list, p.Name)
		}
		return strings.Join(list, " < ")
	}
	below := map[string]string{
		"ticket": "", "webhook": "ticket", "post": "ticket", "edit": "ticket", "reply": "ticket", "click": "ticket", "submit": "ticket",
		"decide": "submit < ticket", "send": "decide < submit < ticket", "poll": "decide < submit < ticket",
		"slack chat.postMessage": "post < ticket|reply < ticket", "slack chat.update": "edit < ticket", "epm decide": "send < decide < submit < ticket",
	}
	for _, span := range spans {
		if string(span.TraceId) != string(spans[0].TraceId) {
			t.Errorf("%s is in another trace", span.Name)
		}
		got := parents(span)
		want, known := below[span.Name]
		if known && !slices.Contains(strings.Split(want, "|"), got) || !known && got == "" {
			t.Errorf("%s is below %q, want %q", span.Name, got, want)
		}
		if first := byID[hex.EncodeToString(span.ParentSpanId)]; span.EndTimeUnixNano < span.StartTimeUnixNano || first != nil && span.StartTimeUnixNano < first.StartTimeUnixNano {
			t.Errorf("%s begins before what it is below, or ends before it begins", span.Name)
		}
		for key, value := range attributes(span) {
			if !slices.Contains([]string{"countersign.ticket", "countersign.platform", "countersign.result"}, key) {
				t.Errorf("%s has an attribute %s: %q", span.Name, key, value)
			}
		}
		if known && attributes(span)["countersign.ticket"] != "JIT-1001" && !strings.Contains(span.Name, " ") {
			t.Errorf("%s is of ticket %q", span.Name, attributes(span)["countersign.ticket"])
		}
	}
	for name, want := range map[string]int{
		"ticket approve": 1, "webhook created": 1, "webhook updated": 1, "webhook duplicate": 1, "post ok": 2, "decide approve": 1, "send ok": 1, "submit done": 1, "epm decide 200": 1,
	} {
		if names[name] != want {
			t.Errorf("%d spans %q, want %d: %v", names[name], name, want, names)
		}
	}
	traces.mu.Lock()
	defer traces.mu.Unlock()
	for _, one := range traces.wrong {
		t.Errorf("the collector was sent %s", one)
	}
	for _, no := range []string{hours2["reason"], "U01ANN", discordAnn, r.ID, webhookPass, s.slack.URL(), string(s.env.SlackBotToken), "hooks.slack.com", "PC-", `ACME`} {
		for _, body := range traces.bodies {
			if bytes.Contains(body, []byte(no)) {
				t.Errorf("the collector was sent %q", no)
			}
		}
	}
}

// Traces are switched on by the standard variables alone; what is wrong with
// them, or with the collector, is told without what they hold.
func TestTracesOfTheEnvironment(t *testing.T) {
	traces := newTraceCollector(t)
	logs := &syncBuffer{}
	log := slog.New(slog.NewTextHandler(logs, nil))
	begin := func() (*tracer, error) { return newTracer(t.Context(), nil, time.Now, log) }
	does := func(tr *tracer) {
		_, end := tr.Begin(t.Context(), tracing.Span{Name: "webhook", ID: "one"})
		end("JIT-1001", "created")
	}
	if tr, err := begin(); tr != nil || err != nil {
		t.Errorf("without a variable: %v, %v", tr, err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-secret,broken-secret")
	for name, value := range map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none"} {
		t.Setenv(name, value)
		if tr, err := begin(); tr != nil || err != nil {
			t.Errorf("with %s: %v, %v", name, tr, err)
		}
		t.Setenv(name, "")
	}
	for name, value := range map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "zipkin"} {
		t.Setenv(name, value)
		if tr, err := begin(); tr != nil || err != nil {
			t.Errorf("with %s=%s: %v, %v", name, value, tr, err)
		}
		t.Setenv(name, "")
	}
	tr, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	flush := func() {
		does(tr)
		if err := tr.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	flush()
	traces.answers(http.StatusUnauthorized)
	flush()
	flush()
	traces.answers(0)
	flush()
	tr.close(t.Context(), log)
	if n := len(traces.all()); n != 2 {
		t.Errorf("%d spans arrived, want 2", n)
	}
	if got := traces.headers[0].Get("Authorization"); got != "Bearer collector-secret" {
		t.Errorf("the collector was sent the authorization %q", got)
	}
	text := logs.String()
	for _, want := range []string{"traces are not sent and are lost", "the collector did not take them", "traces are sent again", "traces: parse headers"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("the log says %d times %q:\n%s", strings.Count(text, want), want, text)
		}
	}
	if strings.Contains(text, "secret") {
		t.Errorf("the log holds a secret:\n%s", text)
	}

	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	if tr, err = begin(); err != nil {
		t.Fatal(err)
	}
	does(tr)
	start := time.Now()
	tr.close(t.Context(), log)
	if took := time.Since(start); took > 2*traceFlush {
		t.Errorf("the end waits %v for a collector that is away", took)
	}
}

// TestDoctorLooksAtTraces: whether the collector takes them, if anybody wants
// them.
func TestDoctorLooksAtTraces(t *testing.T) {
	s := tell(t)
	if text, _, err := s.doctored(t.Context(), nil); err != nil || strings.Contains(text, "traces") {
		t.Errorf("without a variable: %v\n%s", err, text)
	}
	traces := newTraceCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.URL)
	if text, _, err := s.doctored(t.Context(), nil); err != nil || !strings.Contains(text, "ok   traces: the collector takes them\n") || len(traces.bodies) != 1 {
		t.Errorf("doctor = %v, %d calls\n%s", err, len(traces.bodies), text)
	}
	finds := func(want string) {
		t.Helper()
		text, fixes, _ := s.doctored(t.Context(), nil)
		if len(fixes) != 1 || !strings.Contains(fixes[0], want) || strings.Contains(text, "answer is a secret") {
			t.Errorf("doctor finds %q, want %q", fixes, want)
		}
	}
	traces.answers(http.StatusUnauthorized)
	finds("traces: the collector: the collector did not take them")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	finds("connection refused")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if text, fixes, _ := s.doctored(t.Context(), nil); len(fixes) > 0 || !strings.Contains(text, "note traces: none are sent, OTEL_EXPORTER_OTLP_PROTOCOL: traces are sent over HTTP") {
		t.Errorf("doctor finds %q in\n%s", fixes, text)
	}
}

// A trace is sampled whole or not at all, as the standard variables say.
func TestTracesAreSampledWhole(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
	sent := tracetest.NewInMemoryExporter()
	whole := map[string]int{}
	const all = 200
	for range 2 { // the second time is another process
		tr, err := newTracer(t.Context(), &keeps{sent}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			id := tickets.RequestID(fmt.Sprint("request ", i))
			d := tickets.Decision{At: time.Unix(int64(i), 0)}
			ctx, end := tr.Begin(t.Context(), tracing.Span{Name: "submit", ID: id})
			_, decided := tr.Begin(ctx, tracing.Span{Name: "decide", ID: id, Makes: &d})
			decided("", "approve")
			end("", "done")
			_, end = tr.Begin(t.Context(), tracing.Span{Name: "send", ID: id, For: &d})
			end("", "ok")
			tr.Ended(&tickets.Ticket{ID: id, Outcome: &tickets.Outcome{}}, time.Now())
		}
		tr.close(t.Context(), slog.New(slog.DiscardHandler))
	}
	for _, span := range sent.GetSpans() {
		whole[span.SpanContext.TraceID().String()]++
	}
	for id, n := range whole {
		if n != 8 {
			t.Errorf("%d spans of trace %s were sent, want all 8", n, id)
		}
	}
	if n := len(whole); n < all/4 || n > all*3/4 {
		t.Errorf("%d of %d traces were sent, want about half", n, all)
	}
}

// keeps is an exporter that outlives its process.
type keeps struct{ *tracetest.InMemoryExporter }

func (keeps) Shutdown(context.Context) error { return nil }
