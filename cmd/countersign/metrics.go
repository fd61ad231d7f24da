package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/bot"
	"github.com/countersign/countersign/bot/integrity"
	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// metrics is everything that /metrics shows.
type metrics struct {
	registry *prometheus.Registry
	webhooks *prometheus.CounterVec
	steps    *prometheus.CounterVec
	stepTime *prometheus.HistogramVec
	calls    *prometheus.CounterVec
	callTime *prometheus.HistogramVec

	deliveries *prometheus.CounterVec
	refused    *prometheus.CounterVec
	foreign    prometheus.Gauge
	damaged    *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_webhooks_total", Help: "Webhooks received, by what became of them.",
		}, []string{"result"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_steps_total", Help: "Steps done for tickets, by kind and result: ok or the class of failure.",
		}, []string{"kind", "result"}),
		stepTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_step_duration_seconds", Help: "How long steps took, the platform's pace included.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10),
		}, []string{"kind"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_api_requests_total", Help: "Calls to EPM and the chats, by method and HTTP status; status 0 means no answer.",
		}, []string{"platform", "method", "status"}),
		callTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_api_request_duration_seconds", Help: "How long calls to EPM and the chats took.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10),
		}, []string{"platform"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_deliveries_total", Help: "Events that receivers took, and deliveries that failed, by sink and result: ok or the class of failure.",
		}, []string{"sink", "result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_signed_requests_refused_total", Help: "Requests to the signed paths of the chats that were refused, by reason.",
		}, []string{"platform", "reason"}),
		damaged: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_damage_found_total", Help: "Records and index entries of the store that were found changed by something else than Countersign, by what: record, index (mended by itself) or unreadable.",
		}, []string{"what"}),
		foreign: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_slack_foreign_connections", Help: "Connections of Socket Mode that the Slack app has and that are of no replica, as Slack last said.",
		}),
	}
	// From the start, so that the first of a kind is an increase.
	for _, d := range integrity.Damages() {
		m.damaged.WithLabelValues(string(d))
	}
	for _, result := range epm.Results() {
		m.webhooks.WithLabelValues(result)
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "countersign_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": versionText()},
	})
	build.Set(1)
	m.registry.MustRegister(m.webhooks, m.steps, m.stepTime, m.calls, m.callTime, m.deliveries, m.refused, m.foreign, m.damaged, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Step implements bot.Meter.
func (m *metrics) Step(kind tickets.StepKind, result string, took time.Duration) {
	m.steps.WithLabelValues(string(kind), result).Inc()
	m.stepTime.WithLabelValues(string(kind)).Observe(took.Seconds())
}

// Damaged implements bot.Meter.
func (m *metrics) Damaged(d integrity.Damage) { m.damaged.WithLabelValues(string(d)).Inc() }

func (m *metrics) webhook(result string) { m.webhooks.WithLabelValues(result).Inc() }

// refusals counts the signed requests of platform that are refused.
func (m *metrics) refusals(platform tickets.Platform) func(signed.Reason) {
	for _, why := range signed.Reasons() {
		m.refused.WithLabelValues(string(platform), string(why))
	}
	return func(why signed.Reason) { m.refused.WithLabelValues(string(platform), string(why)).Inc() }
}

// transport counts the calls that go through next. name makes the method's
// name of a request; it must not let identifiers through.
func (m *metrics) transport(platform string, next http.RoundTripper, name func(*http.Request) string) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		start := time.Now()
		res, err := next.RoundTrip(r)
		status := "0"
		if err == nil {
			status = strconv.Itoa(res.StatusCode)
		}
		m.calls.WithLabelValues(platform, name(r), status).Inc()
		m.callTime.WithLabelValues(platform).Observe(time.Since(start).Seconds())
		return res, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// watch adds what the store holds to m, counted when it is asked for. A lane
// of lanes in which nothing is owed is 0.
func (m *metrics) watch(s store.Store, lanes []tickets.Lane, now func() time.Time) {
	m.registry.MustRegister(&storeCollector{store: s, lanes: lanes, now: now})
}

// watchClock adds to m how far machine, this machine's clock, is off.
func (m *metrics) watchClock(c *clock, machine func() time.Time) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_clock_offset_seconds", Help: "How far Redis' clock is ahead of this machine's; the program works by Redis'.",
	}, func() float64 { return c.Now().Sub(machine()).Seconds() }))
}

// watchPlaces adds to m which places can be used.
func (m *metrics) watchPlaces(b *bot.Bot) { m.registry.MustRegister(placeCollector{b}) }

type placeCollector struct{ bot *bot.Bot }

var placeDesc = prometheus.NewDesc("countersign_channel_unavailable", "1 for a channel that cannot be used as it should, 0 for one that can.", []string{"platform", "channel"}, nil)

// Describe implements prometheus.Collector.
func (c placeCollector) Describe(ch chan<- *prometheus.Desc) { ch <- placeDesc }

// Collect implements prometheus.Collector.
func (c placeCollector) Collect(ch chan<- prometheus.Metric) {
	out := map[tickets.Place]float64{}
	for _, p := range c.bot.Current().Rules.Places {
		out[p] = 0
	}
	for _, o := range c.bot.ChannelOutages() {
		out[o.Place] = 1 // perhaps one of earlier settings
	}
	for p, value := range out {
		ch <- prometheus.MustNewConstMetric(placeDesc, prometheus.GaugeValue, value, string(p.Platform), p.Channel)
	}
}

type storeCollector struct {
	store store.Store
	lanes []tickets.Lane
	now   func() time.Time
}

var (
	ticketsDesc = prometheus.NewDesc("countersign_tickets", "Tickets in the store, by progress.", []string{"progress"}, nil)
	dueDesc     = prometheus.NewDesc("countersign_due_tickets", "Tickets that owe a step now, by lane.", []string{"lane"}, nil)
	owedDesc    = prometheus.NewDesc("countersign_outstanding_tickets", "Tickets that owe a step, now or later, by lane.", []string{"lane"}, nil)
	upDesc      = prometheus.NewDesc("countersign_store_up", "1 if the store answers this process, 0 if not: then nothing else is told of it.", nil, nil)
	oldestDesc  = prometheus.NewDesc("countersign_oldest_due_age_seconds", "How long the oldest due step has been waiting, by lane.", []string{"lane"}, nil)
)

// Describe implements prometheus.Collector.
func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- upDesc
	ch <- ticketsDesc
	ch <- dueDesc
	ch <- owedDesc
	ch <- oldestDesc
}

// Collect implements prometheus.Collector.
func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	now := c.now()
	stats, err := c.store.Stats(ctx, now)
	if err != nil { // the log and /readyz say why
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, 1)
	for _, p := range tickets.Progresses() {
		ch <- prometheus.MustNewConstMetric(ticketsDesc, prometheus.GaugeValue, float64(stats.Progress[p]), string(p))
	}
	for _, lane := range c.lanes {
		stats.Owed[lane] += 0
	}
	for lane, n := range stats.Owed {
		b, due := stats.Due[lane]
		if !due {
			b.Oldest = now
		}
		ch <- prometheus.MustNewConstMetric(owedDesc, prometheus.GaugeValue, float64(n), string(lane))
		ch <- prometheus.MustNewConstMetric(dueDesc, prometheus.GaugeValue, float64(b.Count), string(lane))
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, now.Sub(b.Oldest).Seconds(), string(lane))
	}
}
