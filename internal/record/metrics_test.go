package record

import (
	"testing"

	"github.com/perfd/perfd/internal/load"
)

// Metrics of a scenario's own go on counting over another opening, are no requests, and cost nothing to add to.
func TestMetricsOfAScenariosOwn(t *testing.T) {
	r := New(Options{})
	info := Scenario{Name: "s", Steps: []Series{{Step: "get", Target: "t", Protocol: "http"}}}
	for _, kind := range []string{"counter", "rate", "gauge", "trend"} {
		info.Steps = append(info.Steps, Series{Step: "my_" + kind, Target: "t", Protocol: load.GroupProtocol, Group: true, Metric: kind})
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
		first.Add(vu, 1, 1.5)
		first.Add(vu, 2, float64(vu%4)/3)
		first.Add(vu, 3, float64(vu))
		first.Add(vu, 4, 0.25)
	}
	second := open(t, r, info)
	first.Close()
	second.Add(0, 1, 2)
	second.Add(5, 3, 3)
	second.Add(0, 3, -4)
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
	if n := testing.AllocsPerRun(100, func() { second.Add(1, 4, 0.25); second.Add(1, 3, 1) }); n > 0 {
		t.Errorf("a value allocates %v times, want 0", n)
	}
	second.Close()
}
