package pace

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perfd/perfd/internal/block"
)

// kinds are the executors and shapes of this package.
var kinds = Kinds{
	Executors: []Executor{ConstantArrivalRate, RampingArrivalRate, ConstantVUs, RampingVUs, SharedIterations, PerVUIterations, ExternallyControlled},
	Shapes:    []Shape{Stages, RampAndHold, Stairs, Spike, Sine, Randomized, Replay},
	Dir:       "testdata",
}

// decode reads a workload block as the configuration does.
func decode(t testing.TB, text string) (Config, error) {
	t.Helper()
	var errs block.Errors
	var c Config
	if n := block.Parse("perfd.yaml", []byte(text), &errs); n != nil {
		block.Decode(n, &c, &errs)
		c.Decode(kinds, &errs)
	}
	return c, errs.Err()
}

func config(t testing.TB, text string) Config {
	t.Helper()
	c, err := decode(t, text)
	if err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	return c
}

func openPlan(t testing.TB, text string) Open {
	t.Helper()
	p, err := New(config(t, text), "shop")
	if err != nil {
		t.Fatalf("New(%s): %v", text, err)
	}
	return p.(Open)
}

// take returns the first n arrivals at or after from.
func take(p Open, from time.Duration, shard, of, n int) []time.Duration {
	var out []time.Duration
	for t := range p.Arrivals(from, shard, of) {
		if len(out) == n {
			break
		}
		out = append(out, t)
	}
	return out
}

func seconds(s ...float64) []time.Duration {
	out := make([]time.Duration, len(s))
	for i := range s {
		out[i] = time.Duration(s[i] * 1e9)
	}
	return out
}

// Computed by hand: arrival k is due when the integral of the rate passes k.
var arrivals = []struct {
	name, workload string
	want           []time.Duration // all arrivals, or the first 12
}{
	{
		"a constant rate begins at 0",
		"{executor: constant-arrival-rate, rate: 10/s, duration: 500ms, max_vus: 1}",
		seconds(0, 0.1, 0.2, 0.3, 0.4),
	},
	{
		"a constant rate whose period is no whole nanosecond does not drift",
		"{executor: constant-arrival-rate, rate: 3/s, duration: 2s, max_vus: 1}",
		[]time.Duration{0, 333333333, 666666666, 1000000000, 1333333333, 1666666666},
	},
	{
		"a rate by the hour",
		"{executor: constant-arrival-rate, rate: 2/h, duration: 2h, max_vus: 1}",
		seconds(0, 1800, 3600, 5400),
	},
	{
		"a decimal rate",
		"{executor: constant-arrival-rate, rate: 0.1/s, duration: 31s, max_vus: 1}",
		seconds(0, 10, 20, 30),
	},
	{
		"a workload without duration goes on",
		"{executor: constant-arrival-rate, rate: 300/m, max_vus: 1}",
		seconds(0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8, 2, 2.2),
	},
	{
		// t²/2 = k
		"a ramp from 0",
		"{executor: ramping-arrival-rate, stages: [{duration: 4s, target: 4/s}], max_vus: 1}",
		[]time.Duration{0, 1414213562, 2000000000, 2449489742, 2828427124, 3162277660, 3464101615, 3741657386},
	},
	{
		// 4t − t²/2 = k, t = 4 − sqrt(16 − 2k)
		"a ramp to 0",
		"{executor: ramping-arrival-rate, start_rate: 4/s, stages: [{duration: 4s, target: 0/s}], max_vus: 1}",
		[]time.Duration{0, 258342613, 535898384, 837722339, 1171572875, 1550510257, 2000000000, 2585786437},
	},
	{
		// t + t²/4 = k, t = −2 + sqrt(4 + 4k)
		"a ramp between two rates",
		"{executor: ramping-arrival-rate, start_rate: 1/s, stages: [{duration: 4s, target: 3/s}], max_vus: 1}",
		[]time.Duration{0, 828427124, 1464101615, 2000000000, 2472135954, 2898979485, 3291502622, 3656854249},
	},
	{
		"a stage of 0s jumps",
		"{executor: ramping-arrival-rate, start_rate: 1/s, stages: [{duration: 2s, target: 1/s}, {duration: 0s, target: 4/s}, {duration: 1s, target: 4/s}], max_vus: 1}",
		seconds(0, 1, 2, 2.25, 2.5, 2.75),
	},
	{
		"a jump before the first stage takes the start rate's place",
		"{executor: ramping-arrival-rate, stages: [{duration: 0s, target: 2/s}, {duration: 2s, target: 2/s}], max_vus: 1}",
		seconds(0, 0.5, 1, 1.5),
	},
	{
		"a pause sends nothing, and what is due at its beginning comes at its end",
		"{executor: ramping-arrival-rate, start_rate: 2/s, stages: [{duration: 1s, target: 2/s}, {duration: 0s, target: 0/s}, {duration: 10s, target: 0/s}, {duration: 0s, target: 2/s}, {duration: 1s, target: 2/s}], max_vus: 1}",
		seconds(0, 0.5, 11, 11.5),
	},
	{
		"a fraction of an arrival is carried into the next stage",
		"{executor: ramping-arrival-rate, start_rate: 1/s, stages: [{duration: 1500ms, target: 1/s}, {duration: 0s, target: 2/s}, {duration: 1s, target: 2/s}], max_vus: 1}",
		seconds(0, 1, 1.75, 2.25),
	},
	{
		"a fraction of an arrival is carried into the next lap",
		"{executor: ramping-arrival-rate, start_rate: 1/s, stages: [{duration: 1500ms, target: 1/s}], repeat: {times: 2}, max_vus: 1}",
		seconds(0, 1, 2, 3, 4),
	},
	{
		"a lap begins with the last target: the start rate is used once",
		"{executor: ramping-arrival-rate, start_rate: 4/s, stages: [{duration: 1s, target: 4/s}, {duration: 0s, target: 1/s}, {duration: 2s, target: 1/s}], repeat: {from: 2, times: 1}, max_vus: 1}",
		seconds(0, 0.25, 0.5, 0.75, 1, 2, 3, 4),
	},
	{
		// The lap is 2 → 2 over 1s where the first pass was 0 → 2.
		"a lap from stage 0 ramps from the last target",
		"{executor: ramping-arrival-rate, stages: [{duration: 1s, target: 2/s}], repeat: {from: 0}, max_vus: 1}",
		seconds(0, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6),
	},
	{
		"laps of less than one arrival",
		"{executor: ramping-arrival-rate, start_rate: 1/h, stages: [{duration: 1s, target: 1/h}], repeat: {}, max_vus: 1}",
		seconds(0, 3600, 7200, 10800, 14400, 18000, 21600, 25200, 28800, 32400, 36000, 39600),
	},
}

