package leak

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
)

// A trace is one resource read once a minute, and the requests sent to its target.
type trace struct {
	kind     string
	limit    float64
	level    []float64
	rate     []float64 // requests per second
	restarts map[int]bool
}

// newTrace returns a trace of so many hours at a steady level and load.
func newTrace(hours, base float64) *trace {
	n := int(hours * 60)
	x := &trace{kind: load.ResourceMemory, level: make([]float64, n), rate: make([]float64, n)}
	for i := range n {
		x.level[i], x.rate[i] = base, 50
	}
	return x
}

// each replaces every level by f of its minute, its place in the span from 0 to 1, and itself.
func (x *trace) each(f func(i int, u, v float64) float64) {
	for i, v := range x.level {
		x.level[i] = f(i, float64(i)/float64(len(x.level)), v)
	}
}

// An outcome is what an analysis said of a trace.
type outcome struct {
	once  load.Verdict // of one judgement, at the end
	final load.Verdict // at the end, of one that looked on the way
	ever  bool         // fail at any of the looks on the way
	first float64      // hours to the first fail, NaN without one
	m     *member      // of the judgement at the end
}

// feed gives the analysis the trace; look is called every five minutes.
func (x *trace) feed(a *Analysis, look func(at time.Time, hours float64)) time.Time {
	a.configure([]Target{{Name: "shop", Resources: []Resource{{Name: "heap", Kind: x.kind, Limit: x.limit}}}})
	at := analysistest.Zero
	for i, v := range x.level {
		end := at.Add(time.Minute)
		a.Window(&load.Window{Step: "home", Target: "shop", Start: at, End: end, Requests: uint64(x.rate[i] * 60)})
		if x.restarts[i] {
			a.Event(load.Event{At: at, Kind: load.ReleaseChanged, Target: "shop", Release: "v1", Previous: "v1"})
		}
		a.Sample(sample("heap", end, v))
		at = end
		if look != nil && i%5 == 4 {
			look(at, float64(i+1)/60)
		}
	}
	return at
}

// once judges at the end only.
func (x *trace) once() outcome {
	a := New()
	a.Judge(x.feed(a, nil))
	m := a.targets["shop"].resources["heap"].members[""]
	return outcome{once: m.judgement.verdict, m: m}
}

// watch judges at the end of one analysis, and all the way with another.
func (x *trace) watch() outcome {
	out := x.once()
	out.first = math.NaN()
	a := New()
	x.feed(a, func(at time.Time, hours float64) {
		for _, f := range a.Judge(at) {
			out.final = f.Verdict
			if f.Verdict == load.Fail && !out.ever {
				out.ever, out.first = true, hours
			}
		}
	})
	return out
}

// A shape makes traces of one class.
type shape struct {
	name  string
	leak  bool
	spans []float64 // hours
	make  func(r *rand.Rand, hours float64) *trace

	// endless says that the class rises on a line for longer than a line takes to
	// be called: no look can tell it from a leak before it ends. It is beside the bars.
	endless bool
}

func uniform(r *rand.Rand, a, b float64) float64 { return a + (b-a)*r.Float64() }

// level noise and autoregressions multiply the level.
func (x *trace) noise(r *rand.Rand, rho, sd float64) *trace {
	e := sd * r.NormFloat64()
	x.each(func(_ int, _, v float64) float64 {
		e = rho*e + sd*math.Sqrt(1-rho*rho)*r.NormFloat64()
		return v * math.Max(0.05, 1+e)
	})
	return x
}

// sawtooth adds the garbage of a collector: height of the level over cycles of
// about so many minutes.
func (x *trace) sawtooth(r *rand.Rand, minutes, height float64) *trace {
	at, length := r.Float64()*minutes, minutes
	x.each(func(_ int, _, v float64) float64 {
		at++
		if at >= length {
			at -= length
			length = minutes * uniform(r, 0.85, 1.15)
		}
		return v * (1 + height*at/length)
	})
	return x
}

const mib = 1 << 20

func sample(resource string, at time.Time, v float64) load.Sample {
	return load.Sample{Target: "shop", Resource: resource, Start: at, End: at, Count: 1, Min: v, Mean: v, Max: v, Last: v}
}
