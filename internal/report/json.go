package report

import (
	"encoding/json"
	"io"
	"math"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// JSON writes a run as one JSON object. Its fields are stable; new ones may be
// added. Times are in RFC 3339, durations and percentiles in seconds, ratios between
// 0 and 1; a number that does not exist is null. "finding" has the form of the API,
// with the parts of the run, objectives among them.
func JSON(w io.Writer, r Run) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(runOf(r))
}

func runOf(r Run) runJSON {
	out := runJSON{
		Scenario: r.Scenario, Run: r.Run, Test: r.Test, Target: r.Target, Release: r.Release,
		Scaled: r.Scaled, Began: r.Began, Ended: r.Ended, Duration: r.Ended.Sub(r.Began).Seconds(),
		Verdict: r.Finding.Verdict, Valid: r.Valid, Invalid: append([]string{}, r.Invalid...),
		Requests: r.Requests, Failed: r.Failed, ErrorRatio: number(ratio(r.Failed, r.Requests), r.Requests > 0),
		Iterations: r.Iterations, Dropped: r.Dropped, Drops: byReason(r.Drops), Disturbed: byReason(r.Touched), Checks: []checkJSON{},
		Asked: number(r.AskedRate, r.AskedRate > 0), Achieved: number(r.AchievedRate, true),
		Steps: []stepJSON{}, Finding: r.Finding,
	}
	for _, c := range r.Checks {
		out.Checks = append(out.Checks, checkJSON{c.Name, c.Evaluated, c.Failed, number(ratio(c.Evaluated-c.Failed, c.Evaluated), c.Evaluated > 0)})
	}
	for _, s := range r.Steps {
		step := stepJSON{
			Failures: byReason(s.Failures),
			Name:     s.Name, Group: s.Group, Metric: s.Metric, Unit: s.Unit, Retries: s.Retries, Requests: s.Requests, Failed: s.Failed, ErrorRatio: number(ratio(s.Failed, s.Requests), s.Requests > 0),
			ResponseTime: latencyJSON{number(s.P50, s.P50 > 0), number(s.P90, s.P90 > 0), number(s.P95, s.P95 > 0), number(s.P99, s.P99 > 0)},
		}
		if m := s.Messages; m != nil {
			step.Messages = &messagesJSON{
				m.Count[load.Sent], m.Count[load.Received], m.Bytes[load.Sent], m.Bytes[load.Received], m.Missing, m.Reordered, m.Repeated, m.Unmet,
			}
		}
		if s.Unit != "" {
			values := step.ResponseTime
			step.Values, step.ResponseTime = &values, latencyJSON{number(0, false), number(0, false), number(0, false), number(0, false)}
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

type runJSON struct {
	Scenario   string       `json:"scenario"`
	Run        string       `json:"run"`
	Test       string       `json:"test"`
	Target     string       `json:"target"`
	Release    string       `json:"release"`          // empty where it is unknown
	Scaled     string       `json:"scaled,omitempty"` // what times and load were scaled by, of a rehearsal
	Began      time.Time    `json:"began"`
	Ended      time.Time    `json:"ended"`
	Duration   float64      `json:"duration_seconds"`
	Verdict    load.Verdict `json:"verdict"`
	Valid      bool         `json:"measurement_valid"`
	Invalid    []string     `json:"invalid_reasons"`
	Requests   uint64       `json:"requests"`
	Failed     uint64       `json:"failed"`
	ErrorRatio load.Number  `json:"error_ratio"`
	Iterations uint64       `json:"iterations"`
	Dropped    uint64       `json:"dropped"`
	Asked      load.Number  `json:"planned_iterations_per_second"` // null for a closed workload
	Achieved   load.Number  `json:"achieved_iterations_per_second"`
	// Drops are Dropped by reason, Disturbed the requests that perfd itself disturbed.
	Drops     map[string]uint64 `json:"dropped_by_reason"`
	Disturbed map[string]uint64 `json:"disturbed_by_reason"`
	Steps     []stepJSON        `json:"steps"`
	Checks    []checkJSON       `json:"checks"`
	Finding   load.Finding      `json:"finding"`
}

type stepJSON struct {
	Name         string      `json:"name"`
	Group        bool        `json:"group,omitempty"`
	Metric       string      `json:"metric,omitempty"` // the type of the metric of the scenario's own that this is
	Unit         string      `json:"unit,omitempty"`   // of Values
	Retries      uint64      `json:"retries,omitempty"`
	Requests     uint64      `json:"requests"`
	Failed       uint64      `json:"failed"`
	ErrorRatio   load.Number `json:"error_ratio"`
	ResponseTime latencyJSON `json:"response_time_seconds"`
	// Values are percentiles of a metric that is none of durations.
	Values *latencyJSON `json:"values,omitempty"`

	Failures map[string]uint64 `json:"failed_by_cause"`

	Messages *messagesJSON `json:"messages,omitempty"` // of the streams that the step opened
}

type messagesJSON struct {
	Sent          uint64 `json:"sent"`
	Received      uint64 `json:"received"`
	SentBytes     uint64 `json:"sent_bytes"`
	ReceivedBytes uint64 `json:"received_bytes"`
	Missing       uint64 `json:"missing"`
	Reordered     uint64 `json:"reordered"`
	Repeated      uint64 `json:"repeated"`
	Unmet         uint64 `json:"unmet"`
}

type checkJSON struct {
	Name      string      `json:"name"`
	Evaluated uint64      `json:"evaluated"`
	Failed    uint64      `json:"failed"`
	Ratio     load.Number `json:"ratio"` // of those that held
}

type latencyJSON struct {
	P50 load.Number `json:"p50"`
	P90 load.Number `json:"p90"`
	P95 load.Number `json:"p95"`
	P99 load.Number `json:"p99"`
}

func byReason(list []Count) map[string]uint64 {
	out := map[string]uint64{}
	for _, c := range list {
		out[c.Reason] += c.Count
	}
	return out
}

// number returns v, or NaN where it does not exist.
func number(v float64, exists bool) load.Number {
	if !exists {
		v = math.NaN()
	}
	return load.Number(v)
}

// ratio returns part/whole, NaN where both are 0.
func ratio(part, whole uint64) float64 { return float64(part) / float64(whole) }