func TestEvenArrivals(t *testing.T) {
	for _, tt := range arrivals {
		t.Run(tt.name, func(t *testing.T) {
			got := take(openPlan(t, tt.workload), 0, 0, 1, 12)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Arrivals(0) of %s (-want +got):\n%s", tt.workload, diff)
			}
		})
	}
}

func TestArrivalsFromTheMiddle(t *testing.T) {
	p := openPlan(t, "{executor: constant-arrival-rate, rate: 10/s, duration: 500ms, max_vus: 1}")
	for _, tt := range []struct {
		from      time.Duration
		shard, of int
		want      []time.Duration
	}{
		{-time.Hour, 0, 1, seconds(0, 0.1, 0.2, 0.3, 0.4)},
		{100 * time.Millisecond, 0, 1, seconds(0.1, 0.2, 0.3, 0.4)},
		{100*time.Millisecond + 1, 0, 1, seconds(0.2, 0.3, 0.4)},
		{0, 0, 2, seconds(0, 0.2, 0.4)},
		{0, 1, 2, seconds(0.1, 0.3)},
		{200 * time.Millisecond, 1, 3, seconds(0.4)},
		{500 * time.Millisecond, 0, 1, nil},
		{Forever, 0, 1, nil},
	} {
		if diff := cmp.Diff(tt.want, take(p, tt.from, tt.shard, tt.of, 9)); diff != "" {
			t.Errorf("Arrivals(%v, %d, %d) (-want +got):\n%s", tt.from, tt.shard, tt.of, diff)
		}
	}
}

func TestRateLevels(t *testing.T) {
	p := openPlan(t, "{executor: ramping-arrival-rate, start_rate: 0/s, stages: [{duration: 10s, target: 50/s}, {duration: 20s, target: 50/s}, {duration: 0s, target: 10/s}, {duration: 10s, target: 30/s}], repeat: {from: 1, times: 1}, max_vus: 1}")
	for _, tt := range []struct {
		t    time.Duration
		want Level
	}{
		{-1, Level{Until: 0}},
		{0, Level{Rate: 0, Stage: 0, Until: 10 * time.Second}},
		{5 * time.Second, Level{Rate: 25, Stage: 0, Until: 10 * time.Second}},
		{10 * time.Second, Level{Rate: 50, Stage: 1, Until: 30 * time.Second}},
		{30 * time.Second, Level{Rate: 10, Stage: 3, Until: 40 * time.Second}},
		{35 * time.Second, Level{Rate: 20, Stage: 3, Until: 40 * time.Second}},
		{40 * time.Second, Level{Rate: 30, Stage: 1, Until: 60 * time.Second}}, // 30 → 50 in the lap
		{50 * time.Second, Level{Rate: 40, Stage: 1, Until: 60 * time.Second}},
		{65 * time.Second, Level{Rate: 20, Stage: 3, Until: 70 * time.Second}},
		{70 * time.Second, Level{Stage: 4, Until: Forever}},
	} {
		if diff := cmp.Diff(tt.want, p.At(tt.t), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
			t.Errorf("At(%v) (-want +got):\n%s", tt.t, diff)
		}
	}
	for _, tt := range []struct {
		from, to time.Duration
		want     float64
	}{
		{0, 10 * time.Second, 250},
		{0, 5 * time.Second, 62.5},
		{10 * time.Second, 40 * time.Second, 1000 + 200},
		{40 * time.Second, 50 * time.Second, 350},
		{0, time.Hour, 250 + 1200 + 800 + 200},
		{-time.Hour, 0, 0},
		{5 * time.Second, 0, -62.5},
	} {
		if got := p.Count(tt.from, tt.to); got < tt.want-1e-9 || got > tt.want+1e-9 {
			t.Errorf("Count(%v, %v) = %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestAnEndlessConstantRateNeverChanges(t *testing.T) {
	p := openPlan(t, "{executor: constant-arrival-rate, rate: 50/s, max_vus: 1}")
	want := Level{Rate: 50, Until: Forever}
	if got := p.At(56 * 365 * 24 * time.Hour); got != want {
		t.Errorf("At(56 years) = %+v, want %+v", got, want)
	}
}
