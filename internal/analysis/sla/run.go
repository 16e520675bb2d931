package sla

import (
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/objective"
	"github.com/perfd/perfd/internal/stats"
)

// A run holds what an objective counted in one run.
type run struct {
	id          string
	began       time.Time
	events, bad float64
	counted     time.Duration
	excluded    map[string]time.Duration

	windows, minutes dispersion     // over windows, and over intervals
	rates            moments        // of intervals
	open             count          // the interval under way
	times            hist.Histogram // response times, where latency is set
	latency          bool           // the objective is about response times
}

// runOf returns the run of an ID, a new one that nothing refers to for windows
// outside of runs.
func (c *clause) runOf(id string) *run {
	if i := slices.IndexFunc(c.runs, func(r *run) bool { return r.id == id }); i >= 0 {
		return c.runs[i]
	}
	r := &run{id: id, latency: c.Kind == objective.Latency}
	if id != "" {
		c.runs = append(c.runs[max(0, len(c.runs)-defaults.Runs+1):], r)
	}
	return r
}

// begin sets the beginning of the run to an instant, if it is the first.
func (r *run) begin(at time.Time) {
	if r.began.IsZero() {
		r.began = at
	}
}

// exclude adds the scenario's own window to what does not count, for a reason.
func (r *run) exclude(own *load.Window, reason string) {
	if r.id == "" {
		return
	}
	r.begin(own.Start)
	if r.excluded == nil {
		r.excluded = map[string]time.Duration{}
	}
	r.excluded[reason] += own.End.Sub(own.Start)
}

// add adds the events of a window. Own is the scenario's own window, w that of the
// objective's step.
func (r *run) add(own, w *load.Window, events, bad float64) {
	if r.id == "" {
		return
	}
	r.begin(own.Start)
	r.events += events
	r.bad += bad
	r.counted += own.End.Sub(own.Start)
	r.windows.add(bad, events)
	if r.latency {
		r.times.Merge(w.ResponseTime)
	}
	if minute := own.Start.Truncate(defaults.Interval); !minute.Equal(r.open.start) {
		r.fold()
		r.open = count{start: minute}
	}
	r.open.events += events
	r.open.bad += bad
	r.open.counted += own.End.Sub(own.Start)
}

// fold ends the interval under way.
func (r *run) fold() {
	if r.open.counted == 0 {
		return
	}
	r.minutes.add(r.open.bad, r.open.events)
	if r.open.counted >= defaults.Interval/2 {
		r.rates.add(r.open.events/r.open.counted.Seconds(), 1)
	}
	r.open = count{}
}

// tally returns the evidence of the run. It is looked at once, so that the exact
// interval for one look applies.
func (r *run) tally() tally {
	r.fold()
	effect, known := r.windows.effect()
	if byMinute, n := r.minutes.effect(); n >= defaults.RunMinutes {
		effect, known = max(effect, byMinute), n
	}
	t := tally{events: r.events, bad: r.bad, effect: effect, since: r.began, intervals: int(known + 0.5), value: math.NaN()}
	if r.events > 0 {
		t.value = r.bad / r.events
	}
	t.in = stats.ClopperPearson(r.bad/effect, r.events/effect, confidence)
	return t
}

// rateTally returns the mean rate of the run's intervals, with Student's interval.
func (r *run) rateTally() tally {
	r.fold()
	t := tally{events: r.events, effect: 1, since: r.began, intervals: int(r.rates.n), value: math.NaN(), in: stats.Interval{Lower: 0, Upper: math.Inf(1)}}
	if r.counted > 0 {
		t.value = r.events / r.counted.Seconds()
	}
	if n := r.rates.n; n > 1 {
		half := r.rates.deviation() / math.Sqrt(n) * distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile((1+confidence)/2)
		t.value = r.rates.mean()
		t.in = stats.Interval{Lower: max(0, t.value-half), Upper: t.value + half}
	}
	return t
}

// ofRun returns the finding on one run.
func (c *clause) ofRun(s *scenario, e load.Event, at time.Time) load.Finding {
	r := &run{id: e.Run, began: e.At}
	if i := slices.IndexFunc(c.runs, func(r *run) bool { return r.id == e.Run }); i >= 0 && e.Run != "" {
		r = c.runs[i]
	}
	t := r.tally()
	if c.Kind == objective.Rate {
		t = r.rateTally()
	}
	verdict := load.Inconclusive
	var excluded time.Duration
	worst := ""
	for _, reason := range load.ExcludedReasons {
		d := r.excluded[reason]
		excluded += d
		if d > 0 && (worst == "" || d > r.excluded[worst]) {
			worst = reason
		}
	}
	mostly := excluded > r.counted
	switch {
	case mostly:
	case c.proven(t, false):
		verdict = load.Fail
	case c.proven(t, true):
		verdict = load.Pass
	}
	f := c.about(s, verdict, at)
	f.ID = analysis.ID(load.KindObjective, c.Scenario, c.Name, e.Run)
	f.Run, f.Release, f.Since = e.Run, e.Release, t.since
	value, in := math.NaN(), stats.Interval{Lower: math.NaN(), Upper: math.NaN()}
	if c.Kind == objective.Latency && r.events > 0 {
		value, in = quantile(&r.times, r.events, c.Quantile, t.effect, load.ScaleOf(c.Unit))
	}
	c.judged(&f, t, value, in)
	f.Sentence = c.sentence(t, verdict)
	switch {
	case mostly:
		f.Sentence = fmt.Sprintf("%s: %s of %s do not count (mostly %s)", c.subject(), amount.Span(excluded), amount.Span(excluded+r.counted), worst)
		f.Needed = fmt.Sprintf("a run that counts: %s of %s do not (mostly %s)", amount.Span(excluded), amount.Span(excluded+r.counted), worst)
	case r.counted == 0:
		f.Sentence = c.subject() + ": nothing was measured that counts"
		f.Needed = "a run that counts"
	case verdict == load.Inconclusive:
		f.Needed = c.neededOfRun(t)
	}
	if t.events > 0 && float64(t.intervals) < defaults.RunIntervals {
		f.Doubts = append(f.Doubts, fmt.Sprintf("%d intervals: how bad events cluster is hardly known", t.intervals))
	}
	return f
}

// proven reports whether the interval of t lies on the good side of the limit, or on the bad one.
func (c *clause) proven(t tally, good bool) bool {
	switch {
	case t.events == 0 && c.Kind != objective.Rate:
		return false
	case c.Kind == objective.Rate && good:
		return t.in.Lower > c.Limit
	case c.Kind == objective.Rate:
		return t.in.Upper < c.Limit
	case good:
		return t.in.Upper <= c.Budget()
	}
	return t.in.Lower > c.Budget()
}

// neededOfRun writes how many events a run needs to prove a share such as this
// one's with a power of 80 %.
func (c *clause) neededOfRun(t tally) string {
	if c.Kind == objective.Rate || t.events == 0 {
		return "a longer run"
	}
	n := stats.SampleSize(t.value, c.Budget(), defaults.Alpha/2, 0.8) * t.effect
	if math.IsInf(n, 1) || n > t.events*1e5 {
		return "the value is too near the limit for a longer run to settle it"
	}
	return fmt.Sprintf("a run of about %s %s", atLeast(max(n, t.events)), c.words().events)
}
