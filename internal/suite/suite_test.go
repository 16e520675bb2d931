package suite

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A stage runs scenarios for a suite in a bubble, and writes down what happens.
type stage struct {
	t     *testing.T
	all   *All
	begun time.Time
	lasts map[string]time.Duration // how long runs of a scenario last
	gives map[string]string        // the result of its run; pass where there is none
	fails map[string]error         // of StartRun

	mu     sync.Mutex
	lines  []string
	ended  []Run
	timers map[string]*time.Timer // of the runs under way
}

func (s *stage) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%v ", time.Since(s.begun))+fmt.Sprintf(format, args...))
}

func (s *stage) StartRun(name string) error {
	if err := s.fails[name]; err != nil {
		return err
	}
	s.note("start %s", name)
	began := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers[name] = time.AfterFunc(s.lasts[name], func() { s.over(name, began, s.gives[name]) })
	return nil
}

// over ends a run, which is judged 10 s later.
func (s *stage) over(name string, began time.Time, result string) {
	s.mu.Lock()
	delete(s.timers, name)
	s.mu.Unlock()
	end := time.Now()
	if result == "lost" {
		return
	}
	if result == "" {
		result = "pass"
	}
	time.AfterFunc(10*time.Second, func() {
		s.all.Judged(Judged{
			Scenario: name, Run: "R-" + name, Result: strings.TrimPrefix(result, "free "), Began: began, Ended: end, NoObjectives: strings.HasPrefix(result, "free "),
		})
	})
}

func (s *stage) StopRun(name string) {
	s.note("stop %s", name)
	s.mu.Lock()
	timer := s.timers[name]
	s.mu.Unlock()
	if timer != nil && timer.Stop() {
		s.over(name, time.Now(), Interrupted)
	}
}

func (s *stage) Running(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timers[name] != nil
}

// want compares what happened, and the results of the runs of the suite that ended.
func (s *stage) want(lines, results string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for _, r := range s.ended {
		one := r.Result
		for _, p := range r.Parts {
			one += " " + p.Scenario + "=" + p.Result
			if p.Why != "" {
				one += " (" + p.Why + ")"
			}
		}
		got = append(got, one)
	}
	for what, pair := range map[string][2]string{"events": {lines, strings.Join(s.lines, "\n")}, "results": {results, strings.Join(got, "\n")}} {
		want := ""
		for line := range strings.Lines(pair[0]) {
			if line = strings.TrimSpace(line); line != "" {
				want += line + "\n"
			}
		}
		if d := cmp.Diff(want, strings.TrimLeft(pair[1]+"\n", "\n")); d != "" {
			s.t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
}

func decode(t *testing.T, text string) []Config {
	t.Helper()
	errs := &block.Errors{}
	n := block.Parse("perfd.yaml", []byte(text), errs)
	var doc struct {
		Suites []Config `yaml:"suites"`
	}
	block.Decode(n, &doc, errs)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return doc.Suites
}

// A disk keeps nothing: the state holds what it was given.
type disk struct{}

func (disk) States() (map[string][]byte, error) { return nil, nil }
func (disk) PutState(string, []byte)            {}
func (disk) FlushState() error                  { return nil }

func play(t *testing.T, suites string, lasts map[string]time.Duration, script func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, begun: time.Now(), lasts: lasts, gives: map[string]string{}, fails: map[string]error{}, timers: map[string]*time.Timer{}}
		kept, err := state.Open(t.TempDir(), disk{})
		if err != nil {
			t.Fatal(err)
		}
		s.open(kept, suites)
		script(s)
		s.all.Stop()
	})
}

func (s *stage) open(kept *state.Store, suites string) {
	s.all = NewAll(Options{Starter: s, Log: slog.New(slog.DiscardHandler), Ended: func(r Run) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = append(s.ended, r)
	}}, kept)
	s.change(suites)
	s.all.Start()
}

func (s *stage) change(suites string) {
	s.t.Helper()
	c, err := s.all.Prepare(decode(s.t, suites), func(string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(suites))) }, nil, false)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Commit()
}

func (s *stage) start(name string) {
	s.t.Helper()
	one, err := s.all.Named(name)
	if err == nil {
		err = one.StartRun()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

const evening = "suites: [{name: evening, scenarios: [{scenario: base}, {scenario: stress, start: 5m}, {scenario: spike, after: stress, start: 2m}]}]"

var lasting = map[string]time.Duration{"base": 20 * time.Minute, "stress": 6 * time.Minute, "spike": time.Minute}

const begins = `
	0s start base
	5m0s start stress
	13m0s start spike
`

func TestScenariosBeginAtTheirTimes(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		s.start("evening")
		time.Sleep(15 * time.Minute)
		if st := s.all.Status()[0]; !st.Running || st.Run.Parts[1].Run != "R-stress" || st.Run.Parts[0].Result != "" {
			t.Errorf("status under way: %+v", st)
		}
		time.Sleep(10 * time.Minute)
		s.want(begins, "pass base=pass stress=pass spike=pass")
		if st := s.all.Status()[0]; st.Running || st.Run.Result != "pass" {
			t.Errorf("status at the end: %+v", st)
		}
	})
}

