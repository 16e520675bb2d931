// Package expr is perfd's expression language: ${…} templates, the conditions of
// expect and checks, and the pipelines of extract.
//
// The parser is expr-lang's. When the configuration is loaded, its tree is
// compiled once into Go closures over Value, so that a comparison costs a few
// nanoseconds and allocates nothing. Types are checked at the same time: an
// undeclared name and a comparison of text with a number are errors of the
// configuration, not of a run.
//
// An expression may read variables by name. One about an answer may also read
// status, duration, size, checksum, body (text), json (only the path that is used
// is decoded) and header("Name").
package expr

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/perfd/perfd/internal/block"
)

// A Condition is a boolean expression about an answer.
type Condition struct {
	text string
	eval eval
	keep Keep
}

// ParseCondition compiles a condition. Mistakes go to errs; it then returns nil.
func ParseCondition(t block.Text, s *Symbols, errs *block.Errors) *Condition {
	c := compiler{symbols: s, answer: true}
	f, kind, ok := c.text(t, errs)
	if !ok {
		return nil
	}
	if kind != Bool && kind != Any {
		errs.Add(t.Pos, t.Path, "must be true or false, %q is %s", t.S, kind).Hint = "compare it: status == 200, len(json.items) > 0"
		return nil
	}
	return &Condition{t.S, f, c.keep}
}

// Eval evaluates the condition. An error says why it is neither true nor false.
func (c *Condition) Eval(s *Scope, r Response) (bool, error) {
	v := c.eval(s, r)
	if v.kind == Bool {
		return v.num != 0, nil
	}
	if why := v.why(); why != "" {
		return false, fmt.Errorf("%s: %s", c.text, why)
	}
	return false, fmt.Errorf("%s: is %s, not true or false", c.text, v.Type())
}

// String returns the condition as written.
func (c *Condition) String() string { return c.text }

// Keep returns the parts of an answer that the condition reads.
func (c *Condition) Keep() Keep { return c.keep }

// An Extraction takes a value out of an answer.
type Extraction struct {
	text string
	eval eval
	kind Type
	keep Keep
}

// ParseExtraction compiles an extraction. Mistakes go to errs; it then returns nil.
func ParseExtraction(t block.Text, s *Symbols, errs *block.Errors) *Extraction {
	c := compiler{symbols: s, answer: true}
	f, kind, ok := c.text(t, errs)
	if !ok {
		return nil
	}
	return &Extraction{t.S, f, kind, c.keep}
}

// Eval returns the value. One that is missing or null is an error.
func (x *Extraction) Eval(s *Scope, r Response) (Value, error) {
	v := x.eval(s, r)
	if v.kind == fault {
		return Value{}, fmt.Errorf("%s: %w", x.text, errors.New(v.text))
	}
	switch {
	case v.missing() && v.text != "" && v.text != x.text:
		return Value{}, fmt.Errorf("%s: %s is not in the answer", x.text, v.text)
	case v.missing():
		return Value{}, fmt.Errorf("%s: not in the answer", x.text)
	case v.kind == Null: // a variable without a value would only fail later, where it is sent
		return Value{}, fmt.Errorf("%s: is null in the answer", x.text)
	}
	return v, nil
}

// Type returns the type of the value, Any if it is not known before Eval.
func (x *Extraction) Type() Type { return x.kind }

// Keep returns the parts of an answer that the extraction reads.
func (x *Extraction) Keep() Keep { return x.keep }

// An Expression is an expression over variables, of which no answer is a part.
type Expression struct {
	text string
	eval eval
	kind Type
}

// ParseExpression compiles an expression whose value is of one of the types, or not known before Value; none of them
// allows all. Mistakes go to errs; it then returns nil.
func ParseExpression(t block.Text, s *Symbols, errs *block.Errors, types ...Type) *Expression {
	c := compiler{symbols: s}
	f, kind, ok := c.text(t, errs)
	if !ok {
		return nil
	}
	if len(types) > 0 && kind != Any && !slices.Contains(types, kind) {
		e := errs.Add(t.Pos, t.Path, "must be %s, %q is %s", types[0], t.S, kind)
		if types[0] == Bool {
			e.Hint = "compare it: stock > 0, user.vip == true"
		}
		return nil
	}
	return &Expression{t.S, f, kind}
}

// Value evaluates the expression. An error says why it has no value.
func (x *Expression) Value(s *Scope) (Value, error) {
	v := x.eval(s, nil)
	if v.kind == fault {
		return Value{}, fmt.Errorf("%s: %s", x.text, v.text)
	}
	return v, nil
}

// Holds evaluates a condition. An error says why it is neither true nor false.
func (x *Expression) Holds(s *Scope) (bool, error) {
	v, err := x.Value(s)
	if err == nil && v.missing() {
		err = fmt.Errorf("%s: %s", x.text, v.why())
	} else if err == nil && v.kind != Bool {
		err = fmt.Errorf("%s: is %s, not true or false", x.text, v.Type())
	}
	return err == nil && v.num != 0, err
}

// Count evaluates a whole number that is not negative. An error says why there is none.
func (x *Expression) Count(s *Scope) (int, error) {
	v, err := x.Value(s)
	switch {
	case err != nil:
		return 0, err
	case v.kind != Number || v.num != math.Trunc(v.num) || v.num < 0 || v.num > math.MaxInt32:
		return 0, fmt.Errorf("%s: is %s, not a whole number from 0", x.text, described(v))
	}
	return int(v.num), nil
}

// List evaluates a list. An error says why there is none.
func (x *Expression) List(s *Scope) ([]Value, error) {
	v, err := x.Value(s)
	if err != nil {
		return nil, err
	}
	if v.kind != List {
		return nil, fmt.Errorf("%s: is %s, not a list", x.text, v.Type())
	}
	var items []Value
	v.Items(func(item Value) { items = append(items, item) })
	return items, nil
}

// Items calls f with each item of a list, in order, and reports whether the value is one.
func (v Value) Items(f func(Value)) bool {
	if v.kind != List {
		return false
	}
	gjson.Parse(v.text).ForEach(func(_, item gjson.Result) bool {
		f(jsonValue(item))
		return true
	})
	return true
}

// described is a value in words: a number itself, of others their type.
func described(v Value) string {
	if v.kind == Number {
		return v.String()
	}
	return v.Type().String()
}

// String returns the expression as written.
func (x *Expression) String() string { return x.text }

// Measure returns the number that a value is: of a duration its seconds, of a boolean 1 or 0.
func (v Value) Measure() (f float64, ok bool) {
	switch v.kind {
	case Number, Bool:
		return v.num, true
	case Duration:
		return v.num / 1e9, true
	}
	return 0, false
}

// Err returns why the evaluation failed whose value v is, nil for one that did not.
func (v Value) Err() error {
	if v.kind == fault {
		return errors.New(v.text)
	}
	return nil
}
