package pace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// Stairs holds one level after another, each higher than the last by the same step.
var Stairs = Shape{
	Name: "stairs",
	Doc:  "Levels that are held one after another, each higher than the last by the same step.",
	New:  func() Curve { return &stairs{Levels: 1} },
}

type stairs struct {
	From   Target         `yaml:"from" block:"required" scale:"load" doc:"The first level."`
	Step   Target         `yaml:"step" block:"required" scale:"load" doc:"By how much each level is higher than the one before."`
	Levels int            `yaml:"levels" block:"required" doc:"How many levels there are, the first among them."`
	Hold   block.Duration `yaml:"hold" block:"required" scale:"time" doc:"How long each level is held."`
	Climb  block.Duration `yaml:"climb" scale:"time" doc:"How long the way from one level to the next takes; 0s, at once, by default."`
}

// mostLevels bounds how many levels a shape lays out.
const mostLevels = 10_000

func (s *stairs) Check(c *Checker) {
	c.Target(s.From)
	c.Target(s.Step)
	in := c.In(Stairs.Name)
	in.levels(s.Levels)
	in.positive("hold", s.Hold)
}

func (s *stairs) Stages() []Stage {
	stages := []Stage{{Target: s.From}, {Duration: s.Hold, Target: s.From}}
	for i := 1; i < s.Levels; i++ {
		next := s.From.plus(float64(i), s.Step)
		stages = append(stages, Stage{Duration: s.Climb, Target: next}, Stage{Duration: s.Hold, Target: next})
	}
	return stages
}

func (s *stairs) Describe(Target) string {
	text := fmt.Sprintf(", then %d levels from %s to %s, each for %s", s.Levels, s.From, s.From.plus(float64(s.Levels-1), s.Step), s.Hold)
	if s.Climb > 0 {
		text += fmt.Sprintf(", %s between two", s.Climb)
	}
	return text
}

// Spike is a surge from a base level to a peak, and the way back.
var Spike = Shape{
	Name: "spike",
	Doc:  "A surge from a base level to a peak that is held, the way back, and the time to recover.",
	New:  func() Curve { return &spike{} },
}

type spike struct {
	Base    Target         `yaml:"base" block:"required" scale:"load" doc:"The level before and after."`
	Peak    Target         `yaml:"peak" block:"required" scale:"load" doc:"The level of the surge."`
	Before  block.Duration `yaml:"before" scale:"time" doc:"How long the base level is held first; 0s by default."`
	Surge   block.Duration `yaml:"surge" scale:"time" doc:"How long the way up takes; 0s, at once, by default."`
	Hold    block.Duration `yaml:"hold" block:"required" scale:"time" doc:"How long the peak is held."`
	Drop    block.Duration `yaml:"drop" scale:"time" doc:"How long the way down takes; 0s, at once, by default."`
	Recover block.Duration `yaml:"recover" scale:"time" doc:"How long the base level is held afterwards; 0s by default."`
}

func (s *spike) Check(c *Checker) {
	c.Target(s.Base)
	c.Target(s.Peak)
	c.In(Spike.Name).higher("peak", s.Peak, "base", s.Base)
}

func (s *spike) Stages() []Stage {
	return []Stage{
		{Target: s.Base},
		{Duration: s.Before, Target: s.Base},
		{Duration: s.Surge, Target: s.Peak},
		{Duration: s.Hold, Target: s.Peak},
		{Duration: s.Drop, Target: s.Base},
		{Duration: s.Recover, Target: s.Base},
	}
}

func (s *spike) Describe(Target) string {
	return fmt.Sprintf(", then %s for %s, up to %s within %s for %s, and back within %s for %s", s.Base, s.Before, s.Peak, s.Surge, s.Hold, s.Drop, s.Recover)
}

// RampAndHold is a way up to a level that is held.
var RampAndHold = Shape{
	Name: "ramp_and_hold",
	Doc:  "The way from the start to a level, and how long that is held.",
	New:  func() Curve { return &rampAndHold{} },
}

type rampAndHold struct {
	Target   Target         `yaml:"target" block:"required" scale:"load" doc:"The level."`
	Ramp     block.Duration `yaml:"ramp" block:"required" scale:"time" doc:"How long the way from the start to it takes."`
	Hold     block.Duration `yaml:"hold" block:"required" scale:"time" doc:"How long it is held."`
	RampDown block.Duration `yaml:"ramp_down" scale:"time" doc:"How long the way down to nothing takes afterwards; 0s, none, by default."`
}

func (s *rampAndHold) Check(c *Checker) { c.Target(s.Target) }

func (s *rampAndHold) Stages() []Stage {
	stages := []Stage{{Duration: s.Ramp, Target: s.Target}, {Duration: s.Hold, Target: s.Target}}
	if s.RampDown > 0 {
		stages = append(stages, Stage{Duration: s.RampDown, Target: s.Target.to(0)})
	}
	return stages
}

func (s *rampAndHold) Describe(Target) string {
	text := fmt.Sprintf(" → %s over %s, then for %s", s.Target, s.Ramp, s.Hold)
	if s.RampDown > 0 {
		text += fmt.Sprintf(", then → %s over %s", s.Target.to(0), s.RampDown)
	}
	return text
}

// Sine is a level that rises and falls as day and night do.
var Sine = Shape{
	Name: "sine",
	Doc:  "A level that swings between two, as between day and night; for ever, where the workload has no repeat.",
	New:  func() Curve { return &sine{Period: block.Duration(24 * time.Hour)} },
}

