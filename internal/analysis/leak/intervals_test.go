package leak

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A leak of known bytes per request lies inside the interval, per request and
// per second, in at least 90 % of traces.
func TestIntervalsHoldAKnownLeak(t *testing.T) {
	series := 100
	if testing.Short() || raceEnabled {
		series = 20
	}
	for _, c := range []struct {
		name  string
		swing float64
	}{{"steady load", 0}, {"daily load", 0.6}} {
		perRequest, perSecond := 0, 0
		for k := range series {
			r := rand.New(rand.NewPCG(uint64(k), 7))
			x := newTrace(48, 1e8*math.Exp(2*r.Float64()))
			bytes, sent, phase := uniform(r, 10, 60), 0.0, uniform(r, 0, 2*math.Pi)
			x.each(func(i int, _, v float64) float64 {
				x.rate[i] = 50 * (1 + c.swing*math.Sin(2*math.Pi*float64(i)/1440+phase))
				sent += math.Floor(60 * x.rate[i])
				return v + bytes*sent
			})
			got := x.sawtooth(r, uniform(r, 2, 10), 0.5).noise(r, 0.3, 0.01).once().m.judgement.x
			if got.perRequest.in.Contains(bytes) {
				perRequest++
			}
			if got.trend.in.Contains(bytes * got.rate) {
				perSecond++
			}
		}
		t.Logf("%s: held in %d (per request) and %d (per second) of %d", c.name, perRequest, perSecond, series)
		if least := 9 * series / 10; perRequest < least || perSecond < least {
			t.Errorf("%s: a leak lies inside its interval in %d (per request) and %d (per second) of %d", c.name, perRequest, perSecond, series)
		}
	}
}
