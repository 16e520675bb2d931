package pace

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// followingPlan returns the plan of a workload that follows a query, from an instant on, and its feed.
func followingPlan(t testing.TB, executor, keys string, zero time.Time) (Plan, *Feed) {
	t.Helper()
	p, err := New(config(t, fmt.Sprintf("{executor: %s, replay: {prometheus: 'http://127.0.0.1:9090', query: q, %s}}", executor, keys)), "shop")
	if err != nil {
		t.Fatal(err)
	}
	p = From(p, zero)
	return p, FeedOf(p)
}

// fill puts the values of a function into a feed as a reader does at an instant, all but those of some steps.
func fill(f *Feed, now time.Time, value func(time.Time) float64, without ...int64) {
	from, to := f.Wanted(now)
	var all []Measured
	for at := from; !at.After(to); at = at.Add(f.Step) {
		if !slices.Contains(without, f.number(at.UnixNano())) {
			all = append(all, Measured{at, value(at)})
		}
	}
	f.Put(all, now)
}

const openFollower = "ramping-arrival-rate, max_vus: 1"

var feedZero = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

// The arrivals of a month that is read minute by minute are the integral of the levels of a week before: in each minute
// within one, in each hour and altogether without drift, the same for any split of shards and after a restart.
func TestAMonthThatIsFollowed(t *testing.T) {
	const hours = 30 * 24
	zero := feedZero
	value := func(at time.Time) float64 { // requests a minute
		return 30 + 25*math.Sin(2*math.Pi*float64(at.Unix()%86400)/86400) + float64(at.Unix()/60%7)/10
	}
	p, f := followingPlan(t, openFollower, "step: 1m, offset: 7d, per: 1m, factor: 0.5, max: 100/s", zero)
	open := p.(Open)
	total, want := 0, 0.
	for hour := range hours {
		now := zero.Add(time.Duration(hour) * time.Hour)
		fill(f, now.Add(time.Hour), value)
		begin := time.Duration(hour) * time.Hour
		var got [60]int
		for due := range open.Arrivals(begin, 0, 1) {
			if due >= begin+time.Hour {
				break
			}
			got[(due-begin)/time.Minute]++
			total++
		}
		for i := range got {
			level := value(now.Add(time.Duration(i)*time.Minute).Add(-7*24*time.Hour)) / 2
			want += level
			if math.Abs(float64(got[i])-level) > 1 {
				t.Fatalf("%d arrivals in minute %d of hour %d, want %v", got[i], i, hour, level)
			}
		}
		if hour%100 == 0 {
			var all []time.Duration
			for shard := range 3 {
				all = append(all, during(open, begin+time.Hour/2, begin+time.Hour, shard, 3, 10_000)...)
			}
			slices.Sort(all)
			again, _ := followingPlan(t, openFollower, "step: 1m, offset: 7d, per: 1m, factor: 0.5, max: 100/s", zero)
			fill(FeedOf(again), now.Add(time.Hour), value) // after a restart
			if one := during(again.(Open), begin+time.Hour/2, begin+time.Hour, 0, 1, 10_000); !slices.Equal(all, one) {
				t.Fatalf("hour %d: %d arrivals on three shards, %d after a restart", hour, len(all), len(one))
			}
		}
	}
	// Each of 43,200 steps is off by a rounding with a deviation of at most a half: 104 of 648,000 altogether.
	if math.Abs(float64(total)-want) > 4*104 {
		t.Errorf("%d arrivals in a month, want %v", total, want)
	}
}

// The level where values are missing, by each rule, before they are known and after the source broke.
func TestMissingMeasurements(t *testing.T) {
	now := feedZero.Add(time.Hour)
	for missing, want := range map[Missing]string{
		Hold:        "10 11 11 11 14 15 15 15",
		Zero:        "10 11 0 0 14 15 0 0",
		Interpolate: "10 11 11.4 12.9 14 15 15 15", // on the line from 11, at the beginning of the gap, to 14 at its end
	} {
		p, f := followingPlan(t, openFollower, "step: 10s, offset: 20s, max: 100/s, missing: "+string(missing), now)
		n := f.number(now.Add(-f.Offset).UnixNano())
		if got := p.At(0); got.Rate != 0 || len(take(p.(Open), 0, 0, 1, 1)) != 0 {
			t.Errorf("%s: rate %v before anything is known", missing, got.Rate)
		}
		var all []Measured
		for _, i := range []int64{0, 1, 4, 5} {
			all = append(all, Measured{time.Unix(0, (n+i)*int64(f.Step)), float64(10 + i)})
		}
		f.Put(append(all, Measured{now.Add(-time.Hour), 1}, Measured{time.Unix(1, 5), 3}), now.Add(2*f.Offset))
		var got []string
		for i := range time.Duration(8) {
			l := p.At(i*f.Step + f.Step/4)
			if begin := p.At(i * f.Step); missing != Interpolate && begin.Rate != l.Rate || l.Until != (i+1)*f.Step {
				t.Errorf("%s: the level of step %d is %v at its beginning, %v in it, until %v", missing, i, begin.Rate, l.Rate, l.Until)
			}
			got = append(got, fmt.Sprint(math.Round(l.Rate*10)/10))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: levels %s, want %s", missing, text, want)
		}
	}
}

// Arrivals end where nobody knows what comes, and go on once somebody does, or has tried to.
func TestAFeedThatIsNotExtended(t *testing.T) {
	p, f := followingPlan(t, openFollower, "step: 10s, max: 5/s", feedZero)
	open := p.(Open)
	fill(f, feedZero, func(time.Time) float64 { return 50 }) // more than the highest level
	last := func() time.Duration {
		all := take(open, 0, 0, 1, 100_000)
		return all[len(all)-1].Truncate(time.Second)
	}
	if l := p.At(time.Second); l.Rate != 5 || math.Abs(open.Count(0, time.Minute)-300) > 1e-6 {
		t.Errorf("level %+v, %v arrivals a minute, want 5/s", l, open.Count(0, time.Minute))
	}
	first := last()
	f.Extend(feedZero.Add(time.Hour))
	if second := last(); first < 15*time.Second || first > time.Minute || second-first != time.Hour {
		t.Errorf("arrivals up to %v, and up to %v an hour later", first, second)
	}
}

// Virtual users are whole, and Poisson arrivals have the mean of the level.
func TestOtherFollowers(t *testing.T) {
	p, f := followingPlan(t, "ramping-vus", "step: 10s, max: 20, factor: 2", feedZero)
	fill(f, feedZero, func(time.Time) float64 { return 3.3 })
	if l := p.At(0); l.VUs != 7 || l.Until != 10*time.Second || !p.End().Never() {
		t.Errorf("level %+v, ends %v", l, p.End())
	}
	p, f = followingPlan(t, openFollower+", arrivals: poisson", "step: 10s, max: 100/s", feedZero)
	fill(f, feedZero.Add(time.Minute), func(time.Time) float64 { return 40 })
	n := len(during(p.(Open), 0, 90*time.Second, 0, 1, 100_000))
	if n < 3600-4*60 || n > 3600+4*60 || n == 3600 { // a deviation of 60
		t.Errorf("%d Poisson arrivals, want about 3600", n)
	}
}
