package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// none stands where there is no number: no data is not zero.
const none = "-"

// amount writes a number with its unit (load.Finding names them) in about three
// significant digits; the empty unit is a count.
func amount(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return none
	case math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'f', -1, 64)
	case v < 0:
		return "-" + amount(-v, unit)
	}
	switch unit {
	case "seconds":
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

// measured writes a number of a finding; without a unit it has none.
func measured(n load.Number, unit string) string {
	if unit == "" {
		return none
	}
	return amount(float64(n), unit)
}

// interval writes what a finding's number lies between, and how sure that is.
func interval(f load.Finding) string {
	low, high := finite(f.Lower), finite(f.Upper)
	text := ""
	switch {
	case f.Unit == "" || f.Confidence <= 0 || !low && !high:
		return none
	case low && high:
		text = measured(f.Lower, f.Unit) + " to " + measured(f.Upper, f.Unit)
	case low:
		text = "at least " + measured(f.Lower, f.Unit)
	default:
		text = "at most " + measured(f.Upper, f.Unit)
	}
	if f.Confidence != shownConfidence {
		text += " at " + percent(f.Confidence)
	}
	return text
}

// shownConfidence is the one that the head of a table names.
const shownConfidence = 0.95

func finite(n load.Number) bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

func seconds(v float64) string {
	switch {
	case v == 0:
		return "0 s"
	case v < 0.9995e-3:
		return fmt.Sprintf("%.0f µs", v*1e6)
	case v < 0.9995:
		return three(v*1e3) + " ms"
	case v < 600:
		return three(v) + " s"
	}
	return short(time.Duration(min(v, math.MaxInt64/2e9) * 1e9))
}

// short writes how long something lasts.
func short(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	hours, minutes, rest := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", rest)
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", minutes, rest)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %02dm", hours, minutes)
	}
	return fmt.Sprintf("%dd %dh", hours/24, hours%24)
}

// percent writes a share with two digits of what is left to 0 or to 1: 99.95 %
// and 99.995 % are a decade of errors apart.
func percent(v float64) string {
	if math.IsNaN(v) {
		return none
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
