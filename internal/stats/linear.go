package stats

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// ErrRank is the error of a fit whose columns do not determine the coefficients:
// one is, to rounding, a combination of the others, or there are more columns than
// observations.
var ErrRank = errors.New("columns are not linearly independent")

// A Fit is a least-squares fit of a linear model.
type Fit struct {
	Coefficients []float64 // one for each column
	Errors       []float64 // standard errors of the coefficients; NaN without degrees of freedom
	Deviation    float64   // standard deviation of the residuals; NaN without degrees of freedom
	R2           float64   // share of the variation explained: about the mean if a column is constant, else about zero
	Residuals    []float64 // y less the fitted values
	Freedom      int       // degrees of freedom of the residuals
	Warnings     Warnings
}

// Linear fits y by ordinary least squares to the columns, which all have its
// length; an intercept is a column of ones. It errs with ErrRank, on lengths that
// differ, and on values that are not finite.
//
// The columns are scaled by powers of two and factored by Householder QR (Golub
// and Van Loan, "Matrix Computations", section 5.3). Coefficients and residuals
// are refined together, as Björck does ("Iterative Refinement of Linear Least
// Squares Solutions I", BIT 7 (1967)), so that large residuals cost no digits.
func Linear(y []float64, columns ...[]float64) (Fit, error) {
	n, p := len(y), len(columns)
	if err := checkColumns(y, columns); err != nil {
		return Fit{}, err
	}
	scale := make([]float64, p)
	norms := make([]float64, p)
	a := mat.NewDense(n, p, nil)
	constant := false
	for j, c := range columns {
		norms[j] = mat.Norm(mat.NewVecDense(n, c), 2)
		if norms[j] == 0 {
			return Fit{}, fmt.Errorf("column %d is zero: %w", j, ErrRank)
		}
		_, exponent := math.Frexp(norms[j])
		scale[j] = math.Ldexp(1, -exponent)
		for i, v := range c {
			a.Set(i, j, v*scale[j])
		}
		constant = constant || allEqual(c)
	}
	var qr mat.QR
	qr.Factorize(a)
	var r mat.Dense
	qr.RTo(&r)
	for j := range p {
		// The distance of column j from the span of those before it.
		if math.Abs(r.At(j, j)) <= float64(n)*0x1p-52*norms[j]*scale[j] {
			return Fit{}, fmt.Errorf("column %d: %w", j, ErrRank)
		}
	}
	inverse := mat.NewTriDense(p, mat.Upper, nil)
	for i := range p {
		for j := i; j < p; j++ {
			inverse.SetTri(i, j, r.At(i, j))
		}
	}
	if err := inverse.InverseTri(inverse); err != nil {
		return Fit{}, fmt.Errorf("%w: %w", ErrRank, err)
	}
	x, rest, err := refined(&qr, a, y)
	if err != nil {
		return Fit{}, fmt.Errorf("%w: %w", ErrRank, err)
	}
	for j := range x {
		x[j] *= scale[j]
	}
	f := Fit{Coefficients: x, Errors: make([]float64, p), Deviation: math.NaN(), Residuals: rest, Freedom: n - p}
	left := squares(rest, 0)
	if f.Freedom > 0 {
		f.Deviation = math.Sqrt(left / float64(f.Freedom))
	} else {
		f.Warnings = append(f.Warnings, "as many columns as observations: the fit is exact and says nothing about its errors")
	}
	for j := range p {
		row := mat.Row(nil, j, inverse)
		f.Errors[j] = f.Deviation * scale[j] * math.Sqrt(squares(row, 0))
	}
	centre := 0.0
	if constant {
		centre = Mean(y)
	}
	f.R2 = 1 - left/squares(y, centre)
	if qr.Cond() > nearlyDependent {
		f.Warnings = append(f.Warnings, fmt.Sprintf("columns nearly depend on each other: of the coefficients about %.0f digits are left", 16-math.Log10(qr.Cond())))
	}
	return f, nil
}

// nearlyDependent is the condition number of the scaled columns above which rounding
// of the columns' values alone costs half of the digits.
const nearlyDependent = 1e8

// checkColumns returns what makes y and the columns unfit for a fit, nil for nothing.
func checkColumns(y []float64, columns [][]float64) error {
	if len(columns) == 0 || len(y) < len(columns) {
		return fmt.Errorf("%d observations for %d columns: %w", len(y), len(columns), ErrRank)
	}
	if !allFinite(y) {
		return errors.New("y holds a value that is not finite")
	}
	for j, c := range columns {
		if len(c) != len(y) {
			return fmt.Errorf("column %d has %d values, y has %d", j, len(c), len(y))
		}
		if !allFinite(c) {
			return fmt.Errorf("column %d holds a value that is not finite", j)
		}
	}
	return nil
}

func allFinite(x []float64) bool {
	for _, v := range x {
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return false
		}
	}
	return true
}

func allEqual(x []float64) bool {
	for _, v := range x {
		if v != x[0] {
			return false
		}
	}
	return true
}

// squares returns the sum of squared differences of the values of x from centre.
func squares(x []float64, centre float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += (v - centre) * (v - centre)
	}
	return sum
}

// refinements is the number of rounds of refinement, of which the first computes the solution.
const refinements = 4

// refined solves the least-squares problem of a, whose factors are in qr, for the
// solution x and the residuals r, which satisfy r + a·x = y and aᵀ·r = 0. Each round
// computes the residuals of these two equations and solves for the corrections.
func refined(qr *mat.QR, a *mat.Dense, y []float64) (x, r []float64, err error) {
	n, p := a.Dims()
	x, r = make([]float64, p), make([]float64, n)
	first, second := mat.NewVecDense(n, nil), mat.NewVecDense(p, nil)
	var part, step, moved mat.VecDense
	for range refinements {
		for i, v := range y {
			d := newDot2(v)
			d.add(-1, r[i])
			for j := range p {
				d.add(-a.At(i, j), x[j])
			}
			first.SetVec(i, d.sum())
		}
		for j := range p {
			d := newDot2(0)
			for i, v := range r {
				d.add(-a.At(i, j), v)
			}
			second.SetVec(j, d.sum())
		}
		if err := qr.SolveVecTo(&part, true, second); err != nil {
			return nil, nil, err
		}
		part.SubVec(first, &part)
		if err := qr.SolveVecTo(&step, false, &part); err != nil {
			return nil, nil, err
		}
		moved.MulVec(a, &step)
		for j := range p {
			x[j] += step.AtVec(j)
		}
		for i := range n {
			r[i] += first.AtVec(i) - moved.AtVec(i)
		}
	}
	return x, r, nil
}

// A dot2 is a sum of products in twice the working precision: low holds the rounding
// errors of products and sums (Ogita, Rump and Oishi, "Accurate Sum
// and Dot Product", SIAM J. Scientific Computing 26 (2005), algorithm 5.3).
type dot2 struct{ high, low float64 }

func newDot2(v float64) dot2 { return dot2{high: v} }

// add adds the product of a and b.
func (d *dot2) add(a, b float64) {
	product := a * b
	sum := d.high + product
	part := sum - d.high
	d.low += math.FMA(a, b, -product) + (d.high - (sum - part)) + (product - part)
	d.high = sum
}

// sum returns the sum, rounded once.
func (d *dot2) sum() float64 { return d.high + d.low }
