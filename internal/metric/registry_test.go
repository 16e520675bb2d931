package metric

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gathered returns the values of what a registry gathers by name and label values.
func gathered(t *testing.T, r *Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	last := ""
	for _, f := range families {
		if f.GetName() <= last {
			t.Errorf("family %s follows %s, want them sorted", f.GetName(), last)
		}
		last = f.GetName()
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += " " + l.GetValue()
			}
			values[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

func TestWhatCannotBeExposedIsLeftOutAndCounted(t *testing.T) {
	stranger := &Desc{Name: "toy_stranger", Help: "Described nowhere."}
	plugIn := &Desc{Name: "toy_known", Help: "Described by a plug-in."}
	type call func(send Send, ch chan<- prometheus.Metric)
	for _, c := range []struct {
		name    string
		collect call
		reason  Drop
	}{
		{"unregistered", func(send Send, _ chan<- prometheus.Metric) { send(stranger, 1) }, Unregistered},
		{"no descriptor", func(send Send, _ chan<- prometheus.Metric) { send(nil, 1) }, Unregistered},
		{"a label too few", func(send Send, _ chan<- prometheus.Metric) { send(VUs, 1) }, Labels},
		{"a label too many", func(send Send, _ chan<- prometheus.Metric) { send(Paused, 1, "x") }, Labels},
		{"a label that is no UTF-8", func(send Send, _ chan<- prometheus.Metric) { send(VUs, 1, "\xff") }, Labels},
		{"a series twice", func(send Send, _ chan<- prometheus.Metric) { send(VUs, 1, "soak"); send(VUs, 2, "soak") }, Duplicate},
		{"a histogram as a value", func(send Send, _ chan<- prometheus.Metric) { send(RequestDuration, 1, "a", "b") }, Malformed},
		{"a metric that cannot be written", func(_ Send, ch chan<- prometheus.Metric) { ch <- broken{VUs.Const()} }, Malformed},
		{"a panic", func(Send, chan<- prometheus.Metric) { panic("collector") }, Panicked},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewRegistry(nil, plugIn)
			r.Add(c.collect)
			r.Add(func(send Send, _ chan<- prometheus.Metric) {
				send(plugIn, 7)
				send(ShardInfo, 1, "0", "3")
			})
			for scrape := 1; scrape <= 2; scrape++ {
				got := gathered(t, r)
				if got["toy_known"] != 7 || got["perfd_shard_info 0 3"] != 1 {
					t.Errorf("gathered %v, want what another collector sends", got)
				}
				if _, there := got["toy_stranger"]; there {
					t.Error("an unregistered metric is exposed")
				}
				for reason := range numDrops {
					want := 0.0
					if reason == c.reason {
						want = float64(scrape)
					}
					if n, there := got["perfd_metrics_dropped_total "+reason.String()]; n != want || !there {
						t.Errorf("scrape %d: %v dropped as %s, want %v", scrape, n, reason, want)
					}
				}
			}
		})
	}
}

// broken is a metric of client_golang that cannot be written.
type broken struct{ desc *prometheus.Desc }

func (b broken) Desc() *prometheus.Desc  { return b.desc }
func (b broken) Write(*dto.Metric) error { return fmt.Errorf("broken") }

// A panic of a collector of client_golang costs only what it had not sent.
func TestACollectorThatPanics(t *testing.T) {
	r := NewRegistry(nil)
	r.MustRegister(panics{})
	got := gathered(t, r)
	if got["perfd_paused"] != 1 || got["perfd_metrics_dropped_total panic"] != 1 {
		t.Errorf("gathered %v, want what was sent before the panic, and the panic counted", got)
	}
}

type panics struct{}

var pausedDesc = Paused.Const()

func (panics) Describe(ch chan<- *prometheus.Desc) { ch <- pausedDesc }
func (panics) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(pausedDesc, prometheus.GaugeValue, 1)
	panic("collector")
}

// A metric that fails at every scrape is one bounded line a minute.
func TestDropsAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := NewRegistry(slog.New(slog.NewTextHandler(&log, nil)))
		long := &Desc{Name: "toy_" + strings.Repeat("long", 1000)}
		r.Add(func(send Send, _ chan<- prometheus.Metric) {
			send(long, 1)
			send(VUs, 1)
		})
		for range 150 {
			gathered(t, r)
			time.Sleep(time.Second)
		}
		for _, reason := range []string{"unregistered", "labels"} {
			if n := strings.Count(log.String(), "reason="+reason); n != 3 {
				t.Errorf("%d lines about %s in 150 s, want 3", n, reason)
			}
		}
		if log.Len() > 6*2*longestComplaint {
			t.Errorf("the log has %d bytes", log.Len())
		}
		if !strings.Contains(log.String(), "perfd_vus") {
			t.Errorf("the log does not name the metric:\n%s", log.String())
		}
	})
}
