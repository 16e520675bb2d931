package pace

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/block"
)

// seriesDir holds the files that properties draw.
var seriesDir string

func TestMain(m *testing.M) {
	// 1,000 random plans for each property, 200 with -short, unless the command line says otherwise.
	checks := "1000"
	flag.Parse()
	if testing.Short() {
		checks = "200"
	}
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set {
		if err := flag.Set("rapid.checks", checks); err != nil {
			panic(err)
		}
	}
	var err error
	if seriesDir, err = os.MkdirTemp("", "pace-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(seriesDir)
	os.Exit(code)
}

// drawOpen draws an open workload of any shape that validates.
func drawOpen(t *rapid.T) Config {
	rate := func(label string) string {
		digits := rapid.IntRange(0, 9_999).Draw(t, label)
		unit := rapid.SampledFrom([]string{"s", "m", "h", "d"}).Draw(t, label+" unit")
		return fmt.Sprintf("%g/%s", float64(digits)/float64(rapid.SampledFrom([]int{1, 10, 100}).Draw(t, label+" digits")), unit)
	}
	length := func(label string) string {
		return time.Duration(rapid.OneOf(
			rapid.Int64Range(1, 100_000),
			rapid.Int64Range(1, int64(time.Minute)),
			rapid.Map(rapid.Int64Range(0, 7_200), func(s int64) int64 { return s * int64(time.Second) }),
			rapid.Int64Range(1, int64(100*24*time.Hour)),
		).Draw(t, label)).String()
	}
	var b strings.Builder
	if rapid.Bool().Draw(t, "constant") {
		fmt.Fprintf(&b, "{executor: constant-arrival-rate, max_vus: 1, rate: %s", rate("rate"))
		if rapid.Bool().Draw(t, "finite") {
			fmt.Fprintf(&b, ", duration: %s", length("duration"))
		}
	} else if rapid.Bool().Draw(t, "shaped") {
		fmt.Fprintf(&b, "{executor: ramping-arrival-rate, max_vus: 1, start_rate: %s, ", rate("start rate"))
		switch rapid.IntRange(0, 5).Draw(t, "shape") {
		case 0:
			fmt.Fprintf(&b, "stairs: {from: %s, step: %s, levels: %d, hold: %s, climb: %s}", rate("from"), rate("step"), rapid.IntRange(1, 20).Draw(t, "levels"), length("hold"), length("climb"))
		case 1:
			fmt.Fprintf(&b, "spike: {base: %s, peak: %s, before: %s, surge: %s, hold: %s, drop: %s, recover: %s}",
				rate("base"), rate("peak"), length("before"), length("surge"), length("hold"), length("drop"), length("recover"))
		case 2:
			fmt.Fprintf(&b, "ramp_and_hold: {target: %s, ramp: %s, hold: %s, ramp_down: %s}", rate("target"), length("ramp"), length("hold"), length("down"))
		case 3:
			fmt.Fprintf(&b, "sine: {low: %s, high: %s, period: %s}", rate("low"), rate("high"), length("period"))
		case 4:
			fmt.Fprintf(&b, "randomized: {low: %s, high: %s, hold: %s, climb: %s, levels: %d, seed: %d}",
				rate("low"), rate("high"), length("hold"), length("climb"), rapid.IntRange(1, 50).Draw(t, "levels"), rapid.IntRange(-5, 5).Draw(t, "seed"))
		case 5:
			fmt.Fprintf(&b, "replay: {file: %q, per: %s, factor: %v, missing: %s}", drawSeries(t),
				rapid.SampledFrom([]string{"1s", "1m", "1h", "7ms"}).Draw(t, "per"), rapid.SampledFrom([]float64{1, 0.37, 100}).Draw(t, "factor"), rapid.SampledFrom(missings).Draw(t, "missing"))
		}
		if rapid.Bool().Draw(t, "laps") {
			fmt.Fprintf(&b, ", repeat: {from: 0, times: %d}", rapid.IntRange(0, 3).Draw(t, "times"))
		}
	} else {
		fmt.Fprintf(&b, "{executor: ramping-arrival-rate, max_vus: 1, start_rate: %s, stages: [", rate("start rate"))
		n := rapid.IntRange(1, 6).Draw(t, "stages")
		for range n {
			fmt.Fprintf(&b, "{duration: %s, target: %s},", length("length"), rate("target"))
		}
		b.WriteString("]")
		if rapid.Bool().Draw(t, "repeats") {
			fmt.Fprintf(&b, ", repeat: {from: %d, times: %d}", rapid.IntRange(0, n-1).Draw(t, "from"), rapid.IntRange(0, 3).Draw(t, "times"))
		}
	}
	b.WriteString("}")
	var errs block.Errors
	var c Config
	block.Decode(block.Parse("perfd.yaml", []byte(b.String()), &errs), &c, &errs)
	c.Decode(kinds, &errs)
	if errs.Err() != nil { // no load at all, or a lap without length
		t.Skip(errs.Err())
	}
	t.Log(b.String())
	return c
}

// drawSeries writes a file of a few samples, some without a value.
func drawSeries(t *rapid.T) string {
	var rows strings.Builder
	at := time.Duration(0)
	for i := range rapid.IntRange(2, 12).Draw(t, "samples") {
		value := rapid.SampledFrom([]string{"0", "1", "2.5", "17", "40.125", "3", ""}).Draw(t, "value")
		if i == 0 && value == "" {
			value = "1"
		}
		fmt.Fprintf(&rows, "%s,%s\n", at, value)
		at += time.Duration(rapid.OneOf(rapid.Just(int64(time.Minute)), rapid.Int64Range(1, int64(time.Hour))).Draw(t, "distance"))
	}
	f, err := os.CreateTemp(seriesDir, "*.csv")
	if err == nil {
		_, err = f.WriteString(rows.String())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Log(rows.String())
	return f.Name()
}

// integral is the exact integral of a workload's rate up to t, computed apart
// from the plan: with rational numbers, over the stages as they are configured.
func integral(c Config, t time.Duration) *big.Rat {
	rate := func(r block.Rate) *big.Rat {
		v, _ := new(big.Rat).SetString(fmt.Sprint(r.Count))
		return v.Quo(v, big.NewRat(int64(r.Per), 1))
	}
	over := func(from, to *big.Rat, d, x time.Duration) *big.Rat { // up to x of a line over d
		at := new(big.Rat).Sub(to, from)
		at.Mul(at, big.NewRat(int64(x), int64(d))).Add(at, from) // the rate at x
		return at.Add(at, from).Mul(at, big.NewRat(int64(x), 2))
	}
	if w, ok := c.own.(*constantArrivalRate); ok {
		if w.Duration > 0 {
			t = min(t, w.Duration.D())
		}
		return over(rate(*w.Rate), rate(*w.Rate), max(1, t), max(0, t))
	}
	ramp := c.own.(*rampingArrivalRate)
	stages := ramp.curve.Stages()
	sum := new(big.Rat)
	pass := func(level *big.Rat, stages []Stage, t time.Duration) {
		for _, s := range stages {
			to := rate(*s.Target.Rate)
			if x := min(t, s.Duration.D()); x > 0 {
				sum.Add(sum, over(level, to, s.Duration.D(), x))
				t -= x
			}
			level = to
		}
	}
	last := rate(*stages[len(stages)-1].Target.Rate)
	pass(rate(*ramp.start().Rate), stages, t)
	first := lasting(stages)
	if t <= first || ramp.repeat() == nil {
		return sum
	}
	lap := stages[ramp.repeat().From:]
	if end := c.End(); !end.Never() {
		t = min(t, end.Time)
	}
	laps := (t - first) / lasting(lap)
	before := new(big.Rat).Set(sum)
	sum.SetInt64(0)
	pass(last, lap, lasting(lap))
	sum.Mul(sum, big.NewRat(int64(laps), 1)).Add(sum, before)
	pass(last, lap, t-first-laps*lasting(lap))
	return sum
}

// drawInstant draws an instant of the plan, near or centuries away.
func drawInstant(t *rapid.T, c Config) time.Duration {
	most := 200 * 365 * 24 * time.Hour
	if end := c.End(); !end.Never() {
		most = end.Time
	}
	return time.Duration(rapid.OneOf(
		rapid.Just(int64(0)),
		rapid.Int64Range(0, int64(most)),
		rapid.Int64Range(0, min(int64(most), int64(time.Hour))),
	).Draw(t, "instant"))
}

func newOpen(t *rapid.T, c Config) Open {
	p, err := New(c, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return p.(Open)
}

// The number of arrivals before any instant is the integral of the rate,
// rounded up: at every arrival the exact integral is at most its number, one
// nanosecond later it is more, and none is missing in between.
func TestEvenArrivalsFollowTheIntegral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawOpen(t)
		p := newOpen(t, c)
		from := drawInstant(t, c)
		before := ceil(integral(c, from))
		previous := from
		for i, due := range take(p, from, 0, 1, 30) {
			if due < previous {
				t.Fatalf("arrival at %d ns after one at %d ns", due, previous)
			}
			previous = due
			number := new(big.Rat).SetInt(new(big.Int).Add(before, big.NewInt(int64(i))))
			if at := integral(c, due); at.Cmp(number) > 0 {
				t.Fatalf("arrival %v is late: the integral at %d ns is %s", number.Num(), due, at.FloatString(12))
			}
			if after := integral(c, due+1); after.Cmp(number) <= 0 {
				t.Fatalf("arrival %v is early: the integral at %d ns is %s", number.Num(), due+1, after.FloatString(12))
			}
		}
	})
}

