package pace

import (
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

// A Checker reports what is wrong with a decoded block, at the place where it was
// written.
type Checker struct {
	At       *block.Node // the block: of the workload, or what In returned
	Executor string      // the name of the workload's executor
	Model    Model       // of an executor with stages: whether its levels are rates or virtual users
	Partial  bool        // some values have mistakes already: they are those of the defaults, or nil

	kinds Kinds
	errs  *block.Errors
}

// Fail reports a mistake at a key, or at the whole block where the key is missing.
func (c *Checker) Fail(key, format string, args ...any) *block.Error {
	if n := c.At.Get(key); n != nil {
		return c.errs.Add(n.Pos, n.Path, format, args...)
	}
	return c.errs.Add(c.At.Pos, block.Join(c.At.Path, key), format, args...)
}

// In returns a checker of the mapping at a key, which must be there.
func (c *Checker) In(key string) *Checker {
	inner := *c
	inner.At = c.At.Get(key)
	return &inner
}

// VUs reports a number of virtual users that is less than least or more than one
// process can have; nil is no mistake.
func (c *Checker) VUs(key string, n *int, least int) bool {
	if n != nil && (*n < least || *n > mostVUs) {
		c.Fail(key, "must be between %d and %d, got %d", least, mostVUs, *n)
		return false
	}
	return true
}

// Target reports a level that was written and is not of the executor's model. One
// that should have been a rate is decoded again as one, for the message.
func (c *Checker) Target(t Target) {
	switch n := t.At; {
	case n == nil: // required, which was reported, or computed
	case c.Model == OpenModel && t.Rate == nil:
		block.Decode(n, new(block.Rate), c.errs)
	case c.Model == ClosedModel && t.VUs == nil:
		c.errs.Add(n.Pos, n.Path, "must be a number of virtual users, got %s", n.Found()).Hint = c.ratesBelong()
	case c.Model == ClosedModel && (*t.VUs < 0 || *t.VUs > mostVUs):
		c.errs.Add(n.Pos, n.Path, "must be between 0 and %d, got %d", mostVUs, *t.VUs)
	}
}

// ratesBelong names the executors whose levels are rates.
func (c *Checker) ratesBelong() string {
	var names []string
	for _, e := range c.kinds.Executors {
		if f, ok := e.New().(follower); ok && f.follows().model == OpenModel {
			names = append(names, e.Name)
		}
	}
	if names == nil {
		return ""
	}
	return "rates belong to " + strings.Join(names, " and ")
}

// exact checks the size of each rate, and that the plan can be computed without
// rounding any of them.
func (c *Checker) exact(levels ...Target) {
	fine := scale(1)
	for _, t := range levels {
		n, r := t.At, *t.Rate
		if n == nil {
			n = c.At
		}
		if r.PerSecond() > mostRate {
			c.errs.Add(n.Pos, n.Path, "must be at most %d/s, got %s", mostRate, r)
			continue
		}
		var err error
		if fine, err = fine.refine(r); err != nil {
			c.errs.Add(n.Pos, n.Path, "%s %v", r, err).Hint = "write fewer decimals, or a longer unit of time: 1000/m rather than 16.6666666666667/s"
		}
	}
}

// duration reports a duration that was written and is 0.
func (c *Checker) duration(d block.Duration) {
	if c.At.Get("duration") != nil && d == 0 {
		c.Fail("duration", "must be more than 0").Hint = "leave it out to run as long as the schedule says"
	}
}

// example is a level as it may be written.
func (m Model) example() string {
	if m == OpenModel {
		return "50/s"
	}
	return "50"
}
