package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign/countersign/bot"
)

// watchComparisons adds to m how the store compares with EPM's lists.
func (m *metrics) watchComparisons(b *bot.Bot) { m.registry.MustRegister(comparisonCollector{b}) }

type comparisonCollector struct{ bot *bot.Bot }

var (
	reconcileLastDesc     = prometheus.NewDesc("countersign_reconcile_last_success_timestamp_seconds", "When this process last compared the store with EPM's list, by kind; 0 for never.", []string{"kind"}, nil)
	recoveredRequestsDesc = prometheus.NewDesc("countersign_reconcile_recovered_requests_total", "Requests found in EPM's list whose webhook had not arrived, by kind.", []string{"kind"}, nil)
	resolvedTicketsDesc   = prometheus.NewDesc("countersign_reconcile_resolved_tickets_total", "Tickets that got their outcome from EPM's list, by kind.", []string{"kind"}, nil)
	skippedRecordsDesc    = prometheus.NewDesc("countersign_reconcile_skipped_records", "Records of the last comparison that were not understood, by kind.", []string{"kind"}, nil)
)

// Describe implements prometheus.Collector.
func (c comparisonCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{reconcileLastDesc, recoveredRequestsDesc, resolvedTicketsDesc, skippedRecordsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c comparisonCollector) Collect(ch chan<- prometheus.Metric) {
	list, _ := c.bot.Comparisons()
	for _, k := range list {
		kind, last := string(k.Kind), 0.0
		if !k.At.IsZero() {
			last = float64(k.At.UnixMilli()) / 1000
		}
		ch <- prometheus.MustNewConstMetric(reconcileLastDesc, prometheus.GaugeValue, last, kind)
		ch <- prometheus.MustNewConstMetric(recoveredRequestsDesc, prometheus.CounterValue, float64(k.Missed), kind)
		ch <- prometheus.MustNewConstMetric(resolvedTicketsDesc, prometheus.CounterValue, float64(k.Closed), kind)
		ch <- prometheus.MustNewConstMetric(skippedRecordsDesc, prometheus.GaugeValue, float64(k.Unknown), kind)
	}
}
