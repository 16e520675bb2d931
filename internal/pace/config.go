package pace

import (
	"errors"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// The executors, by k6's names.
const (
	ConstantArrivalRate = "constant-arrival-rate"
	RampingArrivalRate  = "ramping-arrival-rate"
	ConstantVUs         = "constant-vus"
	RampingVUs          = "ramping-vus"
)

// How the arrivals of an open workload are spaced.
const (
	Even    = "even"
	Poisson = "poisson"
)

// Executors lists the executors that a workload may name.
func Executors() []string {
	return []string{ConstantArrivalRate, RampingArrivalRate, ConstantVUs, RampingVUs}
}

// A Config is the workload block of a scenario: how much, how fast.
type Config struct {
	Executor string `yaml:"executor" block:"required" doc:"Which model paces the load: constant-arrival-rate, ramping-arrival-rate, constant-vus or ramping-vus, with k6's meaning."`

	Rate      *block.Rate `yaml:"rate" doc:"Iterations started per time, of constant-arrival-rate."`
	StartRate *block.Rate `yaml:"start_rate" doc:"Rate with which ramping-arrival-rate begins, used once; 0/s by default."`
	VUs       *int        `yaml:"vus" doc:"Virtual users of constant-vus; 1 by default."`
	StartVUs  *int        `yaml:"start_vus" doc:"Virtual users with which ramping-vus begins, used once; 1 by default."`
	Stages    []Stage     `yaml:"stages" doc:"The stages of a ramping executor, one after another."`
	Repeat    *Repeat     `yaml:"repeat" doc:"Goes on with another lap through the stages after the last; without it the workload ends there."`

	Duration block.Duration `yaml:"duration" doc:"How long a constant executor runs; without it, as long as the schedule says."`

	Arrivals string `yaml:"arrivals" doc:"How the arrivals of an arrival-rate executor are spaced: even, the default, or poisson."`
	Seed     int    `yaml:"seed" doc:"Seed of poisson arrivals and of the virtual users' random choices; 0 by default."`

	PreAllocatedVUs *int `yaml:"pre_allocated_vus" doc:"Virtual users that an arrival-rate executor makes before it begins; max_vus by default."`
	MaxVUs          *int `yaml:"max_vus" doc:"Most virtual users that an arrival-rate executor may use; pre_allocated_vus by default."`

	WarmUp           block.Duration `yaml:"warm_up" doc:"Time at the beginning of a run, and after a restart, that verdicts leave out; 0s by default."`
	MaxLateness      block.Duration `yaml:"max_lateness" doc:"An arrival that perfd itself is later with than this is dropped, not sent in a burst; 1s by default."`
	GracefulStop     block.Duration `yaml:"graceful_stop" doc:"How long iterations under way may go on after the end before they are interrupted; 30s by default."`
	GracefulRampDown block.Duration `yaml:"graceful_ramp_down" doc:"How long an iteration may go on after ramping-vus took its virtual user away; 30s by default."`
}

// A Stage is a straight line from the level before to its target.
type Stage struct {
	Duration block.Duration `yaml:"duration" block:"required" doc:"How long the stage lasts; 0s jumps to the target at once."`
	Target   Target         `yaml:"target" block:"required" doc:"The level at the stage's end: a rate such as 50/s for ramping-arrival-rate, a number of virtual users for ramping-vus."`
}

// A Repeat says which stages are done again after the last, and how often.
type Repeat struct {
	From  int `yaml:"from" doc:"The stage, counted from 0, with which each further lap begins; it continues from the last stage's target."`
	Times int `yaml:"times" doc:"How many laps follow the first pass; for ever by default."`
}

// A Target is the level at a stage's end. Which of the two it is, the way it was
// written says.
type Target struct {
	Rate *block.Rate
	VUs  *int
}

// DecodeBlock decodes a whole number as VUs and anything else as a rate.
func (t *Target) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind == block.Int {
		block.Decode(n, &t.VUs, errs)
		return
	}
	block.Decode(n, &t.Rate, errs)
}

// JSONSchema describes both forms.
func (Target) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{block.Schema(block.Rate{}), block.Schema(0)}}
}

// DecodeBlock decodes the block over the defaults and validates it.
func (c *Config) DecodeBlock(n *block.Node, errs *block.Errors) {
	type plain Config
	p := plain{
		Arrivals:         Even,
		MaxLateness:      block.Duration(time.Second),
		GracefulStop:     block.Duration(30 * time.Second),
		GracefulRampDown: block.Duration(30 * time.Second),
	}
	before := errs.Len()
	block.Decode(n, &p, errs)
	*c = Config(p)
	if errs.Len() == before {
		validator{c, n, errs}.validate()
	}
}

// JSONSchema describes the block.
func (Config) JSONSchema() map[string]any {
	type plain Config
	return block.Schema(plain{})
}

// Open reports whether arrivals come whatever the target does.
func (c Config) Open() bool { return strings.HasSuffix(c.Executor, "-arrival-rate") }

