package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// A Kendall is Mann and Kendall's statistic S, the number of rising pairs of a series
// less that of falling ones, and its variance without a trend. The statistics of
// independent series add up.
type Kendall struct {
	N        int     // points
	S        float64 // rising pairs less falling ones
	Variance float64 // of S
}

// MannKendall returns the statistic of y, which is in order of time. The variance is
// that of exchangeable values, corrected for ties (Kendall, "Rank Correlation Methods", 4th ed. 1975).
func MannKendall(y []float64) Kendall {
	k := Kendall{N: len(y), Variance: kendallVariance(len(y))}
	for i, a := range y {
		for _, b := range y[i+1:] {
			k.S += float64(cmp.Compare(b, a))
		}
	}
	_, ties := Ranks(y)
	for _, n := range ties {
		k.Variance -= kendallVariance(n)
	}
	return k
}

func kendallVariance(n int) float64 {
	f := float64(n)
	return f * (f - 1) * (2*f + 5) / 18
}

// Plus returns the sum of two statistics of independent series.
func (k Kendall) Plus(o Kendall) Kendall {
	return Kendall{k.N + o.N, k.S + o.S, k.Variance + o.Variance}
}

// Scaled returns k with its variance multiplied by factor, such as that of HamedRao or YueWang.
func (k Kendall) Scaled(factor float64) Kendall {
	k.Variance *= factor
	return k
}

// Z returns S in standard deviations, corrected for continuity; 0 where S cannot vary.
func (k Kendall) Z() float64 {
	if k.Variance <= 0 || k.S == 0 {
		return 0
	}
	return (k.S - math.Copysign(1, k.S)) / math.Sqrt(k.Variance)
}

// P returns the two-sided p-value of the hypothesis that there is no trend.
func (k Kendall) P() float64 { return min(1, 2*distuv.UnitNormal.Survival(math.Abs(k.Z()))) }

// Rising returns the p-value of that hypothesis against a rising trend.
func (k Kendall) Rising() float64 {
	if k.Variance <= 0 {
		return 1
	}
	return distuv.UnitNormal.Survival((k.S - 1) / math.Sqrt(k.Variance))
}

// HamedRao are the options of the correction of a variance for autocorrelation (Hamed and Rao 1998).
type HamedRao struct {
	Lags int // 0: all
	// PositiveOnly leaves out negative ones and never shrinks the variance: on
	// cyclic series the sum over all lags shrinks it many times over.
	PositiveOnly bool
}

// Factor returns the factor by which autocorrelation multiplies the variance of S of
// equally spaced values. It rests on the autocorrelations of the ranks of the
// detrended values that differ from 0 at a confidence of 95 %. A constant series has
// factor 1.
func (h HamedRao) Factor(y []float64) float64 {
	n := len(y)
	return h.factor(n, rankCorrelations([][]float64{detrended(y)}, h.lags(n)), n)
}

func (h HamedRao) lags(n int) int {
	if h.Lags <= 0 || h.Lags > n-1 {
		return max(0, n-1)
	}
	return h.Lags
}

// factor returns the factor for n values, from autocorrelations that were estimated on all values.
func (h HamedRao) factor(n int, rho []float64, all int) float64 {
	if n < 3 {
		return 1
	}
	f, sum := float64(n), 0.0
	least := 1.959963984540054 / math.Sqrt(float64(all))
	for i, r := range rho {
		k := float64(i + 1)
		if math.Abs(r) <= least || r < 0 && h.PositiveOnly || k > f-2 {
			continue
		}
		sum += (f - k) * (f - k - 1) * (f - k - 2) * r
	}
	factor := 1 + 2*sum/(f*(f-1)*(f-2))
	if h.PositiveOnly {
		return max(1, factor)
	}
	return factor
}

