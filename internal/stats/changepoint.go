package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// A Change is a place in a series at which its level changed.
type Change struct {
	At            int      // index of the first value of the new level
	First, Last   int      // the 95 % range of At
	Before, After float64  // the levels: medians from the change before to the change after
	Size          Interval // of After - Before at 95 %, correlation accounted for
	P             float64  // how likely a change as marked is somewhere in a series that has none
}

// ChangeOptions say what counts as a change.
type ChangeOptions struct {
	Level float64 // probability that a series without changes shows one
}

const (
	// leastSegment is the least number of values of a level that Student's t judges.
	leastSegment = 5
	// shortSegment is the least number of values of a level at all. Levels of fewer
	// than leastSegment values are judged by the exact distribution of ranks.
	shortSegment = 3
	// shortWeight is what p-values of short levels are multiplied by. There are four of them,
	// at two ends of two sizes; Welch's t keeps back more than half of those that chance makes.
	shortWeight = 3
	// besideShort is the number of neighbours that a short level must lie apart from, and
	// apartBy by how many of their standard deviations.
	besideShort = 12
	apartBy     = 2.5
	// episodeWeight is what p-values of short episodes of all places are multiplied by: those of four
	// values add a tenth at most to those of three.
	episodeWeight = 1.1
	// mostOrders bounds the Mann-Whitney U of short levels: beyond it no short level is significant.
	mostOrders = 24
	// wholeShare, partShare and episodeShare are the shares of Level that changes of the whole
	// series, of its seeded intervals, and short episodes may spend. Most series change once, and
	// there are many parts. They add up to more than 1, because Welch's t and the
	// comparison with a line keep back a third or more of what chance makes.
	wholeShare   = 0.85
	partShare    = 0.25
	episodeShare = 0.15
	// maxPhi bounds the correction for correlation: beyond it a series is a random walk.
	maxPhi = 0.95
	// rounding is the square of a normal score that counts as 0.
	rounding = 1e-12
	// unequalSides is the least number of values on both sides of a change from
	// which Welch's t is held to the level of all splits. With fewer, its few degrees of
	// freedom have no power there, and it is held to a level of its own by the size of the lesser side.
	unequalSides = 20
	// widerRatio is the ratio of variances of the lesser side and the other from which
	// Welch's t is held to the level of all splits whatever their sizes.
	widerRatio = 1.5
	// lineWorth is by how much, in -2 log likelihood, a step must describe a stretch
	// better than a line does: a step has one parameter more, its place, whose search
	// gains about 3 where there is only a line. A ramp has as many as a step.
	lineWorth = 2
	// besideLine is the gain from which a step is significant beside a line: the critical
	// value of sup-Wald at 1 % (Andrews 1993).
	besideLine = 12.16
)

// Changes finds the changes of level of a series, from the first to the last.
//
// Values are replaced by normal scores of their ranks, so that what is far out
// weighs little. A part of the series is split where the two-sample t is largest;
// t is scaled by sqrt((1-phi)/(1+phi)) for the lag-1 autocorrelation phi of what
// the levels leave, and its p-value is that of the largest of all splits, not of
// one. The whole series is tried first, then its seeded intervals (Kovács,
// Bühlmann, Li and Munk, "Seeded binary segmentation", Biometrika 110 (2023)), in
// which a dip that recovers shows. What is found is split in the same way, and
// a change is kept if it shows between its neighbours. Levels of three and four
// values are judged by the exact distribution of the Mann-Whitney U.
//
// A spread that changes is no change of level: Welch's t, which does not pool the
// variances of both sides, must agree. A slow drift is none either: a change must describe
// the stretch between its neighbours better than a line, or be significant beside one.
func Changes(x []float64, o ChangeOptions) []Change {
	if len(x) < shortSegment+leastSegment {
		return nil
	}
	s := series{x, normalScores(x)}
	cuts := s.besideDrift(s.confirm(s.split(nil, 0, len(x), o.Level), o.Level), o.Level)
	found := make([]Change, len(cuts))
	for i := range cuts {
		cuts[i] = s.place(cuts, i)
		found[i] = s.describe(x, cuts, i, o.Level)
	}
	return found
}

