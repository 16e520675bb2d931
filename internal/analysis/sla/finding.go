package sla

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/objective"
	"github.com/perfd/perfd/internal/stats"
)

// words are the parts of a sentence about a kind of objective.
type words struct {
	of         string // before the place: "error ratio of"
	fail, pass string // before the limit
	events     string
	bad        string // what bad events did, after events
}

var wordsOf = map[objective.Kind]words{
	objective.Latency:      {fail: "is over", pass: "is within", events: "requests", bad: "took longer or failed"},
	objective.ErrorRatio:   {of: "error ratio", fail: "is over", pass: "is within", events: "requests", bad: "failed"},
	objective.Availability: {of: "availability", fail: "is under", pass: "is at least", events: "requests", bad: "had no answer or a 5xx"},
	objective.CheckRatio:   {of: "check ratio", fail: "is under", pass: "is at least", events: "checks", bad: "did not hold"},
	objective.Rate:         {of: "rate", fail: "is under", pass: "is at least", events: "requests"},
	objective.MetricRatio:  {fail: "is under", pass: "is at least", events: "events", bad: "did not hold"},
}

// words returns the words of the clause's kind; a trend of the scenario's own has values instead of requests.
func (c *clause) words() words {
	w := wordsOf[c.Kind]
	if c.Metric && c.Kind == objective.Latency {
		w.events, w.bad = "values", "took longer"
		if c.Unit != objective.Seconds {
			w.bad = "were larger"
		}
	}
	return w
}

// finding returns what is known of the objective at an instant, and keeps what
// Collect sends.
func (c *clause) finding(s *scenario, at time.Time) load.Finding {
	core := c.test.state()
	now := c.test.tally()
	verdict := c.verdict(at)
	t := now
	if verdict != load.Inconclusive {
		t = core.proof
	}
	recent := c.recent.over(at)
	f := c.about(s, verdict, at)
	f.Release, f.Since = c.release, t.since
	if f.Since.IsZero() {
		f.Since = at
	}
	window, in := c.value(recent, now.effect, at)
	c.judged(&f, t, window, in)
	c.shown.verdict, c.shown.value = verdict, window
	c.shown.evidence, c.shown.remaining = now.events/max(1, now.effect), c.budget.remaining(c.Budget(), at)

	if c.shown.sentence == "" || c.shown.said != t || c.shown.about != verdict {
		c.shown.said, c.shown.about, c.shown.sentence = t, verdict, c.sentence(t, verdict)
	}
	f.Sentence = c.shown.sentence
	switch {
	case c.last.IsZero():
		f.Sentence = c.subject() + ": nothing was measured that counts" + c.excluded()
	case core.verdict == load.Pass && verdict == load.Inconclusive:
		f.Sentence = fmt.Sprintf("%s: nothing was measured that counts since %s%s, and no data is no pass", c.subject(), clock(c.last), c.excluded())
		f.Needed = "load that counts"
	case verdict == load.Fail && now.events > 0 && c.good(now.value):
		f.Doubts = append(f.Doubts, fmt.Sprintf("since %s it is %s, which does not prove a recovery yet", clock(now.since), c.counted(now)))
	}
	if verdict == load.Inconclusive && f.Needed == "" {
		f.Needed = c.needed(now)
	}
	if t.events > 0 && t.intervals < defaults.FirstLook {
		f.Doubts = append(f.Doubts, minutes(float64(t.intervals))+" of evidence: how bad events cluster is hardly known")
	}
	if recent.excluded > recent.counted {
		f.Doubts = append(f.Doubts, fmt.Sprintf("%v of the last %v do not count%s", recent.excluded, recent.excluded+recent.counted, c.excluded()))
	}
	return f
}

// about returns a finding without numbers and sentence.
func (c *clause) about(s *scenario, v load.Verdict, at time.Time) load.Finding {
	step, own := c.place()
	f := load.Finding{
		ID: c.id, Kind: load.KindObjective, Verdict: v, Scenario: s.Name, Step: step, Metric: own, Target: c.Target,
		Objective: c.Name, Statistic: c.statistic(), Updated: at,
		Limit: load.Number(c.Limit), Unit: c.Unit, Confidence: confidence,
	}
	if c.Kind == objective.Latency && s.Model == "closed" {
		f.Doubts = append(f.Doubts, "closed model: not corrected for coordinated omission")
	}
	return f
}

