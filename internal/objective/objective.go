package objective

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A Kind is the statistic that an objective bounds.
type Kind string

// The kinds. They are values of the label "kind" of perfd_objective_info.
const (
	Latency      Kind = "latency"
	ErrorRatio   Kind = "error_ratio"
	Availability Kind = "availability"
	CheckRatio   Kind = "check_ratio"
	Rate         Kind = "rate"
	MetricRatio  Kind = "metric_ratio"
)

// The units of limits and values. Limits on a trend of the scenario's own that is none of durations have the
// trend's unit.
const (
	Seconds   = load.UnitSeconds
	Ratio     = "ratio"
	PerSecond = "per_second"
)

// An Objective is one compiled clause of an SLA. It is comparable: two objectives
// are equal where all of their fields are.
type Objective struct {
	Scenario, Name string
	Step           string // empty for one of the scenario as a whole
	Target         string // of the step, or the scenario's own
	That           string // the clause as the configuration has it

	Kind     Kind
	Quantile float64 // of Latency, 0 < Quantile < 1
	Limit    float64 // in Unit
	Unit     string
	Less     bool   // whether values up to the limit are good; otherwise values from it on
	Check    string // of CheckRatio: the name of one check; empty for all
	Metric   bool   // Step is no step but a metric of the scenario's own

	Window       time.Duration // the span of the value that is shown
	Severity     string        // warning, critical or info
	PerIteration uint64        // number of requests that are lost with a dropped iteration
}

// MetricType is the type of the metrics that an objective of this kind can be about, empty for none.
func (o *Objective) MetricType() string {
	switch o.Kind {
	case Latency:
		return load.MetricTrend
	case MetricRatio:
		return load.MetricRate
	}
	return ""
}

// In gives a limit on the values of a trend the unit of the trend. On a mistake it returns what is wrong with the
// limit, and a hint.
func (o *Objective) In(unit string) (problem, hint string) {
	written := strings.TrimSpace(o.That[strings.LastIndexAny(o.That, "<=")+1:])
	switch {
	case o.Unit == unit || o.Unit == "" && unit != Seconds:
	case o.Unit == "":
		return "a duration needs a unit, got " + written, fmt.Sprintf("write %sms or %ss; or give %s a unit, where its values are no durations", written, written, o.Step)
	default:
		return fmt.Sprintf("%s is in %s, and the limit is %s", o.Step, unit, written), "write a plain number"
	}
	o.Unit = unit
	if scale := load.ScaleOf(unit); o.Limit > scale.Value(int64(time.Hour)) {
		return fmt.Sprintf("the limit must be at most %.2g %s, got %s", scale.Value(int64(time.Hour)), unit, written), ""
	}
	return "", ""
}

// A kindOf describes how one kind is written and counted.
type kindOf struct {
	kind     Kind
	name     string // the name of the statistic in a clause
	example  string
	unit     string
	less     bool
	argument func(*Objective, written) (problem, hint string) // reads the argument of the statistic
	limit    func(*Objective, written) (problem, hint string) // reads the limit
	budget   func(*Objective) float64                         // returns the share of events that may be bad
	// count counts the events of one window of a step, or of the scenario's own where own is set.
	count func(o *Objective, w *load.Window) Tally
	own   bool // objectives of the scenario as a whole count its own window, not those of its steps
	drops bool // requests of iterations that the target left no VU for are bad events
}

var kinds = []kindOf{
	{
		kind: Latency, name: "p", example: "p(95) < 500ms", unit: Seconds, less: true, argument: quantile, limit: duration,
		budget: func(o *Objective) float64 { return 1 - o.Quantile }, count: slow, drops: true,
	},
	{
		kind: ErrorRatio, name: "error_ratio", example: "error_ratio < 0.1%", unit: Ratio, less: true, argument: noArgument, limit: share,
		budget: func(o *Objective) float64 { return o.Limit }, count: failed, drops: true,
	},
	{
		kind: Availability, name: "availability", example: "availability > 99.9%", unit: Ratio, argument: noArgument, limit: share,
		budget: rest, count: unavailable, drops: true,
	},
	{
		kind: CheckRatio, name: "check_ratio", example: "check_ratio > 99%", unit: Ratio, argument: check, limit: share,
		budget: rest, count: unchecked,
	},
	{
		kind: Rate, name: "rate", example: "rate > 50/s", unit: PerSecond, argument: noArgument, limit: rate,
		budget: func(*Objective) float64 { return math.NaN() }, count: ended, own: true,
	},
	metricRatio,
}

// metricRatio is of a rate of the scenario's own, whose name stands in the place of the statistic's.
var metricRatio = kindOf{
	kind: MetricRatio, example: "login_success > 99%", unit: Ratio, argument: noArgument, limit: share,
	budget: rest, count: failed,
}

// ofValues is of a trend of the scenario's own, which need not be one of durations.
var ofValues = func() kindOf {
	k := *kindNamed("p")
	k.example, k.limit = "p(95) of processing_time < 2s", number
	return k
}()

