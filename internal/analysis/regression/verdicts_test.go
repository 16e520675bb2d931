package regression

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A sheet is the table of docs/verdicts.md and holds what it says to its bars.
type sheet struct {
	t    *testing.T
	rows strings.Builder
}

func (s *sheet) head(situation, what string) {
	if s.rows.Len() > 0 {
		s.rows.WriteString("\n")
	}
	fmt.Fprintf(&s.rows, "| %s | %s | bar |\n|---|---|---|\n", situation, what)
}

// most writes a share that must not be larger than its bar.
func (s *sheet) most(situation string, k, n int, bar float64) {
	s.row(situation, k, n, "at most", bar)
	if got := float64(k) / float64(n); got > bar+chance(bar, n) {
		s.t.Errorf("%s: %.1f %%, want %.1f %% at most", situation, 100*got, 100*bar)
	}
}

// least writes a share that must not be smaller than its bar; 0 is none.
func (s *sheet) least(situation string, k, n int, bar float64) {
	s.row(situation, k, n, "at least", bar)
	if got := float64(k) / float64(n); got < bar-chance(bar, n) {
		s.t.Errorf("%s: %.1f %%, want %.1f %% at least", situation, 100*got, 100*bar)
	}
}

// chance is by how much a share of n may miss its bar with the seeds of a day: three
// standard errors, of one event in n at least. The seeds of the tables allow nothing.
func chance(bar float64, n int) float64 {
	if analysistest.Seed() == 0 {
		return 0
	}
	return 3 * math.Sqrt(max(bar*(1-bar), 1/float64(n))/float64(n))
}

func (s *sheet) row(situation string, k, n int, side string, bar float64) {
	share := fmt.Sprintf("%.1f %%", 100*float64(k)/float64(n))
	if n <= 100 {
		share = fmt.Sprintf("%d of %d", k, n)
	}
	limit := ""
	if bar > 0 || side == "at most" {
		limit = fmt.Sprintf("%s %.3g %%", side, 100*bar)
	}
	fmt.Fprintf(&s.rows, "| %s | %s | %s |\n", situation, share, limit)
}

func TestVerdicts(t *testing.T) {
	if testing.Short() || race {
		t.Skip("the whole simulation takes a while, and one goroutine races with none")
	}
	s := &sheet{t: t}
	s.wholeReleases()
	s.fewRuns()
	s.cleanSeries()
	s.steps()
	s.seasons()
	s.releasesInSeason()
	analysistest.Table(t, "regression", s.rows.String())
}

// wholeReleases feeds an hour of v1.0.0 and then v1.1.0 through the analysis, as
// the shop is: three steps at 5 requests per second, log-normal latencies of deviation a half.
func (s *sheet) wholeReleases() {
	s.head("a release against the one before, an hour old, through the whole analysis", "called worse")
	const n = 20
	found, slowest := 0, time.Duration(0)
	for seed := range uint64(n) {
		r := newRig(s.t, analysistest.Seed()+1000+seed)
		r.feed(time.Hour)
		r.release("v1.1.0")
		r.slower(1.15)
		took, fs := r.until(2 * time.Hour)
		if len(fs) > 0 {
			found++
		}
		slowest = max(slowest, took)
	}
	s.least(fmt.Sprintf("15 %% slower, three steps at 5/s; the last after %.0f minutes", slowest.Minutes()), found, n, 1)
	alarms := 0
	for seed := range uint64(n) {
		r := newRig(s.t, analysistest.Seed()+2000+seed)
		r.feed(time.Hour)
		r.release("v1.1.0")
		if _, fs := r.until(6 * time.Hour); len(fs) > 0 {
			alarms++
		}
	}
	s.most("equal, watched for six hours", alarms, n, 0)
	s.shortIntervals()
}

