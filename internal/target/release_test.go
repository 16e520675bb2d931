package target

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/block"
)

var day = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// play feeds a rollout that settles in 5m with a script, one event a line:
//
//	10m v2        the target answers with v2, 10 minutes into the day
//	10m push v2   the deployment is announced
//	10m-12m v1 v2 it answers with these in turn, every 30s, the end excluded
//
// It returns the changes, and the 30s windows of the first so many minutes that
// do not count, as "from–to".
func play(t *testing.T, r *rollout, script string, minutes int) (changes, settling []string) {
	t.Helper()
	note := func(c *Change) {
		if c != nil {
			changes = append(changes, fmt.Sprintf("%s: %s→%s settled %s", clock(c.At), c.Previous, c.Release, clock(c.Settled)))
		}
	}
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		from, to, many := strings.Cut(words[0], "-")
		at := parse(t, from)
		switch {
		case words[1] == "push":
			c, err := r.push(words[2], day.Add(at))
			if err != nil {
				changes = append(changes, err.Error())
			}
			note(c)
		case many:
			for i := 0; at < parse(t, to); i, at = i+1, at+30*time.Second {
				note(r.sight(words[1+i%(len(words)-1)], day.Add(at)))
			}
		default:
			note(r.sight(words[1], day.Add(at)))
		}
	}
	begin := time.Duration(-1)
	for at := time.Duration(0); at <= time.Duration(minutes)*time.Minute; at += 30 * time.Second {
		_, not := r.during(day.Add(at), day.Add(at+30*time.Second))
		switch {
		case not && begin < 0:
			begin = at
		case !not && begin >= 0:
			settling = append(settling, clock(day.Add(begin))+"–"+clock(day.Add(at)))
			begin = -1
		}
	}
	if begin >= 0 {
		settling = append(settling, clock(day.Add(begin))+"–")
	}
	return changes, settling
}

