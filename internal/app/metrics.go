package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/fleet"
	"github.com/perfd/perfd/internal/metric"
)

// newRegistry returns the registry of everything but what the recorder counts.
func newRegistry(a *App) *metric.Registry {
	more := a.kinds.Analyses.Metrics()
	for _, k := range a.kinds.Outputs {
		more = append(more, k.Metrics...)
	}
	r := metric.NewRegistry(a.log, more...)
	// Without the old memory statistics, whose names break OpenMetrics' rules for counters.
	r.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled(),
		collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC, collectors.MetricsMemory, collectors.MetricsScheduler)))
	r.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(versioncollector.NewCollector("perfd"))
	r.Add(func(send metric.Send, _ chan<- prometheus.Metric) { a.collect(send) })
	r.Add(func(send metric.Send, _ chan<- prometheus.Metric) { a.fleet.Collect(send) })
	r.Add(func(send metric.Send, _ chan<- prometheus.Metric) { a.suites.Collect(send) })
	r.Add(func(send metric.Send, _ chan<- prometheus.Metric) { a.judge.Collect(send) })
	r.Add(func(send metric.Send, ch chan<- prometheus.Metric) { a.outputs.Collect(send, ch) })
	return r
}

// collect sends the daemon's own state as it is at this moment.
func (a *App) collect(send metric.Send) {
	at, ok, _ := a.reloads.last()
	send(metric.ConfigReloadSuccessful, analysis.Number(ok))
	send(metric.ConfigReloadSuccessTime, fleet.Seconds(at))
	scale := a.fleet.Scale()
	send(metric.ConfigScale, 1/scale.Time, "time")
	send(metric.ConfigScale, scale.Load, "load")
	send(metric.ShardInfo, 1, strconv.Itoa(a.opts.Shard), strconv.Itoa(a.opts.Shards))
	send(metric.HistoryFaults, float64(a.historyFaults.Load()))
	send(metric.TLSReloadFailures, float64(a.tlsFaults.Count()))
}
