package pace

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrongWorkloads(t *testing.T) {
	for _, tt := range []struct{ workload, want string }{
		{
			"{executor: ramping-arival-rate}",
			"perfd.yaml:1:12: executor: unknown executor \"ramping-arival-rate\"\n\thint: did you mean \"ramping-arrival-rate\"?",
		},
		{
			"{executor: externally-controled, iterationz: 10}",
			"perfd.yaml:1:34: iterationz: unknown key \"iterationz\"",
		},
		{
			"{executor: externally-controlled, vus: 10, max_vus: 5}",
			"perfd.yaml:1:40: vus: must be at most max_vus (5), got 10",
		},
		{
			"{executor: externally-controlled, vus: 0}",
			"perfd.yaml:1:1: max_vus: is required where vus is 0: none could be set\n\thint: write max_vus: 50",
		},
		{
			"{executor: externally-controlled, vus: 1, max_lateness: 1s}",
			"perfd.yaml:1:57: max_lateness: belongs to a rate, and virtual users are set",
		},
		{
			"{executor: externally-controlled, rate: 5/s, max_vus: 3, vus: 2}",
			"perfd.yaml:1:63: vus: belongs to virtual users, and a rate is set",
		},
		{
			"{executor: externally-controlled, rate: 5/s}",
			"perfd.yaml:1:1: max_vus: is required by externally-controlled\n\thint: arrivals per second times the seconds an iteration lasts, and room for slow days",
		},
		{
			"{executor: externally-controlled, max_rate: 5/s, max_vus: 3}",
			"perfd.yaml:1:1: rate: is required with max_rate\n\thint: write rate: 0/s to begin without load",
		},
		{
			"{executor: externally-controlled, rate: 0/s, max_vus: 3}",
			"perfd.yaml:1:1: max_rate: is required where rate is 0: none could be set\n\thint: write max_rate: 50/s",
		},
		{
			"{executor: externally-controlled, rate: 301/m, max_rate: 5/s, max_vus: 3}",
			"perfd.yaml:1:41: rate: must be at most max_rate (5/s), got 301/m",
		},
		{
			"{executor: externally-controlled, stages: [{duration: 1m, target: 5}]}",
			"perfd.yaml:1:35: stages: belongs to ramping-arrival-rate and ramping-vus, the executor is externally-controlled\n\thint: externally-controlled has vus or rate, which are set while it runs",
		},
		{
			"{executor: constant-vus, vus: 10, max_vus: 20}",
			"perfd.yaml:1:35: max_vus: belongs to constant-arrival-rate, ramping-arrival-rate and externally-controlled, the executor is constant-vus\n\thint: constant-vus has vus",
		},
		{
			"{executor: constant-arrival-rate, vus: 10, rate: 1/s, max_vus: 20}",
			"perfd.yaml:1:35: vus: belongs to constant-vus, shared-iterations, per-vu-iterations and externally-controlled, the executor is constant-arrival-rate\n\thint: constant-arrival-rate has max_vus",
		},
		{
			"{executor: ramping-vus, rate: 1/s, stages: [{duration: 1m, target: 2}]}",
			"perfd.yaml:1:25: rate: belongs to constant-arrival-rate and externally-controlled, the executor is ramping-vus\n\thint: ramping-vus has start_vus and stages",
		},
		{
			"{executor: ramping-vus, duration: 1h, stages: [{duration: 1m, target: 2}]}",
			"perfd.yaml:1:25: duration: belongs to constant-arrival-rate, constant-vus and externally-controlled, the executor is ramping-vus\n\thint: ramping-vus has the durations of stages",
		},
		{
			"{executor: constant-arrival-rate, max_vus: 1}",
			"perfd.yaml:1:1: rate: is required by constant-arrival-rate\n\thint: write rate: 50/s",
		},
		{
			"{executor: constant-arrival-rate, rate: 0/s, max_vus: 1}",
			"perfd.yaml:1:41: rate: must be more than 0, got 0/s",
		},
		{
			"{executor: constant-arrival-rate, rate: 50, max_vus: 1}",
			"perfd.yaml:1:41: rate: a rate needs a unit of time, got 50",
		},
		{
			"{executor: constant-arrival-rate, rate: 2000/ms, max_vus: 1}",
			"perfd.yaml:1:41: rate: must be at most 1000000/s, got 2000/ms",
		},
		{
			"{executor: constant-arrival-rate, rate: 16.66666666666667/s, max_vus: 1}",
			"perfd.yaml:1:41: rate: 16.66666666666667/s has too many digits to be kept without rounding\n\thint: write fewer decimals, or a longer unit of time: 1000/m rather than 16.6666666666667/s",
		},
		{
			"{executor: constant-arrival-rate, rate: 50/s}",
			"perfd.yaml:1:1: max_vus: is required by constant-arrival-rate\n\thint: arrivals per second times the seconds an iteration lasts, and room for slow days",
		},
		{
			"{executor: constant-arrival-rate, rate: 50/s, max_vus: 0}",
			"perfd.yaml:1:56: max_vus: must be between 1 and 1000000, got 0",
		},
		{
			"{executor: constant-arrival-rate, rate: 50/s, max_vus: 10, pre_allocated_vus: 20}",
			"perfd.yaml:1:79: pre_allocated_vus: must be at most max_vus (10), got 20",
		},
		{
			"{executor: constant-arrival-rate, rate: 50/s, max_vus: 10, arrivals: random}",
			"perfd.yaml:1:70: arrivals: must be even or poisson, got \"random\"",
		},
		{
			"{executor: constant-arrival-rate, rate: 50/s, max_vus: 10, duration: 0s}",
			"perfd.yaml:1:70: duration: must be more than 0\n\thint: leave it out to run as long as the schedule says",
		},
		{
			"{executor: constant-arrival-rate, rate: 50/s, max_vus: 10, duration: 5m, warm_up: 5m}",
			"perfd.yaml:1:83: warm_up: must be shorter than the workload, which lasts 5m, got 5m",
		},
		{
			"{executor: constant-arrival-rate, rate: 50/s, max_vus: 10, max_lateness: 0s}",
			"perfd.yaml:1:74: max_lateness: must be more than 0",
		},
		{
			"{executor: constant-vus, vus: 0}",
			"perfd.yaml:1:31: vus: must be between 1 and 1000000, got 0",
		},
		{
			"{executor: ramping-arrival-rate, max_vus: 1}",
			"perfd.yaml:1:1: ramping-arrival-rate needs one of stages, ramp_and_hold, stairs, spike, sine, randomized, replay\n\thint: write stages: [{duration: 5m, target: 50/s}]",
		},
		{
			"{executor: ramping-arrival-rate, max_vus: 1, stages: []}",
			"perfd.yaml:1:54: stages: ramping-arrival-rate needs at least one\n\thint: write stages: [{duration: 5m, target: 50/s}]",
		},
		{
			"{executor: ramping-arrival-rate, stages: [{duration: 5m, target: 50}], max_vus: 1}",
			"perfd.yaml:1:66: stages[0].target: a rate needs a unit of time, got 50",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 5m, target: 50/s}]}",
			"perfd.yaml:1:57: stages[0].target: must be a number of virtual users, got \"50/s\"\n\thint: rates belong to ramping-arrival-rate",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 5m, target: -1}]}",
			"perfd.yaml:1:57: stages[0].target: must be between 0 and 1000000, got -1",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 0s, target: 1}]}",
			"perfd.yaml:1:33: stages: together must last more than 0",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 100000d, target: 1}]}",
			"perfd.yaml:1:33: stages: together last longer than can be counted",
		},
		{
			"{executor: ramping-vus, start_vus: 0, stages: [{duration: 1s, target: 0}]}",
			"perfd.yaml:1:47: stages: ask for no load: the start and every target is 0",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 1s, target: 1}, {duration: 0s, target: 2}], repeat: {from: 1}}",
			"perfd.yaml:1:104: repeat.from: the stages from 1 on last 0s: a lap must last at least 100ms",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 1s, target: 0}, {duration: 1s, target: 0}], repeat: {from: 1}}",
			"perfd.yaml:1:104: repeat.from: the stages from 1 on ask for no load\n\thint: leave repeat out to end there",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 1s, target: 1}], repeat: {from: 1}}",
			"perfd.yaml:1:77: repeat.from: must be a stage, 0 to 0, got 1\n\thint: stages are counted from 0",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 1s, target: 1}], repeat: {times: -1}}",
			"perfd.yaml:1:78: repeat.times: must not be negative, got -1\n\thint: leave it out to repeat for ever",
		},
		{
			"{executor: ramping-vus, stages: [{duration: 10000d, target: 1}], repeat: {times: 1000}}",
			"perfd.yaml:1:82: repeat.times: 1000 laps last longer than can be counted\n\thint: leave it out to repeat for ever",
		},
		{
			"{executor: shared-iterations, vus: 10, iterations: 9}",
			"perfd.yaml:1:52: iterations: must be at least as many as vus (10), got 9\n\thint: iterations are those of all virtual users together; per-vu-iterations counts those of each",
		},
		{"{executor: shared-iterations, iterations: 0}", "perfd.yaml:1:43: iterations: must be between 1 and 1000000000000, got 0"},
		{"{executor: per-vu-iterations, max_duration: 0s}", "perfd.yaml:1:45: max_duration: must be more than 0"},
		{
			"{executor: per-vu-iterations, duration: 5m}",
			"perfd.yaml:1:31: duration: belongs to constant-arrival-rate, constant-vus and externally-controlled, the executor is per-vu-iterations\n\thint: per-vu-iterations has max_duration",
		},
		{
			"{executor: ramping-vus, stairs: {from: 1, step: 1, levels: 0, hold: 1s}}",
			"perfd.yaml:1:60: stairs.levels: must be between 1 and 10000, got 0",
		},
		{"{executor: ramping-vus, stairs: {from: 1, step: 1, levels: 2, hold: 0s}}", "perfd.yaml:1:69: stairs.hold: must be more than 0"},
		{"{executor: ramping-vus, stairs: {from: 1, step: 1, levels: 2}}", "perfd.yaml:1:33: stairs.hold: is required"},
		{
			"{executor: ramping-vus, spike: {base: 5, peak: 5, hold: 1m}}",
			"perfd.yaml:1:48: spike.peak: must be more than base (5 VUs), got 5 VUs",
		},
		{
			"{executor: ramping-vus, sine: {low: 1/s, high: 5}}",
			"perfd.yaml:1:37: sine.low: must be a number of virtual users, got \"1/s\"\n\thint: rates belong to ramping-arrival-rate",
		},
		{"{executor: ramping-vus, sine: {low: 1, high: 5, period: 1h, peak: 61m}}", "perfd.yaml:1:67: sine.peak: must be at most the period (1h), got 1h1m"},
		{"{executor: ramping-vus, sine: {low: 1, high: 5, period: 1ms}}", "perfd.yaml:1:31: sine: a lap lasts 1ms: it must last at least 100ms"},
		{
			"{executor: ramping-vus, sine: {low: 1, high: 5}, spike: {base: 1, peak: 2, hold: 1s}}",
			"perfd.yaml:1:50: spike: only one of sine and spike may be given",
		},
		{"{executor: ramping-vus, randomized: {low: 3, high: 2, hold: 1m}}", "perfd.yaml:1:52: randomized.high: must be more than low (3 VUs), got 2 VUs"},
		{"{executor: constant-vus, sine: {low: 1, high: 2}}", "perfd.yaml:1:26: sine: belongs to ramping-arrival-rate and ramping-vus, the executor is constant-vus"},
	} {
		_, err := decode(t, tt.workload)
		if err == nil {
			t.Errorf("decode %s succeeded, want %s", tt.workload, tt.want)
			continue
		}
		if got := err.Error(); !strings.HasPrefix(got, tt.want) || strings.Count(got, "perfd.yaml:") > 1 {
			t.Errorf("decode %s (-want +got):\n%s", tt.workload, cmp.Diff(tt.want, got))
		}
	}
}

