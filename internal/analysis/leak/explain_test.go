package leak

import (
	"math"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// step returns the step of a name.
func step(t *testing.T, steps []analysis.Step, name string) analysis.Step {
	t.Helper()
	for _, s := range steps {
		if s.Name == name {
			for _, row := range s.Rows {
				if len(row) != len(s.Columns) {
					t.Fatalf("step %s has a row of %d values for %d columns", name, len(row), len(s.Columns))
				}
			}
			return s
		}
	}
	t.Fatalf("no step %q among %d", name, len(steps))
	return analysis.Step{}
}

// The steps are those that the finding's numbers come from: a sceptic who repeats them gets these numbers.
func TestTheStepsOfALeakGiveItsNumbers(t *testing.T) {
	for name, level := range map[string]func(s float64) float64{
		"a line":            func(s float64) float64 { return 200 + s/600 },
		"under a collector": func(s float64) float64 { return 200 + s/600 + 50*math.Mod(s, 900)/900 },
		"level":             func(float64) float64 { return 200 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(0)
			r.feed(12*time.Hour, time.Minute, level)
			f := r.Judge(r.now)[0]
			steps := r.Explain(&f)
			if n := len(step(t, steps, "readings").Rows); n < 500 {
				t.Errorf("%d readings, want those of twelve hours", n)
			}
			if n := len(step(t, steps, "collections").Rows); (name == "under a collector") != (n > 20) {
				t.Errorf("%d collections", n)
			}
			line, floors := step(t, steps, "line"), step(t, steps, "floors")
			if len(line.Rows) != len(floors.Rows) || len(line.Rows) < 10 {
				t.Fatalf("%d floors, %d of the line", len(floors.Rows), len(line.Rows))
			}
			var track stats.Track
			for i, row := range line.Rows {
				track.T, track.Y = append(track.T, row[0]), append(track.Y, row[1])
				if rate := floors.Rows[i][4]; math.Abs(rate-100) > 5 {
					t.Errorf("%.0f requests/s at a floor, want 100", rate)
				}
			}
			slope := stats.Slopes(track).Median()
			if off := math.Abs(slope - float64(f.Value)); off > 1e-9*math.Abs(slope)+1e-9 {
				t.Errorf("the slopes between the floors have a median of %g, the finding says %g", slope, f.Value)
			}
			first, last := line.Rows[0], line.Rows[len(line.Rows)-1]
			if drawn := (last[2] - first[2]) / (last[0] - first[0]); math.Abs(drawn-float64(f.Value)) > 1e-6*math.Abs(drawn)+1e-6 {
				t.Errorf("the line rises by %g a second, the finding says %g", drawn, f.Value)
			}
		})
	}
}

func TestWhatALeakDoesNotExplain(t *testing.T) {
	r := newRig(0)
	r.feed(time.Minute, time.Second, func(float64) float64 { return 200 })
	for _, f := range []load.Finding{
		{Kind: load.KindLeak, Target: "other", Resource: "heap"},
		{Kind: load.KindLeak, Target: "shop", Resource: "other"},
		{Kind: load.KindLeak, Target: "shop", Resource: "heap", Member: "other"},
		{Kind: load.KindLeak, Target: "shop", Resource: "heap", Run: "1"},
		{Kind: load.KindDrift, Target: "shop", Resource: "heap"},
	} {
		if steps := r.Explain(&f); steps != nil {
			t.Errorf("%+v is explained by %d steps", f, len(steps))
		}
	}
}
