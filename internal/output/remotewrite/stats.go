package remotewrite

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/metric"
)

// dropReasons are why samples are not sent.
var dropReasons = []string{"rejected", "queue_full", "too_old", "damaged", "encode"}

type stats struct {
	name, url                                  string
	samples, failed, retried, exemplars, bytes atomic.Uint64
	highest                                    atomic.Int64 // ms: all up to it is sent or given up
	batch                                      prometheus.Histogram

	mu      sync.Mutex
	dropped map[string]uint64
	why     string // it is blocked, empty where it is not
}

func newStats(c *Config) *stats {
	s := &stats{name: c.Name, url: c.shown(), dropped: map[string]uint64{}}
	s.batch = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: metric.RemoteWriteBatchDuration.Name, Help: metric.RemoteWriteBatchDuration.Help,
		ConstLabels:                     prometheus.Labels{"remote": s.name, "url": s.url},
		Buckets:                         []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	})
	return s
}

func (s *stats) request(bytes int, took time.Duration) {
	s.bytes.Add(uint64(bytes))
	s.batch.Observe(took.Seconds())
}

func (s *stats) send(items []item) {
	s.samples.Add(uint64(len(items)))
	for i := range items {
		s.exemplars.Add(uint64(len(items[i].exemplars)))
	}
}

// reading notes that everything before a snapshot is done.
func (s *stats) reading(at int64) { s.highest.CompareAndSwap(0, at-1) }
func (s *stats) passed(at int64)  { s.highest.Store(at) }

func (s *stats) drop(reason string, samples int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped[reason] += uint64(samples)
}

func (s *stats) blocked(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = why
}

// Collect sends the writer's metrics, and those of its endpoints.
func (w *Writer) Collect(send metric.Send, ch chan<- prometheus.Metric) {
	q := w.queue.Stats()
	send(metric.RemoteWriteQueueBytes, float64(q.Bytes))
	send(metric.RemoteWriteQueueMemoryBytes, float64(q.InMemory))
	send(metric.RemoteWriteQueueFaults, float64(w.totals.faults.Load()))
	send(metric.RemoteWriteQueueDamagedBytes, float64(w.totals.damaged.Load()))
	send(metric.RemoteWriteSnapshots, float64(w.totals.snapshots.Load()))
	for i := range w.totals.skipped {
		send(metric.RemoteWriteSnapshotsSkipped, float64(w.totals.skipped[i].Load()), skipNames[i])
	}
	if last := w.totals.last.Load(); last > 0 {
		send(metric.RemoteWriteHighestTimestamp, float64(last)/1e3)
	}
	for _, e := range w.endpoints {
		s := e.stats
		send(metric.RemoteWriteSamples, float64(s.samples.Load()), s.name, s.url)
		send(metric.RemoteWriteSamplesFailed, float64(s.failed.Load()), s.name, s.url)
		send(metric.RemoteWriteSamplesRetried, float64(s.retried.Load()), s.name, s.url)
		send(metric.RemoteWriteExemplars, float64(s.exemplars.Load()), s.name, s.url)
		send(metric.RemoteWriteBytes, float64(s.bytes.Load()), s.name, s.url)
		var pending int64 // unknown before the queue is read
		if r := e.reader.Load(); r != nil {
			pending = r.Pending()
		}
		send(metric.RemoteWritePendingBytes, float64(pending), s.name, s.url)
		if at := s.highest.Load(); at > 0 {
			send(metric.RemoteWriteHighestSentTimestamp, float64(at)/1e3, s.name, s.url)
		}
		s.mu.Lock()
		dropped, why := maps.Clone(s.dropped), s.why
		s.mu.Unlock()
		for _, reason := range dropReasons {
			send(metric.RemoteWriteSamplesDropped, float64(dropped[reason]), s.name, s.url, reason)
		}
		if why != "" {
			send(metric.RemoteWriteBlocked, 1, s.name, s.url, why)
		}
		ch <- s.batch
	}
}
