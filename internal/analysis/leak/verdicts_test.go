package leak

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
)

// A tally is what came of the traces of one class and span.
type tally struct {
	shape
	hours         float64
	series        int
	fails, passes int       // of one judgement at the end
	final         int       // fails at the end of looks all the way
	first         []float64 // hours to the first fail of any look
}

func (y *tally) add(o tally) {
	y.series, y.fails, y.passes = y.series+o.series, y.fails+o.fails, y.passes+o.passes
	y.final, y.first = y.final+o.final, append(y.first, o.first...)
}

func (y *tally) ever() int { return len(y.first) }

// tallies watches n traces of each class and span.
func tallies(list []shape, n int, salt uint64) []tally {
	var out []tally
	for _, c := range list {
		for _, hours := range c.spans {
			out = append(out, tally{shape: c, hours: hours, series: n})
		}
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				y := &out[i]
				for k := range n {
					o := y.make(rand.New(rand.NewPCG(salt+uint64(k), uint64(i))), y.hours).watch()
					switch o.once {
					case load.Fail:
						y.fails++
					case load.Pass:
						y.passes++
					}
					if o.final == load.Fail {
						y.final++
					}
					if o.ever {
						y.first = append(y.first, o.first)
					}
				}
			}
		})
	}
	for i := range out {
		next <- i
	}
	close(next)
	wg.Wait()
	return out
}

// The bars: at most 2 % of harmless traces are called leaks at their end, judged
// once or looked at all the way, and at most 4 % ever; of leaks at least 86 % are
// called and 60 % of each class; at least half of the harmless pass and at most
// 1 % of the leaks. The traces come from a generator that no threshold was chosen on.
func TestVerdictsOnTraces(t *testing.T) {
	n, shapes := 10, independent()
	if testing.Short() || raceEnabled {
		n = 1
		of := -1
		shapes = slices.DeleteFunc(shapes, func(shape) bool { of++; return of%6 != 0 })
	}
	all := tallies(shapes, n, analysistest.Seed())
	var b strings.Builder
	b.WriteString("| class | span | is | `fail` at the end | `pass` at the end | looked at all the way: `fail` at the end | `fail` ever | time to detection, median | 90 % |\n|---|---|---|---|---|---|---|---|---|\n")
	for i, leaks := range []bool{false, true} {
		kind := [...]string{"harmless", "leak"}[i]
		var sum tally
		for j, y := range all {
			if y.leak != leaks {
				continue
			}
			row(&b, y.name, fmt.Sprintf("%g h", y.hours), kind, &y)
			if y.endless {
				continue
			}
			sum.add(y)
			if last := j+1 == len(all) || all[j+1].name != y.name; leaks && last {
				classBar(t, all, y.name)
			}
		}
		row(&b, "**all**", "", "**"+kind+"**", &sum)
		if n > 1 {
			bars(t, leaks, &sum)
		}
	}
	t.Logf("\n%s", b.String())
	if n > 1 {
		analysistest.Table(t, "leak", b.String())
	}
}

// classBar holds the leaks of one class, all its spans together, to 60 %.
func classBar(t *testing.T, all []tally, name string) {
	t.Helper()
	var class tally
	for _, y := range all {
		if y.name == name {
			class.add(y)
		}
	}
	if class.series > 4 && (10*class.fails < 6*class.series || 10*class.ever() < 6*class.series) {
		t.Errorf("%s: %d of %d leaks found at the end and %d on the way", name, class.fails, class.series, class.ever())
	}
}

// bars holds the sum over all harmless or all leaking classes.
func bars(t *testing.T, leaks bool, s *tally) {
	t.Helper()
	of := func(n int) float64 { return 100 * float64(n) / float64(s.series) }
	for _, c := range []struct {
		what      string
		leaks, ok bool
		got       float64
	}{
		{"of harmless traces called at the end, at most 2 % may be", false, of(s.fails) <= 2, of(s.fails)},
		{"of harmless traces called at the end of looks, at most 2 % may be", false, of(s.final) <= 2, of(s.final)},
		{"of harmless traces ever called, at most 4 % may be", false, of(s.ever()) <= 100*falseAlarms, of(s.ever())},
		{"of harmless traces pass, at least 50 % must", false, of(s.passes) >= 50, of(s.passes)},
		{"of leaks found at the end, at least 86 % must be", true, of(s.fails) >= 86, of(s.fails)},
		{"of leaks found by looks, at least 86 % must be", true, of(s.final) >= 86, of(s.final)},
		{"of leaks pass, at most 1 % may", true, of(s.passes) <= 1, of(s.passes)},
	} {
		if c.leaks == leaks && !c.ok {
			t.Errorf("%.1f %% %s", c.got, c.what)
		}
	}
}

func row(b *strings.Builder, name, span, kind string, y *tally) {
	share := func(n int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(1, y.series))) }
	if !strings.Contains(name, "*") {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |", name, span, kind, share(y.fails), share(y.passes), share(y.final), share(y.ever()))
	} else {
		fmt.Fprintf(b, "| %s | %s | %s | **%s** | **%s** | **%s** | **%s** |", name, span, kind, share(y.fails), share(y.passes), share(y.final), share(y.ever()))
	}
	slices.SortFunc(y.first, cmp.Compare)
	if k := len(y.first); y.leak && k > 0 {
		fmt.Fprintf(b, " %.1f h | %.1f h |\n", y.first[k/2], y.first[min(k-1, 9*k/10)])
	} else {
		b.WriteString(" | |\n")
	}
}

// The classes that the thresholds were chosen on hold the bars of false alarms too.
func TestNoFalseAlarmOnTheTracesOfTuning(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("takes seconds")
	}
	var harmless tally
	for _, y := range tallies(slices.DeleteFunc(shapes(), func(s shape) bool { return s.leak }), 1, analysistest.Seed()) {
		if !y.endless {
			harmless.add(y)
		}
	}
	if harmless.fails > harmless.series/50 || harmless.ever() > harmless.series/25 {
		t.Errorf("%d of %d called at the end, %d ever", harmless.fails, harmless.series, harmless.ever())
	}
}