func ceil(r *big.Rat) *big.Int {
	q, m := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	if m.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func TestTheLastArrivalIsWithinThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawOpen(t)
		if c.End().Never() {
			t.Skip("endless")
		}
		end := c.End().Time
		all := ceil(integral(c, end))
		p := newOpen(t, c)
		from := end - 1 // a seek to the end yields what is left, never one too many
		for due := range p.Arrivals(from, 0, 1) {
			if due >= end {
				t.Fatalf("an arrival at %d ns, the plan ends at %d ns", due, end)
			}
		}
		if all.Cmp(big.NewInt(100)) >= 0 {
			return
		}
		if got := len(take(p, 0, 0, 1, 100)); big.NewInt(int64(got)).Cmp(all) != 0 {
			t.Fatalf("%d arrivals, want %v", got, all)
		}
	})
}

func TestCountIsTheIntegral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawOpen(t)
		p := newOpen(t, c)
		a, b := drawInstant(t, c), drawInstant(t, c)
		want, _ := new(big.Rat).Sub(integral(c, b), integral(c, a)).Float64()
		if got := p.Count(a, b); math.Abs(got-want) > 1e-6+1e-12*math.Abs(want) {
			t.Fatalf("Count(%d, %d) = %v, want %v", a, b, got, want)
		}
	})
}

