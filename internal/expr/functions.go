package expr

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/expr-lang/expr/ast"

	"github.com/perfd/perfd/internal/block"
)

// A function is a function of the language. params holds the types of its
// parameters, Any for any type; do gets as many arguments of these types.
type function struct {
	params []Type
	yields Type
	do     func(s *Scope, args []Value) Value
}

// functions holds the functions that need only the values of their arguments.
var functions = map[string]function{
	"len":        {[]Type{Any}, Number, func(_ *Scope, a []Value) Value { return Num(float64(a[0].len())) }},
	"random":     {[]Type{List}, Any, randomOf},
	"first":      {[]Type{List}, Any, func(_ *Scope, a []Value) Value { return a[0].at(0) }},
	"last":       {[]Type{List}, Any, func(_ *Scope, a []Value) Value { return a[0].at(-1) }},
	"all":        {[]Type{List}, List, func(_ *Scope, a []Value) Value { return a[0] }},
	"count":      {[]Type{List}, Number, func(_ *Scope, a []Value) Value { return Num(float64(a[0].len())) }},
	"random_int": {[]Type{Number, Number}, Number, randomInt},
	"uuid":       {nil, String, uuid},
	"now":        {nil, String, func(*Scope, []Value) Value { return Str(time.Now().UTC().Format(time.RFC3339Nano)) }},
	"now_unix":   {nil, Number, func(*Scope, []Value) Value { return Num(float64(time.Now().Unix())) }},
	"number":     {[]Type{Any}, Number, toNumberValue},
	"string":     {[]Type{Any}, String, toText},
	"int":        {[]Type{Any}, Number, truncated},
	"round":      {[]Type{Number, Number}, Number, roundTo},
	"lower":      {[]Type{String}, String, func(_ *Scope, a []Value) Value { return Str(strings.ToLower(a[0].text)) }},
	"upper":      {[]Type{String}, String, func(_ *Scope, a []Value) Value { return Str(strings.ToUpper(a[0].text)) }},
	"trim":       {[]Type{String}, String, func(_ *Scope, a []Value) Value { return Str(strings.TrimSpace(a[0].text)) }},
	"base64": {[]Type{String}, String, func(_ *Scope, a []Value) Value {
		return Str(base64.StdEncoding.EncodeToString([]byte(a[0].text)))
	}},
	"url_encode": {[]Type{String}, String, func(_ *Scope, a []Value) Value { return Str(url.QueryEscape(a[0].text)) }},
	"sha256": {[]Type{String}, String, func(_ *Scope, a []Value) Value {
		sum := sha256.Sum256([]byte(a[0].text))
		return Str(hex.EncodeToString(sum[:]))
	}},
}

// Functions returns the names of all functions.
func Functions() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(functions) {
			if !yield(name) {
				return
			}
		}
		for _, name := range append(generatorNames(), "header", "regex", "duration", "css", "xpath", "cookie", "default") {
			if !yield(name) {
				return
			}
		}
	})
}

func randomOf(s *Scope, a []Value) Value {
	n := a[0].len()
	if n == 0 {
		return Value{}
	}
	return a[0].at(int(s.below(uint64(n))))
}

func randomInt(s *Scope, a []Value) Value {
	low, high := int64(a[0].num), int64(a[1].num)
	if high < low {
		return failed(fmt.Sprintf("random_int(%d, %d): the second must not be less than the first", low, high))
	}
	return Num(float64(low + int64(s.below(uint64(high-low)+1))))
}

