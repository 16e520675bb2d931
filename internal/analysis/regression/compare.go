package regression

import (
	"math"

	"github.com/perfd/perfd/internal/stats"
)

// The statistics that are compared, as labels have them.
const (
	p50        = "p50"
	p95        = "p95"
	p99        = "p99"
	errorRatio = "error_ratio"
	rate       = "rate"
)

var statistics = [...]string{p50, p95, p99, errorRatio, rate}

// A result is the comparison of one statistic.
type result struct {
	statistic     string
	before, after float64 // seconds, a ratio, or requests per second
	// change is after over before less one; of the error ratio it is after less before.
	change float64
	in     stats.Interval // of change, at 95 %
	p      float64        // of no worsening, by one test alone
	beyond bool           // the change is for the worse and past the practical margin
	inside bool           // the interval proves that it is not
	worth  [2]float64     // effective intervals before and after
	season bool           // both sides are compared with like hours
	unlike bool           // like hours do not confirm it
}

// relative is the change over what was before; NaN where there was nothing.
func (r *result) relative() float64 {
	if r.statistic != errorRatio {
		return r.change
	}
	if r.before == 0 {
		return math.NaN()
	}
	return r.change / r.before
}

// A side is what is known of one release at one load.
type side struct{ fine, tail []block }

// Units of comparison.
type unit uint8

const (
	intervals unit = iota
	runs
)

// near says whether two blocks had equal load: the same plan, or where there is
// none as many busy VUs or as many requests, counting noise apart.
func near(a, b *block) bool {
	if a.asked > 0 || b.asked > 0 {
		return ratioNear(float64(a.asked), float64(b.asked), 0)
	}
	if a.busy > 0 && b.busy > 0 && ratioNear(float64(a.busy), float64(b.busy), 0) {
		return true
	}
	return ratioNear(a.rate(), b.rate(), 3*math.Sqrt(1/float64(a.requests)+1/float64(b.requests)))
}

func ratioNear(a, b, noise float64) bool {
	return math.Abs(a-b) <= (thresholds.EqualLoad+noise)*b
}

// atLoad returns the blocks whose load is like's.
func atLoad(list []block, like *block) []block {
	out := make([]block, 0, len(list))
	for i := range list {
		if near(&list[i], like) {
			out = append(out, list[i])
		}
	}
	return out
}

// blocks returns those that have a statistic.
func (s *side) blocks(statistic string) []block {
	if statistic == p99 {
		return s.tail
	}
	return s.fine
}

// compare compares two sides in all statistics that both of them have.
func compare(before, after side, u unit, margin float64) []result {
	var out []result
	for _, s := range statistics {
		x, y := before.blocks(s), after.blocks(s)
		var r result
		var ok bool
		if s == errorRatio {
			r, ok = compareErrors(x, y, u, margin)
		} else {
			r, ok = compareLevels(s, x, y, u, margin)
		}
		if ok {
			out = append(out, r)
		}
	}
	return out
}

// compareLevels compares a statistic on the logarithmic scale, where a change in
// per cent is the same at every level.
func compareLevels(s string, before, after []block, u unit, margin float64) (result, bool) {
	x, y := values(s, before), values(s, after)
	shift, worth, ok := shiftOf(x, y, u)
	if !ok {
		return result{}, false
	}
	r := result{statistic: s, worth: worth, before: math.Exp(stats.Mean(x)), after: math.Exp(stats.Mean(y))}
	r.take(shift, margin)
	return r, true
}

// take takes the change of a level from a shift of its logarithm.
func (r *result) take(shift stats.Shift, margin float64) {
	r.change = math.Expm1(shift.Estimate)
	r.in = stats.Interval{Lower: math.Expm1(shift.Interval.Lower), Upper: math.Expm1(shift.Interval.Upper)}
	if r.statistic == rate {
		r.p = shift.Below(0)
		r.beyond = r.change <= -margin
		r.inside = r.in.Lower > -margin
	} else {
		r.p = shift.Above(0)
		r.beyond = r.change >= margin
		r.inside = r.in.Upper < margin
	}
}

