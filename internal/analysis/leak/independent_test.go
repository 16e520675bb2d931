package leak

import (
	"math"
	"math/rand/v2"

	"github.com/perfd/perfd/internal/load"
)

// independent returns classes that judge the analysis. They share no formula and
// no range with shapes, and no threshold was chosen on them.
func independent() []shape {
	day12, day72, day48 := []float64{12}, []float64{72}, []float64{48}
	process := []float64{8, 24, 72}
	list := []shape{
		{name: "level noise", leak: false, spans: day12, make: formula(func(*rand.Rand, *trace) {})},
		{name: "collector of minutes", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) { x.collect(r, uniform(r, 3, 12), uniform(r, 0.15, 0.9)) })},
		{name: "collector of 30 minutes", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) { x.collect(r, uniform(r, 25, 40), uniform(r, 0.2, 0.8)) })},
		{name: "collector of 6 hours", leak: false, spans: day48, make: formula(func(r *rand.Rand, x *trace) { x.collect(r, uniform(r, 300, 400), uniform(r, 0.2, 0.8)) })},
		{name: "daily load", leak: false, spans: day72, make: formula(func(r *rand.Rand, x *trace) { x.office(r) })},
		{name: "daily load and collector", leak: false, spans: day72, make: formula(func(r *rand.Rand, x *trace) { x.office(r); x.collect(r, uniform(r, 4, 15), uniform(r, 0.2, 0.5)) })},
		{name: "warm-up", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			h := uniform(r, 0.25, 1)
			x.each(func(_ int, u, v float64) float64 { return v * (1 - h/(1+h)*math.Exp(-10*u)) })
		})},
		{name: "cache that fills", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			// A share of the keys is new at each request, until the cache is full.
			h, full, hits := uniform(r, 0.15, 0.5), uniform(r, 0.25, 0.5), uniform(r, 0, 1)
			x.each(func(_ int, u, v float64) float64 {
				w := min(1, u/full)
				return v * (1 + h*w*(1+hits*(1-w)))
			})
		})},
		{name: "lasting step", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			at := r.IntN(len(x.level))
			x.each(func(i int, _, v float64) float64 { return v * (1 + 0.15*float64(min(1, i/(at+1)))) })
		})},
		{name: "ratchet", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			h, at := uniform(r, 0.05, 0.12), uniform(r, 0.02, 0.1)
			x.each(func(_ int, u, v float64) float64 {
				s, next := 0.0, at
				for k := 1.0; u > next && k < 20; k++ {
					s += h / k / k
					next = at * (k + 1) * (k + 2) / 2
				}
				return v * (1 + s)
			})
		})},
		{name: "noise, .95", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) { x.noise(r, 0.95, uniform(r, 0.01, 0.03)) })},
		{name: "noise, .99", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) { x.noise(r, 0.99, uniform(r, 0.01, 0.03)) })},
		{name: "restarts", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			n := 2 + r.IntN(3)
			x.each(func(i int, _, v float64) float64 {
				since := float64(i % (len(x.level) / n))
				return v * (0.6 + 0.4*min(1, since/uniform(r, 10, 14)))
			})
		})},
		{name: "falling level", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			g := uniform(r, 0.05, 0.4)
			x.each(func(_ int, u, v float64) float64 { return v * math.Pow(1-g, u) })
		})},
		{name: "tuned by a release", leak: false, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			at := uniform(r, 0.3, 0.7)
			a, b := uniform(r, 0.2, 0.4), uniform(r, 0.5, 1)
			c, period := 0.0, uniform(r, 5, 9)
			x.each(func(_ int, u, v float64) float64 {
				h, p := a, period
				if u > at {
					h, p = b, 2.3*period
				}
				if c += 1 / p; c >= 1 {
					c = 0.1 * r.Float64()
				}
				return v * (1 + h*c)
			})
		})},
		{name: "nightly job", leak: false, spans: day72, make: formula(func(r *rand.Rand, x *trace) {
			h, at := uniform(r, 0.1, 0.7), uniform(r, 0, 1440)
			x.each(func(i int, _, v float64) float64 {
				d := math.Mod(float64(i)-at+1440, 1440)
				if d < 90 {
					v *= 1 + h*math.Sin(math.Pi*d/90)
				}
				return v
			})
		})},

		{name: "line in noise", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) { x.leakBy(uniform(r, 0.08, 0.2)) })},
		{name: "under a fast collector", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			x.leakBy(uniform(r, 0.1, 0.3))
			x.collect(r, uniform(r, 3, 12), uniform(r, 0.15, 0.9))
		})},
		{name: "under a slow collector", leak: true, spans: day48, make: formula(func(r *rand.Rand, x *trace) {
			x.leakBy(uniform(r, 0.1, 0.3))
			x.collect(r, uniform(r, 150, 400), uniform(r, 0.2, 0.8))
		})},
		{name: "under daily load", leak: true, spans: day72, make: formula(func(r *rand.Rand, x *trace) { x.office(r); x.leakBy(uniform(r, 0.1, 0.3)) })},
		{name: "after warm-up", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			x.leakBy(uniform(r, 0.1, 0.3))
			h := uniform(r, 0.25, 0.6)
			x.each(func(_ int, u, v float64) float64 { return v * (1 - h/(1+h)*math.Exp(-12*u)) })
		})},
		{name: "late onset", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			at, g := uniform(r, 0.3, 0.5), uniform(r, 0.15, 0.35)
			x.each(func(_ int, u, v float64) float64 { return v * math.Exp(g*max(0, u-at)) })
		})},
		{name: "staircase", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			every, g := uniform(r, 40, 110), uniform(r, 0.1, 0.3)
			n := float64(len(x.level)) / every
			x.each(func(i int, _, v float64) float64 { return v * (1 + g/n*math.Floor(float64(i)/every)) })
		})},
		{name: "proportional to requests", leak: true, spans: day72, make: formula(func(r *rand.Rand, x *trace) {
			x.office(r)
			sum, all, g := 0.0, 0.0, uniform(r, 0.1, 0.3)
			for _, q := range x.rate {
				all += q
			}
			x.each(func(i int, _, v float64) float64 { sum += x.rate[i]; return v * (1 + g*sum/all) })
		})},
		{name: "restarts at a limit", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			base, g, v := x.level[0], uniform(r, 0.25, 0.6), x.level[0]
			perMinute := base * g / uniform(r, 150, 300)
			x.collect(r, uniform(r, 4, 10), 0.2)
			x.restarts = map[int]bool{}
			x.each(func(i int, _, garbage float64) float64 {
				if v += perMinute; v > base*(1+g) {
					v, x.restarts[i] = base, true
				}
				return v * garbage / base
			})
		})},
		{name: "line in noise, .95", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			x.leakBy(uniform(r, 0.1, 0.25))
			x.noise(r, 0.95, uniform(r, 0.01, 0.02))
		})},
		{name: "one endpoint only", leak: true, spans: day12, make: formula(func(r *rand.Rand, x *trace) {
			g, left, on := uniform(r, 0.12, 0.25), 0.0, false
			x.each(func(_ int, _, v float64) float64 {
				if r.Float64() < 0.05 {
					on = !on
				}
				if on {
					left += 2 * g / float64(len(x.level))
				}
				return v * (1 + left)
			})
		})},
		{name: "descriptors one at a time", leak: true, spans: day12, make: func(r *rand.Rand, hours float64) *trace {
			x := newTrace(hours, 0)
			x.kind = load.ResourceGoroutines
			base, lost, every := float64(12+r.IntN(120)), 0.0, uniform(r, 15, 60)
			x.each(func(int, float64, float64) float64 {
				if r.Float64() < 1/every {
					lost++
				}
				return base + lost + float64(r.IntN(4))
			})
			return x
		}},
	}
	for _, c := range []struct {
		name    string
		leak    bool
		spans   []float64
		endless bool
		set     func(*heap)
	}{
		{"process", false, process, false, func(*heap) {}},
		{"process, daily load", false, day72, false, func(h *heap) { h.daily = true }},
		{"process, cache", false, []float64{8}, false, func(h *heap) { h.cache = uniform(h.r, 0.2, 0.5) }},
		{"process, cache that fills for 8 or 24 h", false, []float64{24, 72}, true, func(h *heap) { h.cache = uniform(h.r, 0.2, 0.5) }},
		{"process leaking by time", true, process, false, func(h *heap) { h.perHour = uniform(h.r, 0.1, 0.3) }},
		{"process leaking by request, daily load", true, day72, false, func(h *heap) { h.daily = true; h.perRequest = uniform(h.r, 0.15, 0.4) }},
	} {
		list = append(list, shape{name: c.name, leak: c.leak, spans: c.spans, endless: c.endless, make: func(r *rand.Rand, hours float64) *trace {
			h := &heap{r: r, live: math.Exp(uniform(r, math.Log(1e8), math.Log(4e9)))}
			c.set(h)
			return h.trace(hours)
		}})
	}
	return list
}

