package web

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // pages write the time of the machine's zone
	goleak.VerifyTestMain(m)
}

// fake is a daemon that keeps what it was asked for.
type fake struct {
	ready     bool
	err       error
	status    Status
	scenarios []Detail
	suites    []Suite
	findings  []load.Finding // nil: nothing is judged
	asked     []string
	now       time.Time
}

func (f *fake) Findings() []load.Finding { return f.findings }

func (f *fake) Accept(id string) error {
	if !slices.ContainsFunc(f.findings, func(x load.Finding) bool { return x.ID == id }) {
		return ErrUnknownFinding
	}
	return f.note("accept " + id)
}

func (f *fake) Release(target, release string) error {
	if target != "shop" {
		return ErrUnknownTarget
	}
	return f.note("release " + target + " " + release)
}

func (f *fake) Ready() bool    { return f.ready }
func (f *fake) Status() Status { return f.status }

func (f *fake) Scenarios() []Scenario {
	var out []Scenario
	for _, d := range f.scenarios {
		out = append(out, d.Scenario)
	}
	return out
}

func (f *fake) Scenario(name string) (Detail, bool) {
	for _, d := range f.scenarios {
		if d.Name == name {
			return d, true
		}
	}
	return Detail{}, false
}

func (f *fake) note(s string) error {
	f.asked = append(f.asked, s)
	return f.err
}

func (f *fake) named(what, name string) error {
	if _, ok := f.Scenario(name); !ok {
		return ErrUnknown
	}
	return f.note(what + " " + name)
}

func (f *fake) Reload() error                            { return f.note("reload") }
func (f *fake) Pause(d time.Duration) error              { return f.note("pause " + d.String()) }
func (f *fake) Maintenance() (now, coming []Maintenance) { return f.status.Maintenance, nil }
func (f *fake) Maintain(w Maintenance) (Maintenance, error) {
	w.ID = "W1"
	return w, f.note(fmt.Sprintf("maintain %s %v for %v", w.Name, w.Targets, w.Until.Sub(f.now)))
}

func (f *fake) EndMaintenance(id string) error {
	if id != "W1" {
		return ErrUnknownMaintenance
	}
	return f.note("end " + id)
}

func (f *fake) Resume() error           { return f.note("resume") }
func (f *fake) Start(name string) error { return f.named("start", name) }
func (f *fake) Stop(name string) error  { return f.named("stop", name) }

func (f *fake) Scale(name string, to Level, by string) (Control, error) {
	d, ok := f.Scenario(name)
	switch {
	case !ok:
		return Control{}, ErrUnknown
	case d.Control == nil:
		return Control{}, ErrNotControlled
	}
	level := to.Rate
	if to.VUs != nil {
		level = fmt.Sprint(*to.VUs, " VUs")
	}
	return Control{Unit: d.Control.Unit, Level: level, Most: d.Control.Most, Since: f.now, By: by}, f.note("scale " + name + " to " + level + " by " + by)
}

func (f *fake) Suites() []Suite { return f.suites }

func (f *fake) StartSuite(name string) error { return f.suite("start", name) }
func (f *fake) StopSuite(name string) error  { return f.suite("stop", name) }

func (f *fake) suite(what, name string) error {
	if !slices.ContainsFunc(f.suites, func(s Suite) bool { return s.Name == name }) {
		return ErrUnknownSuite
	}
	return f.note(what + " suite " + name)
}

var kinds = builtin.Kinds().Analyses

func handler(f *fake, lifecycle bool) http.Handler {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "perfd_paused 0\n") })
	o := Options{Daemon: f, Kinds: kinds, Metrics: metrics, Lifecycle: lifecycle, Log: slog.New(slog.DiscardHandler)}
	if f.findings != nil {
		o.Verdicts = f
	}
	return Handler(o)
}

