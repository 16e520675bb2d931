package pace

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Shape describes one form that the level of an executor with stages can take
// over time. The key Name of a workload chooses it and holds its block.
type Shape struct {
	Name string // such as stages
	Doc  string // what the key means, in one line
	// New returns a new block with the defaults set: a pointer, which is decoded into.
	New func() Curve
}

// A Curve is the decoded block of a shape. Check comes first; the other methods
// are called only where it reported nothing, and change nothing.
type Curve interface {
	// Check reports what is wrong with the values, as a Workload's does.
	// Whether the stages last too long, or ask for no load at all, is not its to say.
	Check(c *Checker)
	// Stages lays the curve out as straight lines. The first begins at the
	// executor's start level.
	Stages() []Stage
	// Describe says in words how the load goes on from a level: " → 50/s over 5m".
	Describe(start Target) string
}

// A Stage is a straight line from the level before to its target.
type Stage struct {
	Duration block.Duration `yaml:"duration" block:"required" scale:"time" doc:"How long the stage lasts; 0s jumps to the target at once."`
	Target   Target         `yaml:"target" block:"required" scale:"load" doc:"The level at the stage's end: a rate such as 50/s for ramping-arrival-rate, a number of virtual users for ramping-vus."`
}

// A Repeat says which stages are done again after the last, and how often.
type Repeat struct {
	From  int `yaml:"from" doc:"The stage, counted from 0, with which each further lap begins; it continues from the last stage's target."`
	Times int `yaml:"times" doc:"How many laps follow the first pass; for ever by default."`
}

// A Target is a level of load: exactly one of Rate, in the open model, and VUs,
// in the closed one, is set. The way it was written says which.
type Target struct {
	Rate *block.Rate
	VUs  *int
	// At is where it was written, nil for a computed one.
	At *block.Node
}

// DecodeBlock decodes a whole number as VUs and anything else as a rate.
func (t *Target) DecodeBlock(n *block.Node, errs *block.Errors) {
	t.At = n
	if n.Kind == block.Int {
		block.Decode(n, &t.VUs, errs)
		return
	}
	block.Decode(n, &t.Rate, errs)
}

// ScaleBlock scales either form.
func (t *Target) ScaleBlock(by float64) {
	if t.VUs != nil {
		*t.VUs = block.Times(*t.VUs, by)
	}
	if t.Rate != nil {
		*t.Rate = t.Rate.Times(by)
	}
}

// JSONSchema describes both forms.
func (Target) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{block.Schema(block.Rate{}), block.Schema(0)}}
}

// String returns the target as it was written, with its unit.
func (t Target) String() string {
	switch {
	case t.Rate != nil:
		return t.Rate.String()
	case *t.VUs == 1:
		return "1 VU"
	}
	return fmt.Sprintf("%d VUs", *t.VUs)
}

// Level returns the target in iterations per second, or as a number of virtual users.
func (t Target) Level() float64 {
	if t.VUs != nil {
		return float64(*t.VUs)
	}
	return t.Rate.PerSecond()
}

// is reports whether the target is one of a model.
func (t Target) is(m Model) bool {
	return m == OpenModel && t.Rate != nil || m == ClosedModel && t.VUs != nil
}

// to returns a computed target of the same unit at a level, rounded to a whole virtual
// user, or to a rate that a plan can keep exactly beside others.
func (t Target) to(level float64) Target {
	if t.VUs != nil {
		n := int(math.Round(level))
		return Target{VUs: &n}
	}
	rate := block.Rate{Count: level * t.Rate.Per.Seconds(), Per: t.Rate.Per}.Round()
	return Target{Rate: &rate}
}

// plus returns a computed target that is higher by a number of steps.
func (t Target) plus(n float64, step Target) Target { return t.to(t.Level() + n*step.Level()) }

// A counted curve knows how many stages it has though their values are wrong: at least one.
type counted interface {
	Curve
	count() int
}

// A cyclic curve goes on for ever where the workload says nothing of laps.
type cyclic interface {
	Curve
	// laps says with which stage each lap begins.
	laps() *Repeat
}

// A fed curve may follow what is measured while it is followed.
type fed interface {
	Curve
	// feed is what it follows, nil where the level is known beforehand.
	feed() *Feed
}

// A follower is an executor's block whose level follows a shape. It embeds shaped,
// so that an executor with stages is a file of this package.
type follower interface{ follows() *shaped }

// A shaped is what the blocks of all executors with stages have in common.
type shaped struct {
	Repeat *Repeat `yaml:"repeat" doc:"Goes on with another lap through the stages after the last; without it the workload ends there."`

	model Model
	name  string // of the shape
	curve Curve  // nil where the workload names no shape
}

func (s *shaped) follows() *shaped { return s }

// repeat is what the workload says of laps, or its shape.
func (s *shaped) repeat() *Repeat {
	if c, ok := s.curve.(cyclic); ok && s.Repeat == nil {
		return c.laps()
	}
	return s.Repeat
}

