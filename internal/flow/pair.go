package flow

import (
	"sync"
	"time"

	"github.com/perfd/perfd/internal/feeder"
)

// A Pair makes two runs of a flow alike, which have the same seed and plan and send to different targets: what one
// arrival becomes makes the same random choices and takes the same rows in both, whichever VU has it, and whatever was
// dropped or failed in the one run and not in the other. The Runtimes of both runs share it. Neither run waits for the
// other.
type Pair struct {
	mu      sync.Mutex
	dealers map[*feeder.Feeder]*feeder.Dealer
	turns   map[turnKey]uint64 // that one of the runs took and the other may yet ask for
	asked   []turnKey          // the keys of turns in the order in which they were taken; a ring
	oldest  int                // in asked, once it is full
}

// A turnKey names a row that both runs take: the take-th of what both call by a number.
type turnKey struct {
	from   *feeder.Dealer
	paired uint64
	take   uint32
}

// keptTurns bounds how many turns wait for the other run: those of half a minute at 2,000 rows a second. What one run
// dropped is among them. A run that falls further behind has other rows.
const keptTurns = 1 << 16

// golden is 2^64 divided by the golden ratio: its multiples are far apart.
const golden = 0x9e3779b97f4a7c15

// dealer returns what deals a feeder's rows to both runs.
func (p *Pair) dealer(f *feeder.Feeder, rt *Runtime) *feeder.Dealer {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.dealers[f]
	if d == nil {
		if p.dealers == nil {
			p.dealers = map[*feeder.Feeder]*feeder.Dealer{}
		}
		d = f.Dealer(rt.Seed, rt.Shard, rt.Shards)
		p.dealers[f] = d
	}
	return d
}

// turn returns the turn of a row: that which the other run took for it, or the next one.
func (p *Pair) turn(k turnKey) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if turn, ok := p.turns[k]; ok {
		delete(p.turns, k)
		return turn
	}
	if p.turns == nil {
		p.turns = map[turnKey]uint64{}
	}
	turn := k.from.Turn()
	p.turns[k] = turn
	if len(p.asked) < keptTurns {
		p.asked = append(p.asked, k)
		return turn
	}
	delete(p.turns, p.asked[p.oldest])
	p.asked[p.oldest] = k
	p.oldest = (p.oldest + 1) % keptTurns
	return turn
}

// pair has the iteration that begins make the choices that the other run's makes.
func (v *VU) pair(due time.Duration) {
	rt := v.rt
	if rt.Arrival != nil {
		v.paired = rt.Arrival(due)
	} else {
		v.paired = (rt.begun.Add(1)-1)*uint64(max(1, rt.Shards)) + uint64(rt.Shard)
	}
	v.takes = 0
	v.scope.Rand.Seed(rt.seed(), v.paired)
}
