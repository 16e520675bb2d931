package load

import "time"

// A Verdict is what a judgement came to. The zero value is Inconclusive: no data is never a pass.
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

// UnmarshalText reads what MarshalText wrote; anything else is Inconclusive.
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
	KindChange     Kind = "change"     // a level changed and no release explains it
	KindLeak       Kind = "leak"       // a resource of a target grows without end
	KindDrift      Kind = "drift"      // latency or throughput drifts over an endurance run
	KindCleanUp    Kind = "clean_up"   // a resource did or did not return to its level once load stopped
	KindEfficiency Kind = "efficiency" // the load that was asked for, and the load there was
	KindRun        Kind = "run"        // what a run or cut came to
)

// A State says where a finding is in its life.
type State string

// The states.
const (
	Active    State = "active"    // holds now
	Recovered State = "recovered" // held, and holds no more
	Accepted  State = "accepted"  // somebody said that this is the new level
	Final     State = "final"     // about something that is over, such as a run
)

// A Finding is one sentence about a scenario or target, with its numbers and
// its doubts. Fields that do not apply are empty.
type Finding struct {
	// ID is the same whenever the same thing is found again, over restarts too.
	ID      string  `json:"id"`
	Kind    Kind    `json:"kind"`
	Verdict Verdict `json:"verdict"`
	State   State   `json:"state,omitempty"` // the board's to set

	Scenario  string `json:"scenario,omitempty"`
	Step      string `json:"step,omitempty"`
	Target    string `json:"target,omitempty"`
	Objective string `json:"objective,omitempty"`
	Statistic string `json:"statistic,omitempty"` // p50, p95, p99, error_ratio, rate
	Resource  string `json:"resource,omitempty"`
	Member    string `json:"member,omitempty"`
	Run       string `json:"run,omitempty"`
	Release   string `json:"release,omitempty"`  // the one it is about
	Baseline  string `json:"baseline,omitempty"` // the release it was compared with

	Since   time.Time `json:"since"`          // when what was found began, as well as it is known
	Updated time.Time `json:"updated"`        // the instant of the judgement
	Ended   time.Time `json:"ended,omitzero"` // when it recovered or was accepted

	// Sentence says it to a person, with numbers.
	Sentence string `json:"sentence"`

	// Value is the number that was judged, [Lower, Upper] its interval at Confidence,
	// Limit what it was compared with. All four are in Unit: seconds, ratio,
	// per_second, bytes, bytes_per_second, count, count_per_second.
	Value      Number  `json:"value"`
	Lower      Number  `json:"lower"`
	Upper      Number  `json:"upper"`
	Limit      Number  `json:"limit"`
	Confidence float64 `json:"confidence,omitempty"`
	Unit       string  `json:"unit,omitempty"`

	// Evidence is what the judgement rests on, Doubts what weakens it, Needed
	// what would settle one that is inconclusive ("1,200 more requests, about 20 minutes").
	Evidence []Fact   `json:"evidence,omitempty"`
	Doubts   []string `json:"doubts,omitempty"`
	Needed   string   `json:"needed,omitempty"`

	// Parts are what a finding of KindRun sums up.
	Parts []Finding `json:"parts,omitempty"`
}

// A Fact is one number behind a finding.
type Fact struct {
	Name  string `json:"name"` // "requests", "bad", "effective intervals before"
	Value Number `json:"value"`
	Unit  string `json:"unit,omitempty"`
}
