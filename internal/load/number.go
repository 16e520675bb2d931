package load

import (
	"math"
	"strconv"
)

// A Number is a float64 with a form in JSON for every value: NaN, a number that
// does not exist, is null; infinities are the strings "+Inf" and "-Inf".
type Number float64

// MarshalJSON writes the number.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	switch {
	case math.IsNaN(f):
		return []byte("null"), nil
	case math.IsInf(f, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Inf"`), nil
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
}

// UnmarshalJSON reads the forms of MarshalJSON.
func (n *Number) UnmarshalJSON(text []byte) error {
	s := string(text)
	if s == "null" {
		*n = Number(math.NaN())
		return nil
	}
	if u, err := strconv.Unquote(s); err == nil {
		s = u
	}
	f, err := strconv.ParseFloat(s, 64)
	*n = Number(f)
	return err
}
