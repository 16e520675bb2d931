package regression

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// An extent says whether findings are of the scenario as a whole or of its
// steps. It is decided once, when something is found, or findings would come and
// go as proofs arrive.
type extent uint8

const (
	undecided extent = iota
	whole
	apart
)

// extentOf returns the pairs that findings are of, of those that a kind of
// finding holds in: the scenario alone where all its steps are affected, or where no
// single step is.
func (s *scenario) extentOf(kind load.Kind, holds, follows func(*pair) bool) []*pair {
	own, steps := s.own(), s.pairs[:len(s.pairs)-1]
	var affected []*pair
	for _, p := range steps {
		if holds(p) {
			affected = append(affected, p)
		}
	}
	if len(affected) == 0 && !holds(own) {
		delete(s.extents, kind)
		return nil
	}
	if s.extents[kind] == undecided {
		s.extents[kind] = apart
		if holds(own) && !slices.ContainsFunc(steps, func(p *pair) bool { return !follows(p) }) {
			s.extents[kind] = whole
		}
	}
	if holds(own) && (len(affected) == 0 || s.extents[kind] == whole) {
		return []*pair{own}
	}
	s.extents[kind] = apart
	return affected
}

// report makes the findings anew.
func (s *scenario) report() {
	s.dirty = false
	s.findings = nil
	holds := func(p *pair) bool { return p.confirmed != nil }
	reported := s.extentOf(load.KindRegression, holds, func(p *pair) bool { return p.follows(s.own().confirmed) })
	for _, p := range reported {
		s.findings = append(s.findings, s.regression(p))
	}
	changed := func(p *pair) bool { return p.moved != nil }
	changes := s.extentOf(load.KindChange, changed, changed)
	if cur := s.own().current(); cur != nil {
		compared := true
		if len(reported) == 0 && (!slices.Contains(changes, s.own()) || !s.own().reopened()) {
			s.findings = append(s.findings, s.watched(cur))
			_, why := s.own().baseline()
			compared = why != whyFirst && why != whyAccepted
		}
		s.say(cur.release, compared)
	}
	for _, p := range changes {
		s.findings = append(s.findings, s.change(p))
	}
}

// say keeps what was last said of a release, which is nothing where it was not compared.
func (s *scenario) say(release string, compared bool) {
	s.said = slices.DeleteFunc(s.said, func(x statement) bool { return x.release == release })
	if !compared {
		return
	}
	s.said = append(s.said, statement{release, slices.Clone(s.findings)})
	s.said = s.said[max(0, len(s.said)-keptStatements):]
}

// name is what a pair is called in sentences.
func (s *scenario) name(p *pair) string {
	switch {
	case p.step == "":
		return s.Name
	case p.metric:
		return p.step + " of " + s.Name
	}
	return s.Name + "/" + p.step
}

// place is the step, or the metric of the scenario's own, that a pair is about.
func (p *pair) place() (step, metric string) {
	if p.metric {
		return "", p.step
	}
	return p.step, ""
}

