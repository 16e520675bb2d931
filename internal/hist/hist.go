// Package hist is the one histogram of perfd: durations from 1 ns to 1 h in
// HdrHistogram's geometry at two significant digits, in octaves that are
// allocated when a value first falls into them.
//
// A value is kept within 1/128 (0.8 %) of itself. Prometheus' native schema 3
// grows by 9 % a bucket, so a percentile read here, from the native histogram
// and from hdrhistogram-go differ by at most one native bucket, while a
// histogram of log-normal latencies takes 2 to 5 KB where hdrhistogram-go's dense array
// takes 36 KB (188 KB at three digits). The unit of 1 ns costs no memory here:
// octaves without values do not exist.
//
// The package imports no other package of perfd.
package hist

import (
	"iter"
	"math"
	"math/bits"
	"time"
)

// Geometry, as hdrhistogram.New(int64(Lowest), int64(Highest), Digits) has it.
const (
	Lowest  = time.Nanosecond
	Highest = time.Hour
	Digits  = 2

	octaveBits = 7 // 2·10^Digits rounded up to a power of two is 256; an octave is its upper half
	octaveLen  = 1 << octaveBits
	octaves    = 36 // the first one holds 0..127, the last one ends at 2^42 ns, the first power of two above Highest
	slots      = octaves * octaveLen
)

type octave [octaveLen]uint32

// A Histogram counts durations. The zero value is ready to use. It is not safe
// for concurrent use, and must not be copied once something was recorded.
type Histogram struct {
	octaves [octaves]*octave
	carries map[int]uint64 // per slot, how often its 32-bit counter went round
	count   uint64
	over    uint64
	sum     int64 // ns
	pool    *Pool // nil: octaves are kept
}

// A Pool lends octaves to histograms that are emptied often, so that their
// memory is what they use at one time, not what each of them ever used. The
// histograms and their pool need one owner at a time. The zero value is ready to use.
type Pool struct{ free []*octave } // all counters are 0

// slotOf returns the slot of v, 0 ≤ v ≤ Highest.
func slotOf(v int64) int {
	shift := bits.Len64(uint64(v)|octaveLen) - (octaveBits + 1)
	return shift<<octaveBits + int(v>>shift)
}

// slotBounds returns the lowest and highest value, in ns, of a slot.
func slotBounds(slot int) (lowest, highest int64) {
	shift := max(slot>>octaveBits-1, 0)
	lowest = int64(slot-shift<<octaveBits) << shift
	return lowest, lowest + 1<<shift - 1
}

// Record counts a duration of ns nanoseconds. A negative one counts as 0; one
// above Highest counts as Highest and in Over, and keeps its value in Sum.
func (h *Histogram) Record(ns int64) {
	v := ns
	if uint64(v) > uint64(Highest) {
		v, ns = h.clamp(ns)
	}
	slot := slotOf(v)
	o := h.octaves[slot>>octaveBits]
	if o == nil {
		o = h.grow(slot >> octaveBits)
	}
	c := &o[slot&(octaveLen-1)]
	*c++
	if *c == 0 {
		h.carry(slot, 1)
	}
	h.count++
	h.sum += ns
}

// clamp returns what a duration outside the range counts as and adds to the sum.
func (h *Histogram) clamp(ns int64) (value, sum int64) {
	if ns < 0 {
		return 0, 0
	}
	h.over++
	return int64(Highest), ns
}

func (h *Histogram) grow(i int) *octave {
	var o *octave
	if h.pool != nil && len(h.pool.free) > 0 {
		last := len(h.pool.free) - 1
		o, h.pool.free = h.pool.free[last], h.pool.free[:last]
	} else {
		o = new(octave)
	}
	h.octaves[i] = o
	return o
}

// Use makes h, which must be empty, take its octaves from p and give them back on Reset.
func (h *Histogram) Use(p *Pool) { h.pool = p }

func (h *Histogram) carry(slot int, n uint64) {
	if h.carries == nil {
		h.carries = make(map[int]uint64)
	}
	h.carries[slot] += n
}

func (h *Histogram) add(slot int, n uint64) {
	o := h.octaves[slot>>octaveBits]
	if o == nil {
		o = h.grow(slot >> octaveBits)
	}
	c := &o[slot&(octaveLen-1)]
	low, wrapped := bits.Add32(*c, uint32(n), 0)
	*c = low
	if high := n>>32 + uint64(wrapped); high != 0 {
		h.carry(slot, high)
	}
}

// Merge adds everything g holds to h. It leaves g as it is.
func (h *Histogram) Merge(g *Histogram) {
	if g.count == 0 {
		return
	}
	for i, from := range &g.octaves {
		if from == nil {
			continue
		}
		to := h.octaves[i]
		if to == nil {
			to = h.grow(i)
		}
		for j, n := range from {
			low := to[j] + n
			to[j] = low
			if low < n {
				h.carry(i<<octaveBits+j, 1)
			}
		}
	}
	for slot, n := range g.carries {
		h.carry(slot, n)
	}
	h.count += g.count
	h.over += g.over
	h.sum = plus(h.sum, g.sum)
}

// Reset empties h. Its octaves are kept for what is recorded next, or go back to its pool.
func (h *Histogram) Reset() {
	if h.count == 0 {
		return
	}
	for i, o := range &h.octaves {
		if o == nil {
			continue
		}
		*o = octave{}
		if h.pool != nil {
			h.octaves[i] = nil
			h.pool.free = append(h.pool.free, o)
		}
	}
	h.carries = nil
	h.count, h.over, h.sum = 0, 0, 0
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Over returns how many durations were above Highest.
func (h *Histogram) Over() uint64 { return h.over }

// Sum returns the exact sum of the recorded durations. Beyond 292 years of
// durations added up it remains the largest Duration.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum) }

// counts yields the slots that hold something, from low to high, and their counts.
func (h *Histogram) counts() iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for i, o := range &h.octaves {
			if o == nil {
				continue
			}
			for j, low := range o {
				slot := i<<octaveBits + j
				n := uint64(low)
				if h.carries != nil {
					n += h.carries[slot] << 32
				}
				if n != 0 && !yield(slot, n) {
					return
				}
			}
		}
	}
}

// Quantile returns the largest duration that may have been recorded at rank
// q·Count (0 ≤ q ≤ 1), by hdrhistogram-go's rule for ranks; 0 if nothing was recorded.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(1)
	if r := q*float64(h.count) + 0.5; r >= float64(h.count) {
		rank = h.count
	} else if r >= 1 {
		rank = uint64(r)
	}
	var seen uint64
	for slot, n := range h.counts() {
		if seen += n; seen >= rank {
			low, high := slotBounds(slot)
			if q <= 0 {
				return time.Duration(low)
			}
			return time.Duration(high)
		}
	}
	return 0 // not reached: the counts add up to h.count
}

// plus adds two sums of nanoseconds without going round.
func plus(a, b int64) int64 {
	if s := a + b; s >= a {
		return s
	}
	return math.MaxInt64
}
