package remotewrite

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"
)

// A snapshot is all series at one instant. Its record is
//
//	timestamp   zigzag varint, ms
//	families    count, then name, type, help and unit of each, numbered from what the segment has
//	series      count, then the definition of each that the segment does not have yet
//	entries     count, then series and value of each
//	ended       count, then each series that will not be appended to any more
//	exemplars   count, then series and exemplar of each counter that has a new one
//
// where counts and numbers are varints and a text is its length and its bytes.
// A series here is what client_golang calls a metric: a histogram with all its
// buckets is one, whose exemplars are in its entry. Definitions are repeated in each
// segment of the queue.
const snapshotRecord = 2

// bareSnapshotRecord is a snapshot without its last part, exemplars. Queues that
// earlier versions of perfd have written hold such records.
const bareSnapshotRecord = 1

// allEnded is the count that says that a series ended with all its buckets.
const allEnded = 0

// An encoder turns families into records and knows which series there were.
// Its methods belong to one goroutine.
type encoder struct {
	series  map[string]*series
	nextRef uint64
	turn    uint64 // of the snapshot that is being made
	segment uint64 // how many segments began: what a definition was last written in
	last    int64  // timestamp of the last snapshot, ms

	key     []byte
	at      int64
	entries []byte
	count   uint64

	exemplars     []byte // of counters
	exemplarCount uint64

	live    []*series // of this snapshot
	changed []*series // took another shape: new definitions, old buckets that ended
	samples uint64
}

type series struct {
	ref     uint64
	family  *dto.MetricFamily // of a definition: name, type, help and unit only
	labels  []*dto.LabelPair
	created int64     // ms, 0 for unknown
	bounds  []float64 // of classic buckets or quantiles
	native  bool

	key       string
	turn      uint64
	defined   uint64  // segment
	exemplars []int64 // when the last one was, ms: of the counter or native histogram, then of each bucket
	was       *series // what it was before its shape changed, in the snapshot where it did
}

func newEncoder() *encoder { return &encoder{series: map[string]*series{}} }

// begin begins a snapshot.
func (e *encoder) begin(at int64) {
	e.at = at
	e.turn++
	e.entries, e.count, e.samples = e.entries[:0], 0, 0
	e.exemplars, e.exemplarCount = e.exemplars[:0], 0
	e.live, e.changed = e.live[:0], e.changed[:0]
}

// add adds families to the snapshot; nothing of them is kept.
func (e *encoder) add(families []*dto.MetricFamily) {
	for _, f := range families {
		for _, m := range f.Metric {
			e.metric(f, m)
		}
	}
}

func (e *encoder) metric(f *dto.MetricFamily, m *dto.Metric) {
	e.key = append(e.key[:0], f.GetName()...)
	for _, l := range m.Label {
		e.key = append(append(append(append(e.key, 0xff), l.GetName()...), 0xff), l.GetValue()...)
	}
	s := e.series[string(e.key)]
	if s == nil || !s.fits(m) {
		fresh := define(f, m)
		fresh.ref, fresh.key, fresh.was = e.nextRef, string(e.key), s
		e.nextRef++
		if s != nil {
			e.changed = append(e.changed, fresh)
		}
		e.series[fresh.key] = fresh
		s = fresh
	}
	if s.turn == e.turn {
		return // gathered twice: a series has one sample at an instant
	}
	s.turn = e.turn
	e.live = append(e.live, s)
	e.count++
	b := binary.AppendUvarint(e.entries, s.ref)
	switch {
	case m.Counter != nil:
		b = appendValue(b, m.Counter.GetValue())
		if x := m.Counter.Exemplar; s.isNew(0, x) {
			e.exemplars = s.appendExemplar(binary.AppendUvarint(e.exemplars, s.ref), 0, x)
			e.exemplarCount++
		}
	case m.Gauge != nil:
		b = appendValue(b, m.Gauge.GetValue())
	case m.Untyped != nil:
		b = appendValue(b, m.Untyped.GetValue())
	case m.Summary != nil:
		b = binary.AppendUvarint(b, m.Summary.GetSampleCount())
		b = appendValue(b, m.Summary.GetSampleSum())
		for _, q := range m.Summary.Quantile {
			b = appendValue(b, q.GetValue())
		}
	case m.Histogram != nil:
		b = s.appendHistogram(b, m.Histogram)
	default:
		b = appendValue(b, math.NaN())
	}
	e.entries = b
}