// rankCorrelations returns the autocorrelations at lags 1, 2, … of the ranks
// of series that have no trend, pooled over the series.
func rankCorrelations(series [][]float64, lags int) []float64 {
	var square float64
	rho := make([]float64, lags)
	for _, y := range series {
		ranks, _ := Ranks(y)
		r := deviations(ranks)
		for i, a := range r {
			square += a * a
			for k := range min(lags, len(r)-i-1) {
				rho[k] += a * r[i+k+1]
			}
		}
	}
	for k := range rho {
		if square > 0 {
			rho[k] /= square
		}
	}
	return rho
}

// detrended returns equally spaced values less their Theil-Sen trend.
func detrended(y []float64) []float64 {
	t := equallySpaced(y)
	return t.without(Slopes(t).Median())
}

func equallySpaced(y []float64) Track {
	t := make([]float64, len(y))
	for i := range t {
		t[i] = float64(i)
	}
	return Track{T: t, Y: y}
}

// A Track is one stretch of a series between two interruptions: levels Y at
// rising instants T, of the same length.
type Track struct{ T, Y []float64 }

// without returns the levels less a slope times the time since the first of them.
func (t Track) without(slope float64) []float64 {
	y := slices.Clone(t.Y)
	for i := range y {
		if i > 0 {
			y[i] -= slope * (t.T[i] - t.T[0])
		}
	}
	return y
}

// half returns the later half of the track.
func (t Track) half() Track {
	i := len(t.T) / 2
	return Track{t.T[i:], t.Y[i:]}
}

func (t Track) span() float64 {
	if len(t.T) == 0 {
		return 0
	}
	return t.T[len(t.T)-1] - t.T[0]
}

// PairSlopes are the slopes of all pairs of points, ascending.
type PairSlopes []float64

// Slopes returns the slopes of all pairs of points that lie on the same track
// (Theil 1950, Sen 1968). Pairs at the same instant have no slope.
func Slopes(tracks ...Track) PairSlopes {
	n := 0
	for _, t := range tracks {
		n += len(t.T) * (len(t.T) - 1) / 2
	}
	s := make(PairSlopes, 0, n)
	for _, t := range tracks {
		for i := range t.T {
			for j := i + 1; j < len(t.T); j++ {
				if d := t.T[j] - t.T[i]; d > 0 {
					s = append(s, (t.Y[j]-t.Y[i])/d)
				}
			}
		}
	}
	slices.Sort(s)
	return s
}

