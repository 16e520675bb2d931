package exposition

import (
	"bytes"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A textEncoder writes the text and OpenMetrics formats, byte for byte as
// expfmt does, in a quarter of its time: the labels of a metric and the bounds of
// a family's buckets are formatted once, not once a line. A family that needs
// more than counters, gauges and integer histograms do is left to expfmt.
type textEncoder struct {
	expfmt.Encoder
	to          io.Writer
	openMetrics bool
	family      *dto.MetricFamily // that is being written

	lines  []byte
	labels []byte  // of the metric that is being written
	prefix []byte  // of its bucket lines, up to the bound
	bounds []bound // of the bucket lines written last, by index
}

// A bound is a bucket's upper bound and its text, with what follows it in a line.
type bound struct {
	value float64
	text  string
}

const flushAt = 64 << 10 // bytes

func newTextEncoder(to io.Writer, format expfmt.Format) *textEncoder {
	return &textEncoder{
		Encoder:     expfmt.NewEncoder(to, format),
		to:          to,
		openMetrics: format.FormatType() == expfmt.TypeOpenMetrics,
		lines:       make([]byte, 0, flushAt+flushAt/4),
	}
}

// Encode writes one family.
func (e *textEncoder) Encode(f *dto.MetricFamily) error {
	if !e.simple(f) {
		if err := e.flush(); err != nil {
			return err
		}
		return e.Encoder.Encode(f)
	}
	for _, m := range f.Metric {
		if err := e.metric(f, m); err != nil {
			return err
		}
	}
	return nil
}

// metric writes one metric, and what comes before the first of a family.
func (e *textEncoder) metric(f *dto.MetricFamily, m *dto.Metric) error {
	if f != e.family {
		e.family = f
		e.header(f)
	}
	name := f.GetName()
	e.labels = appendLabels(e.labels[:0], m.Label)
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		e.sample(name, "", m.Counter.GetValue())
	case dto.MetricType_GAUGE:
		e.sample(name, "", m.Gauge.GetValue())
	case dto.MetricType_HISTOGRAM:
		e.histogram(name, m.Histogram)
	}
	if len(e.lines) < flushAt {
		return nil
	}
	return e.flush()
}

// Close writes what is left, and what the format ends with.
func (e *textEncoder) Close() error {
	if err := e.flush(); err != nil || !e.openMetrics {
		return err
	}
	_, err := expfmt.FinalizeOpenMetrics(e.to)
	return err
}

func (e *textEncoder) flush() error {
	_, err := e.to.Write(e.lines)
	e.lines = e.lines[:0]
	return err
}

