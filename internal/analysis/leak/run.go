package leak

import (
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// endurance is the test that a run is for when leaks are what it looks for.
const endurance = "endurance"

// Run says what the resources of a run's targets did while it was under way. Of
// a run that is not an endurance test it says only what is proven: most are too short to tell.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	from, known := a.runs[e.Run]
	delete(a.runs, e.Run)
	if !known {
		return nil
	}
	now := seconds(at)
	var out []load.Finding
	for m := range a.members(now) {
		t := m.resource.target
		if t.name != e.Target && !slices.Contains(e.Targets, t.name) {
			continue
		}
		// Load begins with the run, and so does what it warms up.
		verdict, against, x := m.examine(from, now, &t.traffic, true)
		if verdict == load.Inconclusive && e.Test != endurance {
			continue
		}
		f := m.finding(&x, verdict, against, at)
		f.ID = analysis.ID(load.KindLeak, e.Run, t.name, m.resource.Name, m.name)
		f.Scenario, f.Run = e.Scenario, e.Run
		f.Since = instant(max(from, seconds(f.Since)))
		out = append(out, f)
	}
	return out
}

// Collect sends what the last looks came to.
func (a *Analysis) Collect(send analysis.Send) {
	for m := range a.members(a.judged) {
		if m.judgement.looked {
			m.collect(send)
		}
	}
}

func (m *member) collect(send analysis.Send) {
	j := &m.judgement
	labels := []string{m.resource.target.name, m.resource.Name, m.name}
	for v := range load.NumVerdicts {
		send(metric.LeakVerdict, analysis.Number(v == j.verdict), append(slices.Clip(labels), v.String())...)
	}
	if j.verdict != load.Inconclusive {
		send(metric.LeakSuspected, analysis.Number(j.verdict == load.Fail), labels...)
		if m.resource.Limit > 0 {
			left := math.Inf(1)
			if j.verdict == load.Fail {
				left = m.untilLimit(&j.x, j.x.trend.slope)
			}
			send(metric.LeakSecondsToLimit, left, labels...)
		}
	}
	if j.x.lack != enough {
		return
	}
	slope, lower, upper := metric.LeakSlopeCount, metric.LeakSlopeCountLower, metric.LeakSlopeCountUpper
	if m.resource.Kind == load.ResourceMemory {
		slope, lower, upper = metric.LeakSlopeBytes, metric.LeakSlopeBytesLower, metric.LeakSlopeBytesUpper
	}
	send(slope, j.x.trend.slope, labels...)
	send(lower, j.x.trend.in.Lower, labels...)
	send(upper, j.x.trend.in.Upper, labels...)
}
