package engine

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// A closedSource gives the turns of the closed model: each VU takes its next turn
// when its last iteration ends.
type closedSource struct {
	*Engine
	// live is the number of slots that get turns, those with the lowest indexes. Workers read it between
	// iterations; only the loop writes it, and then opens or closes the slots between the old number and the new.
	live atomic.Int64

	asked int  // number of slots that the plan asks for
	held  bool // no slot gets turns, because of a pause or the end of the run

	total uint64        // bound of the iterations of this shard's VUs together, unbounded for none
	perVU uint64        // bound of the iterations of each VU, 0 for none
	taken atomic.Uint64 // iterations that were started, or asked for, where total is a bound
}

const (
	// leastSitOut and mostSitOut bound how long a VU that is not admitted waits: as long as its last iteration took.
	leastSitOut = 100 * time.Millisecond
	mostSitOut  = 10 * time.Second
	// retryVU is the time from a failure to make a VU to the next attempt.
	retryVU = time.Second
)

// unbounded is the total of a plan that does not end after a number of iterations.
const unbounded = math.MaxUint64

func newClosedSource(e *Engine) *closedSource {
	end := e.o.Plan.End()
	p := &closedSource{Engine: e, total: unbounded, perVU: end.PerVU}
	if end.Total > 0 {
		p.total = e.totalOf(end.Total)
	}
	return p
}

// totalOf is this shard's share of a total of iterations. Where there are fewer
// VUs than shards, only the shards that have one take part.
func (e *Engine) totalOf(total uint64) uint64 {
	shards := e.o.Shards
	if vus := e.o.Plan.At(0).VUs; vus > 0 && vus < shards {
		shards = vus
	}
	if e.o.Shard >= shards {
		return 0
	}
	return uint64(pace.Share(int(min(total, math.MaxInt)), e.o.Shard, shards))
}

func (c *closedSource) run() {
	c.now = c.Now()
	c.follow(c.now)
	for c.serve(pace.Forever) != over {
	}
}

// ask changes the number of slots that get turns, at an engine time that was reached.
func (c *closedSource) ask(n int, at time.Duration) {
	was := c.asked
	c.asked = n
	switch {
	case c.held:
	case n > was:
		c.raise(was, at)
	case n < was:
		c.lower(was, at)
	}
}

// raise opens the slots from an index up to the number asked for, one after another where they are spread. A slot
// that still has its VU keeps it.
func (c *closedSource) raise(from int, at time.Duration) {
	c.live.Store(int64(c.asked))
	n, over := c.asked-from, time.Duration(0)
	if c.o.StartOver != nil {
		over = c.o.StartOver(n * max(1, c.o.Shards))
	}
	for i := from; i < c.asked; i++ {
		if i == len(c.slots.all) {
			c.slots.add()
		}
		s := c.slots.all[i]
		s.leave = 0
		if later := time.Duration(float64(over) * float64(i-from) / float64(n)); later > 0 {
			if s.move(vacant, missing) {
				s.wake = at + later
				c.asleep.push(wake{s.wake, s.index})
			}
			continue
		}
		if s.move(vacant, opening) {
			s.due = at
			c.dispatch(s)
		}
	}
}

// lower closes the slots from the number asked for up to an older number, each after its iteration.
func (c *closedSource) lower(from int, at time.Duration) {
	c.live.Store(int64(c.asked))
	for _, s := range c.slots.all[c.asked:from] {
		switch s.state.Load() {
		case vacant:
		case waiting, missing:
			c.interrupt(s)
		default:
			s.leave = max(1, at+c.o.GracefulRampDown)
			c.rampDowns.push(wake{s.leave, s.index})
		}
	}
}

func (c *closedSource) hold(load.Reason) {
	c.held = true
	c.live.Store(0)
}

func (c *closedSource) release() {
	c.held = false
	c.raise(0, c.now)
}

// wants reports whether the plan has a turn for a slot.
func (c *closedSource) wants(s *slot) bool {
	return int64(s.index) < c.live.Load() && !c.nothingLeft.Load() &&
		(c.perVU == 0 || s.started.Load() < c.perVU) &&
		(c.total == unbounded || c.taken.Load() < c.total)
}

func (c *closedSource) begin(s *slot, now time.Duration) bool {
	if c.o.Admit != nil {
		if _, ok := c.o.Admit(now); !ok {
			letRest(s.vu)
			c.rest(s, active, waiting, now+max(leastSitOut, s.sitOut))
			return false
		}
	}
	if c.total != unbounded && c.taken.Add(1) > c.total {
		return c.leave(s)
	}
	return c.start(s, now) || c.leave(s)
}

func (c *closedSource) next(s *slot, end time.Duration) bool {
	s.sitOut = min(end-s.start, mostSitOut)
	s.due = end
	return s.is(active) && c.wants(s) || c.leave(s)
}

// leave closes the VU of a slot that has no more turns, or whose VU was interrupted.
func (c *closedSource) leave(s *slot) bool {
	s.move(active, interrupted)
	return c.vacate(s)
}

func (c *closedSource) unopened(s *slot, made bool) bool {
	if !made {
		c.rest(s, opening, missing, c.Now()+retryVU)
		return false
	}
	return c.vacate(s)
}

// vacated takes a slot again that is wanted: the loop may have opened it while its VU was being closed. The loop
// writes live and then reads states; vacated writes the state and then reads live, so that one of the two sees the
// other.
func (c *closedSource) vacated(s *slot) bool {
	for c.wants(s) && s.move(vacant, opening) {
		if c.wants(s) {
			s.due = c.Now()
			return true
		}
		s.state.Store(vacant)
	}
	return false
}

// settle closes the slots that were to begin later, once the iterations of all VUs together are taken.
func (c *closedSource) settle() {
	if c.total == unbounded || c.taken.Load() < c.total {
		return
	}
	for _, s := range c.slots.all {
		if s.is(missing) && c.asleep.remove(s.index) {
			c.evict(s)
		}
	}
}

func (c *closedSource) exhausted() bool {
	switch {
	case c.total != unbounded && c.taken.Load() >= c.total:
		return true
	case c.perVU == 0 || len(c.slots.all) < c.asked:
		return false
	case c.asked == 0: // this shard has no VU, and gets one only with a change of the plan
		return c.change == pace.Forever || ended(c.level(c.change))
	}
	for _, s := range c.slots.all[:c.asked] {
		if s.started.Load() < c.perVU {
			return false
		}
	}
	return true
}
