package remotewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/prompb"
)

// A table is what a segment has defined so far.
type table struct {
	series map[uint64]*definition
}

func newTable() *table { return &table{map[uint64]*definition{}} }

// A definition is one series of a segment.
type definition struct {
	ref     uint64
	family  *family
	created int64
	labels  []prompb.Label
	native  bool
	bounds  []float64

	outs []*out // for one endpoint, made when first sent
}

type family struct {
	name, help, unit string
	kind             dto.MetricType
}

// An entry is one series in a snapshot.
type entry struct {
	*definition
	ended     bool
	places    []uint64 // what of it ended; none for all
	value     float64
	count     uint64
	sum       float64
	buckets   []uint64  // cumulative
	quantiles []float64 // values
	histogram *nativeHistogram
	exemplars []exemplar
}

type nativeHistogram struct {
	schema             int32
	zeroThreshold, sum float64
	zeroCount, count   uint64
	positive, negative side
	stale              bool
}

type side struct {
	spans  []prompb.BucketSpan
	deltas []int64
}

type exemplar struct {
	place  int
	at     int64
	value  float64
	labels []prompb.Label
}

var errMalformed = errors.New("malformed snapshot")

// A recordReader reads a record; its first mistake makes all that follows empty.
type recordReader struct {
	b   []byte
	err error
}

func (w *recordReader) fail() {
	if w.err == nil {
		w.err = errMalformed
	}
	w.b = nil
}

func (w *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.fail()
		return 0
	}
	w.b = w.b[n:]
	return v
}

func (w *recordReader) varint() int64 {
	v, n := binary.Varint(w.b)
	if n <= 0 {
		w.fail()
		return 0
	}
	w.b = w.b[n:]
	return v
}

// length reads how many things follow, each of which takes at least a byte.
func (w *recordReader) length() int {
	n := w.uvarint()
	if n > uint64(len(w.b)) {
		w.fail()
		return 0
	}
	return int(n)
}

func (w *recordReader) text() string {
	n := w.length()
	s := string(w.b[:n])
	w.b = w.b[n:]
	return s
}

func (w *recordReader) byte() byte {
	if len(w.b) == 0 {
		w.fail()
		return 0
	}
	c := w.b[0]
	w.b = w.b[1:]
	return c
}

func (w *recordReader) bits() float64 {
	if len(w.b) < 8 {
		w.fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(w.b))
	w.b = w.b[8:]
	return v
}

func (w *recordReader) value() float64 {
	if len(w.b) > 0 && w.b[0] == 1 {
		w.b = w.b[1:]
		return w.bits()
	}
	return float64(unzigzag(w.uvarint() >> 1))
}

// read learns a record's definitions and returns its entries, in their order.
// unknown counts entries whose series the segment does not define: their
// definition was damaged, and the rest of the record with them.
func (t *table) read(kind byte, payload []byte) (at int64, entries []entry, unknown int, err error) {
	w := &recordReader{b: payload}
	at = w.varint()
	families := make([]*family, w.length())
	for i := range families {
		families[i] = &family{name: w.text(), kind: dto.MetricType(w.byte())}
		families[i].help, families[i].unit = w.text(), w.text()
	}
	for range w.length() {
		d := &definition{ref: w.uvarint()}
		f := w.uvarint()
		if f >= uint64(len(families)) {
			w.fail()
			break
		}
		d.family, d.created = families[f], w.varint()
		d.labels = make([]prompb.Label, w.length())
		for i := range d.labels {
			d.labels[i].Name, d.labels[i].Value = w.text(), w.text()
		}
		d.native = w.byte() == 1
		d.bounds = make([]float64, w.length())
		for i := range d.bounds {
			d.bounds[i] = w.bits()
		}
		if w.err == nil {
			t.series[d.ref] = d
		}
	}
	n := w.length()
	entries = make([]entry, 0, n)
	for i := range n {
		d := t.series[w.uvarint()]
		if d == nil {
			return at, entries, n - i, w.err
		}
		entries = append(entries, entry{definition: d})
		w.entry(&entries[len(entries)-1])
	}
	for range w.length() {
		d, k := t.series[w.uvarint()], w.uvarint()
		x := entry{definition: d, ended: true}
		for range max(k, 1) - 1 {
			if w.err != nil {
				break
			}
			x.places = append(x.places, w.uvarint())
		}
		if d != nil && (k == allEnded || len(x.places) > 0) {
			entries = append(entries, x)
		}
	}
	if kind != bareSnapshotRecord {
		w.counterExemplars(entries)
	}
	if w.err == nil && len(w.b) > 0 {
		w.err = fmt.Errorf("%w: %d bytes too many", errMalformed, len(w.b))
	}
	return at, entries, 0, w.err
}

