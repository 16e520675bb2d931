package pace

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/block"
)

// controlledPlan returns the plan of a run that begins at an instant.
func controlledPlan(t testing.TB, keys string, zero time.Time) Controlled {
	t.Helper()
	p, err := New(config(t, "{executor: externally-controlled, "+keys+"}"), "shop")
	if err != nil {
		t.Fatal(err)
	}
	return From(p, zero).(Controlled)
}

// to is the level that a text says.
func to(text string) Target {
	var t Target
	if n := 0; !strings.Contains(text, "/") {
		fmt.Sscan(text, &n)
		t.VUs = &n
		return t
	}
	t.Rate = &block.Rate{}
	if err := t.Rate.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return t
}

var controlledZero = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// set sets a level at a time of the plan.
func set(t testing.TB, p Controlled, text string, at time.Duration) Setting {
	t.Helper()
	s, err := p.Set(to(text), controlledZero.Add(at), "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Arrivals against a table that was computed by hand: two a second until 1.3 s, when six tenths of the way to the next
// are over, then four a second until 2.15 s, when the seventh is due, nothing until 3 s, and one each half second.
func TestArrivalsOfALevelThatIsSet(t *testing.T) {
	const ms = time.Millisecond
	want := []time.Duration{0, 500 * ms, 1000 * ms, 1400 * ms, 1650 * ms, 1900 * ms, 3000 * ms, 3500 * ms, 4000 * ms, 4500 * ms}
	p := controlledPlan(t, "rate: 2/s, max_rate: 100/s, max_vus: 10, duration: 5s", controlledZero)
	set(t, p, "4/s", 1300*ms)
	set(t, p, "0/s", 2150*ms)
	last := set(t, p, "120/m", 3*time.Second)
	open := p.(Open)
	if got := take(open, 0, 0, 1, 100); !slices.Equal(got, want) {
		t.Errorf("arrivals %v, want %v", got, want)
	}
	if last.Before != 6 || last.Rest != 0 {
		t.Errorf("%d arrivals before the last level and %v of one left, want 6 and 0", last.Before, last.Rest)
	}
	for shard := range 3 {
		var mine []time.Duration
		for k, due := range want {
			if k%3 == shard {
				mine = append(mine, due)
			}
		}
		if got := take(open, 0, shard, 3, 100); !slices.Equal(got, mine) {
			t.Errorf("shard %d of 3 has %v, want %v", shard, got, mine)
		}
	}
	if n := open.Count(0, 5*time.Second); math.Abs(n-(2.6+3.4+4)) > 1e-9 {
		t.Errorf("%v iterations planned, want 10", n)
	}
	// After a restart only what was set last is known.
	again := controlledPlan(t, "rate: 2/s, max_rate: 100/s, max_vus: 10, duration: 5s", controlledZero)
	if _, err := again.Restore(last, controlledZero.Add(3700*ms)); err != nil {
		t.Fatal(err)
	}
	if got := take(again.(Open), 3700*ms, 0, 1, 100); !slices.Equal(got, want[8:]) {
		t.Errorf("arrivals after a restart %v, want %v", got, want[8:])
	}
	if l := p.At(2500 * ms); l.Rate != 0 || l.Until != 3*time.Second {
		t.Errorf("level %+v while nothing is asked for", l)
	}
	if l := p.At(5 * time.Second); !(l.Rate == 0 && l.Until == Forever) || p.End().Time != 5*time.Second {
		t.Errorf("level %+v after the end %v", l, p.End())
	}
}

// Levels of virtual users hold from the instant at which they are set; no users for a while is not the end.
func TestVUsThatAreSet(t *testing.T) {
	p := controlledPlan(t, "vus: 3, max_vus: 50", controlledZero)
	set(t, p, "50", 10*time.Second)
	set(t, p, "0", 20*time.Second)
	for at, want := range map[time.Duration]int{0: 3, 10*time.Second - 1: 3, 10 * time.Second: 50, 20*time.Second - 1: 50, 20 * time.Second: 0, 100 * time.Hour: 0} {
		if l := p.At(at); l.VUs != want || l.Until <= at || l.Until == Forever {
			t.Errorf("At(%v) = %+v, want %d VUs until something may change", at, l, want)
		}
	}
	p.Shift(-time.Hour) // the clock was put back: what holds holds on
	if l := From(p, controlledZero.Add(-time.Hour)).At(19 * time.Second); l.VUs != 50 {
		t.Errorf("after a step of the clock: %+v", l)
	}
	if l := From(p, controlledZero.Add(time.Hour)).At(0); l.VUs != 0 {
		t.Errorf("the next run begins with %+v, want what was set last", l)
	}
}

func TestWhatMayNotBeSet(t *testing.T) {
	for _, c := range []struct{ keys, level, want string }{
		{"vus: 3, max_vus: 50", "51", "vus: must be between 0 and 50, which the configuration's max_vus allows, got 51"},
		{"vus: 3", "4", "between 0 and 3"},
		{"vus: 3, max_vus: 50", "-1", "got -1"},
		{"vus: 3, max_vus: 50", "5/s", "rate: the scenario keeps a number of virtual users busy"},
		{"rate: 1/s, max_rate: 100/s, max_vus: 9", "5", "vus: the scenario starts iterations at a rate"},
		{"rate: 1/s, max_rate: 100/s, max_vus: 9", "6001/m", "rate: must be between 0/s and 100/s, which the configuration's max_rate allows, got 6001/m"},
		{"rate: 1/s, max_rate: 100/s, max_vus: 9", "16.66666666666667/s", "rate: 16.66666666666667/s has too many digits"},
	} {
		p := controlledPlan(t, c.keys, controlledZero)
		if _, err := p.Set(to(c.level), controlledZero, "test"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: set to %s: %v, want %q", c.keys, c.level, err, c.want)
		}
		if s := p.Now(); !s.Since.IsZero() {
			t.Errorf("%s: refused, and holds %+v", c.keys, s)
		}
	}
}

// What was set outlives its limit only up to the new one, and not a change from users to a rate.
func TestRestoredLevels(t *testing.T) {
	now := controlledZero.Add(time.Hour)
	was := set(t, controlledPlan(t, "vus: 3, max_vus: 50", controlledZero), "40", time.Minute)
	for keys, want := range map[string]string{
		"vus: 1, max_vus: 50":                    "40 VUs",
		"vus: 1, max_vus: 20":                    "20 VUs",
		"rate: 1/s, max_rate: 100/s, max_vus: 9": "1/s", // with an error
	} {
		p := controlledPlan(t, keys, now)
		got, err := p.Restore(was, now)
		if (err != nil) != (want == "1/s") || p.Now().Level().String() != want {
			t.Errorf("%s: restored %s, %v; want %s", keys, p.Now().Level(), err, want)
		}
		if want == "20 VUs" && (!got.Since.Equal(now) || got.By != "test, then the configuration's limit") {
			t.Errorf("bounded to %+v", got)
		}
	}
}

// However often a level is set, arrival k is due where the integral of the rate is k, and shards share the same ones.
func TestSetLevelsFollowTheIntegral(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(0, 50).Draw(t, "first")
		c := config(outer, fmt.Sprintf("{executor: externally-controlled, rate: %d/s, max_rate: 1000/s, max_vus: 1}", first))
		plan, err := New(c, "shop")
		if err != nil {
			t.Fatal(err)
		}
		p := From(plan, controlledZero).(Controlled)
		at, sum, rate := time.Duration(0), 0., float64(first)
		type change struct {
			at   time.Duration
			sum  float64
			rate float64
		}
		changes := []change{{0, 0, rate}}
		for range rapid.IntRange(0, 20).Draw(t, "sets") {
			d := time.Duration(rapid.Int64Range(1, int64(2*time.Second)).Draw(t, "after"))
			at, sum, rate = at+d, sum+rate*d.Seconds(), float64(rapid.IntRange(0, 500).Draw(t, "rate"))
			if _, err := p.Set(to(fmt.Sprintf("%g/s", rate)), controlledZero.Add(at), ""); err != nil {
				t.Fatal(err)
			}
			changes = append(changes, change{at, sum, rate})
		}
		end := at + time.Second
		all := during(p.(Open), 0, end, 0, 1, 100_000)
		for k, due := range all {
			i := len(changes) - 1
			for changes[i].at > due {
				i--
			}
			integral := changes[i].sum + changes[i].rate*(due-changes[i].at).Seconds()
			if math.Abs(integral-float64(k)) > 1e-5 {
				t.Fatalf("arrival %d at %v, where the integral is %v", k, due, integral)
			}
		}
		if total := sum + rate; math.Abs(float64(len(all))-math.Ceil(total-1e-5)) > 1 {
			t.Fatalf("%d arrivals, want %v", len(all), total)
		}
		var shared []time.Duration
		for shard := range 3 {
			shared = append(shared, during(p.(Open), 0, end, shard, 3, 100_000)...)
		}
		slices.Sort(shared)
		if !slices.Equal(shared, all) {
			t.Fatalf("three shards have %d arrivals, one has %d", len(shared), len(all))
		}
	})
}
