// Package amount writes numbers for people: one way for each kind of number,
// wherever it is read. Three significant digits are enough to tell two
// measurements apart; more would claim what was not measured.
package amount

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// None stands where there is no number: no data is not zero.
const None = "–"

// Of writes a number with its unit: seconds, ratio, bytes, bytes_per_second,
// per_second or count_per_second; anything else is a count. NaN is None.
func Of(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return None
	case math.IsInf(v, 1):
		return "∞"
	case v < 0:
		return "−" + Of(-v, unit)
	}
	switch unit {
	case "seconds":
		return Seconds(v)
	case "ratio":
		return Share(v)
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

// Count writes a number without a unit: whole with its thousands apart, or with
// three significant digits where it is small.
func Count(v float64) string { return Of(v, "") }

// Seconds writes a duration of v ≥ 0 seconds.
func Seconds(v float64) string {
	switch {
	case v == 0:
		return "0 s"
	case v < 0.9995e-3:
		return three(v*1e6) + " µs"
	case v < 0.9995:
		return three(v*1e3) + " ms"
	case v < 600:
		return three(v) + " s"
	}
	return Span(time.Duration(min(v, math.MaxInt64/2e9) * 1e9))
}

// Span writes how long something lasts in its two largest units: "45s", "1m 30s",
// "24h", "5d 3h". Less than nothing is nothing.
func Span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return pair(d, time.Minute, "m", time.Second, "s")
	case d < 48*time.Hour:
		return pair(d, time.Hour, "h", time.Minute, "m")
	}
	return pair(d, 24*time.Hour, "d", time.Hour, "h")
}

func pair(d, large time.Duration, name string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d%s", d/large, name)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf(" %d%s", rest, smallName)
	}
	return s
}

// Share writes a part of 1 in percent, with two digits of what is left to 0 or to
// 1: 99.95 % and 99.995 % are a decade of errors apart. NaN is None.
func Share(v float64) string {
	if math.IsNaN(v) {
		return None
	}
	p := 100 * v
	decimals := 2
	if left := math.Abs(p - 100*math.Round(min(v, 1))); left > 0 {
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

// three writes v ≥ 0 with three significant digits, and whole from 100 on.
func three(v float64) string {
	decimals := 0
	if v > 0 {
		decimals = min(max(0, 2-int(math.Floor(math.Log10(v)))), 9)
	}
	return trim(strconv.FormatFloat(v, 'f', decimals, 64))
}

// trim takes trailing zeros away from behind a point.
func trim(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
