package app

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output/otlp"
	"github.com/perfd/perfd/internal/validity"
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
	paused, _ := a.pause.state()
	at, ok, _ := a.lastReload()
	send(metric.Paused, number(paused))
	send(metric.ConfigReloadSuccessful, number(ok))
	send(metric.ConfigReloadSuccessTime, timestamp(at))
	send(metric.ShardInfo, 1, strconv.Itoa(a.opts.Shard), strconv.Itoa(a.opts.Shards))
	st := a.current()
	for _, t := range st.targets {
		send(metric.BackoffRatio, 1-t.distress.Share(), t.name)
		send(metric.TargetUp, number(t.distress.Up()), t.name)
	}
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
	now := time.Now()
	for _, s := range st.scenarios {
		s.collect(send, now)
	}
	for _, t := range st.targets {
		t.watch.Collect(send)
	}
	a.verdicts.collect(send)
	send(metric.HistoryFaults, float64(a.historyFaults.Load()))
}

func (s *scenario) collect(send func(*metric.Desc, float64, ...string), now time.Time) {
	sched := s.runner.Status()
	is := state(sched)
	for _, one := range states {
		send(metric.ScenarioState, number(one == is), s.name, one)
	}
	send(metric.ScenarioExpected, number(sched.Due), s.name)
	var vus, busy, plannedVUs int
	var rate float64
	if r := s.current(); r != nil {
		stats := r.stats.Load()
		vus, busy, plannedVUs, rate = stats.VUs, stats.Busy, stats.PlannedVUs, stats.PlannedRate
		named := r.identity.Load()
		send(metric.RunInfo, 1, s.name, named.id, named.release)
		send(metric.RunStart, timestamp(named.began), s.name)
	}
	send(metric.VUs, float64(vus), s.name)
	send(metric.VUsBusy, float64(busy), s.name)
	if s.open {
		send(metric.PlannedArrivals, rate, s.name)
	} else {
		send(metric.PlannedVUs, float64(plannedVUs), s.name)
	}
	if !sched.Next.IsZero() {
		send(metric.ScheduleNextRun, timestamp(sched.Next), s.name)
	}
	if !sched.LastEnd.IsZero() {
		send(metric.RunLastEnd, timestamp(sched.LastEnd), s.name)
	}
	send(metric.ScheduleMissed, float64(sched.Missed), s.name)
	s.app.results.collect(send, s.name)
	send(metric.MeasurementValid, number(len(s.valid.Reasons(now)) == 0), s.name)
	for r, seconds := range s.valid.Seconds() {
		send(metric.MeasurementInvalid, seconds, s.name, validity.Reason(r).String())
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
