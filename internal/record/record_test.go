package record

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ metric.Source = (*Recorder)(nil)

// A clock is a wall clock that stands still between steps.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time            { return c.now }
func (c *clock) advance(d time.Duration)   { c.now = c.now.Add(d) }
func (c *clock) options() Options          { return Options{Now: c.Now} }
func answered(d time.Duration) load.Result { return load.Result{Sent: 0, Done: int64(d), Code: 200} }

func shop(limits ...time.Duration) Scenario {
	return Scenario{
		Name: "shop", Test: "endurance", Executor: "constant-arrival-rate", Model: "open",
		Labels: map[string]string{"team": "checkout"},
		Steps: []Series{
			{Step: "login", Target: "shop", Protocol: "http", Tags: map[string]string{"team": "accounts"}, Limits: limits, Checks: []string{"has a token"}},
			{Step: "list", Target: "shop", Protocol: "http", Checks: []string{"not empty", "has a token"}},
		},
	}
}

func open(t testing.TB, r *Recorder, s Scenario) *Sink {
	t.Helper()
	sink, err := r.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// all returns copies of everything that a Gather yields, by family.
func all(r *Recorder) (families []*dto.MetricFamily) {
	var last *dto.MetricFamily
	for f, m := range r.Gather() {
		if f != last {
			last = f
			families = append(families, proto.CloneOf(f))
		}
		own := families[len(families)-1]
		own.Metric = append(own.Metric, proto.CloneOf(m))
	}
	return families
}

// gathered returns the metrics of a family by their labels, name=value joined by commas.
func gathered(t testing.TB, r *Recorder, name string) map[string]*dto.Metric {
	t.Helper()
	families := all(r)
	metrics := make(map[string]*dto.Metric)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			metrics[strings.Join(labels, ",")] = m
		}
	}
	return metrics
}

// values returns the values of a counter or gauge by their labels.
func values(t testing.TB, r *Recorder, name string) map[string]float64 {
	t.Helper()
	v := make(map[string]float64)
	for labels, m := range gathered(t, r, name) {
		v[labels] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return v
}

func TestExpositionOfAScenario(t *testing.T) {
	c := newClock()
	r := New(c.options())
	s := open(t, r, shop())
	for vu, res := range []load.Result{
		{
			Due: 0, Sent: 5e6, Done: 25e6, Code: 200, SentBytes: 100, ReceivedBytes: 2000, Waited: 5e6,
			Phases: [load.NumPhases]int64{load.PhaseFirstByte: 15e6, load.PhaseTransfer: 5e6}, Checks: 1,
		},
		{Due: 0, Sent: 0, Done: 100e6, Code: 200, SentBytes: 100, ReceivedBytes: 2000, Checks: 1, ChecksFailed: 1},
		{Step: 1, Sent: 0, Done: 700e6, Code: 503, Cause: load.Status, ReceivedBytes: 10},
		{Step: 1, Sent: 0, Done: 2e9, Cause: load.Canceled},
	} {
		s.Record(vu, &res)
	}
	s.Started(1)
	s.Started(2)
	s.Started(3)
	s.Iteration(&load.Iteration{VU: 1, Due: 0, Start: 1e6, End: 301e6})
	s.Iteration(&load.Iteration{VU: 2, Due: 0, Start: 2e6, End: 3e9, Outcome: load.Stopped})
	s.Drop(load.NoFreeVU, 4)
	s.Connections().Opened.Add(2)
	s.Connections().Closed[load.ClosedAge].Add(1)
	s.Connections().Ignored.Add(5)
	s.Connections().Stalls.Add(3)
	s.Connections().VersionChanges.Add(1)

	const golden = "testdata/exposition.txt"
	var got bytes.Buffer
	families := all(r)
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("exposition differs from %s (-want +got):\n%s", golden, diff)
	}
}

func TestExpositionIsLintFree(t *testing.T) {
	r := New(newClock().options())
	s := open(t, r, shop(150*time.Millisecond))
	res := answered(time.Second)
	s.Record(0, &res)
	families := all(r)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if !slices.IsSortedFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }) {
		t.Error("Gather() is not sorted by name")
	}
}