// place returns the step, or the metric of the scenario's own, that the objective is about; none for the scenario as a whole.
func (c *clause) place() (step, own string) {
	if c.Metric {
		return "", c.Step
	}
	return c.Step, ""
}

// judged sets the numbers of a finding. For a latency they are its quantile value
// and the interval in, and the share that was tested is evidence; for others they
// are those of the tally that was tested, and value is evidence.
func (c *clause) judged(f *load.Finding, t tally, value float64, in stats.Interval) {
	f.Evidence = make([]load.Fact, 0, 9)
	fact := func(name string, v float64, unit string) {
		f.Evidence = append(f.Evidence, load.Fact{Name: name, Value: load.Number(v), Unit: unit})
	}
	fact("events", t.events, "")
	if c.Kind != objective.Rate {
		fact("bad", t.bad, "")
		fact("effective events", t.events/max(1, t.effect), "")
		fact("design effect", t.effect, "")
	}
	fact("intervals", float64(t.intervals), "")
	if t.epoch > 0 { // a run has none
		fact("epoch", float64(t.epoch), "")
	}
	if c.Kind == objective.Latency {
		if t.events > 0 {
			fact("share over the limit", t.value, objective.Ratio)
			fact("share over the limit, lower", t.in.Lower, objective.Ratio)
			fact("share over the limit, upper", t.in.Upper, objective.Ratio)
		}
		f.Value, f.Lower, f.Upper = load.Number(value), load.Number(in.Lower), load.Number(in.Upper)
		if math.Abs(value-c.Limit) < 0.01*c.Limit {
			f.Doubts = append(f.Doubts, "the percentile is read within 0.8 %; the share over the limit is exact")
		}
		return
	}
	if !math.IsNaN(value) {
		fact("over "+block.Duration(c.Window).String(), value, c.Unit)
	}
	f.Value, f.Lower, f.Upper = load.Number(c.share(t.value)), load.Number(c.share(t.in.Lower)), load.Number(c.share(t.in.Upper))
	if f.Lower > f.Upper {
		f.Lower, f.Upper = f.Upper, f.Lower
	}
}

// value returns the objective's value over its window in its own unit, NaN where
// nothing was measured, and for a latency its interval.
func (c *clause) value(recent count, effect float64, at time.Time) (float64, stats.Interval) {
	switch {
	case c.Kind == objective.Rate && recent.counted > 0:
		return recent.events / recent.counted.Seconds(), stats.Interval{}
	case c.Kind == objective.Rate || recent.events == 0:
		return math.NaN(), stats.Interval{Lower: math.NaN(), Upper: math.NaN()}
	case c.Kind == objective.Latency:
		return quantile(c.times(at), recent.events, c.Quantile, effect, load.ScaleOf(c.Unit))
	}
	return c.share(recent.bad / recent.events), stats.Interval{}
}

// quantile returns the q-quantile as a value of a scale, and its interval: the quantiles at
// the bounds of the interval of q itself. Events that are not in the histogram had
// no answer and count as infinitely slow. Effect is the design effect.
func quantile(h *hist.Histogram, events, q, effect float64, scale load.Scale) (float64, stats.Interval) {
	at := func(q float64) float64 {
		if h == nil || q*events > float64(h.Count()) {
			return math.Inf(1)
		}
		return scale.Value(int64(h.Quantile(q * events / float64(h.Count()))))
	}
	n := events / max(1, effect)
	in := stats.Wilson(q*n, n, confidence)
	return at(q), stats.Interval{Lower: at(in.Lower), Upper: at(in.Upper)}
}

// good reports whether the value of a tally meets the objective.
func (c *clause) good(value float64) bool {
	if c.Kind == objective.Rate {
		return value >= c.Limit
	}
	return value <= c.Budget()
}

// events names what the objective counts: iterations for the rate of a whole scenario.
func (c *clause) events() string {
	if c.Kind == objective.Rate && c.Step == "" {
		return "iterations"
	}
	return c.words().events
}

