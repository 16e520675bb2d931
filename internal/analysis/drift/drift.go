// Package drift finds endurance runs whose latency or throughput gets steadily
// worse under the same load and on the same release.
//
// A run is folded into blocks of a minute or more. The points of a trend are
// medians of consecutive blocks between interruptions; the effect of a load that
// varies is taken out (stats.WithoutCovariates), and what is left is searched for
// a trend that lasts to the end (stats.FindTrend). It fails where the change is
// significant and larger than Thresholds.Practical.
package drift

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/stats"
)

const (
	confidence    = 0.95 // of stats.Trend.In
	secondsPerDay = 86400.0
)

// An Analysis watches the runs of endurance tests. It implements analysis.Analysis.
type Analysis struct {
	thresholds Thresholds
	names      []string
	scenarios  map[string]*scenario
}

var _ analysis.Analysis = (*Analysis)(nil)

// A scenario holds the last runs, the newest last.
type scenario struct {
	runs    []*run
	running string // ID of the run under way; empty where there is none
}

// A statistic is one quantity of a run that may drift.
type statistic struct {
	name, title, unit string
	sign              float64 // 1 where a rise is worse, -1 where a fall is
}

var statistics = [...]statistic{
	{"p50", "median response time", "seconds", 1},
	{"p95", "95th percentile of response times", "seconds", 1},
	{"rate", "throughput", "per_second", -1},
}

// latencies is the number of statistics that are latencies: all but the last one,
// which is throughput.
const latencies = len(statistics) - 1

// A run is what is known of one run of a scenario.
type run struct {
	thresholds   *Thresholds
	id, release  string        // release is that of the last window
	began, ended time.Time     // of the windows that count
	length       time.Duration // of a block
	blocks       []block
	tracks       int // the number of interruptions so far

	due     time.Time // when the run is judged again
	results [len(statistics)]result
}

// A block is one stretch of a run, folded.
type block struct {
	start   time.Time
	track   int                      // number of interruptions before it
	seconds float64                  // length of what counts
	answers float64                  // number of response times that the percentiles are of
	values  [len(statistics)]float64 // seconds, seconds, iterations per second
	planned float64                  // iterations per second; 0 where the workload is closed
	ratio   float64                  // of started to planned iterations; 0 where none are planned
	busy    float64                  // mean number of VUs that waited for answers
}

// New returns an analysis of no scenario, with DefaultThresholds.
func New() *Analysis {
	return &Analysis{thresholds: DefaultThresholds(), scenarios: map[string]*scenario{}}
}

// Configure watches the scenarios of endurance tests. Runs of those that are watched already are kept.
func (a *Analysis) Configure(d *analysis.Description) {
	old := a.scenarios
	a.names, a.scenarios = nil, map[string]*scenario{}
	for _, s := range d.Scenarios {
		if s.Test != analysis.EnduranceTest {
			continue
		}
		a.names = append(a.names, s.Name)
		if a.scenarios[s.Name] = old[s.Name]; a.scenarios[s.Name] == nil {
			a.scenarios[s.Name] = new(scenario)
		}
	}
}

// Sample does nothing: resources are no part of drift.
func (a *Analysis) Sample(load.Sample) {}

// Event notes which run is under way.
func (a *Analysis) Event(e load.Event) {
	s := a.scenarios[e.Scenario]
	if s == nil {
		return
	}
	switch e.Kind {
	case load.RunBegan:
		s.running = e.Run
	case load.RunEnded:
		if s.running == e.Run {
			s.running = ""
		}
	}
}

// Window adds a scenario's own window to its run. Windows that are excluded, or
// belong to no run, are left out.
func (a *Analysis) Window(w *load.Window) {
	s := a.scenarios[w.Scenario]
	if s == nil || w.Step != "" || w.Run == "" || w.Flags.Excluded() != "" || w.Iterations == nil || !w.End.After(w.Start) {
		return
	}
	i := slices.IndexFunc(s.runs, func(r *run) bool { return r.id == w.Run })
	if i < 0 {
		s.runs = append(s.runs, &run{thresholds: &a.thresholds, id: w.Run, release: w.Release, began: w.Start, length: a.thresholds.Block})
		s.runs = s.runs[max(0, len(s.runs)-a.thresholds.Runs):]
		i = len(s.runs) - 1
	}
	s.runs[i].add(w)
}

