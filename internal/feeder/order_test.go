package feeder

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"gonum.org/v1/gonum/stat/distuv"
)

// unlikely is the chance with which each test of a distribution fails on draws that follow it.
const unlikely = 1e-6

// chiSquared checks counts against what is expected of each class (Pearson).
func chiSquared(t *testing.T, what string, got []int, want func(i int) float64) {
	t.Helper()
	if len(got) < 2 {
		return
	}
	x := 0.0
	for i, n := range got {
		e := want(i)
		x += (float64(n) - e) * (float64(n) - e) / e
	}
	if most := (distuv.ChiSquared{K: float64(len(got) - 1)}).Quantile(1 - unlikely); x > most {
		t.Errorf("%s: χ² = %.1f with %d degrees of freedom, want at most %.1f", what, x, len(got)-1, most)
	}
}

func TestAPermutationTakesEachOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	sizes := []uint64{4095, 4096, 4097, 100_003}
	for n := range uint64(130) {
		sizes = append(sizes, n+1)
	}
	for _, n := range sizes {
		key := r.Uint64()
		seen := make([]bool, n)
		for i := range n {
			to := permuted(key, n, i)
			if to >= n || seen[to] {
				t.Fatalf("of %d, key %d: %d comes twice, or is none of them", n, key, to)
			}
			seen[to] = true
		}
	}
}

func TestPermutationsAreUniform(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	// All permutations of few are equally frequent.
	for n, all := range map[uint64]int{2: 2, 3: 6, 4: 24, 5: 120} {
		counts := map[string]int{}
		draws := 50 * all
		for range draws {
			key := r.Uint64()
			var p []byte
			for i := range n {
				p = append(p, byte('0'+permuted(key, n, i)))
			}
			counts[string(p)]++
		}
		var got []int
		for _, c := range counts {
			got = append(got, c)
		}
		for len(got) < all {
			got = append(got, 0)
		}
		chiSquared(t, fmt.Sprintf("permutations of %d", n), got, func(int) float64 { return float64(draws) / float64(all) })
	}
	// Of many, where one goes to, and where the next goes to from there, is anywhere.
	for _, n := range []uint64{64, 100, 1000} {
		for _, i := range []uint64{0, 1, n / 2, n - 2} {
			first, next := make([]int, n), make([]int, n-1)
			draws := int(20 * n)
			for range draws {
				key := r.Uint64()
				a, b := permuted(key, n, i), permuted(key, n, i+1)
				first[a]++
				next[(b+n-a)%n-1]++
			}
			chiSquared(t, fmt.Sprintf("places of %d of %d", i, n), first, func(int) float64 { return float64(draws) / float64(n) })
			chiSquared(t, fmt.Sprintf("steps after %d of %d", i, n), next, func(int) float64 { return float64(draws) / float64(n-1) })
		}
	}
	// Neighbours of one permutation are as far apart as those of any.
	const n = 10_000
	key, falls := r.Uint64(), 0
	for i := range uint64(n - 1) {
		if permuted(key, n, i+1) < permuted(key, n, i) {
			falls++
		}
	}
	// The number of descents has the mean (n−1)/2 and the variance (n+1)/12 (Knuth, TAOCP 3, 5.1.3).
	if z := math.Abs(float64(falls)-(n-1)/2.0) / math.Sqrt((n+1)/12.0); z > 5 {
		t.Errorf("%d of %d rows come before the row that preceded them, %.1f standard deviations from the mean", falls, n, z)
	}
}

func TestZipfFollowsItsLaw(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for _, n := range []int{1, 2, 3, 10, 1000, 100_000} {
		for _, s := range []float64{0.1, 0.5, 0.99, 1, 1 + 1e-12, 1.1, 2, 3.5, 20} {
			z := newZipf(n, s)
			sum := 0.0
			for k := n; k >= 1; k-- {
				sum += math.Pow(float64(k), -s)
			}
			// Ranks are put together until each class is expected often enough for the test.
			const draws = 50_000
			class := make([]int, n+1)
			var expected []float64
			rest := 0.0
			for k := 1; k <= n; k++ {
				class[k] = len(expected)
				rest += draws * math.Pow(float64(k), -s) / sum
				if rest >= 20 {
					expected, rest = append(expected, rest), 0
				}
			}
			expected[len(expected)-1] += rest // too few for a class of their own
			counts := make([]int, len(expected))
			for range draws {
				k := z.draw(r)
				if k < 1 || k > n {
					t.Fatalf("rank %d of %d", k, n)
				}
				counts[min(class[k], len(counts)-1)]++
			}
			chiSquared(t, fmt.Sprintf("%d ranks, exponent %v", n, s), counts, func(i int) float64 { return expected[i] })
		}
	}
}