// regression is the finding of a regression that holds.
func (s *scenario) regression(p *pair) load.Finding {
	st := p.confirmed
	step, own := p.place()
	f := load.Finding{
		ID: regressionID(s.Name, p.step, st.release), Kind: load.KindRegression, Verdict: load.Fail, Scenario: s.Name, Step: step, Metric: own, Target: p.target,
		Statistic: st.statistic, Release: st.release, Baseline: st.since, Since: st.at, Confidence: thresholds.Confidence, Unit: "ratio", Limit: load.Number(s.Margin),
	}
	r := p.latest(st.statistic)
	if r == nil {
		f.Value, f.Lower, f.Upper = load.Number(math.NaN()), load.Number(math.NaN()), load.Number(math.NaN())
		f.Sentence = fmt.Sprintf("%s of %s is worse since %s than in %s", label(st.statistic), s.name(p), st.release, st.since)
		f.Doubts = []string{"the release that runs now was not compared yet"}
		return f
	}
	f.Value, f.Lower, f.Upper = load.Number(r.change), load.Number(r.in.Lower), load.Number(r.in.Upper)
	f.Limit = load.Number(limit(r.statistic, r.before, s.Margin))
	var b strings.Builder
	if st.creep > 0 {
		f.Evidence = []load.Fact{{Name: "releases since the baseline", Value: load.Number(p.sinceAnchor)}}
	}
	cur := p.current()
	// What is no longer worse by the look of it is not said to be slower while the proof is under way.
	mending := cur.release != st.release && st.creep == 0 && !r.beyond
	if mending {
		fmt.Fprintf(&b, "%s of %s became worse with %s, and it is not proven yet that %s mends it: %s against %s (95 %% interval %s to %s)", label(r.statistic),
			s.name(p), st.release, cur.release, r.signed(r.change), st.since, r.signed(r.in.Lower), r.signed(r.in.Upper))
	} else {
		b.WriteString(r.sentence(s.name(p), st, p.sinceAnchor))
	}
	fmt.Fprintf(&b, ", over %.0f and %.0f %s", r.worth[0], r.worth[1], st.units())
	for _, other := range st.results {
		if other.statistic != r.statistic && other.beyond {
			fmt.Fprintf(&b, "; %s %s", label(other.statistic), other.signed(other.change))
		}
	}
	f.Evidence = append(r.facts(), f.Evidence...)
	for _, other := range st.results {
		if other.statistic != r.statistic {
			f.Evidence = append(f.Evidence, load.Fact{Name: "change of " + other.statistic, Value: load.Number(other.change), Unit: "ratio"})
		}
	}
	if p.step == "" {
		for _, step := range s.pairs[:len(s.pairs)-1] {
			if x := step.latest(r.statistic); x != nil {
				f.Evidence = append(f.Evidence, load.Fact{Name: "change of " + r.statistic + " of " + step.step, Value: load.Number(x.change), Unit: "ratio"})
			}
		}
	}
	switch {
	case cur.release == st.release || st.creep > 0 || mending:
	case st.compared != cur.release:
		fmt.Fprintf(&b, "; %s is not compared yet", cur.release)
	default:
		fmt.Fprintf(&b, "; %s did not mend it", cur.release)
	}
	f.Sentence = b.String()
	return f
}

// span says between which releases a regression lies; of one that crept, over how many releases.
func (st *confirmed) span(releases int) string {
	switch {
	case st.creep > 0 && st.baseline.accepted:
		return fmt.Sprintf("since the accepted release %s, in %d releases none of which was called worse than the one before it", st.since, releases)
	case st.creep > 0:
		return fmt.Sprintf("since the first release %s, in %d releases none of which was called worse than the one before it", st.since, releases)
	case st.since == st.release:
		return fmt.Sprintf("since %s than in %s when it was accepted", st.release, st.since)
	}
	return fmt.Sprintf("since %s than in %s", st.release, st.since)
}

// reopened says whether the change of a pair is a later slowdown of a release whose level was accepted.
func (p *pair) reopened() bool {
	cur := p.current()
	return p.moved != nil && cur != nil && cur.accepted && p.moved.at.After(cur.acceptedAt)
}

// latest is the latest result of a statistic, nil where it was not compared.
func (p *pair) latest(statistic string) *result {
	list := p.results
	if p.confirmed != nil {
		list = p.confirmed.results
	}
	for i := range list {
		if list[i].statistic == statistic {
			return &list[i]
		}
	}
	return nil
}

// units names what a comparison counts.
func (st *confirmed) units() string {
	if st.unit == runs {
		return "runs"
	}
	return fmt.Sprintf("intervals of %s at %s", amount.Span(st.length), amount.Of(st.requestsASecond, "per_second"))
}

// sentence says a change for the worse.
func (r *result) sentence(name string, st *confirmed, releases int) string {
	in := fmt.Sprintf("(95 %% interval %s to %s)", r.signed(r.in.Lower), r.signed(r.in.Upper))
	span := st.span(releases)
	if r.season {
		span += " at the same hours of day and week"
	}
	switch r.statistic {
	case errorRatio:
		if st.creep == 0 && st.since != st.release {
			return fmt.Sprintf("error ratio of %s is %s since %s and was %s in %s: %s %s", name, amount.Share(r.after), st.release, amount.Share(r.before), st.since, r.signed(r.change), in)
		}
		return fmt.Sprintf("error ratio of %s is higher %s: %s to %s, %s %s", name, span, amount.Share(r.before), amount.Share(r.after), r.signed(r.change), in)
	case rate:
		return fmt.Sprintf("rate of %s is %s lower %s: %s to %s %s", name, percent(-r.change), span, amount.Of(r.before, "per_second"), amount.Of(r.after, "per_second"), in)
	}
	return fmt.Sprintf("%s of %s is %s slower %s: %s to %s %s", r.statistic, name, percent(r.change), span, amount.Seconds(r.before), amount.Seconds(r.after), in)
}

