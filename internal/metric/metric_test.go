package metric

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

func TestCatalogueIsLintFree(t *testing.T) {
	var families []*dto.MetricFamily
	for _, d := range All() {
		f := d.Family()
		m := &dto.Metric{}
		for _, l := range d.Labels {
			m.Label = append(m.Label, &dto.LabelPair{Name: new(l), Value: new("x")})
		}
		f.Metric = []*dto.Metric{m}
		families = append(families, f)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestCatalogueKeepsItsOwnRules(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range All() {
		if seen[d.Name] {
			t.Errorf("%s is described twice", d.Name)
		}
		seen[d.Name] = true
		if !strings.HasPrefix(d.Name, "perfd_") {
			t.Errorf("%s: name does not begin with perfd_", d.Name)
		}
		stem := strings.TrimSuffix(d.Name, "_total")
		if d.Unit != "" && !strings.HasSuffix(stem, "_"+d.Unit) {
			t.Errorf("%s: name does not end with its unit, %s", d.Name, d.Unit)
		}
		if d.Type == Histogram && d.Unit != seconds && d != CustomNumbers { // whose unit is that of each of its metrics
			t.Errorf("%s: unit = %q, want every histogram in seconds", d.Name, d.Unit)
		}
		if !strings.HasSuffix(d.Help, ".") {
			t.Errorf("%s: help %q is no sentence", d.Name, d.Help)
		}
		labels := make(map[string]bool)
		for _, l := range d.Labels {
			if labels[l] {
				t.Errorf("%s: label %s twice", d.Name, l)
			}
			labels[l] = true
		}
	}
}

func TestDocumentIsGenerated(t *testing.T) {
	const path = "../../docs/metrics.md"
	want := Markdown()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make docs writes it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not what make docs writes (-want +got):\n%s", diff)
	}
}

func TestMarkdownListsEveryMetric(t *testing.T) {
	page := string(Markdown())
	for _, d := range All() {
		if n := strings.Count(page, "| `"+d.Name+"` | "+d.Type.String()+" |"); n != 1 {
			t.Errorf("Markdown() lists %s %d times, want once", d.Name, n)
		}
	}
}

func TestVectorsCarryTheDescription(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	Runs.CounterVec(r).WithLabelValues("soak", "pass").Add(2)
	VUs.GaugeVec(r).WithLabelValues("soak").Set(3)
	Paused.Gauge(r).Set(1)
	ConfigReloadSuccessful.GaugeFunc(r, func() float64 { return 1 })
	r.MustRegister(constant{prometheus.MustNewConstMetric(ShardInfo.Const(), prometheus.GaugeValue, 1, "0", "3")})
	const want = `
# HELP perfd_config_last_reload_successful Whether the last attempt to load the configuration succeeded.
# TYPE perfd_config_last_reload_successful gauge
perfd_config_last_reload_successful 1
# HELP perfd_paused 1 while all load is paused.
# TYPE perfd_paused gauge
perfd_paused 1
# HELP perfd_runs_total Runs that ended, by result.
# TYPE perfd_runs_total counter
perfd_runs_total{result="pass",scenario="soak"} 2
# HELP perfd_shard_info Which shard this instance is, of how many, always 1.
# TYPE perfd_shard_info gauge
perfd_shard_info{shard="0",shards="3"} 1
# HELP perfd_vus Virtual users that exist.
# TYPE perfd_vus gauge
perfd_vus{scenario="soak"} 3
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// constant is a collector of one metric.
type constant struct{ prometheus.Metric }

func (c constant) Describe(to chan<- *prometheus.Desc) { to <- c.Desc() }
func (c constant) Collect(to chan<- prometheus.Metric) { to <- c.Metric }

func TestCheckOwnLabel(t *testing.T) {
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{"team", "checkout", true},
		{"team", "", true},
		{"Team_2", "kühl & \"quoted\"\n", true},
		{"", "x", false},
		{"2nd", "x", false},
		{"cost-centre", "x", false},
		{"a.b", "x", false},
		{"__team", "x", false},
		{"scenario", "x", false},
		{"executor", "x", false},
		{"job", "x", false},
		{"le", "x", false},
		{"team", "\xff", false},
	} {
		if err := ScenarioInfo.CheckOwnLabel(c.name, c.value); (err == nil) != c.ok {
			t.Errorf("CheckOwnLabel(%q, %q) = %v, want ok %v", c.name, c.value, err, c.ok)
		}
	}
}