// shop is a daemon with a scenario in every state.
func shop(now time.Time) *fake {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	return &fake{
		ready:    true,
		findings: shopFindings(now),
		status: Status{
			Version: "1.2.3", Revision: "abcdef0", GoVersion: "go1.26.8", Started: ago(51 * time.Hour), ConfigFile: "/etc/perfd/perfd.yaml",
			ConfigOK: true, ConfigTime: ago(26 * time.Hour), Ready: true, Shards: 1, Lifecycle: true,
		},
		suites: []Suite{
			{Name: "peak-day", Schedule: "cron 0 2 * * sun", NextRun: now.Add(26 * time.Hour), Missed: 1, Run: &SuiteRun{
				ID: "19991226T020000Z", Began: ago(5 * 24 * time.Hour), Ended: ago(5*24*time.Hour - 2*time.Hour), Result: "fail",
				Parts: []SuitePart{
					{Scenario: "shop-stress", Run: "19991226T020000.000Z", Began: ago(5 * 24 * time.Hour), Ended: ago(5*24*time.Hour - time.Hour), Result: "fail"},
					{Scenario: "shop-reports", Ended: ago(5 * 24 * time.Hour), Result: "not started", Why: "a run is <under way> already"},
				},
			}},
			{Name: "evening", Schedule: "started by hand", Running: true, Run: &SuiteRun{
				ID: "19991231T210000.000Z", Began: ago(3 * time.Minute),
				Parts: []SuitePart{{Scenario: "shop-search", Began: ago(3 * time.Minute)}, {Scenario: "shop-soak"}},
			}},
			{Name: "unused", Schedule: "started by hand"},
		},
		scenarios: []Detail{
			{
				Scenario: Scenario{
					Name: "shop-soak", Test: "endurance", Target: "shop", Executor: "ramping-arrival-rate", Model: "open", Labels: map[string]string{"team": "checkout"},
					Schedule: "always, cut every 24h", Workload: "ramping-arrival-rate: 0/s → 50/s over 5m, then 50/s for 55m, repeats from stage 1, poisson arrivals",
					State: "running", Expected: true, RunID: "19991231T000000Z", RunStart: ago(21*time.Hour + 3*time.Minute), Valid: true,
					PlannedRate: 50, AchievedRate: 49.52, RequestRate: 198.1, ErrorRatio: 0.0006, VUs: 120, Busy: 31,
					Latency: Latency{P50: 0.0274, P95: 0.0603, P99: 0.0776, Count: 11886},
				},
				Steps: []Step{
					{Name: "sign-in/login", Target: "shop", Protocol: "http", RequestRate: 49.5, Latency: Latency{P50: 0.0401, P95: 0.0692, P99: 0.0749, Count: 495}},
					{Name: "list <products>", Target: "shop", Protocol: "http", RequestRate: 49.5, ErrorRatio: 0.0024, Latency: Latency{P50: 0.000871, P95: 0.0258, P99: 1.2, Count: 495}},
					{Name: "add to cart", Target: "shop", Protocol: "http"},
				},
				Failures: []Failure{
					{Time: ago(12 * time.Second), Step: "list <products>", Cause: "timeout", Duration: 10, Text: "read tcp 127.0.0.1:40112->127.0.0.1:9798: i/o timeout"},
					{Time: ago(25 * time.Hour), Step: "add to cart", Cause: "expect", Code: 500, Duration: 0.0498, Text: "not status == 201"},
				},
				Totals: []Total{
					{What: FailedRequests, Where: "list <products>", Why: "timeout", Count: 12, Of: 128402},
					{What: DroppedArrivals, Why: "no_free_vu", Count: 7310},
					{What: FailedChecks, Where: "has <products>", Count: 3, Of: 128390},
					{What: ExcludedEvents, Where: "list p99", Why: "settling", Count: 4100},
				},
				Config: "{\n  \"name\": \"shop-soak\",\n  \"password\": \"<secret>\"\n}",
			},
			{Scenario: Scenario{
				Name: "shop-search", Test: "load", Target: "shop", Executor: "constant-vus", Model: "closed", Schedule: "always, cut every 24h", Workload: "constant-vus: 5 VUs",
				State: "running", Expected: true, RunID: "19991231T000000Z", RunStart: ago(4 * time.Minute), Valid: false, Invalid: []string{"pacer_gap", "lateness"},
				PlannedVUs: 5, AchievedRate: 8.4, RequestRate: 8.4, ErrorRatio: 0.031, VUs: 5, Busy: 5, Latency: Latency{P50: 0.0642, P95: 0.874, P99: 2.52, Count: 504},
			}},
			{Scenario: Scenario{
				Name: "shop-stress", Test: "stress", Target: "shop", Executor: "ramping-vus", Model: "closed", Schedule: "cron 0 3 * * sun Europe/Berlin", Workload: "ramping-vus: 0 → 1000 over 10m",
				State: "blackout", NextRun: now.Add(3*time.Hour + 12*time.Minute), LastEnd: ago(6 * 24 * time.Hour), Missed: 1, Valid: true,
			}},
			{Scenario: Scenario{
				Name: "shop-reports", Test: "load", Target: "shop", Executor: "constant-arrival-rate", Model: "open", Schedule: "every 5m, runs last 1m", Workload: "constant-arrival-rate: 2/s",
				State: "waiting", NextRun: now.Add(73 * time.Second), LastEnd: ago(167 * time.Second), Valid: true,
				Control:      &Control{Unit: "rate", Level: "2/s", Most: "50/s", Since: ago(time.Hour), By: "page, <ann> from 127.0.0.1"},
				AchievedRate: 0.4, RequestRate: 0.4, DropRate: 1.2, Latency: Latency{P50: 0.409, P95: 0.65, P99: 0.696, Count: 24},
			}},
		},
	}
}

