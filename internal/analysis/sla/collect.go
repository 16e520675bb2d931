package sla

import (
	"math"
	"strconv"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/objective"
)

// counters count the events of one objective since the process started.
type counters struct {
	events, bad uint64
	excluded    map[string]uint64 // by reason, with a zero for each
}

func newCounters() *counters {
	c := &counters{excluded: map[string]uint64{}}
	for _, r := range load.ExcludedReasons {
		c.excluded[r] = 0
	}
	return c
}

// count counts what a window holds. Where there is a reason, the window does not
// count as a whole. What perfd itself disturbed is excluded by its own reason always.
func (c *counters) count(t objective.Tally, reason string) {
	if reason == "" {
		c.events += t.Events
		c.bad += t.Bad
	} else {
		c.excluded[reason] += t.Events
	}
	for by, n := range t.Excluded {
		if n > 0 {
			c.excluded[load.Disturbance(by).String()] += n
		}
	}
}

// Collect sends the metrics of all objectives.
func (j *Judge) Collect(send analysis.Send) {
	for _, s := range j.scenarios {
		for _, c := range s.clauses {
			c.collect(s, send)
		}
	}
}

func (c *clause) collect(s *scenario, send analysis.Send) {
	quantile := ""
	if c.Kind == objective.Latency {
		quantile = strconv.FormatFloat(c.Quantile, 'g', -1, 64)
	}
	step, own := c.place()
	send(metric.ObjectiveInfo, 1, s.Name, c.Name, step, own, c.Target, string(c.Kind), quantile, c.Unit, block.Duration(c.Window).String(), c.Severity)
	send(metric.ObjectiveLimit, c.Limit, s.Name, c.Name)
	if !math.IsNaN(c.shown.value) {
		send(metric.ObjectiveValue, c.shown.value, s.Name, c.Name)
	}
	for v := range load.NumVerdicts {
		send(metric.ObjectiveVerdict, analysis.Number(v == c.shown.verdict), s.Name, c.Name, v.String())
	}
	send(metric.ObjectiveEvents, float64(c.counters.events), s.Name, c.Name)
	send(metric.ObjectiveBad, float64(c.counters.bad), s.Name, c.Name)
	for _, r := range load.ExcludedReasons {
		send(metric.ObjectiveExcluded, float64(c.counters.excluded[r]), s.Name, c.Name, r)
	}
	send(metric.ObjectiveEvidence, c.shown.evidence, s.Name, c.Name)
	budget := c.Budget()
	if math.IsNaN(budget) {
		return
	}
	send(metric.ObjectiveBudget, budget, s.Name, c.Name)
	if !math.IsNaN(c.shown.remaining) {
		send(metric.ObjectiveBudgetRemaining, c.shown.remaining, s.Name, c.Name)
	}
	if s.Test == "stress" || s.Test == "spike" {
		return
	}
	for _, b := range defaults.Burns {
		if limit := b.Factor * budget; limit < 1 {
			send(metric.ObjectiveBurnLimit, limit, s.Name, c.Name, b.Window)
		}
	}
}
