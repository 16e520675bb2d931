package leak

import (
	"fmt"
	"math"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// takenOut writes what the floors are without: load, collections and lifetimes.
func (m *member) takenOut(x *examination) string {
	s := "no load taken out"
	if x.loadPart > 0 {
		s = fmt.Sprintf("up to %s taken out for load", m.amount(x.loadPart))
	}
	if x.cycles > 0 {
		s += fmt.Sprintf(", under %d collections", x.cycles)
	}
	if x.lives > 1 {
		s += fmt.Sprintf(", in %d lifetimes", x.lives)
	}
	return s
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
