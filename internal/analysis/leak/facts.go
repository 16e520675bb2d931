package leak

import (
	"github.com/perfd/perfd/internal/load"
)

// seen returns how much there was to judge by.
func (m *member) seen(x *examination) []load.Fact {
	out := []load.Fact{{Name: "readings", Value: load.Number(x.readings)}, {Name: "restarts", Value: load.Number(m.restarts)}}
	if x.cycles > 0 {
		out = append(out, load.Fact{Name: "collections", Value: load.Number(x.cycles)}, load.Fact{Name: "length of a cycle", Value: load.Number(x.cycle), Unit: "seconds"})
	}
	return out
}

// facts returns the numbers of an examination in the order in which a sceptic
// asks for them: the floor at both ends, its growth, what was taken out, how long
// it was seen, how often such a call is wrong, and then all others.
func (m *member) facts(x *examination, verdict load.Verdict) []load.Fact {
	unit := m.unit()
	perHour := func(slope float64) load.Number { return load.Number(slope * 3600) }
	out := []load.Fact{
		{Name: "floor at the start", Value: load.Number(x.start), Unit: unit},
		{Name: "floor at the end", Value: load.Number(x.end()), Unit: unit},
		{Name: "growth per hour", Value: perHour(x.trend.slope), Unit: unit},
		{Name: "growth per hour, at least", Value: perHour(x.trend.in.Lower), Unit: unit},
		{Name: "growth per hour, at most", Value: perHour(x.trend.in.Upper), Unit: unit},
		{Name: "taken out for load, at most", Value: load.Number(x.loadPart), Unit: unit},
		{Name: "swing of collections, taken out", Value: load.Number(x.swing), Unit: unit},
		{Name: "span", Value: load.Number(x.span), Unit: "seconds"},
	}
	if verdict == load.Fail {
		out = append(out, load.Fact{Name: "harmless ones called so, at most", Value: falseAlarms, Unit: "ratio"})
	}
	out = append(out, m.seen(x)...)
	out = append(out,
		load.Fact{Name: "floors", Value: load.Number(x.trend.points)},
		load.Fact{Name: "lifetimes", Value: load.Number(x.lives)},
		load.Fact{Name: "growth", Value: load.Number(x.growth), Unit: "ratio"},
		load.Fact{Name: "probability by chance", Value: load.Number(x.trend.p)},
		load.Fact{Name: "widened for autocorrelation", Value: load.Number(x.trend.factor)})
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