// shortIntervals compares by intervals of ten seconds, of a target whose speed wanders for tens of seconds.
func (s *sheet) shortIntervals() {
	s.head("the same with regression.interval: 10s, ten minutes old, three steps at 12/s; speed wanders by 5 %, autocorrelation .7 from window to window", "called worse")
	watch := func(seed uint64, slower float64, most time.Duration) (took time.Duration, called bool) {
		r := newRig(s.t, analysistest.Seed()+seed)
		r.a.configure([]Scenario{{Name: "shop-soak", Target: "shop", Steps: r.load.Steps, Test: "endurance", Interval: 10 * time.Second}})
		luck := rand.New(rand.NewPCG(analysistest.Seed()+seed, 5))
		median, wander := r.load.Median, 0.0
		r.load.Rate = 12
		next := func(speed float64) {
			wander = 0.7*wander + math.Sqrt(1-0.7*0.7)*luck.NormFloat64()
			r.load.Median = time.Duration(float64(median) * speed * math.Exp(0.05*wander))
			r.next()
		}
		for range 60 {
			next(1)
		}
		r.release("v1.1.0")
		began := r.load.Now
		for r.load.Now.Sub(began) < most {
			next(slower)
			if len(r.failing()) > 0 {
				return r.load.Now.Sub(began), true
			}
		}
		return most, false
	}
	const n = 100
	for _, c := range []struct {
		slower float64
		most   time.Duration
	}{{1.3, 10 * time.Minute}, {1.6, 5 * time.Minute}} {
		found := 0
		for seed := range uint64(n) {
			if _, called := watch(4000+seed, c.slower, c.most); called {
				found++
			}
		}
		s.least(fmt.Sprintf("%.0f %% slower, within %.0f minutes", 100*(c.slower-1), c.most.Minutes()), found, n, 0.95)
	}
	alarms := 0
	for seed := range uint64(n) {
		if _, called := watch(5000+seed, 1, time.Hour); called {
			alarms++
		}
	}
	s.most("equal, watched for an hour", alarms, n, 0.05)
}

// fewRuns compares five runs with five.
func (s *sheet) fewRuns() {
	s.head("5 + 5 runs of 2,000 requests, run-to-run deviation 2 %, one comparison of p95", "called worse")
	const n = 300
	for _, c := range []struct{ slower, most, least float64 }{{1, 0.05, 0}, {1.05, 0, 0}, {1.10, 0, 0.95}, {1.15, 0, 0.99}} {
		r := rand.New(rand.NewPCG(analysistest.Seed()+3, uint64(100*c.slower)))
		called := 0
		for range n {
			before, after := runsOf(r, 5, 1), runsOf(r, 5, c.slower)
			for _, x := range compare(side{before, before}, side{after, after}, runs, DefaultMargin) {
				if x.statistic == p95 && x.p <= thresholds.WorseLevel && x.beyond {
					called++
				}
			}
		}
		if c.slower == 1 {
			s.most("equal", called, n, c.most)
		} else {
			s.least(fmt.Sprintf("%.0f %% slower", 100*(c.slower-1)), called, n, c.least)
		}
	}
}

// runsOf returns n runs of 2,000 requests.
func runsOf(r *rand.Rand, n int, slower float64) []block {
	var out []block
	for range n {
		luck := slower * (1 + 0.02*r.NormFloat64())
		l := analysistest.Load{
			Scenario: "nightly", Steps: []string{"login"}, Rate: 2000.0 / 600, Window: 10 * time.Minute, Rand: r,
			Median: time.Duration(luck * float64(50*time.Millisecond)), Sigma: 0.5,
		}
		f := folder{length: time.Minute}
		out = append(out, *f.add(l.Next()[0], origin{}, ""))
	}
	return out
}

// noise returns n values of one level.
func noise(r *rand.Rand, kind string, n int) []float64 {
	phi := map[string]float64{"autocorrelation .3": 0.3, "autocorrelation .5": 0.5}[kind]
	x := make([]float64, n)
	last := r.NormFloat64()
	for i := range x {
		switch kind {
		case "t3":
			c := 0.0
			for range 3 {
				c += math.Pow(r.NormFloat64(), 2)
			}
			x[i] = r.NormFloat64() / math.Sqrt(c/3)
		case "log-normal":
			x[i] = math.Exp(r.NormFloat64())
		default:
			x[i] = last
			last = phi*last + math.Sqrt(1-phi*phi)*r.NormFloat64()
		}
	}
	return x
}

