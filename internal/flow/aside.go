package flow

import (
	"context"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

// The parts of a scenario that are performed beside its flow and measured by nothing.
const (
	SetUp    = "setup"
	TearDown = "teardown"
	CleanUp  = "cleanup"
)

// A CleanUpSteps is what removes something that an iteration created. It is performed later, outside of what is measured.
type CleanUpSteps struct {
	Steps Config `yaml:"cleanup" block:"required" doc:"What removes what the steps before created. It reads the variables as they are here, and is performed later, outside of what is measured: when more than keep of them wait, the oldest first, and at the end of the run."`
	Keep  int    `yaml:"keep" doc:"How many may wait before the oldest is performed (default 100)."`
	Limit int    `yaml:"limit" doc:"How many are performed at once (default 20)."`
	// Within is 0 for the default.
	Within block.Duration `yaml:"within" doc:"How long those that are left may take after the run, whose longest one counts; the rest is not removed (default 30s)."`
}

const (
	defaultKeep   = 100
	maxKeep       = 100_000
	maxCleanUps   = 1000
	defaultWithin = 30 * time.Second
	maxWithin     = time.Hour
)

func (c *CleanUpSteps) inside() []*Config { return []*Config{&c.Steps} }

// Validate sets the defaults.
func (c *CleanUpSteps) Validate(n *block.Node, errs *block.Errors) {
	if at := n.Get("keep"); at == nil {
		c.Keep = defaultKeep
	} else if c.Keep < 0 || c.Keep > maxKeep {
		errs.Add(at.Pos, at.Path, "must be between 0 and %d, got %s", maxKeep, at.Found())
	}
	if at := n.Get("limit"); at == nil {
		c.Limit = defaultLimit
	} else if c.Limit < 1 || c.Limit > maxCleanUps {
		errs.Add(at.Pos, at.Path, "must be between 1 and %d, got %s", maxCleanUps, at.Found())
	}
	if at := n.Get("within"); at == nil {
		c.Within = block.Duration(defaultWithin)
	} else if c.Within.D() < time.Second || c.Within.D() > maxWithin {
		errs.Add(at.Pos, at.Path, "must be between 1s and 1h, got %s", at.Found())
	}
}

func (c *CleanUpSteps) compile(k *compiler, at *block.Node, in place) {
	if k.part != "" {
		k.o.Errors.Add(at.Pos, at.Path, "cannot stand within %s", k.part).Hint = "what is created here is removed in teardown"
		return
	}
	k.line(in, "clean up later, %d at once, at most %d wait", c.Limit, c.Keep)
	p, _ := k.aside(&c.Steps, CleanUp, in.symbols)
	k.p.CleanUps = append(k.p.CleanUps, p)
	k.p.CleanUpWithin = max(k.p.CleanUpWithin, c.Within.D())
	k.emit(op{code: opCleanUp, cleanup: &cleanup{p, c.Keep, c.Limit}})
}

// A cleanup is what opCleanUp leaves for later.
type cleanup struct {
	program     *Program
	keep, limit int
}

// A Remnant is something that an iteration created and nobody has removed yet.
type Remnant struct {
	// Program removes it, as one iteration that begins with vars.
	Program *Program
	vars    []expr.Value
	// Keep is how many may wait, and Limit how many are removed at once.
	Keep, Limit int
}

// aside compiles steps that are performed beside the flow. They read what symbols has and set variables of their
// own, which it returns.
func (k *compiler) aside(c *Config, part string, symbols *expr.Symbols) (*Program, *expr.Symbols) {
	inner := &compiler{o: k.o, p: &Program{part: part}, root: k.root, variables: expr.NewSymbols(symbols), labels: k.labels, part: part, using: k.using}
	inner.body(c, place{prefix: part + "/", symbols: inner.variables, times: 1, expected: 1})
	for _, s := range inner.p.Steps {
		if len(s.Objectives) > 0 {
			at := s.Objectives[0].Name
			k.o.Errors.Add(at.Pos, at.Path, "%s is not measured, so that no objective can judge it", part)
		}
	}
	return inner.p, inner.variables
}

// Given are the values of the variables that a program set, for the VUs of another one.
type Given []given

type given struct {
	slot  int
	value expr.Value
}

// Given returns what the last iteration of a VU set.
func (v *VU) Given() (g Given) {
	for _, slot := range v.p.sets {
		g = append(g, given{slot, v.scope.Get(slot)})
	}
	return g
}

// Perform performs one iteration in the caller's goroutine, which begins now; with the variables of what it removes,
// nil for none. It returns soon after ctx ends, with the outcome Interrupted.
func (v *VU) Perform(ctx context.Context, of *Remnant) load.Outcome {
	stop := context.AfterFunc(ctx, v.Interrupt)
	defer stop()
	if !v.Begin(v.rt.Now()) {
		return load.Stopped // there is no row of data for it
	}
	if of != nil {
		v.scope.Vars = append(v.scope.Vars[:0], of.vars...)
	}
	for {
		wake, done := v.Go()
		if done {
			return v.outcome
		}
		timer := time.NewTimer(wake - v.rt.Now())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			v.stopped.Store(true) // Interrupt may come a little later
		}
	}
}
