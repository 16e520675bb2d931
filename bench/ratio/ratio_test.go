package ratio

import "testing"

// By hand: P(B ≤ 1) = (1+9)/2⁹ = 0.0195 and P(B ≤ 2) = 46/2⁹ = 0.0898 for n = 9;
// P(B ≤ 5) = 21700/2²⁰ = 0.0207 and P(B ≤ 6) = 60460/2²⁰ = 0.0577 for n = 20;
// P(B = 0) = 0.0312 for n = 5 and 0.0156 for n = 6.
func TestRanksAreThoseOfTheBinomialDistribution(t *testing.T) {
	for n, want := range map[int]int{1: 0, 5: 0, 6: 1, 9: 2, 20: 6} {
		if got := rank(n); got != want {
			t.Errorf("rank(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestIntervalIsOfOrderStatistics(t *testing.T) {
	median, low, high, sure := Interval([]float64{9, 1, 8, 2, 7, 3, 6, 4, 5})
	if median != 5 || low != 2 || high != 8 || !sure {
		t.Errorf("interval of 1 to 9 = %v (%v to %v), %v; want 5 (2 to 8)", median, low, high, sure)
	}
	median, low, high, sure = Interval([]float64{3, 1, 2, 4})
	if median != 2.5 || low != 1 || high != 4 || sure {
		t.Errorf("interval of four values = %v (%v to %v), %v; want 2.5 (1 to 4), not sure", median, low, high, sure)
	}
}