func (s *series) appendHistogram(b []byte, h *dto.Histogram) []byte {
	b = binary.AppendUvarint(b, h.GetSampleCount())
	b = appendValue(b, h.GetSampleSum())
	before := uint64(0)
	for _, k := range h.Bucket {
		if math.IsInf(k.GetUpperBound(), 1) {
			continue
		}
		b = binary.AppendVarint(b, int64(k.GetCumulativeCount()-before))
		before = k.GetCumulativeCount()
	}
	if s.native {
		b = binary.AppendVarint(b, int64(h.GetSchema()))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(h.GetZeroThreshold()))
		b = binary.AppendUvarint(b, h.GetZeroCount())
		b = appendSide(b, h.PositiveSpan, h.PositiveDelta)
		b = appendSide(b, h.NegativeSpan, h.NegativeDelta)
	}
	return s.appendExemplars(b, h)
}

func appendSide(b []byte, spans []*dto.BucketSpan, deltas []int64) []byte {
	b = binary.AppendUvarint(b, uint64(len(spans)))
	for _, s := range spans {
		b = binary.AppendVarint(b, int64(s.GetOffset()))
		b = binary.AppendUvarint(b, uint64(s.GetLength()))
	}
	b = binary.AppendUvarint(b, uint64(len(deltas)))
	for _, d := range deltas {
		b = binary.AppendVarint(b, d)
	}
	return b
}

// appendExemplars appends those that no snapshot had yet, each with its place:
// 0 is the native histogram, i+1 bucket i.
func (s *series) appendExemplars(b []byte, h *dto.Histogram) []byte {
	type placed struct {
		place int
		*dto.Exemplar
	}
	var fresh []placed
	look := func(place int, x *dto.Exemplar) {
		if s.isNew(place, x) {
			fresh = append(fresh, placed{place, x})
		}
	}
	for _, x := range h.Exemplars {
		look(0, x)
	}
	for i, k := range h.Bucket {
		look(i+1, k.Exemplar)
	}
	slices.SortStableFunc(fresh, func(a, c placed) int { return a.Timestamp.AsTime().Compare(c.Timestamp.AsTime()) })
	b = binary.AppendUvarint(b, uint64(len(fresh)))
	for _, x := range fresh {
		b = s.appendExemplar(b, x.place, x.Exemplar)
	}
	return b
}

// isNew reports whether no snapshot had an exemplar of a place yet.
func (s *series) isNew(place int, x *dto.Exemplar) bool {
	if x == nil || x.Timestamp == nil {
		return false
	}
	for len(s.exemplars) <= place {
		s.exemplars = append(s.exemplars, 0)
	}
	return x.Timestamp.AsTime().UnixMilli() > s.exemplars[place]
}

// appendExemplar appends an exemplar, which is not new from then on.
func (s *series) appendExemplar(b []byte, place int, x *dto.Exemplar) []byte {
	at := x.Timestamp.AsTime().UnixMilli()
	s.exemplars[place] = at
	b = binary.AppendUvarint(b, uint64(place))
	b = binary.AppendVarint(b, at)
	b = appendValue(b, x.GetValue())
	b = binary.AppendUvarint(b, uint64(len(x.Label)))
	for _, l := range x.Label {
		b = appendText(appendText(b, l.GetName()), l.GetValue())
	}
	return b
}

// fits reports whether a metric has the shape of the definition, and began when it did.
func (s *series) fits(m *dto.Metric) bool {
	if s.created != createdOf(m) {
		return false
	}
	switch {
	case m.Histogram != nil:
		return s.native == isNative(m.Histogram) && slices.Equal(s.bounds, boundsOf(m.Histogram))
	case m.Summary != nil:
		return slices.Equal(s.bounds, quantilesOf(m.Summary))
	}
	return true
}

func define(f *dto.MetricFamily, m *dto.Metric) *series {
	s := &series{family: &dto.MetricFamily{Name: f.Name, Type: f.Type, Help: f.Help, Unit: f.Unit}}
	for _, l := range m.Label {
		s.labels = append(s.labels, &dto.LabelPair{Name: new(l.GetName()), Value: new(l.GetValue())})
	}
	s.created = createdOf(m)
	switch {
	case m.Histogram != nil:
		s.bounds, s.native = boundsOf(m.Histogram), isNative(m.Histogram)
	case m.Summary != nil:
		s.bounds = quantilesOf(m.Summary)
	}
	return s
}

// createdOf is when a metric began to count, in ms, 0 for unknown.
func createdOf(m *dto.Metric) int64 {
	at := m.GetCounter().GetCreatedTimestamp()
	switch {
	case m.Histogram != nil:
		at = m.Histogram.CreatedTimestamp
	case m.Summary != nil:
		at = m.Summary.CreatedTimestamp
	}
	if at == nil {
		return 0
	}
	return at.AsTime().UnixMilli()
}

func isNative(h *dto.Histogram) bool { return h.Schema != nil && h.SampleCountFloat == nil }