// The worst of the scenarios decides, and what breaks does not keep what is after it.
func TestTheWorstDecides(t *testing.T) {
	for _, tt := range []struct {
		gives map[string]string
		want  string
	}{
		{map[string]string{"base": "inconclusive"}, "inconclusive base=inconclusive stress=pass spike=pass"},
		{map[string]string{"base": "free inconclusive"}, "pass base=inconclusive (it has no objectives) stress=pass spike=pass"},
		{map[string]string{"base": "free interrupted"}, "interrupted base=interrupted stress=pass spike=pass"},
		{
			map[string]string{"base": "free inconclusive", "stress": "free inconclusive", "spike": "free inconclusive"},
			"inconclusive base=inconclusive (it has no objectives) stress=inconclusive (it has no objectives) spike=inconclusive (it has no objectives)",
		},
		{map[string]string{"base": "inconclusive", "stress": "fail"}, "fail base=inconclusive stress=fail spike=pass"},
		{map[string]string{"stress": "interrupted", "base": "inconclusive"}, "interrupted base=inconclusive stress=interrupted spike=pass"},
		{map[string]string{"stress": "error", "spike": "fail"}, "error base=pass stress=error spike=fail"},
	} {
		play(t, evening, lasting, func(s *stage) {
			s.gives = tt.gives
			s.start("evening")
			time.Sleep(time.Hour)
			s.want(begins, tt.want)
		})
	}
}

func TestAScenarioThatDoesNotStart(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		s.fails["stress"] = errors.New("a run is under way already")
		s.start("evening")
		time.Sleep(time.Hour)
		s.want("0s start base\n7m0s start spike", "inconclusive base=pass stress=not started (a run is under way already) spike=pass")
	})
}

func TestARunThatNobodyJudges(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		s.gives["base"] = "lost"
		s.start("evening")
		time.Sleep(time.Hour)
		s.want(begins, "inconclusive base=inconclusive (its run was not judged) stress=pass spike=pass")
	})
}

func TestASuiteIsStoppedByHand(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		s.start("evening")
		time.Sleep(6 * time.Minute)
		one, _ := s.all.Named("evening")
		if err := one.StopRun(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		s.want("0s start base\n5m0s start stress\n6m0s stop base\n6m0s stop stress",
			"interrupted base=interrupted stress=interrupted spike=not started (the suite was ended: by hand)")
	})
}

// The end of perfd leaves runs to the fleet, and waits for none of them.
func TestPerfdEnds(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		s.start("evening")
		time.Sleep(time.Minute)
		at := time.Now()
		s.all.Stop()
		if took := time.Since(at); took > time.Second {
			t.Errorf("the stop takes %v", took)
		}
		s.want("0s start base", "interrupted base= stress=not started (the suite was ended: shutdown) spike=not started (the suite was ended: shutdown)")
		time.Sleep(time.Hour)
	})
}

// What was judged of a run before is no result of one that the suite began.
func TestARunBeforeIsAnotherRun(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		before := time.Now()
		time.Sleep(time.Minute)
		s.start("evening")
		time.Sleep(time.Second)
		s.all.Judged(Judged{Scenario: "base", Run: "earlier", Result: "fail", Began: before, Ended: time.Now()})
		time.Sleep(time.Hour)
		s.want("1m0s start base\n6m0s start stress\n14m0s start spike", "pass base=pass stress=pass spike=pass")
	})
}

// A suite that changes ends; one that does not goes on.
func TestAReload(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		s.start("evening")
		time.Sleep(time.Minute)
		s.change(evening)
		s.want("0s start base", "")
		s.change(strings.Replace(evening, "5m", "6m", 1))
		time.Sleep(time.Minute)
		s.want("0s start base\n1m0s stop base", "interrupted base=interrupted stress=not started (the suite was ended: by hand) spike=not started (the suite was ended: by hand)")
		runs := map[string]float64{}
		s.all.Collect(func(d *metric.Desc, v float64, labels ...string) { runs[d.Name+" "+strings.Join(labels, " ")] = v })
		if got := runs["perfd_suite_runs_total evening interrupted"]; got != 1 {
			t.Errorf("%v runs are counted as interrupted, want the one of the suite before", got)
		}
		if keys := s.all.state.Keys(""); len(keys) != 1 {
			t.Errorf("the state holds %v, want what the new suite remembers", keys)
		}
		s.start("evening")
		time.Sleep(time.Hour)
		s.change("{}")
		if _, err := s.all.Named("evening"); !errors.Is(err, ErrUnknown) {
			t.Errorf("a suite that is gone: %v", err)
		}
	})
}

