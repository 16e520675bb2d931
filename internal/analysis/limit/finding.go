package limit

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// finding says how a member relates to the limit of its resource.
func (m *member) finding(at time.Time, h *Thresholds) load.Finding {
	r := m.resource
	f := r.describe(m.name, m.high)
	f.ID = analysis.ID(KindLimit, r.target.name, r.Name, m.name)
	f.Since, f.Updated = m.seen, at
	name := r.title(m.name)
	switch {
	case m.over.exceeded:
		f.Verdict, f.Since = load.Fail, m.over.since
		f.Sentence = r.exceeds(name, "over", m.high, 1, h)
	case m.near.exceeded:
		f.Verdict, f.Since, f.Limit = load.Fail, m.near.since, load.Number(r.WarnAt*r.Limit)
		f.Sentence = r.exceeds(name, "near", m.high, r.WarnAt, h)
	case r.For > 0 && m.readings == 0:
		f.Value, f.Lower, f.Upper = load.Number(math.NaN()), load.Number(math.NaN()), load.Number(math.NaN())
		f.Sentence = fmt.Sprintf("whether %s is within its limit of %s over %s is not known yet", name, r.amount(r.Limit), amount.Span(r.For))
		f.Needed = amount.Span(r.For) + " of readings"
	case m.near.against > 0 || m.readings < h.Readings:
		f.Sentence = fmt.Sprintf("whether %s is within its limit is not known yet: one reading of %s", name, r.compared(m.high))
		f.Needed = "one more reading"
	default:
		f.Verdict = load.Pass
		f.Sentence = fmt.Sprintf("%s is within its limit: %s", name, r.compared(m.high))
	}
	return f
}

// exceeds says that a member is over or near its limit. A level that has fallen
// below the threshold, a share of the limit, has not recovered yet.
func (r *resource) exceeds(name, where string, high, share float64, h *Thresholds) string {
	switch {
	case high < share*r.Limit:
		return fmt.Sprintf("%s was %s its limit and has not recovered yet: %s, recovered with %d readings below %s",
			name, where, r.compared(high), h.Readings, percent(recovery(share, h)))
	case where == "over" && high == r.Limit:
		return fmt.Sprintf("%s is at its limit of %s", name, r.amount(r.Limit))
	}
	return fmt.Sprintf("%s is %s its limit: %s", name, where, r.compared(high))
}

// finding says what a member reached while the run was under way. A resource that
// was near its limit is no reason for the run to fail.
func (r *run) finding(e load.Event, at time.Time, of *resource, member string, h *Thresholds) load.Finding {
	p := r.peaks[peakKey{of.Name, member}]
	f := of.describe(member, p.high)
	f.ID = analysis.ID(KindLimit, e.Run, of.target.name, of.Name, member)
	f.Scenario, f.Run, f.Release = e.Scenario, e.Run, e.Release
	f.Since, f.Updated = r.began, at
	name := of.title(member)
	switch {
	case p.over && p.high == of.Limit:
		f.Verdict = load.Fail
		f.Sentence = fmt.Sprintf("%s reached its limit of %s", name, of.amount(of.Limit))
	case p.over:
		f.Verdict = load.Fail
		f.Sentence = fmt.Sprintf("%s went over its limit: at most %s", name, of.compared(p.high))
	case p.high >= of.Limit || p.readings < h.Readings:
		f.Sentence = fmt.Sprintf("whether %s was within its limit is not known: one reading of %s", name, of.compared(p.high))
		f.Needed = fmt.Sprintf("%d readings in a row", h.Readings)
	case p.near:
		f.Verdict = load.Pass
		f.Sentence = fmt.Sprintf("%s went near its limit: at most %s", name, of.compared(p.high))
	default:
		f.Verdict = load.Pass
		f.Sentence = fmt.Sprintf("%s was within its limit: at most %s", name, of.compared(p.high))
	}
	return f
}

// describe returns the parts of a finding that do not depend on its verdict.
func (r *resource) describe(member string, high float64) load.Finding {
	v := load.Number(high)
	return load.Finding{
		Kind: KindLimit, Target: r.target.name, Resource: r.Name, Member: member,
		Unit: r.unit(), Value: v, Lower: v, Upper: v, Limit: load.Number(r.Limit),
		Evidence: []load.Fact{
			{Name: "limit", Value: load.Number(r.Limit), Unit: r.unit()},
			{Name: "share of the limit", Value: load.Number(high / r.Limit), Unit: "ratio"},
			{Name: "warned at", Value: load.Number(r.WarnAt), Unit: "ratio"},
		},
	}
}

// title names one resource of one member.
func (r *resource) title(member string) string {
	s := r.Name + " of " + r.target.name
	if member != "" {
		s += " (" + member + ")"
	}
	return s
}

// compared writes a level and its share of the limit.
func (r *resource) compared(v float64) string {
	over := ""
	if r.For > 0 {
		over = " over " + amount.Span(r.For)
	}
	return fmt.Sprintf("%s%s, %s of its limit of %s", r.amount(v), over, percent(v/r.Limit), r.amount(r.Limit))
}

// amount writes a level with its unit.
func (r *resource) amount(v float64) string {
	switch r.unit() {
	case load.UnitBytesPerSecond:
		return amount.Of(v, load.UnitBytes) + "/s"
	case load.UnitCores:
		return amount.Count(v) + " cores"
	}
	return amount.Of(v, r.unit())
}

func (r *resource) unit() string { return load.ResourceUnit(r.Kind) }

// percent writes a share of a limit in whole percent. It is rounded down, so that
// 100 % is never written of what is below the limit.
func percent(share float64) string {
	// 0.29 is a little less than 29 % as a floating-point number.
	return fmt.Sprintf("%.0f %%", math.Floor(share*100+1e-9))
}

func compare(a, b peakKey) int {
	return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.member, b.member))
}
