package pace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// What one process can be asked for; a slip of the keyboard lies beyond.
const (
	mostVUs     = 1_000_000
	mostRate    = 1_000_000 // per second
	mostLength  = Forever / 2
	shortestLap = 100 * time.Millisecond
)

// owners says which executors a key belongs to; keys not listed belong to all.
var owners = map[string][]string{
	"rate":               {ConstantArrivalRate},
	"start_rate":         {RampingArrivalRate},
	"vus":                {ConstantVUs},
	"start_vus":          {RampingVUs},
	"stages":             {RampingArrivalRate, RampingVUs},
	"repeat":             {RampingArrivalRate, RampingVUs},
	"duration":           {ConstantArrivalRate, ConstantVUs},
	"arrivals":           {ConstantArrivalRate, RampingArrivalRate},
	"pre_allocated_vus":  {ConstantArrivalRate, RampingArrivalRate},
	"max_vus":            {ConstantArrivalRate, RampingArrivalRate},
	"max_lateness":       {ConstantArrivalRate, RampingArrivalRate},
	"graceful_ramp_down": {RampingVUs},
}

// instead says what an executor calls the key that another one has.
var instead = map[string]map[string]string{
	"rate":     {RampingArrivalRate: "start_rate and stages", ConstantVUs: "vus", RampingVUs: "start_vus and stages"},
	"vus":      {ConstantArrivalRate: "max_vus", RampingArrivalRate: "max_vus", RampingVUs: "start_vus and stages"},
	"max_vus":  {ConstantVUs: "vus", RampingVUs: "the targets of stages"},
	"duration": {RampingArrivalRate: "the durations of stages", RampingVUs: "the durations of stages"},
	"stages":   {ConstantArrivalRate: "rate", ConstantVUs: "vus"},
}

// otherExecutors are k6's that perfd does not have.
var otherExecutors = []string{"shared-iterations", "per-vu-iterations", "externally-controlled"}

// A validator checks one decoded block.
type validator struct {
	c    *Config
	at   *block.Node
	errs *block.Errors
}

// fail reports a mistake at a key, or at the whole block where the key is missing.
func (v validator) fail(key, format string, args ...any) *block.Error {
	if n := v.at.Get(key); n != nil {
		return v.errs.Add(n.Pos, n.Path, format, args...)
	}
	return v.errs.Add(v.at.Pos, block.Join(v.at.Path, key), format, args...)
}

func (v validator) validate() {
	if !v.executor() || !v.keys() {
		return
	}
	before := v.errs.Len()
	c := v.c
	switch c.Executor {
	case ConstantArrivalRate:
		if c.Rate == nil {
			v.fail("rate", "is required by %s", c.Executor).Hint = "write rate: 50/s"
		} else if c.Rate.Count == 0 {
			v.fail("rate", "must be more than 0, got %s", c.Rate)
		}
	case ConstantVUs:
		v.between("vus", c.VUs, 1)
	case RampingVUs:
		v.between("start_vus", c.StartVUs, 0)
		v.ramp()
	case RampingArrivalRate:
		v.ramp()
	}
	if c.Open() {
		v.open()
	}
	if v.at.Get("duration") != nil && c.Duration == 0 {
		v.fail("duration", "must be more than 0").Hint = "leave it out to run as long as the schedule says"
	}
	if v.errs.Len() == before {
		v.warmUp()
		v.exact()
	}
}

func (v validator) executor() bool {
	name := v.c.Executor
	if slices.Contains(Executors(), name) {
		return true
	}
	if slices.Contains(otherExecutors, name) {
		v.fail("executor", "%s is an executor of k6 that perfd does not have", name).Hint = "known are " + strings.Join(Executors(), ", ")
		return false
	}
	v.fail("executor", "unknown executor %q", name).Hint = block.Nearest(name, Executors())
	return false
}

// keys reports each key that belongs to another executor.
func (v validator) keys() bool {
	before := v.errs.Len()
	for _, k := range v.at.Keys {
		of := owners[k.Name]
		if of == nil || slices.Contains(of, v.c.Executor) {
			continue
		}
		e := v.errs.Add(k.Pos, k.Value.Path, "belongs to %s, the executor is %s", strings.Join(of, " and "), v.c.Executor)
		if use := instead[k.Name][v.c.Executor]; use != "" {
			e.Hint = fmt.Sprintf("%s has %s", v.c.Executor, use)
		}
	}
	return v.errs.Len() == before
}

func (v validator) between(key string, n *int, least int) bool {
	if n != nil && (*n < least || *n > mostVUs) {
		v.fail(key, "must be between %d and %d, got %d", least, mostVUs, *n)
		return false
	}
	return true
}

