package twin

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// The statistics that are compared, as labels have them.
const (
	p50        = "p50"
	p95        = "p95"
	mean       = "mean"
	typical    = "typical"
	errorRatio = "error_ratio"
)

// statistics are those that are compared; the first of them are levels. The typical level is the geometric mean of the
// nine deciles: as robust as the median, and known as well from two thirds as many answers.
var statistics = [...]string{p50, p95, mean, typical, errorRatio}

const levels = 4

// The sides of a pair.
const (
	own = iota
	baseline
)

// A value is a pair of like windows, or of like blocks of windows: the scenario's own side and the baseline's.
type value struct {
	end    int64 // ns since 1970
	length float32
	// level holds the logarithms of the level statistics in seconds, of each side; NaN where there were too few answers.
	level  [2][levels]float32
	asked  [2]uint32
	failed [2]uint32
}

// valueOf returns what like windows of the two sides say.
func valueOf(end time.Time, length time.Duration, sides [2]*tally) value {
	v := value{end: end.UnixNano(), length: float32(length.Seconds())}
	for i, t := range sides {
		v.asked[i], v.failed[i] = uint32(min(t.asked, math.MaxUint32)), uint32(min(t.failed, math.MaxUint32))
		nan := float32(math.NaN())
		v.level[i] = [levels]float32{nan, nan, nan, nan}
		n := t.times.Count()
		if n < thresholds.Requests {
			continue
		}
		v.level[i][0] = logOf(t.times.Quantile(0.5))
		if n >= thresholds.Tail {
			v.level[i][1] = logOf(t.times.Quantile(0.95))
		}
		v.level[i][2] = logOf(t.times.Sum() / time.Duration(n))
		v.level[i][3] = 0
		for decile := 1; decile <= 9; decile++ {
			v.level[i][3] += logOf(t.times.Quantile(float64(decile)/10)) / 9
		}
	}
	return v
}

func logOf(d time.Duration) float32 { return float32(math.Log(max(d.Seconds(), 1e-9))) }

// A tally is what one side did in a stretch of time.
type tally struct {
	times         *hist.Histogram
	asked, failed uint64
}

// tallyOf returns a window's. What perfd itself disturbed is left out, cancelled requests too.
func tallyOf(w *load.Window) *tally {
	t := &tally{times: w.Duration, asked: w.Requests - w.Failures[load.Canceled], failed: w.Failed()}
	for _, c := range w.Touched {
		if c.Cause == load.Canceled {
			continue
		}
		t.asked -= min(t.asked, c.Count)
		if c.Cause != load.None {
			t.failed -= min(t.failed, c.Count)
		}
	}
	return t
}

// A comparison is that of one step, or of the whole scenario, since the last release of either side.
type comparison struct {
	step     string // empty for the whole
	metric   bool   // step is a metric of the scenario's own
	target   string // of the scenario's own side
	releases [2]string

	fine   []value // the last of them
	blocks []value // likewise, longer ago
	open   [2]tally
	opened time.Time // beginning of the block that is open
	length time.Duration
	end    time.Time

	since  time.Time // of the first value
	calls  [len(statistics)]call
	latest [len(statistics)]result
}

// A call says that a difference is proven, and since when; the zero value says that none is.
type call struct {
	worse int // 1: the scenario's own side is worse; -1: the baseline's is
	span  time.Duration
	since time.Time
}

// add takes a pair of like windows.
func (c *comparison) add(a, b *load.Window) {
	if c.releases[own] != a.Release && c.releases[own] != "" && a.Release != "" || c.releases[baseline] != b.Release && c.releases[baseline] != "" && b.Release != "" {
		*c = comparison{step: c.step}
	}
	for i, w := range []*load.Window{a, b} {
		if w.Release != "" {
			c.releases[i] = w.Release
		}
	}
	c.target = a.Target
	if c.since.IsZero() {
		c.since = a.Start
	}
	length := a.End.Sub(a.Start)
	sides := [2]*tally{tallyOf(a), tallyOf(b)}
	if length < thresholds.Block/4 {
		c.fine = append(c.fine, valueOf(a.End, length, sides))
		c.fine = trimmed(c.fine, a.End.Add(-thresholds.Fine))
	}
	if begin := a.Start.Truncate(thresholds.Block); !begin.Equal(c.opened) {
		c.closeBlock()
		c.opened = begin
	}
	for i, t := range sides {
		o := &c.open[i]
		if o.times == nil {
			o.times = new(hist.Histogram)
		}
		o.times.Merge(t.times)
		o.asked += t.asked
		o.failed += t.failed
	}
	c.length += length
	c.end = a.End
}