// numbers is a file of n rows, row i with the id i.
func numbers(n int) string {
	var b strings.Builder
	b.WriteString("id\n")
	for i := range n {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

func id(t testing.TB, row fmt.Stringer) int {
	i, err := strconv.Atoi(gjson.Get(row.String(), "id").Str)
	if err != nil {
		t.Error(err)
	}
	return i
}

// TestEachRowOnceAPass deals rows to many users of several shards at once.
func TestEachRowOnceAPass(t *testing.T) {
	const users = 8
	sizes := []int{1, 2, 7, 60, 509}
	if testing.Short() {
		sizes = sizes[:4]
	}
	for _, keys := range []string{"order: sequential", "order: shuffled", "order: unique, at_end: wrap", "order: unique", "order: shuffled, at_end: stop", "order: sequential, at_end: stop"} {
		stops := !strings.Contains(keys, "wrap") && strings.Contains(keys, "unique") || strings.Contains(keys, "stop")
		for place, most := range where {
			for _, n := range sizes {
				for _, shards := range []int{1, 2, 3, 8} {
					f := mustOpen(t, "r.csv", numbers(n), keys, most)
					const passes = 6
					counts := make([]int, n)
					var mu sync.Mutex
					var g sync.WaitGroup
					for shard := range shards {
						d := f.Dealer(42, shard, shards)
						turns := make(chan struct{}, n*passes)
						for turn := shard; turn < n*passes; turn += shards {
							turns <- struct{}{}
						}
						close(turns)
						for user := range users {
							g.Go(func() {
								r := rand.New(rand.NewPCG(uint64(user), 1))
								for range turns {
									row, err := d.Next(user, r)
									if stops && errors.Is(err, ErrEnd) {
										continue
									}
									if err != nil {
										t.Error(err)
										return
									}
									mu.Lock()
									counts[id(t, row)]++
									mu.Unlock()
								}
							})
						}
					}
					g.Wait()
					want := passes
					if stops {
						want = 1
					}
					for i, c := range counts {
						if c != want {
							t.Fatalf("%s, %s, %d shards: row %d of %d was dealt %d times, want %d", keys, place, shards, i, n, c, want)
						}
					}
				}
			}
		}
	}
}

// deal returns the ids of the next rows.
func deal(t testing.TB, d *Dealer, seed uint64, n int) (out []int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		row, err := d.Next(3, r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, id(t, row))
	}
	return out
}

func TestOrdersAreSeeded(t *testing.T) {
	for _, order := range []string{"order: shuffled", "order: random", "order: zipf", "weight: id"} {
		f := mustOpen(t, "r.csv", numbers(100), order, usual)
		a := deal(t, f.Dealer(1, 0, 1), 1, 200)
		if d := cmp.Diff(a, deal(t, f.Dealer(1, 0, 1), 1, 200)); d != "" {
			t.Errorf("%s: the same seed deals other rows (-first +second):\n%s", order, d)
		}
		if slices.Equal(a, deal(t, f.Dealer(2, 0, 1), 2, 200)) {
			t.Errorf("%s: another seed deals the same rows", order)
		}
		if slices.Equal(a[:100], a[100:]) {
			t.Errorf("%s: the second hundred rows are those of the first, in order", order)
		}
	}
	// Two files of one scenario are not shuffled alike.
	f := mustOpen(t, "r.csv", numbers(100), "order: shuffled", usual)
	a := deal(t, f.Dealer(1, 0, 1), 1, 100)
	other := *f
	other.name = "products"
	if slices.Equal(a, deal(t, other.Dealer(1, 0, 1), 1, 100)) {
		t.Error("another entry of data deals the same rows")
	}
	// One shard of three deals every third row of what one alone deals.
	for shard := range 3 {
		var want []int
		for i := shard; i < 100; i += 3 {
			want = append(want, a[i])
		}
		if d := cmp.Diff(want, deal(t, f.Dealer(1, shard, 3), 1, len(want))); d != "" {
			t.Errorf("shard %d of 3 (-want +got):\n%s", shard, d)
		}
	}
}

func TestEachUserKeepsItsRow(t *testing.T) {
	d := mustOpen(t, "r.csv", numbers(5), "order: per_vu", usual).Dealer(1, 0, 2)
	for vu := range 20 {
		for range 3 {
			row, err := d.Next(vu, nil)
			if err != nil || id(t, row) != vu%5 {
				t.Errorf("user %d gets row %v, %v; want %d", vu, row, err, vu%5)
			}
		}
	}
}

func TestWeightsAreTheChances(t *testing.T) {
	draws := 20_000
	if testing.Short() {
		draws = 4000
	}
	weights := []float64{3, 0, 0.5, 10, 0, 1e-3, 7, 1, 1, 0}
	var csv, jsonl strings.Builder
	csv.WriteString("id,w\n")
	total := 0.0
	for i, w := range weights {
		fmt.Fprintf(&csv, "%d, %g \n", i, w)
		fmt.Fprintf(&jsonl, `{"id":"%d","w":%g}`+"\n", i, w)
		total += w
	}
	for place, most := range where {
		for _, blocks := range []int{2, 4, 1024} { // many rows in a block, and one
			for file, text := range map[string]string{"r.csv": csv.String(), "r.jsonl": jsonl.String()} {
				f := mustOpen(t, file, text, "weight: w", limits{most.text, blocks})
				counts := make([]int, len(weights))
				for _, i := range deal(t, f.Dealer(7, 0, 1), 9, draws) {
					counts[i]++
				}
				for i, n := range counts {
					p := weights[i] / total
					b := distuv.Binomial{N: float64(draws), P: p}
					switch {
					case p == 0 && n > 0:
						t.Errorf("%s, %s: a row without weight was drawn %d times", place, file, n)
					case p > 0 && (b.CDF(float64(n)) < unlikely || 1-b.CDF(float64(n-1)) < unlikely):
						t.Errorf("%s, %s: a row of %.4f of the weights was drawn %d of %d times", place, file, p, n, draws)
					}
				}
			}
		}
	}
}

func TestRandomIsUniform(t *testing.T) {
	for place, most := range where {
		counts := make([]int, 50)
		for _, i := range deal(t, mustOpen(t, "r.csv", numbers(50), "order: random", most).Dealer(7, 0, 1), 5, 20_000) {
			counts[i]++
		}
		chiSquared(t, place, counts, func(int) float64 { return 20_000 / 50 })
	}
}
