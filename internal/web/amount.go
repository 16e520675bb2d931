package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// amount writes a number of a finding with its unit; the empty unit is a count.
func amount(n load.Number, unit string) string {
	v := float64(n)
	switch {
	case math.IsNaN(v):
		return none
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "−∞"
	case v < 0:
		return "−" + amount(-n, unit)
	}
	switch unit {
	case "seconds":
		switch {
		case v == 0:
			return "0 s"
		case v >= 600:
			return short(time.Duration(min(v, math.MaxInt64/2e9) * 1e9))
		}
		return seconds(v)
	case "ratio":
		return percent(v)
	case "bytes":
		return size(v)
	case "bytes_per_second":
		if v < 1<<20 {
			return size(v*3600) + "/h" // leaks are slow
		}
		return size(v) + "/s"
	case "per_second":
		return count(v) + "/s"
	case "count_per_second":
		if v < 1 {
			return count(v*3600) + "/h"
		}
		return count(v) + "/s"
	}
	return count(v)
}

// percent writes a share with two digits of what is left to 0 or to 1: 99.95 %
// and 99.995 % are a decade of errors apart.
func percent(v float64) string {
	p := 100 * v
	left := math.Abs(p - 100*math.Round(min(v, 1)))
	decimals := 2
	if left > 0 {
		decimals = min(max(2, 1-int(math.Floor(math.Log10(left)))), 6)
	}
	return trim(strconv.FormatFloat(p, 'f', decimals, 64)) + " %"
}

func size(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; v >= 1023.5 && i < len(units)-1; i++ {
		v /= 1024
	}
	return three(v) + " " + units[i]
}

// count writes a number with three significant digits, or whole with its
// thousands apart.
func count(v float64) string {
	if v < 99.95 && v != math.Trunc(v) {
		return three(v)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func three(v float64) string {
	if v == 0 {
		return "0"
	}
	decimals := max(0, 2-int(math.Floor(math.Log10(v))))
	return trim(strconv.FormatFloat(v, 'f', min(decimals, 9), 64))
}

// trim takes trailing zeros away from behind a point.
func trim(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// measured writes a number of a finding; without a unit it has none.
func measured(n load.Number, unit string) string {
	if unit == "" {
		return none
	}
	return amount(n, unit)
}

// interval writes what the number of a finding lies between, nothing where that is not known.
func interval(f load.Finding) string {
	low, high := float64(f.Lower), float64(f.Upper)
	hasLow := !math.IsNaN(low) && !math.IsInf(low, 0)
	hasHigh := !math.IsNaN(high) && !math.IsInf(high, 0)
	switch {
	case f.Confidence <= 0 || f.Unit == "":
		return none
	case hasLow && hasHigh:
		return amount(f.Lower, f.Unit) + " to " + amount(f.Upper, f.Unit)
	case hasLow:
		return "at least " + amount(f.Lower, f.Unit)
	case hasHigh:
		return "at most " + amount(f.Upper, f.Unit)
	}
	return none
}

// confidence writes how sure an interval is.
func confidence(f load.Finding) string {
	if interval(f) == none {
		return ""
	}
	return percent(f.Confidence)
}

// facts writes what a finding rests on.
func facts(list []load.Fact) string {
	var parts []string
	for _, f := range list {
		parts = append(parts, fmt.Sprintf("%s %s", f.Name, amount(f.Value, f.Unit)))
	}
	return strings.Join(parts, " · ")
}
