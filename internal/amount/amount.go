// Package amount writes numbers for people, in one way for each kind of number
// wherever it is read. It writes three significant digits, which is more than
// measurements repeat to.
package amount

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// None is written where there is no number: no data is not zero.
const None = "–"

// Of writes a number with its unit: seconds, ratio, bytes, bytes_per_second,
// per_second or count_per_second. Any other unit is that of a count. NaN is None.
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
			return size(v*3600) + "/h" // per hour: leaks are slow
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

// Count writes a number without a unit: rounded with thousands separated, or with
// three significant digits where it is below 100 and not whole.
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

// Span writes a duration in its two largest units: "45s", "1m 30s", "24h", "5d 3h".
// A negative one is "0s".
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

// pair writes a duration in a large unit and, where that is not 0, a small one.
func pair(d, large time.Duration, name string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d%s", d/large, name)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf(" %d%s", rest, smallName)
	}
	return s
}

// Share writes a ratio in percent, with two significant digits of its distance to
// 0 % or 100 %, whichever is nearer: 99.95 % and 99.995 % differ by a factor of ten in
// errors. NaN is None.
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

// size writes v ≥ 0 bytes in binary units.
func size(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; v >= 1023.5 && i < len(units)-1; i++ {
		v /= 1024
	}
	return three(v) + " " + units[i]
}

// count writes v ≥ 0 as Count does.
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

// three writes v ≥ 0 with three significant digits, and as a whole number from 100 on.
func three(v float64) string {
	decimals := 0
	if v > 0 {
		decimals = min(max(0, 2-int(math.Floor(math.Log10(v)))), 9)
	}
	return trim(strconv.FormatFloat(v, 'f', decimals, 64))
}

// trim removes trailing zeros after a decimal point.
func trim(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
