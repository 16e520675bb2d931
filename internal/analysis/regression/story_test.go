package regression

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// A story feeds weeks through the analysis and its board, and writes down what a person reads.
type story struct {
	*rig
	board *analysis.Board
	kept  map[string]string // by ID: state
	text  string
}

func newStory(t *testing.T, seed uint64, window time.Duration, rate float64) *story {
	s := &story{rig: newRig(t, seed), kept: map[string]string{}}
	s.load.Window, s.load.Rate, s.load.Steps = window, rate, []string{"checkout"}
	s.a.configure([]Scenario{{Name: "shop-soak", Target: "shop", Steps: s.load.Steps}})
	s.board = analysis.NewBoard(analysis.BoardOptions{Kinds: analysis.Kinds{Kind}, Log: slog.New(slog.DiscardHandler)}, nil)
	return s
}

// hours feeds hours with latencies times a factor of the time, judges each of them, and notes what is new.
func (s *story) hours(n int, factor func(time.Time) float64) {
	median := s.load.Median
	for end := s.load.Now.Add(time.Duration(n) * time.Hour); s.load.Now.Before(end); {
		s.load.Median = time.Duration(factor(s.load.Now) * float64(median))
		s.next()
		s.note()
	}
	s.load.Median = median
}

// note writes down what came, went or was accepted on the board.
func (s *story) note() {
	s.board.Report([]load.Kind{load.KindRegression, load.KindChange}, s.load.Now, s.judge())
	for _, f := range s.board.Findings() {
		if f.State == "" || s.kept[f.ID] == string(f.State) {
			continue
		}
		s.kept[f.ID] = string(f.State)
		s.text += fmt.Sprintf("%s %s %s: %s\n", s.load.Now.Format("Mon 2 Jan 15:04"), f.Kind, f.State, f.Sentence)
		for _, e := range f.Evidence {
			s.text += fmt.Sprintf("    %s: %.3g %s\n", e.Name, float64(e.Value), e.Unit)
		}
	}
}

func (s *story) accept() {
	f := s.active()[0]
	if _, err := s.board.Accept(f.ID, s.load.Now); err != nil {
		s.t.Fatal(err)
	}
	s.a.Event(load.Event{At: s.load.Now, Kind: load.FindingTaken, Finding: f.ID})
	s.note()
}

func (s *story) active() (out []load.Finding) {
	for _, f := range s.board.Findings() {
		if f.State == load.Active {
			out = append(out, f)
		}
	}
	return out
}

func same(time.Time) float64 { return 1 }

// weekends are quicker by a quarter, nights by a tenth.
func weekends(at time.Time) float64 {
	switch h := at.Hour(); {
	case at.Weekday() == time.Saturday || at.Weekday() == time.Sunday:
		return 0.75
	case h < 6:
		return 0.9
	}
	return 1
}

var update = flag.Bool("update-stories", false, "rewrite testdata/*.txt")

func (s *story) golden(name string) {
	s.t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(s.text), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), s.text); diff != "" {
		s.t.Errorf("%s reads otherwise (-want +got):\n%s", path, diff)
	}
}

func TestStoryQuickWeekends(t *testing.T) {
	if testing.Short() {
		t.Skip("eight weeks of hours")
	}
	s := newStory(t, 31, time.Hour, 0.1)
	s.hours(8*week, weekends)
	if fs := s.active(); len(fs) != 0 {
		t.Fatalf("eight weeks of quick weekends: %s", texts(fs))
	}
	slower := func(at time.Time) float64 { return 1.2 * weekends(at) }
	s.hours(3*day, weekends)
	s.hours(5*day, slower) // Thursday to Tuesday: it is one change over the weekend
	if fs := s.active(); len(fs) != 1 || fs[0].Since.Format("Mon 15") != "Thu 00" {
		t.Errorf("20 %% slower since Thursday: %s", texts(fs))
	}
	s.hours(3*day, weekends)
	if fs := s.active(); len(fs) != 0 {
		t.Errorf("as quick as before for three days, and still %s", texts(fs))
	}
	s.golden("weekends")
}

// A release on a Friday evening is as quick as the one before it, and the next one, a week later, is not: the
// weekend hides neither.
func TestStoryReleasesBeforeWeekends(t *testing.T) {
	if testing.Short() {
		t.Skip("five weeks of intervals")
	}
	s := newStory(t, 34, 20*time.Minute, 0.15)
	s.hours(2*week+4*day+18, weekends)
	s.release("v1.1.0")
	s.hours(week, weekends)
	if fs := s.active(); len(fs) != 0 {
		t.Fatalf("a release no slower than the one before: %s", texts(fs))
	}
	s.release("v1.2.0")
	s.slower(1.15)
	s.hours(2*day, weekends)
	one(t, s.active(), load.KindRegression, load.Fail)
	s.hours(3*day, weekends)
	if f := one(t, s.active(), load.KindRegression, load.Fail); f.Release != "v1.2.0" {
		t.Errorf("%s", f.Sentence)
	}
	s.release("v1.2.1")
	s.slower(1 / 1.15)
	s.hours(3*day, weekends)
	if fs := s.active(); len(fs) != 0 {
		t.Errorf("mended, and still %s", texts(fs))
	}
	s.golden("releases")
}

func TestStoryAnAcceptedReleaseGetsWorse(t *testing.T) {
	s := newStory(t, 32, 10*time.Minute, 1)
	s.hours(30, same)
	s.release("v1.1.0")
	s.slower(1.15)
	s.hours(12, same)
	first := one(t, s.active(), load.KindRegression, load.Fail)
	s.accept()
	s.hours(2*day, same)
	if fs := s.active(); len(fs) != 0 {
		t.Fatalf("accepted, and still %s", texts(fs))
	}
	s.slower(1.2)
	s.hours(day, same)
	again := one(t, s.active(), load.KindRegression, load.Fail)
	if again.ID != first.ID || again.Release != "v1.1.0" {
		t.Errorf("worse again is %s of %s, want that %s is open again", again.ID, again.Release, first.ID)
	}
	s.accept()
	s.hours(day, same)
	if fs := s.active(); len(fs) != 0 {
		t.Errorf("accepted again, and still %s", texts(fs))
	}
	s.golden("accepted")
}

func TestStoryCreepOverTenReleases(t *testing.T) {
	s := newStory(t, 33, 10*time.Minute, 2)
	s.hours(day, same)
	for i := range 10 {
		s.release(fmt.Sprintf("v1.%d.0", i+1))
		s.slower(1.02)
		s.hours(10, same)
	}
	fs := s.active()
	if len(fs) != 1 {
		t.Fatalf("ten releases, each 2 %% slower: %s", texts(fs))
	}
	// The side that is compared with is the first release, and not the one before.
	if steps := s.a.Explain(&fs[0]); len(steps) != 3 || !strings.Contains(steps[0].What, "of release v1.0.0 ") {
		t.Errorf("%s is explained by %s", fs[0].Sentence, steps[0].What)
	}
	s.accept()
	s.release("v2.0.0")
	s.hours(day, same)
	if fs := s.active(); len(fs) != 0 {
		t.Errorf("accepted, and still %s", texts(fs))
	}
	s.golden("creep")
}
