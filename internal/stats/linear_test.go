package stats

import (
	"bufio"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// certified holds one data set of the linear-regression part of NIST's Statistical
// Reference Datasets (itl.nist.gov/div898/strd): its data are in testdata/nist, y
// first.
type certified struct {
	name         string
	degree       int // of a polynomial with intercept; 0: the columns as they are
	intercept    bool
	coefficients []float64
	errors       []float64
	deviation    float64
	r2           float64
	digits       float64 // that coefficients and standard errors must reach
}

var ones6 = []float64{1, 1, 1, 1, 1, 1}

var linearSets = []certified{
	{
		"Norris", 1, true,
		[]float64{-0.262323073774029, 1.00211681802045},
		[]float64{0.232818234301152, 0.429796848199937e-3},
		0.884796396144373, 0.999993745883712, 13,
	},
	{
		"Pontius", 2, true,
		[]float64{0.673565789473684e-3, 0.732059160401003e-6, -0.316081871345029e-14},
		[]float64{0.107938612033077e-3, 0.157817399981659e-9, 0.486652849992036e-16},
		0.205177424076185e-3, 0.999999900178537, 13,
	},
	{
		"NoInt1", 0, false,
		[]float64{2.07438016528926},
		[]float64{0.165289256198347e-1},
		3.56753034006338, 0.999365492298663, 14,
	},
	{
		"NoInt2", 0, false,
		[]float64{0.727272727272727},
		[]float64{0.420827318078432e-1},
		0.369274472937998, 0.993348115299335, 14,
	},
	{
		"Longley", 0, true,
		[]float64{
			-3482258.63459582, 15.0618722713733, -0.358191792925910e-1, -2.02022980381683,
			-1.03322686717359, -0.511041056535807e-1, 1829.15146461355,
		},
		[]float64{
			890420.383607373, 84.9149257747669, 0.334910077722432e-1, 0.488399681651699,
			0.214274163161675, 0.226073200069370, 455.478499142212,
		},
		304.854073561965, 0.995479004577296, 13,
	},
	{
		"Filip", 10, true,
		[]float64{
			-1467.48961422980, -2772.17959193342, -2316.37108160893, -1127.97394098372, -354.478233703349,
			-75.1242017393757, -10.8753180355343, -1.06221498588947, -0.670191154593408e-1, -0.246781078275479e-2,
			-0.402962525080404e-4,
		},
		[]float64{
			298.084530995537, 559.779865474950, 466.477572127796, 227.204274477751, 71.6478660875927,
			15.2897178747400, 2.23691159816033, 0.221624321934227, 0.142363763154724e-1, 0.535617408889821e-3,
			0.896632837373868e-5,
		},
		0.334801051324544e-2, 0.996727416185620, 7,
	},
	{"Wampler1", 5, true, ones6, make([]float64, 6), 0, 1, 13},
	{"Wampler2", 5, true, []float64{1, 0.1, 0.01, 0.001, 0.0001, 0.00001}, make([]float64, 6), 0, 1, 13},
	{
		"Wampler3", 5, true, ones6,
		[]float64{2152.32624678170, 2363.55173469681, 779.343524331583, 101.475507550350, 5.64566512170752, 0.112324854679312},
		2360.14502379268, 0.999995559025820, 13,
	},
	{
		"Wampler4", 5, true, ones6,
		[]float64{215232.624678170, 236355.173469681, 77934.3524331583, 10147.5507550350, 564.566512170752, 11.2324854679312},
		236014.502379268, 0.957478440825662, 13,
	},
	{
		"Wampler5", 5, true, ones6,
		[]float64{21523262.4678170, 23635517.3469681, 7793435.24331583, 1014755.07550350, 56456.6512170752, 1123.24854679312},
		23601450.2379268, 0.224668921574940e-2, 13,
	},
}

// digits returns how many decimal digits got and want share, up to 15.
func digits(got, want float64) float64 {
	off := math.Abs(got - want)
	if want != 0 {
		off /= math.Abs(want)
	}
	if off == 0 {
		return 15
	}
	return min(15, -math.Log10(off))
}

// Filip's powers of x do not fit into float64: the exact solution for the rounded
// ones agrees with the certified values to 7.5 digits, and so can no fit do
// better.
func TestLinearReferenceSets(t *testing.T) {
	for _, c := range linearSets {
		t.Run(c.name, func(t *testing.T) {
			y, columns := linearSet(t, c)
			f, err := Linear(y, columns...)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.coefficients {
				if d := digits(f.Coefficients[i], want); d < c.digits {
					t.Errorf("coefficient %d = %.15g, want %.15g to %g digits, got %.1f", i, f.Coefficients[i], want, c.digits, d)
				}
				if d := digits(f.Errors[i], c.errors[i]); d < min(c.digits, 12) {
					t.Errorf("error %d = %.15g, want %.15g to %g digits, got %.1f", i, f.Errors[i], c.errors[i], c.digits, d)
				}
			}
			if d := digits(f.Deviation, c.deviation); d < c.digits {
				t.Errorf("deviation = %.15g, want %.15g to %g digits, got %.1f", f.Deviation, c.deviation, c.digits, d)
			}
			if d := digits(f.R2, c.r2); d < c.digits {
				t.Errorf("R2 = %.15g, want %.15g to %g digits, got %.1f", f.R2, c.r2, c.digits, d)
			}
			if warned := len(f.Warnings) > 0; warned != (c.name == "Filip") {
				t.Errorf("warnings %q", f.Warnings)
			}
			if want := len(y) - len(columns); f.Freedom != want {
				t.Errorf("degrees of freedom = %d, want %d", f.Freedom, want)
			}
		})
	}
}

func linearSet(t *testing.T, c certified) (y []float64, columns [][]float64) {
	t.Helper()
	read := nist(t, c.name)
	y = read[0]
	if c.intercept {
		one := make([]float64, len(y))
		for i := range one {
			one[i] = 1
		}
		columns = append(columns, one)
	}
	if c.degree == 0 {
		return y, append(columns, read[1:]...)
	}
	for range c.degree {
		before, power := columns[len(columns)-1], make([]float64, len(y))
		for i, x := range read[1] {
			power[i] = before[i] * x
		}
		columns = append(columns, power)
	}
	return y, columns
}

// nist returns the columns of a data set in testdata/nist.
func nist(t *testing.T, name string) [][]float64 {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "nist", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var columns [][]float64
	for s := bufio.NewScanner(file); s.Scan(); {
		for j, word := range strings.Fields(s.Text()) {
			v, err := strconv.ParseFloat(word, 64)
			if err != nil {
				t.Fatal(err)
			}
			if j == len(columns) {
				columns = append(columns, nil)
			}
			columns[j] = append(columns[j], v)
		}
	}
	return columns
}

func TestLinearErrs(t *testing.T) {
	one, x := []float64{1, 1, 1, 1}, []float64{1, 2, 3, 4}
	sum := []float64{4.1, 7.3, 10.5, 13.7} // 0.9·one + 3.2·x, but for rounding
	for _, c := range []struct {
		name    string
		y       []float64
		columns [][]float64
		rank    bool
	}{
		{"no columns", x, nil, true},
		{"more columns than observations", x[:1], [][]float64{one[:1], x[:1]}, true},
		{"a column twice", x, [][]float64{one, x, x}, true},
		{"a combination", x, [][]float64{one, x, sum}, true},
		{"a column of zeros", x, [][]float64{one, make([]float64, 4)}, true},
		{"a column too short", x, [][]float64{one, x[:3]}, false},
		{"NaN in y", []float64{1, 2, math.NaN(), 4}, [][]float64{one}, false},
		{"Inf in a column", x, [][]float64{{1, 2, math.Inf(1), 4}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Linear(c.y, c.columns...)
			if err == nil {
				t.Fatal("no error")
			}
			if errors.Is(err, ErrRank) != c.rank {
				t.Errorf("error %q: is ErrRank %v, want %v", err, !c.rank, c.rank)
			}
		})
	}
}

func TestLinearWithoutFreedom(t *testing.T) {
	f, err := Linear([]float64{3, 5}, []float64{1, 1}, []float64{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(f.Coefficients[0]-1) > 1e-14 || math.Abs(f.Coefficients[1]-2) > 1e-14 {
		t.Errorf("coefficients %v, want 1, 2", f.Coefficients)
	}
	if f.Freedom != 0 || !math.IsNaN(f.Deviation) || !math.IsNaN(f.Errors[0]) || len(f.Warnings) != 1 {
		t.Errorf("fit %+v, want no errors and a warning", f)
	}
}

// The residuals stand upright on every column; a change of unit of a column
// changes its coefficient and error alike, and one of y changes all.
func TestLinearProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(5, 40).Draw(t, "n")
		values := rapid.SliceOfN(rapid.Float64Range(-10, 10), n, n)
		y, x := values.Draw(t, "y"), values.Draw(t, "x")
		unit := rapid.Float64Range(1e-6, 1e6).Draw(t, "unit")
		if Variance(x) < 1e-2 {
			t.Skip("x hardly varies")
		}
		one, scaled := make([]float64, n), make([]float64, n)
		for i := range one {
			one[i], scaled[i] = 1, unit*x[i]
		}
		f, err := Linear(y, one, x)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range [][]float64{one, x} {
			lean := 0.0
			for i, r := range f.Residuals {
				lean += r * c[i]
			}
			if math.Abs(lean) > 1e-9 {
				t.Errorf("residuals times column = %g, want 0", lean)
			}
		}
		g, err := Linear(y, one, scaled)
		if err != nil {
			t.Fatal(err)
		}
		if d := digits(g.Errors[1]*unit, f.Errors[1]); d < 9 {
			t.Errorf("error = %g in another unit, %g before", g.Errors[1]*unit, f.Errors[1])
		}
		if math.Abs(g.Coefficients[1]*unit-f.Coefficients[1]) > 1e-9*(1+math.Abs(f.Coefficients[1])) {
			t.Errorf("slope = %g in another unit, %g before", g.Coefficients[1]*unit, f.Coefficients[1])
		}
		if f.R2 > 1 || f.R2 < -1e-9 {
			t.Errorf("R2 = %g", f.R2)
		}
	})
}
