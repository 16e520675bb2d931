package objective

import (
	"math"
	"slices"
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
)

// The units of limits and values.
const (
	Seconds   = "seconds"
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

	Window       time.Duration // the span of the value that is shown
	Severity     string        // warning, critical or info
	PerIteration uint64        // number of requests that are lost with a dropped iteration
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
	count func(o *Objective, w *load.Window) (events, bad uint64)
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
}

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
		names = append(names, kinds[i].name)
	}
	return names
}

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

// Threshold returns the limit of a Latency objective.
func (o *Objective) Threshold() time.Duration {
	return time.Duration(math.Round(o.Limit * float64(time.Second)))
}

// Limits returns the limits on response times of a step, ascending: those of its own
// objectives and of its scenario's. The windows of the step must count them.
func Limits(all []Objective, step string) []time.Duration {
	var limits []time.Duration
	for i := range all {
		if o := &all[i]; o.Kind == Latency && (o.Step == "" || o.Step == step) {
			limits = append(limits, o.Threshold())
		}
	}
	slices.Sort(limits)
	return slices.Compact(limits)
}

// Count returns the number of events in the windows of one stretch of time of the
// objective's scenario, and how many of them are bad. The events of a rate are
// requests of the step or iterations of the scenario, none of them bad.
//
// A window that does not count the limit of a latency objective, because the
// objective is newer than the window, is left out.
func (o *Objective) Count(windows []*load.Window) (events, bad uint64) {
	k := o.of()
	for _, w := range windows {
		mine := w.Step == o.Step
		if o.Step == "" && !k.own {
			mine = w.Step != ""
		}
		if mine {
			n, b := k.count(o, w)
			events += n
			bad += min(b, n)
		}
		if k.drops && w.Iterations != nil {
			lost := w.Iterations.Dropped[load.NoFreeVU] * o.PerIteration
			events += lost
			bad += lost
		}
	}
	return events, bad
}

// slow counts requests that failed or took longer than the limit. Those that perfd
// canceled are left out.
func slow(o *Objective, w *load.Window) (events, bad uint64) {
	i := slices.Index(w.Limits, o.Threshold())
	if i < 0 {
		return 0, 0
	}
	events = w.Requests - w.Failures[load.Canceled]
	return events, events - min(w.Good[i], events)
}

// failed counts requests that failed. Those that perfd canceled are left out.
func failed(_ *Objective, w *load.Window) (events, bad uint64) {
	return w.Requests - w.Failures[load.Canceled], w.Failed()
}

// unanswered are the causes of failure without a complete answer.
var unanswered = []load.Cause{
	load.Timeout, load.DNS, load.Refused, load.Unreachable, load.Reset, load.Closed, load.TLS, load.Protocol, load.Partial,
}

// unavailable counts requests without a complete answer or with a status of 5xx.
// Those that perfd canceled, did not send or failed to handle are left out: they say
// nothing about the target.
func unavailable(_ *Objective, w *load.Window) (events, bad uint64) {
	events = w.Requests - w.Failures[load.Canceled] - w.Failures[load.Overload] - w.Failures[load.Internal]
	for _, c := range unanswered {
		bad += w.Failures[c]
	}
	for _, c := range w.Codes {
		if c.Code >= 500 && c.Code < 600 {
			bad += c.Count
		}
	}
	return events, bad
}

// unchecked counts evaluations of checks that did not hold.
func unchecked(o *Objective, w *load.Window) (events, bad uint64) {
	for _, c := range w.Checks {
		if o.Check == "" || o.Check == c.Name {
			events += c.Evaluated
			bad += c.Failed
		}
	}
	return events, bad
}

// ended counts requests of the step, or iterations of the scenario, that ended.
func ended(o *Objective, w *load.Window) (events, bad uint64) {
	if o.Step != "" {
		return w.Requests - w.Failures[load.Canceled], 0
	}
	if w.Iterations == nil {
		return 0, 0
	}
	return w.Iterations.Completed + w.Iterations.Stopped, 0
}