// normalScores replaces the values of x by the normal quantiles that their ranks
// lead one to expect (Blom, "Statistical Estimates and Transformed Beta-Variables", 1958).
func normalScores(x []float64) []float64 {
	ranks, _ := Ranks(x)
	n := float64(len(x))
	for i, r := range ranks {
		ranks[i] = distuv.UnitNormal.Quantile((r - 0.375) / (n + 0.25))
	}
	return ranks
}

// A series is what is searched for changes: values and their normal scores.
type series struct{ x, z []float64 }

// A split is the best place to cut a part of a series.
type split struct {
	from, at, to int
	p            float64
}

// split returns cuts and those of the part [from, to), in order.
func (s *series) split(cuts []int, from, to int, level float64) []int {
	best := s.best(cuts, from, to, level*wholeShare, level*wholeShare)
	if best.p > level*wholeShare {
		best = s.inside(cuts, from, to, level*partShare)
		if best.at == 0 {
			return s.episode(cuts, from, to, level*episodeShare)
		}
	}
	cuts = append(cuts, best.at)
	slices.Sort(cuts)
	cuts = s.split(cuts, from, best.at, level/2)
	return s.split(cuts, best.at, to, level/2)
}

// inside returns the most significant split of the seeded intervals of a part; its
// at is 0 where none reaches the level.
func (s *series) inside(cuts []int, from, to int, level float64) split {
	var parts [][2]int
	n := float64(to - from)
	for length := n / math.Sqrt2; length >= 2*leastSegment; length /= math.Sqrt2 {
		count := 2*math.Ceil(n/length) - 1
		step := (n - length) / (count - 1)
		for i := range int(count) {
			a := from + int(float64(i)*step)
			parts = append(parts, [2]int{a, min(to, a+int(math.Ceil(length)))})
		}
	}
	level /= float64(len(parts))
	best := split{p: math.Inf(1)}
	for _, part := range parts {
		if b := s.best(cuts, part[0], part[1], level, level); b.p < best.p {
			best = b
		}
	}
	if best.p > level {
		return split{}
	}
	return best
}

// best returns the most significant split of [from, to), and the probability of one
// as significant without a change; 1 where that is certainly more than most. Short levels are
// sought only where Student's t does not reach the level: it knows the place better.
func (s *series) best(cuts []int, from, to int, level, most float64) split {
	out := s.bestByT(cuts, from, to, most)
	if out.p <= level {
		return out
	}
	for size := shortSegment; size < leastSegment && to-from >= size+leastSegment; size++ {
		if shortWeight*2/choose(to-from, size) > most && !s.constant(from, from+size) && !s.constant(to-size, to) {
			continue // even the clearest order is not significant
		}
		for _, at := range [...]int{from + size, to - size} {
			if p := shortWeight * s.shortP(cuts, from, at, to); p < out.p {
				out.p, out.at = p, at
			}
		}
	}
	return out
}

// bestByT is best by Student's t.
func (s *series) bestByT(cuts []int, from, to int, level float64) split {
	out := split{from: from, to: to, p: 1}
	n := to - from
	if n < 2*leastSegment {
		return out
	}
	z := s.z[from:to]
	total, squares := 0.0, 0.0
	for _, v := range z {
		total += v
		squares += v * v
	}
	around := squares - total*total/float64(n)
	nothing := rounding * float64(n)
	if around <= nothing {
		return out
	}
	left, most := 0.0, -1.0
	for i := 1; i <= n-leastSegment; i++ {
		left += z[i-1]
		if i < leastSegment {
			continue
		}
		d := left - total*float64(i)/float64(n)
		if between := d * d * float64(n) / (float64(i) * float64(n-i)); between > most {
			most, out.at = between, from+i
		}
	}
	within := around - most
	if within <= nothing {
		out.p = 0
		return out
	}
	square := most / within * float64(n-2)
	if z := distuv.UnitNormal.Quantile(min(1, level) / 2); square < z*z {
		return out // Student's t has the heavier tail, and phi makes it smaller still
	}
	phi := s.phi(cuts, from, out.at, to)
	shrink := math.Sqrt((1 - phi) / (1 + phi))
	out.p = supP(shrink*math.Sqrt(square), n, float64(n-2), leastSegment)

	t, freedom := welch(s.z[from:out.at], s.z[out.at:to])
	t *= shrink
	if lesser := min(out.at-from, to-out.at); lesser >= unequalSides || s.wider(from, out.at, to) {
		out.p = max(out.p, supP(t, n, freedom, leastSegment))
	} else if student(freedom).Survival(t) > unequalLevel(lesser) {
		out.p = 1
	}
	return out
}

