// Package drift says whether latency or throughput of an endurance run drifts
// while it goes on: the same load, the same release, and slower every hour.
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
	mostBlocks  = 512 // of a run, of a minute each until there are more
	mostPoints  = 64  // of a trend
	leastPoints = 24
	leastTrack  = 4  // points between two interruptions that are to count
	leastEvents = 20 // of a block, for its percentiles to count

	practical = 0.05 // relative change over the run that matters
	alpha     = 0.01 // of a judgement of a whole run
	doublings = 12   // of a run under way, over which alpha is spread
	confident = 0.95

	varies    = 0.05 // of the load's mean: it is accounted for
	alongTime = 10   // inflation from which on load and time are not told apart
	day       = 86400.0

	keptRuns = 4 // of a scenario: the one under way, and those whose end is judged a window later
)

// An Analysis watches the runs of scenarios.
type Analysis struct {
	names     []string
	scenarios map[string]*scenario
}

var _ analysis.Analysis = (*Analysis)(nil)

// A scenario is its last runs, the newest last.
type scenario struct {
	runs    []*run
	running string // ID; empty where none is under way
}

// A statistic is what may drift.
type statistic struct {
	name, title, unit string
	sign              float64 // of what is worse
}

var statistics = [...]statistic{
	{"p50", "median response time", "seconds", 1},
	{"p95", "95th percentile of response times", "seconds", 1},
	{"rate", "throughput", "per_second", -1},
}

// latencies is how many of the statistics come first and are latencies; the last one is throughput.
const latencies = len(statistics) - 1

type run struct {
	id, release  string
	began, ended time.Time
	length       time.Duration // of blocks
	blocks       []block
	last         string // release of the last window
	pieces       int

	due     time.Time // of the next look
	results [len(statistics)]result
}

// A block is what came of a stretch of the run.
type block struct {
	start   time.Time
	piece   int // interruptions before
	seconds float64
	events  float64 // answers that percentiles are of
	values  [len(statistics)]float64
	asked   float64 // iterations per second of the plan, 0 where there is none
	ratio   float64 // iterations that started to those, 0 where there is none
	busy    float64 // VUs
}

// New returns an analysis that watches nothing.
func New() *Analysis { return &Analysis{scenarios: map[string]*scenario{}} }

// Configure says which scenarios are watched: those of endurance tests.
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

// Sample takes nothing.
func (a *Analysis) Sample(load.Sample) {}

// Event takes the end of runs.
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

// Window takes a scenario's own window.
func (a *Analysis) Window(w *load.Window) {
	s := a.scenarios[w.Scenario]
	if s == nil || w.Step != "" || w.Run == "" || w.Flags.Excluded() != "" || w.Iterations == nil || !w.End.After(w.Start) {
		return
	}
	i := slices.IndexFunc(s.runs, func(r *run) bool { return r.id == w.Run })
	if i < 0 {
		s.runs = append(s.runs, &run{id: w.Run, began: w.Start, length: time.Minute, last: w.Release})
		s.runs = s.runs[max(0, len(s.runs)-keptRuns):]
		i = len(s.runs) - 1
	}
	s.runs[i].add(w)
}

func (r *run) add(w *load.Window) {
	if w.Release != r.last || !r.ended.IsZero() && w.Start.Sub(r.ended) > 3*r.length {
		r.pieces++
	}
	r.last, r.release, r.ended = w.Release, w.Release, w.End
	long := w.End.Sub(w.Start).Seconds()
	b := block{
		start: w.Start, piece: r.pieces, seconds: long, events: float64(w.ResponseTime.Count()),
		asked: w.Planned / long, busy: w.Busy,
	}
	b.values = [...]float64{w.ResponseTime.Quantile(0.5).Seconds(), w.ResponseTime.Quantile(0.95).Seconds(), float64(w.Iterations.Started) / long}
	if b.asked > 0 {
		b.ratio = b.values[latencies] / b.asked
	}
	r.blocks = r.put(r.blocks, b)
	for len(r.blocks) > mostBlocks {
		r.length *= 2
		kept := r.blocks[:0]
		for _, b := range r.blocks {
			kept = r.put(kept, b)
		}
		r.blocks = kept
	}
}

