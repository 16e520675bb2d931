package stats

import (
	"fmt"
	"math"
)

// A LittleInput holds the measurements of one system over one window of time.
type LittleInput struct {
	Concurrency float64 // mean number in the system over the window, measured by itself
	Throughput  float64 // departures per second
	Time        float64 // mean time in the system, s: the mean, not the median
	Window      float64 // s

	AtStart, AtEnd float64 // number in the system when the window began and ended

	// Half widths of the intervals of Throughput (per second) and Time (s), 0 where unknown.
	ThroughputHalf, TimeHalf float64
}

// A LittleResult is the outcome of a check of Little's law.
type LittleResult struct {
	Expected    float64 // Throughput · Time
	Discrepancy float64 // Expected relative to Concurrency, less 1
	Tolerance   float64 // the largest |Discrepancy| for which the law holds
	Holds       bool
	Warnings    Warnings
}

// littleTolerance is the relative discrepancy below which the law holds: clocks and
// samplers are not exactly synchronous.
const littleTolerance = 0.05

// Little checks measurements against Little's law N = X·R for concurrency N,
// throughput X and mean time in the system R (Little, "A Proof for the Queuing
// Formula: L = λW", Operations Research 9 (1961)). Over a finite window of length T
// the two sides differ by the parts of times in the system that lie outside it, on
// average R/2 for each request at an edge: (N_start + N_end) R / 2T. The tolerance
// adds the intervals of X and R to that, and is at least 5 %.
func Little(in LittleInput) LittleResult {
	out := LittleResult{Expected: in.Throughput * in.Time}
	for _, v := range []float64{in.Concurrency, in.Throughput, in.Time, in.Window, in.AtStart, in.AtEnd} {
		if !(v >= 0) || math.IsInf(v, 1) {
			out.Discrepancy, out.Tolerance = math.NaN(), math.NaN()
			out.Warnings = Warnings{"a measurement is negative, infinite or missing: Little's law cannot be checked"}
			return out
		}
	}
	if in.Window == 0 {
		out.Discrepancy, out.Tolerance = math.NaN(), math.Inf(1)
		out.Warnings = Warnings{"the window is empty: Little's law cannot be checked"}
		return out
	}
	edge := (in.AtStart + in.AtEnd) * in.Time / (2 * in.Window)
	spread := in.ThroughputHalf*in.Time + in.TimeHalf*in.Throughput
	if in.Concurrency == 0 {
		out.Tolerance = littleTolerance
		if out.Expected > edge+spread {
			out.Discrepancy = math.Inf(1)
			out.Warnings = Warnings{"nothing was counted in the system although work was done in it"}
			return out
		}
		out.Holds = true
		return out
	}
	out.Discrepancy = out.Expected/in.Concurrency - 1
	out.Tolerance = max(littleTolerance, (edge+spread)/in.Concurrency)
	out.Holds = math.Abs(out.Discrepancy) <= out.Tolerance
	if edge > littleTolerance*in.Concurrency {
		out.Warnings = append(out.Warnings, fmt.Sprintf("stays cut by the edges of the window may be %.0f %% of the measurement: the window is short", 100*edge/in.Concurrency))
	}
	switch {
	case out.Holds:
	case out.Discrepancy < 0:
		out.Warnings = append(out.Warnings, fmt.Sprintf("throughput times mean time is %.0f %% below the measured concurrency: times start late, or stays are missing", -100*out.Discrepancy))
	default:
		out.Warnings = append(out.Warnings, fmt.Sprintf("throughput times mean time is %.0f %% above the measured concurrency: stays are counted twice, or concurrency is not counted in full", 100*out.Discrepancy))
	}
	return out
}