// wider says whether the lesser side of a split spreads more than the other: then a
// spread that changed looks like a level that did.
func (s *series) wider(from, at, to int) bool {
	few, many := s.z[from:at], s.z[at:to]
	if len(few) > len(many) {
		few, many = many, few
	}
	return Variance(few) > widerRatio*Variance(many)
}

// unequalLevel is the level of Welch's t, one-sided, where the lesser side has so many values.
func unequalLevel(lesser int) float64 {
	switch {
	case lesser < leastSegment:
		return 0.02
	case lesser < 2*leastSegment:
		return 0.01
	}
	return 0.003
}

// welch returns Welch's t of two sides, without its sign, and its degrees of freedom.
func welch(x, y []float64) (t, freedom float64) {
	nx, ny := float64(len(x)), float64(len(y))
	vx, vy := Variance(x)/nx, Variance(y)/ny
	if vx+vy <= rounding {
		return math.Inf(1), nx + ny - 2
	}
	return math.Abs(Mean(y)-Mean(x)) / math.Sqrt(vx+vy), (vx + vy) * (vx + vy) / (vx*vx/(nx-1) + vy*vy/(ny-1))
}

// apart says whether few values lie apart from those next to them: from the mean by
// apartBy standard deviations, and by Welch's t. Few values from the far end of a wider spread have
// extreme ranks, but do not.
func apart(few, beside []float64) bool {
	if math.Abs(Mean(few)-Mean(beside)) < apartBy*math.Sqrt(Variance(beside)) {
		return false
	}
	t, freedom := welch(few, beside)
	return student(freedom).Survival(t) <= unequalLevel(len(few))
}

// shortP is the probability that the order of two sides of [from, to), one of
// which has few values, is as clear as it is without a change: that of the Mann-Whitney U at
// either end. Correlation raises it to the power by which it shrinks the square of t.
func (s *series) shortP(cuts []int, from, at, to int) float64 {
	few, many := s.z[from:at], s.z[at:to]
	if len(few) > len(many) {
		few, many = many, few
	}
	below, above := 0.0, 0.0
	for _, a := range few {
		for _, b := range many {
			switch {
			case b < a-rounding:
				below++
			case b > a+rounding:
				above++
			default:
				below, above = below+0.5, above+0.5
			}
		}
		if min(below, above) > mostOrders {
			return 1
		}
	}
	if s.constant(from, at) && s.constant(at, to) && !s.constant(from, to) {
		return 0
	}
	if at-from < to-at && !apart(s.x[from:at], s.x[at:min(to, at+besideShort)]) ||
		at-from >= to-at && !apart(s.x[at:to], s.x[max(from, at-besideShort):at]) {
		return 1
	}
	phi := s.phi(cuts, from, at, to)
	return math.Pow(min(1, 2*fewOrders(len(few), len(many), min(below, above))), (1-phi)/(1+phi))
}

// constant says whether [from, to) has one value.
func (s *series) constant(from, to int) bool {
	return slices.Max(s.z[from:to])-slices.Min(s.z[from:to]) <= rounding
}

