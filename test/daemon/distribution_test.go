package daemon

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestNativeQuantileIsTheBucketOfTheSortedValue(t *testing.T) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", NativeHistogramBucketFactor: 1.1})
	read := func() Distribution {
		m := &dto.Metric{}
		if err := h.Write(m); err != nil {
			t.Fatal(err)
		}
		return Native(m.GetHistogram())
	}
	random := rand.New(rand.NewPCG(1, 2))
	observe := func(median float64) []float64 {
		var values []float64
		for range 1000 {
			v := median * math.Exp(random.NormFloat64())
			h.Observe(v)
			values = append(values, v)
		}
		slices.Sort(values)
		return values
	}
	observe(10)
	before := read()
	values := observe(0.001)
	since := read().Since(before)
	if got := since.Count(); got != 1000 {
		t.Errorf("Count() = %d, want 1000", got)
	}
	for _, q := range []float64{0.5, 0.99, 1} {
		want := values[int(math.Ceil(q*1000))-1]
		if got := since.Quantile(q); got < want || got > want*math.Exp2(1./8)*1.0001 {
			t.Errorf("Quantile(%v) = %v, want the upper bound of the bucket of %v", q, got, want)
		}
	}
	if got := (Distribution{}).Quantile(0.5); !math.IsNaN(got) {
		t.Errorf("Quantile of nothing = %v, want NaN", got)
	}
}