// Median returns the Theil-Sen slope, NaN without a pair.
func (s PairSlopes) Median() float64 {
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Interval returns the confidence interval of the Theil-Sen slope at a level, from
// the variance of S (Sen 1968).
func (s PairSlopes) Interval(variance, level float64) Interval {
	n := len(s)
	c := distuv.UnitNormal.Quantile((1+level)/2) * math.Sqrt(variance)
	i := int(math.Floor((float64(n) - c) / 2))
	j := int(math.Ceil((float64(n) + c) / 2))
	in := Interval{math.Inf(-1), math.Inf(1)}
	if i >= 1 {
		in.Lower = s[i-1]
	}
	if j < n {
		in.Upper = s[j]
	}
	return in
}

// A Shape is the model that describes a rising series best.
type Shape uint8

// The shapes.
const (
	Line    Shape = iota // rises steadily, or faster and faster
	Steps                // a few steps between levels
	Slowing              // towards a level
)

// A Trend is the estimated growth of a series, per unit of its time.
type Trend struct {
	Points int
	Span   float64 // time on all tracks
	Factor float64 // by which autocorrelation widens the variance
	P      float64 // one-sided: of rising like this without a trend

	Slope float64  // Theil-Sen
	In    Interval // of Slope, at 95 %

	Level float64 // of the line where the tracks begin, in the middle
	Noise float64 // standard deviation about the line, from the median of residuals

	Late   float64  // slope of the tracks' later halves
	LateP  float64  // and the probability of rising like that without a trend
	LateIn Interval // of Late, at 95 %

	Shape Shape
	Steps int // of Steps: how many
}

// Grows reports whether the series rises at significance alpha and to its end: its
// later half has 40 % of the slope of the whole or more, and neither steps nor a
// curve towards a level describe it better than a line.
func (t Trend) Grows(alpha float64) bool {
	return t.P < alpha && t.Slope > 0 && t.Shape == Line && t.LateP < 0.1 && t.Late >= 0.4*t.Slope
}

// FindTrend estimates the growth of tracks of about equally spaced points. The
// variance of S is multiplied by inflation ≥ 1, for covariates that were estimated
// together with the trend (WithoutCovariates).
func FindTrend(tracks []Track, inflation float64) Trend {
	var out Trend
	slopes := Slopes(tracks...)
	out.Slope = slopes.Median()
	for _, t := range tracks {
		out.Points += len(t.T)
		out.Span += t.span()
	}
	k, factor := pooledKendall(tracks, out.Slope, true)
	k = k.Scaled(inflation)
	out.Factor, out.P = factor*inflation, risingBy(k, factor)
	out.In = slopes.Interval(widened(k.Variance, k.N, factor), 0.95)
	out.Level, out.Noise = levelAndNoise(tracks, out.Slope)

	late := make([]Track, len(tracks))
	for i, t := range tracks {
		late[i] = t.half()
	}
	lateSlopes := Slopes(late...)
	out.Late = lateSlopes.Median()
	// The later halves say whether growth goes on that the whole has proven: their correlation is
	// taken as it is found, for the bias of so few values would hide most of it.
	lateK, _ := pooledKendall(late, out.Late, false)
	lateK = lateK.Scaled(inflation)
	out.LateP = lateK.Rising()
	out.LateIn = lateSlopes.Interval(lateK.Variance, 0.95)
	out.Shape, out.Steps = shapeOf(tracks)
	return out
}

// pooledKendall adds the tracks up, each with a variance that the autocorrelation of all of them about
// their slope corrects: unbiased, by no less than a first-order autoregression does whose coefficient
// is corrected for the number of values.
func pooledKendall(tracks []Track, slope float64, unbiased bool) (k Kendall, factor float64) {
	flat := make([][]float64, len(tracks))
	n, longest := 0, 0
	for i, t := range tracks {
		flat[i] = t.without(slope)
		n += len(t.Y)
		longest = max(longest, len(t.Y))
	}
	h := HamedRao{PositiveOnly: true}
	rho := rankCorrelations(flat, longest/4)
	phi := 0.0
	if unbiased && len(rho) > 0 {
		phi = persistence(rho[0], float64(n)/float64(len(tracks)))
	}
	raw := 0.0
	for _, t := range tracks {
		one := MannKendall(t.Y)
		raw += one.Variance
		k = k.Plus(one.Scaled(max(h.factor(one.N, rho, n), persistentFactor(one.N, phi))))
	}
	if raw == 0 {
		return k, 1
	}
	return k, k.Variance / raw
}

// freedomOf is the degrees of freedom of a variance of n values that correlation widens
// by a factor: the number of independent ones, because a correlation estimated from few is itself
// uncertain. Without correlation it is so many that Student's t is normal.
func freedomOf(n int, factor float64) float64 { return max(1, float64(n)/factor) }

// risingBy is Kendall.Rising with Student's t in place of the normal distribution where a factor
// widened the variance.
func risingBy(k Kendall, factor float64) float64 {
	if k.Variance <= 0 || factor <= 1 {
		return k.Rising()
	}
	return student(freedomOf(k.N, factor)).Survival((k.S - 1) / math.Sqrt(k.Variance))
}

// widened is a variance of S whose normal interval at 95 % is Student's.
func widened(variance float64, n int, factor float64) float64 {
	if factor <= 1 {
		return variance
	}
	return variance * square(student(freedomOf(n, factor)).Quantile(0.975)/distuv.UnitNormal.Quantile(0.975))
}

func square(x float64) float64 { return x * x }

// maxPersistence bounds the autoregression that a trend is judged beside: beyond it, a
// series is a random walk, and every stretch of it has a trend.
const maxPersistence = 0.98

// persistence is the coefficient of a first-order autoregression of whose n values about a line the
// lag-1 autocorrelation is r: taking a level and a slope away biases r by -(2+4 phi)/n
// (Kendall, "Note on Bias in the Estimation of Autocorrelation", Biometrika 41 (1954), to the first order; Shaman
// and Stine, "The Bias of Autoregressive Coefficient Estimators", J. American Statistical Association 83 (1988)).
func persistence(r, n float64) float64 {
	if n <= 4 {
		return maxPersistence
	}
	return min(max(0, (n*r+2)/(n-4)), maxPersistence)
}

// persistentFactor is what the variance of S of n values is to be multiplied by where
// they are an autoregression with coefficient phi: Hamed and Rao's sum over all lags of phi^lag.
func persistentFactor(n int, phi float64) float64 {
	if n < 3 {
		return 1
	}
	f, sum, rho := float64(n), 0.0, 1.0
	for k := 1.0; k < f-2; k++ {
		rho *= phi
		sum += (f - k) * (f - k - 1) * (f - k - 2) * rho
	}
	return 1 + 2*sum/(f*(f-1)*(f-2))
}

// levelAndNoise returns the median of the levels at which the tracks begin, and the
// standard deviation about their lines, estimated as 1.4826 times the median absolute
// deviation, which it is for a normal distribution.
func levelAndNoise(tracks []Track, slope float64) (level, noise float64) {
	var at, off []float64
	for _, t := range tracks {
		flat := t.without(slope)
		m := Median(flat)
		at = append(at, m)
		for _, v := range flat {
			off = append(off, math.Abs(v-m))
		}
	}
	return Median(at), 1.4826 * Median(off)
}

const (
	mostSteps  = 5
	leastShape = 8 // points that a track needs to have a shape, and to have each step
)

// strong is the difference in Schwarz's criterion that is strong evidence for another
// model (Kass and Raftery, "Bayes Factors", 1995): noise makes every line bend a little.
const strong = 6

// slowings are the time constants of curves towards a level, relative to the span of
// a track. The slope at the end of the slowest is less than half of its mean slope.
var slowings = [...]float64{1. / 16, 1. / 8, 1. / 4, 1. / 3, 1. / 2, 3. / 4}

// shapeOf compares a line with up to five steps and with a curve towards a level, by
// Schwarz's criterion. A parabola is an alternative to the line, so that accelerating
// growth is not taken for steps.
func shapeOf(tracks []Track) (Shape, int) {
	var line, stepped, slowing float64
	most := 0
	for _, t := range tracks {
		if len(t.T) < leastShape {
			continue
		}
		n := float64(len(t.Y))
		tiny := tinyRest(t.Y)
		price := func(rest float64, parameters int) float64 {
			return n*math.Log((rest+tiny)/n) + float64(parameters)*math.Log(n)
		}
		u, square := make([]float64, len(t.T)), make([]float64, len(t.T))
		for i := range u {
			u[i] = (t.T[i] - t.T[0]) / t.span()
			square[i] = u[i] * u[i]
		}
		slope, left := withoutLine(u, t.Y)
		own := price(squares(left, 0), 2)
		bend, curved := withoutLine(u, square)
		if b, left := withoutLine(curved, left); b > 0 && slope >= b*bend {
			own = min(own, price(squares(left, 0), 3))
		}
		line += own

		best, at := math.Inf(1), 0
		for k, rest := range stepRests(t.Y, min(mostSteps, len(t.Y)/leastShape)) {
			if p := price(rest, 2*k+1); k > 0 && p < best {
				best, at = p, k
			}
		}
		stepped += best
		most = max(most, at)

		best = math.Inf(1)
		curve := make([]float64, len(u))
		for _, tau := range slowings {
			for i := range u {
				curve[i] = -math.Exp(-u[i] / tau)
			}
			_, left := withoutLine(curve, t.Y)
			best = min(best, price(squares(left, 0), 3))
		}
		slowing += best
	}
	switch {
	case stepped < line-strong && stepped <= slowing:
		return Steps, most
	case slowing < line-strong:
		return Slowing, 0
	}
	return Line, 0
}

// tinyRest returns a lower bound of the sum of squares that a model leaves, so that
// exact fits can be compared.
func tinyRest(y []float64) float64 { return 1e-18*squares(y, 0) + math.SmallestNonzeroFloat64 }

// withoutLine returns the least-squares slope of y on x and the residuals.
func withoutLine(x, y []float64) (slope float64, rest []float64) {
	dx, rest := deviations(x), deviations(y)
	if square := squares(dx, 0); square > 0 {
		for i, v := range dx {
			slope += v * rest[i] / square
		}
	}
	for i, v := range dx {
		rest[i] -= slope * v
	}
	return slope, rest
}

// stepRests returns the least sums of squares that 0, 1, …, most steps leave of y,
// by dynamic programming over the position of the last step.
func stepRests(y []float64, most int) []float64 {
	n := len(y)
	sum, square := make([]float64, n+1), make([]float64, n+1)
	for i, v := range y {
		v -= y[0]
		sum[i+1], square[i+1] = sum[i]+v, square[i]+v*v
	}
	within := func(i, j int) float64 { // of y[i:j]
		s := sum[j] - sum[i]
		return max(0, square[j]-square[i]-s*s/float64(j-i))
	}
	least := make([]float64, n+1)
	for j := 1; j <= n; j++ {
		least[j] = within(0, j)
	}
	out := []float64{least[n]}
	for k := 1; k <= most && k < n; k++ {
		next := make([]float64, n+1)
		for j := range next {
			next[j] = math.Inf(1)
			for i := k; i < j; i++ {
				next[j] = min(next[j], least[i]+within(i, j))
			}
		}
		least = next
		out = append(out, least[n])
	}
	return out
}

// WithoutCovariates returns the tracks less the effect of covariates. Each covariate
// is a column over the points of all tracks in order, and enters as the difference
// from its mean; a common trend and a level of each track are fitted with them.
// Inflation ≥ 1 is the factor by which the correlation of the covariates with time
// multiplies the variance of the trend. The error is ErrRank where the covariates
// cannot be separated from time.
func WithoutCovariates(tracks []Track, covariates ...[]float64) (rest []Track, inflation float64, err error) {
	var y, since []float64
	levels := make([][]float64, len(tracks))
	one := map[bool]float64{true: 1}
	for i, t := range tracks {
		y = append(y, t.Y...)
		for j := range t.T {
			since = append(since, t.T[j]-t.T[0])
		}
		for j := range tracks {
			levels[j] = append(levels[j], slices.Repeat([]float64{one[i == j]}, len(t.T))...)
		}
	}
	beside := slices.Clone(levels)
	for _, c := range covariates {
		beside = append(beside, deviations(c))
	}
	fit, err := Linear(y, append(beside, since)...)
	if err != nil {
		return nil, 0, err
	}
	alone, err := Linear(since, levels...)
	if err != nil {
		return nil, 0, err
	}
	along, err := Linear(since, beside...)
	if err != nil {
		return nil, 0, err
	}
	at := 0
	for _, t := range tracks {
		left := Track{T: t.T, Y: slices.Clone(t.Y)}
		for i := range left.Y {
			for j, c := range beside[len(levels):] {
				left.Y[i] -= fit.Coefficients[len(levels)+j] * c[at]
			}
			at++
		}
		rest = append(rest, left)
	}
	return rest, max(1, squares(alone.Residuals, 0)/squares(along.Residuals, 0)), nil
}
