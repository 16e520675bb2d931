package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/perfd/perfd/dashboards/dashboardstest"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// For make previews, which draws what the queries returned.
var (
	previewResults = flag.String("previews.results", "", "folder to write the results of all dashboards' queries to")
	previewAfter   = flag.Duration("previews.after", 10*time.Minute, "time that the demo runs at least before its queries are asked; half of it is before a worse release")
)

// previewPatience bounds how long previews wait for what is to be found of the worse release: a busy machine excludes
// more of what is measured, and finds it later.
const previewPatience = 20 * time.Minute

// mayBeEmpty names queries, as dashboard/panel and reference, that have nothing
// to return from a demo of two minutes, and why.
var mayBeEmpty = map[string]string{
	"scenario.json/p95 of trends A":                     "the demo has no metrics of its own",
	"scenario.json/p95 of trends of numbers A":          "the demo has no metrics of its own",
	"scenario.json/Metrics of the scenario's own A":     "the demo has no metrics of its own",
	"scenario.json/Values left out A":                   "the demo has no metrics of its own",
	"sla.json/Rates and numbers A":                      "no objective of the demo is on a rate",
	"sla.json/Rates and numbers B":                      "no objective of the demo is on a rate",
	"sla.json/Rates and numbers C":                      "no objective of the demo is on a rate",
	"sla.json/Rates and numbers D":                      "no objective of the demo is on a rate",
	"sla.json/Rates and numbers E":                      "no objective of the demo is on a rate",
	"sla.json/Rates and numbers F":                      "no objective of the demo is on a rate",
	"overview.json/Regressions and changes A":           "no release is four minutes old",
	"releases.json/Regressions and changes A":           "no release is four minutes old",
	"overview.json/Leaks A":                             "nothing has leaked for minutes",
	"overview.json/Leaks B":                             "nothing has leaked for minutes",
	"endurance.json/Drift per day A":                    "no endurance run is long enough yet",
	"releases.json/Regressions and changes that hold A": "nothing is proven of a release of minutes",
	"endurance.json/Network A":                          "no resource of the demo is a network",
	"endurance.json/Network B":                          "no resource of the demo is a network",

	"scenario.json/Dropped arrivals A":                   "nothing is dropped",
	"self.json/Dropped arrivals A":                       "nothing is dropped",
	"self.json/Time disturbed A":                         "nothing disturbs the measurement",
	"scenario.json/Connections B":                        "connections live for five minutes",
	"scenario.json/Virtual users C":                      "only a closed workload plans virtual users",
	"scenario.json/Next run A":                           "a scenario that is always on has no next run",
	"endurance.json/Time to the limit A":                 "nothing grows",
	"releases.json/Change against the releases before A": "no release has been compared yet",

	"endurance.json/Resources E":               "a slope takes hours of readings",
	"endurance.json/Resources D":               "a slope takes hours of readings",
	"endurance.json/Resources F":               "no time to a limit is known before growth, or that there is none, is proven",
	"endurance.json/Memory: growth per hour A": "a slope takes hours of readings",
	"endurance.json/Memory: growth per hour B": "a slope takes hours of readings",
	"endurance.json/Memory: growth per hour C": "a slope takes hours of readings",
	"endurance.json/Items: growth per hour A":  "a slope takes hours of readings",
	"endurance.json/Items: growth per hour B":  "a slope takes hours of readings",
	"endurance.json/Items: growth per hour C":  "a slope takes hours of readings",
	"endurance.json/Memory in a day B":         "a slope takes hours of readings",

	"releases.json/Who is worse A":    "no scenario of the demo has a twin",
	"releases.json/Beside the twin A": "no scenario of the demo has a twin",
	"releases.json/Beside the twin B": "no scenario of the demo has a twin",
	"releases.json/Beside the twin C": "no scenario of the demo has a twin",

	"scenario.json/Messages A":                                "no step of the demo opens a stream",
	"scenario.json/p95 of what is timed of messages A":        "no step of the demo opens a stream",
	"scenario.json/p95 of what is timed of messages B":        "no step of the demo opens a stream",
	"scenario.json/p95 of what is timed of messages C":        "no step of the demo opens a stream",
	"scenario.json/p95 of what is timed of messages D":        "no step of the demo opens a stream",
	"scenario.json/p95 of what is timed of messages E":        "no step of the demo opens a stream",
	"scenario.json/p95 of what is timed of messages F":        "no step of the demo opens a stream",
	"scenario.json/Messages that are not as they should be A": "no step of the demo opens a stream",
	"scenario.json/Messages that are not as they should be B": "no step of the demo opens a stream",
	"scenario.json/Messages that are not as they should be C": "no step of the demo opens a stream",
	"scenario.json/Messages that are not as they should be D": "no step of the demo opens a stream",
	"scenario.json/Streams that ended A":                      "no step of the demo opens a stream",

	"scenario.json/p95 duration of groups A": "the demo has no groups",
	"scenario.json/Groups that failed A":     "the demo has no groups",
	"scenario.json/Rates A":                  "the demo has no metrics of its own",
	"scenario.json/Counters A":               "the demo has no metrics of its own",
	"scenario.json/Gauges A":                 "the demo has no metrics of its own",

	"self.json/Behind A":          "no remote write is configured",
	"self.json/Samples A":         "no remote write is configured",
	"self.json/Samples B":         "no remote write is configured",
	"self.json/Samples C":         "no remote write is configured",
	"self.json/Samples D":         "no remote write is configured",
	"self.json/Queue A":           "no remote write is configured",
	"self.json/Queue B":           "no remote write is configured",
	"self.json/Queue C":           "no remote write is configured",
	"self.json/Refused access A":  "no remote write is configured",
	"self.json/Spans A":           "tracing is off",
	"self.json/Spans B":           "tracing is off",
	"self.json/Spans that wait A": "tracing is off",
	"self.json/Spans that wait B": "tracing is off",
}