// Model is "open" or "closed".
func (c Config) Model() string {
	if c.Open() {
		return "open"
	}
	return "closed"
}

// Cycle is how long a lap lasts that repeats for ever; 0 where none does.
func (c Config) Cycle() time.Duration {
	if c.Repeat == nil || c.Repeat.Times > 0 {
		return 0
	}
	return lasting(c.Stages[c.Repeat.From:])
}

// End says when the workload ends by itself; never for one that only its
// schedule ends.
func (c Config) End() End {
	switch {
	case c.Stages == nil:
		return End{Time: c.Duration.D()}
	case c.Repeat == nil:
		return End{Time: lasting(c.Stages)}
	case c.Repeat.Times == 0:
		return End{}
	}
	return End{Time: lasting(c.Stages) + time.Duration(c.Repeat.Times)*lasting(c.Stages[c.Repeat.From:])}
}

// Peak is the highest level the workload asks for: iterations per second of open
// workloads, VUs of closed ones.
func (c Config) Peak() float64 {
	peak := c.start()
	for _, s := range c.Stages {
		peak = max(peak, s.Target.level())
	}
	return peak
}

// Mean is the mean level over the lap that repeats, or over the whole workload
// where none does.
func (c Config) Mean() float64 {
	stages, level := c.Stages, c.start()
	if c.Repeat != nil && c.Repeat.Times == 0 {
		stages, level = c.Stages[c.Repeat.From:], c.last()
	}
	if stages == nil {
		return level
	}
	sum, length := area(stages, level)
	if c.Repeat != nil && c.Repeat.Times > 0 {
		lap, lapLength := area(c.Stages[c.Repeat.From:], c.last())
		sum += float64(c.Repeat.Times) * lap
		length += float64(c.Repeat.Times) * lapLength
	}
	return sum / length
}

// MostVUs is how many VUs there may be at once.
func (c Config) MostVUs() int {
	switch {
	case !c.Open():
		return int(c.Peak())
	case c.MaxVUs != nil:
		return *c.MaxVUs
	}
	return *c.PreAllocatedVUs
}

// FirstVUs is how many VUs are made before the workload begins.
func (c Config) FirstVUs() int {
	switch {
	case !c.Open():
		return int(c.start())
	case c.PreAllocatedVUs != nil:
		return *c.PreAllocatedVUs
	}
	return *c.MaxVUs
}

// start is the level at the beginning.
func (c Config) start() float64 {
	count := func(n *int) float64 {
		if n == nil {
			return 1
		}
		return float64(*n)
	}
	switch c.Executor {
	case ConstantVUs:
		return count(c.VUs)
	case RampingVUs:
		return count(c.StartVUs)
	}
	return c.startRate().PerSecond()
}

func (c Config) startRate() block.Rate {
	switch {
	case c.Rate != nil:
		return *c.Rate
	case c.StartRate != nil:
		return *c.StartRate
	}
	return block.Rate{Per: time.Second}
}

// last is the target of the last stage.
func (c Config) last() float64 { return c.Stages[len(c.Stages)-1].Target.level() }

func (t Target) level() float64 {
	if t.VUs != nil {
		return float64(*t.VUs)
	}
	return t.Rate.PerSecond()
}

func lasting(stages []Stage) time.Duration {
	var sum time.Duration
	for _, s := range stages {
		sum += s.Duration.D()
	}
	return sum
}

// area integrates the level over stages, in seconds.
func area(stages []Stage, level float64) (sum, length float64) {
	for _, s := range stages {
		d := s.Duration.D().Seconds()
		sum += d * (level + s.Target.level()) / 2
		length += d
		level = s.Target.level()
	}
	return sum, length
}

// rates lists the rates the workload names, none for a closed one.
func (c Config) rates() []block.Rate {
	if !c.Open() {
		return nil
	}
	out := []block.Rate{c.startRate()}
	for _, s := range c.Stages {
		out = append(out, *s.Target.Rate)
	}
	return out
}

// course lays the stages out in time.
func (c Config) course() (*course, error) {
	fine, err := scaleOf(c.rates()...)
	if err != nil {
		return nil, err
	}
	units := func(t Target) uint64 {
		if t.Rate != nil {
			return fine.level(*t.Rate)
		}
		return uint64(*t.VUs)
	}
	level := uint64(c.start())
	if c.Open() {
		level = fine.level(c.startRate())
	}
	out := &course{scale: uint64(fine), end: Forever, stages: max(1, len(c.Stages))}
	if length := c.End().Time; length > 0 {
		out.end = length
	}
	if c.Stages == nil {
		out.first.add(0, out.end, level, level)
	}
	for i, s := range c.Stages {
		out.first.add(i, s.Duration.D(), level, units(s.Target))
		level = units(s.Target)
	}
	if c.Repeat != nil {
		for i, s := range c.Stages[c.Repeat.From:] {
			out.lap.add(c.Repeat.From+i, s.Duration.D(), level, units(s.Target))
			level = units(s.Target)
		}
	}
	if out.first.length == 0 {
		return nil, errors.New("a workload without length")
	}
	return out, nil
}