func TestMistakesAreReportedTogether(t *testing.T) {
	for workload, want := range map[string][]string{
		"{executor: ramping-arrival-rate, start_rate: 5, stages: [{duration: 5, target: 1/s}], max_vuz: 1}": {"start_rate", "stages[0].duration", "max_vuz"},
		"{executor: ramping-arrival-rate, stages: [{duration: -5m, target: 1/s}, {target: 2}], repeat: {from: 7, times: -1}, max_vus: 0}": {
			"stages[0].duration", "stages[1].duration", "stages[1].target", "repeat.from", "repeat.times", "max_vus",
		},
		"{executor: ramping-vus, start_vus: -1, vus: 4, stages: [{duration: 1m, target: -1}], repeat: {from: -1}, graceful_stop: x}": {
			"start_vus", "vus", "stages[0].target", "repeat.from", "graceful_stop",
		},
		"{executor: constant-arrival-rate, rate: 0/s, arrivals: none, max_vus: 0, max_lateness: 0s, warm_up: -1s}": {"rate", "arrivals", "max_vus", "max_lateness", "warm_up"},
		"{executor: ramping-vus, stages: [], repeat: {from: 0}, start_vus: -1}":                                    {"stages", "start_vus"},
		"{executor: ramping-arrival-rate, stages: [{duration: 1m}], start_rate: 1/s, max_vus: 0}":                  {"stages[0].target", "max_vus"},
		"{executor: ramping-vus, sine: {low: 1, period: 1h}, repeat: {from: -1, times: -2}}":                       {"sine.high", "repeat.from", "repeat.times"},
	} {
		_, err := decode(t, workload)
		if err == nil {
			t.Errorf("decode %s succeeded", workload)
			continue
		}
		for _, path := range want {
			if !strings.Contains(err.Error(), " "+path+": ") {
				t.Errorf("decode %s = %v, want a mistake at %s", workload, err, path)
			}
		}
		if n := strings.Count(err.Error(), "perfd.yaml:"); n != len(want) {
			t.Errorf("decode %s = %v, want %d mistakes", workload, err, len(want))
		}
	}
}

