package app

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A stallStage is a daemon in fake time that a machine stalls again and again: what
// would run in a stall runs at its end. Requests take log-normal times.
type stallStage struct {
	*App
	began   time.Time
	machine machine

	mu     sync.Mutex
	rand   *rand.Rand
	median time.Duration
	cause  load.Cause // of every request's failure
}

// A machine holds what runs on it while it stalls.
type machine struct {
	mu     sync.Mutex
	stalls []stall // in order of time and without overlap; mu guards it
}

type stall struct{ from, to time.Time }

const stallConfig = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: shop
    test: load
    target: shop
    workload: {executor: constant-arrival-rate, %s, seed: %d}
    objectives:
      - {name: p99, that: p(99) < 100ms}
      - {name: errors, that: error_ratio < 1%%}
    flow: [{name: get, call: {path: /}}]
`

// steady is a load that has virtual users enough.
const steady = "rate: 10/s, arrivals: poisson, max_vus: 50"

// burstsOf draws the stalls of a span: every 20 s, at a random instant, a burst of three to
// five of 150 ms, half a second from one to the next.
func burstsOf(seed uint64, began time.Time, span time.Duration) (stalls []stall) {
	r := rand.New(rand.NewPCG(seed, 20))
	for at := began; at.Sub(began) < span; at = at.Add(20 * time.Second) {
		from := at.Add(time.Duration(r.Float64() * float64(17*time.Second)))
		for i := range 3 + r.IntN(3) {
			begin := from.Add(time.Duration(i) * 500 * time.Millisecond)
			stalls = append(stalls, stall{begin, begin.Add(150 * time.Millisecond)})
		}
	}
	return stalls
}

// hold returns at the end of the stall that is under way, at once where there is none.
func (m *machine) hold() {
	now := time.Now()
	m.mu.Lock()
	for len(m.stalls) > 0 && !m.stalls[0].to.After(now) {
		m.stalls = m.stalls[1:]
	}
	var end time.Time
	if len(m.stalls) > 0 && !m.stalls[0].from.After(now) {
		end = m.stalls[0].to
	}
	m.mu.Unlock()
	if !end.IsZero() {
		time.Sleep(time.Until(end))
	}
}

// waiter returns a waiter of an engine on the machine.
func (m *machine) waiter() (engine.Waiter, error) {
	w, err := engine.NewTimerWaiter()
	return &stalledWaiter{w, m}, err
}

// A stalledWaiter wakes an engine no earlier than a stall ends.
type stalledWaiter struct {
	engine.Waiter
	m *machine
}

func (w *stalledWaiter) Wait(until time.Time) {
	w.Waiter.Wait(until)
	w.m.hold()
}

// Do takes the target's time, and perfd's own where a stall keeps it from reading the answer.
func (s *stallStage) Do(c *protocol.Call) {
	c.Result.Sent = int64(c.VU.Env.Now())
	s.mu.Lock()
	took, cause := time.Duration(float64(s.median)*math.Exp(0.4*s.rand.NormFloat64())), s.cause
	s.mu.Unlock()
	if cause != load.None {
		took = 200 * time.Microsecond
	}
	time.Sleep(took)
	s.machine.hold()
	c.Result.Done, c.Result.Cause = int64(c.VU.Env.Now()), cause
	if cause == load.None {
		c.Result.Code = 200
	}
}

// stalled performs a script on a daemon that is stalled or, without stalls, is not.
func stalled(t *testing.T, asked string, seed uint64, stalls func(began time.Time) []stall, script func(s *stallStage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "perfd.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, stallConfig, asked, seed), 0o644); err != nil {
			t.Fatal(err)
		}
		s := &stallStage{began: time.Now(), rand: rand.New(rand.NewPCG(seed, 3)), median: 38 * time.Millisecond}
		if stalls != nil {
			s.machine.stalls = stalls(s.began)
		}
		kinds := builtin.Kinds()
		kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "call", Step: func() protocol.Config { return &call{step: s} }})
		var err error
		s.App, err = New(Options{
			ConfigFile: file, StoragePath: filepath.Join(dir, "data"), Shards: 1, Grace: 10 * time.Second, Log: quiet, Kinds: &kinds,
			NewWaiter: s.machine.waiter, Root: dir, Hold: s.machine.hold,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		script(s)
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// failing returns the time from an instant until an objective fails, asked each ten seconds.
func (s *stallStage) failing(objective string, within time.Duration) (after time.Duration, fails bool) {
	began := time.Now()
	for {
		for _, f := range s.Findings() {
			if f.Kind == load.KindObjective && f.State == load.Active && f.Objective == objective {
				return time.Since(began), true
			}
		}
		if time.Since(began) >= within {
			return within, false
		}
		time.Sleep(10 * time.Second)
	}
}

// counted returns how many events of an objective count, and how many do not.
func (s *stallStage) counted(objective string) (events, bad, excluded float64) {
	return countedBy(s.App, objective)
}

func countedBy(s *App, objective string) (events, bad, excluded float64) {
	families, err := s.registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() != "objective" || l.GetValue() != objective {
					continue
				}
				switch v := m.GetCounter().GetValue(); f.GetName() {
				case "perfd_objective_events_total":
					events += v
				case "perfd_objective_bad_total":
					bad += v
				case "perfd_objective_excluded_total":
					excluded += v
				}
			}
		}
	}
	return events, bad, excluded
}

// stallSeeds is how many seeds each of the simulations below has.
func stallSeeds() uint64 {
	if brief() {
		return 1
	}
	return 20
}

// healthySpan is for how long a target without a breach is watched.
func healthySpan() time.Duration {
	if brief() {
		return 15 * time.Minute
	}
	return time.Hour
}

// The p99 of what is asked is about 96 ms under a limit of 100 ms: with the requests that
// stalls made late it would be over it.
func TestStallsCostWhatTheyTouchAndBreakNothing(t *testing.T) {
	t.Parallel()
	least := 1.0
	for seed := range stallSeeds() {
		stalled(t, steady, seed, func(began time.Time) []stall { return burstsOf(seed, began, healthySpan()) }, func(s *stallStage) {
			for _, objective := range []string{"p99", "errors"} {
				if after, fails := s.failing(objective, healthySpan()/2); fails {
					t.Errorf("seed %d: %s is called broken after %v of stalls", seed, objective, after)
				}
				events, bad, excluded := s.counted(objective)
				kept := events / (events + excluded)
				least = min(least, kept)
				if kept < 0.85 || events < 1000 {
					t.Errorf("seed %d: %.1f %% of %s's %v events count, want 85 %%", seed, 100*kept, objective, events+excluded)
				}
				if objective == "errors" && bad > 0 {
					t.Errorf("seed %d: %v failures", seed, bad)
				}
			}
			if got := s.Fleet().Scenario("shop").Invalid(time.Now()); got != nil {
				t.Errorf("seed %d: the measurement is invalid: %v", seed, got)
			}
		})
	}
	t.Logf("at least %.1f %% of events count", 100*least)
}

// A breach is found within twice the time that it takes without stalls.
func TestStallsDoNotHideABreach(t *testing.T) {
	t.Parallel()
	const before, most = 10 * time.Minute, 30 * time.Minute
	for seed := range stallSeeds() {
		breach := func(stalls func(time.Time) []stall) (after time.Duration) {
			stalled(t, steady, seed, stalls, func(s *stallStage) {
				time.Sleep(before)
				s.mu.Lock()
				s.median = 55 * time.Millisecond // 7 % of requests take over 100 ms, 1 % may
				s.mu.Unlock()
				after, _ = s.failing("p99", most)
			})
			return after
		}
		undisturbed := breach(nil)
		with := breach(func(began time.Time) []stall { return burstsOf(seed, began, before+most) })
		t.Logf("seed %d: called after %v, under stalls after %v", seed, undisturbed, with)
		if undisturbed >= most || with > 2*undisturbed {
			t.Errorf("seed %d: under stalls a breach is called after %v, without after %v", seed, with, undisturbed)
		}
	}
}

// While perfd stands still no virtual user reads its answer, so that arrivals then find
// none free. That is not the target's doing.
func TestVirtualUsersThatAStallKeptBusyAreNotHeldAgainstTheTarget(t *testing.T) {
	t.Parallel()
	const span = 5 * time.Minute
	everySecond := func(began time.Time) (stalls []stall) {
		for at := began; at.Sub(began) < span; at = at.Add(time.Second) {
			stalls = append(stalls, stall{at, at.Add(80 * time.Millisecond)})
		}
		return stalls
	}
	// About four of ten are busy; a stall brings eight arrivals at once, few enough not to be dropped as late.
	stalled(t, "rate: 100/s, max_vus: 10", 1, everySecond, func(s *stallStage) {
		time.Sleep(span)
		events, bad, excluded := s.counted("errors")
		if bad > 0 || excluded < 100 || events < 20_000 {
			t.Errorf("%v of %v events are bad, %v are excluded; want none, and the arrivals that found no free virtual user", bad, events, excluded)
		}
	})
}

// Everything failing is found within ten seconds, or twenty requests where they take longer, at whatever
// instant of a window it begins, and is over within a window.
func TestEverythingRefusedIsFoundWithinTenSeconds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate int
		step time.Duration // between two onsets, from the start of a window on
		most time.Duration // ten seconds, or twenty requests
	}{{1, 2300 * time.Millisecond, 20 * time.Second}, {2, 2700 * time.Millisecond, 10 * time.Second}, {5, 1900 * time.Millisecond, 10 * time.Second}, {20, 1300 * time.Millisecond, 10 * time.Second}, {100, 3100 * time.Millisecond, 10 * time.Second}} {
		stalled(t, fmt.Sprintf("rate: %d/s, max_vus: 50", c.rate), uint64(c.rate), nil, func(s *stallStage) {
			outage := func() bool {
				for _, f := range s.Findings() {
					if f.State == load.Active && f.Kind == "unreachable" {
						return true
					}
				}
				return false
			}
			fails := func(cause load.Cause) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.cause = cause
			}
			last := 10 * time.Second
			if brief() {
				last = 2 * c.step
			}
			for offset := time.Duration(0); offset < last; offset += c.step {
				time.Sleep(time.Until(time.Now().Truncate(10 * time.Second).Add(30*time.Second + offset)))
				if outage() {
					t.Errorf("%d/s: an outage before its onset", c.rate)
				}
				fails(load.Refused)
				after := time.Duration(0)
				for ; !outage() && after < time.Minute; after += 100 * time.Millisecond {
					time.Sleep(100 * time.Millisecond)
				}
				if after > c.most || after < 7*time.Second {
					t.Errorf("%d/s, %v into a window: found after %v, want at most %v", c.rate, offset, after, c.most)
				}
				fails(load.None)
				time.Sleep(21 * time.Second)
				if outage() {
					t.Errorf("%d/s, %v into a window: an outage 21 s after its end", c.rate, offset)
				}
			}
		})
	}
}

// Refused connections are the target's doing, whatever stalls meanwhile: none is excused.
func TestEverythingRefusedUnderStallsIsBad(t *testing.T) {
	t.Parallel()
	for seed := range stallSeeds() {
		stalled(t, steady, seed, func(began time.Time) []stall { return burstsOf(seed, began, healthySpan()) }, func(s *stallStage) {
			s.mu.Lock()
			s.cause = load.Refused
			s.mu.Unlock()
			for _, objective := range []string{"p99", "errors"} {
				if after, fails := s.failing(objective, 5*time.Minute); !fails {
					t.Errorf("seed %d: %s is not called broken within %v", seed, objective, after)
				}
			}
			time.Sleep(time.Minute)
			for _, objective := range []string{"p99", "errors"} {
				events, bad, excluded := s.counted(objective)
				// Arrivals of the stalls are perfd's own drops; nothing that was sent is excluded.
				if bad != events || bad < 100 || excluded > 0.1*events {
					t.Errorf("seed %d: %v of %v events of %s are bad, %v are excluded", seed, bad, events, objective, excluded)
				}
			}
		})
	}
}
