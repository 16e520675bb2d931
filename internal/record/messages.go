package record

import (
	"cmp"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/metric"
)

// zeroThreshold is the native histograms' zero bucket, client_golang's default.
const zeroThreshold = 2.938735877055719e-39

// messages are the families that Gather hands out. Their metrics are built once
// and updated in place; the lists are arranged anew when the set of series changes.
type messages struct {
	families []*dto.MetricFamily
	overflow [numCapped]*dto.Metric
}

func label(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: new(name), Value: new(value)}
}

func sorted(labels []*dto.LabelPair) []*dto.LabelPair {
	slices.SortFunc(labels, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return labels
}

func newGauge(value float64, labels ...*dto.LabelPair) *dto.Metric {
	return &dto.Metric{Label: sorted(labels), Gauge: &dto.Gauge{Value: new(value)}}
}

func newCounter(created time.Time, labels ...*dto.LabelPair) *dto.Metric {
	return &dto.Metric{
		Label:   sorted(labels),
		Counter: &dto.Counter{Value: proto.Float64(0), CreatedTimestamp: timestamppb.New(created)},
	}
}

func set(m *dto.Metric, value float64) { *m.Counter.Value = value }

// A histogram is the message of one series that carries classic buckets and a
// native histogram.
type histogram struct {
	metric *dto.Metric
	spans  []*dto.BucketSpan // all there ever were; the message uses the first of them

	// Whether the traces of the exemplars are whole: by classic bucket, and of native ones.
	whole, wholeNative []bool
}

func newHistogram(created time.Time, b *bounds, classic bool, labels ...*dto.LabelPair) histogram {
	h := &dto.Histogram{
		SampleCount:      proto.Uint64(0),
		SampleSum:        proto.Float64(0),
		CreatedTimestamp: timestamppb.New(created),
		Schema:           proto.Int32(hist.Schema),
		ZeroThreshold:    new(zeroThreshold),
		ZeroCount:        proto.Uint64(0),
	}
	if classic {
		buckets := make([]dto.Bucket, len(b.le))
		counts := make([]uint64, len(b.le))
		h.Bucket = make([]*dto.Bucket, len(b.le))
		for i := range buckets {
			buckets[i].UpperBound = b.le[i]
			buckets[i].CumulativeCount = &counts[i]
			h.Bucket[i] = &buckets[i]
		}
	}
	return histogram{metric: &dto.Metric{Label: sorted(labels), Histogram: h}}
}

// update brings the message up to d.
func (m *histogram) update(d *distribution) {
	h := m.metric.Histogram
	if *h.SampleCount == d.count {
		return
	}
	*h.SampleCount = d.count
	*h.SampleSum = d.sum.float()
	var upTo uint64
	for i, b := range h.Bucket {
		upTo += d.classic[i]
		*b.CumulativeCount = upTo
	}
	*h.ZeroCount = d.native.Zero()
	m.updateNative(d)
}

// updateNative writes the native buckets as spans and deltas. As client_golang
// does, a gap of one or two empty buckets is written as zeros and does not end a span.
func (m *histogram) updateNative(d *distribution) {
	const gap = 2
	h := m.metric.Histogram
	h.PositiveDelta = h.PositiveDelta[:0]
	used := 0
	first, counts := d.native.Buckets()
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
func (m *histogram) span(i int, offset int32) {
	if i == len(m.spans) {
		m.spans = append(m.spans, &dto.BucketSpan{Offset: new(int32), Length: new(uint32)})
	}
	*m.spans[i].Offset = offset
	*m.spans[i].Length = 0
}

// A familySet collects metrics into families by their description.
type familySet struct {
	byDesc   map[*metric.Desc]*dto.MetricFamily
	families []*dto.MetricFamily
}

func (f *familySet) add(d *metric.Desc, metrics ...*dto.Metric) {
	family := f.byDesc[d]
	if family == nil {
		family = d.Family()
		f.byDesc[d] = family
		f.families = append(f.families, family)
	}
	family.Metric = append(family.Metric, metrics...)
}

func (f *familySet) sorted() []*dto.MetricFamily {
	slices.SortFunc(f.families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return f.families
}
