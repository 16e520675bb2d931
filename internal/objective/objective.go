package objective

import (
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A Kind is what an objective is about.
type Kind string

// The kinds: a label of perfd_objective_info.
const (
	Latency      Kind = "latency"
	ErrorRatio   Kind = "error_ratio"
	Availability Kind = "availability"
	CheckRatio   Kind = "check_ratio"
	Rate         Kind = "rate"
)

// The units of a limit and a value.
const (
	Seconds   = "seconds"
	Ratio     = "ratio"
	PerSecond = "per_second"
)

// An Objective is one compiled clause. It is a value: objectives that are equal
// say the same of the same.
type Objective struct {
	Scenario, Name, Step, Target string
	That                         string // as written

	Kind     Kind
	Quantile float64 // of Latency, 0 < q < 1
	Limit    float64 // in Unit
	Unit     string
	Less     bool   // good is less than the limit
	Check    string // of CheckRatio: one check, all where empty

	Window       time.Duration
	Severity     string
	PerIteration uint64 // requests of an iteration that are lost with it
}

// A kindOf is how one kind is written and counted.
type kindOf struct {
	kind     Kind
	name     string // as it is written
	example  string
	unit     string
	less     bool
	argument func(*Objective, written) (problem, hint string)
	limit    func(*Objective, written) (problem, hint string)
	budget   func(*Objective) float64
	// count counts one window: of a step, or of the scenario where it is own.
	count func(o *Objective, w *load.Window) (events, bad uint64)
	own   bool // a scenario's own objective is counted in the scenario's own window, not in its steps'
	drops bool // what the target made us drop is a bad event
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

func (o *Objective) of() *kindOf {
	for i := range kinds {
		if kinds[i].kind == o.Kind {
			return &kinds[i]
		}
	}
	panic("objective: a kind that is none: " + string(o.Kind))
}

// rest is the budget of a share that must be high.
func rest(o *Objective) float64 { return 1 - o.Limit }

// Budget returns the share of events that may be bad, NaN for a rate, which has
// no bad events.
func (o *Objective) Budget() float64 { return round(o.of().budget(o)) }

// round takes away what binary fractions add to a share as it is written.
func round(share float64) float64 { return math.Round(share*1e12) / 1e12 }

// Says reports whether both say the same of the same, so that what is known of
// one is known of the other: names, spans shown and severities may differ.
func (o Objective) Says(p Objective) bool {
	p.That, p.Window, p.Severity, p.Target = o.That, o.Window, o.Severity, o.Target
	return o == p
}

// Threshold returns the limit of a Latency objective.
func (o *Objective) Threshold() time.Duration {
	return time.Duration(math.Round(o.Limit * float64(time.Second)))
}

// Limits returns the latency limits that a step's windows must carry, rising: of
// its own objectives and of its scenario's.
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

// Count counts the windows of one interval of the objective's scenario: its events and how many of
// them were bad. Events of a rate are requests of the step or iterations of the
// scenario, none of them bad.
//
// Windows that do not carry the limit of a latency objective, because it was not
// there yet, are not counted.
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

func slow(o *Objective, w *load.Window) (events, bad uint64) {
	i := slices.Index(w.Limits, o.Threshold())
	if i < 0 {
		return 0, 0
	}
	events = w.Requests - w.Failures[load.Canceled]
	return events, events - min(w.Good[i], events)
}

func failed(_ *Objective, w *load.Window) (events, bad uint64) {
	return w.Requests - w.Failures[load.Canceled], w.Failed()
}

// unanswered are the causes for which there is no complete answer.
var unanswered = []load.Cause{
	load.Timeout, load.DNS, load.Refused, load.Unreachable, load.Reset, load.Closed, load.TLS, load.Protocol, load.Partial,
}

// unavailable counts no answer and 5xx. What perfd itself refused to send or got
// wrong says nothing of whether the target was there.
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

func unchecked(o *Objective, w *load.Window) (events, bad uint64) {
	for _, c := range w.Checks {
		if o.Check == "" || o.Check == c.Name {
			events += c.Evaluated
			bad += c.Failed
		}
	}
	return events, bad
}

func ended(o *Objective, w *load.Window) (events, bad uint64) {
	if o.Step != "" {
		return w.Requests - w.Failures[load.Canceled], 0
	}
	if w.Iterations == nil {
		return 0, 0
	}
	return w.Iterations.Completed + w.Iterations.Stopped, 0
}