// closeBlock makes what is open a block.
func (c *comparison) closeBlock() {
	if c.length > 0 {
		c.blocks = append(c.blocks, valueOf(c.end, c.length, [2]*tally{&c.open[own], &c.open[baseline]}))
		c.blocks = trimmed(c.blocks, c.end.Add(-slices.Max(thresholds.Spans)))
	}
	for i := range c.open {
		if c.open[i].times != nil {
			c.open[i].times.Reset()
		}
		c.open[i].asked, c.open[i].failed = 0, 0
	}
	c.length = 0
}

// trimmed returns the values that end after an instant. What is dropped is let go of in time.
func trimmed(list []value, after time.Time) []value {
	n := firstAfter(list, after)
	if n > len(list)/2 {
		return append(list[:0:0], list[n:]...)
	}
	return list[n:]
}

// within returns the values of the last span before an instant, and how few of them say anything.
func (c *comparison) within(span time.Duration, to time.Time) (list []value, fewest int) {
	list, fewest = c.blocks, thresholds.FewestBlocks
	if span <= thresholds.Fine {
		list, fewest = c.fine, thresholds.FewestFine
	}
	return list[firstAfter(list, to.Add(-span)):], fewest
}

// firstAfter returns the index of the first of the values that ends after an instant.
func firstAfter(list []value, at time.Time) int {
	n, _ := slices.BinarySearchFunc(list, at.UnixNano()+1, func(v value, end int64) int { return cmp.Compare(v.end, end) })
	return n
}

// earlier returns the values before the last span, where it is one of single windows.
func (c *comparison) earlier(span time.Duration, to time.Time) []value {
	if span > thresholds.Fine/2 {
		return nil
	}
	list, _ := c.within(span, to)
	return c.fine[:len(c.fine)-len(list)]
}

// A result is how far the scenario's own side is from the baseline in one statistic.
type result struct {
	known  bool
	levels [2]float64 // of the sides: seconds, or a share
	// change is the own side's over the baseline's less one; of the error ratio it is the one less the other.
	change float64
	in     stats.Interval // of change
	n      int            // values
	worth  float64        // independent values, or requests of the error ratio
	worse  float64        // p-value of the own side being no worse
	better float64        // of it being no better
	// beyond is 1 where the own side is worse by more than the margin with the Confidence of intervals, -1 where
	// the baseline is; inside says that neither is.
	beyond int
	inside bool
}

// compare compares the sides in the values, of which there must be a number. The values before them say how long
// differences last, too.
func compare(statistic int, list, before []value, fewest int, margin float64) result {
	if statistic == levels {
		return compareErrors(list, fewest)
	}
	return compareLevels(statistic, list, before, fewest, margin)
}

// compareLevels compares a level on the logarithmic scale, where a change in per cent is the same at every level. The
// environment, which both sides share, is not in the differences. They are as dependent on each other as they look, and
// their mean is known as well as that of fewer independent ones.
func compareLevels(statistic int, list, before []value, fewest int, margin float64) (r result) {
	x := make([]float64, 0, len(list))
	var sides [2]float64
	for i := range list {
		a, b := float64(list[i].level[own][statistic]), float64(list[i].level[baseline][statistic])
		if math.IsNaN(a) || math.IsNaN(b) {
			continue
		}
		x = append(x, a-b)
		sides[own] += a
		sides[baseline] += b
	}
	if len(x) < fewest {
		return r
	}
	for i := range sides {
		r.levels[i] = math.Exp(sides[i] / float64(len(x)))
	}
	tame(x)
	r.n, r.worth = len(x), min(stats.EffectiveSize(x), float64(len(x))/lasting(statistic, before))
	shift := stats.MeanEffective(x, r.worth, thresholds.Confidence)
	limit := math.Log1p(margin)
	r.known = shift.Warnings == nil
	r.change = math.Expm1(shift.Estimate)
	r.in = stats.Interval{Lower: math.Expm1(shift.Interval.Lower), Upper: math.Expm1(shift.Interval.Upper)}
	r.worse, r.better = shift.Above(0), shift.Below(0)
	r.judge(shift.Interval, -limit, limit)
	return r
}

// lasting is for how many values differences resemble each other, 1 where there are too few to say. A difference that
// lasts for minutes fills a short span, which therefore does not show that it comes and goes. It is that of a first-order
// autoregression whose autocorrelation two thirds of the stretches do not exceed, each corrected for its short length
// (Marriott and Pope, "Bias in the estimation of autocorrelations", Biometrika 41 (1954)): a change of level is in few of them.
func lasting(statistic int, before []value) float64 {
	x := make([]float64, 0, len(before))
	for i := range before {
		if d := float64(before[i].level[own][statistic] - before[i].level[baseline][statistic]); !math.IsNaN(d) {
			x = append(x, d)
		}
	}
	var rhos []float64
	for n := thresholds.FewestFine; len(x) >= n; x = x[n:] {
		rhos = append(rhos, (float64(n)*stats.Autocorrelation(x[:n], 1)+1)/float64(n-3))
	}
	if len(rhos) < thresholds.FewestStretches {
		return 1
	}
	slices.Sort(rhos)
	rho := min(max(rhos[len(rhos)*2/3], 0), 0.95)
	return (1 + rho) / (1 - rho)
}

