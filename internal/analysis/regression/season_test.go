package regression

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
)

// A deployed is what was said of a release in a series with a season.
type deployed struct {
	called   bool
	after    time.Duration // from the release until it was first called
	released bool          // at the end it is not called any more
}

// deploy feeds intervals of ten minutes, and their hours, of a release for so many hours and then of another one, which is slower
// by a factor, and looks at it as an analysis does.
func (c *profile) deploy(r *rand.Rand, before, after int, slower float64) (out deployed) {
	p, nan := newPair(""), float32(math.NaN())
	s := &scenario{Scenario: Scenario{Name: "shop", Margin: DefaultMargin}, pairs: []*pair{p}, extents: map[load.Kind]extent{}}
	slow := r.NormFloat64()
	for hour := range before + after {
		at := c.start.Add(time.Duration(hour) * time.Hour)
		release, by := "v1", 0.0
		if hour >= before {
			release, by = "v2", math.Log(slower)
		}
		level := -3 + c.level(at) + c.sd*slow + by
		slow = c.phi*slow + math.Sqrt(1-c.phi*c.phi)*r.NormFloat64()
		o, sum := origin{release: release}, 0.0
		for k := range 6 {
			v := level + 0.03*r.NormFloat64()
			sum += v / 6
			began := at.Add(time.Duration(k) * 10 * time.Minute)
			d := p.deployment(o, began)
			d.blocks = keep(d.blocks, block{
				start: began.UnixNano(), end: began.Add(10 * time.Minute).UnixNano(), seconds: 600, requests: 3000, p50: nan, p95: float32(v), p99: nan,
			}, keptBlocks)
			d.seen[intervals]++
			p.fresh = true
			p.look(s.Margin)
			s.family()
			if p.confirmed != nil && !out.called {
				out.called, out.after = true, began.Add(10*time.Minute).Sub(c.start.Add(time.Duration(before)*time.Hour))
			}
		}
		p.addPoint(block{start: at.UnixNano(), end: at.Add(time.Hour).UnixNano(), seconds: 3600, requests: 18000, p50: nan, p95: float32(sum), p99: nan}, o)
	}
	out.released = out.called && p.confirmed == nil
	return out
}

// releasesInSeason deploys on Friday evenings, on Sunday evenings before the working week and at any hour, one to three
// weeks after the first hour that was measured.
func (s *sheet) releasesInSeason() {
	const n = 24
	s.head("a release in the second to fourth week of hours, watched for five days", "called worse")
	for i, kind := range []struct {
		name string
		set  func(*profile, *rand.Rand)
	}{
		{"quick weekends, by 10 to 40 %", func(c *profile, r *rand.Rand) { c.weekend = math.Log(0.9 - 0.3*r.Float64()) }},
		{"office hours, slower by 10 to 60 %", func(c *profile, r *rand.Rand) { c.hours = math.Log(1.1 + 0.5*r.Float64()) }},
	} {
		for _, slower := range []float64{1, 1.15} {
			called, soon, kept := 0, 0, 0
			for k := range n {
				r := rand.New(rand.NewPCG(analysistest.Seed()+uint64(k), uint64(21+i)))
				c := profile{
					zone: time.Duration(r.IntN(24)-11) * time.Hour, phi: 0.5 * r.Float64(), sd: 0.01 + 0.02*r.Float64(), open: 7 + r.IntN(3), close: 16 + r.IntN(4),
				}
				kind.set(&c, r)
				before := week + r.IntN(2*week)
				at := [...]int{4*day + 17 + r.IntN(5), 6*day + 15 + r.IntN(8), r.IntN(week)}[k%3]
				c.start = analysistest.Zero.Add(time.Duration(4*week+at-before)*time.Hour - c.zone)
				d := c.deploy(r, before, 5*day, slower)
				if d.called {
					called++
				}
				if d.called && d.after <= day*time.Hour {
					soon++
				}
				if d.called && !d.released {
					kept++
				}
			}
			if slower == 1 {
				s.most(kind.name+": equal", called, n, 0.04)
				continue
			}
			s.least(kind.name+": 15 % slower, within a day", soon, n, 0.85)
			s.least(kind.name+": 15 % slower, and still after five days", kept, n, 0.85)
		}
	}
}

// A release before quick weekends and after them, in the first days and later.
func TestReleasesAreComparedAtLikeHours(t *testing.T) {
	for _, c := range []struct {
		name   string
		before int // hours
		from   time.Time
		slower float64
		want   bool
	}{
		{"on Sunday evening of the first week", 3 * day, time.Date(2026, 1, 11, 20, 0, 0, 0, time.UTC), 1, false},
		{"on Sunday evening of the second week", 10 * day, time.Date(2026, 1, 11, 20, 0, 0, 0, time.UTC), 1, false},
		{"on Friday evening, slower", 12 * day, time.Date(2026, 1, 16, 18, 0, 0, 0, time.UTC), 1.15, true},
		{"on Sunday evening, slower", 10 * day, time.Date(2026, 1, 18, 20, 0, 0, 0, time.UTC), 1.15, true},
	} {
		r := rand.New(rand.NewPCG(5, 6))
		x := profile{weekend: math.Log(0.7), phi: 0.3, sd: 0.02, start: c.from.Add(-time.Duration(c.before) * time.Hour)}
		d := x.deploy(r, c.before, 3*day, c.slower)
		if d.called != c.want || d.released || d.after > 12*time.Hour {
			t.Errorf("a release %s: called %t after %v, given up %t, want %t", c.name, d.called, d.after, d.released, c.want)
		}
	}
}
