package stats_test

import (
	"fmt"
	"math"

	"github.com/perfd/perfd/internal/stats"
)

// No request of 300 failed: what is the share of failures at most?
func ExampleClopperPearson() {
	in := stats.ClopperPearson(0, 300, 0.9)
	fmt.Printf("at most %.2f %% with 95 %% confidence\n", 100*in.Upper)
	// Output: at most 0.99 % with 95 % confidence
}

// Errors come in bursts: two minutes of ten have all of them.
func ExampleDesignEffect() {
	bad := []float64{0, 0, 25, 0, 0, 0, 0, 25, 0, 0}
	requests := []float64{100, 100, 100, 100, 100, 100, 100, 100, 100, 100}
	de := stats.DesignEffect(bad, requests)
	fmt.Printf("1,000 requests say as much as %.0f independent ones\n", 1000/de)
	// Output: 1,000 requests say as much as 43 independent ones
}

func ExampleSampleSize() {
	n := stats.SampleSize(0.005, 0.01, 0.05, 0.8)
	fmt.Printf("%.0f requests to prove an error ratio of 0.5 %% to be under 1 %%\n", n)
	// Output: 2186 requests to prove an error ratio of 0.5 % to be under 1 %
}

// The evidence may be looked at after every request: an e-value of 20 is reached
// with a probability of 5 % or less while the share of bad requests is the limit.
func ExampleMixture() {
	m := stats.NewMixture(0.01, 1000, 0.05)
	for _, bad := range []float64{10, 20, 30} {
		fmt.Printf("%.0f of 1,000 bad: e-value %.3g\n", bad, math.Exp(m.Above(bad, 1000)))
	}
	// Output:
	// 10 of 1,000 bad: e-value 0.411
	// 20 of 1,000 bad: e-value 21.1
	// 30 of 1,000 bad: e-value 7.7e+04
}

// Medians of runs on two releases, in milliseconds.
func ExampleWelch() {
	before := []float64{101, 99, 100, 102, 98}
	after := []float64{106, 108, 105, 107, 109}
	s := stats.Welch(before, after, 0.95)
	fmt.Printf("%.1f ms slower (%.1f to %.1f), more than 2 ms slower: p = %.4f\n", s.Estimate, s.Interval.Lower, s.Interval.Upper, s.Above(2))
	// Output: 7.0 ms slower (4.7 to 9.3), more than 2 ms slower: p = 0.0005
}

func ExampleHodgesLehmann() {
	estimate, in := stats.HodgesLehmann([]float64{101, 99, 100, 102, 98}, []float64{106, 108, 105, 107, 900}, 0.95)
	fmt.Printf("%.0f ms slower, %.0f to %.0f: one outlier moves the bound and not the estimate\n", estimate, in.Lower, in.Upper)
	// Output: 7 ms slower, 4 to 800: one outlier moves the bound and not the estimate
}

func ExampleHolm() {
	fmt.Printf("%.3f\n", stats.Holm([]float64{0.01, 0.04, 0.03}))
	// Output: [0.030 0.060 0.060]
}

func ExampleLinear() {
	rate := []float64{10, 20, 30, 40}
	seconds := []float64{0.12, 0.14, 0.16, 0.18}
	fit, err := stats.Linear(seconds, []float64{1, 1, 1, 1}, rate)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.3f s and %.4f s for each request per second\n", fit.Coefficients[0], fit.Coefficients[1])
	// Output: 0.100 s and 0.0020 s for each request per second
}

// A heap that grows by 3 MiB an hour under noise that repeats.
func ExampleFindTrend() {
	var heap stats.Track
	for hour := range 48 {
		heap.T = append(heap.T, float64(hour))
		heap.Y = append(heap.Y, 200+3*float64(hour)+float64(hour*7%5))
	}
	trend := stats.FindTrend([]stats.Track{heap}, 1)
	fmt.Printf("%.1f MiB/h, grows: %v\n", trend.Slope, trend.Grows(0.001))
	// Output: 3.0 MiB/h, grows: true
}

// 50 requests a second of 0.2 s each keep ten requests under way.
func ExampleLittle() {
	r := stats.Little(stats.LittleInput{Concurrency: 14, Throughput: 50, Time: 0.2, Window: 600, AtStart: 10, AtEnd: 10})
	fmt.Printf("expected %.0f, holds: %v\n%s\n", r.Expected, r.Holds, r.Warnings[0])
	// Output:
	// expected 10, holds: false
	// throughput times mean time is 29 % below the measured concurrency: times start late, or stays are missing
}

// Values that follow their neighbours say less about their mean.
func ExampleEffectiveSize() {
	var x []float64
	for i := range 1000 {
		x = append(x, math.Sin(float64(i)/50))
	}
	fmt.Printf("%d values say as much as %.0f\n", len(x), stats.EffectiveSize(x))
	// Output: 1000 values say as much as 10
}