// during returns at most n arrivals of a stretch of the plan.
func during(p Open, from, until time.Duration, shard, of, n int) []time.Duration {
	var out []time.Duration
	for t := range p.Arrivals(from, shard, of) {
		if t >= until || len(out) == n {
			break
		}
		out = append(out, t)
	}
	return out
}

// However a plan is entered and shared out, the same arrivals come.
func TestSeekAndShardsKeepTheArrivals(t *testing.T) {
	const n = 40
	for _, spacing := range []string{Even, Poisson} {
		t.Run(spacing, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				c := drawOpen(t)
				c.Seed = rapid.Int().Draw(t, "seed")
				switch w := c.own.(type) {
				case *constantArrivalRate:
					w.Arrivals = spacing
				case *rampingArrivalRate:
					w.Arrivals = spacing
				}
				p := newOpen(t, c)
				from := drawInstant(t, c)
				until := from + time.Minute
				if p.Count(until, until+time.Hour) < 60 {
					t.Skip("too quiet to walk its cells")
				}
				for until > from+time.Second && p.Count(from, until) > n {
					until -= (until - from) / 2
				}
				all := during(p, from, until, 0, 1, n)
				if !slices.IsSorted(all) {
					t.Fatalf("arrivals go back: %v", all)
				}
				sought := from + time.Duration(rapid.Int64Range(0, int64(until-from)).Draw(t, "sought"))
				if len(all) > 0 && rapid.Bool().Draw(t, "of an arrival") {
					sought = rapid.SampledFrom(all).Draw(t, "arrival") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "off"))
				}
				tail := slices.Clone(all)
				for len(tail) > 0 && tail[0] < sought {
					tail = tail[1:]
				}
				if len(all) < n || len(tail) > 0 {
					if got := during(p, sought, until, 0, 1, n); !slices.Equal(got[:min(len(got), len(tail))], tail) {
						t.Fatalf("Arrivals(%d) = %d, want %d", sought, got, tail)
					}
				}
				of := rapid.IntRange(2, 7).Draw(t, "shards")
				var shared []time.Duration
				for shard := range of {
					shared = append(shared, during(p, from, until, shard, of, n)...)
				}
				slices.Sort(shared)
				if len(all) < n && len(shared) != len(all) || !slices.Equal(shared[:min(len(shared), len(all))], all) {
					t.Fatalf("%d shards together = %d, want %d", of, shared, all)
				}
			})
		})
	}
}

func TestVULevels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &rampingVUs{StartVUs: rapid.IntRange(0, 1000).Draw(t, "start")}
		var stages stageList
		for range rapid.IntRange(1, 5).Draw(t, "stages") {
			n := rapid.IntRange(0, 1000).Draw(t, "target")
			d := rapid.Int64Range(0, int64(time.Hour)).Draw(t, "length")
			stages = append(stages, Stage{block.Duration(d), Target{VUs: &n}})
		}
		w.curve, w.Repeat = &stages, &Repeat{Times: rapid.IntRange(1, 3).Draw(t, "times")}
		if lasting(stages) == 0 {
			t.Skip("no length")
		}
		p, err := w.Plan("shop", 0)
		if err != nil {
			t.Fatal(err)
		}
		end := w.Summary().End.Time
		at := time.Duration(rapid.Int64Range(0, int64(end)-1).Draw(t, "instant"))
		l := p.At(at)
		if l.Until <= at || l.Until > end {
			t.Fatalf("At(%d).Until = %d, want between it and the end at %d", at, l.Until, end)
		}
		if last := p.At(l.Until - 1); last != l {
			t.Fatalf("At(%d) = %+v, before the change at %d it is %+v", at, l, l.Until, last)
		}
		if next := p.At(l.Until); l.Until < end && next.VUs == l.VUs && next.Stage == l.Stage && len(stages) > 1 && next.Until == l.Until {
			t.Fatalf("At(%d) = %+v does not move on", l.Until, next)
		}
		if most := w.Summary().MostVUs; l.VUs < 0 || l.VUs > most {
			t.Fatalf("At(%d).VUs = %d, want 0 to %d", at, l.VUs, most)
		}
	})
}
