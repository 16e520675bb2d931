// Package analysistest makes input for tests of analyses: windows of a load with
// known parameters.
package analysistest

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// Zero is an instant that windows may begin at: a Monday, midnight.
var Zero = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// A Load describes the windows of one scenario. Change it between calls of Next
// to change what happens.
type Load struct {
	Scenario string
	Target   string
	Steps    []string
	Window   time.Duration // 0 is 10 s
	Limits   []time.Duration

	Rate          float64 // requests per second of each step; their number is Poisson
	Median        time.Duration
	Sigma         float64 // of the logarithm of latencies; 0 makes all equal
	ErrorRatio    float64 // independent failures of cause status
	Circumstances load.Circumstances

	Rand *rand.Rand // nil: seeded with 1
	Now  time.Time  // start of the next window; zero: Zero
}

// Next returns the windows of the next interval: those of the steps, then the scenario's own.
func (l *Load) Next() []*load.Window {
	if l.Rand == nil {
		l.Rand = rand.New(rand.NewPCG(1, 2))
	}
	if l.Window == 0 {
		l.Window = 10 * time.Second
	}
	if l.Now.IsZero() {
		l.Now = Zero
	}
	own := l.window("")
	own.Iterations = &load.Iterations{Duration: new(hist.Histogram), Lateness: new(hist.Histogram)}
	var out []*load.Window
	for _, step := range l.Steps {
		w := l.window(step)
		w.Target, w.Protocol = l.Target, "http"
		w.Limits = slices.Clone(l.Limits)
		w.Good = make([]uint64, len(l.Limits))
		for range Poisson(l.Rand, l.Rate*l.Window.Seconds()) {
			w.Requests++
			if l.Rand.Float64() < l.ErrorRatio {
				w.Failures[load.Status]++
				continue
			}
			d := int64(float64(l.Median) * math.Exp(l.Sigma*l.Rand.NormFloat64()))
			w.Duration.Record(d)
			w.ResponseTime.Record(d)
			for i, limit := range l.Limits {
				if d <= int64(limit) {
					w.Good[i]++
				}
			}
		}
		w.Codes = []load.CodeCount{{Code: 200, Count: w.ResponseTime.Count()}, {Code: 500, Count: w.Failures[load.Status]}}
		own.Requests += w.Requests
		own.Failures[load.Status] += w.Failures[load.Status]
		own.Duration.Merge(w.Duration)
		own.ResponseTime.Merge(w.ResponseTime)
		out = append(out, w)
	}
	own.Iterations.Started = own.Requests / uint64(max(1, len(l.Steps)))
	own.Iterations.Completed = own.Iterations.Started
	if own.Planned == 0 {
		own.Planned = l.Rate * l.Window.Seconds()
	}
	l.Now = l.Now.Add(l.Window)
	return append(out, own)
}

func (l *Load) window(step string) *load.Window {
	return &load.Window{
		Scenario: l.Scenario, Step: step, Start: l.Now, End: l.Now.Add(l.Window), Circumstances: l.Circumstances,
		Duration: new(hist.Histogram), ResponseTime: new(hist.Histogram),
	}
}

// Poisson draws from a Poisson distribution; beyond a mean of 500, from the normal
// distribution of the same mean and variance.
func Poisson(r *rand.Rand, mean float64) int {
	if mean > 500 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	limit, n := math.Exp(-mean), 0
	for p := r.Float64(); p > limit; p *= r.Float64() {
		n++
	}
	return n
}
