package record

import (
	"cmp"
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// zeroThreshold is the native histograms' zero bucket, client_golang's default.
const zeroThreshold = 2.938735877055719e-39

// Label pairs of closed sets, shared by all series.
var (
	causeLabels     = labelsOf("cause", load.NumCauses)
	reasonLabels    = labelsOf("reason", load.NumReasons)
	phaseLabels     = labelsOf("phase", load.NumPhases)
	closeLabels     = labelsOf("reason", load.NumCloseReasons)
	overflowLabels  = labelsOf("label", numCapped)
	directionLabels = labelsOf("direction", load.NumMessageDirections)
	otherCodes      = label("code", metric.Overflow)
)

func labelsOf[T interface {
	~uint8
	String() string
}](name string, n T) (pairs []*dto.LabelPair) {
	for v := range n {
		pairs = append(pairs, label(name, v.String()))
	}
	return pairs
}

func label(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: new(name), Value: new(value)}
}

// pairs returns the label pairs of a map, in any order.
func pairs(m map[string]string) (list []*dto.LabelPair) {
	for name, value := range m {
		list = append(list, label(name, value))
	}
	return list
}

// A message is the one metric that a Gather makes at a time, and the parts that it is made of.
type message struct {
	family *dto.MetricFamily
	yield  func(*dto.MetricFamily, *dto.Metric) bool
	more   bool // the last yield wants more

	bounds  *bounds // of the timings of steps
	classic bool    // histograms have classic buckets

	// What all metrics of a scenario, step or check have.
	created time.Time
	own     []*dto.LabelPair

	metric  dto.Metric
	value   float64
	since   timestamppb.Timestamp
	counted dto.Counter
	gauged  dto.Gauge

	histo     dto.Histogram
	count     uint64
	sum       float64
	zeros     uint64
	schema    int32
	threshold float64
	buckets   []*dto.Bucket     // as many as the most that any histogram has
	spans     []*dto.BucketSpan // likewise
	infinite  float64
}

func (m *message) init(classic bool) {
	m.classic = classic
	m.schema, m.threshold, m.infinite = hist.Schema, zeroThreshold, math.Inf(1)
	m.counted = dto.Counter{Value: &m.value, CreatedTimestamp: &m.since}
	m.gauged = dto.Gauge{Value: &m.value}
	m.histo = dto.Histogram{
		SampleCount: &m.count, SampleSum: &m.sum, CreatedTimestamp: &m.since,
		Schema: &m.schema, ZeroThreshold: &m.threshold, ZeroCount: &m.zeros,
	}
}

// begin starts a family.
func (m *message) begin(f *dto.MetricFamily, yield func(*dto.MetricFamily, *dto.Metric) bool) {
	m.family, m.yield, m.more = f, yield, true
	m.own = m.own[:0]
}

// of says whose the metrics that follow are.
func (m *message) of(created time.Time, labels ...*dto.LabelPair) {
	m.created, m.own = created, append(m.own[:0], labels...)
}

// counter yields a counter with labels besides those of whose it is.
func (m *message) counter(value float64, labels ...*dto.LabelPair) {
	m.value = value
	m.metric.Counter, m.metric.Gauge, m.metric.Histogram = &m.counted, nil, nil
	m.send(labels)
}

// gauge is counter for gauges.
func (m *message) gauge(value float64, labels ...*dto.LabelPair) {
	m.value = value
	m.metric.Counter, m.metric.Gauge, m.metric.Histogram = nil, &m.gauged, nil
	m.send(labels)
}

func (m *message) send(labels []*dto.LabelPair) {
	if !m.more {
		return
	}
	m.since.Seconds, m.since.Nanos = m.created.Unix(), int32(m.created.Nanosecond())
	all := append(append(m.metric.Label[:0], labels...), m.own...)
	// They are few, and nearly always in order.
	for i := range all {
		for j := i; j > 0 && cmp.Less(*all[j].Name, *all[j-1].Name); j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	m.metric.Label = all
	m.more = m.yield(m.family, &m.metric)
}

// histogram yields a histogram, which carries classic buckets and a native histogram.
func (m *message) histogram(d *distribution, b *bounds) {
	m.values(d, b, d.sum.float())
}

// values yields a histogram of what b is the scale of, with the sum of the values.
func (m *message) values(d *distribution, b *bounds, sum float64) {
	m.count, m.sum, m.zeros = d.count, sum, d.native.Zero()
	h := &m.histo
	h.Bucket, h.Exemplars = nil, nil
	if m.classic {
		h.Bucket = m.cumulative(d, b)
	}
	if x := d.exemplars; x != nil {
		h.Exemplars = x.made
	}
	m.native(&d.native, b.scale)
	m.metric.Counter, m.metric.Gauge, m.metric.Histogram = nil, nil, h
	m.send(nil)
}

// cumulative returns the classic buckets. The one without a bound is there only where it has an exemplar.
func (m *message) cumulative(d *distribution, b *bounds) []*dto.Bucket {
	for len(m.buckets) < b.buckets() {
		m.buckets = append(m.buckets, &dto.Bucket{CumulativeCount: new(uint64(0))})
	}
	var upTo uint64
	for i, le := range b.le {
		if d.classic != nil {
			upTo += d.classic[i]
		}
		k := m.buckets[i]
		k.UpperBound, *k.CumulativeCount, k.Exemplar = le, upTo, nil
	}
	x := d.exemplars
	if x == nil {
		return m.buckets[:len(b.le)]
	}
	for i := range b.le {
		m.buckets[i].Exemplar = x.classic[i].message()
	}
	last := x.classic[len(b.le)].message()
	if last == nil {
		return m.buckets[:len(b.le)]
	}
	k := m.buckets[len(b.le)]
	k.UpperBound, *k.CumulativeCount, k.Exemplar = &m.infinite, d.count, last
	return m.buckets[:len(b.le)+1]
}

// native writes the native buckets as spans and deltas. As client_golang
// does, a gap of one or two empty buckets is written as zeros and does not end a span.
func (m *message) native(n *hist.Native, scale load.Scale) {
	const gap = 2
	h := &m.histo
	h.PositiveDelta = h.PositiveDelta[:0]
	used := 0
	first, counts := n.Buckets()
	first += scale.Shift << hist.Schema
	next := 0 // index of the bucket after the last one written
	last := int64(0)
	for i, n := range counts {
		if n == 0 {
			continue
		}
		index := first + i
		if used == 0 || index-next > gap {
			m.span(used, int32(index-next))
			used++
		} else {
			for ; next < index; next++ {
				h.PositiveDelta = append(h.PositiveDelta, -last)
				last = 0
				*m.spans[used-1].Length++
			}
		}
		h.PositiveDelta = append(h.PositiveDelta, int64(n)-last)
		last = int64(n)
		*m.spans[used-1].Length++
		next = index + 1
	}
	h.PositiveSpan = m.spans[:used]
}

// span makes span i empty, at an offset from the end of the one before.
func (m *message) span(i int, offset int32) {
	if i == len(m.spans) {
		m.spans = append(m.spans, &dto.BucketSpan{Offset: new(int32), Length: new(uint32)})
	}
	*m.spans[i].Offset = offset
	*m.spans[i].Length = 0
}
