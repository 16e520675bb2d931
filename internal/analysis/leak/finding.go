package leak

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

const confidence = 0.95

// finding says what an examination came to.
func (m *member) finding(x *examination, verdict load.Verdict, o objection, at time.Time) load.Finding {
	r := m.resource
	f := load.Finding{
		ID: analysis.ID(load.KindLeak, r.target.name, r.Name, m.name), Kind: load.KindLeak, Verdict: verdict,
		Target: r.target.name, Resource: r.Name, Member: m.name, Release: r.target.release,
		Since: instant(m.life.began), Updated: at, Unit: m.unit() + "_per_second",
		Value: load.Number(math.NaN()), Lower: load.Number(math.NaN()), Upper: load.Number(math.NaN()), Limit: load.Number(math.NaN()),
	}
	f.Evidence = append(f.Evidence, load.Fact{Name: "readings", Value: load.Number(x.readings)}, load.Fact{Name: "restarts", Value: load.Number(m.restarts)})
	if x.cycles > 0 {
		f.Evidence = append(f.Evidence, load.Fact{Name: "cycles", Value: load.Number(x.cycles)}, load.Fact{Name: "length of a cycle", Value: load.Number(x.cycle), Unit: "seconds"})
	}
	if x.lack != enough {
		f.Sentence, f.Needed = m.lacking(x)
		return f
	}
	f.Confidence = confidence
	f.Value, f.Lower, f.Upper = load.Number(x.trend.slope), load.Number(x.trend.in.Lower), load.Number(x.trend.in.Upper)
	f.Evidence = append(f.Evidence, m.facts(x)...)
	f.Doubts = doubts(x)
	name := m.title()
	switch verdict {
	case load.Fail:
		f.Since = instant(x.from)
		parts := []string{fmt.Sprintf("%s grows %s (95 %% interval %s)", name, m.perHour(x.trend.slope), m.between(x.trend.in.Lower, x.trend.in.Upper))}
		if x.requests && x.perRequest.slope > 0 {
			parts = append(parts, m.perRequest(x.perRequest.slope))
		}
		if soonest, latest, ok := m.toLimit(x); ok {
			parts = append(parts, fmt.Sprintf("%s to its limit of %s", span(soonest, latest, m.untilLimit(x, x.trend.slope)), m.amount(r.Limit)))
		}
		f.Sentence = strings.Join(parts, ", ")
	case load.Pass:
		f.Sentence = fmt.Sprintf("%s does not grow: its floor of %s changed by %s at most over %s", name, m.amount(x.floor), amount.Share(max(0, x.upper)), duration(x.span))
	default:
		f.Sentence = fmt.Sprintf("whether %s grows is not known: its floor changes by %s (95 %% interval %s) over %s%s",
			name, m.perHour(x.trend.slope), m.between(x.trend.in.Lower, x.trend.in.Upper), duration(x.span), o.words(x))
		f.Needed = fmt.Sprintf("about %s more of load", duration(max(600, x.span)))
	}
	return f
}

// title names what is watched.
func (m *member) title() string {
	s := m.resource.Name + " of " + m.resource.target.name
	if m.name != "" {
		s += " (" + m.name + ")"
	}
	return s
}

func (m *member) unit() string {
	if m.resource.Kind == load.ResourceMemory {
		return "bytes"
	}
	return "count"
}

func (m *member) facts(x *examination) []load.Fact {
	unit := m.unit()
	out := []load.Fact{
		{Name: "span", Value: load.Number(x.span), Unit: "seconds"},
		{Name: "points", Value: load.Number(x.trend.points)},
		{Name: "lifetimes", Value: load.Number(x.lives)},
		{Name: "floor", Value: load.Number(x.floor), Unit: unit},
		{Name: "growth", Value: load.Number(x.growth), Unit: "ratio"},
		{Name: "probability by chance", Value: load.Number(x.trend.p)},
		{Name: "widened for autocorrelation", Value: load.Number(x.trend.factor)},
	}
	if x.requests {
		out = append(out,
			load.Fact{Name: unit + " per request", Value: load.Number(x.perRequest.slope), Unit: unit},
			load.Fact{Name: unit + " per request, at least", Value: load.Number(x.perRequest.in.Lower), Unit: unit},
			load.Fact{Name: unit + " per request, at most", Value: load.Number(x.perRequest.in.Upper), Unit: unit},
			load.Fact{Name: "requests", Value: load.Number(x.rate), Unit: "per_second"})
	}
	if soonest, latest, ok := m.toLimit(x); ok {
		out = append(out,
			load.Fact{Name: "to the limit", Value: load.Number(m.untilLimit(x, x.trend.slope)), Unit: "seconds"},
			load.Fact{Name: "to the limit, at least", Value: load.Number(soonest), Unit: "seconds"},
			load.Fact{Name: "to the limit, at most", Value: load.Number(latest), Unit: "seconds"})
	}
	return out
}