func (r *run) add(w *load.Window) {
	if w.Release != r.release || !r.ended.IsZero() && w.Start.Sub(r.ended) > time.Duration(r.thresholds.Gap)*r.length {
		r.tracks++
	}
	r.release, r.ended = w.Release, w.End
	seconds := w.End.Sub(w.Start).Seconds()
	b := block{
		start: w.Start, track: r.tracks, seconds: seconds, answers: float64(w.ResponseTime.Count()),
		planned: w.Planned / seconds, busy: w.Busy,
	}
	b.values = [...]float64{w.ResponseTime.Quantile(0.5).Seconds(), w.ResponseTime.Quantile(0.95).Seconds(), float64(w.Iterations.Started) / seconds}
	if b.planned > 0 {
		b.ratio = b.values[latencies] / b.planned
	}
	r.blocks = r.fold(r.blocks, b)
	for len(r.blocks) > r.thresholds.MaxBlocks {
		r.length *= 2
		kept := r.blocks[:0]
		for _, b := range r.blocks {
			kept = r.fold(kept, b)
		}
		r.blocks = kept
	}
}

// fold adds b to the last block where both lie in the same stretch of r.length,
// and appends it otherwise. A percentile of a stretch is the mean of those in it,
// weighted by answers.
func (r *run) fold(to []block, b block) []block {
	n := len(to)
	if n == 0 || to[n-1].track != b.track || !to[n-1].start.Truncate(r.length).Equal(b.start.Truncate(r.length)) {
		return append(to, b)
	}
	l := &to[n-1]
	for i := range l.values[:latencies] {
		l.values[i] = weighted(l.values[i], l.answers, b.values[i], b.answers)
	}
	for _, v := range [...]struct {
		to   *float64
		with float64
	}{{&l.values[latencies], b.values[latencies]}, {&l.planned, b.planned}, {&l.busy, b.busy}, {&l.ratio, b.ratio}} {
		*v.to = weighted(*v.to, l.seconds, v.with, b.seconds)
	}
	l.seconds += b.seconds
	l.answers += b.answers
	return to
}

// weighted returns the mean of x and y with the weights wx and wy, 0 where both weights are 0.
func weighted(x, wx, y, wy float64) float64 {
	if wx+wy == 0 {
		return 0
	}
	return (x*wx + y*wy) / (wx + wy)
}

// A result is what is known of one statistic of a run.
type result struct {
	verdict load.Verdict
	enough  bool
	missing string // what is needed where there is not enough

	// Rising is worse in all of them.
	trend  stats.Trend    // per second
	span   float64        // seconds from the first to the last point
	level  float64        // the level where the run began
	change float64        // over the span, relative to level
	in     stats.Interval // of change
	better bool           // an improvement is proven
}

// judge looks for a trend in statistic i of a run at significance alpha.
func (r *run) judge(i int, alpha float64) result {
	h := r.thresholds
	tracks, loads := r.points(i)
	if points := len(loads); points < h.MinPoints {
		more := time.Duration(float64(h.MinPoints-points) * float64(max(r.length, r.ended.Sub(r.began)/time.Duration(h.MaxPoints))))
		return result{missing: fmt.Sprintf("%d points, %d so far: about %s more", h.MinPoints, points, amount.Span(more))}
	}
	inflation := 1.0
	if mean := stats.Mean(loads); i < latencies && math.Sqrt(stats.Variance(loads)) > h.LoadVaries*mean {
		rest, wider, err := stats.WithoutCovariates(tracks, loads)
		if err != nil || wider > h.MaxInflation {
			return result{missing: "load that goes up and down, or stays: it changed along with time"}
		}
		tracks, inflation = rest, wider
	}
	x := result{enough: true, trend: stats.FindTrend(tracks, inflation)}
	x.span = x.trend.Span
	x.level = math.Abs(x.trend.Level)
	if x.level == 0 || x.span == 0 {
		return result{missing: "a level above 0"}
	}
	scale := x.span / x.level
	x.change, x.in = x.trend.Slope*scale, stats.Interval{Lower: x.trend.In.Lower * scale, Upper: x.trend.In.Upper * scale}
	switch {
	case x.trend.Grows(alpha) && x.change >= h.Practical:
		x.verdict = load.Fail
	case x.in.Upper < h.Practical:
		x.verdict = load.Pass
		if x.change <= -h.Practical {
			x.better = stats.FindTrend(negated(tracks), inflation).Grows(alpha)
		}
	}
	return x
}

