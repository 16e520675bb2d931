package twin

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// finding is what is known of a scenario at an instant.
func (s *scenario) finding(at time.Time) load.Finding {
	w := s.whole()
	f := s.blank(analysis.ID(load.KindTwin, s.name, w.releases[own]), at)
	f.Since = w.since
	if s.last.IsZero() || at.Sub(s.last) > thresholds.Silent && s.state != release {
		f.Sentence = fmt.Sprintf("nothing is known of %s beside its twin %s: there are no windows of both", s.name, s.twin.Target)
		f.Needed = "load on both sides"
		return f
	}
	switch s.state {
	case release, noise:
		s.say(&f, s.state, s.worst, s.statistic, s.worst.latest)
		f.Since = s.worst.calls[s.statistic].since
	case environment:
		s.sayEnvironment(&f)
	default:
		s.say(&f, s.state, w, s.statistic, w.latest)
		if s.state == unknown {
			f.Needed = s.needed()
		}
	}
	return f
}

// blank returns a finding in which nothing is proven.
func (s *scenario) blank(id string, at time.Time) load.Finding {
	w, nan := s.whole(), load.Number(math.NaN())
	return load.Finding{
		ID: id, Kind: load.KindTwin, Scenario: s.name, Target: s.target, Release: w.releases[own], Baseline: w.releases[baseline],
		Updated: at, Value: nan, Lower: nan, Upper: nan, Limit: load.Number(s.twin.Margin), Confidence: thresholds.Confidence, Unit: "ratio",
	}
}

// called writes a target with its release.
func called(target, release string) string {
	if release == "" {
		return target
	}
	return target + " " + release
}

// say writes what a state comes to, of a comparison and one of its statistics, into a finding.
func (s *scenario) say(f *load.Finding, is state, c *comparison, statistic int, results [len(statistics)]result) {
	r := results[statistic]
	name := s.name
	switch {
	case c.metric:
		name = c.step + " of " + name
		f.Metric = c.step
	case c.step != "":
		name += "/" + c.step
		f.Step = c.step
	}
	if c.target != "" && c.step != "" {
		f.Target = c.target
	}
	f.Statistic = statistics[statistic]
	ours, theirs := called(s.target, c.releases[own]), called(s.twin.Target, c.releases[baseline])
	if r.known {
		f.Value, f.Lower, f.Upper = load.Number(r.change), load.Number(r.in.Lower), load.Number(r.in.Upper)
		if statistic == levels {
			f.Limit = load.Number(thresholds.Errors)
		}
		f.Evidence = r.facts(statistic)
	}
	var others []string
	for stat, o := range results {
		if o.known {
			others = append(others, fmt.Sprintf("%s %s", label(stat), signed(stat, o.change)))
			if stat != statistic {
				f.Evidence = append(f.Evidence, load.Fact{Name: "change of " + statistics[stat], Value: load.Number(o.change), Unit: "ratio"})
			}
		}
	}
	in := fmt.Sprintf("(95 %% interval %s to %s)", signed(statistic, r.in.Lower), signed(statistic, r.in.Upper))
	switch is {
	case release:
		f.Verdict = load.Fail
		f.Sentence = fmt.Sprintf("%s under the same load %s, so the release is worse and not its environment", r.difference(statistic, name, ours, theirs), in)
		if c.releases[own] != "" && c.releases[own] == c.releases[baseline] {
			f.Doubts = append(f.Doubts, "both targets run "+c.releases[own]+": it is not the release in which they differ")
		}
		if c.releases[own] == "" {
			f.Doubts = append(f.Doubts, "nobody says which release the targets run")
		}
		if n := s.alsoCalled(c, 1); n > 0 {
			f.Sentence += fmt.Sprintf("; so are %d more steps", n)
		}
	case noise:
		f.Verdict = load.Pass
		back := r.turned(statistic)
		f.Sentence = fmt.Sprintf("only the baseline of %s is worse: %s under the same load; it is noise there or a better release, and not held against %s",
			s.name, back.difference(statistic, name, theirs, ours), s.target)
	case alike:
		f.Verdict = load.Pass
		f.Sentence = fmt.Sprintf("%s does as well on %s as on its twin %s under the same load: %s; every interval ends within %.3g %%",
			s.name, ours, theirs, strings.Join(others, ", "), 100*s.twin.Margin)
	default:
		if others == nil {
			f.Sentence = fmt.Sprintf("%s on %s is not compared with its twin %s yet", s.name, ours, theirs)
			return
		}
		f.Sentence = fmt.Sprintf("%s on %s is neither proven to be worse than on its twin %s nor to be within %.3g %% of it: %s",
			s.name, ours, theirs, 100*s.twin.Margin, strings.Join(others, ", "))
	}
}

