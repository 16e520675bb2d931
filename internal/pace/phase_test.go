package pace

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// phased returns the plan of a workload for a scenario, out of step with others.
func phased(t *testing.T, text, scenario string, within time.Duration) Open {
	t.Helper()
	c := config(t, text)
	p, err := New(c, scenario)
	if err != nil {
		t.Fatal(err)
	}
	return OutOfStep(p, c, scenario, within).(Open)
}

// Forty scenarios of one rate send at forty instants of the time between two arrivals, whatever it is.
func TestScenariosOfOneRateAreOutOfStep(t *testing.T) {
	for _, c := range []struct {
		workload string
		period   time.Duration
	}{
		{"{executor: constant-arrival-rate, rate: 1/s, max_vus: 2}", time.Second},
		{"{executor: constant-arrival-rate, rate: 20/s, max_vus: 2}", 50 * time.Millisecond},
		{"{executor: constant-arrival-rate, rate: 1/m, max_vus: 2}", time.Minute},
		{"{executor: ramping-arrival-rate, start_rate: 0/s, stages: [{duration: 10s, target: 4/s}, {duration: 1h, target: 4/s}], repeat: {from: 1}, max_vus: 2}", 250 * time.Millisecond},
	} {
		const scenarios = 40
		tenths := map[time.Duration]int{}
		for i := range scenarios {
			at := take(phased(t, c.workload, fmt.Sprintf("s%d", i), Forever), 1000*time.Hour, 0, 1, 1)[0]
			tenths[at%c.period*10/c.period]++
		}
		for tenth, n := range tenths {
			if n > scenarios/3 {
				t.Errorf("%s: %d of %d scenarios send within tenth %d of %v, want them spread", c.workload, n, scenarios, tenth, c.period)
			}
		}
		if len(tenths) < 8 {
			t.Errorf("%s: %d scenarios send within %d tenths of %v, want them spread", c.workload, scenarios, len(tenths), c.period)
		}
	}
}

// A phase is that of the name and the seed: it shifts arrivals, takes none away, and is the same wherever the plan is entered and on each shard.
func TestAPhaseIsTheScenariosOwn(t *testing.T) {
	const text = "{executor: ramping-arrival-rate, start_rate: 3/s, stages: [{duration: 7s, target: 11/s}, {duration: 5s, target: 0/s}, {duration: 3s, target: 2/s}], repeat: {from: 0}, max_vus: 2}"
	whole := phased(t, text, "shop", Forever)
	all := take(whole, 0, 0, 1, 2000)
	if !slices.Equal(all, take(phased(t, text, "shop", Forever), 0, 0, 1, 2000)) {
		t.Error("the same scenario has two phases")
	}
	if slices.Equal(all[:10], take(phased(t, text, "shops", Forever), 0, 0, 1, 10)) {
		t.Error("another scenario has the same phase")
	}
	for _, from := range []time.Duration{1, 3 * time.Second, 12 * time.Second, 100 * time.Second} {
		i, _ := slices.BinarySearch(all, from)
		if got := take(whole, from, 0, 1, 50); !slices.Equal(got, all[i:i+50]) {
			t.Errorf("entered at %v the plan goes on with %v, want %v", from, got[:3], all[i:i+3])
		}
	}
	var shards []time.Duration
	for shard := range 3 {
		shards = append(shards, take(whole, 0, shard, 3, 100)...)
	}
	slices.Sort(shards)
	if !slices.Equal(shards[:250], all[:250]) {
		t.Error("three shards do not have the arrivals of one")
	}
	for _, to := range []time.Duration{10 * time.Second, time.Minute, 200 * time.Second} {
		n, _ := slices.BinarySearch(all, to)
		if want := whole.Count(0, to); float64(n) < want-1 || float64(n) > want+1 {
			t.Errorf("%d arrivals in %v, want %.1f", n, to, want)
		}
	}
}

// A run that somebody waits for begins within the time that it is given, however low its rate, and a Poisson plan has a random source instead of a phase.
func TestAPhaseIsBounded(t *testing.T) {
	for _, text := range []string{
		"{executor: constant-arrival-rate, rate: 1/h, max_vus: 2}",
		"{executor: constant-arrival-rate, rate: 3/m, max_vus: 2}",
		"{executor: constant-arrival-rate, rate: 500/s, max_vus: 2}",
	} {
		for i := range 20 {
			p := phased(t, text, fmt.Sprint(i), time.Second)
			if at := take(p, 0, 0, 1, 1)[0]; at > time.Second {
				t.Errorf("%s: the first arrival is at %v, want at most a second", text, at)
			}
		}
	}
	c := config(t, "{executor: constant-arrival-rate, rate: 5/s, arrivals: poisson, max_vus: 2}")
	p, err := New(c, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(take(p.(Open), 0, 0, 1, 20), take(OutOfStep(p, c, "shop", Forever).(Open), 0, 0, 1, 20)) {
		t.Error("a Poisson plan was given a phase")
	}
}