// formula makes a shape of a level between 100 MB and 4 GB with heavy-tailed noise of 1 %.
func formula(f func(*rand.Rand, *trace)) func(*rand.Rand, float64) *trace {
	return func(r *rand.Rand, hours float64) *trace {
		x := newTrace(hours, math.Exp(uniform(r, math.Log(1e8), math.Log(4e9))))
		f(r, x)
		x.each(func(_ int, _, v float64) float64 {
			return v * math.Exp(0.008*r.NormFloat64()*math.Sqrt(0.5+0.5*r.ExpFloat64()))
		})
		return x
	}
}

func (x *trace) leakBy(g float64) {
	first := x.level[0]
	x.each(func(_ int, u, v float64) float64 { return v + g*first*u })
}

// collect adds garbage at a rate that wanders, which a collector frees when it has reached a height.
func (x *trace) collect(r *rand.Rand, minutes, height float64) {
	garbage, pace := r.Float64(), 1.0
	x.each(func(_ int, _, v float64) float64 {
		pace = 1 + 0.9*(pace-1) + 0.05*r.NormFloat64()
		if garbage += pace / minutes; garbage >= 1 {
			garbage = 0
		}
		return v * (1 + height*garbage)
	})
}

// office gives load that is high from morning to evening, and a level that follows it.
func (x *trace) office(r *rand.Rand) {
	begin, share, low := r.Float64(), uniform(r, 0.1, 0.4), uniform(r, 0.2, 0.6)
	x.each(func(i int, _, v float64) float64 {
		d := math.Mod(float64(i)/1440+begin, 1)
		busy := 1 / (1 + math.Exp(-12*math.Sin(2*math.Pi*d)/2))
		x.rate[i] = 80 * (low + (1-low)*busy)
		return v * (1 + share*busy)
	})
}

