package hist

import (
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"pgregory.net/rapid"
)

// clientGolangIndex returns the schema-3 bucket that client_golang counts v in.
func clientGolangIndex(t *testing.T, v float64) int {
	t.Helper()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", NativeHistogramBucketFactor: 1.1})
	h.Observe(v)
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	if got := m.Histogram.GetSchema(); got != Schema {
		t.Fatalf("client_golang chose schema %d, want %d", got, Schema)
	}
	return int(m.Histogram.PositiveSpan[0].GetOffset())
}

func TestNativeIndexIsClientGolangs(t *testing.T) {
	for i := -240; i <= 100; i++ {
		bound := math.Exp2(float64(i) / (1 << Schema))
		for _, v := range []float64{math.Nextafter(bound, 0), bound, math.Nextafter(bound, math.Inf(1)), bound * 1.04} {
			if got, want := nativeIndex(v), clientGolangIndex(t, v); got != want {
				t.Errorf("nativeIndex(%v) = %d, want %d", v, got, want)
			}
		}
	}
}

func TestSlotsMapToRisingNativeBuckets(t *testing.T) {
	for slot := 2; slot < slots; slot++ {
		if slotNative[slot] < slotNative[slot-1] {
			t.Fatalf("slotNative[%d] = %d, below that of the slot before, %d", slot, slotNative[slot], slotNative[slot-1])
		}
	}
	for slot := 1; slot < slots; slot++ {
		low, high := slotBounds(slot)
		if got := int(slotNative[slot]); got != nativeIndex(float64(low)/1e9) && got != nativeIndex(float64(high)/1e9) {
			t.Errorf("slotNative[%d] = %d, the bucket of neither end of %d..%d ns", slot, got, low, high)
		}
	}
}

// upperBound returns the upper bound of a native bucket in seconds.
func upperBound(index int) float64 { return math.Exp2(float64(index) / (1 << Schema)) }

func TestNativeCountsEverythingWithinABucketOfWhereItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n Native
		var all Histogram
		for range rapid.IntRange(1, 3).Draw(t, "windows") {
			window := recorded(durations().Draw(t, "values"))
			n.Add(window)
			all.Merge(window)
		}
		first, counts := n.Buckets()
		count := n.Zero()
		for _, c := range counts {
			count += c
		}
		if count != all.Count() {
			t.Fatalf("native histogram counts %d, want %d", count, all.Count())
		}
		if count == 0 {
			return
		}
		for _, q := range []float64{0.5, 0.95, 0.99} {
			want := all.Quantile(q).Seconds()
			rank, seen, index := uint64(q*float64(count)+0.5), n.Zero(), first-1
			for seen < max(rank, 1) {
				index++
				seen += counts[index-first]
			}
			if want == 0 && index == first-1 {
				continue
			}
			if want > upperBound(index+1) || want <= upperBound(index-2) {
				t.Errorf("quantile %v lies in native bucket (%v, %v], want %v within one bucket of it", q, upperBound(index-1), upperBound(index), want)
			}
		}
	})
}