// put folds b into the last block where both lie in the same stretch. Percentiles
// of a stretch are the mean of those in it, weighted by answers.
func (r *run) put(to []block, b block) []block {
	n := len(to)
	if n == 0 || to[n-1].piece != b.piece || !to[n-1].start.Truncate(r.length).Equal(b.start.Truncate(r.length)) {
		return append(to, b)
	}
	l := &to[n-1]
	for i := range l.values[:latencies] {
		l.values[i] = mixed(l.values[i], l.events, b.values[i], b.events)
	}
	for _, v := range [...]struct {
		to   *float64
		with float64
	}{{&l.values[latencies], b.values[latencies]}, {&l.asked, b.asked}, {&l.busy, b.busy}, {&l.ratio, b.ratio}} {
		*v.to = mixed(*v.to, l.seconds, v.with, b.seconds)
	}
	l.seconds += b.seconds
	l.events += b.events
	return to
}

// mixed is the mean of two values by their weights.
func mixed(a, weight, b, other float64) float64 {
	if weight+other == 0 {
		return 0
	}
	return (a*weight + b*other) / (weight + other)
}

// A result is what is known of one statistic of a run.
type result struct {
	verdict load.Verdict
	enough  bool
	missing string // where it is not enough

	trend  stats.Trend // per second, rising is worse
	span   float64     // seconds
	level  float64     // where it began
	change float64     // relative, over the span; rising is worse
	least  float64     // bounds of change
	most   float64
	better bool // proven, the other way
}

// judge looks at one statistic of a run.
func (r *run) judge(i int, alpha float64) result {
	tracks, loads := r.tracks(i)
	points := len(loads)
	if points < leastPoints {
		long := time.Duration(float64(leastPoints-points) * float64(max(r.length, r.ended.Sub(r.began)/mostPoints)))
		return result{missing: fmt.Sprintf("%d points, %d so far: about %s more", leastPoints, points, amount.Span(long))}
	}
	inflation := 1.0
	if mean := stats.Mean(loads); i < latencies && math.Sqrt(stats.Variance(loads)) > varies*mean {
		rest, wider, err := stats.WithoutCovariates(tracks, loads)
		if err != nil || wider > alongTime {
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
	x.change, x.least, x.most = x.trend.Slope*scale, x.trend.In.Lower*scale, x.trend.In.Upper*scale
	switch {
	case x.trend.Grows(alpha) && x.change >= practical:
		x.verdict = load.Fail
	case x.most < practical:
		x.verdict = load.Pass
		if x.change <= -practical {
			x.better = stats.FindTrend(turned(tracks), inflation).Grows(alpha)
		}
	}
	return x
}

// turned is tracks upside down.
func turned(tracks []stats.Track) []stats.Track {
	out := make([]stats.Track, len(tracks))
	for i, t := range tracks {
		out[i] = stats.Track{T: t.T, Y: slices.Clone(t.Y)}
		for j := range t.Y {
			out[i].Y[j] = -t.Y[j]
		}
	}
	return out
}

// tracks returns the course of a statistic between interruptions, turned so
// that rising is worse, in at most mostPoints points of as many blocks each, and what load there was.
func (r *run) tracks(i int) (tracks []stats.Track, loads []float64) {
	each := (len(r.blocks) + mostPoints - 1) / mostPoints
	piece := -1
	var t stats.Track
	var l []float64
	flush := func() {
		if len(t.T) >= leastTrack {
			tracks, loads = append(tracks, t), append(loads, l...)
		}
		t, l = stats.Track{}, nil
	}
	for at := 0; at < len(r.blocks); {
		if r.blocks[at].piece != piece {
			flush()
			piece = r.blocks[at].piece
		}
		var when, level, asked []float64
		for ; at < len(r.blocks) && r.blocks[at].piece == piece && len(when) < each; at++ {
			b := &r.blocks[at]
			if i < latencies && b.events < leastEvents {
				continue
			}
			when = append(when, float64(b.start.UnixNano())/1e9+b.seconds/2)
			level = append(level, b.level(i))
			asked = append(asked, b.load())
		}
		if len(when) > 0 {
			t.T, t.Y = append(t.T, stats.Mean(when)), append(t.Y, statistics[i].sign*stats.Median(level))
			l = append(l, stats.Mean(asked))
		}
	}
	flush()
	return tracks, loads
}

// level is the value of a statistic: throughput is relative to the plan where there is one.
func (b *block) level(i int) float64 {
	if i == latencies && b.ratio > 0 {
		return b.ratio
	}
	return b.values[i]
}

// load is what was asked of the target: arrivals per second, or VUs that were busy where users wait for answers.
func (b *block) load() float64 {
	if b.asked > 0 {
		return b.asked
	}
	return b.busy
}

// Judge says what is known of the runs under way.
func (a *Analysis) Judge(at time.Time) []load.Finding {
	var out []load.Finding
	for _, name := range a.names {
		r := a.scenarios[name].current()
		if r == nil {
			continue
		}
		r.look(at)
		for i := range statistics {
			out = append(out, r.finding(name, i, r.results[i], at))
		}
	}
	return out
}

// current is the run under way, nil where there is none or nothing of it counted.
func (s *scenario) current() *run {
	if n := len(s.runs); n > 0 && s.running != "" && s.runs[n-1].id == s.running {
		return s.runs[n-1]
	}
	return nil
}

// look judges the run if it has gone on by an eighth since.
func (r *run) look(at time.Time) {
	if at.Before(r.due) {
		return
	}
	r.due = at.Add(max(r.ended.Sub(r.began)/8, time.Minute))
	for i := range statistics {
		r.results[i] = r.judge(i, alpha/doublings)
	}
}

// Run says what is known of a run that ended.
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
		out = append(out, r.finding(e.Scenario, i, r.judge(i, alpha), at))
	}
	return out
}

