package expr

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
)

// exactly is the first integer that a float64 does not tell from its neighbours.
const exactly = 1 << 53

// numeral returns the value of a number that was written as JSON writes numbers.
// Its text form is what was written, whatever a float64 can hold of it: an
// identifier of 19 digits keeps them all, and 1.50 its zero.
func numeral(written string, f float64) Value {
	v := Num(f)
	var b [32]byte
	if string(v.Append(b[:0])) != written {
		v.text = written
	}
	return v
}

// scalarNumber returns the value of a number of a document, as YAML 1.2 reads it
// (section 10.3.2): 0o10 and 0x10 have their bases, 010 is ten.
func scalarNumber(n *block.Node) (Value, bool) {
	if n.Kind == block.Int {
		text, base := n.Scalar, 10
		switch {
		case strings.HasPrefix(text, "0x"):
			text, base = text[2:], 16
		case strings.HasPrefix(text, "0o"):
			text, base = text[2:], 8
		}
		i, ok := new(big.Int).SetString(text, base)
		if !ok {
			return Value{}, false
		}
		f, _ := new(big.Float).SetInt(i).Float64()
		return numeral(i.String(), f), true
	}
	f, err := strconv.ParseFloat(n.Scalar, 64)
	if err != nil {
		return Value{}, false
	}
	if gjson.Valid(n.Scalar) {
		return numeral(n.Scalar, f), true
	}
	return Num(f), true
}

// negated returns -v of a number or duration.
func (v Value) negated() Value {
	v.num = -v.num
	switch {
	case v.text == "":
	case v.text[0] == '-':
		v.text = v.text[1:]
	default:
		v.text = "-" + v.text
	}
	return v
}

// exact returns the result of an operation on numbers as they are written, and false
// where it has none: sums, differences, products, remainders and powers by whole numbers
// lose no digit, and 0.1 + 0.2 is 0.3. A quotient that does not end is rounded to
// quotientDigits digits.
func exact(op string, x, y Value, approximately float64) (Value, bool) {
	if x.text == "" && y.text == "" && op != "**" && op != "^" && approximately == math.Trunc(approximately) &&
		x.num == math.Trunc(x.num) && y.num == math.Trunc(y.num) &&
		math.Abs(x.num) < exactly && math.Abs(y.num) < exactly && math.Abs(approximately) < exactly {
		return Value{}, false // a float64 is exact
	}
	a, ok := decimalOf(x)
	if !ok {
		return Value{}, false
	}
	b, ok := decimalOf(y)
	if !ok {
		return Value{}, false
	}
	out, ok := apply(op, a, b)
	if !ok {
		return Value{}, false
	}
	return out.value()
}

// order compares two numbers or durations: -1, 0 or 1. Numbers that a float64 does not
// tell from each other are compared by their digits.
func order(x, y Value) int {
	switch {
	case x.num < y.num:
		return -1
	case x.num > y.num:
		return 1
	case x.text == "" && y.text == "":
		return 0
	}
	a, ok := decimalOf(x)
	b, also := decimalOf(y)
	if !ok || !also {
		return 0
	}
	return a.cmp(b)
}
