package web

import (
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // pages write the time of the machine's zone
	goleak.VerifyTestMain(m)
}

// fake is a daemon that remembers what it was told.
type fake struct {
	ready     bool
	err       error
	status    Status
	scenarios []Detail
	told      []string
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
	f.told = append(f.told, s)
	return f.err
}

func (f *fake) named(what, name string) error {
	if _, ok := f.Scenario(name); !ok {
		return ErrUnknown
	}
	return f.note(what + " " + name)
}

func (f *fake) Reload() error               { return f.note("reload") }
func (f *fake) Pause(d time.Duration) error { return f.note("pause " + d.String()) }
func (f *fake) Resume() error               { return f.note("resume") }
func (f *fake) Start(name string) error     { return f.named("start", name) }
func (f *fake) Stop(name string) error      { return f.named("stop", name) }

func handler(f *fake, lifecycle bool) http.Handler {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "perfd_paused 0\n") })
	return Handler(Options{Daemon: f, Metrics: metrics, Lifecycle: lifecycle, Log: slog.New(slog.DiscardHandler)})
}

// shop is a daemon with a scenario in every state.
func shop(now time.Time) *fake {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	return &fake{
		ready: true,
		status: Status{
			Version: "1.2.3", Revision: "abcdef0", GoVersion: "go1.26.8", Started: ago(51 * time.Hour), ConfigFile: "/etc/perfd/perfd.yaml",
			ConfigOK: true, ConfigTime: ago(26 * time.Hour), Ready: true, Shards: 1, Lifecycle: true,
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
				AchievedRate: 0.4, RequestRate: 0.4, DropRate: 1.2, Latency: Latency{P50: 0.409, P95: 0.65, P99: 0.696, Count: 24},
			}},
		},
	}
}