// A heap is a process with a live set, garbage and a collector that runs when
// the heap is twice what was live after the last collection.
type heap struct {
	r                   *rand.Rand
	live                float64 // bytes, at no load
	perHour, perRequest float64 // of live: growth by the span, and by its requests
	cache               float64 // of live: fills over a third of the span
	daily               bool
}

func (h *heap) trace(hours float64) *trace {
	x := newTrace(hours, 0)
	phase, mean := uniform(h.r, 0, 2*math.Pi), 60.0
	goal, garbage, leaked, sessions := 2*h.live, 0.0, 0.0, 0.0
	perRequest := h.live / mean / uniform(h.r, 5, 60) / 60 // bytes of garbage: the heap doubles in 5 to 60 minutes
	x.each(func(i int, u, _ float64) float64 {
		rate := mean
		if h.daily {
			rate *= 1 + 0.6*math.Sin(2*math.Pi*float64(i)/1440+phase)
		}
		rate *= 1 + 0.05*h.r.NormFloat64()
		x.rate[i] = rate
		sessions += (0.1*h.live*rate/mean - sessions) / 20
		leaked += h.live * (h.perHour + h.perRequest*rate/mean) / float64(len(x.level))
		kept := h.live + sessions + leaked + h.cache*h.live*min(1, 3*u)
		garbage += perRequest * rate * 60
		if kept+garbage > goal {
			garbage = 0
			goal = 2 * kept
		}
		return (kept + garbage) * (1 + 0.003*h.r.NormFloat64())
	})
	return x
}
