package exposition

import (
	"encoding/binary"
	"io"
	"math"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A protoEncoder writes the delimited protobuf format. Metrics that come one at a time it
// writes itself, in a fraction of the time that reflection takes for millions of small
// messages; whole families are left to expfmt.
type protoEncoder struct {
	expfmt.Encoder
	to io.Writer

	family *dto.MetricFamily // that is being written, nil for none
	body   body              // of the family: its length comes before it
	message,
	value,
	part []byte // one inside the other
}

func newProtoEncoder(to io.Writer, format expfmt.Format) *protoEncoder {
	return &protoEncoder{Encoder: expfmt.NewEncoder(to, format), to: to}
}

// The fields of the messages, as io/prometheus/client/metrics.proto numbers them.
const (
	familyName protowire.Number = iota + 1
	familyHelp
	familyType
	familyMetric
)

const (
	metricLabel     protowire.Number = 1
	metricGauge     protowire.Number = 2
	metricCounter   protowire.Number = 3
	metricHistogram protowire.Number = 7

	pairName  protowire.Number = 1
	pairValue protowire.Number = 2

	valueValue     protowire.Number = 1 // of gauges and counters
	counterCreated protowire.Number = 3

	histogramCount         protowire.Number = 1
	histogramSum           protowire.Number = 2
	histogramBucket        protowire.Number = 3
	histogramSchema        protowire.Number = 5
	histogramZeroThreshold protowire.Number = 6
	histogramZeroCount     protowire.Number = 7
	histogramSpan          protowire.Number = 12 // of positive buckets
	histogramDelta         protowire.Number = 13
	histogramCreated       protowire.Number = 15
	histogramExemplar      protowire.Number = 16

	bucketCount    protowire.Number = 1
	bucketBound    protowire.Number = 2
	bucketExemplar protowire.Number = 3

	spanOffset protowire.Number = 1
	spanLength protowire.Number = 2

	timestampSeconds protowire.Number = 1
	timestampNanos   protowire.Number = 2
)

// Encode writes one family.
func (e *protoEncoder) Encode(f *dto.MetricFamily) error {
	if err := e.end(); err != nil {
		return err
	}
	return e.Encoder.Encode(f)
}

// Close writes the family that is being written.
func (e *protoEncoder) Close() error { return e.end() }

// end writes the family that is being written, after its length.
func (e *protoEncoder) end() error {
	if e.family == nil {
		return nil
	}
	e.family = nil
	defer e.body.free()
	if _, err := e.to.Write(binary.AppendUvarint(e.part[:0], uint64(e.body.len()))); err != nil {
		return err
	}
	_, err := e.body.WriteTo(e.to)
	return err
}

// metric writes one metric.
func (e *protoEncoder) metric(f *dto.MetricFamily, m *dto.Metric) error {
	to := e.message[:0]
	if f != e.family {
		if err := e.end(); err != nil {
			return err
		}
		e.family = f
		to = appendText(to, familyName, f.GetName())
		if f.Help != nil {
			to = appendText(to, familyHelp, f.GetHelp())
		}
		to = protowire.AppendVarint(protowire.AppendTag(to, familyType, protowire.VarintType), uint64(f.GetType()))
	}
	var err error
	if e.value, err = e.appendMetric(e.value[:0], m); err != nil {
		return err
	}
	e.message = appendBytes(to, familyMetric, e.value)
	_, err = e.body.Write(e.message)
	return err
}

// appendMetric appends the fields of a metric.
func (e *protoEncoder) appendMetric(to []byte, m *dto.Metric) (_ []byte, err error) {
	for _, l := range m.Label {
		to = appendPair(to, l)
	}
	switch {
	case m.Counter != nil:
		e.part = appendDouble(e.part[:0], valueValue, m.Counter.GetValue())
		if t := m.Counter.CreatedTimestamp; t != nil {
			e.part = appendTime(e.part, counterCreated, t.Seconds, t.Nanos)
		}
		to = appendBytes(to, metricCounter, e.part)
	case m.Gauge != nil:
		e.part = appendDouble(e.part[:0], valueValue, m.Gauge.GetValue())
		to = appendBytes(to, metricGauge, e.part)
	case m.Histogram != nil:
		if e.part, err = appendHistogram(e.part[:0], m.Histogram); err != nil {
			return to, err
		}
		to = appendBytes(to, metricHistogram, e.part)
	}
	return to, nil
}

func appendHistogram(to []byte, h *dto.Histogram) (_ []byte, err error) {
	to = appendNumber(to, histogramCount, h.GetSampleCount())
	to = appendDouble(to, histogramSum, h.GetSampleSum())
	for _, b := range h.Bucket {
		to = protowire.AppendTag(to, histogramBucket, protowire.BytesType)
		at := len(to)
		to = append(to, 0) // its length, which without an exemplar is less than 128
		to = appendNumber(to, bucketCount, b.GetCumulativeCount())
		to = appendDouble(to, bucketBound, b.GetUpperBound())
		if b.Exemplar == nil {
			to[at] = byte(len(to) - at - 1)
			continue
		}
		bucket := append([]byte(nil), to[at+1:]...)
		if bucket, err = appendMessage(bucket, bucketExemplar, b.Exemplar); err != nil {
			return to, err
		}
		to = protowire.AppendBytes(to[:at], bucket)
	}
	if h.Schema != nil {
		to = appendNumber(to, histogramSchema, protowire.EncodeZigZag(int64(h.GetSchema())))
		to = appendDouble(to, histogramZeroThreshold, h.GetZeroThreshold())
		to = appendNumber(to, histogramZeroCount, h.GetZeroCount())
	}
	for _, s := range h.PositiveSpan {
		offset, length := protowire.EncodeZigZag(int64(s.GetOffset())), uint64(s.GetLength())
		to = protowire.AppendTag(to, histogramSpan, protowire.BytesType)
		to = protowire.AppendVarint(to, uint64(2+protowire.SizeVarint(offset)+protowire.SizeVarint(length)))
		to = appendNumber(to, spanOffset, offset)
		to = appendNumber(to, spanLength, length)
	}
	for _, d := range h.PositiveDelta {
		to = appendNumber(to, histogramDelta, protowire.EncodeZigZag(d))
	}
	if t := h.CreatedTimestamp; t != nil {
		to = appendTime(to, histogramCreated, t.Seconds, t.Nanos)
	}
	for _, x := range h.Exemplars {
		if to, err = appendMessage(to, histogramExemplar, x); err != nil {
			return to, err
		}
	}
	return to, nil
}

// appendPair appends a label.
func appendPair(to []byte, l *dto.LabelPair) []byte {
	name, value := l.GetName(), l.GetValue()
	to = protowire.AppendTag(to, metricLabel, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(2+protowire.SizeBytes(len(name))+protowire.SizeBytes(len(value))))
	to = appendText(to, pairName, name)
	return appendText(to, pairValue, value)
}

func appendTime(to []byte, field protowire.Number, seconds int64, nanos int32) []byte {
	to = protowire.AppendTag(to, field, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(2+protowire.SizeVarint(uint64(seconds))+protowire.SizeVarint(uint64(nanos))))
	to = appendNumber(to, timestampSeconds, uint64(seconds))
	return appendNumber(to, timestampNanos, uint64(nanos))
}

// appendMessage appends what is seldom: exemplars.
func appendMessage(to []byte, field protowire.Number, m proto.Message) ([]byte, error) {
	to = protowire.AppendTag(to, field, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(proto.Size(m)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(to, m)
}

func appendBytes(to []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), v)
}

func appendText(to []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(to, field, protowire.BytesType), v)
}

func appendNumber(to []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.VarintType), v)
}

func appendDouble(to []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(to, field, protowire.Fixed64Type), math.Float64bits(v))
}
