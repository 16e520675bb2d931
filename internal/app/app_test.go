package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/fleet"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/web"
)

// A rig is a daemon in this process, with a shop of its own.
type rig struct {
	*App
	t    *testing.T
	shop *demo.Shop
	file string
	url  string
}

const rigConfig = `
safety: {kill_switch_file: STOP}
targets:
  - {name: shop, url: "%s"}
scenarios:
  - name: steady
    target: shop
    workload: {executor: constant-arrival-rate, rate: 100/s, max_vus: 10}
    flow: [{name: show, http: {url: /products/1}}]
  - name: changing
    target: shop
    workload: {executor: constant-vus, vus: %d}
    flow: [{name: show, http: {url: /products/2}}, {think: 20ms}]
  - name: manual
    target: shop
    schedule: {manual: true}
    workload: {executor: constant-vus}
    flow: [{name: show, http: {url: /products/3}}, {think: 20ms}]
`

func newRig(t *testing.T, with ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, shop: demo.New(demo.Knobs{}, 1), file: filepath.Join(t.TempDir(), "perfd.yaml")}
	server := httptest.NewServer(r.shop)
	t.Cleanup(server.Close)
	r.url = server.URL
	r.write(2)
	var err error
	o := Options{
		ConfigFile: r.file, StoragePath: t.TempDir(), Listen: []string{"127.0.0.1:0"}, Lifecycle: true,
		Shards: 1, Grace: 10 * time.Second, Log: quiet,
	}
	for _, set := range with {
		set(&o)
	}
	r.App, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Errorf("Stop = %v", err)
		}
	})
	return r
}

func (r *rig) write(vus int) { r.writeText(fmt.Sprintf(rigConfig, r.url, vus)) }

func (r *rig) writeText(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// value scrapes the daemon and adds up the samples of a metric whose labels have these names and values in turn.
func (r *rig) value(name string, labels ...string) (sum float64) {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.server.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	// Conditions are asked for over and over: the other thousands of lines are not parsed each time.
	var of bytes.Buffer
	for line := range bytes.Lines(w.Body.Bytes()) {
		rest, ok := bytes.CutPrefix(bytes.TrimPrefix(line, []byte("# TYPE ")), []byte(name))
		if ok && bytes.ContainsAny(rest[:1], "{ ") {
			of.Write(line)
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&of)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range families[name].GetMetric() {
		matching := true
		for i := 0; i < len(labels); i += 2 {
			has := false
			for _, l := range m.GetLabel() {
				has = has || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
			}
			matching = matching && has
		}
		if matching {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// patience is how long a test waits: for two windows and a busy machine.
const patience = 45 * time.Second

// until waits for a condition.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (r *rig) requests(scenario string) float64 {
	return r.value("perfd_requests_total", "scenario", scenario)
}

func TestReloadTouchesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.until("both scenarios make requests", func() bool { return r.requests("steady") > 20 && r.requests("changing") > 20 })
	steady, changing := r.fleet.Scenario("steady"), r.fleet.Scenario("changing")
	steadyRun, changingRun := runID(t, steady), runID(t, changing)
	before := r.requests("changing")

	r.write(3)
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if now := r.fleet.Scenario("steady"); now != steady || runID(t, now) != steadyRun {
		t.Error("the unchanged scenario has another run after the reload")
	}
	r.until("the changed scenario has three VUs", func() bool { return r.value("perfd_planned_vus", "scenario", "changing") == 3 })
	now := r.fleet.Scenario("changing")
	if now == changing || runID(t, now) == changingRun {
		t.Error("the changed scenario goes on with its old run, or under its name")
	}
	if after := r.requests("changing"); after < before {
		t.Errorf("the changed scenario counts %v requests after the reload, %v before", after, before)
	}

	r.writeText("scenarios: [{nmae: x}]")
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), `did you mean "name"?`) {
		t.Errorf("a broken file: %v, want its mistakes", err)
	}
	if v := r.value("perfd_config_last_reload_successful"); v != 0 {
		t.Errorf("perfd_config_last_reload_successful = %v after a broken file, want 0", v)
	}
	if r.fleet.Scenario("steady") != steady || r.fleet.Scenario("changing") != now || runID(t, steady) != steadyRun {
		t.Error("a broken file has changed what runs")
	}

	r.writeText(fmt.Sprintf("targets: [{name: shop, url: %q}]\nscenarios: []", r.url))
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	r.until("series of scenarios that are gone vanish", func() bool { return r.value("perfd_scenario_info") == 0 })
}

// Another objective restarts nothing and is judged from then on.
func TestReloadOfObjectivesTouchesNoLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.until("requests", func() bool { return r.value("perfd_requests_total", "scenario", "steady") > 50 })
	steady := r.fleet.Scenario("steady")
	run := runID(t, steady)
	r.writeText(strings.Replace(fmt.Sprintf(rigConfig, r.url, 2), "    flow: [{name: show, http: {url: /products/1}}]",
		"    objectives: [{name: p95, that: p(95) < 40s}]\n    flow: [{name: show, http: {url: /products/1}}]", 1))
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if s := r.fleet.Scenario("steady"); s != steady || runID(t, s) != run {
		t.Fatal("a new objective made another scenario or run")
	}
	if r.value("perfd_objective_limit", "scenario", "steady", "objective", "p95") != 40 {
		t.Error("the new objective is not exposed")
	}
	if testing.Short() {
		return // the windows that carry the limit take half a minute
	}
	// A machine that disturbs the test makes windows count for nothing, but they carry the limit.
	r.until("windows with the new objective", func() bool {
		return r.value("perfd_objective_events_total", "objective", "p95")+r.value("perfd_objective_excluded_total", "objective", "p95") > 50
	})
	// What a busy machine drops is over any limit.
	bad := r.value("perfd_objective_bad_total", "objective", "p95")
	if dropped := r.value("perfd_iterations_dropped_total", "scenario", "steady"); bad > dropped {
		t.Errorf("%v requests are over a limit that is longer than their timeout, and %v were dropped", bad, dropped)
	}
}

func TestPauseStopsAllLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.until("requests arrive", func() bool { return r.shop.Requests() > 50 })
	stopsLoad := func(how string, stop, resume func()) {
		stop()
		r.until(how+": nothing is under way", func() bool { return r.value("perfd_vus_busy") == 0 || r.value("perfd_paused") == 1 })
		r.until(how+": nothing arrives any more", func() bool {
			before := r.shop.Requests()
			time.Sleep(300 * time.Millisecond) // thirty arrivals of the plan
			return r.shop.Requests() == before
		})
		if v := r.value("perfd_scenario_expected"); v != 0 {
			t.Errorf("%s: load is expected from %v scenarios, want 0", how, v)
		}
		if v := r.value("perfd_iterations_dropped_total", "scenario", "steady", "reason", "paused"); v == 0 {
			t.Errorf("%s: no arrival was dropped as paused", how)
		}
		before := r.shop.Requests()
		resume()
		r.until(how+": requests arrive again", func() bool { return r.shop.Requests() > before+20 })
	}
	d := daemon{r.App}
	stopsLoad("by request", func() { must(t, d.Pause(0)) }, func() { must(t, d.Resume()) })
	file := filepath.Join(filepath.Dir(r.file), "STOP")
	stopsLoad("by the kill switch", func() { must(t, os.WriteFile(file, nil, 0o600)) }, func() { must(t, os.Remove(file)) })
}

func TestAScenarioSaysWhatFailedAndWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.shop.Set(demo.Knobs{ErrorRatio: map[string]float64{"": 1}})
	r.until("failures", func() bool { return r.value("perfd_request_failures_total", "scenario", "steady") > 20 })
	d, ok := daemon{r.App}.Scenario("steady")
	i := slices.IndexFunc(d.Totals, func(x web.Total) bool {
		return x.What == web.FailedRequests && x.Where == "show" && x.Why == "status" && x.Count > 20 && x.Of >= x.Count
	})
	if !ok || i < 0 {
		t.Errorf("the totals are %+v, want failed requests of show", d.Totals)
	}
}

