package engine

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// places are the turns of a closed plan: each VU in a place takes its next turn
// when its last iteration ends.
type places struct {
	*Engine
	// open is how many seats get turns, those with the lowest indexes. Workers read it between iterations; only
	// the loop writes it, and then sees to the seats between the old number and the new one.
	open atomic.Int64

	asked int // seats that the plan asks for
	held  bool

	total uint64 // bound of the iterations of this shard's VUs together, unbounded for none
	perVU uint64 // bound of the iterations of each VU, 0 for none
	taken atomic.Uint64
}

const (
	// A VU that is not admitted sits out for as long as its last iteration took, within these bounds.
	leastSitOut = 100 * time.Millisecond
	mostSitOut  = 10 * time.Second
	// retryVU is how long after a VU could not be made it is tried again.
	retryVU = time.Second
)

// unbounded is the total of a plan that does not end after a number of iterations.
const unbounded = math.MaxUint64

func newPlaces(e *Engine) *places {
	end := e.o.Plan.End()
	p := &places{Engine: e, total: unbounded, perVU: end.PerVU}
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

func (p *places) run() {
	p.now = p.Now()
	p.follow(p.now)
	for p.serve(pace.Forever) != over {
	}
}

// ask changes the number of seats to what the plan asks for at a time that has come.
func (p *places) ask(n int, at time.Duration) {
	was := p.asked
	p.asked = n
	switch {
	case p.held:
	case n > was:
		p.raise(was, at)
	case n < was:
		p.lower(was, at)
	}
}

// raise opens the seats from one up to those asked for. A seat that still has its VU goes on with it.
func (p *places) raise(from int, at time.Duration) {
	p.open.Store(int64(p.asked))
	for i := from; i < p.asked; i++ {
		if i == len(p.seats.all) {
			p.seats.add()
		}
		s := p.seats.all[i]
		s.leave = 0
		if s.move(vacant, opening) {
			s.due = at
			p.dispatch(s)
		}
	}
}

// lower lets the seats between those asked for and an older number go, each after its iteration.
func (p *places) lower(from int, at time.Duration) {
	p.open.Store(int64(p.asked))
	for _, s := range p.seats.all[p.asked:from] {
		switch s.state.Load() {
		case vacant:
		case waiting, missing:
			p.condemn(s)
		default:
			s.leave = max(1, at+p.o.GracefulRampDown)
			p.leaves.push(wake{s.leave, s.index})
		}
	}
}

func (p *places) hold(load.Reason) {
	p.held = true
	p.open.Store(0)
}

func (p *places) release() {
	p.held = false
	p.raise(0, p.now)
}

// wants says whether the plan has turns for a seat.
func (p *places) wants(s *seat) bool {
	return int64(s.index) < p.open.Load() &&
		(p.perVU == 0 || s.started.Load() < p.perVU) &&
		(p.total == unbounded || p.taken.Load() < p.total)
}

func (p *places) begin(s *seat, now time.Duration) bool {
	if p.o.Admit != nil {
		if _, ok := p.o.Admit(now); !ok {
			p.rest(s, active, waiting, now+max(leastSitOut, s.sitOut))
			return false
		}
	}
	if p.total != unbounded && p.taken.Add(1) > p.total {
		return p.leave(s)
	}
	p.start(s, now)
	return true
}

func (p *places) next(s *seat, end time.Duration) bool {
	s.sitOut = min(end-s.start, mostSitOut)
	s.due = end
	return s.is(active) && p.wants(s) || p.leave(s)
}

// leave closes the VU of a seat that has no more turns, or whose VU was interrupted.
func (p *places) leave(s *seat) bool {
	s.move(active, condemned)
	return p.vacate(s)
}

func (p *places) unopened(s *seat, made bool) bool {
	if !made {
		p.rest(s, opening, missing, p.Now()+retryVU)
		return false
	}
	return p.vacate(s)
}

// vacated takes a seat again that is wanted: the loop may have opened it while its VU was leaving. The loop first
// writes open and then looks at states; here it is the other way round, so one of the two sees the other.
func (p *places) vacated(s *seat) bool {
	for p.wants(s) && s.move(vacant, opening) {
		if p.wants(s) {
			s.due = p.Now()
			return true
		}
		s.state.Store(vacant)
	}
	return false
}

func (p *places) exhausted() bool {
	switch {
	case p.total != unbounded && p.taken.Load() >= p.total:
		return true
	case p.perVU == 0 || len(p.seats.all) < p.asked:
		return false
	case p.asked == 0: // this shard has no VU, and gets none where the plan does not change any more
		return p.change == pace.Forever
	}
	for _, s := range p.seats.all[:p.asked] {
		if s.started.Load() < p.perVU {
			return false
		}
	}
	return true
}