// simple reports whether Encode knows all that f has.
func (e *textEncoder) simple(f *dto.MetricFamily) bool {
	if len(f.Metric) == 0 || f.Unit != nil || !model.LegacyValidation.IsValidMetricName(f.GetName()) {
		return false
	}
	for _, m := range f.Metric {
		if m.TimestampMs != nil {
			return false
		}
		for _, l := range m.Label {
			if !model.LegacyValidation.IsValidLabelName(l.GetName()) {
				return false
			}
		}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			if m.Counter == nil || m.Counter.Exemplar != nil || e.openMetrics && !strings.HasSuffix(f.GetName(), "_total") {
				return false
			}
		case dto.MetricType_GAUGE:
			if m.Gauge == nil {
				return false
			}
		case dto.MetricType_HISTOGRAM:
			if m.Histogram == nil || m.Histogram.SampleCountFloat != nil || slices.ContainsFunc(m.Histogram.Bucket, unusual) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// unusual reports whether a bucket is more than a bound, a count and an exemplar with its time.
func unusual(b *dto.Bucket) bool {
	return b.CumulativeCountFloat != nil || b.Exemplar != nil && b.Exemplar.Timestamp == nil
}

func (e *textEncoder) header(f *dto.MetricFamily) {
	name := f.GetName()
	if e.openMetrics && f.GetType() == dto.MetricType_COUNTER {
		name = strings.TrimSuffix(name, "_total")
	}
	if f.Help != nil {
		e.lines = append(append(append(e.lines, "# HELP "...), name...), ' ')
		e.lines = append(appendEscaped(e.lines, f.GetHelp(), e.openMetrics), '\n')
	}
	e.lines = append(append(append(e.lines, "# TYPE "...), name...), ' ')
	e.lines = append(append(e.lines, strings.ToLower(f.GetType().String())...), '\n')
}

// sample writes one line of a metric, whose labels are in e.labels.
func (e *textEncoder) sample(name, suffix string, value float64) {
	e.series(name, suffix)
	e.lines = append(e.appendFloat(e.lines, value), '\n')
}

// count writes one line like sample, for counts of histograms.
func (e *textEncoder) count(name, suffix string, n uint64) {
	e.series(name, suffix)
	e.lines = append(e.appendCount(e.lines, n), '\n')
}

func (e *textEncoder) series(name, suffix string) {
	e.lines = append(append(e.lines, name...), suffix...)
	if len(e.labels) > 0 {
		e.lines = append(append(append(e.lines, '{'), e.labels...), '}')
	}
	e.lines = append(e.lines, ' ')
}

func (e *textEncoder) histogram(name string, h *dto.Histogram) {
	e.prefix = append(append(append(e.prefix[:0], name...), "_bucket{"...), e.labels...)
	if len(e.labels) > 0 {
		e.prefix = append(e.prefix, ',')
	}
	e.prefix = append(e.prefix, `le="`...)
	last := false // the bucket without a bound is there
	for i, b := range h.Bucket {
		last = last || math.IsInf(b.GetUpperBound(), 1)
		if i == len(e.bounds) {
			e.bounds = append(e.bounds, bound{value: math.NaN()})
		}
		if le := &e.bounds[i]; le.value != b.GetUpperBound() {
			*le = bound{b.GetUpperBound(), string(e.appendFloat(nil, b.GetUpperBound())) + `"} `}
		}
		e.bucket(e.bounds[i].text, b.GetCumulativeCount(), b.Exemplar)
	}
	if !last {
		e.bucket(`+Inf"} `, h.GetSampleCount(), nil)
	}
	e.sample(name, "_sum", h.GetSampleSum())
	e.count(name, "_count", h.GetSampleCount())
}

// bucket writes a line; le is the bound and what follows it.
func (e *textEncoder) bucket(le string, n uint64, x *dto.Exemplar) {
	e.lines = append(append(e.lines, e.prefix...), le...)
	e.lines = e.appendCount(e.lines, n)
	if x != nil && e.openMetrics { // the text format has no place for it
		e.lines = append(appendLabels(append(e.lines, " # {"...), x.Label), "} "...)
		e.lines = append(e.appendFloat(e.lines, x.GetValue()), ' ')
		e.lines = e.appendFloat(e.lines, float64(x.Timestamp.AsTime().UnixNano())/1e9)
	}
	e.lines = append(e.lines, '\n')
}

// appendFloat appends a value; OpenMetrics wants a point or an exponent in it.
func (e *textEncoder) appendFloat(to []byte, v float64) []byte {
	start := len(to)
	switch {
	case v >= 0 && v < exponentFrom && v == math.Trunc(v):
		to = strconv.AppendUint(to, uint64(v), 10)
	default:
		to = strconv.AppendFloat(to, v, 'g', -1, 64)
	}
	if e.openMetrics && !bytes.ContainsAny(to[start:], ".eIN") {
		to = append(to, ".0"...)
	}
	return to
}

// appendCount appends a count, which the text format knows as a float only.
func (e *textEncoder) appendCount(to []byte, n uint64) []byte {
	if e.openMetrics || n < exponentFrom {
		return strconv.AppendUint(to, n, 10)
	}
	return strconv.AppendFloat(to, float64(n), 'g', -1, 64)
}

// exponentFrom is where the text form of a whole number gets an exponent.
const exponentFrom = 1e6

func appendLabels(to []byte, labels []*dto.LabelPair) []byte {
	for i, l := range labels {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(append(to, l.GetName()...), `="`...)
		to = append(appendEscaped(to, l.GetValue(), true), '"')
	}
	return to
}

func appendEscaped(to []byte, s string, quotes bool) []byte {
	if !strings.ContainsAny(s, "\\\n\"") {
		return append(to, s...)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			to = append(to, `\\`...)
		case c == '\n':
			to = append(to, `\n`...)
		case c == '"' && quotes:
			to = append(to, `\"`...)
		default:
			to = append(to, c)
		}
	}
	return to
}
