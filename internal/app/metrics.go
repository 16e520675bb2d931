package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/fleet"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output/otlp"
)

// newRegistry returns the registry of everything but what the recorder counts.
func newRegistry(a *App) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		// Without the old memory statistics, whose names break OpenMetrics' rules for counters.
		collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled(),
			collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC, collectors.MetricsMemory, collectors.MetricsScheduler)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("perfd"),
		newCollector(a),
	)
	return r
}

// A collector reads the daemon's state at each scrape.
type collector struct {
	a     *App
	descs map[*metric.Desc]*prometheus.Desc
}

func newCollector(a *App) *collector {
	c := &collector{a, map[*metric.Desc]*prometheus.Desc{}}
	for _, d := range []*metric.Desc{
		metric.ScenarioExpected, metric.ScenarioState, metric.VUs, metric.VUsBusy, metric.PlannedArrivals, metric.PlannedVUs,
		metric.BackoffRatio, metric.TargetUp, metric.RunInfo, metric.RunStart, metric.RunLastEnd, metric.Runs, metric.ScheduleNextRun,
		metric.ScheduleMissed, metric.MeasurementValid, metric.MeasurementInvalid, metric.ShardInfo, metric.Paused,
		metric.ConfigReloadSuccessful, metric.ConfigReloadSuccessTime,
		metric.TargetRelease, metric.TargetReleaseSettled, metric.TargetReleaseChanges, metric.TargetReadFailures,
		metric.TargetResourceBytes, metric.TargetResourceCount,
		metric.Findings, metric.HistoryBytes, metric.HistoryFaults, metric.HistoryLost, metric.AnalysisSeconds,
		metric.TraceSpans, metric.TraceSpansDropped, metric.TraceSpansQueued, metric.TraceExportsFailed,
		metric.RemoteWriteSamples, metric.RemoteWriteSamplesFailed, metric.RemoteWriteSamplesRetried, metric.RemoteWriteSamplesDropped,
		metric.RemoteWriteExemplars, metric.RemoteWriteBytes, metric.RemoteWritePendingBytes, metric.RemoteWriteHighestSentTimestamp,
		metric.RemoteWriteHighestTimestamp, metric.RemoteWriteBlocked, metric.RemoteWriteSnapshots, metric.RemoteWriteSnapshotsSkipped,
		metric.RemoteWriteQueueBytes, metric.RemoteWriteQueueMemoryBytes, metric.RemoteWriteQueueFaults, metric.RemoteWriteQueueDamagedBytes,
	} {
		c.descs[d] = d.Const()
	}
	for _, d := range a.kinds.Analyses.Metrics() {
		c.descs[d] = d.Const()
	}
	return c
}

// Describe sends what is collected.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect sends the state as it is now.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *metric.Desc, v float64, labels ...string) {
		kind := prometheus.GaugeValue
		if d.Type == metric.Counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(c.descs[d], kind, v, labels...)
	}
	a := c.a
	at, ok, _ := a.reloads.last()
	send(metric.ConfigReloadSuccessful, analysis.Number(ok))
	send(metric.ConfigReloadSuccessTime, fleet.Seconds(at))
	send(metric.ShardInfo, 1, strconv.Itoa(a.opts.Shard), strconv.Itoa(a.opts.Shards))
	if t := a.tracing.Load(); t != nil {
		spans := t.Stats()
		send(metric.TraceSpans, float64(spans.Exported))
		send(metric.TraceSpansQueued, float64(spans.Queued))
		send(metric.TraceExportsFailed, float64(spans.Failed))
		for reason := range otlp.NumReasons {
			send(metric.TraceSpansDropped, float64(spans.Dropped[reason]), reason.String())
		}
	}
	if w := a.remoteWrite(); w != nil {
		w.Collect(send, ch)
	}
	a.fleet.Collect(send)
	a.judge.Collect(send)
	send(metric.HistoryFaults, float64(a.historyFaults.Load()))
}