func (r *run) finding(scenario string, i int, x result, at time.Time) load.Finding {
	s := statistics[i]
	f := load.Finding{
		ID: analysis.ID(load.KindDrift, scenario, r.id, s.name), Kind: load.KindDrift, Verdict: x.verdict,
		Scenario: scenario, Statistic: s.name, Run: r.id, Release: r.release,
		Since: r.began, Updated: at, Unit: "ratio", Limit: practical,
		Value: load.Number(math.NaN()), Lower: load.Number(math.NaN()), Upper: load.Number(math.NaN()),
	}
	if !x.enough {
		f.Sentence = fmt.Sprintf("whether the %s of %s drifts is not known yet", s.title, scenario)
		f.Needed = x.missing
		return f
	}
	// A finding's numbers have the statistic's own direction.
	change, low, high := s.sign*x.change, s.sign*x.least, s.sign*x.most
	low, high = min(low, high), max(low, high)
	f.Limit = load.Number(s.sign * practical)
	f.Value, f.Lower, f.Upper, f.Confidence = load.Number(change), load.Number(low), load.Number(high), confident
	f.Evidence = []load.Fact{
		{Name: "span", Value: load.Number(x.span), Unit: "seconds"},
		{Name: "points", Value: load.Number(x.trend.Points)},
		{Name: "pieces", Value: load.Number(r.pieces + 1)},
		{Name: "at the beginning", Value: load.Number(x.level), Unit: r.unit(i)},
		{Name: "change per day", Value: load.Number(s.sign * x.trend.Slope / x.level * day), Unit: "ratio"},
		{Name: "probability by chance", Value: load.Number(x.trend.P)},
		{Name: "widened for autocorrelation", Value: load.Number(x.trend.Factor)},
	}
	over := amount.Span(time.Duration(x.span * 1e9))
	bounds := fmt.Sprintf("(95 %% interval %+.1f to %+.1f %%)", 100*low, 100*high)
	switch x.verdict {
	case load.Fail:
		f.Sentence = fmt.Sprintf("%s of %s drifted by %+.1f %% over %s %s", s.title, scenario, 100*change, over, bounds)
	case load.Pass:
		f.Sentence = fmt.Sprintf("%s of %s got no worse by %.0f %% over %s: it changed by %+.1f %% %s", s.title, scenario, 100*practical, over, 100*change, bounds)
	default:
		f.Sentence = fmt.Sprintf("whether the %s of %s drifts is not known: it changed by %+.1f %% over %s %s%s", s.title, scenario, 100*change, over, bounds, objection(x.trend))
		f.Needed = fmt.Sprintf("about %s more of the same load", over)
	}
	return f
}

// objection says why a change is not taken for drift.
func objection(t stats.Trend) string {
	switch t.Shape {
	case stats.Steps:
		return ", in steps rather than steadily"
	case stats.Slowing:
		return ", more and more slowly"
	}
	if t.P < alpha && t.Late < t.Slope/2 {
		return ", less in its later half"
	}
	return ""
}

func (r *run) unit(i int) string {
	if i == latencies && len(r.blocks) > 0 && r.blocks[len(r.blocks)-1].ratio > 0 {
		return "ratio"
	}
	return statistics[i].unit
}

// Collect sends the drift of the runs under way.
func (a *Analysis) Collect(send analysis.Send) {
	for _, name := range a.names {
		r := a.scenarios[name].current()
		if r == nil {
			continue
		}
		for i, s := range statistics {
			perDay := 0.0
			if x := r.results[i]; x.verdict == load.Fail || x.better {
				perDay = s.sign * x.trend.Slope / x.level * day
			}
			send(metric.DriftRatio, perDay, name, s.name)
		}
	}
}