func TestASuiteRunsBySchedule(t *testing.T) {
	play(t, strings.Replace(evening, "evening,", "evening, schedule: {every: 1h},", 1), lasting, func(s *stage) {
		time.Sleep(30 * time.Minute)
		s.all.Pause(true)
		time.Sleep(time.Hour)
		s.all.Pause(false)
		time.Sleep(90 * time.Minute)
		s.want(`
			2h0m0s start base
			2h5m0s start stress
			2h13m0s start spike
			3h0m0s start base
		`, "pass base=pass stress=pass spike=pass")
		got := map[string]float64{}
		s.all.Collect(func(d *metric.Desc, v float64, labels ...string) { got[d.Name+" "+strings.Join(labels, " ")] = v })
		want := map[string]float64{
			"perfd_suite_running evening": 1, "perfd_suite_missed_total evening": 1,
			"perfd_suite_next_run_timestamp_seconds evening": float64(s.begun.Add(4 * time.Hour).Unix()),
			"perfd_suite_runs_total evening pass":            1, "perfd_suite_runs_total evening fail": 0, "perfd_suite_runs_total evening error": 0,
			"perfd_suite_runs_total evening inconclusive": 0, "perfd_suite_runs_total evening interrupted": 0,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("metrics (-want +got):\n%s", d)
		}
	})
}

// A suite that a restart broke off is interrupted, and does not go on.
func TestASuiteIsNotResumed(t *testing.T) {
	play(t, evening, lasting, func(s *stage) {
		s.start("evening")
		time.Sleep(time.Minute)
		kept := s.all.state
		s.all.Stop()
		time.Sleep(time.Minute)
		s.open(kept, evening)
		time.Sleep(time.Hour)
		s.want("0s start base", "interrupted base= stress=not started (the suite was ended: shutdown) spike=not started (the suite was ended: shutdown)")
	})
}

func TestWrongSuites(t *testing.T) {
	scenarios := map[string]Scenario{
		"base": {Manual: true, End: pace.End{Time: time.Hour}}, "endless": {Manual: true}, "soak": {}, "counted": {Manual: true, End: pace.End{Total: 5}},
	}
	for text, want := range map[string]string{
		"{scenarios: [{scenario: base}]}":                                                            `suites[0].name: is required`,
		"{name: a, scenarios: []}":                                                                   `suites[0].scenarios: must name a scenario at least`,
		"{name: a, schedule: {always: true}, scenarios: [{scenario: base}]}":                         `suites[0].schedule: a suite ends, so that it cannot run always`,
		"{name: a, schedule: {after: base}, scenarios: [{scenario: base}]}":                          `suites[0].schedule.after: a suite is after no scenario`,
		"{name: a, schedule: {every: 2h, on_restart: resume}, scenarios: [{scenario: base}]}":        `suites[0].schedule.on_restart: a suite is not resumed`,
		"{name: base, scenarios: [{scenario: base}]}":                                                `suites[0].name: a scenario is named "base" already`,
		"{name: a, scenarios: [{scenario: bas}]}":                                                    `suites[0].scenarios[0].scenario: unknown scenario "bas"`,
		"{name: a, scenarios: [{scenario: base}, {scenario: base}]}":                                 `suites[0].scenarios[1].scenario: base is in the suite already`,
		"{name: a, scenarios: [{scenario: soak}]}":                                                   `suites[0].scenarios[0].scenario: soak has a schedule of its own`,
		"{name: a, scenarios: [{scenario: endless}]}":                                                `suites[0].scenarios[0].scenario: runs of endless never end`,
		"{name: a, scenarios: [{scenario: base, after: soak}]}":                                      `suites[0].scenarios[0].after: "soak" is no scenario of the suite`,
		"{name: a, scenarios: [{scenario: base, after: base}]}":                                      `suites[0].scenarios[0].after: base would never begin: it is after itself, by way of base`,
		"{name: a, scenarios: [{scenario: base, after: counted}, {scenario: counted, after: base}]}": `suites[0].scenarios[0].after: base would never begin: it is after itself, by way of counted, base`,
		"{name: a, schedule: {every: 90m}, scenarios: [{scenario: base, start: 31m}]}":               `suites[0].schedule.every: must not be shorter than a run, which lasts 1h31m, got 1h30m`,
	} {
		errs := &block.Errors{}
		n := block.Parse("perfd.yaml", []byte("suites: ["+text+"]"), errs)
		var doc struct {
			Suites []Config `yaml:"suites"`
		}
		block.Decode(n, &doc, errs)
		for i := range doc.Suites {
			doc.Suites[i].Check(scenarios, errs)
		}
		if err := errs.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
