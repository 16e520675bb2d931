package leak

import (
	"math"

	"github.com/perfd/perfd/internal/stats"
)

// A trend is what is known of the growth of floors, per unit of their clock:
// seconds or requests.
type trend struct {
	points int
	span   float64        // of the clock, over all tracks
	factor float64        // by which autocorrelation and load widen the variance of S
	p      float64        // one-sided: of rising like this without a trend
	slope  float64        // Theil-Sen
	in     stats.Interval // of slope, at 95 %
	level  float64        // of the line where the tracks begin, in the middle
	noise  float64        // standard deviation about the line, from the median of residuals
	late   float64        // slope of the later halves
	lateP  float64        // of the later halves rising like that without a trend
	bend   float64        // t statistic of the curvature; 0 where it is not known
	flat   bool           // the line becomes flat before its end
	steps  int            // number of steps that describe the floors better than a line
}

// findTrend looks for growth on tracks of about equally spaced floors; inflation
// is by how much load that was taken out widens the variance.
func findTrend(tracks []stats.Track, inflation float64, th *Thresholds) trend {
	var out trend
	slopes := stats.Slopes(tracks...)
	out.slope = slopes.Median()
	var rest []float64
	var levels []float64
	var k, lateK stats.Kendall
	var late []stats.Track
	exact := len(tracks) == 1
	for _, t := range tracks {
		out.points += len(t.T)
		out.span += t.T[len(t.T)-1] - t.T[0]
		flat := make([]float64, len(t.Y))
		for i := range flat {
			flat[i] = t.Y[i] - out.slope*(t.T[i]-t.T[0])
		}
		level := stats.Median(flat)
		levels = append(levels, level)
		for _, v := range flat {
			rest = append(rest, v-level)
		}
		k = k.Plus(stats.MannKendall(t.Y))
		i := len(t.T) / 2
		late = append(late, stats.Track{T: t.T[i:], Y: t.Y[i:]})
		lateK = lateK.Plus(stats.MannKendall(t.Y[i:]))
	}
	out.level = stats.Median(levels)
	off := make([]float64, len(rest))
	for i, v := range rest {
		off[i] = math.Abs(v)
	}
	out.noise = 1.4826 * stats.Median(off)

	if exact {
		out.bend, out.steps, out.flat = bend(tracks[0]), steps(tracks[0], th), flattens(tracks[0], th)
	} else {
		for _, t := range tracks {
			out.bend += bend(t) / math.Sqrt(float64(len(tracks)))
		}
	}
	// The autocorrelation that is found on few values is too low: the model's,
	// corrected for that, is the least that the variance is widened by.
	mean := len(rest) / len(tracks)
	rho := stats.AR1(rest, 2)
	if exact && out.bend > -th.Bend {
		rest, _ = withoutParabola(tracks[0])
		rho = stats.AR1(rest, 3)
	}
	out.factor = stats.TrendInflation(mean, rho)
	if exact {
		out.factor = max(out.factor, stats.HamedRao{Lags: mean / 4, PositiveOnly: true}.Factor(rest))
	}
	out.factor *= inflation
	raw := k
	k = k.Scaled(out.factor)
	out.p = rising(raw, k, exact)
	if exact && inflation == 1 {
		out.p = min(out.p, stats.RisingSteps(tracks[0].Y))
	}
	out.in = slopes.Interval(k.Variance, 0.95)
	out.late = stats.Slopes(late...).Median()
	out.lateP = rising(lateK, lateK, exact)
	return out
}

// rising returns the probability of S or more without a trend: exact for few
// values without ties, scaled like the normal one for autocorrelation.
func rising(raw, scaled stats.Kendall, exact bool) float64 {
	p := scaled.Rising()
	if n := float64(raw.N); exact && raw.N <= 12 && raw.Variance == n*(n-1)*(2*n+5)/18 && raw.Variance > 0 {
		return stats.KendallTail(raw.N, raw.S*math.Sqrt(raw.Variance/scaled.Variance))
	}
	return p
}

// withoutParabola returns what a parabola leaves of a track, and the
// second-order coefficient of the parabola over its standard error.
func withoutParabola(t stats.Track) (rest []float64, curvature float64) {
	n := len(t.T)
	one, u, square := make([]float64, n), make([]float64, n), make([]float64, n)
	width := t.T[n-1] - t.T[0]
	for i, v := range t.T {
		one[i], u[i] = 1, 2*(v-t.T[0])/width-1
		square[i] = u[i]*u[i] - 1./3
	}
	fit, err := stats.Linear(t.Y, one, u, square)
	if err != nil {
		return make([]float64, n), 0
	}
	left, spread := 0.0, 0.0
	for i, r := range fit.Residuals {
		left += r * r
		spread += square[i] * square[i]
	}
	if left == 0 || fit.Coefficients[2] == 0 {
		return fit.Residuals, 0
	}
	return fit.Residuals, fit.Coefficients[2] / math.Sqrt(left/float64(n-3)/spread)
}

// bend returns the t statistic of the second-order term of a parabola through a
// track, its variance widened for autocorrelation: negative for growth that slows down.
func bend(t stats.Track) float64 {
	if len(t.T) < 8 {
		return 0
	}
	rest, curvature := withoutParabola(t)
	rho := min(0.95, stats.AR1(rest, 3))
	return curvature * math.Sqrt((1-rho)/(1+rho))
}

// flattens says whether a track is described better by a line that bends to less
// than th.LateSlope of its slope in the track's second half.
func flattens(t stats.Track, th *Thresholds) bool {
	n := len(t.T)
	if n < 12 {
		return false
	}
	one, u, after := make([]float64, n), make([]float64, n), make([]float64, n)
	for i, v := range t.T {
		one[i], u[i] = 1, (v-t.T[0])/(t.T[n-1]-t.T[0])
	}
	line, _, _ := leastSquares(t.Y, [][]float64{one, u})
	for _, knot := range [...]float64{0.5, 0.6, 0.7, 0.8, 0.88} {
		for i, v := range u {
			after[i] = max(0, v-knot)
		}
		fit, err := stats.Linear(t.Y, one, u, after)
		if err != nil {
			continue
		}
		rest := 0.0
		for _, r := range fit.Residuals {
			rest += r * r
		}
		before, change := fit.Coefficients[1], fit.Coefficients[2]
		if rest < th.KinkGain*line && before > 0 && before+change < th.LateSlope*before {
			return true
		}
	}
	return false
}

// maxSteps is the number of steps up to which a rise is no growth: a staircase of
// more is as regular as a line.
const maxSteps = 3

// steps returns how many steps between levels describe a track better than a
// line does, 0 where a line does.
func steps(t stats.Track, th *Thresholds) int {
	n := len(t.T)
	if n < 8 {
		return 0
	}
	one := make([]float64, n)
	for i := range one {
		one[i] = 1
	}
	fit, err := stats.Linear(t.Y, one, t.T)
	if err != nil {
		return 0
	}
	line := 0.0
	for _, r := range fit.Residuals {
		line += r * r
	}
	for k, rest := range stats.LevelShifts(t.Y, min(maxSteps, n/8)) {
		// Each step costs two more numbers than a level, a line costs one.
		gain := th.StepGain * (1 - float64(2*k-1)/float64(n))
		if k > 0 && rest < gain*line {
			return k
		}
	}
	return 0
}
