package load

import (
	"cmp"
	"time"
)

// A Verdict is the outcome of a judgement. The zero value is Inconclusive: no data is never a pass.
type Verdict uint8

// The verdicts.
const (
	Inconclusive Verdict = iota
	Pass                 // proven
	Fail                 // proven
	NumVerdicts
)

var verdictNames = [NumVerdicts]string{"inconclusive", "pass", "fail"}

// String returns the label value of v.
func (v Verdict) String() string {
	if v < NumVerdicts {
		return verdictNames[v]
	}
	return verdictNames[Inconclusive]
}

// MarshalText returns String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads the texts of MarshalText; any other text is Inconclusive.
func (v *Verdict) UnmarshalText(text []byte) error {
	*v = Inconclusive
	for i, name := range verdictNames {
		if name == string(text) {
			*v = Verdict(i)
		}
	}
	return nil
}

// A Kind says which question a finding answers.
type Kind string

// The kinds.
const (
	KindObjective  Kind = "objective"  // an objective of the SLA is broken
	KindRegression Kind = "regression" // a release is worse than those before it
	KindTwin       Kind = "twin"       // a target beside its untouched twin under the same load
	KindChange     Kind = "change"     // a level changed and no release explains it
	KindLeak       Kind = "leak"       // a resource of a target grows without end
	KindDrift      Kind = "drift"      // latency or throughput drifts over an endurance run
	KindCleanUp    Kind = "clean_up"   // a resource did or did not return to its level after load stopped
	KindEfficiency Kind = "efficiency" // the load that was planned, and the load that was generated
	KindRun        Kind = "run"        // the result of a run or cut
)

// A State says whether a finding holds.
type State string

// The states.
const (
	Active    State = "active"    // holds now
	Recovered State = "recovered" // held before, and does not now
	Accepted  State = "accepted"  // an operator accepted its level as the new baseline
	Final     State = "final"     // is about something that has ended, such as a run
)

// A Finding is one sentence about a scenario or target, with its numbers and
// its doubts. Fields that do not apply are empty.
type Finding struct {
	// ID is the same whenever the same thing is found again, also after a restart.
	ID      string  `json:"id"`
	Kind    Kind    `json:"kind"`
	Verdict Verdict `json:"verdict"`
	State   State   `json:"state,omitempty"` // set by analysis.Board

	Scenario  string `json:"scenario,omitempty"`
	Step      string `json:"step,omitempty"`
	Metric    string `json:"metric,omitempty"` // of the scenario's own, instead of a step; Series is either
	Target    string `json:"target,omitempty"`
	Objective string `json:"objective,omitempty"`
	Statistic string `json:"statistic,omitempty"` // p50, p95, p99, error_ratio, rate
	Resource  string `json:"resource,omitempty"`
	Member    string `json:"member,omitempty"`
	Run       string `json:"run,omitempty"`
	Release   string `json:"release,omitempty"`  // the release that the finding is about
	Baseline  string `json:"baseline,omitempty"` // the release it was compared with

	Since   time.Time `json:"since"`          // when what was found began, as far as it is known
	Updated time.Time `json:"updated"`        // the instant of the judgement
	Ended   time.Time `json:"ended,omitzero"` // when the finding recovered or was accepted

	// Sentence is the finding in words, with numbers.
	Sentence string `json:"sentence"`

	// Value is the number that was judged, [Lower, Upper] its interval at
	// Confidence (0 to 1), Limit the number it was compared with. All four are in
	// Unit: seconds, ratio, per_second, bytes, bytes_per_second, count, count_per_second, or
	// that of a metric of the scenario's own.
	Value      Number  `json:"value"`
	Lower      Number  `json:"lower"`
	Upper      Number  `json:"upper"`
	Limit      Number  `json:"limit"`
	Confidence float64 `json:"confidence,omitempty"`
	Unit       string  `json:"unit,omitempty"`

	// Evidence holds the numbers behind the judgement, Doubts what weakens it,
	// Needed what would settle an inconclusive one ("1,200 more requests, about 20 minutes").
	Evidence []Fact   `json:"evidence,omitempty"`
	Doubts   []string `json:"doubts,omitempty"`
	Needed   string   `json:"needed,omitempty"`

	// Parts are the findings that one of KindRun sums up.
	Parts []Finding `json:"parts,omitempty"`
}

// Series is the step or the metric of the scenario's own that the finding is about, by which its windows are called; empty
// for the scenario as a whole.
func (f *Finding) Series() string { return cmp.Or(f.Step, f.Metric) }

// A Fact is one number behind a finding.
type Fact struct {
	Name  string `json:"name"` // such as "requests", "bad", "effective intervals before"
	Value Number `json:"value"`
	Unit  string `json:"unit,omitempty"`
}
