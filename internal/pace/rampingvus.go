package pace

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// RampingVUs keeps a number of virtual users busy that follows a shape.
var RampingVUs = Executor{
	Name: "ramping-vus",
	Doc:  "Keeps a number of virtual users busy that follows stages.",
	New: func() Workload {
		return &rampingVUs{StartVUs: 1, shaped: shaped{model: ClosedModel}, GracefulRampDown: block.Duration(30 * time.Second)}
	},
	Instead: map[string]string{
		"rate": "start_vus and stages", "vus": "start_vus and stages",
		"max_vus": "the targets of stages", "duration": "the durations of stages",
	},
}

type rampingVUs struct {
	StartVUs int `yaml:"start_vus" scale:"load" doc:"Virtual users with which ramping-vus begins, used once; 1 by default."`
	shaped
	startOver
	GracefulRampDown block.Duration `yaml:"graceful_ramp_down" doc:"How long an iteration may go on after its virtual user was taken away; 30s by default."`
}

func (w *rampingVUs) start() Target { return Target{VUs: &w.StartVUs} }

func (w *rampingVUs) Check(c *Checker) {
	c.VUs("start_vus", &w.StartVUs, 0)
	w.check(c, w.start())
	w.checkStart(c)
}

func (w *rampingVUs) Summary() Summary {
	s := w.summary(w.start())
	s.FirstVUs, s.MostVUs = w.StartVUs, int(s.Peak)
	s.StartOver = w.spread
	s.GracefulRampDown = w.GracefulRampDown.D()
	return s
}

func (w *rampingVUs) Describe() string { return w.describe(w.start()) }

func (w *rampingVUs) Plan(string, int) (Plan, error) {
	if f := w.feed(); f != nil {
		return followingVUs{following{feed: f}}, nil
	}
	p, err := w.profile(w.start())
	if err != nil {
		return nil, err
	}
	return vus{p}, nil
}