func parse(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func clock(at time.Time) string { return block.Duration(at.Sub(day)).String() }

func TestRollout(t *testing.T) {
	for _, c := range []struct {
		name, script      string
		changes, settling []string
	}{
		{"the first release is no change", "1m-20m v1", nil, nil},
		{
			"a release replaces another at once", "0m-10m v1\n10m-30m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"9m30s–15m"},
		},
		{
			"a change lies anywhere since the last answer", "0m-10m v1\n18m-40m v2",
			[]string{"18m: v1→v2 settled 23m"},
			[]string{"9m30s–23m"},
		},
		{
			"versions are mixed for ten minutes behind a balancer", "0m-10m v1\n10m-20m v2 v1\n20m-40m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"9m30s–25m"},
		},
		{
			"a rollout that never ends never settles", "0m-10m v1\n10m-40m v2 v1",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"9m30s–"},
		},
		{
			"a rollout is taken back before it settles", "0m-10m v1\n10m-12m v2 v1\n12m-40m v1",
			// The last v2 came at 11m, so v1 is alone from 11m30s on.
			[]string{"10m: v1→v2 settled 15m", "16m30s: v2→v1 settled 16m30s"},
			[]string{"9m30s–16m30s"},
		},
		{
			"a release is rolled back after it settled", "0m-10m v1\n10m-20m v2\n20m-40m v1",
			[]string{"10m: v1→v2 settled 15m", "20m: v2→v1 settled 25m"},
			[]string{"9m30s–15m", "19m30s–25m"},
		},
		{
			"a third release comes while the second rolls out", "0m-10m v1\n10m-12m v2 v1\n12m-14m v3 v2\n14m-40m v3",
			[]string{"10m: v1→v2 settled 15m", "12m: v2→v3 settled 17m"},
			[]string{"9m30s–19m"},
		},
		{
			"the target is away while it is deployed", "0m-10m v1\n10m v2\n30m-40m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"9m30s–15m"},
		},
		{
			"the target is away while its versions are mixed", "0m-10m v1\n10m v2\n11m v1\n30m-40m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"9m30s–35m"},
		},
		{
			"pushes alone", "0m push v1\n10m push v2\n10m push v2\n30m push v1",
			[]string{"10m: v1→v2 settled 15m", "30m: v2→v1 settled 35m"},
			[]string{"10m–15m", "30m–35m"},
		},
		{
			"a push at the begin of a deployment that takes 20 minutes to be seen", "0m-10m v1\n10m push v2\n10m-30m v1\n30m-50m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"10m–35m"},
		},
		{
			"a push that polls see at once", "0m-10m v1\n10m push v2\n10m30s-30m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"10m–15m"},
		},
		{
			"a push that arrives after polls saw the release", "0m-10m v1\n10m-12m v2\n12m push v2\n12m-30m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"9m30s–15m"},
		},
		{
			"a push that arrives late, after polls of the older release", "0m-12m v1\n10m push v2\n12m-15m v1\n15m-30m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"10m–20m"},
		},
		{
			"a push of what is not deployed is taken back after an hour", "0m-10m v1\n10m push v2\n10m-90m v1",
			[]string{"10m: v1→v2 settled 15m", "1h10m: v2→v1 settled 1h10m"},
			[]string{"10m–1h10m"},
		},
		{
			"after a push, the target is away for longer than settling takes", "0m-10m v1\n10m push v2\n20m-25m v1\n25m-40m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"10m–30m"},
		},
		{
			"the target runs neither the pushed release nor the one before", "0m-10m v1\n10m push v2\n11m-30m v3",
			[]string{"10m: v1→v2 settled 15m", "11m: v2→v3 settled 16m"},
			[]string{"10m–16m"},
		},
		{
			"a canary is seen and then pushed", "0m-10m v1\n10m v2\n10m30s-11m v1\n11m push v2\n11m-20m v1\n20m-40m v2",
			[]string{"10m: v1→v2 settled 15m"},
			[]string{"9m30s–25m"},
		},
		{
			"a push that is older than what is known", "0m-10m v1\n10m-20m v2\n9m push v3",
			[]string{"10m: v1→v2 settled 15m", `release "v3" of 2026-01-05T12:09:00Z is older than "v2", which holds since 2026-01-05T12:10:00Z`},
			[]string{"9m30s–15m"},
		},
	} {
		r := &rollout{settle: 5 * time.Minute}
		changes, settling := play(t, r, c.script, 90)
		if diff := cmp.Diff(c.changes, changes); diff != "" {
			t.Errorf("%s: changes (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.settling, settling); diff != "" {
			t.Errorf("%s: settling (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRolloutAfterRestart(t *testing.T) {
	for _, c := range []struct {
		name              string
		settled           time.Duration
		script            string
		changes, settling []string
	}{
		{"the same release, settled long ago", -time.Hour, "0m-10m v1", nil, nil},
		{"the same release, still settling", 3 * time.Minute, "0m-10m v1", nil, []string{"0s–3m"}},
		{
			"another release while perfd was away", -time.Hour, "1m-10m v2",
			[]string{"1m: v1→v2 settled 6m"},
			[]string{"0s–6m"},
		},
		{"nothing is heard of the target", 3 * time.Minute, "", nil, []string{"0s–3m"}},
	} {
		r := &rollout{settle: 5 * time.Minute}
		r.restore("v1", day.Add(c.settled), day)
		changes, settling := play(t, r, c.script, 20)
		if diff := cmp.Diff(c.changes, changes); diff != "" {
			t.Errorf("%s: changes (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.settling, settling); diff != "" {
			t.Errorf("%s: settling (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReleaseOfAWindow(t *testing.T) {
	r := &rollout{settle: 5 * time.Minute}
	play(t, r, "1m-10m v1\n10m-20m v2\n20m-30m v3", 0)
	for _, c := range []struct {
		end  time.Duration
		want string
	}{
		{30 * time.Second, ""},
		{time.Minute, ""}, // the end is no part of the window
		{time.Minute + 1, "v1"},
		{10 * time.Minute, "v1"},
		{10*time.Minute + 1, "v2"},
		{time.Hour, "v3"},
	} {
		if got, _ := r.during(day, day.Add(c.end)); got != c.want {
			t.Errorf("release of a window that ends at %v = %q, want %q", c.end, got, c.want)
		}
	}
}

// TestMemoryOfReleasesIsBounded has a new release every six minutes, for days.
func TestMemoryOfReleasesIsBounded(t *testing.T) {
	r := &rollout{settle: 5 * time.Minute}
	const n = 10_000
	for i := range n {
		r.sight(fmt.Sprint(i/12), day.Add(time.Duration(i)*30*time.Second))
	}
	if len(r.turns) > mostTurns || len(r.spans) > mostSpans || len(r.others) > mostOthers {
		t.Errorf("%d turns, %d spans, %d others after %d sightings", len(r.turns), len(r.spans), len(r.others), n)
	}
	if want := uint64((n - 1) / 12); r.changes != want {
		t.Errorf("changes = %d, want %d", r.changes, want)
	}
	if got, _ := r.during(day, day.Add(time.Second)); got != r.turns[0].previous {
		t.Errorf("release before what is remembered = %q, want %q", got, r.turns[0].previous)
	}
}

// TestRolloutProperties holds what no order of sightings and pushes may break.
func TestRolloutProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settle := time.Duration(rapid.IntRange(0, 10).Draw(t, "settle")) * time.Minute
		r := &rollout{settle: settle}
		release := rapid.SampledFrom([]string{"v1", "v2", "v3"})
		now := day
		last, lastOther := "", time.Time{} // the last word on the release, and the last one on another than that
		heard := day
		known := ""
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(1, 240).Draw(t, "seconds")) * time.Second)
			word := release.Draw(t, "release")
			var c *Change
			if rapid.IntRange(0, 9).Draw(t, "push") == 0 {
				var err error
				if c, err = r.push(word, now); err != nil {
					t.Fatal(err)
				}
			} else {
				c = r.sight(word, now)
			}
			if last != "" && word != last {
				lastOther = heard
			}
			last, heard = word, now
			switch {
			case c != nil && (c.Previous != known || c.Release == known || c.At.After(now) || c.Settled.Before(c.At)):
				t.Fatalf("change %+v of %q at %s", *c, known, now)
			case c != nil:
				known = c.Release
			case known == "":
				known = word
			}
			s := r.state(now)
			if s.Release != known {
				t.Fatalf("release = %q, want %q", s.Release, known)
			}
			if s.Settled && last != known {
				t.Fatalf("settled on %q, and the last word is %q", known, last)
			}
			if s.Settled && !lastOther.IsZero() && now.Sub(lastOther) < settle {
				t.Fatalf("settled %v after another release, want %v", now.Sub(lastOther), settle)
			}
			window := now.Add(-time.Nanosecond)
			got, settling := r.during(window, now.Add(time.Nanosecond))
			if got != known {
				t.Fatalf("release of a window now = %q, want %q", got, known)
			}
			if !s.Settled && !settling {
				t.Fatalf("not settled, and a window now counts")
			}
		}
	})
}

func TestCheckRelease(t *testing.T) {
	for _, c := range []struct {
		release string
		ok      bool
	}{
		{"v1.2.3", true},
		{"3f786850e387550fdab836ed7e6dc881de23001b", true},
		{"größer & schöner", true},
		{strings.Repeat("x", 200), true},
		{strings.Repeat("x", 201), false},
		{"", false},
		{"v1\n", false},
		{"v1\x7f", false},
		{"v1\u0085", false},
		{"\xff", false},
	} {
		if err := checkRelease(c.release); (err == nil) != c.ok {
			t.Errorf("checkRelease(%q) = %v, want ok %v", c.release, err, c.ok)
		}
	}
}
