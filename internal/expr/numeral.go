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

// integer returns the integer that a number is exactly, nil where it is none.
func (v Value) integer() *big.Int {
	if v.kind != Number || v.num != math.Trunc(v.num) {
		return nil
	}
	if v.text != "" {
		i, ok := new(big.Int).SetString(v.text, 10)
		if !ok {
			return nil
		}
		return i
	}
	i, _ := big.NewFloat(v.num).Int(nil)
	return i
}

// exact returns the result of an operation on integers that a float64 cannot hold
// exactly, and false for all others.
func exact(op string, x, y Value, approximately float64) (Value, bool) {
	if math.Abs(x.num) < exactly && math.Abs(y.num) < exactly && math.Abs(approximately) < exactly || op == "/" || op == "**" || op == "^" {
		return Value{}, false
	}
	a, b := x.integer(), y.integer()
	if a == nil || b == nil {
		return Value{}, false
	}
	out := new(big.Int)
	switch op {
	case "+":
		out.Add(a, b)
	case "-":
		out.Sub(a, b)
	case "*":
		out.Mul(a, b)
	case "%":
		if b.Sign() == 0 {
			return Value{}, false
		}
		out.Rem(a, b)
	}
	f, _ := new(big.Float).SetInt(out).Float64()
	return numeral(out.String(), f), true
}

// order compares two numbers or durations: -1, 0 or 1. Integers that a float64 cannot
// hold are compared by their digits.
func order(x, y Value) int {
	switch {
	case x.num < y.num:
		return -1
	case x.num > y.num:
		return 1
	case math.Abs(x.num) < exactly:
		return 0
	}
	a, b := x.integer(), y.integer()
	if a == nil || b == nil {
		return 0
	}
	return a.Cmp(b)
}
