package web

import (
	"fmt"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// An overview is the first line of the landing page: what somebody across the
// room wants to know.
type overview struct {
	Tone        string // good, warn, bad or idle: the colour
	Headline    string
	Scenarios   int
	Running     int
	RequestRate float64 // of all scenarios
	DropRate    float64 // likewise
	Invalid     int     // scenarios whose measurement is not valid
	Failing     int     // scenarios with an alarming share of failures
	Objectives  int
	Broken      int // objectives that fail
	Active      int // other findings that are active
}

// alarming is the share of failed requests from which a number stands out. It
// judges nothing: verdicts are those of objectives.
const alarming = 0.01

func overviewOf(st Status, scenarios []Scenario, kinds analysis.Kinds, findings []load.Finding) overview {
	var o overview
	for _, s := range scenarios {
		o.RequestRate += s.RequestRate
		o.DropRate += s.DropRate
		if s.BaselineOf != "" {
			continue // is there to compare with
		}
		o.Scenarios++
		if s.State == "running" {
			o.Running++
		}
		if !s.Valid {
			o.Invalid++
		}
		if s.ErrorRatio >= alarming {
			o.Failing++
		}
	}
	sum := kinds.Overview(findings)
	o.Objectives, o.Broken, o.Active = sum.Objectives.All, sum.Objectives.Failing, sum.Others
	switch {
	case st.Paused:
		o.Tone, o.Headline = "warn", "Load is paused"
	case !st.Ready:
		o.Tone, o.Headline = "warn", "Not ready"
	case o.Broken > 1:
		o.Tone, o.Headline = "bad", fmt.Sprintf("%d objectives fail", o.Broken)
	case sum.Verdict() == load.Fail:
		o.Tone, o.Headline = "bad", sum.Gravest.Headline
	case o.Failing > 0:
		o.Tone, o.Headline = "bad", "Requests fail"
	case o.Invalid > 0:
		o.Tone, o.Headline = "warn", "perfd disturbs its measurement"
	case o.Running > 0:
		o.Tone, o.Headline = "good", "Load is on"
	default:
		o.Tone, o.Headline = "idle", "Nothing is due"
	}
	return o
}

// stateTone is the colour of a scenario's state.
func stateTone(s Scenario) string {
	switch s.State {
	case "running":
		return "good"
	case "paused", "blackout", "draining":
		return "warn"
	}
	return "idle"
}

// resultTone is the colour of what came of a run.
func resultTone(result string) string {
	switch result {
	case "pass":
		return "good"
	case "fail", "error":
		return "bad"
	case "":
		return "idle"
	}
	return "warn"
}

// scenarioTone is the colour of all that is known of a scenario.
func scenarioTone(s Scenario, known analysis.Summary) string {
	if known.Verdict() == load.Fail {
		return "bad"
	}
	return stateTone(s)
}
