package remotewrite

import (
	"math"
	"slices"
	"strings"

	"github.com/golang/snappy"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// An out is one series as a receiver knows it, nil for one that the endpoint does not send.
type out struct {
	labels  []prompb.Label // sorted, with the endpoint's identity
	family  *family
	created int64
}

// An item is one sample or native histogram of a request.
type item struct {
	*out
	at        int64
	value     float64
	histogram *nativeHistogram
	exemplars []exemplar
}

// A shape is how an endpoint wants series.
type shape struct {
	identity        []prompb.Label
	keep            func(name string) bool
	classic, native bool
	exemplars       bool
}

// The places of a histogram's or summary's outs: the native histogram, each
// bucket or quantile, then these.
const (
	afterInf = iota
	afterSum
	afterCount
	afterAll
)

// outs returns what a definition is at a receiver: one series, or by place those
// of a histogram or summary.
func (s *shape) outs(d *definition) []*out {
	if d.outs != nil {
		return d.outs
	}
	name := d.family.name
	switch d.family.kind {
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		d.outs = make([]*out, 1+len(d.bounds)+afterAll)
		if s.native && d.native {
			d.outs[0] = s.out(d, name)
		}
		if s.classic || !d.native {
			for i, le := range d.bounds {
				d.outs[1+i] = s.out(d, name+"_bucket", "le", number(le))
			}
			after := d.outs[1+len(d.bounds):]
			after[afterInf] = s.out(d, name+"_bucket", "le", "+Inf")
			after[afterSum], after[afterCount] = s.out(d, name+"_sum"), s.out(d, name+"_count")
		}
	case dto.MetricType_SUMMARY:
		d.outs = make([]*out, 1+len(d.bounds)+afterAll)
		for i, q := range d.bounds {
			d.outs[1+i] = s.out(d, name, "quantile", number(q))
		}
		after := d.outs[1+len(d.bounds):]
		after[afterSum], after[afterCount] = s.out(d, name+"_sum"), s.out(d, name+"_count")
	default:
		d.outs = []*out{s.out(d, name)}
	}
	return d.outs
}

func (s *shape) out(d *definition, name string, extra ...string) *out {
	if s.keep != nil && !s.keep(name) {
		return nil
	}
	labels := make([]prompb.Label, 0, 1+len(d.labels)+len(s.identity)+1)
	labels = append(labels, prompb.Label{Name: "__name__", Value: name})
	if len(extra) == 2 {
		labels = append(labels, prompb.Label{Name: extra[0], Value: extra[1]})
	}
	for _, list := range [][]prompb.Label{d.labels, s.identity} {
		for _, l := range list {
			// A label of the series wins over the identity's, as with Prometheus's external labels.
			if l.Value != "" && !slices.ContainsFunc(labels, func(o prompb.Label) bool { return o.Name == l.Name }) {
				labels = append(labels, l)
			}
		}
	}
	slices.SortFunc(labels, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) })
	return &out{labels, d.family, d.created}
}

var (
	staleNaN       = math.Float64frombits(value.StaleNaN)
	staleHistogram = &nativeHistogram{sum: staleNaN, stale: true}
)

// items appends what an entry is at a receiver.
func (s *shape) items(to []item, x *entry, at int64) []item {
	outs := s.outs(x.definition)
	if x.ended {
		for place, o := range outs {
			if o == nil || len(x.places) > 0 && !slices.Contains(x.places, uint64(place)) {
				continue
			}
			stale := item{out: o, at: at, value: staleNaN}
			if place == 0 && len(outs) > 1 {
				stale.value, stale.histogram = 0, staleHistogram
			}
			to = append(to, stale)
		}
		return to
	}
	add := func(o *out, v float64) {
		if o != nil {
			to = append(to, item{out: o, at: at, value: v})
		}
	}
	from := len(to)
	if len(outs) == 1 {
		add(outs[0], x.value)
		if s.exemplars && len(x.exemplars) > 0 {
			attach(to[from:], outs, x.exemplars)
		}
		return to
	}
	if x.histogram != nil && outs[0] != nil {
		to = append(to, item{out: outs[0], at: at, histogram: x.histogram})
	}
	for i, n := range x.buckets {
		add(outs[1+i], float64(n))
	}
	for i, v := range x.quantiles {
		add(outs[1+i], v)
	}
	after := outs[1+len(x.bounds):]
	add(after[afterInf], float64(x.count))
	add(after[afterSum], x.sum)
	add(after[afterCount], float64(x.count))
	if s.exemplars && len(x.exemplars) > 0 {
		attach(to[from:], outs, x.exemplars)
	}
	return to
}

// attach gives items the exemplars of their places. The last bucket's are those of +Inf.
func attach(items []item, outs []*out, all []exemplar) {
	for _, e := range all {
		if e.place >= len(outs) || outs[e.place] == nil {
			continue
		}
		for i := range items {
			if items[i].out == outs[e.place] {
				items[i].exemplars = append(items[i].exemplars, e)
			}
		}
	}
}

// A body is an encoded request.
type body struct {
	raw, compressed []byte
	v1              prompb.WriteRequest
	v2              writev2.Request
	symbols         writev2.SymbolsTable
	refs            []uint32
}

func newBody() *body { return &body{symbols: writev2.NewSymbolTable()} }

