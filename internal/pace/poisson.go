package pace

import (
	"hash/fnv"
	"iter"
	"math"
	"math/rand/v2"
	"time"
)

// poisson is a plan whose arrivals form a Poisson process with the plan's rate. The
// arrivals of each cell of one second depend only on hash(seed, scenario, cell), so
// that a plan that starts at any instant has the same arrivals (SEMANTICS section 5).
type poisson struct {
	rates
	seed uint64
}

const cell = time.Second

// Arrivals distributes the arrivals of each cell over the shards in turn. Which shard
// begins is drawn too: the first shard would otherwise get nearly all arrivals of a
// quiet scenario, whose cells contain one arrival or none.
func (p poisson) Arrivals(from time.Duration, shard, of int) iter.Seq[time.Duration] {
	from = max(0, from)
	return func(yield func(time.Duration) bool) {
		begin := from - from%cell
		if begin >= p.end {
			return
		}
		var (
			source rand.PCG
			turn   uint64 // of the shard that the next arrival belongs to
		)
		random := rand.New(&source)
		deal := func(t time.Duration) bool {
			mine := turn == uint64(shard)
			turn = (turn + 1) % uint64(of)
			return !mine || t < from || yield(t)
		}
		for at := p.locate(begin); begin < p.end; begin = later(begin, cell) {
			if !pass(&at, &begin) {
				return
			}
			source.Seed(mix(p.seed, uint64(begin/cell)), p.seed)
			turn = random.Uint64() % uint64(of)
			if !p.draw(&at, begin, random, deal) {
				return
			}
		}
	}
}

// pass moves a cursor to the segment that contains begin. Where that segment has no
// load, begin moves to the cell in which it ends, so that hours without load are not
// walked cell by cell. It reports whether any load follows.
func pass(at *cursor, begin *time.Duration) bool {
	for {
		for at.ends() <= *begin {
			if !at.next() {
				return false
			}
		}
		wakes := at.ends() - at.ends()%cell
		if wakes <= *begin || !at.segment().area().isZero() {
			return true
		}
		*begin = wakes
	}
}

// draw yields the arrivals of the cell at begin to deal and leaves the cursor at a
// segment from which the cell's end is reached. It reports whether deal wants more
// and any load follows.
//
// The gaps between the arrivals of a Poisson process are exponential with mean 1 in
// units of its integrated rate (Çinlar, Introduction to Stochastic Processes, 1975).
// The process is memoryless, so that each cell is drawn by itself.
func (p poisson) draw(at *cursor, begin time.Duration, random *rand.Rand, deal func(time.Duration) bool) bool {
	end := min(later(begin, cell), p.end)
	start, last := begin, begin
	gap := random.ExpFloat64()
	for {
		stop := min(end, at.ends())
		line := p.line(at, start, stop)
		for ; gap < line.area; gap += random.ExpFloat64() {
			t := min(start+time.Duration(line.reaches(gap)), stop-1)
			last = max(last, t) // rounding must not change the order of arrivals
			if !deal(last) {
				return false
			}
		}
		if stop == end {
			return true
		}
		if !at.next() {
			return false
		}
		gap -= line.area
		start = stop
	}
}

// A line is the rate over a part of one segment: at its beginning, in arrivals per
// nanosecond, its slope per nanosecond, and its integral over the part.
type line struct{ from, slope, area float64 }

// line returns the rate between two instants of the cursor's segment.
func (p poisson) line(at *cursor, start, stop time.Duration) line {
	s, scale, length := at.segment(), float64(p.scale), float64(stop-start)
	from, to := s.levelAt(at.since(start))/scale, s.levelAt(at.since(stop))/scale
	return line{from, (to - from) / length, (from + to) / 2 * length}
}

// reaches is the number x of nanoseconds after which the line's integral reaches m:
// the solution of from·x + slope·x²/2 = m.
func (l line) reaches(m float64) float64 {
	return 2 * m / (l.from + math.Sqrt(max(0, l.from*l.from+2*l.slope*m)))
}

// seedOf combines a configured seed with the scenario's name.
func seedOf(seed int, scenario string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(scenario))
	return mix(h.Sum64(), uint64(seed))
}

// mix hashes two words into one with the finalizer of SplitMix64 (Steele, Lea and
// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
func mix(a, b uint64) uint64 {
	z := a + b*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