// signed writes a change with its sign; of error ratios in points.
func (r *result) signed(change float64) string { return signed(r.statistic, change) }

func signed(statistic string, change float64) string {
	if statistic == errorRatio {
		return fmt.Sprintf("%+.2g points", 100*change)
	}
	return fmt.Sprintf("%+.*f %%", digits(change), 100*change)
}

// facts are the numbers behind a result.
func (r *result) facts() []load.Fact {
	unit := "seconds"
	switch r.statistic {
	case errorRatio:
		unit = "ratio"
	case rate:
		unit = "per_second"
	}
	return []load.Fact{
		{Name: "before", Value: load.Number(r.before), Unit: unit},
		{Name: "after", Value: load.Number(r.after), Unit: unit},
		{Name: "effective intervals before", Value: load.Number(r.worth[0])},
		{Name: "effective intervals after", Value: load.Number(r.worth[1])},
	}
}

// watched is the finding of a scenario in which nothing is proven to be worse.
func (s *scenario) watched(cur *deployment) load.Finding {
	p := s.own()
	nan := load.Number(math.NaN())
	f := load.Finding{
		ID: regressionID(s.Name, "", cur.release), Kind: load.KindRegression, Scenario: s.Name, Target: s.Target,
		Release: cur.release, Since: cur.start, Value: nan, Lower: nan, Upper: nan, Limit: load.Number(s.Margin), Confidence: thresholds.Confidence, Unit: "ratio",
	}
	base, why := p.baseline()
	if base == nil {
		f.Sentence, f.Needed = s.alone(cur, why)
		if why == whyObserver {
			f.Doubts = []string{"the observer changed"}
		}
		return f
	}
	f.Baseline = base.release
	f.Needed = p.nextLook(base)
	if len(p.results) == 0 {
		f.Sentence = fmt.Sprintf("%s of %s is not compared with %s yet", cur.release, s.Name, base.release)
		switch p.looked {
		case whyLoad:
			f.Doubts = []string{"the load was never equal in " + base.release}
		case whyHours:
			f.Doubts = []string{"hours like those since the release were not measured before it"}
		case whyFew:
			f.Doubts = []string{"intervals resemble their neighbours so much that they are worth too few"}
		}
		return f
	}
	s.compared(&f)
	return f
}

// alone says why a release is compared with none.
func (s *scenario) alone(cur *deployment, why string) (sentence, needed string) {
	switch why {
	case whyObserver:
		return fmt.Sprintf("the observer changed: %s of %s is measured by another perfd, machine, flow or workload than what was before", cur.release, s.Name),
			"another release that this observer measures"
	case whyAccepted:
		return fmt.Sprintf("the level of %s of %s was accepted: the next release is compared with it", cur.release, s.Name), "another release"
	}
	return fmt.Sprintf("%s is the first release of %s that was measured: there is nothing to compare it with", cur.release, s.Name), "another release"
}

// compared says what a comparison came to in which nothing is proven to be worse.
func (s *scenario) compared(f *load.Finding) {
	p := s.own()
	var said []string
	for _, r := range p.results {
		said = append(said, fmt.Sprintf("%s %s", label(r.statistic), r.signed(r.change)))
		f.Evidence = append(f.Evidence, load.Fact{Name: "change of " + r.statistic, Value: load.Number(r.change), Unit: "ratio"})
		if r.statistic == p95 {
			f.Statistic = p95
			f.Value, f.Lower, f.Upper = load.Number(r.change), load.Number(r.in.Lower), load.Number(r.in.Upper)
			f.Evidence = append(r.facts(), f.Evidence...)
		}
	}
	if slices.ContainsFunc(p.results, func(r result) bool { return r.unlike }) {
		f.Doubts = append(f.Doubts, "the same hours of the days and weeks before differ by as much or do not confirm it")
	}
	if p.latest(p99) == nil {
		f.Doubts = append(f.Doubts, "too few requests to compare p99")
	}
	var open []string
	for _, x := range s.pairs {
		if !x.passed() {
			open = append(open, s.name(x))
		}
	}
	numbers := strings.Join(said, ", ")
	if len(open) == 0 {
		f.Verdict, f.Needed = load.Pass, ""
		f.Sentence = fmt.Sprintf("%s of %s is no worse than %s: %s; every interval ends within %.3g %%", f.Release, s.Name, f.Baseline, numbers, 100*s.Margin)
		return
	}
	f.Sentence = fmt.Sprintf("%s of %s is neither proven to be worse than %s nor to be within %.3g %% of it: %s", f.Release, s.Name, f.Baseline, 100*s.Margin, numbers)
	f.Doubts = append(f.Doubts, "open: "+strings.Join(open, ", "))
}