// shiftOf compares two samples of intervals or runs, and says how many
// independent ones they are worth.
func shiftOf(x, y []float64, u unit) (s stats.Shift, worth [2]float64, ok bool) {
	if u == runs {
		worth = [2]float64{float64(len(x)), float64(len(y))}
		switch {
		case len(x) == 0 || len(y) == 0 || len(x)+len(y) < thresholds.Runs:
			return s, worth, false
		case min(len(x), len(y)) >= 4:
			return stats.Welch(x, y, thresholds.Confidence), worth, true
		}
		return stats.Student(x, y, thresholds.Confidence), worth, true
	}
	tau := correlationTime(x, y)
	worth = [2]float64{float64(len(x)) / tau, float64(len(y)) / tau}
	if min(worth[0], worth[1]) < float64(thresholds.Effective) {
		return s, worth, false
	}
	return stats.WelchEffective(x, y, worth[0], worth[1], thresholds.Confidence), worth, true
}

// correlationTime is for how many intervals they do. It is the longer side's to
// say: a release that has just begun is too short to know.
func correlationTime(x, y []float64) float64 {
	if len(x) >= thresholds.Settled || len(y) >= thresholds.Settled {
		if len(x) < len(y) {
			x = y
		}
		return stats.CorrelationTime(x)
	}
	// Both are short: their mean, or chance would decide.
	n, m := float64(len(x)), float64(len(y))
	if n+m == 0 {
		return 1
	}
	return (n*stats.CorrelationTime(x) + m*stats.CorrelationTime(y)) / (n + m)
}

// values returns a statistic of the blocks that have it.
func values(s string, list []block) []float64 {
	out := make([]float64, 0, len(list))
	for i := range list {
		if v := list[i].value(s); !math.IsNaN(v) {
			out = append(out, v)
		}
	}
	return out
}

// value returns a statistic: the logarithm of a level, or the error ratio; NaN
// where the block has none. A rate says something only where it is known what was asked for.
func (b *block) value(s string) float64 {
	switch s {
	case p50:
		return float64(b.p50)
	case p95:
		return float64(b.p95)
	case p99:
		return float64(b.p99)
	case errorRatio:
		return b.errors()
	}
	if b.asked > 0 || b.busy > 0 {
		return math.Log(b.rate())
	}
	return math.NaN()
}

// compareErrors compares shares of failures as counts: a logarithm has no place
// for none. Failures come in clusters, so counts are those that independent ones would be worth.
func compareErrors(before, after []block, u unit, margin float64) (result, bool) {
	if u == intervals && min(len(before), len(after)) < thresholds.Effective || len(before) == 0 || len(after) == 0 || len(before)+len(after) < thresholds.Runs {
		return result{}, false
	}
	kx, nx, dx := clustered(before)
	ky, ny, dy := clustered(after)
	de := max(dx, dy)
	r := result{
		statistic: errorRatio, before: kx / nx, after: ky / ny, worth: [2]float64{float64(len(before)), float64(len(after))},
		p: stats.CountsAbove(kx/de, nx/de, ky/de, ny/de),
	}
	r.change, r.in = stats.ProportionShift(kx/de, nx/de, ky/de, ny/de, thresholds.Confidence)
	allowed := limit(errorRatio, r.before, margin)
	r.beyond = r.change >= allowed
	r.inside = r.in.Upper < allowed
	return r, true
}

// limit is the change of a statistic that begins to matter, with its sign.
func limit(statistic string, before, margin float64) float64 {
	switch statistic {
	case errorRatio:
		return max(thresholds.Errors, margin*before)
	case rate:
		return -margin
	}
	return margin
}

// clustered sums failures and requests up and says by how much their clusters
// inflate the variance.
func clustered(list []block) (failed, requests, effect float64) {
	k, n, shares := make([]float64, len(list)), make([]float64, len(list)), make([]float64, len(list))
	for i := range list {
		k[i], n[i] = float64(list[i].failed), float64(list[i].requests)
		failed += k[i]
		requests += n[i]
		shares[i] = list[i].errors()
	}
	effect = stats.DesignEffect(k, n)
	if len(list) >= thresholds.Settled {
		effect *= stats.IntegratedTime(shares)
	}
	return failed, requests, effect
}