func (v validator) open() {
	c := v.c
	if c.Arrivals != Even && c.Arrivals != Poisson {
		v.fail("arrivals", "must be %s or %s, got %q", Even, Poisson, c.Arrivals)
	}
	if c.MaxVUs == nil && c.PreAllocatedVUs == nil {
		v.fail("max_vus", "is required by %s", c.Executor).Hint = "arrivals per second times the seconds an iteration lasts, and room for slow days"
	}
	most := v.between("max_vus", c.MaxVUs, 1)
	first := v.between("pre_allocated_vus", c.PreAllocatedVUs, 1)
	if most && first && c.MaxVUs != nil && c.PreAllocatedVUs != nil && *c.PreAllocatedVUs > *c.MaxVUs {
		v.fail("pre_allocated_vus", "must be at most max_vus (%d), got %d", *c.MaxVUs, *c.PreAllocatedVUs)
	}
	if c.MaxLateness == 0 {
		v.fail("max_lateness", "must be more than 0")
	}
}

func (v validator) ramp() {
	c := v.c
	if len(c.Stages) == 0 {
		v.fail("stages", "%s needs at least one", c.Executor).Hint = "write stages: [{duration: 5m, target: " + v.example() + "}]"
		return
	}
	if !v.targets() {
		return
	}
	if over(c.Stages, 1) > float64(mostLength) {
		v.fail("stages", "together last longer than can be counted")
		return
	}
	switch {
	case lasting(c.Stages) == 0:
		v.fail("stages", "together must last more than 0")
	case c.Peak() == 0:
		v.fail("stages", "ask for no load: the start and every target is 0")
	default:
		v.repeat()
	}
}

func (v validator) example() string {
	if v.c.Open() {
		return "50/s"
	}
	return "50"
}

// targets checks that each is of the executor's kind. One of the other kind is
// decoded again as what it should have been, for the message.
func (v validator) targets() bool {
	before := v.errs.Len()
	for i, s := range v.c.Stages {
		n := v.at.Get("stages").Items[i].Get("target")
		switch {
		case v.c.Open() && s.Target.Rate == nil:
			block.Decode(n, new(block.Rate), v.errs)
		case !v.c.Open() && s.Target.VUs == nil:
			v.errs.Add(n.Pos, n.Path, "must be a number of virtual users, got %s", n.Found()).Hint = "rates belong to " + RampingArrivalRate
		case !v.c.Open() && (*s.Target.VUs < 0 || *s.Target.VUs > mostVUs):
			v.errs.Add(n.Pos, n.Path, "must be between 0 and %d, got %d", mostVUs, *s.Target.VUs)
		}
	}
	return v.errs.Len() == before
}

func (v validator) repeat() {
	r := v.c.Repeat
	if r == nil {
		return
	}
	if r.From < 0 || r.From >= len(v.c.Stages) {
		v.failRepeat("from", "must be a stage, 0 to %d, got %d", len(v.c.Stages)-1, r.From).Hint = "stages are counted from 0"
		return
	}
	if r.Times < 0 {
		v.failRepeat("times", "must not be negative, got %d", r.Times).Hint = "leave it out to repeat for ever"
		return
	}
	lap := v.c.Stages[r.From:]
	sum, length := area(lap, v.c.last())
	switch {
	case length < shortestLap.Seconds():
		v.failRepeat("from", "the stages from %d on last %s: a lap must last at least %s", r.From, block.Duration(lasting(lap)), block.Duration(shortestLap))
	case sum == 0:
		v.failRepeat("from", "the stages from %d on ask for no load", r.From).Hint = "leave repeat out to end there"
	case over(v.c.Stages, 1)+over(lap, r.Times) > float64(mostLength):
		v.failRepeat("times", "%d laps last longer than can be counted", r.Times).Hint = "leave it out to repeat for ever"
	}
}

// over is how long some laps last, in nanoseconds; it does not overflow.
func over(stages []Stage, times int) float64 {
	var sum float64
	for _, s := range stages {
		sum += float64(s.Duration)
	}
	return sum * float64(times)
}

func (v validator) failRepeat(key, format string, args ...any) *block.Error {
	return validator{v.c, v.at.Get("repeat"), v.errs}.fail(key, format, args...)
}

func (v validator) warmUp() {
	if length := v.c.End().Time; length > 0 && v.c.WarmUp.D() >= length {
		v.fail("warm_up", "must be shorter than the workload, which lasts %s, got %s", block.Duration(length), v.c.WarmUp)
	}
}

// exact checks the size of each rate, and that the plan can be computed without
// rounding any of them.
func (v validator) exact() {
	fine := scale(1)
	for i, r := range v.c.rates() {
		n := v.rateNode(i)
		if r.PerSecond() > mostRate {
			v.errs.Add(n.Pos, n.Path, "must be at most %d/s, got %s", mostRate, r)
			continue
		}
		var err error
		if fine, err = fine.refine(r); err != nil {
			v.errs.Add(n.Pos, n.Path, "%s %v", r, err).Hint = "write fewer decimals, or a longer unit of time: 1000/m rather than 16.6666666666667/s"
		}
	}
}

// rateNode is where the i-th of the workload's rates was written.
func (v validator) rateNode(i int) *block.Node {
	if i > 0 {
		return v.at.Get("stages").Items[i-1].Get("target")
	}
	for _, key := range []string{"rate", "start_rate"} {
		if n := v.at.Get(key); n != nil {
			return n
		}
	}
	return v.at
}
