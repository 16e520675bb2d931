package pace

import (
	"testing"
	"time"
)

const month = 30 * 24 * time.Hour

var shapes = []struct{ name, workload string }{
	{"constant", "{executor: constant-arrival-rate, rate: 1000/s, max_vus: 1}"},
	{"ramping", "{executor: ramping-arrival-rate, stages: [{duration: 5m, target: 1000/s}, {duration: 5m, target: 10/s}, {duration: 50m, target: 500/s}], repeat: {}, max_vus: 1}"},
	{"poisson", "{executor: ramping-arrival-rate, stages: [{duration: 5m, target: 1000/s}, {duration: 5m, target: 10/s}, {duration: 50m, target: 500/s}], repeat: {}, arrivals: poisson, max_vus: 1}"},
}

// One operation is one arrival, a year after the plan's zero.
func BenchmarkArrivals(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			p := openPlan(b, shape.workload)
			b.ReportAllocs()
			n := 0
			b.ResetTimer()
			for range p.Arrivals(12*month, 0, 1) {
				if n++; n >= b.N {
					break
				}
			}
		})
	}
}

// One operation is a seek to month 12 and the first arrival there.
func BenchmarkSeek(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			p := openPlan(b, shape.workload)
			b.ReportAllocs()
			for i := range b.N {
				for range p.Arrivals(12*month+time.Duration(i)*time.Millisecond, 0, 1) {
					break
				}
			}
		})
	}
}

func BenchmarkAt(b *testing.B) {
	p := openPlan(b, shapes[1].workload)
	b.ReportAllocs()
	for i := range b.N {
		p.At(12*month + time.Duration(i)*time.Millisecond)
	}
}

func TestIterationAllocatesNothing(t *testing.T) {
	for _, shape := range shapes {
		p := openPlan(t, shape.workload)
		walk := func(n int) float64 {
			return testing.AllocsPerRun(3, func() {
				i := 0
				for range p.Arrivals(0, 0, 1) {
					if i++; i == n {
						break
					}
				}
			})
		}
		if few, many := walk(10), walk(20_000); many > few {
			t.Errorf("%s: 20,000 arrivals allocate %v times, 10 arrivals %v times", shape.name, many, few)
		}
	}
}

// A seek costs the same in the first minute and in lap 10⁹: no lap is replayed.
func TestFarSeeksAreFast(t *testing.T) {
	p := openPlan(t, "{executor: ramping-arrival-rate, start_rate: 1/s, stages: [{duration: 250ms, target: 30/s}, {duration: 750ms, target: 1/s}], repeat: {}, max_vus: 1}")
	for _, from := range []time.Duration{12 * month, 1_000_000_000 * time.Second} {
		began := time.Now()
		const seeks = 1000
		for i := range seeks {
			for at := range p.Arrivals(from+time.Duration(i), 0, 1) {
				if at < from || at > from+time.Second {
					t.Fatalf("first arrival from %v on = %v, want within a second", from, at)
				}
				break
			}
		}
		if each := time.Since(began) / seeks; each > 100*time.Microsecond {
			t.Errorf("a seek to %v takes %v, want microseconds", from, each)
		}
	}
}