func boundsOf(h *dto.Histogram) (bounds []float64) {
	for _, b := range h.Bucket {
		if !math.IsInf(b.GetUpperBound(), 1) {
			bounds = append(bounds, b.GetUpperBound())
		}
	}
	return bounds
}

func quantilesOf(s *dto.Summary) (quantiles []float64) {
	for _, q := range s.Quantile {
		quantiles = append(quantiles, q.GetQuantile())
	}
	return quantiles
}

// appendTo appends the snapshot's record; first says that it is the first of
// its segment. It can be called again.
func (e *encoder) appendTo(b []byte, first bool) []byte {
	if first {
		e.segment++
	}
	b = binary.AppendVarint(b, e.at)
	var ended []*series
	for _, s := range e.series {
		if s.turn != e.turn {
			ended = append(ended, s)
		}
	}
	ended = append(ended, e.changed...)
	slices.SortFunc(ended, func(a, c *series) int { return cmp.Compare(a.ref, c.ref) })
	var define []*series
	for _, list := range [][]*series{e.live, ended} {
		for _, s := range list {
			if s.defined != e.segment {
				define = append(define, s)
			}
			if s.was != nil && s.was.defined != e.segment {
				define = append(define, s.was)
			}
		}
	}
	slices.SortFunc(define, func(a, c *series) int { return cmp.Compare(a.ref, c.ref) })
	define = slices.Compact(define)

	type familyKey struct{ name, help string }
	number := map[familyKey]uint64{}
	var families []*dto.MetricFamily
	for _, s := range define {
		k := familyKey{s.family.GetName(), s.family.GetHelp()}
		if _, ok := number[k]; !ok {
			number[k] = uint64(len(families))
			families = append(families, s.family)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(families)))
	for _, f := range families {
		b = append(appendText(b, f.GetName()), byte(f.GetType()))
		b = appendText(appendText(b, f.GetHelp()), f.GetUnit())
	}
	b = binary.AppendUvarint(b, uint64(len(define)))
	for _, s := range define {
		s.defined = e.segment
		b = binary.AppendUvarint(b, s.ref)
		b = binary.AppendUvarint(b, number[familyKey{s.family.GetName(), s.family.GetHelp()}])
		b = binary.AppendVarint(b, s.created)
		b = binary.AppendUvarint(b, uint64(len(s.labels)))
		for _, l := range s.labels {
			b = appendText(appendText(b, l.GetName()), l.GetValue())
		}
		native := byte(0)
		if s.native {
			native = 1
		}
		b = append(b, native)
		b = binary.AppendUvarint(b, uint64(len(s.bounds)))
		for _, v := range s.bounds {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	b = binary.AppendUvarint(b, e.count)
	b = append(b, e.entries...)

	b = binary.AppendUvarint(b, uint64(len(ended)))
	for _, s := range ended {
		if s.was == nil {
			b = binary.AppendUvarint(b, s.ref)
			b = binary.AppendUvarint(b, allEnded)
			continue
		}
		gone := s.gone()
		b = binary.AppendUvarint(b, s.was.ref)
		b = binary.AppendUvarint(b, uint64(len(gone)+1))
		for _, place := range gone {
			b = binary.AppendUvarint(b, place)
		}
	}
	return append(binary.AppendUvarint(b, e.exemplarCount), e.exemplars...)
}

// gone lists the places (as exemplars have them) of what the series lost when
// its shape changed.
func (s *series) gone() (places []uint64) {
	if s.was.native && !s.native {
		places = append(places, 0)
	}
	for i, v := range s.was.bounds {
		if !slices.Contains(s.bounds, v) {
			places = append(places, uint64(i+1))
		}
	}
	return places
}

// done ends a snapshot whose record was taken.
func (e *encoder) done() {
	e.last = e.at
	for key, s := range e.series {
		s.was = nil
		if s.turn != e.turn {
			delete(e.series, key)
		}
	}
}

// failed ends a snapshot whose record was not taken: what ended is said by the next.
func (e *encoder) failed() { e.last = e.at }

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendValue appends a whole number as a varint and anything else as it is.
func appendValue(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1<<52 && !(v == 0 && math.Signbit(v)) {
		return binary.AppendUvarint(b, zigzag(int64(v))<<1)
	}
	return binary.LittleEndian.AppendUint64(append(b, 1), math.Float64bits(v))
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// number writes a bucket's bound or a quantile as OpenMetrics does, so that
// pushed and scraped series are the same.
func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	case math.IsNaN(v):
		return "NaN"
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	for i := range len(s) {
		if s[i] == '.' || s[i] == 'e' {
			return s
		}
	}
	return s + ".0"
}
