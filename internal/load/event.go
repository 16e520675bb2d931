package load

import "time"

// An EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	RunBegan       EventKind = "run_began"       // Scenario, Run, Test, Target, Targets, Release, Observer
	RunEnded       EventKind = "run_ended"       // the same and Result; a cut ends one run and begins another at the same instant
	ReleaseChanged EventKind = "release_changed" // Target, Release, Previous, Settled: from when on its windows count
	MaintenanceSet EventKind = "maintenance"     // Target is in declared maintenance until Until; at At, it has just ended
	FindingTaken   EventKind = "accepted"        // Finding was accepted: its level is the new baseline
	LoadSet        EventKind = "load_set"        // Scenario was set from outside to Level, from Previous, by By; Run is empty where none is under way
)

// An Event is something on the timeline that is not in windows. Events are kept
// as long as windows are.
type Event struct {
	At   time.Time `json:"at"`
	Kind EventKind `json:"kind"`

	Scenario string   `json:"scenario,omitempty"`
	Run      string   `json:"run,omitempty"`
	Test     string   `json:"test,omitempty"`
	Target   string   `json:"target,omitempty"`  // of a run: the scenario's own
	Targets  []string `json:"targets,omitempty"` // of a run: all that it sends to
	Result   string   `json:"result,omitempty"`  // pass, fail, inconclusive, interrupted, error
	// Observer is the fingerprint of the machine and program that measured
	// (SEMANTICS section 12). Runs of different observers are not compared.
	Observer string `json:"observer,omitempty"`

	Release  string    `json:"release,omitempty"`
	Previous string    `json:"previous,omitempty"`
	Settled  time.Time `json:"settled,omitzero"`

	Until time.Time `json:"until,omitzero"`

	Finding string `json:"finding,omitempty"` // ID of the finding

	Level string `json:"level,omitempty"` // such as 50/s or 20 VUs
	By    string `json:"by,omitempty"`    // who did it
}