func (s *sheet) cleanSeries() {
	s.head("a series of 100 points that does not change, searched at 1 %", "changes found")
	const n = 2000
	for _, c := range []struct {
		kind string
		bar  float64
	}{{"normal", 0.015}, {"t3", 0.015}, {"log-normal", 0.015}, {"autocorrelation .3", 0.03}, {"autocorrelation .5", 0.03}} {
		r := rand.New(rand.NewPCG(analysistest.Seed()+4, 1))
		alarms := 0
		for range n {
			if len(stats.Changes(noise(r, c.kind, 100), stats.ChangeOptions{Level: thresholds.ChangeLevel})) > 0 {
				alarms++
			}
		}
		s.most(c.kind, alarms, n, c.bar)
	}
	s.watchedSeries()
}

// watchedSeries searches after each point, as the analysis does, for what
// deviates by 3 %.
func (s *sheet) watchedSeries() {
	const n = 50
	for _, kind := range []string{"normal", "autocorrelation .5"} {
		r := rand.New(rand.NewPCG(analysistest.Seed()+5, 1))
		alarms := 0
		for range n {
			x, p := noise(r, kind, 168), newPair("")
			for i, v := range x {
				nan := float32(math.NaN())
				at := analysistest.Zero.Add(time.Duration(i) * time.Hour)
				p.addPoint(block{
					start: at.UnixNano(), end: at.Add(time.Hour).UnixNano(), seconds: 3600, requests: 18000,
					p50: nan, p95: float32(-3 + 0.03*v), p99: nan,
				}, origin{})
				p.search(thresholds.ChangeLevel/20, DefaultMargin)
				if p.moved != nil {
					alarms++
					break
				}
			}
		}
		s.most(kind+", a week of hours searched each hour as one of 20 statistics", alarms, n, 0.05)
	}
}

func (s *sheet) steps() {
	s.head("a change in a series of 100 normal points, searched at 1 %", "found within 3 points")
	const n = 1000
	for _, c := range []struct {
		sd, bar float64
		after   int
	}{{2, 0, 5}, {2, 0.93, 10}, {2, 0.95, 20}, {1.5, 0, 10}, {3, 0.93, 5}} {
		s.least(fmt.Sprintf("%g deviations, %d points after it", c.sd, c.after), s.found(n, 100-c.after, 100, c.sd), n, c.bar)
	}
	s.least("3 deviations for 15 points, then back: both ends", s.found(n, 45, 60, 3), n, 0.9)
}

// found counts the series in which both ends of a stretch of another level are found.
func (s *sheet) found(n, from, to int, sd float64) int {
	r := rand.New(rand.NewPCG(analysistest.Seed()+6, 1))
	count := 0
	for range n {
		x := noise(r, "normal", 100)
		for i := from; i < to; i++ {
			x[i] += sd
		}
		changes := stats.Changes(x, stats.ChangeOptions{Level: thresholds.ChangeLevel})
		if closeTo(changes, from) && (to == 100 || closeTo(changes, to)) {
			count++
		}
	}
	return count
}

func closeTo(changes []stats.Change, at int) bool {
	for _, c := range changes {
		if c.At >= at-3 && c.At <= at+3 {
			return true
		}
	}
	return false
}

// A profile is how a level goes by hour of the day and of the week in a time zone, drawn for one series.
type profile struct {
	zone           time.Duration
	weekend, hours float64 // logarithms of the level on weekends, and in office hours
	open, close    int
	rising         float64 // in a week
	phi, sd        float64
	start          time.Time
}

