package feeder

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// mix returns a number that looks random, of two others (the finalizer of SplitMix64;
// Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
func mix(key, x uint64) uint64 {
	x += key + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// permuted returns where a permutation of 0 … n−1 takes i. The permutation is the
// key's, and takes no memory: it is a swap-or-not shuffle (Hoang, Morris, Rogaway,
// "An enciphering scheme based on a card shuffle", CRYPTO 2012), each round of which
// swaps the halves of random pairs i and k − i mod n, or leaves them.
func permuted(key, n, i uint64) uint64 {
	for round := range uint64(24 + 4*bits.Len64(n)) {
		of := mix(key, round)
		k, _ := bits.Mul64(of, n)
		partner := k + n - i
		if partner >= n {
			partner -= n
		}
		if mix(of, max(i, partner))&1 != 0 {
			i = partner
		}
	}
	return i
}

// A zipf draws ranks from 1 to n in proportion to 1/rank^s, in constant time and
// without tables (Hörmann, Derflinger, "Rejection-inversion to generate variates from
// monotone discrete distributions", ACM TOMACS 6(3), 1996).
type zipf struct {
	n, s         float64
	above, below float64 // the integral at the ends of the range that is drawn from
	squeeze      float64 // a draw that is no further than this below its rank is accepted at once
}

func newZipf(n int, s float64) zipf {
	z := zipf{n: float64(n), s: s}
	z.above = z.integral(1.5) - 1
	z.below = z.integral(z.n + 0.5)
	z.squeeze = 2 - z.inverse(z.integral(2.5)-z.density(2))
	return z
}

// density is x^−s.
func (z *zipf) density(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// integral is ∫ t^−s dt from 1 to x: (x^(1−s) − 1)/(1−s), or log x for s = 1.
func (z *zipf) integral(x float64) float64 {
	log := math.Log(x)
	if e := (1 - z.s) * log; math.Abs(e) > 1e-8 {
		return math.Expm1(e) / (1 - z.s)
	}
	return log * (1 + (1-z.s)*log/2) // the first terms of its series
}

// inverse is the inverse of integral.
func (z *zipf) inverse(y float64) float64 {
	if e := (1 - z.s) * y; math.Abs(e) > 1e-8 {
		return math.Exp(math.Log1p(max(e, -1)) / (1 - z.s))
	}
	return math.Exp(y * (1 - (1-z.s)*y/2))
}

// draw returns a rank.
func (z *zipf) draw(r *rand.Rand) int {
	for {
		u := z.below + r.Float64()*(z.above-z.below)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.squeeze || u >= z.integral(k+0.5)-z.density(k) {
			return int(k)
		}
	}
}