// nextLook says what the next look takes.
func (p *pair) nextLook(base *deployment) string {
	cur := p.current()
	u := cur.unit(base)
	left := max(1, cur.next-cur.seen[u])
	if u == runs {
		if left == 1 {
			return "another run"
		}
		return fmt.Sprintf("%d more runs", left)
	}
	length := p.fine.length
	if b := cur.newest(u); b != nil {
		length = time.Duration(float64(b.seconds) * float64(time.Second))
	}
	return fmt.Sprintf("%d more intervals, about %s", left, amount.Span(time.Duration(left)*length))
}

// change is the finding of a change that no release explains.
func (s *scenario) change(p *pair) load.Finding {
	m := p.moved
	step, own := p.place()
	f := load.Finding{
		ID: changeID(s.Name, p.step, m.at), Kind: load.KindChange, Verdict: load.Fail, Scenario: s.Name, Step: step, Metric: own, Target: p.target, Statistic: m.statistic,
		Since: m.at, Value: load.Number(m.to(m.after)), Lower: load.Number(m.in.Lower), Upper: load.Number(m.in.Upper),
		Limit: load.Number(limit(m.statistic, m.before, s.Margin)), Confidence: thresholds.Confidence, Unit: "ratio",
	}
	r := result{statistic: m.statistic, before: m.before, after: m.after, change: m.to(m.after), in: m.in}
	f.Evidence = append(r.facts()[:2:2],
		load.Fact{Name: "points before", Value: load.Number(m.points[0])}, load.Fact{Name: "points after", Value: load.Number(m.points[1])})
	in := fmt.Sprintf("(95 %% interval %s to %s)", r.signed(m.in.Lower), r.signed(m.in.Upper))
	var levels string
	switch m.statistic {
	case errorRatio:
		levels = amount.Share(m.before) + " to " + amount.Share(m.after)
	case rate:
		levels = amount.Of(m.before, "per_second") + " to " + amount.Of(m.after, "per_second")
	default:
		levels = amount.Seconds(m.before) + " to " + amount.Seconds(m.after)
	}
	since := m.at.UTC().Format("2006-01-02 15:04 UTC")
	than := ""
	if m.season {
		than = " beside the same hours of the days and weeks before"
	}
	f.Evidence = append(f.Evidence, load.Fact{Name: "hours that have like hours before", Value: load.Number(m.hours)}, load.Fact{Name: "probability by chance", Value: load.Number(m.chance)})
	if p.reopened() {
		cur := p.current()
		f.ID, f.Kind, f.Release, f.Baseline = regressionID(s.Name, p.step, cur.release), load.KindRegression, cur.release, cur.release
		f.Sentence = fmt.Sprintf("%s of %s changed by %s%s at about %s, after %s was accepted on %s: %s %s, over %d and %d hours or runs",
			label(m.statistic), s.name(p), r.signed(r.change), than, since, cur.release, cur.acceptedAt.UTC().Format("2006-01-02 15:04 UTC"), levels, in, m.points[0], m.points[1])
		return f
	}
	f.Sentence = fmt.Sprintf("%s of %s changed by %s%s at about %s and no release explains it: %s %s, over %d and %d hours or runs",
		label(m.statistic), s.name(p), r.signed(r.change), than, since, levels, in, m.points[0], m.points[1])
	return f
}

// label is a statistic in a sentence.
func label(statistic string) string { return strings.ReplaceAll(statistic, "_", " ") }

// percent writes a change: of less precision than a share has, as it is an estimate.
func percent(x float64) string { return fmt.Sprintf("%.*f %%", digits(x), 100*x) }

// digits is how many decimals a share takes in per cent.
func digits(x float64) int {
	switch x = math.Abs(x); {
	case x >= 0.1 || x == 0:
		return 0
	case x >= 0.01:
		return 1
	}
	return 2
}
