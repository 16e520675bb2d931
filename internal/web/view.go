// Package web is what people and probes see of the daemon: pages, API and
// health. It serves and reads; it computes nothing and decides nothing.
package web

import (
	"errors"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
)

// A Daemon is what is served. Its methods are safe for concurrent use.
type Daemon interface {
	// Ready reports whether scenarios run and the daemon is not stopping.
	Ready() bool
	Status() Status
	// Scenarios lists all scenarios in the order of the configuration.
	Scenarios() []Scenario
	// Scenario returns one with everything known of it; false for an unknown name.
	Scenario(name string) (Detail, bool)
	// Reload reads the configuration again; an error leaves the old one running.
	Reload() error
	// Pause stops all load at once, for a time or, with 0, until Resume.
	Pause(d time.Duration) error
	Resume() error
	// Maintenance lists the windows of declared maintenance that are under way, and
	// the pushed ones to come.
	Maintenance() (now, coming []Maintenance)
	// Maintain takes a window, which is returned with its ID; ErrUnknownTarget
	// names a target that is unknown, ErrFull and ErrNotKept are not the window's fault,
	// and other errors say what is wrong with it.
	Maintain(Maintenance) (Maintenance, error)
	// EndMaintenance ends a window that was pushed; ErrUnknownMaintenance for an unknown ID.
	EndMaintenance(id string) error
	// Start and Stop begin and end a run by hand; ErrUnknown for an unknown name.
	Start(scenario string) error
	Stop(scenario string) error
	// Suites lists the suites in the order of the configuration. StartSuite and StopSuite begin and
	// end a run of one by hand; ErrUnknownSuite for an unknown name.
	Suites() []Suite
	StartSuite(name string) error
	StopSuite(name string) error
	// Scale sets the load of a scenario that is controlled from outside; by says who did it. ErrUnknown,
	// ErrNotControlled and ErrNotKept name what is no fault of the level, other errors say what is wrong with it.
	Scale(scenario string, to Level, by string) (Control, error)
}

// A Level is a load to set: one of VUs and Rate.
type Level struct {
	VUs  *int   `json:"vus,omitempty"`
	Rate string `json:"rate,omitempty"` // such as 50/s
}

// A Control describes a load that is set from outside.
type Control struct {
	Unit  string    `json:"unit"`  // vus or rate, as the level is written
	Level string    `json:"level"` // that holds, such as 20 VUs or 50/s
	Most  string    `json:"max"`   // that may be set
	Since time.Time `json:"since,omitzero"`
	By    string    `json:"by,omitempty"` // who set it; empty for nobody yet
}

// ErrUnknownSuite says that there is no suite of a name.
var ErrUnknownSuite = errors.New("no such suite")

// A Suite is scenarios that run together.
type Suite struct {
	Name     string    `json:"name"`
	Schedule string    `json:"schedule"`
	Running  bool      `json:"running"`
	NextRun  time.Time `json:"next_run,omitzero"`
	Missed   uint64    `json:"missed"`
	Run      *SuiteRun `json:"run,omitempty"` // under way or, after its end, the last one since perfd started
}

// A SuiteRun is one run of a suite.
type SuiteRun struct {
	ID     string      `json:"run"`
	Began  time.Time   `json:"began"`
	Ended  time.Time   `json:"ended,omitzero"`
	Result string      `json:"result,omitempty"` // pass, fail, inconclusive, interrupted or error, once it has ended
	Parts  []SuitePart `json:"scenarios"`
}