// fewOrders is the probability that the Mann-Whitney U of a few values among many is at most u:
// the partitions of 0 to u into at most few parts of at most many, over all choices of few values (Mann and Whitney 1947).
func fewOrders(few, many int, u float64) float64 {
	most := int(u)
	ways := make([][]float64, few+1) // by number of parts and by sum
	for k := range ways {
		ways[k] = make([]float64, most+1)
	}
	ways[0][0] = 1
	for part := 1; part <= min(many, most); part++ {
		for k := 1; k <= few; k++ {
			for sum := part; sum <= most; sum++ {
				ways[k][sum] += ways[k-1][sum-part]
			}
		}
	}
	total := 0.0
	for k := range ways {
		for _, w := range ways[k] {
			total += w
		}
	}
	return total / choose(few+many, few)
}

// choose is the number of ways to choose k of n.
func choose(n, k int) float64 {
	ways := 1.0
	for i := range k {
		ways *= float64(n-i) / float64(i+1)
	}
	return ways
}

// episode adds to cuts both ends of the clearest short level inside of [from, to) that
// reaches the level against everything around it, if there is one.
func (s *series) episode(cuts []int, from, to int, level float64) []int {
	best, begin, end := level, 0, 0
	for size := shortSegment; size < leastSegment; size++ {
		if episodeWeight*float64(to-from)*2/choose(to-from, size) > level {
			continue // even the clearest order is not significant
		}
		for at := from + leastSegment; at+size+leastSegment <= to; at++ {
			if p := episodeWeight * float64(to-from) * s.episodeP(cuts, from, at, at+size, to); p < best {
				best, begin, end = p, at, at+size
			}
		}
	}
	if end == 0 {
		return cuts
	}
	cuts = append(cuts, begin, end)
	slices.Sort(cuts)
	return cuts
}

// episodeP is shortP of [begin, end) against the rest of [from, to), for levels that are beyond it.
func (s *series) episodeP(cuts []int, from, begin, end, to int) float64 {
	lowest, highest := slices.Min(s.z[begin:end]), slices.Max(s.z[begin:end])
	above, below := 0.0, 0.0 // pairs out of order where the level is a high one, or a low one
	for _, rest := range [...][]float64{s.z[from:begin], s.z[end:to]} {
		for _, v := range rest {
			if v >= lowest {
				above++
			}
			if v <= highest {
				below++
			}
			if min(above, below)*float64(end-begin) > mostOrders {
				return 1
			}
		}
	}
	u := min(above, below) * float64(end-begin) // at most
	if !apart(s.x[begin:end], s.x[max(from, begin-besideShort):begin]) || !apart(s.x[begin:end], s.x[end:min(to, end+besideShort)]) {
		return 1
	}
	phi := s.phi(cuts, from, begin, end, to)
	return math.Pow(min(1, 2*fewOrders(end-begin, to-from-(end-begin), u)), (1-phi)/(1+phi))
}

// supP is how likely the largest of the two-sample t of all splits of n normal
// values into parts of m or more is t or larger. t, which has so many degrees of
// freedom, is taken to the normal deviate of equal probability, which the maximum of a normed bridge exceeds with
// James, James and Siegmund's probability ("Tests for a change-point", Biometrika
// 74 (1987)), with Siegmund's correction for discrete time.
func supP(t float64, n int, freedom float64, m int) float64 {
	tail := student(freedom).Survival(t)
	if tail <= 0 {
		return 0
	}
	b := -distuv.UnitNormal.Quantile(tail)
	if math.IsInf(b, 0) {
		return 0
	}
	sum := 0.0
	for i := m; i < n-m; i++ {
		u := (float64(i) + 0.5) / float64(n)
		v := float64(n) * u * (1 - u)
		sum += math.Exp(-0.583*b/math.Sqrt(v)) / v
	}
	return min(1, 2*tail+max(0, b)*distuv.UnitNormal.Prob(b)*sum)
}

