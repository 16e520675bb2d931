package exposition

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/record"
)

// compareWithProto encodes families metric by metric and compares what a decoder reads with them.
func compareWithProto(t interface {
	Fatal(...any)
	Errorf(string, ...any)
}, families []*dto.MetricFamily,
) {
	var out bytes.Buffer
	h := handler{Options: Options{Scenarios: gatherer(families)}}
	if err := h.encode(newEncoder(&out, expfmt.FmtProtoDelim), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range families {
		got := new(dto.MetricFamily)
		if err := protodelim.UnmarshalFrom(&out, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.GetName(), diff)
		}
	}
	if err := protodelim.UnmarshalFrom(&out, new(dto.MetricFamily)); !errors.Is(err, io.EOF) {
		t.Errorf("after the last family: %v, want the end", err)
	}
}

func TestProtobufOfARecorderIsExpfmts(t *testing.T) {
	for _, o := range []record.Options{{}, {NoClassic: true}} {
		r, _ := recorded(t, 2, 3, 700, o)
		r.Exemplar(record.Exemplar{Scenario: "scenario-000", Step: "sign-in/step-001", Duration: 20e6, ResponseTime: 20e6, Trace: load.TraceID{1}, Span: load.SpanID{2}})
		r.Exemplar(record.Exemplar{Scenario: "scenario-000", Step: "sign-in/step-001", Duration: 200e9, ResponseTime: 200e9, Trace: load.TraceID{3}, Span: load.SpanID{4}})
		families := all(r)
		compareWithProto(t, families)
		compareWithExpfmt(t, families)
	}
}

func TestAnyProtobufIsExpfmts(t *testing.T) {
	numbers := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 127, 128, math.MaxUint64}))
	value := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1)}))
	text := rapid.String()
	when := rapid.Custom(func(t *rapid.T) *timestamppb.Timestamp {
		return &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(t, "seconds"), Nanos: rapid.Int32Range(0, 999_999_999).Draw(t, "nanos")}
	})
	labels := rapid.Custom(func(t *rapid.T) *dto.LabelPair {
		return &dto.LabelPair{Name: new(text.Draw(t, "name")), Value: new(text.Draw(t, "value"))}
	})
	exemplar := rapid.Custom(func(t *rapid.T) *dto.Exemplar {
		return &dto.Exemplar{Label: rapid.SliceOfN(labels, 0, 3).Draw(t, "labels"), Value: new(value.Draw(t, "exemplar")), Timestamp: when.Draw(t, "at")}
	})
	maybe := func(t *rapid.T) *dto.Exemplar {
		if rapid.Bool().Draw(t, "has exemplar") {
			return exemplar.Draw(t, "exemplar")
		}
		return nil
	}
	histogram := rapid.Custom(func(t *rapid.T) *dto.Histogram {
		h := &dto.Histogram{SampleCount: new(numbers.Draw(t, "count")), SampleSum: new(value.Draw(t, "sum")), CreatedTimestamp: when.Draw(t, "created")}
		for range rapid.IntRange(0, 3).Draw(t, "buckets") {
			h.Bucket = append(h.Bucket, &dto.Bucket{CumulativeCount: new(numbers.Draw(t, "bucket")), UpperBound: new(value.Draw(t, "bound")), Exemplar: maybe(t)})
		}
		if !rapid.Bool().Draw(t, "native") {
			return h
		}
		h.Schema, h.ZeroThreshold, h.ZeroCount = new(rapid.Int32Range(-4, 8).Draw(t, "schema")), new(value.Draw(t, "threshold")), new(numbers.Draw(t, "zeros"))
		for range rapid.IntRange(0, 3).Draw(t, "spans") {
			h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: new(rapid.Int32().Draw(t, "offset")), Length: new(rapid.Uint32().Draw(t, "length"))})
		}
		h.PositiveDelta = rapid.SliceOfN(rapid.Int64(), 0, 3).Draw(t, "deltas")
		h.Exemplars = rapid.SliceOfN(exemplar, 0, 2).Draw(t, "exemplars")
		return h
	})
	rapid.Check(t, func(t *rapid.T) {
		var families []*dto.MetricFamily
		for range rapid.IntRange(1, 3).Draw(t, "families") {
			kind := rapid.SampledFrom([]dto.MetricType{dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM}).Draw(t, "type")
			f := &dto.MetricFamily{Name: new(text.Draw(t, "name")), Help: new(text.Draw(t, "help")), Type: kind.Enum()}
			for range rapid.IntRange(1, 3).Draw(t, "metrics") {
				m := &dto.Metric{Label: rapid.SliceOfN(labels, 0, 3).Draw(t, "labels")}
				switch kind {
				case dto.MetricType_COUNTER:
					m.Counter = &dto.Counter{Value: new(value.Draw(t, "value")), CreatedTimestamp: when.Draw(t, "created")}
				case dto.MetricType_GAUGE:
					m.Gauge = &dto.Gauge{Value: new(value.Draw(t, "value"))}
				default:
					m.Histogram = histogram.Draw(t, "histogram")
				}
				f.Metric = append(f.Metric, m)
			}
			families = append(families, f)
		}
		compareWithProto(t, families)
	})
}

func TestEveryFormatIsWhole(t *testing.T) {
	r, _ := recorded(t, 2, 2, 50, record.Options{})
	families := all(r)
	for _, format := range expfmt.DefaultOpenMetricsAcceptedFormats() {
		var got, want bytes.Buffer
		h := handler{Options: Options{Scenarios: gatherer(families)}}
		if err := h.encode(newEncoder(&got, format), nil); err != nil {
			t.Fatal(err)
		}
		encoded(t, expfmt.NewEncoder(&want, format), &want, families)
		if got.Len() == 0 || (got.Len() != want.Len()) {
			t.Errorf("%s has %d bytes, want %d as expfmt", format, got.Len(), want.Len())
		}
	}
}
