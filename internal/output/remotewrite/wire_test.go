package remotewrite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// family makes a family of one metric.
func familyOf(name string, kind dto.MetricType, m *dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: new(name), Help: new("Help of " + name + "."), Type: kind.Enum(), Unit: new("seconds"), Metric: []*dto.Metric{m}}
}

// everyKind has a metric of each type, that began, where it has a begin, at an instant.
func everyKind(began time.Time) []*dto.MetricFamily {
	created := timestamppb.New(began)
	histogram := func(created *timestamppb.Timestamp) *dto.Metric {
		return &dto.Metric{Histogram: &dto.Histogram{
			SampleCount: new(uint64(9)), SampleSum: new(4.5), CreatedTimestamp: created,
			Bucket: []*dto.Bucket{{UpperBound: new(0.5), CumulativeCount: new(uint64(4))}},
			Schema: new(int32(3)), ZeroThreshold: new(1e-9), ZeroCount: new(uint64(2)),
			PositiveSpan:  []*dto.BucketSpan{{Offset: new(int32(-8)), Length: new(uint32(2))}, {Offset: new(int32(3)), Length: new(uint32(1))}},
			PositiveDelta: []int64{3, -2, 1},
			NegativeSpan:  []*dto.BucketSpan{{Offset: new(int32(1)), Length: new(uint32(1))}},
			NegativeDelta: []int64{1},
		}}
	}
	return []*dto.MetricFamily{
		familyOf("c_total", dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: new(1.0), CreatedTimestamp: created}}),
		familyOf("g", dto.MetricType_GAUGE, &dto.Metric{Gauge: &dto.Gauge{Value: new(2.0)}}),
		familyOf("h", dto.MetricType_HISTOGRAM, histogram(created)),
		familyOf("gh", dto.MetricType_GAUGE_HISTOGRAM, histogram(nil)),
		familyOf("s", dto.MetricType_SUMMARY, &dto.Metric{Summary: &dto.Summary{
			SampleCount: new(uint64(1)), SampleSum: new(2.0), CreatedTimestamp: created, Quantile: []*dto.Quantile{{Quantile: new(0.5), Value: new(2.0)}},
		}}),
		familyOf("u", dto.MetricType_UNTYPED, &dto.Metric{Untyped: &dto.Untyped{Value: new(3.0)}}),
	}
}

// sendOnce sends one snapshot of families and waits until it has arrived.
func sendOnce(t *testing.T, to *receiver, more string, at time.Time, families []*dto.MetricFamily) {
	t.Helper()
	w := newRig(t, t.TempDir(), prometheus.NewRegistry(), endpointOf(t, to.URL, more))
	w.o.Daemon = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
	stop := w.startEndpoints()
	w.Snapshot(at)
	w.finished(at, 1)
	w.crash(stop)
}

// A line says all of a series on the wire of 2.0 but its labels.
type line struct {
	Type, Help, Unit string
	Start            int64
	Reset            string
}

