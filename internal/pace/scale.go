package pace

import (
	"errors"
	"math/big"
	"strconv"

	"github.com/perfd/perfd/internal/block"
)

// A scale is the common denominator of a workload's rates in arrivals per
// nanosecond: in units of 1/scale every rate, and the area of every stage, is an
// integer.
//
// It is at most 2^60, so that levels and twice the scale fit into 64 bits and areas
// into 128 (a rate is at most 1 per nanosecond and a time less than 2^63). It is at
// least 2^40, so that the error of rounding an area inside a ramp to an integer is
// far below one arrival.
type scale uint64

const (
	coarsest = 1 << 40
	finest   = 1 << 60
)

var errTooFine = errors.New("has too many digits to be kept without rounding")

// refine returns a multiple of s in which r is an integer.
func (s scale) refine(r block.Rate) (scale, error) {
	have := new(big.Int).SetUint64(uint64(s))
	need := perNanosecond(r).Denom()
	common := new(big.Int).GCD(nil, nil, have, need)
	have.Mul(have, common.Div(need, common))
	if !have.IsUint64() || have.Uint64() > finest {
		return s, errTooFine
	}
	return scale(have.Uint64()), nil
}

// scaleOf returns the scale of some rates.
func scaleOf(rates ...block.Rate) (scale, error) {
	s := scale(1)
	for _, r := range rates {
		var err error
		if s, err = s.refine(r); err != nil {
			return 0, err
		}
	}
	for s < coarsest {
		s *= 2
	}
	return s, nil
}

// level returns r in units of the scale.
func (s scale) level(r block.Rate) uint64 {
	exact := perNanosecond(r)
	units := new(big.Int).SetUint64(uint64(s))
	return units.Mul(units, exact.Num()).Div(units, exact.Denom()).Uint64()
}

// perNanosecond returns the rate as it was written in decimals: 0.1/s is exactly a
// tenth, which no binary floating-point number is.
func perNanosecond(r block.Rate) *big.Rat {
	exact, _ := new(big.Rat).SetString(strconv.FormatFloat(r.Count, 'f', -1, 64))
	return exact.Quo(exact, new(big.Rat).SetInt64(int64(max(1, r.Per))))
}