func (w *recordReader) entry(x *entry) {
	switch x.family.kind {
	case dto.MetricType_SUMMARY:
		x.count, x.sum = w.uvarint(), w.value()
		for range x.bounds {
			x.quantiles = append(x.quantiles, w.value())
		}
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		w.histogram(x)
	default:
		x.value = w.value()
	}
}

func (w *recordReader) histogram(x *entry) {
	x.count, x.sum = w.uvarint(), w.value()
	x.buckets = make([]uint64, len(x.bounds))
	before := uint64(0)
	for i := range x.buckets {
		before += uint64(w.varint())
		x.buckets[i] = before
	}
	if x.native {
		h := &nativeHistogram{sum: x.sum, count: x.count}
		h.schema, h.zeroThreshold, h.zeroCount = int32(w.varint()), w.bits(), w.uvarint()
		h.positive, h.negative = w.side(), w.side()
		x.histogram = h
	}
	for range w.length() {
		x.exemplars = append(x.exemplars, w.exemplar())
	}
}

func (w *recordReader) exemplar() exemplar {
	e := exemplar{place: int(w.uvarint()), at: w.varint(), value: w.value()}
	e.labels = make([]prompb.Label, w.length())
	for i := range e.labels {
		e.labels[i].Name, e.labels[i].Value = w.text(), w.text()
	}
	return e
}

// counterExemplars gives the entries of counters their exemplars.
func (w *recordReader) counterExemplars(entries []entry) {
	n := w.length()
	if n == 0 {
		return
	}
	byRef := make(map[uint64]*entry, len(entries))
	for i := range entries {
		if x := &entries[i]; !x.ended && x.family.kind == dto.MetricType_COUNTER {
			byRef[x.ref] = x
		}
	}
	for range n {
		if w.err != nil {
			return
		}
		ref, e := w.uvarint(), w.exemplar()
		if x := byRef[ref]; x != nil && w.err == nil {
			x.exemplars = append(x.exemplars, e)
		}
	}
}

func (w *recordReader) side() (s side) {
	s.spans = make([]prompb.BucketSpan, w.length())
	for i := range s.spans {
		s.spans[i].Offset, s.spans[i].Length = int32(w.varint()), uint32(w.uvarint())
	}
	s.deltas = make([]int64, w.length())
	for i := range s.deltas {
		s.deltas[i] = w.varint()
	}
	return s
}

// isSnapshot reports whether a record of the queue is a snapshot that this version can read.
func isSnapshot(kind byte) bool { return kind == snapshotRecord || kind == bareSnapshotRecord }

// seed makes the encoder know the series of the last snapshot that the queue
// took, so that those which do not come back are ended by the first new one.
func (e *encoder) seed(last func(visit func(kind byte, payload []byte))) {
	t := newTable()
	last(func(kind byte, payload []byte) {
		if !isSnapshot(kind) {
			return
		}
		at, entries, _, err := t.read(kind, payload)
		if err != nil {
			return
		}
		e.last = max(e.last, at)
		e.series = map[string]*series{}
		for _, x := range entries {
			if x.ended {
				continue
			}
			s := &series{
				ref: e.nextRef, created: x.created, bounds: x.bounds, native: x.native,
				family: &dto.MetricFamily{Name: &x.family.name, Type: x.family.kind.Enum(), Help: &x.family.help, Unit: &x.family.unit},
			}
			e.nextRef++
			key := []byte(x.family.name)
			for _, l := range x.labels {
				s.labels = append(s.labels, &dto.LabelPair{Name: &l.Name, Value: &l.Value})
				key = append(append(append(append(key, 0xff), l.Name...), 0xff), l.Value...)
			}
			s.key = string(key)
			e.series[s.key] = s
		}
	})
}
