package pace

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A triangle of load over 40 s, so that the rate differs from cell to cell and within each.
const triangle = "{executor: ramping-arrival-rate, start_rate: 0/s, stages: [{duration: 20s, target: 100/s}, {duration: 20s, target: 0/s}], arrivals: poisson, seed: %d, max_vus: 1}"

func TestPoissonCountsAreDispersedAsPoisson(t *testing.T) {
	// The index of dispersion test: Σ(n − mean)²/mean over 101 counts is χ² with
	// 100 degrees of freedom. 0.1 % of it lies below 61.918 and 0.1 % above
	// 149.449 (NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.4).
	const cells, low, high = 101, 61.918, 149.449
	for seed := range 20 {
		for _, width := range []time.Duration{time.Second, 333 * time.Millisecond, 7 * time.Second} {
			p := openPlan(t, fmt.Sprintf("{executor: constant-arrival-rate, rate: 20/s, arrivals: poisson, seed: %d, max_vus: 1}", seed))
			counts := make([]float64, cells)
			for at := range p.Arrivals(0, 0, 1) {
				if at >= cells*width {
					break
				}
				counts[at/width]++
			}
			var mean, square float64
			for _, n := range counts {
				mean += n / cells
			}
			for _, n := range counts {
				square += (n - mean) * (n - mean) / mean
			}
			if square < low || square > high {
				t.Errorf("seed %d: dispersion of the counts per %v = %.1f, want %v to %v", seed, width, square, low, high)
			}
			want := 20 * width.Seconds()
			if sigma := math.Sqrt(want / cells); math.Abs(mean-want) > 4*sigma {
				t.Errorf("seed %d: mean count per %v = %.2f, want %.2f ± %.2f", seed, width, mean, want, 4*sigma)
			}
		}
	}
}

// ksCritical is the 1 % point of Kolmogorov's distribution, for the statistic in
// the form that holds for every n: D·(√n + 0.12 + 0.11/√n) (Stephens, "EDF
// statistics for goodness of fit", JASA 69, 1974, table 1A).
const ksCritical = 1.628

// kolmogorov compares values with the uniform distribution on 0 to 1.
func kolmogorov(uniform []float64) float64 {
	slices.Sort(uniform)
	n := float64(len(uniform))
	var d float64
	for i, u := range uniform {
		d = max(d, u-float64(i)/n, float64(i+1)/n-u)
	}
	return d * (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n))
}

func TestPoissonArrivalsFollowTheRate(t *testing.T) {
	// Of 200 seeds 2 are expected beyond the 1 % point; 9 or more have a chance of
	// 0.0002 (binomial).
	const seeds, most = 200, 8
	beyond := map[string]int{}
	for seed := range seeds {
		p := openPlan(t, fmt.Sprintf(triangle, seed))
		whole := p.Count(0, time.Minute)
		var positions, within, gaps []float64
		var last float64
		for at := range p.Arrivals(0, 0, 1) {
			area := p.Count(0, at)
			positions = append(positions, area/whole)
			cellBegin := at.Truncate(cell)
			within = append(within, p.Count(cellBegin, at)/p.Count(cellBegin, cellBegin+cell))
			gaps = append(gaps, 1-math.Exp(last-area)) // gaps on the scale of the integral are exponential
			last = area
		}
		if n := float64(len(positions)); math.Abs(n-whole) > 4*math.Sqrt(whole) {
			t.Errorf("seed %d: %v arrivals, want %v ± %v", seed, n, whole, 4*math.Sqrt(whole))
		}
		for name, values := range map[string][]float64{"positions": positions, "positions within cells": within, "gaps": gaps} {
			if kolmogorov(values) > ksCritical {
				beyond[name]++
			}
		}
	}
	for name, n := range beyond {
		if n > most {
			t.Errorf("Kolmogorov-Smirnov of %s is beyond its 1 %% point for %d of %d seeds, want at most %d", name, n, seeds, most)
		}
	}
}

func TestPoissonArrivalsComeBackAfterASeek(t *testing.T) {
	p := openPlan(t, fmt.Sprintf(triangle, 7))
	all := take(p, 0, 0, 1, 1<<20)
	for _, from := range []time.Duration{1, 999_999_999, time.Second, 12_345_678_901, 20 * time.Second, 39 * time.Second} {
		i, _ := slices.BinarySearch(all, from)
		if diff := cmp.Diff(all[i:], take(p, from, 0, 1, len(all))); diff != "" {
			t.Errorf("Arrivals(%v) (-want +got):\n%s", from, diff)
		}
	}
}

func TestPoissonArrivalsDependOnSeedAndScenario(t *testing.T) {
	c := config(t, fmt.Sprintf(triangle, 1))
	draw := func(seed int, scenario string) []time.Duration {
		c.Seed = seed
		p, err := New(c, scenario)
		if err != nil {
			t.Fatal(err)
		}
		return take(p.(Open), 0, 0, 1, 20)
	}
	one := draw(1, "shop")
	if !slices.Equal(one, draw(1, "shop")) {
		t.Error("the same seed and scenario draw other arrivals")
	}
	if slices.Equal(one, draw(2, "shop")) || slices.Equal(one, draw(1, "cart")) {
		t.Error("another seed or scenario draws the same arrivals")
	}
}

// Cells with one arrival or none must not all belong to the same shard.
func TestQuietPoissonShardsShareEvenly(t *testing.T) {
	p := openPlan(t, "{executor: constant-arrival-rate, rate: 0.2/s, arrivals: poisson, max_vus: 1}")
	const shards, length = 4, 20_000 * time.Second // 4,000 arrivals
	for shard := range shards {
		n := len(during(p, 0, length, shard, shards, 1<<20))
		if n < 880 || n > 1120 { // 1,000 ± 4σ
			t.Errorf("shard %d of %d has %d arrivals, want 1000 ± 120", shard, shards, n)
		}
	}
}

func TestPoissonArrivalsPassOverSilence(t *testing.T) {
	p := openPlan(t, "{executor: ramping-arrival-rate, start_rate: 5/s, stages: [{duration: 1500ms, target: 5/s}, {duration: 0s, target: 0/s}, {duration: 30d, target: 0/s}, {duration: 0s, target: 5/s}, {duration: 1s, target: 5/s}], arrivals: poisson, max_vus: 1}")
	const resumes = 30*24*time.Hour + 1500*time.Millisecond
	var before, after int
	for at := range p.Arrivals(0, 0, 1) {
		switch {
		case at < 1500*time.Millisecond:
			before++
		case at >= resumes && at < resumes+time.Second:
			after++
		default:
			t.Errorf("an arrival at %v, in the silence", at)
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%d arrivals before and %d after the silence, want some", before, after)
	}
}
