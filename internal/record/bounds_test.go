package record

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// bucketByScan is what bucket must return, without its short cut.
func bucketByScan(b *bounds, ns int64) int {
	for i, u := range b.upper {
		if ns <= u {
			return i
		}
	}
	return len(b.upper)
}

func TestBucketIsExactAtEveryBound(t *testing.T) {
	for _, b := range []*bounds{newBounds(), newBounds(1), newBounds(requestBounds...), iterationBounds, latenessBounds} {
		values := []int64{0, 1, 2, 3, math.MaxInt64}
		for _, u := range b.upper {
			values = append(values, u-1, u, u+1)
		}
		for bit := range 63 {
			values = append(values, 1<<bit-1, 1<<bit, 1<<bit+1)
		}
		for g := range groups {
			values = append(values, max(0, lowestOf(g)-1), lowestOf(g), lowestOf(g)+1)
		}
		for _, v := range values {
			if got, want := b.bucket(v), bucketByScan(b, v); got != want {
				t.Errorf("bucket(%d) of %v = %d, want %d", v, b.upper, got, want)
			}
		}
	}
}

// Every value is in the group whose lowest value is the largest one below it, up to the largest value that there is.
func TestGroups(t *testing.T) {
	for g := range groups {
		at := lowestOf(g)
		if group(at) != g || g > 0 && group(at-1) != g-1 {
			t.Fatalf("group(%d) = %d, group(%d) = %d, want %d and the one before", at, group(at), at-1, group(max(0, at-1)), g)
		}
	}
	if got := group(math.MaxInt64); got != groups-1 {
		t.Errorf("group(MaxInt64) = %d, want the last one, %d", got, groups-1)
	}
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(0, math.MaxInt64).Draw(t, "ns") >> rapid.IntRange(0, 62).Draw(t, "shift")
		b := newBounds(requestBounds...)
		if got, want := b.bucket(ns), bucketByScan(b, ns); got != want {
			t.Errorf("bucket(%d) = %d, want %d", ns, got, want)
		}
	})
}

func TestUpToCountsWhatIsAtMostTheLimit(t *testing.T) {
	b := newBounds(1*time.Millisecond, 2*time.Millisecond, 5*time.Millisecond)
	counts := []uint64{1, 10, 100, 1000}
	for limit, want := range map[time.Duration]uint64{1 * time.Millisecond: 1, 2 * time.Millisecond: 11, 5 * time.Millisecond: 111} {
		if got := b.upTo(limit, counts); got != want {
			t.Errorf("upTo(%v) = %d, want %d", limit, got, want)
		}
	}
}

func TestBoundsOfLimitsThatAreThereStayTheSame(t *testing.T) {
	b := newBounds(requestBounds...)
	if got, grown := b.with([]time.Duration{500 * time.Millisecond, time.Second, time.Second}); grown || got != b {
		t.Errorf("with(limits that are bounds) = %v, %v, want the same bounds", got.upper, grown)
	}
}

func TestSpreadKeepsOldBoundsAndSeedsNewOnesBetweenThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Range(1, 1e12).Draw(t, "limit")) })
		from := newBounds(requestBounds...)
		to, _ := from.with(rapid.SliceOfN(limit, 0, 6).Draw(t, "limits"))
		counts := rapid.SliceOfN(rapid.Uint64Range(0, 1e12), from.buckets(), from.buckets()).Draw(t, "counts")
		got := spread(counts, from, to)

		if want := sumOf(counts); sumOf(got) != want {
			t.Fatalf("spread(%v) sums to %d, want %d", counts, sumOf(got), want)
		}
		for _, u := range from.upper {
			if got, want := to.upTo(time.Duration(u), got), from.upTo(time.Duration(u), counts); got != want {
				t.Errorf("up to %v: %d, want %d as before", time.Duration(u), got, want)
			}
		}
		if highest := from.upper[len(from.upper)-1]; to.upper[len(to.upper)-1] > highest {
			if got := got[len(got)-1]; got != counts[len(counts)-1] {
				t.Errorf("above all bounds: %d, want %d", got, counts[len(counts)-1])
			}
		}
	})
}

func TestSpreadDividesByWidth(t *testing.T) {
	from := newBounds(100, 200)
	to, _ := from.with([]time.Duration{50, 125, 300})
	if got, want := spread([]uint64{10, 8, 4}, from, to), []uint64{5, 5, 2, 6, 0, 4}; !slices.Equal(got, want) {
		t.Errorf("spread = %v, want %v", got, want)
	}
}

func sumOf(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
