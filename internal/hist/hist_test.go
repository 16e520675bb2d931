package hist

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSlotsFollowEachOtherWithoutAGap(t *testing.T) {
	next := int64(0)
	for slot := range slots {
		low, high := slotBounds(slot)
		if low != next {
			t.Fatalf("slotBounds(%d) begins at %d, want %d", slot, low, next)
		}
		if width := float64(high - low + 1); low >= octaveLen && width/float64(low) > 1.0/octaveLen {
			t.Fatalf("slotBounds(%d) = %d, %d: wider than 1/%d of its value", slot, low, high, octaveLen)
		}
		for _, v := range []int64{low, (low + high) / 2, high} {
			if got := slotOf(v); got != slot {
				t.Fatalf("slotOf(%d) = %d, want %d", v, got, slot)
			}
		}
		next = high + 1
	}
	if next <= int64(Highest) {
		t.Errorf("slots end at %v, want beyond %v", time.Duration(next), Highest)
	}
}

// durations draws nanoseconds of every magnitude within the range.
func durations() *rapid.Generator[[]int64] {
	return rapid.SliceOfN(rapid.OneOf(
		rapid.Int64Range(0, 300),
		rapid.Int64Range(0, int64(time.Millisecond)),
		rapid.Int64Range(0, int64(10*time.Second)),
		rapid.Int64Range(0, int64(Highest)),
	), 0, 200)
}

func oracle(t interface{ Fatal(...any) }, values []int64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(int64(Lowest), int64(Highest), Digits)
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func recorded(values []int64) *Histogram {
	h := new(Histogram)
	for _, v := range values {
		h.Record(v)
	}
	return h
}

func total(values []int64) (sum time.Duration) {
	for _, v := range values {
		sum += time.Duration(v)
	}
	return sum
}

func TestHistogramEqualsHdrHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := durations().Draw(t, "values")
		h, want := recorded(values), oracle(t, values)

		if got := h.HDR(); !got.Equals(want) {
			t.Fatalf("HDR() = %v, want %v", got.Distribution(), want.Distribution())
		}
		if got, want := h.Count(), uint64(len(values)); got != want {
			t.Errorf("Count() = %d, want %d", got, want)
		}
		if got, want := h.Sum(), total(values); got != want {
			t.Errorf("Sum() = %v, want %v", got, want)
		}
		for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
			if got, want := h.Quantile(q), time.Duration(want.ValueAtQuantile(q*100)); got != want {
				t.Errorf("Quantile(%v) = %d, want %d", q, got, want)
			}
		}
		back, err := FromHDR(want, h.Sum())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(maps.Collect(h.counts()), maps.Collect(back.counts())); diff != "" {
			t.Errorf("FromHDR(HDR()) differs (-want +got):\n%s", diff)
		}
		if back.Count() != h.Count() || back.Sum() != h.Sum() {
			t.Errorf("FromHDR(HDR()) has count %d and sum %v, want %d and %v", back.Count(), back.Sum(), h.Count(), h.Sum())
		}
	})
}

func TestMergeEqualsRecordingBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := durations().Draw(t, "a"), durations().Draw(t, "b")
		got := recorded(a)
		got.Merge(recorded(b))
		all := slices.Concat(a, b)
		if !got.HDR().Equals(oracle(t, all)) || got.Sum() != total(all) {
			t.Fatalf("Merge(%v, %v) has count %d and sum %v, want %d and %v", a, b, got.Count(), got.Sum(), len(all), total(all))
		}
	})
}

func TestDurationsOutOfRangeAreClampedAndCounted(t *testing.T) {
	var h Histogram
	h.Record(int64(3 * time.Hour))
	h.Record(-1)
	h.Record(int64(2 * time.Hour))
	if got, want := h.Over(), uint64(2); got != want {
		t.Errorf("Over() = %d, want %d", got, want)
	}
	if got, want := h.Sum(), 5*time.Hour; got != want {
		t.Errorf("Sum() = %v, want %v: durations above the range keep their value", got, want)
	}
	if got, want := h.HDR().ValueAtQuantile(100), oracle(t, []int64{int64(Highest)}).Max(); got != want {
		t.Errorf("HDR().ValueAtQuantile(100) = %d, want %d", got, want)
	}
	if got := h.Quantile(0); got != 0 {
		t.Errorf("Quantile(0) = %v, want 0", got)
	}
}