func doubts(x *examination) []string {
	var out []string
	if x.span < day {
		out = append(out, "less than a day: a cache that is still filling looks the same")
	}
	if x.rate == 0 {
		out = append(out, "perfd sent nothing meanwhile")
	}
	return out
}

// words says why a rise is not taken for a leak.
func (o objection) words(x *examination) string {
	switch o {
	case stepped:
		return fmt.Sprintf(", in %d steps rather than steadily", x.trend.steps)
	case slowing, settles:
		return ", more and more slowly"
	case fading:
		return ", less in its later half"
	case withinPast:
		return ", to a level that it had before"
	}
	return ""
}

// lacking says what there is too little of, and how much more would do.
func (m *member) lacking(x *examination) (sentence, needed string) {
	name := m.title()
	switch x.lack {
	case cycles:
		return fmt.Sprintf("whether %s grows is not known: %d cycles of collection seen, of about %s each", name, x.cycles, duration(x.cycle)),
			fmt.Sprintf("%d cycles, about %s more; or a level without cycles, such as live heap after collection", Defaults.MinCycles, duration(float64(Defaults.MinCycles-x.cycles)*x.cycle))
	case blocks:
		missing := float64(Defaults.MinBlocks)/(1-Defaults.WarmUp) - float64(x.blocks)/(1-Defaults.WarmUp)
		return fmt.Sprintf("whether %s grows is not known: %d floors past the warm-up", name, x.blocks),
			fmt.Sprintf("%d floors, about %s more", Defaults.MinBlocks, duration(max(60, missing*x.block)))
	case contrast:
		return fmt.Sprintf("whether %s grows is not known: load rose or fell along with time", name),
			"load that goes up and down, or stays"
	}
	return fmt.Sprintf("whether %s grows is not known: %d readings", name, x.readings),
		fmt.Sprintf("%d readings of one lifetime", Defaults.MinReadings)
}

// untilLimit returns the seconds until the peaks reach the limit at a slope, +Inf without growth.
func (m *member) untilLimit(x *examination, slope float64) float64 {
	left := m.resource.Limit - x.peak
	switch {
	case left <= 0:
		return 0
	case slope <= 0 || math.IsNaN(slope):
		return math.Inf(1)
	}
	return left / slope
}

// toLimit returns the interval of untilLimit; ok is false without a limit.
func (m *member) toLimit(x *examination) (soonest, latest float64, ok bool) {
	return m.untilLimit(x, x.trend.in.Upper), m.untilLimit(x, x.trend.in.Lower), m.resource.Limit > 0
}

func (m *member) amount(v float64) string {
	if m.resource.Kind != load.ResourceMemory {
		return amount.Count(v)
	}
	return amount.Of(v, "bytes")
}

func (m *member) perHour(slope float64) string { return m.amount(slope*3600) + "/h" }

func (m *member) perRequest(v float64) string {
	if m.resource.Kind != load.ResourceMemory {
		return amount.Count(1000*v) + " per 1,000 requests"
	}
	return m.amount(v) + " per request"
}

// between writes two slopes in the unit of the larger one.
func (m *member) between(lower, upper float64) string {
	if math.IsInf(lower, 0) || math.IsInf(upper, 0) || m.resource.Kind != load.ResourceMemory {
		return amount.Count(lower*3600) + " to " + amount.Count(upper*3600)
	}
	_, unit := binary(math.Max(math.Abs(lower), math.Abs(upper)) * 3600)
	scale := 3600 / units[unit]
	return amount.Count(lower*scale) + " to " + amount.Count(upper*scale) + " " + unit + "/h"
}

var units = map[string]float64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

func binary(v float64) (scaled float64, unit string) {
	for _, unit := range [...]string{"GiB", "MiB", "KiB"} {
		if math.Abs(v) >= units[unit] {
			return v / units[unit], unit
		}
	}
	return v, "B"
}

// span writes a time and, where they differ from it, the bounds of it.
func span(soonest, latest, likely float64) string {
	if a, b := duration(soonest), duration(latest); a != b {
		return fmt.Sprintf("%s (%s to %s)", duration(likely), a, b)
	}
	return duration(likely)
}

// duration writes seconds, of which there may be no end.
func duration(s float64) string {
	if math.IsInf(s, 1) {
		return "no end"
	}
	return amount.Span(time.Duration(min(s, math.MaxInt64/2e9) * 1e9))
}