// phi is the lag-1 autocorrelation of what the levels leave if the series changes
// at cuts and at more places. Each mean that is taken away biases it by (1+phi)/n, and its
// own estimate by 2 phi/n (Marriott and Pope, "Bias in the Estimation of Autocorrelations", Biometrika 41 (1954)).
func (s *series) phi(cuts []int, more ...int) float64 {
	n := len(s.z)
	all := slices.Concat(cuts, more, []int{0, n})
	slices.Sort(all)
	all = slices.Compact(all)
	sum, cross, last := 0.0, 0.0, 0.0
	for i, from := range all[:len(all)-1] {
		part := s.z[from:all[i+1]]
		mean := 0.0
		for _, v := range part {
			mean += v
		}
		mean /= float64(len(part))
		for _, v := range part {
			d := v - mean
			sum += d * d
			cross += d * last
			last = d
		}
	}
	if sum == 0 {
		return 0
	}
	r := cross / sum
	levels := float64(len(all) - 1)
	return min(max(0, r+(levels*(1+r)+2*r)/float64(n)), maxPhi)
}

// confirm places each cut anew between its neighbours and drops, the weakest
// first, those that do not reach the level there.
func (s *series) confirm(cuts []int, level float64) []int {
	for len(cuts) > 0 {
		weakest, at := -1.0, 0
		for i, cut := range cuts {
			b := s.between(cuts, i, level)
			if b.at != 0 && b.p <= level && s.drifts(b, level) {
				b.p = level * (1 + rounding) // goes after those that are not significant
			}
			if b.p > weakest {
				weakest, at = b.p, i
			}
			if b.at != 0 {
				cut = b.at
			}
			cuts[i] = cut
		}
		if weakest <= level {
			break
		}
		cuts = slices.Delete(cuts, at, at+1)
	}
	return cuts
}

// besideDrift drops, where one line describes the whole series better than all levels between
// cuts do, those cuts that are not significant beside the line: a drift can be cut into many steps.
func (s *series) besideDrift(cuts []int, level float64) []int {
	if len(cuts) < 2 {
		return cuts // confirm has compared a single one
	}
	n := len(s.x)
	at, rest := 0, 0.0
	for _, cut := range append(slices.Clone(cuts), n) {
		rest += squares(s.x[at:cut], Mean(s.x[at:cut]))
		at = cut
	}
	t := make([]float64, n)
	for i := range t {
		t[i] = float64(i)
	}
	_, line := withoutLine(t, s.x)
	// Each cut has two parameters, its place and a level; the line has one more than a level.
	price := math.Log(float64(n)) * float64(2*len(cuts)-1)
	if tiny := tinyRest(s.x); float64(n)*math.Log((squares(line, 0)+tiny)/(rest+tiny)) >= price {
		return cuts
	}
	return slices.DeleteFunc(cuts, func(cut int) bool { return !math.IsInf(sloped(s.x, cut, level), 1) })
}

// between returns the best split between the neighbours of a cut.
func (s *series) between(cuts []int, i int, level float64) split {
	from, to := s.neighbours(cuts, i)
	return s.best(slices.Delete(slices.Clone(cuts), i, i+1), from, to, level, 1)
}

// drifts says whether a line, or a line that begins or ends on the way, describes
// the stretch of a split better than a step there does: of the normal scores, or clearly so of the
// values, whose scores bend where a drift is larger than the noise.
func (s *series) drifts(b split, level float64) bool {
	return sloped(s.z[b.from:b.to], b.at-b.from, level) < lineWorth || sloped(s.x[b.from:b.to], b.at-b.from, level) < -lineWorth
}

