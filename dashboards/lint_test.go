package dashboards_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/perfd/perfd/dashboards/build"
	"github.com/perfd/perfd/dashboards/dashboardstest"
	"github.com/perfd/perfd/internal/metric"
)

// The rules are those of Grafana's public dashboard linter, as its documentation
// tells them, and what dashboards are blamed for most: see README.md.
func TestLint(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range dashboardstest.Read(t) {
		t.Run(d.Name, func(t *testing.T) {
			for _, complaint := range lint(d) {
				t.Error(complaint)
			}
			if uids[d.UID] {
				t.Errorf("uid %s is taken", d.UID)
			}
			uids[d.UID] = true
		})
	}
	if len(uids) != 6 {
		t.Errorf("linted %d dashboards, want 6", len(uids))
	}
}

// fixedWindow lists the panels whose rates have windows of their own, with the reason.
var fixedWindow = map[string]string{
	"1 hour and 5 minutes":   "the windows are those of the alert",
	"6 hours and 30 minutes": "the windows are those of the alert",
	"3 days":                 "the window is that of the alert",
	"Missed runs":            "counts what happened in the time shown",
	"Running":                "counts what happened in the time shown",
}

var unnamed = regexp.MustCompile(`"(uid|datasourceUid)": "(-- Grafana --|[^"$][^"]*)"`)

func lint(d dashboardstest.Dashboard) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }

	if !strings.HasPrefix(d.UID, "perfd-") || len(d.UID) > 40 {
		complain("uid %q: want perfd-…, 40 characters at most", d.UID)
	}
	if d.Title == "" || d.Description == "" || !strings.Contains(d.Description, "?") {
		complain("want a title, and a description that says the question")
	}
	if d.Editable || d.ID != nil || d.SchemaVersion != build.SchemaVersion || !slices.Contains(d.Tags, "perfd") {
		complain("want editable: false, id: null, schema version %d and the tag perfd", build.SchemaVersion)
	}
	if strings.Contains(d.Text, "__inputs") || strings.Contains(d.Text, "${DS_") {
		complain("__inputs do not work where files are provisioned")
	}
	for _, m := range unnamed.FindAllStringSubmatch(d.Text, -1) {
		if m[2] != d.UID {
			complain("a data source is named by its uid %s", m[2])
		}
	}
	complaints = append(complaints, lintVariables(d)...)
	for _, a := range d.Annotations.List {
		if a.Datasource.UID != "${datasource}" || a.TitleFormat == "" {
			complain("annotation %s: want the variable datasource and a title", a.Name)
		}
		for _, c := range lintQuery(a.Expr, sample(d, "classic"), true) {
			complain("annotation %s: %s", a.Name, c)
		}
	}
	return append(complaints, lintPanels(d)...)
}

func lintVariables(d dashboardstest.Dashboard) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	names := map[string]build.Variable{}
	for _, v := range d.Templating.List {
		if _, twice := names[v.Name]; twice || v.Label == "" {
			complain("variable %s: want it once and with a label", v.Name)
		}
		names[v.Name] = v
		if v.Type != "query" {
			continue
		}
		if v.Refresh != 2 || v.Datasource == nil || v.Datasource.UID != "${datasource}" {
			complain("variable %s: want the variable datasource, and to be asked again with the time range", v.Name)
		}
		for _, c := range lintQuery(dashboardstest.Asked(v.Definition), sample(d, "classic"), false) {
			complain("variable %s: %s", v.Name, c)
		}
	}
	if v := names["datasource"]; v.Type != "datasource" || v.Query != "prometheus" || v.Label != "Data source" {
		complain("want a variable datasource for a Prometheus, labelled Data source")
	}
	for _, name := range []string{"job", "instance"} {
		if v := names[name]; v.Type != "query" || !v.Multi || v.AllValue != ".*" {
			complain("want a variable %s of many values, whose All is .*", name)
		}
	}
	for name := range names {
		if strings.Count(d.Text, "$"+name)+strings.Count(d.Text, "${"+name) == 0 {
			complain("variable %s is used by nothing", name)
		}
	}
	return complaints
}

var units = []string{"none", "short", "s", "bytes", "Bps", "reqps", "percentunit", "dateTimeAsIso"}

