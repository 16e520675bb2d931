package pace

import "github.com/perfd/perfd/internal/block"

// ConstantVUs keeps a number of virtual users busy.
var ConstantVUs = Executor{
	Name:    "constant-vus",
	Doc:     "Keeps a number of virtual users busy, each with one iteration after another.",
	New:     func() Workload { return &constantVUs{VUs: 1} },
	Instead: map[string]string{"rate": "vus", "max_vus": "vus", "stages": "vus"},
}

type constantVUs struct {
	VUs      int            `yaml:"vus" scale:"load" doc:"Virtual users; 1 by default."`
	Duration block.Duration `yaml:"duration" scale:"time" doc:"How long a constant or externally controlled executor runs; without it, as long as the schedule says."`
	startOver
}

func (w *constantVUs) Check(c *Checker) {
	c.VUs("vus", &w.VUs, 1)
	c.duration(w.Duration)
	w.checkStart(c)
}

func (w *constantVUs) Summary() Summary {
	n := float64(w.VUs)
	return Summary{Model: ClosedModel, End: End{Time: w.Duration.D()}, Peak: n, Mean: n, FirstVUs: w.VUs, MostVUs: w.VUs, StartOver: w.spread}
}

func (w *constantVUs) Describe() string { return constantText(Target{VUs: &w.VUs}, w.Duration) }

func (w *constantVUs) Plan(string, int) (Plan, error) {
	p, err := newProfile(Target{VUs: &w.VUs}, nil, nil, End{Time: w.Duration.D()})
	if err != nil {
		return nil, err
	}
	return vus{p}, nil
}