// runID is the run under way of a scenario that has one.
func runID(t *testing.T, s *fleet.Scenario) string {
	t.Helper()
	r, running := s.Run()
	if !running {
		t.Fatalf("scenario %s does not run", s.Name())
	}
	return r.ID
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRunsByHand(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := daemon{r.App}
	if err := d.Start("nobody"); !errors.Is(err, web.ErrUnknown) {
		t.Errorf("Start of an unknown scenario = %v, want %v", err, web.ErrUnknown)
	}
	if err := d.Stop("manual"); !errors.Is(err, schedule.ErrNotRunning) {
		t.Errorf("Stop of what does not run = %v, want %v", err, schedule.ErrNotRunning)
	}
	must(t, d.Start("manual"))
	r.until("the manual scenario makes requests", func() bool { return r.requests("manual") > 5 })
	if err := d.Start("manual"); !errors.Is(err, schedule.ErrRunning) {
		t.Errorf("a second Start = %v, want %v", err, schedule.ErrRunning)
	}
	must(t, d.Stop("manual"))
	r.until("the run counts as interrupted", func() bool {
		return r.value("perfd_runs_total", "scenario", "manual", "result", "interrupted") == 1
	})
	v, ok := d.Scenario("manual")
	if !ok || v.State != "waiting" || len(v.Steps) != 1 {
		t.Errorf("the scenario is shown as %+v, want waiting with one step", v)
	}
}

func TestTwoDaemonsInOneProcess(t *testing.T) {
	t.Parallel()
	a, b := newRig(t), newRig(t)
	a.until("both make requests", func() bool { return a.requests("steady") > 10 && b.requests("steady") > 10 })
	if a.Addr().String() == b.Addr().String() {
		t.Errorf("both listen on %v", a.Addr())
	}
}

func TestStopInterruptsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	const grace = 3 * time.Second // a tenth of it is left after the interruption
	r := newRig(t, func(o *Options) { o.Grace = grace })
	r.shop.Set(demo.Knobs{Hang: true})
	r.until("all virtual users hang", func() bool { return r.value("perfd_vus_busy", "scenario", "steady") == 10 })
	begin := time.Now()
	if err := r.Stop(); err != nil || time.Since(begin) > 10*time.Second {
		t.Errorf("Stop = %v after %v, want nil soon after its grace of %v", err, time.Since(begin), grace)
	}
	r.shop.Set(demo.Knobs{})
}

// A ConfigMap that is mounted is replaced by renaming a link to the folder that holds all its files.
func TestAChangedConfigMapIsNoticed(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	link := func(to, name string) {
		t.Helper()
		must(t, os.Symlink(to, filepath.Join(mount, name)))
	}
	version := func(folder, text string) {
		t.Helper()
		must(t, os.Mkdir(filepath.Join(mount, folder), 0o700))
		must(t, os.WriteFile(filepath.Join(mount, folder, "perfd.yaml"), []byte(text), 0o600))
		link(folder, "..data_tmp")
		must(t, os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
	}
	link("..data/perfd.yaml", "perfd.yaml")
	r := newRig(t, func(o *Options) {
		text, err := os.ReadFile(o.ConfigFile)
		must(t, err)
		version("..1", string(text))
		o.ConfigFile, o.AutoReload = filepath.Join(mount, "perfd.yaml"), 20*time.Millisecond
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.serveReloads(ctx)
	}()
	defer func() { cancel(); <-done }()
	r.until("two VUs", func() bool { return r.value("perfd_planned_vus", "scenario", "changing") == 2 })
	version("..2", fmt.Sprintf(rigConfig, r.url, 3))
	r.until("three VUs", func() bool { return r.value("perfd_planned_vus", "scenario", "changing") == 3 })
	version("..3", "scenarios: [{nmae: x}]")
	r.until("the refusal is exposed", func() bool { return r.value("perfd_config_last_reload_successful") == 0 })
	if n := r.value("perfd_planned_vus", "scenario", "changing"); n != 3 {
		t.Errorf("a configuration that is refused leaves %v VUs", n)
	}
	version("..4", fmt.Sprintf(rigConfig, r.url, 4))
	r.until("four VUs", func() bool { return r.value("perfd_planned_vus", "scenario", "changing") == 4 })
	if ok := r.value("perfd_config_last_reload_successful"); ok != 1 {
		t.Errorf("perfd_config_last_reload_successful = %v after a good one", ok)
	}
}
