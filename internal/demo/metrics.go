package demo

import (
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics count what the shop did, to compare with what others say about it.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	answers  answers
	inFlight prometheus.Gauge
	leaked   prometheus.Counter

	// Of streams.
	streams         prometheus.Gauge
	messages, bytes *prometheus.CounterVec // label direction
	skipped         prometheus.Counter
}

// came counts a message that a client sent, and went one that was sent to it.
func (m *metrics) came(size int) { m.message("received", size) }
func (m *metrics) went(size int) { m.message("sent", size) }

func (m *metrics) message(direction string, size int) {
	m.messages.WithLabelValues(direction).Inc()
	m.bytes.WithLabelValues(direction).Add(float64(size))
}

// liveHeap is what the last collection left, the series to look for leaks in.
var liveHeap = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}

func newMetrics(s *Shop) metrics {
	m := metrics{
		registry: newRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_requests_total", Help: "Requests that arrived."}, []string{"endpoint"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_request_failures_total", Help: "Requests answered with 500, as the knobs say."}, []string{"endpoint"}),
		answers:  newAnswers("shop_responses_total"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "shop_requests_in_flight", Help: "Requests under way."}),
		leaked:   prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_leaked_bytes_total", Help: "Memory that requests have leaked."}),

		streams:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "shop_streams_open", Help: "Streams that are open: WebSockets, and answers that are events."}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_messages_total", Help: "Messages of streams."}, []string{"direction"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_message_bytes_total", Help: "Bytes of these messages."}, []string{"direction"}),
		skipped:  prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_messages_skipped_total", Help: "Numbers of messages that a stream was too far behind to be sent."}),
	}
	m.registry.MustRegister(m.requests, m.failures, m.answers, m.inFlight, m.leaked, m.streams, m.messages, m.bytes, m.skipped, releaseCollector{
		&s.faults, prometheus.NewDesc("shop_release_info", "The shop's release.", []string{"release"}, nil),
	})
	return m
}

// newRegistry returns a registry with what is known of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewBuildInfoCollector(),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(liveHeap)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// releaseCollector exposes the release as an info metric.
type releaseCollector struct {
	f    *faults
	desc *prometheus.Desc
}

func (c releaseCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c releaseCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1, c.f.Knobs().Release)
}
