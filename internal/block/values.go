package block

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A scalar is a type that decodes itself from one scalar of the document.
type scalar interface {
	// parse returns what is wrong with the text, empty for nothing, and a hint.
	parse(n *Node) (problem, hint string)
}

// bare reports whether the scalar is a number without a unit.
func (n *Node) bare() bool {
	k := n.Typed()
	return k == Int || k == Float
}

// units is a hint with three ways to write a bare number with its unit.
func units(n *Node, a, b, c string) string {
	number := n.Scalar
	if n.Hidden {
		number = "…"
	}
	return fmt.Sprintf("write %q, %q or %q", number+a, number+b, number+c)
}

// A Duration is a span of time, written with its units: "300ms", "1h30m", "7d".
type Duration time.Duration

var days = regexp.MustCompile(`^(\d+(?:\.\d+)?)d(.*)$`)

// ParseDuration reads Go's notation with days ("7d", "1d12h") added.
func ParseDuration(s string) (time.Duration, error) {
	m := days.FindStringSubmatch(s)
	if m == nil {
		return time.ParseDuration(s)
	}
	count, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, err
	}
	if count*24 > math.MaxInt64/float64(time.Hour) {
		return 0, fmt.Errorf("duration %q is too long", s)
	}
	d := time.Duration(count * 24 * float64(time.Hour))
	if m[2] == "" {
		return d, nil
	}
	rest, err := time.ParseDuration(m[2])
	if err == nil && d+rest < d {
		err = fmt.Errorf("duration %q is too long", s)
	}
	return d + rest, err
}

func (d *Duration) parse(n *Node) (string, string) {
	if n.bare() {
		return "a duration needs a unit, got " + n.Found(), units(n, "s", "ms", "m")
	}
	v, err := ParseDuration(n.Scalar)
	if n.Kind != String || err != nil {
		return "must be a duration such as 300ms, 5m or 7d, got " + n.Found(), spelled(n)
	}
	if v < 0 {
		return "must not be negative, got " + n.Found(), ""
	}
	*d = Duration(v)
	return "", ""
}

// spelledOut is a number with the word of a unit.
var spelledOut = regexp.MustCompile(`(?i)^(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h|d)[a-z]*$`)

// spelled returns the hint for a duration whose unit is written out, empty for another.
func spelled(n *Node) string {
	m := spelledOut.FindStringSubmatch(n.Scalar)
	if m == nil || n.Hidden {
		return ""
	}
	unit := strings.ToLower(m[2])
	if unit == "milli" {
		unit = "ms"
	}
	if m[1]+unit == n.Scalar {
		return "" // it is too long
	}
	return "write " + m[1] + unit
}

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String returns d without units that are zero: "5m", not "5m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// A Rate is a number of events in a span of time, written "50/s", "300/m" or "2/h".
type Rate struct {
	Count float64
	Per   time.Duration
}

var rateText = regexp.MustCompile(`^([+-]?[0-9.eE+-]+)\s*/\s*(ms|s|m|h|d)$`)

var rateUnits = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

func (r *Rate) parse(n *Node) (string, string) {
	if n.bare() {
		return "a rate needs a unit of time, got " + n.Found(), units(n, "/s", "/m", "/h")
	}
	m := rateText.FindStringSubmatch(n.Scalar)
	if n.Kind != String || m == nil {
		return "must be a rate such as 50/s, 300/m or 2/h, got " + n.Found(), ""
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return "must be a rate such as 50/s, 300/m or 2/h, got " + n.Found(), ""
	}
	if v < 0 {
		return "must not be negative, got " + n.Found(), ""
	}
	*r = Rate{v, rateUnits[m[2]]}
	return "", ""
}

// PerSecond returns the rate in events per second.
func (r Rate) PerSecond() float64 {
	if r.Per == 0 {
		return 0
	}
	return r.Count / r.Per.Seconds()
}

// String returns the rate as it is written: "50/s".
func (r Rate) String() string {
	unit := "s"
	for name, per := range rateUnits {
		if per == r.Per {
			unit = name
		}
	}
	return strconv.FormatFloat(r.Count, 'g', -1, 64) + "/" + unit
}

// MarshalText returns String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a rate as it is written.
func (r *Rate) UnmarshalText(text []byte) error {
	if problem, _ := r.parse(&Node{Kind: String, Scalar: string(text)}); problem != "" {
		return errors.New(problem)
	}
	return nil
}

// A Ratio is a share, written "0.1%" or 0.001.
type Ratio float64

// ParseRatio reads a share with or without a percent sign.
func ParseRatio(s string) (float64, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is no share such as 0.1%% or 0.001", s)
	}
	if percent {
		v /= 100
	}
	return v, nil
}

func (r *Ratio) parse(n *Node) (string, string) {
	v, err := ParseRatio(n.Scalar)
	if n.Kind != String && !n.bare() || err != nil {
		return "must be a share such as 0.1% or 0.001, got " + n.Found(), "write 5% or 0.05"
	}
	*r = Ratio(v)
	return "", ""
}

// String returns the share in percent.
func (r Ratio) String() string { return strconv.FormatFloat(float64(r)*100, 'g', 6, 64) + "%" }

// MarshalText returns String.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// A Size is a number of bytes, written "512MiB", "10kB" or "100B".
type Size int64

var sizeText = regexp.MustCompile(`^([0-9.]+)\s*([kKMGT]i?)?B$`)

var sizeUnits = map[string]float64{
	"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
	"ki": 1 << 10, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// ParseSize reads a size as it is written.
func ParseSize(s string) (Size, error) {
	m := sizeText.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("no size such as 512MiB or 10kB: %q", s)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if v *= sizeUnits[m[2]]; err == nil && v > math.MaxInt64/2 {
		err = fmt.Errorf("size %q is too large", s)
	}
	return Size(v), err
}

func (s *Size) parse(n *Node) (string, string) {
	if n.bare() {
		return "a size needs a unit, got " + n.Found(), units(n, "B", "kB", "MiB")
	}
	v, err := ParseSize(n.Scalar)
	if n.Kind != String || err != nil {
		return "must be a size such as 512MiB or 10kB, got " + n.Found(), ""
	}
	*s = v
	return "", ""
}
