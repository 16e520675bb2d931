package outage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/objective"
)

var zero = time.Date(2026, 1, 5, 14, 3, 10, 0, time.UTC)

// A rig feeds windows of ten seconds.
type rig struct {
	*Analysis
	now time.Time
}

func newRig(objectives ...objective.Objective) *rig {
	r := &rig{Analysis: New(), now: zero}
	r.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "soak", Target: "shop", Objectives: objectives}}})
	return r
}

// feed adds a window with good requests and failed ones by cause.
func (r *rig) feed(good uint64, failed map[load.Cause]uint64, change ...func(*load.Window)) {
	w := &load.Window{Scenario: "soak", Start: r.now, End: r.now.Add(10 * time.Second), Requests: good, Iterations: &load.Iterations{}}
	w.Run = "r1"
	for c, n := range failed {
		w.Requests += n
		w.Failures[c] = n
	}
	for _, f := range change {
		f(w)
	}
	r.now = w.End
	r.Window(w)
}

// says returns what is found now, as kind and sentence.
func (r *rig) says() (all []string) {
	for _, f := range r.Judge(r.now) {
		all = append(all, string(f.Kind)+": "+f.Sentence)
	}
	return all
}

func (r *rig) wants(t *testing.T, what string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, r.says()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func refused(n uint64) map[load.Cause]uint64 { return map[load.Cause]uint64{load.Refused: n} }

func TestEverythingFails(t *testing.T) {
	r := newRig()
	r.feed(100, nil)
	r.feed(30, refused(70))
	r.wants(t, "in the window of the onset")
	r.feed(0, map[load.Cause]uint64{load.Refused: 95, load.Timeout: 5})
	r.wants(t, "after the first whole window", "unreachable: soak: none of 100 requests since 14:03:30 UTC was answered: refused 95, timeout 5")
	r.feed(10, refused(90))
	r.wants(t, "an answer now and then", "failing: soak: 190 of 200 requests since 14:03:30 UTC failed: refused 185, timeout 5")
	r.feed(0, nil)
	if len(r.says()) != 1 {
		t.Error("a window without requests ends an outage")
	}
	r.feed(60, refused(40))
	r.wants(t, "most requests succeed")
	r.feed(0, map[load.Cause]uint64{load.Status: 20, load.Expect: 5})
	r.wants(t, "answers that are all wrong", "failing: soak: all 25 requests since 14:04:10 UTC failed: status 20, expect 5")
	sent := map[string]float64{}
	r.Collect(func(d *metric.Desc, v float64, labels ...string) { sent[d.Name+labels[0]] = v })
	if sent["perfd_outagesoak"] != 1 {
		t.Errorf("metrics %v", sent)
	}
	r.Event(load.Event{Kind: load.RunEnded, Scenario: "soak"})
	if len(r.says()) != 1 {
		t.Error("a cut ends an outage")
	}
}

// An outage is over some time after its last request, and what fails then is another one.
func TestAnOutageBecomesStale(t *testing.T) {
	r := newRig()
	r.feed(0, refused(50), checks(30, 30))
	if len(r.says()) != 2 {
		t.Fatalf("an outage and a check: %q", r.says())
	}
	for range 30 {
		r.feed(0, nil) // the run has ended
	}
	if len(r.says()) != 2 {
		t.Errorf("after five minutes: %q", r.says())
	}
	r.feed(0, nil)
	r.wants(t, "after more than five minutes")
	r.Collect(func(d *metric.Desc, v float64, _ ...string) {
		if v != 0 {
			t.Errorf("%s = %v", d.Name, v)
		}
	})
	r.feed(0, refused(30))
	r.wants(t, "in the next run", "unreachable: soak: none of 30 requests since 14:08:30 UTC was answered: refused 30")
}

// A request every ten minutes is awaited.
func TestAnOutageAtALowRateIsNotStale(t *testing.T) {
	r := newRig()
	for range 25 {
		r.feed(0, refused(1))
		for range 59 {
			r.feed(0, nil)
		}
	}
	r.wants(t, "25 requests in four hours", "unreachable: soak: none of 25 requests since 14:03:10 UTC was answered: refused 25")
}

func TestWhatIsNoOutage(t *testing.T) {
	ours := map[load.Cause]uint64{load.Overload: 20, load.Internal: 20, load.Canceled: 20}
	for _, c := range []struct {
		name string
		feed func(r *rig)
	}{
		{"seventeen requests", func(r *rig) { r.feed(0, refused(17)) }},
		{"less than eight seconds", func(r *rig) {
			r.feed(0, refused(50), func(w *load.Window) { w.End = w.Start.Add(7 * time.Second) })
		}},
		{"what is perfd's own doing", func(r *rig) { r.feed(0, ours); r.feed(0, ours) }},
		{"timeouts in a stall of perfd's", func(r *rig) {
			r.feed(0, map[load.Cause]uint64{load.Timeout: 50}, func(w *load.Window) {
				w.Touched = []load.TouchedCount{{Cause: load.Timeout, Count: 50}}
			})
		}},
		{"a pause", func(r *rig) { r.feed(0, refused(50), func(w *load.Window) { w.Flags.Paused = true }) }},
		{"maintenance", func(r *rig) { r.feed(0, refused(50), func(w *load.Window) { w.Flags.Maintenance = true }) }},
		{"a rollout", func(r *rig) { r.feed(0, refused(50), func(w *load.Window) { w.Flags.Settling = true }) }},
		{"a success among few", func(r *rig) { r.feed(0, refused(15)); r.feed(1, nil); r.feed(0, refused(15)) }},
	} {
		r := newRig()
		c.feed(r)
		r.wants(t, c.name)
	}
	// Load that is withheld from a target in distress ends no outage, and refused connects in a stall count.
	r := newRig()
	r.feed(0, refused(50), func(w *load.Window) { w.Touched = []load.TouchedCount{{Cause: load.Refused, Count: 50}} })
	r.feed(0, refused(1), func(w *load.Window) { w.Flags.BackedOff = true })
	r.wants(t, "backed off", "unreachable: soak: none of 51 requests since 14:03:10 UTC was answered: refused 51")
}

func TestAtALowRate(t *testing.T) {
	r := newRig()
	for i := range 30 {
		r.feed(0, refused(uint64(1-i%2)))
		if found := r.says(); len(found) > 0 {
			t.Fatalf("found after %d requests: %s", (i+2)/2, found[0])
		}
	}
	for range 10 {
		r.feed(0, refused(1))
	}
	r.wants(t, "after 25 requests", "unreachable: soak: none of 25 requests since 14:03:10 UTC was answered: refused 25")
}

// A second adds what a second of a window under way counted, where everything failed, and returns
// what is found at its end, if anything is new.
func (r *rig) second(good, failed uint64, change ...func(*load.Window)) (found []string) {
	w := &load.Window{Scenario: "soak", Start: r.now, End: r.now.Add(time.Second), Requests: good + failed}
	w.Failures[load.Refused] = failed
	for _, f := range change {
		f(w)
	}
	if r.now = w.End; r.Part(w) {
		found = r.says()
	}
	return found
}

// From the onset on, at whatever instant of a window, everything failing is found within ten
// seconds, or before the twentieth request, and counted once.
func TestEverythingFailsFromTheMiddleOfAWindow(t *testing.T) {
	for _, perSecond := range []uint64{1, 2, 3, 10, 100} {
		for onset := range 10 {
			r := newRig()
			var counts [2]uint64 // of the window under way
			for s := 0; ; s++ {
				if s%10 == 0 && s > 0 {
					r.now = r.now.Add(-10 * time.Second)
					r.feed(counts[0], refused(counts[1]))
					counts = [2]uint64{}
				}
				if s < 20+onset {
					r.now = r.now.Add(time.Second) // nothing is handed over
					counts[0] += perSecond
					continue
				}
				good := uint64(0)
				if s == 20+onset && perSecond > 1 {
					good = 1 // in the second of the onset
				}
				counts[0], counts[1] = counts[0]+good, counts[1]+perSecond-good
				found := r.second(good, perSecond-good)
				if found == nil && s%10 == 9 && len(r.says()) > 0 {
					t.Fatalf("%d/s, onset at %d s: found without news", perSecond, onset)
				}
				after := s - 20 - onset + 1
				most := max(10, int(20/perSecond))
				if found == nil && after < most {
					continue
				}
				if found == nil || after < 8 {
					t.Errorf("%d/s, onset at %d s of a window: %q after %d s, want an outage within %d", perSecond, onset, found, after, most)
				}
				break
			}
			// The rest of the window, and another one, are counted once.
			all := r.scenarios["soak"].failing.count.all
			since := r.scenarios["soak"].failing.since
			for rest := r.now.Sub(zero) % (10 * time.Second); rest > 0 && rest < 10*time.Second; rest += time.Second {
				counts[1] += perSecond
				all += perSecond
				if r.second(0, perSecond) != nil {
					t.Error("what is known is news")
				}
			}
			r.now = r.now.Add(-10 * time.Second)
			r.feed(counts[0], refused(counts[1]))
			r.feed(0, refused(10*perSecond))
			if got := r.scenarios["soak"].failing; got.count.all != all+10*perSecond || !got.since.Equal(since) {
				t.Errorf("%d/s, onset at %d s: %d requests since %v are counted, want %d since %v", perSecond, onset, got.count.all, got.since, all+10*perSecond, since)
			}
		}
	}
}

// Seconds that end a streak, or are excused, are no outage.
func TestSecondsThatAreNoOutage(t *testing.T) {
	for name, feed := range map[string]func(r *rig) []string{
		"seven seconds": func(r *rig) (found []string) {
			for range 7 {
				found = append(found, r.second(0, 50)...)
			}
			return append(found, r.second(1, 50)...)
		},
		"an answer each five seconds": func(r *rig) (found []string) {
			for i := range 60 {
				found = append(found, r.second(uint64(i%5/4), 50)...)
			}
			return found
		},
		"seventeen requests": func(r *rig) (found []string) {
			for range 17 {
				found = append(found, r.second(0, 1)...)
			}
			return found
		},
		"maintenance": func(r *rig) (found []string) {
			for range 60 {
				found = append(found, r.second(0, 50, func(w *load.Window) { w.Flags.Maintenance = true })...)
			}
			return found
		},
		"a rollout": func(r *rig) (found []string) {
			for range 60 {
				found = append(found, r.second(0, 50, func(w *load.Window) { w.Flags.Settling = true })...)
			}
			return found
		},
		"timeouts in stalls of perfd's": func(r *rig) (found []string) {
			for range 60 {
				found = append(found, r.second(0, 50, func(w *load.Window) {
					w.Failures = [load.NumCauses]uint64{load.Timeout: 50}
					w.Touched = []load.TouchedCount{{Cause: load.Timeout, Count: 50}}
				})...)
			}
			return found
		},
		"another scenario": func(r *rig) (found []string) {
			for range 60 {
				found = append(found, r.second(0, 50, func(w *load.Window) { w.Scenario = "other" })...)
			}
			return found
		},
	} {
		r := newRig()
		if found := feed(r); found != nil || len(r.says()) > 0 {
			t.Errorf("%s: %q, then %q", name, found, r.says())
		}
	}
}

func checks(evaluated, failed uint64) func(*load.Window) {
	return func(w *load.Window) {
		w.Checks = []load.CheckCount{{Name: "has a token", Evaluated: evaluated, Failed: failed}}
	}
}

func TestACheckThatNeverHolds(t *testing.T) {
	r := newRig()
	r.feed(30, nil, checks(30, 29))
	r.wants(t, "held once")
	r.feed(30, nil, checks(30, 30))
	r.wants(t, "never in ten seconds", `check: check "has a token" of soak never held in 30 evaluations`)
	r.feed(30, nil, checks(30, 0))
	r.wants(t, "holds again")
	for _, check := range []string{"", "has a token"} {
		r = newRig(objective.Objective{Kind: objective.CheckRatio, Check: check})
		r.feed(30, nil, checks(30, 30))
		r.wants(t, "an objective speaks of it")
	}
}

func TestRuns(t *testing.T) {
	errors := objective.Objective{Kind: objective.ErrorRatio}
	for _, c := range []struct {
		name       string
		objectives []objective.Objective
		feed       func(r *rig)
		want       []string
	}{
		{"unreachable", nil, func(r *rig) { r.feed(0, refused(100)); r.feed(0, refused(48)) }, []string{"unreachable: none of 148 requests was answered: refused 148"}},
		{"unreachable, whatever objectives say", []objective.Objective{errors}, func(r *rig) { r.feed(0, refused(148)) }, []string{"unreachable: none of 148 requests was answered: refused 148"}},
		{"most fail, without objectives", nil, func(r *rig) { r.feed(40, map[load.Cause]uint64{load.Status: 60}) }, []string{"failing: 60 of 100 requests failed, and no objective says how many may: status 60"}},
		{"most fail, with objectives", []objective.Objective{errors}, func(r *rig) { r.feed(40, map[load.Cause]uint64{load.Status: 60}) }, nil},
		{"half of them fail", nil, func(r *rig) { r.feed(50, map[load.Cause]uint64{load.Status: 50}) }, nil},
		{"few requests, without objectives", nil, func(r *rig) { r.feed(0, refused(3)) }, []string{"unreachable: none of 3 requests was answered: refused 3"}},
		{"few requests, with objectives", []objective.Objective{errors}, func(r *rig) { r.feed(0, refused(17)) }, nil},
		{"none", nil, func(r *rig) { r.feed(0, nil) }, nil},
		{"a check", nil, func(r *rig) { r.feed(50, nil, checks(20, 20)) }, []string{`check: check "has a token" of soak never held in 20 evaluations`}},
		{"a check that held once", nil, func(r *rig) { r.feed(50, nil, checks(20, 20)); r.feed(50, nil, checks(20, 19)) }, nil},
	} {
		r := newRig(c.objectives...)
		c.feed(r)
		var got []string
		for _, f := range r.Run(load.Event{Scenario: "soak", Run: "r1"}, r.now) {
			if f.Run != "r1" || f.Verdict != load.Fail {
				t.Errorf("%s: %+v", c.name, f)
			}
			got = append(got, string(f.Kind)+": "+f.Sentence)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}
