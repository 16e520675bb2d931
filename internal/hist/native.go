package hist

import (
	"math"
	"slices"
	"sort"
)

// Schema is the schema of native histograms: bucket i holds the durations d,
// in seconds, with 2^((i−1)/8) < d ≤ 2^(i/8).
const Schema = 3

// nativeFractions are the upper bounds of schema 3 between 0.5 and 1, digit for
// digit as client_golang has them: a logarithm misses exact boundaries.
var nativeFractions = [1 << Schema]float64{
	0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
	0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
}

// nativeIndex returns the native bucket of a positive number of seconds.
func nativeIndex(seconds float64) int {
	fraction, exponent := math.Frexp(seconds)
	return sort.SearchFloat64s(nativeFractions[:], fraction) + (exponent-1)<<Schema
}

// slotNative is the native bucket of each slot's middle. A slot is less
// than a tenth as wide as a native bucket; one that lies across a boundary goes
// to one side as a whole, which moves a duration by at most 0.4 %.
// Slot 0 holds the duration 0 and has no bucket.
var slotNative = func() (index [slots]int16) {
	for slot := 1; slot < slots; slot++ {
		low, high := slotBounds(slot)
		index[slot] = int16(nativeIndex((float64(low) + float64(high)) / 2 / 1e9))
	}
	return index
}()

// Native is a cumulative native histogram of schema 3: its counts only grow.
// The zero value is ready to use.
type Native struct {
	zero   uint64
	first  int // native bucket of counts[0]
	counts []uint64
}

// Add counts everything h holds.
func (n *Native) Add(h *Histogram) {
	if h.count == 0 {
		return
	}
	for slot, c := range h.counts() {
		if slot == 0 {
			n.zero += c
			continue
		}
		*n.at(int(slotNative[slot])) += c
	}
}

// at returns the count of a bucket, widening the range where needed.
func (n *Native) at(index int) *uint64 {
	switch {
	case len(n.counts) == 0:
		n.first = index
		n.counts = make([]uint64, 1, 1<<Schema)
	case index < n.first:
		n.counts = slices.Insert(n.counts, 0, make([]uint64, n.first-index)...)
		n.first = index
	case index >= n.first+len(n.counts):
		n.counts = append(n.counts, make([]uint64, index-n.first-len(n.counts)+1)...)
	}
	return &n.counts[index-n.first]
}

// Zero returns the count of durations of 0.
func (n *Native) Zero() uint64 { return n.zero }

// Buckets returns the counts of the buckets from first on. The slice is n's own
// and is valid until the next Add.
func (n *Native) Buckets() (first int, counts []uint64) { return n.first, n.counts }
