package expr

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// A decimal is coefficient × 10^-scale, exactly. The coefficient is big where it is
// set, else small.
type decimal struct {
	small int64
	big   *big.Int
	scale int // of a number in its shortest form: negative for zeros before the point only
}

const (
	// maxDigits bounds the digits before and after the point of what is reckoned
	// exactly. Numbers beyond it are reckoned as float64.
	maxDigits = 1000
	// quotientDigits are the digits of a quotient that does not end before: those of
	// IEEE 754's decimal128. The last is rounded half to even.
	quotientDigits = 34
	// floatDigits is how many decimal digits a float64 keeps whatever they are.
	floatDigits = 15
)

// decimalOf returns the decimal that a number is written as, and false where it has too many digits.
func decimalOf(v Value) (decimal, bool) {
	if v.kind != Number {
		return decimal{}, false
	}
	if v.text == "" {
		if v.num == math.Trunc(v.num) && math.Abs(v.num) < exactly {
			return decimal{small: int64(v.num)}, true
		}
		var b [40]byte
		return parseDecimal(string(v.Append(b[:0])))
	}
	return parseDecimal(v.text)
}

// parseDecimal reads a number as JSON writes them.
func parseDecimal(s string) (d decimal, ok bool) {
	mantissa := s
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exponent, err := strconv.Atoi(s[i+1:])
		if err != nil || exponent > maxDigits || exponent < -maxDigits {
			return d, false
		}
		mantissa, d.scale = s[:i], -exponent
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if len(whole)+len(fraction) > maxDigits {
		return d, false
	}
	d.scale += len(fraction)
	if len(whole)+len(fraction) <= 18 {
		negative := false
		for i := range len(mantissa) {
			switch c := mantissa[i]; {
			case isDigit(c):
				d.small = 10*d.small + int64(c-'0')
			case c == '-' && i == 0:
				negative = true
			case c != '.':
				return d, false
			}
		}
		if negative {
			d.small = -d.small
		}
		return d.least(), true
	}
	d.big, ok = new(big.Int).SetString(whole+fraction, 10)
	return d.least(), ok
}

// least returns d without zeros at the end of its fraction, small if it fits.
func (d decimal) least() decimal {
	if d.big != nil {
		ten, rest := big.NewInt(10), new(big.Int)
		for d.scale > 0 && d.big.Sign() != 0 {
			q, r := new(big.Int).QuoRem(d.big, ten, rest)
			if r.Sign() != 0 {
				break
			}
			d.big, d.scale = q, d.scale-1
		}
		if !d.big.IsInt64() {
			return d
		}
		d.small, d.big = d.big.Int64(), nil
	}
	for d.scale > 0 && d.small%10 == 0 && d.small != 0 {
		d.small, d.scale = d.small/10, d.scale-1
	}
	if d.small == 0 {
		d.scale = 0
	}
	return d
}

// int returns the coefficient, scaled up by a power of ten.
func (d decimal) int(power int) *big.Int {
	c := d.big
	if c == nil {
		c = big.NewInt(d.small)
	}
	if power == 0 {
		return c
	}
	return new(big.Int).Mul(c, tens(power))
}

// digitsOf returns how many decimal digits an integer has.
func digitsOf(i *big.Int) int {
	n := len(i.Text(10))
	if i.Sign() < 0 {
		n--
	}
	return n
}

func tens(power int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(power)), nil)
}

// aligned returns the coefficients of two decimals at one scale.
func aligned(x, y decimal) (a, b *big.Int, scale int) {
	scale = max(x.scale, y.scale)
	return x.int(scale - x.scale), y.int(scale - y.scale), scale
}

// smallest bounds coefficients of which sums and products are taken as int64.
const smallest = 1 << 31

// apply returns the result of an operation, and false where it has none that is exact
// or, of a quotient, rounded.
func apply(op string, x, y decimal) (decimal, bool) {
	if x.big == nil && y.big == nil && x.scale == y.scale && abs(x.small) < 1<<62 && abs(y.small) < 1<<62 {
		switch op {
		case "+":
			return decimal{small: x.small + y.small, scale: x.scale}.least(), true
		case "-":
			return decimal{small: x.small - y.small, scale: x.scale}.least(), true
		}
	}
	if op == "*" && x.big == nil && y.big == nil && abs(x.small) < smallest && abs(y.small) < smallest {
		return decimal{small: x.small * y.small, scale: x.scale + y.scale}.least(), true
	}
	switch op {
	case "+", "-", "%":
		a, b, scale := aligned(x, y)
		out := new(big.Int)
		switch {
		case op == "+":
			out.Add(a, b)
		case op == "-":
			out.Sub(a, b)
		case b.Sign() == 0:
			return decimal{}, false
		default:
			out.Rem(a, b)
		}
		return decimal{big: out, scale: scale}.least(), true
	case "*":
		return decimal{big: new(big.Int).Mul(x.int(0), y.int(0)), scale: x.scale + y.scale}.least(), true
	case "/":
		return quotient(x, y)
	case "**", "^":
		return power(x, y)
	}
	return decimal{}, false
}