func lintPanels(d dashboardstest.Dashboard) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	ids, taken, titles := map[int]bool{}, map[[2]int]string{}, map[string]bool{}
	for _, p := range d.Panels {
		at := fmt.Sprintf("panel %d %q", p.ID, p.Title)
		if p.ID <= 0 || ids[p.ID] {
			complain("%s: the id is taken", at)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X < 0 || g.X+g.W > 24 {
			complain("%s: does not fit the grid: %+v", at, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					complain("%s: overlaps %s", at, other)
				}
				taken[[2]int{x, y}] = at
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || titles[p.Title] || !strings.HasSuffix(p.Description, ".") {
			complain("%s: want a title of its own, and a sentence that describes it", at)
		}
		titles[p.Title] = true
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" {
			complain("%s: want the variable datasource", at)
		}
		if p.FieldConfig == nil || !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
			complain("%s: want a unit of %v", at, units)
		}
		if len(p.Targets) == 0 {
			complain("%s: has no query", at)
		}
		for _, q := range p.Targets {
			if q.Datasource.UID != "${datasource}" || q.Instant == q.Range {
				complain("%s %s: want the variable datasource, and one of instant and range", at, q.RefID)
			}
			for _, buckets := range []string{"classic", "native"} {
				for _, c := range lintQuery(q.Expr, sample(d, buckets), fixedWindow[p.Title] != "") {
					complain("%s %s, %s: %s", at, q.RefID, buckets, c)
				}
			}
		}
	}
	return complaints
}

// sample is a value for each variable of a dashboard, told apart from what a query says itself.
func sample(d dashboardstest.Dashboard, histograms string) map[string]string {
	values := map[string]string{"__rate_interval": "61s", "__interval": "15s", "__range": "62m"}
	for _, v := range d.Templating.List {
		values[v.Name] = "of-" + v.Name
		for _, o := range v.Options {
			if o.Text == histograms {
				values[v.Name] = o.Value
			}
		}
	}
	return values
}

// lintQuery says what is wrong with a query. Windows of rates must be
// $__rate_interval unless they are fixed for a reason.
func lintQuery(query string, values map[string]string, fixed bool) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	text, missing := dashboardstest.Fill(query, values)
	if len(missing) > 0 {
		return []string{fmt.Sprintf("there is no variable %v", missing)}
	}
	e, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return []string{fmt.Sprintf("%v in %s", err, text)}
	}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			for _, c := range lintSelector(n, values) {
				complain("%s in %s", c, text)
			}
			if d := described(n.Name); d != nil && d.Type != metric.Gauge && !aggregated(path) {
				complain("%s counts and is neither under a rate nor added up, in %s", n.Name, text)
			}
		case *parser.Call:
			if !slices.Contains([]string{"rate", "irate", "increase"}, n.Func.Name) {
				break
			}
			if m, ok := n.Args[0].(*parser.MatrixSelector); !ok || !fixed && m.Range.String() != "1m1s" {
				complain("%s: want a window of $__rate_interval", n)
			}
			if v := n.Args[0].(*parser.MatrixSelector).VectorSelector.(*parser.VectorSelector); described(v.Name) != nil && described(v.Name).Type == metric.Gauge {
				complain("%s: a gauge has no rate", n)
			}
		}
		return nil
	})
	if len(complaints) == 0 {
		complaints = lintNames(e, text)
	}
	return complaints
}

// aggregated reports whether a selector is under a rate, and the rate under an aggregation.
func aggregated(path []parser.Node) bool {
	rated := false
	for _, n := range slices.Backward(path) {
		switch n := n.(type) {
		case *parser.Call:
			rated = rated || slices.Contains([]string{"rate", "irate", "increase"}, n.Func.Name)
		case *parser.AggregateExpr:
			if rated {
				return true
			}
		}
	}
	return false
}

func lintSelector(v *parser.VectorSelector, values map[string]string) (complaints []string) {
	for _, name := range []string{"job", "instance"} {
		if values[name] == "" {
			continue
		}
		own := name == "job" && v.Name == "perfd_build_info" || v.Name == "perfd_build_info" && !hasMatcher(v, "instance")
		if !own && !slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name == name && m.Type == labels.MatchRegexp && m.Value == "of-"+name
		}) {
			complaints = append(complaints, fmt.Sprintf("%s: no matcher %s=~\"$%s\"", v, name, name))
		}
	}
	if strings.HasPrefix(v.Name, "go_") || strings.HasPrefix(v.Name, "process_") {
		return complaints
	}
	d := described(v.Name)
	if d == nil {
		return append(complaints, fmt.Sprintf("no metric of perfd is called %s", v.Name))
	}
	for _, m := range v.LabelMatchers {
		if !slices.Contains(append([]string{"job", "instance", "__name__"}, d.Labels...), m.Name) {
			complaints = append(complaints, fmt.Sprintf("%s has no label %s", v.Name, m.Name))
		}
	}
	return complaints
}