// check checks shape and laps, given the level at the beginning.
func (s *shaped) check(c *Checker, start Target) {
	if s.curve == nil {
		s.missing(c)
		return
	}
	before := c.errs.Len()
	s.curve.Check(c)
	if c.Partial || c.errs.Len() > before {
		if s.Repeat != nil {
			stages := 0
			if l, ok := s.curve.(counted); ok {
				stages = l.count()
			}
			s.checkRepeat(c.In("repeat"), stages)
		}
		return
	}
	stages := s.curve.Stages()
	switch {
	case over(stages, 1) > float64(mostLength):
		c.Fail(s.name, "together last longer than can be counted")
	case lasting(stages) == 0:
		c.Fail(s.name, "together must last more than 0")
	case peak(start, stages) == 0:
		c.Fail(s.name, "ask for no load: the start and every target is 0")
	}
	if s.Repeat != nil && s.checkRepeat(c.In("repeat"), len(stages)) && c.errs.Len() == before {
		s.checkLap(c.In("repeat"), stages)
	}
	if r := s.repeat(); s.Repeat == nil && r != nil && lasting(stages[r.From:]) < shortestLap {
		c.Fail(s.name, "a lap lasts %s: it must last at least %s", block.Duration(lasting(stages[r.From:])), block.Duration(shortestLap))
	}
}

// missing reports that the workload names no shape.
func (s *shaped) missing(c *Checker) {
	var names []string
	for _, k := range c.kinds.Shapes {
		names = append(names, k.Name)
	}
	c.errs.Add(c.At.Pos, c.At.Path, "%s needs one of %s", c.Executor, strings.Join(names, ", ")).Hint = "write stages: [{duration: 5m, target: " + c.Model.example() + "}]"
}

// checkRepeat reports a lap that is not one of some stages, 0 where their number is not known, or a
// number of laps that is none.
func (s *shaped) checkRepeat(c *Checker, stages int) bool {
	before := c.errs.Len()
	r := s.Repeat
	switch {
	case stages > 0 && (r.From < 0 || r.From >= stages):
		c.Fail("from", "must be a stage, 0 to %d, got %d", stages-1, r.From).Hint = "stages are counted from 0"
	case r.From < 0:
		c.Fail("from", "must not be negative, got %d", r.From).Hint = "stages are counted from 0"
	}
	if r.Times < 0 {
		c.Fail("times", "must not be negative, got %d", r.Times).Hint = "leave it out to repeat for ever"
	}
	return c.errs.Len() == before
}

// checkLap reports laps that are too short, too long or without load.
func (s *shaped) checkLap(c *Checker, stages []Stage) {
	r := s.Repeat
	lap := stages[r.From:]
	sum, length := area(lap, last(stages))
	switch {
	case length < shortestLap.Seconds():
		c.Fail("from", "the stages from %d on last %s: a lap must last at least %s", r.From, block.Duration(lasting(lap)), block.Duration(shortestLap))
	case sum == 0:
		c.Fail("from", "the stages from %d on ask for no load", r.From).Hint = "leave repeat out to end there"
	case over(stages, 1)+over(lap, r.Times) > float64(mostLength):
		c.Fail("times", "%d laps last longer than can be counted", r.Times).Hint = "leave it out to repeat for ever"
	}
}

// summary returns the parts of a Summary that stages and laps decide.
func (s *shaped) summary(start Target) Summary {
	stages := s.curve.Stages()
	out := Summary{Model: s.model, Peak: peak(start, stages)}
	switch r := s.repeat(); {
	case r == nil:
		out.End = End{Time: lasting(stages)}
		sum, length := area(stages, start.Level())
		out.Mean = sum / length
	case r.Times == 0:
		lap, end := stages[r.From:], stages[len(stages)-1].Target
		out.Cycle = lasting(lap)
		out.LapPeak = peak(end, lap)
		out.Once = lasting(stages[:r.From]) > 0 || r.From == 0 && lap[0].Duration > 0 && start.Level() != end.Level()
		sum, length := area(lap, last(stages))
		out.Mean = sum / length
	default:
		lap := stages[r.From:]
		out.End = End{Time: lasting(stages) + time.Duration(r.Times)*lasting(lap)}
		sum, length := area(stages, start.Level())
		lapSum, lapLength := area(lap, last(stages))
		times := float64(r.Times)
		out.Mean = (sum + times*lapSum) / (length + times*lapLength)
	}
	return out
}

func (s *shaped) describe(start Target) string {
	text := start.String() + s.curve.Describe(start)
	if r := s.Repeat; r != nil {
		text += fmt.Sprintf(", repeats from stage %d", r.From)
		if r.Times > 0 {
			text += fmt.Sprintf(" %d×", r.Times)
		}
	}
	return text
}

// profile lays stages and laps out in time.
func (s *shaped) profile(start Target) (*profile, error) {
	return newProfile(start, s.curve.Stages(), s.repeat(), s.summary(start).End)
}

// feed is what the level follows, nil where it is known beforehand.
func (s *shaped) feed() *Feed {
	if c, ok := s.curve.(fed); ok {
		return c.feed()
	}
	return nil
}

// peak is the highest of the start and all targets.
func peak(start Target, stages []Stage) float64 {
	most := start.Level()
	for _, s := range stages {
		most = max(most, s.Target.Level())
	}
	return most
}

// last is the level of the last target.
func last(stages []Stage) float64 { return stages[len(stages)-1].Target.Level() }

// lasting is how long some stages last together.
func lasting(stages []Stage) time.Duration {
	var sum time.Duration
	for _, s := range stages {
		sum += s.Duration.D()
	}
	return sum
}

// over is how long some laps last, in nanoseconds; it does not overflow.
func over(stages []Stage, times int) float64 {
	var sum float64
	for _, s := range stages {
		sum += float64(s.Duration)
	}
	return sum * float64(times)
}

// area integrates the level over stages, from a level at their beginning. Length
// is in seconds.
func area(stages []Stage, level float64) (sum, length float64) {
	for _, s := range stages {
		d := s.Duration.D().Seconds()
		sum += d * (level + s.Target.Level()) / 2
		length += d
		level = s.Target.Level()
	}
	return sum, length
}