// sayEnvironment writes that both sides are worse than before.
func (s *scenario) sayEnvironment(f *load.Finding) {
	r, w := s.shift, s.whole()
	if s.equal() {
		f.Verdict = load.Pass
	}
	f.Statistic = statistics[s.statistic]
	f.Value, f.Lower, f.Upper = load.Number(r.change), load.Number(r.in.Lower), load.Number(r.in.Upper)
	pair := w.latest[s.statistic]
	f.Evidence = []load.Fact{
		{Name: "own level", Value: load.Number(r.levels[own]), Unit: "seconds"},
		{Name: "level of the baseline", Value: load.Number(r.levels[baseline]), Unit: "seconds"},
		{Name: "change against the baseline", Value: load.Number(pair.change), Unit: "ratio"},
	}
	f.Sentence = fmt.Sprintf("the environment of %s got slower: %s of both sides is %s above that of before (95 %% interval %s to %s), and %s is %s beside its twin %s; no release is to blame",
		s.name, label(s.statistic), percent(r.change), signed(s.statistic, r.in.Lower), signed(s.statistic, r.in.Upper), called(s.target, w.releases[own]),
		signed(s.statistic, pair.change), called(s.twin.Target, w.releases[baseline]))
}

// alsoCalled is how many other steps are called with a sign.
func (s *scenario) alsoCalled(c *comparison, sign int) (n int) {
	if c.step == "" {
		return 0
	}
	for _, o := range s.comparisons[:len(s.comparisons)-1] {
		if o != c && o.called(sign) {
			n++
		}
	}
	return n
}

// turned is the result as the other side has it.
func (r result) turned(statistic int) result {
	r.levels[own], r.levels[baseline] = r.levels[baseline], r.levels[own]
	if statistic == levels {
		r.change, r.in.Lower, r.in.Upper = -r.change, -r.in.Upper, -r.in.Lower
		return r
	}
	back := func(x float64) float64 { return 1/(1+x) - 1 }
	r.change, r.in.Lower, r.in.Upper = back(r.change), back(r.in.Upper), back(r.in.Lower)
	return r
}

// difference says that a statistic is worse on a first target than on a second one.
func (r *result) difference(statistic int, name, first, second string) string {
	if statistic == levels {
		return fmt.Sprintf("error ratio of %s is %s on %s and %s on %s", name, amount.Share(r.levels[own]), first, amount.Share(r.levels[baseline]), second)
	}
	return fmt.Sprintf("%s of %s is %s slower on %s than on %s (%s against %s)",
		label(statistic), name, percent(r.change), first, second, amount.Seconds(r.levels[own]), amount.Seconds(r.levels[baseline]))
}

// facts are the numbers behind a result.
func (r *result) facts(statistic int) []load.Fact {
	unit, worth := "seconds", "effective pairs"
	if statistic == levels {
		unit, worth = "ratio", "effective requests"
	}
	return []load.Fact{
		{Name: "own", Value: load.Number(r.levels[own]), Unit: unit},
		{Name: "baseline", Value: load.Number(r.levels[baseline]), Unit: unit},
		{Name: "pairs of windows", Value: load.Number(r.n)},
		{Name: worth, Value: load.Number(r.worth)},
	}
}

// needed says what would settle what is not known.
func (s *scenario) needed() string {
	w := s.whole()
	r := w.latest[s.statistic]
	if !r.known {
		if n := thresholds.FewestFine - len(w.fine); n > 0 {
			return fmt.Sprintf("%d more pairs of windows", n)
		}
		return "more requests a window"
	}
	if s.statistic == levels {
		return "more requests"
	}
	room := math.Log1p(s.twin.Margin) - math.Abs(math.Log1p(r.change))
	half := (math.Log1p(r.in.Upper) - math.Log1p(r.in.Lower)) / 2
	if room <= half/10 || math.IsInf(half, 0) {
		return "more time: the difference is near the margin"
	}
	// An interval is as narrow as the root of what it rests on is large.
	more := float64(r.n) * (half*half/(room*room) - 1)
	return fmt.Sprintf("about %.0f more pairs of windows", math.Max(1, math.Ceil(more)))
}