func TestOpenRefusesWhatCannotBeExposed(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		name string
		give Scenario
		want string
	}{
		{"a label that is no name", Scenario{Name: "s", Labels: map[string]string{"a-b": "x"}}, `label "a-b"`},
		{"a label of perfd's own", Scenario{Name: "s", Labels: map[string]string{"executor": "x"}}, `label "executor"`},
		{"a step twice", Scenario{Name: "s", Steps: []Series{{Step: "a"}, {Step: "a"}}}, `step "a": name is used twice`},
		{"a name that is not UTF-8", Scenario{Name: "\xff"}, "not valid UTF-8"},
		{"a check that is not UTF-8", Scenario{Name: "s", Steps: []Series{{Step: "a", Checks: []string{"\xff"}}}}, "not valid UTF-8"},
		{"a limit that is no time", Scenario{Name: "s", Steps: []Series{{Step: "a", Limits: []time.Duration{0}}}}, "limit 0s: must be more than 0"},
		{"too many checks", Scenario{Name: "s", Steps: []Series{{Step: "a", Checks: many}}}, "at most 64 checks, got 65"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New(Options{})
			_, err := r.Open(c.give)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open(%+v) = %v, want an error with %q", c.give, err, c.want)
			}
			if n := len(gathered(t, r, "perfd_scenario_info")); n != 0 {
				t.Errorf("after a refused Open %d scenarios are exposed, want 0", n)
			}
		})
	}
}

func TestNativeClassicAndHdrPercentilesAgree(t *testing.T) {
	r := New(newClock().options())
	sink := open(t, r, shop())
	const n = 20_000
	want := new(hist.Histogram)
	var exact time.Duration
	for i, res := range logNormal(n, 7) {
		sink.Record(i, &res)
		want.Record(res.Duration())
		exact += time.Duration(res.Duration())
		if i%3000 == 0 {
			r.Fold(r.options.Now())
		}
	}
	h := gathered(t, r, "perfd_request_duration_seconds")["scenario=shop,step=login"].Histogram
	if h.GetSampleCount() != n || h.GetSampleSum() != exact.Seconds() {
		t.Errorf("count %d and sum %v, want %d and %v", h.GetSampleCount(), h.GetSampleSum(), n, exact.Seconds())
	}
	hdr := want.HDR()
	for _, q := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		seconds := time.Duration(hdr.ValueAtQuantile(q * 100)).Seconds()
		if low, high := nativeBucketOf(h, q); seconds <= low/1.1 || seconds > high*1.1 {
			t.Errorf("native quantile %v lies in (%v, %v], want %v within one bucket", q, low, high, seconds)
		}
		if low, high := classicBucketOf(h, q); seconds <= low*0.99 || seconds > high*1.01 {
			t.Errorf("classic quantile %v lies in (%v, %v], want %v in it", q, low, high, seconds)
		}
	}
}

// nativeBucketOf returns the bounds of the native bucket that holds a quantile.
func nativeBucketOf(h *dto.Histogram, q float64) (low, high float64) {
	rank := q * float64(h.GetSampleCount())
	seen, count, index, delta := float64(h.GetZeroCount()), int64(0), 0, 0
	for _, s := range h.PositiveSpan {
		index += int(s.GetOffset())
		for range s.GetLength() {
			count += h.PositiveDelta[delta]
			seen += float64(count)
			if seen >= rank {
				return math.Exp2(float64(index-1) / 8), math.Exp2(float64(index) / 8)
			}
			delta++
			index++
		}
	}
	return math.Inf(1), math.Inf(1)
}

func classicBucketOf(h *dto.Histogram, q float64) (low, high float64) {
	rank := q * float64(h.GetSampleCount())
	for _, b := range h.Bucket {
		if float64(b.GetCumulativeCount()) >= rank {
			return low, b.GetUpperBound()
		}
		low = b.GetUpperBound()
	}
	return low, math.Inf(1)
}

