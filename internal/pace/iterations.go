package pace

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// SharedIterations performs a number of iterations, which its virtual users share.
var SharedIterations = Executor{
	Name: "shared-iterations",
	Doc:  "Performs a number of iterations, which virtual users share: who is faster does more.",
	New: func() Workload {
		return &sharedIterations{batch{VUs: 1, MaxDuration: mostOfBatch}, 1}
	},
	Instead: batchInstead,
}

// PerVUIterations has each virtual user perform a number of iterations.
var PerVUIterations = Executor{
	Name:    "per-vu-iterations",
	Doc:     "Has each virtual user perform a number of iterations, however fast the others are.",
	New:     func() Workload { return &perVUIterations{batch{VUs: 1, MaxDuration: mostOfBatch}, 1} },
	Instead: batchInstead,
}

var batchInstead = map[string]string{
	"rate": "vus and iterations", "max_vus": "vus", "start_vus": "vus", "stages": "vus and iterations", "duration": "max_duration",
}

// Limits of a batch: the first is k6's default, the second keeps totals of all VUs countable.
const (
	mostOfBatch    = block.Duration(10 * time.Minute)
	mostIterations = 1_000_000_000_000
)

// A batch is what the executors that end after a number of iterations have in common.
type batch struct {
	VUs         int            `yaml:"vus" scale:"load" doc:"Virtual users; 1 by default."`
	MaxDuration block.Duration `yaml:"max_duration" scale:"time" doc:"When a run ends though iterations are left; 10m by default."`
	startOver
}

func (b *batch) check(c *Checker, iterations int) bool {
	c.VUs("vus", &b.VUs, 1)
	if iterations < 1 || iterations > mostIterations {
		c.Fail("iterations", "must be between 1 and %d, got %d", int64(mostIterations), iterations)
		return false
	}
	b.checkStart(c)
	if b.MaxDuration <= 0 {
		c.Fail("max_duration", "must be more than 0")
	}
	return true
}

func (b *batch) summary(end End) Summary {
	n := float64(b.VUs)
	return Summary{Model: ClosedModel, End: end, Peak: n, Mean: n, FirstVUs: b.VUs, MostVUs: b.VUs, StartOver: b.spread}
}

func (b *batch) plan(end End) (Plan, error) {
	p, err := newProfile(Target{VUs: &b.VUs}, nil, nil, End{Time: b.MaxDuration.D()})
	if err != nil {
		return nil, err
	}
	return ending{vus{p}, end}, nil
}

// ending is a plan that also ends after a number of iterations.
type ending struct {
	vus
	end End
}

// End is the end after time or iterations.
func (p ending) End() End { return p.end }

type sharedIterations struct {
	batch
	Iterations int `yaml:"iterations" scale:"load" doc:"Iterations of a run: of all virtual users together for shared-iterations, of each of them for per-vu-iterations; 1 by default."`
}

func (w *sharedIterations) end() End {
	return End{Time: w.MaxDuration.D(), Total: uint64(w.Iterations)}
}

func (w *sharedIterations) Check(c *Checker) {
	if w.check(c, w.Iterations) && w.Iterations < w.VUs {
		c.Fail("iterations", "must be at least as many as vus (%d), got %d", w.VUs, w.Iterations).Hint = "iterations are those of all virtual users together; per-vu-iterations counts those of each"
	}
}

func (w *sharedIterations) Summary() Summary { return w.summary(w.end()) }

func (w *sharedIterations) Describe() string {
	return iterations(uint64(w.Iterations)) + " shared by " + Target{VUs: &w.VUs}.String()
}

func (w *sharedIterations) Plan(string, int) (Plan, error) { return w.plan(w.end()) }

type perVUIterations struct {
	batch
	Iterations int `yaml:"iterations" doc:"Iterations of a run: of all virtual users together for shared-iterations, of each of them for per-vu-iterations; 1 by default."`
}

func (w *perVUIterations) end() End {
	return End{Time: w.MaxDuration.D(), PerVU: uint64(w.Iterations)}
}

func (w *perVUIterations) Check(c *Checker) { w.check(c, w.Iterations) }

func (w *perVUIterations) Summary() Summary { return w.summary(w.end()) }

func (w *perVUIterations) Describe() string {
	return iterations(uint64(w.Iterations)) + " of each of " + Target{VUs: &w.VUs}.String()
}

func (w *perVUIterations) Plan(string, int) (Plan, error) { return w.plan(w.end()) }