func (c *profile) level(at time.Time) float64 {
	local := at.Add(c.zone)
	v := c.rising * at.Sub(c.start).Hours() / week
	if local.Weekday() == time.Saturday || local.Weekday() == time.Sunday {
		return v + c.weekend
	}
	if h := local.Hour(); h >= c.open && h < c.close {
		v += c.hours
	}
	return v
}

// watch searches after each of so many hours from the first searched one, of which those from an index on are
// higher, and returns the changes that were found, in order, as indices of hours.
func (c *profile) watch(r *rand.Rand, first, hours, from int, by float64) (found []int) {
	p, nan := newPair(""), float32(math.NaN())
	noise := r.NormFloat64()
	for i := range hours {
		at := c.start.Add(time.Duration(i) * time.Hour)
		v := -3 + c.level(at) + c.sd*noise
		noise = c.phi*noise + math.Sqrt(1-c.phi*c.phi)*r.NormFloat64()
		if i >= from {
			v += by
		}
		p.addPoint(block{
			start: at.UnixNano(), end: at.Add(time.Hour).UnixNano(), seconds: 3600, requests: 18000, p50: nan, p95: float32(v), p99: nan,
		}, origin{})
		if i < first {
			continue
		}
		before := p.moved
		if p.search(thresholds.ChangeLevel/20, DefaultMargin); p.moved != nil && before == nil {
			found = append(found, int(p.moved.at.Sub(c.start).Hours()))
		}
	}
	return found
}

// seasons judges with courses that nothing was tuned on: other depths, hours, noise and starts.
func (s *sheet) seasons() {
	const n = 25
	draw := func(r *rand.Rand) profile {
		return profile{
			zone: time.Duration(r.IntN(24)-11) * time.Hour, phi: 0.5 * r.Float64(), sd: 0.01 + 0.03*r.Float64(),
			start: analysistest.Zero.Add(time.Duration(r.IntN(week)) * time.Hour), open: 7 + r.IntN(3), close: 16 + r.IntN(4),
		}
	}
	kinds := []struct {
		name string
		bar  float64
		set  func(*profile, *rand.Rand)
	}{
		{"quick weekends, by 10 to 40 %", 0.04, func(c *profile, r *rand.Rand) { c.weekend = math.Log(0.9 - 0.3*r.Float64()) }},
		{"office hours, slower by 10 to 60 %", 0.04, func(c *profile, r *rand.Rand) { c.hours = math.Log(1.1 + 0.5*r.Float64()) }},
		{"a drift by 3 to 15 % a week", 0.1, func(c *profile, r *rand.Rand) { c.rising = 0.03 + 0.12*r.Float64() }},
	}
	s.head("two weeks of hours, searched each hour as one of 20 statistics", "false changes")
	for i, kind := range kinds {
		r := rand.New(rand.NewPCG(analysistest.Seed()+11, uint64(i)))
		alarms := 0
		for range n {
			c := draw(r)
			kind.set(&c, r)
			if len(c.watch(r, 0, 2*week, 2*week, 0)) > 0 {
				alarms++
			}
		}
		s.most(kind.name, alarms, n, kind.bar)
	}
	s.head("the same in the third week, slower by 20 to 40 % from a random hour on", "found within two days")
	for i, kind := range kinds[:2] {
		r := rand.New(rand.NewPCG(analysistest.Seed()+12, uint64(i)))
		found := 0
		for range n {
			c := draw(r)
			kind.set(&c, r)
			from := 2*week + r.IntN(5*day)
			if at := c.watch(r, from-3*day, from+2*day, from, math.Log(1.2+0.2*r.Float64())); len(at) > 0 && at[len(at)-1] >= from-6 {
				found++
			}
		}
		s.least(kind.name, found, n, 0.85)
	}
}

func TestVerdictsShortly(t *testing.T) {
	r := newRig(t, 1000)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.slower(1.15)
	if took, fs := r.until(20 * time.Minute); len(fs) == 0 || fs[0].Verdict != load.Fail {
		t.Errorf("15 %% slower is not called within %v", took)
	}
}