// encode1 writes the request in protocol 1.0.
func (b *body) encode1(items []item) ([]byte, error) {
	list := slices.Grow(b.v1.Timeseries[:0], len(items))[:len(items)]
	for i := range items {
		x, t := &items[i], &list[i]
		*t = prompb.TimeSeries{Labels: x.labels, Samples: t.Samples[:0], Exemplars: t.Exemplars[:0]}
		if h := x.histogram; h != nil {
			t.Histograms = []prompb.Histogram{{
				Count: &prompb.Histogram_CountInt{CountInt: h.count}, Sum: h.sum, Schema: h.schema, ZeroThreshold: h.zeroThreshold,
				ZeroCount:     &prompb.Histogram_ZeroCountInt{ZeroCountInt: h.zeroCount},
				PositiveSpans: h.positive.spans, PositiveDeltas: h.positive.deltas,
				NegativeSpans: h.negative.spans, NegativeDeltas: h.negative.deltas, Timestamp: x.at,
				ResetHint: prompb.Histogram_ResetHint(resetHint(x.family.kind)),
			}}
		} else {
			t.Samples = append(t.Samples, prompb.Sample{Value: x.value, Timestamp: x.at})
		}
		for _, e := range x.exemplars {
			t.Exemplars = append(t.Exemplars, prompb.Exemplar{Labels: e.labels, Value: e.value, Timestamp: e.at})
		}
	}
	b.v1.Timeseries = list
	size := b.v1.Size()
	b.raw = slices.Grow(b.raw[:0], size)[:size]
	if _, err := b.v1.MarshalToSizedBuffer(b.raw); err != nil {
		return nil, err
	}
	b.compressed = snappy.Encode(b.compressed[:cap(b.compressed)], b.raw)
	return b.compressed, nil
}

// encode2 writes the request in protocol 2.0.
func (b *body) encode2(items []item) ([]byte, error) {
	b.symbols.Reset()
	b.refs = b.refs[:0]
	list := slices.Grow(b.v2.Timeseries[:0], len(items))[:len(items)]
	for i := range items {
		x, t := &items[i], &list[i]
		*t = writev2.TimeSeries{LabelsRefs: b.symbolize(x.labels), Samples: t.Samples[:0], Exemplars: t.Exemplars[:0]}
		t.Metadata = writev2.Metadata{
			Type: metadataType(x.family.kind), HelpRef: b.symbols.Symbolize(x.family.help), UnitRef: b.symbols.Symbolize(x.family.unit),
		}
		created := x.created
		if created >= x.at {
			created = 0 // the clock went back since
		}
		if h := x.histogram; h != nil {
			t.Histograms = []writev2.Histogram{{
				Count: &writev2.Histogram_CountInt{CountInt: h.count}, Sum: h.sum, Schema: h.schema, ZeroThreshold: h.zeroThreshold,
				ZeroCount:     &writev2.Histogram_ZeroCountInt{ZeroCountInt: h.zeroCount},
				PositiveSpans: spans2(h.positive.spans), PositiveDeltas: h.positive.deltas,
				NegativeSpans: spans2(h.negative.spans), NegativeDeltas: h.negative.deltas,
				Timestamp: x.at, StartTimestamp: created, ResetHint: resetHint(x.family.kind),
			}}
		} else {
			t.Samples = append(t.Samples, writev2.Sample{Value: x.value, Timestamp: x.at, StartTimestamp: created})
		}
		for _, e := range x.exemplars {
			t.Exemplars = append(t.Exemplars, writev2.Exemplar{LabelsRefs: b.symbolize(e.labels), Value: e.value, Timestamp: e.at})
		}
	}
	b.v2.Timeseries, b.v2.Symbols = list, b.symbols.Symbols()
	raw, err := b.v2.OptimizedMarshal(b.raw[:0])
	if err != nil {
		return nil, err
	}
	b.raw = raw
	b.compressed = snappy.Encode(b.compressed[:cap(b.compressed)], b.raw)
	return b.compressed, nil
}

// symbolize returns the references of labels. They may move when the list of
// all grows, but what was returned before stays as it was.
func (b *body) symbolize(labels []prompb.Label) []uint32 {
	from := len(b.refs)
	for _, l := range labels {
		b.refs = append(b.refs, b.symbols.Symbolize(l.Name), b.symbols.Symbolize(l.Value))
	}
	return b.refs[from:len(b.refs):len(b.refs)]
}

func spans2(spans []prompb.BucketSpan) []writev2.BucketSpan {
	if len(spans) == 0 {
		return nil
	}
	out := make([]writev2.BucketSpan, len(spans))
	for i, s := range spans {
		out[i] = writev2.BucketSpan{Offset: s.Offset, Length: s.Length}
	}
	return out
}

// resetHint says of a gauge histogram that falling counts are no resets. The
// numbers are the same in both protocols.
func resetHint(k dto.MetricType) writev2.Histogram_ResetHint {
	if k == dto.MetricType_GAUGE_HISTOGRAM {
		return writev2.Histogram_RESET_HINT_GAUGE
	}
	return writev2.Histogram_RESET_HINT_UNSPECIFIED
}

func metadataType(k dto.MetricType) writev2.Metadata_MetricType {
	switch k {
	case dto.MetricType_COUNTER:
		return writev2.Metadata_METRIC_TYPE_COUNTER
	case dto.MetricType_GAUGE:
		return writev2.Metadata_METRIC_TYPE_GAUGE
	case dto.MetricType_HISTOGRAM:
		return writev2.Metadata_METRIC_TYPE_HISTOGRAM
	case dto.MetricType_GAUGE_HISTOGRAM:
		return writev2.Metadata_METRIC_TYPE_GAUGEHISTOGRAM
	case dto.MetricType_SUMMARY:
		return writev2.Metadata_METRIC_TYPE_SUMMARY
	}
	return writev2.Metadata_METRIC_TYPE_UNSPECIFIED
}
