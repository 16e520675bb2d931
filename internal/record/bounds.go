package record

import (
	"math/bits"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// Classic buckets of the families. Those of requests are joined by every limit
// that an objective sets (SEMANTICS section 11).
var (
	requestBounds = []time.Duration{
		1 * time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond, 800 * time.Millisecond,
		1 * time.Second, 1500 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Second,
		10 * time.Second, 30 * time.Second, 60 * time.Second,
	}
	iterationBounds = newBounds(
		50*time.Millisecond, 100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond,
		1*time.Second, 2500*time.Millisecond, 5*time.Second, 10*time.Second, 20*time.Second, 30*time.Second,
		1*time.Minute, 2*time.Minute, 5*time.Minute, 10*time.Minute, 30*time.Minute, 60*time.Minute,
	)
	latenessBounds = newBounds(
		100*time.Microsecond, 250*time.Microsecond, 500*time.Microsecond,
		1*time.Millisecond, 2500*time.Microsecond, 5*time.Millisecond,
		10*time.Millisecond, 25*time.Millisecond, 50*time.Millisecond,
		100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond,
		1*time.Second, 2500*time.Millisecond, 10*time.Second,
	)
)

// Classic buckets of trends that are none of durations: of bytes, and of anything else.
var (
	byteBounds   = []float64{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30}
	numberBounds = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6}
)

// boundsOf returns the bounds of a trend that has some of its own.
func boundsOf(m *load.Metric) *bounds {
	values, scale := m.Buckets, load.ScaleOf(m.Unit)
	switch {
	case values != nil:
	case m.Unit == load.UnitBytes:
		values = byteBounds
	default:
		values = numberBounds
	}
	var upper []time.Duration
	for _, v := range values {
		upper = append(upper, time.Duration(scale.Units(v)))
	}
	return boundsIn(scale, upper)
}

// bounds are the upper bounds of classic buckets, inclusive, rising. A bucket
// above the last one takes the rest. They are immutable.
type bounds struct {
	upper []int64 // ns, or of other values what their scale makes of them
	scale load.Scale
	// first[g] is the first bucket that a value of group g can fall into. Few groups
	// have a bound within them, so that which bucket a value falls into rarely depends
	// on a comparison, whose outcome a processor predicts badly.
	first [groups]uint16
	// le are the bounds as values, those of durations in seconds, in the form that messages share.
	le []*float64
}

func newBounds(upper ...time.Duration) *bounds { return boundsIn(load.Scale{}, upper) }

// boundsIn returns bounds of values that have a scale, and upper as their units.
func boundsIn(scale load.Scale, upper []time.Duration) *bounds {
	b := &bounds{scale: scale}
	for _, u := range upper {
		b.upper = append(b.upper, int64(u))
		value := u.Seconds()
		if scale.Shift > 0 {
			value = scale.Written(int64(u))
		}
		b.le = append(b.le, &value)
	}
	for g := range b.first {
		i, _ := slices.BinarySearch(b.upper, lowestOf(g))
		b.first[g] = uint16(i)
	}
	return b
}

// Values are grouped by their bits below the first groupBits+1: eight groups for
// values up to twice as large, and one for each value below 16.
const (
	groupBits = 3
	groups    = (63-groupBits)<<groupBits + 1<<groupBits
)

// group returns the group of ns ≥ 0.
func group(ns int64) int {
	shift := bits.Len64(uint64(ns)|1<<groupBits) - (groupBits + 1)
	return shift<<groupBits + int(ns>>shift)
}

// lowestOf returns the lowest value of a group.
func lowestOf(g int) int64 {
	shift := max(g>>groupBits-1, 0)
	return int64(g-shift<<groupBits) << shift
}

// buckets is how many counts the bounds need.
func (b *bounds) buckets() int { return len(b.upper) + 1 }

// bucket returns the bucket that a duration of ns ≥ 0 nanoseconds falls into.
func (b *bounds) bucket(ns int64) int {
	return b.bucketFrom(int(b.first[group(ns)]), ns)
}

// bucketFrom returns the same, of a duration that falls into bucket i or a later one.
func (b *bounds) bucketFrom(i int, ns int64) int {
	for i < len(b.upper) && ns > b.upper[i] {
		i++
	}
	return i
}

// upTo returns how many of the counts are of durations ≤ limit, which must be a bound.
func (b *bounds) upTo(limit time.Duration, counts []uint64) uint64 {
	last, _ := slices.BinarySearch(b.upper, int64(limit))
	var n uint64
	for _, c := range counts[:last+1] {
		n += c
	}
	return n
}

// with returns the bounds joined by limits, and whether any was missing.
func (b *bounds) with(limits []time.Duration) (_ *bounds, grown bool) {
	upper := make([]time.Duration, 0, len(b.upper)+len(limits))
	for _, u := range b.upper {
		upper = append(upper, time.Duration(u))
	}
	upper = append(upper, limits...)
	slices.Sort(upper)
	upper = slices.Compact(upper)
	if len(upper) == len(b.upper) {
		return b, false
	}
	return boundsIn(b.scale, upper), true
}

// spread returns counts of the bounds from as counts of the bounds to, which
// hold them all: a bucket that is divided gives its count to its parts by their
// width. Any division keeps cumulative counts rising and rates exact afterwards.
// The bucket without an upper bound remains above the bounds that divide it.
func spread(counts []uint64, from, to *bounds) []uint64 {
	out := make([]uint64, to.buckets())
	i, lower := 0, int64(0)
	for j, n := range counts {
		if j == len(from.upper) {
			out[len(out)-1] = n
			break
		}
		upper, start := from.upper[j], lower
		given := uint64(0)
		for ; to.upper[i] < upper; i++ {
			share := uint64(float64(n) * float64(to.upper[i]-start) / float64(upper-start))
			out[i] = share - given
			given = share
		}
		out[i] = n - given
		i++
		lower = upper
	}
	return out
}