func TestNativeHistogramsAreWrittenAsClientGolangWritesThem(t *testing.T) {
	want := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", NativeHistogramBucketFactor: 1.1})
	r := New(newClock().options())
	sink := open(t, r, shop())
	for _, ns := range []int64{0, 1e6, 1.1e6, 1.3e6, 2e6, 40e6, 41e6, 9e9, 10e9, 11e9} {
		res := answered(time.Duration(ns))
		sink.Record(0, &res)
		want.Observe(float64(ns) / 1e9)
	}
	var m dto.Metric
	if err := want.Write(&m); err != nil {
		t.Fatal(err)
	}
	got := gathered(t, r, "perfd_request_duration_seconds")["scenario=shop,step=login"].Histogram
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"schema", got.GetSchema(), m.Histogram.GetSchema()},
		{"zero threshold", got.GetZeroThreshold(), m.Histogram.GetZeroThreshold()},
		{"zero count", got.GetZeroCount(), m.Histogram.GetZeroCount()},
		{"spans", fmt.Sprint(got.PositiveSpan), fmt.Sprint(m.Histogram.PositiveSpan)},
		{"deltas", got.PositiveDelta, m.Histogram.PositiveDelta},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s differ (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestClassicBucketsCanBeTurnedOff(t *testing.T) {
	o := newClock().options()
	o.NoClassic = true
	r := New(o)
	sink := open(t, r, shop())
	res := answered(20 * time.Millisecond)
	sink.Record(0, &res)
	for labels, m := range gathered(t, r, "perfd_request_duration_seconds") {
		if n := len(m.Histogram.Bucket); n != 0 {
			t.Errorf("%s has %d classic buckets, want 0", labels, n)
		}
		if m.Histogram.Schema == nil {
			t.Errorf("%s has no native histogram", labels)
		}
	}
}

func TestLabelsAreCapped(t *testing.T) {
	o := newClock().options()
	o.Caps = Caps{Scenarios: 2, Steps: 2, Checks: 2, Codes: 2}
	r := New(o)
	var sinks []*Sink
	for _, name := range []string{"a", "b", "c"} {
		s := Scenario{Name: name}
		for i := range 4 {
			s.Steps = append(s.Steps, Series{Step: fmt.Sprint("step", i), Checks: []string{fmt.Sprint("check", i)}})
		}
		sinks = append(sinks, open(t, r, s))
	}
	for code := range 4 {
		for step := range 4 {
			for _, s := range sinks {
				s.Record(code, &load.Result{Step: step, Done: 1e6, Code: int32(200 + code), Checks: 1})
			}
		}
	}
	check := func(family string, want map[string]float64) {
		t.Helper()
		if diff := cmp.Diff(want, values(t, r, family)); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", family, diff)
		}
	}
	check("perfd_requests_total", map[string]float64{
		"scenario=a,step=step0": 4, "scenario=a,step=step1": 4, "scenario=a,step=other": 8,
		"scenario=b,step=step0": 4, "scenario=b,step=step1": 4, "scenario=b,step=other": 8,
		"scenario=other,step=step0": 4, "scenario=other,step=step1": 4, "scenario=other,step=other": 8,
	})
	check("perfd_checks_total", map[string]float64{
		"check=check0,scenario=a": 4, "check=check1,scenario=a": 4, "check=other,scenario=a": 8,
		"check=check0,scenario=b": 4, "check=check1,scenario=b": 4, "check=other,scenario=b": 8,
		"check=check0,scenario=other": 4, "check=check1,scenario=other": 4, "check=other,scenario=other": 8,
	})
	codes := values(t, r, "perfd_responses_total")
	var all float64
	for _, v := range codes {
		all += v
	}
	if n := len(codes); n != 3*3*3 || all != 3*16 {
		t.Errorf("perfd_responses_total has %d series that sum to %v, want %d and %d", n, all, 3*3*3, 3*16)
	}
	if codes["code=other,scenario=a,step=step0"] != 2 {
		t.Errorf("perfd_responses_total of other codes = %v, want 2", codes["code=other,scenario=a,step=step0"])
	}
	check("perfd_label_overflow_total", map[string]float64{
		"label=scenario": 1, "label=step": 6, "label=check": 6, "label=code": 3 * 8,
	})
}

func TestEveryNthVirtualUserStillSpreadsOverShards(t *testing.T) {
	r := New(Options{Shards: 4})
	sink := open(t, r, shop())
	for _, n := range []int{1, 2, 3, 4, 8, 16} {
		used := make(map[*shard]int)
		for vu := range 400 {
			used[sink.shard(vu*n)]++
		}
		for _, users := range used {
			if users < 60 || users > 140 {
				t.Errorf("every %dth virtual user: %d of 400 share a shard, want about 100", n, users)
			}
		}
	}
}

func TestDurationsOverRangeAreCounted(t *testing.T) {
	r := New(newClock().options())
	sink := open(t, r, shop())
	res := answered(2 * time.Hour)
	sink.Record(0, &res)
	if got := values(t, r, "perfd_durations_over_range_total")["scenario=shop,step=login"]; got != 1 {
		t.Errorf("perfd_durations_over_range_total = %v, want 1", got)
	}
	h := gathered(t, r, "perfd_request_duration_seconds")["scenario=shop,step=login"].Histogram
	if got := h.GetSampleSum(); got != 7200 {
		t.Errorf("sum = %v, want 7200", got)
	}
	if got := h.Bucket[len(h.Bucket)-1].GetCumulativeCount(); got != 0 {
		t.Errorf("classic bucket up to a minute = %d, want 0", got)
	}
}

// An answer whose code is 0 counts as one; a request without an answer does not.
func TestAnAnswerOfCodeZero(t *testing.T) {
	r := New(Options{})
	s := open(t, r, Scenario{Name: "s", Steps: []Series{{Step: "stock", Target: "t", Protocol: "grpc"}}})
	for vu := range 3 {
		s.Record(vu, &load.Result{Done: 1e6, Coded: true})
	}
	s.Record(0, &load.Result{Done: 1e6, Cause: load.Refused})
	s.Record(0, &load.Result{Done: 1e6, Cause: load.Status, Code: 14, Coded: true})
	want := map[string]float64{"code=0,scenario=s,step=stock": 3, "code=14,scenario=s,step=stock": 1}
	if got := values(t, r, "perfd_responses_total"); !maps.Equal(got, want) {
		t.Errorf("perfd_responses_total = %v, want %v", got, want)
	}
}
