package exposition

import (
	"bytes"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/record"
)

var textFormats = []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0}

// encoded returns what an encoder makes of families.
func encoded(t interface{ Fatal(...any) }, e expfmt.Encoder, out *bytes.Buffer, families []*dto.MetricFamily) string {
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.(expfmt.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func compareWithExpfmt(t interface {
	Fatal(...any)
	Errorf(string, ...any)
}, families []*dto.MetricFamily,
) {
	for _, format := range textFormats {
		var got, want bytes.Buffer
		encoded(t, newTextEncoder(&got, format), &got, families)
		encoded(t, expfmt.NewEncoder(&want, format), &want, families)
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%s differs from expfmt's (-want +got):\n%s", format, cmp.Diff(want.String(), got.String()))
		}
	}
}

func TestTextOfARecorderIsExpfmts(t *testing.T) {
	r, _ := recorded(t, 2, 3, 700, record.Options{})
	families := all(r)
	compareWithExpfmt(t, families)
	for _, f := range families {
		if !newTextEncoder(nil, expfmt.FmtOpenMetrics_1_0_0).simple(f) {
			t.Errorf("family %s is left to expfmt, want none", f.GetName())
		}
	}
}

func TestTextOfTheDaemonIsExpfmts(t *testing.T) {
	families, err := daemon().Gather()
	if err != nil {
		t.Fatal(err)
	}
	compareWithExpfmt(t, families)
}

func TestAnyTextIsExpfmts(t *testing.T) {
	value := rapid.OneOf(
		rapid.Float64(),
		rapid.Map(rapid.Uint64Range(0, 3e6), func(n uint64) float64 { return float64(n) }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -1, 999999, 1e6, 1e21, 0.1, math.NaN(), math.Inf(1), math.Inf(-1)}),
	)
	metrics := func(t *rapid.T, kind dto.MetricType) *dto.Metric {
		m := &dto.Metric{}
		for _, name := range rapid.SampledFrom([][]string{nil, {"a"}, {"scenario", "step"}, {"a.b"}}).Draw(t, "labels") {
			m.Label = append(m.Label, &dto.LabelPair{Name: new(name), Value: new(rapid.String().Draw(t, "value"))})
		}
		switch kind {
		case dto.MetricType_COUNTER:
			m.Counter = &dto.Counter{Value: new(value.Draw(t, "counter"))}
		case dto.MetricType_GAUGE:
			m.Gauge = &dto.Gauge{Value: new(value.Draw(t, "gauge"))}
		case dto.MetricType_UNTYPED:
			m.Untyped = &dto.Untyped{Value: new(value.Draw(t, "untyped"))}
		case dto.MetricType_HISTOGRAM:
			m.Histogram = &dto.Histogram{SampleCount: new(rapid.Uint64().Draw(t, "count")), SampleSum: new(value.Draw(t, "sum"))}
			for range rapid.IntRange(0, 3).Draw(t, "buckets") {
				m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{
					UpperBound:      new(value.Draw(t, "bound")),
					CumulativeCount: new(rapid.Uint64Range(0, 3e6).Draw(t, "bucket")),
				})
			}
		}
		return m
	}
	rapid.Check(t, func(t *rapid.T) {
		var families []*dto.MetricFamily
		for range rapid.IntRange(1, 3).Draw(t, "families") {
			kind := rapid.SampledFrom([]dto.MetricType{
				dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_UNTYPED, dto.MetricType_HISTOGRAM,
			}).Draw(t, "type")
			f := &dto.MetricFamily{
				Name: new(rapid.SampledFrom([]string{"x", "x_total", "x.y"}).Draw(t, "name")),
				Help: new(rapid.String().Draw(t, "help")),
				Type: kind.Enum(),
			}
			for range rapid.IntRange(1, 3).Draw(t, "metrics") {
				f.Metric = append(f.Metric, metrics(t, kind))
			}
			families = append(families, f)
		}
		compareWithExpfmt(t, families)
	})
}

func TestUnusualFamiliesAreLeftToExpfmt(t *testing.T) {
	exemplar := &dto.Exemplar{
		Label: []*dto.LabelPair{{Name: new("trace_id"), Value: new("abc")}},
		Value: proto.Float64(2), Timestamp: timestamppb.Now(),
	}
	family := func(kind dto.MetricType, m *dto.Metric) *dto.MetricFamily {
		return &dto.MetricFamily{Name: new("x_total"), Type: kind.Enum(), Metric: []*dto.Metric{m}}
	}
	unit := family(dto.MetricType_GAUGE, &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(1)}})
	unit.Unit = new("total")
	compareWithExpfmt(t, []*dto.MetricFamily{
		unit,
		family(dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: proto.Float64(1), Exemplar: exemplar}}),
		family(dto.MetricType_GAUGE, &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(1)}, TimestampMs: proto.Int64(5)}),
		family(dto.MetricType_SUMMARY, &dto.Metric{Summary: &dto.Summary{SampleCount: proto.Uint64(1), SampleSum: proto.Float64(1)}}),
		family(dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: &dto.Histogram{
			SampleCount: proto.Uint64(3), SampleSum: proto.Float64(1),
			Bucket: []*dto.Bucket{{UpperBound: proto.Float64(2), CumulativeCount: proto.Uint64(3), Exemplar: exemplar}},
		}}),
		family(dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: &dto.Histogram{
			SampleCount: proto.Uint64(3), SampleSum: proto.Float64(1),
			Bucket: []*dto.Bucket{{UpperBound: new(math.Inf(1)), CumulativeCount: proto.Uint64(3)}},
		}}),
	})
}

func TestTextOfExemplarsIsExpfmts(t *testing.T) {
	exemplar := func(v float64) *dto.Exemplar {
		return &dto.Exemplar{
			Label: []*dto.LabelPair{{Name: new("trace_id"), Value: new("ab")}, {Name: new("span_id"), Value: new("c\"d")}},
			Value: new(v), Timestamp: &timestamppb.Timestamp{Seconds: 1700000000, Nanos: 250_000_000},
		}
	}
	f := &dto.MetricFamily{Name: new("x"), Help: new("x"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{
		Label: []*dto.LabelPair{{Name: new("a"), Value: new("b")}},
		Histogram: &dto.Histogram{SampleCount: new(uint64(3)), SampleSum: new(4.5), Bucket: []*dto.Bucket{
			{UpperBound: new(0.5), CumulativeCount: new(uint64(1)), Exemplar: exemplar(0.25)},
			{UpperBound: new(1.0), CumulativeCount: new(uint64(2))},
			{UpperBound: new(math.Inf(1)), CumulativeCount: new(uint64(3)), Exemplar: exemplar(3)},
		}},
	}}}
	if !newTextEncoder(nil, expfmt.FmtOpenMetrics_1_0_0).simple(f) {
		t.Error("exemplars are left to expfmt")
	}
	compareWithExpfmt(t, []*dto.MetricFamily{f})
}