// uuid returns a version 4 UUID (RFC 9562) of the process's random source. The
// VU's seeded source would repeat its UUIDs after a restart.
func uuid(*Scope, []Value) Value {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(b[8:], rand.Uint64())
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return Str(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

func toNumberValue(_ *Scope, a []Value) Value {
	switch a[0].kind {
	case Number:
		return a[0]
	case Bool:
		return Num(a[0].num)
	case Duration:
		return Num(a[0].num / 1e9)
	case String:
		if f, err := strconv.ParseFloat(strings.TrimSpace(a[0].text), 64); err == nil {
			if text := strings.TrimSpace(a[0].text); gjson.Valid(text) {
				return numeral(text, f)
			}
			return Num(f)
		}
	}
	return failed("number: " + strconv.Quote(a[0].String()) + " is not a number")
}

func toText(_ *Scope, a []Value) Value {
	if a[0].IsNull() {
		return failed("string needs a value, got nothing")
	}
	return Str(a[0].String())
}

func truncated(s *Scope, a []Value) Value {
	v := toNumberValue(s, a)
	if v.kind != Number {
		return v
	}
	if d, ok := decimalOf(v); ok {
		if whole, ok := d.trunc().value(); ok {
			return whole
		}
	}
	return Num(math.Trunc(v.num))
}

// roundTo rounds a number to some digits after the point, halves away from zero; fewer than none are zeros before it.
func roundTo(_ *Scope, a []Value) Value {
	digits := int(min(max(a[1].num, -maxDigits), maxDigits))
	if d, ok := decimalOf(a[0]); ok {
		if v, ok := d.round(digits).value(); ok {
			return v
		}
	}
	if digits != 0 {
		return failed("round: " + a[0].String() + " has too many digits")
	}
	return Num(math.Round(a[0].num))
}

// call compiles a call.
func (c *compiler) call(name string, args []ast.Node) (eval, Type, error) {
	switch name {
	case "header":
		return c.header(args)
	case "duration":
		return parseDuration(args)
	case "cookie":
		return c.cookie(args)
	case "default":
		return c.orElse(args)
	}
	if slices.Contains(finders, name) {
		f, kind, err := c.find(name, args)
		return one(f), kind, err
	}
	if len(args) == 1 && (slices.Contains(picks, name) || name == "len") {
		f, kind, is, err := c.finderOf(args[0])
		of, _ := callOf(args[0])
		switch {
		case err != nil:
			return nil, Any, err
		case is && name == "len" && of != "regex":
			m := wrong("len is the length of one text, and %s finds several", of)
			m.hint = fmt.Sprintf("write %s(…) | count for how many there are, %s(…) | first | len for the length of the first", of, of)
			return nil, Any, m
		case is && name != "len":
			chosen, kind := pick(name, f, kind)
			return chosen, kind, nil
		}
	}
	if f, kind, known, err := c.generate(name, args); known {
		return f, kind, err
	}
	f, ok := functions[name]
	if !ok {
		m := wrong("unknown function %q", name)
		if m.hint = habitFunctions[name]; m.hint == "" {
			m.hint = block.Nearest(name, Functions())
		}
		return nil, Any, m
	}
	if name == "round" && len(args) == 1 {
		args = append(args, &ast.IntegerNode{}) // to whole numbers
	}
	if len(args) != len(f.params) {
		return nil, Any, wrong("%s takes %d arguments, got %d", name, len(f.params), len(args))
	}
	if text, ok := literalText(args); ok && name == "number" {
		v := toNumberValue(nil, []Value{Str(text)})
		return constant(v), Number, nil
	}
	evals, sources := make([]eval, len(args)), make([]string, len(args))
	for i, arg := range args {
		e, kind, err := c.node(arg)
		if err != nil {
			return nil, Any, err
		}
		if want := f.params[i]; want != Any && kind != Any && kind != want {
			return nil, Any, wrong("%s needs %s, %s is %s", name, want, arg, kind)
		}
		evals[i], sources[i] = e, arg.String()
	}
	source := name + "(" + strings.Join(sources, ", ") + ")"
	lenient := name == "len" && c.answer // what an answer need not have is empty
	value := func(s *Scope, r Response) Value {
		var values [2]Value
		for i, e := range evals {
			v := e(s, r)
			if v.kind == fault || v.missing() && !lenient {
				return v
			}
			if want := f.params[i]; want != Any && v.kind != want {
				return failed(name + " needs " + want.String() + ", got " + v.Type().String())
			}
			values[i] = v
		}
		return f.do(s, values[:len(evals)]).named(source)
	}
	if len(args) == 1 {
		if picked, is := c.element(name, args[0], value); is {
			return picked, f.yields, nil
		}
	}
	return value, f.yields, nil
}

// literalText returns the only argument of a call if it is text written out.
func literalText(args []ast.Node) (string, bool) {
	if len(args) != 1 {
		return "", false
	}
	text, ok := args[0].(*ast.StringNode)
	if !ok {
		return "", false
	}
	return text.Value, true
}

// header compiles header("Name").
func (c *compiler) header(args []ast.Node) (eval, Type, error) {
	if !c.answer {
		return nil, Any, wrong("header: there is no answer to read here")
	}
	if len(args) != 1 {
		return nil, Any, wrong("header takes 1 argument, got %d", len(args))
	}
	name, ok := args[0].(*ast.StringNode)
	if !ok {
		m := wrong("header needs a name in quotes, got %s", args[0])
		m.hint = `write header("Content-Type")`
		return nil, Any, m
	}
	key := http.CanonicalHeaderKey(name.Value)
	missing := Value{}.named("header(" + strconv.Quote(name.Value) + ")")
	c.keep.Merge(Keep{Headers: []string{key}})
	return func(_ *Scope, r Response) Value {
		if v, ok := r.Header(key); ok {
			return Str(strings.Clone(v))
		}
		return missing
	}, String, nil
}

// parseDuration compiles duration("300ms"), to which a literal such as 300ms is rewritten.
func parseDuration(args []ast.Node) (eval, Type, error) {
	if len(args) == 1 {
		if text, ok := args[0].(*ast.StringNode); ok {
			d, err := block.ParseDuration(text.Value)
			if err != nil {
				return nil, Any, wrong("%q is not a duration", text.Value)
			}
			return constant(Dur(d)), Duration, nil
		}
	}
	return nil, Any, wrong("duration needs a duration written out, such as 300ms")
}
