package pace

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// RampingArrivalRate starts iterations at a rate that follows a shape.
var RampingArrivalRate = Executor{
	Name: "ramping-arrival-rate",
	Doc:  "Starts iterations at a rate that follows stages, whatever the target does.",
	New: func() Workload {
		return &rampingArrivalRate{
			shaped:      shaped{model: OpenModel},
			arrivalRate: arrivalRate{Arrivals: Even, MaxLateness: block.Duration(time.Second)},
		}
	},
	Instead: map[string]string{"rate": "start_rate and stages", "vus": "max_vus", "duration": "the durations of stages"},
}

type rampingArrivalRate struct {
	StartRate *block.Rate `yaml:"start_rate" scale:"load" doc:"Rate with which ramping-arrival-rate begins, used once; 0/s by default."`
	shaped
	arrivalRate
}

func (w *rampingArrivalRate) start() Target {
	if w.StartRate != nil {
		return Target{Rate: w.StartRate}
	}
	return Target{Rate: &block.Rate{Per: time.Second}}
}

func (w *rampingArrivalRate) Check(c *Checker) {
	before := c.errs.Len()
	start := w.start()
	start.At = c.At.Get("start_rate")
	w.shaped.check(c, start)
	w.arrivalRate.check(c)
	if c.Partial || c.errs.Len() > before {
		return
	}
	levels := []Target{start}
	for _, s := range w.curve.Stages() {
		levels = append(levels, s.Target)
	}
	c.exact(levels...)
}

func (w *rampingArrivalRate) Summary() Summary { return w.complete(w.summary(w.start())) }

func (w *rampingArrivalRate) Describe() string { return w.describe(w.start()) + w.spacing() }

func (w *rampingArrivalRate) Plan(scenario string, seed int) (Plan, error) {
	if f := w.feed(); f != nil {
		return followingRate{following{feed: f}, seedOf(seed, scenario), w.Arrivals == Poisson}, nil
	}
	p, err := w.profile(w.start())
	if err != nil {
		return nil, err
	}
	return w.plan(p, scenario, seed), nil
}