// negated returns the tracks with the opposite sign.
func negated(tracks []stats.Track) []stats.Track {
	out := make([]stats.Track, len(tracks))
	for i, t := range tracks {
		out[i] = stats.Track{T: t.T, Y: slices.Clone(t.Y)}
		for j := range t.Y {
			out[i].Y[j] = -t.Y[j]
		}
	}
	return out
}

// points returns statistic i of a run, one track between two interruptions each,
// with the sign that makes rising worse, and the load at each point. A point is the
// median of as many consecutive blocks as keep the points within MaxPoints.
func (r *run) points(i int) (tracks []stats.Track, loads []float64) {
	h := r.thresholds
	each := (len(r.blocks) + h.MaxPoints - 1) / h.MaxPoints
	track := -1
	var t stats.Track
	var l []float64
	flush := func() {
		if len(t.T) >= h.MinTrack {
			tracks, loads = append(tracks, t), append(loads, l...)
		}
		t, l = stats.Track{}, nil
	}
	for at := 0; at < len(r.blocks); {
		if r.blocks[at].track != track {
			flush()
			track = r.blocks[at].track
		}
		var when, level, load []float64
		for ; at < len(r.blocks) && r.blocks[at].track == track && len(when) < each; at++ {
			b := &r.blocks[at]
			if i < latencies && b.answers < h.MinAnswers {
				continue
			}
			when = append(when, float64(b.start.UnixNano())/1e9+b.seconds/2)
			level = append(level, b.level(i))
			load = append(load, b.load())
		}
		if len(when) > 0 {
			t.T, t.Y = append(t.T, stats.Mean(when)), append(t.Y, statistics[i].sign*stats.Median(level))
			l = append(l, stats.Mean(load))
		}
	}
	flush()
	return tracks, loads
}

// level returns the value of statistic i. Throughput is relative to what was
// planned where there is a plan, so that a changing plan is no drift.
func (b *block) level(i int) float64 {
	if i == latencies && b.ratio > 0 {
		return b.ratio
	}
	return b.values[i]
}

// load returns the load on the target: planned arrivals per second, or busy VUs in a closed model.
func (b *block) load() float64 {
	if b.planned > 0 {
		return b.planned
	}
	return b.busy
}

// Judge returns a finding for each statistic of the runs under way.
func (a *Analysis) Judge(at time.Time) []load.Finding {
	var out []load.Finding
	for _, name := range a.names {
		r := a.scenarios[name].current()
		if r == nil {
			continue
		}
		r.update(at)
		for i := range statistics {
			out = append(out, r.finding(name, i, r.results[i], at))
		}
	}
	return out
}

// current returns the run under way, nil where there is none or none of its windows counted.
func (s *scenario) current() *run {
	if n := len(s.runs); n > 0 && s.running != "" && s.runs[n-1].id == s.running {
		return s.runs[n-1]
	}
	return nil
}

// update judges the run again once it is longer by an eighth.
func (r *run) update(at time.Time) {
	if at.Before(r.due) {
		return
	}
	r.due = at.Add(max(r.ended.Sub(r.began)/8, time.Minute))
	for i := range statistics {
		r.results[i] = r.judge(i, r.thresholds.Alpha/r.thresholds.Looks)
	}
}

// Run returns a finding for each statistic of a run that ended.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	s := a.scenarios[e.Scenario]
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.runs, func(r *run) bool { return r.id == e.Run })
	if i < 0 {
		return nil
	}
	r := s.runs[i]
	var out []load.Finding
	for i := range statistics {
		out = append(out, r.finding(e.Scenario, i, r.judge(i, a.thresholds.Alpha), at))
	}
	return out
}

