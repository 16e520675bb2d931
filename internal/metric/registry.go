package metric

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Send exposes one value of a gauge or counter; labels are the values of the
// descriptor's labels, in their order.
type Send func(d *Desc, v float64, labels ...string)

// A Drop is why a metric is left out of an exposition.
type Drop uint8

// The reasons.
const (
	Unregistered Drop = iota // neither the catalogue nor a plug-in describes the metric
	Labels                   // other label values than the descriptor has labels, or no valid UTF-8
	Duplicate                // a series or family that was gathered already
	Malformed                // what the exposition formats cannot hold
	Panicked                 // the collector panicked
	numDrops
)

var dropNames = [numDrops]string{"unregistered", "labels", "duplicate", "malformed", "panic"}

// String returns the value of the label reason.
func (d Drop) String() string {
	if d < numDrops {
		return dropNames[d]
	}
	return "unknown"
}

// dropInterval is the time between two messages about one reason, and
// longestComplaint bounds the text in them, in bytes.
const (
	dropInterval     = time.Minute
	longestComplaint = 300
)

// A Registry gathers metrics of collectors and never fails as a whole: what
// cannot be exposed is left out, counted in perfd_metrics_dropped_total and
// logged once a minute for each reason. It is safe for concurrent use.
type Registry struct {
	registry *prometheus.Registry
	descs    map[*Desc]*prometheus.Desc // immutable
	log      *slog.Logger

	mu      sync.Mutex
	dropped [numDrops]uint64
	quiet   [numDrops]time.Time // until when no message about a reason is written
}

// NewRegistry returns an empty registry, which knows the catalogue and the
// descriptors more. A nil log discards messages.
func NewRegistry(log *slog.Logger, more ...*Desc) *Registry {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Registry{registry: prometheus.NewRegistry(), descs: map[*Desc]*prometheus.Desc{}, log: log}
	for _, d := range append(All(), more...) {
		r.descs[d] = d.Const()
	}
	return r
}

// Add makes Gather call collect, which sends values as they are at that moment,
// and may send metrics of client_golang as they are to ch. Each collect of a
// registry fails by itself: a panic ends only what it had not sent yet.
func (r *Registry) Add(collect func(send Send, ch chan<- prometheus.Metric)) {
	r.registry.MustRegister(&collector{registry: r, collect: collect})
}

// MustRegister adds a collector of client_golang and panics where one that
// describes the same metrics is there already.
func (r *Registry) MustRegister(c prometheus.Collector) {
	r.registry.MustRegister(guarded{c, r})
}

// Gather returns all families, sorted by name. The error is always nil.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) {
	families, err := r.registry.Gather()
	var many prometheus.MultiError
	switch {
	case errors.As(err, &many):
		for _, one := range many {
			r.Drop(reasonOf(one), one.Error())
		}
	case err != nil:
		r.Drop(reasonOf(err), err.Error())
	}
	own := r.droppedFamily()
	at, taken := slices.BinarySearchFunc(families, own.GetName(), func(f *dto.MetricFamily, name string) int {
		return strings.Compare(f.GetName(), name)
	})
	if taken {
		families = slices.Delete(families, at, at+1)
	}
	return slices.Insert(families, at, own), nil
}

// reasonOf classifies an error of client_golang's registry, which has no types
// for them.
func reasonOf(err error) Drop {
	if strings.Contains(err.Error(), "was collected before") {
		return Duplicate
	}
	return Malformed
}

// droppedFamily returns perfd_metrics_dropped_total.
func (r *Registry) droppedFamily() *dto.MetricFamily {
	f := MetricsDropped.Family()
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, n := range r.dropped {
		f.Metric = append(f.Metric, &dto.Metric{
			Label:   []*dto.LabelPair{{Name: new(MetricsDropped.Labels[0]), Value: new(Drop(reason).String())}},
			Counter: &dto.Counter{Value: new(float64(n))},
		})
	}
	slices.SortFunc(f.Metric, func(a, b *dto.Metric) int {
		return strings.Compare(a.Label[0].GetValue(), b.Label[0].GetValue())
	})
	return f
}

// Drop counts a metric that is left out; what names it.
func (r *Registry) Drop(why Drop, what string) {
	now := time.Now()
	r.mu.Lock()
	r.dropped[why]++
	n := r.dropped[why]
	silent := now.Before(r.quiet[why])
	if !silent {
		r.quiet[why] = now.Add(dropInterval)
	}
	r.mu.Unlock()
	if !silent {
		what = strings.ToValidUTF8(what[:min(len(what), longestComplaint)], "")
		r.log.Error("a metric is left out of the exposition", "reason", why.String(), "what", what, "dropped", n)
	}
}

// A collector calls a function at each gathering. It describes nothing, so that
// client_golang's registry checks what is sent instead of what is announced.
type collector struct {
	registry *Registry
	collect  func(Send, chan<- prometheus.Metric)
}

func (c *collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	defer c.registry.recover("")
	c.collect(func(d *Desc, v float64, labels ...string) { c.registry.send(ch, d, v, labels) }, ch)
}

func (r *Registry) send(ch chan<- prometheus.Metric, d *Desc, v float64, labels []string) {
	desc := r.descs[d]
	if desc == nil {
		name := "nil"
		if d != nil {
			name = d.Name
		}
		r.Drop(Unregistered, name)
		return
	}
	kind := prometheus.GaugeValue
	switch d.Type {
	case Counter:
		kind = prometheus.CounterValue
	case Histogram:
		r.Drop(Malformed, d.Name+": a histogram has more than one value")
		return
	}
	m, err := prometheus.NewConstMetric(desc, kind, v, labels...)
	if err != nil {
		r.Drop(Labels, d.Name+": "+err.Error())
		return
	}
	ch <- m
}

// recover counts the panic of a collector. It is deferred.
func (r *Registry) recover(who string) {
	if p := recover(); p != nil {
		r.Drop(Panicked, strings.TrimSpace(who+" "+fmt.Sprint(p)))
	}
}

// guarded is a collector whose panics end its own collecting only: in
// client_golang's registry they would end the process.
type guarded struct {
	prometheus.Collector
	registry *Registry
}

func (g guarded) Collect(ch chan<- prometheus.Metric) {
	defer g.registry.recover(fmt.Sprintf("%T:", g.Collector))
	g.Collector.Collect(ch)
}