// A SuitePart is one scenario of a run of a suite.
type SuitePart struct {
	Scenario string    `json:"scenario"`
	Run      string    `json:"run,omitempty"` // known once it was judged
	Began    time.Time `json:"began,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Result   string    `json:"result,omitempty"` // not started, or that of its run, once it was judged
	Why      string    `json:"why,omitempty"`    // it did not start, or was not judged
}

// ErrUnknown says that there is no scenario of a name.
var ErrUnknown = errors.New("no such scenario")

// The errors of Maintain, EndMaintenance and Scale.
var (
	ErrUnknownMaintenance = errors.New("no such maintenance window")
	ErrFull               = errors.New("there are too many maintenance windows already")
	ErrNotKept            = errors.New("it holds, but a restart would not know")
	ErrNotControlled      = errors.New("the load of the scenario is not set from outside: its executor is not externally-controlled")
)

// A Maintenance is one stretch of declared maintenance.
type Maintenance struct {
	ID      string    `json:"id,omitempty"` // of a pushed one
	Name    string    `json:"name"`
	Targets []string  `json:"targets,omitempty"` // all where there are none
	From    time.Time `json:"from,omitzero"`     // unknown of a declared one
	Until   time.Time `json:"until"`
}

// A Status describes the daemon.
type Status struct {
	Version     string    `json:"version"`
	Revision    string    `json:"revision"`
	GoVersion   string    `json:"go_version"`
	Started     time.Time `json:"started"`
	ConfigFile  string    `json:"config_file"`
	ConfigOK    bool      `json:"config_last_reload_successful"`
	ConfigTime  time.Time `json:"config_last_reload_success"`
	ConfigError string    `json:"config_error,omitempty"`
	Paused      bool      `json:"paused"`
	PausedUntil time.Time `json:"paused_until,omitzero"`
	// Maintenance is what is under way.
	Maintenance []Maintenance `json:"maintenance,omitempty"`
	Ready       bool          `json:"ready"`
	Scaled      string        `json:"scaled,omitempty"` // what a rehearsal scales times and load by
	Shard       int           `json:"shard"`
	Shards      int           `json:"shards"`
	Lifecycle   bool          `json:"lifecycle_enabled"`
}

// A Scenario describes one scenario now: its rates and percentiles are of the last minute.
type Scenario struct {
	Name     string            `json:"name"`
	Test     string            `json:"test"`
	Target   string            `json:"target"`
	Executor string            `json:"executor"`
	Model    string            `json:"model"` // open or closed
	Labels   map[string]string `json:"labels,omitempty"`
	// BaselineOf names the scenario whose load this is on the baseline of its twin, empty for a scenario of its own.
	BaselineOf string `json:"baseline_of,omitempty"`
	Schedule   string `json:"schedule"`
	Workload   string `json:"workload"`

	State    string    `json:"state"` // running, waiting, paused, blackout, draining
	Expected bool      `json:"expected"`
	RunID    string    `json:"run,omitempty"`
	RunStart time.Time `json:"run_start,omitzero"`
	NextRun  time.Time `json:"next_run,omitzero"`
	LastEnd  time.Time `json:"last_run_end,omitzero"`
	Missed   uint64    `json:"schedule_missed"`

	PlannedRate  float64 `json:"planned_iterations_per_second"` // of an open workload
	PlannedVUs   int     `json:"planned_vus"`                   // of a closed workload
	AchievedRate float64 `json:"achieved_iterations_per_second"`
	RequestRate  float64 `json:"requests_per_second"`
	ErrorRatio   float64 `json:"error_ratio"`
	DropRate     float64 `json:"dropped_per_second"` // of the last window
	VUs          int     `json:"vus"`
	Busy         int     `json:"vus_busy"`

	Latency Latency `json:"response_time"`

	// Control is of a scenario whose load is set from outside, nil for others.
	Control *Control `json:"control,omitempty"`

	// Credentials are what its requests are sent with.
	Credentials []Credential `json:"credentials,omitempty"`

	Valid   bool     `json:"measurement_valid"`
	Invalid []string `json:"invalid_reasons,omitempty"`
}

// A Credential describes how a credential of a scenario stands.
type Credential struct {
	Name    string    `json:"name"`
	Up      bool      `json:"up"`               // there is a value to send
	Expires time.Time `json:"expires,omitzero"` // of the last value; zero for never
	Fault   string    `json:"fault,omitempty"`  // why the last attempt to get a value failed
}

// A Latency is percentiles of response time, in seconds, or of the values of a metric of the scenario's own.
type Latency struct {
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Count uint64  `json:"count"`
	Unit  string  `json:"unit,omitempty"` // of the values of a metric; empty for seconds
}

// A Detail is everything known of one scenario.
type Detail struct {
	Scenario
	Steps    []Step    `json:"steps"`
	Failures []Failure `json:"failures"`
	Totals   []Total   `json:"totals"`           // since the scenario was loaded
	Config   string    `json:"config,omitempty"` // its block, secrets hidden
}

// A Step describes one step over the last window.
type Step struct {
	Name        string  `json:"name"`
	Target      string  `json:"target"`
	Protocol    string  `json:"protocol"`
	RequestRate float64 `json:"requests_per_second"`
	ErrorRatio  float64 `json:"error_ratio"`
	Latency     Latency `json:"response_time"`
}

// A Total counts what failed, was dropped or does not count since the scenario was loaded.
type Total struct {
	What  string `json:"what"`            // failed_requests, dropped_arrivals, failed_checks or excluded_events
	Where string `json:"where,omitempty"` // the step, check or objective
	Why   string `json:"why,omitempty"`   // the cause or reason
	Count uint64 `json:"count"`
	Of    uint64 `json:"of,omitempty"` // requests or evaluations; 0 where it is not known
}

// The kinds of totals.
const (
	FailedRequests  = "failed_requests"
	DroppedArrivals = "dropped_arrivals"
	FailedChecks    = "failed_checks"
	ExcludedEvents  = "excluded_events"
)

// Title is the kind for people.
func (t Total) Title() string { return strings.ReplaceAll(t.What, "_", " ") }

// Share is what part of all it is, nothing where that is not known.
func (t Total) Share() string {
	if t.Of == 0 {
		return ""
	}
	return amount.Share(float64(t.Count) / float64(t.Of))
}

// A Failure is one failed request.
type Failure struct {
	Time     time.Time `json:"time"`
	Step     string    `json:"step"`
	Cause    string    `json:"cause"`
	Code     int32     `json:"code,omitempty"`
	Duration float64   `json:"duration_seconds"`
	Text     string    `json:"text"`
}
