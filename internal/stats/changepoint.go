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
	Level   float64 // how likely a series without changes may show one
	Segment int     // least values of a level, 5 where 0
}

const (
	leastSegment = 5
	// wholeShare of Level goes to changes that show in the whole series, the rest
	// to its parts: most series change once, and there are many parts.
	wholeShare = 0.85
	// maxPhi bounds the correction for correlation: beyond, a series is a random walk.
	maxPhi = 0.95
	// rounding is the square of a normal score that is none.
	rounding = 1e-12
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
// a change stays if it shows between its neighbours.
func Changes(x []float64, o ChangeOptions) []Change {
	if o.Segment <= 0 {
		o.Segment = leastSegment
	}
	if len(x) < 2*o.Segment {
		return nil
	}
	s := series{z: normalScores(x), segment: o.Segment}
	cuts := s.confirm(s.split(nil, 0, len(x), o.Level), o.Level)
	found := make([]Change, len(cuts))
	for i := range cuts {
		found[i] = s.describe(x, cuts, i)
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

// A series is what is searched for changes.
type series struct {
	z       []float64
	segment int
}

// A split is the best place to cut a part of a series.
type split struct {
	from, at, to int
	p            float64
}

// split returns cuts and those of the part [from, to), in order.
func (s *series) split(cuts []int, from, to int, level float64) []int {
	best := s.best(cuts, from, to, level*wholeShare)
	if best.p > level*wholeShare {
		best = s.inside(cuts, from, to, level*(1-wholeShare))
		if best.at == 0 {
			return cuts
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
	for length := n / math.Sqrt2; length >= float64(2*s.segment); length /= math.Sqrt2 {
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
		if b := s.best(cuts, part[0], part[1], level); b.p < best.p {
			best = b
		}
	}
	if best.p > level {
		return split{}
	}
	return best
}

// best returns the split of [from, to) whose t is largest, and how likely one as
// large is without a change; 1 where that is certainly more than a level.
func (s *series) best(cuts []int, from, to int, level float64) split {
	out := split{from: from, to: to, p: 1}
	n := to - from
	if n < 2*s.segment {
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
	for i := 1; i <= n-s.segment; i++ {
		left += z[i-1]
		if i < s.segment {
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
	t := math.Sqrt(square * (1 - phi) / (1 + phi))
	out.p = supP(t, n, s.segment)
	return out
}

// supP is how likely the largest of the two-sample t of all splits of n normal
// values into parts of m or more is t or larger. t is taken to the normal
// deviate of equal probability, which the maximum of a normed bridge exceeds with
// James, James and Siegmund's probability ("Tests for a change-point", Biometrika
// 74 (1987)), with Siegmund's correction for discrete time.
func supP(t float64, n, m int) float64 {
	tail := distuv.StudentsT{Sigma: 1, Nu: float64(n - 2)}.Survival(t)
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
			b := s.between(cuts, i)
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

// between returns the best split between the neighbours of a cut.
func (s *series) between(cuts []int, i int) split {
	from, to := s.neighbours(cuts, i)
	return s.best(slices.Delete(slices.Clone(cuts), i, i+1), from, to, 1)
}

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
func (s *series) describe(x []float64, cuts []int, i int) Change {
	from, to := s.neighbours(cuts, i)
	at := cuts[i]
	before, after := x[from:at], x[at:to]
	phi := s.phi(cuts)
	c := Change{At: at, Before: Median(before), After: Median(after), P: s.between(cuts, i).p}
	estimate, in := HodgesLehmann(before, after, 0.95)
	wider := math.Sqrt((1 + phi) / (1 - phi))
	c.Size = Interval{estimate - (estimate-in.Lower)*wider, estimate + (in.Upper-estimate)*wider}
	c.First, c.Last = s.where(from, at, to, phi)
	return c
}

// where returns the range of a change of [from, to) whose likeliest place is at:
// the places that a likelihood ratio does not rule out at 95 %. Its limit is
// Hansen's ("Sample Splitting and Threshold Estimation", Econometrica 68 (2000), table I).
func (s *series) where(from, at, to int, phi float64) (first, last int) {
	limit := -2 * math.Log(1-math.Sqrt(0.95)) * (1 + phi) / (1 - phi)
	left := s.within(from, at, to) + rounding
	first, last = at, at
	for i := from + s.segment; i <= to-s.segment; i++ {
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
