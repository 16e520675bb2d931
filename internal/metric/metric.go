// Package metric is the catalogue of every metric that perfd exposes: name,
// type, unit, labels and help, each written once. Rooms that expose a metric
// take it from here, docs/metrics.md is generated from here.
//
// It must not know where values come from.
package metric

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
)

// A Type is the type of a metric.
type Type uint8

// The types.
const (
	Gauge Type = iota
	Counter
	Histogram
)

// String returns the type's name in the exposition formats.
func (t Type) String() string { return strings.ToLower(t.dto().String()) }

func (t Type) dto() dto.MetricType {
	switch t {
	case Counter:
		return dto.MetricType_COUNTER
	case Histogram:
		return dto.MetricType_HISTOGRAM
	default:
		return dto.MetricType_GAUGE
	}
}

// A Desc describes one metric. It is immutable.
type Desc struct {
	Name   string
	Type   Type
	Unit   string   // empty where the metric counts things
	Labels []string // in the order in which values are given
	Help   string
}

// Family returns an empty family with the metric's name, type and help.
func (d *Desc) Family() *dto.MetricFamily {
	return &dto.MetricFamily{Name: new(d.Name), Help: new(d.Help), Type: d.Type.dto().Enum()}
}

// Series are metrics one after the other, each with its family, which holds none itself.
// The metrics of a family follow each other, and families come in the order of names. A
// metric is valid until the next one.
type Series = iter.Seq2[*dto.MetricFamily, *dto.Metric]

// A Source is where a scrape or a snapshot gets series that are too many to be there at once.
type Source interface{ Gather() Series }

// Const returns the client_golang descriptor, for collectors that make constant metrics.
func (d *Desc) Const() *prometheus.Desc {
	return prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
}

// GaugeVec registers and returns a gauge with the metric's labels.
func (d *Desc) GaugeVec(r prometheus.Registerer) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, d.Labels)
	r.MustRegister(v)
	return v
}

// CounterVec registers and returns a counter with the metric's labels.
func (d *Desc) CounterVec(r prometheus.Registerer) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
	r.MustRegister(v)
	return v
}

// Gauge registers and returns a gauge without labels.
func (d *Desc) Gauge(r prometheus.Registerer) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: d.Name, Help: d.Help})
	r.MustRegister(g)
	return g
}

// GaugeFunc registers a gauge without labels that is read at each scrape.
func (d *Desc) GaugeFunc(r prometheus.Registerer, value func() float64) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, value))
}

// CheckOwnLabel returns an error if a label that a user gave cannot join the
// metric's own labels.
func (d *Desc) CheckOwnLabel(name, value string) error {
	switch {
	case !model.LegacyValidation.IsValidLabelName(name) || strings.HasPrefix(name, "__"):
		return fmt.Errorf("label %q: a label's name is letters, digits and _, does not begin with a digit or __", name)
	case slices.Contains(d.Labels, name) || slices.Contains(reserved, name):
		return fmt.Errorf("label %q: the name is taken by perfd or Prometheus", name)
	}
	if err := CheckValue(value); err != nil {
		return fmt.Errorf("label %q: %w", name, err)
	}
	return nil
}

// reserved are the labels that Prometheus sets or reads.
var reserved = []string{"job", "instance", "le", "quantile"}

// CheckValue returns an error if v cannot be the value of a label.
func CheckValue(v string) error {
	if !utf8.ValidString(v) {
		return fmt.Errorf("value %q: not valid UTF-8", v)
	}
	return nil
}