// shopFindings is a finding of every kind and state, newest first. What comes
// from outside, such as a release, is hostile.
func shopFindings(now time.Time) []load.Finding {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	nan := load.Number(math.NaN())
	p99 := load.Finding{
		ID: "objective-1", Kind: load.KindObjective, Verdict: load.Fail, State: load.Active, Scenario: "shop-soak", Step: "list <products>", Objective: "list p99", Statistic: "p99",
		Since: ago(42 * time.Minute), Updated: ago(5 * time.Second),
		Sentence: "The 99th percentile of list <products> is 1.2 s, over its limit of 500 ms.",
		Value:    1.2, Lower: 1.13, Upper: 1.31, Limit: 0.5, Confidence: 0.95, Unit: "seconds",
		Evidence: []load.Fact{{Name: "requests", Value: 128402}, {Name: "bad", Value: 4120}, {Name: "effective", Value: 3215.4}},
		Doubts:   []string{"requests of one VU are not independent"},
	}
	errors := load.Finding{
		ID: "objective-2", Kind: load.KindObjective, Verdict: load.Pass, Scenario: "shop-soak", Objective: "errors", Statistic: "error_ratio",
		Since: ago(20 * time.Hour), Updated: ago(5 * time.Second), Sentence: "0.06 % of requests failed, below 1 %.",
		Value: 0.0006, Lower: 0, Upper: 0.0011, Limit: 0.01, Confidence: 0.95, Unit: "ratio",
		Evidence: []load.Fact{{Name: "requests", Value: 2400120}, {Name: "bad", Value: 1440}},
	}
	rate := load.Finding{
		ID: "objective-3", Kind: load.KindObjective, Scenario: "shop-search", Objective: "throughput", Statistic: "rate",
		Since: ago(4 * time.Minute), Updated: ago(5 * time.Second), Sentence: "Too little is known of the throughput.",
		Value: 8.4, Lower: 6.9, Upper: load.Number(math.Inf(1)), Limit: 8, Confidence: 0.95, Unit: "per_second",
		Doubts: []string{"closed model: not corrected for coordinated omission"}, Needed: "1,200 more requests, about 20 minutes",
	}
	efficiency := load.Finding{
		ID: "efficiency-1", Kind: load.KindEfficiency, Verdict: load.Pass, Scenario: "shop-soak",
		Sentence: "99.2 % of the load asked for was sent.", Value: 0.992, Lower: nan, Upper: nan, Limit: 0.98, Unit: "ratio",
	}
	return []load.Finding{
		p99,
		{
			ID: "regression-1", Kind: load.KindRegression, Verdict: load.Fail, State: load.Active, Scenario: "shop-soak", Step: "sign-in/login", Target: "shop", Statistic: "p95",
			Release: `v1.3.0"><script>alert(1)</script>`, Baseline: "v1.2.9", Since: ago(3 * time.Hour), Updated: ago(time.Minute),
			Sentence: `p95 of sign-in/login is 18 % slower with v1.3.0"><script>alert(1)</script> than with v1.2.9.`,
			Value:    0.18, Lower: 0.11, Upper: 0.26, Limit: 0.05, Confidence: 0.95, Unit: "ratio",
			Evidence: []load.Fact{{Name: "runs before", Value: 9}, {Name: "runs since", Value: 3}},
		},
		{
			ID: "leak-1", Kind: load.KindLeak, Verdict: load.Fail, State: load.Active, Target: "shop", Resource: "heap", Member: "shop-6f5d-x2k", Since: ago(9 * time.Hour), Updated: ago(time.Minute),
			Sentence: "heap of shop-6f5d-x2k grows by 4.2 MiB an hour and reaches its limit in 5 days.",
			Value:    1223, Lower: 980, Upper: 1500, Limit: nan, Confidence: 0.95, Unit: "bytes_per_second",
			Evidence: []load.Fact{{Name: "slope", Value: 1223, Unit: "bytes_per_second"}, {Name: "time to the limit", Value: 432000, Unit: "seconds"}},
			Doubts:   []string{"load grew by 12 % in the same time"},
		},
		errors,
		rate,
		{
			ID: "run-1", Kind: load.KindRun, Verdict: load.Fail, State: load.Final, Scenario: "shop-soak", Run: "19991230T000000Z", Release: "v1.2.9",
			Since: ago(48 * time.Hour), Updated: ago(24 * time.Hour), Sentence: "The run failed: 1 of 2 objectives.",
			Parts: []load.Finding{p99, errors, efficiency}, Doubts: []string{"6 minutes were invalid"},
		},
		{
			ID: "change-1", Kind: load.KindChange, Verdict: load.Fail, State: load.Accepted, Scenario: "shop-soak", Statistic: "p50", Since: ago(60 * time.Hour), Updated: ago(50 * time.Hour), Ended: ago(49 * time.Hour),
			Sentence: "p50 rose from 22 ms to 27 ms, and no release explains it.", Value: 0.027, Lower: 0.026, Upper: 0.028, Limit: 0.022, Confidence: 0.95, Unit: "seconds",
		},
		{
			ID: "run-2", Kind: load.KindRun, Verdict: load.Pass, State: load.Final, Scenario: "shop-soak", Run: "19991229T000000Z", Release: "v1.2.9",
			Since: ago(72 * time.Hour), Updated: ago(48 * time.Hour), Sentence: "The run passed: 2 of 2 objectives.", Parts: []load.Finding{errors},
		},
		{
			ID: "drift-1", Kind: load.KindDrift, State: load.Recovered, Verdict: load.Fail, Scenario: "shop-stress", Statistic: "rate", Since: ago(6 * 24 * time.Hour), Updated: ago(5 * 24 * time.Hour), Ended: ago(5 * 24 * time.Hour),
			Sentence: "Throughput fell by 9 % over the run.",
		},
	}
}
