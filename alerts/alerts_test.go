package alerts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/perfd/perfd/internal/metric"
)

type document struct{ Groups []group }

type group struct {
	Name     string
	Interval string
	Rules    []rule
}

type rule struct {
	Record, Alert, Expr string
	For                 string
	Keep                string `yaml:"keep_firing_for"`
	Labels, Annotations map[string]string
}

// read decodes a file of rules. An unknown key is an error.
func read(t *testing.T, text []byte) []group {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	var doc document
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc.Groups
}

func rules(t *testing.T, o Options) []File {
	t.Helper()
	files, err := Rules(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// alerting returns all alerts that are shipped.
func alerting(t *testing.T) (all []rule) {
	t.Helper()
	for _, f := range rules(t, Options{TimeScale: 1}) {
		for _, g := range read(t, f.Text) {
			for _, r := range g.Rules {
				if r.Alert != "" {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

var promql = parser.NewParser(parser.Options{})

func parse(t *testing.T, expr string) parser.Expr {
	t.Helper()
	e, err := promql.ParseExpr(expr)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, expr)
	}
	return e
}

// durations returns every duration of an expression in the order of its parts,
// and leaves zero in its place.
func durations(e parser.Expr) (all []time.Duration) {
	take := func(d *time.Duration) {
		all = append(all, *d)
		*d = 0
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.MatrixSelector:
			take(&n.Range)
		case *parser.SubqueryExpr:
			take(&n.Range)
			take(&n.Step)
			take(&n.OriginalOffset)
		case *parser.VectorSelector:
			take(&n.OriginalOffset)
		}
		return nil
	})
	return all
}

func TestScaleOfOneChangesNothing(t *testing.T) {
	for _, f := range rules(t, Options{TimeScale: 1}) {
		shipped, err := os.ReadFile(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if string(f.Text) != string(shipped) {
			t.Errorf("%s is not what is shipped", f.Name)
		}
	}
}

// The real parser says what was scaled: every duration of every expression and
// field, and nothing else.
func TestScaleDividesEveryDurationAndNothingElse(t *testing.T) {
	const n = 20
	shipped, fast := rules(t, Options{TimeScale: 1}), rules(t, Options{TimeScale: n})
	for i, f := range fast {
		want, got := read(t, shipped[i].Text), read(t, f.Text)
		for j := range want {
			divideFields(t, n, &want[j].Interval)
			for k := range want[j].Rules {
				w, g := &want[j].Rules[k], &got[j].Rules[k]
				divideFields(t, n, &w.For, &w.Keep)
				before, after := parse(t, w.Expr), parse(t, g.Expr)
				all := durations(before)
				for d := range all {
					all[d] /= n
				}
				if diff := cmp.Diff(all, durations(after)); diff != "" {
					t.Errorf("%s, %s: durations (-want +got):\n%s", f.Name, w.Alert+w.Record, diff)
				}
				w.Expr, g.Expr = before.String(), after.String()
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.Name, diff)
		}
	}
}

func divideFields(t *testing.T, n time.Duration, fields ...*string) {
	t.Helper()
	for _, f := range fields {
		if *f == "" {
			continue
		}
		d, err := model.ParseDuration(*f)
		if err != nil {
			t.Fatal(err)
		}
		*f = (d / model.Duration(n)).String()
	}
}

func TestScaleExpr(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"range", `rate(x[5m])`, `rate(x[30s])`},
		{"offset", `x[1h] OFFSET 1d`, `x[6m] OFFSET 2h24m`},
		{"negative offset", `x offset -5m`, `x offset -30s`},
		{"subquery", `max_over_time(x[1h:5m])`, `max_over_time(x[6m:30s])`},
		{"subquery without a step", `max_over_time(x[1h:])`, `max_over_time(x[6m:])`},
		{"label values", `x{window="5m",b='[5m]',c="a\"[5m]"}[5m]`, `x{window="5m",b='[5m]',c="a\"[5m]"}[30s]`},
		{"comment", "x[5m] # of [5m] offset 5m\n+ y[5m]", "x[30s] # of [5m] offset 5m\n+ y[30s]"},
		{"names and numbers", `a:b:rate5m * 3600 > time_offset`, `a:b:rate5m * 3600 > time_offset`},
		{"milliseconds", `x[15s]`, `x[1s500ms]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := scaleExpr(c.in, 10)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("scaleExpr(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
	for _, in := range []string{`x[5m`, `x[five]`, `x offset (5m)`} {
		if got, err := scaleExpr(in, 10); err == nil {
			t.Errorf("scaleExpr(%q) = %q, want an error", in, got)
		}
	}
}

func TestScaleReadsFieldsAndNotWhatLooksLikeThem(t *testing.T) {
	const in = `groups:
  - name: a
    interval: 1m
    rules:
      # for: 5m
      - alert: A
        expr: x[5m] > 1
        for: 10m
        annotations:
          description: >-
            for: 5m
            x[5m]
          summary: x[5m]
`
	const want = `groups:
  - name: a
    interval: 6s
    rules:
      # for: 5m
      - alert: A
        expr: x[30s] > 1
        for: 1m
        annotations:
          description: >-
            for: 5m
            x[5m]
          summary: x[5m]
`
	got, err := scale([]byte(in), 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("scale (-want +got):\n%s", diff)
	}
}

func TestOneFileAndManifestHoldAllGroups(t *testing.T) {
	files := rules(t, Options{TimeScale: 1})
	var want []group
	for _, f := range files {
		want = append(want, read(t, f.Text)...)
	}
	if diff := cmp.Diff(want, read(t, One(files))); diff != "" {
		t.Errorf("One (-want +got):\n%s", diff)
	}
	var m struct {
		Kind string
		Spec document
	}
	if err := yaml.Unmarshal(Kubernetes(files), &m); err != nil {
		t.Fatal(err)
	}
	if m.Kind != "PrometheusRule" {
		t.Errorf("kind = %q, want PrometheusRule", m.Kind)
	}
	if diff := cmp.Diff(want, m.Spec.Groups); diff != "" {
		t.Errorf("Kubernetes (-want +got):\n%s", diff)
	}
}

func TestLinksLeadWhereTheyAreToldTo(t *testing.T) {
	files := rules(t, Options{TimeScale: 1, Grafana: "https://grafana.example.com", Runbooks: "https://wiki.example.com/perfd"})
	n := 0
	for _, f := range files {
		for _, g := range read(t, f.Text) {
			for _, r := range g.Rules {
				if r.Alert == "" {
					continue
				}
				n++
				if u, want := r.Annotations["runbook_url"], "https://wiki.example.com/perfd/"+r.Alert+".md"; u != want {
					t.Errorf("runbook_url = %q, want %q", u, want)
				}
				if u := r.Annotations["dashboard_url"]; !strings.HasPrefix(u, "https://grafana.example.com/d/perfd-") {
					t.Errorf("dashboard_url = %q", u)
				}
			}
		}
	}
	if n != len(Runbooks()) {
		t.Errorf("%d alerts, %d runbooks", n, len(Runbooks()))
	}
}

func TestRunbook(t *testing.T) {
	for _, name := range Runbooks() {
		if text, err := Runbook(name); err != nil || !strings.HasPrefix(string(text), "# "+name+"\n") {
			t.Errorf("Runbook(%s) = %.40q, %v", name, text, err)
		}
	}
	if _, err := Runbook("../alerts"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the runbook of no alert: %v", err)
	}
}

// A time that nobody explains is a time that nobody dares to change.
func TestForAndKeepFiringForAreExplained(t *testing.T) {
	key := regexp.MustCompile(`^ +(for|keep_firing_for): `)
	for _, f := range rules(t, Options{TimeScale: 1}) {
		lines := strings.Split(string(f.Text), "\n")
		for i, l := range lines {
			if key.MatchString(l) && !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "# ") {
				t.Errorf("%s:%d: no comment above %s", f.Name, i+1, strings.TrimSpace(l))
			}
		}
	}
}

// What a person who is woken needs.
func TestEveryAlertIsComplete(t *testing.T) {
	severities := []string{"critical", "warning", "info", "{{ $labels.severity }}"}
	concerns := []string{"sla", "latency", "validity", "target", "load", "leak", "self"}
	sections := []string{"What it means", "First three looks", "Likely causes", "How to act", "How to silence"}
	for _, r := range alerting(t) {
		t.Run(r.Alert, func(t *testing.T) {
			if !strings.HasPrefix(r.Alert, "Perfd") {
				t.Error("its name does not begin with Perfd")
			}
			if s := r.Labels["severity"]; !slices.Contains(severities, s) {
				t.Errorf("severity = %q, want one of %q", s, severities)
			}
			if c := r.Labels["concern"]; !slices.Contains(concerns, c) {
				t.Errorf("concern = %q, want one of %q", c, concerns)
			}
			if r.For == "" || r.Keep == "" {
				t.Errorf("for = %q, keep_firing_for = %q, want both", r.For, r.Keep)
			}
			if s := r.Annotations["summary"]; !strings.Contains(s, "$labels.") || strings.HasSuffix(s, ".") || strings.Contains(s, "\n") {
				t.Errorf("summary = %q, want a line that names what it is about", s)
			}
			if d := r.Annotations["description"]; !strings.Contains(d, "$labels.") {
				t.Errorf("description = %q, want one that names what it is about", d)
			}
			if got, want := r.Annotations["runbook_url"], "https://github.com/perfd/perfd/blob/main/alerts/runbooks/"+r.Alert+".md"; got != want {
				t.Errorf("runbook_url = %q, want %q", got, want)
			}
			if u := r.Annotations["dashboard_url"]; !strings.HasPrefix(u, "/d/perfd-") {
				t.Errorf("dashboard_url = %q, want a dashboard's path", u)
			}
			text, err := os.ReadFile(filepath.Join("runbooks", r.Alert+".md"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(text), -1) {
				got = append(got, m[1])
			}
			if diff := cmp.Diff(sections, got); diff != "" {
				t.Errorf("sections of the runbook (-want +got):\n%s", diff)
			}
			if n := len(queries(string(text))); n != 3 {
				t.Errorf("%d queries in the runbook, want 3", n)
			}
		})
	}
}

func TestEveryRunbookHasItsAlert(t *testing.T) {
	var want, got []string
	for _, r := range alerting(t) {
		want = append(want, filepath.Join("runbooks", r.Alert+".md"))
	}
	got, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runbooks (-want +got):\n%s", diff)
	}
}

// Every alert needs a dashboard that is there.
func TestDashboardLinksLeadSomewhere(t *testing.T) {
	for _, r := range alerting(t) {
		uid := regexp.MustCompile(`^/d/(perfd-[a-z]+)\?`).FindStringSubmatch(r.Annotations["dashboard_url"])
		if uid == nil {
			t.Errorf("%s: dashboard_url = %q, want one with a uid and variables", r.Alert, r.Annotations["dashboard_url"])
			continue
		}
		if _, err := os.Stat(filepath.Join("..", "dashboards", strings.TrimPrefix(uid[1], "perfd-")+".json")); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
}

// PerfdMaintenance and PerfdEverythingFails have to arrive before what they inhibit.
func TestWhatIsInhibitedWaits(t *testing.T) {
	for _, r := range alerting(t) {
		wait, err := model.ParseDuration(r.For)
		if err != nil {
			t.Fatal(err)
		}
		switch c := r.Labels["concern"]; {
		case r.Alert == "PerfdMaintenance", r.Alert == "PerfdEverythingFails":
			if wait != 0 {
				t.Errorf("%s: for %s, want 0s", r.Alert, r.For)
			}
		case (c == "sla" || c == "latency") && time.Duration(wait) < time.Minute:
			t.Errorf("%s waits for %s, want at least 1m", r.Alert, r.For)
		}
	}
}

// Alertmanager inhibits by scenario: an alert about load that has none is never
// inhibited, and one that lost it would be by every other one that has none.
func TestAlertsAboutLoadKeepScenario(t *testing.T) {
	for _, r := range alerting(t) {
		switch r.Labels["concern"] {
		case "leak", "self":
		default:
			if !strings.Contains(r.Expr, "on (job, scenario) group_left (team") {
				t.Errorf("%s is not joined with its scenario", r.Alert)
			}
		}
	}
}

// A unitTest is what is read of a file for promtool.
type unitTest struct {
	Tests []struct {
		Name   string
		Alerts []struct {
			Alertname string
			Expected  []any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// An alert that never fires in a test may never fire; one that always does may
// always fire.
func TestEveryAlertFiresInOneTestAndNotInAnother(t *testing.T) {
	files, err := filepath.Glob("tests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var u unitTest
		if err := yaml.Unmarshal(text, &u); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for _, one := range u.Tests {
			all := map[string]bool{} // whether it fires at any time of the test
			for _, a := range one.Alerts {
				all[a.Alertname] = all[a.Alertname] || len(a.Expected) > 0
			}
			for name, fired := range all {
				if fired {
					fires[name] = true
				} else {
					silent[name] = true
				}
			}
		}
	}
	for _, r := range alerting(t) {
		if !fires[r.Alert] {
			t.Errorf("%s fires in no test", r.Alert)
		}
		if !silent[r.Alert] {
			t.Errorf("%s has no test in which it must not fire", r.Alert)
		}
	}
}

// queries returns the PromQL of a runbook, its variables filled in.
func queries(text string) (all []string) {
	for _, m := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// Every metric that rules, annotations and runbooks name is in the catalogue,
// with the labels that they ask of it.
func TestMetricsAreInTheCatalogue(t *testing.T) {
	known := map[string][]string{ // what client_golang and Prometheus add
		"go_gc_heap_live_bytes": nil, "go_goroutines": nil, "process_start_time_seconds": nil, "process_cpu_seconds_total": nil, "up": nil,
	}
	every := []string{"job", "instance", "pod", "team", "le"}
	for _, d := range metric.All() {
		known[d.Name] = d.Labels
		if d.Type == metric.Histogram {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				known[d.Name+suffix] = append(slices.Clone(d.Labels), "le")
			}
		}
		every = append(every, d.Labels...)
	}
	var places []struct{ where, expr string }
	place := func(where, expr string) { places = append(places, struct{ where, expr string }{where, expr}) }
	printed := regexp.MustCompile(`printf ("(?:[^"\\]|\\.)*")`)
	for _, f := range rules(t, Options{TimeScale: 1}) {
		for _, g := range read(t, f.Text) {
			for _, r := range g.Rules {
				name := r.Alert + r.Record
				place(f.Name+": "+name, r.Expr)
				if r.Record != "" {
					var labels []string
					parser.Inspect(parse(t, r.Expr), func(n parser.Node, _ []parser.Node) error {
						if v, ok := n.(*parser.VectorSelector); ok {
							labels = append(labels, known[v.Name]...)
						}
						return nil
					})
					known[r.Record] = labels
				}
				for _, a := range r.Annotations {
					for _, m := range printed.FindAllStringSubmatch(a, -1) {
						if q := strings.NewReplacer(`\"`, `"`, "%q", `"x"`).Replace(strings.Trim(m[1], `"`)); strings.Contains(q, "{") {
							place(f.Name+": annotation of "+name, q)
						}
					}
				}
			}
		}
	}
	books, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range books {
		text, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queries(string(text)) {
			place(b, q)
		}
	}
	if len(places) < 100 {
		t.Fatalf("%d expressions, want those of all rules and runbooks", len(places))
	}
	for _, p := range places {
		parser.Inspect(parse(t, p.expr), func(n parser.Node, _ []parser.Node) error {
			switch n := n.(type) {
			case *parser.VectorSelector:
				has, ok := known[n.Name]
				if !ok {
					t.Errorf("%s: no metric %s", p.where, n.Name)
				}
				for _, m := range n.LabelMatchers {
					if l := m.Name; l != model.MetricNameLabel && l != "job" && l != "instance" && !slices.Contains(has, l) {
						t.Errorf("%s: %s has no label %s", p.where, n.Name, l)
					}
				}
			case *parser.AggregateExpr:
				unknown(t, p.where, every, n.Grouping)
			case *parser.BinaryExpr:
				if n.VectorMatching != nil {
					unknown(t, p.where, every, n.VectorMatching.MatchingLabels)
					unknown(t, p.where, every, n.VectorMatching.Include)
				}
			}
			return nil
		})
	}
}

func unknown(t *testing.T, where string, every, labels []string) {
	t.Helper()
	for _, l := range labels {
		if !slices.Contains(every, l) {
			t.Errorf("%s: no metric has a label %s", where, l)
		}
	}
}

// What the example for Alertmanager names must exist, or it inhibits nothing in silence.
func TestAlertmanagerNamesAlerts(t *testing.T) {
	text, err := os.ReadFile("alertmanager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range alerting(t) {
		names = append(names, r.Alert)
	}
	found := 0
	for _, m := range regexp.MustCompile(`alertname=~?"([A-Za-z|]+)"`).FindAllStringSubmatch(string(text), -1) {
		for n := range strings.SplitSeq(m[1], "|") {
			found++
			if !slices.Contains(names, n) {
				t.Errorf("alertmanager.yaml names %s, which is no alert", n)
			}
		}
	}
	if found == 0 {
		t.Error("alertmanager.yaml names no alert")
	}
}

func TestRulesSayWhatIsWrong(t *testing.T) {
	for _, n := range []float64{0, -1, 1e9} {
		if _, err := Rules(Options{TimeScale: n}); err == nil {
			t.Errorf("Rules with a time scale of %v: no error", n)
		}
	}
}

func TestLinksBeginWithTheAddressOfGrafana(t *testing.T) {
	for _, f := range rules(t, Options{TimeScale: 1, Grafana: "https://grafana.example.com"}) {
		for _, g := range read(t, f.Text) {
			for _, r := range g.Rules {
				if u := r.Annotations["dashboard_url"]; r.Alert != "" && !strings.HasPrefix(u, "https://grafana.example.com/d/") {
					t.Errorf("%s: dashboard_url = %q, want one with the address", r.Alert, u)
				}
			}
		}
	}
}