// judge says whether an interval lies beyond limits or within them.
func (r *result) judge(in stats.Interval, low, high float64) {
	switch {
	case in.Lower > high:
		r.beyond = 1
	case in.Upper < low:
		r.beyond = -1
	case in.Lower > low && in.Upper < high:
		r.inside = true
	}
}

// tame moves values that lie far out to where the others end.
func tame(x []float64) {
	m := stats.Median(x)
	away := make([]float64, len(x))
	for i, v := range x {
		away[i] = math.Abs(v - m)
	}
	const normal = 1.4826 // standard deviations of normal values in a median absolute deviation
	most := thresholds.Spread * normal * stats.Median(away)
	if most == 0 {
		return
	}
	for i, v := range x {
		x[i] = min(max(v, m-most), m+most)
	}
}

// compareErrors compares the shares of failed requests, each side's counts divided by what they are dispersed by.
func compareErrors(list []value, fewest int) (r result) {
	var k, n [2][]float64
	for i := range list {
		if list[i].asked[own] == 0 || list[i].asked[baseline] == 0 {
			continue
		}
		for s := range k {
			k[s], n[s] = append(k[s], float64(list[i].failed[s])), append(n[s], float64(list[i].asked[s]))
		}
	}
	if len(k[own]) < fewest {
		return r
	}
	var bad, all [2]float64
	for s := range k {
		effect := stats.DesignEffect(k[s], n[s])
		for i := range k[s] {
			bad[s] += k[s][i]
			all[s] += n[s][i]
		}
		r.levels[s] = bad[s] / all[s]
		bad[s], all[s] = bad[s]/effect, all[s]/effect
	}
	r.known, r.n, r.worth = true, len(k[own]), min(all[own], all[baseline])
	r.change, r.in = stats.ProportionShift(bad[baseline], all[baseline], bad[own], all[own], thresholds.Confidence)
	r.worse = stats.CountsAbove(bad[baseline], all[baseline], bad[own], all[own])
	r.better = stats.CountsAbove(bad[own], all[own], bad[baseline], all[baseline])
	switch limit := thresholds.Errors; {
	case r.change > limit && r.in.Lower > 0:
		r.beyond = 1
	case r.change < -limit && r.in.Upper < 0:
		r.beyond = -1
	case r.in.Lower > -limit && r.in.Upper < limit:
		r.inside = true
	}
	return r
}

// look compares the sides in all statistics over all spans, each a share of the false calls that are allowed, and
// makes, keeps and ends calls.
func (c *comparison) look(at time.Time, margin, share float64) {
	for s := range statistics {
		c.latest[s] = result{}
		was := c.calls[s]
		var made call
		var before *value // the first of the span before
		for _, span := range thresholds.Spans {
			list, fewest := c.within(span, at)
			if len(list) < fewest || &list[0] == before {
				continue
			}
			before = &list[0]
			r := compare(s, list, c.earlier(span, at), fewest, margin)
			if !r.known {
				continue
			}
			level := levelOf(span, share)
			if made.worse == 0 && (r.beyond > 0 && r.worse <= level || r.beyond < 0 && r.better <= level) {
				made = call{r.beyond, span, begin(list)}
			}
			switch {
			case made.worse != 0:
				if made.span == span {
					c.latest[s] = r
				}
			case span <= time.Hour || !c.latest[s].known:
				c.latest[s] = r
			}
		}
		switch {
		case made.worse != 0:
			if was.worse == made.worse {
				made.since = was.since
			}
			c.calls[s] = made
		case was.worse != 0:
			c.hold(s, at, margin)
		}
	}
}

// hold keeps a call that nothing proves at the moment, unless its span says that it has gone.
func (c *comparison) hold(s int, at time.Time, margin float64) {
	was := c.calls[s]
	list, fewest := c.within(max(was.span, 15*time.Minute), at)
	r := compare(s, list, nil, fewest, margin)
	if !r.known {
		return
	}
	c.latest[s] = r
	limit := margin
	if s == levels {
		limit = thresholds.Errors
	}
	if r.inside || float64(was.worse)*r.change < limit/2 {
		c.calls[s] = call{}
	}
}

// begin is when the first of values began.
func begin(list []value) time.Time {
	return time.Unix(0, list[0].end).Add(-time.Duration(float64(list[0].length) * float64(time.Second)))
}

// levelOf is the probability with which one look at a span of equal twins may call them different, where a comparison
// has a share of the false calls that are allowed.
func levelOf(span time.Duration, share float64) float64 {
	return stats.SpanLevel(span.Hours(), thresholds.Week.Hours(), thresholds.FalseCalls*share/float64(len(thresholds.Spans)*len(statistics)))
}
