package pace

import (
	"math"
	"strings"
	"testing"
	"time"
)

// The level of a sine is its formula at every instant, and the arrivals of a day are those of its mean.
func TestSine(t *testing.T) {
	for _, tt := range []struct {
		workload  string
		low, high float64
		period    time.Duration
		peak      time.Duration // after the beginning of a period
	}{
		{"{executor: ramping-arrival-rate, max_vus: 1, sine: {low: 10/s, high: 50/s}}", 10, 50, 24 * time.Hour, 12 * time.Hour},
		{"{executor: ramping-arrival-rate, max_vus: 1, sine: {low: 10/s, high: 50/s, peak: 14h}}", 10, 50, 24 * time.Hour, 14 * time.Hour},
		{"{executor: ramping-arrival-rate, max_vus: 1, sine: {low: 0/s, high: 100/m, period: 7m, peak: 0s}}", 0, 100. / 60, 7 * time.Minute, 0},
		{"{executor: ramping-arrival-rate, max_vus: 1, start_rate: 9/h, sine: {low: 3/h, high: 1000/h, period: 100003us, peak: 1us}}", 3. / 3600, 1000. / 3600, 100003 * time.Microsecond, time.Microsecond},
	} {
		p := openPlan(t, tt.workload)
		for _, at := range []time.Duration{0, tt.period / 7, tt.period / 2, 3 * tt.period / 4, 1000*tt.period + tt.period/3} {
			want := (tt.low + tt.high + (tt.high-tt.low)*math.Cos(2*math.Pi*float64(at-tt.peak)/float64(tt.period))) / 2
			if got := p.At(at).Rate; math.Abs(got-want) > 0.001*(tt.high-tt.low) {
				t.Errorf("%s: rate %v at %v, want %v", tt.workload, got, at, want)
			}
		}
		mean := (tt.low + tt.high) / 2 * tt.period.Seconds()
		if again := p.At(tt.period - 1).Until; again != tt.period {
			t.Errorf("%s: the last line of a period ends at %v, want %v", tt.workload, again, tt.period)
		}
		for _, from := range []time.Duration{0, tt.period / 5, 10000 * tt.period} {
			if got := p.Count(from, from+tt.period); math.Abs(got-mean) > 1e-4*mean {
				t.Errorf("%s: %v arrivals in the period from %v on, want %v", tt.workload, got, from, mean)
			}
		}
		if !p.End().Never() {
			t.Errorf("%s ends %v", tt.workload, p.End())
		}
	}
}

// A month of a sine has as many arrivals as its integral, in any split of shards.
func TestAMonthOfASine(t *testing.T) {
	p := openPlan(t, "{executor: ramping-arrival-rate, max_vus: 1, sine: {low: 0.1/s, high: 2/s, peak: 14h}}")
	const days = 30
	want := int(math.Round((0.1 + 2) / 2 * 86400 * days))
	for _, shards := range []int{1, 3} {
		n, late := 0, time.Duration(0)
		for shard := range shards {
			last := time.Duration(-1)
			for due := range p.Arrivals(0, shard, shards) {
				if due >= days*24*time.Hour {
					break
				}
				if due < last {
					t.Fatalf("arrival at %v after one at %v", due, last)
				}
				last, late = due, max(late, due)
				n++
			}
		}
		if n < want-1 || n > want+1 || late < (days*24-1)*time.Hour {
			t.Errorf("%d shards: %d arrivals in %d days, the last at %v, want %d", shards, n, days, late, want)
		}
	}
}

// Levels are drawn between the two bounds with equal chances, and the same ones for a seed.
func TestRandomized(t *testing.T) {
	const workload = "{executor: ramping-vus, randomized: {low: 3, high: 7, hold: 10s, levels: 5000, seed: %}}"
	level := func(seed string) (all []int) {
		p, err := New(config(t, strings.ReplaceAll(workload, "%", seed)), "shop")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5000 {
			all = append(all, p.At(time.Duration(i)*10*time.Second+time.Second).VUs)
		}
		if again := p.At(5000*10*time.Second + time.Second).VUs; again != all[0] || !p.End().Never() {
			t.Errorf("the second lap begins with %d VUs, the first with %d; it ends %v", again, all[0], p.End())
		}
		return all
	}
	a, b, c := level("1"), level("1"), level("2")
	counts, same := map[int]int{}, 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("level %d is %d and %d with one seed", i, a[i], b[i])
		}
		if a[i] == c[i] {
			same++
		}
		counts[a[i]]++
	}
	// Each of five levels in a fifth of 5,000 draws, with a standard deviation of 28.
	for v := 3; v <= 7; v++ {
		if n := counts[v]; n < 860 || n > 1140 {
			t.Errorf("%d VUs are drawn %d times of 5000, want about 1000", v, n)
		}
		delete(counts, v)
	}
	if len(counts) > 0 || same < 860 || same > 1140 {
		t.Errorf("other levels %v; two seeds agree %d times, want about 1000", counts, same)
	}
	open := openPlan(t, "{executor: ramping-arrival-rate, max_vus: 1, randomized: {low: 10/m, high: 20/m, hold: 1m, climb: 1m, levels: 500}}")
	sum := 0.0
	for i := range 500 {
		r := open.At(time.Duration(2*i)*time.Minute + 30*time.Second).Rate
		if r < 10./60 || r > 20./60 {
			t.Errorf("rate %v, want 10/m to 20/m", r)
		}
		sum += r
	}
	if mean := sum / 500; math.Abs(mean-0.25) > 0.02 {
		t.Errorf("mean rate %v, want about 0.25", mean)
	}
}

// Batches end after their iterations, or after their time.
func TestBatches(t *testing.T) {
	for workload, want := range map[string]End{
		"{executor: shared-iterations, vus: 3, iterations: 10}":                   {Time: 10 * time.Minute, Total: 10},
		"{executor: per-vu-iterations, vus: 3, iterations: 10, max_duration: 1h}": {Time: time.Hour, PerVU: 10},
	} {
		c := config(t, workload)
		p, err := New(c, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if p.End() != want || c.End() != want || c.MostVUs() != 3 || c.Open() {
			t.Errorf("%s ends %v, or %v; want %v", workload, p.End(), c.End(), want)
		}
	}
}
