package load

import "math"

// The types of metrics of a scenario's own. They are those of k6.
const (
	MetricCounter = "counter"
	MetricRate    = "rate"
	MetricGauge   = "gauge"
	MetricTrend   = "trend"
)

// UnitSeconds is the unit of durations.
const UnitSeconds = "seconds"

// A Metric is a metric of a scenario's own. It is read-only.
type Metric struct {
	Type    string
	Unit    string // empty for none; of a trend always there, UnitSeconds for one of durations
	Help    string
	Buckets []float64 // of a trend: the upper bounds of its classic buckets in Unit, rising; nil for the usual ones
	Labels  []MetricLabel
	// Step is the step whose messages the metric times, as Timing says; empty for a metric of the scenario's own.
	Step   string
	Timing MessageTiming
}

// A MetricLabel is a label of a metric of a scenario's own, whose values are bounded.
type MetricLabel struct {
	Name   string
	Values []string // all that there are; nil where they are not known beforehand
	AtMost int      // how many there are
}

// LabelSeparator stands between the values of a metric's labels. It is in no text of UTF-8.
const LabelSeparator = '\xff'

// Series is how many series the metric has at most, one for each combination of values of its labels.
func (m *Metric) Series() int {
	n := 1
	for _, l := range m.Labels {
		n *= l.AtMost
	}
	return n
}

// Numbers reports whether the metric is a trend of something else than durations.
func (m *Metric) Numbers() bool { return m.Type == MetricTrend && m.Unit != UnitSeconds }

// AsRequests reports whether values are as requests are, of which some fail or which last for some time: a rate, or a
// trend of durations. Others are numbers that say nothing by themselves.
func (m *Metric) AsRequests() bool {
	return m.Type == MetricRate || m.Type == MetricTrend && !m.Numbers()
}

// OwnBounds reports whether the classic buckets of the metric are others than those of requests.
func (m *Metric) OwnBounds() bool { return m.Numbers() || m.Type == MetricTrend && m.Buckets != nil }

// A Scale says what values in a unit are in a histogram, which counts nanoseconds: a value of 1 is 10⁹ / 2^Shift of
// them. Other units than seconds are so shifted by a power of two that whole numbers, and thousandths of what is not
// counted in bytes, stay apart, and the native bucket with number i holds what that with number i + 8·Shift holds of
// values: native buckets grow by the eighth root of two.
type Scale struct{ Shift int }

// ScaleOf returns the scale of a unit. Values reach to an hour, 1.9 TB, or 3.7 billion of any other unit.
func ScaleOf(unit string) Scale {
	switch unit {
	case UnitSeconds:
		return Scale{}
	case UnitBytes:
		return Scale{29}
	}
	return Scale{20}
}

// Units returns a value as a histogram counts it, rounded.
func (s Scale) Units(value float64) int64 { return int64(math.Round(math.Ldexp(value*1e9, -s.Shift))) }

// Value returns what a histogram counts as a value.
func (s Scale) Value(units int64) float64 { return math.Ldexp(float64(units), s.Shift) / 1e9 }

// Written returns the value with the fewest decimals that a histogram counts as so many units.
func (s Scale) Written(units int64) float64 {
	exact := s.Value(units)
	for tens := 1.0; tens <= 1e9; tens *= 10 {
		if short := math.Round(exact*tens) / tens; s.Units(short) == units {
			return short
		}
	}
	return exact
}
