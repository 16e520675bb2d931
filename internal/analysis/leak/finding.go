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

const (
	confidence = 0.95

	// falseAlarms is the share of harmless resources that is ever called a leak at
	// most, as docs/verdicts.md has it; the simulation that writes it holds it.
	falseAlarms = 0.04
)

// finding says what an examination came to.
func (m *member) finding(x *examination, verdict load.Verdict, o objection, at time.Time) load.Finding {
	r := m.resource
	f := load.Finding{
		ID: analysis.ID(load.KindLeak, r.target.name, r.Name, m.name), Kind: load.KindLeak, Verdict: verdict,
		Target: r.target.name, Resource: r.Name, Member: m.name, Release: r.target.release,
		Since: instant(m.life.began), Updated: at, Unit: m.unit() + "_per_second",
		Value: load.Number(math.NaN()), Lower: load.Number(math.NaN()), Upper: load.Number(math.NaN()), Limit: load.Number(math.NaN()),
	}
	if x.lack != enough {
		f.Sentence, f.Needed = m.lacking(x)
		f.Evidence = m.seen(x)
		return f
	}
	f.Confidence = confidence
	f.Value, f.Lower, f.Upper = load.Number(x.trend.slope), load.Number(x.trend.in.Lower), load.Number(x.trend.in.Upper)
	f.Evidence = m.facts(x, verdict)
	f.Doubts = doubts(x)
	name := m.title()
	switch verdict {
	case load.Fail:
		f.Since = instant(x.from)
		parts := []string{
			fmt.Sprintf("%s grows from a floor of %s to %s", name, m.amount(x.start), m.amount(x.end())),
			fmt.Sprintf("%s (95 %% interval %s)", m.perHour(x.trend.slope), m.between(x.trend.in.Lower, x.trend.in.Upper)),
			m.takenOut(x),
			fmt.Sprintf("seen for %s", duration(x.span)),
			fmt.Sprintf("of harmless resources at most %s are ever called so", amount.Share(falseAlarms)),
		}
		if x.requests && x.perRequest.slope > 0 {
			parts = append(parts, m.perRequest(x.perRequest.slope))
		}
		if soonest, latest, ok := m.toLimit(x); ok {
			parts = append(parts, fmt.Sprintf("%s to its limit of %s", span(soonest, latest, m.untilLimit(x, x.trend.slope)), m.amount(r.Limit)))
		}
		f.Sentence = strings.Join(parts, ", ")
	case load.Pass:
		f.Sentence = fmt.Sprintf("%s does not grow: its floor of %s rises by %s an hour at most, %s, seen for %s",
			name, m.amount(x.floor), m.amount(max(0, x.trend.in.Upper*3600)), m.takenOut(x), duration(x.span))
	default:
		f.Sentence = fmt.Sprintf("whether %s grows is not known: its floor changes by %s (95 %% interval %s), %s, seen for %s%s",
			name, m.perHour(x.trend.slope), m.between(x.trend.in.Lower, x.trend.in.Upper), m.takenOut(x), duration(x.span), o.words(x))
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

func doubts(x *examination) []string {
	var out []string
	if x.span < day {
		out = append(out, "less than a day: a cache that is still filling looks the same")
	}
	if x.lives > 1 {
		out = append(out, "growth is that between restarts: a collector that runs as seldom looks the same where only the level shows them")
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
	case uncollected:
		return ", of which most was not collected yet"
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