// label is a statistic in a sentence.
func label(statistic int) string {
	if statistics[statistic] == typical {
		return "typical latency"
	}
	return strings.ReplaceAll(statistics[statistic], "_", " ")
}

// signed writes a change with its sign; of error ratios in points.
func signed(statistic int, change float64) string {
	if statistic == levels {
		return fmt.Sprintf("%+.2g points", 100*change)
	}
	return fmt.Sprintf("%+.*f %%", digits(change), 100*change)
}

func percent(x float64) string { return fmt.Sprintf("%.*f %%", digits(x), 100*x) }

// digits is how many decimals a change takes in per cent.
func digits(x float64) int {
	if math.Abs(x) >= 0.1 || x == 0 {
		return 0
	}
	return 1
}

// Run compares the sides in the pairs of a run that ended, in one look. What was called while the run went on and has
// gone since is in the history of findings.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	s := a.of[e.Scenario]
	if s == nil {
		return nil
	}
	n := slices.IndexFunc(s.runs, func(r begun) bool { return r.id == e.Run })
	f := s.blank(analysis.ID(load.KindTwin, s.name, "run", e.Run), at)
	f.Run, f.Since = e.Run, e.At
	if n < 0 {
		f.Sentence, f.Needed = fmt.Sprintf("%s was not compared with its twin %s", s.name, s.twin.Target), "load on both sides"
		return []load.Finding{f}
	}
	f.Since = s.runs[n].at
	is, worst, statistic := unknown, s.whole(), 1
	largest, inside, known := 0.0, true, 0
	var said [len(statistics)]result
	for _, c := range s.comparisons {
		list, _ := c.within(min(at.Sub(f.Since), slices.Max(thresholds.Spans)), at)
		level := thresholds.RunLevel * s.share(c) / float64(len(statistics))
		var results [len(statistics)]result
		for stat := range statistics {
			results[stat] = compare(stat, list, nil, thresholds.FewestOfRun, s.twin.Margin)
			r := &results[stat]
			if !r.known {
				continue
			}
			if c.step == "" {
				known++
				inside = inside && r.inside
			}
			size := r.change
			if stat == levels {
				size += 1000
			}
			switch {
			case r.beyond > 0 && r.worse <= level && size > largest:
				is, worst, statistic, largest, said = release, c, stat, size, results
			case r.beyond < 0 && r.better <= level && is == unknown && c.step == "":
				is, worst, statistic, said = noise, c, stat, results
			}
		}
		if c.step == "" && is == unknown {
			said = results
			for _, stat := range []int{1, 3, 0, 2} {
				if results[stat].known {
					statistic = stat
					break
				}
			}
		}
	}
	if is == unknown && inside && known >= 3 {
		is = alike
	}
	s.say(&f, is, worst, statistic, said)
	if is == unknown {
		f.Needed = "a longer run, or more requests in it"
	}
	return []load.Finding{f}
}

var _ analysis.Explainer = (*Analysis)(nil)

// Explain shows the pairs of windows that were compared last.
func (a *Analysis) Explain(f *load.Finding) []analysis.Step {
	s := a.of[f.Scenario]
	if s == nil || f.Kind != load.KindTwin {
		return nil
	}
	columns := []string{"time", "seconds"}
	for _, side := range []string{"own", "baseline"} {
		columns = append(columns, side+"_p50_seconds", side+"_p95_seconds", side+"_mean_seconds", side+"_typical_seconds", side+"_requests", side+"_failed")
	}
	for _, c := range s.comparisons {
		if c.step != f.Series() {
			continue
		}
		rows := func(list []value) (rows [][]float64) {
			for i := range list {
				v := &list[i]
				row := []float64{float64(v.end) / 1e9, float64(v.length)}
				for side := range 2 {
					for _, x := range v.level[side] {
						row = append(row, math.Exp(float64(x)))
					}
					row = append(row, float64(v.asked[side]), float64(v.failed[side]))
				}
				rows = append(rows, row)
			}
			return rows
		}
		return []analysis.Step{
			{Name: "windows", What: "like windows of both sides, of the last two hours", Columns: columns, Rows: rows(c.fine)},
			{Name: "blocks", What: "the same in blocks of five minutes, of the last two days", Columns: columns, Rows: rows(c.blocks)},
		}
	}
	return nil
}