// kindNamed returns the description of a statistic in a clause, nil for an unknown name.
func kindNamed(name string) *kindOf {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

func kindNames() []string {
	var names []string
	for i := range kinds {
		if kinds[i].name != "" {
			names = append(names, kinds[i].name)
		}
	}
	return names
}

// Values returns the names of what objectives are about, besides metrics of a scenario's own.
func Values() []string { return kindNames() }

// of returns the description of the objective's kind.
func (o *Objective) of() *kindOf {
	for i := range kinds {
		if kinds[i].kind == o.Kind {
			return &kinds[i]
		}
	}
	panic("objective: a kind that is none: " + string(o.Kind))
}

// rest returns the budget of a share of good events.
func rest(o *Objective) float64 { return 1 - o.Limit }

// Budget returns the share of events that may be bad, between 0 and 1: the error
// budget. It is NaN for a rate, which has no bad events.
func (o *Objective) Budget() float64 { return round(o.of().budget(o)) }

// round removes the rounding errors that binary fractions add to a decimal share.
func round(share float64) float64 { return math.Round(share*1e12) / 1e12 }

// SameEvidence reports whether the evidence on one objective is evidence on the
// other: they differ in spelling, target, window and severity at most.
func (o Objective) SameEvidence(p Objective) bool {
	p.That, p.Window, p.Severity, p.Target = o.That, o.Window, o.Severity, o.Target
	return o == p
}

// Threshold returns the limit of a Latency objective as windows count it: of numbers that are no durations, by the
// scale of their unit.
func (o *Objective) Threshold() time.Duration {
	return time.Duration(load.ScaleOf(o.Unit).Units(o.Limit))
}

// OfMessages reports whether a name is of what is timed of the messages of a step.
func OfMessages(name string) bool {
	_, ok := load.MessageTimingNamed(name)
	return ok
}

// Limits returns the limits on response times of a step, ascending: those of its own
// objectives and of its scenario's, or on the values of a metric. The windows of either must count them.
func Limits(all []Objective, step string, metric bool) []time.Duration {
	var limits []time.Duration
	for i := range all {
		o := &all[i]
		if mine := o.Step == step && o.Metric == metric || o.Step == "" && !metric; o.Kind == Latency && mine {
			limits = append(limits, o.Threshold())
		}
	}
	slices.Sort(limits)
	return slices.Compact(limits)
}

// A Tally is what an objective counts in windows.
type Tally struct {
	Events, Bad uint64 // Bad of Events
	// Excluded counts events that are no evidence, by how perfd itself disturbed them
	// (SEMANTICS section 7). They are not among Events.
	Excluded [load.NumDisturbances]uint64
}

func (t *Tally) add(u Tally) {
	t.Events += u.Events
	t.Bad += min(u.Bad, u.Events)
	for by, n := range u.Excluded {
		t.Excluded[by] += n
	}
}

// Count returns what the objective counts in the windows of one stretch of time of
// its scenario. The events of a rate are requests of the step or iterations of the
// scenario, none of them bad.
//
// A window that does not count the limit of a latency objective, because the
// objective is newer than the window, is left out.
func (o *Objective) Count(windows []*load.Window) (all Tally) {
	k := o.of()
	for _, w := range windows {
		mine := w.Step == o.Step
		if o.Step == "" && !k.own {
			mine = w.Step != "" && !w.IsGroup()
		}
		if mine {
			all.add(k.count(o, w))
		}
		if k.drops && w.Iterations != nil {
			all.add(o.dropped(w.Iterations))
		}
	}
	if o.Kind == Rate {
		for _, w := range windows {
			if share, _ := Unmade(w); share > 0 && share <= MostUnmade {
				all.Events = uint64(math.Round(float64(all.Events) / (1 - share)))
			}
		}
	}
	return all
}

// MostUnmade is the share of the load of a window that perfd itself may fail to make
// for a rate still to be judged: the rest of the load stands for so little of it.
const MostUnmade = 0.05

// Unmade returns the share of the load of a scenario's own window that perfd itself
// did not make, and why: the arrivals of an open workload that it dropped, or the time
// of a closed one in which it did not run. It is 0 in windows of steps.
func Unmade(own *load.Window) (share float64, by load.Disturbance) {
	it := own.Iterations
	switch {
	case it == nil:
	case own.Planned > 0:
		due, unmade, most := it.Started, uint64(0), uint64(0)
		for _, n := range it.Dropped {
			due += n
		}
		for d, n := range it.Own() {
			if unmade += n; n > most {
				most, by = n, load.Disturbance(d)
			}
		}
		if unmade > 0 {
			share = float64(unmade) / float64(due)
		}
	case own.Stalled > 0:
		share, by = min(1, own.Stalled.Seconds()/own.End.Sub(own.Start).Seconds()), load.ByGap
	}
	return share, by
}

// dropped counts the requests that were lost with arrivals (SEMANTICS section 2):
// bad ones where the target left no free VU, no evidence where perfd itself did not
// start the iteration.
func (o *Objective) dropped(it *load.Iterations) (t Tally) {
	t.Events = (it.Dropped[load.NoFreeVU] - min(it.Excused, it.Dropped[load.NoFreeVU])) * o.PerIteration
	t.Bad = t.Events
	for by, n := range it.Own() {
		t.Excluded[by] = n * o.PerIteration
	}
	return t
}

// slow counts requests that failed or took longer than the limit. Those that perfd
// canceled are left out.
//
// A stall of perfd's makes an answer late, so the answers it touched are no
// evidence; nor are touched failures that it may have caused. The failures that it
// cannot have caused are known to be bad, touched or not. Beside the answers that are
// left all of them would be too many: a share of bad requests below the limit would
// seem to be over it. So they count in the proportion in which the window's answers
// are left, which leaves the share as it would be without stalls, and all of them where
// nothing was answered.
func slow(o *Objective, w *load.Window) (t Tally) {
	i := slices.Index(w.Limits, o.Threshold())
	if i < 0 {
		return t
	}
	t.Events = w.Requests - w.Failures[load.Canceled]
	var touched uint64 // answers
	for _, x := range w.Touched {
		if x.Cause == load.None {
			touched += x.Count
		}
		if !x.Cause.Sure() {
			t.exclude(x.By, x.Count)
		}
	}
	if touched > 0 {
		t.exclude(mostTouching(w), surplus(w, touched))
	}
	t.Bad = t.Events - min(w.Good[i], t.Events)
	return t
}

// exclude takes n events out.
func (t *Tally) exclude(by load.Disturbance, n uint64) {
	t.Events -= n
	t.Excluded[by] += n
}

// leastSure is the share of sure failures that count however few answers are left. A
// window of which so little is left counts only where most of its requests failed so.
const leastSure = 0.5

// surplus returns how many of the window's sure failures do not count beside the
// answers that are left, of which some were touched.
func surplus(w *load.Window, touched uint64) uint64 {
	var sure uint64
	for c, n := range w.Failures {
		if load.Cause(c).Sure() {
			sure += n
		}
	}
	left := float64(w.ResponseTime.Count())
	counts := float64(sure) * max(leastSure, left/(left+float64(touched)))
	// Many windows have one such failure or two. Rounded down from a point that is
	// spread evenly over windows, their sum is right.
	const golden = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	spread := float64(uint64(w.End.Unix())*golden>>11) / (1 << 53)
	return sure - min(sure, uint64(counts+spread))
}

// mostTouching returns the disturbance that touched most of the window's answers.
func mostTouching(w *load.Window) (by load.Disturbance) {
	most := uint64(0)
	for _, x := range w.Touched {
		if x.Cause == load.None && x.Count > most {
			by, most = x.By, x.Count
		}
	}
	return by
}

// failed counts requests that failed. Those that perfd canceled are left out, and so
// are touched ones whose failure may be perfd's own doing. A stall cannot make an
// answer right or wrong, so all others count.
func failed(_ *Objective, w *load.Window) (t Tally) {
	t.Events, t.Bad = w.Requests-w.Failures[load.Canceled], w.Failed()
	for _, x := range w.Touched {
		if x.Cause != load.None && !x.Cause.Sure() {
			t.exclude(x.By, x.Count)
			t.Bad -= x.Count
		}
	}
	return t
}

// unanswered are the causes of failure without a complete answer.
var unanswered = []load.Cause{
	load.Timeout, load.DNS, load.Refused, load.Unreachable, load.Reset, load.Closed, load.TLS, load.Protocol, load.Partial,
	load.StreamReset, load.GoAway,
}

// unavailable counts requests without a complete answer or with a code that says that the server failed, such as 5xx.
// Those that perfd canceled, did not send or failed to handle are left out: they say
// nothing about the target. So are touched ones, as in failed.
func unavailable(o *Objective, w *load.Window) (t Tally) {
	t.Excluded = failed(o, w).Excluded
	t.Events = w.Requests - w.Failures[load.Canceled] - w.Failures[load.Overload] - w.Failures[load.Internal] - w.Failures[load.Input]
	for _, c := range unanswered {
		t.Bad += w.Failures[c]
	}
	for _, x := range w.Touched {
		if !x.Cause.Sure() && slices.Contains(unanswered, x.Cause) {
			t.Events -= x.Count
			t.Bad -= x.Count
		}
	}
	for _, c := range w.Codes {
		if load.IsServerFault(c.Code) {
			t.Bad += c.Count
		}
	}
	return t
}

// unchecked counts evaluations of checks that did not hold, of touched answers too.
func unchecked(o *Objective, w *load.Window) (t Tally) {
	for _, c := range w.Checks {
		if o.Check == "" || o.Check == c.Name {
			t.Events += c.Evaluated
			t.Bad += c.Failed
		}
	}
	return t
}

// ended counts requests of the step, or iterations of the scenario, that ended.
func ended(o *Objective, w *load.Window) (t Tally) {
	switch {
	case o.Step != "":
		t.Events = w.Requests - w.Failures[load.Canceled]
	case w.Iterations != nil:
		t.Events = w.Iterations.Completed + w.Iterations.Stopped
	}
	return t
}