// statistic returns the name of the statistic that the objective is about.
func (c *clause) statistic() string {
	if c.Kind == objective.Latency {
		return "p" + strconv.FormatFloat(math.Round(c.Quantile*1e8)/1e6, 'g', -1, 64)
	}
	return string(c.Kind)
}

// subject returns the subject of the sentence: "p95 of shop/login", or "login_success of
// shop" for a metric of the scenario's own.
func (c *clause) subject() string {
	of := wordsOf[c.Kind].of
	switch {
	case c.Kind == objective.Latency:
		of = c.statistic()
	case c.Check != "":
		of = strconv.Quote(c.Check)
	}
	place := c.Scenario
	switch {
	case c.Metric:
		place = c.Step + " of " + c.Scenario
	case c.Step != "":
		place += "/" + c.Step
	}
	if of == "" {
		return place
	}
	return of + " of " + place
}

// sentence returns the sentence of a finding with a verdict on a tally.
func (c *clause) sentence(t tally, v load.Verdict) string {
	w := c.words()
	says := "is not settled against"
	switch v {
	case load.Fail:
		says = w.fail
	case load.Pass:
		says = w.pass
	}
	return fmt.Sprintf("%s %s %s: %s (95 %% interval %s)", c.subject(), says, c.limit(), c.counted(t), c.between(t.in))
}

// counted writes the counts of a tally: "7.1 % of 12,040 requests took longer, 5 % may".
func (c *clause) counted(t tally) string {
	w := c.words()
	switch {
	case c.Kind == objective.Rate:
		return fmt.Sprintf("%s over %s", amount.Of(t.value, "per_second"), minutes(float64(t.intervals)))
	case t.events == 0:
		return fmt.Sprintf("no %s yet, %s may be bad", c.events(), amount.Share(c.Budget()))
	}
	return fmt.Sprintf("%s of %s %s %s, %s may", amount.Share(t.value), atLeast(t.events), c.events(), w.bad, amount.Share(c.Budget()))
}

// between writes an interval.
func (c *clause) between(in stats.Interval) string {
	if c.Kind == objective.Rate {
		return amount.Of(in.Lower, "per_second") + " to " + amount.Of(in.Upper, "per_second")
	}
	return amount.Share(in.Lower) + " to " + amount.Share(in.Upper)
}

// limit returns the limit as the configuration has it.
func (c *clause) limit() string {
	return strings.TrimSpace(c.That[strings.LastIndexAny(c.That, "<>=")+1:])
}

// excluded names the reason why the latest window did not count, in parentheses;
// empty where it did.
func (c *clause) excluded() string {
	if c.why == "" {
		return ""
	}
	return " (" + strings.ReplaceAll(c.why, "_", " ") + ")"
}

// needed writes what would settle an objective that is not proven. The number is
// computed again only after another interval.
func (c *clause) needed(t tally) string {
	if a := c.shown.asked; c.shown.needed == 0 || a.intervals != t.intervals || a.epoch != t.epoch {
		c.shown.asked, c.shown.needed = t, c.test.needed(t)
	}
	more, per := c.shown.needed, t.events/max(1, float64(t.intervals))
	wait := 0.0
	if _, ratio := c.test.(*ratio); !ratio || !c.good(t.value) {
		wait = float64(max(0, defaults.FirstLook-t.intervals)) // a pass waits for no number of intervals
	}
	switch {
	case t.events == 0:
		return "load that counts"
	case math.IsInf(more, 1):
		return "the value is too near the limit for more " + c.events() + " to settle it soon"
	}
	wait = max(wait, math.Ceil(more/per), 1)
	return fmt.Sprintf("%s more %s, about %s", atLeast(max(more, wait*per)), c.events(), minutes(wait))
}

// clock writes an instant to the minute.
func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 MST") }

// atLeast writes x rounded up to a whole number.
func atLeast(x float64) string { return amount.Count(math.Ceil(x)) }

// minutes writes a span of n minutes.
func minutes(n float64) string {
	switch {
	case n >= 48*60:
		return atLeast(n/(24*60)) + " days"
	case n >= 180:
		return atLeast(n/60) + " hours"
	case n < 1:
		return "less than 1 minute"
	case n == 1:
		return "1 minute"
	}
	return atLeast(n) + " minutes"
}