// abs returns the absolute value, which of the least int64 is no int64.
func abs(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// quotient returns x / y: exactly if it ends within quotientDigits, else rounded to as many.
func quotient(x, y decimal) (decimal, bool) {
	a, b, _ := aligned(x, y)
	if b.Sign() == 0 {
		return decimal{}, false
	}
	if whole, rest := new(big.Int).QuoRem(a, b, new(big.Int)); rest.Sign() == 0 {
		return decimal{big: whole}.least(), true
	}
	// The quotient times 10^scale has quotientDigits digits before its point, or one more.
	scale := quotientDigits - (digitsOf(a) - digitsOf(b))
	out := rounded(a, b, scale, halfEven)
	if over := digitsOf(out) - quotientDigits; over > 0 {
		scale -= over
		out = rounded(a, b, scale, halfEven)
	}
	if scale < 0 {
		return decimal{big: new(big.Int).Mul(out, tens(-scale))}.least(), true
	}
	return decimal{big: out, scale: scale}.least(), true
}

// Ways to round a digit that lies half between two.
type half bool

const (
	halfEven half = false
	halfAway half = true
)

// rounded returns a / b × 10^scale as an integer.
func rounded(a, b *big.Int, scale int, h half) *big.Int {
	if scale >= 0 {
		a = new(big.Int).Mul(a, tens(scale))
	} else {
		b = new(big.Int).Mul(b, tens(-scale))
	}
	q, r := new(big.Int).QuoRem(a, b, new(big.Int))
	twice := new(big.Int).Abs(r)
	twice.Lsh(twice, 1)
	if c := twice.CmpAbs(b); c > 0 || c == 0 && (h == halfAway || q.Bit(0) == 1) {
		q.Add(q, big.NewInt(int64(a.Sign()*b.Sign())))
	}
	return q
}

// power returns x to a power that is an integer and not negative.
func power(x, y decimal) (decimal, bool) {
	if y.big != nil || y.scale != 0 || y.small < 0 || y.small > maxDigits {
		return decimal{}, false
	}
	c := x.int(0)
	if int64(digitsOf(c))*y.small > 4*maxDigits || int64(abs(int64(x.scale)))*y.small > maxDigits {
		return decimal{}, false
	}
	return decimal{big: new(big.Int).Exp(c, big.NewInt(y.small), nil), scale: x.scale * int(y.small)}.least(), true
}

// round returns d rounded to some digits after the point, halves away from zero.
func (d decimal) round(digits int) decimal {
	if d.scale <= digits {
		return d
	}
	if d.scale < 0 {
		d = decimal{big: d.int(-d.scale)}
	}
	return decimal{big: rounded(d.int(0), tens(d.scale), digits, halfAway), scale: max(0, digits)}.up(-min(0, digits)).least()
}

// up returns d times a power of ten.
func (d decimal) up(power int) decimal {
	if power == 0 {
		return d
	}
	return decimal{big: d.int(power), scale: d.scale}
}

// trunc returns d without its fraction.
func (d decimal) trunc() decimal {
	if d.scale <= 0 {
		return d
	}
	return decimal{big: new(big.Int).Quo(d.int(0), tens(d.scale))}.least()
}

// cmp compares two decimals.
func (d decimal) cmp(o decimal) int {
	a, b, _ := aligned(d, o)
	return a.Cmp(b)
}

// powersOfTen are those that a float64 holds exactly and a short coefficient may be divided by.
var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// value returns the number, written with its digits and no exponent.
func (d decimal) value() (Value, bool) {
	d = d.least()
	// One division of two numbers that are exact is rounded once: what is shortest to
	// tell it from others is the decimal itself.
	if d.big == nil && d.scale >= 0 && d.scale < len(powersOfTen) && abs(d.small) < 1e15 {
		f := float64(d.small) / powersOfTen[d.scale]
		if d.scale == 0 || math.Abs(f) >= plainFrom {
			return Num(f), true
		}
	}
	digits := d.int(max(0, -d.scale)).Text(10)
	scale := max(0, d.scale)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if len(digits) > 4*maxDigits || scale > 4*maxDigits {
		return Value{}, false
	}
	if scale > 0 {
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale-len(digits)+1) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	f, err := strconv.ParseFloat(sign+digits, 64)
	if err != nil {
		return Value{}, false // larger than any float64
	}
	return numeral(sign+digits, f), true
}
