package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
)

// A Suite is the result of one run of a suite.
type Suite struct {
	Suite, Run   string
	Result       string // pass, fail, inconclusive, interrupted or error
	Began, Ended time.Time
	Scaled       string // what times and load of the configuration were scaled by, empty for nothing
	Scenarios    []SuitePart
	Runs         []Run // of the scenarios that were judged, in that order
}

// A SuitePart is one scenario of a run of a suite.
type SuitePart struct {
	Scenario, Result string
	Why              string    // it did not start, or was not judged
	Began, Ended     time.Time // zero where it did not
}

// SuiteText writes the summaries of all runs of a suite for people, then one of the suite.
func SuiteText(w io.Writer, s Suite) error {
	for _, r := range s.Runs {
		if err := Text(w, r); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "\n%s\n\n", strings.Repeat("─", 40)); err != nil {
			return err
		}
	}
	var b strings.Builder
	paragraph(&b, "", fmt.Sprintf("suite %s, run %s, %s to %s, %s", s.Suite, s.Run, instant(s.Began), instant(s.Ended), amount.Span(s.Ended.Sub(s.Began))))
	if s.Scaled != "" {
		paragraph(&b, "", s.Scaled)
	}
	b.WriteByte('\n')
	t := table{head: []string{"Scenario", "result", "after", "for"}, numbers: 2}
	worst := []string{}
	for _, p := range s.Scenarios {
		r := row{cells: []string{p.Scenario, p.Result, "", ""}}
		if !p.Began.IsZero() {
			r.cells[2] = amount.Span(p.Began.Sub(s.Began))
			if !p.Ended.IsZero() {
				r.cells[3] = amount.Span(p.Ended.Sub(p.Began))
			}
		}
		if p.Why != "" {
			r.below = []note{{"why", p.Why}}
		}
		if p.Result != "pass" && s.Result != "pass" {
			worst = append(worst, p.Scenario+" "+p.Result)
		}
		t.rows = append(t.rows, r)
	}
	t.write(&b)
	b.WriteByte('\n')
	says := "all scenarios pass"
	if len(worst) > 0 {
		says = strings.Join(worst, ", ")
	}
	paragraph(&b, strings.ToUpper(s.Result)+": ", says)
	_, err := io.WriteString(w, b.String())
	return err
}

// SuiteJSON writes a run of a suite as one JSON object, whose "runs" have the form of JSON.
func SuiteJSON(w io.Writer, s Suite) error {
	out := suiteJSON{Suite: s.Suite, Run: s.Run, Result: s.Result, Scaled: s.Scaled, Began: s.Began, Ended: s.Ended, Duration: s.Ended.Sub(s.Began).Seconds(), Scenarios: []suitePartJSON{}, Runs: []runJSON{}}
	for _, p := range s.Scenarios {
		out.Scenarios = append(out.Scenarios, suitePartJSON(p))
	}
	for _, r := range s.Runs {
		out.Runs = append(out.Runs, runOf(r))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

type suiteJSON struct {
	Suite     string          `json:"suite"`
	Run       string          `json:"run"`
	Result    string          `json:"result"`
	Scaled    string          `json:"scaled,omitempty"`
	Began     time.Time       `json:"began"`
	Ended     time.Time       `json:"ended"`
	Duration  float64         `json:"duration_seconds"`
	Scenarios []suitePartJSON `json:"scenarios"`
	Runs      []runJSON       `json:"runs"`
}

type suitePartJSON struct {
	Scenario string    `json:"scenario"`
	Result   string    `json:"result"`
	Why      string    `json:"why,omitempty"`
	Began    time.Time `json:"began,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
}