type sine struct {
	Low    Target          `yaml:"low" block:"required" scale:"load" doc:"The lowest level."`
	High   Target          `yaml:"high" block:"required" scale:"load" doc:"The highest level."`
	Period block.Duration  `yaml:"period" scale:"time" doc:"Time from one peak to the next; 24h by default."`
	Peak   *block.Duration `yaml:"peak" scale:"time" doc:"How long after a period's beginning the level is highest: of an always-on scenario, after the anchor of its schedule; half a period by default."`
}

// chords is how many straight lines a period of a sine is laid out as. A line is off the
// curve by at most (π/chords)²/2 of the amplitude, a twentieth of a percent; over a
// period they have the curve's mean exactly.
const chords = 96

func (s *sine) Check(c *Checker) {
	c.Target(s.Low)
	c.Target(s.High)
	in := c.In(Sine.Name)
	in.higher("high", s.High, "low", s.Low)
	in.positive("period", s.Period)
	if s.Peak != nil && *s.Peak > s.Period {
		in.Fail("peak", "must be at most the period (%s), got %s", s.Period, *s.Peak)
	}
}

// level is that of an instant, in parts of a period since its beginning.
func (s *sine) level(at float64) Target {
	peak := 0.5
	if s.Peak != nil {
		peak = float64(*s.Peak) / float64(s.Period)
	}
	low, high := s.Low.Level(), s.High.Level()
	return s.High.to((low + high + (high-low)*math.Cos(2*math.Pi*(at-peak))) / 2)
}

// Stages begins with a jump; the lines of a period follow.
func (s *sine) Stages() []Stage {
	stages := []Stage{{Target: s.level(0)}}
	// The lengths add up to the period whether or not it can be divided.
	whole, rest := s.Period/chords, s.Period%chords
	for i := block.Duration(1); i <= chords; i++ {
		length := whole + rest*i/chords - rest*(i-1)/chords
		stages = append(stages, Stage{Duration: length, Target: s.level(float64(i%chords) / chords)})
	}
	return stages
}

func (s *sine) laps() *Repeat { return &Repeat{From: 1} }

func (s *sine) Describe(Target) string {
	return fmt.Sprintf(", then between %s and %s with a period of %s", s.Low, s.High, s.Period)
}

// Randomized is a level that is drawn anew again and again.
var Randomized = Shape{
	Name: "randomized",
	Doc:  "Levels that are drawn at random between two; for ever, where the workload has no repeat.",
	New:  func() Curve { return &randomized{Levels: 1000} },
}

type randomized struct {
	Low    Target         `yaml:"low" block:"required" scale:"load" doc:"The lowest level."`
	High   Target         `yaml:"high" block:"required" scale:"load" doc:"The highest level."`
	Hold   block.Duration `yaml:"hold" block:"required" scale:"time" doc:"How long each level is held."`
	Climb  block.Duration `yaml:"climb" scale:"time" doc:"How long the way from one level to the next takes; 0s, at once, by default."`
	Levels int            `yaml:"levels" doc:"How many levels are drawn before they come again; 1000 by default."`
	Seed   int            `yaml:"seed" doc:"Which levels they are: the same seed draws the same, on all shards and after a restart; 0 by default."`
}

func (s *randomized) Check(c *Checker) {
	c.Target(s.Low)
	c.Target(s.High)
	in := c.In(Randomized.Name)
	in.higher("high", s.High, "low", s.Low)
	in.levels(s.Levels)
	in.positive("hold", s.Hold)
}

func (s *randomized) Stages() []Stage {
	rng := rand.New(rand.NewPCG(mix(uint64(s.Seed), 1), 0))
	low, high := s.Low.Level(), s.High.Level()
	draw := func() Target {
		if s.High.VUs != nil { // each number has the same chance
			return s.High.to(low + float64(rng.IntN(int(high-low)+1)))
		}
		return s.High.to(low + (high-low)*rng.Float64())
	}
	first := draw()
	stages := []Stage{{Target: first}, {Duration: s.Hold, Target: first}}
	for range s.Levels - 1 {
		next := draw()
		stages = append(stages, Stage{Duration: s.Climb, Target: next}, Stage{Duration: s.Hold, Target: next})
	}
	return append(stages, Stage{Duration: s.Climb, Target: first})
}

func (s *randomized) laps() *Repeat { return &Repeat{From: 1} }

func (s *randomized) Describe(Target) string {
	return fmt.Sprintf(", then at random between %s and %s, each level for %s", s.Low, s.High, s.Hold)
}

// levels reports a number of levels that cannot be laid out.
func (c *Checker) levels(n int) {
	if n < 1 || n > mostLevels {
		c.Fail("levels", "must be between 1 and %d, got %d", mostLevels, n)
	}
}

// positive reports a duration that is 0.
func (c *Checker) positive(key string, d block.Duration) {
	if d <= 0 && !c.Partial {
		c.Fail(key, "must be more than 0")
	}
}

// higher reports a level that is not higher than another.
func (c *Checker) higher(key string, high Target, than string, low Target) {
	if high.is(c.Model) && low.is(c.Model) && (high.Level() < low.Level() || high.Level() == low.Level() && c.At.Scaling().Load == 1) {
		c.Fail(key, "must be more than %s (%s), got %s", than, low, high)
	}
}
