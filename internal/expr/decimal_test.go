package expr

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/block"
)

// evaluated returns the text of one expression.
func evaluated(t *testing.T, text string, s *Symbols, sc *Scope) string {
	t.Helper()
	var errs block.Errors
	tmpl := ParseTemplate(block.Text{S: "${" + text + "}"}, s, &errs)
	if err := errs.Err(); err != nil {
		return "mistake: " + err.Error()
	}
	out, err := tmpl.Append(nil, sc)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(out)
}

func TestArithmeticKeepsDecimals(t *testing.T) {
	s := NewSymbols(nil)
	sc := &Scope{}
	for name, v := range map[string]string{
		"price": "19.99", "tax": "0.077", "cent": "0.01", "huge": "123456789012345678901234567890.05", "tiny": "1e-30", "e": "1.5e3", "zero": "0", "big": "1e300",
	} {
		sc.Set(s.Declare(name, Any), FromJSON(v))
	}
	for text, want := range map[string]string{
		// Python 3's decimal, without zeros at the end.
		"0.1 + 0.2": "0.3", "0.3 - 0.1": "0.2", "price * 3": "59.97", "19.99 * 3": "59.97", "1.1 * 1.1": "1.21", "4.35 * 100": "435", "1.005 * 1000": "1005",
		"price + tax": "20.067", "price - 20": "-0.01", "0.1 * 3 - 0.3": "0", "cent * 7": "0.07", "1.15 + 2.30": "3.45", "5.5 % 2": "1.5", "-5.5 % 2": "-1.5", "1 % 0.3": "0.1",
		"0.1 + 0.2 == 0.3 ? 'same' : 'other'": "same", "1.10 == 1.1 ? 'same' : 'other'": "same",
		"huge + cent": "123456789012345678901234567890.06", "huge * 10": "1234567890123456789012345678900.5", "huge - huge": "0",
		"tiny + 1": "1.000000000000000000000000000001", "tiny * 1e30": "1", "e + 0.5": "1500.5", "e * 2": "3000",
		"1234567.5 + 1": "1234568.5", "1234567.5": "1234567.5", "99999999.99 + 0.01": "100000000", "0.000001 * 1": "0.000001", "0.0000001 * 3": "0.0000003",
		"10 / 4": "2.5", "1 / 3": "0.3333333333333333333333333333333333", "2 / 3": "0.6666666666666666666666666666666667", "-2 / 3": "-0.6666666666666666666666666666666667",
		"100 / 3": "33.33333333333333333333333333333333", "price / 3": "6.663333333333333333333333333333333", "1 / 8": "0.125", "6 / 2": "3", "0.3 / 0.1": "3", "1e20 / 7": "14285714285714285714.28571428571429",
		"2 ** 10": "1024", "10 ** 20": "100000000000000000000", "1.05 ** 2": "1.1025", "2 ** 0": "1", "2 ** 64 - 1": "18446744073709551615", "2 ** 0.5": "1.4142135623730951", "2 ** -1": "0.5",
		"round(2.675, 2)": "2.68", "round(price / 3, 2)": "6.66", "round(-0.125, 2)": "-0.13", "round(1234.5)": "1235", "round(-0.5)": "-1", "round(1250, -2)": "1300", "round(e, -3)": "2000", "round(1.5, 3)": "1.5",
		"round(huge)": "123456789012345678901234567890", "int(huge)": "123456789012345678901234567890", "int(-1.5)": "-1", "int(e)": "1500",
		"12345678901234567890.123456789 + 0": "12345678901234567890.123456789", "9223372036854775808 + 1": "9223372036854775809", "9223372036854775807 + 1": "9223372036854775808", "-9223372036854775809 + 1": "-9223372036854775808", "-9223372036854775808 - 1": "-9223372036854775809", "-9223372036854775808 * 2": "-18446744073709551616",
		"3037000500 * 3037000500": "9223372037000250000", "-9223372036854775807 - 2": "-9223372036854775809", "010 + 1": "11",
		"1 / 0": "error: / has no result", "zero / zero": "error: / has no result", "5 % 0": "error: % has no result", "big ** 1000": "error: ** has no result",
	} {
		if got := evaluated(t, text, s, sc); got != want {
			t.Errorf("%s = %s, want %s", text, got, want)
		}
	}
}

