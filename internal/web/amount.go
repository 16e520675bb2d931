package web

import (
	"fmt"
	"math"
	"strings"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// measured writes a number of a finding; without a unit it has amount.None.
func measured(n load.Number, unit string) string {
	if unit == "" {
		return amount.None
	}
	return amount.Of(float64(n), unit)
}

// interval writes what the number of a finding lies between, nothing where that is not known.
func interval(f load.Finding) string {
	low, high := float64(f.Lower), float64(f.Upper)
	hasLow := !math.IsNaN(low) && !math.IsInf(low, 0)
	hasHigh := !math.IsNaN(high) && !math.IsInf(high, 0)
	switch {
	case f.Confidence <= 0 || f.Unit == "":
		return amount.None
	case hasLow && hasHigh:
		return amount.Of(float64(f.Lower), f.Unit) + " to " + amount.Of(float64(f.Upper), f.Unit)
	case hasLow:
		return "at least " + amount.Of(float64(f.Lower), f.Unit)
	case hasHigh:
		return "at most " + amount.Of(float64(f.Upper), f.Unit)
	}
	return amount.None
}

// confidence writes how sure an interval is.
func confidence(f load.Finding) string {
	if interval(f) == amount.None {
		return ""
	}
	return amount.Share(f.Confidence)
}

// facts writes what a finding rests on.
func facts(list []load.Fact) string {
	var parts []string
	for _, f := range list {
		parts = append(parts, fmt.Sprintf("%s %s", f.Name, amount.Of(float64(f.Value), f.Unit)))
	}
	return strings.Join(parts, " · ")
}
