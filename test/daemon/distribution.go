package daemon

import (
	"maps"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// A Distribution is the native half of a histogram: how many observations fell
// into each exponential bucket since the program started, or between two scrapes.
type Distribution struct {
	schema  int32
	zero    int64
	buckets map[int32]int64
}

// Native reads the native half of a histogram; nil reads as empty.
func Native(h *dto.Histogram) Distribution {
	d := Distribution{schema: h.GetSchema(), zero: int64(h.GetZeroCount()), buckets: map[int32]int64{}}
	var index int32
	var count int64
	deltas := h.GetPositiveDelta()
	for _, span := range h.GetPositiveSpan() {
		index += span.GetOffset()
		for range span.GetLength() {
			count += deltas[0]
			deltas = deltas[1:]
			d.buckets[index] = count
			index++
		}
	}
	return d
}

// Since returns the observations since an earlier scrape of the same histogram.
func (d Distribution) Since(before Distribution) Distribution {
	n := Distribution{schema: d.schema, zero: d.zero - before.zero, buckets: maps.Clone(d.buckets)}
	for i, c := range before.buckets {
		n.buckets[i] -= c
	}
	return n
}

// Sum returns the sum of distributions of one schema.
func Sum(all []Distribution) Distribution {
	n := Distribution{buckets: map[int32]int64{}}
	for _, d := range all {
		n.schema = d.schema
		n.zero += d.zero
		for i, c := range d.buckets {
			n.buckets[i] += c
		}
	}
	return n
}

// Count returns the number of observations.
func (d Distribution) Count() int64 {
	n := d.zero
	for _, c := range d.buckets {
		n += c
	}
	return n
}

// Quantile returns the upper bound of the bucket that holds the q-quantile, in the
// histogram's unit; NaN without observations.
func (d Distribution) Quantile(q float64) float64 {
	n := d.Count()
	if n == 0 {
		return math.NaN()
	}
	rank, seen := int64(math.Ceil(q*float64(n))), d.zero
	if seen >= rank {
		return 0
	}
	for _, i := range slices.Sorted(maps.Keys(d.buckets)) {
		if seen += d.buckets[i]; seen >= rank {
			return math.Exp2(float64(i) * math.Exp2(-float64(d.schema)))
		}
	}
	return math.Inf(1)
}