func TestDefaults(t *testing.T) {
	c := config(t, "{executor: constant-arrival-rate, rate: 5/s, pre_allocated_vus: 7}")
	if got := c.own.(*constantArrivalRate).Arrivals; got != Even {
		t.Errorf("arrivals = %q, want %q", got, Even)
	}
	for _, tt := range []struct {
		name      string
		got, want time.Duration
	}{
		{"max_lateness", c.MaxLateness(), time.Second},
		{"graceful_stop", c.GracefulStop.D(), 30 * time.Second},
		{"warm_up", c.WarmUp.D(), 0},
		{"graceful_ramp_down", config(t, "{executor: ramping-vus, stages: [{duration: 1s, target: 2}]}").GracefulRampDown(), 30 * time.Second},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

// What check, the API and the schedule need to know of a workload.
func TestSummaries(t *testing.T) {
	type summary struct {
		Model         string
		Describe      string
		Cycle, Length time.Duration // Length 0 is endless
		Peak, Mean    float64
		First, Most   int
	}
	for _, tt := range []struct {
		workload string
		want     summary
	}{
		{
			"{executor: constant-arrival-rate, rate: 300/m, max_vus: 20}",
			summary{"open", "constant-arrival-rate: 300/m", 0, 0, 5, 5, 20, 20},
		},
		{
			"{executor: externally-controlled, rate: 60/m, max_rate: 5/s, pre_allocated_vus: 2, max_vus: 20, arrivals: poisson}",
			summary{"open", "externally-controlled: 60/m, then what is set from outside, at most 5/s, poisson arrivals", 0, 0, 5, 1, 2, 20},
		},
		{
			"{executor: externally-controlled, vus: 0, max_vus: 20, duration: 1h}",
			summary{"closed", "externally-controlled: 0 VUs, then what is set from outside, at most 20 VUs, for 1h", 0, time.Hour, 20, 0, 0, 20},
		},
		{
			"{executor: constant-arrival-rate, rate: 5/s, duration: 1h, arrivals: poisson, pre_allocated_vus: 2, max_vus: 20}",
			summary{"open", "constant-arrival-rate: 5/s for 1h, poisson arrivals", 0, time.Hour, 5, 5, 2, 20},
		},
		{
			"{executor: ramping-arrival-rate, start_rate: 0/s, stages: [{duration: 5m, target: 50/s}, {duration: 55m, target: 50/s}], repeat: {from: 1}, pre_allocated_vus: 4}",
			summary{"open", "ramping-arrival-rate: 0/s → 50/s over 5m, then 50/s for 55m, repeats from stage 1", 55 * time.Minute, 0, 50, 50, 4, 4},
		},
		{
			"{executor: ramping-arrival-rate, stages: [{duration: 1m, target: 60/s}, {duration: 0s, target: 0/s}, {duration: 1m, target: 0/s}], repeat: {times: 2}, max_vus: 1}",
			summary{"open", "ramping-arrival-rate: 0/s → 60/s over 1m, then at once 0/s, then 0/s for 1m, repeats from stage 0 2×", 0, 6 * time.Minute, 60, 15, 1, 1},
		},
		{
			"{executor: constant-vus, vus: 10}",
			summary{"closed", "constant-vus: 10 VUs", 0, 0, 10, 10, 10, 10},
		},
		{
			"{executor: ramping-vus, stages: [{duration: 1m, target: 1}, {duration: 1m, target: 3}]}",
			summary{"closed", "ramping-vus: 1 VU for 1m, then → 3 VUs over 1m", 0, 2 * time.Minute, 3, 1.5, 1, 3},
		},
	} {
		c := config(t, tt.workload)
		got := summary{c.Model(), c.Describe(), c.Cycle(), c.End().Time, c.Peak(), c.Mean(), c.FirstVUs(), c.MostVUs()}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("summary of %s (-want +got):\n%s", tt.workload, diff)
		}
	}
}

// An always-on scenario is in the lap that repeats from its beginning on: what only the first pass asks for never comes,
// and is no part of what is said of it.
func TestAnAlwaysOnWorkloadIsInItsLap(t *testing.T) {
	for _, tt := range []struct {
		workload string
		once     bool
		peak     float64 // of the lap
	}{
		{"{executor: ramping-arrival-rate, start_rate: 0/s, stages: [{duration: 5m, target: 50/s}, {duration: 55m, target: 50/s}], repeat: {from: 1}, max_vus: 4}", true, 50},
		{"{executor: ramping-arrival-rate, start_rate: 900/s, stages: [{duration: 1m, target: 10/s}, {duration: 1m, target: 20/s}], repeat: {from: 0}, max_vus: 4}", true, 20},
		{"{executor: ramping-arrival-rate, stages: [{duration: 1m, target: 500/s}, {duration: 1m, target: 20/s}, {duration: 1m, target: 10/s}], repeat: {from: 2}, max_vus: 4}", true, 10},
		{"{executor: ramping-vus, start_vus: 3, stages: [{duration: 1m, target: 7}, {duration: 1m, target: 3}], repeat: {from: 0}}", false, 7},
		{"{executor: ramping-vus, start_vus: 9, stages: [{duration: 0s, target: 2}, {duration: 1m, target: 4}], repeat: {from: 1}}", false, 4},
		{"{executor: ramping-arrival-rate, sine: {low: 10/s, high: 30/s, period: 24h}, max_vus: 4}", false, 30},
		{"{executor: ramping-arrival-rate, stages: [{duration: 1m, target: 500/s}, {duration: 1m, target: 20/s}], repeat: {from: 1, times: 3}, max_vus: 4}", false, 500},
		{"{executor: constant-arrival-rate, rate: 5/s, max_vus: 4}", false, 5},
	} {
		c := config(t, tt.workload)
		joined := c.Joined()
		if said := strings.Contains(joined.Describe(), "never played"); said != tt.once || joined.Peak() != tt.peak {
			t.Errorf("%s: peak %g, %s; want %g, and a first pass that is over %v", tt.workload, joined.Peak(), joined.Describe(), tt.peak, tt.once)
		}
		if c.Describe() != strings.Split(joined.Describe(), "; always")[0] {
			t.Errorf("%s: by itself it is described as %q", tt.workload, c.Describe())
		}
		p, err := New(c, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if c.Cycle() == 0 {
			continue
		}
		highest := 0.0
		for at := range 500 {
			l := p.At(56*365*24*time.Hour + time.Duration(at)*c.Cycle()/250)
			highest = max(highest, l.Rate, float64(l.VUs))
		}
		if highest > joined.Peak() || highest < 0.95*joined.Peak() {
			t.Errorf("%s: the highest level after decades is %g, want %g", tt.workload, highest, joined.Peak())
		}
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	properties := kinds.Schema()["properties"].(map[string]any)
	for _, e := range kinds.Executors {
		for _, key := range kinds.keys(e.New()) {
			if properties[key] == nil {
				t.Errorf("the schema does not have %s of %s", key, e.Name)
			}
		}
	}
	for key, p := range properties {
		if p.(map[string]any)["description"] == nil {
			t.Errorf("the schema does not describe %s", key)
		}
	}
}

func TestKindsAreDocumented(t *testing.T) {
	for _, e := range kinds.Executors {
		if e.Name == "" || !strings.HasSuffix(e.Doc, ".") {
			t.Errorf("executor %q has the doc %q, want a sentence", e.Name, e.Doc)
		}
	}
	for _, s := range kinds.Shapes {
		if s.Name == "" || !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("shape %q has the doc %q, want a sentence", s.Name, s.Doc)
		}
	}
}
