package expr

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
)

// A Type is the type of a value. An expression of type Any has a value of any
// type, which is known only when it is evaluated.
type Type uint8

// The types.
const (
	Any Type = iota
	Null
	Bool
	Number
	String
	Duration
	List   // JSON text of an array
	Object // JSON text of an object
	fault  // evaluation failed; the value's text says why
)

var typeNames = [...]string{"a value", "nothing", "a boolean", "a number", "text", "a duration", "a list", "an object", "a fault"}

// String returns the type in words, with its article.
func (t Type) String() string { return typeNames[t] }

// A Value is a value of an expression. The zero Value is missing, which is read as
// null and cannot be sent; of a Null somebody has written so. A Value owns its
// text: it does not point into a response.
type Value struct {
	kind Type
	num  float64 // Number, Bool (0 or 1), Duration (ns)
	text string  // String; JSON text of List and Object; of Number, how it was written where num alone would be written otherwise; what is missing
}

// Str returns the value of a text.
func Str(s string) Value { return Value{kind: String, text: s} }

// Num returns the value of a number.
func Num(f float64) Value { return Value{kind: Number, num: f} }

// Dur returns the value of a duration.
func Dur(d time.Duration) Value { return Value{kind: Duration, num: float64(d)} }

// Boolean returns the value of a boolean.
func Boolean(b bool) Value { return Value{kind: Bool, num: toNumber(b)} }

// failed returns the value of an evaluation that failed.
func failed(why string) Value { return Value{kind: fault, text: why} }

func toNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// FromJSON returns the value of JSON text, null if it is not JSON.
func FromJSON(text string) Value { return jsonValue(gjson.Parse(text)) }

func jsonValue(r gjson.Result) Value {
	switch r.Type {
	case gjson.True, gjson.False:
		return Boolean(r.Type == gjson.True)
	case gjson.Number:
		return numeral(r.Raw, r.Num)
	case gjson.String:
		return Str(r.Str)
	case gjson.JSON:
		if r.IsArray() {
			return Value{kind: List, text: r.Raw}
		}
		return Value{kind: Object, text: r.Raw}
	case gjson.Null:
		if r.Raw != "" {
			return Value{kind: Null}
		}
	}
	return Value{}
}

// Type returns the value's type.
func (v Value) Type() Type {
	if v.kind == Any {
		return Null
	}
	return v.kind
}

// missing reports whether a value is not there, rather than null.
func (v Value) missing() bool { return v.kind == Any }

// lacks reports whether there is nothing to go on with: the value is missing or a fault.
func (v Value) lacks() bool { return v.kind == Any || v.kind == fault }

// named returns v and, if it is missing, by which name.
func (v Value) named(name string) Value {
	if v.kind == Any && v.text == "" {
		v.text = name
	}
	return v
}

// why says why there is no value, "" if there is one.
func (v Value) why() string {
	switch {
	case v.kind == fault:
		return v.text
	case v.kind == Any && v.text != "":
		return v.text + " is missing"
	case v.kind == Any:
		return "a value is missing"
	}
	return ""
}

// IsNull reports whether there is no value.
func (v Value) IsNull() bool { return v.kind == Any || v.kind == Null }

// Append appends the value's text form to dst, as it is used in a URL or within
// text. The text form of null is empty.
func (v Value) Append(dst []byte) []byte {
	switch v.kind {
	case Bool:
		return strconv.AppendBool(dst, v.num != 0)
	case Number:
		if v.text != "" {
			return append(dst, v.text...)
		}
		return appendFloat(dst, v.num)
	case Duration:
		return append(dst, time.Duration(v.num).String()...)
	case String, List, Object:
		return append(dst, v.text...)
	}
	return dst
}

// From plainFrom to plainUntil numbers are written without an exponent, as in
// JavaScript (ECMA-262, Number::toString).
const plainFrom, plainUntil = 1e-6, 1e21

func appendFloat(dst []byte, f float64) []byte {
	size := math.Abs(f)
	switch {
	case f == math.Trunc(f) && size < 1e15:
		return strconv.AppendInt(dst, int64(f), 10)
	case size >= plainFrom && size < plainUntil:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'e', -1, 64)
}

// String returns the value's text form.
func (v Value) String() string {
	if v.kind == String {
		return v.text
	}
	return string(v.Append(nil))
}

// AppendJSON appends the value as JSON to dst.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.kind {
	case String:
		return appendQuoted(dst, v.text)
	case Duration:
		return appendQuoted(dst, time.Duration(v.num).String())
	case Bool, Number, List, Object:
		return v.Append(dst)
	}
	return append(dst, "null"...)
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendEscaped appends s as a JSON string without its quotes.
func appendEscaped(dst []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		return append(dst, s...)
	}
	quoted, _ := json.Marshal(s) // a string always marshals
	return append(dst, quoted[1:len(quoted)-1]...)
}

// member returns a field of an object or an element of a list, a missing value if there is none.
func (v Value) member(key Value) Value {
	switch {
	case v.kind == Object && key.kind == String:
		var out Value
		gjson.Parse(v.text).ForEach(func(k, x gjson.Result) bool {
			if k.Str == key.text {
				out = jsonValue(x)
				return false
			}
			return true
		})
		return out
	case v.kind == List && key.kind == Number:
		return v.at(int(key.num))
	}
	return Value{}
}

// at returns element i of a list, counted from the end if i is negative.
func (v Value) at(i int) Value {
	if i < 0 {
		i += v.len()
	}
	var out Value
	n := 0
	gjson.Parse(v.text).ForEach(func(_, x gjson.Result) bool {
		if n == i {
			out = jsonValue(x)
			return false
		}
		n++
		return true
	})
	return out
}

// len returns the number of elements of a list or object, or of characters of a text.
func (v Value) len() int {
	switch v.kind {
	case List, Object:
		n := 0
		gjson.Parse(v.text).ForEach(func(_, _ gjson.Result) bool { n++; return true })
		return n
	case String:
		return utf8.RuneCountInString(v.text)
	}
	return 0
}

// scalar returns the value of a scalar in a document.
func scalar(n *block.Node) Value {
	switch n.Kind {
	case block.Bool:
		b, err := strconv.ParseBool(n.Scalar)
		if err == nil {
			return Boolean(b)
		}
	case block.Int, block.Float:
		if v, ok := scalarNumber(n); ok {
			return v
		}
	}
	return Str(n.Scalar)
}
