package pace

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// ConstantArrivalRate starts iterations at one rate.
var ConstantArrivalRate = Executor{
	Name: "constant-arrival-rate",
	Doc:  "Starts iterations at one rate, whatever the target does.",
	New: func() Workload {
		return &constantArrivalRate{arrivalRate: arrivalRate{Arrivals: Even, MaxLateness: block.Duration(time.Second)}}
	},
	Instead: map[string]string{"vus": "max_vus", "stages": "rate"},
}

type constantArrivalRate struct {
	Rate     *block.Rate    `yaml:"rate" scale:"load" doc:"Iterations started per time; those that externally-controlled begins with."`
	Duration block.Duration `yaml:"duration" scale:"time" doc:"How long a constant or externally controlled executor runs; without it, as long as the schedule says."`
	arrivalRate
}

func (w *constantArrivalRate) Check(c *Checker) {
	before := c.errs.Len()
	if w.Rate == nil {
		c.Fail("rate", "is required by %s", c.Executor).Hint = "write rate: 50/s"
	} else if w.Rate.Count == 0 {
		c.Fail("rate", "must be more than 0, got %s", w.Rate)
	}
	w.check(c)
	c.duration(w.Duration)
	if c.errs.Len() == before {
		c.exact(Target{Rate: w.Rate, At: c.At.Get("rate")})
	}
}

func (w *constantArrivalRate) Summary() Summary {
	rate := w.Rate.PerSecond()
	return w.complete(Summary{Model: OpenModel, End: End{Time: w.Duration.D()}, Peak: rate, Mean: rate})
}

func (w *constantArrivalRate) Describe() string {
	return constantText(Target{Rate: w.Rate}, w.Duration) + w.spacing()
}

func (w *constantArrivalRate) Plan(scenario string, seed int) (Plan, error) {
	p, err := newProfile(Target{Rate: w.Rate}, nil, nil, End{Time: w.Duration.D()})
	if err != nil {
		return nil, err
	}
	return w.plan(p, scenario, seed), nil
}

// constantText says a level, and for how long it lasts where that is bounded.
func constantText(level Target, d block.Duration) string {
	if d == 0 {
		return level.String()
	}
	return level.String() + " for " + d.String()
}
