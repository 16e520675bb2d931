package hist_test

import (
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/hist"
)

// A percentile is the upper end of its slot, within 0.8 % of what was recorded;
// the sum is exact.
func Example() {
	var h hist.Histogram
	for ms := range 100 {
		h.Record(int64(time.Duration(ms+1) * time.Millisecond))
	}
	fmt.Println(h.Count(), h.Sum())
	fmt.Println(h.Quantile(0.5).Round(time.Millisecond), h.Quantile(0.99).Round(time.Millisecond))
	// Output:
	// 100 5.05s
	// 50ms 99ms
}

// Percentiles do not add up, histograms do: those of two instances are merged
// before a percentile is read.
func ExampleSum() {
	var quick, slow hist.Histogram
	for range 90 {
		quick.Record(int64(10 * time.Millisecond))
	}
	for range 10 {
		slow.Record(int64(time.Second))
	}
	both := hist.Sum([]*hist.Histogram{&quick, &slow})
	fmt.Println(both.Count(), both.Quantile(0.9).Round(time.Millisecond), both.Quantile(0.95).Round(10*time.Millisecond))
	// Output: 100 10ms 1s
}

// The compact form takes a few bytes a slot that holds something.
func ExampleHistogram_AppendSparse() {
	var h hist.Histogram
	h.Record(int64(3 * time.Millisecond))
	h.Record(int64(40 * time.Millisecond))
	stored := h.AppendSparse(nil)

	var back hist.Histogram
	rest, err := back.DecodeSparse(stored)
	fmt.Println(back.Equal(&h), len(rest), err, len(stored) < 20)
	// Output: true 0 <nil> true
}

// A native histogram of Prometheus is the sum of all that was added to it. Its
// bucket i holds durations d with 2^((i−1)/8) < d ≤ 2^(i/8), in seconds.
func ExampleNative() {
	var h hist.Histogram
	h.Record(int64(1050 * time.Millisecond))
	h.Record(int64(1500 * time.Millisecond))

	var n hist.Native
	n.Add(&h)
	first, counts := n.Buckets()
	fmt.Println(first, counts)
	// Output: 1 [1 0 0 0 1]
}

// Memory of histograms that are emptied often is shared.
func ExamplePool() {
	var pool hist.Pool
	var a, b hist.Histogram
	a.Use(&pool)
	b.Use(&pool)
	a.Record(int64(time.Millisecond))
	a.Reset() // gives the octave back
	b.Record(int64(time.Millisecond))
	fmt.Println(a.Count(), b.Count())
	// Output: 0 1
}