func hasMatcher(v *parser.VectorSelector, name string) bool {
	return slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == name })
}

// described is the metric of perfd's catalogue that a series belongs to, nil if there is none.
func described(name string) *metric.Desc {
	for _, d := range metric.All() {
		if d.Name == name || d.Type == metric.Histogram && name == d.Name+"_bucket" {
			return d
		}
	}
	return nil
}

// lintNames holds every label by which results are grouped or joined against the
// labels of the metrics below.
func lintNames(e parser.Expr, text string) (complaints []string) {
	check := func(grouping []string, below ...parser.Node) {
		have := map[string]bool{"job": true, "instance": true, "le": true}
		for _, n := range below {
			maps.Copy(have, labelsBelow(n))
		}
		for _, l := range grouping {
			if !have[l] {
				complaints = append(complaints, fmt.Sprintf("nothing below has a label %s in %s", l, text))
			}
		}
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			check(n.Grouping, n.Expr)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				check(slices.Concat(n.VectorMatching.MatchingLabels, n.VectorMatching.Include), n.LHS, n.RHS)
			}
		}
		return nil
	})
	return complaints
}

func labelsBelow(n parser.Node) map[string]bool {
	have := map[string]bool{}
	parser.Inspect(n, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			if d := described(v.Name); d != nil {
				for _, l := range d.Labels {
					have[l] = true
				}
			}
		}
		return nil
	})
	return have
}

func TestLintFindsWhatIsWrong(t *testing.T) {
	const own = `job=~"$job", instance=~"$instance"`
	values := map[string]string{"job": "of-job", "instance": "of-instance", "seconds": "seconds_bucket", "__rate_interval": "61s"}
	for _, c := range []struct{ name, query, want string }{
		{"fine", `sum by (step) (rate(perfd_requests_total{` + own + `}[$__rate_interval]))`, ""},
		{"fine too", `histogram_quantile(0.9, sum by (le) (rate(perfd_response_time_${seconds}{` + own + `}[$__rate_interval])))`, ""},
		{"no PromQL", `sum(`, "parse error"},
		{"a variable that is not there", `perfd_vus{` + own + `, scenario="$scenario"}`, "no variable [scenario]"},
		{"no instance", `perfd_vus{job=~"$job"}`, `no matcher instance=~"$instance"`},
		{"one job", `perfd_vus{job="$job", instance=~"$instance"}`, `no matcher job=~"$job"`},
		{"a window of its own", `sum(rate(perfd_requests_total{` + own + `}[5m]))`, "want a window of $__rate_interval"},
		{"a counter as it is", `sum(perfd_requests_total{` + own + `})`, "neither under a rate nor added up"},
		{"a rate that is not added up", `rate(perfd_requests_total{` + own + `}[$__rate_interval])`, "neither under a rate nor added up"},
		{"the rate of a gauge", `sum(rate(perfd_vus{` + own + `}[$__rate_interval]))`, "a gauge has no rate"},
		{"a metric that is not there", `perfd_users{` + own + `}`, "no metric of perfd is called perfd_users"},
		{"a label that is not there", `perfd_vus{` + own + `, step="x"}`, "perfd_vus has no label step"},
		{"grouped by what is not there", `sum by (step) (perfd_vus{` + own + `})`, "nothing below has a label step"},
		{"joined on what is not there", `perfd_vus{` + own + `} * on (scenario) group_left (release) perfd_scenario_info{` + own + `}`, "nothing below has a label release"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(lintQuery(c.query, values, false), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("lintQuery(%s) = %q, want %q in it", c.query, got, c.want)
			}
		})
	}

	d := dashboardstest.Read(t)[0]
	d.Editable, d.Templating.List = true, d.Templating.List[1:]
	d.Panels = slices.Clone(d.Panels)
	d.Panels[2] = new(*d.Panels[1])
	d.Panels[2].Description, d.Panels[2].FieldConfig = "", &build.FieldConfig{Defaults: build.Field{Unit: "parsecs"}}
	got := strings.Join(lint(d), "\n")
	for _, want := range []string{"editable: false", "variable datasource for a Prometheus", "the id is taken", "overlaps", "title of its own", "want a unit"} {
		if !strings.Contains(got, want) {
			t.Errorf("lint of a spoilt dashboard does not complain of %q:\n%s", want, got)
		}
	}
}