// Sums, differences and products are those of rational numbers, whatever their digits.
func TestArithmeticIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 1))
	draw := func() string {
		var b strings.Builder
		if r.IntN(2) == 0 {
			b.WriteByte('-')
		}
		whole := make([]byte, 1+r.IntN(25))
		for i := range whole {
			whole[i] = byte('0' + r.IntN(10))
		}
		b.WriteString(strings.TrimLeft(string(whole[:len(whole)-1]), "0") + string(whole[len(whole)-1]))
		if n := r.IntN(12); n > 0 {
			b.WriteByte('.')
			for range n {
				b.WriteByte(byte('0' + r.IntN(10)))
			}
		}
		if r.IntN(5) == 0 {
			b.WriteString("e" + strconv.Itoa(r.IntN(40)-20))
		}
		return b.String()
	}
	s := NewSymbols(nil)
	sc := &Scope{}
	x, y := s.Declare("x", Any), s.Declare("y", Any)
	for range 3000 {
		a, b := draw(), draw()
		sc.Set(x, FromJSON(a))
		sc.Set(y, FromJSON(b))
		p, _ := new(big.Rat).SetString(a)
		q, _ := new(big.Rat).SetString(b)
		for op, want := range map[string]*big.Rat{"+": new(big.Rat).Add(p, q), "-": new(big.Rat).Sub(p, q), "*": new(big.Rat).Mul(p, q)} {
			text := evaluated(t, "x "+op+" y", s, sc)
			if got, ok := new(big.Rat).SetString(text); !ok || got.Cmp(want) != 0 {
				t.Fatalf("%s %s %s = %s, want %s", a, op, b, text, want.RatString())
			}
		}
		if got, want := order(FromJSON(a), FromJSON(b)), p.Cmp(q); got != want {
			t.Fatalf("order of %s and %s is %d, want %d", a, b, got, want)
		}
		if q.Sign() == 0 {
			continue
		}
		text := evaluated(t, "x / y", s, sc)
		got, ok := new(big.Rat).SetString(text)
		want := new(big.Rat).Quo(p, q)
		if !ok {
			t.Fatalf("%s / %s = %s, want a number", a, b, text)
		}
		// At most half of the last of 34 digits, relative to the quotient.
		off := new(big.Rat).Sub(got, want)
		bound := new(big.Rat).Mul(want.Abs(want), big.NewRat(5, 1))
		bound.Mul(bound, new(big.Rat).SetFrac(big.NewInt(1), tens(quotientDigits)))
		if off.Abs(off).Cmp(bound) > 0 {
			t.Fatalf("%s / %s = %s is off by %s", a, b, text, off.FloatString(60))
		}
	}
}

// Numbers that would take a machine's time or memory are reckoned roughly or not at all.
func TestArithmeticIsBounded(t *testing.T) {
	s := NewSymbols(nil)
	sc := &Scope{}
	long := strings.Repeat("7", 1_000_000)
	for name, v := range map[string]string{"far": "1e999999999", "near": "1e-999999999", "long": long, "fraction": "0." + long} {
		sc.Set(s.Declare(name, Any), FromJSON(v))
	}
	for text, want := range map[string]string{
		"far + 1": "error: + has no result", "long * long": "error: * has no result", "near + 1": "1", "fraction * 2": "1.5555555555555556", "fraction < 1": "true", "far > 1": "true", "far == far": "true",
		"9 ** 999999": "error: ** has no result",
	} {
		if got := evaluated(t, text, s, sc); got != want {
			t.Errorf("%s = %.60s, want %s", text, got, want)
		}
	}
}

// What comes as JSON goes out as the same bytes.
func FuzzNumberRoundTrip(f *testing.F) {
	for _, seed := range []string{"0", "-0.0", "1e3", "1E+2", "2733382000000000049", "0.1", "19.990", "1e-400", "123456789012345678901234567890.05", `{"a": [1.50, -3]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, written string) {
		s := NewSymbols(nil)
		sc := &Scope{}
		var errs block.Errors
		x := ParseExtraction(block.Text{S: "json.a[0].id"}, s, &errs)
		v, err := x.Eval(sc, text{body: `{"a": [{"id": ` + written + `}]}`})
		if err != nil || v.Type() != Number {
			return
		}
		written = strings.TrimSpace(written)
		if i := strings.IndexAny(written, " \t\r\n,}]"); i >= 0 { // the rest is other JSON
			return
		}
		sc.Set(s.Declare("v", Any), v)
		n := block.Parse("f.yaml", []byte(`{got: "${v}", in: "x${v}", list: "${[v]}"}`), &errs)
		out, err := ParseJSON(n, s, &errs).Append(nil, sc)
		if want := `{"got":` + written + `,"in":"x` + written + `","list":[` + written + `]}`; string(out) != want || err != nil {
			t.Errorf("%s, want %s (%v)", out, want, err)
		}
		// The number itself survives arithmetic that changes nothing.
		if _, fits := parseDecimal(written); fits && len(written) < 40 && !math.IsInf(v.num, 0) {
			exact, _ := new(big.Rat).SetString(written)
			got := evaluated(t, "v * 1", s, sc)
			if r, ok := new(big.Rat).SetString(got); !ok || r.Cmp(exact) != 0 {
				t.Errorf("%s * 1 = %s", written, got)
			}
		}
	})
}

func BenchmarkArithmetic(b *testing.B) {
	s := NewSymbols(nil)
	sc := &Scope{}
	sc.Set(s.Declare("n", Any), Num(7))
	sc.Set(s.Declare("price", Any), FromJSON("19.99"))
	for _, text := range []string{"n * 3 + 1", "price * 3", "price / 3"} {
		var errs block.Errors
		tmpl := ParseTemplate(block.Text{S: "${" + text + "}"}, s, &errs)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tmpl.Value(sc)
			}
		})
	}
}
