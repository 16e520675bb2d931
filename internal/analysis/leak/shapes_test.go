package leak

import (
	"math"
	"math/rand/v2"

	"github.com/perfd/perfd/internal/load"
)

// shapes are the classes that the thresholds were chosen on.
func shapes() []shape {
	all := []float64{6, 12, 24, 72}
	long, slow := []float64{72}, []float64{48}
	start := func(r *rand.Rand, hours float64) *trace {
		return newTrace(hours, 1e8*math.Exp(r.Float64()*math.Log(40)))
	}
	// plain has level noise of about 1 %.
	plain := func(f func(r *rand.Rand, x *trace, hours float64)) func(*rand.Rand, float64) *trace {
		return func(r *rand.Rand, hours float64) *trace {
			x := start(r, hours)
			f(r, x, hours)
			return x.noise(r, 0, uniform(r, 0.005, 0.012))
		}
	}
	gc := func(r *rand.Rand, x *trace) { x.sawtooth(r, uniform(r, 2, 20), uniform(r, 0.1, 0.6)) }
	grow := func(x *trace, g float64) { x.each(func(_ int, u, v float64) float64 { return v * (1 + g*u) }) }
	diurnal := func(r *rand.Rand, x *trace) {
		phase, swing, share := uniform(r, 0, 2*math.Pi), uniform(r, 0.3, 0.8), uniform(r, 0.1, 0.5)
		x.each(func(i int, _, v float64) float64 {
			s := swing * math.Sin(2*math.Pi*float64(i)/1440+phase)
			x.rate[i] = 50 * (1 + s)
			return v * (1 + share*s)
		})
	}
	restart := func(r *rand.Rand, x *trace, f func(since, life float64) float64) {
		at, life := 0.0, float64(len(x.level))*uniform(r, 0.2, 0.34)
		x.restarts = map[int]bool{}
		x.each(func(i int, _, v float64) float64 {
			if at++; at >= life {
				at = 0
				x.restarts[i] = true
			}
			return v * f(at, life)
		})
	}
	return []shape{
		{name: "level noise", leak: false, spans: all, make: plain(func(*rand.Rand, *trace, float64) {})},
		{name: "collector, minutes", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) { gc(r, x) })},
		{name: "collector, 30 minutes", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) { x.sawtooth(r, 30, uniform(r, 0.2, 0.6)) })},
		{name: "collector, 6 hours", leak: false, spans: slow, make: plain(func(r *rand.Rand, x *trace, _ float64) { x.sawtooth(r, 360, uniform(r, 0.2, 0.6)) })},
		{name: "daily load", leak: false, spans: long, make: plain(func(r *rand.Rand, x *trace, _ float64) { diurnal(r, x) })},
		{name: "daily load, collector", leak: false, spans: long, make: plain(func(r *rand.Rand, x *trace, _ float64) { diurnal(r, x); gc(r, x) })},
		{name: "warm-up", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			h, tau := uniform(r, 0.2, 0.8), uniform(r, 0.05, 0.12)
			x.each(func(_ int, u, v float64) float64 { return v * (1 + h*(1-math.Exp(-u/tau))) })
		})},
		{name: "cache", leak: false, spans: all[:2], make: plain(func(r *rand.Rand, x *trace, _ float64) {
			h, full := uniform(r, 0.2, 0.6), uniform(r, 0.25, 0.5)
			x.each(func(_ int, u, v float64) float64 { return v * (1 + h*min(1, u/full)) })
		})},
		{name: "lasting step", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			at := uniform(r, 0.1, 0.9)
			x.each(func(_ int, u, v float64) float64 {
				if u > at {
					v *= 1.15
				}
				return v
			})
		})},
		{name: "ratchet", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			n, h := 3+r.IntN(3), uniform(r, 0.06, 0.15)
			shift := r.Float64()
			x.each(func(_ int, u, v float64) float64 {
				for k := range n {
					if u > (float64(k)+shift)/float64(n) {
						v *= 1 + h*math.Pow(0.5, float64(k))
					}
				}
				return v
			})
		})},
		{name: "AR(1), .95", leak: false, spans: all, make: func(r *rand.Rand, h float64) *trace { return start(r, h).noise(r, 0.95, uniform(r, 0.01, 0.04)) }},
		{name: "AR(1), .99", leak: false, spans: all, make: func(r *rand.Rand, h float64) *trace { return start(r, h).noise(r, 0.99, uniform(r, 0.01, 0.04)) }},
		{name: "restarts", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			tau := uniform(r, 5, 20)
			restart(r, x, func(s, _ float64) float64 { return 1 - 0.5*math.Exp(-s/tau) })
		})},
		{name: "restarts unseen", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			tau := uniform(r, 5, 20)
			restart(r, x, func(s, _ float64) float64 { return 1 - 0.5*math.Exp(-s/tau) })
			x.restarts = nil
			if r.Float64() < 0.5 {
				gc(r, x)
			}
		})},
		{name: "falling", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) { grow(x, -uniform(r, 0.08, 0.3)) })},
		{name: "collector tuned", leak: false, spans: all, make: plain(func(r *rand.Rand, x *trace, hours float64) {
			at, a, b := uniform(r, 0.2, 0.8), newTrace(hours, 1), newTrace(hours, 1)
			a.sawtooth(r, uniform(r, 4, 20), uniform(r, 0.2, 0.4))
			b.sawtooth(r, uniform(r, 10, 40), uniform(r, 0.4, 0.8))
			x.each(func(i int, u, v float64) float64 {
				if u > at {
					return v * b.level[i]
				}
				return v * a.level[i]
			})
		})},
		{name: "nightly job", leak: false, spans: []float64{12, 24, 72}, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			at, length, h := r.IntN(1440), 30+r.IntN(60), uniform(r, 0.2, 0.6)
			x.each(func(i int, _, v float64) float64 {
				if (i+1440-at)%1440 < length {
					v *= 1 + h
				}
				return v
			})
		})},

		{name: "line", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) { grow(x, uniform(r, 0.08, 0.2)) })},
		{name: "line, collector", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) { grow(x, uniform(r, 0.1, 0.3)); gc(r, x) })},
		{name: "line, slow collector", leak: true, spans: slow, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			grow(x, uniform(r, 0.1, 0.3))
			x.sawtooth(r, uniform(r, 120, 360), uniform(r, 0.2, 0.6))
		})},
		{name: "daily load, line", leak: true, spans: long, make: plain(func(r *rand.Rand, x *trace, _ float64) { diurnal(r, x); grow(x, uniform(r, 0.1, 0.3)); gc(r, x) })},
		{name: "after warm-up", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			h, tau, g := uniform(r, 0.2, 0.6), uniform(r, 0.03, 0.1), uniform(r, 0.1, 0.3)
			x.each(func(_ int, u, v float64) float64 { return v * (1 + h*(1-math.Exp(-u/tau)) + g*u) })
		})},
		{name: "late onset", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			from, g := uniform(r, 0.25, 0.55), uniform(r, 0.15, 0.3)
			x.each(func(_ int, u, v float64) float64 { return v * (1 + g*max(0, u-from)/(1-from)) })
		})},
		{name: "staircase", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			n, g := float64(6+r.IntN(10)), uniform(r, 0.1, 0.3)
			x.each(func(_ int, u, v float64) float64 { return v * (1 + g*math.Floor(u*n)/n) })
		})},
		{name: "per request", leak: true, spans: long, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			diurnal(r, x)
			sent, g := 0.0, uniform(r, 0.1, 0.3)/50/float64(len(x.level))
			x.each(func(i int, _, v float64) float64 { sent += x.rate[i]; return v * (1 + g*sent) })
			gc(r, x)
		})},
		{name: "restarts at a limit", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			g := uniform(r, 0.3, 1)
			restart(r, x, func(s, life float64) float64 { return 1 + g*s/life })
			gc(r, x)
		})},
		{name: "restarts unseen, collector", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			g := uniform(r, 0.3, 1)
			restart(r, x, func(s, life float64) float64 { return 1 + g*s/life })
			x.restarts = nil
			gc(r, x)
		})},
		{name: "restarts unseen, known limit", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			g := uniform(r, 0.3, 1)
			x.limit = x.level[0] * (1 + g)
			restart(r, x, func(s, life float64) float64 { return 1 + g*s/life })
			x.restarts = nil
		})},
		{name: "AR(1), .95, line", leak: true, spans: all, make: func(r *rand.Rand, h float64) *trace {
			x := start(r, h)
			grow(x, uniform(r, 0.1, 0.25))
			return x.noise(r, 0.95, uniform(r, 0.01, 0.025))
		}},
		{name: "one endpoint", leak: true, spans: all, make: plain(func(r *rand.Rand, x *trace, _ float64) {
			// A share of the traffic comes and goes and leaves memory while it is there.
			period, left := uniform(r, 20, 60), 0.0
			g := uniform(r, 0.1, 0.2) * 2 / float64(len(x.level))
			x.each(func(i int, _, v float64) float64 {
				if math.Mod(float64(i), period) < period/2 {
					left += g
				}
				return v * (1 + left)
			})
			gc(r, x)
		})},
		{name: "goroutines", leak: true, spans: all, make: func(r *rand.Rand, hours float64) *trace {
			x := newTrace(hours, math.Floor(uniform(r, 15, 200)))
			x.kind = load.ResourceGoroutines
			g, jitter := uniform(r, 0.2, 0.6), uniform(r, 0.3, 2)
			x.each(func(_ int, u, v float64) float64 { return math.Floor(v*(1+g*u) + jitter*math.Abs(r.NormFloat64())) })
			return x
		}},
		{name: "connections lost by chance", leak: true, spans: all, make: func(r *rand.Rand, hours float64) *trace {
			x := newTrace(hours, math.Floor(uniform(r, 10, 100)))
			x.kind = load.ResourceGoroutines
			odds, lost, busy := uniform(r, 10, 40)/float64(len(x.level)), 0.0, uniform(r, 1, 5)
			x.each(func(_ int, _, v float64) float64 {
				if r.Float64() < odds {
					lost++
				}
				return v + lost + math.Floor(busy*r.Float64())
			})
			return x
		}},
		{name: "off-heap", leak: true, spans: all, make: func(r *rand.Rand, hours float64) *trace {
			x := start(r, hours)
			grow(x, uniform(r, 0.1, 0.25))
			x.noise(r, 0.9, 0.006)
			page := math.Round(x.level[0] / 200)
			x.each(func(_ int, _, v float64) float64 { return math.Round(v/page) * page })
			return x
		}},
	}
}