func TestMetadataAndStartsOnTheWire(t *testing.T) {
	at := base()
	for _, c := range []struct {
		name  string
		began time.Time
		start int64
	}{
		{"began before", at.Add(-time.Hour), at.Add(-time.Hour).UnixMilli()},
		{"began a millisecond before", at.Add(-time.Millisecond), at.UnixMilli() - 1},
		{"began when the clock was ahead", at.Add(time.Hour), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := newReceiver(t)
			got := map[string]line{}
			to.onSecond = func(req *writev2.Request) {
				for _, ts := range req.Timeseries {
					name := ""
					for i := 0; i < len(ts.LabelsRefs); i += 2 {
						switch label := req.Symbols[ts.LabelsRefs[i]]; label {
						case "__name__":
							name = req.Symbols[ts.LabelsRefs[i+1]] + name
						case "le", "quantile":
							name += " " + req.Symbols[ts.LabelsRefs[i+1]]
						}
					}
					l := line{Type: strings.TrimPrefix(ts.Metadata.Type.String(), "METRIC_TYPE_"), Help: req.Symbols[ts.Metadata.HelpRef], Unit: req.Symbols[ts.Metadata.UnitRef]}
					for _, s := range ts.Samples {
						l.Start = s.StartTimestamp
					}
					for _, h := range ts.Histograms {
						l.Start, l.Reset = h.StartTimestamp, h.ResetHint.String()
						name += " native"
					}
					got[name] = l
				}
			}
			sendOnce(t, to, ", protocol: 2.0", at, everyKind(c.began))
			want := map[string]line{
				"c_total":   {"COUNTER", "Help of c_total.", "seconds", c.start, ""},
				"g":         {"GAUGE", "Help of g.", "seconds", 0, ""},
				"h native":  {"HISTOGRAM", "Help of h.", "seconds", c.start, "RESET_HINT_UNSPECIFIED"},
				"gh native": {"GAUGEHISTOGRAM", "Help of gh.", "seconds", 0, "RESET_HINT_GAUGE"},
				"u":         {"UNSPECIFIED", "Help of u.", "seconds", 0, ""},
				"s 0.5":     {"SUMMARY", "Help of s.", "seconds", c.start, ""},
			}
			for _, part := range []string{"_sum", "_count", "_bucket 0.5", "_bucket +Inf"} {
				want["h"+part] = line{"HISTOGRAM", "Help of h.", "seconds", c.start, ""}
				want["gh"+part] = line{"GAUGEHISTOGRAM", "Help of gh.", "seconds", 0, ""}
			}
			for _, part := range []string{"_sum", "_count"} {
				want["s"+part] = line{"SUMMARY", "Help of s.", "seconds", c.start, ""}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNativeHistogramsOnTheWire(t *testing.T) {
	at := base()
	families := everyKind(at.Add(-time.Hour))
	want := "count 9 sum 4.5 schema 3 zero 1e-09 2 positive [{-8 2} {3 1}] [3 -2 1] negative [{1 1}] [1] at " + fmt.Sprint(at.UnixMilli())
	t.Run("2.0", func(t *testing.T) {
		to := newReceiver(t)
		n := 0
		to.onSecond = func(req *writev2.Request) {
			for _, ts := range req.Timeseries {
				for _, h := range ts.Histograms {
					n++
					spans := func(list []writev2.BucketSpan) (out []string) {
						for _, s := range list {
							out = append(out, fmt.Sprintf("{%d %d}", s.Offset, s.Length))
						}
						return out
					}
					if got := fmt.Sprintf("count %d sum %v schema %d zero %v %d positive %v %v negative %v %v at %d", h.GetCountInt(), h.Sum, h.Schema, h.ZeroThreshold, h.GetZeroCountInt(),
						spans(h.PositiveSpans), h.PositiveDeltas, spans(h.NegativeSpans), h.NegativeDeltas, h.Timestamp); got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
				}
			}
		}
		sendOnce(t, to, ", protocol: 2.0, histograms: native", at, families)
		if n != 2 || to.got[`{__name__="h_count", instance="a", job="perfd"}`] != nil {
			t.Errorf("%d native histograms came, want two and no classic ones", n)
		}
	})
	t.Run("1.0", func(t *testing.T) {
		to := newReceiver(t)
		hints := map[string]prompb.Histogram_ResetHint{}
		to.onFirst = func(req *prompb.WriteRequest) {
			for _, ts := range req.Timeseries {
				for _, h := range ts.Histograms {
					for _, l := range ts.Labels {
						if l.Name == "__name__" {
							hints[l.Value] = h.ResetHint
						}
					}
					spans := func(list []prompb.BucketSpan) (out []string) {
						for _, s := range list {
							out = append(out, fmt.Sprintf("{%d %d}", s.Offset, s.Length))
						}
						return out
					}
					if got := fmt.Sprintf("count %d sum %v schema %d zero %v %d positive %v %v negative %v %v at %d", h.GetCountInt(), h.Sum, h.Schema, h.ZeroThreshold, h.GetZeroCountInt(),
						spans(h.PositiveSpans), h.PositiveDeltas, spans(h.NegativeSpans), h.NegativeDeltas, h.Timestamp); got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
				}
			}
		}
		sendOnce(t, to, ", protocol: 1.0, histograms: both", at, families)
		if diff := cmp.Diff(map[string]prompb.Histogram_ResetHint{"h": prompb.Histogram_UNKNOWN, "gh": prompb.Histogram_GAUGE}, hints); diff != "" {
			t.Errorf("reset hints (-want +got):\n%s", diff)
		}
	})
	t.Run("classic", func(t *testing.T) {
		to := newReceiver(t)
		sendOnce(t, to, ", protocol: 2.0, histograms: classic", at, families)
		if to.got[`{__name__="h", instance="a", job="perfd"}`] != nil || len(to.got[`{__name__="gh_bucket", instance="a", job="perfd", le="0.5"}`]) != 1 {
			t.Errorf("got %v, want classic buckets only", to.got)
		}
	})
}

func TestExemplarsOfCountersAreSentOnce(t *testing.T) {
	for _, c := range []struct {
		more string
		want map[string][]string
	}{
		{", protocol: 1.0", map[string][]string{counterName(0): {"a 1", "b 1"}, counterName(1): {"c 2"}}},
		{", protocol: 2.0", map[string][]string{counterName(0): {"a 1", "b 1"}, counterName(1): {"c 2"}}},
		{", exemplars: false", map[string][]string{}},
		{", drop: [c_total]", map[string][]string{}},
	} {
		t.Run(c.more, func(t *testing.T) {
			r, turn := counters(3)
			var vec *prometheus.CounterVec
			add := func(i int, v float64, trace string) {
				vec.WithLabelValues(fmt.Sprint(i)).(prometheus.ExemplarAdder).AddWithExemplar(v, prometheus.Labels{"trace_id": trace})
				time.Sleep(2 * time.Millisecond) // an exemplar is new by its time
			}
			turn()
			if err := r.Register(prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total", Help: "A counter."}, []string{"n"})); err != nil {
				vec = err.(prometheus.AlreadyRegisteredError).ExistingCollector.(*prometheus.CounterVec) //nolint:errorlint // it is never wrapped
			}
			marker := prometheus.NewGauge(prometheus.GaugeOpts{Name: "marker"})
			r.MustRegister(marker)
			to := newReceiver(t)
			w := newRig(t, t.TempDir(), r, endpointOf(t, to.URL, c.more))
			stop := w.startEndpoints()
			from := base()
			add(0, 1, "a")
			w.Snapshot(from)
			w.Snapshot(from.Add(time.Second))
			add(0, 1, "b")
			add(1, 2, "c")
			w.Snapshot(from.Add(2 * time.Second))
			w.Snapshot(from.Add(3 * time.Second))
			to.took(`{__name__="marker", instance="a", job="perfd"}`, 4)
			w.finished(from, 4)
			w.crash(stop)
			if diff := cmp.Diff(c.want, to.exemplars); diff != "" {
				t.Errorf("exemplars by series (-want +got):\n%s", diff)
			}
			sent := 0
			for _, list := range c.want {
				sent += len(list)
			}
			if got := w.endpoints[0].stats.exemplars.Load(); got != uint64(sent) {
				t.Errorf("%d exemplars count as sent, want %d", got, sent)
			}
		})
	}
}

// Records of earlier versions, which end before the exemplars of counters, are read too.
func TestRecordsWithoutExemplarsOfCounters(t *testing.T) {
	e := newEncoder()
	e.begin(1000)
	e.add(everyKind(time.UnixMilli(500)))
	record := e.appendTo(nil, true)
	bare := record[:len(record)-1] // the count, which is none
	for _, c := range []struct {
		name    string
		kind    byte
		payload []byte
		right   bool
	}{
		{"this version's", snapshotRecord, record, true},
		{"an earlier version's", bareSnapshotRecord, bare, true},
		{"this version's, cut", snapshotRecord, bare, false},
		{"an earlier version's, with more", bareSnapshotRecord, record, false},
	} {
		at, entries, unknown, err := newTable().read(c.kind, c.payload)
		if (err == nil) != c.right || at != 1000 || len(entries) != 6 || unknown != 0 {
			t.Errorf("%s: %d entries at %d, %d unknown, %v", c.name, len(entries), at, unknown, err)
		}
	}
}
