package record

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/load"
)

// Metrics of a scenario's own go on counting over another opening, are no requests, and cost nothing to add to.
func TestMetricsOfAScenariosOwn(t *testing.T) {
	r := New(Options{})
	info := Scenario{Name: "s", Steps: []Series{{Step: "get", Target: "t", Protocol: "http"}}}
	for _, kind := range []string{"counter", "rate", "gauge", "trend"} {
		m := &load.Metric{Type: kind}
		if kind == load.MetricTrend {
			m.Unit = load.UnitSeconds
		}
		info.Steps = append(info.Steps, own("my_"+kind, m))
	}
	if got := gathered(t, r, "perfd_custom_value"); len(got) != 0 {
		t.Errorf("before there is a scenario: %v", got)
	}
	first := open(t, r, info)
	if got := gathered(t, r, "perfd_custom_value"); len(got) != 0 {
		t.Errorf("a gauge that nothing set is shown: %v", got)
	}
	if got := gathered(t, r, "perfd_custom_total")["metric=my_counter,scenario=s"]; got.GetCounter().GetValue() != 0 || got == nil {
		t.Errorf("a counter before its first value is %v, want 0", got)
	}
	for vu := range 8 {
		first.Add(vu, 1, nil, 1.5)
		first.Add(vu, 2, nil, float64(vu%4)/3)
		first.Add(vu, 3, nil, float64(vu))
		first.Add(vu, 4, nil, 0.25)
	}
	second := open(t, r, info)
	first.Close()
	second.Add(0, 1, nil, 2)
	second.Add(5, 3, nil, 3)
	second.Add(0, 3, nil, -4)
	value := func(name, metric string) float64 {
		m := gathered(t, r, name)["metric="+metric+",scenario=s"]
		if m == nil {
			t.Fatalf("%s has no %s", name, metric)
		}
		return m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	for _, c := range []struct {
		name, metric string
		want         float64
	}{
		{"perfd_custom_total", "my_counter", 14},
		{"perfd_custom_events_total", "my_rate", 8},
		{"perfd_custom_events_missed_total", "my_rate", 2},
		{"perfd_custom_value", "my_gauge", -4},
	} {
		if got := value(c.name, c.metric); got != c.want {
			t.Errorf("%s of %s = %v, want %v", c.name, c.metric, got, c.want)
		}
	}
	h := gathered(t, r, "perfd_custom_duration_seconds")["metric=my_trend,scenario=s"].GetHistogram()
	if h.GetSampleCount() != 8 || h.GetSampleSum() != 2 {
		t.Errorf("a trend holds %d values with the sum %v, want 8 and 2", h.GetSampleCount(), h.GetSampleSum())
	}
	for _, name := range []string{"perfd_requests_total", "perfd_groups_total"} {
		for labels, m := range gathered(t, r, name) {
			if m.GetCounter().GetValue() != 0 {
				t.Errorf("%s{%s} = %v, want 0: a value is no request", name, labels, m.GetCounter().GetValue())
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { second.Add(1, 4, nil, 0.25); second.Add(1, 3, nil, 1) }); n > 0 {
		t.Errorf("a value allocates %v times, want 0", n)
	}
	second.Close()
}

func own(name string, m *load.Metric) Series {
	return Series{Step: name, Target: "t", Protocol: load.GroupProtocol, Group: true, Metric: m}
}

func labels(values ...string) []byte {
	return []byte(strings.Join(values, string([]byte{load.LabelSeparator})))
}

// A trend of numbers has its unit, buckets and limits of its own, in classic and native form.
func TestTrendsOfNumbers(t *testing.T) {
	r := New(Options{})
	size := own("size", &load.Metric{Type: load.MetricTrend, Unit: "items", Help: "Items of an order.", Buckets: []float64{1, 2.5, 10}})
	limit := time.Duration(load.ScaleOf("items").Units(7))
	size.Limits = []time.Duration{limit}
	bytes := own("bytes", &load.Metric{Type: load.MetricTrend, Unit: load.UnitBytes})
	s := open(t, r, Scenario{Name: "s", Steps: []Series{{Step: "get", Target: "t", Protocol: "http"}, size, bytes}})
	for i := range 20 {
		s.Add(i, 1, nil, float64(i)/2)
		s.Add(i, 2, nil, float64(i+1)*1e6)
	}
	h := gathered(t, r, "perfd_custom_amount")["metric=size,scenario=s"].GetHistogram()
	got := map[float64]uint64{}
	for _, b := range h.GetBucket() {
		got[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	if d := cmp.Diff(map[float64]uint64{1: 3, 2.5: 6, 7: 15, 10: 20}, got); d != "" {
		t.Errorf("classic buckets (-want +got):\n%s", d)
	}
	if h.GetSampleSum() != 95 || h.GetSampleCount() != 20 {
		t.Errorf("the sum is %v of %d, want 95 of 20", h.GetSampleSum(), h.GetSampleCount())
	}
	// 0 is in the zero bucket; the others from 0.5, the bound 2^-1, to 9.5, below 2^(26/8) = 9.51.
	if h.GetZeroCount() != 1 || nativeRange(h) != [2]int32{-8, 26} {
		t.Errorf("native buckets reach from and to %v, and %d are 0", nativeRange(h), h.GetZeroCount())
	}
	h = gathered(t, r, "perfd_custom_amount")["metric=bytes,scenario=s"].GetHistogram()
	if got := h.GetSampleSum(); got != 210e6 {
		t.Errorf("the sum of bytes is %v, want 210e6", got)
	}
	if from := math.Exp2(float64(nativeRange(h)[0]-1) / 8); from >= 1e6*1.004 || from*math.Exp2(1./8) < 1e6*0.996 {
		t.Errorf("the lowest native bucket begins at %v, want that of 1e6", from)
	}
	info := gathered(t, r, "perfd_custom_info")
	if info["help=Items of an order.,metric=size,scenario=s,type=trend,unit=items"] == nil {
		t.Errorf("perfd_custom_info has %v", slices.Sorted(maps.Keys(info)))
	}
	if got := gathered(t, r, "perfd_custom_duration_seconds"); len(got) != 0 {
		t.Errorf("numbers are shown as durations: %v", got)
	}

	// A limit that comes later is a bucket from then on, and what was counted stays.
	if err := s.Limit([][]time.Duration{nil, {time.Duration(load.ScaleOf("items").Units(8))}, nil}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s.Add(0, 1, nil, 7.5)
	}
	h = gathered(t, r, "perfd_custom_amount")["metric=size,scenario=s"].GetHistogram()
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() == 10 && b.GetCumulativeCount() != 25 || b.GetUpperBound() == 8 && b.GetCumulativeCount() < 20 || b.GetUpperBound() == 7 && b.GetCumulativeCount() != 15 {
			t.Errorf("with a limit of 8: %d up to %v", b.GetCumulativeCount(), b.GetUpperBound())
		}
	}
	s.Close()
}

func nativeRange(h *dto.Histogram) (ends [2]int32) {
	at := int32(0)
	for i, span := range h.GetPositiveSpan() {
		if at += span.GetOffset(); i == 0 {
			ends[0] = at
		}
		at += int32(span.GetLength())
		ends[1] = at - 1
	}
	return ends
}

// Labels are bounded: those that are declared exist from the start, others up to their bound, and what is beyond is counted
// and in no series. All of it is in the window that objectives read.
func TestLabelsOfMetricsAreBounded(t *testing.T) {
	var windows []*load.Window
	r := New(Options{Windows: func(w *load.Window) { windows = append(windows, w) }})
	orders := own("orders", &load.Metric{Type: load.MetricCounter, Labels: []load.MetricLabel{{Name: "plan", Values: []string{"free", "pro"}, AtMost: 2}}})
	visits := own("visits", &load.Metric{Type: load.MetricRate, Labels: []load.MetricLabel{{Name: "plan", Values: []string{"free", "pro"}, AtMost: 2}, {Name: "city", AtMost: 3}}})
	info := Scenario{Name: "s", Steps: []Series{{Step: "get", Target: "t", Protocol: "http"}, orders, visits}}
	first := open(t, r, info)
	if got := gathered(t, r, "perfd_custom_total"); len(got) != 2 || got["metric=orders,plan=pro,scenario=s"] == nil {
		t.Errorf("before the first value there are %v, want one for each plan", slices.Sorted(maps.Keys(got)))
	}
	var wait sync.WaitGroup
	for vu := range 4 {
		wait.Go(func() {
			for i := range 100 {
				first.Add(vu, 1, labels([]string{"free", "pro", "gold", ""}[i%4]), 2)
				first.Add(vu, 2, labels("pro", fmt.Sprint("city", i)), 1)
			}
		})
	}
	wait.Wait()
	first.Add(0, 2, labels("pro"), 1)
	first.Add(0, 2, labels("pro", "a", "b"), 1)
	first.Add(0, 2, labels("pro", "\xc3"), 1)
	counters := func(name string) map[string]float64 {
		got := map[string]float64{}
		for l, m := range gathered(t, r, name) {
			got[l] = m.GetCounter().GetValue()
		}
		return got
	}
	want := map[string]float64{"metric=orders,plan=free,scenario=s": 200, "metric=orders,plan=pro,scenario=s": 200}
	if d := cmp.Diff(want, counters("perfd_custom_total")); d != "" {
		t.Errorf("orders (-want +got):\n%s", d)
	}
	events := counters("perfd_custom_events_total")
	sum := 0.0
	for _, n := range events {
		sum += n
	}
	if len(events) != 3 || counters("perfd_custom_values_left_out_total")["metric=visits,scenario=s"] != 403-sum {
		t.Errorf("%v, and %v are left out of 403", events, counters("perfd_custom_values_left_out_total"))
	}
	if n := counters("perfd_custom_values_left_out_total")["metric=orders,scenario=s"]; n != 200 {
		t.Errorf("%v orders are left out, want 200", n)
	}

	// A sink that takes over goes on with the series that there are, and has no room for more.
	second := open(t, r, info)
	first.Close()
	for city := range events {
		second.Add(1, 2, labels("pro", regexp.MustCompile("city=(city[0-9]+)").FindStringSubmatch(city)[1]), 1)
	}
	second.Add(1, 2, labels("pro", "another"), 1)
	second.Add(1, 1, labels("pro"), 1)
	after := counters("perfd_custom_events_total")
	for city, n := range events {
		if after[city] != n+1 {
			t.Errorf("%s is %v after another sink took over, want %v", city, after[city], n+1)
		}
	}
	if len(after) != 3 || counters("perfd_custom_total")["metric=orders,plan=pro,scenario=s"] != 201 {
		t.Errorf("after another sink took over: %v, %v", after, counters("perfd_custom_total"))
	}
	gold, pro := labels("gold"), labels("pro")
	if n := testing.AllocsPerRun(100, func() { second.Add(1, 1, pro, 1); second.Add(1, 1, gold, 1) }); n > 0 {
		t.Errorf("a value with labels allocates %v times, want 0", n)
	}

	// Declared in another way, a metric begins anew.
	info.Steps = slices.Clone(info.Steps)
	info.Steps[1] = own("orders", &load.Metric{Type: load.MetricCounter})
	third := open(t, r, info)
	second.Add(0, 1, pro, 1)
	second.Close()
	third.Add(0, 1, nil, 5)
	if d := cmp.Diff(map[string]float64{"metric=orders,scenario=s": 5}, counters("perfd_custom_total")); d != "" {
		t.Errorf("orders without labels (-want +got):\n%s", d)
	}
	third.Close()
	r.Flush()
	var requests uint64
	for _, w := range windows {
		if w.Step == "visits" {
			requests += w.Requests
		}
	}
	if requests != 407 {
		t.Errorf("windows have %d visits, want all 407", requests)
	}
}