func (r *run) finding(scenario string, i int, x result, at time.Time) load.Finding {
	s := statistics[i]
	f := load.Finding{
		ID: analysis.ID(load.KindDrift, scenario, r.id, s.name), Kind: load.KindDrift, Verdict: x.verdict,
		Scenario: scenario, Statistic: s.name, Run: r.id, Release: r.release,
		Since: r.began, Updated: at, Unit: "ratio", Limit: load.Number(r.thresholds.Practical),
		Value: load.Number(math.NaN()), Lower: load.Number(math.NaN()), Upper: load.Number(math.NaN()),
	}
	if !x.enough {
		f.Sentence = fmt.Sprintf("whether the %s of %s drifts is not known yet", s.title, scenario)
		f.Needed = x.missing
		return f
	}
	// The numbers of a finding have the sign of the statistic itself.
	change, low, high := s.sign*x.change, s.sign*x.in.Lower, s.sign*x.in.Upper
	low, high = min(low, high), max(low, high)
	f.Limit = load.Number(s.sign * r.thresholds.Practical)
	f.Value, f.Lower, f.Upper, f.Confidence = load.Number(change), load.Number(low), load.Number(high), confidence
	f.Evidence = []load.Fact{
		{Name: "span", Value: load.Number(x.span), Unit: "seconds"},
		{Name: "points", Value: load.Number(x.trend.Points)},
		{Name: "pieces", Value: load.Number(r.tracks + 1)},
		{Name: "at the beginning", Value: load.Number(x.level), Unit: r.unit(i)},
		{Name: "change per day", Value: load.Number(s.sign * x.trend.Slope / x.level * secondsPerDay), Unit: "ratio"},
		{Name: "probability by chance", Value: load.Number(x.trend.P)},
		{Name: "widened for autocorrelation", Value: load.Number(x.trend.Factor)},
	}
	over := amount.Span(time.Duration(x.span * 1e9))
	bounds := fmt.Sprintf("(95 %% interval %+.1f to %+.1f %%)", 100*low, 100*high)
	switch x.verdict {
	case load.Fail:
		f.Sentence = fmt.Sprintf("%s of %s drifted by %+.1f %% over %s %s", s.title, scenario, 100*change, over, bounds)
	case load.Pass:
		f.Sentence = fmt.Sprintf("%s of %s got no worse by %.0f %% over %s: it changed by %+.1f %% %s", s.title, scenario, 100*r.thresholds.Practical, over, 100*change, bounds)
	default:
		f.Sentence = fmt.Sprintf("whether the %s of %s drifts is not known: it changed by %+.1f %% over %s %s%s", s.title, scenario, 100*change, over, bounds, r.objection(x.trend))
		f.Needed = fmt.Sprintf("about %s more of the same load", over)
	}
	return f
}

// objection says why a change is not called drift.
func (r *run) objection(t stats.Trend) string {
	switch t.Shape {
	case stats.Steps:
		return ", in steps rather than steadily"
	case stats.Slowing:
		return ", more and more slowly"
	}
	if t.P < r.thresholds.Alpha && t.Late < t.Slope/2 {
		return ", less in its later half"
	}
	return ""
}

// unit returns the unit of level(i).
func (r *run) unit(i int) string {
	if i == latencies && len(r.blocks) > 0 && r.blocks[len(r.blocks)-1].ratio > 0 {
		return "ratio"
	}
	return statistics[i].unit
}

// Collect sends the proven drift of the runs under way, relative to the level at their beginning, per day.
func (a *Analysis) Collect(send analysis.Send) {
	for _, name := range a.names {
		r := a.scenarios[name].current()
		if r == nil {
			continue
		}
		for i, s := range statistics {
			x := r.results[i]
			for v := range load.NumVerdicts {
				send(metric.DriftVerdict, analysis.Number(v == x.verdict), name, s.name, v.String())
			}
			switch {
			case x.verdict == load.Fail || x.better:
				send(metric.DriftRatio, s.sign*x.trend.Slope/x.level*secondsPerDay, name, s.name)
			case x.verdict == load.Pass:
				send(metric.DriftRatio, 0, name, s.name)
			}
		}
	}
}