// Every query of every dashboard, with its variables filled in from what
// Prometheus knows, returns something: of a demo whose shop gets a slower
// release that fails more often.
func TestDashboardsShowWhatPrometheusHas(t *testing.T) {
	// Without the race detector, so that windows count on a busy machine too.
	binary, err := daemon.Build(within(t, 5*time.Minute), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.StartDemo(within(t, time.Minute), binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	watch(t, d)
	p := startPrometheus(t, pinned(t, "prometheus"), strings.TrimPrefix(d.URL, "http://"),
		"scrape_native_histograms: true", "always_scrape_classic_histograms: true")
	began := time.Now()
	until(t, d, time.Minute, atLeast(100, "perfd_requests_total"))
	worsen(t, d, worse)

	all := dashboardstest.Read(t)
	err = proc.Poll(within(t, 4*time.Minute), 5*time.Second, func() (bool, error) {
		a := asking{p, began, time.Now()}
		var empty []string
		for _, d := range all {
			for _, histograms := range []string{"classic", "native"} {
				got, err := a.ask(t.Context(), d, histograms)
				if err != nil {
					return false, err
				}
				empty = append(empty, got.empty(mayBeEmpty)...)
			}
		}
		if len(empty) > 0 {
			return false, proc.Pending("nothing is returned by\n" + strings.Join(slices.Compact(empty), "\n"))
		}
		return true, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// What make previews draws: a demo whose worse release breaks an objective, is a regression and leaks. It is drawn once
// Prometheus has all three, however long the machine takes for them, and whatever other panels show nothing.
func TestPreviews(t *testing.T) {
	if *previewResults == "" {
		t.Skip("make previews asks for it")
	}
	binary, err := daemon.Build(within(t, 15*time.Minute), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.StartDemo(within(t, 5*time.Minute), binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	watch(t, d)
	p := startPrometheus(t, pinned(t, "prometheus"), strings.TrimPrefix(d.URL, "http://"),
		"scrape_native_histograms: true", "always_scrape_classic_histograms: true")
	began := time.Now()
	time.Sleep(*previewAfter / 2)
	until(t, d, 5*time.Minute, atLeast(100, "perfd_requests_total"))
	worsen(t, d, broken)
	time.Sleep(*previewAfter / 2)
	err = proc.Poll(within(t, previewPatience), 5*time.Second, func() (bool, error) {
		a := asking{p, began, time.Now()}
		var missing []string
		for what, query := range found {
			got, err := a.get(t.Context(), query, nil, false)
			if err != nil {
				return false, err
			}
			if len(got) == 0 {
				missing = append(missing, what)
			}
		}
		if len(missing) > 0 {
			slices.Sort(missing)
			return false, proc.Pending("not found yet: " + strings.Join(missing, ", "))
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Second) // what was found last is a line, not a point
	a := asking{p, began, time.Now()}
	for _, d := range dashboardstest.Read(t) {
		got, err := a.ask(t.Context(), d, "native")
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*previewResults, d.Name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// found are queries that return something once what a preview is to show is found.
var found = map[string]string{
	"a broken objective": `perfd_objective_verdict{verdict="fail"} == 1`,
	"a regression":       `perfd_regression_suspected == 1`,
	"a leak":             `perfd_leak_suspected == 1`,
}

// Without exception, every query returns something where every series of the
// catalogue is there and every counter counts.
func TestEveryQueryFindsItsSeries(t *testing.T) {
	s := httptest.NewServer(newEverything())
	t.Cleanup(s.Close)
	began := time.Now()
	p := startPrometheus(t, pinned(t, "prometheus"), strings.TrimPrefix(s.URL, "http://"),
		"scrape_native_histograms: true", "always_scrape_classic_histograms: true")
	err := proc.Poll(within(t, time.Minute), time.Second, func() (bool, error) {
		a := asking{p, began, time.Now()}
		var empty []string
		for _, d := range dashboardstest.Read(t) {
			for _, histograms := range []string{"classic", "native"} {
				got, err := a.ask(t.Context(), d, histograms)
				if err != nil {
					return false, err
				}
				empty = append(empty, got.empty(nil)...)
				for _, m := range got.Marks {
					if len(m.Result) == 0 {
						empty = append(empty, d.Name+", annotation "+m.Name)
					}
				}
			}
		}
		if len(empty) > 0 {
			return false, proc.Pending("nothing is returned by\n" + strings.Join(slices.Compact(empty), "\n"))
		}
		return true, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// everything is a target that has every series of the catalogue. Each scrape, gauges are 1, counters count on and
// histograms observe.
type everything struct {
	count []func()
	serve http.Handler
}

// labelValues are values of labels that queries ask for by name; all others have one.
var labelValues = map[string][]string{
	"scenario": {"shop-soak"},
	"verdict":  {"pass", "fail", "inconclusive"},
	"unit":     {"seconds", "ratio", "per_second"},
	"window":   {"5m", "30m", "1h", "6h", "3d"},
}

func newEverything() *everything {
	e, r := &everything{}, client.NewRegistry()
	for _, d := range metric.All() {
		all := [][]string{{}}
		for _, l := range d.Labels {
			values := labelValues[l]
			if values == nil {
				values = []string{"a " + l}
			}
			if l == "step" && (d == metric.ObjectiveInfo || d == metric.TwinChange || d == metric.TwinChangeLower || d == metric.TwinChangeUpper) {
				values = []string{"", "a step"}
			}
			var longer [][]string
			for _, v := range values {
				for _, head := range all {
					longer = append(longer, append(slices.Clone(head), v))
				}
			}
			all = longer
		}
		var each func(values []string)
		switch d.Type {
		case metric.Gauge:
			g := d.GaugeVec(r)
			each = func(values []string) { g.WithLabelValues(values...).Set(1) }
		case metric.Counter:
			c := d.CounterVec(r)
			each = func(values []string) { c.WithLabelValues(values...).Inc() }
		case metric.Histogram:
			h := client.NewHistogramVec(client.HistogramOpts{Name: d.Name, Help: d.Help, NativeHistogramBucketFactor: 1.1, Buckets: client.DefBuckets}, d.Labels)
			r.MustRegister(h)
			each = func(values []string) { h.WithLabelValues(values...).Observe(0.1) }
		}
		e.count = append(e.count, func() {
			for _, values := range all {
				each(values)
			}
		})
	}
	r.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC, collectors.MetricsScheduler)))
	e.serve = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	return e
}

func (e *everything) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, count := range e.count {
		count()
	}
	e.serve.ServeHTTP(w, r)
}

func TestEmptyQueriesAreQueries(t *testing.T) {
	known := map[string]bool{}
	for _, d := range dashboardstest.Read(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				known[name(d, p, q)] = true
			}
		}
	}
	for q := range mayBeEmpty {
		if !known[q] {
			t.Errorf("there is no query %s", q)
		}
	}
}

var shopListening = regexp.MustCompile(`demo shop listening.* knobs=(\S+)`)

// worse is a release of the demo's shop that is slower, fails more often and leaks.
func worse(knobs map[string]any) {
	knobs["release"], knobs["slowdown"], knobs["leak_bytes_per_request"] = "v1.1.0", 2.2, 30_000
	knobs["error_ratio"] = map[string]float64{"GET /products": 0.03, "POST /cart/items": 0.01}
}

// broken is one that fails four times as often as the objective errors allows. It leaks so slowly that half an hour of
// it fits into memory.
func broken(knobs map[string]any) {
	worse(knobs)
	knobs["leak_bytes_per_request"] = 15_000
	knobs["error_ratio"] = map[string]float64{"GET /products": 0.10, "POST /cart/items": 0.04}
}

// worsen gives the demo's shop another release.
func worsen(t *testing.T, d *daemon.Daemon, release func(knobs map[string]any)) {
	t.Helper()
	m, err := d.WaitFor(within(t, 10*time.Second), shopListening)
	if err != nil {
		t.Fatal(err)
	}
	knobs := map[string]any{}
	res, err := http.Get(m[1])
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&knobs); err != nil {
		t.Fatal(err)
	}
	release(knobs)
	text, err := json.Marshal(knobs)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := http.Post(m[1], "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer changed.Body.Close()
	if changed.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: status %s", m[1], changed.Status)
	}
}

// asking asks the queries of dashboards over a time.
type asking struct {
	*prometheus
	from, to time.Time
}

// An answered dashboard is a dashboard with what its queries returned.
type answered struct {
	dashboardstest.Dashboard `json:"-"`

	UID         string            `json:"uid"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	From        int64             `json:"from"` // Unix time
	To          int64             `json:"to"`
	Step        int               `json:"step"` // seconds
	Variables   map[string]string `json:"variables"`
	Marks       []mark            `json:"marks"`
	Panels      []answeredPanel   `json:"panels"`
}

type mark struct {
	Name        string   `json:"name"`
	Color       string   `json:"color"`
	Title       string   `json:"title"`
	Result      []result `json:"result"`
	ValueIsTime bool     `json:"value_is_time"`
}

type answeredPanel struct {
	*dashboardstest.Panel

	Results []results `json:"results"`
}

type results struct {
	RefID  string   `json:"refId"`
	Result []result `json:"result"`
}

// A result is a series as Prometheus returns it: an instant query has one of value and histogram, a range query lists of them.
type result struct {
	Metric     map[string]string `json:"metric"`
	Value      json.RawMessage   `json:"value,omitempty"`
	Values     json.RawMessage   `json:"values,omitempty"`
	Histogram  json.RawMessage   `json:"histogram,omitempty"`
	Histograms json.RawMessage   `json:"histograms,omitempty"`
}

// ask asks every query of a dashboard.
func (a asking) ask(ctx context.Context, d dashboardstest.Dashboard, histograms string) (*answered, error) {
	values, err := a.variables(ctx, d, histograms)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	out := &answered{
		Dashboard: d, UID: d.UID, Title: d.Title, Description: d.Description,
		From: a.from.Unix(), To: a.to.Unix(), Step: a.step(), Variables: values, Marks: []mark{},
	}
	for _, an := range d.Annotations.List {
		got, err := a.get(ctx, an.Expr, values, true)
		if err != nil {
			return nil, fmt.Errorf("%s: annotation %s: %w", d.Name, an.Name, err)
		}
		out.Marks = append(out.Marks, mark{an.Name, an.IconColor, an.TitleFormat, got, an.UseValueForTime})
	}
	for _, p := range d.Panels {
		panel := answeredPanel{p, []results{}}
		for _, q := range p.Targets {
			got, err := a.get(ctx, q.Expr, values, q.Range)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name(d, p, q), err)
			}
			panel.Results = append(panel.Results, results{q.RefID, got})
		}
		out.Panels = append(out.Panels, panel)
	}
	return out, nil
}

// empty names the queries that returned nothing and may not.
func (a *answered) empty(may map[string]string) (names []string) {
	for _, p := range a.Panels {
		for i, r := range p.Results {
			n := name(a.Dashboard, p.Panel, p.Targets[i])
			if len(r.Result) == 0 && may[n] == "" {
				names = append(names, n)
			}
		}
	}
	return names
}

func name(d dashboardstest.Dashboard, p *dashboardstest.Panel, q dashboardstest.Target) string {
	return d.Name + "/" + p.Title + " " + q.RefID
}

// step is the time between two points, in seconds: a picture shows two hundred, and a scrape takes one.
func (a asking) step() int { return max(1, int(math.Round(a.to.Sub(a.from).Seconds()/200))) }

// variables fills the variables of a dashboard: with everything that there is
// where many may be chosen, else with shop-soak.
func (a asking) variables(ctx context.Context, d dashboardstest.Dashboard, histograms string) (map[string]string, error) {
	values := map[string]string{
		"__rate_interval": strconv.Itoa(max(10, 2*a.step())) + "s",
		"__interval":      strconv.Itoa(a.step()) + "s",
		"__range":         strconv.Itoa(int(a.to.Sub(a.from).Seconds())) + "s",
	}
	for _, v := range d.Templating.List {
		switch v.Type {
		case "custom":
			for _, o := range v.Options {
				if o.Text == histograms {
					values[v.Name] = o.Value
				}
			}
		case "query":
			label := strings.TrimSpace(strings.TrimSuffix(v.Definition[strings.LastIndex(v.Definition, ",")+1:], ")"))
			got, err := a.get(ctx, "group by ("+label+") ("+dashboardstest.Asked(v.Definition)+")", values, false)
			if err != nil {
				return nil, fmt.Errorf("variable %s: %w", v.Name, err)
			}
			var have []string
			for _, r := range got {
				// Grafana escapes what a regular expression would read, for a string of PromQL.
				have = append(have, strings.ReplaceAll(regexp.QuoteMeta(r.Metric[label]), `\`, `\\`))
			}
			switch {
			case len(have) == 0:
				return nil, proc.Pending("variable " + v.Name + " of " + d.Name + " has no values")
			case v.Multi:
				slices.Sort(have)
				values[v.Name] = "(" + strings.Join(have, "|") + ")"
			default:
				values[v.Name] = "shop-soak"
			}
		}
	}
	return values, nil
}

// get asks one query, over the time or at its end. What is NaN is nothing.
func (a asking) get(ctx context.Context, query string, values map[string]string, over bool) ([]result, error) {
	text, missing := dashboardstest.Fill(query, values)
	if len(missing) > 0 {
		return nil, fmt.Errorf("variables %v have no value in %s", missing, query)
	}
	form := url.Values{"query": {text}}
	path := "/api/v1/query"
	if over {
		path = "/api/v1/query_range"
		form.Set("start", strconv.FormatInt(a.from.Unix(), 10))
		form.Set("end", strconv.FormatInt(a.to.Unix(), 10))
		form.Set("step", strconv.Itoa(a.step()))
	} else {
		form.Set("time", strconv.FormatInt(a.to.Unix(), 10))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path+"?"+form.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []result }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("query %s: %w", text, err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("query %s: %s", text, answer.Error)
	}
	return slices.DeleteFunc(answer.Data.Result, func(r result) bool {
		return bytes.HasSuffix(r.Value, []byte(`,"NaN"]`))
	}), nil
}