// sloped is by how much, in -2 log likelihood, a step at an index describes values better than the best
// line; +Inf where the step is significant beside a line, at a level.
func sloped(v []float64, at int, level float64) float64 {
	n := len(v)
	t, step := make([]float64, n), make([]float64, n)
	for i := range t {
		t[i] = float64(i)
		if i >= at {
			step[i] = 1
		}
	}
	_, flat := withoutLine(step, v)
	_, line := withoutLine(t, v)
	_, own := withoutLine(t, step)
	_, both := withoutLine(own, line)
	r := Autocorrelation(both, 1)
	phi := min(max(0, r+(3*(1+r)+2*r)/float64(n)), maxPhi)
	tiny := tinyRest(v) + math.SmallestNonzeroFloat64
	gain := func(from, to []float64) float64 {
		return float64(n) * math.Log((squares(from, 0)+tiny)/(squares(to, 0)+tiny)) * (1 - phi) / (1 + phi)
	}
	if least := besideLine + 2*math.Log(0.01/min(level, 0.01)); gain(line, both) >= least && gain(line, flat) >= -least {
		return math.Inf(1)
	}
	worth := gain(line, flat)
	ramp := make([]float64, n)
	for _, share := range ramps {
		begin, end := share[0]*float64(n-1), share[1]*float64(n-1)
		if end-begin < leastRamp {
			continue
		}
		for i := range ramp {
			ramp[i] = min(max(float64(i), begin), end)
		}
		_, bent := withoutLine(ramp, v)
		worth = min(worth, gain(bent, flat)+lineWorth)
	}
	return worth
}

// ramps are where in a stretch lines begin and end. A ramp is slow if it has leastRamp values.
var ramps = [...][2]float64{{0, 0.75}, {0.25, 1}, {0.5, 1}}

const leastRamp = 48

func (s *series) neighbours(cuts []int, i int) (from, to int) {
	to = len(s.z)
	if i > 0 {
		from = cuts[i-1]
	}
	if i+1 < len(cuts) {
		to = cuts[i+1]
	}
	return from, to
}

// describe says what is known of a confirmed change of x.
func (s *series) describe(x []float64, cuts []int, i int, level float64) Change {
	from, to := s.neighbours(cuts, i)
	at := cuts[i]
	before, after := x[from:at], x[at:to]
	phi := s.phi(cuts)
	c := Change{At: at, Before: Median(before), After: Median(after), P: s.between(cuts, i, level).p}
	estimate, in := HodgesLehmann(before, after, 0.95)
	wider := math.Sqrt((1 + phi) / (1 - phi))
	c.Size = Interval{estimate - (estimate-in.Lower)*wider, estimate + (in.Upper-estimate)*wider}
	c.First, c.Last = s.where(from, at, to, phi)
	return c
}

// place moves a cut to the end of the equal values that a side begins or ends with,
// where it is within a few values of it: least squares of ranks put a jump from equal values to scattered
// ones after the lowest of those.
func (s *series) place(cuts []int, i int) int {
	from, to := s.neighbours(cuts, i)
	at := cuts[i]
	before, after := from+1, to-1
	for before < to && s.constant(from, before+1) {
		before++
	}
	for after > from && s.constant(after-1, to) {
		after--
	}
	for _, end := range [...]int{before, after} {
		if equal := max(end-from, to-end); equal >= leastSegment && end-from >= shortSegment && to-end >= shortSegment && max(end-at, at-end) <= shortSegment {
			return end
		}
	}
	return at
}

// where returns the range of a change of [from, to) whose likeliest place is at:
// the places that a likelihood ratio does not rule out at 95 %. Its limit is
// Hansen's ("Sample Splitting and Threshold Estimation", Econometrica 68 (2000), table I).
func (s *series) where(from, at, to int, phi float64) (first, last int) {
	limit := -2 * math.Log(1-math.Sqrt(0.95)) * (1 + phi) / (1 - phi)
	left := s.within(from, at, to) + rounding
	first, last = at, at
	for i := from + shortSegment; i <= to-shortSegment; i++ {
		if float64(to-from)*math.Log((s.within(from, i, to)+rounding)/left) <= limit {
			first, last = min(first, i), max(last, i)
		}
	}
	return first, last
}

// within is the sum of squares about the two means of [from, to) cut at an index.
func (s *series) within(from, at, to int) float64 {
	a, b := s.z[from:at], s.z[at:to]
	return squares(a, Mean(a)) + squares(b, Mean(b))
}