// many returns a histogram of the same duration n times.
func many(t *testing.T, ns, n int64, sum time.Duration) *Histogram {
	t.Helper()
	g := hdrhistogram.New(int64(Lowest), int64(Highest), Digits)
	if err := g.RecordValues(ns, n); err != nil {
		t.Fatal(err)
	}
	h, err := FromHDR(g, sum)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCountersGoBeyond32Bits(t *testing.T) {
	const ns, full = 20e6, math.MaxUint32
	check := func(did string, h *Histogram, want uint64) {
		t.Helper()
		if diff := cmp.Diff(map[int]uint64{slotOf(ns): want}, maps.Collect(h.counts())); diff != "" {
			t.Errorf("%s: counts differ (-want +got):\n%s", did, diff)
		}
		if got := h.Count(); got != want {
			t.Errorf("%s: Count() = %d, want %d", did, got, want)
		}
		if got := uint64(h.HDR().TotalCount()); got != want {
			t.Errorf("%s: HDR() counts %d, want %d", did, got, want)
		}
	}
	h := many(t, ns, full, 0)
	h.Record(ns)
	check("Record at the counter's end", h, full+1)
	h.Merge(many(t, ns, full, 0))
	h.Merge(many(t, ns, 2, 0))
	check("Merge at the counter's end", h, 2*full+3)
	h.Merge(many(t, ns, 5*full, 0))
	check("Merge of more than a counter holds", h, 7*full+3)
	h.Reset()
	h.Record(ns)
	check("Reset", h, 1)
}

func TestSumStaysAtTheLargestDuration(t *testing.T) {
	h := many(t, 1, 1, math.MaxInt64-5)
	h.Merge(many(t, 10, 1, 10))
	if got := h.Sum(); got != math.MaxInt64 {
		t.Errorf("Sum() = %d, want %d", got, int64(math.MaxInt64))
	}
}

func TestResetEmptiesAndKeepsMemory(t *testing.T) {
	h := recorded(logNormal(1000))
	h.Record(int64(2 * Highest))
	h.Reset()
	if left := maps.Collect(h.counts()); h.Count() != 0 || h.Sum() != 0 || h.Over() != 0 || h.Quantile(1) != 0 || len(left) != 0 {
		t.Errorf("after Reset: count %d, sum %v, over %d, slots %v, want nothing", h.Count(), h.Sum(), h.Over(), left)
	}
	values := logNormal(1000)
	if n := testing.AllocsPerRun(10, func() {
		for _, v := range values {
			h.Record(v)
		}
		h.Reset()
	}); n != 0 {
		t.Errorf("recording after Reset allocates %v times, want 0", n)
	}
}

func TestPooledHistogramsShareTheirMemory(t *testing.T) {
	var p Pool
	histograms := make([]Histogram, 100)
	for i := range histograms {
		histograms[i].Use(&p)
	}
	values := logNormal(1000)
	for i := range histograms {
		h := &histograms[i]
		for _, v := range values {
			h.Record(v)
		}
		if want := recorded(values); !h.HDR().Equals(want.HDR()) || h.Sum() != want.Sum() {
			t.Fatalf("histogram %d differs from one without a pool", i)
		}
		h.Reset()
	}
	used := 0
	for _, o := range recorded(values).octaves {
		if o != nil {
			used++
		}
	}
	if got := len(p.free); got != used {
		t.Errorf("the pool holds %d octaves, want the %d that one histogram needs", got, used)
	}
}

func TestALogNormalHistogramTakesFewKilobytes(t *testing.T) {
	h := recorded(logNormal(100_000))
	size := unsafe.Sizeof(*h)
	for _, o := range h.octaves {
		if o != nil {
			size += unsafe.Sizeof(*o)
		}
	}
	if size < 2<<10 || size > 5<<10 {
		t.Errorf("100,000 log-normal durations take %d bytes, want 2 to 5 KB", size)
	}
}

func TestFromHDRRefusesAnotherGeometry(t *testing.T) {
	for _, g := range []*hdrhistogram.Histogram{
		hdrhistogram.New(1000, int64(Highest), Digits),
		hdrhistogram.New(int64(Lowest), int64(time.Minute), Digits),
		hdrhistogram.New(int64(Lowest), int64(Highest), 3),
	} {
		if _, err := FromHDR(g, 0); err == nil {
			t.Errorf("FromHDR(%d..%d, %d digits) = nil error, want one", g.LowestTrackableValue(), g.HighestTrackableValue(), g.SignificantFigures())
		}
	}
}

// logNormal returns n latencies around 20 ms.
func logNormal(n int) []int64 {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]int64, n)
	for i := range values {
		values[i] = int64(20e6 * math.Exp(0.5*r.NormFloat64()))
	}
	return values
}

func BenchmarkRecord(b *testing.B) {
	values := logNormal(1 << 12)
	var h Histogram
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		h.Record(values[i&(1<<12-1)])
		i++
	}
}

func BenchmarkMerge(b *testing.B) {
	g := recorded(logNormal(1000))
	var h Histogram
	b.ReportAllocs()
	for b.Loop() {
		h.Merge(g)
	}
}

func BenchmarkNativeAdd(b *testing.B) {
	g := recorded(logNormal(1000))
	var n Native
	b.ReportAllocs()
	for b.Loop() {
		n.Add(g)
	}
}

func BenchmarkHDR(b *testing.B) {
	g := recorded(logNormal(1000))
	b.ReportAllocs()
	for b.Loop() {
		g.HDR()
	}
}
