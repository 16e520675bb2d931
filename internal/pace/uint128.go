package pace

import (
	"math"
	"math/bits"
)

// A uint128 is an unsigned integer of 128 bits. Its operations do not check for
// overflow, which the bounds on scale and on a plan's length exclude.
type uint128 struct{ hi, lo uint64 }

// product returns a × b.
func product(a, b uint64) uint128 {
	hi, lo := bits.Mul64(a, b)
	return uint128{hi, lo}
}

func (w uint128) plus(v uint128) uint128 {
	lo, carry := bits.Add64(w.lo, v.lo, 0)
	hi, _ := bits.Add64(w.hi, v.hi, carry)
	return uint128{hi, lo}
}

func (w uint128) minus(v uint128) uint128 {
	lo, borrow := bits.Sub64(w.lo, v.lo, 0)
	hi, _ := bits.Sub64(w.hi, v.hi, borrow)
	return uint128{hi, lo}
}

func (w uint128) times(k uint64) uint128 {
	p := product(w.lo, k)
	p.hi += w.hi * k
	return p
}

// over returns w / d and its remainder; the quotient must fit into 64 bits.
func (w uint128) over(d uint64) (quotient, remainder uint64) { return bits.Div64(w.hi, w.lo, d) }

// overUp returns w / d rounded up; the quotient must fit into 64 bits.
func (w uint128) overUp(d uint64) uint64 {
	q, r := w.over(d)
	if r > 0 {
		q++
	}
	return q
}

func (w uint128) less(v uint128) bool { return w.hi < v.hi || w.hi == v.hi && w.lo < v.lo }

func (w uint128) isZero() bool { return w == uint128{} }

func (w uint128) float() float64 { return float64(w.hi)*(1<<32)*(1<<32) + float64(w.lo) }

// difference returns w − v, which may be negative.
func (w uint128) difference(v uint128) float64 {
	if w.less(v) {
		return -v.minus(w).float()
	}
	return w.minus(v).float()
}

// nanoseconds rounds a float to a time offset between 0 and most.
func nanoseconds(x float64, most uint64) uint64 {
	switch {
	case !(x > 0): // NaN too
		return 0
	case x >= float64(math.MaxInt64):
		return most
	}
	return min(uint64(x), most)
}
